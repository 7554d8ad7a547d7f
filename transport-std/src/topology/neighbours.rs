//! The collectives among neighbours: each is a receive from every source and a send to every destination.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use edgempi_core::{Element, Purpose, Rank};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::comm::{Comm, IntoBuffer};
use crate::error::Error;
use crate::request::Request;

/// Edges between two ranks may be this many at most without being mixed up: directions of a grid.
pub(super) const DIRECTIONS: u32 = 64;

/// One end of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) rank: Rank,
    /// What both ends call it.
    pub(super) direction: u32,
}

/// The neighbours of a rank in a topology, and the collectives among them (MPI 4.1, chapter 8.6).
///
/// [`Cartesian`](super::Cartesian) and [`DistGraph`](super::DistGraph) dereference to it. Results have one place for
/// each source, in order: of a grid, for every dimension first the neighbour in negative direction, then the one in
/// positive direction; of a graph, the order in which its edges were given. A neighbour that is not there (MPI's `PROC_NULL`, beyond the
/// rim of a grid) is `None`.
///
/// As with other collectives, all ranks of the topology start them in the same order. Any number may be in flight. They
/// are messages on the topology's own [communicator](Self::comm): send none of your own there, or they may meet. Where two
/// neighbours make different calls, both are told; ranks that are neighbours of neither go on.
///
/// # Errors
///
/// Those of [`Comm`]'s calls; [`Error::InvalidArgument`] at once if there is not one block for each destination.
///
/// # Cancel safety
///
/// Dropping a request unfinished takes this rank's receives back; what was sent to it stays unread at the hub until the
/// topology is dropped. Later calls are not mixed up with it.
#[derive(Clone, Debug)]
pub struct Neighborhood {
    comm: Comm,
    incoming: Arc<[Option<Edge>]>,
    outgoing: Arc<[Option<Edge>]>,
    /// How many calls were started: messages of different calls never match.
    calls: Arc<AtomicU32>,
}

impl Neighborhood {
    pub(super) fn new(comm: Comm, incoming: Vec<Option<Edge>>, outgoing: Vec<Option<Edge>>) -> Self {
        Self { comm, incoming: incoming.into(), outgoing: outgoing.into(), calls: Arc::default() }
    }

    /// The communicator of the topology's ranks.
    pub fn comm(&self) -> &Comm {
        &self.comm
    }

    /// From whom this rank receives, in the order of the results.
    pub fn sources(&self) -> Vec<Option<Rank>> {
        self.incoming.iter().map(|edge| edge.map(|edge| edge.rank)).collect()
    }

    /// To whom this rank sends, in the order of the blocks.
    pub fn destinations(&self) -> Vec<Option<Rank>> {
        self.outgoing.iter().map(|edge| edge.map(|edge| edge.rank)).collect()
    }

