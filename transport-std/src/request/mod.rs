//! Requests: calls that have been started, and go on by themselves until somebody wants their result.

mod blocking;
mod composed;
#[cfg(all(test, loom))]
mod orders;
mod persistent;
#[cfg(all(test, not(loom)))]
mod tests;
mod wait;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use edgempi_core::{Rank, RequestId};

use crate::engine::Drive;
use crate::error::Error;
use crate::pending::{Completion, Pending};
use crate::sim::forbid_testing_in_a_loop;

use blocking::block_in_turn;
pub use blocking::block_on;
pub(crate) use blocking::block_until;
pub(crate) use persistent::BufferFrom;
pub use persistent::{Persistent, start_all};
pub use wait::{WaitAll, WaitAny, WaitSome, test_all, test_any, test_some, wait_all, wait_any, wait_some};

use composed::{Chained, Composed, Joined, Mapped};

type Finish<'a, T> = Box<dyn FnOnce(Result<Completion, Error>) -> Result<T, Error> + Send + 'a>;

/// What dropping an unfinished request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDrop {
    /// It goes on alone: it owns its buffers.
    Detach,
    /// It is cancelled: its result could go nowhere.
    Cancel,
    /// It is withdrawn, or, if that is too late, whoever made it gives its result back.
    Withdraw,
}

enum State<'a, T> {
    /// It has its result without a call: it could not be started, or need not be.
    Ready(Result<T, Error>),
    Started(Started<'a, T>),
    Composed(Box<dyn Composed<T> + Send + 'a>),
    Taken,
}

/// A call that the engine has.
struct Started<'a, T> {
    pending: Arc<Pending>,
    engine: Arc<dyn Drive>,
    id: RequestId,
    finish: Finish<'a, T>,
    on_drop: OnDrop,
}

/// A call in progress (MPI 4.1, chapter 3.7): a [`Future`] to `.await`, and [`wait`](Self::wait) for programs without
/// async. It was started when it was made, and goes on whether or not anybody waits.
///
/// It is [`Unpin`], so `&mut request` is a future, too: for a `select!` that comes round again. For several at once there
/// are [`wait_all`], [`wait_any`] and [`wait_some`], and [`test_all`], [`test_any`] and [`test_some`].
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
/// - A call that makes a communicator is cancelled, too, as long as not all have come; once they have, this rank frees what
///   comes of it.
/// - A receive is cancelled even if it owns its buffer: it is taken back, or, if a message had matched it, that message
///   is lost. [`cancel`](Self::cancel) loses none.
///
/// Borrowed memory is touched only while the request is polled or waited for, so forgetting a request is sound. The
/// communicator stays usable in all cases.
#[must_use = "a request reports its result, or its failure, to whoever waits for it"]
pub struct Request<'a, T> {
    state: State<'a, T>,
}

impl<'a, T> Request<'a, T> {
    #[track_caller]
    pub(crate) fn refused(error: Error) -> Self {
        Self::ready(Err(error.at(Location::caller())))
    }

