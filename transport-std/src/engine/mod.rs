//! The progress engine of a process: one thread that moves bytes for its rank and, where it hosts one, for the hub.
//!
//! Progress never depends on the user's runtime, or on anybody waiting. Whoever starts a call writes its first frame
//! itself if nobody else is at the link. Whoever waits for a call takes the *turn* and moves everybody's frames while it
//! does; everything else happens on the engine's thread, which sleeps in the poller while there is nothing to do.
//!
//! Two locks, always in this order: the *driver*, whose holder alone reads and writes the link, and the *state* (the
//! endpoint and its requests), which is held for calls of the state machine only.

mod asked;
mod connection;
mod held;
mod hub;
mod names;
mod payload;
mod rank;
mod state;
mod threads;
mod token;
mod turn;
mod worker;

use std::io;
use std::ops::{AddAssign, DerefMut};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use edgempi_core::hub::Snapshot;
use edgempi_core::wire::GoodbyeReason;
use edgempi_core::{Rank, RequestId};
use polling::Poller;

use crate::config::Threads;
use crate::error::Error;
use crate::request::block_until;
use crate::signal::Signal;
pub(crate) use asked::{Asked, OwnedCall};
pub(crate) use hub::HubDriver;
pub(crate) use payload::Reason;
pub(crate) use rank::RankDriver;
pub(crate) use state::{State, StateGuard};
pub(crate) use threads::{is_only_caller, spawn};
use token::Token;
use turn::Turn;
pub(crate) use worker::run as run_work;

/// The poller's key of the rank's link, of the hub's listener, and of the first link to the hub.
const RANK_KEY: usize = 0;
const FIRST_LISTENER_KEY: usize = 1;
const FIRST_LINK_KEY: usize = 3;
/// How long a rank that leaves waits until the hub has heard its last word, and until the others have been told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long to sleep if nothing is to be done at any time.
const LONG: Duration = Duration::from_secs(3600);

/// Frames and bytes that a rank has moved since it joined, between itself and the hub; or a hub, for all ranks of its
/// world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes sent, frame heads included.
    pub sent: u64,
    /// Bytes received, frame heads included.
    pub received: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames received.
    pub frames_received: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.frames_sent += other.frames_sent;
        self.frames_received += other.frames_received;
    }
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    frames_sent: AtomicU64,
    frames_received: AtomicU64,
}

/// Why the engine's thread goes on.
#[derive(Default)]
struct Flags {
    /// A memory link has been written to, or work is done.
    woken: AtomicBool,
    /// The world is left: the thread may end once nothing is open.
    closing: AtomicBool,
    /// The thread sleeps until the poller wakes it.
    parked: AtomicBool,
}

/// The progress engine.
pub(crate) struct Engine {
    start: Instant,
    /// How long whoever waits looks for frames before it sleeps.
    spin: Duration,
    poller: Arc<Poller>,
    flags: Flags,
    turn: Turn,
    state: Mutex<State>,
    driver: Token<Option<RankDriver>>,
    hub: Mutex<Option<HubDriver>>,
    counters: Counters,
    /// When the world was left.
    closed: OnceLock<edgempi_core::Instant>,
    /// Set when the world is left and what this process had to say about it has been heard.
    flushed: Signal<()>,
}

