//! Calls that travel as others do, and are told apart all the same: what the program called is what has to agree.

use std::thread;

use edgempi::hub::{Applied, Registry};
use edgempi::{
    Buffers, Builder, Call, Comm, Communicator, Datatype, Error, Group, Named, Operation, Persistent, Rank, SplitType,
    Sum, World,
};
use edgempi_core::{Color, SplitRequest, SplitResult};

type Told = fn(&Comm) -> Result<(), Error>;

fn registry() -> Registry {
    let mut operations = Registry::new();
    operations.insert_reduce("longest", 1, |a: String, b: String| if b.len() > a.len() { b } else { a });
    operations.insert_fold_fn("sums", 1, |[a]: [f32; 1], [b]: [f32; 1]| [a + b], |sum| sum);
    operations.insert_fn(Scaled::NAME, Scaled::VERSION, |call: Applied<'_, f32>, inputs: Vec<(Rank, f32)>| {
        let sum: f32 = inputs.iter().map(|(_, value)| value * call.parameters).sum();
        Ok::<_, String>(call.destinations.iter().map(|rank| (*rank, sum)).collect())
    });
    operations
}

/// A sum, scaled.
struct Scaled {
    by: f32,
    sources: Vec<Rank>,
}

impl Operation for Scaled {
    const NAME: &'static str = "scaled";
    type Parameters = f32;
    type Input = f32;
    type Output = f32;

    fn parameters(&self) -> f32 {
        self.by
    }

    fn group(&self) -> Group<'_> {
        Group::new(&self.sources, &self.sources)
    }
}

fn scaled(comm: &Comm, by: f32, sources: &[u32]) -> Result<(), Error> {
    let sources = sources.iter().copied().map(Rank::new).collect();
    comm.apply(&Scaled { by, sources }, Some(&1.0)).wait().map(drop)
}

