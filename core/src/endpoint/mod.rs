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

mod slots;
mod transmit;

use core::time::Duration;

use slots::List;
use transmit::Draft;

use crate::communicator::Status;
use crate::error::{Category, Fault};
use crate::rank::{Rank, Tag};
use crate::request::{CallCode, Marks, Parts, Progress, RequestId, Slot, State, Submission, is_probe, is_receive};
use crate::time::{Instant, OVERSLEPT};
use crate::wire::{
    Complete, Credit, Data, Down, GoodbyeReason, Layout, MAX_HEAD_LEN, Part, Prefix, RankKind, SubmitFlags, VERSION,
    Welcome,
};

/// Queue bytes that a message costs beside its own: what the hub keeps about it.
pub const EAGER_OVERHEAD: u64 = 256;

/// How a rank introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who it is.
    pub rank: Rank,
    /// How many ranks the world has.
    pub size: u32,
    /// What it is.
    pub kind: RankKind,
    /// Most payload bytes that its driver takes in one frame; at least 64.
    pub max_payload: u32,
    /// Largest message that it takes, in bytes.
    pub max_message: u64,
    /// How many parts of one message it holds open, each way; at least 1.
    pub open_parts: u16,
    /// Bytes of a result that may come before it gives credit, in the first part of it if there are several;
    /// `u32::MAX` for any number.
    pub receive_window: u32,
    /// Longest silence that it will keep; zero for as long as it likes.
    pub max_silence: Duration,
    /// Bytes of its world's name, which the driver supplies as [`Content::World`].
    pub world_len: u32,
}

impl Config {
    /// What a host says: it takes whatever comes, and pings every few seconds.
    pub const fn host(rank: Rank, size: u32) -> Self {
        Self {
            rank,
            size,
            kind: RankKind::Host,
            max_payload: 256 * 1024,
            max_message: u64::MAX,
            open_parts: 256,
            receive_window: u32::MAX,
            max_silence: Duration::from_secs(30),
            world_len: 0,
        }
    }
}

/// Where the payload of the frame that just came belongs. The driver has to take all of it off the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// There is none.
    Nothing,
    /// Bytes `offset..offset + len` of a part that [`Event::Part`] announced.
    Payload {
        /// Whose.
        request: RequestId,
        /// Which part.
        part: u32,
        /// Where in the part it begins.
        offset: usize,
        /// How many bytes.
        len: usize,
    },
    /// The whole result of a request, laid out as said.
    Result {
        /// Whose.
        request: RequestId,
        /// How it is divided.
        layout: Layout,
        /// How many bytes.
        len: usize,
    },
    /// A reason, about the event that follows.
    Reason {
        /// How many bytes.
        len: usize,
        /// How many of them, from the front, are a text for people: UTF-8, unless the hub is broken. What is behind it is
        /// the error of the user's code at the hub, as postcard.
        text: usize,
    },
    /// Bytes that nobody wants any more.
    Discard {
        /// How many bytes.
        len: usize,
    },
}

/// Which bytes go behind a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The world's name.
    World,
    /// The group that this request names, as [`NameKind::Group`](crate::wire::NameKind::Group) says.
    Group(RequestId),
    /// The version (`u32`) and name of this request's operation.
    Operation(RequestId),
    /// This request's place in the source.
    Site(RequestId),
    /// The beginning of what a request sends: with parts of its own for each rank, all of them in rank order, behind
    /// their lengths if these differ.
    Inline(RequestId),
    /// Bytes of a part from `offset`.
    Part {
        /// Whose.
        request: RequestId,
        /// Which part.
        part: u32,
        /// Where in the part.
        offset: usize,
    },
}

/// What a driver can put on the link right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any frame: all payloads are at hand, and there is room for each.
    Everything,
    /// A frame that fits.
    Within {
        /// Bytes that the link takes at once, head and payload together; at least [`MAX_HEAD_LEN`].
        room: usize,
        /// The one request whose payload and names are at hand.
        request: Option<RequestId>,
    },
}

impl Reach {
    /// Whether a request's payload and names are at hand.
    fn covers(self, request: RequestId) -> bool {
        match self {
            Self::Everything => true,
            Self::Within { request: at_hand, .. } => at_hand == Some(request),
        }
    }

    /// How much payload of a request can go out in one frame.
    fn payload(self, request: RequestId) -> usize {
        match self {
            Self::Everything => usize::MAX,
            Self::Within { room, request: Some(at_hand) } if at_hand == request => room.saturating_sub(MAX_HEAD_LEN),
            Self::Within { .. } => 0,
        }
    }
}

