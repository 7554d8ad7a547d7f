//! The Unix socket: for ranks on the hub's machine, half the way of TCP.
//!
//! Its name is an abstract one, made of the hub's TCP address: no file is left behind, and whoever can not reach that
//! port, because it is in another network namespace, does not find the name either.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};

use super::{Link, Source, source_of};

/// Bytes on their way that the system is asked to hold; it may hold fewer.
const SEND_BUFFER: usize = 4 << 20;

/// A connection over a Unix socket.
pub(crate) struct UnixLink {
    stream: UnixStream,
}

impl UnixLink {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // A wish: with less room it is slower, and works.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
        Ok(Self { stream })
    }
}

impl Link for UnixLink {
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
        "this machine".to_owned()
    }
}

/// Listens beside a hub's TCP `address`. An error is no reason to do without the hub: ranks find it over TCP.
pub(super) fn listen(address: SocketAddr) -> io::Result<UnixListener> {
    let ip = Some(address.ip()).filter(|ip| !ip.is_unspecified());
    UnixListener::bind_addr(&name(ip, address.port())?)
}

/// Connects to the hub that listens at TCP `address`, if that is on this machine.
pub(super) fn connect(address: SocketAddr) -> io::Result<UnixStream> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "the hub is on another machine"));
    }
    // A hub that listens on every interface has no address in its name.
    UnixStream::connect_addr(&name(Some(address.ip()), address.port())?)
        .or_else(|_| UnixStream::connect_addr(&name(None, address.port())?))
}

fn name(ip: Option<IpAddr>, port: u16) -> io::Result<UnixAddr> {
    let ip = ip.map_or_else(|| "*".to_owned(), |ip| ip.to_string());
    UnixAddr::from_abstract_name(format!("edgempi {ip} {port}"))
}
