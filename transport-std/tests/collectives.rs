//! Every collective on 1, 2, 4 and 5 ranks against a naive model: buffers, objects, in place, and ranks that disagree.

use std::thread;

use edgempi::{Band, Comm, Communicator, Element, Error, Located, Max, Min, Minloc, Prod, Rank, Sum, reduce_local};

const SIZES: [u32; 4] = [1, 2, 4, 5];
/// Elements: nothing, one frame, and more than the hub's window holds.
const LENGTHS: [usize; 4] = [0, 1, 1000, 300_000];

/// What each rank makes of its communicator, in rank order; every rank has a thread.
fn on_each<R: Send>(size: u32, program: impl Fn(&Comm) -> R + Sync) -> Vec<R> {
    let worlds = edgempi::local(size).expect("a local world");
    thread::scope(|scope| {
        let program = &program;
        let ranks: Vec<_> = worlds.iter().map(|world| scope.spawn(move || program(&world.comm()))).collect();
        ranks.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
    })
}

/// Runs the program on worlds of every size.
fn everywhere(program: impl Fn(&Comm) + Sync) {
    for size in SIZES {
        on_each(size, &program);
    }
}

/// What `from` gives `to`: `len` elements that no other pair has.
fn block(from: usize, to: usize, len: usize) -> Vec<i64> {
    (0..len).map(|at| (from * 1_000_003 + to * 10_007 + at) as i64).collect()
}

/// Lengths that differ by rank, empty ones among them.
fn length(from: usize, to: usize, len: usize) -> usize {
    (from * 3 + to * 2) % 4 * len / 3
}

fn place(comm: &Comm) -> (usize, usize) {
    (comm.rank().index(), comm.size() as usize)
}

#[track_caller]
fn assert_same<T: PartialEq + std::fmt::Debug>(got: &[T], expected: &[T]) {
    assert_eq!(got.len(), expected.len());
    assert!(got == expected, "{} elements differ", got.len());
}

#[test]
fn combining_without_others_gives_the_bits_of_an_allreduce() {
    // Two NaNs and two zeros that differ, and what is rounded.
    let given: [Vec<f32>; 2] =
        [vec![0.1, f32::from_bits(0x7fc0_0001), 0.0, 3e38], vec![0.2, f32::from_bits(0xffc0_0002), -0.0, 3e38]];
    for op in [Sum, Prod, Max, Min] {
        let mut alone = given[0].clone();
        reduce_local(&mut alone, &given[1], op).expect("lengths are equal");
        let bits = |data: &[f32]| data.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        for together in on_each(2, |comm| comm.allreduce(&given[comm.rank().index()], op).wait().unwrap()) {
            assert_eq!(bits(&together), bits(&alone), "{op}");
        }
    }
    let mut pairs = [Located::new(2i32, 7)];
    reduce_local(&mut pairs, &[Located::new(2, 3)], Minloc).expect("it is defined on pairs");
    assert_eq!(pairs[0].index(), 3);
    let differ = reduce_local(&mut [1, 2], &[3], Sum).expect_err("lengths differ");
    assert!(differ.to_string().contains("2 elements can not be combined with 1"), "{differ}");
    let undefined = reduce_local(&mut [1.5], &[2.5], Band).expect_err("there are no bits");
    assert!(undefined.to_string().contains("is not defined on f64"), "{undefined}");
}

#[test]
fn bcast_reaches_all_in_place_too() {
    everywhere(|comm| {
        let (rank, size) = place(comm);
        for len in LENGTHS {
            let root = len % size;
            let given = if rank == root { block(root, 9, len) } else { vec![0; len] };
            let mut data = given.clone();
            comm.bcast_in_place(root as u32, &mut data).wait().unwrap();
            assert_same(&data, &block(root, 9, len));
            assert_same(&comm.bcast(root as u32, given).wait().unwrap(), &data);
        }
    });
}

