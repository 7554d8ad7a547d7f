//! Ranks in a graph: each says its own edges, or whichever it knows.

use std::ops::Deref;
use std::panic::Location;

use edgempi_core::{Purpose, Rank};

use super::neighbours::{Edge, Neighborhood};
use crate::comm::Comm;
use crate::error::Error;
use crate::request::Request;

/// Ranks in a graph (MPI 4.1, chapter 8.5.4). Dereferences to its [`Neighborhood`], whose calls it has. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DistGraph {
    neighborhood: Neighborhood,
}

impl Comm {
    /// Puts the ranks in a graph (MPI 4.1, chapter 8.5.4, `Dist_graph_create_adjacent`): each says from whom it receives
    /// and to whom it sends. Collective over this communicator.
    ///
    /// An edge has to be named at both ends, as often on one as on the other; several edges between two ranks are told
    /// apart by their order. An edge that is named at one end alone makes calls wait for ever.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// # std::thread::scope(|scope| for world in worlds { scope.spawn(move || {
    /// // Everybody sends to the next one, in a ring.
    /// let (rank, size) = (world.rank().get(), world.size());
    /// let ring = world.comm().dist_graph_adjacent(&[(rank + size - 1) % size], &[(rank + 1) % size]).wait()?;
    /// let from_before = ring.objects().neighbor_allgather(&format!("from {rank}")).wait()?;
    /// if rank == 0 {
    ///     assert_eq!(from_before, [Some("from 2".to_owned())]);
    /// }
    /// # drop(ring);
    /// # world.finalize().wait() }); });
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if the communicator has no such rank.
    #[track_caller]
    pub fn dist_graph_adjacent<R: Into<Rank> + Copy>(
        &self,
        sources: &[R],
        destinations: &[R],
    ) -> Request<'static, DistGraph> {
        let ends = |ranks: &[R]| -> Vec<Rank> { ranks.iter().map(|rank| (*rank).into()).collect() };
        let (sources, destinations) = (ends(sources), ends(destinations));
        if let Err(error) = self.check_ends(sources.iter().chain(&destinations)) {
            return Request::refused(error);
        }
        self.dup_for(Purpose::DistGraphAdjacent).map(move |comm| DistGraph::new(comm, &sources, &destinations))
    }

    /// Puts the ranks in a graph (MPI 4.1, chapter 8.5.4, `Dist_graph_create`) of which each says any edges, its own or
    /// others': pairs of a source and a destination. Every edge is said by one rank alone, and told to both its ends.
    /// Collective over this communicator.
    ///
    /// A rank's sources and destinations are in the order of the ranks that said the edges, and of each in its order. An
    /// edge that is said twice is there twice.
    ///
    /// The ranks tell each other when all have come: each goes on with that when its request is polled, waited for or tested.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// # std::thread::scope(|scope| for world in worlds { scope.spawn(move || {
    /// // Rank 0 knows the plan: both others send to it, and it sends to rank 2.
    /// let edges = if world.rank() == 0 { vec![(1, 0), (2, 0), (0, 2)] } else { vec![] };
    /// let graph = world.comm().dist_graph(&edges).wait()?;
    /// let came = graph.objects().neighbor_allgather(&format!("from {}", world.rank())).wait()?;
    /// if world.rank() == 0 {
    ///     assert_eq!(came, [Some("from 1".to_owned()), Some("from 2".to_owned())]);
    /// }
    /// # drop(graph);
    /// # world.finalize().wait() }); });
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if the communicator has no such rank.
    #[track_caller]
    pub fn dist_graph<R: Into<Rank> + Copy>(&self, edges: &[(R, R)]) -> Request<'static, DistGraph> {
        let edges: Vec<[Rank; 2]> = edges.iter().map(|(source, dest)| [(*source).into(), (*dest).into()]).collect();
        if let Err(error) = self.check_ends(edges.as_flattened()) {
            return Request::refused(error);
        }
        let mut told = vec![Vec::new(); self.size() as usize];
        for [source, destination] in edges {
            let words = [source.get(), destination.get()];
            told[source.index()].extend(words);
            if source != destination {
                told[destination.index()].extend(words);
            }
        }
        // On this communicator it is one collective, as on whatever rank calls another one by mistake: edges are told on the
        // new one, where nobody else is.
        let (own, site) = (self.rank(), Location::caller());
        self.dup_for(Purpose::DistGraph).then(move |comm| {
            let told = comm.meaning(Purpose::DistGraph).alltoallv_at(told, site);
            told.and_then(move |told| of_edges(comm, own, &told.concat()))
        })
    }

    /// Whether all of these are ranks of this communicator.
    fn check_ends<'r>(&self, ends: impl IntoIterator<Item = &'r Rank>) -> Result<(), Error> {
        match ends.into_iter().find(|rank| **rank >= self.size()) {
            Some(rank) => Err(Error::invalid(format!("there is no rank {rank} in a communicator of {}", self.size()))),
            None => Ok(()),
        }
    }
}

/// The graph in which rank `own` has these edges, each a source and a destination.
fn of_edges(comm: Comm, own: Rank, words: &[u32]) -> Result<DistGraph, Error> {
    let (edges, rest) = words.as_chunks::<2>();
    let is_edge = |[source, destination]: &[u32; 2]| {
        (own == *source || own == *destination) && comm.check_ends(&[*source, *destination].map(Rank::new)).is_ok()
    };
    if !rest.is_empty() || !edges.iter().all(is_edge) {
        return Err(Error::Protocol { reason: "what the ranks say in a dist_graph() are no edges".to_owned() });
    }
    let ends = |wanted: usize| -> Vec<Rank> {
        edges.iter().filter(|edge| own == edge[1 - wanted]).map(|edge| Rank::new(edge[wanted])).collect()
    };
    let (sources, destinations) = (ends(0), ends(1));
    Ok(DistGraph::new(comm, &sources, &destinations))
}

impl DistGraph {
    fn new(comm: Comm, sources: &[Rank], destinations: &[Rank]) -> Self {
        // Edges between the same two ranks are told apart by their order.
        let edges = |ranks: &[Rank]| ranks.iter().map(|rank| Some(Edge { rank: *rank, direction: 0 })).collect();
        Self { neighborhood: Neighborhood::new(comm, edges(sources), edges(destinations)) }
    }
}

impl Deref for DistGraph {
    type Target = Neighborhood;

    fn deref(&self) -> &Neighborhood {
        &self.neighborhood
    }
}
