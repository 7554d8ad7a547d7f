//! Requests that are made of others: what a function makes of one's result, and several that end together.

use std::task::{Context, Poll};

use super::WaitAll;
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
