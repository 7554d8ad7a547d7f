//! The serial link: a reliable, ordered stream of bytes over a line that loses and flips some, without I/O.
//!
//! A board and the bridge of its hub each hold one [`SerialLink`], and run it over whatever carries bytes in order: a
//! UART, USB, a radio modem, a TCP connection. To the layer above it is a stream with a limited number of bytes in
//! flight ([`write`](SerialLink::write), [`free`](SerialLink::free), [`read`](SerialLink::read)); on the other side it
//! takes what the line brings ([`receive`](SerialLink::receive)) and says what to put on it
//! ([`transmit`](SerialLink::transmit)). Frames of the protocol ([`crate::wire`]) travel in it like any other bytes.
//!
//! # What it promises
//!
//! Bytes that [`read`](SerialLink::read) returns are those that the other end wrote, in order, none missing, none
//! twice, from the beginning of the session; or the link is [reset](State::Reset). Nothing is handed out before the
//! CRC-32 of its frame was right, and an intact frame of an older session never passes that check.
//!
//! # How it works
//!
//! Frames are COBS-encoded between zero bytes, so both ends find the next beginning whatever happened to the last
//! frame. Each Data frame has a sequence number, and each frame of a session reports what has come: everything up to
//! a number, which frames beyond it, and how many more may be sent. Because a line keeps the order of what it carries,
//! a report that the other end has heard of a later frame proves that an earlier one is lost; just the lost ones leave
//! again. When nothing is heard for a while, a Ping of a few bytes asks for a report, at intervals that double from
//! the measured round trip on.
//!
//! A session begins when the bridge sends an epoch that it has not used before and the board takes it. It ends for
//! both when either of them says so, when nothing comes through for too long, when the board starts anew (it says so
//! until it is connected) or when the bridge chooses another epoch. Each end then tells the layer above, which calls
//! [`reconnect`](SerialLink::reconnect) once it has put its own state in order; so no byte of one session can be taken
//! for one of another.
//!
//! # Memory
//!
//! Each frame of a window takes [`Frame`]'s few bytes beside its payload, in memory of the caller. Payload is copied
//! once each way: from the writer into the window, from the window to the reader; encoding and decoding happen on the
//! way to and from the line. The ends may differ in both sizes: the smaller ones count.
//!
//! ```
//! use core::time::Duration;
//! use edgempi_core::Instant;
//! use edgempi_core::serial::{Frame, SerialLink, State};
//!
//! let silence = Duration::from_secs(10);
//! let (mut sent, mut received) = ([Frame::<240>::EMPTY; 4], [Frame::<240>::EMPTY; 4]);
//! let mut board = SerialLink::board(Instant::ZERO, silence, &mut sent, &mut received);
//! let (mut sent, mut received) = ([Frame::<500>::EMPTY; 8], [Frame::<500>::EMPTY; 8]);
//! let mut bridge = SerialLink::bridge(Instant::ZERO, silence, 7, &mut sent, &mut received);
//!
//! let mut line = [0; 64];
//! for millis in 0.. {
//!     let now = Instant::from_micros(millis * 1000);
//!     let n = bridge.transmit(now, &mut line);
//!     board.receive(now, &line[..n]);
//!     let n = board.transmit(now, &mut line);
//!     bridge.receive(now, &line[..n]);
//!     if board.state() == State::Up {
//!         break;
//!     }
//! }
//! assert_eq!(board.write(b"hello"), 5);
//! let now = Instant::from_micros(1_000_000);
//! let n = board.transmit(now, &mut line);
//! bridge.receive(now, &line[..n]);
//! let mut read = [0; 10];
//! assert_eq!(bridge.read(&mut read), 5);
//! assert_eq!(&read[..5], b"hello");
//! ```

mod assembly;
mod cobs;
mod frame;
mod receive;
mod round_trip;
mod send;

use core::time::Duration;

use assembly::{Arrival, Assembly};
use cobs::{Content, Encoder};
pub use frame::Reason;
use frame::{Check, Greeting, Head, MAX_HEAD, Report, VERSION};
use receive::ReceiveWindow;
use round_trip::RoundTrip;
use send::{Progress, SendWindow};

