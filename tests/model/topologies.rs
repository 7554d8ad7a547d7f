//! Neighbours in grids and graphs: who they are by the model, what they get of each other, and how a rank makes the calls.

use edgempi::{Cartesian, Comm, Neighborhood, Rank, dims_create};

use crate::calls::Pieces;
use crate::model::as_bytes;
use crate::persistent;
use crate::plan::View;
use crate::played::played;
use crate::program::{Data, Form, Topology};
use crate::values::{Sample, bytes, elements, hash, object};

/// A collective among neighbours.
#[derive(Clone, Copy)]
pub struct Neighbours {
    pub topology: Topology,
    pub alltoall: bool,
    pub varied: bool,
}

/// From where a rank receives.
struct Source {
    rank: u32,
    /// Which of that rank's blocks it gets.
    block: usize,
}

impl Neighbours {
    /// What this rank gets: of each source a mark that it is there, and what it gave.
    pub fn expected(self, view: &View<'_>, data: Data) -> Vec<Vec<u8>> {
        let sources = match self.topology {
            Topology::Grid { dimensions, rings } => Grid::new(view.size(), dimensions, rings).sources(view.own),
            Topology::Graph { seed } => Graph::new(view.size(), seed).sources(view.own).into_iter().map(Some).collect(),
            Topology::Told { seed } => {
                Graph::new(view.size(), seed).told_sources(view.own).into_iter().map(Some).collect()
            }
        };
        let came = |source: Source| {
            let to = if self.alltoall { source.block as u32 } else { 0 };
            match data.form {
                Form::Object => object(view.at, source.rank, to, view.part.len),
                _ => bytes(view.at, source.rank, to, self.len(view, source.rank, to) * data.kind.size()),
            }
        };
        sources.into_iter().map(|source| source.map_or_else(Vec::new, |source| marked(came(source)))).collect()
    }

    /// How many elements a block has.
    fn len(self, view: &View<'_>, from: u32, to: u32) -> usize {
        match self.varied {
            true => view.part.len * (hash(&[view.at as u64, from.into(), to.into()]) % 4) as usize / 3,
            false => view.part.len,
        }
    }

    /// Makes the topology and the call.
    pub async fn perform<T: Sample>(self, comm: &Comm, view: &View<'_>) -> Pieces {
        match self.topology {
            Topology::Grid { dimensions, rings } => {
                let model = Grid::new(view.size(), dimensions, rings);
                match played!(Comm, comm, cart(&model.lens, &model.periods)).await? {
                    Some(grid) => {
                        model.compare(&grid, view.own);
                        let remain: Vec<bool> =
                            (0..dimensions).map(|dimension| view.at >> dimension & 1 == 1).collect();
                        let part = played!(Cartesian, grid, sub(&remain)).await?;
                        model.compare_part(&part, &remain, view.own);
                        self.exchange::<T>(&grid, view).await
                    }
                    None => Ok(vec![b"the grid has a place for every rank".to_vec()]),
                }
            }
            Topology::Graph { seed } => {
                let graph = Graph::new(view.size(), seed);
                let sources: Vec<u32> = graph.sources(view.own).iter().map(|source| source.rank).collect();
                let graph = played!(Comm, comm, dist_graph_adjacent(&sources, &graph.destinations(view.own))).await?;
                self.exchange::<T>(&graph, view).await
            }
            Topology::Told { seed } => {
                let graph = Graph::new(view.size(), seed);
                let said = graph.edges.iter().filter(|edge| edge.sayer == view.own);
                let graph =
                    played!(Comm, comm, dist_graph(&said.map(|edge| (edge.from, edge.to)).collect::<Vec<_>>())).await?;
                self.exchange::<T>(&graph, view).await
            }
        }
    }

    async fn exchange<T: Sample>(self, neighbours: &Neighborhood, view: &View<'_>) -> Pieces {
        let View { at, own, .. } = *view;
        let count = neighbours.destinations().len() as u32;
        let value = |to| object(at, own, to, view.part.len);
        if view.call.form() == Form::Object {
            let objects = neighbours.objects();
            let came = match self.alltoall {
                true => {
                    played!(NeighborObjects, objects, neighbor_alltoall(&(0..count).map(value).collect::<Vec<_>>()))
                        .await?
                }
                false => played!(NeighborObjects, objects, neighbor_allgather(&value(0))).await?,
            };
            return Ok(came.into_iter().map(|piece| piece.map_or_else(Vec::new, marked)).collect());
        }
        let given = |view: &View<'_>| {
            let count = if self.alltoall { count } else { 1 };
            (0..count).map(|to| elements::<T>(view.at, own, to, self.len(view, own, to))).collect()
        };
        let neighbours = neighbours.clone();
        let make = move |mut blocks: Vec<Vec<T>>| match (self.alltoall, self.varied) {
            (false, false) => played!(Neighborhood, neighbours, neighbor_allgather(blocks.remove(0))),
            (false, true) => played!(Neighborhood, neighbours, neighbor_allgatherv(blocks.remove(0))),
            (true, false) => played!(Neighborhood, neighbours, neighbor_alltoall(blocks.concat())),
            (true, true) => played!(Neighborhood, neighbours, neighbor_alltoallv(blocks)),
        };
        let taken = |came: Option<Vec<T>>| came.map_or_else(Vec::new, |data| marked(as_bytes(&data)));
        persistent::own(view, given, make, |came| came.into_iter().map(taken).collect()).await
    }
}

/// Somebody's block, which may be empty.
fn marked(block: Vec<u8>) -> Vec<u8> {
    [&[1], &block[..]].concat()
}

/// A grid of all ranks: the last dimension's neighbours have consecutive numbers.
struct Grid {
    lens: Vec<u32>,
    periods: Vec<bool>,
}

