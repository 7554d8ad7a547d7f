//! Whose turn it is to move everybody's frames, and how the others wait meanwhile.
//!
//! Waking a thread takes longer than all else together. So whoever waits for a call moves the frames of the whole
//! process, the hub's too: it asks the links again and again, with a yield between two rounds, and nobody has to be woken
//! while frames keep coming. When none has come for a while, it hands over to the engine's thread, which has the poller
//! watch all links, and sleeps.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread, ThreadId};
use std::time::{Duration, Instant};

use polling::Events;

use super::{Engine, HubDriver, RANK_KEY};
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard, try_lock};

/// How often the engine's thread looks around while somebody else moves the frames, or has just done so: whoever has got
/// what it waited for may compute for long, and does not look any more.
const TICK: Duration = Duration::from_micros(500);
/// How late a deadline may be noticed while somebody else moves the frames.
const LOOK: Duration = Duration::from_millis(5);
/// How often links that have something to say get their turn before the poller is asked who else has.
const TURNS: usize = 8;
/// How often the poller is asked for new connections while links are not left to it.
const GLANCE: Duration = Duration::from_millis(1);

/// The turn to move frames.
#[derive(Default)]
pub(super) struct Turn {
    /// Held by the one whose turn it is. Meanwhile the poller watches no link that is swept.
    held: Mutex<()>,
    /// It is the engine's thread, which will not be long.
    is_engines: AtomicBool,
    /// How often it was somebody else's.
    lent: AtomicU64,
    /// Somebody has waited in vain and sleeps: the engine's thread is to take over at once.
    handed_over: AtomicBool,
    /// Until when others compute, so that yields are not worth their time, in microseconds.
    busy_until: AtomicU64,
    /// When the poller was last asked by somebody who did not sleep, in microseconds.
    glanced: AtomicU64,
    thread: OnceLock<Thread>,
    events: Mutex<Option<Events>>,
}

impl Turn {
    /// Whether this is the engine's thread.
    pub(super) fn is_engine(&self, thread: ThreadId) -> bool {
        self.thread.get().is_some_and(|engine| engine.id() == thread)
    }

    /// Whether others compute.
    fn is_busy(&self, now: edgempi_core::Instant) -> bool {
        now.as_micros() < self.busy_until.load(Ordering::Relaxed)
    }

    /// The turn for the engine's thread, unless somebody else has it.
    fn take(&self) -> Option<(MutexGuard<'_, ()>, Looking<'_>)> {
        let turn = try_lock(&self.held)?;
        self.is_engines.store(true, Ordering::Relaxed);
        Some((turn, Looking(&self.is_engines)))
    }

    /// The turn for somebody who waits until `done`, for a while at most. `None` if another one who waits has it, and
    /// so moves these frames, too.
    fn borrow(&self, patience: Duration, done: &dyn Fn() -> bool) -> Option<MutexGuard<'_, ()>> {
        let start = Instant::now();
        loop {
            if let Some(turn) = try_lock(&self.held) {
                self.lent.fetch_add(1, Ordering::Relaxed);
                return Some(turn);
            }
            if !self.is_engines.load(Ordering::Relaxed) || done() || start.elapsed() >= patience {
                return None;
            }
            thread::yield_now();
        }
    }
}

/// How long somebody goes on looking for frames that do not come.
///
/// What counts is the time that the looking itself takes: while others have the processor after a yield, it costs nobody
/// anything, and they may be those who are waited for.
struct Patience {
    whole: Duration,
    left: Duration,
    seen: Instant,
}

/// What one look takes at the most; the rest of the time belonged to others.
const LOOK_TAKES: Duration = Duration::from_micros(2);
/// Others that keep the processor for so long after a yield compute, and the next yield would be as long. Whoever sleeps
/// instead gets the processor back at once when frames come.
const BUSY: Duration = Duration::from_millis(2);
/// For so long nobody yields any more after that.
const SHUN: Duration = Duration::from_millis(50);

impl Patience {
    fn new(whole: Duration) -> Self {
        Self { whole, left: whole, seen: Instant::now() }
    }

    /// Something has come: all of it is there again.
    fn renew(&mut self) {
        (self.left, self.seen) = (self.whole, Instant::now());
    }