use crate::time::Instant;

/// Payload bytes of a frame that takes at most 256 bytes of the line.
pub const DEFAULT_PAYLOAD: usize = 240;

/// Most frames of a window; a longer slice is not used beyond this.
pub const MAX_WINDOW: usize = 16;

/// How long to wait at first, and at most, before saying again that there is no session, in microseconds.
const FIRST_CALL: u32 = 100_000;
const LAST_CALL: u32 = 1_000_000;

/// Microseconds, as [`Instant`] counts them.
type Micros = u64;

/// Room for one frame of a window. All zeros while it is empty, so a static takes no room in an image.
#[derive(Clone, Copy, Debug)]
pub struct Frame<const PAYLOAD: usize = DEFAULT_PAYLOAD> {
    len: u16,
    order: u8,
    bytes: [u8; PAYLOAD],
}

impl<const PAYLOAD: usize> Frame<PAYLOAD> {
    /// An empty one.
    pub const EMPTY: Self = Self { len: 0, order: 0, bytes: [0; PAYLOAD] };
}

impl<const PAYLOAD: usize> Default for Frame<PAYLOAD> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none yet. Nothing can be written.
    Connecting,
    /// Bytes go both ways.
    Up,
    /// It is over. What came in order can still be read; what was written may or may not have arrived.
    Reset(Reason),
}

/// What has happened to frames since the link was made, for people. The numbers wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Data frames that left, for the first time or again.
    pub sent: u32,
    /// Those of them that left again.
    pub resent: u32,
    /// Frames that came whole.
    pub received: u32,
    /// Frames that came damaged; noise counts, too.
    pub damaged: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It chooses the epoch.
    Bridge,
    /// It takes it.
    Board,
}

/// Where a session is, as each end needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The bridge calls; the board says that it has no session, and why.
    Calling(Reason),
    /// The board has taken the epoch, and waits for a sign that the bridge knows. Before that it sends nothing that
    /// could be told from what it sent before it started anew.
    Accepted,
    Up,
    Reset(Reason),
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// To say again what the phase demands.
    Call,
    /// To ask for a report.
    Ping,
    /// To give the other end up.
    End,
}

/// Control frames that have to leave.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    /// Connect, Accept or Reset, as the phase demands.
    call: bool,
    ping: bool,
    ack: Ack,
}

/// How a report leaves that is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Ack {
    #[default]
    None,
    /// With data, if there are any to send.
    Along,
    /// In a frame of its own, which comes through more often than one with data.
    Apart,
}

/// The frame on its way to the line, if the encoder is not done.
struct Outgoing {
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// The place of its payload in the window.
    payload: Option<usize>,
    check: [u8; frame::CHECK],
    encoder: Encoder,
}

/// One end of a serial link.
///
/// The driver passes what the line brings to [`receive`](Self::receive) and hands the line what
/// [`transmit`](Self::transmit) returns, as fast as the line takes it; it calls
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says.
pub struct SerialLink<'b, const PAYLOAD: usize = DEFAULT_PAYLOAD> {
    role: Role,
    phase: Phase,
    epoch: u32,
    /// The check of this epoch's frames before their first byte.
    seed: Check,
    max_silence: u32,
    send: SendWindow<'b, PAYLOAD>,
    receive: ReceiveWindow<'b, PAYLOAD>,
    assembly: Assembly,
    outgoing: Outgoing,
    /// Nothing has left since the last frame: the line may have made up something.
    rested: bool,
    owed: Owed,
    /// The order of the last Data frame that the other end had sent when it last spoke.
    heard_order: u8,
    round_trip: RoundTrip,
    /// When to call again, and how often that was.
    call_at: Micros,
    calls: u8,
    /// How long the other end may be silent, in microseconds; 0 for as long as it likes.
    patience: Micros,
    /// When a frame of the session last came.
    heard_at: Micros,
    /// When a frame last left; each makes the other end report, at the latest when it next has something to say.
    left_at: Micros,
    /// When something last came of the session: while frames wait to be acknowledged, when one was.
    alive_at: Micros,
    counters: Counters,
}

