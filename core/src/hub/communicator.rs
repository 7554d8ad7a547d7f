//! The communicators of a world: how ranks part into new ones, who is in them, and when they are forgotten.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::payload::Payload;

use super::group::GroupInfo;
use super::names::Groups;
use super::operation::{Key, Operation, Phase, Plan, Presence};
use super::peer::Life;
use super::{Hub, Refusal, broken, scatter};
use crate::call::{Color, SplitRequest, SplitResult};
use crate::error::{Category, Fault};
use crate::rank::Rank;
use crate::wire::{Complete, Layout, RankKind, Submit};

/// The number of the communicator of all ranks.
pub(super) const WORLD: u64 = 0;

/// A communicator that is in use.
pub(super) struct Communicator {
    pub(super) all: Arc<GroupInfo>,
    /// Groups of it that user operations have named, by the group's number.
    pub(super) groups: Groups<u64>,
    /// Ranks of the world that are done with it.
    released: BTreeSet<Rank>,
    /// A rank that can take part in nothing here any more, if there is one.
    missing: Option<Rank>,
    /// Who is in it, as ranks are told: all who ask share one copy.
    told: Option<Payload>,
}

impl Communicator {
    pub(super) fn new(all: GroupInfo) -> Self {
        Self { all: Arc::new(all), groups: Groups::new(), released: BTreeSet::new(), missing: None, told: None }
    }
}

impl Hub {
    pub(super) fn members(&self, communicator: u64) -> Option<&Arc<GroupInfo>> {
        self.communicators.get(&communicator).map(|held| &held.all)
    }

    /// A group that a session has named, as one of the communicator.
    pub(super) fn group_within(&mut self, communicator: u64, named: &Arc<GroupInfo>) -> Option<Arc<GroupInfo>> {
        let held = self.communicators.get_mut(&communicator)?;
        if communicator == WORLD {
            return Some(named.clone());
        }
        if let Some(group) = held.groups.get(&named.id) {
            return Some(group.clone());
        }
        let group = Arc::new(named.within(&held.all)?);
        held.groups.insert(named.id, group.clone());
        Some(group)
    }

    /// Why a rank can take part in nothing on a communicator any more, if so.
    pub(super) fn absence_in(&self, communicator: u64, rank: Rank) -> Option<Refusal> {
        self.absence(rank).or_else(|| {
            let released = self.communicators.get(&communicator).is_some_and(|held| held.released.contains(&rank));
            released.then(|| {
                let text = format!("rank {rank} has freed the communicator and takes part in nothing on it any more");
                (Fault::of_ranks(Category::RankFinished, rank, 1), text)
            })
        })
    }

    /// Why a group of a communicator is no longer whole, if so.
    pub(super) fn absence_of_any(&self, communicator: u64, group: &GroupInfo) -> Option<Refusal> {
        let missing = self.communicators.get(&communicator)?.missing?;
        match group.id {
            0 => self.absence_in(communicator, missing),
            _ => group.members.iter().find_map(|rank| self.absence_in(communicator, *rank)),
        }
    }

    /// A rank is gone: no communicator with it is whole any more.
    pub(super) fn note_missing(&mut self, rank: Rank) {
        let has_failed = |rank: Rank| {
            let session = self.ranks.get(rank.index());
            session.is_some_and(|session| matches!(session.life, Life::Failed(_)))
        };
        for held in self.communicators.values_mut().filter(|held| held.all.position(rank).is_some()) {
            // A failure says more than an orderly end.
            if held.missing.is_none_or(|earlier| has_failed(rank) && !has_failed(earlier)) {
                held.missing = Some(rank);
            }
        }
    }

    /// Whether a rank can take part in nothing on a communicator any more.
    pub(super) fn is_absent_in(&self, communicator: u64, rank: Rank) -> bool {
        let is_released = || self.communicators.get(&communicator).is_some_and(|held| held.released.contains(&rank));
        self.is_absent(rank) || is_released()
    }

    /// Whether nobody but `rank` is left in a communicator that others were in, too.
    pub(super) fn is_alone(&self, communicator: u64, rank: Rank) -> bool {
        let Some(held) = self.communicators.get(&communicator).filter(|held| held.missing.is_some()) else {
            return false;
        };
        let mut others = held.all.members.iter().filter(|other| **other != rank).peekable();
        others.peek().is_some() && others.all(|other| self.is_absent_in(communicator, *other))
    }

