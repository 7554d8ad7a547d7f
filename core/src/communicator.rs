//! The [`Communicator`] trait: what an algorithm is written against, so that the same function runs on a
//! server, on a board and in a simulator.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use zerocopy::IntoBytes;

use crate::call::Call;
use crate::datatype::{Datatype, Element, ReduceOp};
use crate::rank::{Rank, Source, Tag, TagSelector};

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
