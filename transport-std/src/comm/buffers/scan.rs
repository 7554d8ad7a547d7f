//! Calls that combine the buffers of the ranks up to each one's own.

use edgempi_core::{Call, Element, ReduceOp};

use super::IntoBuffer;
use crate::comm::{Comm, Started, whole};
#[cfg(doc)]
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Comm {
    /// Combines the `data` of the ranks up to this one element by element, from the left (MPI 4.1, chapter 6.11.1). All
    /// lengths must be equal. The result takes the place of `data` if that is a vector.
    ///
    /// ```
    /// use edgempi::Sum;
    ///
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> = worlds.iter().map(|world| world.comm().scan([1, world.rank().get()], Sum)).collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, [[1, 0], [2, 1], [3, 3]]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if `op` is not defined on `T`.
    #[track_caller]
    pub fn scan<T: Element>(&self, data: impl IntoBuffer<T>, op: ReduceOp) -> Request<'static, Vec<T>> {
        let started = Started::combining(Call::Scan { op }, data.into_buffer(), true);
        self.start(started, OnDrop::Detach, whole)
    }

    /// [`scan`](Self::scan) whose result takes the place of `data`.
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn scan_in_place<'a, T: Element>(&self, data: &'a mut [T], op: ReduceOp) -> Request<'a, ()> {
        let started = Started::combining(Call::Scan { op }, data.to_vec(), true);
        self.start_into(started, data)
    }

    /// Combines the `data` of the ranks before this one element by element, from the left (MPI 4.1, chapter 6.11.2). All
    /// lengths must be equal. Rank 0, which has none before it, gets `None`.
    ///
    /// ```
    /// use edgempi::Sum;
    ///
    /// # let worlds = edgempi::local(3)?;
    /// // Where each rank's share of a common list begins.
    /// let shares = [4u64, 2, 3];
    /// let requests: Vec<_> =
    ///     worlds.iter().zip(shares).map(|(world, share)| world.comm().exscan([share], Sum)).collect();
    /// let starts = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(starts, [None, Some(vec![4]), Some(vec![6])]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if `op` is not defined on `T`.
    #[track_caller]
    pub fn exscan<T: Element>(&self, data: impl IntoBuffer<T>, op: ReduceOp) -> Request<'static, Option<Vec<T>>> {
        let is_first = self.rank() == 0;
        let started = Started::combining(Call::Exscan { op }, data.into_buffer(), !is_first);
        self.start(
            started,
            OnDrop::Detach,
            move |completion| if is_first { Ok(None) } else { whole(completion).map(Some) },
        )
    }

    /// [`exscan`](Self::exscan) whose result takes the place of `data`; that of rank 0 is left as it is.
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn exscan_in_place<'a, T: Element>(&self, data: &'a mut [T], op: ReduceOp) -> Request<'a, ()> {
        let is_first = self.rank() == 0;
        let started = Started::combining(Call::Exscan { op }, data.to_vec(), !is_first);
        if is_first {
            return self.start(started, OnDrop::Cancel, |_| Ok(()));
        }
        self.start_into(started, data)
    }
}
