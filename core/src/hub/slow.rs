//! Calls that wait for long: one line each that says for whom, and what those do.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::activity::seconds;
use super::cycles::{Cycles, describe_cycle};
use super::operation::{Operation, Phase, Presence};
use super::waits::Wait;
use super::{Event, Hub, Timer};
use crate::rank::{Rank, Source};
use crate::time::Instant;
use crate::wire::Submit;

/// How many lines are told at a time; of more, the number.
const MAX_LINES: usize = 8;
/// How many ranks are named in a line.
pub(super) const MAX_NAMED: usize = 8;
/// What is said of a send that a matched probe has found.
pub(super) const KEPT: &str = "; found by a matched probe and not received";
/// How the ranks of a suspected cycle would be told for sure.
const HINT: &str = " (ranks that make calls from one thread alone, and wait in wait(), are told so at once, if their \
                    process has no other thread or EDGEMPI_THREADS=single)";

/// When a call that has begun at `since` is told of: after `slow`, twice that, and so on. The first such time after `last`.
fn next_due(since: Instant, slow: Duration, last: Instant) -> Instant {
    let mut wait = slow.max(Duration::from_millis(1));
    while since + wait <= last {
        wait = wait.saturating_mul(2);
    }
    since + wait
}

/// Calls that are due to be told of, and when the next one will be.
struct Due {
    slow: Duration,
    last: Instant,
    now: Instant,
    next: Option<Instant>,
    lines: Vec<String>,
    unsaid: usize,
}

impl Due {
    /// Takes a call into account that has begun at `since`.
    fn consider(&mut self, since: Instant, line: impl FnOnce(Duration) -> String) {
        let mut due = next_due(since, self.slow, self.last);
        if due <= self.now {
            if self.lines.len() < MAX_LINES {
                self.lines.push(line(self.now.since(since)));
            } else {
                self.unsaid += 1;
            }
            due = next_due(since, self.slow, self.now);
        }
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }
}

impl Hub {
    /// A call has come: if it takes long, people will hear of it. The timer looks at all that waits, but only now and
    /// then, so what is over before costs nothing.
    pub(super) fn watch_for_slow_calls(&mut self) {
        if let Some(slow) = self.config.slow.filter(|_| !self.watches_slow_calls) {
            self.watches_slow_calls = true;
            self.looked_for_slow_calls = self.now;
            self.set_timer(self.now + slow, Timer::Slow);
        }
    }

    /// Tells of the calls that have waited for long, and comes back when the next one will have.
    pub(super) fn tell_slow_calls(&mut self) {
        self.watches_slow_calls = false;
        let Some(slow) = self.config.slow.filter(|_| !self.over) else { return };
        let (now, last) = (self.now, core::mem::replace(&mut self.looked_for_slow_calls, self.now));
        let mut due = Due { slow, last, now, next: None, lines: Vec::new(), unsaid: 0 };
        let suspected = self.suspected_cycles();
        for links in &suspected.cycles {
            due.consider(self.oldest(links), |_| self.describe_suspicion(links));
        }
        let waiting = self.operations.values().filter(|operation| operation.is_waited_for());
        for operation in waiting {
            due.consider(operation.since, |waited| self.describe_slow(operation, waited));
        }
        // What a rank of a cycle waits for has been told with the cycle.
        let is_told = |rank: Rank, submit: &Submit| {
            let is_it = self.session(rank).is_some_and(|session| session.waits_in() == Some(submit.request));
            is_it && suspected.cycle_of(rank).is_some_and(|(_, is_member)| is_member)
        };
        for ((_, dest), mailbox) in &self.mail {
            for message in mailbox.messages().filter(|message| message.is_waited_for()) {
                if !is_told(message.sender, &message.submit) {
                    due.consider(message.since, |waited| {
                        self.describe_wait_for(message.sender, waited, &message.submit, Source::Rank(*dest))
                    });
                }
            }
            for (source, posted) in mailbox.receives().filter(|(_, posted)| !is_told(posted.receiver, &posted.submit)) {
                due.consider(posted.since, |waited| {
                    self.describe_wait_for(posted.receiver, waited, &posted.submit, source)
                });
            }
        }
        for ((keeper, _), message) in self.kept.iter().filter(|(_, message)| message.is_waited_for()) {
            if !is_told(message.sender, &message.submit) {
                due.consider(message.since, |waited| {
                    self.describe_wait_for(message.sender, waited, &message.submit, Source::Rank(*keeper)) + KEPT
                });
            }
        }
        let Due { next, mut lines, unsaid, .. } = due;
        if unsaid > 0 {
            lines.push(format!("{unsaid} more calls have waited as long"));
        }
        let room = self.room_for_lines();
        self.events.extend(lines.into_iter().take(room).map(|text| Event::Slow { text }));
        if let Some(next) = next {
            self.watches_slow_calls = true;
            // Many calls, each begun a moment after the other, are looked at together.
            self.set_timer(next.max(now + slow / 64), Timer::Slow);
        }
    }

    /// How many more lines are kept: if nobody takes them, there are not more and more of them.
    pub(super) fn room_for_lines(&self) -> usize {
        (2 * self.ranks.len() + 4 * MAX_LINES).saturating_sub(self.events.len())
    }

    /// "allreduce(SUM, 100 x f32) at main.rs:12:5 has waited 60 s: 7 of 10 have come; missing rank 4 (…), rank 8 (…)".
    fn describe_slow(&self, operation: &Operation, waited: Duration) -> String {
        let call = self.describe_operation(operation);
        let (come, size) = (operation.arrived, operation.size());
        let mut text = format!("{call} has waited {}: {come} of {size} have come", seconds(waited));
        let (missing, unnamed) = self.describe_missing(operation);
        if !missing.is_empty() {
            let more = if unnamed > 0 { format!(" and {unnamed} more") } else { String::new() };
            let word = if operation.arrived < operation.size() { "missing" } else { "waiting for" };
            text.push_str(&format!("; {word} {}{more}", missing.join(", ")));
        } else if operation.at_work {
            text.push_str("; its function runs at the hub, or waits for a thread there");
        }
        text
    }

