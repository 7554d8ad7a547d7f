//! A frame on its way from the line: its head is collected here, its payload in the window.

use super::cobs::{Decoded, Decoder};
use super::frame::{self, CHECK, Check, DATA, DATA_HEAD, Head, MAX_HEAD};
use super::receive::ReceiveWindow;

/// What a byte from the line completes.
pub(super) enum Arrival {
    /// Nothing.
    Nothing,
    /// A frame that is not as it was sent, or none that this version knows.
    Damaged,
    /// A frame with this many bytes of payload.
    Frame { head: Head, payload: usize },
}

#[derive(Clone)]
pub(super) struct Assembly {
    decoder: Decoder,
    /// Bytes of content that have come.
    len: usize,
    head: [u8; MAX_HEAD],
    /// The last bytes that came: the check, if no more do.
    tail: u32,
    check: Check,
    /// Where in the window the payload goes.
    place: Option<usize>,
    /// Bytes up to the next delimiter are of no use.
    skipping: bool,
}

impl Assembly {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::default(),
            len: 0,
            head: [0; MAX_HEAD],
            tail: 0,
            check: Check::new(),
            place: None,
            skipping: false,
        }
    }

    /// Forgets the frame that is coming, because a window has changed.
    pub(super) fn skip(&mut self) {
        self.skipping = self.len > 0;
        self.place = None;
    }

    /// Takes a byte from the line. `seed` is the check of frames of the session.
    pub(super) fn feed<const PAYLOAD: usize>(
        &mut self,
        byte: u8,
        seed: &Check,
        window: &mut ReceiveWindow<'_, PAYLOAD>,
    ) -> Arrival {
        match self.decoder.feed(byte) {
            Decoded::Nothing => Arrival::Nothing,
            Decoded::Byte(byte) => {
                self.push(byte, seed, window);
                Arrival::Nothing
            }
            Decoded::End => {
                let arrival = self.finish();
                self.restart();
                arrival
            }
            Decoded::Broken => {
                self.restart();
                Arrival::Damaged
            }
        }
    }

    /// Takes a byte of content. It counts only once as many bytes have come behind it as a check has.
    fn push<const PAYLOAD: usize>(&mut self, byte: u8, seed: &Check, window: &mut ReceiveWindow<'_, PAYLOAD>) {
        let [earlier, ..] = self.tail.to_le_bytes();
        self.tail = self.tail >> 8 | u32::from(byte) << 24;
        self.len = self.len.saturating_add(1);
        let Some(at) = self.len.checked_sub(CHECK + 1) else { return };
        if at == 0 {
            self.check = if frame::is_of_session(frame::kind_of(earlier)) { seed.clone() } else { Check::new() };
        }
        self.check.update(&[earlier]);
        if let Some(to) = self.head.get_mut(at) {
            *to = earlier;
        }
        let [first, .., sequence] = *self.head.first_chunk::<DATA_HEAD>().unwrap_or(&[0; DATA_HEAD]);
        if frame::kind_of(first) != DATA {
            return;
        }
        if at + 1 == DATA_HEAD {
            self.place = window.place(sequence);
        } else if let Some(at) = at.checked_sub(DATA_HEAD) {
            self.skipping |= at >= PAYLOAD;
            if let Some(place) = self.place {
                window.put(place, at, earlier);
            }
        }
    }

    /// Looks at a frame that has come to its end.
    fn finish(&self) -> Arrival {
        let whole = !self.skipping && self.tail == self.check.value();
        let head = self.len.checked_sub(CHECK).filter(|_| whole).and_then(|len| Head::decode(&self.head, len));
        match head {
            Some(head) => Arrival::Frame { head, payload: self.len.saturating_sub(CHECK + DATA_HEAD) },
            None => Arrival::Damaged,
        }
    }

    fn restart(&mut self) {
        self.len = 0;
        self.place = None;
        self.skipping = false;
    }
}
