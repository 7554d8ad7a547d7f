//! Receives from any rank on a rank that all others have left. It could still send to itself, after it has asked, or
//! from another thread; so such a receive is not hopeless at once, but soon.

use core::time::Duration;

use super::{Hub, Timer};
use crate::rank::{Rank, Source};

/// How long a rank that is alone has to send to itself what it waits for.
const ALONE_WAIT: Duration = Duration::from_secs(1);

impl Hub {
    /// Looks again in a moment at what `rank` receives from any rank, as it is alone in the communicator.
    pub(super) fn suspect_lonely(&mut self, communicator: u64, rank: Rank) {
        // One look is enough for any number of receives.
        if self.lonely.insert((communicator, rank)) {
            self.set_timer(self.now + ALONE_WAIT, Timer::Lonely(communicator, rank));
        }
    }

    /// Fails the receives from any rank that nobody has served in all the time since their rank was alone. Those that
    /// came meanwhile are looked at the next time: so they wait for less than twice as long.
    pub(super) fn end_lonely(&mut self, communicator: u64, rank: Rank) {
        self.lonely.remove(&(communicator, rank));
        let Some((fault, text)) = self.nobody_beside(communicator, rank) else { return };
        let now = self.now;
        let Some(mailbox) = self.mail.get_mut(&(communicator, rank)) else { return };
        let lonely =
            mailbox.take_unservable(|source, posted| source == Source::Any && now.since(posted.since) >= ALONE_WAIT);
        let is_left = mailbox.waits_for_anybody();
        self.forget_empty(communicator, rank);
        for posted in lonely {
            self.fail_call(posted.receiver, &posted.submit, fault, &text);
        }
        if is_left {
            self.suspect_lonely(communicator, rank);
        }
    }
}
