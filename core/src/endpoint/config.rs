//! How a rank introduces itself.

use core::time::Duration;

use crate::rank::Rank;
use crate::wire::RankKind;

/// How a rank introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who it is.
    pub rank: Rank,
    /// How many ranks the world has.
    pub size: u32,
    /// What it is.
    pub kind: RankKind,
    /// Most payload bytes that its driver takes in one frame; at least 64.
    pub max_payload: u32,
    /// Largest message that it takes, in bytes.
    pub max_message: u64,
    /// How many parts of one message it holds open, each way; at least 1.
    pub open_parts: u16,
    /// Bytes of a result that may come before it gives credit, in the first part of it if there are several;
    /// `u32::MAX` for any number.
    pub receive_window: u32,
    /// Longest silence that it will keep; zero for as long as it likes.
    pub max_silence: Duration,
    /// Bytes of its world's name, which the driver supplies as [`Content::World`](super::Content::World).
    pub world_len: u32,
}

impl Config {
    /// What a host says: it takes whatever comes, and pings every few seconds.
    pub const fn host(rank: Rank, size: u32) -> Self {
        Self {
            rank,
            size,
            kind: RankKind::Host,
            max_payload: 256 * 1024,
            max_message: u64::MAX,
            open_parts: 256,
            receive_window: u32::MAX,
            max_silence: Duration::from_secs(30),
            world_len: 0,
        }
    }
}
