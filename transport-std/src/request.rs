//! Requests: calls that have been started, and go on by themselves until somebody wants their result.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use edgempi_core::RequestId;

use crate::engine::Drive;
use crate::error::Error;
use crate::pending::{Completion, Pending};
use crate::sim::{forbid_blocking, forbid_testing_in_a_loop};
use crate::sync::{self, AtomicBool, Ordering, Thread};

type Finish<'a, T> = Box<dyn FnOnce(Completion) -> Result<T, Error> + Send + 'a>;

/// What dropping an unfinished request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDrop {
    /// It goes on alone: it owns its buffers.
    Detach,
    /// It is cancelled: its result could go nowhere.
    Cancel,
}

enum State<'a, T> {
    /// It could not be started.
    Refused(Error),
    Started {
        pending: Arc<Pending>,
        engine: Arc<dyn Drive>,
        id: RequestId,
        finish: Finish<'a, T>,
        on_drop: OnDrop,
    },
    Taken,
}

/// A call in progress (MPI 4.1, chapter 3.7): a [`Future`] to `.await`, and [`wait`](Self::wait) for programs without
/// async. It was started when it was made, and goes on whether or not anybody waits.
///
/// It is [`Unpin`], so `&mut request` is a future, too: for a `select!` that comes round again.
///
/// ```
/// use edgempi::Sum;
///
/// # let worlds = edgempi::local(2)?;
/// let requests = [1.5f64, 2.5].map(|value| {
///     let comm = worlds[usize::from(value > 2.0)].comm();
///     comm.allreduce([value], Sum).map(|total| total[0])
/// });
/// for request in requests {
///     assert_eq!(request.wait()?, 4.0);
/// }
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Cancel safety
///
/// - A request that owns its buffers goes on alone when it is dropped; its result, or its failure, is lost.
/// - One that borrows a buffer is cancelled: a collective then fails on every participant with [`Error::Cancelled`].
/// - A receive is cancelled even if it owns its buffer: it is taken back, or, if a message had matched it, that message
///   is lost.
///
/// Borrowed memory is touched only while the request is polled or waited for, so forgetting a request is sound. The
/// communicator stays usable in all cases.
#[must_use = "a request reports its result, or its failure, to whoever waits for it"]
pub struct Request<'a, T> {
    state: State<'a, T>,
}

impl<'a, T> Request<'a, T> {
    pub(crate) fn refused(error: Error) -> Self {
        Self { state: State::Refused(error) }
    }

    pub(crate) fn started(
        engine: Arc<dyn Drive>,
        pending: Arc<Pending>,
        id: RequestId,
        on_drop: OnDrop,
        finish: impl FnOnce(Completion) -> Result<T, Error> + Send + 'a,
    ) -> Self {
        Self { state: State::Started { pending, engine, id, finish: Box::new(finish), on_drop } }
    }

    /// Waits for the result, on this thread (MPI 4.1, chapter 3.7.3).
    ///
    /// In an async program `.await` the request instead: this blocks the thread (but never the library, whose progress
    /// does not depend on it). There is no deadline: a receive that nobody sends to waits for ever.
    ///
    /// # Errors
    ///
    /// Whatever the call met; see [`Comm`](crate::Comm).
    ///
    /// # Panics
    ///
    /// In a [simulation](crate::sim), whose ranks share one thread.
    #[track_caller]
    pub fn wait(self) -> Result<T, Error> {
        block_on(self)
    }

    /// Whether the result, or a failure, is there; then waiting for it takes no time (MPI 4.1, chapter 3.7.3). The
    /// request goes on by itself: it need not be asked.
    ///
    /// # Panics
    ///
    /// In a [simulation](crate::sim), if a program asks a million times and awaits nothing in between.
    #[track_caller]
    pub fn test(&self) -> bool {
        forbid_testing_in_a_loop();
        match &self.state {
            State::Refused(_) => true,
            State::Started { pending, .. } => pending.is_resolved(),
            State::Taken => true,
        }
    }

    /// Its result goes into borrowed memory: without that, it is worth nothing.
    pub(crate) fn cancel_on_drop(&mut self) {
        if let State::Started { on_drop, .. } = &mut self.state {
            *on_drop = OnDrop::Cancel;
        }
    }

