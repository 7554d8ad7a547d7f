//! Calls that are described once and made again and again.

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
            [&send, &bcast, &reduce, &allreduce].map(memory_of),
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
    assert!(error.to_string().contains("persistent.rs"), "it names the place of the init: {error}");
    assert!(matches!(barrier.wait(), Err(Error::Mismatch { .. })));
    finalize(worlds)
}

#[test]
fn a_synchronous_one_ends_with_its_receive_and_a_ready_one_needs_it_first() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let mut synchronous = comms[1].ssend_init(0, 7, vec![1u8; 3]);
    for _ in 0..3 {
        synchronous.start()?;
        // What comes behind it has come: so has it, and it still waits.
        comms[1].send(0, 8, [0u8; 0]).wait()?;
        comms[0].recv::<u8>(1, 8).wait()?;
        assert!(!synchronous.test());
        assert_eq!(comms[0].recv::<u8>(1, 7).wait()?.0, [1; 3]);
        synchronous.wait()?;
        assert_eq!(synchronous.buffer(), Some(&vec![1; 3]), "it keeps its contents");
    }
    let mut ready = comms[1].rsend_init(0, 9, vec![2u8]);
    let receive = comms[0].recv::<u8>(1, 9);
    comms[0].send(1, 0, [0u8; 0]).wait()?;
    comms[1].recv::<u8>(0, 0).wait()?;
    ready.start()?;
    ready.wait()?;
    assert_eq!(receive.wait()?.0, [2]);
    ready.start()?;
    assert!(matches!(ready.wait(), Err(Error::NotReady { .. })), "nobody receives");
    finalize(worlds)
}

#[test]
fn a_buffered_one_ends_at_once_and_its_buffer_may_be_changed() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let mut buffered = comms[1].bsend_init(0, 7, vec![0u8; LONG]);
    for round in 0..3 {
        buffered.buffer_mut().expect("it is back").fill(round);
        buffered.start()?;
        assert!(buffered.test());
        buffered.wait()?;
    }
    for round in 0..3 {
        assert_eq!(comms[0].recv::<u8>(1, 7).wait()?.0, vec![round; LONG]);
    }
    let mut invalid = comms[1].bsend_init(9, 7, vec![0u8; 1]);
    invalid.start()?;
    assert!(matches!(invalid.wait(), Err(Error::InvalidArgument { .. })));
    finalize(worlds)
}

#[test]
fn messages_to_and_from_nobody_end_at_once() -> Result<(), Error> {
    let worlds = edgempi::local(1)?;
    let comm = worlds[0].comm();
    let nobody: Option<u32> = None;
    let mut sends = [
        comm.send_init(nobody, 7, vec![1u8; 3]),
        comm.ssend_init(nobody, 7, vec![1u8; 3]),
        comm.bsend_init(nobody, 7, vec![1u8; 3]),
        comm.rsend_init(nobody, 7, vec![1u8; 3]),
    ];
    let mut recv = comm.recv_init(nobody, 7, vec![1u8; 3]);
    for _ in 0..2 {
        start_all(&mut sends)?;
        recv.start()?;
        assert!(sends.iter().all(Persistent::test) && recv.test());
        wait_all(sends.iter_mut().map(Persistent::request)).wait()?;
        assert_eq!(recv.wait()?.bytes, 0);
        assert!(sends.iter().all(|send| send.buffer() == Some(&vec![1; 3])) && recv.buffer() == Some(&vec![1; 3]));
    }
    finalize(worlds)
}

