//! The life of a session: how it begins, what keeps it alive, and how it ends.

use super::frame::{Check, Greeting, Head, Report, VERSION};
use super::link::SerialLink;
use super::round_trip::RoundTrip;
use super::send::Progress;
use super::{Micros, Reason};

/// How long to wait at first, and at most, before saying again that there is no session, in microseconds.
pub(super) const FIRST_CALL: u32 = 100_000;
const LAST_CALL: u32 = 1_000_000;

/// Which end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It chooses the epoch.
    Bridge,
    /// It takes it.
    Board,
}

/// Where a session is, as each end needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
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
pub(super) enum Due {
    /// To say again what the phase demands.
    Call,
    /// To ask for a report.
    Ping,
    /// To give the other end up.
    End,
}

/// Control frames that have to leave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    /// Connect, Accept or Reset, as the phase demands.
    pub(super) call: bool,
    pub(super) ping: bool,
    pub(super) ack: Ack,
}

/// How a report leaves that is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ack {
    #[default]
    None,
    /// With data, if there are any to send.
    Along,
    /// In a frame of its own, which comes through more often than one with data.
    Apart,
}

impl<const PAYLOAD: usize> SerialLink<'_, PAYLOAD> {
    // The next three have many callers, and an image needs them just once.

    /// Says again what the phase demands, and waits longer before the next time.
    #[inline(never)]
    pub(super) fn call(&mut self, now: Micros) {
        self.owed.call = true;
        let pause = (FIRST_CALL << self.calls.min(4)).min(LAST_CALL);
        self.calls = self.calls.saturating_add(1);
        self.call_at = now + Micros::from(pause);
    }

    #[inline(never)]
    pub(super) fn end(&mut self, reason: Reason) {
        self.phase = Phase::Reset(reason);
        self.owed = Owed { call: true, ping: false, ack: Ack::None };
        self.outgoing.encoder.cut();
    }

    /// Empties the windows, for an end that takes `window` frames of `payload` bytes.
    #[inline(never)]
    pub(super) fn clear(&mut self, window: u8, payload: u16) {
        self.send.begin(window, payload);
        self.receive.begin();
        self.assembly.skip();
        self.owed = Owed::default();
        self.heard_order = 0;
        self.is_answered = false;
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
    pub(super) fn deadline(&self) -> Option<(Micros, Due)> {
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

    pub(super) fn owe(&mut self, ack: Ack) {
        self.owed.ack = self.owed.ack.max(ack);
    }

    pub(super) fn handle_frame(&mut self, now: Micros, head: Head, payload: usize) {
        match head {
            Head::Connect(greeting) if self.role == Role::Board => self.on_connect(now, &greeting),
            Head::Accept(greeting) if self.role == Role::Bridge && greeting.epoch == self.epoch => {
                match self.phase {
                    Phase::Calling(_) => self.begin(now, Phase::Up, &greeting),
                    // The board has started anew, and has read an old call.
                    Phase::Up if self.is_answered => return self.end(Reason::Restarted),
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
                    // The sender waits for this where something is lost, or where it may send no more.
                    let is_urgent = !in_order || self.receive.is_exhausted();
                    self.owe(if is_urgent { Ack::Apart } else { Ack::Along });
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
            // It has known for a while: the board's epoch is that of its last session.
            Phase::Calling(_) if self.role == Role::Board => {}
            _ if epoch == self.epoch && epoch != 0 => {
                self.end(reason);
                // It knows.
                self.owed.call = false;
            }
            // The board has no session, so it has started anew or wants one.
            Phase::Up if epoch == 0 => self.end(Reason::Restarted),
            Phase::Calling(_) => {
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
        self.is_answered = true;
        let progress = self.send.handle_report(report);
        if self.outgoing.payload.is_some_and(|place| !self.send.holds(place)) {
            // Its memory is about to be used again, and nobody needs it any more.
            self.outgoing.encoder.cut();
        }
        if progress != Progress::Stale {
            self.round_trip.handle_echo(now, report.echo);
        }
        if progress == Progress::Acknowledged || self.send.is_ready() {
            self.round_trip.settle();
        }
        if progress == Progress::Acknowledged || !self.send.is_waiting() {
            self.alive_at = now;
        }
        true
    }
}
