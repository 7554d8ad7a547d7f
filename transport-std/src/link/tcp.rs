//! The TCP link: no Nagle, vectored writes.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::stream::{Socket, StreamLink};
use super::{Source, source_of};
use crate::config::Address;

/// A link over a TCP connection.
pub(super) fn link(stream: TcpStream) -> io::Result<StreamLink<TcpStream>> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(StreamLink::new(stream))
}

impl Socket for TcpStream {
    fn source(&self) -> Source<'_> {
        source_of(self)
    }

    fn shut_write(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn describe(&self) -> String {
        self.peer_addr().map_or_else(|_| "a closed connection".to_owned(), |peer| peer.to_string())
    }
}

/// Connections that wait for the hub to take them.
#[cfg(unix)]
const QUEUE: i32 = 4096;

/// Listens on `address`.
pub(super) fn listen(address: &Address) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((address.host.as_str(), address.port))?;
    // Thousands of ranks may come at the same moment, and whoever finds the queue full tries again much later. A wish: with
    // a shorter one, that is what happens.
    #[cfg(unix)]
    let _ = rustix::net::listen(&listener, QUEUE);
    Ok(listener)
}

/// Connects once, to the first of the address' candidates that answers within `timeout`.
pub(crate) fn dial(address: &Address, timeout: Duration) -> io::Result<TcpStream> {
    let candidates: Vec<SocketAddr> = (address.host.as_str(), address.port).to_socket_addrs()?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in candidates {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) if is_self_connected(&stream) => {
                last = io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens there");
            }
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Dialling a free port of the ephemeral range on one's own machine may connect a socket to itself.
fn is_self_connected(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}