    /// Why nobody but `rank` is left in a communicator, if so.
    pub(super) fn nobody_beside(&self, communicator: u64, rank: Rank) -> Option<Refusal> {
        if !self.is_alone(communicator, rank) {
            return None;
        }
        // One that has failed, if any has.
        let held = self.communicators.get(&communicator)?;
        let (fault, text) = self.absence_in(communicator, held.missing?)?;
        let several = held.all.members.len() > 2;
        Some((fault, if several { format!("all other ranks are gone: {text}") } else { text }))
    }

    /// All have said their colour and key: makes the new communicators.
    pub(super) fn split_if_complete(&mut self, operation: &mut Operation) {
        if operation.incomplete > 0 || operation.phase != Phase::Running || !matches!(operation.plan, Plan::Split) {
            return;
        }
        let requests: Option<Vec<SplitRequest>> =
            operation.inputs().iter().map(|(_, bytes)| SplitRequest::from_bytes(bytes)).collect();
        let Some(requests) = requests else {
            let text = "a colour or key that means nothing";
            return self.fail_operation(operation, Fault::new(Category::Protocol), text);
        };
        let mut colors: BTreeMap<Common, Vec<(i32, usize)>> = BTreeMap::new();
        for (position, SplitRequest { color, key }) in requests.iter().enumerate() {
            if let Some(color) = color {
                let common = self.common(operation, position, *color);
                colors.entry(common).or_default().push((*key, position));
            }
        }
        if let (Some((first, one)), Some((last, other))) = (colors.first_key_value(), colors.last_key_value())
            && first.sort() != last.sort()
        {
            let odd_one = other.first().map_or(0, |(_, position)| *position);
            let text = self.describe_disagreement(operation, odd_one, |at| {
                let color = requests.get(at).and_then(|request| request.color);
                let by = color.map_or("no colour", |color| self.common(operation, at, color).sort());
                (operation.signature.describe_with(Some(format!("by {by}"))), "")
            });
            let one = one.first().and_then(|(_, position)| operation.group.members.get(*position)).copied();
            let fault = Fault::of_ranks(Category::Mismatch, one.unwrap_or_default(), 2);
            return self.fail_operation(operation, fault, &text);
        }
        let (held, max) = (self.communicators.len() + colors.len(), self.config.max_communicators as usize);
        if held > max {
            let text = format!("the world would have {held} communicators, {max} are allowed; free some");
            let fault = Fault::of_size(Category::TooLarge, held as u64, max as u64);
            return self.fail_operation(operation, fault, &text);
        }
        let nowhere = SplitResult { id: WORLD, rank: Rank::new(0), size: 0 };
        let mut results = alloc::vec![nowhere; requests.len()];
        for (color, mut positions) in colors {
            positions.sort_unstable();
            let id = operation.key.map_or(WORLD, |key| derived(key, color));
            if self.communicators.contains_key(&id) {
                let text = "two communicators have the same number by chance; split again";
                return self.fail_operation(operation, Fault::new(Category::Protocol), text);
            }
            let members =
                positions.iter().filter_map(|(_, position)| operation.group.members.get(*position).copied()).collect();
            let size = positions.len() as u32;
            for (rank, (_, position)) in positions.iter().enumerate() {
                if let Some(result) = results.get_mut(*position) {
                    *result = SplitResult { id, rank: Rank::new(rank as u32), size };
                }
            }
            self.communicators.insert(id, Communicator::new(GroupInfo::all(members)));
        }
        let outputs = results.iter().map(|result| Payload::from(&result.to_bytes()[..])).collect();
        self.applied(operation, outputs);
    }

    /// What the rank at `position` has in common with others of its new communicator.
    fn common(&self, operation: &Operation, position: usize, color: Color) -> Common {
        match color {
            Color::Number(number) => Common::Number(number),
            Color::Text(text) => Common::Text(u128::from_le_bytes(text)),
            Color::Kind => {
                let rank = operation.group.members.get(position);
                let hello = rank.and_then(|rank| self.session(*rank)?.hello);
                Common::Kind(hello.map_or(RankKind::Host, |hello| hello.kind) as u8)
            }
        }
    }

