//! A link over a network: TCP, by embassy-net.

use core::net::{Ipv4Addr, SocketAddrV4};

use edgempi_embassy::port::TcpPort;
use embassy_net::tcp::{ConnectError, TcpSocket};
use embassy_net::{Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_time::Duration;
use embedded_io_async::ErrorKind;
use static_cell::ConstStaticCell;

use super::{Keeper, Link, Stream};
use crate::{Arguments, Failure};

/// How many sockets an application may have open: one to the host, and those embassy-net itself needs.
pub const SOCKETS: usize = 2;

/// What embassy-net keeps a board's sockets in.
pub type Resources = StackResources<SOCKETS>;

/// A host that answers nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(10);

/// Bytes that may be under way to a board, and from it. No driver of ours loses packets over this: the LAN9118, say,
/// holds 10 kB.
const WINDOW: usize = 4096;

/// A network with a host in it, at the address that the argument `hub` says.
pub struct Network {
    stack: Stack<'static>,
    receive: &'static mut [u8],
    transmit: &'static mut [u8],
}

impl Network {
    /// A link over `stack`.
    ///
    /// # Panics
    ///
    /// If there is one already: there is one pair of buffers.
    pub fn new(stack: Stack<'static>) -> Self {
        static RECEIVE: ConstStaticCell<[u8; WINDOW]> = ConstStaticCell::new([0; WINDOW]);
        static TRANSMIT: ConstStaticCell<[u8; WINDOW]> = ConstStaticCell::new([0; WINDOW]);
        Self { stack, receive: RECEIVE.take(), transmit: TRANSMIT.take() }
    }
}

impl Link for Network {
    type Stream<'a> = TcpSocket<'a>;

    type Port<'a> = TcpPort<'a>;
    type Keeper<'a> = Kept;

    async fn connect<'a>(&'a mut self, arguments: &Arguments<'_>) -> Result<(TcpPort<'a>, Kept), Failure> {
        Ok((TcpPort::new(self.open(arguments).await?), Kept))
    }

    async fn open<'a>(&'a mut self, arguments: &Arguments<'_>) -> Result<TcpSocket<'a>, Failure> {
        let hub: SocketAddrV4 = arguments.need("hub")?;
        self.stack.wait_config_up().await;
        let mut socket = TcpSocket::new(self.stack, self.receive, self.transmit);
        // What is written is to leave now: who writes little waits for an answer to it.
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(SILENCE));
        socket.connect((*hub.ip(), hub.port())).await.map_err(|error| Failure::Unreachable(kind(error)))?;
        Ok(socket)
    }
}

/// The network has a task of its own.
pub struct Kept;

impl Keeper for Kept {
    fn keep(self) -> impl Future<Output = Failure> {
        core::future::pending()
    }
}

impl Stream for TcpSocket<'_> {
    async fn close(mut self) {
        TcpSocket::close(&mut self);
        // Whatever the host did not take, it won't any more.
        let _ = TcpSocket::flush(&mut self).await;
    }
}

fn kind(error: ConnectError) -> ErrorKind {
    match error {
        ConnectError::InvalidState => ErrorKind::Other,
        ConnectError::ConnectionReset => ErrorKind::ConnectionRefused,
        ConnectError::TimedOut => ErrorKind::TimedOut,
        ConnectError::NoRoute => ErrorKind::AddrNotAvailable,
    }
}

/// A fixed address, for networks without DHCP: the one that the argument `address` says, or else `usual`; others are
/// reached through `gateway`.
///
/// # Errors
///
/// If the argument is no IPv4 address.
pub fn fixed_address(
    arguments: &Arguments<'_>,
    usual: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Result<embassy_net::Config, Failure> {
    let address = arguments.find("address")?.unwrap_or(usual);
    Ok(embassy_net::Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(address, 24),
        gateway: Some(gateway),
        dns_servers: Default::default(),
    }))
}
