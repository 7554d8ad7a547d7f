//! Too much for whoever is to take it: the giver waits, nobody else does, and the memory of the hub stays bounded.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::thread;

use edgempi::hub::Registry;
use edgempi::{Comm, Error, Request};
use edgempi_core::endpoint::EAGER_OVERHEAD;
use edgempi_core::hub::Config;
use edgempi_core::wire::{Down, Up};
use edgempi_tests::links::Link;
use edgempi_tests::stranger::{Stranger, first_barrier, hello, receive_from};
use edgempi_tests::{LoneHub, join, joining, on_ranks};

use super::data::{are_from, are_from_all, elements, to_all, zeros};
use super::{assert_usable, plain, rank_and_size};

const MIB: usize = 1 << 20;
/// What links, small messages and the harness may hold beside.
const SLACK: usize = 6 * MIB;
const ROUNDS: u32 = 200;

/// Bytes that this process holds: ranks, links and hub.
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

fn held() -> usize {
    HELD.load(Ordering::Relaxed).unsigned_abs()
}

/// With this in its environment, this process runs one test alone.
const CHILD: &str = "EDGEMPI_TEST_CHILD";

/// Runs a test in a process of its own, where nobody else needs memory.
fn alone(test: impl FnOnce()) {
    let name = thread::current().name().expect("tests have names").to_owned();
    // With one thread for all tests this is it, and alone already.
    if std::env::var_os(CHILD).is_some() || name == "main" {
        return test();
    }
    let mut command = Command::new(std::env::current_exe().expect("this test has a path"));
    let output = command.args([&name, "--exact", "--nocapture"]).env(CHILD, "").output().expect("it runs again");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Two ranks talk to each other, as if nothing were.
fn talk(comm: &Comm, other: u32) {
    for round in 0..ROUNDS {
        let sent = comm.send(other, 9, vec![round; 1000]);
        assert_eq!(comm.recv::<u32>(other, 9).wait().unwrap().0, vec![round; 1000]);
        sent.wait().unwrap();
    }
}

pub fn messages_that_nobody_receives_stay_with_their_sender(link: Link) {
    const LEN: usize = 200_000;
    const COUNT: usize = 200;
    let queue = Config::new(4).queue_size as usize;
    let fit = queue / (LEN + EAGER_OVERHEAD as usize);
    alone(|| {
        let (ready, flooded, talked) = (Barrier::new(4), Barrier::new(3), Barrier::new(4));
        on_ranks(plain(link, 4), |world| {
            let (comm, rank) = (world.comm(), world.rank().get());
            // The bytes that all of them are made from are there.
            elements::<u8>(0, 0, 1);
            ready.wait();
            let before = held();
            ready.wait();
            match rank {
                0 => {
                    let sends: Vec<Request<'_, ()>> =
                        (0..COUNT).map(|number| comm.send(1, 1, elements::<u8>(number as u32 % 16, 0, LEN))).collect();
                    // What fits the queue is done, the rest waits.
                    while sends.iter().filter(|send| send.test()).count() < fit {
                        thread::yield_now();
                    }
                    flooded.wait();
                    talked.wait();
                    let done = sends.iter().filter(|send| send.test()).count();
                    assert_eq!(done, fit, "messages of {LEN} bytes, and a queue of {queue}");
                    // Requests keep their buffers until somebody asks for the result.
                    let elsewhere = held().saturating_sub(before + COUNT * LEN);
                    assert!(elsewhere < queue + SLACK, "{elsewhere} bytes are held for a queue of {queue}");
                    comm.barrier().wait().unwrap();
                    sends.into_iter().for_each(|send| send.wait().unwrap());
                }
                1 => {
                    talked.wait();
                    comm.barrier().wait().unwrap();
                    for number in 0..COUNT {
                        let (came, _) = comm.recv::<u8>(0, 1).wait().unwrap();
                        assert!(came.len() == LEN && are_from(number as u32 % 16, 0, &came), "message {number}");
                    }
                }
                _ => {
                    flooded.wait();
                    talk(&comm, 5 - rank);
                    talked.wait();
                    comm.barrier().wait().unwrap();
                }
            }
            assert_usable(world);
        });
    });
}

pub fn a_rank_that_is_late_costs_bounded_memory_and_holds_up_nobody(link: Link) {
    const LEN: usize = 32 * MIB;
    alone(|| {
        let (ready, talked) = (Barrier::new(4), Barrier::new(4));
        let late_has_come = AtomicBool::new(false);
        on_ranks(plain(link, 4), |world| {
            let (comm, rank) = (world.comm(), world.rank().get());
            let mut data = if rank == 0 { vec![7u8; LEN] } else { zeros(LEN) };
            comm.barrier().wait().unwrap();
            ready.wait();
            let before = held();
            ready.wait();
            if rank == 3 {
                talked.wait();
                late_has_come.store(true, Ordering::SeqCst);
                data = comm.bcast(0, data).wait().unwrap();
            } else {
                let request = comm.bcast(0, data);
                if rank > 0 {
                    talk(&comm, 3 - rank);
                }
                let more = held().saturating_sub(before);
                assert!(more < Config::new(4).queue_size as usize + SLACK, "{more} bytes are held for a late rank");
                talked.wait();
                data = request.wait().unwrap();
                assert!(late_has_come.load(Ordering::SeqCst), "{LEN} bytes are held somewhere");
            }
            assert!(data.iter().all(|byte| *byte == 7) && data.len() == LEN);
            assert_usable(world);
        });
    });
}

pub fn more_than_all_buffers_hold_crosses_both_ways_at_once(link: Link) {
    const LEN: usize = 4 * MIB;
    on_ranks(plain(link, 3), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let exchanged = comm.alltoall(to_all::<u8>(size, rank, LEN));
        let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
        let sent = comm.send(next, 1, elements::<u8>(rank, next, LEN));
        let received = comm.recv::<u8>(previous, 1);
        let all = comm.allgather(elements::<u8>(rank, 0, LEN));
        // In another order than they were started.
        assert!(are_from_all(size, |_| 0, &all.wait().unwrap()));
        assert!(are_from(previous, rank, &received.wait().unwrap().0));
        assert!(are_from_all(size, |_| rank, &exchanged.wait().unwrap()));
        sent.wait().unwrap();
        assert_usable(world);
    });
}

