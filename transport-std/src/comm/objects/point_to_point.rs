//! Objects from one rank to another.

use edgempi_core::{Call, Source, Status, Tag, TagSelector};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Objects, one};
#[cfg(doc)]
use crate::comm::Comm;
use crate::comm::peers::IntoDest;
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
    /// [`send`](Self::send) of objects sends, not buffers.
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
}
