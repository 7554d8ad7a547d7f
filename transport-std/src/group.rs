//! MPI's groups: ordered sets of processes, and the algebra on them. Nothing here asks the hub.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use edgempi_core::Rank;

use crate::error::Error;

/// An ordered set of processes (MPI 4.1, chapter 7.3), each named by its rank in the world.
///
/// MPI calls this a group. Here [`Group`](crate::Group) is something else, the sources and destinations of a user's
/// operation; hence the longer name. [`Comm::group`](crate::Comm::group) gives that of a communicator, and
/// [`Comm::create`](crate::Comm::create) makes a communicator of one. Cheap to clone.
///
/// ```
/// use edgempi::{Comparison, ProcessGroup};
///
/// let all = ProcessGroup::new([0, 1, 2, 3, 4])?;
/// let even = all.include(&[0, 2, 4])?;
/// let odd = all.difference(&even);
/// assert_eq!(odd.ranks(), [1, 3]);
/// assert_eq!(odd.union(&even).compare(&all), Comparison::Similar, "the same processes in another order");
/// assert_eq!(even.translate_ranks(&[0, 1, 2], &all)?, [Some(0.into()), Some(2.into()), Some(4.into())]);
/// # Ok::<(), edgempi::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct ProcessGroup {
    ranks: Arc<[Rank]>,
}

/// How two groups, or two communicators, relate (MPI 4.1, chapters 7.3.1 and 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The same group, in the same order; of communicators, the same communicator (MPI's `IDENT`).
    Identical,
    /// Two communicators of the same group, in the same order (MPI's `CONGRUENT`). Never said of groups.
    Congruent,
    /// The same processes in another order (MPI's `SIMILAR`).
    Similar,
    /// Different processes (MPI's `UNEQUAL`).
    Unequal,
}

/// Every `stride`th rank of a group from `first` to at most `last`, which is behind it if the stride is negative
/// (MPI 4.1, chapter 7.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankRange {
    /// The first rank.
    pub first: Rank,
    /// No rank is beyond this one.
    pub last: Rank,
    /// From one rank to the next; not 0.
    pub stride: i32,
}

impl RankRange {
    /// The ranks from `first` to at most `last` in steps of `stride`.
    pub fn new(first: impl Into<Rank>, last: impl Into<Rank>, stride: i32) -> Self {
        Self { first: first.into(), last: last.into(), stride }
    }

    fn ranks(self) -> Result<impl Iterator<Item = Rank>, Error> {
        let Self { first, last, stride } = self;
        if stride == 0 {
            return Err(Error::invalid("a range of ranks with stride 0 has no end"));
        }
        let (from, to, step) = (i64::from(first.get()), i64::from(last.get()), i64::from(stride));
        let count = if (to - from).signum() * step.signum() < 0 { 0 } else { (to - from) / step + 1 };
        Ok((0..count).map(move |index| Rank::new((from + index * step) as u32)))
    }
}

impl<R: Into<Rank> + Copy> From<RangeInclusive<R>> for RankRange {
    fn from(range: RangeInclusive<R>) -> Self {
        Self::new(*range.start(), *range.end(), 1)
    }
}

impl ProcessGroup {
    /// The processes with these ranks in the world, in this order.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if a rank stands there twice.
    #[track_caller]
    pub fn new<R: Into<Rank>>(ranks: impl IntoIterator<Item = R>) -> Result<Self, Error> {
        let ranks: Vec<Rank> = ranks.into_iter().map(Into::into).collect();
        let mut seen = HashSet::with_capacity(ranks.len());
        match ranks.iter().find(|rank| !seen.insert(**rank)) {
            Some(rank) => Err(Error::here()(Error::invalid(format!("rank {rank} is in the group twice")))),
            None => Ok(Self::of_distinct(ranks)),
        }
    }

    pub(crate) fn of_distinct(ranks: Vec<Rank>) -> Self {
        Self { ranks: ranks.into() }
    }

    /// No process (MPI's `GROUP_EMPTY`).
    pub fn empty() -> Self {
        Self::default()
    }

    /// How many processes there are (MPI 4.1, chapter 7.3.1).
    pub fn size(&self) -> u32 {
        self.ranks.len() as u32
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    /// The processes by their ranks in the world, in the group's order.
    pub fn ranks(&self) -> &[Rank] {
        &self.ranks
    }

    /// The rank in this group of the process with a rank in the world, if it is in it (MPI 4.1, chapter 7.3.1; the calling
    /// process is `world.rank()`).
    pub fn rank(&self, in_world: impl Into<Rank>) -> Option<Rank> {
        let wanted = in_world.into();
        self.ranks.iter().position(|rank| *rank == wanted).map(|at| Rank::new(at as u32))
    }

    /// What ranks of this group are called in another one, `None` for those that are not in it (MPI 4.1, chapter 7.3.1).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if this group has no such rank.
    #[track_caller]
    pub fn translate_ranks(&self, ranks: &[impl Into<Rank> + Copy], other: &Self) -> Result<Vec<Option<Rank>>, Error> {
        let places: HashMap<Rank, u32> = other.ranks.iter().copied().zip(0..).collect();
        let translated =
            ranks.iter().map(|rank| Ok(places.get(&self.process((*rank).into())?).copied().map(Rank::new)));
        translated.collect::<Result<_, _>>().map_err(Error::here())
    }

    /// How the two relate (MPI 4.1, chapter 7.3.1).
    pub fn compare(&self, other: &Self) -> Comparison {
        if self == other {
            return Comparison::Identical;
        }
        let mine: HashSet<Rank> = self.ranks.iter().copied().collect();
        let same = self.size() == other.size() && other.ranks.iter().all(|rank| mine.contains(rank));
        if same { Comparison::Similar } else { Comparison::Unequal }
    }

    /// All of this group, then those of the other that are not in it (MPI 4.1, chapter 7.3.2).
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mine: HashSet<Rank> = self.ranks.iter().copied().collect();
        let more = other.ranks.iter().filter(|rank| !mine.contains(rank));
        Self::of_distinct(self.ranks.iter().chain(more).copied().collect())
    }