    /// Nothing has come since the last time. Returns whether to look once more.
    fn is_left(&mut self) -> bool {
        let now = Instant::now();
        let took = now.duration_since(mem::replace(&mut self.seen, now)).min(LOOK_TAKES);
        self.left = self.left.saturating_sub(took);
        !self.left.is_zero()
    }
}

/// While the turn is the engine's thread's.
struct Looking<'t>(&'t AtomicBool);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What the engine's thread does until its next turn.
enum Until {
    /// Frames are coming: it only lets others run.
    Now,
    /// Somebody else moves frames, or did a moment ago.
    Tick,
    /// Until a link has something to say, or for so long.
    Woken(Duration),
}

impl Engine {
    /// The engine's thread: runs until the world is left and nothing is open. Returns the hub that it drove.
    pub(crate) fn run(self: &Arc<Self>) -> Option<HubDriver> {
        let _ = self.turn.thread.set(thread::current());
        let _survivors = Survivors(self);
        let (mut patience, mut lent) = (Patience::new(self.spin), 0);
        let mut looked = Instant::now();
        loop {
            let closing = self.flags.closing.load(Ordering::Acquire);
            let mut until = Until::Tick;
            if let Some(_turn) = self.turn.take() {
                let is_idle = self.turns();
                if closing && is_idle && self.is_flushed() {
                    self.flushed.set(());
                }
                // A link is flushed, too, between two frames: only an idle one has taken the last.
                if is_idle && self.is_over() {
                    break;
                }
                if !is_idle {
                    patience.renew();
                }
                let lent_before = mem::replace(&mut lent, self.turn.lent.load(Ordering::Relaxed));
                let is_handed_over = self.turn.handed_over.swap(false, Ordering::Relaxed);
                if !is_idle || (patience.is_left() && !self.turn.is_busy(self.now())) {
                    until = Until::Now;
                } else if lent_before == lent || is_handed_over {
                    until = Until::Woken(self.park());
                }
            }
            let result = match &until {
                Until::Now => {
                    self.give_way();
                    self.glance()
                }
                Until::Tick => {
                    thread::park_timeout(TICK);
                    Ok(())
                }
                Until::Woken(timeout) => {
                    let result = self.poll(*timeout);
                    self.flags.parked.store(false, Ordering::SeqCst);
                    result
                }
            };
            if let Err(error) = result {
                self.state().lose(&Error::disconnected(format!("the poller failed: {error}")));
                break;
            }
            // Whoever has the turn for long is not asked to let go for them.
            if !matches!(until, Until::Tick) || looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.fire_deadlines();
            }
        }
        self.end(&Error::Finalized)
    }

    /// Moves everybody's frames on this thread until `done`, or as long as they keep coming; after that, or if somebody
    /// else does so already, the caller sleeps.
    pub(super) fn wait_in_turn(&self, done: &dyn Fn() -> bool) {
        if self.spin.is_zero() || self.turn.is_engine(thread::current().id()) {
            return;
        }
        if self.turn.is_busy(self.now()) {
            if !self.flags.parked.load(Ordering::SeqCst) {
                self.hand_over();
            }
            return;
        }
        let Some(turn) = self.turn.borrow(self.spin, done) else { return };
        if self.flags.parked.swap(false, Ordering::SeqCst) {
            self.disarm();
            // It looks around now and then from now on.
            let _ = self.poller.notify();
        }
        if self.hub().is_none() {
            // What it waits for takes others some work: better they do that first.
            self.give_way();
        }
        let mut patience = Patience::new(self.spin);
        loop {
            let moved = self.turn();
            if done() {
                return;
            }
            if moved {
                patience.renew();
            } else if !patience.is_left() || self.turn.is_busy(self.now()) {
                break;
            } else {
                // The engine's thread hears of a poller that has failed.
                let _ = self.glance();
            }
            self.give_way();
        }
        drop(turn);
        self.hand_over();
    }

    /// The engine's thread takes over at once. Whoever says so has no turn.
    fn hand_over(&self) {
        self.turn.handed_over.store(true, Ordering::Relaxed);
        if let Some(engine) = self.turn.thread.get() {
            engine.unpark();
        }
    }

    /// Lets others have the processor, and notes if they keep it for long.
    fn give_way(&self) {
        let before = self.now();
        thread::yield_now();
        let after = self.now();
        if after.since(before) >= BUSY {
            self.turn.busy_until.store((after + SHUN).as_micros(), Ordering::Relaxed);
        }
    }

    /// Has the poller watch all links. Returns how long to sleep, unless it wakes.
    ///
    /// Whoever takes the turn next, or has something to tell, sees that the engine's thread is parked, and wakes it; or
    /// it has come before, and is seen here.
    fn park(&self) -> Duration {
        self.arm();
        self.flags.parked.store(true, Ordering::SeqCst);
        if self.flags.woken.load(Ordering::SeqCst) || self.driver.is_wanted() {
            return Duration::ZERO;
        }
        self.timeout()
    }

    fn disarm(&self) {
        if let Some(driver) = self.driver().as_mut() {
            driver.disarm();
        }
        if let Some(hub) = self.hub().as_mut() {
            hub.disarm();
        }
    }

    fn arm(&self) {
        if let Some(driver) = self.driver().as_mut() {
            driver.arm(self);
        }
        if let Some(hub) = self.hub().as_mut() {
            hub.arm();
        }
    }

    /// Nothing moves any more: everybody who waits is told why.
    fn end(&self, error: &Error) -> Option<HubDriver> {
        *self.driver() = None;
        let hub = self.hub().take();
        self.state().lose(error);
        self.flushed.set(());
        hub
    }

    /// Moves what can be moved, for a while. Returns whether nothing is left.
    fn turns(&self) -> bool {
        (0..TURNS).any(|_| !self.turn() && !self.flags.woken.swap(false, Ordering::AcqRel) && !self.driver.is_wanted())
    }

    /// Moves what can be moved: through the hub first, so that what it has for this rank arrives in the same turn.
    /// Returns whether anything was moved.
    pub(super) fn turn(&self) -> bool {
        self.flags.woken.store(false, Ordering::Release);
        let mut moved = false;
        if let Some(hub) = self.hub().as_mut() {
            moved = hub.turn(self.now());
        }
        moved |= self.driver.turn(|driver, wanted| {
            let Some(driver) = driver else { return false };
            let read = driver.read(self);
            // What came may want an answer: credit, say.
            let wrote = (wanted || read || !driver.is_flushed()) && driver.write(self);
            read || wrote
        });
        moved || self.driver.is_wanted()
    }

    /// Asks the poller, without sleeping, what nobody looks for in a turn: links of a hub that has many of them, and, now
    /// and then, new connections.
    fn glance(&self) -> io::Result<()> {
        let Some(is_swept) = self.hub().as_ref().map(HubDriver::is_swept) else { return Ok(()) };
        let now = self.now();
        let glanced = edgempi_core::Instant::from_micros(self.turn.glanced.load(Ordering::Relaxed));
        if is_swept && now.since(glanced) < GLANCE {
            return Ok(());
        }
        self.turn.glanced.store(now.as_micros(), Ordering::Relaxed);
        self.poll(Duration::ZERO)
    }

    /// Asks the poller which links have something to say, and tells their drivers. Nobody else asks meanwhile.
    fn poll(&self, timeout: Duration) -> io::Result<()> {
        let Some(mut events) = try_lock(&self.turn.events) else { return Ok(()) };
        let events = events.get_or_insert_with(Events::new);
        events.clear();
        self.poller.wait(events, Some(timeout))?;
        for event in events.iter() {
            if event.key == RANK_KEY {
                if let Some(driver) = self.driver().as_mut() {
                    driver.woken(event.readable, event.writable);
                }
            } else if let Some(hub) = self.hub().as_mut() {
                hub.woken(event.key, event.readable, event.writable);
            }
        }
        Ok(())
    }
}

/// Sees to it that nobody waits for an engine whose thread panics: in a waker, say, which is somebody else's code.
struct Survivors<'e>(&'e Engine);

impl Drop for Survivors<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(self.0.end(&Error::disconnected("the thread of its engine panicked")));
        }
    }
}
