//! Who takes part: ranks, tags, and the groups of ranks between which an operation moves data.

use core::fmt;

/// A process of a communicator, numbered from 0 to size − 1 (MPI 4.1, chapter 7.2).
///
/// Compares with plain numbers, so `comm.rank() == 0` reads as in MPI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Rank(u32);

impl Rank {
    /// The rank with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The rank's number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The rank's number as an index into a slice with one element for each rank.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<u32> for Rank {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl PartialEq<u32> for Rank {
    fn eq(&self, other: &u32) -> bool {
        self.0 == *other
    }
}

impl PartialOrd<u32> for Rank {
    fn partial_cmp(&self, other: &u32) -> Option<core::cmp::Ordering> {
        self.0.partial_cmp(other)
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rank({})", self.0)
    }
}

/// The label of a point-to-point message (MPI 4.1, chapter 3.2.3). All of `u32` may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tag(pub u32);

impl From<u32> for Tag {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl PartialEq<u32> for Tag {
    fn eq(&self, other: &u32) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// From whom a receive takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// From this rank alone.
    Rank(Rank),
    /// From whichever rank sends first: MPI's `ANY_SOURCE`.
    Any,
}

/// A receive that takes a message from any rank.
pub const ANY_SOURCE: Source = Source::Any;

impl From<Rank> for Source {
    fn from(rank: Rank) -> Self {
        Self::Rank(rank)
    }
}

impl From<u32> for Source {
    fn from(number: u32) -> Self {
        Self::Rank(Rank(number))
    }
}

/// Which tags a receive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagSelector {
    /// This tag alone.
    Tag(Tag),
    /// Any tag: MPI's `ANY_TAG`.
    Any,
}

/// A receive that takes a message with any tag.
pub const ANY_TAG: TagSelector = TagSelector::Any;

impl From<Tag> for TagSelector {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<u32> for TagSelector {
    fn from(number: u32) -> Self {
        Self::Tag(Tag(number))
    }
}

/// One side of a [`Group`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranks<'a> {
    /// Every rank of the communicator, in order.
    All,
    /// These ranks, in this order.
    List(&'a [Rank]),
}

impl Ranks<'_> {
    /// Whether `rank` is among them.
    pub fn contains(&self, rank: Rank) -> bool {
        match self {
            Ranks::All => true,
            Ranks::List(list) => list.contains(&rank),
        }
    }
}

/// Which ranks of a communicator give data to an operation and which receive its result. A rank may do both; none may
/// stand twice on one side.
///
/// All participants of one operation must name the same group, with its ranks in the same order: that is the order of
/// the inputs. (MPI's groups, chapter 7.2.1 of MPI 4.1, are one list of ranks.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// The ranks that give.
    pub sources: Ranks<'a>,
    /// The ranks that receive.
    pub destinations: Ranks<'a>,
}

impl<'a> Group<'a> {
    /// Every rank gives and every rank receives.
    pub const ALL: Self = Self { sources: Ranks::All, destinations: Ranks::All };

    /// `sources` give and `destinations` receive.
    pub const fn new(sources: &'a [Rank], destinations: &'a [Rank]) -> Self {
        Self { sources: Ranks::List(sources), destinations: Ranks::List(destinations) }
    }

    /// Whether `rank` gives or receives.
    pub fn contains(&self, rank: Rank) -> bool {
        self.sources.contains(rank) || self.destinations.contains(rank)
    }
}
