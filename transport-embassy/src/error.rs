//! What goes wrong on a board: 16 bytes that can be copied.

use core::fmt;

use edgempi_core::{Category, Fault, Rank};

/// Why a call, or the world, failed. The hub's words are in [`World::last_reason`](crate::World::last_reason).
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Error {
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    category: Category,
    count: u16,
    rank: u32,
    number: u64,
}

const _: () = assert!(size_of::<Error>() <= 16);

impl Error {
    /// A failure that concerns no rank and has no number.
    pub(crate) const fn new(category: Category) -> Self {
        Self { category, count: 0, rank: 0, number: 0 }
    }

    /// A failure with the number that would have been right, or that was too large.
    pub(crate) const fn with(category: Category, number: u64) -> Self {
        Self { category, count: 0, rank: 0, number }
    }

    /// What kind of failure it is: what a program acts on.
    pub const fn category(&self) -> Category {
        self.category
    }

    /// The first rank that it concerns, and how many it concerns; `None` if it concerns none.
    pub fn ranks(&self) -> Option<(Rank, u16)> {
        (self.count > 0).then_some((Rank::new(self.rank), self.count))
    }

    /// The number that explains it, 0 if there is none: for `TooLarge` and `Truncated` the bytes of the message, for
    /// `InvalidArgument` the bytes, or the rank, that would have been right, for `TooManyRequests` how many may be open.
    pub const fn number(&self) -> u64 {
        self.number
    }
}

impl From<Fault> for Error {
    #[inline(never)] // once is enough
    fn from(fault: Fault) -> Self {
        let Fault { category, rank, count, len, max } = fault;
        let number = match category {
            Category::TooLarge | Category::Truncated => len,
            _ => max,
        };
        Self { category, count: u16::try_from(count).unwrap_or(u16::MAX), rank: rank.get(), number }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.category.as_str())?;
        if self.count > 0 {
            write!(f, " (rank {})", self.rank)?;
        }
        if self.number > 0 {
            write!(f, " ({})", self.number)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Error {}
