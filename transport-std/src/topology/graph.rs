//! Ranks in a graph of which each knows its own edges.

use std::ops::Deref;

use edgempi_core::Rank;

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
    pub fn dist_graph_adjacent(&self, sources: &[u32], destinations: &[u32]) -> Request<'static, DistGraph> {
        if let Some(rank) = sources.iter().chain(destinations).find(|rank| **rank >= self.size()) {
            let text = format!("there is no rank {rank} in a communicator of {}", self.size());
            return Request::refused(Error::invalid(text));
        }
        let edges = |ranks: &[u32]| -> Vec<Option<Edge>> {
            ranks.iter().map(|rank| Some(Edge { rank: Rank::new(*rank), direction: 0 })).collect()
        };
        let (incoming, outgoing) = (edges(sources), edges(destinations));
        self.dup().map(move |comm| DistGraph { neighborhood: Neighborhood::new(comm, incoming, outgoing) })
    }
}

impl Deref for DistGraph {
    type Target = Neighborhood;

    fn deref(&self) -> &Neighborhood {
        &self.neighborhood
    }
}