    /// A request for what `function` makes of this one's result. The function runs where the new request is polled or
    /// waited for.
    pub fn map<U>(self, function: impl FnOnce(T) -> U + Send + 'a) -> Request<'a, U>
    where
        T: 'a,
    {
        self.and_then(move |value| Ok(function(value)))
    }

    pub(crate) fn and_then<U>(mut self, function: impl FnOnce(T) -> Result<U, Error> + Send + 'a) -> Request<'a, U>
    where
        T: 'a,
    {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Refused(error) => Request::refused(error),
            State::Taken => Request { state: State::Taken },
            State::Started { pending, engine, id, finish, on_drop } => {
                Request::started(engine, pending, id, on_drop, move |completion| finish(completion).and_then(function))
            }
        }
    }
}

impl<T> Unpin for Request<'_, T> {}

impl<T> Future for Request<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &self.state {
            State::Refused(_) | State::Taken => None,
            State::Started { pending, engine, .. } => match pending.poll(context) {
                Poll::Pending => {
                    WAITS_FOR.with_borrow_mut(|waits| {
                        if let Some(waits) = waits {
                            *waits = Some(engine.clone());
                        }
                    });
                    return Poll::Pending;
                }
                Poll::Ready(result) => Some(result),
            },
        };
        Poll::Ready(match (std::mem::replace(&mut self.state, State::Taken), result) {
            (State::Refused(error), _) => Err(error),
            (State::Started { finish, .. }, Some(result)) => result.and_then(finish),
            _ => Err(Error::invalid("this request has given its result already")),
        })
    }
}

impl<T> Drop for Request<'_, T> {
    fn drop(&mut self) {
        let State::Started { pending, engine, id, on_drop, .. } = &self.state else { return };
        pending.abandon();
        if *on_drop == OnDrop::Cancel && !pending.is_resolved() {
            engine.cancel(*id);
        }
    }
}

impl<T> fmt::Debug for Request<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused(error) => format!("refused: {error}"),
            State::Started { pending, .. } if pending.is_resolved() => "done".to_owned(),
            State::Started { id, .. } => format!("in progress as {id:?}"),
            State::Taken => "taken".to_owned(),
        };
        f.debug_tuple("Request").field(&format_args!("{state}")).finish()
    }
}

thread_local! {
    /// While this thread polls a future that it blocks for: the engine that the future waits for, if it has said so.
    static WAITS_FOR: RefCell<Option<Option<Arc<dyn Drive>>>> = const { RefCell::new(None) };
}

/// Polls a future, and finds out what engine it waits for.
fn poll_blocking<F: Future>(
    future: Pin<&mut F>,
    context: &mut Context<'_>,
) -> Result<F::Output, Option<Arc<dyn Drive>>> {
    // Whoever blocks within a future has its own, and leaves this one as it was; a panic leaves none.
    let outer = WAITS_FOR.replace(Some(None));
    let polled = future.poll(context);
    let engine = WAITS_FOR.replace(outer).flatten();
    match polled {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(engine),
    }
}

struct ThreadWaker {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Drives a future to its end on this thread: for programs without an async runtime.
///
/// Only futures that need no runtime of their own, such as those of this crate, get anywhere in it.
///
/// # Panics
///
/// If the future has to be waited for inside of a [simulation](crate::sim), whose ranks share one thread.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        // Without a deadline there always is an output.
        if let Some(output) = block_until(future.as_mut(), None) {
            return output;
        }
    }
}

