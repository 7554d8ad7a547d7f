//! How ranks leave: with a goodbye, which loses nothing, and without.

use std::thread;

use edgempi::{ANY_SOURCE, ANY_TAG, Error, Rank, Source, Sum, World};
use edgempi_tests::Watchdog;
use edgempi_tests::links::Link;

use super::data::{are_from, elements};
use super::plain;

/// Lets each rank do something of its own with its world.
fn each_alone(worlds: Vec<World>, act: impl Fn(World) + Sync) {
    let _watchdog = Watchdog::start();
    let act = &act;
    thread::scope(|scope| {
        for world in worlds {
            scope.spawn(move || act(world));
        }
    });
}

#[track_caller]
fn assert_failed(error: &Error, rank: u32, why: &str) {
    assert!(matches!(error, Error::RankFailed { ranks, .. } if *ranks == [Rank::new(rank)]), "{error:?}");
    assert!(error.to_string().contains(why), "{error}");
}

/// What is eager has left before goodbye; what is not is waited for, although nobody waits for its request.
pub fn what_was_sent_before_goodbye_arrives(link: Link) {
    const LENGTHS: [usize; 4] = [0, 5, 100_000, 2_000_000];
    each_alone(plain(link, 3), |world| {
        let comm = world.comm();
        if comm.rank() == 0 {
            for (tag, len) in (0..).zip(LENGTHS) {
                drop(comm.send(1, tag, elements::<u16>(0, tag, len)));
            }
            drop(comm.allreduce(vec![1u32; 300_000], Sum));
        } else {
            drop(comm.allreduce(vec![1u32; 300_000], Sum));
        }
        if comm.rank() == 1 {
            for (tag, len) in (0..).zip(LENGTHS) {
                let (came, _) = comm.recv::<u16>(0, tag).wait().unwrap();
                assert!(came.len() == len && are_from(0, tag, &came));
            }
        }
        world.finalize().wait().unwrap();
    });
}

pub fn receives_that_nobody_can_serve_are_told(link: Link) {
    each_alone(plain(link, 3), |world| {
        let comm = world.comm();
        if comm.rank() != 0 {
            return world.finalize().wait().unwrap();
        }
        let anybodys = comm.recv::<u8>(ANY_SOURCE, 0);
        let error = comm.recv::<u8>(1, 0).wait().expect_err("nobody sends");
        assert!(matches!(error, Error::RankFinished { .. }), "{error:?}");
        let error = comm.recv::<u8>(2, 0).wait().expect_err("nobody sends");
        assert!(matches!(error, Error::RankFinished { .. }), "{error:?}");
        // It may look whether anything is left, and send to itself what it waits for.
        for source in [Source::Rank(Rank::new(1)), ANY_SOURCE] {
            assert_eq!(comm.iprobe(source, ANY_TAG).wait().unwrap(), None);
        }
        comm.send(0, 0, [7u8]).wait().unwrap();
        assert_eq!(anybodys.wait().unwrap().0, [7]);
        // One's own is given up when one leaves.
        let own = comm.recv::<u8>(0, 0);
        let finalize = world.finalize();
        let error = own.wait().expect_err("nobody sends");
        assert!(matches!(error, Error::RankFinished { rank, .. } if rank == 0), "{error:?}");
        finalize.wait().unwrap();
    });
}

pub fn nothing_starts_after_goodbye(link: Link) {
    each_alone(plain(link, 2), |world| {
        let comm = world.comm();
        let finalize = world.finalize();
        assert_eq!(comm.barrier().wait(), Err(Error::Finalized));
        assert_eq!(comm.send(0, 0, [1u8]).wait(), Err(Error::Finalized));
        finalize.wait().unwrap();
        assert_eq!(comm.allreduce([1], Sum).wait(), Err(Error::Finalized));
    });
}

pub fn a_world_that_is_dropped_has_failed(link: Link) {
    each_alone(plain(link, 3), |world| {
        let comm = world.comm();
        if comm.rank() == 2 {
            drop(world);
            assert!(comm.barrier().wait().is_err());
            return;
        }
        let error = comm.barrier().wait().expect_err("rank 2 does not come");
        assert_failed(&error, 2, "without finalize()");
        world.finalize().wait().unwrap();
    });
}

pub fn a_rank_that_has_left_is_missed_by_name(link: Link) {
    each_alone(plain(link, 3), |world| {
        let comm = world.comm();
        if comm.rank() == 1 {
            return world.finalize().wait().unwrap();
        }
        let error = comm.allreduce(vec![1; 1000], Sum).wait().expect_err("rank 1 has left");
        assert!(matches!(error, Error::RankFinished { rank, .. } if rank == 1), "{error:?}");
        let error = comm.recv::<u8>(1, 0).wait().expect_err("rank 1 has left");
        assert!(matches!(error, Error::RankFinished { rank, .. } if rank == 1), "{error:?}");
        world.finalize().wait().unwrap();
    });
}