impl<'b, const PAYLOAD: usize> SerialLink<'b, PAYLOAD> {
    /// The board's end. It answers within `max_silence`, or whenever it likes if that is zero: a board that trains for
    /// half a minute without looking at its line says so here, and nobody takes it for dead.
    ///
    /// `send` and `receive` are the windows; with one frame in each the link works, with four it is fast.
    pub fn board(
        now: Instant,
        max_silence: Duration,
        send: &'b mut [Frame<PAYLOAD>],
        receive: &'b mut [Frame<PAYLOAD>],
    ) -> Self {
        Self::new(now, Role::Board, 0, max_silence, send, receive)
    }

    /// The bridge's end. `epoch` is the first of its epochs; take one that no bridge has used on this line lately, at
    /// random for example. The rest is as in [`board`](Self::board).
    pub fn bridge(
        now: Instant,
        max_silence: Duration,
        epoch: u32,
        send: &'b mut [Frame<PAYLOAD>],
        receive: &'b mut [Frame<PAYLOAD>],
    ) -> Self {
        Self::new(now, Role::Bridge, epoch.max(1), max_silence, send, receive)
    }

    fn new(
        now: Instant,
        role: Role,
        epoch: u32,
        max_silence: Duration,
        send: &'b mut [Frame<PAYLOAD>],
        receive: &'b mut [Frame<PAYLOAD>],
    ) -> Self {
        const { assert!(PAYLOAD > 0 && PAYLOAD <= 8192, "a frame holds 1 to 8192 bytes") }
        let now = now.as_micros();
        Self {
            role,
            phase: Phase::Calling(Reason::Restarted),
            epoch,
            seed: Check::of_epoch(epoch),
            max_silence: u32::try_from(max_silence.as_millis()).unwrap_or(0),
            send: SendWindow::new(send),
            receive: ReceiveWindow::new(receive),
            assembly: Assembly::new(),
            outgoing: Outgoing {
                head: [0; MAX_HEAD],
                head_len: 0,
                payload: None,
                check: [0; frame::CHECK],
                encoder: Encoder::DONE,
            },
            rested: true,
            owed: Owed { call: true, ping: false, ack: Ack::None },
            heard_order: 0,
            round_trip: RoundTrip::new(),
            call_at: now + Micros::from(FIRST_CALL),
            calls: 0,
            patience: 0,
            heard_at: now,
            left_at: now,
            alive_at: now,
            counters: Counters::default(),
        }
    }

