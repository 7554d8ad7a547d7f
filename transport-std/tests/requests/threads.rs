//! MPI_THREAD_MULTIPLE (MPI 4.1, chapter 11.6): communicators and requests in many threads.

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
        let dups: Vec<Vec<_>> = comms(&worlds).iter().map(|comm| (0..THREADS).map(|_| comm.dup()).collect()).collect();
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