/// A frame to send: its head is in the buffer that the driver gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Bytes of prefix and header.
    pub head_len: usize,
    /// What follows them, and how many bytes. For a name the driver says how many, see [`Endpoint::poll_transmit`].
    pub payload: Option<(Content, usize)>,
    /// A send that is done as soon as this frame's bytes are out of the caller's buffer: the hub has room for them.
    pub done: Option<RequestId>,
}

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
        let generation = slot.generation;
        let Submission { asked, names: marks } = *submission;
        *slot = Slot { generation, state: State::Queued, marks, asked, ..Slot::FREE };
        self.open += 1;
        self.unsettled += 1;
        self.push_ready(index);
        Ok(RequestId::new(index, generation))
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

    /// Takes a send or a receive back if nobody has matched it (MPI 4.1, chapter 3.8.4). The answer is [`Event::Fail`] with
    /// `Cancelled` and this rank, or whatever comes if it was too late: until then bytes go where they went before.
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

    /// Says to the hub that this rank's one thread waits for `request`, and makes no call until that is answered. A hub
    /// that hears so from ranks that wait for each other fails what they wait for. Never true of a rank whose calls come
    /// from several threads or tasks.
    pub fn blocked(&mut self, request: RequestId) {
        self.blocked = Some(request);
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

    /// Whether Welcome has come and the link is up.
    pub fn is_joined(&self) -> bool {
        matches!(self.phase, Phase::Joined)
    }

    /// Takes in the head of a frame and says where its payload belongs. The payload, `prefix.payload_len` bytes, need
    /// not have come yet; the driver takes all of it off the link before the next frame.
    ///
    /// # Errors
    ///
    /// The hub broke the protocol: the driver closes the link and calls [`disconnect`](Self::disconnect).
    pub fn handle_frame(&mut self, now: Instant, prefix: Prefix, header: &[u8]) -> Result<Incoming, Fault> {
        debug_assert!(self.event.is_none(), "drain events before the next frame");
        self.heard(now);
        let len = prefix.payload_len as usize;
        if len > self.config.max_payload as usize {
            let max = self.config.max_payload.into();
            return Err(Fault::of_size(Category::Protocol, len as u64, max));
        }
        let mut fault = PROTOCOL;
        self.take_in(prefix.kind, header, len, &mut fault).ok_or(fault)
    }

    /// `None` is a hub that broke the protocol, unless `fault` says otherwise: 32 bytes of it would be copied at each
    /// return.
    fn take_in(&mut self, kind: u8, header: &[u8], len: usize, fault: &mut Fault) -> Option<Incoming> {
        let Some(frame) = Down::decode(kind, header).ok()? else { return Some(Incoming::Discard { len }) };
        let greeted = !matches!(self.phase, Phase::Start | Phase::Greeting);
        match frame {
            Down::Welcome(welcome) => self.on_welcome(welcome, len, fault),
            Down::Reject(reject) => {
                self.phase = Phase::Closed;
                self.event = Some(Event::Rejected(reject.fault()));
                Some(Incoming::Reason { len, text: len })
            }
            Down::Goodbye(goodbye) => {
                self.phase = Phase::Closed;
                self.event = Some(Event::Goodbye(goodbye.reason));
                Some(Incoming::Reason { len, text: len })
            }
            _ if !greeted => None,
            // Only whoever asks is told.
            Down::Snapshot(_) => None,
            Down::Ping(_) => {
                self.pong = true;
                Some(Incoming::Discard { len })
            }
            Down::Pong(_) => Some(Incoming::Discard { len }),
            Down::Part(part) => self.on_part(part, len),
            Down::Data(data) => self.on_data(data, len),
            Down::Credit(credit) => self.on_credit(credit, len),
            Down::Complete(complete) => self.on_complete(complete, len),
            Down::Fail(fail) => {
                self.settle_sequence(fail.sequence, fail.queue_limit)?;
                let (index, slot) = self.find(fail.request)?;
                if slot.marks.has(Marks::CANCELLED) {
                    self.finish(index, Event::Released { request: fail.request });
                    return Some(Incoming::Discard { len });
                }
                self.finish(index, Event::Fail { request: fail.request, fault: fail.fault() });
                Some(Incoming::Reason { len, text: fail.text_len(len) })
            }
        }
    }

    /// Bytes of a payload have come, but not all: the hub lives, however slow the link is.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.pinged = None;
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

    /// The next frame to send that is within `reach`; its head is written to `head`. The length of a name that is at hand
    /// is asked of `name_len`.
    ///
    /// A Submit whose payload is out of reach leaves without it, so that requests start in the order in which they were
    /// made; the hub asks for the bytes when it needs them. [`lacks`](Self::lacks) tells what else had to wait.
    ///
    /// The value returned may change after: `submit`, `cancel`, `withdraw`, `grant`, `leave`, `disconnect`, `handle_frame`,
    /// `handle_timeout`.
    #[must_use]
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        head: &mut [u8; MAX_HEAD_LEN],
        reach: Reach,
        mut name_len: impl FnMut(Content) -> usize,
    ) -> Option<Outgoing> {
        let mut draft = Draft::new(head);
        if !self.next_frame(now, &mut draft, reach, &mut name_len) {
            return None;
        }
        self.last_sent = now;
        Some(draft.finish())
    }

    /// A request with something to send that the last [`poll_transmit`](Self::poll_transmit) could not reach.
    ///
    /// The value returned may change after: `poll_transmit`.
    #[must_use]
    pub fn lacks(&self) -> Option<RequestId> {
        self.lacks
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

    // Each of these is called in one place, and inlined there: so no header is copied on a board.

    #[inline(always)]
    fn on_welcome(&mut self, welcome: Welcome, payload_len: usize, fault: &mut Fault) -> Option<Incoming> {
        if self.phase != Phase::Greeting {
            return None;
        }
        self.phase = Phase::Joined;
        if welcome.version != VERSION {
            *fault = Fault::of_size(Category::Version, welcome.version.into(), VERSION.into());
            return None;
        }
        self.max_payload = (welcome.max_payload as usize).max(64);
        self.max_message = welcome.max_message;
        self.max_requests = welcome.max_requests;
        self.queue_limit = welcome.queue_size;
        // A hub that promises nothing may take as long as it likes.
        self.hub_silence = match welcome.max_silence {
            0 => u64::MAX,
            millis => u64::from(millis) * 1000,
        };
        self.event = Some(Event::Welcome(welcome));
        Some(Incoming::Discard { len: payload_len })
    }

    #[inline(always)]
    fn on_part(&mut self, part: Part, payload_len: usize) -> Option<Incoming> {
        let Some((index, slot)) = self.find(part.request) else { return Some(Incoming::Discard { len: payload_len }) };
        if payload_len != 0 || slot.state != State::Open {
            return None;
        }
        let len = usize::try_from(part.len).ok()?;
        let cancelled = slot.marks.has(Marks::CANCELLED);
        let allowed = match slot.asked.down {
            Parts::None => false,
            Parts::One => part.part == 0 && fits(slot, len, slot.asked.receive),
            Parts::EachOther => {
                part.part < slot.asked.size && fits(slot, len, slot.asked.receive / (slot.asked.size as usize).max(1))
            }
        };
        let (before, limit) = (slot.announced, slot.asked.receive);
        let announced = before.checked_add(len).filter(|announced| *announced <= limit)?;
        slot.announced = announced;
        if !allowed || self.part_slot(index, part.part, State::DownPart).is_some() {
            return None;
        }
        // What comes unasked is bounded for the whole request, so only its first part may begin at once.
        let window = match self.config.receive_window {
            u32::MAX => usize::MAX,
            window if before == 0 => window as usize,
            _ => 0,
        };
        let progress = Progress { part: part.part, offset: 0, limit: window.min(len), len };
        self.open_part(index, State::DownPart, progress)?;
        if !cancelled {
            self.event = Some(Event::Part { request: part.request, part: part.part, len });
        }
        Some(Incoming::Nothing)
    }

    #[inline(always)]
    fn on_data(&mut self, data: Data, len: usize) -> Option<Incoming> {
        let Some((owner, request_slot)) = self.find(data.request) else { return Some(Incoming::Discard { len }) };
        let cancelled = request_slot.marks.has(Marks::CANCELLED);
        let unlimited = request_slot.asked.flags.has(SubmitFlags::UNLIMITED);
        let index = self.part_slot(owner, data.part, State::DownPart)?;
        let slot = self.slot_mut(index)?;
        let offset = slot.down.offset;
        let end = offset.checked_add(len)?;
        let allowed = if unlimited { slot.down.len } else { slot.down.limit };
        if data.offset != offset as u64 || end > allowed {
            return None;
        }
        slot.down.offset = end;
        let finished = end == slot.down.len;
        if finished {
            self.close_part(owner, index);
        }
        if cancelled {
            return Some(Incoming::Discard { len });
        }
        Some(Incoming::Payload { request: data.request, part: data.part, offset, len })
    }

    #[inline(always)]
    fn on_credit(&mut self, credit: Credit, payload_len: usize) -> Option<Incoming> {
        let discard = Some(Incoming::Discard { len: payload_len });
        if credit.request == RequestId::NONE {
            self.queue_limit = self.queue_limit.max(credit.limit);
            return discard;
        }
        let Some((index, slot)) = self.find(credit.request) else { return discard };
        if slot.state != State::Open || slot.marks.has(Marks::CANCELLED) || slot.asked.unsent == 0 {
            return discard;
        }
        let limit = usize::try_from(credit.limit).ok()?;
        let len = usize::try_from(credit.len).ok()?;
        let allowed = match slot.asked.up {
            Parts::None => false,
            Parts::One => credit.part == 0 && len == slot.asked.send,
            Parts::EachOther if slot.asked.flags.has(SubmitFlags::VARIED) => {
                credit.part < slot.asked.size && len <= slot.asked.send
            }
            Parts::EachOther => {
                credit.part < slot.asked.size && len == slot.asked.send / (slot.asked.size as usize).max(1)
            }
        };
        if !allowed || limit > len {
            return None;
        }
        let index = match self.part_slot(index, credit.part, State::UpPart) {
            Some(index) => index,
            None => {
                let progress = Progress { part: credit.part, offset: 0, limit: 0, len };
                self.open_part(index, State::UpPart, progress)?
            }
        };
        if let Some(slot) = self.slot_mut(index)
            && limit > slot.up.limit
        {
            if limit > slot.up.len {
                return None;
            }
            slot.up.limit = limit;
            self.push_ready(index);
        }
        discard
    }

    #[inline(always)]
    fn on_complete(&mut self, complete: Complete, len: usize) -> Option<Incoming> {
        self.settle_sequence(complete.sequence, complete.queue_limit)?;
        let window = self.config.receive_window as usize;
        let (index, slot) = self.find(complete.request)?;
        let roles = slot.asked.down;
        let came = match complete.layout {
            Layout::Empty => slot.announced,
            _ if slot.announced > 0 => return None,
            Layout::Single | Layout::Equal => len,
            Layout::Varied => {
                let table = (slot.asked.size as usize).checked_mul(8)?;
                len.checked_sub(table)?
            }
        };
        let layout_fits = match complete.layout {
            Layout::Empty => len == 0,
            Layout::Single => roles == Parts::One,
            Layout::Equal | Layout::Varied => roles == Parts::EachOther,
        };
        let exact = match roles {
            Parts::EachOther => slot.asked.receive - slot.asked.receive / (slot.asked.size as usize).max(1),
            Parts::None => 0,
            Parts::One => slot.asked.receive,
        };
        let flags = slot.asked.flags;
        let length_fits = if flags.has(SubmitFlags::EXACT) {
            came == exact && complete.layout != Layout::Varied
        } else {
            came <= slot.asked.receive
        };
        let within_window = flags.has(SubmitFlags::UNLIMITED) || len <= window;
        let is_probe = is_probe(slot.asked.call);
        if !layout_fits || !length_fits || !within_window || (complete.bytes != came as u64 && !is_probe) {
            return None;
        }
        let is_receive = is_receive(slot.asked.call);
        if self.is_receiving(index) {
            return None;
        }
        let status = if is_receive {
            // A probe tells of bytes that stay where they are.
            Status { source: complete.source, tag: complete.tag, bytes: usize::try_from(complete.bytes).ok()? }
        } else {
            Status { source: self.config.rank, tag: Tag(0), bytes: came }
        };
        let (_, slot) = self.find(complete.request)?;
        if slot.marks.has(Marks::CANCELLED) {
            self.finish(index, Event::Released { request: complete.request });
            return Some(Incoming::Discard { len });
        }
        self.finish(index, Event::Complete { request: complete.request, status });
        Some(match complete.layout {
            Layout::Empty => Incoming::Nothing,
            layout => Incoming::Result { request: complete.request, layout, len },
        })
    }

    fn settle_sequence(&mut self, sequence: u32, queue_limit: u64) -> Option<()> {
        if sequence != self.acknowledged.wrapping_add(1) {
            return None;
        }
        self.acknowledged = sequence;
        self.queue_limit = self.queue_limit.max(queue_limit);
        Some(())
    }
}

/// A duration in milliseconds, without the 128-bit and 64-bit divisions that boards would have to bring along.
#[inline(never)] // for boards: once is enough
fn millis(duration: Duration) -> u32 {
    let seconds = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    seconds.saturating_mul(1000).saturating_add(duration.subsec_millis())
}

/// Bytes of an operation without a name: its version.
pub const NO_NAME_LEN: usize = 4;

const PROTOCOL: Fault = Fault::new(Category::Protocol);

/// Whether a part of `len` bytes is what a call that receives `limit` bytes a part may get.
fn fits(slot: &Slot, len: usize, limit: usize) -> bool {
    if slot.asked.flags.has(SubmitFlags::EXACT) { len == limit } else { len <= slot.asked.receive }
}
