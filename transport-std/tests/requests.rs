//! Requests: taken back, several at once, persistent ones, and all of it from many threads.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use edgempi::sim::{Class, Simulation};
use edgempi::{
    ANY_SOURCE, Comm, Error, Persistent, Request, SendReceive, Sum, World, block_on, start_all, test_all, test_any,
    test_some, wait_all, wait_any, wait_some,
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

mod cancelled {
    use super::*;

    #[test]
    fn a_receive_that_nobody_serves_gives_none_and_takes_no_message() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        for len in [1, LONG] {
            assert_eq!(comms[0].recv::<u8>(1, 7).cancel().wait()?, None);
            let sent = comms[1].send(0, 7, vec![5u8; len]);
            assert_eq!(comms[0].recv::<u8>(1, 7).wait()?.0, vec![5u8; len]);
            sent.wait()?;
        }
        finalize(worlds)
    }

    #[test]
    fn a_receive_into_borrowed_memory_leaves_it_alone() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let mut memory = [1u8; 4];
        assert_eq!(comms[0].recv_into(1, 7, &mut memory).cancel().wait()?, None);
        assert_eq!(memory, [1; 4]);
        finalize(worlds)
    }

    #[test]
    fn a_receive_that_has_its_message_gives_it() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let receive = comms[0].recv::<u8>(1, 7).map(|(data, _)| data);
        comms[1].send(0, 7, [5u8; 3]).wait()?;
        // What comes behind it has come: so has it.
        comms[1].send(0, 8, [0u8; 0]).wait()?;
        comms[0].recv::<u8>(1, 8).wait()?;
        assert_eq!(receive.cancel().wait()?, Some(vec![5; 3]));
        finalize(worlds)
    }

    #[test]
    fn a_send_that_nobody_receives_gives_none_and_is_never_seen() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let send = comms[1].send(0, 7, vec![1u8; LONG]);
        assert_eq!(send.cancel().wait()?, None);
        comms[1].send(0, 7, [2u8]).wait()?;
        assert_eq!(comms[0].recv::<u8>(1, 7).wait()?.0, [2]);
        finalize(worlds)
    }

    #[test]
    fn a_send_that_is_received_arrives_whole() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let receive = comms[0].recv::<u8>(1, 7);
        // The hub has the receive before the send.
        comms[0].send(1, 1, [0u8; 0]).wait()?;
        comms[1].recv::<u8>(0, 1).wait()?;
        let send = comms[1].send(0, 7, vec![3u8; LONG]);
        assert_eq!(send.cancel().wait()?, Some(()));
        assert_eq!(receive.wait()?.0, vec![3u8; LONG]);
        finalize(worlds)
    }

    #[test]
    fn a_standard_send_that_the_library_has_taken_is_delivered() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let send = comms[1].send(0, 7, [4u8]);
        assert_eq!(send.cancel().wait()?, Some(()));
        assert_eq!(comms[0].recv::<u8>(1, 7).wait()?.0, [4]);
        finalize(worlds)
    }

    #[test]
    fn a_collective_refuses_and_goes_on() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let refused = comms[0].allreduce([1], Sum).cancel();
        assert!(refused.test(), "at once");
        let error = refused.wait().expect_err("MPI forbids it");
        assert!(matches!(&error, Error::InvalidArgument { reason } if reason.contains("collective")), "{error}");
        assert_eq!(comms[1].allreduce([2], Sum).wait()?, [3]);
        finalize(worlds)
    }

    #[test]
    fn a_message_is_never_lost_and_never_doubled_whoever_is_first() -> Result<(), Error> {
        const MESSAGES: u32 = 500;
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        thread::scope(|scope| {
            let sending = scope.spawn(|| (0..MESSAGES).try_for_each(|number| comms[1].send(0, 7, [number]).wait()));
            let (mut in_time, mut next) = (0, 0);
            while next < MESSAGES {
                let receive = comms[0].recv::<u32>(1, 7);
                if (in_time + next) % 3 == 0 {
                    thread::yield_now();
                }
                match receive.cancel().wait()? {
                    None => in_time += 1,
                    Some((data, _)) => {
                        assert_eq!(data, [next], "they keep their order");
                        next += 1;
                    }
                }
            }
            sending.join().expect("nobody panics")
        })?;
        finalize(worlds)
    }

    #[test]
    fn long_sends_race_with_their_receives() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        thread::scope(|scope| -> Result<(), Error> {
            let receiving = scope.spawn(|| -> Result<Vec<u8>, Error> {
                let mut came = Vec::new();
                loop {
                    let (data, _) = comms[0].recv::<u8>(1, 7).wait()?;
                    if data.is_empty() {
                        return Ok(came);
                    }
                    assert_eq!((data.len(), data[LONG - 1]), (LONG, data[0]));
                    came.push(data[0]);
                }
            });
            let mut sent = Vec::new();
            for number in 1..20u8 {
                if comms[1].send(0, 7, vec![number; LONG]).cancel().wait()?.is_some() {
                    sent.push(number);
                }
            }
            comms[1].send(0, 7, [0u8; 0]).wait()?;
            assert_eq!(receiving.join().expect("nobody panics")?, sent);
            Ok(())
        })?;
        finalize(worlds)
    }

    #[test]
    fn a_rank_that_dies_is_told_as_a_failure() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let receive = worlds[0].comm().recv::<u8>(1, 7).cancel();
        let late = worlds[0].comm().recv::<u8>(1, 8);
        let [first, second] = <[World; 2]>::try_from(worlds).expect("two");
        assert_eq!(receive.wait()?, None);
        drop(second);
        let error = late.wait().expect_err("nobody can serve it");
        assert!(matches!(error, Error::RankFailed { .. } | Error::Disconnected { .. }), "{error}");
        let error = first.comm().recv::<u8>(1, 9).cancel().wait().expect_err("it failed before it was cancelled");
        assert!(matches!(error, Error::RankFailed { .. } | Error::Disconnected { .. }), "{error}");
        Ok(())
    }
}

