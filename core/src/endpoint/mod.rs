//! A rank's side of the protocol, without I/O: told of frames and time, asked for frames and events.
//!
//! The endpoint holds no payload. It answers where the payload of an arriving frame belongs ([`Incoming`]) and which
//! bytes go behind a departing header ([`Outgoing`]); the driver moves them straight between link and caller.
//!
//! A driver's loop, which the crate page shows in full:
//!
//! - [`submit`](Endpoint::submit) a call at any time, even before the hub has said Welcome.
//! - Whenever the link has room, [`poll_transmit`](Endpoint::poll_transmit) until there is nothing; send the head, then
//!   the payload.
//! - When a prefix and its header have come, [`handle_frame`](Endpoint::handle_frame); take just the payload's bytes off
//!   the link and put them where it says; then [`poll_event`](Endpoint::poll_event).
//! - At [`poll_timeout`](Endpoint::poll_timeout), [`handle_timeout`](Endpoint::handle_timeout).
//! - Always read while writing: two sides that only write wait for each other.

mod config;
mod receive;
mod silence;
mod slots;
mod transmit;

use core::time::Duration;

pub use config::Config;
pub use receive::Incoming;
pub use transmit::{Content, EAGER_OVERHEAD, NO_NAME_LEN, Outgoing, Reach};

use silence::millis;
use slots::List;

use crate::communicator::Status;
use crate::error::{Category, Fault};
use crate::rank::Rank;
use crate::request::{CallCode, Marks, RequestId, Slot, State, Submission};
use crate::time::Instant;
use crate::wire::{GoodbyeReason, SubmitFlags, Welcome};

/// What has happened. Numbered from 1, so that none at all is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// The hub has let this rank in.
    Welcome(Welcome) = 1,
    /// A part of a result will come, and how long it is.
    Part {
        /// Whose.
        request: RequestId,
        /// Which part.
        part: u32,
        /// Its length in bytes.
        len: usize,
    },
    /// A request is done.
    Complete {
        /// Which.
        request: RequestId,
        /// What came.
        status: Status,
    },
    /// A request has failed.
    Fail {
        /// Which.
        request: RequestId,
        /// Why.
        fault: Fault,
    },
    /// The hub has answered a request that was given up: nothing of it will come or go any more.
    Released {
        /// Which.
        request: RequestId,
    },
    /// The hub does not want this rank.
    Rejected(Fault),
    /// The hub is done with this rank.
    Goodbye(GoodbyeReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Hello has not left.
    Start,
    /// Hello has left.
    Greeting,
    /// Welcome has come.
    Joined,
    /// The rank wants to leave once everything it sends has left.
    Leaving(GoodbyeReason),
    /// Goodbye has left.
    Left,
    /// The link is over.
    Closed,
}

/// A rank's state machine over `S`, the memory of its requests: `[Slot; N]` on a board, a `Vec<Slot>` on a host.
#[derive(Debug)]
pub struct Endpoint<S: ?Sized> {
    config: Config,
    free: List,
    ready: List,
    /// Requests that are not free.
    open: u32,
    /// Requests that still have to send something, or whose answer their rank waits for before it leaves.
    unsettled: u32,
    phase: Phase,
    max_payload: usize,
    max_message: u64,
    max_requests: u32,
    /// Microseconds that the hub may take to answer, and after which this rank says something.
    hub_silence: u64,
    pause: u64,
    queue_sent: u64,
    queue_limit: u64,
    sequence: u32,
    acknowledged: u32,
    pong: bool,
    ping: bool,
    last_sent: Instant,
    last_heard: Instant,
    pinged: Option<Instant>,
    event: Option<Event>,
    lacks: Option<RequestId>,
    /// What the rank's one thread waits for, if it has said so and the hub does not know yet.
    blocked: Option<RequestId>,
    /// The request that the event ends. Its slot is not used again before the event has been taken: until then the
    /// driver may look for what it keeps there.
    finished: Option<u16>,
    // The last, so that an `Endpoint<[Slot; N]>` is an `Endpoint<[Slot]>`, too.
    slots: S,
}

impl<S> Endpoint<S> {
    /// An endpoint that is still to be [started](Self::start). All zeros if `slots` is, so that a static of it costs no
    /// flash.
    pub const fn idle(slots: S) -> Self {
        Self {
            config: Config {
                size: 0,
                max_payload: 0,
                max_message: 0,
                open_parts: 0,
                receive_window: 0,
                max_silence: Duration::ZERO,
                ..Config::host(Rank::new(0), 0)
            },
            free: List { head: 0, tail: 0 },
            ready: List { head: 0, tail: 0 },
            open: 0,
            unsettled: 0,
            phase: Phase::Start,
            max_payload: 0,
            max_message: 0,
            max_requests: 0,
            hub_silence: 0,
            pause: 0,
            queue_sent: 0,
            queue_limit: 0,
            sequence: 0,
            acknowledged: 0,
            pong: false,
            ping: false,
            last_sent: Instant::from_micros(0),
            last_heard: Instant::from_micros(0),
            pinged: None,
            event: None,
            lacks: None,
            blocked: None,
            finished: None,
            slots,
        }
    }
}

