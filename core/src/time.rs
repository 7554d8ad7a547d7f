//! Time as the state machines see it: microseconds since a moment that the driver chose.

use core::fmt;
use core::time::Duration;

/// A deadline that is told so much too late says nothing about the other side: this one has not run meanwhile. Its
/// process was stopped, or its machine.
pub(crate) const OVERSLEPT: Duration = Duration::from_secs(1);

/// A moment, in microseconds since the driver's start. Core has no clock: whoever drives it passes the time in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The driver's start.
    pub const ZERO: Self = Self(0);

    /// The moment this many microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Instant {
    /// The moment `micros` microseconds from here.
    pub(crate) const fn later(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        // Without 128-bit arithmetic, which boards would have to bring along.
        let seconds = duration.as_secs().saturating_mul(1_000_000);
        self.later(seconds.saturating_add(duration.subsec_micros().into()))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
