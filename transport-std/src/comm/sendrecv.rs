//! Calls that send and receive at the same time.

use edgempi_core::{Element, Purpose, Status, Tag, TagSelector};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::peers::{IntoDest, IntoSource};
use super::{Comm, IntoBuffer, Objects};
use crate::error::Error;
use crate::request::Request;

/// One half of a call that does two things.
enum Half<T> {
    Sent,
    Received(T),
}

/// Of buffers (MPI 4.1, chapter 3.10).
impl Comm {
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
        let comm = self.meaning(Purpose::Sendrecv);
        both(comm.send(dest, send_tag, data), comm.recv(source, recv_tag))
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
        let comm = self.meaning(Purpose::SendrecvReplace);
        let send = comm.send(dest, send_tag, &*data);
        both(send, comm.recv_into(source, recv_tag, data))
    }
}

/// Of any serde value (MPI 4.1, chapter 3.10).
impl Objects<'_> {
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
        self.both_ways(Purpose::Sendrecv, dest, send_tag, value, source, recv_tag)
    }

    /// As [`sendrecv`](Self::sendrecv), with what is received in the place of what is sent (MPI 4.1, chapter 3.10). From
    /// nobody comes nothing, and `value` stays.
    ///
    /// ```
    /// # let worlds = edgempi::local(1)?;
    /// # let other = worlds[0].comm();
    /// # other.objects().send(0, 8, &vec!["theirs"]).wait()?;
    /// let comm = worlds[0].comm();
    /// let mut words = vec!["mine".to_owned()];
    /// let status = comm.objects().sendrecv_replace(0, 7, 0, 8, &mut words).wait()?;
    /// assert_eq!((words[0].as_str(), status.tag.0), ("theirs", 8));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As [`Comm::recv`]; what was sent is on its way.
    #[track_caller]
    pub fn sendrecv_replace<'a, T>(
        &self,
        dest: impl IntoDest,
        send_tag: impl Into<Tag>,
        source: impl IntoSource,
        recv_tag: impl Into<TagSelector>,
        value: &'a mut T,
    ) -> Request<'a, Status>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let purpose = Purpose::SendrecvReplace;
        self.both_ways::<T, T>(purpose, dest, send_tag, &*value, source, recv_tag).map(move |(received, status)| {
            if let Some(received) = received {
                *value = received;
            }
            status
        })
    }

    #[track_caller]
    fn both_ways<T, U>(
        &self,
        purpose: Purpose,
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
        let comm = self.comm().meaning(purpose);
        let objects = comm.objects();
        both(objects.send(dest, send_tag, value), objects.recv_or_none::<U>(source, recv_tag))
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
        received.ok_or_else(|| Error::defect())
    })
}
