//! A behaviour for each family of calls: blocks that differ, prefixes, modes, probes, several requests, communicators,
//! operations of users. Short messages travel with their calls, long ones in many frames.

use edgempi::Named;
use edgempi::hub::Registry;
use edgempi::{ANY_SOURCE, ANY_TAG, Config, Error, Max, Rank, Status, Sum, World, wait_all, wait_any, wait_some};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, elements, zeros};
use super::{assert_usable, plain, rank_and_size};

const SIZE: u32 = 4;
/// Elements of a message that fits a frame, and of one that does not fit its window.
const LENS: [usize; 2] = [5, 300_000];

/// How long the block from one rank to another is: some are empty.
fn len(from: u32, to: u32, longest: usize) -> usize {
    longest * ((from + 2 * to) % SIZE) as usize / SIZE as usize
}

pub fn blocks_that_differ_reach_their_ranks(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for longest in LENS {
            for root in [0, size - 1] {
                let gathered = comm.gatherv(root, elements::<u16>(rank, 0, len(rank, 0, longest))).wait().unwrap();
                assert_eq!(gathered.is_some(), rank == root);
                for (from, block) in (0..).zip(gathered.unwrap_or_default()) {
                    assert!(block.len() == len(from, 0, longest) && are_from(from, 0, &block));
                }
                let blocks = (0..size).map(|to| elements::<u16>(root, to, len(root, to, longest))).collect();
                let block = comm.scatterv(root, (rank == root).then_some(blocks)).wait().unwrap();
                assert!(block.len() == len(root, rank, longest) && are_from(root, rank, &block));
            }
            let all = comm.allgatherv(elements::<f32>(rank, 0, len(rank, 0, longest))).wait().unwrap();
            for (from, block) in (0..).zip(all) {
                assert!(block.len() == len(from, 0, longest) && are_from(from, 0, &block));
            }
            let blocks = (0..size).map(|to| elements::<u32>(rank, to, len(rank, to, longest))).collect();
            for (from, block) in (0..).zip(comm.alltoallv(blocks).wait().unwrap()) {
                assert!(block.len() == len(from, rank, longest) && are_from(from, rank, &block));
            }
        }
        assert_usable(world);
    });
}

pub fn prefixes_and_blocks_of_a_sum_reach_their_ranks(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for len in LENS {
            let data: Vec<u64> = (0..len as u64).map(|at| at + u64::from(rank)).collect();
            let prefix = |ranks: u64, at: u64| ranks * at + ranks * ranks.saturating_sub(1) / 2;
            let expected = |ranks: u32| (0..len as u64).map(move |at| prefix(ranks.into(), at));
            assert!(comm.scan(&data, Sum).wait().unwrap().into_iter().eq(expected(rank + 1)));
            let before = comm.exscan(&data, Sum).wait().unwrap();
            assert_eq!(before.is_some(), rank > 0);
            assert!(before.is_none_or(|before| before.into_iter().eq(expected(rank))));
            let mut place = data.clone();
            comm.scan_in_place(&mut place, Sum).wait().unwrap();
            assert!(place.into_iter().eq(expected(rank + 1)));
            // The first rank gets nothing, the last one what is left over.
            let share = len / size as usize;
            let mut counts = vec![share; size as usize];
            counts[0] = 0;
            counts[size as usize - 1] = len - share * (size as usize - 2);
            let start: usize = counts[..rank as usize].iter().sum();
            let own = comm.reduce_scatter(&data, &counts, Sum).wait().unwrap();
            assert!(own.into_iter().eq(expected(size).skip(start).take(counts[rank as usize])));
            let whole: Vec<u64> = data.repeat(size as usize);
            let block = comm.reduce_scatter_block(whole, Sum).wait().unwrap();
            assert!(block.into_iter().eq(expected(size)));
        }
        let word = comm.objects().scan(rank.to_string(), |a: String, b: String| a + &b).wait().unwrap();
        assert_eq!(word, (0..=rank).map(|rank| rank.to_string()).collect::<String>());
        assert_usable(world);
    });
}