    /// An operation and where the first of those who wait in it called it.
    pub(super) fn describe_operation(&self, operation: &Operation) -> String {
        if operation.key.is_none() {
            let [from, to] = [0, 1].map(|at| operation.participants.get(at).map(|one| one.rank).unwrap_or_default());
            return format!("the message from rank {from} to rank {to} with tag {}", operation.tag);
        }
        let waiting = operation.participants.iter().find(|one| one.presence == Presence::Present);
        let site = waiting.map(|one| self.site_of(one.rank, one.site)).unwrap_or_default();
        format!("{}{}{site}", operation.signature.describe(), operation.group.describe())
    }

    /// Ranks that have not come, or have not sent all, or not taken all, with what is known of each; and how many more.
    pub(super) fn describe_missing(&self, operation: &Operation) -> (Vec<String>, usize) {
        let (mut named, mut unnamed) = (Vec::new(), 0);
        for (position, one) in operation.participants.iter().enumerate() {
            let may_be_slow = operation.is_complete() && one.presence == Presence::Present;
            let (sent, given) = if may_be_slow { operation.progress(position) } else { (0, 0) };
            let is_slow = sent < given;
            if one.presence != Presence::Absent && !is_slow {
                continue;
            }
            if named.len() == MAX_NAMED {
                unnamed += 1;
                continue;
            }
            let rank = one.rank;
            let state =
                if is_slow { format!("{} % sent", sent * 100 / given.max(1)) } else { self.describe_activity(rank) };
            named.push(format!("rank {rank} ({state})"));
        }
        (named, unnamed)
    }

    /// "rank 3 has waited 60 s in recv(from rank 1, tag 5) at main.rs:3:5 for rank 1 (…)".
    fn describe_wait_for(&self, rank: Rank, waited: Duration, submit: &Submit, other: Source) -> String {
        let call = self.describe_call(rank, submit);
        let whom = match other {
            Source::Rank(other) if other == rank => String::from("itself"),
            Source::Rank(other) => format!("rank {other} ({})", self.describe_activity(other)),
            Source::Any => String::from("a message from any rank"),
        };
        format!("rank {rank} has waited {} in {call} for {whom}", seconds(waited))
    }

    /// The ranks that wait for each other, as far as their last calls tell: a rank may well make another from another
    /// thread, so nothing is done about it.
    fn suspected_cycles(&self) -> Cycles {
        let waiting =
            self.ranks.iter().enumerate().filter(|(_, session)| session.is_alive() && session.waits_in().is_some());
        let starts: Vec<Rank> = waiting.map(|(index, _)| Rank::new(index as u32)).collect();
        // All who wait in an operation wait for the same rank, and looking for that may take a while.
        let mut awaited: BTreeMap<u64, Option<Rank>> = BTreeMap::new();
        Cycles::find(&starts, |rank| {
            let session = self.session(rank).filter(|session| session.is_alive())?;
            match self.wait_of(rank, session.waits_in()?)? {
                Wait::For(other) => Some(other),
                Wait::ForAnybody { .. } => None,
                Wait::ForParticipants { operation } => *awaited
                    .entry(operation)
                    .or_insert_with(|| self.operations.get(&operation).and_then(|held| held.awaited().next())),
            }
        })
    }

    /// When the first of these ranks began to wait.
    fn oldest(&self, links: &[Rank]) -> Instant {
        let begun = |rank: &Rank| self.session(*rank).map(|session| session.last.at);
        links.iter().filter_map(begun).min().unwrap_or(self.now)
    }

    /// "this may be a deadlock: rank 0 has waited 60 s in recv(from rank 1, tag 5) at main.rs:3:5 for rank 1; …".
    fn describe_suspicion(&self, links: &[Rank]) -> String {
        let next = |rank: Rank| {
            let at = links.iter().position(|link| *link == rank).map_or(0, |at| at + 1);
            links.get(at).or(links.first()).copied().unwrap_or(rank)
        };
        let cycle = describe_cycle(links, |rank| {
            let Some(session) = self.session(rank) else { return String::new() };
            let call = session.waits_in().and_then(|request| self.describe_request(rank, request)).unwrap_or_default();
            let waited = seconds(self.now.since(session.last.at));
            let whom = if next(rank) == rank { String::from("itself") } else { format!("rank {}", next(rank)) };
            format!("rank {rank} has waited {waited} in {call} for {whom}")
        });
        // Of a rank with several requests nobody knows whether it waits for all of them: if not, it is never told.
        let waits_for_one = |rank: &Rank| self.session(*rank).is_some_and(|session| session.requests.len() == 1);
        let hint = if links.iter().all(waits_for_one) { HINT } else { "" };
        format!("this may be a deadlock: {cycle}{hint}")
    }
}

impl Operation {
    /// Whether a rank waits for it.
    pub(super) fn is_waited_for(&self) -> bool {
        let waiting = (self.arrived + self.unanswered).saturating_sub(self.size());
        waiting > 0 && !matches!(self.phase, Phase::Failed(..))
    }

    /// Bytes that the participant at `position` has sent, and those that it gives in all, of an operation that runs.
    pub(super) fn progress(&self, position: usize) -> (u64, u64) {
        let streams = self.ups(position).iter().filter_map(|(_, index)| self.streams.get(index));
        streams
            .filter(|stream| !stream.void)
            .fold((0, 0), |(sent, given), stream| (sent + stream.received, given + stream.len))
    }
}