#[test]
fn gather_and_its_kin_collect_blocks() {
    everywhere(|comm| {
        let (rank, size) = place(comm);
        for len in LENGTHS {
            let root = (len + 1) % size;
            let all: Vec<i64> = (0..size).flat_map(|from| block(from, 0, len)).collect();
            let gathered = comm.gather(root as u32, block(rank, 0, len)).wait().unwrap();
            assert_eq!(gathered.is_some(), rank == root);
            assert!(gathered.is_none_or(|gathered| gathered == all));
            assert_same(&comm.allgather(block(rank, 0, len)).wait().unwrap(), &all);

            let mut data = if rank == root { vec![-1; size * len] } else { block(rank, 0, len) };
            if rank == root {
                data[rank * len..][..len].copy_from_slice(&block(rank, 0, len));
            }
            comm.gather_in_place(root as u32, &mut data).wait().unwrap();
            assert_same(&data, &if rank == root { all.clone() } else { block(rank, 0, len) });

            let mut data = vec![-1; size * len];
            data[rank * len..][..len].copy_from_slice(&block(rank, 0, len));
            comm.allgather_in_place(&mut data).wait().unwrap();
            assert_same(&data, &all);
        }
    });
}

#[test]
fn gatherv_and_allgatherv_keep_every_length() {
    everywhere(|comm| {
        let (rank, size) = place(comm);
        for len in LENGTHS {
            let root = (len + 1) % size;
            let own = block(rank, 0, length(rank, 0, len));
            let all: Vec<_> = (0..size).map(|from| block(from, 0, length(from, 0, len))).collect();
            let gathered = comm.gatherv(root as u32, &own).wait().unwrap();
            assert_eq!(gathered.is_some(), rank == root);
            assert!(gathered.is_none_or(|gathered| gathered == all));
            assert_same(&comm.allgatherv(own).wait().unwrap(), &all);
        }
    });
}

#[test]
fn scatter_and_scatterv_hand_blocks_out() {
    everywhere(|comm| {
        let (rank, size) = place(comm);
        for len in LENGTHS {
            let root = (len + 2) % size;
            let all: Vec<i64> = (0..size).flat_map(|to| block(root, to, len)).collect();
            let scattered = comm.scatter(root as u32, (rank == root).then(|| all.clone())).wait().unwrap();
            assert_same(&scattered, &block(root, rank, len));

            let mut data = if rank == root { all.clone() } else { vec![-1; len] };
            comm.scatter_in_place(root as u32, &mut data).wait().unwrap();
            assert_same(&data, &if rank == root { all } else { block(root, rank, len) });

            let blocks = || (0..size).map(|to| block(root, to, length(root, to, len))).collect::<Vec<_>>();
            let scattered = comm.scatterv(root as u32, (rank == root).then(blocks)).wait().unwrap();
            assert_same(&scattered, &block(root, rank, length(root, rank, len)));
        }
    });
}

#[test]
fn alltoall_and_alltoallv_exchange_blocks() {
    everywhere(|comm| {
        let (rank, size) = place(comm);
        for len in [0, 1, 1000, 60_000] {
            let given: Vec<i64> = (0..size).flat_map(|to| block(rank, to, len)).collect();
            let expected: Vec<i64> = (0..size).flat_map(|from| block(from, rank, len)).collect();
            let mut data = given.clone();
            comm.alltoall_in_place(&mut data).wait().unwrap();
            assert_same(&data, &expected);
            assert_same(&comm.alltoall(given).wait().unwrap(), &expected);

            let given = (0..size).map(|to| block(rank, to, length(rank, to, len))).collect();
            let expected: Vec<_> = (0..size).map(|from| block(from, rank, length(from, rank, len))).collect();
            assert_same(&comm.alltoallv(given).wait().unwrap(), &expected);
        }
    });
}

/// The vectors of these ranks, added.
fn sum(ranks: std::ops::Range<usize>, len: usize) -> Vec<i64> {
    let mut total = vec![0; len];
    for rank in ranks {
        total.iter_mut().zip(block(rank, 0, len)).for_each(|(total, element)| *total += element);
    }
    total
}

