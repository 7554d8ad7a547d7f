//! The way from a board to a host: a stream of bytes in each direction.

#[cfg(feature = "network")]
pub mod network;
pub mod serial;

use edgempi_embassy::Port;
use embedded_io_async::{Read, Write};

use crate::{Arguments, Failure};

/// The way from a board to a host, which an application opens when it wants to.
pub trait Link {
    /// What goes back and forth while the link is open.
    type Stream<'a>: Stream
    where
        Self: 'a;

    /// The open link, for edgempi.
    type Port<'a>: Port
    where
        Self: 'a;
    /// What keeps that going.
    type Keeper<'a>: Keeper
    where
        Self: 'a;

    /// Opens the link for edgempi; as for [`open`](Self::open). The keeper has to run beside whatever uses the port.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    fn connect<'a>(
        &'a mut self,
        arguments: &Arguments<'_>,
    ) -> impl Future<Output = Result<(Self::Port<'a>, Self::Keeper<'a>), Failure>>;

    /// Opens the link; where there is more than one host at its far end, `arguments` say which.
    ///
    /// # Errors
    ///
    /// If `arguments` don't say it, or the host can't be reached.
    fn open<'a>(&'a mut self, arguments: &Arguments<'_>) -> impl Future<Output = Result<Self::Stream<'a>, Failure>>;
}

/// What moves bytes between a port and its line, for links that have no task of their own that does.
pub trait Keeper {
    /// Goes on until the line is lost.
    fn keep(self) -> impl Future<Output = Failure>;
}

/// A stream of bytes in each direction, in order and on most links without loss.
pub trait Stream: Read + Write {
    /// Ends the stream once all that was written has been sent. The host sees it where the link can tell it.
    fn close(self) -> impl Future<Output = ()>;
}
