//! Groups of processes, and communicators made of them, of kinds and of machines; SELF, names, attributes.

use std::collections::BTreeSet;
use std::thread;

use edgempi::sim::{Class, Simulation};
use edgempi::{ANY_SOURCE, Comm, Comparison, Error, ProcessGroup, Rank, RankRange, SplitType, Sum, World};
use proptest::prelude::*;

/// What each rank of a world does, in a thread each.
fn on_all<T: Send>(size: u32, program: impl Fn(&World) -> Result<T, Error> + Sync) -> Result<Vec<T>, Error> {
    let worlds = edgempi::local(size)?;
    thread::scope(|scope| {
        let ranks = worlds.into_iter().map(|world| {
            let program = &program;
            scope.spawn(move || {
                let value = program(&world)?;
                world.finalize().wait()?;
                Ok(value)
            })
        });
        let ranks: Vec<_> = ranks.collect();
        ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect()
    })
}

const SIZES: [u32; 4] = [1, 2, 4, 5];

fn numbers(group: &ProcessGroup) -> Vec<u32> {
    group.ranks().iter().map(|rank| rank.get()).collect()
}

fn distinct() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::hash_set(0u32..30, 0..20).prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #[test]
    fn the_algebra_is_that_of_a_naive_model(one in distinct(), other in distinct(), seed in any::<u64>()) {
        let (a, b) = (ProcessGroup::new(one.clone()).unwrap(), ProcessGroup::new(other.clone()).unwrap());
        let keep = |wanted: bool| -> Vec<u32> {
            one.iter().copied().filter(|rank| other.contains(rank) == wanted).collect()
        };
        prop_assert_eq!(numbers(&a.intersection(&b)), keep(true));
        prop_assert_eq!(numbers(&a.difference(&b)), keep(false));
        let union: Vec<u32> =
            one.iter().chain(other.iter().filter(|rank| !one.contains(rank))).copied().collect();
        prop_assert_eq!(numbers(&a.union(&b)), union);
        let sets = [&one, &other].map(|ranks| ranks.iter().collect::<BTreeSet<_>>());
        let relation = match (one == other, sets[0] == sets[1]) {
            (true, _) => Comparison::Identical,
            (_, true) => Comparison::Similar,
            _ => Comparison::Unequal,
        };
        prop_assert_eq!(a.compare(&b), relation);
        let chosen: Vec<u32> = (0..a.size()).filter(|at| seed >> at & 1 == 1).rev().collect();
        let included: Vec<u32> = chosen.iter().map(|at| one[*at as usize]).collect();
        prop_assert_eq!(numbers(&a.include(&chosen).unwrap()), included.clone());
        let excluded: Vec<u32> = one.iter().copied().filter(|rank| !included.contains(rank)).collect();
        prop_assert_eq!(numbers(&a.exclude(&chosen).unwrap()), excluded);
        let ranges: Vec<RankRange> = chosen.iter().map(|at| (*at..=*at).into()).collect();
        prop_assert_eq!(a.range_include(&ranges).unwrap(), a.include(&chosen).unwrap());
        prop_assert_eq!(a.range_exclude(&ranges).unwrap(), a.exclude(&chosen).unwrap());
        let all: Vec<u32> = (0..a.size()).collect();
        let translated: Vec<Option<u32>> =
            one.iter().map(|rank| other.iter().position(|known| known == rank).map(|at| at as u32)).collect();
        let found = a.translate_ranks(&all, &b).unwrap();
        prop_assert_eq!(found.iter().map(|rank| rank.map(Rank::get)).collect::<Vec<_>>(), translated);
        for rank in 0..31 {
            let place = one.iter().position(|known| *known == rank).map(|at| at as u32);
            prop_assert_eq!(a.rank(rank).map(Rank::get), place);
        }
    }
}