#[test]
fn reduce_and_allreduce_combine_all() {
    everywhere(|comm| {
        let (rank, size) = place(comm);
        for len in LENGTHS {
            let root = len % size;
            let total = sum(0..size, len);
            let reduced = comm.reduce(root as u32, block(rank, 0, len), Sum).wait().unwrap();
            assert_eq!(reduced.is_some(), rank == root);
            assert!(reduced.is_none_or(|reduced| reduced == total));
            assert_same(&comm.allreduce(block(rank, 0, len), Sum).wait().unwrap(), &total);

            let mut data = block(rank, 0, len);
            comm.reduce_in_place(root as u32, &mut data, Sum).wait().unwrap();
            assert_same(&data, &if rank == root { total.clone() } else { block(rank, 0, len) });
            let mut data = block(rank, 0, len);
            comm.allreduce_in_place(&mut data, Sum).wait().unwrap();
            assert_same(&data, &total);
        }
    });
}

#[test]
fn scan_and_exscan_combine_the_ranks_before() {
    everywhere(|comm| {
        let (rank, _) = place(comm);
        for len in LENGTHS {
            let own = block(rank, 0, len);
            assert_same(&comm.scan(&own, Sum).wait().unwrap(), &sum(0..rank + 1, len));
            let before = comm.exscan(&own, Sum).wait().unwrap();
            assert_eq!(before.is_none(), rank == 0);
            assert!(before.is_none_or(|before| before == sum(0..rank, len)));

            let mut data = own.clone();
            comm.scan_in_place(&mut data, Sum).wait().unwrap();
            assert_same(&data, &sum(0..rank + 1, len));
            let mut data = own.clone();
            comm.exscan_in_place(&mut data, Sum).wait().unwrap();
            assert_same(&data, &if rank == 0 { own } else { sum(0..rank, len) });
        }
    });
}

#[test]
fn reduce_scatter_leaves_each_rank_its_block() {
    everywhere(|comm| {
        let (rank, size) = place(comm);
        for len in LENGTHS {
            let every = [
                (0..size).map(|at| if at == size - 1 { len } else { 0 }).collect::<Vec<_>>(),
                (0..size).map(|at| length(at, 1, len)).collect(),
            ];
            for counts in every {
                let all = counts.iter().sum();
                let start: usize = counts[..rank].iter().sum();
                let expected = sum(0..size, all)[start..start + counts[rank]].to_vec();
                assert_same(&comm.reduce_scatter(block(rank, 0, all), &counts, Sum).wait().unwrap(), &expected);
                let mut data = block(rank, 0, all);
                comm.reduce_scatter_in_place(&mut data, &counts, Sum).wait().unwrap();
                assert_same(&data[..counts[rank]], &expected);
                assert_same(&data[counts[rank]..], &block(rank, 0, all)[counts[rank]..]);
            }
            let expected = sum(0..size, size * len)[rank * len..][..len].to_vec();
            let given = block(rank, 0, size * len);
            assert_same(&comm.reduce_scatter_block(&given, Sum).wait().unwrap(), &expected);
            let mut data = given.clone();
            comm.reduce_scatter_block_in_place(&mut data, Sum).wait().unwrap();
            assert_same(&data[..len], &expected);
            assert_same(&data[len..], &given[len..]);
        }
    });
}

#[test]
fn a_vector_that_is_handed_over_comes_back_as_the_result() {
    everywhere(|comm| {
        let memory = |data: &[f32]| data.as_ptr() as usize;
        let data = vec![1.0f32; 1000 * comm.size() as usize];
        let before = memory(&data);
        let data = comm.scan(data, Sum).wait().unwrap();
        assert_eq!(memory(&data), before);
        let data = comm.reduce_scatter_block(data, Sum).wait().unwrap();
        assert_eq!((memory(&data), data.len()), (before, 1000));
        let gathered = comm.allgatherv(data).wait().unwrap();
        assert_eq!(memory(&gathered[comm.rank().index()]), before);
    });
}

