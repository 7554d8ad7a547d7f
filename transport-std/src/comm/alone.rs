//! SELF: a communicator of one process alone, which needs no hub elsewhere.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use edgempi_core::Rank;

use super::Comm;
use crate::config::Field;
use crate::error::Error;
use crate::sim::is_simulating;
use crate::world::{Builder, World};

/// The communicator of this process alone (MPI's `COMM_SELF`, MPI 4.1, chapter 7.2): every call works on it, and none of
/// them leaves the process. It is there before [`init`](crate::init) and after
/// [`finalize`](crate::World::finalize).
///
/// It is a world of one rank, with a hub in two threads of its own, which are started when it is first asked for. Where a
/// process plays several ranks ([`local`](crate::local)), each of them has one: [`World::comm_self`]. Of the environment
/// it takes the limits for sizes, and `EDGEMPI_SPIN`, `EDGEMPI_THREADS` and `EDGEMPI_SLOW`.
///
/// ```
/// use edgempi::Sum;
///
/// let alone = edgempi::comm_self()?;
/// alone.send(0, 1, [4u8, 2]).wait()?;
/// assert_eq!(alone.recv::<u8>(0, 1).wait()?.0, [4, 2]);
/// assert_eq!(alone.allreduce([5], Sum).wait()?, [5]);
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidArgument`] in a [simulation](crate::sim), whose clock would not know of that world: there
/// `split(Some(rank), 0)` gives a communicator of one's own. The same if the system has no threads left.
/// [`Error::Config`] if the environment says what makes no sense.
pub fn comm_self() -> Result<Comm, Error> {
    static ALONE: Mutex<Option<Comm>> = Mutex::new(None);
    get_or_start(&ALONE, Rank::new(0))
}

/// The communicator in `place`, which is started if there is none. `rank` is that of the process in its world.
pub(crate) fn get_or_start(place: &Mutex<Option<Comm>>, rank: Rank) -> Result<Comm, Error> {
    if is_simulating() {
        let reason = "a simulation has no world beside its own: split(Some(rank), 0) gives a communicator of one rank";
        return Err(Error::invalid(reason));
    }
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(comm) = &*place {
        return Ok(comm.clone());
    }
    let missing = || Error::invalid("a world of one rank without that rank");
    let world = Builder::new().local_as_set(1, setting)?.pop().ok_or_else(missing)?;
    let mut comm = world.comm();
    comm.rank_in_world = rank;
    comm.home = Some(Arc::new(Home(Some(world))));
    Ok(place.insert(comm).clone())
}

/// What the environment says that matters to a rank alone.
fn setting(variable: &str) -> Option<OsString> {
    let fields = [Field::MessageSize, Field::QueueSize, Field::Spin, Field::Threads, Field::Slow];
    let matters = fields.iter().any(|field| field.setting().variables.contains(&variable));
    matters.then(|| std::env::var_os(variable)).flatten()
}

/// The world of a communicator that has one of its own. It lives as long as the communicators of it do.
pub(super) struct Home(Option<World>);

impl Drop for Home {
    fn drop(&mut self) {
        // It leaves by itself: there is nobody to wait for.
        drop(self.0.take().map(World::finalize));
    }
}
