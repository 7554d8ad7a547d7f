//! Calls in which one rank's buffer reaches all, or nothing does.

use std::panic::Location;

use edgempi_core::{Call, Datatype, Element, Rank};

use super::IntoBuffer;
use crate::comm::{Comm, Started, whole};
use crate::request::{OnDrop, Request};

impl Comm {
    /// Waits until every rank has come here (MPI 4.1, chapter 6.3).
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let first = worlds[0].comm().barrier();
    /// assert!(!first.test(), "rank 1 has not come");
    /// let second = worlds[1].comm().barrier();
    /// first.wait()?;
    /// second.wait()?;
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn barrier(&self) -> Request<'static, ()> {
        self.barrier_at(Location::caller())
    }

    /// The barrier of a call that was made at `site`.
    pub(crate) fn barrier_at(&self, site: &'static Location<'static>) -> Request<'static, ()> {
        self.start_at(Started::new(Call::Barrier, Datatype::Object), OnDrop::Detach, site, |_| Ok(()))
    }

    /// Copies the root's `data` over every other rank's (MPI 4.1, chapter 6.4). All lengths must be equal: one that is
    /// not the root's is [`Error::Truncated`](crate::Error::Truncated).
    ///
    /// Resolves at the root when the hub has the data, elsewhere when they have come. Ranks that do not know the length
    /// use [`Objects::bcast`](crate::Objects::bcast).
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let root = worlds[0].comm().bcast(0, vec![1.0f32, 2.0, 3.0]);
    /// let other = worlds[1].comm().bcast(0, vec![0.0f32; 3]);
    /// assert_eq!(other.wait()?, [1.0, 2.0, 3.0]);
    /// assert_eq!(root.wait()?, [1.0, 2.0, 3.0], "the root gets its own back");
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn bcast<T: Element>(&self, root: impl Into<Rank>, data: impl IntoBuffer<T>) -> Request<'static, Vec<T>> {
        let (root, data) = (root.into(), data.into_buffer());
        let started = Started::bcast(root, root == self.rank(), data);
        self.start(started, OnDrop::Detach, whole)
    }

    /// [`bcast`](Self::bcast) from a slice, or into one.
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn bcast_in_place<'a, T: Element>(&self, root: impl Into<Rank>, data: &'a mut [T]) -> Request<'a, ()> {
        let mut request = self.bcast(root, &*data);
        request.cancel_on_drop();
        request.map(move |received| data.copy_from_slice(&received))
    }
}
