//! Calls that collect a block from each rank, at one rank or at all.

use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Element, Rank};

use super::IntoBuffer;
use crate::buffers::{Inbound, Outbound};
use crate::comm::{Comm, Started, in_parts, whole};
#[cfg(doc)]
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Comm {
    /// Collects every rank's `data` at the root, in rank order (MPI 4.1, chapter 6.5). All lengths must be equal; the
    /// root gets size × `data.len()` elements, the others `None`.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .map(|world| {
    ///         let rank = world.rank().get();
    ///         world.comm().gather(1, [rank, rank * rank])
    ///     })
    ///     .collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, [None, Some(vec![0, 0, 1, 1, 2, 4]), None]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn gather<T: Element>(
        &self,
        root: impl Into<Rank>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, Option<Vec<T>>> {
        self.gather_reusing(Vec::new(), root, data)
    }

    /// As [`gather`](Self::gather), with the root's result in the memory of a vector that has done its service, if it is
    /// large enough. What is in it does not matter; other ranks give `Vec::new()`.
    ///
    /// A large result comes sooner this way: memory that is new has to be cleared first.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// # let other = worlds[1].comm();
    /// let mut all = Vec::new();
    /// for round in 0..3 {
    /// #   let gathering = other.gather(0, [round + 10]);
    ///     all = worlds[0].comm().gather_reusing(all, 0, [round]).wait()?.unwrap_or_default();
    ///     assert_eq!(all, [round, round + 10]);
    /// #   gathering.wait()?;
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn gather_reusing<T: Element>(
        &self,
        memory: Vec<T>,
        root: impl Into<Rank>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, Option<Vec<T>>> {
        let (root, data) = (root.into(), data.into_buffer());
        let len = size_of_val(data.as_slice());
        let is_root = root == self.rank();
        let (receive, inbound) = match self.blocks_around(is_root, memory, &data) {
            Ok(found) => found,
            Err(error) => return Request::refused(error),
        };
        let outbound = if is_root { Outbound::Nothing } else { Outbound::Whole(Box::new(data)) };
        let started = Started {
            sent: Sent::Equal(len),
            receive,
            outbound,
            inbound,
            ..Started::new(Call::Gather { root }, T::DATATYPE)
        };
        self.start(
            started,
            OnDrop::Detach,
            move |completion| if is_root { whole(completion).map(Some) } else { Ok(None) },
        )
    }

    /// Collects every rank's `data` at every rank, in rank order (MPI 4.1, chapter 6.7). All lengths must be equal;
    /// everybody gets size × `data.len()` elements.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> = worlds.iter().map(|world| world.comm().allgather([world.rank().get(), 7])).collect();
    /// for request in requests {
    ///     assert_eq!(request.wait()?, [0, 7, 1, 7, 2, 7]);
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn allgather<T: Element>(&self, data: impl IntoBuffer<T>) -> Request<'static, Vec<T>> {
        self.allgather_reusing(Vec::new(), data)
    }

    /// As [`allgather`](Self::allgather), with the result in the memory of a vector that has done its service, if it is
    /// large enough; see [`gather_reusing`](Self::gather_reusing).
    #[track_caller]
    pub fn allgather_reusing<T: Element>(&self, memory: Vec<T>, data: impl IntoBuffer<T>) -> Request<'static, Vec<T>> {
        let data = data.into_buffer();
        let (receive, inbound) = match self.blocks_around(true, memory, &data) {
            Ok(found) => found,
            Err(error) => return Request::refused(error),
        };
        let started = Started { receive, inbound, ..Started::sending(Call::Allgather, data) };
        self.start(started, OnDrop::Detach, whole)
    }

    /// [`gather`](Self::gather) without a vector of its own: `data` has a block for each rank at the root, whose own is in
    /// its place already, and one block elsewhere, which stays as it is.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let (mut all, mut one) = ([1, 2, 0, 0], [3, 4]);
    /// let requests = [worlds[0].comm().gather_in_place(0, &mut all), worlds[1].comm().gather_in_place(0, &mut one)];
    /// for request in requests {
    ///     request.wait()?;
    /// }
    /// assert_eq!((all, one), ([1, 2, 3, 4], [3, 4]));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Truncated`] if a block is not as long as the root's.
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn gather_in_place<'a, T: Element>(&self, root: impl Into<Rank>, data: &'a mut [T]) -> Request<'a, ()> {
        let root = root.into();
        let call = Call::Gather { root };
        if root != self.rank() {
            return self.start(Started::sending(call, data.to_vec()), OnDrop::Cancel, |_| Ok(()));
        }
        let block = match self.block_of(data.len()) {
            Ok(block) => block,
            Err(error) => return Request::refused(error),
        };
        let started = Started {
            sent: Sent::Equal(block * size_of::<T>()),
            receive: Receive::Exactly(size_of_val(data)),
            inbound: Inbound::Blocks(Box::new(data.to_vec())),
            ..Started::new(call, T::DATATYPE)
        };
        self.start_into(started, data)
    }

    /// As [`gather`](Self::gather), of blocks whose lengths may differ, which the root need not know (MPI 4.1, chapter
    /// 6.5). The root gets a vector from each rank, the others `None`.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> =
    ///     worlds.iter().map(|world| world.comm().gatherv(0, vec![0.5f32; world.rank().index()])).collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, [Some(vec![vec![], vec![0.5], vec![0.5, 0.5]]), None, None]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Truncated`] if all blocks together are more than `EDGEMPI_MSG_SIZE`.
    #[track_caller]
    pub fn gatherv<T: Element>(
        &self,
        root: impl Into<Rank>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, Option<Vec<Vec<T>>>> {
        let (root, data) = (root.into(), data.into_buffer());
        let call = Call::Gatherv { root };
        if root != self.rank() {
            return self.start(Started::sending(call, data), OnDrop::Detach, |_| Ok(None));
        }
        let sent = Sent::Equal(size_of_val(data.as_slice()));
        let started = Started { sent, ..Started::new(call, T::DATATYPE) };
        let started = self.parts_around(data, started);
        self.start(started, OnDrop::Detach, |completion| in_parts(completion).map(Some))
    }

    /// [`allgather`](Self::allgather) without a vector of its own: `data` has a block for each rank, and this rank's is in
    /// its place already.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let (mut first, mut second) = (['a' as u32, 0], [0, 'b' as u32]);
    /// let requests =
    ///     [worlds[0].comm().allgather_in_place(&mut first), worlds[1].comm().allgather_in_place(&mut second)];
    /// for request in requests {
    ///     request.wait()?;
    /// }
    /// assert_eq!((first, second), (['a' as u32, 'b' as u32], ['a' as u32, 'b' as u32]));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn allgather_in_place<'a, T: Element>(&self, data: &'a mut [T]) -> Request<'a, ()> {
        let block = match self.block_of(data.len()) {
            Ok(block) => block,
            Err(error) => return Request::refused(error),
        };
        let own = data[self.rank().index() * block..][..block].to_vec();
        let started = Started {
            receive: Receive::Exactly(size_of_val(data)),
            inbound: Inbound::Blocks(Box::new(data.to_vec())),
            ..Started::sending(Call::Allgather, own)
        };
        self.start_into(started, data)
    }

    /// As [`allgather`](Self::allgather), of blocks whose lengths may differ, which nobody else need know (MPI 4.1, chapter
    /// 6.7). Everybody gets a vector from each rank.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> =
    ///     worlds.iter().map(|world| world.comm().allgatherv(vec![7u8; world.rank().index()])).collect();
    /// for request in requests {
    ///     assert_eq!(request.wait()?, [vec![], vec![7], vec![7, 7]]);
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Truncated`] if all blocks together are more than `EDGEMPI_MSG_SIZE`.
    #[track_caller]
    pub fn allgatherv<T: Element>(&self, data: impl IntoBuffer<T>) -> Request<'static, Vec<Vec<T>>> {
        let data = data.into_buffer();
        let started = Started {
            sent: Sent::Equal(size_of_val(data.as_slice())),
            outbound: Outbound::InPlace,
            ..Started::new(Call::Allgatherv, T::DATATYPE)
        };
        self.start(self.parts_around(data, started), OnDrop::Detach, in_parts)
    }

    /// Room for a block from each rank beside the own one.
    fn parts_around<T: Element>(&self, own: Vec<T>, started: Started) -> Started {
        let mut parts = vec![Vec::new(); self.size() as usize];
        parts[self.rank().index()] = own;
        Started { receive: Receive::AtMost(self.message_size), inbound: Inbound::Parts(Box::new(parts)), ..started }
    }
}
