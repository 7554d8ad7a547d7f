//! Calls that hand out blocks of one rank.

use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Element, Rank};

use super::total;
use crate::buffers::{Inbound, Outbound};
use crate::comm::{Comm, Started, given_beside_root, whole};
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Comm {
    /// Hands the root's `data` out in blocks of one length, in rank order (MPI 4.1, chapter 6.6). `data` is `Some` at
    /// the root, with a length that size divides, and `None` on the other ranks, which need not know the length.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .map(|world| world.comm().scatter(0, (world.rank() == 0).then(|| vec![1u8, 2, 3, 4, 5, 6])))
    ///     .collect();
    /// let blocks = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(blocks, [[1, 2], [3, 4], [5, 6]]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter<T: Element>(&self, root: impl Into<Rank>, data: Option<Vec<T>>) -> Request<'static, Vec<T>> {
        self.scatter_reusing(Vec::new(), root, data)
    }

    /// As [`scatter`](Self::scatter), with the result in the memory of a vector that has done its service, if it is
    /// large enough; see [`gather_reusing`](Self::gather_reusing).
    #[track_caller]
    pub fn scatter_reusing<T: Element>(
        &self,
        memory: Vec<T>,
        root: impl Into<Rank>,
        data: Option<Vec<T>>,
    ) -> Request<'static, Vec<T>> {
        let root = root.into();
        if root != self.rank() {
            if data.is_some() {
                return Request::refused(given_beside_root("scatter", self.rank(), root));
            }
            let started = Started::receiving(Call::Scatter { root }, self.message_size, memory);
            return self.start(started, OnDrop::Detach, whole);
        }
        let Some(data) = data else {
            return Request::refused(Error::invalid("the root of a scatter has to give data"));
        };
        let own = match self.own_block(memory, &data) {
            Ok(own) => own,
            Err(error) => return Request::refused(error),
        };
        self.start(Started::sending(Call::Scatter { root }, data), OnDrop::Detach, move |_| Ok(own))
    }

    /// [`scatter`](Self::scatter) without a vector of its own: `data` has a block for each rank at the root, and stays as
    /// it is there; elsewhere one block comes into it.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let (mut all, mut one) = ([1, 2, 3, 4], [0, 0]);
    /// let requests = [worlds[0].comm().scatter_in_place(0, &mut all), worlds[1].comm().scatter_in_place(0, &mut one)];
    /// for request in requests {
    ///     request.wait()?;
    /// }
    /// assert_eq!((all, one), ([1, 2, 3, 4], [3, 4]));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Truncated`] if `data` has not just the length of the root's blocks.
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn scatter_in_place<'a, T: Element>(&self, root: impl Into<Rank>, data: &'a mut [T]) -> Request<'a, ()> {
        let root = root.into();
        let call = Call::Scatter { root };
        if root != self.rank() {
            let started = Started {
                receive: Receive::Exactly(size_of_val(data)),
                inbound: Inbound::Whole { storage: Box::new(data.to_vec()), open: false },
                ..Started::new(call, T::DATATYPE)
            };
            return self.start_into(started, data);
        }
        if let Err(error) = self.block_of(data.len()) {
            return Request::refused(error);
        }
        self.start(Started::sending(call, data.to_vec()), OnDrop::Cancel, |_| Ok(()))
    }

    /// As [`scatter`](Self::scatter), of blocks whose lengths may differ, which their receivers need not know (MPI 4.1,
    /// chapter 6.6). `blocks` is `Some` at the root, with one for each rank, and `None` on the other ranks.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let blocks = vec![vec![], vec![1.5f32], vec![2.5, 3.5]];
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .map(|world| world.comm().scatterv(0, (world.rank() == 0).then(|| blocks.clone())))
    ///     .collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, blocks);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn scatterv<T: Element>(&self, root: impl Into<Rank>, blocks: Option<Vec<Vec<T>>>) -> Request<'static, Vec<T>> {
        let root = root.into();
        let call = Call::Scatterv { root };
        if root != self.rank() {
            if blocks.is_some() {
                return Request::refused(given_beside_root("scatterv", self.rank(), root));
            }
            let started = Started::receiving(call, self.message_size, Vec::<T>::new());
            return self.start(started, OnDrop::Detach, whole);
        }
        let Some(mut blocks) = blocks else {
            return Request::refused(Error::invalid("the root of a scatterv has to give blocks"));
        };
        let own = match self.take_own(&mut blocks) {
            Ok(own) => own,
            Err(error) => return Request::refused(error),
        };
        let started = Started {
            sent: Sent::Varied(total(&blocks)),
            outbound: Outbound::Parts(Box::new(blocks)),
            ..Started::new(call, T::DATATYPE)
        };
        self.start(started, OnDrop::Detach, move |_| Ok(own))
    }
}
