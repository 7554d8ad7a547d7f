//! The first words of a link: Hello up, Welcome or Reject down.

use super::field::{as_field, header};
use crate::error::{Category, Fault};
use crate::rank::Rank;

/// The first four bytes of every Hello's header: "EMPI".
pub const MAGIC: u32 = u32::from_le_bytes(*b"EMPI");

/// The protocol's version. Two sides with different versions part with a readable reason. It stays 1 until the first
/// release: what was built before speaks no version that anybody else has.
pub const VERSION: u16 = 1;

/// What kind of process a rank is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum RankKind {
    /// A process with an operating system.
    Host = 0,
    /// Firmware.
    Board = 1,
    /// A rank inside a simulation.
    Virtual = 2,
}

as_field!(RankKind as u8, |kind| *kind as u8, |code| Some(match code {
    0 => RankKind::Host,
    1 => RankKind::Board,
    2 => RankKind::Virtual,
    _ => return None,
}));

header! {
    /// A rank's first frame. Its payload is the world's name.
    Hello {
        /// [`MAGIC`].
        magic: u32,
        /// [`VERSION`] of the rank.
        version: u16,
        /// Who is calling.
        rank: Rank,
        /// How many ranks it believes the world has.
        size: u32,
        /// What kind of process it is.
        kind: RankKind,
        /// Most payload bytes that it takes in one frame.
        max_payload: u32,
        /// Largest message that it takes, in bytes.
        max_message: u64,
        /// How many parts of one message it can hold open, each way.
        open_parts: u16,
        /// Bytes of a result that may be sent to it before it gives credit, in its first part if it has several;
        /// `u32::MAX` for any number.
        receive_window: u32,
        /// Longest silence that it will keep, in milliseconds; 0 for as long as it likes.
        max_silence: u32,
    }
}

impl Hello {
    /// The version in the header of a Hello, `None` if it is none. Magic and version come first in every version of the
    /// protocol; what follows may change.
    pub fn version(header: &[u8]) -> Option<u16> {
        let (magic, rest) = header.split_first_chunk::<4>()?;
        let version = rest.first_chunk::<2>()?;
        (u32::from_le_bytes(*magic) == MAGIC).then(|| u16::from_le_bytes(*version))
    }
}

header! {
    /// The first frame of somebody who asks how a world is. Its payload is the world's name. A snapshot in pieces is the
    /// answer, then Goodbye.
    Inquire {
        /// [`MAGIC`].
        magic: u32,
        /// [`VERSION`] of whoever asks.
        version: u16,
    }
}

header! {
    /// A piece of a snapshot of the world; the payload is its bytes from `offset`.
    SnapshotPiece {
        /// The version of what the bytes mean.
        version: u16,
        /// Where in the snapshot the payload begins.
        offset: u32,
        /// Bytes of the whole snapshot.
        len: u32,
    }
}

header! {
    /// The hub's answer to a Hello that it accepts: its limits.
    Welcome {
        /// [`VERSION`] of the hub.
        version: u16,
        /// The identity of this rank's session, which will outlive links.
        session: u128,
        /// Which life of the hub this is.
        incarnation: u64,
        /// Most payload bytes that the hub takes in one frame.
        max_payload: u32,
        /// Largest message, in bytes.
        max_message: u64,
        /// Most requests that a rank may have open.
        max_requests: u32,
        /// Bytes of this rank that the hub holds unmatched.
        queue_size: u64,
        /// Longest time that the hub takes to answer a Ping, in milliseconds.
        max_silence: u32,
    }
}

header! {
    /// The hub's refusal of a rank, or the end of its patience. Its payload is the reason. Never changes.
    Reject {
        /// What is wrong.
        category: Category,
        /// The number that was offered.
        len: u64,
        /// The number that would have been right.
        max: u64,
    }
}

impl Reject {
    /// The refusal as a fault.
    pub fn fault(&self) -> Fault {
        Fault::of_size(self.category, self.len, self.max)
    }
}
