//! The [`Communicator`] trait: what an algorithm is written against, so that the same function runs on a
//! server, on a board and in a simulator.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use zerocopy::IntoBytes;

use crate::datatype::{Datatype, Element, ReduceOp};
use crate::rank::{Group, Rank, Source, Tag, TagSelector};

/// What a rank asks the hub for: a value, so that a call needs no generics to be made, sent or printed. The numbers are
/// chapters of MPI 4.1. More may come: whoever looks into calls lets the others through.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Call<'a> {
    /// Everybody waits for everybody (MPI 4.1, chapter 6.3).
    Barrier,
    /// The root's data reach every rank (6.4).
    Bcast {
        /// Who gives.
        root: Rank,
    },
    /// Every rank's block reaches the root, in rank order (6.5).
    Gather {
        /// Who receives.
        root: Rank,
    },
    /// The root's blocks reach the ranks, one each (6.6).
    Scatter {
        /// Who gives.
        root: Rank,
    },
    /// Every rank's block reaches every rank (6.7).
    Allgather,
    /// Block d of rank s becomes block s of rank d (6.8).
    Alltoall,
    /// The root receives all vectors combined element by element (6.9).
    Reduce {
        /// Who receives.
        root: Rank,
        /// How two elements become one.
        op: ReduceOp,
    },
    /// Every rank receives all vectors combined element by element (6.9.6).
    Allreduce {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// As [`Gather`](Self::Gather), of blocks whose lengths differ (6.5).
    Gatherv {
        /// Who receives.
        root: Rank,
    },
    /// As [`Scatter`](Self::Scatter), of blocks whose lengths differ (6.6).
    Scatterv {
        /// Who gives.
        root: Rank,
    },
    /// As [`Allgather`](Self::Allgather), of blocks whose lengths differ (6.7).
    Allgatherv,
    /// As [`Alltoall`](Self::Alltoall), of blocks whose lengths differ (6.8).
    Alltoallv,
    /// All vectors are combined element by element, and each rank receives a block of the result, as many elements as it
    /// asks for, behind those of the ranks before it (6.10.2).
    ReduceScatter {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// The same, in blocks of one length (6.10.1).
    ReduceScatterBlock {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// Every rank receives the vectors of the ranks up to its own combined element by element (6.11.1).
    Scan {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// Every rank but the first receives the vectors of the ranks before it combined element by element (6.11.2).
    Exscan {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// A message to one rank (3.2.1), done when the library has its bytes.
    Send {
        /// Who receives.
        dest: Rank,
        /// The label of the message.
        tag: Tag,
    },
    /// The same, done when a receive has taken it (3.4, synchronous mode).
    Ssend {
        /// Who receives.
        dest: Rank,
        /// The label of the message.
        tag: Tag,
    },
    /// The same, which fails if no receive waits for it (3.4, ready mode).
    Rsend {
        /// Who receives.
        dest: Rank,
        /// The label of the message.
        tag: Tag,
    },
    /// A message from a rank (3.2.4).
    Recv {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
    },
    /// Waits for a message that a receive would take, and leaves it (3.8.1).
    Probe {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
    },
    /// The same without waiting: where there is none, [`Status::source`] is [`Status::NOBODY`] (3.8.1).
    Iprobe {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
    },
    /// As [`Probe`](Self::Probe), and keeps the message for an [`Mrecv`](Self::Mrecv): no other receive takes it (3.8.2).
    Mprobe {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
        /// The number under which it is kept, which no other message of this rank has.
        message: u32,
    },
    /// The same without waiting, as [`Iprobe`](Self::Iprobe) (3.8.2).
    Improbe {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
        /// The number under which it is kept, which no other message of this rank has.
        message: u32,
    },
    /// Receives the message that an [`Mprobe`](Self::Mprobe) or [`Improbe`](Self::Improbe) has kept (3.8.3).
    Mrecv {
        /// The number under which it is kept.
        message: u32,
    },
    /// The same of a message that nobody wants any more: its sender goes on, and nothing is received. MPI has no such call.
    Discard {
        /// The number under which it is kept.
        message: u32,
    },
    /// The ranks part into new communicators (7.4.2). Gives a [`SplitRequest`], receives a [`SplitResult`].
    Split,
    /// This rank is done with the communicator (7.4.3); nobody waits for the others.
    Free,
    /// Who is in the communicator (7.3.2): receives the ranks in the world of its members, in the order of their ranks in
    /// it, a little-endian `u32` each. The hub answers at once; nobody waits for the others.
    Members,
    /// An operation that the user registered at the hub.
    User {
        /// The operation's registered name.
        name: &'a str,
        /// Its version; the hub's must be the same.
        version: u32,
        /// Who gives and who receives.
        group: Group<'a>,
    },
}

impl Call<'_> {
    /// The call without the lifetime of names; `None` for a user's operation, which has some.
    pub const fn builtin(self) -> Option<Call<'static>> {
        Some(match self {
            Self::Barrier => Call::Barrier,
            Self::Bcast { root } => Call::Bcast { root },
            Self::Gather { root } => Call::Gather { root },
            Self::Scatter { root } => Call::Scatter { root },
            Self::Allgather => Call::Allgather,
            Self::Alltoall => Call::Alltoall,
            Self::Reduce { root, op } => Call::Reduce { root, op },
            Self::Allreduce { op } => Call::Allreduce { op },
            Self::Gatherv { root } => Call::Gatherv { root },
            Self::Scatterv { root } => Call::Scatterv { root },
            Self::Allgatherv => Call::Allgatherv,
            Self::Alltoallv => Call::Alltoallv,
            Self::ReduceScatter { op } => Call::ReduceScatter { op },
            Self::ReduceScatterBlock { op } => Call::ReduceScatterBlock { op },
            Self::Scan { op } => Call::Scan { op },
            Self::Exscan { op } => Call::Exscan { op },
            Self::Send { dest, tag } => Call::Send { dest, tag },
            Self::Ssend { dest, tag } => Call::Ssend { dest, tag },
            Self::Rsend { dest, tag } => Call::Rsend { dest, tag },
            Self::Recv { source, tag } => Call::Recv { source, tag },
            Self::Probe { source, tag } => Call::Probe { source, tag },
            Self::Iprobe { source, tag } => Call::Iprobe { source, tag },
            Self::Mprobe { source, tag, message } => Call::Mprobe { source, tag, message },
            Self::Improbe { source, tag, message } => Call::Improbe { source, tag, message },
            Self::Mrecv { message } => Call::Mrecv { message },
            Self::Discard { message } => Call::Discard { message },
            Self::Split => Call::Split,
            Self::Free => Call::Free,
            Self::Members => Call::Members,
            Self::User { .. } => return None,
        })
    }

    /// How two elements become one, where the call combines some.
    pub const fn op(&self) -> Option<ReduceOp> {
        match *self {
            Self::Reduce { op, .. }
            | Self::Allreduce { op }
            | Self::ReduceScatter { op }
            | Self::ReduceScatterBlock { op }
            | Self::Scan { op }
            | Self::Exscan { op } => Some(op),
            _ => None,
        }
    }
}

/// What the ranks of one new communicator have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// A number that they say (7.4.2).
    Number(u32),
    /// What kind of process they are, which the hub knows of each: hosts, boards and virtual ranks part (7.4.2, a type of
    /// our own).
    Kind,
    /// A text or number of 16 bytes that they say: the identity of a machine (7.4.2, `COMM_TYPE_SHARED`).
    Text([u8; 16]),
}

/// What a rank says in a [`Call::Split`]: 24 bytes, little-endian. What the ranks say has to be of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitRequest {
    /// Ranks of one colour form a communicator; a rank without one is in none (MPI's `UNDEFINED`).
    pub color: Option<Color>,
    /// New ranks go by key, and among equal keys by old rank.
    pub key: i32,
}

