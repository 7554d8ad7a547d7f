//! Messages that nobody receives, and receives that nobody serves.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::{Builder, Comm, Config, Error, Request, World};
use edgempi_tests::job::HubProcess;
use edgempi_tests::{on_ranks, say, tcp_worlds};

use super::{alone, assert_usable, most_memory};

/// Queue bytes of a rank by default, and what a message costs there beside its own.
const QUEUE: u64 = 4 << 20;
const OVERHEAD: u64 = 256;
/// Most requests that a rank may have open.
const REQUESTS: usize = 32_768;
/// How many messages nobody receives.
const FLOOD: u32 = 100_000;
/// Bytes of such a message.
const TINY: usize = 4;
const KIBIBYTE: usize = 1024;

/// How many messages fit the queue.
fn queued(len: usize) -> u32 {
    (QUEUE / (OVERHEAD + len as u64)) as u32
}

fn message(number: u32, len: usize) -> Vec<u32> {
    vec![number; len / 4]
}

/// Receives messages 0 to `count` from `source`.
fn drain(comm: &Comm, source: u32, count: u32, len: usize) {
    let mut expected = 0..count;
    while !expected.is_empty() {
        let some: Vec<_> = expected.by_ref().take(500).map(|number| (number, comm.recv::<u32>(source, 7))).collect();
        for (number, request) in some {
            let (came, _) = request.wait().unwrap();
            assert!(came == message(number, len), "message {number} is another one");
        }
    }
}

/// The shortest time that `rounds` there and back with `other` take.
fn ping_pong(comm: &Comm, other: u32, rounds: u32) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        for round in 0..rounds / 10 {
            if comm.rank() < other {
                comm.send(other, 1, [round]).wait().unwrap();
                assert_eq!(comm.recv::<u32>(other, 1).wait().unwrap().0, [round]);
            } else {
                assert_eq!(comm.recv::<u32>(other, 1).wait().unwrap().0, [round]);
                comm.send(other, 1, [round]).wait().unwrap();
            }
        }
        best = best.min(start.elapsed());
    }
    best
}

/// Rank 1 floods rank 2. Rank 0 watches the hub, ranks 3 and 4 talk to each other, and `send` says how rank 1 sends; it
/// calls back once nothing moves any more until somebody receives.
fn flood(len: usize, count: u32, send: impl Fn(&Comm, &dyn Fn()) + Sync) {
    const ROUNDS: u32 = 1000;
    let _alone = alone();
    let (before, in_place, measured) = (Barrier::new(3), Barrier::new(3), Barrier::new(3));
    let over = AtomicBool::new(false);
    on_ranks(tcp_worlds(5), |world| {
        let comm = world.comm();
        match comm.rank().get() {
            0 => watch(world, &over),
            1 => {
                before.wait();
                send(&comm, &|| {
                    in_place.wait();
                    measured.wait();
                });
            }
            2 => {
                // Not before the others are done.
                comm.recv::<u8>(3, 2).wait().unwrap();
                drain(&comm, 1, count, len);
                over.store(true, Ordering::SeqCst);
            }
            rank => {
                let other = 7 - rank;
                let idle = ping_pong(&comm, other, ROUNDS);
                before.wait();
                in_place.wait();
                let flooded = ping_pong(&comm, other, ROUNDS);
                measured.wait();
                if rank == 3 {
                    comm.send(2, 2, [0u8]).wait().unwrap();
                }
                let ratio = flooded.as_secs_f64() / idle.as_secs_f64();
                println!("{} rounds: {idle:?}, and {flooded:?} beside a flood", ROUNDS / 10);
                assert!(ratio < 3.0, "beside a flood everything takes {ratio:.1} times as long");
            }
        }
        assert_usable(&comm);
    });
}

