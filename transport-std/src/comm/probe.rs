//! Messages that are looked at before they are received.

use std::sync::atomic::Ordering;

use edgempi_core::{Call, Datatype, Element, Status, TagSelector};
use serde::de::DeserializeOwned;

use super::objects::{Origin, decode};
use super::peers::{IntoSource, NOTHING};
use super::{Comm, Started, whole};
use crate::engine::Asked;
use crate::error::Error;
use crate::request::{OnDrop, Request};

/// Probes (MPI 4.1, chapter 3.8).
impl Comm {
    /// Waits for a message that a receive with the same arguments would take, and leaves it (MPI 4.1, chapter 3.8.1). Its
    /// status tells how many bytes it has; [`Status::count`] in elements.
    ///
    /// Where several tasks or threads receive, another may take the message first: then use [`mprobe`](Self::mprobe).
    ///
    /// ```
    /// use edgempi::{ANY_SOURCE, ANY_TAG};
    ///
    /// # let worlds = edgempi::local(2)?;
    /// worlds[0].comm().send(1, 7, [1.5f64, 2.5]).wait()?;
    /// let comm = worlds[1].comm();
    /// let status = comm.probe(ANY_SOURCE, ANY_TAG).wait()?;
    /// assert_eq!((status.source.get(), status.tag.0, status.count::<f64>()), (0, 7, Some(2)));
    /// let mut data = vec![0.0f64; 2];
    /// comm.recv_into(status.source, status.tag, &mut data).wait()?;
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn probe(&self, source: impl IntoSource, tag: impl Into<TagSelector>) -> Request<'static, Status> {
        match source.into_source() {
            Some(source) => self.look(Call::Probe { source, tag: tag.into() }),
            None => Request::ready(Ok(NOTHING)),
        }
    }

    /// Whether there is a message that a receive with the same arguments would take (MPI 4.1, chapter 3.8.1): its status,
    /// or `None`. Does not wait for one, but for the hub's answer.
    ///
    /// Of ranks that have finalized it finds what they have left, and then nothing; whoever asks for longer than a second
    /// after that is told of on stderr, as of a [call that has waited for long](crate::Config::slow).
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::RankFailed`] or [`Error::RankFinished`] if there is none, all that could send one
    /// have gone, and somebody has died.
    #[track_caller]
    pub fn iprobe(&self, source: impl IntoSource, tag: impl Into<TagSelector>) -> Request<'static, Option<Status>> {
        match source.into_source() {
            Some(source) => self.look(Call::Iprobe { source, tag: tag.into() }).map(found),
            None => Request::ready(Ok(Some(NOTHING))),
        }
    }

    /// Waits for a message as [`probe`](Self::probe) does, and keeps it: no other receive takes it any more (MPI 4.1, chapter
    /// 3.8.2).
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// worlds[0].comm().send(1, 7, [1u16, 2, 3]).wait()?;
    /// let message = worlds[1].comm().mprobe(0, 7).wait()?;
    /// assert_eq!(message.status().count::<u16>(), Some(3));
    /// assert_eq!(message.recv::<u16>().wait()?.0, [1, 2, 3]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the request takes the probe back; a message that it had kept already is lost.
    #[track_caller]
    pub fn mprobe(&self, source: impl IntoSource, tag: impl Into<TagSelector>) -> Request<'static, Message> {
        let Some(source) = source.into_source() else { return Request::ready(Ok(Message::nobodys(self))) };
        let (message, tag) = (self.number_message(), tag.into());
        self.look_and_keep(message, Call::Mprobe { source, tag, message })
            .and_then(|message| message.ok_or_else(|| Error::defect()))
    }

    /// As [`mprobe`](Self::mprobe) if there is a message, otherwise `None` (MPI 4.1, chapter 3.8.2). Does not wait for one,
    /// but for the hub's answer.
    ///
    /// # Errors
    ///
    /// Those of [`iprobe`](Self::iprobe).
    #[track_caller]
    pub fn improbe(&self, source: impl IntoSource, tag: impl Into<TagSelector>) -> Request<'static, Option<Message>> {
        let Some(source) = source.into_source() else { return Request::ready(Ok(Some(Message::nobodys(self)))) };
        let (message, tag) = (self.number_message(), tag.into());
        self.look_and_keep(message, Call::Improbe { source, tag, message })
    }

    #[track_caller]
    fn look(&self, call: Call<'static>) -> Request<'static, Status> {
        self.start(Started::new(call, Datatype::Object), OnDrop::Cancel, |completion| Ok(completion.status))
    }

    /// A number that no other message of this rank is kept under.
    fn number_message(&self) -> u32 {
        self.messages.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes a `call` that keeps a message under `number`.
    #[track_caller]
    fn look_and_keep(&self, number: u32, call: Call<'static>) -> Request<'static, Option<Message>> {
        // Where nobody takes the result, this goes, and with it the message.
        let mut message = Message { comm: self.clone(), status: NOTHING, kept: Some(number) };
        self.start(Started::new(call, Datatype::Object), OnDrop::Cancel, move |completion| {
            message.status = completion.status;
            Ok(match found(completion.status) {
                Some(_) => Some(message),
                None => {
                    // There is none to be lost.
                    let _ = message.kept.take();
                    None
                }
            })
        })
    }
}

fn found(status: Status) -> Option<Status> {
    (status.source != Status::NOBODY).then_some(status)
}

/// A message that a [matched probe](Comm::mprobe) keeps until it is received (MPI 4.1, chapter 3.8.2). One that is dropped
/// is lost; its sender goes on as if it had been received. So is one that is still kept when this rank
/// [finalizes](crate::World::finalize), whenever it is dropped.
#[derive(Debug)]
#[must_use = "a message that is dropped is lost"]
pub struct Message {
    comm: Comm,
    status: Status,
    /// Its number, until it is received; nobody's message has none.
    kept: Option<u32>,
}

impl Message {
    fn nobodys(comm: &Comm) -> Self {
        Self { comm: comm.clone(), status: NOTHING, kept: None }
    }

    /// Who sent it, with which tag, and how much.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Receives it (MPI 4.1, chapter 3.8.3).
    ///
    /// # Errors
    ///
    /// As [`Comm::recv`].
    #[track_caller]
    pub fn recv<T: Element>(mut self) -> Request<'static, (Vec<T>, Status)> {
        let Some(message) = self.kept.take() else { return Request::ready(Ok((Vec::new(), NOTHING))) };
        let room = self.comm.message_size;
        self.comm.start(self.receiving::<T>(message, room), OnDrop::Cancel, |completion| {
            let status = completion.status;
            Ok((whole(completion)?, status))
        })
    }

    /// Receives it into `data`, if it has at most that many elements (MPI 4.1, chapter 3.8.3).
    ///
    /// # Errors
    ///
    /// As [`Comm::recv_into`]; a message that is too long is lost.
    #[track_caller]
    pub fn recv_into<T: Element>(mut self, data: &mut [T]) -> Request<'_, Status> {
        let Some(message) = self.kept.take() else { return Request::ready(Ok(NOTHING)) };
        let room = size_of_val(data);
        self.comm.start(self.receiving::<T>(message, room), OnDrop::Cancel, move |completion| {
            let status = completion.status;
            let received = whole::<T>(completion)?;
            data[..received.len()].copy_from_slice(&received);
            Ok(status)
        })
    }

    /// Receives it as a value; `None` if it is nobody's.
    ///
    /// # Errors
    ///
    /// As [`Objects::recv`](super::Objects::recv).
    #[track_caller]
    pub fn recv_object<T: DeserializeOwned + 'static>(mut self) -> Request<'static, (Option<T>, Status)> {
        let Some(message) = self.kept.take() else { return Request::ready(Ok((None, NOTHING))) };
        let started = self.receiving::<u8>(message, self.comm.message_size).of_objects();
        self.comm.start(started, OnDrop::Cancel, |completion| {
            let status = completion.status;
            Ok((Some(decode(Origin::Rank(status.source), &whole::<u8>(completion)?)?), status))
        })
    }

    fn receiving<T: Element>(&self, message: u32, room: usize) -> Started {
        Started::receiving(Call::Mrecv { message }, room, Vec::<T>::new())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let Some(message) = self.kept.take() else { return };
        // If the hub is gone, so is the message.
        let _ = self.comm.engine.submit(Asked::of_the_library(self.comm.id, Call::Discard { message }));
    }
}
