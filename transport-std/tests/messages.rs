//! Point-to-point messages: the modes of sends, probes, messages to nobody and to oneself, and what their failures say.

use std::thread;

use edgempi::{ANY_SOURCE, ANY_TAG, Comm, Error, Message, Rank, Status, World, local};

type Tested = Result<(), Box<dyn std::error::Error>>;

fn pair() -> Result<(Vec<World>, Comm, Comm), Error> {
    let worlds = local(2)?;
    let (first, second) = (worlds[0].comm().clone(), worlds[1].comm().clone());
    Ok((worlds, first, second))
}

/// Waits until the hub has what this rank has sent so far: it answers in order.
fn settled(comm: &Comm) -> Tested {
    comm.iprobe(comm.rank(), 4_000_000_000).wait()?;
    Ok(())
}

#[test]
fn a_synchronous_send_is_done_when_it_is_received() -> Tested {
    let (_worlds, first, second) = pair()?;
    for len in [0, 3, 1 << 20] {
        let send = first.ssend(1, 5, vec![7u32; len]);
        settled(&first)?;
        assert!(!send.test(), "{len} elements that nobody has received");
        let (data, status) = second.recv::<u32>(0, 5).wait()?;
        send.wait()?;
        assert_eq!((data.len(), status.count::<u32>()), (len, Some(len)));
    }
    Ok(())
}

#[test]
fn a_buffered_send_is_done_at_once_and_arrives() -> Tested {
    let (_worlds, first, second) = pair()?;
    // More than the hub queues for a rank.
    for tag in 0..4 {
        assert!(first.bsend(1, tag, vec![tag; 2 << 20]).test());
    }
    for tag in (0..4).rev() {
        let (data, _) = second.recv::<u32>(0, tag).wait()?;
        assert!(data.len() == 2 << 20 && data.iter().all(|value| *value == tag));
    }
    Ok(())
}

#[test]
fn a_ready_send_takes_a_receive_that_waits_and_fails_without() -> Tested {
    let (_worlds, first, second) = pair()?;
    let early = first.rsend(1, 9, [1u8]).wait();
    let Err(Error::NotReady { rank, reason }) = early else { panic!("{early:?}") };
    assert_eq!(rank, 1);
    assert!(reason.starts_with("rank 1 has posted no receive for the ready send of rank 0 with tag 9 at "), "{reason}");
    for len in [1, 300_000] {
        let receive = second.recv::<u64>(ANY_SOURCE, 9);
        settled(&second)?;
        first.rsend(1, 9, vec![5u64; len]).wait()?;
        assert_eq!(receive.wait()?.0.len(), len);
    }
    assert!(second.iprobe(ANY_SOURCE, ANY_TAG).wait()?.is_none(), "the early one was not sent");
    Ok(())
}

#[test]
fn messages_of_all_modes_come_in_the_order_in_which_they_were_sent() -> Tested {
    let (_worlds, first, second) = pair()?;
    let mut requests = Vec::new();
    for index in 0..30u32 {
        // Some are too long to travel with their call.
        let data = vec![index; if index % 4 == 1 { 200_000 } else { 1 }];
        requests.push(match index % 3 {
            0 => first.send(1, 1, data),
            1 => first.ssend(1, 1, data),
            _ => first.bsend(1, 1, data),
        });
    }
    for index in 0..30u32 {
        assert_eq!(second.recv::<u32>(0, 1).wait()?.0[0], index);
    }
    edgempi::wait_all(requests).wait()?;
    Ok(())
}

#[test]
fn a_probe_tells_of_a_message_and_leaves_it() -> Tested {
    let (_worlds, first, second) = pair()?;
    assert_eq!(second.iprobe(ANY_SOURCE, ANY_TAG).wait()?, None);
    let probes = [second.probe(ANY_SOURCE, ANY_TAG), second.probe(0, 3), second.probe(0, ANY_TAG)];
    let other = second.probe(0, 4);
    settled(&second)?;
    let send = first.ssend(1, 3, vec![1.5f64; 100_000]);
    for probe in probes {
        let status = probe.wait()?;
        assert_eq!((status.source, status.tag.0, status.count::<f64>()), (Rank::new(0), 3, Some(100_000)));
    }
    assert_eq!(second.iprobe(0, 3).wait()?.map(|status| status.bytes), Some(800_000));
    assert!(!send.test() && !other.test());
    let mut data = vec![0f64; 100_000];
    second.recv_into(0, 3, &mut data).wait()?;
    send.wait()?;
    assert_eq!(second.iprobe(0, 3).wait()?, None);
    drop(other);
    first.send(1, 4, [0u8; 0]).wait()?;
    assert_eq!(second.probe(0, 4).wait()?.count::<u8>(), Some(0));
    Ok(())
}

