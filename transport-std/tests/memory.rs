//! Requests that are dropped give their memory back. Alone in its file: it counts what the process holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::{Error, Sum};

static HELD: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

#[test]
fn requests_that_are_given_up_give_their_buffers_back() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let (first, second) = (worlds[0].comm(), worlds[1].comm());
    let mut gradient = vec![1.0f32; MIB];
    let before = HELD.load(Ordering::Relaxed);
    for _ in 0..40 {
        // As a program does that can not wait any longer.
        drop(first.allreduce_in_place(&mut gradient, Sum));
    }
    let start = Instant::now();
    while HELD.load(Ordering::Relaxed) > before + 8 * MIB as isize {
        let held = (HELD.load(Ordering::Relaxed) - before) / MIB as isize;
        assert!(start.elapsed() < Duration::from_secs(10), "{held} MiB are held for 40 buffers of 4 MiB");
        thread::yield_now();
    }
    // The other one is told of each, and the communicator goes on.
    for _ in 0..40 {
        let told = second.allreduce_in_place(&mut gradient, Sum).wait();
        assert!(matches!(told, Err(Error::Cancelled { .. })), "{told:?}");
    }
    let barriers = [first.barrier(), second.barrier()];
    barriers.into_iter().try_for_each(|barrier| barrier.wait())
}
