//! Joining and leaving a world.

use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use edgempi_core::endpoint;
use edgempi_core::request::CommunicatorId;
use edgempi_core::wire::{GoodbyeReason, MAX_HEAD_LEN, MAX_HELLO_PAYLOAD, RankKind};
use edgempi_core::{Buffers, Call, Category, Datatype, Instant, Rank, RequestId};

use crate::clock::{Clock, NOBODY};
use crate::comm::Comm;
use crate::engine::{Drive, Engine};
use crate::error::Error;
use crate::hand::Hand;
use crate::memory::Memory;
use crate::port::Port;

/// Most payload bytes that the hub sends to a board in one frame.
const MAX_PAYLOAD: u32 = 1024;
/// How long a rank waits for the last bytes to leave when the world is over.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Who a board is, and what it promises.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    rank: u32,
    size: u32,
    world: &'a str,
    max_silence: Duration,
    wait: Duration,
}

impl<'a> Options<'a> {
    /// Rank `rank` of a world of `size`.
    pub const fn new(rank: u32, size: u32) -> Self {
        Self { rank, size, world: "", max_silence: Duration::from_secs(60), wait: Duration::from_secs(30) }
    }

    /// The world's name, as the hub has it.
    #[must_use]
    pub const fn world(mut self, name: &'a str) -> Self {
        self.world = name;
        self
    }

    /// How long the board may be silent (training, asleep) before the hub counts it as failed; zero for as long as it
    /// likes, and then nobody notices if it dies without closing its connection. 60 s, unless set.
    ///
    /// While a call or [`progress`](edgempi_core::Communicator::progress) is polled, the library keeps the promise by
    /// itself.
    #[must_use]
    pub const fn max_silence(mut self, silence: Duration) -> Self {
        self.max_silence = silence;
        self
    }

    /// How long to wait for the hub's answer; how long to wait for the other ranks is the hub's to say. 30 s, unless set.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// Joins a world over a port that is connected to its hub (MPI 4.1, chapter 11.2), and waits until all ranks have come.
///
/// Resolves to an error if the hub refuses (its words are in [`Memory::last_reason`]), does not answer in time
/// (`Timeout`), or closes the connection (`Disconnected`); `TooLarge` with the number of bytes needed if the port can
/// never take a whole frame. The memory is free again then, and the board can try anew.
pub fn join<'m, P: Port, C: Clock, const N: usize, const SCRATCH: usize>(
    port: P,
    clock: C,
    memory: &'m mut Memory<N, SCRATCH>,
    options: &Options<'m>,
) -> Join<'m, P, C> {
    let least = MAX_HEAD_LEN + MAX_HELLO_PAYLOAD as usize;
    let error = if port.capacity() < least {
        Some(Error::with(Category::TooLarge, least as u64))
    } else if options.rank >= options.size || options.world.len() > MAX_HELLO_PAYLOAD as usize {
        Some(Error::with(Category::InvalidArgument, options.size.into()))
    } else {
        None
    };
    let config = endpoint::Config {
        kind: RankKind::Board,
        max_payload: MAX_PAYLOAD,
        open_parts: 1,
        max_silence: options.max_silence,
        ..endpoint::Config::host(Rank::new(options.rank), options.size)
    };
    let id = CommunicatorId { id: 0, rank: Rank::new(options.rank), size: options.size };
    let mut engine = Engine::new(port, clock, memory.parts(), config, options.world);
    if let Some(error) = error {
        engine.lose(error);
    }
    let until = engine.now() + options.wait;
    let world = World { engine: RefCell::new(engine), id };
    Join { world: Some(world), barrier: None, until }
}

/// A world that is being joined; see [`join`].
///
/// # Cancel safety
///
/// Dropping it gives the port up; the hub sees the rank fail if it had let it in.
#[must_use = "the world is there when this has been awaited"]
pub struct Join<'m, P: Port, C: Clock> {
    world: Option<World<'m, P, C>>,
    /// The first collective of every world: all ranks have come when it is done.
    barrier: Option<RequestId>,
    until: Instant,
}

impl<P: Port, C: Clock> fmt::Debug for Join<'_, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("world", &self.world).field("until", &self.until).finish_non_exhaustive()
    }
}

impl<P: Port, C: Clock> Unpin for Join<'_, P, C> {}

