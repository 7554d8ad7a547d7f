//! A request as the engine sees it: buffers, an outcome, and somebody who may wait for that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use edgempi_core::Status;

use crate::buffers::Buffers;
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard};

/// Wakers are somebody else's code, and are called by whoever moves the frames: one that panics harms nobody else.
pub(crate) fn wake(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        tracing::error!("the waker of a task panicked: it may never be polled again");
    }
}

/// What a request has come to: its result, and the buffers that it used.
pub(crate) struct Completion {
    pub(crate) status: Status,
    pub(crate) buffers: Buffers,
}

/// A request as the engine sees it.
pub(crate) struct Pending {
    inner: Mutex<Inner>,
}

pub(crate) struct Inner {
    /// Taken when the request is done and its result has been asked for.
    pub(crate) buffers: Option<Buffers>,
    outcome: Option<Result<Status, Error>>,
    waker: Option<Waker>,
}

impl Pending {
    pub(crate) fn new(buffers: Buffers) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Inner { buffers: Some(buffers), outcome: None, waker: None }) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request is done; a second time changes nothing.
    pub(crate) fn resolve(&self, outcome: Result<Status, Error>) {
        let mut inner = self.lock();
        if inner.outcome.is_none() {
            inner.outcome = Some(outcome);
            if let Some(waker) = inner.waker.take() {
                drop(inner);
                wake(waker);
            }
        }
    }

    /// Whoever waited does not any more.
    pub(crate) fn abandon(&self) {
        let waker = self.lock().waker.take();
        // Unlocked: it may be the last of a task.
        drop(waker);
    }

    pub(crate) fn is_resolved(&self) -> bool {
        self.lock().outcome.is_some()
    }

    /// The result, once; until it is there, whoever asked last is woken when it comes.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Completion, Error>> {
        let mut inner = self.lock();
        match inner.outcome.take() {
            None => {
                match &mut inner.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    waker => *waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
            Some(Ok(status)) => {
                let buffers = inner.buffers.take().ok_or_else(|| Error::defect());
                Poll::Ready(buffers.map(|buffers| Completion { status, buffers }))
            }
            // A frame may still be leaving from the buffers.
            Some(Err(error)) => {
                // A failure stays: whoever still asks waits for nothing.
                inner.outcome = Some(Err(error.clone()));
                Poll::Ready(Err(error))
            }
        }
    }

    /// The buffers, as they were, of a request that was taken back before anything met it: no frame leaves from them.
    pub(crate) fn untouched(&self) -> Result<Completion, Error> {
        let mut buffers = self.lock().buffers.take().ok_or_else(|| Error::defect())?;
        buffers.keep();
        Ok(Completion { status: Status::default(), buffers })
    }
}
