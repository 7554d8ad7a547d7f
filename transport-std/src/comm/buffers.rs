//! The calls of a communicator on buffers: vectors and slices of elements.

use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Datatype, Element, Rank, ReduceOp, Status, Tag, TagSelector};

use super::peers::{IntoDest, IntoSource, NOTHING};
use super::{Comm, Started, whole};
use crate::buffers::{Inbound, Outbound, sized};
use crate::engine::OwnedCall;
use crate::error::Error;
use crate::request::{OnDrop, Request};

/// Elements that a call takes: a vector, which is sent as it is, or a slice or array, which is copied to one.
pub trait IntoBuffer<T> {
    /// The elements as a vector.
    fn into_buffer(self) -> Vec<T>;
}

impl<T> IntoBuffer<T> for Vec<T> {
    fn into_buffer(self) -> Vec<T> {
        self
    }
}

impl<T: Clone> IntoBuffer<T> for &[T] {
    fn into_buffer(self) -> Vec<T> {
        self.to_vec()
    }
}

impl<T: Clone> IntoBuffer<T> for &Vec<T> {
    fn into_buffer(self) -> Vec<T> {
        self.clone()
    }
}

impl<T, const N: usize> IntoBuffer<T> for [T; N] {
    fn into_buffer(self) -> Vec<T> {
        self.into()
    }
}

impl<T: Clone, const N: usize> IntoBuffer<T> for &[T; N] {
    fn into_buffer(self) -> Vec<T> {
        self.to_vec()
    }
}