pub fn in_place_forms_leave_what_is_not_theirs(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for block in LENS {
            let own = |place: &mut Vec<u32>| {
                place[rank as usize * block..][..block].copy_from_slice(&elements::<u32>(rank, 0, block));
            };
            let mut place = zeros::<u32>(block * size as usize);
            own(&mut place);
            comm.allgather_in_place(&mut place).wait().unwrap();
            assert!(place.chunks(block).zip(0..).all(|(block, from)| are_from(from, 0, block)));
            let mut place: Vec<u32> = (0..size).flat_map(|to| elements::<u32>(rank, to, block)).collect();
            comm.alltoall_in_place(&mut place).wait().unwrap();
            assert!(place.chunks(block).zip(0..).all(|(block, from)| are_from(from, rank, block)));
            let mut largest = vec![rank; block];
            comm.allreduce_in_place(&mut largest, Max).wait().unwrap();
            assert_eq!(largest, vec![size - 1; block]);
        }
        assert_usable(world);
    });
}

pub fn sends_of_every_mode_arrive(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
        for len in LENS {
            let data = || elements::<u32>(rank, next, len);
            assert!(comm.bsend(next, 1, data()).test());
            let synchronous = comm.ssend(next, 2, data());
            let receive = comm.recv::<u32>(previous, 3);
            // Everybody's receive is at the hub: calls of one rank reach it in order.
            comm.barrier().wait().unwrap();
            comm.rsend(next, 3, data()).wait().unwrap();
            assert!(are_from(previous, rank, &receive.wait().unwrap().0));
            for tag in [2, 1] {
                let (came, status) = comm.recv::<u32>(ANY_SOURCE, tag).wait().unwrap();
                assert_eq!((came.len(), status.source), (len, Rank::new(previous)));
                assert!(are_from(previous, rank, &came));
            }
            synchronous.wait().unwrap();
            let (came, _) = comm.sendrecv::<u32, u32>(next, 4, data(), previous, 4).wait().unwrap();
            assert!(came.len() == len && are_from(previous, rank, &came));
            let mut place = data();
            comm.sendrecv_replace(next, 5, previous, 5, &mut place).wait().unwrap();
            assert!(are_from(previous, rank, &place));
        }
        comm.barrier().wait().unwrap();
        let early = comm.rsend(next, 6, [1u8]).wait();
        assert!(matches!(early, Err(Error::NotReady { .. })), "{early:?}");
        let nobody: Option<u32> = None;
        comm.ssend(nobody, 7, [1u8]).wait().unwrap();
        assert_eq!(comm.recv::<u8>(nobody, 7).wait().unwrap().1.source, Status::NOBODY);
        assert_usable(world);
    });
}

pub fn probes_find_messages_and_keep_them(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
        for len in LENS {
            let sends = [1, 1, 2].map(|tag| comm.ssend(next, tag, elements::<u64>(rank, tag, len)));
            let status = comm.probe(ANY_SOURCE, 2).wait().unwrap();
            assert_eq!((status.source, status.count::<u64>()), (Rank::new(previous), Some(len)));
            let first = comm.mprobe(previous, 1).wait().unwrap();
            let second = comm.mprobe(ANY_SOURCE, 1).wait().unwrap();
            assert!(comm.iprobe(previous, 1).wait().unwrap().is_none(), "both are kept");
            assert!(comm.improbe(previous, 3).wait().unwrap().is_none());
            for message in [second, first] {
                let (came, status) = message.recv::<u64>().wait().unwrap();
                assert_eq!((came.len(), status.tag.0), (len, 1));
                assert!(are_from(previous, 1, &came));
            }
            assert!(are_from(previous, 2, &comm.recv::<u64>(previous, ANY_TAG).wait().unwrap().0));
            wait_all(sends).wait().unwrap();
        }
        assert_usable(world);
    });
}

