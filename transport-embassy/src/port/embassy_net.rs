//! TCP over embassy-net.

use core::fmt;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll};

use embassy_net::tcp::{Error, TcpSocket};

use super::Port;

/// A connected [`TcpSocket`].
///
/// Its transmit buffer should have at least 1 KiB, and its receive buffer as much as the network delivers in one round
/// trip. Switch Nagle's algorithm off with `set_nagle_enabled(false)`, or small calls wait for it.
pub struct TcpPort<'a> {
    socket: TcpSocket<'a>,
}

impl<'a> TcpPort<'a> {
    /// A port over a socket that is connected to the hub.
    pub fn new(socket: TcpSocket<'a>) -> Self {
        Self { socket }
    }

    /// The socket.
    pub fn into_inner(self) -> TcpSocket<'a> {
        self.socket
    }
}

impl fmt::Debug for TcpPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpPort").field("state", &self.socket.state()).finish_non_exhaustive()
    }
}

// The futures of a TcpSocket keep nothing between polls, so each of these is made anew every time.
impl Port for TcpPort<'_> {
    type Error = Error;

    fn poll_read(&mut self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, Error>> {
        pin!(self.socket.read(bytes)).poll(context)
    }

    fn poll_free(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Error>> {
        if !self.socket.may_send() {
            return Poll::Ready(Err(Error::ConnectionReset));
        }
        let free = self.socket.send_capacity().saturating_sub(self.socket.send_queue());
        if free >= wanted {
            return Poll::Ready(Ok(free));
        }
        // Flushing waits for the socket to send, and is woken for every piece that leaves.
        let flushed = pin!(self.socket.flush()).poll(context);
        flushed.map(|flushed| flushed.map(|()| self.socket.send_capacity()))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        let mut context = Context::from_waker(core::task::Waker::noop());
        while !rest.is_empty() {
            match pin!(self.socket.write(rest)).poll(&mut context) {
                Poll::Ready(Ok(n)) => rest = rest.get(n..).unwrap_or_default(),
                Poll::Ready(Err(error)) => return Err(error),
                // It had room a moment ago, and nobody else writes.
                Poll::Pending => return Err(Error::ConnectionReset),
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.socket.send_capacity()
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.close();
        pin!(self.socket.flush()).poll(context)
    }
}
