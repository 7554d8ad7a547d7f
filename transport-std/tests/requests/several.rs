//! Several requests at once: all, any or some of them.

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
fn testing_all_tells_the_first_failure_in_their_order() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let comms = comms(&worlds);
    let mut receives = [1, 2, 3].map(|tag| comms[0].recv_into(1, tag, Vec::leak(vec![0u8; tag as usize])));
    for tag in [3, 2, 1] {
        assert!(test_all(&mut receives).is_none());
        comms[1].send(0, tag, vec![0u8; if tag == 1 { 1 } else { 10 }]).wait()?;
    }
    let results = loop {
        match test_all(&mut receives) {
            Some(results) => break results,
            None => thread::yield_now(),
        }
    };
    assert!(matches!(results, Err(Error::Truncated { len: 10, max: 2, .. })), "{results:?}");
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
    let receives = || (0..MANY).map(|tag| comms[0].recv::<u32>(1, tag).map(|(data, _)| data[0])).collect::<Vec<_>>();
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
        // A receive that is dropped takes what reaches the hub before that hears of it; it hears in order.
        drop(requests);
        for comm in [&ones[0], &others[0]] {
            assert_eq!(comm.iprobe(1, 9).wait()?, None);
        }
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
