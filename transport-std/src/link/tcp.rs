//! The TCP link: no Nagle, vectored writes, and a dial that keeps trying until a deadline.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::stream::{Socket, StreamLink};
#[cfg(target_os = "linux")]
use super::unix;
use super::{Link, Listener, Source, files, source_of};
use crate::config::Address;
use crate::error::Error;

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

/// Listens on `address` for as many ranks: the first of these sockets is that of TCP. `proto` is one of
/// [`NAMES`](super::NAMES).
pub(crate) fn listen(address: &Address, proto: &str, ranks: u32) -> Result<Vec<Listener>, Error> {
    files::make_room(ranks)?;
    let listener = listen_tcp(address)?;
    #[cfg(target_os = "linux")]
    if proto != super::TCP {
        let beside = listener.local_addr().and_then(unix::listen);
        return match beside {
            Ok(beside) => Ok(vec![Listener::Tcp(listener), Listener::Unix(beside)]),
            Err(error) if proto == super::UNIX => Err(failed(address, &error)),
            Err(error) => {
                tracing::warn!("ranks on this machine take the way of TCP, too: no Unix socket: {error}");
                Ok(vec![Listener::Tcp(listener)])
            }
        };
    }
    let _ = proto;
    Ok(vec![Listener::Tcp(listener)])
}

/// Listens on `address` for connections over TCP.
pub(crate) fn listen_tcp(address: &Address) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind((address.host.as_str(), address.port)).map_err(|error| failed(address, &error))?;
    // Thousands of ranks may come at the same moment, and whoever finds the queue full tries again much later. A wish: with
    // a shorter one, that is what happens.
    #[cfg(unix)]
    let _ = rustix::net::listen(&listener, QUEUE);
    Ok(listener)
}

fn failed(address: &Address, error: &io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => ", by another program or another rank 0",
        _ => "",
    };
    Error::Listen { address: address.to_string(), reason: format!("{error}{hint}") }
}

/// Connects to the hub at `address`, again and again until `deadline`: a rank may well start before its hub.
pub(crate) fn connect(address: &Address, proto: &str, wait: Duration) -> Result<Box<dyn Link>, Error> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    let mut tries = 0u32;
    loop {
        tries += 1;
        let left = wait.saturating_sub(start.elapsed());
        let error = match try_connect(address, proto, left) {
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

fn try_connect(address: &Address, proto: &str, left: Duration) -> io::Result<Box<dyn Link>> {
    #[cfg(target_os = "linux")]
    if proto != super::TCP {
        // Who says `unix` knows whose hub it is; who says nothing may find a stranger there, and has the port to turn to.
        let owner = match proto {
            super::UNIX => unix::Owner::Anybody,
            _ => unix::Owner::Trusted(rustix::process::geteuid()),
        };
        match try_connect_here(address, owner) {
            Err(error) if proto == super::UNIX => return Err(error),
            Err(_) => {}
            Ok(link) => return Ok(link),
        }
    }
    let _ = proto;
    let timeout = left.clamp(Duration::from_millis(10), Duration::from_secs(5));
    Ok(Box::new(dial(address, timeout).and_then(link)?))
}

/// Connects by the Unix socket beside the address' candidates.
#[cfg(target_os = "linux")]
fn try_connect_here(address: &Address, owner: unix::Owner) -> io::Result<Box<dyn Link>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in (address.host.as_str(), address.port).to_socket_addrs()? {
        match unix::connect(candidate, owner).and_then(unix::link) {
            Ok(link) => return Ok(Box::new(link)),
            Err(error) => last = error,
        }
    }
    Err(last)
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
