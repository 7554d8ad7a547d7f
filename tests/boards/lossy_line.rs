//! A serial line that loses and flips bytes: calls have the right results, or fail; none has a wrong one.

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use edgempi::{Builder, Sum};
use edgempi_core::serial::Frame;
use edgempi_core::{Communicator, ReduceOp};
use edgempi_embassy::port::SerialLine;
use edgempi_embassy::{Error, Memory, Options, join};
use edgempi_tests::bridge::OwnBridge;
use edgempi_tests::{LoneHub, Watchdog, joining};
use embedded_io_async::{ErrorKind as LineError, ErrorType, Read, Write};

use crate::sleeping::{StdClock, drive, wants_read, wants_write};

/// One byte in so many is flipped or lost.
const ODDS: u64 = 1000;
const SEEDS: u64 = 24;
const ROUNDS: u32 = 12;
const LEN: usize = 400;

/// xorshift64*: which bytes suffer.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    /// What becomes of bytes on the line.
    fn spoil(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut arrived = Vec::new();
        for byte in bytes {
            match self.below(2 * ODDS) {
                0 => {}
                1 => arrived.push(byte ^ (1 << self.below(8))),
                _ => arrived.push(*byte),
            }
        }
        arrived
    }
}

/// One direction of the board's line.
struct Half {
    line: Rc<TcpStream>,
    chance: Chance,
    /// Bytes that have suffered or not, and are still to leave.
    unsent: Vec<u8>,
}

impl ErrorType for Half {
    type Error = LineError;
}

impl Read for Half {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, LineError> {
        loop {
            let n = poll_fn(|_| match (&*self.line).read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wants_read(&self.line);
                    Poll::Pending
                }
                Err(_) => Poll::Ready(Err(LineError::Other)),
                Ok(0) => Poll::Ready(Err(LineError::Other)),
                Ok(n) => Poll::Ready(Ok(n)),
            })
            .await?;
            let arrived = self.chance.spoil(&bytes[..n]);
            if !arrived.is_empty() {
                bytes[..arrived.len()].copy_from_slice(&arrived);
                return Ok(arrived.len());
            }
        }
    }
}

impl Write for Half {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, LineError> {
        self.unsent = self.chance.spoil(bytes);
        self.flush().await?;
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), LineError> {
        poll_fn(|_| {
            while !self.unsent.is_empty() {
                match (&*self.line).write(&self.unsent) {
                    Ok(n) => drop(self.unsent.drain(..n)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        wants_write(&self.line);
                        return Poll::Pending;
                    }
                    Err(_) => return Poll::Ready(Err(LineError::Other)),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// What `rank` gives in round `number`.
fn given(rank: u32, number: u32) -> Vec<u32> {
    (0..LEN as u32).map(|at| (rank * 7919 + number * 104_729 + at).wrapping_mul(2_654_435_761)).collect()
}

fn total(number: u32) -> Vec<u32> {
    given(0, number).into_iter().zip(given(1, number)).map(|(a, b)| a.wrapping_add(b)).collect()
}

/// A board behind a bad line. Returns how many rounds it had right results in.
fn board(bridge: &OwnBridge, seed: u64) -> u32 {
    let line = Rc::new(TcpStream::connect(bridge.address).expect("the bridge listens"));
    line.set_nonblocking(true).expect("a socket can be non-blocking");
    line.set_nodelay(true).expect("it's TCP");
    let half = |number| Half { line: Rc::clone(&line), chance: Chance::new(2 * seed + number), unsent: Vec::new() };
    let (mut send, mut receive) = ([Frame::EMPTY; 4], [Frame::EMPTY; 4]);
    let start = Instant::now();
    let line: SerialLine<'_, _> = SerialLine::new(StdClock(start), Duration::ZERO, &mut send, &mut receive);
    let (port, runner) = line.split(half(0), half(1));
    let mut memory = Memory::<4, 1024>::new();
    let right = Cell::new(0);
    let stay = async {
        let world = join(port, StdClock(start), &mut memory, &Options::new(1, 2)).await?;
        let comm = world.comm();
        for number in 0..ROUNDS {
            let mut sum = given(1, number);
            comm.allreduce_in_place(&mut sum, ReduceOp::Sum).await?;
            assert!(sum == total(number), "seed {seed}: a wrong sum in round {number}");
            right.set(right.get() + 1);
        }
        drop(comm);
        world.finalize().await
    };
    let mut has_ended = false;
    let (mut stay, mut running) = (pin!(stay), pin!(runner.run()));
    let result: Result<(), Error> = drive(poll_fn(|context| {
        if !has_ended {
            has_ended = running.as_mut().poll(context).is_ready();
        }
        stay.as_mut().poll(context)
    }));
    if let Err(error) = result {
        eprintln!("seed {seed}: {error}");
    }
    right.get()
}

#[test]
fn a_line_that_loses_and_flips_bytes_gives_right_sums_or_an_error() {
    let _watchdog = Watchdog::start();
    let mut right = 0;
    for seed in 0..SEEDS {
        let hub = LoneHub::start(2);
        let bridge = OwnBridge::start(hub.address);
        let address = hub.address;
        let ended = std::thread::scope(|scope| {
            let host = scope.spawn(move || {
                let world = Builder::new().config(joining(address, 2, 0)).init().wait()?;
                for number in 0..ROUNDS {
                    let sum = world.comm().allreduce(given(0, number), Sum).wait()?;
                    assert!(sum == total(number), "seed {seed}: a wrong sum in round {number}");
                }
                world.finalize().wait()
            });
            right += board(&bridge, seed);
            host.join().expect("a host does not panic")
        });
        if let Err(error) = ended {
            eprintln!("seed {seed}: {error}");
        }
    }
    let all = SEEDS as u32 * ROUNDS;
    assert!(right > all * 9 / 10, "the line gets over few of its losses: {right} right sums of {all}");
}
