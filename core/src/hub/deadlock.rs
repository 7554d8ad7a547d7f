//! Ranks that wait for each other: found, told whom they wait for and where, and set free.
//!
//! A rank is *blocked* if it has said that a thread of it waits for a request which has not been answered, and that no other
//! one makes calls. So it makes no call before that. So its request is served only by calls of others:
//!
//! - a receive from one rank, by a call of that rank; a send that has met no receive, by a call of its destination;
//! - a receive from any rank, by a call of any other rank of the communicator;
//! - a collective that has not begun, by calls of all those without whom it can not begin.
//!
//! The stuck ranks are the largest set of blocked ranks in which nobody's request can be served as long as none of them
//! makes a call. It is found by taking out of all blocked ranks, again and again, whoever somebody outside could serve.
//!
//! **No rank of a correct program is ever among them.** Suppose one of the set were served later, and take the first.
//! Until then all others of the set wait, too, so they make no call; and what serves the first is a call of a rank that
//! it waits for. If it waits for one rank, or for all of several, one of these is in the set, and has made no call. If it
//! waits for any rank, all of them are in the set, or are gone. So nobody can have served it. What is on its way does not
//! matter: a rank says that it is blocked after all calls that it made before, on the same link, so the hub has had them
//! all, and has matched whatever matches. An answer that is on its way to the rank has ended the request here. Whatever
//! the hub does not understand (bytes in motion, work in progress, an answer put off because the rank is far ahead of
//! the others) counts as served.
//!
//! **Every deadlock of blocked ranks is found.** The set grows only when a rank becomes blocked or is gone; each time the
//! hub looks, a moment later: most waits are over by then. Looking takes time in proportion to the ranks and to what
//! they wait for, at most once in each such moment, and none at all in a world where nobody says that it is blocked.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::cycles::{Cycles, describe_cycle};
use super::peer::Place;
use super::sides::list;
use super::waits::Wait;
use super::{Hub, Timer};
use crate::error::{Category, Fault};
use crate::rank::Rank;
use crate::request::RequestId;

/// How long after a rank has become blocked the hub looks whether anybody can help it.
const LOOK_AFTER: Duration = Duration::from_millis(20);

/// A blocked rank.
struct Blocked {
    request: RequestId,
    wait: Wait,
    /// Whether nobody can help it, as far as is known yet.
    stuck: bool,
}

/// Something that blocked ranks wait for together: it happens once enough of the ranks that it takes can go on.
struct Hope {
    /// How many more of them that is.
    left: usize,
    waiting: Vec<Rank>,
}

/// Who waits for whom.
#[derive(Default)]
struct Waits {
    blocked: BTreeMap<Rank, Blocked>,
    hopes: Vec<Hope>,
    /// Which hopes a rank is needed for.
    needed: Vec<(Rank, usize)>,
    /// Hopes that came true.
    fulfilled: Vec<usize>,
}

impl Waits {
    fn is_stuck(&self, rank: Rank) -> bool {
        self.blocked.get(&rank).is_some_and(|one| one.stuck)
    }

    /// What comes true once `count` of the stuck ranks that it takes have turned out to go on.
    fn hope(&mut self, waiting: Vec<Rank>, stuck: &[Rank], count: usize) {
        let index = self.hopes.len();
        self.needed.extend(stuck.iter().map(|rank| (*rank, index)));
        self.hopes.push(Hope { left: count, waiting });
        if count == 0 {
            self.fulfilled.push(index);
        }
    }

    /// Leaves only those stuck whom nobody can help.
    fn settle(&mut self) {
        self.needed.sort_unstable();
        while let Some(index) = self.fulfilled.pop() {
            let waiting = self.hopes.get_mut(index).map(|hope| core::mem::take(&mut hope.waiting)).unwrap_or_default();
            for rank in waiting {
                let Some(one) = self.blocked.get_mut(&rank) else { continue };
                if core::mem::replace(&mut one.stuck, false) {
                    self.goes_on(rank);
                }
            }
        }
    }

    fn goes_on(&mut self, rank: Rank) {
        let first = self.needed.partition_point(|(needed, _)| *needed < rank);
        for (_, index) in self.needed.iter().skip(first).take_while(|(needed, _)| *needed == rank) {
            let Some(hope) = self.hopes.get_mut(*index) else { continue };
            hope.left = hope.left.saturating_sub(1);
            if hope.left == 0 {
                self.fulfilled.push(*index);
            }
        }
    }
}

