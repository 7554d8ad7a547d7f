//! Requests that are made of others: what a function makes of one's result, and several that end together.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Request, WaitAll};
use crate::error::Error;

/// What a request waits for that is no single call.
pub(super) trait Composed<T> {
    /// The result, once; not asked again after that.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, Error>>;

    /// Whether the result, or a failure, is there.
    fn is_done(&self) -> bool;

    /// As [`Request::cancel_on_drop`](super::Request::cancel_on_drop).
    fn cancel_on_drop(&mut self);
}

type Function<'a, T, U> = Box<dyn FnOnce(T) -> Result<U, Error> + Send + 'a>;

/// What a function makes of a result.
pub(super) struct Mapped<'a, T, U> {
    pub(super) inner: Box<dyn Composed<T> + Send + 'a>,
    /// Taken when it is called.
    pub(super) function: Option<Function<'a, T, U>>,
}

impl<T, U> Composed<U> for Mapped<'_, T, U> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<U, Error>> {
        let Poll::Ready(result) = self.inner.poll(context) else { return Poll::Pending };
        let function = self.function.take().ok_or_else(super::given_already);
        Poll::Ready(result.and_then(|value| function?(value)))
    }

    fn is_done(&self) -> bool {
        self.inner.is_done()
    }

    fn cancel_on_drop(&mut self) {
        self.inner.cancel_on_drop();
    }
}

/// Requests that have all been started, as one.
pub(super) struct Joined<'a, T, F> {
    pub(super) parts: WaitAll<'a, T>,
    /// Taken when it is called.
    pub(super) finish: Option<F>,
}

impl<T, U, F: FnOnce(Vec<T>) -> Result<U, Error>> Composed<U> for Joined<'_, T, F> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<U, Error>> {
        let Poll::Ready(result) = self.parts.poll_all(context) else { return Poll::Pending };
        let finish = self.finish.take().ok_or_else(super::given_already);
        Poll::Ready(result.and_then(|values| finish?(values)))
    }

    fn is_done(&self) -> bool {
        self.parts.are_done()
    }

    fn cancel_on_drop(&mut self) {
        self.parts.cancel_on_drop();
    }
}

/// Two requests that have been started, the second of which is of no use without the first.
pub(super) struct Paired<'a, A, B, F> {
    pub(super) first: Request<'a, A>,
    pub(super) value: Option<A>,
    /// Dropped when the first has failed.
    pub(super) second: Option<Request<'a, B>>,
    /// Taken when it is called.
    pub(super) finish: Option<F>,
}

impl<A, B, U, F: FnOnce(A, B) -> Result<U, Error>> Composed<U> for Paired<'_, A, B, F> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<U, Error>> {
        if self.value.is_none() {
            match Pin::new(&mut self.first).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(value)) => self.value = Some(value),
                Poll::Ready(Err(error)) => {
                    self.second = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
        let Some(second) = &mut self.second else { return Poll::Ready(Err(super::given_already())) };
        let Poll::Ready(second) = Pin::new(second).poll(context) else { return Poll::Pending };
        match (self.value.take(), self.finish.take()) {
            (Some(first), Some(finish)) => Poll::Ready(second.and_then(|second| finish(first, second))),
            _ => Poll::Ready(Err(super::given_already())),
        }
    }

    fn is_done(&self) -> bool {
        let is_second_done = self.second.as_ref().is_none_or(Request::is_done);
        self.first.has_failed() || ((self.value.is_some() || self.first.is_done()) && is_second_done)
    }

    fn cancel_on_drop(&mut self) {
        self.first.cancel_on_drop();
        if let Some(second) = &mut self.second {
            second.cancel_on_drop();
        }
    }
}