    /// Those of this group that are in the other, too, in this group's order (MPI 4.1, chapter 7.3.2).
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let theirs: HashSet<Rank> = other.ranks.iter().copied().collect();
        Self::of_distinct(self.ranks.iter().filter(|rank| theirs.contains(rank)).copied().collect())
    }

    /// Those of this group that are not in the other, in this group's order (MPI 4.1, chapter 7.3.2).
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let theirs: HashSet<Rank> = other.ranks.iter().copied().collect();
        Self::of_distinct(self.ranks.iter().filter(|rank| !theirs.contains(rank)).copied().collect())
    }

    /// The processes that have these ranks here, in this order (MPI 4.1, chapter 7.3.2).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if this group has no such rank, or one is named twice.
    #[track_caller]
    pub fn include(&self, ranks: &[impl Into<Rank> + Copy]) -> Result<Self, Error> {
        let mut seen = HashSet::with_capacity(ranks.len());
        let processes = ranks.iter().map(|rank| self.process_once((*rank).into(), &mut seen));
        Ok(Self::of_distinct(processes.collect::<Result<_, _>>().map_err(Error::here())?))
    }

    /// All but the processes that have these ranks here, in this group's order (MPI 4.1, chapter 7.3.2).
    ///
    /// # Errors
    ///
    /// As [`include`](Self::include).
    #[track_caller]
    pub fn exclude(&self, ranks: &[impl Into<Rank> + Copy]) -> Result<Self, Error> {
        let mut out = HashSet::with_capacity(ranks.len());
        for rank in ranks {
            self.process_once((*rank).into(), &mut out).map_err(Error::here())?;
        }
        let rest = (0..).zip(self.ranks.iter()).filter(|(at, _)| !out.contains(&Rank::new(*at)));
        Ok(Self::of_distinct(rest.map(|(_, rank)| *rank).collect()))
    }

    /// As [`include`](Self::include), with ranges of ranks (MPI 4.1, chapter 7.3.2).
    ///
    /// ```
    /// use edgempi::{ProcessGroup, RankRange};
    ///
    /// let all = ProcessGroup::new(10..20)?;
    /// assert_eq!(all.range_include(&[RankRange::new(6, 0, -3), (8..=9).into()])?.ranks(), [16, 13, 10, 18, 19]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`include`](Self::include), and if a stride is 0.
    #[track_caller]
    pub fn range_include(&self, ranges: &[RankRange]) -> Result<Self, Error> {
        self.include(&self.expand(ranges).map_err(Error::here())?)
    }

    /// As [`exclude`](Self::exclude), with ranges of ranks (MPI 4.1, chapter 7.3.2).
    ///
    /// # Errors
    ///
    /// As [`range_include`](Self::range_include).
    #[track_caller]
    pub fn range_exclude(&self, ranges: &[RankRange]) -> Result<Self, Error> {
        self.exclude(&self.expand(ranges).map_err(Error::here())?)
    }

    fn process(&self, rank: Rank) -> Result<Rank, Error> {
        let process = self.ranks.get(rank.index()).copied();
        process.ok_or_else(|| Error::invalid(format!("there is no rank {rank} in a group of {}", self.size())))
    }

    fn process_once(&self, rank: Rank, seen: &mut HashSet<Rank>) -> Result<Rank, Error> {
        let process = self.process(rank)?;
        match seen.insert(rank) {
            true => Ok(process),
            false => Err(Error::invalid(format!("rank {rank} of the group is named twice"))),
        }
    }

    fn expand(&self, ranges: &[RankRange]) -> Result<Vec<Rank>, Error> {
        let mut all = Vec::new();
        for range in ranges {
            let before = all.len();
            for rank in range.ranks()? {
                // A range of four thousand millions ends here, too.
                self.process(rank)?;
                all.push(rank);
            }
            if all.len() - before > self.ranks.len() || all.len() > 2 * self.ranks.len() + 1 {
                return Err(Error::invalid("the ranges name a rank twice"));
            }
        }
        Ok(all)
    }

    /// A number that follows from the processes and their order.
    pub(crate) fn fingerprint(&self) -> [u8; 16] {
        fingerprint(self.ranks.iter().map(|rank| rank.get()))
    }
}

/// A number of 16 bytes that differs, in all likelihood, for different sequences: ranks that have to give the same find
/// each other by it. (FNV-1a, 1991, in its 128-bit form.)
pub(crate) fn fingerprint(words: impl IntoIterator<Item = u32>) -> [u8; 16] {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = words.into_iter().flat_map(u32::to_le_bytes);
    bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME)).to_le_bytes()
}