    /// The same calls for any serde value.
    pub fn objects(&self) -> NeighborObjects<'_> {
        NeighborObjects { neighborhood: self }
    }

    /// Every rank's `data` reaches its neighbours (MPI 4.1, chapter 8.6.1). All lengths must be equal.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// # std::thread::scope(|scope| for world in worlds { scope.spawn(move || {
    /// let line = world.comm().cart(&[3], &[false]).wait()?.expect("three ranks are needed");
    /// let blocks = line.neighbor_allgather([world.rank().get()]).wait()?;
    /// if world.rank() == 0 {
    ///     assert_eq!(blocks, [None, Some(vec![1])]);
    /// }
    /// # drop(line);
    /// # world.finalize().wait() }); });
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn neighbor_allgather<T: Element>(&self, data: impl IntoBuffer<T>) -> Request<'static, Vec<Option<Vec<T>>>> {
        let data = data.into_buffer();
        let len = data.len();
        let blocks = vec![data; self.outgoing.len()];
        self.exchange(Purpose::NeighborAllgather, blocks, Some(len))
    }

    /// As [`neighbor_allgather`](Self::neighbor_allgather), with lengths that may differ between ranks
    /// (MPI 4.1, chapter 8.6.1).
    #[track_caller]
    pub fn neighbor_allgatherv<T: Element>(&self, data: impl IntoBuffer<T>) -> Request<'static, Vec<Option<Vec<T>>>> {
        let blocks = vec![data.into_buffer(); self.outgoing.len()];
        self.exchange(Purpose::NeighborAllgatherv, blocks, None)
    }

    /// Block d of `data` reaches destination d (MPI 4.1, chapter 8.6.2). All blocks have one length; there is one for
    /// every destination, those that are not there included.
    #[track_caller]
    pub fn neighbor_alltoall<T: Element>(&self, data: impl IntoBuffer<T>) -> Request<'static, Vec<Option<Vec<T>>>> {
        let (data, count) = (data.into_buffer(), self.outgoing.len());
        let len = data.len().checked_div(count).unwrap_or(0);
        if len * count != data.len() {
            let text =
                format!("{} elements can not be divided into one block for each of {count} neighbours", data.len());
            return Request::refused(Error::invalid(text));
        }
        let blocks = (0..count).map(|at| data[at * len..][..len].to_vec()).collect();
        // Without destinations there is no length to compare with.
        self.exchange(Purpose::NeighborAlltoall, blocks, (count > 0).then_some(len))
    }

    /// As [`neighbor_alltoall`](Self::neighbor_alltoall), with blocks of any length (MPI 4.1, chapter 8.6.2).
    #[track_caller]
    pub fn neighbor_alltoallv<T: Element>(&self, blocks: Vec<Vec<T>>) -> Request<'static, Vec<Option<Vec<T>>>> {
        if let Err(error) = self.check_count(blocks.len()) {
            return Request::refused(error);
        }
        self.exchange(Purpose::NeighborAlltoallv, blocks, None)
    }

    fn check_count(&self, given: usize) -> Result<(), Error> {
        let count = self.outgoing.len();
        let text = || format!("{given} blocks were given for {count} neighbours");
        (given == count).then_some(()).ok_or_else(|| Error::invalid(text()))
    }

    /// The tag of a direction's messages in the call that begins now.
    fn begin(&self) -> impl Fn(Edge) -> u32 {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        move |edge| call.wrapping_mul(DIRECTIONS).wrapping_add(edge.direction)
    }

    #[track_caller]
    fn exchange<T: Element>(
        &self,
        purpose: Purpose,
        blocks: Vec<Vec<T>>,
        expected: Option<usize>,
    ) -> Request<'static, Vec<Option<Vec<T>>>> {
        let (tag, site, comm) = (self.begin(), Location::caller(), self.comm.meaning(purpose));
        let mut requests = Vec::with_capacity(self.incoming.len() + self.outgoing.len());
        for edge in self.incoming.iter() {
            requests.push(match edge {
                Some(edge) => comm.recv::<T>(edge.rank, tag(*edge)).map(|(block, _)| Some(block)),
                None => Request::ready(Ok(None)),
            });
        }
        for (edge, block) in self.outgoing.iter().zip(blocks) {
            if let Some(edge) = edge {
                requests.push(comm.send(edge.rank, tag(*edge), block).map(|()| None));
            }
        }
        let incoming = self.incoming.clone();
        Request::join(requests, move |mut received| {
            received.truncate(incoming.len());
            let Some(len) = expected else { return Ok(received) };
            let blocks = incoming.iter().zip(&received).filter_map(|(edge, block)| Some(((*edge)?, block.as_ref()?)));
            match blocks.into_iter().find(|(_, block)| block.len() != len) {
                Some((edge, block)) => {
                    let (neighbor, given) = (edge.rank, block.len());
                    let reason = format!(
                        "neighbour {neighbor} gave {given} elements and this rank {len}: all give as many, or use the v form"
                    );
                    Err(Error::Mismatch { reason }.at(site))
                }
                None => Ok(received),
            }
        })
    }
}

/// The collectives of a [`Neighborhood`] for any serde value. Values may have different lengths, so these are MPI's v forms,
/// too.
#[derive(Clone, Copy, Debug)]
pub struct NeighborObjects<'n> {
    neighborhood: &'n Neighborhood,
}

impl NeighborObjects<'_> {
    /// Every rank's value reaches its neighbours (MPI 4.1, chapter 8.6.1).
    #[track_caller]
    pub fn neighbor_allgather<T>(&self, value: &T) -> Request<'static, Vec<Option<T>>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let values = vec![value; self.neighborhood.outgoing.len()];
        self.exchange(Purpose::NeighborAllgather, &values)
    }

    /// Value d reaches destination d (MPI 4.1, chapter 8.6.2).
    #[track_caller]
    pub fn neighbor_alltoall<T>(&self, values: &[T]) -> Request<'static, Vec<Option<T>>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        if let Err(error) = self.neighborhood.check_count(values.len()) {
            return Request::refused(error);
        }
        let values: Vec<&T> = values.iter().collect();
        self.exchange(Purpose::NeighborAlltoall, &values)
    }

    #[track_caller]
    fn exchange<T>(&self, purpose: Purpose, values: &[&T]) -> Request<'static, Vec<Option<T>>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let Neighborhood { comm, incoming, outgoing, .. } = self.neighborhood;
        let tag = self.neighborhood.begin();
        let comm = comm.meaning(purpose);
        let objects = comm.objects();
        let mut requests = Vec::with_capacity(incoming.len() + outgoing.len());
        for edge in incoming.iter() {
            requests.push(match edge {
                Some(edge) => objects.recv::<T>(edge.rank, tag(*edge)).map(|(value, _)| Some(value)),
                None => Request::ready(Ok(None)),
            });
        }
        for (edge, value) in outgoing.iter().zip(values) {
            if let Some(edge) = edge {
                requests.push(objects.send(edge.rank, tag(*edge), *value).map(|()| None));
            }
        }
        let count = incoming.len();
        Request::join(requests, move |mut received| {
            received.truncate(count);
            Ok(received)
        })
    }
}
