//! Sends of every mode but the standard one.

use edgempi_core::{Call, Element, Rank, Tag};
use serde::Serialize;

use super::objects::encode;
use super::peers::IntoDest;
use super::{Comm, IntoBuffer, Objects, Started};
#[cfg(doc)]
use crate::error::Error;
use crate::request::{OnDrop, Request};

/// When a send is done.
#[derive(Clone, Copy)]
enum Mode {
    Synchronous,
    Buffered,
    Ready,
}

/// Sends of other modes than the standard one (MPI 4.1, chapter 3.4), of buffers.
impl Comm {
    /// Sends `data` to `dest`, and is done when a receive has taken it: synchronous mode (MPI 4.1, chapter 3.4).
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let send = worlds[0].comm().ssend(1, 7, [1u8, 2]);
    /// assert!(!send.test(), "nobody receives yet");
    /// let receive = worlds[1].comm().recv::<u8>(0, 7);
    /// send.wait()?;
    /// assert_eq!(receive.wait()?.0, [1, 2]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A request that is dropped sends all the same; [`Request::cancel`] takes back what nobody has received.
    #[track_caller]
    pub fn ssend<T: Element>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, ()> {
        self.send_buffer(Mode::Synchronous, dest.into_dest(), tag.into(), data.into_buffer())
    }

    /// Sends `data` to `dest`, and is done at once: buffered mode (MPI 4.1, chapter 3.4). The library keeps the data until
    /// somebody receives them, however large they are; there is no buffer to attach. If the send fails later, because
    /// `dest` has failed, say, nobody hears of it.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// assert!(worlds[0].comm().bsend(1, 7, vec![0u8; 10_000_000]).test(), "more than the hub queues");
    /// assert_eq!(worlds[1].comm().recv::<u8>(0, 7).wait()?.0.len(), 10_000_000);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn bsend<T: Element>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, ()> {
        self.send_buffer(Mode::Buffered, dest.into_dest(), tag.into(), data.into_buffer())
    }

    /// Sends `data` to `dest`, whose receive has to be waiting at the hub already: ready mode (MPI 4.1, chapter 3.4). Done
    /// when the receive has taken it. A probe is no receive, a matched one neither.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::NotReady`] if no receive waits for it; then nothing was sent.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// # use edgempi::Error;
    /// assert!(matches!(worlds[0].comm().rsend(1, 7, [1u8]).wait(), Err(Error::NotReady { .. })));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn rsend<T: Element>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, ()> {
        self.send_buffer(Mode::Ready, dest.into_dest(), tag.into(), data.into_buffer())
    }

    #[track_caller]
    fn send_buffer<T: Element>(&self, mode: Mode, dest: Option<Rank>, tag: Tag, data: Vec<T>) -> Request<'static, ()> {
        self.send_in(mode, dest, tag, |call| Started::sending(call, data))
    }

    #[track_caller]
    fn send_in(
        &self,
        mode: Mode,
        dest: Option<Rank>,
        tag: Tag,
        started: impl FnOnce(Call<'static>) -> Started,
    ) -> Request<'static, ()> {
        let Some(dest) = dest else { return Request::ready(Ok(())) };
        let call = match mode {
            Mode::Synchronous => Call::Ssend { dest, tag },
            Mode::Buffered => Call::Send { dest, tag },
            Mode::Ready => Call::Rsend { dest, tag },
        };
        let request = self.start(started(call), OnDrop::Detach, |_| Ok(()));
        match mode {
            // It goes on alone, unless it could not be started.
            Mode::Buffered if !request.is_refused() => Request::ready(Ok(())),
            _ => request,
        }
    }
}

/// Sends of other modes than the standard one, of any serde value; see [`Comm::ssend`] and its kin.
impl Objects<'_> {
    /// As [`Comm::ssend`].
    #[track_caller]
    pub fn ssend<T: Serialize + ?Sized>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        value: &T,
    ) -> Request<'static, ()> {
        self.send_value(Mode::Synchronous, dest.into_dest(), tag.into(), value)
    }

    /// As [`Comm::bsend`].
    #[track_caller]
    pub fn bsend<T: Serialize + ?Sized>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        value: &T,
    ) -> Request<'static, ()> {
        self.send_value(Mode::Buffered, dest.into_dest(), tag.into(), value)
    }

    /// As [`Comm::rsend`].
    #[track_caller]
    pub fn rsend<T: Serialize + ?Sized>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        value: &T,
    ) -> Request<'static, ()> {
        self.send_value(Mode::Ready, dest.into_dest(), tag.into(), value)
    }

    #[track_caller]
    fn send_value<T: Serialize + ?Sized>(
        &self,
        mode: Mode,
        dest: Option<Rank>,
        tag: Tag,
        value: &T,
    ) -> Request<'static, ()> {
        match encode(value) {
            Ok(bytes) => self.comm().send_in(mode, dest, tag, |call| Started::sending(call, bytes).of_objects()),
            Err(error) => Request::refused(error),
        }
    }
}