impl SplitRequest {
    /// Its bytes on the wire.
    pub const LEN: usize = 24;

    /// As it travels: the sort of colour, its key, and 16 bytes of the colour.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let (sort, color): (u32, u128) = match self.color {
            None => (0, 0),
            Some(Color::Number(number)) => (1, number.into()),
            Some(Color::Kind) => (2, 0),
            Some(Color::Text(text)) => (3, u128::from_le_bytes(text)),
        };
        let mut bytes = [0; Self::LEN];
        let words = [sort, self.key as u32].map(u32::to_le_bytes);
        let all = words.as_flattened().iter().copied().chain(color.to_le_bytes());
        bytes.iter_mut().zip(all).for_each(|(place, byte)| *place = byte);
        bytes
    }

    /// What the hub reads; `None` if the bytes mean nothing.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (sort, rest) = bytes.split_first_chunk::<4>()?;
        let (key, color) = rest.split_first_chunk::<4>()?;
        let text: [u8; 16] = color.try_into().ok()?;
        let color = match (u32::from_le_bytes(*sort), u128::from_le_bytes(text)) {
            (0, 0) => None,
            (1, number) => Some(Color::Number(u32::try_from(number).ok()?)),
            (2, 0) => Some(Color::Kind),
            (3, _) => Some(Color::Text(text)),
            _ => return None,
        };
        Some(Self { color, key: i32::from_le_bytes(*key) })
    }
}