/// The hub's queues fill, and stay within their limits.
fn watch(world: &World, over: &AtomicBool) {
    let mut most = 0;
    while !over.load(Ordering::SeqCst) {
        let status = world.hub_status().expect("the hub is here");
        most = most.max(status.queued);
        // The others have a message or two there, too.
        assert!(status.queued <= QUEUE + 4096, "{status:?}");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(most > QUEUE / 2, "that was no flood: {most} bytes");
}

fn messages_that_nobody_receives_are_refused_at_the_call(len: usize) {
    flood(len, REQUESTS as u32, |comm, in_place| {
        let mut requests: Vec<Request<'_, ()>> =
            (0..FLOOD).map(|number| comm.send(2, 7, message(number, len))).collect();
        for refused in requests.split_off(REQUESTS) {
            assert_eq!(refused.wait(), Err(Error::TooManyRequests { max: REQUESTS as u64 }));
        }
        // What fits the queue is done, the rest waits.
        while requests.iter().filter(|request| request.test()).count() < queued(len) as usize {
            thread::yield_now();
        }
        in_place();
        assert_eq!(requests.iter().filter(|request| request.test()).count(), queued(len) as usize);
        for request in requests {
            request.wait().unwrap();
        }
    });
}

fn a_sender_waits_until_somebody_receives(len: usize) {
    let sent = AtomicU32::new(0);
    flood(len, FLOOD, |comm, in_place| {
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..FLOOD {
                    comm.send(2, 7, message(number, len)).wait().unwrap();
                    sent.store(number + 1, Ordering::SeqCst);
                }
            });
            while sent.load(Ordering::SeqCst) < queued(len) {
                thread::yield_now();
            }
            in_place();
            assert_eq!(sent.load(Ordering::SeqCst), queued(len));
        });
    });
}

#[test]
fn tiny_messages_that_nobody_receives_are_refused_at_the_call() {
    messages_that_nobody_receives_are_refused_at_the_call(TINY);
}

#[test]
fn larger_messages_that_nobody_receives_are_refused_at_the_call() {
    messages_that_nobody_receives_are_refused_at_the_call(KIBIBYTE);
}

#[test]
fn a_sender_of_tiny_messages_waits_until_somebody_receives() {
    a_sender_waits_until_somebody_receives(TINY);
}

#[test]
fn a_sender_of_larger_messages_waits_until_somebody_receives() {
    a_sender_waits_until_somebody_receives(KIBIBYTE);
}

#[test]
fn a_flood_leaves_the_hubs_memory_within_its_limits() {
    let _alone = alone();
    let hub = HubProcess::start(3, &[]);
    let process = hub.process.id();
    let Some(before) = most_memory(process) else {
        say("SKIPPED: the memory of the hub in a flood: this system does not say how much a process has");
        return;
    };
    let joining: Vec<_> =
        (0..3).map(|rank| Builder::new().config(Config::new().addr(&hub.address).size(3).rank(rank)).init()).collect();
    let worlds = joining.into_iter().map(|init| init.wait().expect("the rank joins")).collect();
    let flooded = Barrier::new(3);
    let most = on_ranks(worlds, |world| {
        let comm = world.comm();
        let rank = comm.rank().get();
        if rank == 2 {
            flooded.wait();
            drain(&comm, 0, REQUESTS as u32, TINY);
            drain(&comm, 1, REQUESTS as u32, KIBIBYTE);
        } else {
            let len = [TINY, KIBIBYTE][rank as usize];
            let requests: Vec<_> = (0..FLOOD).map(|number| comm.send(2, 7, message(number, len))).collect();
            flooded.wait();
            let (sent, refused): (Vec<_>, Vec<_>) = requests.into_iter().map(Request::wait).partition(Result::is_ok);
            assert_eq!((sent.len(), refused.len()), (REQUESTS, FLOOD as usize - REQUESTS));
        }
        assert_usable(&comm);
        // The hub lives until the last rank has finalized.
        most_memory(process).expect("it has said so before")
    });
    println!("the hub had {before} bytes before the flood and {most:?} at most");
    assert!(most[2] - before < 40 << 20, "the hub had {} bytes for two floods", most[2] - before);
}

#[test]
fn more_requests_than_may_be_open_are_an_error_at_the_call() {
    let _alone = alone();
    on_ranks(tcp_worlds(2), |world| {
        let comm = world.comm();
        if comm.rank() == 0 {
            let mut receives: Vec<_> = (0..REQUESTS).map(|_| comm.recv::<u32>(1, 7)).collect();
            let start = Instant::now();
            let one_more = comm.recv::<u32>(1, 7).wait().expect_err("that was one too many");
            assert_eq!(one_more, Error::TooManyRequests { max: REQUESTS as u64 });
            assert!(one_more.to_string().contains("32768 requests are open"), "{one_more}");
            assert!(start.elapsed() < Duration::from_secs(10), "the refusal waited for something");
            assert_eq!(comm.barrier().wait(), Err(Error::TooManyRequests { max: REQUESTS as u64 }));
            // The last one first, which is where to look longest; and their cancellation takes a moment.
            while receives.pop().is_some() {}
            while let Err(error) = comm.send(1, 0, [9]).wait() {
                assert_eq!(error, Error::TooManyRequests { max: REQUESTS as u64 });
                thread::yield_now();
            }
        } else {
            assert_eq!(comm.recv::<i32>(0, 0).wait().unwrap().0, [9]);
        }
        assert_usable(&comm);
    });
}
