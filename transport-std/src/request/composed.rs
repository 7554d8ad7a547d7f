//! Requests that are made of others: what a function makes of one's result, and several that end together.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

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

/// A request, and one that is made of its result: made when somebody looks at this one after the first has ended.
pub(super) struct Chained<'a, A, B, F> {
    stage: Mutex<Stage<'a, A, B, F>>,
}

enum Stage<'a, A, B, F> {
    First(Request<'a, A>, F),
    Second(Request<'a, B>),
    /// In between.
    Taken,
}

impl<'a, A, B, F: FnOnce(A) -> Request<'a, B>> Chained<'a, A, B, F> {
    pub(super) fn new(first: Request<'a, A>, next: F) -> Self {
        Self { stage: Mutex::new(Stage::First(first, next)) }
    }
}

impl<'a, A, B, F: FnOnce(A) -> Request<'a, B>> Stage<'a, A, B, F> {
    /// Makes the second request, if the first has ended.
    fn advance(&mut self, context: &mut Context<'_>) {
        if let Self::First(first, _) = self
            && let Poll::Ready(result) = Pin::new(first).poll(context)
            && let Self::First(_, next) = std::mem::replace(self, Self::Taken)
        {
            *self = Self::Second(result.map_or_else(|error| Request::ready(Err(error)), next));
        }
    }
}

impl<'a, A, B, F: FnOnce(A) -> Request<'a, B>> Composed<B> for Chained<'a, A, B, F> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<B, Error>> {
        let stage = self.stage.get_mut().unwrap_or_else(PoisonError::into_inner);
        stage.advance(context);
        match stage {
            Stage::First(..) => Poll::Pending,
            Stage::Second(second) => Pin::new(second).poll(context),
            Stage::Taken => Poll::Ready(Err(super::given_already())),
        }
    }

    fn is_done(&self) -> bool {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else's waker is to be lost by looking.
        if matches!(&*stage, Stage::First(first, _) if first.is_done()) {
            stage.advance(&mut Context::from_waker(Waker::noop()));
        }
        matches!(&*stage, Stage::Second(second) if second.is_done())
    }

    fn cancel_on_drop(&mut self) {
        match self.stage.get_mut().unwrap_or_else(PoisonError::into_inner) {
            Stage::First(first, _) => first.cancel_on_drop(),
            Stage::Second(second) => second.cancel_on_drop(),
            Stage::Taken => {}
        }
    }
}
