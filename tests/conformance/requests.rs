//! Several requests at once, what becomes of their results, and calls that are taken back.

use std::thread;

use edgempi::hub::Registry;
use edgempi::{
    Config, Error, Max, Request, Status, Sum, block_on, test_all, test_any, test_some, wait_all, wait_any, wait_some,
};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, elements};
use super::{LENS, assert_usable, neighbours, plain, rank_and_size};

const SIZE: u32 = 4;
const COUNT: u32 = 20;

/// Short and long ones.
fn len(tag: u32) -> usize {
    LENS[tag as usize % 2]
}

type Received = (Vec<u32>, Status);
/// Gets the results of all of these, with their places.
type Collect = fn(Vec<Request<'_, Received>>) -> Vec<(usize, Received)>;

/// Runs a round of messages around the ring whose sends are started in another order than the receives, and checks that
/// what `collect` makes of the receives is each of them once.
fn ring(link: Link, collect: Collect) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (next, previous)) = (world.comm(), neighbours(world));
        let receives: Vec<_> = (0..COUNT).map(|tag| comm.recv::<u32>(previous, tag)).collect();
        // The last first.
        let sends: Vec<_> = (0..COUNT).rev().map(|tag| comm.send(next, tag, vec![tag; len(tag)])).collect();
        let mut ended = Vec::new();
        for (index, (came, status)) in collect(receives) {
            let tag = index as u32;
            assert!(status.tag == tag && status.source == previous && came == vec![tag; len(tag)]);
            ended.push(tag);
        }
        ended.sort_unstable();
        assert!(ended.into_iter().eq(0..COUNT));
        wait_all(sends).wait().unwrap();
        assert_usable(world);
    });
}

pub fn all_are_waited_for_and_tested(link: Link) {
    ring(link, |mut requests| {
        let mut tested = requests.split_off(COUNT as usize / 2);
        let first = wait_all(requests).wait().unwrap();
        let later = loop {
            match test_all(&mut tested) {
                Some(results) => break results.unwrap(),
                None => thread::yield_now(),
            }
        };
        assert!(test_all::<()>(&mut []).is_some_and(|none| none.unwrap().is_empty()));
        first.into_iter().chain(later).enumerate().collect()
    });
}

pub fn any_is_waited_for_and_tested(link: Link) {
    ring(link, |mut requests| {
        let mut ended = Vec::new();
        while ended.len() < requests.len() {
            // A look, or a wait, in turns.
            let found =
                if ended.len().is_multiple_of(2) { wait_any(&mut requests).wait() } else { test_any(&mut requests) };
            let Some((index, result)) = found else {
                thread::yield_now();
                continue;
            };
            assert!(!requests[index].is_active());
            ended.push((index, result.unwrap()));
        }
        assert!(wait_any(&mut requests).wait().is_none() && test_any(&mut requests).is_none());
        ended
    });
}

pub fn some_are_waited_for_and_tested(link: Link) {
    ring(link, |mut requests| {
        let mut ended = Vec::new();
        let mut waits = true;
        while ended.len() < requests.len() {
            let found = if waits { wait_some(&mut requests).wait() } else { test_some(&mut requests) };
            assert!(!waits || !found.is_empty());
            waits = !waits;
            thread::yield_now();
            for (index, result) in found {
                ended.push((index, result.unwrap()));
            }
        }
        assert!(wait_some(&mut requests).wait().is_empty() && test_some(&mut requests).is_empty());
        ended
    });
}

/// What a call of another kind brings becomes the same type by `map`, and a future like any other.
pub fn results_of_different_calls_become_one_type(link: Link) {
    #[derive(Debug, PartialEq)]
    enum Outcome {
        Sent,
        Received(Vec<u16>),
        Sum(u64),
        Word(String),
    }
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let (next, previous) = neighbours(world);
        for len in LENS {
            let start = || -> [Request<'_, Outcome>; 4] {
                [
                    comm.recv::<u16>(previous, 1).map(|(came, _)| Outcome::Received(came)),
                    comm.send(next, 1, elements::<u16>(rank, 1, len)).map(|()| Outcome::Sent),
                    comm.allreduce(vec![u64::from(rank); len], Sum).map(move |sum| Outcome::Sum(sum[len - 1])),
                    comm.objects().bcast(2, (rank == 2).then(|| "word".to_owned())).map(Outcome::Word),
                ]
            };
            let expected = [
                Outcome::Received(elements::<u16>(previous, 1, len)),
                Outcome::Sent,
                Outcome::Sum(u64::from(size * (size - 1) / 2)),
                Outcome::Word("word".to_owned()),
            ];
            assert!(wait_all(start()).wait().unwrap() == expected);
            // Awaited, the last first.
            let outcomes = block_on(async {
                let mut outcomes = Vec::new();
                for request in start().into_iter().rev() {
                    outcomes.push(request.await.unwrap());
                }
                outcomes
            });
            assert!(outcomes.into_iter().rev().eq(expected));
        }
        assert_usable(world);
    });
}

