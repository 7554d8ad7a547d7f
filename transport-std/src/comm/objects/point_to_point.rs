//! Objects from one rank to another.

use edgempi_core::{Call, Source, Status, Tag, TagSelector};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Objects, one};
#[cfg(doc)]
use crate::comm::Comm;
use crate::comm::peers::{IntoDest, IntoSource, NOTHING};
#[cfg(doc)]
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Objects<'_> {
    /// Sends a value to `dest` (MPI 4.1, chapter 3.2.1). Resolves as [`Comm::send`] does.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// worlds[0].comm().objects().send(1, 7, &("a pair", 42)).wait()?;
    /// let (pair, status) = worlds[1].comm().objects().recv::<(String, i32)>(0, 7).wait()?;
    /// assert_eq!((pair.0.as_str(), pair.1, status.source.get()), ("a pair", 42, 0));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn send<T: Serialize + ?Sized>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        value: &T,
    ) -> Request<'static, ()> {
        let Some(dest) = dest.into_dest() else { return Request::ready(Ok(())) };
        match self.sending(Call::Send { dest, tag: tag.into() }, value) {
            Ok(started) => self.comm.start(started, OnDrop::Detach, |_| Ok(())),
            Err(error) => Request::refused(error),
        }
    }

    /// Receives a value (MPI 4.1, chapter 3.2.4), with what is known of its message. Takes what
    /// [`send`](Self::send) of objects sends, not buffers. Where there may be nobody to receive from, use
    /// [`recv_or_none`](Self::recv_or_none).
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Decode`] if the bytes are no `T`.
    ///
    /// # Cancel safety
    ///
    /// As [`Comm::recv`].
    #[track_caller]
    pub fn recv<T>(&self, source: impl Into<Source>, tag: impl Into<TagSelector>) -> Request<'static, (T, Status)>
    where
        T: DeserializeOwned + 'static,
    {
        let started = self.receiving(Call::Recv { source: source.into(), tag: tag.into() });
        self.comm.start(started, OnDrop::Cancel, |completion| {
            let status = completion.status;
            Ok((one(status.source, completion)?, status))
        })
    }

    /// As [`recv`](Self::recv), from somebody or from nobody: `None` is the source, and what comes from it, where MPI has
    /// `PROC_NULL` (MPI 4.1, chapter 3.10).
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// # worlds[0].comm().objects().send(1, 7, "from the left").wait()?;
    /// let comm = worlds[1].comm();
    /// let (left, right) = (Some(0), None::<u32>);
    /// let (word, _) = comm.objects().recv_or_none::<String>(left, 7).wait()?;
    /// assert_eq!(word.as_deref(), Some("from the left"));
    /// assert_eq!(comm.objects().recv_or_none::<String>(right, 7).wait()?.0, None);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`Comm::recv`].
    #[track_caller]
    pub fn recv_or_none<T>(
        &self,
        source: impl IntoSource,
        tag: impl Into<TagSelector>,
    ) -> Request<'static, (Option<T>, Status)>
    where
        T: DeserializeOwned + 'static,
    {
        match source.into_source() {
            Some(source) => self.recv(source, tag).map(|(value, status)| (Some(value), status)),
            None => Request::ready(Ok((None, NOTHING))),
        }
    }
}
