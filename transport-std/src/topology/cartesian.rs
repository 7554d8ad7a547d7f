//! Ranks in a grid.

use std::ops::Deref;
use std::panic::Location;

use edgempi_core::{Color, Purpose, Rank};

use super::neighbours::{DIRECTIONS, Edge, Neighborhood};
use crate::comm::Comm;
use crate::error::Error;
use crate::group::fingerprint;
use crate::request::Request;

/// How many ranks a grid should have in each of `dimensions` for `nodes` ranks, as equal as can be, the longest first
/// (MPI 4.1, chapter 8.5.2).
///
/// ```
/// assert_eq!(edgempi::dims_create(12, 2)?, [4, 3]);
/// assert_eq!(edgempi::dims_create(7, 3)?, [7, 1, 1]);
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidArgument`] for no ranks, for several ranks in no dimension, or for more than 32 dimensions.
#[track_caller]
pub fn dims_create(nodes: u32, dimensions: usize) -> Result<Vec<u32>, Error> {
    let limit =
        if dimensions > MAX_DIMENSIONS { format!(", of {MAX_DIMENSIONS} that are allowed") } else { String::new() };
    let none = || Error::invalid(format!("{nodes} ranks can not stand in {dimensions} dimensions{limit}"));
    if nodes == 0 || dimensions > MAX_DIMENSIONS {
        return Err(Error::here()(none()));
    }
    balanced(nodes, dimensions, nodes).ok_or_else(none).map_err(Error::here())
}

const MAX_DIMENSIONS: usize = DIRECTIONS as usize / 2;

/// `nodes` as a product of so many factors of at most `limit`, the largest of them as small as can be.
fn balanced(nodes: u32, dimensions: usize, limit: u32) -> Option<Vec<u32>> {
    match dimensions {
        0 => (nodes == 1).then(Vec::new),
        1 => (nodes <= limit).then(|| vec![nodes]),
        // What is left is ones.
        _ if nodes == 1 => Some(vec![1; dimensions]),
        _ => divisors(nodes).into_iter().take_while(|first| *first <= limit).find_map(|first| {
            let enough = first.checked_pow(dimensions as u32).is_none_or(|most| most >= nodes);
            let rest = enough.then(|| balanced(nodes / first, dimensions - 1, first)).flatten()?;
            Some([vec![first], rest].concat())
        }),
    }
}

/// In ascending order.
fn divisors(number: u32) -> Vec<u32> {
    let low: Vec<u32> = (1..)
        .take_while(|one| u64::from(*one).pow(2) <= number.into())
        .filter(|one| number.is_multiple_of(*one))
        .collect();
    let high = low.iter().rev().map(|one| number / one).filter(|other| u64::from(*other).pow(2) > number.into());
    low.iter().copied().chain(high).collect()
}

/// Ranks in a grid (MPI 4.1, chapter 8.5.1), in row-major order: the last coordinate counts fastest.
///
/// Dereferences to its [`Neighborhood`], whose calls it has, and whose [`comm`](Neighborhood::comm) is the communicator of
/// the grid's ranks. Cheap to clone.
///
/// ```
/// # let worlds = edgempi::local(4)?;
/// # std::thread::scope(|scope| for world in worlds { scope.spawn(move || {
/// let grid = world.comm().cart(&[2, 2], &[true, false]).wait()?.expect("four ranks are needed");
/// let me = grid.comm().rank();
/// let (left, right) = grid.shift(1, 1)?;
/// if me == 3 {
///     assert_eq!(grid.coords(me), Some(vec![1, 1]));
///     assert_eq!((left, right), (Some(2.into()), None));
///     assert_eq!(grid.rank_at(&[2, 1]), Some(1.into()), "the first dimension is a ring");
/// }
/// # drop(grid);
/// # world.finalize().wait() }); });
/// # Ok::<(), edgempi::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cartesian {
    grid: Grid,
    neighborhood: Neighborhood,
}

/// Lengths, and which dimensions are rings.
#[derive(Clone, Debug)]
struct Grid {
    dims: Vec<u32>,
    periods: Vec<bool>,
}

