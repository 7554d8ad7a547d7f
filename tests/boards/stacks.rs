//! Boards over real network stacks, without an emulator: a board's stack and another one in memory, joined by a cable,
//! and behind the other one a relay to a hub.

mod embassy;
mod smoltcp;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread::ScopedJoinHandle;

use edgempi::{Builder, World, block_on};
use edgempi_embassy::Port;
use edgempi_tests::{LoneHub, Watchdog, joining};
use every_call::{Space, every_call};

use crate::sleeping::{wants_read, wants_write};

/// Two hosts, and the board, which is the last.
const SIZE: u32 = 3;
const BOARD: u32 = SIZE - 1;
/// Bytes of the sockets' buffers.
const BUFFER: usize = 2048;
/// Where the relay listens, in the stack that is not the board's.
const PORT: u16 = 7;

/// Frames on their way, to each of two ends; and who waits for them there.
#[derive(Default)]
struct Cable {
    frames: [RefCell<VecDeque<Vec<u8>>>; 2],
    waiting: [RefCell<Option<Waker>>; 2],
}

/// An end of a [`Cable`].
struct End {
    cable: Rc<Cable>,
    side: usize,
}

impl Cable {
    fn ends() -> [End; 2] {
        let cable = Rc::new(Self::default());
        [0, 1].map(|side| End { cable: Rc::clone(&cable), side })
    }
}

impl End {
    fn receive(&self) -> Option<Vec<u8>> {
        self.cable.frames[self.side].borrow_mut().pop_front()
    }

    fn send(&self, frame: Vec<u8>) {
        let other = 1 - self.side;
        self.cable.frames[other].borrow_mut().push_back(frame);
        if let Some(waker) = self.cable.waiting[other].borrow_mut().take() {
            waker.wake();
        }
    }

    fn has_frames(&self) -> bool {
        !self.cable.frames[self.side].borrow().is_empty()
    }

    /// Two ends have addresses that differ.
    fn address(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1 + self.side as u8]
    }
}

/// What passes bytes on between a port, the board's other end, and a hub.
struct Relay<P> {
    port: P,
    hub: Rc<TcpStream>,
    unsent: Vec<u8>,
}

impl<P: Port> Relay<P> {
    fn new(port: P, hub: SocketAddr) -> Self {
        let hub = TcpStream::connect(hub).expect("the hub listens");
        hub.set_nonblocking(true).expect("a socket can be non-blocking");
        hub.set_nodelay(true).expect("it's TCP");
        Self { port, hub: Rc::new(hub), unsent: Vec::new() }
    }

    /// Passes on what has come, a piece of it each way. Returns whether anything had.
    fn pass_on(&mut self, context: &mut Context<'_>) -> bool {
        let mut bytes = [0; 512];
        if self.unsent.is_empty()
            && let Poll::Ready(Ok(n)) = self.port.poll_read(context, &mut bytes)
        {
            self.unsent.extend_from_slice(&bytes[..n]);
        }
        let n = (&*self.hub).write(&self.unsent).unwrap_or(0);
        self.unsent.drain(..n);
        if !self.unsent.is_empty() {
            wants_write(&self.hub);
        }
        let moved = n > 0;
        let Poll::Ready(Ok(free)) = self.port.poll_free(context, 1) else { return moved };
        let room = free.min(bytes.len());
        match (&*self.hub).read(&mut bytes[..room]) {
            Ok(0) => drop(self.port.poll_close(context)),
            Ok(n) => {
                assert!(self.port.write(&bytes[..n]).is_ok(), "there was room");
                return true;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                wants_read(&self.hub);
            }
        }
        moved
    }
}

/// What hosts do beside a board that makes every call.
fn calls(world: &World) {
    let mut space = Space::ZERO;
    let calls = block_on(every_call(&world.comm(), &mut space));
    calls.unwrap_or_else(|failed| panic!("rank {}: {failed}", world.rank()));
}

/// Runs a board beside two hosts.
fn beside_hosts(work: impl Fn(&World) + Sync, board: impl FnOnce(SocketAddr)) {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(SIZE);
    let address = hub.address;
    std::thread::scope(|scope| {
        let host = |rank| {
            let work = &work;
            scope.spawn(move || {
                let world = Builder::new().config(joining(address, SIZE, rank)).init().wait().expect("a host joins");
                work(&world);
                world.finalize().wait().expect("a host leaves");
            })
        };
        let hosts: Vec<ScopedJoinHandle<'_, ()>> = (0..BOARD).map(host).collect();
        board(address);
        hosts.into_iter().for_each(|host| host.join().expect("a host does not panic"));
    });
    hub.ended();
}
