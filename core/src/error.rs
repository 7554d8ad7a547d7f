//! What can go wrong, as it travels: a category that a program acts on, with the numbers that explain it.

use core::fmt;

use crate::rank::Rank;

/// Why a request, a rank or a link failed. The numbers are the wire's and keep gaps for later kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum Category {
    /// The link to the hub is gone.
    Disconnected = 10,
    /// A rank that the operation needs has died, or never came.
    RankFailed = 20,
    /// A rank that the operation needs has finished.
    RankFinished = 21,
    /// The participants of an operation do not agree on it.
    Mismatch = 30,
    /// Ranks wait for each other, and none of them can ever go on.
    Deadlock = 35,
    /// A message, or a block of it, is larger than a limit.
    TooLarge = 40,
    /// A message is larger than the receive that it matched (MPI's `ERR_TRUNCATE`).
    Truncated = 41,
    /// More requests are open than the hub, or this rank's memory, takes.
    TooManyRequests = 42,
    /// The arguments of a call contradict each other.
    InvalidArgument = 43,
    /// A ready send has come, and no receive waits for it (MPI 4.1, chapter 3.4).
    NotReady = 44,
    /// Somebody took too long.
    Timeout = 50,
    /// A participant gave the operation up.
    Cancelled = 60,
    /// The user's code at the hub returned an error, or panicked.
    Remote = 70,
    /// The hub knows no operation of that name and version.
    UnknownOperation = 71,
    /// The other side broke the protocol.
    Protocol = 80,
    /// The two sides speak different versions of the protocol.
    Version = 81,
    /// The newcomer does not fit the world: its size, rank or name differ.
    WrongWorld = 82,
    /// The rank is taken by a living process.
    RankTaken = 83,
}

impl Category {
    /// The category with this number on the wire.
    #[inline(never)] // for boards: once is enough
    pub const fn from_code(code: u16) -> Option<Self> {
        use Category::*;
        Some(match code {
            10 => Disconnected,
            20 => RankFailed,
            21 => RankFinished,
            30 => Mismatch,
            35 => Deadlock,
            40 => TooLarge,
            41 => Truncated,
            42 => TooManyRequests,
            43 => InvalidArgument,
            44 => NotReady,
            50 => Timeout,
            60 => Cancelled,
            70 => Remote,
            71 => UnknownOperation,
            80 => Protocol,
            81 => Version,
            82 => WrongWorld,
            83 => RankTaken,
            _ => return None,
        })
    }

    /// The category's number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// What happened, in a few words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "the link to the hub is gone",
            Self::RankFailed => "a rank has failed",
            Self::RankFinished => "a rank has finished",
            Self::Mismatch => "the ranks do not agree on the operation",
            Self::Deadlock => "ranks wait for each other for ever",
            Self::TooLarge => "the message is too large",
            Self::Truncated => "the message is larger than the receive",
            Self::TooManyRequests => "too many requests are open",
            Self::InvalidArgument => "an argument is invalid",
            Self::NotReady => "no receive waits for the ready send",
            Self::Timeout => "it took too long",
            Self::Cancelled => "the operation was cancelled",
            Self::Remote => "the operation failed at the hub",
            Self::UnknownOperation => "the hub does not know the operation",
            Self::Protocol => "the protocol was broken",
            Self::Version => "the protocol versions differ",
            Self::WrongWorld => "the rank does not fit the world",
            Self::RankTaken => "the rank is taken",
        }
    }
}

/// A failure with the numbers that go with its [`Category`]; the text that explains it travels beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of failure.
    pub category: Category,
    /// The first rank that it concerns.
    pub rank: Rank,
    /// How many ranks it concerns; 0 if it concerns none.
    pub count: u32,
    /// The size that was asked for, where it is about sizes, in bytes (requests for `TooManyRequests`).
    pub len: u64,
    /// The size that is allowed, where it is about sizes.
    pub max: u64,
}

impl Fault {
    /// A failure that concerns no rank and no size.
    pub const fn new(category: Category) -> Self {
        Self { category, rank: Rank::new(0), count: 0, len: 0, max: 0 }
    }

    /// A failure of `count` ranks, of which `rank` is the first.
    pub const fn of_ranks(category: Category, rank: Rank, count: u32) -> Self {
        Self { category, rank, count, len: 0, max: 0 }
    }

    /// A failure because `len` exceeds `max`.
    pub const fn of_size(category: Category, len: u64, max: u64) -> Self {
        Self { category, rank: Rank::new(0), count: 0, len, max }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.category.as_str())?;
        if self.count > 0 {
            write!(f, " (rank {}", self.rank)?;
            if self.count > 1 {
                write!(f, " and {} more", self.count - 1)?;
            }
            f.write_str(")")?;
        }
        if self.max > 0 || self.len > 0 {
            write!(f, " ({} of at most {})", self.len, self.max)?;
        }
        Ok(())
    }
}

impl core::error::Error for Fault {}