mod several {
    use super::*;

    #[test]
    fn waiting_for_all_tells_the_first_failure_when_all_have_ended() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let receives = [
            comms[0].recv::<u8>(1, 1).map(|(data, _)| data.len()),
            comms[0].recv_into(1, 2, Vec::leak(vec![0u8; 1])).map(|status| status.bytes),
            comms[0].recv_into(1, 3, Vec::leak(vec![0u8; 2])).map(|status| status.bytes),
            comms[0].recv::<u8>(1, 4).map(|(data, _)| data.len()),
        ];
        let mut all = wait_all(receives);
        for tag in [3, 2, 1] {
            comms[1].send(0, tag, [0u8; 10]).wait()?;
        }
        assert!(poll_once(&mut all, Waker::noop()).is_pending() && !all.test());
        comms[1].send(0, 4, [0u8; 10]).wait()?;
        assert!(matches!(block_on(&mut all), Err(Error::Truncated { len: 10, max: 1, .. })));
        assert!(matches!(block_on(&mut all), Err(Error::InvalidArgument { .. })), "it has given its result");
        assert_eq!(wait_all(Vec::<Request<'_, u8>>::new()).wait()?, []);
        finalize(worlds)
    }

    #[test]
    fn one_that_has_given_its_result_is_passed_over() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let mut requests: Vec<_> = (0..4).map(|tag| comms[0].recv::<i32>(1, tag).map(|(data, _)| data[0])).collect();
        assert!(test_any(&mut requests).is_none() && test_some(&mut requests).is_empty());
        comms[1].send(0, 2, [20]).wait()?;
        let (index, result) = wait_any(&mut requests).wait().expect("four are active");
        assert_eq!((index, result?, requests[2].is_active()), (2, 20, false));
        comms[1].send(0, 3, [30]).wait()?;
        comms[1].send(0, 0, [0]).wait()?;
        let mut came = Vec::new();
        while came.len() < 2 {
            came.extend(wait_some(&mut requests).wait());
        }
        came.sort_by_key(|(index, _)| *index);
        assert_eq!(came, [(0, Ok(0)), (3, Ok(30))]);
        assert!(test_all(&mut requests).is_none(), "one has not come");
        comms[1].send(0, 1, [10]).wait()?;
        let values = loop {
            if let Some(values) = test_all(&mut requests) {
                break values?;
            }
            thread::yield_now();
        };
        assert_eq!(values, [10], "of the only one that was active");
        assert!(requests.iter().all(|request| !request.is_active() && request.test()));
        assert!(wait_any(&mut requests).wait().is_none() && wait_some(&mut requests).wait().is_empty());
        assert!(test_any(&mut requests).is_none() && test_some(&mut requests).is_empty());
        assert_eq!(test_all(&mut requests), Some(Ok(Vec::new())));
        assert_eq!(wait_all(requests).wait()?, Vec::<i32>::new());
        finalize(worlds)
    }