    /// Whether it could not be started.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.state, State::Ready(Err(_)))
    }

    /// Where the result of its call arrives, if it is one call.
    pub(crate) fn pending(&self) -> Option<Arc<Pending>> {
        match &self.state {
            State::Started(started) => Some(started.pending.clone()),
            State::Ready(_) | State::Composed(_) | State::Taken => None,
        }
    }

    /// A request that has its result already.
    pub(crate) fn ready(result: Result<T, Error>) -> Self {
        Self { state: State::Ready(result) }
    }

    pub(crate) fn started(
        engine: Arc<dyn Drive>,
        pending: Arc<Pending>,
        id: RequestId,
        on_drop: OnDrop,
        finish: impl FnOnce(Completion) -> Result<T, Error> + Send + 'a,
    ) -> Self {
        let finish: Finish<'a, T> = Box::new(|result| result.and_then(finish));
        Self { state: State::Started(Started { pending, engine, id, finish, on_drop }) }
    }

    /// One request of several that have all been started. When all have ended it resolves to what `finish` makes of their
    /// results, or to the first failure in their order. Dropping it drops them all.
    pub(crate) fn join<P: Send + 'a>(
        requests: Vec<Request<'a, P>>,
        finish: impl FnOnce(Vec<P>) -> Result<T, Error> + Send + 'a,
    ) -> Self {
        Self::composed(Joined { parts: wait_all(requests), finish: Some(finish) })
    }

    /// This request, and then the one that `next` makes of its result: that begins when somebody polls, waits for or tests
    /// the new request after this one has ended.
    pub(crate) fn then<U: Send + 'a>(self, next: impl FnOnce(T) -> Request<'a, U> + Send + 'a) -> Request<'a, U>
    where
        T: Send + 'a,
    {
        Request::composed(Chained::new(self, next))
    }

    fn composed(composed: impl Composed<T> + Send + 'a) -> Self {
        Self { state: State::Composed(Box::new(composed)) }
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
        block_in_turn(self)
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
        self.is_done()
    }

    /// Whether it still has a result to give, sooner or later. One that has given it is what MPI calls a null request:
    /// functions on several requests pass it over.
    pub fn is_active(&self) -> bool {
        !matches!(self.state, State::Taken)
    }

    fn is_done(&self) -> bool {
        match &self.state {
            State::Ready(_) | State::Taken => true,
            State::Started(started) => started.pending.is_resolved(),
            State::Composed(composed) => composed.is_done(),
        }
    }

    /// The result, if it is there and has not been taken.
    fn take(&mut self) -> Option<Result<T, Error>> {
        // Only then may it be polled: otherwise whoever waits would be forgotten.
        if !self.is_active() || !self.is_done() {
            return None;
        }
        match Pin::new(self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    /// Takes back a receive, or a send that nobody has received (MPI 4.1, chapter 3.8.4). The new request resolves to
    /// `None` if that was in time: then it is as if the call had never been made, and a message stays for the next receive.
    /// It resolves to `Some`, with the call's result, if a receive and a message had met before. It is always one of the
    /// two, and nothing is lost.
    ///
    /// A standard send ends when the library has taken its message, mostly at once; then it is too late. One that waits
    /// because the hub has no room for its message can be cancelled.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let comm = worlds[0].comm();
    /// let receive = comm.recv::<u8>(1, 7);
    /// assert_eq!(receive.cancel().wait()?, None, "nobody had sent");
    ///
    /// worlds[1].comm().send(0, 7, [1u8, 2]).wait()?;
    /// let receive = comm.recv::<u8>(1, 7);
    /// match receive.cancel().wait()? {
    ///     Some((data, _)) => assert_eq!(data, [1, 2]),
    ///     None => assert_eq!(comm.recv::<u8>(1, 7).wait()?.0, [1, 2], "it is still there"),
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the call; and at once [`Error::InvalidArgument`] for a collective that has not ended, which MPI forbids to
    /// cancel, and for a call made of several: a `sendrecv`, or a round of a persistent one, which has
    /// [its own way](Persistent::cancel). That request is then dropped, as described [above](Self#cancel-safety).
    ///
    /// # Cancel safety
    ///
    /// As that of the request itself.
    #[track_caller]
    pub fn cancel(self) -> Request<'a, Option<T>>
    where
        T: 'a,
    {
        match self.withdraw() {
            Ok(own) => self.unless_taken_back(own, Some, |_, _, _| Ok(None)),
            Err(error) => Request::refused(error),
        }
    }

    /// Asks the hub to take the call back, if it can be; returns this rank, whose doing that is then.
    fn withdraw(&self) -> Result<Option<Rank>, Error> {
        match &self.state {
            State::Ready(_) | State::Taken => Ok(None),
            State::Started(started) => started.engine.withdraw_message(started.id).map(Some),
            State::Composed(_) => {
                Err(Error::invalid("a call that is made of several, as a sendrecv is, can not be cancelled"))
            }
        }
    }

    /// The request after `own` has [asked](Self::withdraw) for it to be taken back. If that was in time it resolves to
    /// what `undone` makes of the hub's word for that, of the end that it would have had, and of its buffers as they were.
    fn unless_taken_back<U: 'a>(
        mut self,
        own: Option<Rank>,
        done: impl FnOnce(T) -> U + Send + 'a,
        undone: impl FnOnce(Error, Finish<'a, T>, Completion) -> Result<U, Error> + Send + 'a,
    ) -> Request<'a, U>
    where
        T: 'a,
    {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Started(started) => {
                let pending = started.pending.clone();
                let finished = started.finished(move |result, finish| match result {
                    // Somebody else may have given up a message on its way: that is a failure.
                    Err(error @ Error::Cancelled { rank, .. }) if Some(rank) == own => {
                        undone(error, finish, pending.untouched()?)
                    }
                    result => finish(result).map(done),
                });
                Request { state: State::Started(finished) }
            }
            state => Request { state }.map(done),
        }
    }

    /// Its result goes into borrowed memory: without that, it is worth nothing.
    pub(crate) fn cancel_on_drop(&mut self) {
        match &mut self.state {
            State::Started(started) => started.on_drop = OnDrop::Cancel,
            State::Composed(composed) => composed.cancel_on_drop(),
            State::Ready(_) | State::Taken => {}
        }
    }

    /// A request for what `function` makes of this one's result. The function runs where the new request is polled or
    /// waited for, and at once if the result is known without a call.
    pub fn map<U>(self, function: impl FnOnce(T) -> U + Send + 'a) -> Request<'a, U>
    where
        T: 'a,
        U: 'a,
    {
        self.and_then(move |value| Ok(function(value)))
    }

    pub(crate) fn and_then<U>(mut self, function: impl FnOnce(T) -> Result<U, Error> + Send + 'a) -> Request<'a, U>
    where
        T: 'a,
        U: 'a,
    {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(result) => Request::ready(result.and_then(function)),
            State::Taken => Request { state: State::Taken },
            State::Started(started) => {
                Request { state: State::Started(started.finished(|result, finish| finish(result).and_then(function))) }
            }
            State::Composed(inner) => Request::composed(Mapped { inner, function: Some(Box::new(function)) }),
        }
    }
}

impl<'a, T> Started<'a, T> {
    /// The same call, with another end: `function` is given its result and the end that it had.
    fn finished<U>(
        self,
        function: impl FnOnce(Result<Completion, Error>, Finish<'a, T>) -> Result<U, Error> + Send + 'a,
    ) -> Started<'a, U>
    where
        T: 'a,
    {
        let Self { pending, engine, id, finish, on_drop } = self;
        Started { pending, engine, id, finish: Box::new(move |result| function(result, finish)), on_drop }
    }
}

/// Whoever asks a request again.
fn given_already() -> Error {
    Error::invalid("this request has given its result already")
}

impl<T> Unpin for Request<'_, T> {}

impl<T> Future for Request<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let completion = match &mut self.state {
            State::Ready(_) | State::Taken => None,
            State::Started(Started { pending, engine, id, .. }) => match pending.poll(context) {
                Poll::Pending => {
                    blocking::waits_for(engine, *id);
                    return Poll::Pending;
                }
                Poll::Ready(completion) => Some(completion),
            },
            State::Composed(composed) => {
                let Poll::Ready(result) = composed.poll(context) else { return Poll::Pending };
                self.state = State::Taken;
                return Poll::Ready(result);
            }
        };
        Poll::Ready(match (std::mem::replace(&mut self.state, State::Taken), completion) {
            (State::Ready(result), _) => result,
            (State::Started(started), Some(completion)) => (started.finish)(completion),
            _ => Err(given_already()),
        })
    }
}

impl<T> Drop for Request<'_, T> {
    fn drop(&mut self) {
        let State::Started(Started { pending, engine, id, on_drop, .. }) = &self.state else { return };
        pending.abandon();
        match on_drop {
            OnDrop::Cancel if !pending.is_resolved() => engine.cancel(*id),
            OnDrop::Withdraw if !pending.is_resolved() => engine.withdraw(*id),
            OnDrop::Detach | OnDrop::Cancel | OnDrop::Withdraw => {}
        }
    }
}

impl<T> fmt::Debug for Request<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ready(Err(error)) => format!("refused: {error}"),
            State::Taken => "taken".to_owned(),
            _ if self.is_done() => "done".to_owned(),
            State::Started(Started { id, .. }) => format!("in progress as {id:?}"),
            State::Ready(Ok(_)) | State::Composed(_) => "in progress".to_owned(),
        };
        f.debug_tuple("Request").field(&format_args!("{state}")).finish()
    }
}
