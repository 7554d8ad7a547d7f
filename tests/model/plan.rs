//! What a program comes to: who takes part in each step, in which communicator.

use std::sync::OnceLock;

use crate::program::{Call, Data, Form, GivenUp, Limits, Program};
use crate::values::{Kind, hash};

/// A program, resolved.
#[derive(Debug)]
pub struct Plan {
    pub size: u32,
    pub pace: u64,
    pub steps: Vec<Planned>,
    /// Ranks may die: nothing waits for a message from whoever comes first.
    pub may_die: bool,
}

/// A step on all communicators of a family.
#[derive(Debug)]
pub struct Planned {
    pub family: usize,
    /// The family that a split makes.
    pub makes: usize,
    pub parts: Vec<Part>,
    pub call: Call,
    /// The rank of the world that gives up, and after how many pauses.
    pub given_up: Option<(u32, u32)>,
}

/// One communicator.
#[derive(Debug)]
pub struct Part {
    /// Its ranks, as ranks of the world.
    pub members: Vec<u32>,
    /// How many elements each rank gives to each.
    pub len: usize,
    /// What a fold of this step comes to, once somebody has asked.
    pub folded: OnceLock<Vec<u8>>,
}

/// A step as one rank sees it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub at: usize,
    pub call: &'a Call,
    pub part: &'a Part,
    /// The rank in the communicator.
    pub own: u32,
    pub may_die: bool,
}

/// Communicators that were made together, as long as they live: members in the order of their ranks.
type Family = Option<Vec<Vec<u32>>>;

impl Plan {
    pub fn new(program: &Program, limits: Limits, may_die: bool) -> Self {
        let size = program.size;
        let mut families: Vec<Family> = vec![Some(vec![(0..size).collect()])];
        let mut steps = Vec::new();
        for step in &program.steps {
            let alive: Vec<usize> = (0..families.len()).filter(|family| families[*family].is_some()).collect();
            let family = alive[step.on % alive.len()];
            let members = families[family].clone().unwrap_or_default();
            let makes = families.len();
            match step.call {
                Call::Split { colors, seed } => families.push(Some(split(&members, colors, seed))),
                // The world is there for ever.
                Call::Free if family > 0 => families[family] = None,
                _ => {}
            }
            let part =
                |members: Vec<u32>| Part { len: len(&step.call, &members, limits), members, folded: OnceLock::new() };
            steps.push(Planned {
                family,
                makes,
                parts: members.into_iter().map(part).collect(),
                call: step.call.clone(),
                given_up: step.given_up.and_then(|given_up| who_gives_up(&step.call, given_up, size)),
            });
        }
        Self { size, pace: program.pace, steps, may_die }
    }

    /// Step `at` as `rank` of the world sees it; `None` if it has no part in it.
    pub fn view(&self, at: usize, rank: u32) -> Option<View<'_>> {
        let step = &self.steps[at];
        step.parts.iter().find_map(|part| {
            let own = part.members.iter().position(|member| *member == rank)? as u32;
            Some(View { at, call: &step.call, part, own, may_die: self.may_die })
        })
    }
}

impl View<'_> {
    pub fn size(&self) -> u32 {
        self.part.members.len() as u32
    }

    /// The rank that a program means by this number.
    pub fn rank(&self, number: u32) -> u32 {
        number % self.size()
    }

    /// The ranks of the world that this call needs.
    pub fn needs(&self) -> Vec<u32> {
        let member = |rank: u32| self.part.members[rank as usize];
        match self.call {
            Call::Messages { from, to, .. } => vec![member(self.rank(*from)), member(self.rank(*to))],
            Call::Funnel { to, .. } if self.own != self.rank(*to) => vec![member(self.own), member(self.rank(*to))],
            Call::Apply { sources, destinations, .. } => {
                let [sources, destinations] = [sources, destinations].map(|bits| self.chosen(*bits));
                sources.into_iter().chain(destinations).map(member).collect()
            }
            _ => self.part.members.clone(),
        }
    }

    /// The ranks that a set of bits chooses, in an order of its own; at least one.
    pub fn chosen(&self, bits: u32) -> Vec<u32> {
        let mut ranks: Vec<u32> = (0..self.size()).filter(|rank| bits >> rank & 1 == 1).collect();
        if ranks.is_empty() {
            ranks.push(self.rank(bits));
        }
        let turned = bits as usize % ranks.len();
        ranks.rotate_left(turned);
        ranks
    }

    /// The tag of message `number` of this step: no other step has it.
    pub fn tag(&self, number: u32) -> u32 {
        self.at as u32 * 2 + number % 2
    }
}

