//! The calls of a communicator on buffers: vectors and slices of elements.

use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Datatype, Element, Rank, ReduceOp, Source, Status, Tag, TagSelector};

use super::{Comm, Started, whole};
use crate::buffers::{Inbound, Outbound, zeroed};
use crate::engine::OwnedCall;
use crate::error::Error;
use crate::request::{OnDrop, Request};

/// Elements that a call takes: a vector, which is sent as it is, or a slice or array, which is copied.
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
    #[track_caller]
    pub fn barrier(&self) -> Request<'static, ()> {
        self.start(self.nothing(Call::Barrier, Datatype::Object), OnDrop::Detach, |_| Ok(()))
    }

    /// Copies the root's `data` over every other rank's (MPI 4.1, chapter 6.4). All lengths must be equal.
    ///
    /// ```
    /// # let world = edgempi::init().wait()?;
    /// let data = world.comm().bcast(0, vec![1.0f32, 2.0, 3.0]).wait()?;
    /// assert_eq!(data, [1.0, 2.0, 3.0]);
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

    /// Collects every rank's `data` at the root, in rank order (MPI 4.1, chapter 6.5). All lengths must be equal.
    /// `None` on the other ranks.
    #[track_caller]
    pub fn gather<T: Element>(
        &self,
        root: impl Into<Rank>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, Option<Vec<T>>> {
        let (root, data) = (root.into(), data.into_buffer());
        let len = size_of_val(data.as_slice());
        let is_root = root == self.rank();
        let (receive, inbound) = match self.blocks_around(is_root, &data) {
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
    /// the root, with a length that size divides; what others give is ignored.
    #[track_caller]
    pub fn scatter<T: Element>(&self, root: impl Into<Rank>, data: Option<Vec<T>>) -> Request<'static, Vec<T>> {
        let root = root.into();
        if root != self.rank() {
            return self.start(
                Started {
                    call: OwnedCall::Builtin(Call::Scatter { root }),
                    datatype: T::DATATYPE,
                    sent: Sent::Equal(0),
                    receive: Receive::AtMost(self.message_size),
                    outbound: Outbound::Nothing,
                    inbound: Inbound::Whole { storage: Box::new(Vec::<T>::new()), open: true },
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
        let own = data[self.rank().index() * block..][..block].to_vec();
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

    /// Collects every rank's `data` at every rank, in rank order (MPI 4.1, chapter 6.7). All lengths must be equal.
    #[track_caller]
    pub fn allgather<T: Element>(&self, data: impl IntoBuffer<T>) -> Request<'static, Vec<T>> {
        let data = data.into_buffer();
        let (receive, inbound) = match self.blocks_around(true, &data) {
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
    #[track_caller]
    pub fn alltoall<T: Element>(&self, data: impl IntoBuffer<T>) -> Request<'static, Vec<T>> {
        let data = data.into_buffer();
        let len = size_of_val(data.as_slice());
        // The own block is in its place already, the others are overwritten.
        let inbound = Inbound::Blocks(Box::new(data.clone()));
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
    /// # let world = edgempi::init().wait()?;
    /// let total = world.comm().allreduce(vec![1.0f32, 2.0], Sum).wait()?;
    /// assert_eq!(total, [1.0, 2.0], "in a world of one rank");
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn allreduce<T: Element>(&self, data: impl IntoBuffer<T>, op: ReduceOp) -> Request<'static, Vec<T>> {
        let started = self.folded(Call::Allreduce { op }, data.into_buffer(), true);
        self.start(started, OnDrop::Detach, whole)
    }

    /// [`allreduce`](Self::allreduce) whose result takes the place of `data`.
    #[track_caller]
    pub fn allreduce_in_place<'a, T: Element>(&self, data: &'a mut [T], op: ReduceOp) -> Request<'a, ()> {
        let started = self.folded(Call::Allreduce { op }, data.to_vec(), true);
        self.start(started, OnDrop::Cancel, move |completion| {
            data.copy_from_slice(&whole::<T>(completion)?);
            Ok(())
        })
    }

    /// [`reduce`](Self::reduce) whose result takes the place of the root's `data`; that of others is left as it is.
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

    /// [`bcast`](Self::bcast) into a slice.
    #[track_caller]
    pub fn bcast_in_place<'a, T: Element>(&self, root: impl Into<Rank>, data: &'a mut [T]) -> Request<'a, ()> {
        let mut request = self.bcast(root, &*data);
        request.cancel_on_drop();
        request.map(move |received| data.copy_from_slice(&received))
    }

    /// Sends `data` to `dest` (MPI 4.1, chapter 3.2.1). Resolves when the library has room for the bytes: at once while
    /// they fit the hub's queue for this rank, otherwise when somebody receives them.
    #[track_caller]
    pub fn send<T: Element>(
        &self,
        dest: impl Into<Rank>,
        tag: impl Into<Tag>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, ()> {
        let data = data.into_buffer();
        let started = Started {
            call: OwnedCall::Builtin(Call::Send { dest: dest.into(), tag: tag.into() }),
            datatype: T::DATATYPE,
            sent: Sent::Equal(size_of_val(data.as_slice())),
            receive: Receive::Exactly(0),
            outbound: Outbound::Whole(Box::new(data)),
            inbound: Inbound::Nothing,
        };
        self.start(started, OnDrop::Detach, |_| Ok(()))
    }

    /// Receives a message of any length (MPI 4.1, chapter 3.2.4), with what is known of it.
    #[track_caller]
    pub fn recv<T: Element>(
        &self,
        source: impl Into<Source>,
        tag: impl Into<TagSelector>,
    ) -> Request<'static, (Vec<T>, Status)> {
        let started = Started {
            call: OwnedCall::Builtin(Call::Recv { source: source.into(), tag: tag.into() }),
            datatype: T::DATATYPE,
            sent: Sent::Equal(0),
            receive: Receive::AtMost(self.message_size),
            outbound: Outbound::Nothing,
            inbound: Inbound::Whole { storage: Box::new(Vec::<T>::new()), open: true },
        };
        self.start(started, OnDrop::Cancel, |completion| {
            let status = completion.status;
            Ok((whole(completion)?, status))
        })
    }

    /// Receives a message of at most `data.len()` elements; a longer one is [`Error::Truncated`].
    #[track_caller]
    pub fn recv_into<'a, T: Element>(
        &self,
        source: impl Into<Source>,
        tag: impl Into<TagSelector>,
        data: &'a mut [T],
    ) -> Request<'a, Status> {
        let mut started = self.nothing(Call::Recv { source: source.into(), tag: tag.into() }, T::DATATYPE);
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
    fn nothing(&self, call: Call<'static>, datatype: Datatype) -> Started {
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
    fn blocks_around<T: Element>(&self, receives: bool, own: &[T]) -> Result<(Receive, Inbound), Error> {
        if !receives {
            return Ok((Receive::Exactly(0), Inbound::Nothing));
        }
        let (size, rank) = (self.size() as usize, self.rank().index());
        let elements = own.len().checked_mul(size).and_then(zeroed::<T>);
        let Some(mut all) = elements else {
            let text = format!("no memory for {} elements from each of {size} ranks", own.len());
            return Err(Error::invalid(text));
        };
        all[rank * own.len()..][..own.len()].copy_from_slice(own);
        Ok((Receive::Exactly(size_of_val(all.as_slice())), Inbound::Blocks(Box::new(all))))
    }
}
