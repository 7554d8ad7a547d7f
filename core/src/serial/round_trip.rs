//! How long the other end takes to answer, and how long to wait for it.

use super::Micros;

/// Shortest and longest wait, before it backs off.
const SHORTEST: u32 = 4_000;
const LONGEST: u32 = 10_000_000;
/// What is waited before anything is known.
const INITIAL: u32 = 100_000;
/// The wait does not back off beyond this, unless it has to be longer from the beginning.
const PATIENCE: u32 = 1_000_000;

/// An estimate as in RFC 6298, of frames that left just once since the last Ping (Karn's rule).
#[derive(Debug)]
pub(super) struct RoundTrip {
    /// Eight times the smoothed time, in microseconds; 0 if nothing is known.
    smoothed: u32,
    /// Four times the smoothed deviation.
    deviation: u32,
    /// How often nothing new came in time.
    retries: u8,
    /// The frame whose way there and back is timed, by its order.
    timed: Option<(u8, Micros)>,
}

impl RoundTrip {
    pub(super) const fn new() -> Self {
        Self { smoothed: 0, deviation: 0, retries: 0, timed: None }
    }

    /// A frame has left.
    pub(super) fn handle_departure(&mut self, now: Micros, order: u8) {
        self.timed.get_or_insert((order, now));
    }

    /// The other end has heard of everything up to `echo`.
    pub(super) fn handle_echo(&mut self, now: Micros, echo: u8) {
        let Some((order, begin)) = self.timed else { return };
        if echo.wrapping_sub(order) >= 128 {
            return;
        }
        self.timed = None;
        let sample = u32::try_from(now.saturating_sub(begin)).unwrap_or(LONGEST).min(LONGEST);
        if self.smoothed == 0 {
            self.smoothed = sample * 8;
            self.deviation = sample * 2;
        } else {
            let mean = self.smoothed / 8;
            self.smoothed = self.smoothed - mean + sample;
            self.deviation = self.deviation - self.deviation / 4 + mean.abs_diff(sample);
        }
    }

    /// Nothing came in time: a Ping leaves, after which an echo no longer tells when what it answers left.
    pub(super) fn back_off(&mut self) {
        self.retries = self.retries.saturating_add(1).min(16);
        self.timed = None;
    }

    /// Waiting has been worth it.
    pub(super) fn settle(&mut self) {
        self.retries = 0;
    }

    /// How long to wait.
    pub(super) fn wait(&self) -> u32 {
        let first = if self.smoothed == 0 { INITIAL } else { self.smoothed / 8 + self.deviation };
        let first = first.clamp(SHORTEST, LONGEST);
        // At most 2^16 times ten seconds.
        let longer = u64::from(first) << self.retries;
        first.max(u32::try_from(longer).unwrap_or(PATIENCE).min(PATIENCE))
    }
}