#[test]
fn objects_go_by_ops_and_by_closures() {
    everywhere(|comm| {
        let (rank, size) = place(comm);
        let objects = comm.objects();
        let word = |rank: usize| format!("<{rank}>").repeat(rank + 1);
        let join = |a: String, b: String| a + &b;
        let words = |ranks: std::ops::Range<usize>| ranks.map(word).collect::<String>();

        assert_eq!(objects.scan(word(rank), join).wait().unwrap(), words(0..rank + 1));
        let before = objects.exscan(word(rank), join).wait().unwrap();
        assert_eq!(before, (rank > 0).then(|| words(0..rank)));
        assert_eq!(objects.scan(rank as u64 + 1, Prod).wait().unwrap(), (1..=rank as u64 + 1).product::<u64>());
        let before = objects.exscan(rank as i32, Max).wait().unwrap();
        assert_eq!(before, (rank > 0).then(|| rank as i32 - 1));

        let counts: Vec<usize> = (0..size).map(|at| at % 3).collect();
        let all: usize = counts.iter().sum();
        let start: usize = counts[..rank].iter().sum();
        let values = |rank: usize| (0..all).map(|at| format!("{rank}.{at} ")).collect::<Vec<_>>();
        let expected: Vec<String> =
            (start..start + counts[rank]).map(|at| (0..size).map(|rank| format!("{rank}.{at} ")).collect()).collect();
        assert_eq!(objects.reduce_scatter(values(rank), &counts, join).wait().unwrap(), expected);
        let numbers = (0..all as u32).map(|at| at + rank as u32).collect();
        let expected: Vec<u32> =
            (start..start + counts[rank]).map(|at| (0..size).map(|rank| (at + rank) as u32).sum()).collect();
        assert_eq!(objects.reduce_scatter(numbers, &counts, Sum).wait().unwrap(), expected);

        let values = (0..size).map(|to| format!("{rank}>{to} ")).collect();
        let expected: String = (0..size).map(|from| format!("{from}>{rank} ")).collect();
        assert_eq!(objects.reduce_scatter_block(values, join).wait().unwrap(), expected);
        let numbers = (0..size as i64).map(|to| to * 10).collect();
        let total = objects.reduce_scatter_block(numbers, Sum).wait().unwrap();
        assert_eq!(total, (rank * 10 * size) as i64);
    });
}

/// Rank 1 of two makes another call than rank 0, and hears what is wrong; the communicator stays usable where rank 0 is in
/// the call as well.
#[track_caller]
fn disagree<T: Send>(
    first: impl Fn(&Comm) -> Result<T, Error> + Sync,
    second: impl Fn(&Comm) -> Result<T, Error> + Sync,
) -> Error {
    let mut results = on_each(2, |comm| {
        let result = if comm.rank() == 0 { first(comm) } else { second(comm) };
        result.err()
    });
    results.pop().flatten().expect("rank 1 hears of it")
}

