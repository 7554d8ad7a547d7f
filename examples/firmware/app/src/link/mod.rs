//! The way from a board to a host: a stream of bytes in each direction.

#[cfg(feature = "network")]
pub mod network;
pub mod serial;

use embedded_io_async::{Read, Write};

use crate::{Arguments, Failure};

/// The way from a board to a host, which an application opens when it wants to.
pub trait Link {
    /// What goes back and forth while the link is open.
    type Stream<'a>: Stream
    where
        Self: 'a;

    /// Opens the link; where there is more than one host at its far end, `arguments` say which.
    ///
    /// # Errors
    ///
    /// If `arguments` don't say it, or the host can't be reached.
    fn open<'a>(&'a mut self, arguments: &Arguments<'_>) -> impl Future<Output = Result<Self::Stream<'a>, Failure>>;
}

/// A stream of bytes in each direction, in order and on most links without loss.
pub trait Stream: Read + Write {
    /// Ends the stream once all that was written has been sent. The host sees it where the link can tell it.
    fn close(self) -> impl Future<Output = ()>;
}
