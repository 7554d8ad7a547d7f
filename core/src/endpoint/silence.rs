//! Who may keep silent for how long: when an endpoint says something, asks whether the hub lives, and gives it up.

use core::time::Duration;

use super::{Endpoint, Phase};
use crate::error::{Category, Fault};
use crate::request::Slot;
use crate::time::{Instant, OVERSLEPT};

impl<S: AsRef<[Slot]> + AsMut<[Slot]> + ?Sized> Endpoint<S> {
    /// Bytes of a payload have come, but not all: the hub lives, however slow the link is.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.pinged = None;
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    ///
    /// The value returned may change after: `poll_transmit`, `handle_frame`, `heard`, `handle_timeout`, `disconnect`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let joined = matches!(self.phase, Phase::Joined | Phase::Leaving(_) | Phase::Left);
        if self.config.max_silence.is_zero() || !joined {
            return None;
        }
        Some(match self.pinged {
            Some(pinged) if self.ping => pinged.later(self.hub_silence),
            Some(pinged) => pinged.later(self.hub_silence).min(self.last_sent.later(self.pause)),
            None => self.last_sent.min(self.last_heard).later(self.pause),
        })
    }

    /// A deadline has passed.
    ///
    /// # Errors
    ///
    /// `Timeout` if the hub has not answered a Ping in time: the driver closes the link.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Fault> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return Ok(());
        }
        if let Some(given_up) = self.pinged.map(|pinged| pinged.later(self.hub_silence)).filter(|at| *at <= now) {
            if now.since(given_up) <= OVERSLEPT {
                self.phase = Phase::Closed;
                return Err(Fault::new(Category::Timeout));
            }
            // This rank itself has not run, and the answer may be waiting: it asks once more.
            self.pinged = None;
        }
        self.ping = true;
        // From here on, not from when it leaves: a link that takes nothing any more would let it wait for ever.
        self.pinged.get_or_insert(now);
        Ok(())
    }
}

/// A duration in milliseconds, without the 128-bit and 64-bit divisions that boards would have to bring along.
#[inline(never)] // for boards: once is enough
pub(super) fn millis(duration: Duration) -> u32 {
    let seconds = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    seconds.saturating_mul(1000).saturating_add(duration.subsec_millis())
}
