//! What leaves for the line, and in which order.

use super::cobs::{Content, Encoder};
use super::frame::{self, CHECK, Check, Greeting, Head, MAX_HEAD, Report, VERSION};
use super::link::SerialLink;
use super::session::{Ack, Phase, Role};
use super::{Micros, Reason};

/// The frame on its way to the line, if the encoder is not done.
pub(super) struct Outgoing {
    pub(super) head: [u8; MAX_HEAD],
    pub(super) head_len: usize,
    /// The place of its payload in the window.
    pub(super) payload: Option<usize>,
    pub(super) check: [u8; CHECK],
    pub(super) encoder: Encoder,
}

impl Outgoing {
    pub(super) const NONE: Self =
        Self { head: [0; MAX_HEAD], head_len: 0, payload: None, check: [0; CHECK], encoder: Encoder::DONE };
}

impl<const PAYLOAD: usize> SerialLink<'_, PAYLOAD> {
    pub(super) fn next_byte(&mut self, now: Micros) -> Option<u8> {
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
