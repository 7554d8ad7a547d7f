//! Bytes on their way from one giver to its receivers: what has come, what is held, who has got how far.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::payload::Payload;

/// Bytes that came together, held until every receiver has been sent them.
#[derive(Debug)]
struct Segment {
    offset: u64,
    bytes: Payload,
    /// Receivers that have not been sent all of it.
    pending: u32,
}

impl Segment {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// One receiver of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    /// Bytes handed to the receiver's queue.
    pub(super) queued: u64,
    /// How far the receiver lets us send.
    pub(super) limit: u64,
    /// Whether the receiver has been told of the part.
    pub(super) announced: bool,
    /// Whether there is nothing to do (any more).
    pub(super) done: bool,
}

/// One part as it is given, and the lanes on which it leaves.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The giver's position; `None` for a result.
    pub(super) source: Option<usize>,
    /// The part's number at the giver.
    pub(super) up_part: u32,
    pub(super) len: u64,
    /// Whether there is nothing to move: a rank's block for itself, or a part not there.
    pub(super) void: bool,
    pub(super) received: u64,
    /// How far the giver may send.
    pub(super) granted: u64,
    /// Whether credit flows.
    pub(super) open: bool,
    segments: VecDeque<Segment>,
    pub(super) lanes: Vec<Lane>,
    /// What the giver's queue was charged for the stream's beginning, until that has been passed on.
    pub(super) charge: u64,
    charged_to: u64,
}

impl Stream {
    /// A stream of `len` bytes from the giver at `source` to `lanes` receivers.
    pub(super) fn new(source: Option<usize>, up_part: u32, len: u64, lanes: usize) -> Self {
        Self { source, up_part, len, lanes: alloc::vec![Lane::default(); lanes], ..Self::default() }
    }

    /// A stream that moves nothing.
    pub(super) fn void() -> Self {
        Self { void: true, ..Self::default() }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.received == self.len
    }

    /// How many receivers still count.
    pub(super) fn receivers(&self) -> u32 {
        self.lanes.iter().filter(|lane| !lane.done).count() as u32
    }

    /// Takes the stream's beginning, for which the giver's queue was charged. Returns the charge if nobody is to get
    /// it.
    pub(super) fn push_charged(&mut self, bytes: Payload, charge: u64) -> u64 {
        self.push(bytes);
        self.granted = self.received;
        self.charge = charge;
        self.charged_to = self.received;
        self.free_charge()
    }

    /// Takes the next bytes; the caller has checked that they fit.
    pub(super) fn push(&mut self, bytes: Payload) {
        if bytes.is_empty() {
            return;
        }
        let pending = if self.lanes.is_empty() { 1 } else { self.receivers() };
        let offset = self.received;
        self.received += bytes.len() as u64;
        if pending > 0 {
            self.segments.push_back(Segment { offset, bytes, pending });
        }
    }

    /// The first byte that is still held.
    pub(super) fn released(&self) -> u64 {
        self.segments.front().map_or(self.received, |segment| segment.offset)
    }

    pub(super) fn holds_bytes(&self) -> bool {
        !self.segments.is_empty()
    }

    /// The held bytes from `from`, at most `max` of them and none beyond one segment; and whether they are the
    /// segment's last.
    pub(super) fn next_chunk(&self, from: u64, max: u64) -> Option<(Payload, bool)> {
        let index = self.segments.partition_point(|segment| segment.end() <= from);
        let segment = self.segments.get(index)?;
        let start = usize::try_from(from.checked_sub(segment.offset)?).ok()?;
        let rest = segment.bytes.len() - start;
        let n = rest.min(usize::try_from(max).unwrap_or(usize::MAX));
        Some((segment.bytes.slice(start..start + n), n == rest))
    }

    /// The bytes `from..to`, in pieces.
    pub(super) fn pieces(&self, from: u64, to: u64) -> Vec<Payload> {
        let mut pieces = Vec::new();
        self.collect(from, to, &mut pieces);
        pieces
    }

    /// Adds the bytes `from..to` to `pieces`.
    pub(super) fn collect(&self, from: u64, to: u64, pieces: &mut Vec<Payload>) {
        let mut at = from;
        while at < to {
            let Some((bytes, _)) = self.next_chunk(at, to - at) else { break };
            at += bytes.len() as u64;
            pieces.push(bytes);
        }
    }

    /// A receiver has been sent the segment that ends at `end`. Returns the charge that this sets free.
    pub(super) fn passed(&mut self, end: u64) -> u64 {
        let index = self.segments.partition_point(|segment| segment.end() < end);
        if let Some(segment) = self.segments.get_mut(index) {
            segment.pending = segment.pending.saturating_sub(1);
        }
        self.trim()
    }

    /// A receiver has been sent everything, or will not be. Returns the charge that this sets free.
    pub(super) fn passed_all(&mut self) -> u64 {
        for segment in &mut self.segments {
            segment.pending = segment.pending.saturating_sub(1);
        }
        self.trim()
    }

    /// Nobody needs the bytes before `to` any more. Returns the charge that this sets free.
    pub(super) fn consume(&mut self, to: u64) -> u64 {
        while let Some(segment) = self.segments.front_mut() {
            if segment.end() <= to {
                self.segments.pop_front();
            } else {
                if segment.offset < to {
                    let cut = (to - segment.offset) as usize;
                    segment.bytes = segment.bytes.slice(cut..);
                    segment.offset = to;
                }
                break;
            }
        }
        self.free_charge()
    }

    fn trim(&mut self) -> u64 {
        while self.segments.front().is_some_and(|segment| segment.pending == 0) {
            self.segments.pop_front();
        }
        self.free_charge()
    }

    fn free_charge(&mut self) -> u64 {
        if self.charge > 0 && self.released() >= self.charged_to { core::mem::take(&mut self.charge) } else { 0 }
    }
}