impl Engine {
    /// An engine that has nothing to drive yet; its state is that of a rank without a link.
    pub(crate) fn new(spin: Duration, state: impl FnOnce(edgempi_core::Instant) -> State) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            start: Instant::now(),
            spin,
            poller: Arc::new(Poller::new()?),
            flags: Flags::default(),
            turn: Turn::default(),
            state: Mutex::new(state(edgempi_core::Instant::ZERO)),
            driver: Token::new(None),
            hub: Mutex::new(None),
            counters: Counters::default(),
            closed: OnceLock::new(),
            flushed: Signal::new(),
        }))
    }

    pub(crate) fn poller(&self) -> Arc<Poller> {
        self.poller.clone()
    }

    pub(crate) fn now(&self) -> edgempi_core::Instant {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        edgempi_core::Instant::from_micros(micros)
    }

    pub(crate) fn state(&self) -> StateGuard<'_> {
        StateGuard::new(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn driver(&self) -> impl DerefMut<Target = Option<RankDriver>> {
        self.driver.lock()
    }

    pub(crate) fn hub(&self) -> MutexGuard<'_, Option<HubDriver>> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_driver(&self, driver: RankDriver) {
        *self.driver() = Some(driver);
        self.kick();
    }

    pub(crate) fn set_hub(&self, hub: HubDriver) {
        *self.hub() = Some(hub);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let Counters { sent, received, frames_sent, frames_received } = &self.counters;
        Traffic {
            sent: sent.load(Ordering::Relaxed),
            received: received.load(Ordering::Relaxed),
            frames_sent: frames_sent.load(Ordering::Relaxed),
            frames_received: frames_received.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn leave(&self, reason: GoodbyeReason) {
        self.state().leave(reason);
        self.kick();
    }

    /// Leaves without finalizing: the others are told that this rank has failed.
    ///
    /// A process often ends right after. The others first hear that this rank gives up; and if it takes the hub with it,
    /// what else that has to say: that another rank has failed, say, which may be why this one gives up.
    pub(crate) fn give_up(&self) {
        self.go();
        // A waker may have dropped the world; the engine's own thread can not wait for itself.
        if !self.turn.is_engine(thread::current().id()) {
            block_until(pin!(self.flushed.clone()), Some(Instant::now() + LAST_WORDS));
        }
    }

    /// Begins to leave without finalizing, and waits for nothing.
    pub(crate) fn go(&self) {
        self.leave(GoodbyeReason::Dropped);
        self.close();
    }

    /// Lets the engine's thread end once the world is over, and all requests fail.
    pub(crate) fn close(&self) {
        let _ = self.closed.set(self.now());
        self.flags.closing.store(true, Ordering::Release);
        self.wake();
    }

    /// Ends the hub although ranks still need it.
    pub(crate) fn shut_hub_down(&self) {
        let now = self.now();
        if let Some(hub) = self.hub().as_mut() {
            hub.shut_down(now);
        }
        self.wake();
    }

    /// How the world is, if the hub is here.
    pub(crate) fn hub_snapshot(&self) -> Option<Snapshot> {
        let now = self.now();
        self.hub().as_mut().map(|hub| hub.snapshot(now))
    }

    /// Sends what there is to send, unless somebody else is at it and will.
    pub(crate) fn kick(&self) {
        self.driver.kick(|driver| {
            if let Some(driver) = driver {
                driver.write(self);
                if !driver.is_flushed() {
                    // Somebody has to go on when the link has room again.
                    self.wake();
                }
            }
        });
    }

    /// Makes the engine's thread look around, soon.
    pub(crate) fn wake(&self) {
        self.flags.woken.store(true, Ordering::SeqCst);
        if self.flags.parked.swap(false, Ordering::SeqCst) {
            // A poller that can't be notified is one that is gone.
            let _ = self.poller.notify();
        }
    }

    fn next_deadline(&self) -> Option<edgempi_core::Instant> {
        let rank = self.state().poll_timeout();
        let hub = self.hub().as_ref().and_then(HubDriver::poll_timeout);
        rank.into_iter().chain(hub).min()
    }

    fn timeout(&self) -> Duration {
        let next = self.next_deadline().into_iter().chain(self.last_words_end()).min();
        next.map_or(LONG, |next| next.since(self.now()) + Duration::from_micros(1))
    }

    fn fire_deadlines(&self) {
        if self.next_deadline().is_none_or(|at| at > self.now()) {
            return;
        }
        // What came before the deadline may still wait to be read, and say that the other side lives.
        self.turn();
        let now = self.now();
        let result = self.state().handle_timeout(now);
        if let Err(error) = result {
            self.lose_link(&error);
        }
        if let Some(hub) = self.hub().as_mut() {
            hub.handle_timeout(now);
        }
        self.kick();
    }

    /// The rank's link is over: everybody who waits is told why.
    fn lose_link(&self, error: &Error) {
        *self.driver() = None;
        self.state().lose(error);
    }

    /// When the hub's answer to the last word is not waited for any more, if that is to come.
    fn last_words_end(&self) -> Option<edgempi_core::Instant> {
        self.closed.get().map(|closed| *closed + LAST_WORDS).filter(|end| *end > self.now())
    }

    /// Whether the hub has heard the last word: it has closed its side. A link that is let go of earlier takes with it
    /// what is still on its way to the hub, if anything comes from there that nobody reads.
    fn is_heard(&self) -> bool {
        let waits = self.last_words_end().is_some();
        self.driver().as_ref().is_none_or(|driver| driver.is_over() || (driver.is_flushed() && !waits))
    }

    /// Whether what this process had to say has been heard. If it takes the hub with it, the others still hear, for a
    /// while, why their calls fail: this rank may well end because of what they do not know yet.
    fn is_flushed(&self) -> bool {
        let waits = self.last_words_end().is_some();
        self.is_heard() && self.hub().as_ref().is_none_or(|hub| hub.is_over() || (hub.is_flushed() && !waits))
    }

    fn is_over(&self) -> bool {
        if !self.flags.closing.load(Ordering::Acquire) {
            return self.hub().as_ref().is_some_and(HubDriver::is_over) && self.driver().is_none();
        }
        self.is_heard() && self.hub().as_ref().is_none_or(HubDriver::is_over)
    }
}

/// What calls and requests see of whatever moves their rank's frames.
pub(crate) trait Drive: Send + Sync {
    /// Starts a call.
    fn submit(&self, asked: Asked) -> Result<RequestId, Error>;
    /// Gives a request up.
    fn cancel(&self, request: RequestId);
    /// Takes a call back if it has not begun at the hub; if it has, it ends as it would have.
    fn withdraw(&self, request: RequestId);
    /// Takes a send or a receive back if nobody has matched it; returns this rank in the world, whom the failure names then.
    fn withdraw_message(&self, request: RequestId) -> Result<Rank, Error>;
    /// Moves frames on this thread until `done`, or for as long as is worth it: then the caller sleeps.
    fn spin(&self, done: &dyn Fn() -> bool);
    /// A number of the machine that this rank is on.
    fn machine(&self) -> [u8; 16] {
        crate::comm::machine()
    }
    /// Which threads make this rank's calls.
    fn threads(&self) -> Threads {
        Threads::Multiple
    }
    /// No thread makes a call of this rank before this request is answered.
    fn blocked(&self, request: RequestId) {
        let _ = request;
    }
}

impl Drive for Engine {
    /// Sends its first frame, too, if the link is free.
    fn submit(&self, asked: Asked) -> Result<RequestId, Error> {
        let id = self.state().submit(asked)?;
        self.kick();
        Ok(id)
    }

    fn cancel(&self, request: RequestId) {
        self.state().cancel(request);
        self.kick();
    }

    fn withdraw(&self, request: RequestId) {
        self.state().withdraw(request);
        self.kick();
    }

    fn withdraw_message(&self, request: RequestId) -> Result<Rank, Error> {
        let own = self.state().withdraw_message(request)?;
        self.kick();
        Ok(own)
    }

    fn spin(&self, done: &dyn Fn() -> bool) {
        self.wait_in_turn(done);
    }

    fn threads(&self) -> Threads {
        self.state().threads
    }

    fn blocked(&self, request: RequestId) {
        let tells = self.state().blocked(request);
        if tells {
            self.kick();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}