/// The new communicators: by colour those who said one, in the order of their keys.
fn split(members: &[Vec<u32>], colors: u32, seed: u32) -> Vec<Vec<u32>> {
    if colors == 0 {
        return members.to_vec();
    }
    let mut parts = Vec::new();
    for old in members {
        for color in 0..colors {
            let mut new: Vec<(i32, u32)> = Vec::new();
            for (own, member) in (0..).zip(old) {
                let (said, key) = said(colors, seed, own);
                if said == Some(color) {
                    new.push((key, *member));
                }
            }
            // Stable: among equal keys the old order.
            new.sort_by_key(|(key, _)| *key);
            parts.push(new.into_iter().map(|(_, member)| member).collect());
        }
    }
    parts.retain(|part: &Vec<u32>| !part.is_empty());
    parts
}

/// What the rank says in a split: its colour and key.
pub fn said(colors: u32, seed: u32, own: u32) -> (Option<u32>, i32) {
    let random = hash(&[seed.into(), own.into()]);
    let color = (random % u64::from(colors + 1)) as u32;
    // With one colour or two now and then nobody stays away.
    let color = if color == colors { (random >> 8 & 1 == 1).then_some(0) } else { Some(color) };
    (color, (random >> 16) as i32 % 3)
}

/// How many elements each rank gives to each; with many ranks not more in all than with few.
fn len(call: &Call, members: &[u32], limits: Limits) -> usize {
    let Some(data) = call.data() else { return 0 };
    let element = match data.form {
        Form::Object => 1,
        _ => Kind::size(data.kind),
    };
    let len = data.length.elements(element, limits);
    match call {
        Call::Gather { .. }
        | Call::Scatter { .. }
        | Call::Allgather { .. }
        | Call::Alltoall { .. }
        | Call::ReduceScatter { .. }
        | Call::Varied { .. }
        | Call::Funnel { .. }
            if len * element > limits.frame =>
        {
            len / members.len()
        }
        _ => len,
    }
}

/// Which rank of the world gives up what it can.
fn who_gives_up(call: &Call, given_up: GivenUp, size: u32) -> Option<(u32, u32)> {
    let can = !matches!(call, Call::Split { .. } | Call::Free | Call::Funnel { .. });
    can.then_some((given_up.rank % size, given_up.after))
}

impl Call {
    pub fn data(&self) -> Option<Data> {
        match self {
            Self::Barrier { .. } | Self::Split { .. } | Self::Free => None,
            Self::Bcast { data, .. }
            | Self::Gather { data, .. }
            | Self::Scatter { data, .. }
            | Self::Allgather { data }
            | Self::Alltoall { data }
            | Self::Reduce { data, .. }
            | Self::Allreduce { data, .. }
            | Self::Scan { data, .. }
            | Self::ReduceScatter { data, .. }
            | Self::Varied { data, .. }
            | Self::Fold { data, .. }
            | Self::Messages { data, .. }
            | Self::Funnel { data, .. }
            | Self::Apply { data, .. } => Some(*data),
        }
    }

    /// Whether the others fail when one rank drops it: it borrows its buffers.
    pub fn is_cancelled_by_drop(&self) -> bool {
        match self {
            Self::Barrier { form } => *form == Form::Borrowed,
            // These own their buffers, whatever the form.
            Self::Apply { .. } | Self::Varied { .. } | Self::Fold { .. } => false,
            _ => self.data().is_some_and(|data| data.form == Form::Borrowed),
        }
    }
}
