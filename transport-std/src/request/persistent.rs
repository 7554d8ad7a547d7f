//! Persistent requests: calls that are described once and made again and again, on the same buffer.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::task::{Context, Poll};

use super::composed::Composed;
use super::{Request, State};
use crate::error::Error;

type Start<B, T> = Box<dyn FnMut(B) -> Request<'static, (B, T)> + Send>;

/// A call that is described once and made again and again (MPI 4.1, chapters 3.9 and 6.12): what the `…_init` methods of
/// [`Comm`](crate::Comm) return.
///
/// It owns its buffer, a `B`. Between two rounds the buffer is at hand, to be read and filled; [`start`](Self::start) makes
/// the call with it, and it is back when the round has been waited for, in the same memory. `T` is what a round tells
/// beside that, a [`Status`](crate::Status) for a receive.
///
/// ```
/// use edgempi::Sum;
///
/// # let worlds = edgempi::local(2)?;
/// # let other = worlds[1].comm();
/// let mut sum = worlds[0].comm().allreduce_init(vec![0.0f32; 2], Sum);
/// for round in 0..3 {
/// #   let together = other.allreduce(vec![1.0f32; 2], Sum);
///     sum.buffer_mut().expect("no round is under way").fill(round as f32);
///     sum.start()?;
///     assert!(sum.buffer().is_none(), "it is under way");
///     sum.wait()?;
///     assert_eq!(sum.buffer().expect("it is back"), &[round as f32 + 1.0; 2]);
/// #   together.wait()?;
/// }
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// With async, `(&mut sum).await` or [`request`](Self::request). Several are started by [`start_all`], and waited for
/// together through their [requests](Self::request).
///
/// Starting is what counts: collectives are started in the same order on every rank, persistent or not, and a persistent
/// one meets any other of its kind.
///
/// # Cancel safety
///
/// What waits for a round may be dropped at any time: the round goes on, and can be waited for again. Dropping the
/// persistent request itself, while a round is under way, is as if that call's [`Request`] were dropped: a receive is
/// taken back, everything else goes on alone.
#[must_use = "nothing happens before it is started"]
pub struct Persistent<B, T = ()> {
    start: Start<B, T>,
    round: Round<B, T>,
}

enum Round<B, T> {
    /// None is under way.
    Idle(B),
    Active(Request<'static, (B, T)>),
    /// The last one failed, and took the buffer with it.
    Lost,
}

impl<B: Send + 'static, T: Send + 'static> Persistent<B, T> {
    pub(crate) fn new(buffer: B, start: impl FnMut(B) -> Request<'static, (B, T)> + Send + 'static) -> Self {
        Self { start: Box::new(start), round: Round::Idle(buffer) }
    }

    /// Makes the call (MPI 4.1, chapter 3.9), with what is in the buffer now.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if a round is under way, or has ended and was not waited for; and if the last round
    /// failed and there is [no other buffer](Self::set_buffer). What the call itself meets, whoever waits for it is told.
    pub fn start(&mut self) -> Result<(), Error> {
        self.check_start()?;
        if let Round::Idle(buffer) = std::mem::replace(&mut self.round, Round::Lost) {
            self.round = Round::Active((self.start)(buffer));
        }
        Ok(())
    }

    fn check_start(&self) -> Result<(), Error> {
        match self.round {
            Round::Idle(_) => Ok(()),
            Round::Active(_) => {
                Err(Error::invalid("this persistent request has been started: wait for it before it is started again"))
            }
            Round::Lost => Err(Error::invalid(
                "the buffer of this persistent request was lost in a round that failed: give it another with set_buffer",
            )),
        }
    }

    /// Whether it has been started, and was not waited for to the end.
    pub fn is_active(&self) -> bool {
        matches!(self.round, Round::Active(_))
    }

    /// Whether waiting takes no time: the round has ended, or none was started.
    ///
    /// # Panics
    ///
    /// In a [simulation](crate::sim), if a program asks a million times and awaits nothing in between.
    #[track_caller]
    pub fn test(&self) -> bool {
        match &self.round {
            Round::Active(request) => request.test(),
            Round::Idle(_) | Round::Lost => true,
        }
    }

    /// Waits for the round on this thread (MPI 4.1, chapter 3.7.3); then the buffer is back.
    ///
    /// # Errors
    ///
    /// Whatever the call met. The buffer is lost then: [`set_buffer`](Self::set_buffer) gives another.
    /// [`Error::InvalidArgument`] if no round is under way (MPI returns an empty status there; here, nothing is empty).
    ///
    /// # Panics
    ///
    /// In a [simulation](crate::sim), whose ranks share one thread.
    #[track_caller]
    pub fn wait(&mut self) -> Result<T, Error> {
        if !self.is_active() {
            return Err(Error::invalid("this persistent request has not been started"));
        }
        self.request().wait()
    }

