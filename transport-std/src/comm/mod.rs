//! Communicators on a host, one file for each family of calls; here is what they have in common.

mod alone;
mod buffers;
mod communicators;
mod details;
mod modes;
mod objects;
mod peers;
mod persistent;
mod probe;
mod sendrecv;
mod split_type;
mod started;
mod transfer;
mod user;

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use edgempi_core::request::CommunicatorId;
use edgempi_core::{Element, Intent, Purpose, Rank};

use crate::buffers::{Buffers, Inbound, Outbound};
use crate::engine::{Asked, Drive};
use crate::error::Error;
use crate::group::fingerprint;
use crate::pending::{Completion, Pending};
use crate::request::{OnDrop, Request};

pub use alone::comm_self;
pub(crate) use alone::get_or_start;
pub use buffers::{IntoBuffer, reduce_local};
pub use objects::Objects;
pub use peers::{IntoDest, IntoSource};
pub use persistent::SendReceive;
pub use probe::Message;
pub use split_type::SplitType;
pub(crate) use split_type::machine;
use started::Started;

/// A communicator (MPI 4.1, chapter 7): ranks, and the calls between them.
///
/// Cheap to clone, and usable from any number of threads and tasks. A clone is the same communicator;
/// [`split`](Self::split) and [`dup`](Self::dup) make new ones. The collectives of one communicator have to be started
/// in the same order on every rank, so let one task start them, or give each task a `dup`. Any number may be in flight.
///
/// The methods here work on *buffers*: vectors, slices and arrays of an [`Element`], which travel as they lie in memory.
/// A vector that is handed over is sent from its own memory, and where a result has its length the result comes back in
/// it. A slice or array is copied to a vector first, and where it takes a result is copied to again; its own request
/// alone does that. Lengths are in elements. [`objects`](Self::objects) has the same calls for any serde value.
///
/// Every call starts at once and returns a [`Request`]; see there for cancel safety.
///
/// # Errors
///
/// They come out of the request, and are the same for all calls:
///
/// - at once, without the others: [`Error::InvalidArgument`], [`Error::TooManyRequests`], [`Error::Finalized`];
/// - from the hub: [`Error::Mismatch`] if the ranks do not agree, [`Error::TooLarge`] beyond `EDGEMPI_MSG_SIZE`,
///   [`Error::RankFailed`] and [`Error::RankFinished`] if a rank that is needed is gone, [`Error::Cancelled`] if one
///   gave up;
/// - [`Error::Disconnected`] if the hub is gone.
#[derive(Clone)]
pub struct Comm {
    engine: Arc<dyn Drive>,
    pub(crate) id: CommunicatorId,
    message_size: usize,
    rank_in_world: Rank,
    /// Numbers for messages that probes keep: all communicators of a rank count together.
    messages: Arc<AtomicU32>,
    /// The world, where it is one for this communicator alone.
    home: Option<Arc<alone::Home>>,
    details: Arc<details::Details>,
    intent: Intent,
}

impl Comm {
    pub(crate) fn world(engine: Arc<dyn Drive>, id: CommunicatorId, message_size: usize) -> Self {
        Self {
            engine,
            id,
            message_size,
            rank_in_world: id.rank,
            messages: Arc::default(),
            home: None,
            details: Arc::default(),
            intent: Intent::default(),
        }
    }

    /// The same communicator, whose calls are what the program has called by another name.
    pub(crate) fn meaning(&self, purpose: Purpose) -> Self {
        let purpose = Some(purpose);
        Self { intent: Intent { purpose, ..self.intent }, ..self.clone() }
    }

    /// The same communicator, whose collectives are told apart by these arguments, too: all ranks have to give the same.
    pub(crate) fn agreeing_on(&self, arguments: impl IntoIterator<Item = u32>) -> Self {
        let [a, b, c, d, ..] = fingerprint(arguments);
        let arguments = u32::from_le_bytes([a, b, c, d]).max(1);
        Self { intent: Intent { arguments, ..self.intent }, ..self.clone() }
    }

    /// This process's rank (MPI 4.1, chapter 7.4.1).
    pub fn rank(&self) -> Rank {
        self.id.rank
    }

    /// How many ranks there are (MPI 4.1, chapter 7.4.1).
    pub fn size(&self) -> u32 {
        self.id.size
    }

    #[track_caller]
    fn start<'a, T>(
        &self,
        started: Started,
        on_drop: OnDrop,
        finish: impl FnOnce(Completion) -> Result<T, Error> + Send + 'a,
    ) -> Request<'a, T> {
        self.start_at(started, on_drop, Location::caller(), finish)
    }

    fn start_at<'a, T>(
        &self,
        started: Started,
        on_drop: OnDrop,
        site: &'static Location<'static>,
        finish: impl FnOnce(Completion) -> Result<T, Error> + Send + 'a,
    ) -> Request<'a, T> {
        let Started { call, datatype, sent, receive, outbound, inbound } = started;
        let in_place = matches!(outbound, Outbound::InPlace);
        let pending = Pending::new(Buffers::new(outbound, inbound, self.id, self.message_size));
        let asked = Asked {
            communicator: self.id,
            call,
            datatype,
            sent,
            receive,
            in_place,
            intent: self.intent,
            site,
            pending: pending.clone(),
        };
        match self.engine.submit(asked) {
            Ok(id) => {
                // A communicator that is freed gives up what this rank waits for: not before it has come.
                let kept = self.details.clone();
                Request::started(self.engine.clone(), pending, id, on_drop, move |completion| {
                    let result = finish(completion).map_err(|error| error.at(site));
                    drop(kept);
                    result
                })
            }
            Err(error) => Request::ready(Err(error.at(site))),
        }
    }
}

/// Why a rank that is not the root may give nothing to a call in which only the root gives. MPI ignores what others give,
/// which hides a wrong root.
fn given_beside_root(call: &str, rank: Rank, root: Rank) -> Error {
    Error::invalid(format!("rank {rank} gives data to a {call} whose root is rank {root}: all but the root give None"))
}

/// The elements of a result.
fn whole<T: Element>(completion: Completion) -> Result<Vec<T>, Error> {
    let Some(storage) = completion.buffers.into_whole() else { return Ok(Vec::new()) };
    // Whoever started the call chose the type, so this can only be that type.
    storage.into_any().downcast::<Vec<T>>().map(|elements| *elements).map_err(|_| Error::defect())
}

/// The elements of a result that came in parts, by the ranks that gave them.
fn in_parts<T: Element>(completion: Completion) -> Result<Vec<Vec<T>>, Error> {
    let Inbound::Parts(parts) = completion.buffers.inbound else { return Err(Error::defect()) };
    parts.into_any().downcast::<Vec<Vec<T>>>().map(|parts| *parts).map_err(|_| Error::defect())
}

impl std::fmt::Debug for Comm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => write!(f, "Comm({name:?}, rank {} of {})", self.rank(), self.size()),
            None => write!(f, "Comm(rank {} of {})", self.rank(), self.size()),
        }
    }
}
