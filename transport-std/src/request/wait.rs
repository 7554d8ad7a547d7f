//! Several requests at once: waiting for all, any or some of them, and asking after them (MPI 4.1, chapter 3.7.5).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Request, block_in_turn, block_on, given_already};
use crate::error::Error;
use crate::sim::forbid_testing_in_a_loop;

/// Waits for all of these requests (MPI 4.1, chapter 3.7.5): the results of those that are
/// [active](Request::is_active), in their order. A future to `.await`, or [`wait`](WaitAll::wait) for it.
///
/// The requests go on side by side, and are looked at one after the other: whoever waits is woken at most once for each.
///
/// ```
/// use edgempi::{Sum, wait_all};
///
/// # let worlds = edgempi::local(2)?;
/// let requests = worlds.iter().map(|world| world.comm().allreduce([world.rank().get() + 1], Sum));
/// assert_eq!(wait_all(requests).wait()?, [[3], [3]]);
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Errors
///
/// The first failure in their order, once all have ended.
///
/// # Cancel safety
///
/// Dropping it drops the requests that have not been waited for yet. `&mut wait_all` is a future as well, for a `select!`
/// that comes round again.
pub fn wait_all<'a, T>(requests: impl IntoIterator<Item = Request<'a, T>>) -> WaitAll<'a, T> {
    let requests: Vec<_> = requests.into_iter().filter(Request::is_active).collect();
    WaitAll { values: Vec::with_capacity(requests.len()), requests, next: 0, failure: None, is_taken: false }
}

/// What [`wait_all`] returns.
#[must_use = "it waits when it is awaited or waited for"]
pub struct WaitAll<'a, T> {
    requests: Vec<Request<'a, T>>,
    /// Those before have ended.
    next: usize,
    values: Vec<T>,
    failure: Option<Error>,
    is_taken: bool,
}

impl<T> WaitAll<'_, T> {
    /// Waits on this thread, as [`Request::wait`] does.
    ///
    /// # Errors
    ///
    /// The first failure in the order of the requests, once all have ended.
    ///
    /// # Panics
    ///
    /// In a [simulation](crate::sim), whose ranks share one thread.
    #[track_caller]
    pub fn wait(self) -> Result<Vec<T>, Error> {
        block_in_turn(self)
    }

    /// Whether all have ended: then waiting takes no time.
    ///
    /// # Panics
    ///
    /// In a [simulation](crate::sim), if a program asks a million times and awaits nothing in between.
    #[track_caller]
    pub fn test(&self) -> bool {
        forbid_testing_in_a_loop();
        self.are_done()
    }

    pub(super) fn are_done(&self) -> bool {
        self.requests[self.next..].iter().all(Request::is_done)
    }

    pub(super) fn cancel_on_drop(&mut self) {
        self.requests.iter_mut().for_each(Request::cancel_on_drop);
    }

    pub(super) fn poll_all(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<T>, Error>> {
        while let Some(request) = self.requests.get_mut(self.next) {
            match Pin::new(request).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(value)) => self.values.push(value),
                Poll::Ready(Err(error)) => {
                    self.failure.get_or_insert(error);
                }
            }
            self.next += 1;
        }
        if std::mem::replace(&mut self.is_taken, true) {
            return Poll::Ready(Err(given_already()));
        }
        Poll::Ready(self.failure.take().map_or_else(|| Ok(std::mem::take(&mut self.values)), Err))
    }
}

impl<T> Unpin for WaitAll<'_, T> {}

impl<T> Future for WaitAll<'_, T> {
    type Output = Result<Vec<T>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_all(context)
    }
}

impl<T> fmt::Debug for WaitAll<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.requests).finish()
    }
}