#[test]
fn ranges_go_up_and_down_in_strides() -> Result<(), Error> {
    let all = ProcessGroup::new(0..10)?;
    for (range, ranks) in [
        (RankRange::new(1, 9, 3), &[1, 4, 7][..]),
        (RankRange::new(9, 0, -4), &[9, 5, 1]),
        (RankRange::new(3, 3, -2), &[3]),
        (RankRange::new(5, 4, 1), &[]),
        (RankRange::new(4, 5, -1), &[]),
    ] {
        assert_eq!(numbers(&all.range_include(&[range])?), ranks, "{range:?}");
    }
    Ok(())
}

#[test]
fn what_is_no_group_is_refused_with_the_rank() {
    let all = ProcessGroup::new([5, 6, 7]).expect("all differ");
    let refused = |result: Result<ProcessGroup, Error>| result.expect_err("it makes no sense").to_string();
    for (error, text) in [
        (refused(ProcessGroup::new([1, 2, 1])), "rank 1 is in the group twice"),
        (refused(all.include(&[0, 3])), "there is no rank 3 in a group of 3"),
        (refused(all.exclude(&[0, 0])), "rank 0 of the group is named twice"),
        (refused(all.range_include(&[RankRange::new(0, 2, 0)])), "a range of ranks with stride 0 has no end"),
        (refused(all.range_include(&[RankRange::new(0, u32::MAX, 1)])), "there is no rank 3 in a group of 3"),
        (refused(all.range_include(&[(0..=1).into(), (1..=2).into()])), "rank 1 of the group is named twice"),
    ] {
        assert!(error.starts_with(&format!("{text}, at transport-std/tests/process_groups.rs:")), "{error}");
    }
    assert!(ProcessGroup::empty().is_empty());
}

#[test]
fn ranks_that_a_group_gave_are_taken_as_they_are() -> Result<(), Error> {
    let all = ProcessGroup::new(0..6)?;
    let some = ProcessGroup::new([4, 1].map(Rank::new))?;
    assert_eq!(all.include(some.ranks())?, some);
    assert_eq!(numbers(&all.exclude(some.ranks())?), [0, 2, 3, 5]);
    let places: Vec<Rank> = all.translate_ranks(some.ranks(), &some)?.into_iter().flatten().collect();
    assert_eq!(places, [0, 1].map(Rank::new));
    let range = RankRange::new(some.ranks()[0], some.ranks()[1], -3);
    assert_eq!((all.range_include(&[range])?, range.first), (some.clone(), some.ranks()[0]));
    assert_eq!(all.range_include(&[(Rank::new(2)..=Rank::new(3)).into()])?, all.range_include(&[(2..=3).into()])?);
    Ok(())
}

#[test]
fn groups_of_a_hundred_thousand_take_no_square_of_that() -> Result<(), Error> {
    // A square would be ten thousand million steps, several times.
    let (all, back) = (ProcessGroup::new(0..100_000)?, ProcessGroup::new((0..100_000).rev())?);
    assert_eq!(all.compare(&back), Comparison::Similar);
    assert_eq!(all.union(&back), all);
    assert_eq!(back.intersection(&all), back);
    assert!(all.difference(&back).is_empty());
    let places = all.translate_ranks(&(0..100_000).collect::<Vec<_>>(), &back)?;
    assert_eq!(places[1], Some(Rank::new(99_998)));
    assert_eq!(all.range_exclude(&[RankRange::new(0, 99_998, 2)])?.size(), 50_000);
    Ok(())
}