    /// A rank asks who is in a communicator.
    pub(super) fn on_members(&mut self, rank: Rank, submit: &Submit) {
        let room = self.room(rank, submit.flags).min(submit.receive);
        let Some(held) = self.communicators.get_mut(&submit.communicator) else { return };
        let members = &held.all.members;
        let told = held.told.get_or_insert_with(|| {
            let bytes: Vec<u8> = members.iter().flat_map(|member| member.get().to_le_bytes()).collect();
            Payload::from(bytes)
        });
        let (told, bytes) = (told.clone(), told.len() as u64);
        if bytes > room {
            let text =
                format!("the list of the communicator's members has {bytes} bytes, this rank takes {room} at once");
            return self.fail_call(rank, submit, Fault::of_size(Category::TooLarge, bytes, room), &text);
        }
        let complete = Complete { layout: Layout::Single, bytes, ..super::answer::blank(submit.request) };
        self.complete_request(rank, submit.request, super::peer::Sent::Nothing, told, complete);
    }

    /// A rank is done with a communicator; nobody waits for anybody.
    pub(super) fn on_free(&mut self, rank: Rank, submit: &Submit) -> Result<(), Refusal> {
        let id = submit.communicator;
        if id == WORLD {
            return Err(broken("the world can not be freed"));
        }
        if let Some(session) = self.session_mut(rank) {
            session.notice.remove(&id);
        }
        let mut is_news = false;
        if let Some(held) = self.communicators.get_mut(&id) {
            is_news = held.released.insert(rank);
            held.missing.get_or_insert(rank);
        }
        self.complete_request(rank, submit.request, super::peer::Sent::Nothing, Payload::new(), {
            super::answer::blank(submit.request)
        });
        if is_news && let Some((fault, text)) = self.absence_in(id, rank) {
            let concerns = |operation: &Operation| {
                operation.key.is_some_and(|key| key.communicator == id)
                    && operation.participants.iter().any(|one| one.rank == rank && one.presence == Presence::Absent)
            };
            self.fail_operations(concerns, fault, &text);
            self.mail_gone(rank, Some(id), fault, &text);
            self.suspect_deadlock();
        }
        self.forget_communicator(id);
        Ok(())
    }

    /// A rank is gone: communicators that nobody uses any more go with it.
    pub(super) fn leave_all(&mut self, rank: Rank) {
        let held = self.communicators.iter().filter(|(id, held)| **id != WORLD && held.all.position(rank).is_some());
        let ids: Vec<u64> = held.map(|(id, _)| *id).collect();
        for id in ids {
            self.forget_communicator(id);
        }
    }

    fn forget_communicator(&mut self, id: u64) {
        let Some(held) = self.communicators.get(&id) else { return };
        if held.all.members.iter().all(|member| self.is_absent_in(id, *member)) {
            self.communicators.remove(&id);
            let ranks = (id, Rank::new(0))..=(id, Rank::new(u32::MAX));
            self.lonely.extract_if(ranks, |_, _| true).for_each(drop);
        }
    }
}

/// The number of the communicator that the ranks of `color` form: it follows from the name of the call, so that another
/// life of the hub would find the same one.
fn derived(key: Key, color: Common) -> u64 {
    let Key { communicator, group, n } = key;
    // The upper half of what is scattered depends on all of the number.
    let mixed = |high: u64, low: u64| (scatter(u128::from(high) << 64 | u128::from(low)) >> 64) as u64;
    let (sort, color) = match color {
        Common::Number(number) => (0, number.into()),
        Common::Kind(kind) => (1, kind.into()),
        Common::Text(text) => (2, text),
    };
    let call = mixed(mixed(communicator, group), u64::from(n) << 32 | sort);
    mixed(mixed(call, (color >> 64) as u64), color as u64).max(1)
}

/// What the ranks of one new communicator have in common, all of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Common {
    Number(u32),
    Kind(u8),
    Text(u128),
}

impl Common {
    /// What it is, for people.
    fn sort(self) -> &'static str {
        match self {
            Self::Number(_) => "colour",
            Self::Kind(_) => "kind of rank",
            Self::Text(_) => "machine",
        }
    }
}