    #[test]
    fn a_failure_has_its_place_and_leaves_the_others() -> Result<(), Error> {
        let worlds = edgempi::local(1)?;
        let comm = worlds[0].comm();
        let mut requests = [comm.recv::<u8>(0, 1), comm.recv::<u8>(5, 1)];
        let (index, result) = wait_any(&mut requests).wait().expect("two are active");
        assert!(index == 1 && matches!(result, Err(Error::InvalidArgument { .. })));
        comm.send(0, 1, [9u8]).wait()?;
        let (index, result) = wait_any(&mut requests).wait().expect("one is active");
        assert_eq!((index, result?.0), (0, vec![9]));
        finalize(worlds)
    }

    #[test]
    fn a_wait_that_is_dropped_loses_nothing() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let mut requests: Vec<_> = (0..10).map(|tag| comms[0].recv::<i32>(1, tag).map(|(data, _)| data[0])).collect();
        let mut came = Vec::new();
        for tag in 0..10 {
            let _ = poll_once(&mut wait_any(&mut requests), Waker::noop()).map(|any| came.extend(any));
            let _ = poll_once(&mut wait_some(&mut requests), Waker::noop()).map(|some| came.extend(some));
            comms[1].send(0, tag, [tag as i32]).wait()?;
        }
        while let Some(ended) = wait_any(&mut requests).wait() {
            came.push(ended);
        }
        came.sort_by_key(|(index, _)| *index);
        assert!(came.into_iter().eq((0..10).map(|tag| (tag as usize, Ok(tag)))));
        finalize(worlds)
    }

    /// Waits on this thread, and counts wakes.
    fn block_counting<F: Future>(future: F) -> (F::Output, usize) {
        struct Unparks(thread::Thread, AtomicUsize);
        impl Wake for Unparks {
            fn wake(self: Arc<Self>) {
                self.1.fetch_add(1, Ordering::SeqCst);
                self.0.unpark();
            }
        }
        let unparks = Arc::new(Unparks(thread::current(), AtomicUsize::new(0)));
        let waker = Waker::from(unparks.clone());
        let mut future = pin!(future);
        loop {
            let before = unparks.1.load(Ordering::SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return (output, unparks.1.load(Ordering::SeqCst));
            }
            while unparks.1.load(Ordering::SeqCst) == before {
                thread::park();
            }
        }
    }

    #[test]
    fn a_thousand_requests_wake_at_most_once_each() -> Result<(), Error> {
        const MANY: u32 = 1000;
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let receives =
            || (0..MANY).map(|tag| comms[0].recv::<u32>(1, tag).map(|(data, _)| data[0])).collect::<Vec<_>>();
        let send_all = || (0..MANY).try_for_each(|tag| comms[1].send(0, tag, [tag]).wait());
        thread::scope(|scope| -> Result<(), Error> {
            let all = receives();
            let sending = scope.spawn(send_all);
            let (values, wakes) = block_counting(wait_all(all));
            assert!(values?.into_iter().eq(0..MANY) && wakes <= MANY as usize, "{wakes} wakes");
            sending.join().expect("nobody panics")?;

            let mut any = receives();
            let sending = scope.spawn(send_all);
            let (count, wakes) = block_counting(async {
                let mut count = 0;
                while let Some((index, result)) = wait_any(&mut any).await {
                    assert_eq!(result, Ok(index as u32));
                    count += 1;
                }
                count
            });
            assert!(count == MANY && wakes <= MANY as usize, "{count} came, {wakes} wakes");
            sending.join().expect("nobody panics")
        })?;
        finalize(worlds)
    }

    #[test]
    fn requests_of_several_worlds_in_one_list() -> Result<(), Error> {
        let (one, other) = (edgempi::local(2)?, edgempi::local(2)?);
        let (ones, others) = (comms(&one), comms(&other));
        for round in 0..20 {
            let mut requests =
                [ones[0].recv::<u8>(1, 0), others[0].recv::<u8>(1, 0), ones[0].recv::<u8>(1, 1)].map(|r| r.map(|_| ()));
            let sender = if round % 2 == 0 { &others[1] } else { &ones[1] };
            thread::scope(|scope| {
                let sending = scope.spawn(|| sender.send(0, 0, [1u8]).wait());
                let (index, result) = wait_any(&mut requests).wait().expect("three are active");
                assert_eq!((index, result), ((round + 1) % 2, Ok(())));
                sending.join().expect("nobody panics")
            })?;
        }
        finalize(one)?;
        finalize(other)
    }

    #[test]
    fn virtual_ranks_wait_for_any_and_take_back() {
        let simulation = Simulation::new(3).ranks(3, Class::server()).ranks(3, Class::board().loss(0.05));
        let outcome = simulation.run(|rank| async move {
            let (me, size) = (rank.rank().get(), rank.size());
            if me > 0 {
                rank.send(0, 7, [me]).await?;
                // A receive that everybody has finalized for fails by itself.
                rank.barrier().await?;
                return Ok(0);
            }
            let mut requests: Vec<_> = (1..size).map(|source| rank.recv::<u32>(source, 7)).collect();
            requests.push(rank.recv::<u32>(ANY_SOURCE, 8));
            let mut sum = 0;
            for _ in 1..size {
                let (index, result) = wait_any(&mut requests).await.expect("they are active");
                assert_eq!(result?.0, [index as u32 + 1]);
                sum += index as u32 + 1;
            }
            let last = requests.pop().expect("it is the last");
            assert_eq!(last.cancel().await?, None);
            rank.barrier().await?;
            Ok(sum)
        });
        let values = outcome.expect("nothing keeps it").into_values().expect("no rank fails");
        assert_eq!(values, [1 + 2 + 3 + 4 + 5, 0, 0, 0, 0, 0]);
    }
}

