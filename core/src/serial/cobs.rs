//! Consistent overhead byte stuffing, one byte at a time in both directions, so that no frame is ever held encoded.
//!
//! The crate `cobs` needs a buffer for a whole encoded frame each way: its encoder goes back to fill in codes, its
//! decoder wants a destination to itself. This one reads ahead in the content instead.

/// The byte between frames; it occurs nowhere in one.
pub(super) const DELIMITER: u8 = 0;

/// Most bytes of a block, without its code.
const MAX_RUN: u8 = 254;

/// What a byte from the line adds to the content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// Nothing.
    Nothing,
    /// A byte.
    Byte(u8),
    /// The frame is over.
    End,
    /// The frame is over, and something is missing.
    Broken,
}

/// The decoder's place in a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decoder {
    begun: bool,
    /// Bytes still to come in this block.
    left: u8,
    /// The block stands for a zero behind it, if another follows.
    zero: bool,
}

impl Decoder {
    pub(super) fn feed(&mut self, byte: u8) -> Decoded {
        if byte == DELIMITER {
            let Self { begun, left, .. } = core::mem::take(self);
            return match (begun, left) {
                (false, _) => Decoded::Nothing,
                (true, 0) => Decoded::End,
                (true, _) => Decoded::Broken,
            };
        }
        if self.left > 0 {
            self.left -= 1;
            return Decoded::Byte(byte);
        }
        self.begun = true;
        self.left = byte - 1;
        if core::mem::replace(&mut self.zero, byte <= MAX_RUN) { Decoded::Byte(0) } else { Decoded::Nothing }
    }
}

/// The content of a frame, in the pieces that it is made of.
pub(super) struct Content<'a>(pub(super) [&'a [u8]; 3]);

impl Content<'_> {
    fn len(&self) -> usize {
        let Self([a, b, c]) = self;
        a.len() + b.len() + c.len()
    }

    fn get(&self, mut at: usize) -> Option<u8> {
        for piece in self.0 {
            match piece.get(at) {
                Some(byte) => return Some(*byte),
                None => at -= piece.len(),
            }
        }
        None
    }

    /// How many bytes from `at` are not zero, as far as a block goes.
    fn run(&self, at: usize) -> u8 {
        let mut run = 0;
        while run < MAX_RUN && self.get(at + usize::from(run)).is_some_and(|byte| byte != 0) {
            run += 1;
        }
        run
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A delimiter goes before the frame.
    Lead,
    /// A block begins.
    Code,
    /// A block goes on.
    Copy,
    /// A delimiter goes behind the frame.
    Close,
    /// All has left.
    Done,
}

/// The encoder's place in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoder {
    step: Step,
    /// How much of the content is encoded.
    position: usize,
    /// Bytes still to copy in this block.
    left: u8,
    /// The block is as long as can be, and stands for no zero.
    full: bool,
}

impl Encoder {
    /// At the beginning of a frame, with nothing on the line before it.
    pub(super) const LEAD: Self = Self { step: Step::Lead, position: 0, left: 0, full: false };
    /// At the beginning of a frame, right behind another one.
    pub(super) const FOLLOW: Self = Self { step: Step::Code, ..Self::LEAD };
    /// Behind a frame.
    pub(super) const DONE: Self = Self { step: Step::Done, ..Self::LEAD };

    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// The next byte for the line, `None` behind the frame. The content must be the same at each call.
    pub(super) fn next(&mut self, content: &Content<'_>) -> Option<u8> {
        match self.step {
            Step::Lead => {
                self.step = Step::Code;
                return Some(DELIMITER);
            }
            Step::Close => {
                self.step = Step::Done;
                return Some(DELIMITER);
            }
            Step::Done => return None,
            Step::Code | Step::Copy => {}
        }
        let byte = if self.step == Step::Code {
            self.step = Step::Copy;
            self.left = content.run(self.position);
            self.full = self.left == MAX_RUN;
            self.left + 1
        } else {
            self.left = self.left.saturating_sub(1);
            self.position += 1;
            content.get(self.position - 1).unwrap_or_default()
        };
        if self.left == 0 {
            if self.position >= content.len() {
                self.step = Step::Close;
            } else {
                self.step = Step::Code;
                // The zero that the block stands for.
                self.position += usize::from(!self.full);
            }
        }
        Some(byte)
    }

