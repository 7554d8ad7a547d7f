//! Communicators on a board.

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

use edgempi_core::operation::Operation;
use edgempi_core::request::CommunicatorId;
use edgempi_core::{
    Buffers, Call, Category, Color, Communicator, Datatype, Element, Rank, ReduceOp, RequestId, Source, SplitRequest,
    SplitResult, Status, Tag, TagSelector,
};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::Drive;
use crate::error::Error;
use crate::hand::{Blocks, Hand, Sink, Source as From};
use crate::names::Names;
use crate::site::Site;
use crate::transfer::{Progress, Transfer};

/// A communicator (MPI 4.1, chapter 7): ranks, and the calls between them.
///
/// Its calls on typed slices are those of [`Communicator`]; the ones here are the board's own. Collectives on one
/// communicator have to be started in the same order on every rank.
pub struct Comm<'e> {
    drive: &'e dyn Drive,
    id: CommunicatorId,
    /// How it is freed, unless it is the world's: a pointer, so that an image that never splits has none of it.
    free: Option<fn(&Self)>,
}

impl<'e> Comm<'e> {
    pub(crate) fn new(drive: &'e dyn Drive, id: CommunicatorId) -> Self {
        Self { drive, id, free: None }
    }

    /// A communicator that was made by a split: it is freed when it is dropped.
    fn split_off(drive: &'e dyn Drive, id: CommunicatorId) -> Self {
        let free = |comm: &Self| {
            let mut hand = comm.hand(Buffers::None);
            // If the hub is gone, so is the communicator. Nobody waits for the answer.
            if let Ok(request) = comm.drive.submit(comm.id, &Call::Free, Datatype::Object, &mut hand, None) {
                comm.drive.detach(request);
            }
        };
        Self { drive, id, free: Some(free) }
    }

