//! What a hub is told when it starts, and what it tells of itself.

use alloc::string::String;
use core::time::Duration;

use super::PeerId;
use crate::rank::Rank;

/// How a hub behaves, and how much it holds.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many ranks the world has; at least 1.
    pub size: u32,
    /// The world's name; a rank that says another one is refused.
    pub world: String,
    /// Most payload bytes of a frame from a rank.
    pub max_payload: u32,
    /// Largest message, in bytes: what one rank gives to an operation, all its parts together.
    pub max_message: u64,
    /// Most requests that one rank may have open.
    pub max_requests: u32,
    /// Most communicators at a time, the world's included.
    pub max_communicators: u32,
    /// Bytes of one rank that the hub holds before somebody asks for them; at least 1,024.
    pub queue_size: u64,
    /// The same for all ranks together: no rank gets more than an equal share of it.
    pub queue_total: u64,
    /// How far a giver may be ahead of the slowest receiver, in bytes, in each part.
    pub window: u64,
    /// Window bytes for all operations together. One gets at most a quarter of those that are free, in smaller windows
    /// where it has many parts, of 1,024 bytes at the least. As much again is for the inputs of users' operations, which
    /// the hub takes whole; longer ones come when no others are in progress.
    pub window_total: u64,
    /// How long to wait for ranks that have not come, from the first that has; then they count as failed.
    pub join_wait: Option<Duration>,
    /// How long a stranger may take to say Hello.
    pub hello_wait: Duration,
    /// How long the old link of a claimed rank may take to answer.
    pub probe_wait: Duration,
    /// Longest time that this hub's driver takes to answer a Ping.
    pub max_silence: Duration,
    /// How long a call waits for somebody before [`Event::Slow`] says so, the first time; then after twice that, and so
    /// on. `None` is never.
    pub slow: Option<Duration>,
    /// Which life of the hub this is.
    pub incarnation: u64,
    /// Where the identities of sessions come from.
    pub seed: u128,
}

impl Config {
    /// A hub for a world of `size` ranks.
    pub fn new(size: u32) -> Self {
        Self {
            size: size.max(1),
            world: String::new(),
            max_payload: 256 * 1024,
            max_message: 1 << 32,
            max_requests: 32_768,
            max_communicators: 65_536,
            queue_size: 4 << 20,
            queue_total: 1 << 30,
            window: 512 * 1024,
            window_total: (32 << 20) + (u64::from(size) << 16),
            join_wait: None,
            hello_wait: Duration::from_secs(10),
            probe_wait: Duration::from_secs(1),
            max_silence: Duration::from_secs(20),
            slow: Some(Duration::from_secs(60)),
            incarnation: 1,
            seed: 0,
        }
    }
}

/// What a running hub can say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HubStatus {
    /// Ranks that are there.
    pub alive: u32,
    /// Ranks that have finalized.
    pub finished: u32,
    /// Ranks that have failed or never came.
    pub failed: u32,
    /// Operations and matched messages in progress.
    pub operations: usize,
    /// Bytes of ranks that are held unmatched, with what the hub keeps about them.
    pub queued: u64,
    /// Window bytes that operations hold.
    pub windows: u64,
    /// Bytes that inputs of users' operations may take.
    pub inputs: u64,
}

/// What became of a rank, for drivers that tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It has come.
    Joined {
        /// Which rank.
        rank: Rank,
        /// The link that it came over.
        peer: PeerId,
    },
    /// It has finalized.
    Finished {
        /// Which rank.
        rank: Rank,
    },
    /// It has failed, or will not come any more.
    Failed {
        /// Which rank.
        rank: Rank,
        /// What happened to it.
        reason: String,
    },
    /// A call has waited for long.
    Slow {
        /// Which, where, and for whom.
        text: String,
    },
}