/// A result is there although nobody waits: testing alone sees it.
pub fn results_come_without_anybody_waiting(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for len in LENS {
            let sum = comm.allreduce(vec![rank; len], Sum);
            let largest = comm.allreduce(vec![rank; len], Max);
            while !(sum.test() && largest.test()) {
                thread::yield_now();
            }
            assert!(sum.is_active(), "its result has not been asked for");
            assert_eq!(sum.wait().unwrap(), vec![size * (size - 1) / 2; len]);
            assert_eq!(largest.wait().unwrap(), vec![size - 1; len]);
        }
        assert_usable(world);
    });
}

/// In time it is as if the call had not been made; too late, and the message arrives. It is one of the two.
pub fn a_receive_that_is_cancelled_takes_its_message_or_leaves_it(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for (round, len) in (0..20).flat_map(|round| LENS.map(|len| (round, len))) {
            // Nobody sends this.
            assert_eq!(comm.recv::<u8>(previous, 99).cancel().wait().unwrap(), None);
            let receive = comm.recv::<u32>(previous, 1);
            if round == 0 {
                // All receives are at the hub, and so matched there first.
                comm.barrier().wait().unwrap();
            }
            let sent = comm.send(next, 1, elements::<u32>(rank, round, len));
            let came = if round == 0 {
                comm.barrier().wait().unwrap();
                let came = receive.cancel().wait().unwrap();
                assert!(came.is_some(), "they had met");
                came
            } else {
                receive.cancel().wait().unwrap()
            };
            let (came, _) = came.unwrap_or_else(|| comm.recv::<u32>(previous, 1).wait().unwrap());
            assert!(came.len() == len && are_from(previous, round, &came));
            sent.wait().unwrap();
        }
        assert_usable(world);
    });
}

pub fn a_send_that_is_cancelled_arrives_or_never_was(link: Link) {
    /// Bytes of a rank that the hub holds before anybody asks for them.
    const QUEUE: usize = 100_000;
    on_ranks(link(SIZE, &Config::new().queue_size(QUEUE as u64), &Registry::new()), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            // Nobody has asked for it.
            let unmatched = comm.ssend(next, 1, elements::<u32>(rank, 1, len));
            assert_eq!(unmatched.cancel().wait().unwrap(), None);
            comm.barrier().wait().unwrap();
            assert!(comm.iprobe(previous, 1).wait().unwrap().is_none());
            // Its receive waits already.
            let receive = comm.recv::<u32>(previous, 2);
            comm.barrier().wait().unwrap();
            let matched = comm.ssend(next, 2, elements::<u32>(rank, 2, len));
            assert_eq!(matched.cancel().wait().unwrap(), Some(()));
            assert!(are_from(previous, 2, &receive.wait().unwrap().0));
            // Who comes first is a matter of chance; both sides have to agree on it.
            let sent = comm.ssend(next, 3, elements::<u32>(rank, 3, len));
            let receive = comm.recv::<u32>(previous, 3);
            let went = sent.cancel().wait().unwrap().is_some();
            let told = comm.sendrecv::<u8, u8>(next, 4, [u8::from(went)], previous, 4).wait().unwrap().0;
            let came = if told == [1] { Some(receive.wait().unwrap()) } else { receive.cancel().wait().unwrap() };
            assert_eq!(came.is_some(), told == [1]);
            assert!(came.is_none_or(|(came, _)| came.len() == len && are_from(previous, 3, &came)));
        }
        // A standard send that the hub has no room for waits, too.
        let queued = comm.send(next, 5, vec![0u8; 2 * QUEUE]);
        assert_eq!(queued.cancel().wait().unwrap(), None);
        comm.barrier().wait().unwrap();
        assert!(comm.iprobe(previous, 5).wait().unwrap().is_none());
        let collective = comm.barrier().cancel().wait();
        assert!(matches!(collective, Err(Error::InvalidArgument { .. }) | Ok(Some(()))), "{collective:?}");
        assert_usable(world);
    });
}