/// Waits until one of these requests has ended (MPI 4.1, chapter 3.7.5): its place in the slice, and its result. `None` if
/// none is [active](Request::is_active). A future to `.await`, or [`wait`](WaitAny::wait) for it.
///
/// Of several that have ended it takes the first. The request has given its result then, and is not active any more; so
/// `while let` comes to an end. Requests of different types go into one list by [`map`](Request::map):
///
/// ```
/// use edgempi::{Request, Status, Sum, wait_any};
///
/// enum News {
///     Total(f32),
///     Message(Vec<u8>, Status),
/// }
///
/// # let worlds = edgempi::local(2)?;
/// # let (here, there) = (worlds[0].comm(), worlds[1].comm());
/// let mut requests = [
///     here.allreduce([1.0f32], Sum).map(|total| News::Total(total[0])),
///     here.recv(1, 7).map(|(data, status)| News::Message(data, status)),
/// ];
/// # there.send(0, 7, *b"hello").wait()?;
/// # let other = there.allreduce([2.0f32], Sum);
/// let mut news = 0;
/// while let Some((index, result)) = wait_any(&mut requests).wait() {
///     match result? {
///         News::Total(total) => assert_eq!((index, total), (0, 3.0)),
///         News::Message(data, status) => assert_eq!((data.as_slice(), status.source.get()), (&b"hello"[..], 1)),
///     }
///     news += 1;
/// }
/// assert_eq!(news, 2);
/// # other.wait()?;
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Cost
///
/// One pass over the slice before it waits and one after it is woken, which happens once. So draining n requests one by one
/// looks at n² / 2 of them, at some tens of nanoseconds each, and wakes at most n times. For many thousands prefer
/// [`wait_some`], which takes all that have ended in one pass, [`wait_all`], or a set of futures such as
/// `FuturesUnordered`: a request is a plain future.
///
/// # Cancel safety
///
/// Dropping it loses nothing: a result is taken off a request only when it is returned.
pub fn wait_any<'r, 'a, T>(requests: &'r mut [Request<'a, T>]) -> WaitAny<'r, 'a, T> {
    WaitAny { requests }
}

/// What [`wait_any`] returns.
#[must_use = "it waits when it is awaited or waited for"]
pub struct WaitAny<'r, 'a, T> {
    requests: &'r mut [Request<'a, T>],
}

impl<T> WaitAny<'_, '_, T> {
    /// Waits on this thread, as [`Request::wait`] does.
    ///
    /// # Panics
    ///
    /// In a [simulation](crate::sim), whose ranks share one thread.
    #[track_caller]
    pub fn wait(self) -> Option<(usize, Result<T, Error>)> {
        block_on(self)
    }
}

impl<T> Future for WaitAny<'_, '_, T> {
    type Output = Option<(usize, Result<T, Error>)>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut is_none_active = true;
        for (index, request) in active(self.requests) {
            is_none_active = false;
            if let Poll::Ready(result) = Pin::new(request).poll(context) {
                return Poll::Ready(Some((index, result)));
            }
        }
        if is_none_active { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl<T> fmt::Debug for WaitAny<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.requests.iter()).finish()
    }
}

/// Waits until at least one of these requests has ended (MPI 4.1, chapter 3.7.5): the places and results of all that have.
/// Empty only if none is [active](Request::is_active). A future to `.await`, or [`wait`](WaitSome::wait) for it.
///
/// No request is passed over: whatever has ended is in the next answer.
///
/// ```
/// use edgempi::wait_some;
///
/// # let worlds = edgempi::local(3)?;
/// # for sender in &worlds[1..] { sender.comm().send(0, 7, [sender.rank().get()]).wait()?; }
/// let comm = worlds[0].comm();
/// let mut requests: Vec<_> = (1..3).map(|source| comm.recv::<u32>(source, 7)).collect();
/// let mut sum = 0;
/// loop {
///     let ended = wait_some(&mut requests).wait();
///     if ended.is_empty() {
///         break;
///     }
///     for (_, result) in ended {
///         sum += result?.0[0];
///     }
/// }
/// assert_eq!(sum, 1 + 2);
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Cost
///
/// As [`wait_any`], but everything that has ended comes at once.
///
/// # Cancel safety
///
/// Dropping it loses nothing: results are taken off requests only when they are returned.
pub fn wait_some<'r, 'a, T>(requests: &'r mut [Request<'a, T>]) -> WaitSome<'r, 'a, T> {
    WaitSome { requests }
}

/// What [`wait_some`] returns.
#[must_use = "it waits when it is awaited or waited for"]
pub struct WaitSome<'r, 'a, T> {
    requests: &'r mut [Request<'a, T>],
}

impl<T> WaitSome<'_, '_, T> {
    /// Waits on this thread, as [`Request::wait`] does.
    ///
    /// # Panics
    ///
    /// In a [simulation](crate::sim), whose ranks share one thread.
    #[track_caller]
    pub fn wait(self) -> Vec<(usize, Result<T, Error>)> {
        block_on(self)
    }
}