    /// The round under way as a [`Request`]: to await it, and to wait for several with
    /// [`wait_all`](crate::wait_all), [`wait_any`](crate::wait_any) and the like, which pass over one that is not active.
    /// Dropping it changes nothing.
    ///
    /// ```
    /// use edgempi::{Persistent, start_all, wait_all};
    ///
    /// # let worlds = edgempi::local(3)?;
    /// # let comm = worlds[0].comm();
    /// let mut receives: Vec<_> = (1..3).map(|source| comm.recv_init(source, 7, vec![0u8; 10])).collect();
    /// # for world in &worlds[1..] { world.comm().send(0, 7, vec![5u8; world.rank().index()]).wait()?; }
    /// start_all(&mut receives)?;
    /// let statuses = wait_all(receives.iter_mut().map(Persistent::request)).wait()?;
    /// assert_eq!(statuses[1].source.get(), 2);
    /// assert_eq!(receives[1].buffer().expect("it is back"), &[5, 5]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    pub fn request(&mut self) -> Request<'_, T> {
        if self.is_active() { Request::composed(Current(self)) } else { Request { state: State::Taken } }
    }

    /// The buffer; `None` while a round is under way, and after one that failed.
    pub fn buffer(&self) -> Option<&B> {
        match &self.round {
            Round::Idle(buffer) => Some(buffer),
            Round::Active(_) | Round::Lost => None,
        }
    }

    /// As [`buffer`](Self::buffer), to be changed.
    pub fn buffer_mut(&mut self) -> Option<&mut B> {
        match &mut self.round {
            Round::Idle(buffer) => Some(buffer),
            Round::Active(_) | Round::Lost => None,
        }
    }

    /// Another buffer for the rounds to come.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] while a round is under way.
    pub fn set_buffer(&mut self, buffer: B) -> Result<(), Error> {
        if self.is_active() {
            return Err(Error::invalid(
                "this persistent request has been started: wait for it, then change its buffer",
            ));
        }
        self.round = Round::Idle(buffer);
        Ok(())
    }

    /// Frees the request (MPI 4.1, chapter 3.7.3) and gives the buffer back; `None` while a round is under way, which is
    /// then [dropped](Self#cancel-safety), and after one that failed.
    pub fn into_buffer(self) -> Option<B> {
        match self.round {
            Round::Idle(buffer) => Some(buffer),
            Round::Active(_) | Round::Lost => None,
        }
    }
}

/// Starts all of these persistent requests, in their order (MPI 4.1, chapter 3.9).
///
/// # Errors
///
/// As [`Persistent::start`]; then none has been started.
pub fn start_all<B: Send + 'static, T: Send + 'static>(persistent: &mut [Persistent<B, T>]) -> Result<(), Error> {
    persistent.iter().try_for_each(Persistent::check_start)?;
    persistent.iter_mut().try_for_each(Persistent::start)
}

/// The round of a persistent request that is under way.
struct Current<'p, B, T>(&'p mut Persistent<B, T>);

impl<B, T> Composed<T> for Current<'_, B, T> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let Round::Active(request) = &mut self.0.round else { return Poll::Ready(Err(super::given_already())) };
        let Poll::Ready(result) = std::pin::Pin::new(request).poll(context) else { return Poll::Pending };
        let (round, result) = match result {
            Ok((buffer, told)) => (Round::Idle(buffer), Ok(told)),
            Err(error) => (Round::Lost, Err(error)),
        };
        self.0.round = round;
        Poll::Ready(result)
    }

    fn is_done(&self) -> bool {
        match &self.0.round {
            Round::Active(request) => request.is_done(),
            Round::Idle(_) | Round::Lost => true,
        }
    }

    /// It is not this request that would be dropped.
    fn cancel_on_drop(&mut self) {}
}

impl<'p, B: Send + 'static, T: Send + 'static> IntoFuture for &'p mut Persistent<B, T> {
    type Output = Result<T, Error>;
    type IntoFuture = Request<'p, T>;

    fn into_future(self) -> Request<'p, T> {
        self.request()
    }
}

impl<B: fmt::Debug, T> fmt::Debug for Persistent<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("Persistent");
        match &self.round {
            Round::Idle(buffer) => tuple.field(buffer),
            Round::Active(request) => tuple.field(request),
            Round::Lost => tuple.field(&format_args!("the buffer is lost")),
        };
        tuple.finish()
    }
}