impl<'m, P: Port, C: Clock> World<'m, P, C> {
    /// Goes on with joining.
    fn poll_join(
        &mut self,
        context: &mut Context<'_>,
        barrier: &mut Option<RequestId>,
        until: Instant,
    ) -> Poll<Result<(), Error>> {
        let mut hand = Hand::new(Buffers::None, self.id.rank, self.id.size);
        if let Some(request) = barrier {
            return self.engine.poll(context, *request, &mut hand).map_ok(|_| ());
        }
        let engine = self.engine.get_mut();
        engine.drive(context, None);
        if let Some(error) = engine.lost() {
            return Poll::Ready(Err(error));
        }
        if engine.is_joined() {
            *barrier = Some(self.engine.submit(self.id, &Call::Barrier, Datatype::Object, &mut hand, None)?);
            return self.poll_join(context, barrier, until);
        }
        if engine.wake_at(context, until) { Poll::Ready(Err(Error::new(Category::Timeout))) } else { Poll::Pending }
    }
}

impl<'m, P: Port, C: Clock> Future for Join<'m, P, C> {
    type Output = Result<World<'m, P, C>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(world) = &mut this.world else { return Poll::Pending };
        let Poll::Ready(result) = world.poll_join(context, &mut this.barrier, this.until) else {
            return Poll::Pending;
        };
        match (this.world.take(), result) {
            (Some(world), Ok(())) => Poll::Ready(Ok(world)),
            (_, Err(error)) => Poll::Ready(Err(error)),
            (None, Ok(())) => Poll::Pending,
        }
    }
}

/// A world: all ranks of one job, and this board's place among them.
///
/// Dropping it without [`finalize`](Self::finalize) is safe; the other ranks are told, or see, that this one has failed.
/// Its memory is free again then.
pub struct World<'m, P: Port, C: Clock> {
    engine: RefCell<Engine<'m, P, C>>,
    id: CommunicatorId,
}

impl<'m, P: Port, C: Clock> World<'m, P, C> {
    /// The communicator of all ranks (MPI's `COMM_WORLD`). It borrows the world: drop it before you
    /// [finalize](Self::finalize).
    pub fn comm(&self) -> Comm<'_> {
        Comm::new(&self.engine, self.id)
    }

    /// What the hub said last when it failed something, in at most 120 bytes; calls `print` with it.
    pub fn last_reason<T>(&self, print: impl FnOnce(&str) -> T) -> T {
        match self.engine.try_borrow() {
            Ok(engine) => print(engine.reason()),
            Err(_) => print(""),
        }
    }

    /// Leaves the world (MPI 4.1, chapter 11.2): says goodbye, and waits until all ranks have finalized or failed.
    ///
    /// Resolves to `Disconnected` if the hub was lost before the world had ended.
    pub fn finalize(self) -> Finalize<'m, P, C> {
        if let Ok(mut engine) = self.engine.try_borrow_mut() {
            engine.leave(GoodbyeReason::Finished);
        }
        Finalize { world: self, until: None }
    }
}

impl<P: Port, C: Clock> fmt::Debug for World<'_, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("World").field(&self.id).finish()
    }
}

impl<P: Port, C: Clock> Drop for World<'_, P, C> {
    fn drop(&mut self) {
        if let Ok(mut engine) = self.engine.try_borrow_mut()
            && engine.lost().is_none()
        {
            engine.leave(GoodbyeReason::Dropped);
            engine.drive(&mut Context::from_waker(NOBODY), None);
        }
    }
}

/// A world that is being left; see [`World::finalize`].
///
/// # Cancel safety
///
/// Dropping it unfinished closes the port: the others may see this rank fail.
#[must_use = "nothing moves unless it is awaited"]
#[derive(Debug)]
pub struct Finalize<'m, P: Port, C: Clock> {
    world: World<'m, P, C>,
    /// When to stop waiting for the port to close.
    until: Option<Instant>,
}

impl<P: Port, C: Clock> Unpin for Finalize<'_, P, C> {}

impl<P: Port, C: Clock> Future for Finalize<'_, P, C> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let engine = this.world.engine.get_mut();
        engine.drive(context, None);
        let Some(error) = engine.lost() else {
            engine.watch(context);
            return Poll::Pending;
        };
        let until = *this.until.get_or_insert(engine.now() + CLOSE_WAIT);
        let closed = engine.port().poll_close(context).is_ready() || engine.wake_at(context, until);
        match engine.goodbye() {
            _ if !closed => Poll::Pending,
            Some(GoodbyeReason::Finished) => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err(error)),
        }
    }
}

/// Polls a future once: for programs that are one loop.
///
/// Returns its output when it is done.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(NOBODY)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