impl<S: AsRef<[Slot]> + AsMut<[Slot]>> Endpoint<S> {
    /// A rank that has said nothing yet. `slots` is memory for its requests, one for each that is open, and one more for
    /// each part beyond the first of a message that has several; all of them [`Slot::FREE`].
    pub fn new(now: Instant, config: Config, slots: S) -> Self {
        let mut endpoint = Self::idle(slots);
        endpoint.start(now, config);
        endpoint
    }
}

impl<S: AsRef<[Slot]> + AsMut<[Slot]> + ?Sized> Endpoint<S> {
    /// Begins anew, as a rank that has said nothing yet; whatever the slots held is forgotten.
    pub fn start(&mut self, now: Instant, config: Config) {
        self.config = config;
        (self.free, self.ready) = (List::default(), List::default());
        (self.open, self.unsettled) = (0, 0);
        self.phase = Phase::Start;
        (self.max_payload, self.max_message, self.max_requests) = (64, u64::MAX, u32::MAX);
        self.hub_silence = 0;
        self.pause = u64::from((millis(config.max_silence) / 3).max(1)) * 1000;
        (self.queue_sent, self.queue_limit) = (0, 0);
        (self.sequence, self.acknowledged) = (0, 0);
        (self.pong, self.ping) = (false, false);
        (self.last_sent, self.last_heard, self.pinged) = (now, now, None);
        (self.event, self.lacks, self.finished) = (None, None, None);
        self.blocked = None;
        self.slots.as_mut().fill(Slot::FREE);
        self.adopt(0);
    }

    /// Lets `grow` add slots behind those that are there. At most 65,535 are used.
    pub fn grow(&mut self, grow: impl FnOnce(&mut S)) {
        let before = self.slots.as_ref().len();
        grow(&mut self.slots);
        debug_assert!(self.slots.as_ref().len() >= before, "slots must not be taken away");
        self.adopt(before);
    }

    fn adopt(&mut self, from: usize) {
        let to = self.slots.as_ref().len().min(usize::from(u16::MAX));
        for index in from..to {
            self.push_free(index as u16);
        }
    }

    /// How many slots are taken or free.
    pub fn capacity(&self) -> usize {
        self.slots.as_ref().len().min(usize::from(u16::MAX))
    }

    /// Whether a slot is free.
    pub fn has_free_slot(&self) -> bool {
        self.free.head != 0
    }

    /// How many slots are free. Counts them one by one: for drivers that look whether they leak.
    pub fn free_slots(&self) -> usize {
        let slots = self.slots.as_ref();
        let next = |number: &u16| Some(slots.get(usize::from(number.checked_sub(1)?))?.next);
        core::iter::successors(Some(self.free.head), next).take_while(|number| *number != 0).count()
    }

    /// How many requests are open.
    pub fn open_requests(&self) -> u32 {
        self.open
    }

    /// Starts a request. It is answered by one [`Event::Complete`] or [`Event::Fail`], unless it is
    /// [cancelled](Self::cancel) or the link ends first.
    ///
    /// # Errors
    ///
    /// `TooManyRequests` if all slots are taken or the hub takes no more, `Disconnected` if the link is over,
    /// `TooLarge` if the lengths of so many different parts do not fit a frame.
    pub fn submit(&mut self, submission: &Submission) -> Result<RequestId, Fault> {
        if !matches!(self.phase, Phase::Start | Phase::Greeting | Phase::Joined) {
            return Err(Fault::new(Category::Disconnected));
        }
        let table = u64::from(submission.asked.size) * 8;
        if submission.asked.flags.has(SubmitFlags::VARIED)
            && self.phase == Phase::Joined
            && table > self.max_payload as u64
        {
            return Err(Fault::of_size(Category::TooLarge, table, self.max_payload as u64));
        }
        if self.open >= self.max_requests {
            let max = self.max_requests.into();
            return Err(Fault::of_size(Category::TooManyRequests, u64::from(self.open) + 1, max));
        }
        let too_many = Fault::of_size(Category::TooManyRequests, self.capacity() as u64 + 1, self.capacity() as u64);
        let index = self.pop_free().ok_or(too_many)?;
        let slot = self.slot_mut(index).ok_or(too_many)?;
        (slot.state, slot.marks, slot.asked) = (State::Queued, submission.names, submission.asked);
        let request = RequestId::new(index, slot.generation);
        self.open += 1;
        self.unsettled += 1;
        self.push_ready(index);
        Ok(request)
    }

