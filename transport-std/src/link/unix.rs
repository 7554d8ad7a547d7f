//! The Unix socket: for ranks on the hub's machine, half the way of TCP.
//!
//! Its name is an abstract one, made of the hub's TCP address: no file is left behind, and whoever can not reach that
//! port, because it is in another network namespace, does not find the name either. But unlike the port, the name can be
//! taken by anybody while the hub has the port: so who takes this way unasked looks whose socket it is.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Uid;

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
    UnixListener::bind_addr(&UnixAddr::from_abstract_name(text(ip, address.port()))?)
}

/// Whose hub it may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    Anybody,
    /// This user's, or root's.
    Trusted(Uid),
}

impl Owner {
    fn check(self, owner: Uid) -> io::Result<()> {
        match self {
            Self::Trusted(user) if owner != user && !owner.is_root() => {
                let text = format!("the Unix socket of that name belongs to user {}", owner.as_raw());
                Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
            }
            Self::Anybody | Self::Trusted(_) => Ok(()),
        }
    }
}

/// Connects to the hub that listens at TCP `address`, if that is on this machine.
pub(super) fn connect(address: SocketAddr, owner: Owner) -> io::Result<UnixStream> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "the hub is on another machine"));
    }
    // A hub that listens on every interface has no address in its name.
    let (ip, port) = (address.ip(), address.port());
    let stream = match connect_to(&text(Some(ip), port)) {
        // Nobody has this name.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => connect_to(&text(None, port)),
        result => result,
    }?;
    owner.check(socket_peercred(&stream)?.uid)?;
    Ok(stream)
}

/// Does not wait: where nobody takes connections, that might last for ever, whatever patience there is.
fn connect_to(name: &str) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    Ok(socket.into())
}

fn text(ip: Option<IpAddr>, port: u16) -> String {
    let ip = ip.map_or_else(|| "*".to_owned(), |ip| ip.to_string());
    format!("edgempi {ip} {port}")
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
        assert!(connect(address, Owner::Anybody).is_ok());
        assert!(connect(SocketAddr::from(([127, 0, 0, 1], address.port())), Owner::Anybody).is_err());
    }

    #[test]
    fn a_hub_on_every_interface_is_found_at_any_loopback_address() {
        let (_tcp, address, _unix) = hub([0, 0, 0, 0]);
        assert!(connect(SocketAddr::from(([127, 0, 0, 3], address.port())), Owner::Anybody).is_ok());
        let error = connect(SocketAddr::from(([192, 0, 2, 1], address.port())), Owner::Anybody).unwrap_err();
        assert_eq!(error.to_string(), "the hub is on another machine");
    }

    #[test]
    fn nothing_is_left_of_a_hub_that_is_gone() {
        let (tcp, address, unix) = hub([127, 0, 0, 1]);
        drop((tcp, unix));
        assert!(connect(address, Owner::Anybody).is_err());
        listen(address).unwrap();
    }

    #[test]
    fn a_socket_whose_queue_is_full_does_not_hold_up_who_connects() {
        let (_tcp, address, unix) = hub([127, 0, 0, 1]);
        rustix::net::listen(&unix, 0).unwrap();
        let (told, tell) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let results: Vec<_> = (0..3).map(|_| connect(address, Owner::Anybody)).collect();
            let _ = told.send(results);
        });
        let results = tell.recv_timeout(std::time::Duration::from_secs(20)).expect("connecting has come to an end");
        assert_eq!(results[2].as_ref().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_stranger_who_has_taken_the_name_is_not_taken_for_the_hub() {
        let (me, other) = (rustix::process::geteuid(), Uid::from_raw(4242));
        assert!(Owner::Trusted(me).check(other).is_err());
        assert!(Owner::Trusted(other).check(other).is_ok());
        assert!(Owner::Trusted(other).check(Uid::ROOT).is_ok());
        assert!(Owner::Anybody.check(other).is_ok());
        let (_tcp, address, _unix) = hub([127, 0, 0, 1]);
        assert!(connect(address, Owner::Trusted(me)).is_ok());
        // Root's are trusted by everybody.
        assert_eq!(connect(address, Owner::Trusted(other)).is_ok(), me.is_root());
    }
}