#[track_caller]
fn assert_truncated(error: &Error, bytes: u64, room: u64) {
    match error {
        Error::Truncated { len, max, reason } => assert_eq!((*len, *max), (bytes, room), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_buffer_that_is_too_short_or_too_long_is_truncated_and_stays_as_it_was() {
    for len in [3, 5] {
        let error = disagree(
            |comm| comm.bcast_in_place(0, &mut [7u32; 4]).wait(),
            |comm| {
                let mut data = vec![1u32; len];
                let result = comm.bcast_in_place(0, &mut data).wait();
                assert_eq!(data, vec![1; len]);
                result
            },
        );
        assert_truncated(&error, 16, len as u64 * 4);
        assert!(error.to_string().contains("rank 0 calls bcast(root 0, 4 x u32) at "), "{error}");
        assert!(error.to_string().contains("collectives.rs"), "{error}");

        let error = disagree(
            |comm| comm.scatter_in_place(0, &mut [7u32; 8]).wait(),
            |comm| {
                let mut data = vec![1u32; len];
                let result = comm.scatter_in_place(0, &mut data).wait();
                assert_eq!(data, vec![1; len]);
                result
            },
        );
        assert_truncated(&error, 16, len as u64 * 4);

        let error = disagree(
            |comm| comm.gather_in_place(1, &mut vec![2u32; len]).wait(),
            |comm| {
                let mut data = vec![1u32; 8];
                let result = comm.gather_in_place(1, &mut data).wait();
                assert_eq!(data, vec![1; 8]);
                result
            },
        );
        assert_truncated(&error, len as u64 * 4, 16);
    }
}

#[test]
fn vectors_that_differ_in_length_are_told_with_both_lengths() {
    type Make = fn(&Comm, usize) -> Result<Vec<f32>, Error>;
    let calls: [Make; 4] = [
        |comm, len| comm.scan(vec![0.5; len], Sum).wait(),
        |comm, len| comm.exscan(vec![0.5; len], Sum).wait().map(Option::unwrap_or_default),
        |comm, len| comm.allreduce(vec![0.5; len], Sum).wait(),
        |comm, len| comm.reduce_scatter_block(vec![0.5; len], Sum).wait(),
    ];
    for call in calls {
        let error = disagree(|comm| call(comm, 2), |comm| call(comm, 4));
        let Error::Mismatch { reason } = &error else { panic!("{error:?}") };
        assert!(reason.contains("2 x f32") && reason.contains("4 x f32"), "{reason}");
        assert!(reason.contains("collectives.rs"), "{reason}");
    }
}

#[test]
fn counts_that_differ_between_the_ranks_are_told() {
    let error = disagree(
        |comm| comm.reduce_scatter([1, 2, 3], &[1, 2], Sum).wait(),
        |comm| comm.reduce_scatter([1, 2, 3], &[2, 1], Sum).wait(),
    );
    let Error::Mismatch { reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("rank 0 calls reduce_scatter(SUM, 3 x i32) at "), "{reason}");
    assert!(reason.contains("; rank 1 calls reduce_scatter(SUM, 3 x i32) at "), "{reason}");
    assert!(reason.ends_with(", with other counts"), "{reason}");

    let join = |a: String, b: String| a + &b;
    let words = || ["a", "b", "c"].map(str::to_owned).to_vec();
    let error = disagree(
        |comm| comm.objects().reduce_scatter(words(), &[1, 2], join).wait(),
        |comm| comm.objects().reduce_scatter(words(), &[2, 1], join).wait(),
    );
    let Error::Mismatch { reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("rank 0 calls reduce_scatter(objects, by a closure) at "), "{reason}");
    assert!(reason.ends_with(", with other counts"), "{reason}");
}

#[test]
fn what_can_not_be_divided_is_refused_at_once() {
    let worlds = edgempi::local(2).unwrap();
    let comm = worlds[0].comm();
    let refused = |result: Result<(), Error>, text: &str| match result {
        Err(Error::InvalidArgument { reason }) => assert!(reason.contains(text), "{reason}"),
        other => panic!("{other:?}"),
    };
    let mut three = [0u8; 3];
    let divided = "3 elements can not be divided into one block for each of 2 ranks";
    refused(comm.gather_in_place(0, &mut three).wait(), divided);
    refused(comm.scatter_in_place(0, &mut three).wait(), divided);
    refused(comm.allgather_in_place(&mut three).wait(), divided);
    refused(comm.reduce_scatter_block(three, Sum).wait().map(|_| ()), divided);
    refused(comm.reduce_scatter_block_in_place(&mut three, Sum).wait(), divided);
    refused(comm.alltoall_in_place(&mut three).wait(), divided);
    // Their bytes could be divided.
    let wide = [0u32; 3];
    refused(comm.alltoall(wide).wait().map(|_| ()), divided);
    let mut again = comm.alltoall_init(wide.to_vec());
    again.start().unwrap();
    refused(again.wait().map(|_| ()), divided);
    refused(comm.reduce_scatter(three, &[1, 1], Sum).wait().map(|_| ()), "do not make up the 3 elements");
    refused(comm.reduce_scatter(three, &[3], Sum).wait().map(|_| ()), "1 counts were given for 2 ranks");
    refused(comm.alltoallv(vec![vec![1u8]]).wait().map(|_| ()), "1 blocks were given for 2 ranks");
    refused(comm.scatterv(0, Some(vec![vec![1u8]; 3])).wait().map(|_| ()), "3 blocks were given for 2 ranks");
    refused(comm.scatterv::<u8>(0, None).wait().map(|_| ()), "has to give blocks");
    refused(comm.scan([1.5f32], Band).wait().map(|_| ()), "");
}

#[test]
fn dropping_a_borrowing_request_cancels_it_for_everybody_and_leaves_the_slice_alone() {
    type Start = for<'a> fn(&Comm, &'a mut [i32]) -> edgempi::Request<'a, ()>;
    let calls: [Start; 8] = [
        |comm, data| comm.scan_in_place(data, Sum),
        |comm, data| comm.exscan_in_place(data, Sum),
        |comm, data| comm.reduce_scatter_in_place(data, &[1, 3, 2], Sum),
        |comm, data| comm.reduce_scatter_block_in_place(data, Sum),
        |comm, data| comm.allreduce_in_place(data, Sum),
        |comm, data| comm.allgather_in_place(data),
        |comm, data| comm.alltoall_in_place(data),
        |comm, data| comm.bcast_in_place(0, data),
    ];
    for (at, call) in calls.into_iter().enumerate() {
        let worlds = edgempi::local(3).unwrap();
        let mut data = [1, 2, 3, 4, 5, 6];
        drop(call(&worlds[1].comm(), &mut data));
        assert_eq!(data, [1, 2, 3, 4, 5, 6]);
        let mut other = [7; 6];
        let error = call(&worlds[2].comm(), &mut other).wait().expect_err(&format!("call {at} was given up"));
        assert!(matches!(error, Error::Cancelled { rank, .. } if rank == Rank::new(1)), "call {at}: {error:?}");
        assert_eq!(other, [7; 6]);
    }
}

/// What an algorithm meets that is written against the trait, and so gives memory for its results.
#[test]
fn results_that_do_not_fit_their_memory_are_truncated() {
    let worlds = edgempi::local(2).unwrap();
    let comm = worlds[0].comm();
    let (given, mut room) = ([1u32; 10], [0u32; 40]);
    for len in [19, 18, 21] {
        let room = &mut room[..len];
        let truncated = |error: Error| assert_truncated(&error, 80, len as u64 * 4);
        truncated(Communicator::gather(&comm, 0, &given, room).wait().unwrap_err());
        truncated(Communicator::allgather(&comm, &given, room).wait().unwrap_err());
    }
    assert_truncated(&Communicator::scatter(&comm, 0, &given, &mut room[..6]).wait().unwrap_err(), 20, 24);
    assert_truncated(&Communicator::alltoall(&comm, &given, &mut room[..9]).wait().unwrap_err(), 40, 36);

    type Start = for<'a> fn(&'a Comm, &'a [i64], &'a mut [i64]) -> edgempi::Request<'a, edgempi::Status>;
    let calls: [Start; 3] = [
        |comm, send, receive| Communicator::allreduce(comm, send, receive, Sum),
        |comm, send, receive| Communicator::scan(comm, send, receive, Sum),
        |comm, send, receive| Communicator::exscan(comm, send, receive, Sum),
    ];
    for call in calls {
        for len in [3, 5] {
            let error = disagree(
                |comm| call(comm, &[1; 4], &mut [0; 4]).wait(),
                |comm| {
                    let mut room = vec![-1; len];
                    let result = call(comm, &[1; 4], &mut room).wait();
                    assert_eq!(room, vec![-1; len]);
                    result
                },
            );
            assert_truncated(&error, 32, len as u64 * 8);
        }
    }
}

/// Elements of any type are blocks.
#[test]
fn blocks_have_elements_of_any_size() {
    fn exchange<T: Element + PartialEq + std::fmt::Debug>(comm: &Comm, element: T) {
        let (rank, size) = place(comm);
        let blocks = (0..size).map(|to| vec![element; to + rank]).collect();
        let expected: Vec<_> = (0..size).map(|from| vec![element; rank + from]).collect();
        assert_eq!(comm.alltoallv(blocks).wait().unwrap(), expected);
    }
    everywhere(|comm| {
        exchange(comm, 7u8);
        exchange(comm, -7i16);
        exchange(comm, 0.5f64);
        exchange(comm, Located::new(0.5f64, 9));
    });
}