mod persistent {
    use super::*;

    #[test]
    fn every_call_makes_its_rounds_in_the_same_memory() -> Result<(), Error> {
        let worlds = edgempi::local(3)?;
        thread::scope(|scope| {
            let ranks: Vec<_> = comms(&worlds).into_iter().map(|comm| scope.spawn(move || rounds(&comm))).collect();
            ranks.into_iter().try_for_each(|rank| rank.join().expect("nobody panics"))
        })?;
        finalize(worlds)
    }

    fn memory_of<T>(persistent: &Persistent<Vec<T>, impl Send + 'static>) -> *const T
    where
        T: Send + 'static,
    {
        persistent.buffer().expect("no round is under way").as_ptr()
    }

    fn rounds(comm: &Comm) -> Result<(), Error> {
        let (me, size) = (comm.rank().get(), comm.size());
        let (next, last) = ((me + 1) % size, (me + size - 1) % size);
        let len = 5000;
        let mut send = comm.send_init(next, 7, vec![0u32; len]);
        let mut recv = comm.recv_init(last, 7, vec![0u32; len]);
        let mut barrier = comm.barrier_init();
        let mut bcast = comm.bcast_init(1, vec![0u32; len]);
        let mut gather = comm.gather_init(2, vec![0u32; len]);
        let mut scatter = comm.scatter_init(0, (me == 0).then(|| vec![0u32; len * size as usize]));
        let mut allgather = comm.allgather_init(vec![0u32; len]);
        let mut alltoall = comm.alltoall_init(vec![0u32; len * size as usize]);
        let mut reduce = comm.reduce_init(1, vec![0u32; len], Sum);
        let mut allreduce = comm.allreduce_init(vec![0u32; len], Sum);
        let vectors = |p: &Persistent<SendReceive<u32>>| {
            let SendReceive { send, receive } = p.buffer().expect("no round is under way");
            (send.as_ptr(), receive.as_ptr())
        };
        let mut before = None;
        for round in 0..4 {
            let fill = |data: Option<&mut Vec<u32>>| data.expect("it is back").fill(me * 100 + round);
            for vector in [&mut send, &mut bcast, &mut reduce, &mut allreduce] {
                fill(vector.buffer_mut());
            }
            for pair in [&mut gather, &mut scatter, &mut allgather] {
                fill(pair.buffer_mut().map(|pair| &mut pair.send));
            }
            let blocks = (0..size).flat_map(|to| std::iter::repeat_n(me * 100 + to * 10 + round, len));
            let outgoing = &mut alltoall.buffer_mut().expect("it is back").send;
            outgoing.iter_mut().zip(blocks).for_each(|(place, value)| *place = value);
            recv.start()?;
            send.start()?;
            barrier.start()?;
            start_all(std::slice::from_mut(&mut bcast))?;
            for pair in [&mut gather, &mut scatter, &mut allgather, &mut alltoall] {
                pair.start()?;
            }
            start_all(std::slice::from_mut(&mut reduce))?;
            allreduce.start()?;
            assert!(allreduce.buffer().is_none() && allreduce.is_active());
            assert_eq!(recv.wait()?.source.get(), last);
            // In an order of its own on each rank.
            let mut collectives = [&mut gather, &mut scatter, &mut allgather, &mut alltoall];
            collectives.rotate_left(me as usize);
            for pair in collectives {
                pair.wait()?;
            }
            send.wait()?;
            barrier.wait()?;
            block_on(async { (&mut bcast).await })?;
            wait_all([&mut reduce, &mut allreduce].map(Persistent::request)).wait()?;

            let sum = (0..size).map(|rank| rank * 100 + round).sum::<u32>();
            let everybody = |value: &dyn Fn(u32) -> u32| -> Vec<u32> {
                (0..size).flat_map(|rank| std::iter::repeat_n(value(rank), len)).collect()
            };
            assert_eq!(recv.buffer().expect("it is back"), &vec![last * 100 + round; len]);
            assert_eq!(send.buffer().expect("it is back"), &vec![me * 100 + round; len]);
            assert_eq!(bcast.buffer().expect("it is back"), &vec![100 + round; len]);
            assert_eq!(allreduce.buffer().expect("it is back"), &vec![sum; len]);
            let reduced = if me == 1 { sum } else { me * 100 + round };
            assert_eq!(reduce.buffer().expect("it is back"), &vec![reduced; len]);
            let all = everybody(&|rank| rank * 100 + round);
            let pair = |p: &Persistent<SendReceive<u32>>| p.buffer().expect("it is back").receive.clone();
            assert_eq!(pair(&gather), if me == 2 { all.clone() } else { Vec::new() });
            assert_eq!(pair(&scatter), vec![round; len]);
            assert_eq!(pair(&allgather), all);
            assert_eq!(pair(&alltoall), everybody(&|rank| rank * 100 + me * 10 + round));

            let now = (
                [&send, &bcast, &reduce, &allreduce].map(|vector| memory_of(vector)),
                memory_of(&recv),
                [&gather, &scatter, &allgather, &alltoall].map(vectors),
            );
            assert!(before.is_none_or(|before| before == now), "it is other memory than in the round before");
            before = Some(now);
        }
        Ok(())
    }

    #[test]
    fn one_that_is_active_is_not_started_again() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let mut recv = comms[0].recv_init(1, 7, vec![0u8; 4]);
        assert!(recv.test() && !recv.is_active());
        assert!(matches!(recv.wait(), Err(Error::InvalidArgument { .. })), "it was not started");
        recv.start()?;
        assert!(matches!(recv.start(), Err(Error::InvalidArgument { .. })));
        assert!(matches!(recv.set_buffer(Vec::new()), Err(Error::InvalidArgument { .. })));
        let mut both = [comms[0].recv_init(1, 8, vec![0u8; 4]), recv];
        assert!(start_all(&mut both).is_err() && !both[0].is_active(), "all or none");
        let [_, mut recv] = both;
        comms[1].send(0, 7, [1u8, 2]).wait()?;
        assert_eq!(recv.wait()?.bytes, 2);
        assert_eq!(recv.into_buffer(), Some(vec![1, 2]));
        finalize(worlds)
    }

