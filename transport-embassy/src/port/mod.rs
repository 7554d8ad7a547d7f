//! Ports: how the bytes of frames get from a board to its hub.

#[cfg(feature = "embassy-net")]
mod embassy_net;
#[cfg(feature = "serial")]
mod serial;
#[cfg(feature = "smoltcp")]
mod smoltcp;

use core::task::{Context, Poll};

#[cfg(feature = "embassy-net")]
pub use self::embassy_net::TcpPort;
#[cfg(feature = "serial")]
pub use self::serial::{RunError, SerialLine, SerialPort, SerialRunner};
#[cfg(feature = "smoltcp")]
pub use self::smoltcp::{SmoltcpError, SmoltcpPort};

/// A reliable, ordered stream of bytes to the hub, which never blocks.
///
/// One waker for each direction is enough: whoever polls last is woken.
pub trait Port {
    /// Why the stream is over.
    type Error;

    /// Takes bytes that have come; 0 of them means that the hub has closed the stream.
    ///
    /// # Errors
    ///
    /// The stream is over.
    fn poll_read(&mut self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, Self::Error>>;

    /// How many bytes [`write`](Self::write) takes now, once that is at least `wanted`.
    ///
    /// # Errors
    ///
    /// The stream is over.
    fn poll_free(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Self::Error>>;

    /// Takes all of `bytes`, which are no more than [`poll_free`](Self::poll_free) has just allowed.
    ///
    /// # Errors
    ///
    /// The stream is over.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// The most that [`poll_free`](Self::poll_free) ever allows.
    fn capacity(&self) -> usize;

    /// Nothing more will be written; waits until all that was has left.
    ///
    /// # Errors
    ///
    /// The stream is over.
    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;
}

impl<P: Port> Port for &mut P {
    type Error = P::Error;

    fn poll_read(&mut self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, P::Error>> {
        (**self).poll_read(context, bytes)
    }

    fn poll_free(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, P::Error>> {
        (**self).poll_free(context, wanted)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), P::Error> {
        (**self).write(bytes)
    }

    fn capacity(&self) -> usize {
        (**self).capacity()
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        (**self).poll_close(context)
    }
}
