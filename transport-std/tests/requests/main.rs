//! Requests: taken back, several at once, persistent ones, and all of it from many threads.

mod any_call;
mod cancelled;
mod persistent;
mod several;
mod threads;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use edgempi::sim::{Class, Simulation};
use edgempi::{
    ANY_SOURCE, Comm, Communicator, Error, Persistent, Request, SendReceive, Sum, World, block_on, start_all, test_all,
    test_any, test_some, wait_all, wait_any, wait_some,
};

/// More than the hub holds for a rank: such a send waits for its receive.
const LONG: usize = 6 << 20;

fn comms(worlds: &[World]) -> Vec<Comm> {
    worlds.iter().map(World::comm).collect()
}

fn finalize(worlds: Vec<World>) -> Result<(), Error> {
    wait_finalized(worlds.into_iter().map(World::finalize).collect())
}

fn wait_finalized(leaving: Vec<edgempi::Finalize>) -> Result<(), Error> {
    leaving.into_iter().try_for_each(edgempi::Finalize::wait)
}

fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