    fn start<'a>(
        &'a self,
        call: &Call<'a>,
        datatype: Datatype,
        mut hand: Hand<'a>,
        len: Option<usize>,
    ) -> Transfer<'a> {
        let started = self.drive.submit(self.id, call, datatype, &mut hand, len);
        Transfer::new(self.drive, started, hand)
    }

    #[track_caller]
    #[inline(never)]
    fn transfer_blocks<'a>(
        &'a self,
        call: &Call<'a>,
        datatype: Datatype,
        buffers: Buffers<'a>,
        blocks: Option<&'static Blocks>,
    ) -> Transfer<'a> {
        let hand = Hand { blocks, ..self.hand(buffers) };
        self.start(call, datatype, hand, None)
    }

    #[track_caller]
    fn hand<'a>(&self, buffers: Buffers<'a>) -> Hand<'a> {
        Hand::new(buffers, self.id.rank, self.id.size)
    }

    /// [`reduce_in_place`](Communicator::reduce_in_place) of `len` elements that no buffer holds (weights in flash, say):
    /// `fill` writes the bytes from an offset on into whatever room it is given, and may be asked for the same range
    /// twice. For every rank but the root.
    ///
    /// Elements are little-endian; offsets are in bytes. `fill` must not call the library.
    #[track_caller]
    pub fn reduce_from<'a, T: Element>(
        &'a self,
        root: impl Into<Rank>,
        len: usize,
        op: ReduceOp,
        fill: &'a mut dyn FnMut(usize, &mut [u8]),
    ) -> Transfer<'a> {
        let call = Call::Reduce { root: root.into(), op };
        let mut hand = self.hand(Buffers::None);
        hand.source = From::Function(fill);
        self.start(&call, T::DATATYPE, hand, Some(len.saturating_mul(size_of::<T>())))
    }

    /// [`allreduce`](Communicator::allreduce) of `len` elements that no buffer holds: `fill` as in
    /// [`reduce_from`](Self::reduce_from), `take` gets the bytes of the result in order, some at a time.
    ///
    /// `take` runs ahead of `fill` only where all ranks have given their bytes; the two may work on one memory.
    #[track_caller]
    pub fn allreduce_from<'a, T: Element>(
        &'a self,
        len: usize,
        op: ReduceOp,
        fill: &'a mut dyn FnMut(usize, &mut [u8]),
        take: &'a mut dyn FnMut(usize, &[u8]),
    ) -> Transfer<'a> {
        let call = Call::Allreduce { op };
        let mut hand = self.hand(Buffers::None);
        (hand.source, hand.sink) = (From::Function(fill), Sink::Function(take));
        self.start(&call, T::DATATYPE, hand, Some(len.saturating_mul(size_of::<T>())))
    }

    /// Sends a serde value to `dest`, encoded in `scratch` (MPI 4.1, chapter 3.2.1).
    ///
    /// # Errors
    ///
    /// `TooLarge` with the bytes that it takes if it does not fit `scratch`, `InvalidArgument` if postcard can't encode it.
    #[track_caller]
    pub fn send_object<'a, T: Serialize + ?Sized>(
        &'a self,
        dest: impl Into<Rank>,
        tag: impl Into<Tag>,
        value: &T,
        scratch: &'a mut [u8],
    ) -> Transfer<'a> {
        let call = Call::Send { dest: dest.into(), tag: tag.into() };
        match encode(value, scratch) {
            Ok(bytes) => self.transfer(call, Datatype::Object, Buffers::Send(bytes)),
            Err(error) => self.refuse(error),
        }
    }

    /// Receives a serde value, by way of `scratch` (MPI 4.1, chapter 3.2.4).
    #[track_caller]
    pub fn recv_object<'a, T: DeserializeOwned>(
        &'a self,
        source: impl Into<Source>,
        tag: impl Into<TagSelector>,
        scratch: &'a mut [u8],
    ) -> Object<'a, (T, Status)> {
        let call = Call::Recv { source: source.into(), tag: tag.into() };
        Object::new(self, call, self.hand(Buffers::Receive(scratch)), |bytes, status| Ok((decode(bytes)?, status)))
    }

    /// The root's serde value reaches every rank, by way of `scratch` (MPI 4.1, chapter 6.4). `value` is `Some` at the
    /// root.
    #[track_caller]
    pub fn bcast_object<'a, T: Serialize + DeserializeOwned>(
        &'a self,
        root: impl Into<Rank>,
        value: Option<&T>,
        scratch: &'a mut [u8],
    ) -> Object<'a, T> {
        let root = root.into();
        let call = Call::Bcast { root };
        if root != self.id.rank {
            return Object::new(self, call, self.hand(Buffers::Receive(scratch)), |bytes, _| decode(bytes));
        }
        let encoded = value.ok_or(Error::new(Category::InvalidArgument)).and_then(|value| encode(value, scratch));
        match encoded {
            // The root decodes its own value: so it is owned there, too.
            Ok(bytes) => Object {
                kept: Some(bytes),
                ..Object::new(self, call, self.hand(Buffers::Send(bytes)), |bytes, _| decode(bytes))
            },
            Err(error) => Object::refused(self, error),
        }
    }

    /// Calls a user-defined operation, which runs at the hub. Sources of its group give `input`; destinations get `Some`
    /// output. What goes up is encoded in `send`, what comes down is decoded from `receive`.
    ///
    /// # Errors
    ///
    /// `UnknownOperation` if the hub has none of that name and version, `Remote` if its code fails or panics,
    /// `InvalidArgument` if a source gives no input.
    #[track_caller]
    pub fn apply<'a, O: Operation>(
        &'a self,
        operation: &'a O,
        input: Option<&O::Input>,
        send: &'a mut [u8],
        receive: &'a mut [u8],
    ) -> Object<'a, Option<O::Output>> {
        let group = operation.group();
        let call = Call::User { name: O::NAME, version: O::VERSION, group };
        let gives = group.sources.contains(self.id.rank);
        let encoded = match (gives, input) {
            (false, _) => Ok(None),
            (true, Some(input)) => encode(&(operation.parameters(), input), send).map(Some),
            (true, None) => Err(Error::new(Category::InvalidArgument)),
        };
        let receives = group.destinations.contains(self.id.rank);
        match encoded {
            Err(error) => Object::refused(self, error),
            Ok(sent) => {
                let buffers = sent.map_or(Buffers::None, Buffers::Send);
                let mut hand = self.hand(buffers);
                hand.names = Some(Names::new(group, O::NAME, O::VERSION, self.id.size));
                if receives {
                    hand.sink = Sink::Bytes(receive);
                }
                let finish = if receives { |bytes: &[u8], _| decode(bytes).map(Some) } else { |_: &[u8], _| Ok(None) };
                Object::new(self, call, hand, finish)
            }
        }
    }

    /// The ranks that say the same `color` form a new communicator, ordered by `key` and among equal keys by rank here
    /// (MPI 4.1, chapter 7.4.2). `None` instead of a colour, MPI's `UNDEFINED`, gives `None`.
    ///
    /// It meets the `split` of hosts, and no other of their calls that make communicators: in a `dup` a board has no part.
    ///
    /// A communicator is freed when it is dropped on every rank; if a board has no request to spare at that moment, when
    /// the world ends.
    #[track_caller]
    pub fn split(&self, color: Option<u32>, key: i32) -> Split<'_, 'e> {
        let call = Call::Split;
        let (send, mut receive) =
            (SplitRequest { color: color.map(Color::Number), key }.to_bytes(), [0; SplitResult::LEN]);
        let mut hand = self.hand(Buffers::Both { send: &send, receive: &mut receive });
        let started = self.drive.submit(self.id, &call, Datatype::Object, &mut hand, None);
        let site = hand.site;
        Split { comm: self, started, send, receive, site }
    }

    fn refuse(&self, error: Error) -> Transfer<'_> {
        Transfer::new(self.drive, Err(error), self.hand(Buffers::None))
    }
}

