//! Bare smoltcp in a program that is one loop, without async.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use edgempi_embassy::port::SmoltcpPort;
use edgempi_embassy::{Memory, Options, join, poll_once};
use every_call::{Space, every_call};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

use super::{BOARD, BUFFER, Cable, End, PORT, Relay, SIZE, beside_hosts, calls};
use crate::sleeping::{Bell, StdClock};

/// How long the loop sleeps where nothing comes from the hub: nobody wakes those who look by themselves.
const TICK: Duration = Duration::from_millis(1);

impl Device for End {
    type RxToken<'a> = Came;
    type TxToken<'a> = Going<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Came, Going<'_>)> {
        End::receive(self).map(|frame| (Came(frame), Going(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Going<'_>> {
        Some(Going(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

pub struct Came(Vec<u8>);

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub struct Going<'e>(&'e End);

impl TxToken for Going<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.send(frame);
        result
    }
}

/// A stack with one socket.
struct Side<'s> {
    end: End,
    interface: Interface,
    sockets: &'s RefCell<SocketSet<'static>>,
    handle: SocketHandle,
}

fn address(side: usize) -> IpAddress {
    IpAddress::v4(10, 0, 0, 1 + side as u8)
}

impl<'s> Side<'s> {
    fn new(mut end: End, sockets: &'s RefCell<SocketSet<'static>>) -> Self {
        let config = Config::new(EthernetAddress(end.address()).into());
        let mut interface = Interface::new(config, &mut end, smoltcp::time::Instant::ZERO);
        let own = address(end.side);
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(own, 24)).expect("room for one"));
        let buffer = || SocketBuffer::new(vec![0; BUFFER].leak());
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        let handle = sockets.borrow_mut().add(socket);
        Self { end, interface, sockets, handle }
    }

    /// Returns whether anything has come or gone.
    fn turn(&mut self, start: Instant) -> bool {
        let now = smoltcp::time::Instant::from_micros(start.elapsed().as_micros() as i64);
        self.interface.poll(now, &mut self.end, &mut self.sockets.borrow_mut()) != PollResult::None
    }

    fn is_connected(&self) -> bool {
        self.sockets.borrow().get::<Socket<'_>>(self.handle).may_send()
    }
}

fn board(hub: SocketAddr) {
    let start = Instant::now();
    // Statics, on a board.
    let new_sockets = || RefCell::new(SocketSet::new(vec![SocketStorage::EMPTY].leak()));
    let (own_sockets, other_sockets) = (new_sockets(), new_sockets());
    let [own, other] = Cable::ends();
    let (mut own, mut other) = (Side::new(own, &own_sockets), Side::new(other, &other_sockets));
    other_sockets.borrow_mut().get_mut::<Socket<'_>>(other.handle).listen(PORT).expect("nobody listens yet");
    {
        let mut sockets = own_sockets.borrow_mut();
        let socket = sockets.get_mut::<Socket<'_>>(own.handle);
        socket.connect(own.interface.context(), (address(1), PORT), 49_152).expect("a fresh socket");
    }
    let mut relay: Option<Relay<SmoltcpPort<'_, '_>>> = None;
    let until = start + Duration::from_secs(40);
    let bell = Bell::new();
    let own_handle = own.handle;
    // One turn of the loop; whatever else the program does goes here, too.
    let mut turn = move || {
        let mut moved = own.turn(start) | other.turn(start);
        match &mut relay {
            Some(relay) => moved |= relay.pass_on(&mut Context::from_waker(Waker::noop())),
            None if other.is_connected() => {
                relay = Some(Relay::new(SmoltcpPort::new(other.sockets, other.handle), hub));
            }
            None => {}
        }
        assert!(Instant::now() < until, "the board does not come to its end");
        if !moved && !own.end.has_frames() && !other.end.has_frames() {
            bell.sleep(Instant::now() + TICK);
        }
        own.is_connected()
    };
    while !turn() {}

    let mut memory = Memory::<4, 1024>::new();
    let port = SmoltcpPort::new(&own_sockets, own_handle);
    let mut joining = join(port, StdClock(start), &mut memory, &Options::new(BOARD, SIZE));
    let world = loop {
        if let Some(world) = poll_once(&mut joining) {
            break world.expect("the board joins");
        }
        turn();
    };
    {
        let comm = world.comm();
        let mut space = Space::ZERO;
        // What is written with async for hosts runs in this loop as well.
        let mut calls = pin!(every_call(&comm, &mut space));
        loop {
            if let Some(calls) = poll_once(&mut calls) {
                break calls.unwrap_or_else(|failed| panic!("the board: {failed}"));
            }
            turn();
        }
    }
    let mut leaving = world.finalize();
    loop {
        if let Some(left) = poll_once(&mut leaving) {
            break left.expect("the board leaves");
        }
        turn();
    }
}

#[test]
fn a_board_in_a_loop_over_bare_smoltcp_makes_every_call() {
    beside_hosts(calls, board);
}
