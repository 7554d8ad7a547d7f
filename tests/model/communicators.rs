//! Communicators that a program makes of others: who is in them by the model, and how a rank makes them.

use edgempi::{Comm, Comparison, Error, ProcessGroup, SplitType};

use crate::plan::View;
use crate::played::played;
use crate::program::By;
use crate::values::hash;

/// The new communicators, each with its members in the order of their ranks, which are made of those of `members`.
pub fn split(members: &[Vec<u32>], by: By, seed: u32, is_simulated: bool) -> Vec<Vec<u32>> {
    let mut parts: Vec<Vec<u32>> = match by {
        By::Copy => members.to_vec(),
        By::Color(colors) => members.iter().flat_map(|old| colored(old, colors, seed)).collect(),
        By::Kind => members.iter().flat_map(|old| colored(old, 1, seed)).collect(),
        // Each has one of its own.
        By::Machine if is_simulated => {
            members.iter().flat_map(|old| colored(old, 1, seed)).flatten().map(|member| vec![member]).collect()
        }
        By::Machine => members.iter().flat_map(|old| colored(old, 1, seed)).collect(),
        By::Group | By::GroupAlone => {
            let chosen =
                |old: &Vec<u32>| chosen(old.len() as u32, seed).into_iter().map(|own| old[own as usize]).collect();
            members.iter().map(chosen).collect()
        }
    };
    parts.retain(|part| !part.is_empty());
    parts
}

/// By colour those who say one, in the order of their keys.
fn colored(old: &[u32], colors: u32, seed: u32) -> Vec<Vec<u32>> {
    let of_color = |color| {
        let mut new: Vec<(i32, u32)> = Vec::new();
        for (own, member) in (0..).zip(old) {
            let (said, key) = said(colors, seed, own);
            if said == Some(color) {
                new.push((key, *member));
            }
        }
        // Stable: among equal keys the old order.
        new.sort_by_key(|(key, _)| *key);
        new.into_iter().map(|(_, member)| member).collect()
    };
    (0..colors).map(of_color).collect()
}

/// What the rank says in a split: its colour and key.
fn said(colors: u32, seed: u32, own: u32) -> (Option<u32>, i32) {
    let random = hash(&[seed.into(), own.into()]);
    let color = (random % u64::from(colors + 1)) as u32;
    // With one colour or two now and then nobody stays away.
    let color = if color == colors { (random >> 8 & 1 == 1).then_some(0) } else { Some(color) };
    (color, (random >> 16) as i32 % 3)
}

/// The ranks of a communicator of `size` that a set of bits chooses, in an order of its own; at least one.
pub fn chosen(size: u32, bits: u32) -> Vec<u32> {
    let mut ranks: Vec<u32> = (0..size).filter(|rank| bits >> rank & 1 == 1).collect();
    if ranks.is_empty() {
        ranks.push(bits % size);
    }
    let turned = bits as usize % ranks.len();
    ranks.rotate_left(turned);
    ranks
}

/// Makes the communicator; its call is started at the first poll.
pub async fn make(comm: &Comm, view: &View<'_>, by: By, seed: u32) -> Result<Option<Comm>, Error> {
    let chosen = || chosen(view.size(), seed);
    Ok(match by {
        By::Copy => Some(played!(Comm, comm, dup()).await?),
        By::Color(colors) => {
            let (color, key) = said(colors, seed, view.own);
            played!(Comm, comm, split(color, key)).await?
        }
        By::Kind | By::Machine => {
            let (color, key) = said(1, seed, view.own);
            let by = if matches!(by, By::Kind) { SplitType::Kind } else { SplitType::Machine };
            played!(Comm, comm, split_type(color.map(|_| by), key)).await?
        }
        By::Group => {
            let members = &view.part.members;
            let group = ProcessGroup::new(chosen().into_iter().map(|own| members[own as usize]))?;
            played!(Comm, comm, create(&group)).await?
        }
        By::GroupAlone => {
            let ranks = chosen();
            if ranks.contains(&view.own) {
                Some(played!(Comm, comm, create_group(&ranks, view.tag(0))).await?)
            } else {
                None
            }
        }
    })
}

/// Makes the communicator, and compares it with the old one.
pub async fn perform(comm: &Comm, view: &View<'_>, by: By, seed: u32) -> Result<Option<Comm>, Error> {
    let old = &view.part.members;
    let new = make(comm, view, by, seed).await?;
    let parts = split(std::slice::from_ref(old), by, seed, view.setting.is_simulated);
    let own = old[view.own as usize];
    let expected = parts.into_iter().find(|part| part.contains(&own));
    assert_eq!(new.is_some(), expected.is_some(), "who is in a new communicator");
    if let Some((new, expected)) = new.as_ref().zip(expected) {
        let group = played!(Comm, new, group()).await?;
        assert!(
            group.ranks().iter().map(|rank| rank.get()).eq(expected.iter().copied()),
            "{group:?}, not {expected:?}"
        );
        assert_eq!(played!(Comm, comm, compare(new)).await?, compared(old, &expected));
    }
    Ok(new)
}

/// How two communicators of these ranks of the world relate.
fn compared(old: &[u32], new: &[u32]) -> Comparison {
    // The new one has none that the old one has not.
    match (old == new, old.len() == new.len()) {
        (true, _) => Comparison::Congruent,
        (false, true) => Comparison::Similar,
        (false, false) => Comparison::Unequal,
    }
}