/// After a round the buffer is as short as its message was, which is no new limit; a new buffer is.
#[test]
fn a_receive_takes_as_much_as_the_buffer_that_the_program_gave() -> Result<(), Error> {
    let worlds = edgempi::local(1)?;
    let comm = worlds[0].comm();
    let mut recv = comm.recv_init(0, 7, vec![0u8; 4]);
    let round = |recv: &mut Persistent<Vec<u8>, edgempi::Status>, len: usize| {
        comm.send(0, 7, vec![1u8; len]).wait()?;
        recv.start()?;
        recv.wait().map(|status| status.bytes)
    };
    for len in [1, 4, 0, 3] {
        assert_eq!(round(&mut recv, len)?, len);
    }
    recv.set_buffer(vec![0; 6])?;
    assert_eq!(round(&mut recv, 6)?, 6);
    recv.set_buffer(vec![0; 2])?;
    assert!(matches!(round(&mut recv, 3), Err(Error::Truncated { len: 3, max: 2, .. })));
    recv.set_buffer(vec![0; 3])?;
    assert_eq!(round(&mut recv, 3)?, 3);
    finalize(worlds)
}

#[test]
fn what_can_not_be_started_says_where() {
    let worlds = edgempi::local(1).expect("a world");
    let mut recv = worlds[0].comm().recv_init(0, 7, vec![0u8; 4]);
    let mut errors = vec![recv.wait().expect_err("nothing has been started")];
    recv.start().expect("nothing is under way");
    errors.push(recv.start().expect_err("it has been started"));
    errors.push(start_all(std::slice::from_mut(&mut recv)).expect_err("it has been started"));
    errors.push(recv.set_buffer(Vec::new()).expect_err("it has been started"));
    for error in errors {
        let Error::InvalidArgument { reason } = &error else { panic!("{error:?}") };
        assert!(reason.contains(", at transport-std/tests/requests/persistent.rs:"), "{reason}");
    }
}

#[test]
fn reductions_of_which_each_rank_receives_something_else() -> Result<(), Error> {
    let worlds = edgempi::local(3)?;
    let rounds = |comm: Comm| -> Result<(), Error> {
        let me = comm.rank().index();
        let mut scan = comm.scan_init(vec![0u64; 2], Sum);
        let mut exscan = comm.exscan_init(vec![0u64; 2], Sum);
        let mut blocks = comm.reduce_scatter_block_init(vec![0u64; 6], Sum);
        // Rank r receives r elements.
        let mut varied = comm.reduce_scatter_init(vec![0u64; 3], &[0, 1, 2], Sum);
        for round in 1..4u64 {
            let own = round * (me as u64 + 1);
            for vector in [&mut scan, &mut exscan] {
                vector.buffer_mut().expect("it is back").fill(own);
            }
            for pair in [&mut blocks, &mut varied] {
                let send = &mut pair.buffer_mut().expect("it is back").send;
                send.iter_mut().zip(own..).for_each(|(place, value)| *place = value);
            }
            scan.start()?;
            exscan.start()?;
            blocks.start()?;
            varied.start()?;
            wait_all([&mut varied, &mut blocks].map(Persistent::request)).wait()?;
            wait_all([&mut exscan, &mut scan].map(Persistent::request)).wait()?;
            let up_to = |count: usize| (1..=count as u64).sum::<u64>() * round;
            assert_eq!(scan.buffer(), Some(&vec![up_to(me + 1); 2]));
            assert_eq!(exscan.buffer(), Some(&vec![if me == 0 { own } else { up_to(me) }; 2]));
            let totals: Vec<u64> = (0..6).map(|at| up_to(3) + 3 * at).collect();
            let SendReceive { send, receive } = blocks.buffer().expect("it is back");
            assert_eq!((receive.as_slice(), send[0]), (&totals[me * 2..][..2], own));
            let before = [0, 0, 1][me];
            assert_eq!(varied.buffer().expect("it is back").receive, totals[before..][..me]);
        }
        let mut odd = comm.reduce_scatter_block_init(vec![0u64; 4], Sum);
        odd.start()?;
        assert!(matches!(odd.wait(), Err(Error::InvalidArgument { .. })));
        Ok(())
    };
    thread::scope(|scope| {
        let ranks: Vec<_> = comms(&worlds).into_iter().map(|comm| scope.spawn(|| rounds(comm))).collect();
        ranks.into_iter().try_for_each(|rank| rank.join().expect("nobody panics"))
    })?;
    finalize(worlds)
}