impl Grid {
    fn new(size: u32, dimensions: usize, rings: u32) -> Self {
        let lens = played!(dims_create(size, dimensions)).expect("any number of ranks fits a grid");
        assert_eq!(lens.iter().product::<u32>(), size, "{lens:?} ranks");
        Self { lens, periods: (0..dimensions).map(|dimension| rings >> dimension & 1 == 1).collect() }
    }

    /// Where a rank is.
    fn coords(&self, rank: u32) -> Vec<u32> {
        let stride = |dimension: usize| self.lens[dimension + 1..].iter().product::<u32>();
        self.lens.iter().enumerate().map(|(dimension, len)| rank / stride(dimension) % len).collect()
    }

    /// Whether a grid says of itself what is so.
    fn compare(&self, grid: &Cartesian, own: u32) {
        assert_eq!((grid.dims(), grid.periods()), (&self.lens[..], &self.periods[..]));
        let place: Vec<i64> = self.coords(own).into_iter().map(i64::from).collect();
        assert_eq!(played!(Cartesian, grid, coords(own)), Some(self.coords(own)));
        assert_eq!(played!(Cartesian, grid, rank_at(&place)), Some(Rank::new(own)));
        let number = |rank: Option<Rank>| rank.map(|rank| rank.get());
        for dimension in 0..self.lens.len() {
            let (len, by) = (i64::from(self.lens[dimension]), i64::from(own % 3) - 1);
            let beside = |by: i64| {
                let there = place[dimension] + by;
                let is_there = self.periods[dimension] || (0..len).contains(&there);
                let mut place = place.clone();
                place[dimension] = there.rem_euclid(len);
                is_there
                    .then(|| (0..).find(|rank| self.coords(*rank).into_iter().map(i64::from).eq(place.iter().copied())))
            };
            let (source, dest) =
                played!(Cartesian, grid, shift(dimension, by as i32)).expect("there is such a dimension");
            assert_eq!((number(source), number(dest)), (beside(-by).flatten(), beside(by).flatten()), "by {by}");
        }
    }

    /// The same of a part of it, in which some dimensions remain.
    fn compare_part(&self, part: &Cartesian, remain: &[bool], own: u32) {
        let lens: Vec<u32> =
            self.lens.iter().zip(remain).filter(|(_, remains)| **remains).map(|(len, _)| *len).collect();
        let kept = self.coords(own).into_iter().zip(remain).filter(|(_, remains)| **remains).map(|(place, _)| place);
        assert_eq!((part.dims(), part.comm().size()), (&lens[..], lens.iter().product()));
        assert_eq!(played!(Cartesian, part, coords(part.comm().rank())), Some(kept.collect()));
    }

    /// In each dimension first the neighbour below, whose block for its upper one this rank gets, then the one above.
    fn sources(&self, own: u32) -> Vec<Option<Source>> {
        let mut sources = Vec::new();
        for (dimension, len) in self.lens.iter().copied().enumerate() {
            let stride: u32 = self.lens[dimension + 1..].iter().product();
            let place = own / stride % len;
            let at = |place: u32| own - own / stride % len * stride + place * stride;
            let below = if place > 0 { Some(place - 1) } else { self.periods[dimension].then_some(len - 1) };
            let above = if place + 1 < len { Some(place + 1) } else { self.periods[dimension].then_some(0) };
            sources.push(below.map(|place| Source { rank: at(place), block: 2 * dimension + 1 }));
            sources.push(above.map(|place| Source { rank: at(place), block: 2 * dimension }));
        }
        sources
    }
}

/// A graph with no edge between some ranks, and two between others.
struct Graph {
    seed: u32,
    size: u32,
    /// By the rank that says them, if all are said, and of each in an order of its own.
    edges: Vec<Edge>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    sayer: u32,
    random: u64,
    from: u32,
    to: u32,
}

impl Graph {
    fn new(size: u32, seed: u32) -> Self {
        let mut edges = Vec::new();
        for from in 0..size {
            for to in 0..size {
                let random = hash(&[seed.into(), from.into(), to.into()]);
                let count = [0, 0, 1, 1, 2][(random % 5) as usize];
                let edge = |number| {
                    let random = hash(&[random, number]);
                    Edge { sayer: (random % u64::from(size)) as u32, random, from, to }
                };
                edges.extend((0..count).map(edge));
            }
        }
        edges.sort_unstable();
        Self { seed, size, edges }
    }

    /// To whom a rank has edges.
    fn destinations(&self, rank: u32) -> Vec<u32> {
        self.edges.iter().filter(|edge| edge.from == rank).map(|edge| edge.to).collect()
    }

    /// From whom a rank has edges, in an order of its own: of several from one rank, the first gets that rank's first
    /// block for it.
    fn sources(&self, own: u32) -> Vec<Source> {
        let mut ranks: Vec<u32> = (0..self.size).collect();
        ranks.sort_by_key(|rank| hash(&[self.seed.into(), (*rank).into()]));
        let mut sources = Vec::new();
        for rank in ranks {
            let destinations = self.destinations(rank);
            let blocks = destinations.iter().enumerate().filter(|(_, to)| **to == own);
            sources.extend(blocks.map(|(block, _)| Source { rank, block }));
        }
        sources
    }

    /// The same in the order in which the edges are said.
    fn told_sources(&self, own: u32) -> Vec<Source> {
        let source = |edge: &Edge| {
            let block = self.edges.iter().filter(|other| other.from == edge.from).position(|other| other == edge);
            Source { rank: edge.from, block: block.expect("it is one of them") }
        };
        self.edges.iter().filter(|edge| edge.to == own).map(source).collect()
    }
}
