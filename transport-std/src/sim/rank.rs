//! A virtual rank as its program sees it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use edgempi_core::Instant;

use super::node::Node;
use super::orders::{Desk, Order, Sleep};
use crate::comm::Comm;
use crate::error::Error;
use crate::signal::Signal;

/// A virtual rank: the communicator of all ranks, which it dereferences to, and virtual time.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Rank {
    comm: Comm,
    node: Arc<Node>,
    desk: Arc<Desk>,
    slowness: f64,
}

impl Rank {
    pub(super) fn new(comm: Comm, node: Arc<Node>, desk: Arc<Desk>, slowness: f64) -> Self {
        Self { comm, node, desk, slowness }
    }

    /// When the hub has let it in.
    pub(super) fn joined(&self) -> Signal<Result<(), Error>> {
        self.node.state().joined.clone()
    }

    /// The communicator of all ranks.
    pub fn comm(&self) -> &Comm {
        &self.comm
    }

    /// The virtual time since the simulation began.
    pub fn now(&self) -> Duration {
        self.desk.now().since(Instant::ZERO)
    }

    /// Lets virtual time pass.
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep::new(self.desk.clone(), self.desk.now() + time)
    }

    /// Computes for `time` on a rank of ordinary speed, so for longer on one of a [slow class](super::Class::slowness).
    /// What a program really computes takes no virtual time: say with this how long it would take.
    pub fn compute(&self, time: Duration) -> Sleep {
        // Beyond what a duration holds is as good as for ever.
        self.sleep(Duration::try_from_secs_f64(time.as_secs_f64() * self.slowness).unwrap_or(Duration::MAX))
    }

    /// Says that a round begins here, which lasts until the next one does or the program ends: the
    /// [report](super::Report::rounds) tells how long it took, what it moved, and who was late.
    pub fn round(&self, number: u32) {
        self.desk.order(Order::Round(self.comm.rank().index(), number));
    }

    /// A random number that follows from the simulation's seed and this rank, for what the program itself leaves to
    /// chance.
    pub fn random(&self) -> u64 {
        self.node.random()
    }
}

impl Deref for Rank {
    type Target = Comm;

    fn deref(&self) -> &Comm {
        &self.comm
    }
}

impl fmt::Debug for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rank({} of {} at {})", self.comm.rank(), self.comm.size(), self.desk.now())
    }
}
