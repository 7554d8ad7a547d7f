//! The TCP link: no Nagle, vectored writes, and a dial that keeps trying until a deadline.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::{Link, Source, source_of};
use crate::config::Address;
use crate::error::Error;

/// A TCP connection.
pub(crate) struct TcpLink {
    stream: TcpStream,
}

impl TcpLink {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }
}

impl Link for TcpLink {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buffer)
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.stream).write_vectored(buffers)
    }

    fn close_write(&self) {
        // The other side may be gone already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn source(&self) -> Option<Source<'_>> {
        Some(source_of(&self.stream))
    }

    fn describe(&self) -> String {
        self.stream.peer_addr().map_or_else(|_| "a closed connection".to_owned(), |peer| peer.to_string())
    }
}

/// Listens on `address`.
pub(crate) fn listen(address: &Address) -> Result<TcpListener, Error> {
    TcpListener::bind((address.host.as_str(), address.port)).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => ", by another program or another rank 0",
            _ => "",
        };
        Error::Listen { address: address.to_string(), reason: format!("{error}{hint}") }
    })
}

/// Connects to the hub at `address`, again and again until `deadline`: a rank may well start before its hub.
pub(crate) fn connect(address: &Address, wait: Duration) -> Result<TcpLink, Error> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    let mut tries = 0u32;
    loop {
        tries += 1;
        let left = wait.saturating_sub(start.elapsed());
        let error = match try_connect(address, left) {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        let left = wait.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(Error::Connect {
                address: address.to_string(),
                tries,
                waited: start.elapsed(),
                reason: error.to_string(),
            });
        }
        // Longer and longer, and never all ranks in step.
        thread::sleep(pause.min(left));
        pause = (pause * 3 / 2 + Duration::from_micros(u64::from(std::process::id() % 997)))
            .min(Duration::from_millis(250));
    }
}

fn try_connect(address: &Address, left: Duration) -> io::Result<TcpLink> {
    let timeout = left.clamp(Duration::from_millis(10), Duration::from_secs(5));
    dial(address, timeout).and_then(TcpLink::new)
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