#[test]
fn a_receive_that_was_posted_takes_the_message_before_a_probe_sees_it() -> Tested {
    let (_worlds, first, second) = pair()?;
    let receive = second.recv::<u8>(0, 1);
    let probe = second.probe(0, 1);
    settled(&second)?;
    first.ssend(1, 1, [1u8]).wait()?;
    assert_eq!(receive.wait()?.0, [1]);
    assert!(!probe.test());
    first.send(1, 1, [2u8]).wait()?;
    assert_eq!(probe.wait()?.bytes, 1);
    Ok(())
}

#[test]
fn a_message_that_is_kept_is_taken_by_nobody_else() -> Tested {
    let (_worlds, first, second) = pair()?;
    assert!(second.improbe(0, 1).wait()?.is_none());
    for len in [1usize, 400_000] {
        let first_send = first.ssend(1, 1, vec![10u32; len]);
        let second_send = first.ssend(1, 1, vec![20u32; len]);
        let message = second.mprobe(0, ANY_TAG).wait()?;
        assert_eq!(message.status().count::<u32>(), Some(len));
        assert_eq!(second.recv::<u32>(0, 1).wait()?.0, vec![20; len], "the next one");
        second_send.wait()?;
        settled(&first)?;
        assert!(!first_send.test(), "kept, not received");
        let mut data = vec![0u32; len];
        assert_eq!(message.recv_into(&mut data).wait()?.count::<u32>(), Some(len));
        assert_eq!(data, vec![10; len]);
        first_send.wait()?;
    }
    first.objects().send(1, 2, "kept").wait()?;
    let message = second.improbe(0, 2).wait()?.expect("it has come");
    assert_eq!(message.recv_object::<String>().wait()?.0.as_deref(), Some("kept"));
    Ok(())
}

#[test]
fn many_threads_that_keep_messages_get_each_of_them_once() -> Tested {
    let (_worlds, first, second) = pair()?;
    const COUNT: u32 = 400;
    let received = thread::scope(|scope| {
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let comm = second.clone();
                scope.spawn(move || -> Result<Vec<u32>, Error> {
                    let mut received = Vec::new();
                    loop {
                        let message: Message = comm.mprobe(ANY_SOURCE, 6).wait()?;
                        let len = message.status().count::<u32>().unwrap_or_default();
                        let mut data = vec![0; len];
                        message.recv_into(&mut data).wait()?;
                        if len == 0 {
                            return Ok(received);
                        }
                        received.extend(data);
                    }
                })
            })
            .collect();
        for number in 0..COUNT {
            first.send(1, 6, [number]).wait()?;
        }
        for _ in 0..4 {
            first.send(1, 6, [0u32; 0]).wait()?;
        }
        let mut all = Vec::new();
        for taker in takers {
            all.extend(taker.join().expect("no thread panics")?);
        }
        Ok::<_, Error>(all)
    })?;
    let mut sorted = received;
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..COUNT));
    Ok(())
}

#[test]
fn a_message_that_is_dropped_is_lost_and_its_sender_goes_on() -> Tested {
    let (_worlds, first, second) = pair()?;
    let send = first.ssend(1, 1, vec![1u8; 1 << 20]);
    drop(second.mprobe(0, 1).wait()?);
    send.wait()?;
    // A probe whose result nobody took, too.
    let send = first.ssend(1, 1, [2u8]);
    let probe = second.mprobe(0, 1);
    while !probe.test() {
        thread::yield_now();
    }
    drop(probe);
    send.wait()?;
    // One that is taken back before it has found anything keeps nothing.
    drop(second.mprobe(0, 1));
    settled(&second)?;
    let send = first.ssend(1, 1, [3u8]);
    assert_eq!(second.recv::<u8>(0, 1).wait()?.0, [3]);
    send.wait()?;
    Ok(())
}

