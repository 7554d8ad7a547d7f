//! The Unix socket: for ranks on the hub's machine, half the way of TCP.
//!
//! Its name is an abstract one, made of the hub's TCP address: no file is left behind, and whoever can not reach that
//! port, because it is in another network namespace, does not find the name either.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};

use super::stream::{Socket, StreamLink};
use super::{Source, source_of};

/// Bytes on their way that the system is asked to hold; it may hold fewer.
const SEND_BUFFER: usize = 4 << 20;

/// A link over a Unix socket.
pub(super) fn link(stream: UnixStream) -> io::Result<StreamLink<UnixStream>> {
    stream.set_nonblocking(true)?;
    // A wish: with less room it is slower, and works.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
    Ok(StreamLink::new(stream))
}

impl Socket for UnixStream {
    fn source(&self) -> Source<'_> {
        source_of(self)
    }

    fn shut_write(&self) {
        let _ = self.shutdown(Shutdown::Write);
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn hub(ip: [u8; 4]) -> (TcpListener, SocketAddr, UnixListener) {
        let tcp = TcpListener::bind((Ipv4Addr::from(ip), 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        let unix = listen(address).unwrap();
        (tcp, address, unix)
    }

    #[test]
    fn a_hub_is_found_at_its_own_loopback_address_alone() {
        let (_tcp, address, _unix) = hub([127, 0, 0, 2]);
        assert!(connect(address).is_ok());
        assert!(connect(SocketAddr::from(([127, 0, 0, 1], address.port()))).is_err());
    }

    #[test]
    fn a_hub_on_every_interface_is_found_at_any_loopback_address() {
        let (_tcp, address, _unix) = hub([0, 0, 0, 0]);
        assert!(connect(SocketAddr::from(([127, 0, 0, 3], address.port()))).is_ok());
        let error = connect(SocketAddr::from(([192, 0, 2, 1], address.port()))).unwrap_err();
        assert_eq!(error.to_string(), "the hub is on another machine");
    }

    #[test]
    fn nothing_is_left_of_a_hub_that_is_gone() {
        let (tcp, address, unix) = hub([127, 0, 0, 1]);
        drop((tcp, unix));
        assert!(connect(address).is_err());
        listen(address).unwrap();
    }
}