impl Grid {
    /// Checks that it makes sense; also says how many ranks it has.
    fn new(dims: &[u32], periods: &[bool]) -> Result<(Self, u32), Error> {
        if dims.len() != periods.len() {
            let (lengths, rings) = (dims.len(), periods.len());
            let text = format!(
                "the grid has {lengths} dimensions {dims:?} and {rings} periods {periods:?}: give one for each"
            );
            return Err(Error::invalid(text));
        }
        if dims.len() > MAX_DIMENSIONS {
            let text = format!("the grid has {} dimensions, and {MAX_DIMENSIONS} are allowed", dims.len());
            return Err(Error::invalid(text));
        }
        if let Some(empty) = dims.iter().position(|len| *len == 0) {
            let text = format!("dimension {empty} of the grid {dims:?} has length 0: a grid of no ranks is none");
            return Err(Error::invalid(text));
        }
        let count = dims.iter().try_fold(1u32, |count, len| count.checked_mul(*len));
        let too_many = || Error::invalid(format!("a grid of {dims:?} has more than {} ranks", u32::MAX));
        let count = count.ok_or_else(too_many)?;
        Ok((Self { dims: dims.to_vec(), periods: periods.to_vec() }, count))
    }

    fn coords(&self, rank: Rank) -> Vec<u32> {
        let mut rest = rank.get();
        let mut coords: Vec<u32> = self
            .dims
            .iter()
            .rev()
            .map(|len| {
                let coord = rest % len;
                rest /= len;
                coord
            })
            .collect();
        coords.reverse();
        coords
    }

    fn rank_at(&self, coords: &[i64]) -> Option<Rank> {
        if coords.len() != self.dims.len() {
            return None;
        }
        let mut rank = 0;
        for ((len, periodic), coord) in self.dims.iter().zip(&self.periods).zip(coords) {
            let coord = if *periodic { coord.rem_euclid((*len).into()) } else { *coord };
            let coord = u32::try_from(coord).ok().filter(|coord| coord < len)?;
            rank = rank * len + coord;
        }
        Some(Rank::new(rank))
    }

    /// Who is `by` places away in one dimension.
    fn beside(&self, rank: Rank, dimension: usize, by: i64) -> Option<Rank> {
        let mut coords: Vec<i64> = self.coords(rank).into_iter().map(i64::from).collect();
        let coord = coords.get_mut(dimension)?;
        *coord += by;
        self.rank_at(&coords)
    }

    fn on(self, comm: Comm) -> Cartesian {
        let rank = comm.rank();
        let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
        for dimension in 0..self.dims.len() {
            for (side, by) in [-1, 1].into_iter().enumerate() {
                let neighbour = self.beside(rank, dimension, by);
                let direction = |side: usize| (dimension * 2 + side) as u32;
                // What goes in one direction comes from the other one, even if both neighbours are the same rank.
                outgoing.push(neighbour.map(|rank| Edge { rank, direction: direction(side) }));
                incoming.push(neighbour.map(|rank| Edge { rank, direction: direction(1 - side) }));
            }
        }
        Cartesian { grid: self, neighborhood: Neighborhood::new(comm, incoming, outgoing) }
    }
}

impl Comm {
    /// Puts the ranks in a grid (MPI 4.1, chapter 8.5.1) with so many ranks in each dimension, some of which may be rings.
    /// Collective over this communicator; all give the same. `None` on ranks that the grid has no place for.
    ///
    /// Ranks keep their order: MPI's `reorder` would be of no use where every rank is as far from every other.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if the grid has more ranks than there are,
    /// [`Error::Mismatch`] if the ranks do not give the same.
    #[track_caller]
    pub fn cart(&self, dims: &[u32], periods: &[bool]) -> Request<'static, Option<Cartesian>> {
        let (grid, count) = match Grid::new(dims, periods) {
            Ok(grid) => grid,
            Err(error) => return Request::refused(error),
        };
        if count > self.size() {
            let text = format!("a grid of {dims:?} needs {count} ranks, and the communicator has {}", self.size());
            return Request::refused(Error::invalid(text));
        }
        let words = dims.iter().copied().chain(periods.iter().map(|periodic| u32::from(*periodic)));
        let color = (self.rank() < count).then(|| Color::Text(fingerprint(words.clone())));
        let site = Location::caller();
        let comm = self.meaning(Purpose::Cart).agreeing_on(words);
        comm.split_by(color, 0).and_then(move |comm| match comm {
            None => Ok(None),
            Some(comm) if comm.size() == count => Ok(Some(grid.on(comm))),
            Some(comm) => {
                let text = format!(
                    "the ranks do not agree on the grid of a cart(): {} of the {count} of {:?} give this one",
                    comm.size(),
                    grid.dims
                );
                Err(Error::Mismatch { reason: text }.at(site))
            }
        })
    }
}