#[test]
fn what_is_kept_does_not_fit_and_is_told_to_be_truncated() -> Tested {
    let (_worlds, first, second) = pair()?;
    let send = first.ssend(1, 1, [1u16, 2, 3]);
    let message = second.mprobe(0, 1).wait()?;
    let mut data = [0u16; 2];
    let result = message.recv_into(&mut data).wait();
    assert!(matches!(result, Err(Error::Truncated { len: 6, max: 4, .. })), "{result:?}");
    assert_eq!(data, [0, 0]);
    send.wait()?;
    let send = first.ssend(1, 1, [1u16]);
    let result = second.mprobe(0, 1).wait()?.recv::<f32>().wait();
    assert!(matches!(result, Err(Error::Mismatch { .. })), "{result:?}");
    assert!(matches!(send.wait(), Err(Error::Mismatch { .. })));
    Ok(())
}

#[test]
fn nobody_takes_and_gives_nothing_at_once() -> Tested {
    let (_worlds, comm, _) = pair()?;
    let nobody: Option<Rank> = None;
    comm.send(nobody, 1, [1u8]).wait()?;
    comm.ssend(nobody, 1, [1u8]).wait()?;
    comm.rsend(nobody, 1, [1u8]).wait()?;
    comm.bsend(nobody, 1, [1u8]).wait()?;
    let (data, status) = comm.recv::<u8>(nobody, 1).wait()?;
    assert_eq!((data.len(), status.source, status.count::<u8>()), (0, Status::NOBODY, Some(0)));
    assert_eq!(comm.probe(nobody, ANY_TAG).wait()?, status);
    assert_eq!(comm.mprobe(nobody, ANY_TAG).wait()?.recv::<u8>().wait()?, (data, status));
    let mut kept = [9u8];
    comm.sendrecv_replace(nobody, 0, nobody, 0, &mut kept).wait()?;
    assert_eq!(kept, [9]);
    assert!(comm.iprobe(nobody, ANY_TAG).wait()? == Some(status));
    let message = comm.improbe(nobody, ANY_TAG).wait()?.expect("nobody's is always there");
    assert_eq!(message.recv_object::<String>().wait()?, (None, status));
    assert_eq!(comm.recv_into(nobody, 1, &mut kept).wait()?, status);
    let objects = comm.objects();
    objects.send(nobody, 0, "unheard").wait()?;
    assert_eq!(objects.recv_or_none::<String>(nobody, ANY_TAG).wait()?, (None, status));
    assert_eq!(objects.sendrecv::<str, String>(nobody, 0, "unheard", nobody, 0).wait()?, (None, status));
    let mut word = "kept".to_owned();
    assert_eq!(objects.sendrecv_replace(nobody, 0, nobody, 0, &mut word).wait()?, status);
    assert_eq!((word.as_str(), kept), ("kept", [9]));
    // From somebody, a value comes.
    objects.send(0, 1, "first").wait()?;
    let (value, status) = objects.recv_or_none::<String>(Some(ANY_SOURCE), 1).wait()?;
    assert_eq!((value.as_deref(), status.source.get()), (Some("first"), 0));
    assert_eq!(objects.sendrecv_replace(Some(0), 2, 0, 2, &mut word).wait()?.source.get(), 0);
    assert_eq!(word, "kept");
    Ok(())
}

#[test]
fn a_line_of_ranks_shifts_its_values_without_an_if() -> Tested {
    for size in [1, 2, 4, 5] {
        let worlds = local(size)?;
        let requests: Vec<_> = worlds
            .iter()
            .map(|world| {
                let (comm, rank) = (world.comm(), world.rank().get());
                let (left, right) = (rank.checked_sub(1), (rank + 1 < size).then_some(rank + 1));
                comm.sendrecv::<u32, u32>(right, 0, [rank], left, 0)
            })
            .collect();
        for (rank, request) in requests.into_iter().enumerate() {
            let (data, status) = request.wait()?;
            let expected: Vec<u32> = (rank as u32).checked_sub(1).into_iter().collect();
            assert_eq!(data, expected);
            assert_eq!(status.source == Status::NOBODY, rank == 0);
        }
    }
    Ok(())
}

