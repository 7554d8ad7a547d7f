//! Calls that combine buffers element by element and leave a block of the result at each rank.

use edgempi_core::request::Receive;
use edgempi_core::{Call, Element, ReduceOp};

use super::IntoBuffer;
use crate::comm::{Comm, Started, whole};
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Comm {
    /// Combines every rank's `data` element by element and hands the result out in blocks, in rank order: `counts[r]`
    /// elements to rank r (MPI 4.1, chapter 6.10.2). All vectors have one length, the sum of the counts, and all ranks give
    /// the same counts. The block takes the place of `data`'s beginning if that is a vector.
    ///
    /// ```
    /// use edgempi::Sum;
    ///
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> =
    ///     worlds.iter().map(|world| world.comm().reduce_scatter(vec![1, 2, 3, 4], &[1, 0, 3], Sum)).collect();
    /// let blocks = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(blocks, [vec![3], vec![], vec![6, 9, 12]]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if `op` is not defined on `T`, or the counts do
    /// not make up `data`.
    #[track_caller]
    pub fn reduce_scatter<T: Element>(
        &self,
        data: impl IntoBuffer<T>,
        counts: &[usize],
        op: ReduceOp,
    ) -> Request<'static, Vec<T>> {
        let data = data.into_buffer();
        match self.counting(data.len(), counts) {
            Ok((comm, own)) => comm.start_scattering(Call::ReduceScatter { op }, data, own),
            Err(error) => Request::refused(error),
        }
    }

    /// [`reduce_scatter`](Self::reduce_scatter) in blocks of one length: size divides that of `data` (MPI 4.1, chapter
    /// 6.10.1).
    ///
    /// ```
    /// use edgempi::Max;
    ///
    /// # let worlds = edgempi::local(2)?;
    /// let first = worlds[0].comm().reduce_scatter_block([1.5f32, 2.5, 3.5, 4.5], Max);
    /// let second = worlds[1].comm().reduce_scatter_block([4.0f32, 3.0, 2.0, 1.0], Max);
    /// assert_eq!(first.wait()?, [4.0, 3.0]);
    /// assert_eq!(second.wait()?, [3.5, 4.5]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if `op` is not defined on `T`, or size does
    /// not divide the length.
    #[track_caller]
    pub fn reduce_scatter_block<T: Element>(&self, data: impl IntoBuffer<T>, op: ReduceOp) -> Request<'static, Vec<T>> {
        let data = data.into_buffer();
        match self.block_of(data.len()) {
            Ok(own) => self.start_scattering(Call::ReduceScatterBlock { op }, data, own),
            Err(error) => Request::refused(error),
        }
    }

    /// [`reduce_scatter`](Self::reduce_scatter) whose block takes the place of the beginning of `data`; what is behind it
    /// stays as it is.
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn reduce_scatter_in_place<'a, T: Element>(
        &self,
        data: &'a mut [T],
        counts: &[usize],
        op: ReduceOp,
    ) -> Request<'a, ()> {
        match self.counting(data.len(), counts) {
            Ok((comm, own)) => comm.scatter_into(own, Call::ReduceScatter { op }, data),
            Err(error) => Request::refused(error),
        }
    }

    /// [`reduce_scatter_block`](Self::reduce_scatter_block) whose block takes the place of the beginning of `data`; what is
    /// behind it stays as it is.
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn reduce_scatter_block_in_place<'a, T: Element>(&self, data: &'a mut [T], op: ReduceOp) -> Request<'a, ()> {
        match self.block_of(data.len()) {
            Ok(own) => self.scatter_into(own, Call::ReduceScatterBlock { op }, data),
            Err(error) => Request::refused(error),
        }
    }

    #[track_caller]
    fn start_scattering<T: Element>(&self, call: Call<'static>, data: Vec<T>, own: usize) -> Request<'static, Vec<T>> {
        let receive = Receive::Exactly(own * size_of::<T>());
        let started = Started { receive, ..Started::combining(call, data, true) };
        self.start(started, OnDrop::Detach, move |completion| {
            let mut block = whole::<T>(completion)?;
            block.truncate(own);
            Ok(block)
        })
    }

    #[track_caller]
    fn scatter_into<'a, T: Element>(&self, own: usize, call: Call<'static>, data: &'a mut [T]) -> Request<'a, ()> {
        let mut request = self.start_scattering(call, data.to_vec(), own);
        request.cancel_on_drop();
        request.map(move |block| data[..own].copy_from_slice(&block))
    }

    /// The same communicator for a call in which all ranks give these counts, of `len` elements in all; and how many this
    /// rank gets.
    pub(in crate::comm) fn counting(&self, len: usize, counts: &[usize]) -> Result<(Self, usize), Error> {
        let size = self.size() as usize;
        if counts.len() != size {
            return Err(Error::invalid(format!("{} counts were given for {size} ranks", counts.len())));
        }
        if counts.iter().try_fold(0, |sum: usize, count| sum.checked_add(*count)) != Some(len) {
            return Err(Error::invalid(format!(
                "the counts {counts:?} do not make up the {len} elements of the vector"
            )));
        }
        let words = counts.iter().flat_map(|count| [*count as u32, (*count as u64 >> 32) as u32]);
        Ok((self.agreeing_on(words), counts[self.rank().index()]))
    }
}
