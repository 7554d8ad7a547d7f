//! Persistent requests: calls that are described once and made again and again, on the same buffer.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use edgempi_core::Rank;

use super::composed::Composed;
use super::{Finish, Request, State};
use crate::error::Error;

type Start<B, T> = Box<dyn FnMut(B, BufferFrom) -> Underway<B, T> + Send>;

/// A call that is described once and made again and again (MPI 4.1, chapters 3.9, 6.12 and 8.8): what the `…_init` methods
/// of [`Comm`](crate::Comm) return, and [`calling`](Self::calling) makes of any other call.
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
    buffer_from: BufferFrom,
}

/// Where the buffer of a round comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferFrom {
    /// The program has given it.
    Program,
    /// The round before has left it.
    Round,
}

enum Round<B, T> {
    /// None is under way.
    Idle(B),
    Active(Underway<B, T>),
    /// The last one failed, and took the buffer with it.
    Lost,
}

/// A call under way.
enum Underway<B, T> {
    /// It has the buffer, and gives it back.
    With(Request<'static, (B, Told<T>)>),
    /// It has taken what it needs of the buffer.
    Beside(B, Request<'static, Told<T>>),
}

/// What a round tells that has not failed, or that it was taken back.
type Told<T> = Result<T, Error>;

impl<B: Send + 'static, T: Send + 'static> Persistent<B, T> {
    pub(crate) fn new(buffer: B, mut start: impl FnMut(B) -> Request<'static, (B, T)> + Send + 'static) -> Self {
        Self::receiving(buffer, move |buffer, _| start(buffer))
    }

    /// One whose rounds may leave a shorter buffer: `start` is told where it comes from.
    pub(crate) fn receiving(
        buffer: B,
        mut start: impl FnMut(B, BufferFrom) -> Request<'static, (B, T)> + Send + 'static,
    ) -> Self {
        let start = move |buffer, from| Underway::With(start(buffer, from).map(|(buffer, told)| (buffer, Ok(told))));
        Self { start: Box::new(start), round: Round::Idle(buffer), buffer_from: BufferFrom::Program }
    }

    /// Any call, to be made again and again: MPI's `Gatherv_init`, `Neighbor_alltoall_init` and the like (MPI 4.1, chapters
    /// 6.12 and 8.8), and those of objects, which MPI has not. [`start`](Self::start) lends `call` the buffer, and what the
    /// request that it returns resolves to, whoever waits for the round is given. A failure takes no buffer with it.
    ///
    /// The call takes what it needs of the buffer: a copy, unless `call` moves it out. The `…_init` methods copy nothing.
    ///
    /// ```
    /// use edgempi::Persistent;
    ///
    /// # let worlds = edgempi::local(2)?;
    /// # let other = worlds[1].comm();
    /// let comm = worlds[0].comm();
    /// let mut gather = Persistent::calling(vec![0], move |data| comm.gatherv(0, &*data));
    /// for round in 0..3 {
    /// #   let together = other.gatherv(0, [7, 7]);
    ///     gather.buffer_mut().expect("no round is under way").fill(round);
    ///     gather.start()?;
    ///     assert_eq!(gather.wait()?, Some(vec![vec![round], vec![7, 7]]));
    /// #   together.wait()?;
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    pub fn calling(buffer: B, mut call: impl FnMut(&mut B) -> Request<'static, T> + Send + 'static) -> Self {
        let start = move |mut buffer, _| {
            let request = call(&mut buffer).map(Ok);
            Underway::Beside(buffer, request)
        };
        Self { start: Box::new(start), round: Round::Idle(buffer), buffer_from: BufferFrom::Program }
    }

    /// Makes the call (MPI 4.1, chapter 3.9), with what is in the buffer now.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if a round is under way, or has ended and was not waited for; and if the last round
    /// failed and there is [no other buffer](Self::set_buffer). What the call itself meets, whoever waits for it is told.
    #[track_caller]
    pub fn start(&mut self) -> Result<(), Error> {
        self.check_start().map_err(Error::here())?;
        self.start_checked();
        Ok(())
    }

    fn start_checked(&mut self) {
        if let Round::Idle(buffer) = std::mem::replace(&mut self.round, Round::Lost) {
            let from = std::mem::replace(&mut self.buffer_from, BufferFrom::Round);
            self.round = Round::Active((self.start)(buffer, from));
        }
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
            Round::Active(Underway::With(request)) => request.test(),
            Round::Active(Underway::Beside(_, request)) => request.test(),
            Round::Idle(_) | Round::Lost => true,
        }
    }

    /// Waits for the round on this thread (MPI 4.1, chapter 3.7.3); then the buffer is back.
    ///
    /// # Errors
    ///
    /// Whatever the call met. The buffer of an `…_init` call is lost then: [`set_buffer`](Self::set_buffer) gives another.
    /// [`Error::InvalidArgument`] if no round is under way (MPI returns an empty status there; here, nothing is empty), and
    /// [`Error::Cancelled`] if it was [taken back](Self::cancel) before.
    ///
    /// # Panics
    ///
    /// In a [simulation](crate::sim), whose ranks share one thread.
    #[track_caller]
    pub fn wait(&mut self) -> Result<T, Error> {
        if !self.is_active() {
            return Err(Error::here()(Error::invalid("this persistent request has not been started")));
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

    /// Takes the round under way back, if it is a receive that has no message, or a send that nobody has received (MPI 4.1,
    /// chapter 3.8.4); see [`Request::cancel`]. The new request resolves to `None` if that was in time: then it is as if
    /// the round had never been started. Otherwise it resolves to `Some`, as the round would have. In both cases the buffer
    /// is back, and the next round may be started.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let mut receive = worlds[0].comm().recv_init(1, 7, vec![0u8; 4]);
    /// receive.start()?;
    /// assert_eq!(receive.cancel().wait()?, None, "nobody had sent");
    /// worlds[1].comm().send(0, 7, [1u8, 2]).wait()?;
    /// receive.start()?;
    /// receive.wait()?;
    /// assert_eq!(receive.buffer().expect("it is back"), &[1, 2]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the round; and at once [`Error::InvalidArgument`] if none is under way, or if it is that of a collective,
    /// or of a call made of several: it goes on then, and can be waited for.
    ///
    /// # Cancel safety
    ///
    /// As for all that waits for a round. Whoever waits for one that was taken back is told [`Error::Cancelled`].
    #[track_caller]
    pub fn cancel(&mut self) -> Request<'_, Option<T>> {
        let own = match &self.round {
            Round::Active(Underway::With(request)) => request.withdraw(),
            Round::Active(Underway::Beside(_, request)) => request.withdraw(),
            Round::Idle(_) | Round::Lost => {
                Err(Error::invalid("this persistent request has not been started: there is nothing to cancel"))
            }
        };
        let own = match own {
            Ok(own) => own,
            Err(error) => return Request::refused(error),
        };
        self.round = match std::mem::replace(&mut self.round, Round::Lost) {
            Round::Active(underway) => Round::Active(underway.unless_taken_back(own)),
            round => round,
        };
        Request::composed(TakenBack(self))
    }

    /// The buffer; `None` while a round is under way, and after one that failed.
    pub fn buffer(&self) -> Option<&B> {
        match &self.round {
            Round::Idle(buffer) => Some(buffer),
            Round::Active(_) | Round::Lost => None,
        }
    }

    /// As [`buffer`](Self::buffer), to be changed. How much a receive takes stays what the last buffer that was
    /// [given](Self::set_buffer) has room for.
    pub fn buffer_mut(&mut self) -> Option<&mut B> {
        match &mut self.round {
            Round::Idle(buffer) => Some(buffer),
            Round::Active(_) | Round::Lost => None,
        }
    }

    /// Another buffer for the rounds to come. That of a receive says how much a message may bring.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] while a round is under way.
    #[track_caller]
    pub fn set_buffer(&mut self, buffer: B) -> Result<(), Error> {
        if self.is_active() {
            let text = "this persistent request has been started: wait for it, then change its buffer";
            return Err(Error::here()(Error::invalid(text)));
        }
        self.round = Round::Idle(buffer);
        self.buffer_from = BufferFrom::Program;
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
#[track_caller]
pub fn start_all<B: Send + 'static, T: Send + 'static>(persistent: &mut [Persistent<B, T>]) -> Result<(), Error> {
    persistent.iter().try_for_each(Persistent::check_start).map_err(Error::here())?;
    persistent.iter_mut().for_each(Persistent::start_checked);
    Ok(())
}

impl<B: Send + 'static, T: Send + 'static> Underway<B, T> {
    /// The round after `own` has asked for it to be taken back.
    fn unless_taken_back(self, own: Option<Rank>) -> Self {
        match self {
            Self::With(request) => {
                // The end that it would have had finds the buffer.
                let undone = |cancelled, finish: Finish<'static, (B, Told<T>)>, untouched| {
                    finish(Ok(untouched)).map(|(buffer, _)| (buffer, Err(cancelled)))
                };
                Self::With(request.unless_taken_back(own, |ended| ended, undone))
            }
            Self::Beside(buffer, request) => {
                Self::Beside(buffer, request.unless_taken_back(own, |told| told, |cancelled, _, _| Ok(Err(cancelled))))
            }
        }
    }
}

impl<B, T> Persistent<B, T> {
    /// What the round under way tells, once it has ended; then the buffer is back.
    fn poll_round(&mut self, context: &mut Context<'_>) -> Poll<Result<Told<T>, Error>> {
        let Round::Active(underway) = &mut self.round else { return Poll::Ready(Err(super::given_already())) };
        let (told, round) = match underway {
            Underway::With(request) => match Pin::new(request).poll(context) {
                Poll::Ready(Ok((buffer, told))) => (Ok(told), Round::Idle(buffer)),
                Poll::Ready(Err(error)) => (Err(error), Round::Lost),
                Poll::Pending => return Poll::Pending,
            },
            Underway::Beside(_, request) => {
                let Poll::Ready(told) = Pin::new(request).poll(context) else { return Poll::Pending };
                match std::mem::replace(&mut self.round, Round::Lost) {
                    Round::Active(Underway::Beside(buffer, _)) => (told, Round::Idle(buffer)),
                    round => (told, round),
                }
            }
        };
        self.round = round;
        Poll::Ready(told)
    }

    fn round_is_done(&self) -> bool {
        match &self.round {
            Round::Active(Underway::With(request)) => request.is_done(),
            Round::Active(Underway::Beside(_, request)) => request.is_done(),
            Round::Idle(_) | Round::Lost => true,
        }
    }
}

/// The round of a persistent request that is under way.
struct Current<'p, B, T>(&'p mut Persistent<B, T>);

impl<B, T> Composed<T> for Current<'_, B, T> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        self.0.poll_round(context).map(Result::flatten)
    }

    fn is_done(&self) -> bool {
        self.0.round_is_done()
    }

    /// It is not this request that would be dropped.
    fn cancel_on_drop(&mut self) {}
}

/// The same, which may have been taken back.
struct TakenBack<'p, B, T>(&'p mut Persistent<B, T>);

impl<B, T> Composed<Option<T>> for TakenBack<'_, B, T> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<T>, Error>> {
        self.0.poll_round(context).map_ok(Result::ok)
    }

    fn is_done(&self) -> bool {
        self.0.round_is_done()
    }

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
            Round::Active(Underway::With(request)) => tuple.field(request),
            Round::Active(Underway::Beside(buffer, request)) => tuple.field(buffer).field(request),
            Round::Lost => tuple.field(&format_args!("the buffer is lost")),
        };
        tuple.finish()
    }
}