pub fn several_requests_end_in_any_order(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
        let mut receives: Vec<_> = (0..20).map(|tag| comm.recv::<u32>(previous, tag)).collect();
        // The last first.
        let sends: Vec<_> = (0..20).rev().map(|tag| comm.send(next, tag, vec![tag; LENS[tag as usize % 2]])).collect();
        let mut ended = Vec::new();
        while ended.len() < 10 {
            let (index, result) = wait_any(&mut receives).wait().expect("some are active");
            let (came, status) = result.unwrap();
            assert!(status.tag == index as u32 && came.iter().all(|value| *value == index as u32));
            ended.push(index);
        }
        while ended.len() < 20 {
            for (index, result) in wait_some(&mut receives).wait() {
                assert_eq!(result.unwrap().1.tag, index as u32);
                ended.push(index);
            }
        }
        assert!(wait_any(&mut receives).wait().is_none());
        ended.sort_unstable();
        assert!(ended.into_iter().eq(0..20));
        wait_all(sends).wait().unwrap();
        // Neither of these meets anybody.
        assert_eq!(comm.recv::<u8>(previous, 99).cancel().wait().unwrap(), None);
        assert_eq!(comm.ssend(next, 98, [1u8]).cancel().wait().unwrap(), None);
        let mut sum = comm.allreduce_init(vec![0u32; LENS[0]], Sum);
        let mut send = comm.send_init(next, 97, vec![0u32; LENS[1]]);
        let mut receive = comm.recv_init(previous, 97, vec![0u32; LENS[1]]);
        for round in 0..3 {
            sum.buffer_mut().expect("no round is under way").fill(round);
            send.buffer_mut().expect("no round is under way").fill(round + rank);
            receive.start().unwrap();
            send.start().unwrap();
            sum.start().unwrap();
            send.wait().unwrap();
            sum.wait().unwrap();
            receive.wait().unwrap();
            assert!(sum.buffer().is_some_and(|sum| sum.iter().all(|value| *value == round * size)));
            assert!(receive.buffer().is_some_and(|came| came.iter().all(|value| *value == round + previous)));
        }
        assert_usable(world);
    });
}

pub fn communicators_side_by_side_do_not_meet(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let other = comm.dup().wait().unwrap();
        let half = comm.split(Some(rank % 2), 0).wait().unwrap().expect("everybody has a colour");
        let kind = comm.split_type(edgempi::SplitType::Kind, 0).wait().unwrap().expect("all are hosts");
        assert_eq!((half.size(), kind.size()), (size.div_ceil(2), size));
        let ring = comm.cart(&[size], &[true]).wait().unwrap().expect("everybody has a place");
        let requests: Vec<_> = [&other, &half, &kind, &comm]
            .into_iter()
            .map(|comm| comm.allreduce(vec![comm.rank().get(); LENS[1]], Max).map(|largest| largest[LENS[1] - 1]))
            .collect();
        let neighbours = [0, 1].map(|round| ring.neighbor_allgather([rank, round]));
        let largest: Vec<u32> = requests.into_iter().rev().map(|request| request.wait().unwrap()).rev().collect();
        assert_eq!(largest, [size - 1, half.size() - 1, size - 1, size - 1]);
        let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
        for (round, came) in (0..).zip(neighbours) {
            assert_eq!(came.wait().unwrap(), [Some(vec![previous, round]), Some(vec![next, round])]);
        }
        assert_usable(world);
    });
}

pub fn operations_of_users_run_range_by_range(link: Link) {
    let mut operations = Registry::new();
    let add = |[value, weight]: [f32; 2], [other, more]: [f32; 2]| [value + other, weight + more];
    operations.insert_fold_fn("weighted mean", 1, add, |[value, weight]| [value / weight, weight]);
    operations.insert_columns_fn("median", 1, |values: &mut [u32]| {
        values.sort_unstable();
        values[values.len() / 2]
    });
    operations.insert_reduce("longest", 1, |a: String, b: String| if a.len() >= b.len() { a } else { b });
    on_ranks(link(SIZE, &Config::new(), &operations), |world: &World| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for len in LENS {
            let weight = rank as f32 + 1.0;
            let mean = comm.fold_all(Named::new("weighted mean"), [2.0 * weight, weight].repeat(len)).wait().unwrap();
            let weights = (size * (size + 1) / 2) as f32;
            assert!(mean.len() == 2 * len && mean.chunks(2).all(|pair| pair == [2.0, weights]));
            let median = comm.fold_to(Named::new("median"), 1, vec![10 * rank; len]).wait().unwrap();
            assert_eq!(median, (rank == 1).then(|| vec![10 * (size / 2); len]));
        }
        let longest = comm.objects().allreduce("*".repeat(LENS[0] * rank as usize), Named::new("longest"));
        assert_eq!(longest.wait().unwrap().len(), LENS[0] * (size as usize - 1));
        let unknown = comm.fold_all(Named::new("unheard of"), [1u8]).wait();
        assert!(matches!(unknown, Err(Error::UnknownOperation { .. })), "{unknown:?}");
        assert_usable(world);
    });
}