impl<T> Future for WaitSome<'_, '_, T> {
    type Output = Vec<(usize, Result<T, Error>)>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut is_none_active = true;
        let mut ended = Vec::new();
        for (index, request) in active(self.requests) {
            is_none_active = false;
            if let Poll::Ready(result) = Pin::new(request).poll(context) {
                ended.push((index, result));
            }
        }
        if is_none_active || !ended.is_empty() { Poll::Ready(ended) } else { Poll::Pending }
    }
}

impl<T> fmt::Debug for WaitSome<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.requests.iter()).finish()
    }
}

/// The results of these requests if all have ended (MPI 4.1, chapter 3.7.5), otherwise `None`, and they stay as they are.
/// Never waits. Those that are not [active](Request::is_active) are passed over.
///
/// ```
/// use edgempi::test_all;
///
/// # let worlds = edgempi::local(2)?;
/// let mut requests = vec![worlds[0].comm().barrier()];
/// assert!(test_all(&mut requests).is_none(), "rank 1 has not come");
/// requests.push(worlds[1].comm().barrier());
/// let results = loop {
///     match test_all(&mut requests) {
///         Some(results) => break results,
///         None => std::thread::yield_now(),
///     }
/// };
/// assert_eq!(results?.len(), 2);
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Errors
///
/// The first failure in their order.
///
/// # Panics
///
/// In a [simulation](crate::sim), if a program asks a million times and awaits nothing in between.
#[track_caller]
#[must_use = "it takes the results of the requests"]
pub fn test_all<T>(requests: &mut [Request<'_, T>]) -> Option<Result<Vec<T>, Error>> {
    forbid_testing_in_a_loop();
    if !requests.iter().all(Request::is_done) {
        return None;
    }
    let mut results = Ok(Vec::with_capacity(requests.len()));
    for (_, request) in active(requests) {
        let result = request.take().unwrap_or_else(|| Err(given_already()));
        results = match (results, result) {
            (Ok(mut values), Ok(value)) => {
                values.push(value);
                Ok(values)
            }
            (Err(first), _) | (Ok(_), Err(first)) => Err(first),
        };
    }
    Some(results)
}

/// The place and result of the first of these requests that has ended (MPI 4.1, chapter 3.7.5). Never waits. `None` if
/// none has, or if none is [active](Request::is_active).
///
/// ```
/// use edgempi::test_any;
///
/// # let worlds = edgempi::local(2)?;
/// let mut requests = [worlds[0].comm().recv::<u8>(1, 1), worlds[0].comm().recv::<u8>(1, 2)];
/// assert!(test_any(&mut requests).is_none());
/// worlds[1].comm().send(0, 2, [5u8]).wait()?;
/// let (index, result) = loop {
///     match test_any(&mut requests) {
///         Some(ended) => break ended,
///         None => std::thread::yield_now(),
///     }
/// };
/// assert_eq!((index, result?.0), (1, vec![5]));
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Panics
///
/// In a [simulation](crate::sim), if a program asks a million times and awaits nothing in between.
#[track_caller]
#[must_use = "it takes the results of the requests"]
pub fn test_any<T>(requests: &mut [Request<'_, T>]) -> Option<(usize, Result<T, Error>)> {
    forbid_testing_in_a_loop();
    active(requests).find_map(|(index, request)| Some((index, request.take()?)))
}

/// The places and results of all of these requests that have ended (MPI 4.1, chapter 3.7.5). Never waits. Empty if none
/// has, or if none is [active](Request::is_active).
///
/// # Panics
///
/// In a [simulation](crate::sim), if a program asks a million times and awaits nothing in between.
#[track_caller]
#[must_use = "it takes the results of the requests"]
pub fn test_some<T>(requests: &mut [Request<'_, T>]) -> Vec<(usize, Result<T, Error>)> {
    forbid_testing_in_a_loop();
    active(requests).filter_map(|(index, request)| Some((index, request.take()?))).collect()
}

/// Those that have a result to give, and their places.
fn active<'r, 'a, T>(requests: &'r mut [Request<'a, T>]) -> impl Iterator<Item = (usize, &'r mut Request<'a, T>)> {
    requests.iter_mut().enumerate().filter(|(_, request)| request.is_active())
}
