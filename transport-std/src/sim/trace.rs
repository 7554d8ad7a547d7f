//! What happens in a simulation, event by event: as a hash, and for people.

use std::fmt;
use std::time::Duration;

use edgempi_core::wire::{Down, PREFIX_LEN, Prefix, Up};
use edgempi_core::{Instant, Rank};

use super::class::Direction;

/// The hash of everything that happened in a run: the time of each event, the rank, the direction, and every byte.
///
/// Two runs of the same program, built from the same source, with the same seed and the same settings have the same
/// hash, in any process and on any machine; as long as the program itself computes the same there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceHash(u64);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceHash({self})")
    }
}

/// One line of a trace: [`Simulation::trace`](super::Simulation::trace) hands it out, to be printed or looked at.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The virtual time since the simulation began.
    pub at: Duration,
    /// The rank; `None` for the hub itself.
    pub rank: Option<Rank>,
    /// What happened.
    pub what: What<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What<'a> {
    /// The rank's link came up.
    Connected,
    /// A frame has arrived.
    Frame {
        /// Where.
        direction: Direction,
        /// Its prefix and its header.
        head: &'a [u8],
        /// Its payload.
        payload: &'a [u8],
    },
    /// One side has closed the link, and the other learns of it.
    Closed(Direction),
    /// The rank's process died, or lost its power.
    Died,
    /// The hub died, or lost its power.
    HubDied,
    /// The hub says goodbye to everybody.
    HubShutDown,
    /// The rank begins a round.
    Round(u32),
    /// The rank's program has ended.
    Ended,
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Instant::ZERO + self.at;
        write!(f, "{at} ")?;
        match self.rank {
            Some(rank) => write!(f, "rank {rank}: ")?,
            None => write!(f, "hub: ")?,
        }
        match self.what {
            What::Connected => write!(f, "connected"),
            What::Frame { direction, head, payload } => {
                let text = name(direction, head);
                let arrow = if direction == Direction::Up { "to" } else { "from" };
                write!(f, "{arrow} the hub, {text}, {} bytes of payload", payload.len())
            }
            What::Closed(Direction::Up) => write!(f, "has closed its link"),
            What::Closed(Direction::Down) => write!(f, "its link was closed by the hub"),
            What::Died => write!(f, "died"),
            What::HubDied => write!(f, "died"),
            What::HubShutDown => write!(f, "shuts down"),
            What::Round(number) => write!(f, "begins round {number}"),
            What::Ended => write!(f, "its program has ended"),
        }
    }
}

/// A frame's head for people.
fn name(direction: Direction, head: &[u8]) -> String {
    let Some((prefix, header)) = head.split_first_chunk::<PREFIX_LEN>() else { return "no frame".to_owned() };
    let kind = Prefix::decode(*prefix).kind;
    let frame = match direction {
        Direction::Up => Up::decode(kind, header).map(|frame| frame.map(|frame| format!("{frame:?}"))),
        Direction::Down => Down::decode(kind, header).map(|frame| frame.map(|frame| format!("{frame:?}"))),
    };
    frame.ok().flatten().unwrap_or_else(|| format!("frame of kind {kind}"))
}

/// Who gets the lines of a trace.
pub(super) type Sink = Box<dyn FnMut(&Entry<'_>)>;

/// The trace of a run so far.
pub(super) struct Trace {
    hash: u64,
    pub(super) events: u64,
    sink: Option<Sink>,
}

impl Trace {
    pub(super) fn new(sink: Option<Sink>) -> Self {
        Self { hash: 0, events: 0, sink }
    }

    pub(super) fn hash(&self) -> TraceHash {
        TraceHash(self.hash)
    }

    pub(super) fn add(&mut self, now: Instant, rank: Option<usize>, what: What<'_>) {
        self.events += 1;
        let (code, number) = match what {
            What::Connected => (1, 0),
            What::Frame { direction: Direction::Up, payload, .. } => (2, payload.len() as u64),
            What::Frame { direction: Direction::Down, payload, .. } => (3, payload.len() as u64),
            What::Closed(Direction::Up) => (4, 0),
            What::Closed(Direction::Down) => (5, 0),
            What::Died => (6, 0),
            What::HubDied => (7, 0),
            What::HubShutDown => (8, 0),
            What::Round(number) => (9, u64::from(number)),
            What::Ended => (10, 0),
        };
        let who = rank.map_or(u64::MAX, |rank| rank as u64);
        for word in [now.as_micros(), who, code, number] {
            self.hash = folded(self.hash, word);
        }
        if let What::Frame { head, payload, .. } = what {
            self.hash = bytes(self.hash, head);
            self.hash = bytes(self.hash, payload);
        }
        if let Some(sink) = &mut self.sink {
            let rank = rank.map(|rank| Rank::new(rank as u32));
            sink(&Entry { at: now.since(Instant::ZERO), rank, what });
        }
    }
}

/// Takes a word into a hash: both halves of a long product, which depend on all bits.
fn folded(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word ^ 0xa076_1d64_78bd_642f) * u128::from(0xe703_7ed1_a0b4_28db_u64);
    // A rotation, so that the order of words counts even where a product is small.
    (product as u64 ^ (product >> 64) as u64).rotate_left(23)
}

fn bytes(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| folded(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    for (place, byte) in last.iter_mut().zip(rest) {
        *place = *byte;
    }
    folded(hash, u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn hashes_differ_by_any_byte_and_by_length() {
        let mut hashes = std::collections::BTreeSet::new();
        for len in 0..40 {
            assert!(hashes.insert(bytes(0, &vec![0; len])), "{len} zeros");
            for at in 0..len {
                let mut text = vec![0; len];
                text[at] = 1;
                assert!(hashes.insert(bytes(0, &text)), "a one at {at} of {len}");
            }
        }
    }

    #[test]
    fn the_hash_is_the_same_on_every_machine() {
        assert_eq!(bytes(1, b"hello, world"), 9_237_676_159_416_575_623);
    }
}
