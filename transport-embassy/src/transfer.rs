//! Calls in progress.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use edgempi_core::{RequestId, Status};

use crate::clock::NOBODY;
use crate::engine::Drive;
use crate::error::Error;
use crate::hand::{Hand, Sink};

#[derive(Clone, Copy, Debug)]
enum State {
    Refused(Error),
    Started(RequestId),
    Taken,
}

/// A call in progress (MPI 4.1, chapter 3.7): a future to `.await`, and a token that a loop can [`test`](Self::test)
/// without ever blocking. It was started when it was made.
///
/// It borrows the call's buffers, and touches them only while it is polled or tested. Whoever polls any call drives the
/// link for all of them, so nothing moves while nobody polls.
///
/// # Cancel safety
///
/// Dropping an unfinished transfer gives the call up: a collective fails on every participant with `Cancelled`, a receive
/// is taken back, and a message that had matched it is lost. The link stays in step and the communicator usable.
/// Forgetting one is sound, and loses its slot.
#[must_use = "a transfer moves only while it is polled, and reports its result to whoever does"]
pub struct Transfer<'a> {
    drive: &'a dyn Drive,
    state: State,
    hand: Hand<'a>,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(drive: &'a dyn Drive, started: Result<RequestId, Error>, hand: Hand<'a>) -> Self {
        let state = match started {
            Ok(request) => State::Started(request),
            Err(error) => State::Refused(error),
        };
        Self { drive, state, hand }
    }

    /// Moves what can be moved, and says how the call has ended, once (MPI's `Test`). Never blocks.
    ///
    /// A loop that waits in another way, in `WFI` say, has to know of the port's interrupts: nobody wakes it.
    pub fn test(&mut self) -> Option<Result<Status, Error>> {
        match Pin::new(self).poll(&mut Context::from_waker(NOBODY)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    /// The first `len` bytes of the buffer that the result went to.
    pub(crate) fn received(&self, len: usize) -> &[u8] {
        match &self.hand.sink {
            Sink::Bytes(bytes) => bytes.get(..len).unwrap_or_default(),
            Sink::Nothing | Sink::Function(_) => &[],
        }
    }
}

impl Future for Transfer<'_> {
    type Output = Result<Status, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let result = match this.state {
            State::Started(request) => match this.drive.poll(context, request, &mut this.hand) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => result,
            },
            State::Refused(error) => Err(error),
            // Nothing is left to report.
            State::Taken => return Poll::Pending,
        };
        this.state = State::Taken;
        Poll::Ready(result)
    }
}

impl fmt::Debug for Transfer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transfer").field(&self.state).finish()
    }
}

impl Drop for Transfer<'_> {
    #[inline(never)] // there is one for each call
    fn drop(&mut self) {
        if let State::Started(request) = self.state {
            self.drive.cancel(request, Some(&mut self.hand));
        }
    }
}

/// A pause in arithmetic that lets the link, and other tasks, move on.
#[must_use = "nothing moves unless it is awaited"]
pub struct Progress<'a> {
    pub(crate) drive: &'a dyn Drive,
    pub(crate) yielded: bool,
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

impl Future for Progress<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.drive.progress(context);
        if core::mem::replace(&mut this.yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
