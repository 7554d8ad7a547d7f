//! The engine: moves frames between the port and whatever buffers are at hand. Whoever polls a call drives it.
//!
//! Nothing here holds a pointer into a caller's buffer: bytes move while the future that borrows it is polled. What
//! comes for another request goes into the scratch memory, and no request ever has more credit than its place there
//! holds. No frame is begun that does not fit the port, so none is ever half sent.

mod calls;
mod incoming;
mod outgoing;
mod scratch;

use core::task::{Context, Waker};

use edgempi_core::endpoint::Config;
use edgempi_core::request::Slot;
use edgempi_core::wire::{GoodbyeReason, MAX_HEAD_LEN};
use edgempi_core::{Category, Endpoint, Instant, RequestId};

pub(crate) use calls::Drive;

use crate::clock::{Clock, NOBODY};
use crate::error::Error;
use crate::hand::Hand;
use crate::memory::{Entry, NameEntry, Parts, Reason, Stage};
use crate::port::Port;
use crate::site::SITES;
use incoming::Receiving;

/// Pieces of frames moved in one poll, each way, before somebody else gets a turn.
const STEPS_PER_POLL: u32 = 32;
/// Bytes that a function is asked for, or given, at a time.
const PIECE: usize = 64;

/// The link is over, for this reason. (An [`Error`] would be copied at each return.)
type Over = Category;

/// The state of a rank.
pub(crate) struct Engine<'m, P, C> {
    port: P,
    clock: C,
    endpoint: &'m mut Endpoint<[Slot]>,
    entries: &'m mut [Entry],
    scratch: &'m mut [u8],
    /// Bytes of scratch that belong to each request; those behind are the pool.
    share: usize,
    names: &'m mut [NameEntry],
    sites: &'m mut [NameEntry; SITES],
    reason: &'m mut Reason,
    world: &'m str,
    /// The head that is coming in, and how much of it is here.
    head: &'m mut [u8; MAX_HEAD_LEN],
    head_len: usize,
    receiving: Option<Receiving>,
    /// The port had no room when somebody last wanted to write.
    is_blocked: bool,
    /// Nothing can be written any more.
    is_deaf: bool,
    joined: bool,
    goodbye: Option<GoodbyeReason>,
    lost: Option<Error>,
    /// Whoever waits for the world to begin or to end.
    watcher: Option<Waker>,
}

/// A request whose buffers are at hand.
pub(crate) struct AtHand<'h, 'a> {
    pub(crate) request: RequestId,
    pub(crate) hand: &'h mut Hand<'a>,
}

impl<'m, P: Port, C: Clock> Engine<'m, P, C> {
    pub(crate) fn new(port: P, clock: C, memory: Parts<'m>, mut config: Config, world: &'m str) -> Self {
        let Parts { endpoint, head, entries, scratch, names, sites, reason } = memory;
        let share = scratch.len().checked_div(2 * entries.len()).unwrap_or(0);
        config.receive_window = share as u32;
        config.world_len = world.len() as u32;
        endpoint.start(clock.now(), config);
        Self {
            endpoint,
            port,
            clock,
            entries,
            scratch,
            share,
            names,
            sites,
            reason,
            world,
            head,
            head_len: 0,
            receiving: None,
            is_blocked: false,
            is_deaf: false,
            joined: false,
            goodbye: None,
            lost: None,
            watcher: None,
        }
    }

