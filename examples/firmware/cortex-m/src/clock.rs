//! The embassy-time driver of boards that count time with a timer of theirs.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::Mutex;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

/// A board's timers: one counts, one wakes.
pub trait Timer: Send + Sync + 'static {
    /// How many bits the count has before it starts anew.
    const BITS: u32;
    /// How far it counts in a microsecond.
    const TICKS_PER_MICROSECOND: u32;

    /// Where the count is: it goes up, with all of [`BITS`](Self::BITS).
    fn ticks(&self) -> u32;

    /// Asks for an interrupt in so many ticks, more than 0 and at most half of the count's range, in place of what was
    /// asked before.
    fn set_alarm(&self, ticks: u32);
}

/// Makes a clock that never starts anew from a [`Timer`], which does. Call [`start`](Self::start) once, and
/// [`on_alarm`](Self::on_alarm) at each of the timer's interrupts.
pub struct Clock<T> {
    timer: T,
    state: Mutex<RefCell<State>>,
}

struct State {
    /// Ticks since the start, when the timer's count was `seen`.
    elapsed: u64,
    seen: u32,
    queue: Queue,
}

impl<T: Timer> Clock<T> {
    /// The count's largest value.
    const LAST: u32 = u32::MAX >> (32 - T::BITS);

    /// A clock that says 0 at its start.
    pub const fn new(timer: T) -> Self {
        Self { timer, state: Mutex::new(RefCell::new(State { elapsed: 0, seen: 0, queue: Queue::new() })) }
    }

    /// Starts the clock; the timer's already counts.
    pub fn start(&self) {
        critical_section::with(|section| {
            let mut state = self.state.borrow_ref_mut(section);
            state.seen = self.timer.ticks();
            self.set_alarm(&mut state);
        });
    }

    /// Wakes whoever waits for the time that it is now.
    pub fn on_alarm(&self) {
        critical_section::with(|section| self.set_alarm(&mut self.state.borrow_ref_mut(section)));
    }

    /// Ticks since the start. The alarm rings at least twice each time the timer's count goes round, so no round is
    /// missed.
    fn elapsed(&self, state: &mut State) -> u64 {
        let ticks = self.timer.ticks();
        let passed = ticks.wrapping_sub(state.seen) & Self::LAST;
        // No timer counts backwards, but an emulated one may round so.
        if passed < Self::LAST - Self::LAST / 8 {
            state.elapsed += u64::from(passed);
            state.seen = ticks;
        }
        state.elapsed
    }

    /// Wakes whoever waits for now, and sets the alarm for who comes next.
    fn set_alarm(&self, state: &mut State) {
        let tick = u64::from(T::TICKS_PER_MICROSECOND);
        let elapsed = self.elapsed(state);
        let next = state.queue.next_expiration(elapsed / tick).saturating_mul(tick);
        let ticks = next.saturating_sub(elapsed).clamp(1, (Self::LAST / 2).into());
        self.timer.set_alarm(ticks as u32);
    }
}

impl<T: Timer> Driver for Clock<T> {
    fn now(&self) -> u64 {
        let elapsed = critical_section::with(|section| self.elapsed(&mut self.state.borrow_ref_mut(section)));
        elapsed / u64::from(T::TICKS_PER_MICROSECOND)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            let mut state = self.state.borrow_ref_mut(section);
            if state.queue.schedule_wake(at, waker) {
                self.set_alarm(&mut state);
            }
        });
    }
}