impl Hub {
    /// The one thread of `rank` waits for `request`. If that has been answered, it does not know yet.
    pub(super) fn on_blocked(&mut self, rank: Rank, request: RequestId) {
        let Some(session) = self.session_mut(rank) else { return };
        if session.requests.contains_key(&request) {
            session.blocked = Some(request);
            self.any_blocked = true;
            self.suspect_deadlock();
        }
    }

    /// Somebody may wait now for those who wait for it: the hub looks, in a moment.
    pub(super) fn suspect_deadlock(&mut self) {
        if self.any_blocked && !self.suspects_deadlock && !self.over {
            self.suspects_deadlock = true;
            self.set_timer(self.now + LOOK_AFTER, Timer::Deadlock);
        }
    }

    /// Fails what ranks wait for that can never go on.
    pub(super) fn end_deadlocks(&mut self) {
        self.suspects_deadlock = false;
        let waits = self.waits();
        self.any_blocked = !waits.blocked.is_empty();
        let stuck: Vec<Rank> = waits.blocked.iter().filter(|(_, one)| one.stuck).map(|(rank, _)| *rank).collect();
        if stuck.is_empty() {
            return;
        }
        let is_kept = |hub: &Self, rank: Rank| {
            let request = waits.blocked.get(&rank).map(|one| one.request);
            let place = hub.session(rank).zip(request).and_then(|(session, request)| session.requests.get(&request));
            matches!(place, Some(Place::Kept))
        };
        // Whoever keeps a message is stuck, too, and once it has been told, it may still receive this: unless it waits for
        // such a receive itself.
        let all_kept = stuck.iter().all(|rank| is_kept(self, *rank));
        for (rank, (fault, text)) in self.explain(&waits, &stuck) {
            let Some(one) = waits.blocked.get(&rank) else { continue };
            match (is_kept(self, rank), all_kept) {
                (false, _) => self.end_wait(rank, one.request, fault, &text),
                (true, true) => self.lose_kept(rank, one.request, fault, &text),
                (true, false) => self.suspect_deadlock(),
            }
        }
    }

    /// Who is blocked, for whom they wait, and who of them is stuck.
    fn waits(&self) -> Waits {
        let mut waits = Waits::default();
        for (index, session) in self.ranks.iter().enumerate() {
            let rank = Rank::new(index as u32);
            if let Some(request) = session.blocked.filter(|_| session.is_alive())
                && let Some(wait) = self.wait_of(rank, request)
            {
                waits.blocked.insert(rank, Blocked { request, wait, stuck: true });
            }
        }
        let (mut operations, mut anybody) = (BTreeMap::new(), BTreeMap::new());
        let mut singles = Vec::new();
        for (rank, one) in &waits.blocked {
            match one.wait {
                Wait::For(other) => singles.push((*rank, other)),
                Wait::ForAnybody { communicator } => {
                    anybody.entry(communicator).or_insert_with(Vec::new).push(*rank);
                }
                Wait::ForParticipants { operation } => {
                    operations.entry(operation).or_insert_with(Vec::new).push(*rank);
                }
            }
        }
        for (rank, other) in singles {
            let count = usize::from(waits.is_stuck(other));
            waits.hope(alloc::vec![rank], &[other][..count], count);
        }
        for (id, waiting) in operations {
            let Some(operation) = self.operations.get(&id) else { continue };
            let needed: Vec<Rank> = operation.awaited().filter(|rank| waits.is_stuck(*rank)).collect();
            let count = needed.len();
            waits.hope(waiting, &needed, count);
        }
        for (communicator, waiting) in anybody {
            let (stuck, goes_on) = self.partners(&waits, communicator);
            waits.hope(waiting, &stuck, usize::from(!goes_on));
        }
        waits.settle();
        waits
    }

    /// Who of a communicator is stuck, and whether anybody is not. Those who are gone do not count.
    fn partners(&self, waits: &Waits, communicator: u64) -> (Vec<Rank>, bool) {
        let mut stuck = Vec::new();
        let members = self.members(communicator).map(|all| &*all.members).unwrap_or_default();
        for rank in members.iter().filter(|rank| !self.is_absent_in(communicator, **rank)) {
            if !waits.is_stuck(*rank) {
                return (Vec::new(), true);
            }
            stuck.push(*rank);
        }
        (stuck, false)
    }