/// Rank 0 calls the first, all others the second. What each of them is told.
fn tell<R: Send>(worlds: &[World], first: fn(&Comm) -> R, second: fn(&Comm) -> R) -> Vec<R> {
    thread::scope(|scope| {
        let ranks: Vec<_> = worlds
            .iter()
            .map(|world| {
                let call = if world.rank() == 0 { first } else { second };
                scope.spawn(move || call(&world.comm()))
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
    })
}

fn assert_told(worlds: &[World], (one, first): (&str, Told), (other, second): (&str, Told)) {
    for result in tell(worlds, first, second) {
        let Err(Error::Mismatch { reason }) = &result else { panic!("{one} beside {other}: {result:?}") };
        let line = " at transport-std/tests/lookalikes.rs:";
        assert!(reason.contains(&format!("rank 0 calls {one}{line}")), "{reason}");
        assert!(reason.contains(&format!(" {other}{line}")), "{reason}");
    }
    let sums = tell(worlds, |comm| comm.allreduce([1], Sum).wait(), |comm| comm.allreduce([1], Sum).wait());
    assert!(
        sums.iter().all(|sum| sum.as_deref().is_ok_and(|sum| sum == [worlds.len() as i32])),
        "it goes on: {sums:?}"
    );
}

const ADD: fn(u32, u32) -> u32 = |a, b| a + b;

#[test]
fn reductions_by_closures_are_told_apart() {
    let worlds = Builder::new().operations(registry()).local(3).unwrap();
    let calls: [(&str, Told); 8] = [
        ("allreduce(objects, by a closure)", |comm| comm.objects().allreduce(5, ADD).wait().map(drop)),
        ("scan(objects, by a closure)", |comm| comm.objects().scan(7, ADD).wait().map(drop)),
        ("exscan(objects, by a closure)", |comm| comm.objects().exscan(7, ADD).wait().map(drop)),
        ("allgather(objects)", |comm| comm.objects().allgather(&7u32).wait().map(drop)),
        ("reduce(root 1, objects, by a closure)", |comm| comm.objects().reduce(1, 7, ADD).wait().map(drop)),
        ("gather(root 1, objects)", |comm| comm.objects().gather(1, &7u32).wait().map(drop)),
        ("reduce_scatter(objects, by a closure)", |comm| {
            comm.objects().reduce_scatter(vec![1, 2, 3], &[1; 3], ADD).wait().map(drop)
        }),
        ("reduce_scatter_block(objects, by a closure)", |comm| {
            comm.objects().reduce_scatter_block(vec![1, 2, 3], ADD).wait().map(drop)
        }),
    ];
    for (at, one) in calls.into_iter().enumerate() {
        for (_, other) in calls.into_iter().enumerate().filter(|(other, _)| *other != at) {
            assert_told(&worlds, one, other);
        }
    }
    // By a closure here, by the hub's function there; and a value for what takes buffers.
    let named: Told = |comm| comm.objects().allreduce(String::new(), Named::new("longest")).wait().map(drop);
    let closure: Told = |comm| comm.objects().allreduce(String::new(), |a: String, b: String| a + &b).wait().map(drop);
    let names = ("allreduce(objects, by a closure)", "operation \"longest\" version 1");
    assert_told(&worlds, (names.0, closure), (names.1, named));
    let value: fn(&Comm) -> Result<(), Error> =
        |comm| comm.objects().allreduce(1.5f32, Named::new("sums")).wait().map(drop);
    for result in tell(&worlds, value, value) {
        let Err(Error::Mismatch { reason }) = &result else { panic!("{result:?}") };
        assert!(reason.contains(" calls operation \"sums\" version 1 at "), "{reason}");
        assert!(reason.ends_with(", and the operation takes buffers of f32"), "{reason}");
    }
    // And a buffer for what takes values.
    let buffer: fn(&Comm) -> Result<(), Error> = |comm| comm.fold_all(Named::new("longest"), [1u8, 2]).wait().map(drop);
    for result in tell(&worlds, buffer, buffer) {
        let Err(Error::Mismatch { reason }) = &result else { panic!("{result:?}") };
        assert!(reason.contains(" calls operation \"longest\" version 1 (u8) at "), "{reason}");
        assert!(reason.contains(", and the operation takes encoded values"), "{reason}");
    }
}

#[test]
fn calls_that_make_communicators_are_told_apart() {
    let worlds = edgempi::local(3).unwrap();
    let calls: [(&str, Told); 9] = [
        ("dup", |comm| comm.dup().wait().map(drop)),
        ("split", |comm| comm.split(Some(1), 0).wait().map(drop)),
        ("split_type", |comm| comm.split_type(SplitType::Kind, 0).wait().map(drop)),
        ("create", |comm| comm.create(&comm.group().wait()?).wait().map(drop)),
        ("cart", |comm| comm.cart(&[3], &[true]).wait().map(drop)),
        ("dist_graph_adjacent", |comm| comm.dist_graph_adjacent::<u32>(&[], &[]).wait().map(drop)),
        // This one has a second half, which is nobody else's business.
        ("dist_graph", |comm| comm.dist_graph::<u32>(&[(0, 1)]).wait().map(drop)),
        ("alltoallv(u32)", |comm| comm.alltoallv(vec![Vec::<u32>::new(); 3]).wait().map(drop)),
        ("barrier", |comm| comm.barrier().wait()),
    ];
    for (at, one) in calls.into_iter().enumerate() {
        for (_, other) in calls.into_iter().enumerate().filter(|(other, _)| *other != at) {
            assert_told(&worlds, one, other);
        }
    }
    let results = tell(
        &worlds,
        |comm| comm.split_type(SplitType::Kind, 0).wait().map(drop),
        |comm| comm.split_type(SplitType::Machine, 0).wait().map(drop),
    );
    for result in results {
        let Err(Error::Mismatch { reason }) = &result else { panic!("{result:?}") };
        assert!(reason.contains("rank 0 calls split_type(by kind of rank) at "), "{reason}");
        assert!(reason.contains("; ranks 1, 2 call split_type(by machine) at "), "{reason}");
    }
}

#[test]
fn a_part_of_a_grid_is_no_copy_of_it() {
    let worlds = edgempi::local(2).unwrap();
    let results = tell(
        &worlds,
        |comm| comm.cart(&[2], &[true]).wait()?.expect("two are enough").sub(&[true]).wait().map(drop),
        |comm| comm.cart(&[2], &[true]).wait()?.expect("two are enough").comm().dup().wait().map(drop),
    );
    for result in results {
        let Err(Error::Mismatch { reason }) = &result else { panic!("{result:?}") };
        assert!(reason.contains("rank 0 calls sub at ") && reason.contains("; rank 1 calls dup at "), "{reason}");
    }
}

/// Also those that the grid has no place for, and those for whom what they say themselves would do.
#[test]
fn grids_that_differ_are_told_to_all() {
    let worlds = edgempi::local(3).unwrap();
    let pairs: [(Told, Told); 3] = [
        (|comm| comm.cart(&[1], &[true]).wait().map(drop), |comm| comm.cart(&[3], &[true]).wait().map(drop)),
        (
            |comm| comm.cart(&[2], &[true]).wait().map(drop),
            |comm| comm.cart(&[2], &[comm.rank() == 1]).wait().map(drop),
        ),
        (
            |comm| comm.cart(&[1, 3], &[true; 2]).wait()?.expect("three").sub(&[true, false]).wait().map(drop),
            |comm| comm.cart(&[1, 3], &[true; 2]).wait()?.expect("three").sub(&[false, true]).wait().map(drop),
        ),
    ];
    for (one, other) in pairs {
        for result in tell(&worlds, one, other) {
            let Err(Error::Mismatch { reason }) = &result else { panic!("{result:?}") };
            assert!(reason.contains(" at transport-std/tests/lookalikes.rs:"), "{reason}");
            assert!(reason.contains(", with other arguments"), "{reason}");
        }
    }
}

#[test]
fn calls_among_neighbours_are_told_apart() {
    type Neighbours = fn(&edgempi::Neighborhood) -> Result<(), Error>;
    let worlds = edgempi::local(2).unwrap();
    let on_line = |call: Neighbours, world: &World| -> Result<(), Error> {
        let line = world.comm().cart(&[2], &[false]).wait()?.expect("two are enough");
        let result = call(&line);
        // The other rank is still to be told.
        world.comm().barrier().wait()?;
        result
    };
    let calls: [(&str, Neighbours); 6] = [
        ("neighbor_allgather", |line| line.neighbor_allgather([1u8, 2]).wait().map(drop)),
        ("neighbor_allgatherv", |line| line.neighbor_allgatherv([1u8, 2]).wait().map(drop)),
        ("neighbor_alltoall", |line| line.neighbor_alltoall([1u8, 2, 3, 4]).wait().map(drop)),
        ("neighbor_alltoallv", |line| line.neighbor_alltoallv(vec![vec![1u8, 2]; 2]).wait().map(drop)),
        ("neighbor_allgather", |line| line.objects().neighbor_allgather(&7).wait().map(drop)),
        ("neighbor_alltoall", |line| line.objects().neighbor_alltoall(&[7, 8]).wait().map(drop)),
    ];
    for (one, first) in calls {
        for (other, second) in calls.into_iter().filter(|(other, _)| *other != one) {
            let results = thread::scope(|scope| {
                let second = scope.spawn(|| on_line(second, &worlds[1]));
                [on_line(first, &worlds[0]), second.join().expect("it does not panic")]
            });
            for result in results {
                let Err(Error::Mismatch { reason }) = &result else { panic!("{one} beside {other}: {result:?}") };
                assert!(
                    reason.contains(&format!("calls {one}(")) && reason.contains(&format!("calls {other}(")),
                    "{reason}"
                );
                assert!(reason.contains(" at transport-std/tests/lookalikes.rs:"), "{reason}");
            }
        }
    }
}

/// Each takes as many elements as could have been meant, and together they do.
#[test]
fn counts_that_add_up_by_chance_are_told() {
    let worlds = edgempi::local(3).unwrap();
    type Scattered = Result<Vec<i32>, Error>;
    let six: fn(&Comm) -> Scattered = |comm| comm.reduce_scatter([1, 2, 3, 4, 5, 6], &[1, 1, 4], Sum).wait();
    let other: fn(&Comm) -> Scattered = |comm| comm.reduce_scatter([1, 2, 3, 4, 5, 6], &[1, 4, 1], Sum).wait();
    assert!(tell(&worlds, six, six).into_iter().all(|result| result.is_ok()));
    for result in tell(
        &worlds,
        |comm| comm.reduce_scatter([1, 2, 3, 4, 5, 6], &[1, 2, 3], Sum).wait(),
        |comm| {
            let counts = if comm.rank() == 1 { [2, 2, 2] } else { [1, 2, 3] };
            comm.reduce_scatter([1, 2, 3, 4, 5, 6], &counts, Sum).wait()
        },
    ) {
        let Err(Error::Mismatch { reason }) = &result else { panic!("{result:?}") };
        assert!(reason.contains(", with other counts"), "{reason}");
    }
    for result in tell(&worlds, six, other) {
        assert!(matches!(result, Err(Error::Mismatch { .. })), "{result:?}");
    }
}

#[test]
fn parameters_that_differ_are_a_mismatch_with_both_places() {
    let worlds = Builder::new().operations(registry()).local(3).unwrap();
    let all: [Told; 2] = [|comm| scaled(comm, 2.0, &[0, 1, 2]), |comm| scaled(comm, 3.0, &[0, 1, 2])];
    assert!(tell(&worlds, all[0], all[0]).into_iter().all(|result| result.is_ok()));
    for result in tell(&worlds, all[0], all[1]) {
        let Err(Error::Mismatch { reason }) = &result else { panic!("{result:?}") };
        assert!(reason.contains("operation \"scaled\" version 1 at transport-std/tests/lookalikes.rs:"), "{reason}");
        assert!(reason.contains(", with other parameters"), "{reason}");
    }
}

/// Ranks that name different groups never meet, so it is the group that has to be told.
#[test]
fn a_call_of_some_ranks_says_which() {
    let worlds = Builder::new().operations(registry()).local(3).unwrap();
    let call = Scaled { by: 1.0, sources: vec![Rank::new(0), Rank::new(2)] };
    let waiting = worlds[0].comm().apply(&call, Some(&1.0));
    let mut worlds = worlds.into_iter();
    let first = worlds.next().expect("three were asked for");
    drop(worlds);
    let error = waiting.wait().expect_err("rank 2 has gone");
    let text = error.to_string();
    assert!(text.contains("rank 0 called operation \"scaled\" version 1 of ranks 0, 2 at "), "{text}");
    drop(first);
}

/// Forms of one call, as (what each rank gets): whatever form a rank takes, they meet.
#[test]
fn all_forms_of_one_call_meet() {
    type Form = fn(&Comm) -> Result<Vec<f64>, Error>;
    fn given(comm: &Comm) -> Vec<f64> {
        vec![f64::from(comm.rank().get()) + 1.0; 3]
    }
    fn first(result: Vec<f64>) -> Vec<f64> {
        result.into_iter().take(1).collect()
    }
    fn again<B: Send + 'static>(mut call: Persistent<B>) -> Result<B, Error> {
        call.start()?;
        call.wait()?;
        call.into_buffer().ok_or(Error::Finalized)
    }
    let allreduce: &[Form] = &[
        |comm| Ok(first(comm.allreduce(vec![given(comm)[0]], Sum).wait()?)),
        |comm| {
            let mut data = [given(comm)[0]];
            comm.allreduce_in_place(&mut data, Sum).wait()?;
            Ok(data.to_vec())
        },
        |comm| again(comm.allreduce_init(vec![given(comm)[0]], Sum)),
        |comm| Ok(vec![comm.objects().allreduce(given(comm)[0], Sum).wait()?]),
        |comm| {
            let mut data = [given(comm)[0]];
            Communicator::allreduce_in_place(comm, &mut data, Sum).wait()?;
            Ok(data.to_vec())
        },
        |comm| {
            let call = Persistent::calling(given(comm)[0], {
                let comm = comm.clone();
                move |value| comm.allreduce([*value], Sum)
            });
            let mut call = call;
            call.start()?;
            call.wait()
        },
    ];
    let scan: &[Form] = &[
        |comm| comm.scan(vec![given(comm)[0]], Sum).wait(),
        |comm| Ok(vec![comm.objects().scan(given(comm)[0], Sum).wait()?]),
        |comm| again(comm.scan_init(vec![given(comm)[0]], Sum)),
        |comm| {
            let mut prefix = [0.0];
            Communicator::scan(comm, &given(comm)[..1], &mut prefix, Sum).wait()?;
            Ok(prefix.to_vec())
        },
    ];
    let scattered: &[Form] = &[
        |comm| comm.reduce_scatter(given(comm), &[1, 1, 1], Sum).wait(),
        |comm| {
            let mut data = given(comm);
            comm.reduce_scatter_in_place(&mut data, &[1, 1, 1], Sum).wait()?;
            Ok(first(data))
        },
        |comm| Ok(again(comm.reduce_scatter_init(given(comm), &[1, 1, 1], Sum))?.receive),
        |comm| comm.objects().reduce_scatter(given(comm), &[1, 1, 1], Sum).wait(),
        // Who says no counts, as a board does not, takes what the others say.
        |comm| {
            let (data, mut block) = (given(comm), [0.0f64]);
            let bytes: Vec<u8> = data.iter().flat_map(|value| value.to_le_bytes()).collect();
            let mut place = [0; 8];
            let buffers = Buffers::Both { send: &bytes, receive: &mut place };
            Communicator::transfer(comm, Call::ReduceScatter { op: Sum }, Datatype::F64, buffers).wait()?;
            block[0] = f64::from_le_bytes(place);
            Ok(block.to_vec())
        },
    ];
    let blocks: &[Form] = &[
        |comm| comm.reduce_scatter_block(given(comm), Sum).wait(),
        |comm| Ok(vec![comm.objects().reduce_scatter_block(given(comm), Sum).wait()?]),
        |comm| Ok(again(comm.reduce_scatter_block_init(given(comm), Sum))?.receive),
        |comm| {
            let mut block = [0.0];
            Communicator::reduce_scatter_block(comm, &given(comm), &mut block, Sum).wait()?;
            Ok(block.to_vec())
        },
    ];
    let barrier: &[Form] = &[
        |comm| comm.barrier().wait().map(|()| Vec::new()),
        |comm| Communicator::barrier(comm).wait().map(|_| Vec::new()),
        |comm| again(comm.barrier_init()).map(|()| Vec::new()),
    ];
    let folds: &[Form] = &[
        |comm| comm.fold_all(Named::new("totals"), given(comm)).wait(),
        |comm| comm.fold(Named::new("totals"), Group::ALL, Some(given(comm))).wait().map(Option::unwrap_or_default),
        |comm| {
            let all = [0, 1, 2].map(Rank::new);
            let group = Group::new(&all, &all);
            comm.fold(Named::new("totals"), group, Some(given(comm))).wait().map(Option::unwrap_or_default)
        },
    ];
    let halves: &[Form] = &[
        |comm| {
            let half = comm.split(Some(comm.rank().get() % 2), 0).wait()?.expect("it said a colour");
            half.allreduce(vec![1.0], Sum).wait()
        },
        // As a board does.
        |comm| {
            let color = Some(Color::Number(comm.rank().get() % 2));
            let (send, mut receive) = (SplitRequest { color, key: 0 }.to_bytes(), [0; SplitResult::LEN]);
            let buffers = Buffers::Both { send: &send, receive: &mut receive };
            Communicator::transfer(comm, Call::Split, Datatype::Object, buffers).wait()?;
            Ok(vec![f64::from(SplitResult::from_bytes(receive).size)])
        },
    ];
    let ring: &[Form] = &[
        |comm| {
            let (rank, size) = (comm.rank().get(), comm.size());
            let (next, before) = ((rank + 1) % size, (rank + size - 1) % size);
            Ok(comm.sendrecv::<f64, f64>(next, 1, given(comm), before, 1).wait()?.0)
        },
        |comm| {
            let (rank, size) = (comm.rank().get(), comm.size());
            let (next, before) = ((rank + 1) % size, (rank + size - 1) % size);
            let (send, receive) = (comm.send(next, 1, given(comm)), comm.recv::<f64>(before, 1));
            send.wait()?;
            Ok(receive.wait()?.0)
        },
        |comm| {
            let (rank, size) = (comm.rank().get(), comm.size());
            let mut data = given(comm);
            let (next, before) = ((rank + 1) % size, (rank + size - 1) % size);
            comm.sendrecv_replace(next, 1, before, 1, &mut data).wait()?;
            Ok(data)
        },
    ];
    let mut operations = registry();
    operations.insert_fold_fn("totals", 1, |[a]: [f64; 1], [b]: [f64; 1]| [a + b], |sum| sum);
    let worlds = Builder::new().operations(operations).local(3).unwrap();
    for forms in [allreduce, scan, scattered, blocks, barrier, folds, halves, ring] {
        let expected: Vec<_> = tell(&worlds, forms[0], forms[0]).into_iter().map(Result::unwrap).collect();
        for (at, one) in forms.iter().enumerate() {
            for (other_at, other) in forms.iter().enumerate() {
                let results: Vec<_> = thread::scope(|scope| {
                    let ranks: Vec<_> = worlds
                        .iter()
                        .map(|world| {
                            let form = if world.rank() == 1 { one } else { other };
                            scope.spawn(move || form(&world.comm()))
                        })
                        .collect();
                    ranks.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
                });
                for (result, expected) in results.into_iter().zip(&expected) {
                    let result = result.unwrap_or_else(|error| panic!("form {at} beside {other_at}: {error}"));
                    assert_eq!(&result, expected, "form {at} beside {other_at}");
                }
            }
        }
    }
}