    /// Moves what can be moved, a bounded amount of it.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>, mut at_hand: Option<AtHand<'_, '_>>) {
        if self.lost.is_some() {
            return;
        }
        let result = self.try_drive(context, at_hand.as_mut());
        if let Err(category) = result {
            self.lose(Error::new(category));
        }
    }

    fn try_drive(&mut self, context: &mut Context<'_>, mut at_hand: Option<&mut AtHand<'_, '_>>) -> Result<(), Over> {
        let now = self.clock.now();
        self.endpoint.handle_timeout(now).map_err(|fault| fault.category)?;
        if let Some(at_hand) = &mut at_hand {
            self.unpack(at_hand);
        }
        let mut steps = STEPS_PER_POLL;
        loop {
            // Always both: whoever only writes may wait for one who does the same.
            let read = self.read(context, at_hand.as_deref_mut())?;
            if let Some(at_hand) = &at_hand {
                self.top_up(at_hand.request);
            }
            let wrote = self.write(context, at_hand.as_deref_mut())?;
            if !read && !wrote {
                if self.is_deaf {
                    // All that came before has been read: it may have said why.
                    return Err(Category::Disconnected);
                }
                break;
            }
            steps -= 1;
            if steps == 0 {
                context.waker().wake_by_ref();
                break;
            }
        }
        if let Some(entry) = self.endpoint.lacks().and_then(|request| entry_of(self.entries, request)) {
            entry.wake();
        }
        if let Some(at) = self.endpoint.poll_timeout() {
            self.alarm(context, at);
        }
        Ok(())
    }

    pub(crate) fn lose(&mut self, error: Error) {
        self.endpoint.disconnect();
        self.receiving = None;
        if self.lost.is_some() {
            return;
        }
        self.lost = Some(error);
        for entry in self.entries.iter_mut() {
            if entry.stage == Stage::Waiting {
                entry.stage = Stage::Failed(error);
                entry.wake();
            }
        }
        self.wake_watcher();
    }

    fn settle(&mut self, request: RequestId, stage: Stage) {
        match entry_of(self.entries, request) {
            Some(entry) if entry.stage == Stage::Waiting => {
                entry.stage = stage;
                entry.wake();
            }
            // Told already.
            Some(_) => {}
            None => self.endpoint.free(request),
        }
    }

    fn wake_watcher(&mut self) {
        if let Some(waker) = self.watcher.take() {
            waker.wake();
        }
    }

    /// Wakes somebody who will drive the port: its last driver has left.
    fn wake_another(&mut self) {
        match self.entries.iter_mut().find(|entry| entry.stage == Stage::Waiting && entry.waker.is_some()) {
            Some(entry) => entry.wake(),
            None => self.wake_watcher(),
        }
    }

    pub(crate) fn watch(&mut self, context: &Context<'_>) {
        self.watcher = Some(context.waker().clone());
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.joined
    }

    pub(crate) fn lost(&self) -> Option<Error> {
        self.lost
    }

    pub(crate) fn goodbye(&self) -> Option<GoodbyeReason> {
        self.goodbye
    }

    pub(crate) fn leave(&mut self, reason: GoodbyeReason) {
        self.endpoint.leave(reason);
    }

    pub(crate) fn port(&mut self) -> &mut P {
        &mut self.port
    }

    pub(crate) fn wake_at(&self, context: &Context<'_>, at: Instant) -> bool {
        let passed = self.clock.now() >= at;
        if !passed {
            self.alarm(context, at);
        }
        passed
    }

    /// Whoever looks by itself, and has no waker, needs no alarm; some clocks take only their executor's wakers.
    #[inline(never)] // 60 bytes less on a Cortex-M3
    fn alarm(&self, context: &Context<'_>, at: Instant) {
        if !NOBODY.will_wake(context.waker()) {
            self.clock.wake_at(at, context.waker());
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn reason(&self) -> &str {
        self.reason.as_str()
    }
}

pub(crate) const PROTOCOL: Error = Error::new(Category::Protocol);

fn index_of(entries: &[Entry], request: RequestId) -> Option<usize> {
    let entry = entries.get(request.index())?;
    (entry.request == request && entry.stage != Stage::Free).then_some(request.index())
}

fn entry_of(entries: &mut [Entry], request: RequestId) -> Option<&mut Entry> {
    let index = index_of(entries, request)?;
    entries.get_mut(index)
}
