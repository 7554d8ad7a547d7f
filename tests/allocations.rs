//! What passes through a hub takes no new memory. Alone in its file: it counts what the process allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use edgempi::hub::Registry;
use edgempi::{Comm, Error, Sum, World};
use edgempi_tests::{free_address, hosted, join};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// One call of all ranks on vectors of so many bytes.
type Call = fn(&Comm, Vec<u8>) -> Result<Vec<u8>, Error>;

fn bcast(comm: &Comm, data: Vec<u8>) -> Result<Vec<u8>, Error> {
    comm.bcast(1, data).wait()
}

fn allreduce(comm: &Comm, data: Vec<u8>) -> Result<Vec<u8>, Error> {
    comm.allreduce(data, Sum).wait()
}

fn alltoall(comm: &Comm, data: Vec<u8>) -> Result<Vec<u8>, Error> {
    comm.alltoall(data).wait()
}

fn ring(comm: &Comm, data: Vec<u8>) -> Result<Vec<u8>, Error> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let sending = comm.send((rank + 1) % size, 0, data);
    let (received, _) = comm.recv((rank + size - 1) % size, 0).wait()?;
    sending.wait()?;
    Ok(received)
}

/// Allocations and frames of one call on all ranks, once warm: the fewest of several, because a message that reaches the hub
/// before its receive waits there in a list, which is a matter of chance.
fn cost(worlds: &[World], call: Call, len: usize) -> (usize, u64) {
    let frames =
        || worlds.iter().map(|world| world.traffic().frames_sent + world.traffic().frames_received).sum::<u64>();
    let mut cost = (usize::MAX, 0);
    for _ in 0..5 {
        let before = (ALLOCATIONS.load(Ordering::Relaxed), frames());
        thread::scope(|scope| {
            for world in worlds {
                scope.spawn(|| call(&world.comm(), vec![1; len]).expect("nothing is wrong with this world"));
            }
        });
        cost = cost.min((ALLOCATIONS.load(Ordering::Relaxed) - before.0, frames() - before.1));
    }
    cost
}

#[test]
fn frames_through_a_hub_take_no_new_memory() {
    let hub = free_address();
    let worlds = join((0..4).map(|rank| hosted(hub, 4, rank)), &Registry::new()).expect("a world");
    let calls: [(&str, Call); 4] = [("bcast", bcast), ("allreduce", allreduce), ("alltoall", alltoall), ("ring", ring)];
    for (name, call) in calls {
        let (few, few_frames) = cost(&worlds, call, 2 * MIB);
        let (many, many_frames) = cost(&worlds, call, 16 * MIB);
        println!("{name}: {few} allocations with {few_frames} frames, {many} with {many_frames}");
        assert!(many_frames > 5 * few_frames, "{name}: {few_frames} frames, {many_frames} frames");
        assert!(many <= few + 8, "{name}: {few} allocations with {few_frames} frames, {many} with {many_frames}");
    }
}
