//! New communicators: how ranks part into them, and what happens when nobody uses one any more.

use std::panic::Location;
use std::sync::Arc;

use edgempi_core::request::{CommunicatorId, Receive, Sent};
use edgempi_core::{Call, Datatype, SplitRequest, SplitResult};

use super::{Comm, Started, whole};
use crate::buffers::{Buffers, Inbound, Outbound};
use crate::engine::{Asked, Drive, OwnedCall};
use crate::error::Error;
use crate::pending::Pending;
use crate::request::{OnDrop, Request};

/// This rank's place in a communicator other than the world. When the last handle goes, the hub is told.
pub(super) struct Membership {
    engine: Arc<dyn Drive>,
    id: CommunicatorId,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let id = self.id;
        let pending = Pending::new(Buffers::new(Outbound::Nothing, Inbound::Nothing, id, 0));
        let asked = Asked {
            communicator: id,
            call: OwnedCall::Builtin(Call::Free),
            datatype: Datatype::Object,
            sent: Sent::Equal(0),
            receive: Receive::Exactly(0),
            in_place: false,
            site: Location::caller(),
            pending,
        };
        // If the hub is gone, so is the communicator.
        let _ = self.engine.submit(asked);
    }
}

/// New communicators.
impl Comm {
    /// The ranks that say the same `color` form a new communicator, ordered by `key` and among equal keys by rank here
    /// (MPI 4.1, chapter 7.4.2). `None` instead of a colour, MPI's `UNDEFINED`, gives `None`.
    ///
    /// Operations on different communicators never meet. A communicator is freed when its last handle is dropped on
    /// every rank.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// # std::thread::scope(|scope| for world in worlds { scope.spawn(move || {
    /// let comm = world.comm();
    /// let parity = comm.rank().get() % 2;
    /// let half = comm.split(Some(parity), 0).wait()?.expect("this rank said a colour");
    /// assert_eq!(half.size(), if parity == 0 { 2 } else { 1 });
    /// # drop(half);
    /// # world.finalize().wait() }); });
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn split(&self, color: Option<u32>, key: i32) -> Request<'static, Option<Comm>> {
        let started = Started {
            call: OwnedCall::Builtin(Call::Split),
            datatype: Datatype::Object,
            sent: Sent::Equal(SplitRequest::LEN),
            receive: Receive::Exactly(SplitResult::LEN),
            outbound: Outbound::Whole(Box::new(SplitRequest { color, key }.to_bytes().to_vec())),
            inbound: Inbound::Whole { storage: Box::new(Vec::<u8>::new()), open: true },
        };
        let (engine, message_size, parent) = (self.engine.clone(), self.message_size, self.id);
        self.start(started, OnDrop::Cancel, move |completion| {
            let bytes = whole::<u8>(completion)?;
            let cut = || Error::Protocol { reason: "the hub's answer to a split is cut short".to_owned() };
            let bytes = <[u8; SplitResult::LEN]>::try_from(bytes.as_slice()).map_err(|_| cut())?;
            let absurd =
                |fault| Error::Protocol { reason: format!("the hub's answer to a split makes no sense: {fault}") };
            let Some(id) = parent.split(SplitResult::from_bytes(bytes)).map_err(absurd)? else { return Ok(None) };
            let _membership = Some(Arc::new(Membership { engine: engine.clone(), id }));
            Ok(Some(Comm { engine, id, message_size, _membership }))
        })
    }

    /// A new communicator of the same ranks (MPI 4.1, chapter 7.4.2): for a task or a library that must not meet the
    /// calls of others.
    #[track_caller]
    pub fn dup(&self) -> Request<'static, Comm> {
        let missing = || Error::Protocol { reason: "the hub left this rank out of a copy".to_owned() };
        self.split(Some(0), 0).and_then(move |comm| comm.ok_or_else(missing))
    }
}
