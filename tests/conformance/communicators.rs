//! Communicators: of oneself, copies, parts of all kinds, several at once, how they end; groups of processes that make them.

use edgempi::{ANY_SOURCE, ANY_TAG, Comm, Comparison, Max, ProcessGroup, Rank, RankRange, SplitType, Sum, comm_self};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, elements};
use super::{LENS, assert_usable, plain, rank_and_size};

const SIZE: u32 = 5;

/// Sums and messages of its own, of both lengths.
fn check(comm: &Comm) {
    let (rank, size) = (comm.rank().get(), comm.size());
    for len in LENS {
        let sum = comm.allreduce(vec![rank; len], Sum);
        let sent = comm.send((rank + 1) % size, 1, elements::<u16>(rank, 1, len));
        let previous = (rank + size - 1) % size;
        assert!(are_from(previous, 1, &comm.recv::<u16>(ANY_SOURCE, 1).wait().unwrap().0));
        assert_eq!(sum.wait().unwrap(), vec![size * (size - 1) / 2; len]);
        sent.wait().unwrap();
    }
}

pub fn a_communicator_of_oneself_needs_nobody(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (own, anybodys) = (world.comm_self().unwrap(), comm_self().unwrap());
        for comm in [&own, &anybodys] {
            assert_eq!((comm.rank(), comm.size()), (Rank::new(0), 1));
            let before = world.traffic();
            check(comm);
            let copy = comm.dup().wait().unwrap();
            copy.barrier().wait().unwrap();
            assert_eq!(world.traffic().frames_sent, before.frames_sent, "the hub has no part in it");
        }
        // What waits there does not meet the world's.
        let receive = own.recv::<u8>(0, ANY_TAG);
        assert_usable(world);
        assert!(!receive.test());
        own.send(0, 3, [7u8]).wait().unwrap();
        assert_eq!(receive.wait().unwrap().0, [7]);
    });
}

pub fn communicators_side_by_side_do_not_meet(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let other = comm.dup().wait().unwrap();
        let half = comm.split(Some(rank % 2), -(rank as i32)).wait().unwrap().expect("everybody has a colour");
        let kind = comm.split_type(SplitType::Kind, 0).wait().unwrap().expect("all are hosts");
        let machine = comm.split_type(SplitType::Machine, 0).wait().unwrap().expect("all are on this one");
        assert_eq!((kind.size(), machine.size()), (size, size));
        assert!(comm.split_type(None, 0).wait().unwrap().is_none());
        let members = if rank % 2 == 0 { size.div_ceil(2) } else { size / 2 };
        assert_eq!((half.size(), half.rank()), (members, Rank::new(members - 1 - rank / 2)));
        // All at once, asked for in another order; the same tags on all.
        let all = [&other, &half, &kind, &machine, &comm];
        for len in LENS {
            let sums: Vec<_> = all.map(|comm| comm.allreduce(vec![comm.rank().get(); len], Max)).into();
            let receives: Vec<_> = all.map(|comm| comm.recv::<u32>(ANY_SOURCE, 1)).into();
            let sends: Vec<_> = (10u32..15)
                .zip(all)
                .rev()
                .map(|(number, comm)| comm.send((comm.rank().get() + 1) % comm.size(), 1, vec![number; len]))
                .collect();
            for (comm, sum) in all.into_iter().zip(sums).rev() {
                assert_eq!(sum.wait().unwrap(), vec![comm.size() - 1; len]);
            }
            for (number, receive) in (10..).zip(receives) {
                assert_eq!(receive.wait().unwrap().0, vec![number; len]);
            }
            sends.into_iter().for_each(|sent| sent.wait().unwrap());
        }
        drop((other, kind, machine));
        check(&half);
        assert_usable(world);
    });
}

/// What is free goes away at the hub, and what was in flight on it still arrives.
pub fn a_communicator_is_freed_with_its_last_clone(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let mut parent = comm.dup().wait().unwrap();
        for len in LENS {
            for _ in 0..5 {
                // Of the one before, which is freed.
                let child = parent.split(Some(0), 0).wait().unwrap().expect("everybody has a colour");
                let clone = child.clone();
                let sum = child.allreduce(vec![rank; len], Sum);
                let sent = child.send((rank + 1) % size, 1, vec![rank; len]);
                let receive = child.recv::<u32>(ANY_SOURCE, 1);
                drop(child);
                let late = clone.allreduce([1u32], Sum);
                drop(clone);
                drop(parent);
                assert_eq!(sum.wait().unwrap(), vec![size * (size - 1) / 2; len]);
                assert_eq!(receive.wait().unwrap().0, vec![(rank + size - 1) % size; len]);
                sent.wait().unwrap();
                assert_eq!(late.wait().unwrap(), [size]);
                parent = comm.dup().wait().unwrap();
            }
        }
        assert_usable(world);
    });
}

