//! Time: what the library needs of it, and embassy-time's answer.

use core::task::Waker;

use edgempi_core::Instant;

/// The waker of those who look by themselves. A static: `Waker::noop()` may be another one wherever it is written, and
/// then the two can't be told to be alike.
pub(crate) static NOBODY: &Waker = Waker::noop();

/// A clock, and an alarm for whoever waits.
///
/// The library asks for an alarm only to keep promises about silence; a missed one costs nothing but that. So a
/// super-loop that polls often may ignore [`wake_at`](Self::wake_at).
pub trait Clock {
    /// The time since some moment, the same one for every call.
    fn now(&self) -> Instant;

    /// Wakes `waker` at `at`, or soon after. A later call may replace an earlier one with the same waker; an alarm too
    /// many does no harm.
    fn wake_at(&self, at: Instant, waker: &Waker);
}

impl<C: Clock> Clock for &C {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn wake_at(&self, at: Instant, waker: &Waker) {
        (**self).wake_at(at, waker);
    }
}

/// The clock of `embassy-time`.
#[cfg(feature = "embassy-time")]
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyClock;

#[cfg(feature = "embassy-time")]
impl Clock for EmbassyClock {
    fn now(&self) -> Instant {
        Instant::from_micros(embassy_time::Instant::now().as_micros())
    }

    fn wake_at(&self, at: Instant, waker: &Waker) {
        // Some queues of timers take their executor's wakers only. Those have data; `Waker::noop`, which need not be
        // woken, has none. (Its table has another address in each crate, so `will_wake` does not know it.)
        if waker.data().is_null() {
            return;
        }
        let ticks = embassy_time::Instant::try_from_micros(at.as_micros());
        embassy_time_driver::schedule_wake(ticks.map_or(u64::MAX, |at| at.as_ticks()), waker);
    }
}