    /// Where the session is.
    ///
    /// The value returned may change after: `receive`, `handle_timeout`, `reset`, `reconnect`.
    #[must_use]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Calling(_) | Phase::Accepted => State::Connecting,
            Phase::Up => State::Up,
            Phase::Reset(reason) => State::Reset(reason),
        }
    }

    /// Bytes that [`write`](Self::write) will take.
    ///
    /// While the session is up this falls only by writing. The value returned may rise after: `receive`.
    #[must_use]
    pub fn free(&self) -> usize {
        if self.phase == Phase::Up { self.send.free() } else { 0 }
    }

    /// Takes the first bytes of `bytes` and returns how many: all that are [`free`](Self::free), or a few more.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        if self.phase == Phase::Up { self.send.write(bytes) } else { 0 }
    }

    /// Whether everything written has been acknowledged by the other end.
    ///
    /// The value returned may change after: `write`, `receive`.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.send.is_empty()
    }

    /// Whether [`read`](Self::read) would return something.
    ///
    /// The value returned may change after: `receive`, `read`, `reconnect`.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.receive.is_readable()
    }

    /// Copies what has come into `into`, as far as both go, and returns how many bytes.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let read = self.receive.read(into);
        if self.phase == Phase::Up && self.receive.is_wider() {
            self.owe(Ack::Along);
        }
        read
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes in what the line brings, all of it, in pieces of any size.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        for byte in bytes {
            match self.assembly.feed(*byte, &self.seed, &mut self.receive) {
                Arrival::Nothing => {}
                Arrival::Damaged => self.counters.damaged = self.counters.damaged.wrapping_add(1),
                Arrival::Frame { head, payload } => {
                    self.counters.received = self.counters.received.wrapping_add(1);
                    self.handle_frame(now.as_micros(), head, payload);
                }
            }
        }
    }

    /// Writes bytes for the line to `out` and returns how many; fewer than `out` has room for only if there are no
    /// more.
    ///
    /// The value returned may change after: `write`, `read`, `receive`, `handle_timeout`, `reset`, `reconnect`.
    #[must_use]
    pub fn transmit(&mut self, now: Instant, out: &mut [u8]) -> usize {
        let now = now.as_micros();
        let mut written = 0;
        for place in out {
            let Some(byte) = self.next_byte(now) else { break };
            *place = byte;
            written += 1;
        }
        written
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    ///
    /// The value returned may change after: `write`, `receive`, `transmit`, `handle_timeout`, `reset`, `reconnect`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline().map(|(at, _)| Instant::from_micros(at))
    }

    /// A deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = now.as_micros();
        match self.deadline() {
            Some((at, due)) if at <= now => match due {
                Due::Call => self.call(now),
                Due::Ping => {
                    self.owed.ping = true;
                    self.round_trip.back_off();
                }
                Due::End => self.end(Reason::Silent),
            },
            _ => {}
        }
    }

    /// Ends the session, and tells the other end why. Does nothing if it is over.
    pub fn reset(&mut self, reason: Reason) {
        if !matches!(self.phase, Phase::Reset(_)) {
            self.end(reason);
        }
    }

    /// Begins anew after a reset: forgets what was written and not yet read, and calls the other end; the bridge with
    /// a new epoch. A session that is not over is ended.
    pub fn reconnect(&mut self, now: Instant) {
        let reason = match self.phase {
            Phase::Reset(reason) => reason,
            _ => Reason::Closed,
        };
        self.end(reason);
        if self.role == Role::Bridge {
            self.epoch = self.epoch.wrapping_add(1).max(1);
            self.seed = Check::of_epoch(self.epoch);
        }
        self.clear(0, 0);
        self.phase = Phase::Calling(reason);
        self.calls = 0;
        self.call(now.as_micros());
    }

    // The next three have many callers, and an image needs them just once.

    /// Says again what the phase demands, and waits longer before the next time.
    #[inline(never)]
    fn call(&mut self, now: Micros) {
        self.owed.call = true;
        let pause = (FIRST_CALL << self.calls.min(4)).min(LAST_CALL);
        self.calls = self.calls.saturating_add(1);
        self.call_at = now + Micros::from(pause);
    }

    #[inline(never)]
    fn end(&mut self, reason: Reason) {
        self.phase = Phase::Reset(reason);
        self.owed = Owed { call: true, ping: false, ack: Ack::None };
        self.outgoing.encoder.cut();
    }

    /// Empties the windows, for an end that takes `window` frames of `payload` bytes.
    #[inline(never)]
    fn clear(&mut self, window: u8, payload: u16) {
        self.send.begin(window, payload);
        self.receive.begin();
        self.assembly.skip();
        self.owed = Owed::default();
        self.heard_order = 0;
        self.round_trip = RoundTrip::new();
    }

    /// A session begins: both ends know its epoch.
    fn begin(&mut self, now: Micros, phase: Phase, greeting: &Greeting) {
        self.phase = phase;
        self.clear(greeting.window, greeting.payload);
        self.patience = Micros::from(greeting.max_silence) * 1000;
        (self.heard_at, self.left_at, self.alive_at) = (now, now, now);
    }

    /// What has to be done when, if nothing happens before.
    fn deadline(&self) -> Option<(Micros, Due)> {
        match self.phase {
            Phase::Calling(_) | Phase::Accepted => return Some((self.call_at, Due::Call)),
            Phase::Up => {}
            Phase::Reset(_) => return None,
        }
        // The other end has the time that it asked for, and as long again for what gets lost.
        let end = (self.patience > 0).then(|| self.alive_at + self.patience * 2);
        // A frame that is leaving, or about to, asks, too.
        let ping = if self.owed.ping || self.send.is_ready() || !self.outgoing.encoder.is_done() {
            None
        } else if !self.send.is_empty() {
            Some(self.left_at + Micros::from(self.round_trip.wait()))
        } else {
            (self.patience > 0).then(|| self.heard_at.max(self.left_at) + self.patience / 4)
        };
        match (ping, end) {
            (Some(ping), Some(end)) if end <= ping => Some((end, Due::End)),
            (Some(ping), _) => Some((ping, Due::Ping)),
            (None, end) => end.map(|end| (end, Due::End)),
        }
    }

    fn owe(&mut self, ack: Ack) {
        self.owed.ack = self.owed.ack.max(ack);
    }

    fn handle_frame(&mut self, now: Micros, head: Head, payload: usize) {
        match head {
            Head::Connect(greeting) if self.role == Role::Board => self.on_connect(now, &greeting),
            Head::Accept(greeting) if self.role == Role::Bridge && greeting.epoch == self.epoch => {
                match self.phase {
                    Phase::Calling(_) => self.begin(now, Phase::Up, &greeting),
                    Phase::Up => {}
                    _ => return,
                }
                // The board waits for a sign.
                self.owed.ping = true;
            }
            Head::Reset { epoch, reason } => self.on_reset(now, epoch, reason),
            Head::Data { report, sequence } => {
                if self.on_report(now, &report) {
                    let in_order = self.receive.accept(sequence, payload);
                    // Where something is lost, the sender waits for this.
                    self.owe(if in_order { Ack::Along } else { Ack::Apart });
                }
            }
            Head::Ping(report) => {
                if self.on_report(now, &report) {
                    self.owe(Ack::Along);
                }
            }
            Head::Ack(report) => {
                self.on_report(now, &report);
            }
            Head::Connect(_) | Head::Accept(_) => {}
        }
    }

    fn on_connect(&mut self, now: Micros, greeting: &Greeting) {
        let is_known = greeting.epoch == self.epoch;
        match self.phase {
            // Waiting for the layer above.
            Phase::Reset(_) => {}
            Phase::Up if is_known => self.owed.call = true,
            Phase::Up => self.end(greeting.reason),
            Phase::Accepted if is_known => self.owed.call = true,
            // This epoch is over, and the bridge does not know.
            Phase::Calling(_) if is_known => self.owed.call = true,
            Phase::Calling(_) | Phase::Accepted if greeting.version != VERSION => {
                self.epoch = greeting.epoch;
                self.phase = Phase::Calling(Reason::Version);
                self.owed.call = true;
            }
            Phase::Calling(_) | Phase::Accepted if greeting.epoch != 0 && greeting.payload > 0 => {
                self.epoch = greeting.epoch;
                self.seed = Check::of_epoch(greeting.epoch);
                self.begin(now, Phase::Accepted, greeting);
                self.calls = 0;
                self.call(now);
            }
            Phase::Calling(_) | Phase::Accepted => {}
        }
    }

    fn on_reset(&mut self, now: Micros, epoch: u32, reason: Reason) {
        match self.phase {
            Phase::Reset(_) => {}
            _ if epoch == self.epoch && epoch != 0 => {
                self.end(reason);
                // It knows.
                self.owed.call = false;
            }
            // The board has no session, so it has started anew or wants one.
            Phase::Up if epoch == 0 => self.end(Reason::Restarted),
            Phase::Calling(_) if self.role == Role::Bridge => {
                self.calls = 0;
                self.call(now);
            }
            _ => {}
        }
    }

    /// Takes in what the other end says of its side. Returns whether there is a session that it can belong to.
    fn on_report(&mut self, now: Micros, report: &Report) -> bool {
        match self.phase {
            Phase::Up => {}
            Phase::Accepted => {
                self.phase = Phase::Up;
                self.owed.call = false;
            }
            // This session is over, and the other end does not know.
            Phase::Reset(_) | Phase::Calling(_) => {
                self.owed.call = true;
                return false;
            }
        }
        self.heard_order = report.order;
        self.heard_at = now;
        let progress = self.send.handle_report(report);
        if self.outgoing.payload.is_some_and(|place| !self.send.holds(place)) {
            // Its memory is about to be used again, and nobody needs it any more.
            self.outgoing.encoder.cut();
        }
        if progress != Progress::Stale {
            self.round_trip.handle_echo(now, report.echo);
        }
        if progress == Progress::Some || !self.send.is_waiting() {
            self.alive_at = now;
        }
        true
    }

    fn next_byte(&mut self, now: Micros) -> Option<u8> {
        if self.outgoing.encoder.is_done() && !self.begin_frame() {
            self.rested = true;
            return None;
        }
        let Outgoing { head, head_len, payload, check, encoder } = &mut self.outgoing;
        let bytes = payload.map_or(&[][..], |place| self.send.payload(place));
        let head = head.get(..*head_len).unwrap_or_default();
        let byte = encoder.next(&Content([head, bytes, check]));
        if encoder.is_done() {
            self.left_at = now;
            if payload.take().is_some() {
                self.round_trip.handle_departure(now, self.send.order());
            }
        }
        byte
    }

    /// Prepares the next frame. Returns whether there is one.
    fn begin_frame(&mut self) -> bool {
        let Some((head, payload)) = self.next_head() else { return false };
        let outgoing = &mut self.outgoing;
        outgoing.head_len = head.encode(&mut outgoing.head);
        outgoing.payload = payload;
        let is_of_session = frame::is_of_session(frame::kind_of(outgoing.head[0]));
        let mut check = if is_of_session { self.seed.clone() } else { Check::new() };
        check.update(outgoing.head.get(..outgoing.head_len).unwrap_or_default());
        if let Some(place) = payload {
            check.update(self.send.payload(place));
        }
        outgoing.check = check.value().to_le_bytes();
        outgoing.encoder = if core::mem::take(&mut self.rested) { Encoder::LEAD } else { Encoder::FOLLOW };
        true
    }

    /// What leaves next, and the place of its payload.
    fn next_head(&mut self) -> Option<(Head, Option<usize>)> {
        if core::mem::take(&mut self.owed.call) {
            return self.call_head().map(|head| (head, None));
        }
        if self.phase != Phase::Up {
            return None;
        }
        let ack = core::mem::take(&mut self.owed.ack);
        let departure = if ack == Ack::Apart { None } else { self.send.next() };
        if departure.is_none() && !self.owed.ping && ack == Ack::None {
            return None;
        }
        let report = Report {
            window: self.receive.announce(),
            order: self.send.order(),
            echo: self.heard_order,
            ack: self.receive.next(),
            held: self.receive.held(),
        };
        let Some(departure) = departure else {
            let ping = core::mem::take(&mut self.owed.ping);
            return Some((if ping { Head::Ping(report) } else { Head::Ack(report) }, None));
        };
        // Whoever gets it reports, as after a Ping.
        self.owed.ping = false;
        self.counters.sent = self.counters.sent.wrapping_add(1);
        self.counters.resent = self.counters.resent.wrapping_add(departure.again.into());
        Some((Head::Data { report, sequence: departure.sequence }, Some(departure.place)))
    }

    fn call_head(&self) -> Option<Head> {
        let reason = match self.phase {
            Phase::Calling(reason) | Phase::Reset(reason) => reason,
            Phase::Accepted | Phase::Up => Reason::Restarted,
        };
        let epoch = self.epoch;
        let greeting = Greeting {
            version: VERSION,
            epoch,
            reason,
            payload: PAYLOAD as u16,
            window: self.receive.window(),
            max_silence: self.max_silence,
        };
        match (self.phase, self.role) {
            (Phase::Calling(_), Role::Bridge) => Some(Head::Connect(greeting)),
            (Phase::Calling(_) | Phase::Reset(_), _) => Some(Head::Reset { epoch, reason }),
            (Phase::Accepted | Phase::Up, Role::Board) => Some(Head::Accept(greeting)),
            (Phase::Accepted | Phase::Up, Role::Bridge) => None,
        }
    }
}