pub fn names_and_attributes_stay_with_their_communicator(link: Link) {
    struct Rounds(u32);
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let other = comm.dup().wait().unwrap();
        comm.set_name(format!("that of {rank}"));
        assert!(comm.set_attribute(Rounds(rank)).is_none());
        assert_eq!(world.comm().name().as_deref(), Some(format!("that of {rank}").as_str()), "a clone");
        assert!(other.name().is_none() && other.attribute::<Rounds>().is_none());
        assert_eq!(comm.dup().wait().unwrap().name(), None);
        let before = world.comm().set_attribute(Rounds(rank + 1));
        assert_eq!(before.map(|rounds| rounds.0), Some(rank));
        assert_eq!(comm.attribute::<Rounds>().map(|rounds| rounds.0), Some(rank + 1));
        assert!(comm.remove_attribute::<Rounds>().is_some() && comm.attribute::<Rounds>().is_none());
        check(&other);
        assert_usable(world);
    });
}

/// Groups that the algebra makes, as communicators: they have those members, in that order.
pub fn groups_of_processes_make_communicators(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank());
        let all = comm.group().wait().unwrap();
        assert_eq!((all.size(), all.rank(rank)), (SIZE, Some(rank)));
        let even = all.range_include(&[RankRange::new(SIZE - 1, 0, -2)]).unwrap();
        let low = all.range_exclude(&[(3..=4).into()]).unwrap();
        let ends = all.include(&[4, 0]).unwrap();
        let groups = [
            (even.clone(), &[4, 2, 0][..]),
            (low.clone(), &[0, 1, 2]),
            (ends.clone(), &[4, 0]),
            (all.exclude(&[2]).unwrap(), &[0, 1, 3, 4]),
            (ends.union(&low), &[4, 0, 1, 2]),
            (even.intersection(&low), &[2, 0]),
            (low.difference(&even), &[1]),
            (ProcessGroup::new([3, 1]).unwrap(), &[3, 1]),
            (all.difference(&all), &[]),
        ];
        for (group, members) in groups {
            assert!(group.ranks().iter().copied().eq(members.iter().copied().map(Rank::new)), "{group:?}");
            assert!(!group.is_empty() || group.compare(&ProcessGroup::empty()) == Comparison::Identical);
            let own = comm.create(&group).wait().unwrap();
            assert_eq!(own.as_ref().map(Comm::rank), group.rank(rank));
            let Some(own) = own else { continue };
            assert_eq!(own.allgather([rank.get()]).wait().unwrap(), members);
            assert_eq!(own.group().wait().unwrap().compare(&group), Comparison::Identical);
            check(&own);
        }
        // Ranks may give different groups, each those of its own: here rank r and r + 3.
        let pair: Vec<u32> = (rank.get() % 3..SIZE).step_by(3).collect();
        let own = comm.create(&ProcessGroup::new(pair.clone()).unwrap()).wait().unwrap().expect("it is in its group");
        assert_eq!(own.allgather([rank.get()]).wait().unwrap(), pair);
        let translated = own.group().wait().unwrap().translate_ranks(&[0], &even).unwrap();
        assert_eq!(translated, [even.rank(pair[0])]);
        assert_usable(world);
    });
}

pub fn communicators_are_compared_by_their_groups(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (copy, turned) = (comm.dup().wait().unwrap(), comm.split(Some(0), -(rank as i32)).wait().unwrap());
        let turned = turned.expect("everybody has a colour");
        let part = comm.split(Some(rank % 2), 0).wait().unwrap().expect("everybody has a colour");
        let expected = [
            (&comm, Comparison::Identical),
            (&copy, Comparison::Congruent),
            (&turned, Comparison::Similar),
            (&part, Comparison::Unequal),
        ];
        let requests = expected.map(|(other, expected)| (comm.compare(other), expected));
        for (request, expected) in requests {
            assert_eq!(request.wait().unwrap(), expected);
        }
        assert_usable(world);
    });
}
