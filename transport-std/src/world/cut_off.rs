//! Ranks that lose the link to a hub in their own process. Both ends of it are memory, so nothing can cut it but the end
//! of the thread that moves one of them.

use std::io::{self, IoSlice};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use edgempi_core::Rank;

use super::{Builder, World};
use crate::config::Config;
use crate::engine::RankDriver;
use crate::error::Error;
use crate::link::{Link, Source};
use crate::{ANY_SOURCE, ANY_TAG, Sum};

/// The rank that is cut off, of three.
const CUT: u32 = 2;

/// A link that ends the thread of whoever reads it.
struct Deadly;

impl Link for Deadly {
    fn read(&self, _: &mut [u8]) -> io::Result<usize> {
        panic!("this thread was told to panic");
    }

    fn write(&self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn close_write(&self) {}

    fn source(&self) -> Option<Source<'_>> {
        None
    }

    fn describe(&self) -> String {
        "nowhere".to_owned()
    }
}

/// The engine's thread of this rank panics, wherever it is; so its own end of the link goes, without a goodbye.
fn cut_off(world: &World) {
    let deadly = RankDriver::new(&world.engine, Box::new(Deadly)).unwrap();
    world.engine.set_driver(deadly);
    world.engine.wake();
}

/// Three ranks in this process, whose frames only their engines' threads move.
fn worlds() -> [World; 3] {
    let config = Config::new().spin(Duration::ZERO);
    Builder::new().config(config).local(3).unwrap().try_into().expect("three")
}

#[track_caller]
fn assert_disconnected<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("the link is gone");
    assert_eq!(error.to_string(), "disconnected from the hub: the thread of its engine panicked");
    assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
}

#[track_caller]
fn assert_failed<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("a rank that is needed is cut off");
    let said = error.to_string();
    assert!(said.starts_with("rank 2 has failed: its connection closed without a goodbye"), "{said}");
    assert!(matches!(&error, Error::RankFailed { ranks, .. } if *ranks == [Rank::new(CUT)]), "{error:?}");
}

/// The others have each other, and leave.
fn go_on(survivors: [World; 2]) {
    thread::scope(|scope| {
        for world in survivors {
            scope.spawn(move || {
                let (comm, other) = (world.comm(), 1 - world.rank().get());
                assert_failed(comm.barrier().wait());
                for len in [3, 500_000] {
                    let (came, _) = comm.sendrecv::<u32, u32>(other, 9, vec![1 - other; len], other, 9).wait().unwrap();
                    assert_eq!(came, vec![other; len]);
                }
                world.finalize().wait().unwrap();
            });
        }
    });
}

/// Whatever this rank calls, it is told.
fn nothing_goes(world: World) {
    let comm = world.comm();
    let calls = [
        comm.barrier(),
        comm.send(0, 1, [1u8]),
        comm.recv::<u8>(ANY_SOURCE, ANY_TAG).map(drop),
        comm.iprobe(0, 1).map(drop),
        comm.allreduce(vec![1u64; 100_000], Sum).map(drop),
        comm.dup().map(drop),
    ];
    calls.into_iter().for_each(|call| assert_disconnected(call.wait()));
    assert_disconnected(world.finalize().wait());
}

#[test]
fn who_needs_a_rank_that_is_cut_off_is_told_and_so_is_it() {
    let [first, second, cut] = worlds();
    let waiting = [&first, &second].map(|world| {
        let comm = world.comm();
        [
            comm.barrier(),
            comm.recv::<u8>(CUT, 1).map(drop),
            comm.probe(CUT, 1).map(drop),
            comm.ssend(CUT, 1, vec![0u8; 2 << 20]),
            comm.allreduce(vec![1.5f32; 300_000], Sum).map(drop),
        ]
    });
    let comm = cut.comm();
    let own = [comm.recv::<u8>(0, 2).map(drop), comm.ssend(1, 3, [1u8]), comm.mprobe(ANY_SOURCE, 4).map(drop)];
    cut_off(&cut);
    own.into_iter().for_each(|request| assert_disconnected(request.wait()));
    waiting.into_iter().flatten().for_each(|request| assert_failed(request.wait()));
    nothing_goes(cut);
    go_on([first, second]);
}

#[test]
fn a_cut_in_the_middle_of_a_long_message_hangs_nobody_and_nothing_of_it_comes() {
    const LEN: usize = 4 << 20;
    let [first, second, cut] = worlds();
    let (mut sum, own) = (vec![1u32; LEN], vec![2u32; LEN]);
    // Rank 1 does not come, so the others get no further than a window.
    let waiting = first.comm();
    let waiting = waiting.allreduce_in_place(&mut sum, Sum);
    let giving = cut.comm().allreduce(own, Sum);
    while cut.traffic().sent < 100_000 {
        thread::yield_now();
    }
    cut_off(&cut);
    assert_disconnected(giving.wait());
    assert_failed(waiting.wait());
    assert!(sum.iter().all(|value| *value == 1), "something came in part");
    assert_failed(second.comm().allreduce(vec![3u32; LEN], Sum).wait());
    nothing_goes(cut);
    go_on([first, second]);
}

#[test]
fn all_that_are_cut_off_at_once_are_told() {
    let worlds = worlds();
    let met = Barrier::new(worlds.len());
    thread::scope(|scope| {
        for world in worlds {
            let met = &met;
            scope.spawn(move || {
                let comm = world.comm();
                let waiting = [comm.recv::<u8>(ANY_SOURCE, 1).map(drop), comm.ssend(0, 2, vec![0u8; 1 << 20])];
                met.wait();
                cut_off(&world);
                for request in waiting {
                    let error = request.wait().expect_err("nobody is left");
                    // Some hear of another's end before their own.
                    assert!(matches!(error, Error::Disconnected { .. } | Error::RankFailed { .. }), "{error:?}");
                }
                nothing_goes(world);
            });
        }
    });
}
