//! Sends of every mode, and calls that send and receive at the same time.

use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Datatype, Element, Rank, Status, Tag, TagSelector};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::objects::encode;
use super::peers::{IntoDest, IntoSource};
use super::{Comm, IntoBuffer, Objects, Started};
use crate::buffers::{Inbound, Outbound, Storage};
use crate::engine::OwnedCall;
use crate::error::Error;
use crate::request::{OnDrop, Request};

/// When a send is done.
#[derive(Clone, Copy)]
enum Mode {
    Synchronous,
    Buffered,
    Ready,
}

/// One half of a call that does two things.
enum Half<T> {
    Sent,
    Received(T),
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
    /// when the receive has taken it.
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

    /// Sends `data` to `dest` and receives a message from `source` at the same time, so that a ring of ranks never waits for
    /// itself (MPI 4.1, chapter 3.10). Gives what was received.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .map(|world| {
    ///         let comm = world.comm();
    ///         let (rank, size) = (comm.rank().get(), comm.size());
    ///         comm.sendrecv::<u32, u32>((rank + 1) % size, 0, [rank], (rank + size - 1) % size, 0)
    ///     })
    ///     .collect();
    /// let received = requests.into_iter().map(|request| Ok(request.wait()?.0[0])).collect::<Result<Vec<_>, edgempi::Error>>();
    /// assert_eq!(received?, [2, 0, 1]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv); what was sent is on its way.
    #[track_caller]
    pub fn sendrecv<T: Element, U: Element>(
        &self,
        dest: impl IntoDest,
        send_tag: impl Into<Tag>,
        data: impl IntoBuffer<T>,
        source: impl IntoSource,
        recv_tag: impl Into<TagSelector>,
    ) -> Request<'static, (Vec<U>, Status)> {
        both(self.send(dest, send_tag, data), self.recv(source, recv_tag))
    }

    /// As [`sendrecv`](Self::sendrecv), with what is received in the place of what is sent: `data` is sent from a copy, and
    /// the message may have at most its length (MPI 4.1, chapter 3.10). What is behind a shorter one stays.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Truncated`] if the message is longer.
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv); what was sent is on its way.
    #[track_caller]
    pub fn sendrecv_replace<'a, T: Element>(
        &self,
        dest: impl IntoDest,
        send_tag: impl Into<Tag>,
        source: impl IntoSource,
        recv_tag: impl Into<TagSelector>,
        data: &'a mut [T],
    ) -> Request<'a, Status> {
        let send = self.send(dest, send_tag, &*data);
        both(send, self.recv_into(source, recv_tag, data))
    }

    #[track_caller]
    fn send_buffer<T: Element>(&self, mode: Mode, dest: Option<Rank>, tag: Tag, data: Vec<T>) -> Request<'static, ()> {
        let len = size_of_val(data.as_slice());
        self.send_in(mode, dest, tag, T::DATATYPE, len, Box::new(data))
    }

    #[track_caller]
    fn send_in(
        &self,
        mode: Mode,
        dest: Option<Rank>,
        tag: Tag,
        datatype: Datatype,
        len: usize,
        storage: Box<dyn Storage>,
    ) -> Request<'static, ()> {
        let Some(dest) = dest else { return Request::ready(Ok(())) };
        let call = match mode {
            Mode::Synchronous => Call::Ssend { dest, tag },
            Mode::Buffered => Call::Send { dest, tag },
            Mode::Ready => Call::Rsend { dest, tag },
        };
        let started = Started {
            call: OwnedCall::Builtin(call),
            datatype,
            sent: Sent::Equal(len),
            receive: Receive::Exactly(0),
            outbound: Outbound::Whole(storage),
            inbound: Inbound::Nothing,
        };
        let request = self.start(started, OnDrop::Detach, |_| Ok(()));
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

    /// As [`Comm::sendrecv`]. From nobody comes no value: `None`.
    ///
    /// ```
    /// # let worlds = edgempi::local(1)?;
    /// let comm = worlds[0].comm();
    /// let (word, _) = comm.objects().sendrecv::<str, String>(0, 0, "myself", 0, 0).wait()?;
    /// assert_eq!(word.as_deref(), Some("myself"));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn sendrecv<T, U>(
        &self,
        dest: impl IntoDest,
        send_tag: impl Into<Tag>,
        value: &T,
        source: impl IntoSource,
        recv_tag: impl Into<TagSelector>,
    ) -> Request<'static, (Option<U>, Status)>
    where
        T: Serialize + ?Sized,
        U: DeserializeOwned + Send + 'static,
    {
        let send = match dest.into_dest() {
            Some(dest) => self.send(dest, send_tag, value),
            None => Request::ready(Ok(())),
        };
        let receive = match source.into_source() {
            Some(source) => self.recv::<U>(source, recv_tag).map(|(value, status)| (Some(value), status)),
            None => Request::ready(Ok((None, super::peers::NOTHING))),
        };
        both(send, receive)
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
            Ok(bytes) => self.comm().send_in(mode, dest, tag, Datatype::Object, bytes.len(), Box::new(bytes)),
            Err(error) => Request::refused(error),
        }
    }
}

/// A send and a receive as one request, which gives what was received.
fn both<'a, T: Send + 'a>(send: Request<'a, ()>, receive: Request<'a, T>) -> Request<'a, T> {
    let halves = vec![send.map(|()| Half::Sent), receive.map(Half::Received)];
    Request::join(halves, |halves| {
        let received = halves.into_iter().find_map(|half| match half {
            Half::Sent => None,
            Half::Received(received) => Some(received),
        });
        received.ok_or(Error::Finalized)
    })
}
