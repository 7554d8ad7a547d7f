//! Calls that exchange a block between any two ranks.

use std::panic::Location;

use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Element};

use super::{IntoBuffer, total};
use crate::buffers::{Inbound, Outbound};
use crate::comm::{Comm, Started, in_parts, whole};
use crate::request::{OnDrop, Request};

impl Comm {
    /// Block d of rank s becomes block s of rank d (MPI 4.1, chapter 6.8). All lengths must be equal, and size must
    /// divide them.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let first = worlds[0].comm().alltoall([1, 2, 3, 4]);
    /// let second = worlds[1].comm().alltoall([5, 6, 7, 8]);
    /// assert_eq!(first.wait()?, [1, 2, 5, 6]);
    /// assert_eq!(second.wait()?, [3, 4, 7, 8]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn alltoall<T: Element>(&self, data: impl IntoBuffer<T>) -> Request<'static, Vec<T>> {
        self.alltoall_reusing(Vec::new(), data)
    }

    /// As [`alltoall`](Self::alltoall), with the result in the memory of a vector that has done its service, if it is
    /// large enough; see [`gather_reusing`](Self::gather_reusing).
    #[track_caller]
    pub fn alltoall_reusing<T: Element>(&self, memory: Vec<T>, data: impl IntoBuffer<T>) -> Request<'static, Vec<T>> {
        let started = match self.alltoall_of(memory, data.into_buffer()) {
            Ok(started) => started,
            Err(error) => return Request::refused(error),
        };
        self.start(started, OnDrop::Detach, whole)
    }

    /// [`alltoall`](Self::alltoall) whose result takes the place of `data`. Goes by a copy, because a block may come before
    /// the one that lies in its place has left.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let (mut first, mut second) = ([1, 2], [3, 4]);
    /// let requests = [worlds[0].comm().alltoall_in_place(&mut first), worlds[1].comm().alltoall_in_place(&mut second)];
    /// for request in requests {
    ///     request.wait()?;
    /// }
    /// assert_eq!((first, second), ([1, 3], [2, 4]));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn alltoall_in_place<'a, T: Element>(&self, data: &'a mut [T]) -> Request<'a, ()> {
        let mut request = self.alltoall(&*data);
        request.cancel_on_drop();
        request.map(move |received| data.copy_from_slice(&received))
    }

    /// As [`alltoall`](Self::alltoall), of blocks whose lengths may differ, which their receivers need not know (MPI 4.1,
    /// chapter 6.8). `blocks` has one for each rank; what comes has one from each.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let first = worlds[0].comm().alltoallv(vec![vec![], vec![1u16, 2, 3]]);
    /// let second = worlds[1].comm().alltoallv(vec![vec![4u16], vec![5, 6]]);
    /// assert_eq!(first.wait()?, [vec![], vec![4]]);
    /// assert_eq!(second.wait()?, [vec![1, 2, 3], vec![5, 6]]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Truncated`](crate::Error::Truncated) if what comes is more than `EDGEMPI_MSG_SIZE` together.
    #[track_caller]
    pub fn alltoallv<T: Element>(&self, blocks: Vec<Vec<T>>) -> Request<'static, Vec<Vec<T>>> {
        self.alltoallv_at(blocks, Location::caller())
    }

    /// The alltoallv of a call that was made at `site`.
    pub(crate) fn alltoallv_at<T: Element>(
        &self,
        mut blocks: Vec<Vec<T>>,
        site: &'static Location<'static>,
    ) -> Request<'static, Vec<Vec<T>>> {
        let own = match self.take_own(&mut blocks) {
            Ok(own) => own,
            Err(error) => return Request::ready(Err(error.at(site))),
        };
        let mut received = vec![Vec::new(); blocks.len()];
        received[self.rank().index()] = own;
        let started = Started {
            sent: Sent::Varied(total(&blocks)),
            receive: Receive::AtMost(self.message_size),
            outbound: Outbound::Parts(Box::new(blocks)),
            inbound: Inbound::Parts(Box::new(received)),
            ..Started::new(Call::Alltoallv, T::DATATYPE)
        };
        self.start_at(started, OnDrop::Detach, site, in_parts)
    }
}
