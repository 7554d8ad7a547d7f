//! Receives and sends that are taken back: in time, or too late, and nothing is lost.

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
fn a_synchronous_send_is_taken_back_however_short_it_is() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    assert_eq!(comms[1].ssend(0, 7, [1u8]).cancel().wait()?, None);
    let receive = comms[0].recv::<u8>(1, 7);
    comms[1].ssend(0, 7, [2u8]).wait()?;
    assert_eq!(receive.wait()?.0, [2]);
    finalize(worlds)
}

#[test]
fn a_probe_that_finds_nothing_is_taken_back() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    assert_eq!(comms[0].probe(1, 7).cancel().wait()?, None);
    assert!(comms[0].mprobe(1, 7).cancel().wait()?.is_none());
    comms[1].send(0, 7, [3u8]).wait()?;
    assert_eq!(comms[0].recv::<u8>(1, 7).wait()?.0, [3], "no probe keeps it");
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

#[test]
fn a_round_of_a_persistent_receive_is_taken_back_and_its_buffer_stays() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let mut receive = comms[0].recv_init(1, 7, vec![8u8; 4]);
    let error = receive.cancel().wait().expect_err("it is not active");
    assert!(matches!(&error, Error::InvalidArgument { reason } if reason.contains("not been started")), "{error}");
    assert!(error.to_string().contains("cancelled.rs:"), "it names the line: {error}");
    for round in 0..3 {
        receive.start()?;
        let memory = receive.cancel().wait()?;
        assert_eq!(memory, None);
        assert!(!receive.is_active());
        assert_eq!(receive.buffer().map(Vec::len), Some(4), "nothing has touched it");
        receive.start()?;
        // The one that was taken back takes no message.
        comms[1].send(0, 7, [round; 4]).wait()?;
        receive.wait()?;
        assert_eq!(receive.buffer(), Some(&vec![round; 4]));
    }
    finalize(worlds)
}

#[test]
fn a_round_that_has_its_message_gives_it_and_the_buffer() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let mut receive = comms[0].recv_init(1, 7, vec![0u8; 4]);
    receive.start()?;
    comms[1].send(0, 7, [5u8; 3]).wait()?;
    // What comes behind it has come: so has it.
    comms[1].send(0, 8, [0u8; 0]).wait()?;
    comms[0].recv::<u8>(1, 8).wait()?;
    assert_eq!(receive.cancel().wait()?.map(|status| status.bytes), Some(3));
    assert_eq!(receive.buffer(), Some(&vec![5; 3]));
    finalize(worlds)
}

#[test]
fn a_round_of_a_persistent_send_is_taken_back_with_what_it_would_have_sent() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let mut sends = [comms[1].ssend_init(0, 7, vec![1u8; 3]), comms[1].send_init(0, 7, vec![1u8; LONG])];
    for send in &mut sends {
        let contents = send.buffer().expect("it is there").clone();
        send.start()?;
        assert_eq!(send.cancel().wait()?, None);
        assert!(send.buffer() == Some(&contents), "it keeps its contents");
    }
    comms[1].send(0, 7, [2u8]).wait()?;
    assert_eq!(comms[0].recv::<u8>(1, 7).wait()?.0, [2], "what was taken back is never seen");
    let [mut synchronous, _] = sends;
    synchronous.start()?;
    assert_eq!(comms[0].recv::<u8>(1, 7).wait()?.0, [1; 3]);
    synchronous.wait()?;
    finalize(worlds)
}

#[test]
fn who_waits_for_a_round_that_was_taken_back_is_told_so() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let receiving = comms[0].clone();
    let mut objects = Persistent::calling((), move |()| receiving.objects().recv::<String>(1, 7));
    let mut buffer = comms[0].recv_init(1, 7, vec![8u8; 4]);
    objects.start()?;
    buffer.start()?;
    drop(objects.cancel());
    drop(buffer.cancel());
    assert!(objects.is_active() && buffer.is_active(), "somebody has to hear of it");
    assert!(matches!(objects.wait(), Err(Error::Cancelled { rank, .. }) if rank == 0));
    assert!(matches!(buffer.wait(), Err(Error::Cancelled { rank, .. }) if rank == 0));
    assert_eq!(buffer.buffer(), Some(&vec![8; 4]));
    assert!(objects.buffer().is_some());
    finalize(worlds)
}

#[test]
fn a_round_that_can_not_be_cancelled_goes_on() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let mut sum = comms[0].allreduce_init(vec![1], Sum);
    sum.start()?;
    let error = sum.cancel().wait().expect_err("MPI forbids it");
    assert!(matches!(&error, Error::InvalidArgument { reason } if reason.contains("collective")), "{error}");
    let exchanging = comms[0].clone();
    let mut exchange = Persistent::calling([7u8], move |data| exchanging.sendrecv::<u8, u8>(1, 3, *data, 1, 3));
    exchange.start()?;
    let error = exchange.cancel().wait().expect_err("it is two calls");
    assert!(matches!(&error, Error::InvalidArgument { reason } if reason.contains("sendrecv")), "{error}");
    assert!(error.to_string().contains("cancelled.rs:"), "it names the line: {error}");
    assert_eq!(comms[1].allreduce([2], Sum).wait()?, [3]);
    sum.wait()?;
    assert_eq!(sum.buffer(), Some(&vec![3]));
    let (data, _) = comms[1].sendrecv::<u8, u8>(0, 3, [9], 0, 3).wait()?;
    assert_eq!((data, exchange.wait()?.0), (vec![7], vec![9]));
    finalize(worlds)
}

#[test]
fn a_message_to_oneself_is_taken_back_or_received() -> Result<(), Error> {
    let worlds = edgempi::local(1)?;
    let comm = worlds[0].comm();
    for len in [1, LONG] {
        assert_eq!(comm.ssend(0, 7, vec![1u8; len]).cancel().wait()?, None);
        let send = comm.ssend(0, 7, vec![2u8; len]);
        let receive = comm.recv::<u8>(0, 7);
        // They have met: neither can be taken back any more.
        comm.iprobe(0, 0).wait()?;
        let (send, receive) = (send.cancel(), receive.cancel());
        assert_eq!(receive.wait()?.map(|(data, _)| data), Some(vec![2; len]));
        assert_eq!(send.wait()?, Some(()));
    }
    finalize(worlds)
}

#[test]
fn a_message_that_its_sender_has_given_up_is_a_failure_and_not_a_receive_taken_back() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let data = vec![1u8; LONG];
    let send = Communicator::send(&comms[1], 0, 7, &data);
    let message = comms[0].mprobe(1, 7).wait()?;
    drop(send);
    // What comes behind that has been heard: so has that.
    assert_eq!(comms[1].iprobe(0, 9).wait()?, None);
    let received = message.recv::<u8>().cancel().wait();
    assert!(matches!(received, Err(Error::Cancelled { rank, .. }) if rank.get() == 1), "{received:?}");
    finalize(worlds)
}
