//! Every call of the library, on inputs that the compiler knows nothing of. The panic handler calls a function that does
//! not exist, so this links only if no panic can be reached.
#![no_std]
#![no_main]

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use edgempi_core::operation::Operation;
use edgempi_core::{ANY_SOURCE, ANY_TAG, Communicator, Group, Instant, Rank, ReduceOp};
use edgempi_embassy::{Clock, Error, Memory, Options, Port, join, poll_once};

unsafe extern "C" {
    safe fn a_panic_is_reachable() -> !;
    fn port_read(bytes: *mut u8, len: usize) -> isize;
    safe fn port_free(wanted: usize) -> isize;
    fn port_write(bytes: *const u8, len: usize) -> isize;
    safe fn port_capacity() -> usize;
    safe fn clock_now() -> u64;
    safe fn input() -> u32;
    safe fn sleep();
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    a_panic_is_reachable()
}

struct ExternPort;

fn poll(n: isize) -> Poll<Result<usize, ()>> {
    match n {
        -1 => Poll::Pending,
        n => Poll::Ready(usize::try_from(n).map_err(|_| ())),
    }
}

impl Port for ExternPort {
    type Error = ();

    fn poll_read(&mut self, _: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, ()>> {
        // SAFETY: the slice is valid for its length.
        let n = unsafe { port_read(bytes.as_mut_ptr(), bytes.len()) };
        poll(n).map_ok(|n| n.min(bytes.len()))
    }

    fn poll_free(&mut self, _: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, ()>> {
        poll(port_free(wanted))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ()> {
        // SAFETY: the slice is valid for its length.
        if unsafe { port_write(bytes.as_ptr(), bytes.len()) } < 0 { Err(()) } else { Ok(()) }
    }

    fn capacity(&self) -> usize {
        port_capacity()
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        poll(port_free(0)).map_ok(|_| ())
    }
}

struct ExternClock;

impl Clock for ExternClock {
    fn now(&self) -> Instant {
        Instant::from_micros(clock_now())
    }

    fn wake_at(&self, at: Instant, waker: &Waker) {
        if at.as_micros() > clock_now() {
            waker.wake_by_ref();
        }
    }
}

/// Objects here are of bytes and floats: how postcard writes integers in as few bytes as they need, with checks that can
/// panic, is not the library's code.
struct Pairs([Rank; 2]);

impl Operation for Pairs {
    const NAME: &'static str = "pairs";
    type Parameters = u8;
    type Input = f32;
    type Output = u8;

    fn parameters(&self) -> u8 {
        input() as u8
    }

    fn group(&self) -> Group<'_> {
        Group::new(&self.0, self.0.split_at(1).0)
    }
}

/// Polls until the end. The library's futures are written by hand; an `async` block here would bring a panic of its own.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        sleep();
    }
}

fn calls() -> Result<(), Error> {
    let mut memory = Memory::<8, 1024>::new();
    let options = Options::new(input(), input()).world("world").max_silence(Duration::from_millis(input().into()));
    let world = wait(join(ExternPort, ExternClock, &mut memory, &options.wait(Duration::from_secs(input().into()))))?;
    let comm = world.comm();
    let (mut data, mut block, mut small) = ([input(); 64], [input(); 16], [input() as u16; 4]);
    let len = (input() as usize).min(data.len());
    let (data, root) = (data.split_at_mut(len).0, input());
    wait(comm.barrier())?;
    wait(comm.bcast(root, data))?;
    wait(comm.gather(root, &block, data))?;
    wait(comm.scatter(root, data, &mut block))?;
    wait(comm.allgather(&block, data))?;
    wait(comm.alltoall(&block, data))?;
    wait(comm.reduce_in_place(root, data, ReduceOp::Sum))?;
    wait(comm.allreduce(&block, data, ReduceOp::Max))?;
    wait(comm.allreduce_in_place(data, ReduceOp::Min))?;
    wait(comm.send(root, input(), data))?;
    wait(comm.recv(ANY_SOURCE, ANY_TAG, data))?;
    let received = wait(comm.sendrecv(root, input(), &block, root, input(), data))?;
    let mut scratch = [0; 32];
    wait(comm.send_object(root, input(), &(input() as u8, received.bytes as f32), &mut scratch))?;
    let ((first, second), _): ((u8, f32), _) = wait(comm.recv_object(root, input(), &mut scratch))?;
    let value: u8 = wait(comm.bcast_object(root, Some(&first), &mut scratch))?;
    let mut output = [0; 8];
    let pairs = Pairs([Rank::new(input()), Rank::new(input())]);
    let applied = wait(comm.apply(&pairs, Some(&second), &mut scratch, &mut output))?;
    let mut fill = |offset: usize, bytes: &mut [u8]| bytes.fill(offset as u8);
    let mut sum = 0u32;
    let mut take = |offset: usize, bytes: &[u8]| sum = sum.wrapping_add((offset + bytes.len()) as u32);
    wait(comm.reduce_from::<f32>(root, input() as usize, ReduceOp::Sum, &mut fill))?;
    wait(comm.allreduce_from::<f32>(input() as usize, ReduceOp::Sum, &mut fill, &mut take))?;
    if let Some(part) = wait(comm.split(Some(applied.unwrap_or(value).into()), sum as i32))? {
        wait(part.barrier())?;
    }
    let mut token = comm.allreduce_in_place(&mut small, ReduceOp::Sum);
    while token.test().is_none() {
        wait(comm.progress());
    }
    let mut other = comm.barrier();
    let _ = poll_once(&mut other);
    drop(other);
    world.last_reason(|reason| if reason.len() > 3 { sleep() });
    #[cfg(feature = "plant")]
    assert!(sum != 7, "a planted panic");
    drop(token);
    drop(comm);
    wait(world.finalize())
}

/// Where the image begins.
#[unsafe(no_mangle)]
pub extern "C" fn start() -> u32 {
    match calls() {
        Ok(()) => 0,
        Err(error) => u32::from(error.category().code()) + error.number() as u32,
    }
}
