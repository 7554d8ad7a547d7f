//! Results in memory that has done its service.

use edgempi::{Comm, Error, Request, World, local};

const LEN: usize = 100_000;

/// The vector of each rank's result; `start` is given memory that is large enough, with something in it.
fn reused(
    worlds: &[World],
    start: impl Fn(&Comm, Vec<u64>) -> Request<'static, Option<Vec<u64>>>,
) -> Result<Vec<Option<Vec<u64>>>, Error> {
    let memory: Vec<Vec<u64>> = worlds.iter().map(|_| vec![u64::MAX; LEN * worlds.len()]).collect();
    let places: Vec<_> = memory.iter().map(|memory| memory.as_ptr()).collect();
    let requests: Vec<_> = worlds.iter().zip(memory).map(|(world, memory)| start(&world.comm(), memory)).collect();
    let results = requests.into_iter().map(Request::wait).collect::<Result<Vec<_>, _>>()?;
    for (result, place) in results.iter().zip(places) {
        assert!(result.as_ref().is_none_or(|result| result.as_ptr() == place), "it lies in new memory");
    }
    Ok(results)
}

/// What rank `from` gives rank `to`.
fn block(from: usize, to: usize) -> Vec<u64> {
    (0..LEN).map(|at| (from * 1_000_000_000 + to * 1_000_000 + at) as u64).collect()
}

fn blocks(pairs: impl Iterator<Item = (usize, usize)>) -> Vec<u64> {
    pairs.flat_map(|(from, to)| block(from, to)).collect()
}

#[test]
fn results_of_collectives_lie_in_the_memory_that_was_given() -> Result<(), Error> {
    for size in [1, 2, 4, 5] {
        let worlds = local(size)?;
        let size = size as usize;
        let gathered = blocks((0..size).map(|rank| (rank, 0)));

        let results = reused(&worlds, |comm, memory| {
            let memory = if comm.rank() == 0 { memory } else { Vec::new() };
            comm.gather_reusing(memory, 0, block(comm.rank().index(), 0))
        })?;
        assert!(results[0].as_ref() == Some(&gathered) && results[1..].iter().all(Option::is_none));

        let results =
            reused(&worlds, |comm, memory| comm.allgather_reusing(memory, block(comm.rank().index(), 0)).map(Some))?;
        assert!(results.iter().all(|result| result.as_ref() == Some(&gathered)));

        let results = reused(&worlds, |comm, memory| {
            let rank = comm.rank().index();
            comm.alltoall_reusing(memory, blocks((0..size).map(|to| (rank, to)))).map(Some)
        })?;
        for (rank, result) in results.into_iter().enumerate() {
            assert!(result == Some(blocks((0..size).map(|from| (from, rank)))), "rank {rank} of {size}");
        }

        let results = reused(&worlds, |comm, memory| {
            let is_root = comm.rank() == 0;
            let all = is_root.then(|| blocks((0..size).map(|to| (0, to))));
            comm.scatter_reusing(memory, 0, all).map(Some)
        })?;
        for (rank, result) in results.into_iter().enumerate() {
            assert!(result == Some(block(0, rank)), "rank {rank} of {size}");
        }
    }
    Ok(())
}

#[test]
fn a_message_lies_in_the_memory_that_was_given() -> Result<(), Error> {
    let worlds = local(2)?;
    let (first, second) = (worlds[0].comm(), worlds[1].comm());
    let mut memory = vec![9u8; 1000];
    let place = memory.as_ptr();
    for len in [1000, 1, 0, 500] {
        first.send(1, 7, vec![len as u8; len]).wait()?;
        let (data, status) = second.recv_reusing(memory, 0, 7).wait()?;
        assert_eq!((data.as_slice(), status.count::<u8>()), (&vec![len as u8; len][..], Some(len)));
        assert_eq!(data.as_ptr(), place, "it lies in new memory");
        memory = data;
    }
    // Where the memory is too small it is of no use, and does no harm.
    first.send(1, 7, vec![3u8; 2000]).wait()?;
    assert_eq!(second.recv_reusing(memory, 0, 7).wait()?.0, [3; 2000]);
    Ok(())
}

#[test]
fn of_an_empty_message_nothing_old_is_left() -> Result<(), Error> {
    let worlds = local(2)?;
    let (first, second) = (worlds[0].comm(), worlds[1].comm());
    let mut receive = second.recv_init(0, 7, vec![9u8; 4]);
    for expected in [&[1u8, 2][..], &[], &[3]] {
        first.send(1, 7, expected).wait()?;
        receive.set_buffer(vec![9; 4])?;
        receive.start()?;
        let status = receive.wait()?;
        assert_eq!((receive.buffer().map(Vec::as_slice), status.count::<u8>()), (Some(expected), Some(expected.len())));
    }
    let scatter = first.scatter(0, Some(Vec::<u8>::new()));
    assert_eq!(second.scatter_reusing(vec![9u8; 4], 0, None).wait()?, []);
    scatter.wait()?;
    // Persistent: the buffer of the round before is used again.
    let mut scatter = second.scatter_init::<u8>(0, None);
    for expected in [&[1u8, 2][..], &[], &[3]] {
        let root = first.scatter(0, Some([expected, expected].concat()));
        scatter.start()?;
        scatter.wait()?;
        root.wait()?;
        assert_eq!(scatter.buffer().map(|buffer| buffer.receive.as_slice()), Some(expected));
    }
    Ok(())
}