    #[test]
    fn a_message_beyond_the_first_length_is_truncated_whatever_came_before() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let mut recv = comms[0].recv_init(1, 7, vec![0u16; 4]);
        for len in [1, 4, 2] {
            recv.start()?;
            comms[1].send(0, 7, vec![6u16; len]).wait()?;
            recv.wait()?;
            assert_eq!(recv.buffer(), Some(&vec![6; len]));
        }
        recv.start()?;
        comms[1].send(0, 7, [6u16; 5]).wait()?;
        assert!(matches!(recv.wait(), Err(Error::Truncated { len: 10, max: 8, .. })));
        assert!(recv.buffer().is_none() && matches!(recv.start(), Err(Error::InvalidArgument { .. })));
        recv.set_buffer(vec![0; 4])?;
        recv.start()?;
        comms[1].send(0, 7, [7u16; 3]).wait()?;
        recv.wait()?;
        assert_eq!(recv.buffer(), Some(&vec![7; 3]));
        finalize(worlds)
    }

    #[test]
    fn dropping_an_active_one_takes_a_receive_back_and_lets_a_collective_go_on() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let mut recv = comms[0].recv_init(1, 7, vec![0u8; 4]);
        recv.start()?;
        drop(recv);
        let mut sum = comms[0].allreduce_init(vec![1], Sum);
        sum.start()?;
        drop(sum);
        assert_eq!(comms[1].allreduce([2], Sum).wait()?, [3]);
        comms[1].send(0, 7, [3u8]).wait()?;
        assert_eq!(comms[0].recv::<u8>(1, 7).wait()?.0, [3]);
        finalize(worlds)
    }

    #[test]
    fn rounds_are_waited_for_in_any_order_and_waits_that_are_dropped_lose_none() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let mut receives: Vec<_> = (0..5).map(|tag| comms[0].recv_init(1, tag, vec![0u32; 1])).collect();
        for round in 0..3u32 {
            start_all(&mut receives)?;
            for receive in &mut receives {
                assert!(poll_once(&mut receive.request(), Waker::noop()).is_pending());
            }
            for tag in (0..5).rev() {
                comms[1].send(0, tag, [tag * 10 + round]).wait()?;
            }
            let mut requests: Vec<_> = receives.iter_mut().map(Persistent::request).collect();
            let mut came = Vec::new();
            while let Some((index, result)) = wait_any(&mut requests).wait() {
                assert_eq!(result?.bytes, 4);
                came.push(index);
            }
            drop(requests);
            came.sort_unstable();
            assert_eq!(came, [0, 1, 2, 3, 4]);
            for (tag, receive) in receives.iter_mut().enumerate() {
                assert_eq!(receive.buffer(), Some(&vec![tag as u32 * 10 + round]));
                assert!(!receive.request().is_active(), "waiting passes it over");
            }
        }
        finalize(worlds)
    }

    #[test]
    fn it_meets_the_call_of_the_same_name() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let mut scatter = comms[0].scatter_init(0, Some(vec![1u8, 2, 3]));
        scatter.start()?;
        assert!(matches!(scatter.wait(), Err(Error::InvalidArgument { .. })), "3 elements for 2 ranks");
        let mut nothing = comms[0].scatter_init::<u8>(0, None);
        nothing.start()?;
        assert!(matches!(nothing.wait(), Err(Error::InvalidArgument { .. })));
        scatter.set_buffer(SendReceive { send: vec![1, 2], receive: Vec::new() })?;
        scatter.start()?;
        assert_eq!(comms[1].scatter::<u8>(0, None).wait()?, [2]);
        scatter.wait()?;
        assert_eq!(scatter.into_buffer().expect("it is back").receive, [1]);
        let mut barrier = comms[0].barrier_init();
        barrier.start()?;
        let error = comms[1].allreduce([1], Sum).wait().expect_err("they differ");
        assert!(error.to_string().contains("requests.rs"), "it names the place of the init: {error}");
        assert!(matches!(barrier.wait(), Err(Error::Mismatch { .. })));
        finalize(worlds)
    }
}

