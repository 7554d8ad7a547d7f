//! The window of frames that have come and that have not been read.

use super::{Frame, MAX_WINDOW};

/// Frames in a ring: first those to read, then those that come out of order, each in the place of its sequence.
#[derive(Debug)]
pub(super) struct ReceiveWindow<'b, const PAYLOAD: usize> {
    frames: &'b mut [Frame<PAYLOAD>],
    /// Where in the ring the first frame to read is.
    first: usize,
    /// How many bytes of it have been read.
    offset: usize,
    /// How many frames are there to read.
    unread: usize,
    /// The sequence of the next frame in order.
    next: u8,
    /// Which have come from there on.
    held: u16,
    /// How many frames the other end was last told that it may send, counted from the beginning.
    announced: u8,
}

impl<'b, const PAYLOAD: usize> ReceiveWindow<'b, PAYLOAD> {
    pub(super) fn new(frames: &'b mut [Frame<PAYLOAD>]) -> Self {
        let (frames, _) = frames.split_at_mut(frames.len().min(MAX_WINDOW));
        Self { frames, first: 0, offset: 0, unread: 0, next: 0, held: 0, announced: 0 }
    }

    /// Forgets everything.
    pub(super) fn begin(&mut self) {
        (self.first, self.offset, self.unread) = (0, 0, 0);
        (self.next, self.held, self.announced) = (0, 0, self.window());
    }

    /// How many frames it takes from the next in order on.
    pub(super) fn window(&self) -> u8 {
        (self.frames.len() - self.unread) as u8
    }

    pub(super) fn next(&self) -> u8 {
        self.next
    }

    pub(super) fn held(&self) -> u16 {
        self.held
    }

    /// The window is being told to the other end.
    pub(super) fn announce(&mut self) -> u8 {
        self.announced = self.next.wrapping_add(self.window());
        self.window()
    }

    /// Whether the other end has used all of the window that it knows.
    pub(super) fn is_exhausted(&self) -> bool {
        self.announced == self.next
    }

    /// Whether the other end should hear of frames that have been read: it may send half a window more than it
    /// knows, or knows of nothing that it may send.
    pub(super) fn is_wider(&self) -> bool {
        let known = usize::from(self.announced.wrapping_sub(self.next));
        let window = usize::from(self.window());
        window > known && (known == 0 || (window - known) * 2 >= self.frames.len())
    }

    /// Where the payload of a frame belongs; `None` if it has come before or there is no room for it. What is
    /// written there counts only once the frame is accepted.
    pub(super) fn place(&self, sequence: u8) -> Option<usize> {
        let ahead = sequence.wrapping_sub(self.next);
        if ahead >= self.window() || self.held & (1 << ahead) != 0 {
            return None;
        }
        let place = self.first + self.unread + usize::from(ahead);
        Some(if place >= self.frames.len() { place - self.frames.len() } else { place })
    }

    /// Writes one byte of a payload.
    pub(super) fn put(&mut self, place: usize, at: usize, byte: u8) {
        if let Some(to) = self.frames.get_mut(place).and_then(|frame| frame.bytes.get_mut(at)) {
            *to = byte;
        }
    }

    /// The payload of this frame is whole. Returns whether all before it had come, and none behind it.
    pub(super) fn accept(&mut self, sequence: u8, len: usize) -> bool {
        let in_order = sequence == self.next && self.held == 0;
        let Some(frame) = self.place(sequence).and_then(|place| self.frames.get_mut(place)) else { return in_order };
        frame.len = len as u16;
        self.held |= 1 << sequence.wrapping_sub(self.next);
        while self.held & 1 != 0 {
            self.held >>= 1;
            self.next = self.next.wrapping_add(1);
            self.unread += 1;
        }
        in_order
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> usize {
        let mut read = 0;
        while self.unread > 0 {
            let Some(frame) = self.frames.get(self.first) else { break };
            let rest = frame.bytes.get(self.offset..frame.len.into()).unwrap_or_default();
            let room = into.get_mut(read..).unwrap_or_default();
            for (to, from) in room.iter_mut().zip(rest) {
                *to = *from;
            }
            let n = room.len().min(rest.len());
            read += n;
            if n < rest.len() {
                self.offset += n;
                break;
            }
            self.unread -= 1;
            self.offset = 0;
            self.first += 1;
            if self.first == self.frames.len() {
                self.first = 0;
            }
        }
        read
    }

    /// Whether there is something to read.
    pub(super) fn is_readable(&self) -> bool {
        self.unread > 0
    }
}
