//! The window of frames that have been written and that the other end has not acknowledged.

use super::frame::Report;
use super::{Frame, MAX_WINDOW};

/// Frames in a ring; bit n of a set is the n-th frame from the oldest on.
#[derive(Debug)]
pub(super) struct SendWindow<'b, const PAYLOAD: usize> {
    frames: &'b mut [Frame<PAYLOAD>],
    /// Where in the ring the oldest frame is.
    first: usize,
    /// The oldest frame's sequence.
    sequence: u8,
    /// How many frames hold bytes.
    used: usize,
    /// How many of them have left at least once.
    sent: usize,
    /// Which of those have arrived.
    arrived: u32,
    /// Which of those are lost, and leave again.
    lost: u32,
    /// The order of the last frame that left.
    order: u8,
    /// How many frames the other end takes, from the oldest on.
    limit: usize,
    /// How many bytes the other end takes in a frame.
    payload: usize,
}

/// A frame to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    /// Where in the ring it is.
    pub(super) place: usize,
    pub(super) sequence: u8,
    /// Whether it has left before.
    pub(super) again: bool,
}

/// What a report has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is older than what is known, or makes no sense.
    Stale,
    /// Nothing is done with.
    None,
    /// Frames are done with.
    Acknowledged,
}

impl<'b, const PAYLOAD: usize> SendWindow<'b, PAYLOAD> {
    pub(super) fn new(frames: &'b mut [Frame<PAYLOAD>]) -> Self {
        let (frames, _) = frames.split_at_mut(frames.len().min(MAX_WINDOW));
        let (first, sequence, used, sent) = (0, 0, 0, 0);
        Self { frames, first, sequence, used, sent, arrived: 0, lost: 0, order: 0, limit: 0, payload: 0 }
    }

    /// Forgets everything, for an end that takes `limit` frames of `payload` bytes.
    pub(super) fn begin(&mut self, limit: u8, payload: u16) {
        (self.first, self.sequence, self.used, self.sent) = (0, 0, 0, 0);
        (self.arrived, self.lost, self.order) = (0, 0, 0);
        (self.limit, self.payload) = (limit.into(), PAYLOAD.min(payload.into()));
    }

    /// Bytes that can certainly be written. Room in a frame that is not full is not counted, because it may leave.
    pub(super) fn free(&self) -> usize {
        (self.frames.len() - self.used) * self.payload
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> usize {
        let len = bytes.len();
        while !bytes.is_empty() {
            let is_open = |frame: &&mut Frame<PAYLOAD>| usize::from(frame.len) < self.payload;
            let last = self.place(self.used.wrapping_sub(1));
            let frame = if self.used > self.sent { self.frames.get_mut(last).filter(is_open) } else { None };
            let Some(frame) = frame else {
                if self.used >= self.frames.len() || self.payload == 0 {
                    break;
                }
                let next = self.place(self.used);
                if let Some(frame) = self.frames.get_mut(next) {
                    frame.len = 0;
                }
                self.used += 1;
                continue;
            };
            let begin = usize::from(frame.len);
            let room = frame.bytes.get_mut(begin..self.payload).unwrap_or_default();
            let (now, later) = bytes.split_at(room.len().min(bytes.len()));
            for (to, from) in room.iter_mut().zip(now) {
                *to = *from;
            }
            frame.len += now.len() as u16;
            bytes = later;
        }
        len - bytes.len()
    }

    /// Takes in what the other end says has come.
    pub(super) fn handle_report(&mut self, report: &Report) -> Progress {
        let advance = usize::from(report.ack.wrapping_sub(self.sequence));
        if advance > self.sent {
            return Progress::Stale;
        }
        self.first = self.place(advance);
        self.sequence = report.ack;
        self.used -= advance;
        self.sent -= advance;
        self.limit = report.window.into();
        let held = u32::from(report.held) & ((1 << self.sent) - 1);
        self.arrived = self.arrived >> advance | held;
        self.lost >>= advance;
        for n in 0..self.sent {
            let place = self.place(n);
            let order = self.frames.get(place).map_or(0, |frame| frame.order);
            // A line keeps the order of what it carries: if a later frame has come, this one never will.
            if report.echo.wrapping_sub(order) < 128 {
                self.lost |= 1 << n;
            }
        }
        self.lost &= !self.arrived;
        if advance > 0 { Progress::Acknowledged } else { Progress::None }
    }

    /// Whether the frame at `place` is still needed.
    pub(super) fn holds(&self, place: usize) -> bool {
        let ahead = if place < self.first { place + self.frames.len() } else { place };
        ahead - self.first < self.used
    }

    /// Which frame leaves next: the oldest that is lost, else the next within the window.
    fn candidate(&self) -> Option<usize> {
        let lost = self.lost.trailing_zeros() as usize;
        if lost < self.sent {
            return Some(lost);
        }
        (self.sent < self.used.min(self.limit)).then_some(self.sent)
    }

    /// Whether there is a frame to send.
    pub(super) fn is_ready(&self) -> bool {
        self.candidate().is_some()
    }

    /// The next frame to send.
    #[inline(never)] // 120 bytes less on a Cortex-M3
    pub(super) fn next(&mut self) -> Option<Departure> {
        let n = self.candidate()?;
        let again = n < self.sent;
        self.lost &= !(1 << n);
        self.sent += usize::from(!again);
        self.order = self.order.wrapping_add(1);
        let place = self.place(n);
        self.frames.get_mut(place)?.order = self.order;
        Some(Departure { place, sequence: self.sequence.wrapping_add(n as u8), again })
    }

    /// The payload of the frame at `place`.
    pub(super) fn payload(&self, place: usize) -> &[u8] {
        self.frames.get(place).and_then(|frame| frame.bytes.get(..frame.len.into())).unwrap_or_default()
    }

    pub(super) fn order(&self) -> u8 {
        self.order
    }

    /// Whether everything written has been acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Whether frames have left whose arrival is not known.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent > 0
    }

    /// Where in the ring the `n`-th frame from the oldest on is.
    fn place(&self, n: usize) -> usize {
        let place = self.first.wrapping_add(n);
        if place >= self.frames.len() { place.wrapping_sub(self.frames.len()) } else { place }
    }
}