#[test]
fn the_group_of_a_communicator_is_in_the_order_of_its_ranks() -> Result<(), Error> {
    for size in SIZES {
        on_all(size, |world| {
            let comm = world.comm();
            assert_eq!(numbers(&comm.group().wait()?), (0..size).collect::<Vec<_>>());
            let parity = world.rank().get() % 2;
            let half = comm.split(Some(parity), -(world.rank().get() as i32)).wait()?.expect("a colour was said");
            let expected: Vec<u32> = (0..size).rev().filter(|rank| rank % 2 == parity).collect();
            assert_eq!(numbers(&half.group().wait()?), expected);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn communicators_are_identical_congruent_similar_or_unequal() -> Result<(), Error> {
    for size in SIZES {
        on_all(size, |world| {
            let comm = world.comm();
            let copy = comm.dup().wait()?;
            let turned = comm.split(Some(0), -(world.rank().get() as i32)).wait()?.expect("a colour was said");
            let own = comm.split(Some(world.rank().get()), 0).wait()?.expect("a colour was said");
            assert_eq!(copy.compare(&copy.clone()).wait()?, Comparison::Identical);
            assert_eq!(copy.compare(&comm).wait()?, Comparison::Congruent);
            let several = size > 1;
            let expect = |relation| if several { relation } else { Comparison::Congruent };
            assert_eq!(turned.compare(&copy).wait()?, expect(Comparison::Similar));
            assert_eq!(own.compare(&copy).wait()?, expect(Comparison::Unequal));
            assert_eq!(own.compare(&world.comm_self()?).wait()?, Comparison::Congruent);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_communicator_of_a_group_has_the_groups_order() -> Result<(), Error> {
    for size in SIZES {
        on_all(size, |world| {
            let turned = world.comm().split(Some(0), -(world.rank().get() as i32)).wait()?.expect("a colour");
            // Ranks of the world, not of the communicator that it is called on.
            let even = ProcessGroup::new((0..size).filter(|rank| rank % 2 == 0))?;
            let odd = ProcessGroup::new((0..size).rev().filter(|rank| rank % 2 == 1))?;
            let made = turned.create(&even).wait()?;
            assert_eq!(made.as_ref().map(Comm::rank), even.rank(world.rank()));
            if let Some(made) = &made {
                assert_eq!(made.group().wait()?, even);
            }
            // Each the group that it is in.
            let mine = if world.rank().get() % 2 == 0 { &even } else { &odd };
            let made = turned.create(mine).wait()?.expect("it is in it");
            assert_eq!(made.group().wait()?, *mine);
            let total = made.allreduce([world.rank().get()], Sum).wait()?;
            assert_eq!(total, [numbers(mine).iter().sum::<u32>()]);
            assert!(turned.create(&ProcessGroup::empty()).wait()?.is_none());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_group_that_not_all_of_it_give_is_a_mismatch() -> Result<(), Error> {
    on_all(2, |world| {
        let group = ProcessGroup::new([0, 1])?;
        let given = if world.rank() == 0 { group } else { ProcessGroup::new([1, 0])? };
        let error = world.comm().create(&given).wait().expect_err("the order differs");
        assert!(matches!(&error, Error::Mismatch { reason } if reason.starts_with("1 of the 2 processes")), "{error}");
        Ok(())
    })?;
    Ok(())
}

#[test]
fn threads_of_one_process_are_of_one_kind_and_on_one_machine() -> Result<(), Error> {
    for size in SIZES {
        on_all(size, |world| {
            for by in [SplitType::Kind, SplitType::Machine] {
                let rank = world.rank().get();
                let together = world.comm().split_type(by, -(rank as i32)).wait()?.expect("a type was given");
                assert_eq!((together.size(), together.rank().get()), (size, size - 1 - rank));
                let none = world.comm().split_type((rank == 0).then_some(by), 0).wait()?;
                assert_eq!(none.map(|comm| comm.size()), (rank == 0).then_some(1));
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn virtual_ranks_of_one_class_are_on_one_machine() {
    let simulation = Simulation::new(1).ranks(2, Class::server()).ranks(3, Class::board());
    let program = |rank: edgempi::sim::Rank| async move {
        let machine = rank.split_type(SplitType::Machine, 0).await?.map(|comm| comm.size());
        let kind = rank.split_type(SplitType::Kind, 0).await?.map(|comm| comm.size());
        let refused = edgempi::comm_self().expect_err("a simulation has no second world").to_string();
        assert!(refused.contains("split(Some(rank), 0)"), "{refused}");
        Ok((machine, kind))
    };
    let values = simulation.run(program).expect("it comes to its end").into_values().expect("all are well");
    assert_eq!(values, [2, 2, 3, 3, 3].map(|size| (Some(size), Some(5))));
}

#[test]
fn every_call_of_a_rank_alone_works_before_and_after_any_world() -> Result<(), Error> {
    let use_it = |alone: &Comm| -> Result<(), Error> {
        assert_eq!((alone.rank().get(), alone.size()), (0, 1));
        alone.barrier().wait()?;
        assert_eq!(alone.bcast(0, vec![1, 2]).wait()?, [1, 2]);
        assert_eq!(alone.allreduce([7], Sum).wait()?, [7]);
        assert_eq!(alone.allgather([7]).wait()?, [7]);
        assert_eq!(alone.alltoall([7]).wait()?, [7]);
        let receive = alone.recv::<u8>(ANY_SOURCE, 3);
        alone.send(0, 3, [9u8]).wait()?;
        assert_eq!(receive.wait()?.0, [9]);
        assert_eq!(alone.objects().gather(0, &"me".to_owned()).wait()?, Some(vec!["me".to_owned()]));
        alone.dup().wait()?.barrier().wait()
    };
    use_it(&edgempi::comm_self()?)?;
    let kept = on_all(3, |world| {
        let alone = world.comm_self()?;
        use_it(&alone)?;
        assert_eq!(numbers(&alone.group().wait()?), [world.rank().get()]);
        // Nobody else is in it: what this rank sends itself, no other rank gets.
        alone.send(0, 1, [world.rank().get()]).wait()?;
        world.comm().barrier().wait()?;
        assert_eq!(alone.recv::<u32>(0, 1).wait()?.0, [world.rank().get()]);
        alone.dup().wait()
    })?;
    // The worlds are over, and so are the communicators that these are copies of.
    kept.iter().try_for_each(use_it)?;
    use_it(&edgempi::comm_self()?)
}

#[test]
fn names_and_attributes_are_shared_by_clones_and_not_by_copies() -> Result<(), Error> {
    #[derive(Debug, PartialEq)]
    struct Depth(u32);
    on_all(2, |world| {
        let comm = world.comm();
        let clone = comm.clone();
        comm.set_name("all");
        assert_eq!(comm.set_attribute(Depth(1)), None);
        assert_eq!(clone.name().as_deref(), Some("all"));
        assert_eq!(clone.set_attribute(Depth(2)).as_deref(), Some(&Depth(1)));
        assert_eq!(comm.attribute::<Depth>().as_deref(), Some(&Depth(2)));
        let copy = comm.dup().wait()?;
        assert_eq!((copy.name(), copy.attribute::<Depth>()), (None, None));
        assert_eq!(clone.remove_attribute::<Depth>().as_deref(), Some(&Depth(2)));
        assert_eq!(comm.attribute::<Depth>(), None);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn operations_on_several_communicators_at_once_never_meet() -> Result<(), Error> {
    for size in SIZES {
        on_all(size, |world| {
            let (comm, rank) = (world.comm(), world.rank().get());
            let group = ProcessGroup::new((0..size).rev())?;
            let comms = [
                comm.dup().wait()?,
                comm.create(&group).wait()?.expect("all are in it"),
                comm.split(Some(0), 0).wait()?.expect("a colour was said"),
                world.comm_self()?,
            ];
            let mut requests = Vec::new();
            for round in 0..20 {
                for (number, comm) in comms.iter().enumerate() {
                    requests.push((round, number, comm.allgather([rank * 100 + round * 10 + number as u32])));
                }
            }
            for (round, number, request) in requests.into_iter().rev() {
                let ranks: Vec<u32> = match number {
                    1 => (0..size).rev().collect(),
                    3 => vec![rank],
                    _ => (0..size).collect(),
                };
                let expected: Vec<u32> = ranks.iter().map(|rank| rank * 100 + round * 10 + number as u32).collect();
                assert_eq!(request.wait()?, expected);
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn some_ranks_make_a_communicator_without_the_others() -> Result<(), Error> {
    for size in [2u32, 4, 5] {
        on_all(size, |world| {
            let (comm, rank) = (world.comm(), world.rank().get());
            let backwards: Vec<Rank> = (1..size).rev().map(Rank::new).collect();
            // Rank 0 makes no call.
            for round in 0..if rank == 0 { 0 } else { 3 } {
                let some = comm.create_group(&backwards, round).wait()?;
                assert_eq!((some.size(), some.rank().get()), (size - 1, size - 1 - rank));
                assert_eq!(some.allreduce([rank], Sum).wait()?, [(1..size).sum()]);
                assert_eq!(some.group().wait()?.ranks(), backwards);
                // Of that one, too, with its own numbers.
                if some.rank() != 0 {
                    let rest: Vec<u32> = (1..some.size()).collect();
                    let fewer = some.create_group(&rest, 0).wait()?;
                    assert_eq!((fewer.size(), fewer.rank().get() + 1), (size - 2, some.rank().get()));
                    assert_eq!(fewer.group().wait()?.ranks(), &backwards[1..]);
                }
            }
            comm.barrier().wait()
        })?;
    }
    Ok(())
}

#[test]
fn the_others_may_be_gone() -> Result<(), Error> {
    let mut worlds = edgempi::local(3)?;
    // It fails: its world is dropped without finalize.
    drop(worlds.remove(1));
    let comms: Vec<Comm> = worlds.iter().map(World::comm).collect();
    assert!(matches!(comms[0].recv::<u8>(1, 0).wait(), Err(Error::RankFailed { .. })));
    assert!(matches!(comms[0].split(Some(0), 0).wait(), Err(Error::RankFailed { .. })));
    let pair = [comms[0].create_group(&[0, 2], 0), comms[1].create_group(&[0, 2], 0)];
    let pair = edgempi::wait_all(pair).wait()?;
    let sums = edgempi::wait_all(pair.iter().map(|comm| comm.allreduce([comm.rank().get() + 1], Sum))).wait()?;
    assert_eq!(sums, [[3], [3]]);
    // With the one that is gone there is none.
    let error = comms[0].create_group(&[0, 1], 0).wait().expect_err("rank 1 is gone");
    assert!(matches!(error, Error::RankFailed { .. }), "{error}");
    Ok(())
}

#[test]
fn tags_keep_apart_what_several_tasks_make_in_any_order() -> Result<(), Error> {
    on_all(3, |world| {
        let comm = world.comm();
        if world.rank() == 1 {
            return Ok(());
        }
        let mut tags = [0u32, 1, 2, 3];
        if world.rank() == 2 {
            tags.reverse();
        }
        let pairs = edgempi::wait_all(tags.map(|tag| comm.create_group(&[0, 2], tag))).wait()?;
        let said = edgempi::wait_all(pairs.iter().zip(tags).map(|(pair, tag)| pair.allgather([tag]))).wait()?;
        assert_eq!(said, tags.map(|tag| vec![tag; 2]));
        Ok(())
    })
    .map(drop)
}

#[test]
fn ranks_that_make_no_group_are_refused() -> Result<(), Error> {
    on_all(2, |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let refused = |ranks: &[u32]| comm.create_group(ranks, 0).wait().expect_err("it makes no sense").to_string();
        assert!(refused(&[0, 1, 2]).contains("there is no rank 2 in a communicator of 2"));
        assert!(refused(&[0, 1, 0]).contains("rank 0 is named twice"));
        assert!(refused(&[1 - rank]).contains(&format!("rank {rank} is not among the ranks")));
        assert!(refused(&[]).contains("is not among the ranks"));
        let differ = comm.create_group(&[rank, 1 - rank], 0).wait().expect_err("the orders differ");
        assert!(matches!(&differ, Error::Mismatch { reason } if reason.contains("same order")), "{differ}");
        let alone = comm.create_group(&[rank], 0).wait()?;
        assert_eq!((alone.size(), alone.group().wait()?.ranks()), (1, &[Rank::new(rank)][..]));
        let both = comm.create_group(&[1, 0], 0).wait()?;
        assert_eq!(both.bcast(0, [rank]).wait()?, [1]);
        Ok(())
    })
    .map(drop)
}

#[test]
fn virtual_ranks_make_groups_of_their_own() {
    let simulation = Simulation::new(7).ranks(2, Class::server()).ranks(3, Class::board());
    let program = |comm: edgempi::sim::Rank| async move {
        let own = comm.rank().get();
        let ranks: Vec<u32> = (0..comm.size()).filter(|rank| rank % 2 == own % 2).collect();
        let half = comm.create_group(&ranks, 3).await?;
        half.allreduce([own], Sum).await
    };
    let values = simulation.run(program).expect("it comes to its end").into_values().expect("all are well");
    assert_eq!(values, [6, 4, 6, 4, 6].map(|sum| vec![sum]));
}

#[test]
fn what_waits_on_a_communicator_ends_although_its_handles_are_gone() -> Result<(), Error> {
    on_all(2, |world| {
        let (comm, other) = (world.comm(), 1 - world.rank().get());
        let part = comm.dup().wait()?;
        if world.rank() == 0 {
            let (receive, probe) = (part.recv::<u8>(other, 1), part.probe(other, 2));
            drop(part);
            // The hub has heard of it.
            comm.barrier().wait()?;
            assert_eq!(receive.wait()?.0, [7]);
            assert_eq!(probe.wait()?.tag.0, 2);
        } else {
            comm.barrier().wait()?;
            part.send(0, 1, [7u8]).wait()?;
            part.send(0, 2, [8u8]).wait()?;
            // Nothing keeps it there any more.
            let error = part.recv::<u8>(0, 3).wait().expect_err("rank 0 has freed it");
            assert!(matches!(error, Error::RankFinished { rank, .. } if rank == 0), "{error:?}");
        }
        Ok(())
    })?;
    Ok(())
}

/// Others may wait for this rank there.
/// What failed on a communicator does not keep it: the others are told when this rank has let go of it.
#[test]
fn a_communicator_on_which_a_split_failed_is_freed_all_the_same() {
    let worlds = edgempi::local(2).unwrap();
    let copies: Vec<_> = worlds.iter().map(|world| world.comm().dup()).collect();
    let [one, other]: [Comm; 2] =
        copies.into_iter().map(|copy| copy.wait().unwrap()).collect::<Vec<_>>().try_into().unwrap();
    let (split, barrier) = (one.split(Some(0), 0), other.barrier());
    assert!(matches!(split.wait(), Err(Error::Mismatch { .. })));
    assert!(matches!(barrier.wait(), Err(Error::Mismatch { .. })));
    drop(one);
    let error = other.barrier().wait().expect_err("rank 0 is not there");
    assert!(error.to_string().contains("rank 0 has freed the communicator"), "{error}");
}

#[test]
fn a_communicator_that_nobody_takes_is_freed() {
    let worlds = edgempi::local(2).unwrap();
    let comms: Vec<Comm> = worlds.iter().map(World::comm).collect();
    let splits: Vec<_> = comms.iter().map(|comm| comm.split(Some(0), 0).map(|half| half.expect("a colour"))).collect();
    while !splits.iter().all(|split| split.test()) {
        thread::yield_now();
    }
    let [untaken, taken]: [_; 2] = splits.try_into().unwrap();
    let half = taken.wait().unwrap();
    let barrier = half.barrier();
    drop(untaken);
    let error = barrier.wait().expect_err("rank 0 is not there");
    assert!(matches!(error, Error::RankFinished { rank, .. } if rank == 0), "{error:?}");
    assert!(error.to_string().contains("rank 0 has freed the communicator"), "{error}");
    comms.iter().map(Comm::barrier).collect::<Vec<_>>().into_iter().for_each(|request| request.wait().unwrap());
}
