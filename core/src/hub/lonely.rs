//! What a rank asks for, from any rank, when all others have left it alone; and what it asks again and again, when
//! nobody can send it any more. It could still send to itself, from another thread, say. So a correct program may do
//! either, and is only told of; unless somebody has died: then nothing may wait for ever.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::mail::{Mailbox, Posted};
use super::{Event, Hub, Refusal, Timer};
use crate::error::Category;
use crate::rank::{Rank, Source};
use crate::time::Instant;
use crate::wire::Submit;

/// How long a rank that is alone has to send to itself what it waits for.
const ALONE_WAIT: Duration = Duration::from_secs(1);

/// What is known of a rank that is alone in a communicator and waits for a message from any rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lonely {
    /// The hub looks again in a moment.
    Suspected,
    /// People have been told.
    Told,
}

/// A rank that asks, and asks again, for what nobody can send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asking {
    since: Instant,
    last: Instant,
    is_told: bool,
}

impl Hub {
    /// Looks again in a moment at what `rank` receives from any rank, as it is alone in the communicator.
    pub(super) fn suspect_lonely(&mut self, communicator: u64, rank: Rank) {
        let known = self.lonely.get(&(communicator, rank));
        // One look is enough for any number of receives; and once people have been told, only a death changes anything.
        if known.is_none_or(|lonely| *lonely == Lonely::Told && self.failed > 0) {
            self.lonely.insert((communicator, rank), Lonely::Suspected);
            self.set_timer(self.now + ALONE_WAIT, Timer::Lonely(communicator, rank));
        }
    }

    /// Looks at the receives from any rank that nobody has served in all the time since their rank was alone. Those that
    /// came meanwhile are looked at the next time: so they wait for less than twice as long.
    pub(super) fn end_lonely(&mut self, communicator: u64, rank: Rank) {
        self.lonely.remove(&(communicator, rank));
        let Some((fault, text)) = self.nobody_beside(communicator, rank) else { return };
        let (now, somebody_died) = (self.now, self.failed > 0);
        let Some(mailbox) = self.mail.get_mut(&(communicator, rank)) else { return };
        let is_due = |source: Source, posted: &Posted| source == Source::Any && now.since(posted.since) >= ALONE_WAIT;
        if somebody_died {
            for posted in mailbox.take_unservable(is_due) {
                self.fail_call(posted.receiver, &posted.submit, fault, &text);
            }
        } else {
            let due = mailbox.receives().find(|(source, posted)| is_due(*source, posted));
            if let Some(submit) = due.map(|(_, posted)| posted.submit) {
                self.lonely.insert((communicator, rank), Lonely::Told);
                self.tell_people(|hub| {
                    let call = hub.describe_call(rank, &submit);
                    format!("rank {rank} waits in {call}, and nobody but rank {rank} could send to it: {text}")
                });
            }
        }
        if self.mail.get(&(communicator, rank)).is_some_and(Mailbox::waits_for_anybody) {
            self.suspect_lonely(communicator, rank);
        }
        self.forget_empty(communicator, rank);
    }

    /// Why `rank`, which asks whether there is a message, is refused: none can come, because somebody has failed. When all
    /// that could send one have finished, it may just look whether anything is left; but not for ever.
    pub(super) fn asks_in_vain(&mut self, rank: Rank, submit: &Submit, source: Source) -> Option<Refusal> {
        let (fault, text) = match source {
            Source::Rank(source) => self.absence_in(submit.communicator, source),
            Source::Any => self.nobody_beside(submit.communicator, rank),
        }?;
        if fault.category == Category::RankFailed || (source == Source::Any && self.failed > 0) {
            return Some((fault, text));
        }
        let now = self.now;
        let asking = self.session_mut(rank)?.asking.get_or_insert(Asking { since: now, last: now, is_told: false });
        // Who asks now and then does not go on asking.
        if now.since(asking.last) >= ALONE_WAIT {
            *asking = Asking { since: now, last: now, is_told: false };
        }
        asking.last = now;
        let is_due = !asking.is_told && now.since(asking.since) >= ALONE_WAIT;
        asking.is_told |= is_due;
        if is_due {
            self.tell_people(|hub| {
                format!("rank {rank} goes on asking in {}: {text}", hub.describe_call(rank, submit))
            });
        }
        None
    }

    /// A line for people, unless they want none.
    fn tell_people(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.config.slow.is_some() && self.room_for_lines() > 0 {
            let text = line(self);
            self.events.push_back(Event::Slow { text });
        }
    }
}