impl fmt::Debug for Comm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Comm").field(&self.id).finish()
    }
}

impl Drop for Comm<'_> {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            free(self);
        }
    }
}

impl Communicator for Comm<'_> {
    type Error = Error;
    type Transfer<'a>
        = Transfer<'a>
    where
        Self: 'a;
    type Progress<'a>
        = Progress<'a>
    where
        Self: 'a;

    fn rank(&self) -> Rank {
        self.id.rank
    }

    fn size(&self) -> u32 {
        self.id.size
    }

    #[inline(always)] // see `Blocks`
    #[track_caller]
    fn transfer<'a>(&'a self, call: Call<'a>, datatype: Datatype, buffers: Buffers<'a>) -> Transfer<'a> {
        self.transfer_blocks(&call, datatype, buffers, Blocks::of(&call))
    }

    fn progress(&self) -> Progress<'_> {
        Progress { drive: self.drive, yielded: false }
    }
}

type Finish<T> = fn(&[u8], Status) -> Result<T, Error>;

/// A call on a serde value in progress; what [`Transfer`] says holds here, too.
#[must_use = "it moves only while it is polled"]
pub struct Object<'a, T> {
    transfer: Transfer<'a>,
    /// What the root of a broadcast keeps.
    kept: Option<&'a [u8]>,
    finish: Finish<T>,
    value: PhantomData<fn() -> T>,
}

impl<'a, T> Object<'a, T> {
    fn new(comm: &'a Comm<'_>, call: Call<'a>, hand: Hand<'a>, finish: Finish<T>) -> Self {
        let transfer = comm.start(&call, Datatype::Object, hand, None);
        Self { transfer, kept: None, finish, value: PhantomData }
    }

    fn refused(comm: &'a Comm<'_>, error: Error) -> Self {
        let refused: Finish<T> = |_, _| Err(Error::new(Category::InvalidArgument));
        Self { transfer: comm.refuse(error), kept: None, finish: refused, value: PhantomData }
    }
}

impl<T> fmt::Debug for Object<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.transfer).finish()
    }
}

impl<T> Unpin for Object<'_, T> {}

impl<T> Future for Object<'_, T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Poll::Ready(result) = Pin::new(&mut this.transfer).poll(context) else { return Poll::Pending };
        Poll::Ready(result.and_then(|status| {
            let bytes = match this.kept {
                Some(kept) => kept,
                None => this.transfer.received(status.bytes),
            };
            (this.finish)(bytes, status)
        }))
    }
}

/// A [`split`](Comm::split) in progress.
#[must_use = "it moves only while it is polled"]
#[derive(Debug)]
pub struct Split<'a, 'e> {
    comm: &'a Comm<'e>,
    started: Result<RequestId, Error>,
    send: [u8; SplitRequest::LEN],
    receive: [u8; SplitResult::LEN],
    site: Site,
}

impl<'e> Future for Split<'_, 'e> {
    type Output = Result<Option<Comm<'e>>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let request = match this.started {
            Ok(request) => request,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let buffers = Buffers::Both { send: &this.send, receive: &mut this.receive };
        let mut hand = Hand { site: this.site, ..this.comm.hand(buffers) };
        let Poll::Ready(result) = this.comm.drive.poll(context, request, &mut hand) else { return Poll::Pending };
        this.started = Err(Error::new(Category::InvalidArgument));
        Poll::Ready(result.and_then(|_| {
            let place = this.comm.id.split(SplitResult::from_bytes(this.receive));
            let place = place.map_err(|_| Error::new(Category::Protocol))?;
            Ok(place.map(|id| Comm::split_off(this.comm.drive, id)))
        }))
    }
}

impl Drop for Split<'_, '_> {
    fn drop(&mut self) {
        if let Ok(request) = self.started {
            self.comm.drive.cancel(request, None);
        }
    }
}

/// Bytes that a value is encoded into. (postcard's own slice can panic.)
struct Space<'a> {
    bytes: &'a mut [u8],
    /// How many bytes the value takes, whether or not there is room for them.
    len: usize,
}

impl<'a> Flavor for Space<'a> {
    type Output = Result<&'a [u8], Error>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self::Output> {
        let Self { bytes, len } = self;
        let needed = Error::with(Category::TooLarge, len as u64);
        Ok(bytes.get(..len).ok_or(needed))
    }
}

fn encode<'a, T: Serialize + ?Sized>(value: &T, scratch: &'a mut [u8]) -> Result<&'a [u8], Error> {
    let space = Space { bytes: scratch, len: 0 };
    // What remains is a value that can't be encoded at all.
    postcard::serialize_with_flavor(value, space).unwrap_or(Err(Error::new(Category::InvalidArgument)))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    postcard::from_bytes(bytes).map_err(|_| Error::with(Category::Mismatch, bytes.len() as u64))
}