/// Only on a link that somebody else can hold the other end of.
#[test]
fn a_rank_that_does_not_read_its_socket_costs_bounded_memory_and_stalls_nobody() {
    const LEN: usize = 64 * MIB;
    alone(|| {
        let hub = LoneHub::start(4);
        let address = hub.address;
        let deaf = thread::spawn(move || {
            let mut deaf = Stranger::join(address, hello(3, 4));
            deaf.say(Up::Submit(first_barrier()), &[]).expect("the hub reads");
            while !matches!(deaf.hear().expect("the hub is there"), (Down::Complete(_), _)) {}
            deaf.say(Up::Submit(receive_from(0, LEN as u64)), &[]).expect("the hub reads");
            deaf
        });
        let worlds = join((0..3).map(|rank| joining(address, 4, rank)), &Registry::new()).expect("they join");
        let deaf = deaf.join().expect("it joins, too");
        let (ready, talked) = (Barrier::new(3), Barrier::new(3));
        let deaf = std::sync::Mutex::new(Some(deaf));
        on_ranks(worlds, |world| {
            let (comm, rank) = (world.comm(), world.rank().get());
            let data = if rank == 0 { vec![1u8; LEN] } else { Vec::new() };
            ready.wait();
            let before = held();
            ready.wait();
            if rank == 0 {
                let request = comm.send(3, 0, data);
                talked.wait();
                let more = held().saturating_sub(before);
                assert!(more < SLACK, "{more} bytes are held for a rank that does not read");
                assert!(!request.test(), "{LEN} bytes are somewhere");
                drop(deaf.lock().expect("nobody panics").take());
                let error = request.wait().expect_err("nobody has read it");
                assert!(matches!(error, Error::RankFailed { .. }), "{error:?}");
            } else {
                talk(&comm, 3 - rank);
                talked.wait();
            }
        });
        drop(hub);
    });
}
