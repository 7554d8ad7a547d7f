//! A rank that dies: whoever needs it is told at once, the others go on.

use std::sync::{Barrier, Mutex};
use std::thread;

use edgempi::{ANY_SOURCE, ANY_TAG, Error, Rank, Sum, World};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::plain;

/// The ranks of a world but the last, and the last by itself.
fn split_off(mut worlds: Vec<World>) -> (Vec<World>, Mutex<Option<World>>) {
    let victim = worlds.pop();
    (worlds, Mutex::new(victim))
}

fn die(victim: &Mutex<Option<World>>) {
    drop(victim.lock().expect("nobody panics here").take());
}

#[track_caller]
fn assert_failed<T: std::fmt::Debug>(result: Result<T, Error>, rank: u32) {
    let error = result.expect_err("a rank that is needed has died");
    assert!(matches!(&error, Error::RankFailed { ranks, .. } if *ranks == [Rank::new(rank)]), "{error:?}");
}

pub fn whoever_needs_a_dead_rank_is_told(link: Link) {
    let (worlds, victim) = split_off(plain(link, 3));
    let started = Barrier::new(2);
    on_ranks(worlds, |world| {
        let comm = world.comm();
        let (barrier, sum) = (comm.barrier(), comm.allreduce(vec![1.5f64; 100_000], Sum));
        let all = comm.objects().allgather(&"hello".to_owned());
        let from = comm.recv::<u8>(2, ANY_TAG);
        let sent = comm.send(2, 1, vec![0u8; 9 << 20]);
        started.wait();
        if comm.rank() == 0 {
            die(&victim);
        }
        assert_failed(barrier.wait(), 2);
        assert_failed(sum.wait(), 2);
        assert_failed(all.wait(), 2);
        assert_failed(from.wait(), 2);
        assert_failed(sent.wait(), 2);
        // So is whoever asks later.
        assert_failed(comm.bcast(0, [1u8]).wait(), 2);
        assert_failed(comm.split(Some(0), 0).wait(), 2);
    });
}

pub fn a_death_in_the_middle_of_a_stream_is_told(link: Link) {
    const LEN: usize = 16 << 20;
    let (worlds, victim) = split_off(plain(link, 3));
    on_ranks(worlds, |world| {
        let comm = world.comm();
        let is_first = comm.rank() == 0;
        let before = world.traffic().received;
        let request = comm.bcast(2, vec![0u8; LEN]);
        if is_first {
            let given =
                victim.lock().expect("nobody panics here").as_ref().map(|world| world.comm().bcast(2, vec![1u8; LEN]));
            // Some of it has come.
            while world.traffic().received < before + 1_000_000 {
                thread::yield_now();
            }
            die(&victim);
            drop(given);
        }
        match request.wait() {
            // The hub had all of it already.
            Ok(data) => assert!(data.iter().all(|byte| *byte == 1) && data.len() == LEN),
            error => assert_failed(error, 2),
        }
    });
}

pub fn survivors_go_on(link: Link) {
    let (worlds, victim) = split_off(plain(link, 4));
    let rest = Barrier::new(3);
    let victims = thread::scope(|scope| {
        // The part of the survivors was made before.
        let split = scope.spawn(|| {
            let world = victim.lock().expect("nobody panics here");
            let comm = world.as_ref().expect("it lives").comm();
            comm.split(None, 0).wait().unwrap().is_none()
        });
        on_ranks(worlds, |world| {
            let comm = world.comm();
            let part = comm.split(Some(1), 0).wait().unwrap().expect("a colour was said");
            rest.wait();
            if comm.rank() == 0 {
                die(&victim);
            }
            assert_failed(comm.barrier().wait(), 3);
            let rank = part.rank().get();
            assert_eq!(part.allreduce(vec![rank; 200_000], Sum).wait().unwrap(), vec![3; 200_000]);
            // And messages, on the world as well.
            let sent = comm.send((rank + 1) % 3, 1, [rank]);
            let (came, _) = comm.recv::<u32>(ANY_SOURCE, 1).wait().unwrap();
            assert_eq!(came, [(rank + 2) % 3]);
            sent.wait().unwrap();
        });
        split.join().expect("it does not panic")
    });
    assert!(victims);
}

pub fn one_is_left_when_all_others_die(link: Link) {
    let mut worlds = plain(link, 4);
    let others = worlds.split_off(1);
    let started = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            started.wait();
            drop(others);
        });
        on_ranks(worlds, |world| {
            let comm = world.comm();
            let anybody = comm.recv::<u8>(ANY_SOURCE, ANY_TAG);
            let all = comm.allgather(vec![1u8; 1000]);
            started.wait();
            for error in [anybody.wait().map(drop), all.wait().map(drop)] {
                let error = error.expect_err("nobody is left");
                assert!(matches!(error, Error::RankFailed { .. }), "{error:?}");
            }
            // With oneself it still works.
            comm.send(0, 1, [7]).wait().unwrap();
            assert_eq!(comm.recv::<i32>(0, 1).wait().unwrap().0, [7]);
        });
    });
}