/// Drives a future on this thread until its end, or until `deadline`.
#[track_caller]
pub(crate) fn block_until<F: Future>(mut future: Pin<&mut F>, deadline: Option<Instant>) -> Option<F::Output> {
    let thread_waker = Arc::new(ThreadWaker { thread: sync::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(thread_waker.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        thread_waker.woken.store(false, Ordering::Release);
        let engine = match poll_blocking(future.as_mut(), &mut context) {
            Ok(output) => return Some(output),
            Err(engine) => engine,
        };
        forbid_blocking();
        let is_woken = || thread_waker.woken.load(Ordering::Acquire);
        if let Some(engine) = engine {
            engine.spin(&|| is_woken() || deadline.is_some_and(|deadline| Instant::now() >= deadline));
        }
        while !is_woken() {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => sync::park(),
                Some(left) if left.is_zero() => return None,
                Some(left) => sync::park_timeout(left),
            }
        }
    }
}

#[cfg(all(test, loom))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use edgempi_core::Status;
    use edgempi_core::request::CommunicatorId;
    use loom::thread;

    use super::*;
    use crate::buffers::{Buffers, Inbound, Outbound};
    use crate::engine::Asked;

    /// An engine that only counts what is given up.
    #[derive(Default)]
    struct Idle {
        cancelled: AtomicUsize,
    }

    impl Drive for Idle {
        fn submit(&self, _: Asked) -> Result<RequestId, Error> {
            Err(Error::Finalized)
        }

        fn cancel(&self, _: RequestId) {
            self.cancelled.fetch_add(1, Ordering::SeqCst);
        }

        fn spin(&self, _: &dyn Fn() -> bool) {}
    }

    fn started(on_drop: OnDrop) -> (Request<'static, ()>, Arc<Pending>, Arc<Idle>) {
        let world = CommunicatorId { id: 0, rank: edgempi_core::Rank::new(0), size: 1 };
        let pending = Pending::new(Buffers::new(Outbound::Nothing, Inbound::Nothing, world, 0));
        let engine = Arc::new(Idle::default());
        let request = Request::started(engine.clone(), pending.clone(), RequestId::NONE, on_drop, |_| Ok(()));
        (request, pending, engine)
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn loom_who_waits_hears_of_the_end() {
        loom::model(|| {
            let (request, pending, _) = started(OnDrop::Detach);
            let engine = thread::spawn(move || pending.resolve(Ok(Status::default())));
            assert_eq!(request.wait(), Ok(()));
            engine.join().expect("nobody panics");
        });
    }

    #[test]
    fn loom_a_request_ends_once_whoever_ends_it() {
        loom::model(|| {
            let (request, pending, _) = started(OnDrop::Detach);
            let ends = [Ok(Status::default()), Err(Error::Finalized)].map(|end| {
                let pending = pending.clone();
                thread::spawn(move || pending.resolve(end))
            });
            let end = request.wait();
            assert!(matches!(end, Ok(()) | Err(Error::Finalized)));
            for thread in ends {
                thread.join().expect("nobody panics");
            }
        });
    }

    #[test]
    fn loom_who_asked_last_is_woken_and_nobody_twice() {
        loom::model(|| {
            let (mut request, pending, _) = started(OnDrop::Detach);
            let engine = thread::spawn(move || pending.resolve(Ok(Status::default())));
            let (first, last) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
            let mut is_ready = false;
            for waker in [&first, &last] {
                if !is_ready {
                    let waker = Waker::from(waker.clone());
                    is_ready = Pin::new(&mut request).poll(&mut Context::from_waker(&waker)).is_ready();
                }
            }
            engine.join().expect("nobody panics");
            let (first, last) = (first.0.load(Ordering::SeqCst), last.0.load(Ordering::SeqCst));
            assert!(first + last <= 1);
            assert!(is_ready || last == 1, "it has ended, and whoever asked last does not know");
            assert!(is_ready || request.test());
        });
    }

    #[test]
    fn loom_a_request_moves_to_another_thread_that_waits() {
        loom::model(|| {
            let (mut request, pending, _) = started(OnDrop::Detach);
            let engine = thread::spawn(move || pending.resolve(Ok(Status::default())));
            let polled = Pin::new(&mut request).poll(&mut Context::from_waker(Waker::noop()));
            if polled.is_pending() {
                let waiting = thread::spawn(move || request.wait());
                assert_eq!(waiting.join().expect("nobody panics"), Ok(()));
            }
            engine.join().expect("nobody panics");
        });
    }

    #[test]
    fn loom_a_request_that_is_dropped_has_ended_or_is_given_up() {
        loom::model(|| {
            let (mut request, pending, counting) = started(OnDrop::Cancel);
            let resolving = pending.clone();
            let engine = thread::spawn(move || resolving.resolve(Ok(Status::default())));
            let waker = Arc::new(Counting::default());
            let polled = {
                let waker = Waker::from(waker.clone());
                Pin::new(&mut request).poll(&mut Context::from_waker(&waker))
            };
            drop(request);
            let before = waker.0.load(Ordering::SeqCst);
            engine.join().expect("nobody panics");
            let cancelled = counting.cancelled.load(Ordering::SeqCst);
            assert!(cancelled == 0 || polled.is_pending());
            assert!(cancelled <= 1);
            assert!(before <= 1 && waker.0.load(Ordering::SeqCst) <= 1);
            // Nobody keeps the waker of somebody who has gone.
            assert_eq!(Arc::strong_count(&waker), 1);
        });
    }
}