#[test]
fn objects_are_shifted_along_a_line_without_an_if() -> Tested {
    for size in [1, 2, 5] {
        let worlds = local(size)?;
        let mut words: Vec<String> = (0..size).map(|rank| format!("of {rank}")).collect();
        let shifts: Vec<_> = worlds
            .iter()
            .zip(&mut words)
            .map(|(world, word)| {
                let (comm, rank) = (world.comm(), world.rank().get());
                let (left, right) = (rank.checked_sub(1), (rank + 1 < size).then_some(rank + 1));
                comm.objects().sendrecv_replace(right, 0, left, 0, word)
            })
            .collect();
        edgempi::wait_all(shifts).wait()?;
        let shifted: Vec<String> = (0..size).map(|rank| format!("of {}", rank.saturating_sub(1))).collect();
        assert_eq!(words, shifted, "the first one stays: nobody is left of it");
    }
    Ok(())
}

#[test]
fn a_rank_sends_to_itself_in_every_mode() -> Tested {
    let worlds = local(1)?;
    let comm = worlds[0].comm();
    let receive = comm.recv::<u8>(0, 1);
    comm.ssend(0, 1, [1u8]).wait()?;
    assert_eq!(receive.wait()?.0, [1]);
    let receive = comm.recv::<u8>(ANY_SOURCE, ANY_TAG);
    comm.rsend(0, 1, [2u8]).wait()?;
    assert_eq!(receive.wait()?.0, [2]);
    comm.bsend(0, 1, [3u8]).wait()?;
    assert_eq!(comm.mprobe(0, 1).wait()?.recv::<u8>().wait()?.0, [3]);
    let mut data = [4u8; 3];
    comm.sendrecv_replace(0, 2, 0, 2, &mut data).wait()?;
    assert_eq!(data, [4; 3]);
    Ok(())
}

#[test]
fn probes_and_kept_messages_fail_when_their_rank_is_gone() -> Tested {
    let (mut worlds, first, second) = pair()?;
    first.send(1, 1, [1u8]).wait()?;
    let kept = second.mprobe(0, 1).wait()?;
    let large = second.mprobe(0, 2);
    first.bsend(1, 2, vec![0u8; 8 << 20]).wait()?;
    let large = large.wait()?;
    let probe = second.probe(0, 3);
    let matched = second.mprobe(ANY_SOURCE, 3);
    drop(first);
    // Without finalize: it has failed.
    drop(worlds.remove(0));
    assert!(matches!(probe.wait(), Err(Error::RankFailed { .. })));
    assert!(matches!(matched.wait(), Err(Error::RankFailed { .. })));
    assert_eq!(kept.recv::<u8>().wait()?.0, [1], "it had come whole");
    let lost = large.recv::<u8>().wait();
    assert!(matches!(lost, Err(Error::RankFailed { .. })), "{lost:?}");
    Ok(())
}

#[test]
fn a_sender_hears_when_whoever_kept_its_message_is_gone() -> Tested {
    let (mut worlds, first, second) = pair()?;
    let send = first.ssend(1, 1, [1u8]);
    let message = second.mprobe(0, 1).wait()?;
    drop(second);
    // The process dies with the message in hand.
    std::mem::forget(message);
    drop(worlds.remove(1));
    let result = send.wait();
    assert!(matches!(result, Err(Error::RankFailed { .. })), "{result:?}");
    Ok(())
}

#[test]
fn a_message_that_is_still_kept_when_its_rank_finalizes_is_lost_and_its_sender_goes_on() -> Tested {
    let (mut worlds, first, second) = pair()?;
    let sends = [first.ssend(1, 1, [1u8]), first.ssend(1, 2, vec![2u8; 8 << 20])];
    let (early, late) = (second.mprobe(0, 1).wait()?, second.mprobe(0, 2).wait()?);
    let leaving = worlds.remove(1).finalize();
    // No call can be made any more, and none is needed.
    drop(early);
    for send in sends {
        send.wait()?;
    }
    worlds.remove(0).finalize().wait()?;
    leaving.wait()?;
    let result = late.recv::<u8>().wait();
    assert!(matches!(result, Err(Error::Finalized)), "{result:?}");
    Ok(())
}

