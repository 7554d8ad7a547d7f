//! Communicators on a host: one method for each operation, on buffers of elements.

use std::panic::Location;
use std::sync::Arc;

use edgempi_core::operation::Operation;
use edgempi_core::request::{CommunicatorId, Receive, Sent};
use edgempi_core::{
    Buffers as BorrowedBuffers, Call, Communicator, Datatype, Element, Group, Rank, Ranks, ReduceOp, Source, Status,
    Tag, TagSelector,
};

use crate::buffers::{Buffers, Inbound, Outbound, Storage, zeroed};
use crate::engine::{Asked, Engine, OwnedCall};
use crate::error::Error;
use crate::objects::{Objects, decode, encode};
use crate::request::{Completion, OnDrop, Request, Shared};

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

/// A communicator (MPI 4.1, chapter 7): ranks, and the calls between them.
///
/// Cheap to clone, and usable from any number of threads and tasks. Collectives on one communicator have to be started
/// in the same order on every rank.
///
/// The methods here work on *buffers*: vectors and slices of an [`Element`], which travel without encoding. An owned
/// vector comes back with the result, without a copy; a borrowed slice is copied once each way, and only its own
/// request touches it. [`objects`](Self::objects) has the same calls for any serde value.
///
/// Every call returns a [`Request`]; see there for cancel safety. What can go wrong is the same for all of them:
/// [`Error::InvalidArgument`] at once, [`Error::Mismatch`] if the ranks do not agree, [`Error::TooLarge`] beyond
/// `EDGEMPI_MSG_SIZE`, [`Error::RankFailed`] and [`Error::RankFinished`] if a rank that is needed is gone,
/// [`Error::Cancelled`] if one gave up, [`Error::Disconnected`] if the hub is gone.
#[derive(Clone)]
pub struct Comm {
    pub(crate) engine: Arc<Engine>,
    pub(crate) id: CommunicatorId,
    pub(crate) message_size: usize,
}

/// One side of a call.
pub(crate) struct Started {
    pub(crate) call: OwnedCall,
    pub(crate) datatype: Datatype,
    pub(crate) sent: Sent,
    pub(crate) receive: Receive,
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
}

impl Comm {
    /// This process's rank (MPI 4.1, chapter 7.4.1).
    pub fn rank(&self) -> Rank {
        self.id.rank
    }

    /// How many ranks there are (MPI 4.1, chapter 7.4.1).
    pub fn size(&self) -> u32 {
        self.id.size
    }

    /// The same calls for any serde value.
    pub fn objects(&self) -> Objects<'_> {
        Objects::new(self)
    }

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

    /// Calls a user-defined operation, which runs at the hub. Sources of its group give `input`; destinations get
    /// `Some` output, the others `None`.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::UnknownOperation`] if the hub has none of that name and version,
    /// [`Error::Remote`] with the text of the operation's own error or panic.
    #[track_caller]
    pub fn apply<O: Operation>(&self, operation: &O, input: Option<&O::Input>) -> Request<'static, Option<O::Output>>
    where
        O::Output: 'static,
    {
        let Group { sources, destinations } = operation.group();
        let list = |ranks: Ranks<'_>| -> Vec<Rank> {
            match ranks {
                Ranks::All => (0..self.size()).map(Rank::new).collect(),
                Ranks::List(ranks) => ranks.to_vec(),
            }
        };
        let (sources, destinations) = (list(sources), list(destinations));
        if let Some(rank) = sources.iter().chain(&destinations).find(|rank| rank.get() >= self.size()) {
            let text = format!("rank {rank} of the operation's group is not in this communicator of {}", self.size());
            return Request::refused(Error::invalid(text));
        }
        let gives = sources.contains(&self.rank());
        let receives = destinations.contains(&self.rank());
        let message = match (gives, input) {
            (true, Some(input)) => match encode(&(operation.parameters(), input)) {
                Ok(message) => message,
                Err(error) => return Request::refused(error),
            },
            (true, None) => {
                let text = format!("rank {} is a source of operation \"{}\" and gives no input", self.rank(), O::NAME);
                return Request::refused(Error::invalid(text));
            }
            (false, _) => Vec::new(),
        };
        let started = Started {
            call: OwnedCall::user(sources, destinations, O::NAME, O::VERSION),
            datatype: Datatype::Object,
            sent: Sent::Equal(message.len()),
            receive: if receives { Receive::AtMost(self.message_size) } else { Receive::Exactly(0) },
            outbound: Outbound::Whole(Box::new(message)),
            inbound: Inbound::Whole { storage: Box::new(Vec::<u8>::new()), open: true },
        };
        let rank = self.rank();
        self.start(started, OnDrop::Detach, move |completion| match receives {
            true => decode(rank, &whole::<u8>(completion)?).map(Some),
            false => Ok(None),
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

    #[track_caller]
    pub(crate) fn start<'a, T>(
        &self,
        started: Started,
        on_drop: OnDrop,
        finish: impl FnOnce(Completion) -> Result<T, Error> + Send + 'a,
    ) -> Request<'a, T> {
        self.start_at(started, on_drop, Location::caller(), finish)
    }

    pub(crate) fn start_at<'a, T>(
        &self,
        started: Started,
        on_drop: OnDrop,
        site: &'static Location<'static>,
        finish: impl FnOnce(Completion) -> Result<T, Error> + Send + 'a,
    ) -> Request<'a, T> {
        let Started { call, datatype, sent, receive, outbound, inbound } = started;
        let in_place = matches!(outbound, Outbound::InPlace);
        let shared = Shared::new(Buffers {
            outbound,
            inbound,
            split: false,
            own: self.rank().index(),
            size: self.size() as usize,
            limit: self.message_size,
            group: Vec::new(),
            operation: Vec::new(),
            site: String::new(),
        });
        let asked =
            Asked { communicator: self.id, call, datatype, sent, receive, in_place, site, shared: shared.clone() };
        match self.engine.submit(asked) {
            Ok(id) => Request::started(self.engine.clone(), shared, id, on_drop, finish),
            Err(error) => Request::refused(error),
        }
    }
}

/// The elements of a result.
pub(crate) fn whole<T: Element>(completion: Completion) -> Result<Vec<T>, Error> {
    let storage: Box<dyn Storage> = match completion.buffers.inbound {
        Inbound::Whole { storage, .. } | Inbound::Blocks(storage) => storage,
        Inbound::Nothing | Inbound::Parts(_) => return Ok(Vec::new()),
    };
    // Whoever started the call chose the type, so this can only be that type.
    storage.into_any().downcast::<Vec<T>>().map(|elements| *elements).map_err(|_| Error::Finalized)
}

impl std::fmt::Debug for Comm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Comm(rank {} of {})", self.rank(), self.size())
    }
}

impl Communicator for Comm {
    type Error = Error;
    type Transfer<'a> = Request<'a, Status>;
    type Progress<'a> = std::future::Ready<()>;

    fn rank(&self) -> Rank {
        self.id.rank
    }

    fn size(&self) -> u32 {
        self.id.size
    }

    #[track_caller]
    fn transfer<'a>(&'a self, call: Call<'a>, datatype: Datatype, buffers: BorrowedBuffers<'a>) -> Request<'a, Status> {
        crate::transfer::start(self, call, datatype, buffers)
    }

    fn progress(&self) -> Self::Progress<'_> {
        // The engine's own thread sees to that.
        std::future::ready(())
    }
}