impl Cartesian {
    /// How many ranks there are in each dimension (MPI 4.1, chapter 8.5.5).
    pub fn dims(&self) -> &[u32] {
        &self.grid.dims
    }

    /// Which dimensions are rings.
    pub fn periods(&self) -> &[bool] {
        &self.grid.periods
    }

    /// Where a rank is (MPI 4.1, chapter 8.5.5); `None` if it is not in the grid.
    pub fn coords(&self, rank: impl Into<Rank>) -> Option<Vec<u32>> {
        let rank = rank.into();
        (rank.get() < self.comm().size()).then(|| self.grid.coords(rank))
    }

    /// Who is there (MPI 4.1, chapter 8.5.5). Coordinates of rings wrap around; beyond the rim of other dimensions there
    /// is nobody.
    pub fn rank_at(&self, coords: &[i64]) -> Option<Rank> {
        self.grid.rank_at(coords)
    }

    /// From whom and to whom data move by `by` places in a dimension (MPI 4.1, chapter 8.5.6): the source and the
    /// destination of a `sendrecv`. Nobody is beyond the rim.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if there is no such dimension.
    #[track_caller]
    pub fn shift(&self, dimension: usize, by: i32) -> Result<(Option<Rank>, Option<Rank>), Error> {
        if dimension >= self.grid.dims.len() {
            let dims = &self.grid.dims;
            let text = format!("there is no dimension {dimension} in a grid of {} dimensions, {dims:?}", dims.len());
            return Err(Error::here()(Error::invalid(text)));
        }
        let (rank, by) = (self.comm().rank(), i64::from(by));
        Ok((self.grid.beside(rank, dimension, -by), self.grid.beside(rank, dimension, by)))
    }

    /// The part of the grid that has this rank in it and spans the dimensions that `remain` (MPI 4.1, chapter 8.5.7).
    /// Collective over the grid.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if `remain` has not one value for each dimension.
    #[track_caller]
    pub fn sub(&self, remain: &[bool]) -> Request<'static, Cartesian> {
        let Grid { dims, periods } = &self.grid;
        if remain.len() != dims.len() {
            let text = format!(
                "{} values say which of the {} dimensions of {dims:?} remain: give one for each",
                remain.len(),
                dims.len()
            );
            return Request::refused(Error::invalid(text));
        }
        let kept = || remain.iter().enumerate().filter(|(_, remains)| **remains).map(|(at, _)| at);
        let grid = Grid { dims: kept().map(|at| dims[at]).collect(), periods: kept().map(|at| periods[at]).collect() };
        let coords = self.grid.coords(self.comm().rank());
        let fixed = (0..).zip(&coords).zip(remain).filter(|(_, remains)| !**remains);
        // Ranks here are in row-major order, and so they stay among the remaining dimensions.
        let color = fixed.flat_map(|((at, coord), _): ((u32, &u32), &bool)| [at, *coord]);
        let request = self
            .comm()
            .meaning(Purpose::Sub)
            .agreeing_on(remain.iter().map(|remains| u32::from(*remains)))
            .split_by(Some(Color::Text(fingerprint(color))), 0);
        let (count, site): (u32, _) = (grid.dims.iter().product(), Location::caller());
        request.and_then(move |comm| match comm {
            Some(comm) if comm.size() == count => Ok(grid.on(comm)),
            comm => {
                let (came, dims) = (comm.map_or(0, |comm| comm.size()), grid.dims);
                let text = format!(
                    "the ranks do not agree on the dimensions of a sub(): {came} of the {count} of {dims:?} keep these"
                );
                Err(Error::Mismatch { reason: text }.at(site))
            }
        })
    }
}

impl Deref for Cartesian {
    type Target = Neighborhood;

    fn deref(&self) -> &Neighborhood {
        &self.neighborhood
    }
}