/// What a rank gets from a [`Call::Split`]: 16 bytes, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitResult {
    /// The new communicator's number.
    pub id: u64,
    /// This rank's number in it.
    pub rank: Rank,
    /// How many ranks it has; 0 for a rank without a colour, which is in no new communicator.
    pub size: u32,
}

impl SplitResult {
    /// Its bytes on the wire.
    pub const LEN: usize = 16;

    /// As it travels.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let number = u128::from(self.id) | u128::from(self.rank.get()) << 64 | u128::from(self.size) << 96;
        number.to_le_bytes()
    }

    /// What the rank reads.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let number = u128::from_le_bytes(bytes);
        Self { id: number as u64, rank: Rank::new((number >> 64) as u32), size: (number >> 96) as u32 }
    }
}

/// The memory that a call reads and writes, as bytes: whole elements of the call's datatype. Messages of several blocks
/// hold them in rank order, all of one length.
#[derive(Debug)]
pub enum Buffers<'a> {
    /// The call moves no data of this rank.
    None,
    /// This rank gives these bytes.
    Send(&'a [u8]),
    /// This rank receives into these bytes.
    Receive(&'a mut [u8]),
    /// This rank gives from one place and receives into another.
    Both {
        /// What it gives.
        send: &'a [u8],
        /// Where the result goes.
        receive: &'a mut [u8],
    },
    /// The result takes the place of what this rank gives (MPI's `IN_PLACE`). Not every implementation can do an alltoall
    /// so, for which it takes a copy.
    InPlace(&'a mut [u8]),
}

/// What is known of a transfer once it has completed (MPI 4.1, chapter 3.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// Who sent the message. Says nothing for anything but a receive or a probe.
    pub source: Rank,
    /// The message's tag. Says nothing for anything but a receive or a probe.
    pub tag: Tag,
    /// How many bytes came, without a block that the rank has for itself. How many a message has, for a probe.
    pub bytes: usize,
}

impl Status {
    /// The source where a probe that does not wait has found nothing.
    pub const NOBODY: Rank = Rank::new(u32::MAX);

    /// How many elements of type `T` came (MPI's `Get_count`); `None` if the bytes are no whole number of them.
    pub fn count<T: Element>(&self) -> Option<usize> {
        self.bytes.is_multiple_of(size_of::<T>()).then_some(self.bytes / size_of::<T>())
    }
}

/// A communicator (MPI 4.1, chapter 7): a set of ranks and the calls between them.
///
/// Write an algorithm against it, in a crate that is `no_std` if boards are to run it:
///
/// ```
/// use edgempi_core::{Communicator, ReduceOp};
///
/// /// Every rank's `values` become the mean of all ranks' values.
/// async fn average<C: Communicator>(comm: &C, values: &mut [f32]) -> Result<(), C::Error> {
///     comm.allreduce_in_place(values, ReduceOp::Sum).await?;
///     let size = comm.size() as f32;
///     values.iter_mut().for_each(|value| *value /= size);
///     Ok(())
/// }
/// ```
///
/// [`transfer`](Self::transfer) is the only call that an implementation writes; all others are thin skins
/// over it. They take `&self`, start when they are called, and return one future type. None of them is an
/// `async fn`, so the caller's source location can travel with the call into the hub's messages.
///
/// Slices hold elements, and lengths are in elements. Collectives have to be started in the same order on every rank.
///
/// # Errors
///
/// [`Self::Error`] is the implementation's own, and covers what [`Category`](crate::Category) lists; all of it comes out
/// of the future.
///
/// # Cancel safety
///
/// Dropping an unfinished future gives the call up: a collective fails on every participant with `Cancelled`, a receive
/// is taken back, and a message that had matched it is lost. The communicator stays usable. Forgetting the future is
/// sound: nothing but its own `poll` touches the borrowed memory. More in [`delivery`](crate::delivery).
pub trait Communicator {
    /// What goes wrong.
    type Error: core::error::Error;
    /// A call in progress. It can be moved between polls, so that an algorithm may poll it by hand.
    type Transfer<'a>: Future<Output = Result<Status, Self::Error>> + Unpin
    where
        Self: 'a;
    /// A pause in arithmetic.
    type Progress<'a>: Future<Output = ()>
    where
        Self: 'a;

    /// This process's rank in the communicator.
    fn rank(&self) -> Rank;

    /// How many ranks the communicator has.
    fn size(&self) -> u32;

    /// Starts `call` on `buffers`, whose bytes are elements of `datatype`. Who gives data in the call hands over
    /// [`Buffers::Send`], who receives [`Buffers::Receive`], who does both one of the other two. Lengths are in bytes;
    /// what is received has to have just the length of the buffer, for a receive or a user's operation at most that.
    #[track_caller]
    fn transfer<'a>(&'a self, call: Call<'a>, datatype: Datatype, buffers: Buffers<'a>) -> Self::Transfer<'a>;

    /// Lets the link make progress in the middle of long arithmetic: await it every few milliseconds. Free where another
    /// thread does that.
    fn progress(&self) -> Self::Progress<'_>;

    /// Waits until every rank has come here (MPI 4.1, chapter 6.3).
    #[track_caller]
    fn barrier(&self) -> Self::Transfer<'_> {
        self.transfer(Call::Barrier, Datatype::Object, Buffers::None)
    }

    /// Copies the root's `data` into every other rank's (MPI 4.1, chapter 6.4). All lengths must be equal.
    #[track_caller]
    fn bcast<'a, T: Element>(&'a self, root: impl Into<Rank>, data: &'a mut [T]) -> Self::Transfer<'a> {
        let root = root.into();
        let bytes = data.as_mut_bytes();
        let buffers = if root == self.rank() { Buffers::Send(bytes) } else { Buffers::Receive(bytes) };
        self.transfer(Call::Bcast { root }, T::DATATYPE, buffers)
    }

    /// Collects every rank's `send` at the root, in rank order (MPI 4.1, chapter 6.5). `receive` has
    /// size × `send.len()` elements at the root and is ignored elsewhere.
    #[track_caller]
    fn gather<'a, T: Element>(
        &'a self,
        root: impl Into<Rank>,
        send: &'a [T],
        receive: &'a mut [T],
    ) -> Self::Transfer<'a> {
        let (root, send) = (root.into(), send.as_bytes());
        let buffers = if root == self.rank() {
            Buffers::Both { send, receive: receive.as_mut_bytes() }
        } else {
            Buffers::Send(send)
        };
        self.transfer(Call::Gather { root }, T::DATATYPE, buffers)
    }

    /// Hands block r of the root's `send` to rank r (MPI 4.1, chapter 6.6). `send` has
    /// size × `receive.len()` elements at the root and is ignored elsewhere.
    #[track_caller]
    fn scatter<'a, T: Element>(
        &'a self,
        root: impl Into<Rank>,
        send: &'a [T],
        receive: &'a mut [T],
    ) -> Self::Transfer<'a> {
        let (root, receive) = (root.into(), receive.as_mut_bytes());
        let buffers = if root == self.rank() {
            Buffers::Both { send: send.as_bytes(), receive }
        } else {
            Buffers::Receive(receive)
        };
        self.transfer(Call::Scatter { root }, T::DATATYPE, buffers)
    }

    /// Collects every rank's `send` at every rank, in rank order (MPI 4.1, chapter 6.7). `receive` has
    /// size × `send.len()` elements.
    #[track_caller]
    fn allgather<'a, T: Element>(&'a self, send: &'a [T], receive: &'a mut [T]) -> Self::Transfer<'a> {
        let buffers = Buffers::Both { send: send.as_bytes(), receive: receive.as_mut_bytes() };
        self.transfer(Call::Allgather, T::DATATYPE, buffers)
    }

    /// Block d of rank s becomes block s of rank d (MPI 4.1, chapter 6.8). Both slices have the same length,
    /// a multiple of the communicator's size.
    #[track_caller]
    fn alltoall<'a, T: Element>(&'a self, send: &'a [T], receive: &'a mut [T]) -> Self::Transfer<'a> {
        let buffers = Buffers::Both { send: send.as_bytes(), receive: receive.as_mut_bytes() };
        self.transfer(Call::Alltoall, T::DATATYPE, buffers)
    }

    /// Combines every rank's `data` element by element; the result takes its place at the root alone
    /// (MPI 4.1, chapter 6.9.1). All lengths must be equal.
    #[track_caller]
    fn reduce_in_place<'a, T: Element>(
        &'a self,
        root: impl Into<Rank>,
        data: &'a mut [T],
        op: ReduceOp,
    ) -> Self::Transfer<'a> {
        let (root, bytes) = (root.into(), data.as_mut_bytes());
        let buffers = if root == self.rank() { Buffers::InPlace(bytes) } else { Buffers::Send(bytes) };
        self.transfer(Call::Reduce { root, op }, T::DATATYPE, buffers)
    }

    /// Combines every rank's `send` element by element into every rank's `receive` (MPI 4.1, chapter 6.9.6).
    /// All lengths must be equal. The result is bitwise the same on every rank and in every run.
    #[track_caller]
    fn allreduce<'a, T: Element>(&'a self, send: &'a [T], receive: &'a mut [T], op: ReduceOp) -> Self::Transfer<'a> {
        let buffers = Buffers::Both { send: send.as_bytes(), receive: receive.as_mut_bytes() };
        self.transfer(Call::Allreduce { op }, T::DATATYPE, buffers)
    }

    /// [`allreduce`](Self::allreduce) whose result takes the place of `data`.
    #[track_caller]
    fn allreduce_in_place<'a, T: Element>(&'a self, data: &'a mut [T], op: ReduceOp) -> Self::Transfer<'a> {
        self.transfer(Call::Allreduce { op }, T::DATATYPE, Buffers::InPlace(data.as_mut_bytes()))
    }

    /// Combines every rank's `send` element by element, and hands the result out in blocks of one length, in rank order
    /// (MPI 4.1, chapter 6.10.1). `send` has size × `receive.len()` elements.
    #[track_caller]
    fn reduce_scatter_block<'a, T: Element>(
        &'a self,
        send: &'a [T],
        receive: &'a mut [T],
        op: ReduceOp,
    ) -> Self::Transfer<'a> {
        let buffers = Buffers::Both { send: send.as_bytes(), receive: receive.as_mut_bytes() };
        self.transfer(Call::ReduceScatterBlock { op }, T::DATATYPE, buffers)
    }

    /// Combines the `send` of the ranks up to this one element by element, from the left, into `receive`
    /// (MPI 4.1, chapter 6.11.1). All lengths must be equal.
    #[track_caller]
    fn scan<'a, T: Element>(&'a self, send: &'a [T], receive: &'a mut [T], op: ReduceOp) -> Self::Transfer<'a> {
        let buffers = Buffers::Both { send: send.as_bytes(), receive: receive.as_mut_bytes() };
        self.transfer(Call::Scan { op }, T::DATATYPE, buffers)
    }

    /// [`scan`](Self::scan) whose result takes the place of `data`.
    #[track_caller]
    fn scan_in_place<'a, T: Element>(&'a self, data: &'a mut [T], op: ReduceOp) -> Self::Transfer<'a> {
        self.transfer(Call::Scan { op }, T::DATATYPE, Buffers::InPlace(data.as_mut_bytes()))
    }

    /// Combines the `send` of the ranks before this one element by element, from the left, into `receive`
    /// (MPI 4.1, chapter 6.11.2). All lengths must be equal. Rank 0 has none before it: its `receive` stays as it is.
    #[track_caller]
    fn exscan<'a, T: Element>(&'a self, send: &'a [T], receive: &'a mut [T], op: ReduceOp) -> Self::Transfer<'a> {
        let send = send.as_bytes();
        let buffers = match self.rank() == 0 {
            true => Buffers::Send(send),
            false => Buffers::Both { send, receive: receive.as_mut_bytes() },
        };
        self.transfer(Call::Exscan { op }, T::DATATYPE, buffers)
    }

    /// [`exscan`](Self::exscan) whose result takes the place of `data`; that of rank 0 stays as it is.
    #[track_caller]
    fn exscan_in_place<'a, T: Element>(&'a self, data: &'a mut [T], op: ReduceOp) -> Self::Transfer<'a> {
        let bytes = data.as_mut_bytes();
        let buffers = if self.rank() == 0 { Buffers::Send(bytes) } else { Buffers::InPlace(bytes) };
        self.transfer(Call::Exscan { op }, T::DATATYPE, buffers)
    }

    /// Sends `data` to `dest` (MPI 4.1, chapter 3.2.1). Completes when the library has taken the bytes, which does not say
    /// that they have arrived.
    #[track_caller]
    fn send<'a, T: Element>(&'a self, dest: impl Into<Rank>, tag: impl Into<Tag>, data: &'a [T]) -> Self::Transfer<'a> {
        let call = Call::Send { dest: dest.into(), tag: tag.into() };
        self.transfer(call, T::DATATYPE, Buffers::Send(data.as_bytes()))
    }

    /// Receives a message of at most `data.len()` elements (MPI 4.1, chapter 3.2.4). A longer one is `Truncated`. The
    /// [`Status`] says how many came, from whom, and with which tag.
    #[track_caller]
    fn recv<'a, T: Element>(
        &'a self,
        source: impl Into<Source>,
        tag: impl Into<TagSelector>,
        data: &'a mut [T],
    ) -> Self::Transfer<'a> {
        let call = Call::Recv { source: source.into(), tag: tag.into() };
        self.transfer(call, T::DATATYPE, Buffers::Receive(data.as_mut_bytes()))
    }

    /// Sends `send` to `dest` and receives into `receive` at the same time, so that a ring of ranks never waits for
    /// itself (MPI 4.1, chapter 3.10). Gives the status of the receive.
    #[track_caller]
    fn sendrecv<'a, T: Element, U: Element>(
        &'a self,
        dest: impl Into<Rank>,
        send_tag: impl Into<Tag>,
        send: &'a [T],
        source: impl Into<Source>,
        receive_tag: impl Into<TagSelector>,
        receive: &'a mut [U],
    ) -> Sendrecv<Self::Transfer<'a>, Self::Error> {
        let receive = self.recv(source, receive_tag, receive);
        Sendrecv { send: self.send(dest, send_tag, send), receive, sent: None, received: None }
    }
}

