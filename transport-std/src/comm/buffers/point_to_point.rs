//! Messages of elements from one rank to another.

use edgempi_core::{Call, Element, Status, Tag, TagSelector};

use super::IntoBuffer;
use crate::comm::peers::{IntoDest, IntoSource, NOTHING};
use crate::comm::{Comm, Started, whole};
#[cfg(doc)]
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Comm {
    /// Sends `data` to `dest` (MPI 4.1, chapter 3.2.1), which may be this rank itself.
    ///
    /// Resolves when the library has room for the bytes: soon while they fit the hub's queue for this rank
    /// (`EDGEMPI_QUEUE_SIZE`), otherwise when somebody receives them. So it does not say that they have arrived. A
    /// request that is dropped sends all the same.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// worlds[0].comm().send(1, 7, [1.5f32, 2.5]).wait()?;
    /// let (data, status) = worlds[1].comm().recv::<f32>(0, 7).wait()?;
    /// assert_eq!(data, [1.5, 2.5]);
    /// assert_eq!((status.source.get(), status.tag.0, status.count::<f32>()), (0, 7, Some(2)));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn send<T: Element>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, ()> {
        let data = data.into_buffer();
        let Some(dest) = dest.into_dest() else { return Request::ready(Ok(())) };
        self.start(Started::sending(Call::Send { dest, tag: tag.into() }, data), OnDrop::Detach, |_| Ok(()))
    }

    /// Receives a message of any length (MPI 4.1, chapter 3.2.4), with what is known of it.
    ///
    /// ```
    /// use edgempi::{ANY_SOURCE, ANY_TAG};
    ///
    /// # let worlds = edgempi::local(3)?;
    /// worlds[2].comm().send(0, 5, [8u8; 100]).wait()?;
    /// let (data, status) = worlds[0].comm().recv::<u8>(ANY_SOURCE, ANY_TAG).wait()?;
    /// assert_eq!((data.len(), status.source.get(), status.tag.0), (100, 2, 5));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the request takes the receive back. A message that had matched it already is lost; so in a `select!`
    /// poll it by reference, and keep it.
    #[track_caller]
    pub fn recv<T: Element>(
        &self,
        source: impl IntoSource,
        tag: impl Into<TagSelector>,
    ) -> Request<'static, (Vec<T>, Status)> {
        self.recv_reusing(Vec::new(), source, tag)
    }

    /// As [`recv`](Self::recv), with the message in the memory of a vector that has done its service, if it is large
    /// enough; see [`gather_reusing`](Self::gather_reusing).
    #[track_caller]
    pub fn recv_reusing<T: Element>(
        &self,
        memory: Vec<T>,
        source: impl IntoSource,
        tag: impl Into<TagSelector>,
    ) -> Request<'static, (Vec<T>, Status)> {
        let Some(source) = source.into_source() else {
            let mut memory = memory;
            memory.clear();
            return Request::ready(Ok((memory, NOTHING)));
        };
        let started = Started::receiving(Call::Recv { source, tag: tag.into() }, self.message_size, memory);
        self.start(started, OnDrop::Cancel, |completion| {
            let status = completion.status;
            Ok((whole(completion)?, status))
        })
    }

    /// Receives a message of at most `data.len()` elements (MPI 4.1, chapter 3.2.4). What is behind it in `data` stays.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let mut data = [0u16; 4];
    /// worlds[1].comm().send(0, 1, [3u16, 4]).wait()?;
    /// let status = worlds[0].comm().recv_into(1, 1, &mut data).wait()?;
    /// assert_eq!((data, status.count::<u16>()), ([3, 4, 0, 0], Some(2)));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Truncated`] if the message is longer.
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_into<'a, T: Element>(
        &self,
        source: impl IntoSource,
        tag: impl Into<TagSelector>,
        data: &'a mut [T],
    ) -> Request<'a, Status> {
        let Some(source) = source.into_source() else { return Request::ready(Ok(NOTHING)) };
        let started = Started::receiving(Call::Recv { source, tag: tag.into() }, size_of_val(data), Vec::<T>::new());
        self.start(started, OnDrop::Cancel, move |completion| {
            let status = completion.status;
            let received = whole::<T>(completion)?;
            data[..received.len()].copy_from_slice(&received);
            Ok(status)
        })
    }
}