    /// A stuck rank that this stuck one waits for, itself perhaps.
    fn next_stuck(&self, waits: &Waits, rank: Rank) -> Option<Rank> {
        match waits.blocked.get(&rank)?.wait {
            Wait::For(other) => Some(other),
            Wait::ForAnybody { communicator } => {
                let mut others = self.members(communicator)?.members.iter().copied().filter(|other| *other != rank);
                Some(others.find(|other| waits.is_stuck(*other)).unwrap_or(rank))
            }
            Wait::ForParticipants { operation } => {
                self.operations.get(&operation)?.awaited().find(|other| waits.is_stuck(*other))
            }
        }
    }

    /// What each stuck rank is told: the cycle that it waits in, or for.
    fn explain(&self, waits: &Waits, stuck: &[Rank]) -> Vec<(Rank, (Fault, String))> {
        let walked = Cycles::find(stuck, |rank| self.next_stuck(waits, rank));
        let describe = |rank| self.describe_wait(waits, rank);
        let texts: Vec<String> = walked.cycles.iter().map(|links| describe_cycle(links, describe)).collect();
        let count = stuck.len() as u32;
        let tell = |rank: &Rank| {
            // Who waits for anybody, and has lost all others, some of them to death: that is why.
            if self.failed > 0
                && let Some(Wait::ForAnybody { communicator }) = waits.blocked.get(rank).map(|one| one.wait)
                && let Some((fault, text)) = self.nobody_beside(communicator, *rank)
            {
                return Some((*rank, (fault, format!("{text}; {}", describe(*rank)))));
            }
            let (index, is_member) = walked.cycle_of(*rank)?;
            let links = walked.cycles.get(index)?;
            let first = links.first().copied()?;
            let mut text = String::from(match (links.len(), is_member) {
                (1, true) => "nobody can end this wait: ",
                (1, false) => "nobody can end these waits: ",
                _ => "ranks wait for each other for ever: ",
            });
            if !is_member {
                text.push_str(&describe(*rank));
                text.push_str("; ");
            }
            text.push_str(texts.get(index)?);
            Some((*rank, (Fault::of_ranks(Category::Deadlock, first, count), text)))
        };
        stuck.iter().filter_map(tell).collect()
    }

    /// "rank 0 waits in recv(from rank 1, tag 5) at main.rs:3:9 for rank 1".
    fn describe_wait(&self, waits: &Waits, rank: Rank) -> String {
        let Some(one) = waits.blocked.get(&rank) else { return String::new() };
        let call = self.describe_request(rank, one.request).unwrap_or_default();
        let whom = match one.wait {
            Wait::For(other) if other == rank => String::from("itself"),
            Wait::For(other) => format!("rank {other}"),
            Wait::ForAnybody { communicator } => {
                let (others, _) = self.partners(waits, communicator);
                let others: Vec<Rank> = others.into_iter().filter(|other| *other != rank).collect();
                match others.as_slice() {
                    [] => String::from("a message, and nobody is left to send one"),
                    [other] => format!("a message from rank {other}, which waits, too"),
                    _ => format!("a message from any of {}, which all wait, too", list(&others)),
                }
            }
            Wait::ForParticipants { operation } => {
                let operation = self.operations.get(&operation);
                let awaited: Vec<Rank> = operation.into_iter().flat_map(|operation| operation.awaited()).collect();
                format!("{}, which {} not called it", list(&awaited), if awaited.len() == 1 { "has" } else { "have" })
            }
        };
        format!("rank {rank} waits in {call} for {whom}")
    }

    /// Fails one request that can not be served, and with a collective everybody in it.
    fn end_wait(&mut self, rank: Rank, request: RequestId, fault: Fault, text: &str) {
        // It may have failed already, with another one of the same collective.
        let Some(place) = self.session(rank).and_then(|session| session.requests.get(&request)).copied() else {
            return;
        };
        match place {
            Place::Operation { id, .. } => {
                let Some(mut operation) = self.operations.remove(&id) else { return };
                if !operation.has_failed() {
                    self.fail_operation(&mut operation, fault, text);
                }
                return self.put_back(operation);
            }
            Place::Kept => return,
            Place::Unexpected { .. } | Place::Posted { .. } => {
                self.take_back(rank, place);
            }
        }
        self.fail_request(rank, request, fault, text);
    }
}
