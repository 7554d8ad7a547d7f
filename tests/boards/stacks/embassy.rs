//! embassy-net, each of whose futures is polled only when its waker says so.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use edgempi::World;
use edgempi_core::Communicator as _;
use edgempi_embassy::port::TcpPort;
use edgempi_embassy::{Comm, EmbassyClock, Error, Memory, Options, join};
use embassy_net::tcp::TcpSocket;
use embassy_net::{Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use every_call::{Space, every_call};

use super::{BOARD, BUFFER, Cable, End, PORT, Relay, SIZE, beside_hosts, calls};
use crate::sleeping::Bell;

impl Driver for End {
    type RxToken<'a> = Came;
    type TxToken<'a> = Going<'a>;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Came, Going<'_>)> {
        match End::receive(self) {
            Some(frame) => Some((Came(frame), Going(self))),
            None => {
                *self.cable.waiting[self.side].borrow_mut() = Some(context.waker().clone());
                None
            }
        }
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Going<'_>> {
        Some(Going(self))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = 1514;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address())
    }
}

pub struct Came(Vec<u8>);

impl RxToken for Came {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.0)
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

/// Whether a task has been woken, which wakes its thread.
struct Woken {
    is_woken: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.bell.wake_by_ref();
    }
}

/// A future that is polled when it has been woken, and only then.
struct Task<'f, T> {
    future: Pin<&'f mut (dyn Future<Output = T> + 'f)>,
    woken: Arc<Woken>,
}

impl<'f, T> Task<'f, T> {
    fn new(future: Pin<&'f mut (dyn Future<Output = T> + 'f)>, bell: &Arc<Bell>) -> Self {
        let woken = Woken { is_woken: AtomicBool::new(true), bell: Arc::clone(bell) };
        Self { future, woken: Arc::new(woken) }
    }

    fn turn(&mut self) -> Option<T> {
        if !self.woken.is_woken.swap(false, Ordering::SeqCst) {
            return None;
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

fn address(side: u8) -> Ipv4Address {
    Ipv4Address::new(10, 0, 0, 1 + side)
}

fn config(side: u8) -> embassy_net::Config {
    let address = Ipv4Cidr::new(address(side), 24);
    embassy_net::Config::ipv4_static(StaticConfigV4 { address, gateway: None, dns_servers: Default::default() })
}

/// Runs `work` in a world, over a socket of `stack`.
async fn in_world(stack: Stack<'_>, work: impl AsyncFnOnce(&Comm<'_>)) -> Result<(), Error> {
    let (mut receive, mut transmit) = ([0; BUFFER], [0; BUFFER]);
    let mut socket = TcpSocket::new(stack, &mut receive, &mut transmit);
    socket.set_nagle_enabled(false);
    socket.connect((address(1), PORT)).await.expect("the relay listens");
    let mut memory = Memory::<4, 1024>::new();
    // It promises nothing, so no alarm hides that somebody has not been woken.
    let options = Options::new(BOARD, SIZE).max_silence(Duration::ZERO);
    let world = join(TcpPort::new(socket), EmbassyClock, &mut memory, &options).await?;
    work(&world.comm()).await;
    world.finalize().await
}

/// A board that does some work in a world.
fn board(hub: SocketAddr, work: impl AsyncFnOnce(&Comm<'_>)) {
    let [own, other] = Cable::ends();
    let (mut own_resources, mut other_resources) = (StackResources::<2>::new(), StackResources::<2>::new());
    let (own_stack, mut own_runner) = embassy_net::new(own, config(0), &mut own_resources, 1);
    let (other_stack, mut other_runner) = embassy_net::new(other, config(1), &mut other_resources, 2);

    let (mut receive, mut transmit) = ([0; BUFFER], [0; BUFFER]);
    let listen = async {
        let mut socket = TcpSocket::new(other_stack, &mut receive, &mut transmit);
        socket.set_nagle_enabled(false);
        socket.accept(PORT).await.expect("the board comes");
        socket
    };
    let (mut own_run, mut other_run) = (pin!(own_runner.run()), pin!(other_runner.run()));
    let (mut listen, mut stay) = (pin!(listen), pin!(in_world(own_stack, work)));
    let bell = Bell::new();
    let (mut own_run, mut other_run) = (Task::new(own_run.as_mut(), &bell), Task::new(other_run.as_mut(), &bell));
    let (mut listen, mut stay) = (Task::new(listen.as_mut(), &bell), Task::new(stay.as_mut(), &bell));
    let waker = Waker::from(Arc::clone(&bell));
    let mut relay: Option<Relay<TcpPort<'_>>> = None;
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        own_run.turn();
        other_run.turn();
        if let Some(result) = stay.turn() {
            return result.expect("the board leaves the world");
        }
        match &mut relay {
            Some(relay) => while relay.pass_on(&mut Context::from_waker(&waker)) {},
            None => {
                relay = listen.turn().map(|socket| Relay::new(TcpPort::new(socket), hub));
                if relay.is_some() {
                    continue;
                }
            }
        }
        assert!(Instant::now() < until, "the board is not woken any more");
        bell.sleep(until);
    }
}

#[test]
fn a_board_on_embassy_net_makes_every_call() {
    let every_call = async |comm: &Comm<'_>| {
        let mut space = Space::ZERO;
        every_call(comm, &mut space).await.unwrap_or_else(|failed| panic!("the board: {failed}"));
    };
    beside_hosts(calls, |hub| board(hub, every_call));
}

#[test]
fn whoever_tests_a_token_once_keeps_nobody_else_asleep() {
    let hosts = |world: &World| {
        if world.rank() == 0 {
            world.comm().recv::<u8>(BOARD, 1).wait().expect("the board waits now");
            world.comm().send(BOARD, 2, [2u8]).wait().expect("it is sent");
            world.comm().send(BOARD, 3, [3u8]).wait().expect("it is sent");
        }
    };
    let waits = async |comm: &Comm<'_>| {
        let (mut first, mut second) = ([0u8], [0u8]);
        let mut waiting = comm.recv(0, 2, &mut first);
        let mut token = comm.recv(0, 3, &mut second);
        // What is owed to the hub is sent before, so that no alarm wakes anybody.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            assert!(token.test().is_none());
            comm.progress().await;
        }
        let mut ready = None;
        let came = poll_fn(|context| {
            let came = Pin::new(&mut waiting).poll(context);
            if ready.is_none() {
                // From here on nobody polls but whoever waits.
                assert!(came.is_pending() && token.test().is_none());
                ready = Some(comm.send(0, 1, &[1u8]));
            }
            came
        });
        came.await.expect("a message");
        token.await.expect("another message");
        drop((waiting, ready));
        assert_eq!((first, second), ([2], [3]));
    };
    beside_hosts(hosts, |hub| board(hub, waits));
}
