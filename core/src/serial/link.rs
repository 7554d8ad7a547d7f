//! One end of a serial link, as its driver and the layer above see it.

use core::time::Duration;

use super::assembly::{Arrival, Assembly};
use super::departure::Outgoing;
use super::frame::Check;
use super::receive::ReceiveWindow;
use super::round_trip::RoundTrip;
use super::send::SendWindow;
use super::session::{Ack, Due, FIRST_CALL, Owed, Phase, Role};
use super::{Counters, DEFAULT_PAYLOAD, Frame, Micros, Reason, State};
use crate::time::Instant;

/// One end of a serial link.
///
/// The driver passes what the line brings to [`receive`](Self::receive) and hands the line what
/// [`transmit`](Self::transmit) returns, as fast as the line takes it; it calls
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says.
pub struct SerialLink<'b, const PAYLOAD: usize = DEFAULT_PAYLOAD> {
    pub(super) role: Role,
    pub(super) phase: Phase,
    pub(super) epoch: u32,
    /// The check of this epoch's frames before their first byte.
    pub(super) seed: Check,
    pub(super) max_silence: u32,
    pub(super) send: SendWindow<'b, PAYLOAD>,
    pub(super) receive: ReceiveWindow<'b, PAYLOAD>,
    pub(super) assembly: Assembly,
    pub(super) outgoing: Outgoing,
    /// Nothing has left since the last frame: the line may have made up something.
    pub(super) rested: bool,
    pub(super) owed: Owed,
    /// The order of the last Data frame that the other end had sent when it last spoke.
    pub(super) heard_order: u8,
    /// A report of this session has come: the board, which sends none before it is up, accepts no call of it any more.
    pub(super) is_answered: bool,
    pub(super) round_trip: RoundTrip,
    /// When to call again, and how often that was.
    pub(super) call_at: Micros,
    pub(super) calls: u8,
    /// How long the other end may be silent, in microseconds; 0 for as long as it likes.
    pub(super) patience: Micros,
    /// When a frame of the session last came.
    pub(super) heard_at: Micros,
    /// When a frame last left; each makes the other end report, at the latest when it next has something to say.
    pub(super) left_at: Micros,
    /// When something last came of the session: while frames wait to be acknowledged, when one was.
    pub(super) alive_at: Micros,
    pub(super) counters: Counters,
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
            outgoing: Outgoing::NONE,
            rested: true,
            owed: Owed { call: true, ping: false, ack: Ack::None },
            heard_order: 0,
            is_answered: false,
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

    /// Deadlines have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = now.as_micros();
        // Behind a Ping that is overdue the end may be, too.
        while let Some((at, due)) = self.deadline().filter(|(at, _)| *at <= now) {
            // Nobody looked at the line for a while: what the other end said in the meantime may be lost.
            let overslept = (now - at) * 4 >= self.patience;
            match due {
                Due::Call => self.call(now),
                Due::End if !overslept => self.end(Reason::Silent),
                Due::End | Due::Ping => {
                    if overslept {
                        self.alive_at = now;
                    }
                    self.owed.ping = true;
                    if !self.send.is_empty() {
                        self.round_trip.back_off();
                    }
                }
            }
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
}