    /// Gives a request up: its bytes are discarded from now on, and the hub is told. Its slot is free again once
    /// the hub has answered, which [`Event::Released`] says whatever the answer is.
    pub fn cancel(&mut self, request: RequestId) {
        let Some((index, slot)) = self.find(request) else { return };
        if !slot.marks.has(Marks::CANCELLED) {
            slot.marks.set(Marks::CANCELLED);
            slot.marks.set(Marks::CANCEL);
            self.settle(index);
            self.push_ready(index);
        }
    }

    /// Takes a send or a receive back if nobody has matched it (MPI 4.1, chapter 3.8.4), or a split if not all have come to
    /// it. The answer is [`Event::Fail`] with `Cancelled` and this rank, or whatever comes if it was too late: until then bytes go where they went before.
    ///
    /// One whose Submit has not left is sent all the same, so that requests keep their order. A standard send that is
    /// [done](Outgoing::done) stays so.
    pub fn withdraw(&mut self, request: RequestId) {
        let Some((index, slot)) = self.find(request) else { return };
        let is_done = slot.asked.call == CallCode::Send as u8 && slot.marks.has(Marks::SETTLED);
        if !is_done && !slot.marks.has(Marks::CANCELLED) {
            slot.marks.set(Marks::CANCEL);
            self.push_ready(index);
        }
    }

    /// Lets the hub send bytes of `part` up to the offset `limit`, for a request that was not submitted as
    /// [unlimited](Submission::unlimited). A smaller limit than before changes nothing.
    pub fn grant(&mut self, request: RequestId, part: u32, limit: usize) {
        let Some((index, _)) = self.find(request) else { return };
        let Some(index) = self.part_slot(index, part, State::DownPart) else { return };
        let Some(slot) = self.slot_mut(index) else { return };
        if limit > slot.down.limit {
            slot.down.limit = limit;
            slot.marks.set(Marks::CREDIT);
            self.push_ready(index);
        }
    }

    /// Says to the hub that this rank makes no call until `request` is answered: a thread waits for it, and no other thread
    /// or task can make one. A hub that hears so from ranks that wait for each other fails what they wait for.
    pub fn blocked(&mut self, request: RequestId) {
        self.blocked = Some(request);
    }

    /// Whether [leaving](Self::leave) waits for this request: it is open, it has not been given up, and it is no standard send
    /// that is [done](Outgoing::done).
    pub fn holds_up(&mut self, request: RequestId) -> bool {
        self.find(request).is_some_and(|(_, slot)| !slot.marks.has(Marks::SETTLED))
    }

    /// Begins to leave: once every request that still sends or waits for a collective has been answered, and was not given
    /// up, Goodbye is sent and [`Event::Goodbye`] comes when the world has finished.
    pub fn leave(&mut self, reason: GoodbyeReason) {
        match self.phase {
            Phase::Start | Phase::Greeting => self.phase = Phase::Closed,
            Phase::Joined | Phase::Leaving(_) => self.phase = Phase::Leaving(reason),
            Phase::Left | Phase::Closed => {}
        }
    }

    /// The link is gone: nothing more is sent, and the driver fails what it waits for.
    pub fn disconnect(&mut self) {
        self.phase = Phase::Closed;
    }

    /// The event of the last frame, to be taken after its payload. The name of a request that has ended is not given
    /// to another one before that.
    ///
    /// The value returned may change after: `handle_frame`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(index) = self.finished.take() {
            self.release(index);
        }
        self.event.take()
    }

    /// As [`poll_event`](Self::poll_event), for a driver that keeps a result beside the slot until somebody takes it: the
    /// slot of a request that has ended stays taken until [`free`](Self::free).
    ///
    /// The value returned may change after: `handle_frame`.
    #[must_use]
    pub fn poll_event_keeping(&mut self) -> Option<Event> {
        self.finished = None;
        self.event.take()
    }

    /// Nobody needs the slot of this request any more, if it has ended and its event has been taken.
    pub fn free(&mut self, request: RequestId) {
        let index = request.index() as u16;
        let Some(slot) = self.slot_mut(index) else { return };
        let has_ended = slot.generation == request.generation() && slot.state == State::Finished;
        if has_ended && self.finished != Some(index) {
            self.release(index);
        }
    }

    /// Whether Welcome has come and the link is up.
    pub fn is_joined(&self) -> bool {
        matches!(self.phase, Phase::Joined)
    }
}