    /// Leaves out the rest of the frame, so that nobody takes it for one.
    pub(super) fn cut(&mut self) {
        if self.step != Step::Done {
            self.step = Step::Close;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn encode(pieces: [&[u8]; 3]) -> Vec<u8> {
        let mut encoder = Encoder::FOLLOW;
        std::iter::from_fn(|| encoder.next(&Content(pieces))).collect()
    }

    fn decode(line: &[u8]) -> (Vec<u8>, Decoded) {
        let mut decoder = Decoder::default();
        let mut content = Vec::new();
        for (at, byte) in line.iter().enumerate() {
            match decoder.feed(*byte) {
                Decoded::Nothing => {}
                Decoded::Byte(byte) => content.push(byte),
                end => {
                    assert_eq!(at, line.len() - 1, "the frame ends early");
                    return (content, end);
                }
            }
        }
        panic!("the frame does not end")
    }

    /// Bytes with runs of zeros and of others, some as long as a block and longer.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let run = (prop_oneof![Just(0u8), Just(1), any::<u8>()], prop_oneof![0..4usize, 250..260usize, 500..520usize]);
        prop::collection::vec(run, 0..6)
            .prop_filter("a frame has a head", |runs| runs.iter().any(|(_, len)| *len > 0))
            .prop_map(|runs| runs.into_iter().flat_map(|(byte, len)| std::iter::repeat_n(byte, len)).collect())
    }

    #[test]
    fn blocks_have_their_bytes() {
        assert_eq!(encode([b"", b"", b""]), [1, 0]);
        assert_eq!(encode([b"\0", b"", b""]), [1, 1, 0]);
        assert_eq!(encode([b"\x11", b"\x22\0", b"\x33"]), [3, 0x11, 0x22, 2, 0x33, 0]);
        let full = encode([&[7; 100], &[7; 154], b""]);
        assert_eq!((full[0], full.len(), full[255]), (255, 256, 0));
    }

    proptest! {
        #[test]
        fn encodes_as_the_crate_cobs_does(content in content(), first in 0..1600usize, second in 0..1600usize) {
            let (head, rest) = content.split_at(first.min(content.len()));
            let (payload, check) = rest.split_at(second.min(rest.len()));
            let mut expected = cobs::encode_vec(&content);
            expected.push(DELIMITER);
            prop_assert_eq!(encode([head, payload, check]), expected);
        }

        #[test]
        fn what_is_encoded_is_decoded(content in content()) {
            prop_assert_eq!(decode(&encode([&content, b"", b""])), (content, Decoded::End));
        }

        #[test]
        fn arbitrary_bytes_are_decoded_as_the_crate_cobs_does(line in prop::collection::vec(1u8.., 1..600)) {
            let mut delimited = line.clone();
            delimited.push(DELIMITER);
            match (cobs::decode_vec(&line), decode(&delimited)) {
                (Ok(expected), (content, end)) => prop_assert_eq!((content, end), (expected, Decoded::End)),
                (Err(_), (_, end)) => prop_assert_eq!(end, Decoded::Broken),
            }
        }

        #[test]
        fn a_frame_that_is_cut_leaves_the_next_one_whole(content in content(), cut in 0..2000usize) {
            let content = Content([&content, b"", b""]);
            let mut encoder = Encoder::LEAD;
            let line: Vec<u8> = std::iter::from_fn(|| encoder.next(&content)).take(cut).collect();
            encoder.cut();
            let rest: Vec<u8> = std::iter::from_fn(|| encoder.next(&content)).collect();
            prop_assert!(rest == [DELIMITER] || (rest.is_empty() && line.last() == Some(&DELIMITER)));
        }
    }
}
