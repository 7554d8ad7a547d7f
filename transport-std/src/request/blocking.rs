//! Waiting on a thread: for programs without an async runtime.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use edgempi_core::RequestId;

use crate::config::Threads;
use crate::engine::{Drive, is_only_caller};
use crate::sim::forbid_blocking;
use crate::sync::{self, AtomicBool, Ordering, Thread};

/// A call that a future waits for, and the engine that has it.
type Awaited = (Arc<dyn Drive>, RequestId);

/// How long a thread waits before it looks whether it is the only one of its process, for the first time; then twice as
/// long, and so on.
const FIRST_LOOK: Duration = Duration::from_millis(50);

thread_local! {
    /// While this thread polls a future that it blocks for: the call that the future waits for, if it has said so.
    static WAITS_FOR: RefCell<Option<Option<Awaited>>> = const { RefCell::new(None) };
}

/// A future that this thread polls has to wait for this call. Of several the first one's engine is what the thread moves;
/// the others have threads of their own.
pub(super) fn waits_for(engine: &Arc<dyn Drive>, request: RequestId) {
    WAITS_FOR.with_borrow_mut(|waits| {
        if let Some(waits @ None) = waits {
            *waits = Some((engine.clone(), request));
        }
    });
}

/// Polls a future, and finds out what call it waits for.
fn poll_blocking<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Result<F::Output, Option<Awaited>> {
    // Whoever blocks within a future has its own, and leaves this one as it was; a panic leaves none.
    let outer = WAITS_FOR.replace(Some(None));
    let polled = future.poll(context);
    let awaited = WAITS_FOR.replace(outer).flatten();
    match polled {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(awaited),
    }
}

/// What a blocking wait takes to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// The call that it has said it waits for: as long as that has no answer, this thread does nothing.
    ThatCall,
    /// That call, or something else.
    Any,
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
    block_without_end(future, Needs::Any)
}

/// The same, for a future that looks at its calls one after the other, and goes on only when each has ended: a hub that
/// looks for deadlocks is told of each that this thread sleeps for.
#[track_caller]
pub(super) fn block_in_turn<F: Future>(future: F) -> F::Output {
    block_without_end(future, Needs::ThatCall)
}

#[track_caller]
fn block_without_end<F: Future>(future: F, needs: Needs) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        // Without a deadline there always is an output.
        if let Some(output) = block(future.as_mut(), None, needs) {
            return output;
        }
    }
}

/// Drives a future on this thread until its end, or until `deadline`.
#[track_caller]
pub(crate) fn block_until<F: Future>(future: Pin<&mut F>, deadline: Option<Instant>) -> Option<F::Output> {
    block(future, deadline, Needs::Any)
}

#[track_caller]
fn block<F: Future>(mut future: Pin<&mut F>, deadline: Option<Instant>, needs: Needs) -> Option<F::Output> {
    let mut told = None;
    let thread_waker = Arc::new(ThreadWaker { thread: sync::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(thread_waker.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        thread_waker.woken.store(false, Ordering::Release);
        let awaited = match poll_blocking(future.as_mut(), &mut context) {
            Ok(output) => return Some(output),
            Err(awaited) => awaited,
        };
        forbid_blocking();
        let is_woken = || thread_waker.woken.load(Ordering::Acquire);
        let mut stillness = None;
        if let Some((engine, request)) = awaited {
            engine.spin(&|| is_woken() || deadline.is_some_and(|deadline| Instant::now() >= deadline));
            if needs == Needs::ThatCall && told != Some(request) && !is_woken() {
                stillness = Stillness::of(engine, request);
            }
        }
        while !is_woken() {
            if stillness.as_mut().is_some_and(Stillness::tell) {
                told = stillness.take().map(|stillness| stillness.request);
            }
            let look = stillness.as_ref().map(|stillness| stillness.look);
            let now = Instant::now();
            match [deadline, look].into_iter().flatten().min().map(|next| next.saturating_duration_since(now)) {
                None => sync::park(),
                Some(_) if deadline.is_some_and(|deadline| deadline <= now) => return None,
                Some(left) => sync::park_timeout(left),
            }
        }
    }
}

/// A thread that does nothing before a call is answered: a hub that looks for deadlocks hears of it if no other thread
/// can make calls meanwhile.
struct Stillness {
    engine: Arc<dyn Drive>,
    request: RequestId,
    threads: Threads,
    /// When to look for other threads.
    look: Instant,
    pause: Duration,
}

impl Stillness {
    fn of(engine: Arc<dyn Drive>, request: RequestId) -> Option<Self> {
        let threads = engine.threads();
        let pause = if threads == Threads::Single { Duration::ZERO } else { FIRST_LOOK };
        let still = Self { engine, request, threads, look: Instant::now() + pause, pause };
        (threads != Threads::Multiple).then_some(still)
    }

    /// Returns whether the hub has been told.
    fn tell(&mut self) -> bool {
        let now = Instant::now();
        if now < self.look {
            return false;
        }
        let tells = self.threads == Threads::Single || is_only_caller();
        if tells {
            self.engine.blocked(self.request);
        } else {
            self.pause *= 2;
            self.look = now + self.pause;
        }
        tells
    }
}
