//! How a hub takes links in: a socket for each kind that was asked for.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use polling::{Event, Poller};

#[cfg(target_os = "linux")]
use super::unix;
use super::{Link, Source, add, files, optional, retry, source_of, tcp};
use crate::config::Address;
use crate::error::Error;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(target_os = "linux")]
    Unix(std::os::unix::net::UnixListener),
}

impl Listener {
    fn source(&self) -> Source<'_> {
        match self {
            Self::Tcp(listener) => source_of(listener),
            #[cfg(target_os = "linux")]
            Self::Unix(listener) => source_of(listener),
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            #[cfg(target_os = "linux")]
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }

    fn accept(&self) -> io::Result<Box<dyn Link>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(tcp::link(listener.accept()?.0)?),
            #[cfg(target_os = "linux")]
            Self::Unix(listener) => Box::new(unix::link(listener.accept()?.0)?),
        })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            #[cfg(target_os = "linux")]
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }
}

/// The TCP address of a hub that listens there.
pub(crate) fn local_addr(listeners: &[Listener]) -> io::Result<SocketAddr> {
    let tcp = listeners.iter().find_map(|listener| match listener {
        Listener::Tcp(listener) => Some(listener.local_addr()),
        #[cfg(target_os = "linux")]
        Listener::Unix(_) => None,
    });
    tcp.unwrap_or_else(|| Err(io::ErrorKind::AddrNotAvailable.into()))
}

/// A listening socket under the watch of a poller.
pub(crate) struct WatchedListener {
    listener: Listener,
    poller: Arc<Poller>,
    key: usize,
}

impl WatchedListener {
    pub(crate) fn new(listener: Listener, poller: Arc<Poller>, key: usize) -> io::Result<Self> {
        listener.set_nonblocking()?;
        add(&poller, &listener.source(), Event::readable(key))?;
        Ok(Self { listener, poller, key })
    }

    /// A link that came up, `None` if there is none.
    pub(crate) fn accept(&self) -> io::Result<Option<Box<dyn Link>>> {
        optional(retry(|| self.listener.accept()))
    }

    pub(crate) fn arm(&self) -> io::Result<()> {
        self.poller.modify(self.listener.source(), Event::readable(self.key))
    }
}

impl Drop for WatchedListener {
    fn drop(&mut self) {
        let _ = self.poller.delete(self.listener.source());
    }
}

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
    tcp::listen(address).map_err(|error| failed(address, &error))
}

fn failed(address: &Address, error: &io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => ", by another program or another rank 0",
        _ => "",
    };
    Error::Listen { address: address.to_string(), reason: format!("{error}{hint}") }
}