/// Calls on buffers.
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
        self.start(self.nothing(Call::Barrier, Datatype::Object), OnDrop::Detach, |_| Ok(()))
    }

    /// Copies the root's `data` over every other rank's (MPI 4.1, chapter 6.4). All lengths must be equal.
    ///
    /// Resolves at the root when the hub has the data, elsewhere when they have come. Ranks that do not know the length
    /// use [`Objects::bcast`](super::Objects::bcast).
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
        let len = size_of_val(data.as_slice());
        let is_root = root == self.rank();
        self.start(
            Started {
                call: OwnedCall::Builtin(Call::Bcast { root }),
                datatype: T::DATATYPE,
                sent: Sent::Equal(if is_root { len } else { 0 }),
                receive: Receive::Exactly(if is_root { 0 } else { len }),
                outbound: if is_root { Outbound::InPlace } else { Outbound::Nothing },
                inbound: Inbound::Whole { storage: Box::new(data), open: false },
            },
            OnDrop::Detach,
            whole,
        )
    }

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
            call: OwnedCall::Builtin(Call::Gather { root }),
            datatype: T::DATATYPE,
            sent: Sent::Equal(len),
            receive,
            outbound,
            inbound,
        };
        self.start(
            started,
            OnDrop::Detach,
            move |completion| if is_root { whole(completion).map(Some) } else { Ok(None) },
        )
    }

    /// Hands the root's `data` out in blocks of one length, in rank order (MPI 4.1, chapter 6.6). `data` is `Some` at
    /// the root, with a length that size divides; what others give is ignored, and they need not know the length.
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
            return self.start(
                Started {
                    call: OwnedCall::Builtin(Call::Scatter { root }),
                    datatype: T::DATATYPE,
                    sent: Sent::Equal(0),
                    receive: Receive::AtMost(self.message_size),
                    outbound: Outbound::Nothing,
                    inbound: Inbound::Whole { storage: Box::new(memory), open: true },
                },
                OnDrop::Detach,
                whole,
            );
        }
        let Some(data) = data else {
            return Request::refused(Error::invalid("the root of a scatter has to give data"));
        };
        let size = self.size() as usize;
        if !data.len().is_multiple_of(size) {
            let text = format!("{} elements can not be divided into one block for each of {size} ranks", data.len());
            return Request::refused(Error::invalid(text));
        }
        let block = data.len() / size;
        let Some(mut own) = sized(memory, block) else {
            return Request::refused(Error::invalid(format!("no memory for {block} elements")));
        };
        own.copy_from_slice(&data[self.rank().index() * block..][..block]);
        self.start(
            Started {
                call: OwnedCall::Builtin(Call::Scatter { root }),
                datatype: T::DATATYPE,
                sent: Sent::Equal(size_of_val(data.as_slice())),
                receive: Receive::Exactly(0),
                outbound: Outbound::Whole(Box::new(data)),
                inbound: Inbound::Whole { storage: Box::new(own), open: false },
            },
            OnDrop::Detach,
            whole,
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
        let started = Started {
            call: OwnedCall::Builtin(Call::Allgather),
            datatype: T::DATATYPE,
            sent: Sent::Equal(size_of_val(data.as_slice())),
            receive,
            outbound: Outbound::Whole(Box::new(data)),
            inbound,
        };
        self.start(started, OnDrop::Detach, whole)
    }

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
        let data = data.into_buffer();
        let len = size_of_val(data.as_slice());
        let Some(mut all) = sized(memory, data.len()) else {
            return Request::refused(Error::invalid(format!("no memory for {} elements", data.len())));
        };
        // The own block stays at home. What can not be divided is told below, with everything else.
        let block = data.len() / self.size() as usize;
        let own = self.rank().index() * block..(self.rank().index() + 1) * block;
        all[own.clone()].copy_from_slice(&data[own]);
        let inbound = Inbound::Blocks(Box::new(all));
        let started = Started {
            call: OwnedCall::Builtin(Call::Alltoall),
            datatype: T::DATATYPE,
            sent: Sent::Equal(len),
            receive: Receive::Exactly(len),
            outbound: Outbound::Whole(Box::new(data)),
            inbound,
        };
        self.start(started, OnDrop::Detach, whole)
    }

    /// Combines every rank's `data` element by element at the root (MPI 4.1, chapter 6.9.1). All lengths must be
    /// equal. `None` on the other ranks.
    ///
    /// ```
    /// use edgempi::{Located, Minloc};
    ///
    /// # let worlds = edgempi::local(3)?;
    /// let distances = [2.5f32, 0.5, 1.5];
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .zip(distances)
    ///     .map(|(world, distance)| world.comm().reduce(0, [Located::new(distance, world.rank().get())], Minloc))
    ///     .collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, [Some(vec![Located::new(0.5, 1)]), None, None]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if `op` is not defined on `T`.
    #[track_caller]
    pub fn reduce<T: Element>(
        &self,
        root: impl Into<Rank>,
        data: impl IntoBuffer<T>,
        op: ReduceOp,
    ) -> Request<'static, Option<Vec<T>>> {
        let (root, data) = (root.into(), data.into_buffer());
        let is_root = root == self.rank();
        let started = self.folded(Call::Reduce { root, op }, data, is_root);
        self.start(
            started,
            OnDrop::Detach,
            move |completion| if is_root { whole(completion).map(Some) } else { Ok(None) },
        )
    }

    /// Combines every rank's `data` element by element (MPI 4.1, chapter 6.9.6). All lengths must be equal. The result
    /// is bitwise the same on every rank and in every run, and takes the place of `data` if that is a vector.
    ///
    /// ```
    /// use edgempi::Sum;
    ///
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> =
    ///     worlds.iter().map(|world| world.comm().allreduce(vec![1.0f32, world.rank().get() as f32], Sum)).collect();
    /// for request in requests {
    ///     assert_eq!(request.wait()?, [3.0, 0.0 + 1.0 + 2.0]);
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if `op` is not defined on `T`.
    #[track_caller]
    pub fn allreduce<T: Element>(&self, data: impl IntoBuffer<T>, op: ReduceOp) -> Request<'static, Vec<T>> {
        let started = self.folded(Call::Allreduce { op }, data.into_buffer(), true);
        self.start(started, OnDrop::Detach, whole)
    }

    /// [`allreduce`](Self::allreduce) whose result takes the place of `data`.
    ///
    /// The slice is copied now, and written when the request is polled or waited for. A vector that is handed to
    /// [`allreduce`](Self::allreduce) saves both copies.
    ///
    /// ```
    /// use edgempi::Sum;
    ///
    /// # let worlds = edgempi::local(2)?;
    /// let (mut first, mut second) = ([1.0f64, 2.0], [10.0, 20.0]);
    /// let requests =
    ///     [worlds[0].comm().allreduce_in_place(&mut first, Sum), worlds[1].comm().allreduce_in_place(&mut second, Sum)];
    /// for request in requests {
    ///     request.wait()?;
    /// }
    /// assert_eq!((first, second), ([11.0, 22.0], [11.0, 22.0]));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the request unfinished fails the operation on every rank with [`Error::Cancelled`]; `data` is as it was.
    #[track_caller]
    pub fn allreduce_in_place<'a, T: Element>(&self, data: &'a mut [T], op: ReduceOp) -> Request<'a, ()> {
        let started = self.folded(Call::Allreduce { op }, data.to_vec(), true);
        self.start(started, OnDrop::Cancel, move |completion| {
            data.copy_from_slice(&whole::<T>(completion)?);
            Ok(())
        })
    }

    /// [`reduce`](Self::reduce) whose result takes the place of the root's `data`; that of others is left as it is.
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn reduce_in_place<'a, T: Element>(
        &self,
        root: impl Into<Rank>,
        data: &'a mut [T],
        op: ReduceOp,
    ) -> Request<'a, ()> {
        let root = root.into();
        let is_root = root == self.rank();
        let started = self.folded(Call::Reduce { root, op }, data.to_vec(), is_root);
        self.start(started, OnDrop::Cancel, move |completion| {
            if is_root {
                data.copy_from_slice(&whole::<T>(completion)?);
            }
            Ok(())
        })
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

    /// Sends `data` to `dest` (MPI 4.1, chapter 3.2.1), which may be this rank itself.
    ///
    /// Resolves when the library has room for the bytes: soon while they fit the hub's queue for this rank
    /// (`EDGEMPI_QUEUE_SIZE`), otherwise when somebody receives them. So it does not say that they have arrived. A
    /// request that is dropped sends all the same.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// worlds[0].comm().send(1, 7, [1.5f32, 2.5]).wait()?;
    /// let (data, status) = worlds[1].comm().recv::<f32>(0, 7).wait()?;
    /// assert_eq!(data, [1.5, 2.5]);
    /// assert_eq!((status.source.get(), status.tag.0, status.count::<f32>()), (0, 7, Some(2)));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn send<T: Element>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, ()> {
        let data = data.into_buffer();
        let Some(dest) = dest.into_dest() else { return Request::ready(Ok(())) };
        let started = Started {
            call: OwnedCall::Builtin(Call::Send { dest, tag: tag.into() }),
            datatype: T::DATATYPE,
            sent: Sent::Equal(size_of_val(data.as_slice())),
            receive: Receive::Exactly(0),
            outbound: Outbound::Whole(Box::new(data)),
            inbound: Inbound::Nothing,
        };
        self.start(started, OnDrop::Detach, |_| Ok(()))
    }

    /// Receives a message of any length (MPI 4.1, chapter 3.2.4), with what is known of it.
    ///
    /// ```
    /// use edgempi::{ANY_SOURCE, ANY_TAG};
    ///
    /// # let worlds = edgempi::local(3)?;
    /// worlds[2].comm().send(0, 5, [8u8; 100]).wait()?;
    /// let (data, status) = worlds[0].comm().recv::<u8>(ANY_SOURCE, ANY_TAG).wait()?;
    /// assert_eq!((data.len(), status.source.get(), status.tag.0), (100, 2, 5));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the request takes the receive back. A message that had matched it already is lost; so in a `select!`
    /// poll it by reference, and keep it.
    #[track_caller]
    pub fn recv<T: Element>(
        &self,
        source: impl IntoSource,
        tag: impl Into<TagSelector>,
    ) -> Request<'static, (Vec<T>, Status)> {
        self.recv_reusing(Vec::new(), source, tag)
    }

    /// As [`recv`](Self::recv), with the message in the memory of a vector that has done its service, if it is large
    /// enough; see [`gather_reusing`](Self::gather_reusing).
    #[track_caller]
    pub fn recv_reusing<T: Element>(
        &self,
        memory: Vec<T>,
        source: impl IntoSource,
        tag: impl Into<TagSelector>,
    ) -> Request<'static, (Vec<T>, Status)> {
        let Some(source) = source.into_source() else { return Request::ready(Ok((Vec::new(), NOTHING))) };
        let started = Started {
            call: OwnedCall::Builtin(Call::Recv { source, tag: tag.into() }),
            datatype: T::DATATYPE,
            sent: Sent::Equal(0),
            receive: Receive::AtMost(self.message_size),
            outbound: Outbound::Nothing,
            inbound: Inbound::Whole { storage: Box::new(memory), open: true },
        };
        self.start(started, OnDrop::Cancel, |completion| {
            let status = completion.status;
            Ok((whole(completion)?, status))
        })
    }

    /// Receives a message of at most `data.len()` elements (MPI 4.1, chapter 3.2.4). What is behind it in `data` stays.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let mut data = [0u16; 4];
    /// worlds[1].comm().send(0, 1, [3u16, 4]).wait()?;
    /// let status = worlds[0].comm().recv_into(1, 1, &mut data).wait()?;
    /// assert_eq!((data, status.count::<u16>()), ([3, 4, 0, 0], Some(2)));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Truncated`] if the message is longer.
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_into<'a, T: Element>(
        &self,
        source: impl IntoSource,
        tag: impl Into<TagSelector>,
        data: &'a mut [T],
    ) -> Request<'a, Status> {
        let Some(source) = source.into_source() else { return Request::ready(Ok(NOTHING)) };
        let mut started = self.nothing(Call::Recv { source, tag: tag.into() }, T::DATATYPE);
        started.receive = Receive::AtMost(size_of_val(data));
        started.inbound = Inbound::Whole { storage: Box::new(Vec::<T>::new()), open: true };
        self.start(started, OnDrop::Cancel, move |completion| {
            let status = completion.status;
            let received = whole::<T>(completion)?;
            data[..received.len()].copy_from_slice(&received);
            Ok(status)
        })
    }

    /// A call that moves nothing of this rank's.
    pub(super) fn nothing(&self, call: Call<'static>, datatype: Datatype) -> Started {
        Started {
            call: OwnedCall::Builtin(call),
            datatype,
            sent: Sent::Equal(0),
            receive: Receive::Exactly(0),
            outbound: Outbound::Nothing,
            inbound: Inbound::Nothing,
        }
    }

    fn folded<T: Element>(&self, call: Call<'static>, data: Vec<T>, receives: bool) -> Started {
        let len = size_of_val(data.as_slice());
        Started {
            call: OwnedCall::Builtin(call),
            datatype: T::DATATYPE,
            sent: Sent::Equal(len),
            receive: Receive::Exactly(if receives { len } else { 0 }),
            outbound: Outbound::InPlace,
            inbound: Inbound::Whole { storage: Box::new(data), open: false },
        }
    }

    /// Room for a block from each rank around the own one, where this rank `receives`.
    fn blocks_around<T: Element>(
        &self,
        receives: bool,
        memory: Vec<T>,
        own: &[T],
    ) -> Result<(Receive, Inbound), Error> {
        if !receives {
            return Ok((Receive::Exactly(0), Inbound::Nothing));
        }
        let (size, rank) = (self.size() as usize, self.rank().index());
        let elements = own.len().checked_mul(size).and_then(|len| sized(memory, len));
        let Some(mut all) = elements else {
            let text = format!("no memory for {} elements from each of {size} ranks", own.len());
            return Err(Error::invalid(text));
        };
        all[rank * own.len()..][..own.len()].copy_from_slice(own);
        Ok((Receive::Exactly(size_of_val(all.as_slice())), Inbound::Blocks(Box::new(all))))
    }
}
