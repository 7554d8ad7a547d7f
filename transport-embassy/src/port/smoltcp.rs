//! TCP over bare smoltcp, for programs that are one loop.

use core::cell::RefCell;
use core::fmt;
use core::task::{Context, Poll};

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, SendError, Socket};

use super::Port;

/// A connected TCP socket of a [`SocketSet`], which the loop's `Interface::poll` uses in turn.
///
/// Poll the interface after every step of the loop: that is what moves the bytes.
pub struct SmoltcpPort<'s, 'd> {
    sockets: &'s RefCell<SocketSet<'d>>,
    handle: SocketHandle,
}

/// Why a [`SmoltcpPort`] is over.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmoltcpError {
    /// The connection was reset, or has never been there.
    Reset,
    /// The sockets are borrowed elsewhere: this port was polled from within `Interface::poll`.
    Borrowed,
}

impl<'s, 'd> SmoltcpPort<'s, 'd> {
    /// A port over a socket that is connected to the hub.
    pub fn new(sockets: &'s RefCell<SocketSet<'d>>, handle: SocketHandle) -> Self {
        Self { sockets, handle }
    }

    fn with<T>(&mut self, f: impl FnOnce(&mut Socket<'d>) -> Result<T, SmoltcpError>) -> Result<T, SmoltcpError> {
        let mut sockets = self.sockets.try_borrow_mut().map_err(|_| SmoltcpError::Borrowed)?;
        f(sockets.get_mut::<Socket<'d>>(self.handle))
    }
}

impl fmt::Debug for SmoltcpPort<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SmoltcpPort").field(&self.handle).finish()
    }
}

impl Port for SmoltcpPort<'_, '_> {
    type Error = SmoltcpError;

    fn poll_read(&mut self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, SmoltcpError>> {
        let came = self.with(|socket| match socket.recv_slice(bytes) {
            Ok(0) if !bytes.is_empty() => {
                socket.register_recv_waker(context.waker());
                Ok(None)
            }
            Ok(n) => Ok(Some(n)),
            Err(RecvError::Finished) => Ok(Some(0)),
            Err(RecvError::InvalidState) => Err(SmoltcpError::Reset),
        });
        came.transpose().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_free(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, SmoltcpError>> {
        let free = self.with(|socket| {
            if !socket.may_send() {
                return Err(SmoltcpError::Reset);
            }
            let free = socket.send_capacity().saturating_sub(socket.send_queue());
            if free >= wanted {
                return Ok(Some(free));
            }
            socket.register_send_waker(context.waker());
            Ok(None)
        });
        free.transpose().map_or(Poll::Pending, Poll::Ready)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SmoltcpError> {
        self.with(|socket| match socket.send_slice(bytes) {
            Ok(n) if n == bytes.len() => Ok(()),
            Ok(_) | Err(SendError::InvalidState) => Err(SmoltcpError::Reset),
        })
    }

    fn capacity(&self) -> usize {
        let sockets = self.sockets.try_borrow();
        sockets.map_or(0, |sockets| sockets.get::<Socket<'_>>(self.handle).send_capacity())
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SmoltcpError>> {
        let flushed = self.with(|socket| {
            socket.close();
            if socket.send_queue() > 0 && socket.is_active() {
                socket.register_send_waker(context.waker());
                return Ok(None);
            }
            Ok(Some(()))
        });
        flushed.transpose().map_or(Poll::Pending, Poll::Ready)
    }
}