#[test]
fn a_ready_send_needs_a_receive_and_not_a_matched_probe() -> Tested {
    let (_worlds, first, second) = pair()?;
    for len in [1, 300_000] {
        let probes = [second.mprobe(0, 4), second.mprobe(ANY_SOURCE, ANY_TAG)];
        settled(&second)?;
        let early = first.rsend(1, 4, vec![1u64; len]);
        settled(&first)?;
        assert!(early.test(), "it has been refused");
        let early = early.wait();
        assert!(matches!(early, Err(Error::NotReady { .. })), "{early:?}");
        assert!(probes.iter().all(|probe| !probe.test()), "it was not sent");
        // With a receive behind them it may start, and the oldest takes it.
        let receive = second.recv::<u64>(ANY_SOURCE, 4);
        settled(&second)?;
        let ready = first.rsend(1, 4, vec![2u64; len]);
        let [oldest, other] = probes;
        let message = oldest.wait()?;
        assert!(!receive.test() && !other.test());
        assert_eq!(message.recv::<u64>().wait()?.0, vec![2; len]);
        ready.wait()?;
        assert!(other.cancel().wait()?.is_none());
        first.rsend(1, 4, vec![3u64; len]).wait()?;
        assert_eq!(receive.wait()?.0, vec![3; len]);
    }
    Ok(())
}

#[test]
fn objects_are_sent_in_every_mode() -> Tested {
    let (_worlds, first, second) = pair()?;
    let word = "synchronous".to_owned();
    let synchronous = first.objects().ssend(1, 1, &word);
    settled(&first)?;
    assert!(!synchronous.test(), "nobody has received it");
    assert_eq!(second.objects().recv::<String>(0, 1).wait()?.0, word);
    synchronous.wait()?;

    let large = vec![7u32; 2 << 20];
    assert!(first.objects().bsend(1, 2, &large).test(), "more than the hub queues");
    assert_eq!(second.objects().recv::<Vec<u32>>(0, 2).wait()?.0, large);

    let early = first.objects().rsend(1, 3, &word).wait();
    assert!(matches!(early, Err(Error::NotReady { .. })), "{early:?}");
    let receive = second.objects().recv::<String>(0, 3);
    settled(&second)?;
    first.objects().rsend(1, 3, "ready").wait()?;
    assert_eq!(receive.wait()?.0, "ready");

    // To nobody, all are done at once.
    let nobody: Option<u32> = None;
    first.objects().ssend(nobody, 1, &word).wait()?;
    first.objects().rsend(nobody, 1, &word).wait()?;
    first.objects().bsend(nobody, 1, &word).wait()?;
    Ok(())
}

#[test]
fn a_message_dropped_while_there_is_no_room_for_another_call_is_given_back_later() {
    let worlds = local(2).unwrap();
    let (sender, receiver) = (worlds[0].comm(), worlds[1].comm());
    let send = sender.ssend(1, 7, [1u8]);
    let message = receiver.mprobe(0, 7).wait().unwrap();
    let mut receives: Vec<_> = Vec::new();
    loop {
        let receive = receiver.recv::<u8>(0, 8);
        if receive.test() {
            break;
        }
        receives.push(receive);
    }
    drop(message);
    // Now there is room.
    receives.truncate(10);
    let (said, sent) = std::sync::mpsc::channel();
    thread::spawn(move || said.send(send.wait()).is_ok());
    let sent = sent.recv_timeout(std::time::Duration::from_secs(20));
    sent.expect("the sender waits for ever").unwrap();
}

#[test]
fn a_buffered_send_that_can_not_be_started_says_so() -> Result<(), Error> {
    let worlds = local(2)?;
    let comm = worlds[0].comm();
    assert!(matches!(comm.bsend(2, 1, [1u8]).wait(), Err(Error::InvalidArgument { .. })));
    assert!(matches!(comm.objects().bsend(2, 1, "nobody").wait(), Err(Error::InvalidArgument { .. })));
    worlds.into_iter().map(World::finalize).collect::<Vec<_>>().into_iter().try_for_each(edgempi::Finalize::wait)
}