/// MPI_THREAD_MULTIPLE (MPI 4.1, chapter 11.6).
mod threads {
    use super::*;

    const THREADS: u32 = 4;
    const ROUNDS: u32 = 100;

    #[test]
    fn many_threads_share_a_communicator_and_each_waits_for_any_of_its_own() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        thread::scope(|scope| -> Result<(), Error> {
            let mut running = Vec::new();
            for (here, there) in [(0usize, 1u32), (1, 0)] {
                for thread in 0..THREADS {
                    let comm = comms[here].clone();
                    running.push(scope.spawn(move || -> Result<(), Error> {
                        for round in 0..ROUNDS {
                            let tags = [thread * 10, thread * 10 + 1, thread * 10 + 2];
                            let mut receives = tags.map(|tag| comm.recv::<u32>(there, tag));
                            let sends = tags.map(|tag| comm.send(there, tag, [round, tag]));
                            let mut came = 0;
                            while let Some((index, result)) = wait_any(&mut receives).wait() {
                                assert_eq!(result?.0, [round, tags[index]]);
                                came += 1;
                            }
                            assert_eq!(came, 3);
                            wait_all(sends).wait()?;
                        }
                        Ok(())
                    }));
                }
            }
            running.into_iter().try_for_each(|thread| thread.join().expect("nobody panics"))
        })?;
        finalize(worlds)
    }

    #[test]
    fn requests_are_started_on_one_thread_and_waited_for_on_another() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        thread::scope(|scope| -> Result<(), Error> {
            let (hand_over, take) = std::sync::mpsc::channel::<Request<'static, u32>>();
            let waiting = scope.spawn(move || -> Result<u32, Error> {
                let (mut requests, mut sum) = (Vec::new(), 0);
                loop {
                    let next = if requests.is_empty() { take.recv().ok() } else { take.try_recv().ok() };
                    requests.extend(next);
                    match wait_any(&mut requests).wait() {
                        Some((index, result)) => {
                            sum += result?;
                            drop(requests.swap_remove(index));
                        }
                        None => return Ok(sum),
                    }
                }
            });
            let starting: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (comm, hand_over) = (comms[0].clone(), hand_over.clone());
                    scope.spawn(move || {
                        for round in 0..ROUNDS {
                            let receive = comm.recv::<u32>(1, thread).map(|(data, _)| data[0]);
                            // Asked once here, with somebody else's waker.
                            let mut receive = receive;
                            if poll_once(&mut receive, Waker::noop()).is_pending() {
                                hand_over.send(receive).expect("it waits");
                            } else {
                                panic!("round {round} came before anybody sent it");
                            }
                        }
                    })
                })
                .collect();
            drop(hand_over);
            starting.into_iter().for_each(|thread| thread.join().expect("nobody panics"));
            for round in 0..ROUNDS {
                for thread in 0..THREADS {
                    comms[1].send(0, thread, [round]).wait()?;
                }
            }
            assert_eq!(waiting.join().expect("nobody panics")?, THREADS * ROUNDS * (ROUNDS - 1) / 2);
            Ok(())
        })?;
        finalize(worlds)
    }

    #[test]
    fn collectives_of_each_thread_on_a_communicator_of_its_own() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        thread::scope(|scope| -> Result<(), Error> {
            let mut running = Vec::new();
            let dups: Vec<Vec<_>> =
                comms(&worlds).iter().map(|comm| (0..THREADS).map(|_| comm.dup()).collect()).collect();
            for (rank, dups) in dups.into_iter().enumerate() {
                for (thread, dup) in dups.into_iter().enumerate() {
                    running.push(scope.spawn(move || -> Result<(), Error> {
                        let comm = dup.wait()?;
                        let mut sum = comm.allreduce_init(vec![0usize as u64], Sum);
                        for round in 0..ROUNDS as u64 {
                            *sum.buffer_mut().expect("it is back") = vec![rank as u64 + thread as u64 * round];
                            sum.start()?;
                            sum.wait()?;
                            assert_eq!(sum.buffer(), Some(&vec![1 + 2 * thread as u64 * round]));
                        }
                        Ok(())
                    }));
                }
            }
            running.into_iter().try_for_each(|thread| thread.join().expect("nobody panics"))
        })?;
        finalize(worlds)
    }

    #[test]
    fn a_waker_is_replaced_by_that_of_the_thread_that_asks_last() -> Result<(), Error> {
        let worlds = edgempi::local(2)?;
        let comms = comms(&worlds);
        let mut requests = [comms[0].recv::<u8>(1, 0), comms[0].recv::<u8>(1, 1)];
        let first = Arc::new(Counting::default());
        assert!(poll_once(&mut wait_any(&mut requests), &Waker::from(first.clone())).is_pending());
        let came = thread::scope(|scope| {
            let waiting = scope.spawn(move || wait_any(&mut requests).wait().map(|(index, _)| index));
            comms[1].send(0, 1, [1u8]).wait().map(|()| waiting.join().expect("nobody panics"))
        })?;
        assert_eq!(came, Some(1));
        assert_eq!(Arc::strong_count(&first), 1, "nobody keeps the waker of somebody who has gone");
        finalize(worlds)
    }
}