/// A [`sendrecv`](Communicator::sendrecv) in progress: done when both halves are, whatever becomes of either.
///
/// # Cancel safety
///
/// Dropping it drops both halves.
#[derive(Debug)]
#[must_use = "it reports its result to whoever waits for it"]
pub struct Sendrecv<T, E> {
    send: T,
    receive: T,
    sent: Option<Result<(), E>>,
    received: Option<Result<Status, E>>,
}

// The error is never pinned.
impl<T: Unpin, E> Unpin for Sendrecv<T, E> {}

impl<T, E> Future for Sendrecv<T, E>
where
    T: Future<Output = Result<Status, E>> + Unpin,
{
    type Output = Result<Status, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.sent.is_none()
            && let Poll::Ready(result) = Pin::new(&mut this.send).poll(context)
        {
            this.sent = Some(result.map(drop));
        }
        if this.received.is_none()
            && let Poll::Ready(result) = Pin::new(&mut this.receive).poll(context)
        {
            this.received = Some(result);
        }
        // Who fails in one half has not given the other one up.
        match (this.sent.take(), this.received.take()) {
            (Some(sent), Some(received)) => Poll::Ready(sent.and(received)),
            (sent, received) => {
                (this.sent, this.received) = (sent, received);
                Poll::Pending
            }
        }
    }
}
