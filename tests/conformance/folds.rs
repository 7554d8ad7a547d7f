//! Reductions: every built-in op, prefixes and blocks of results, in place, and of objects.

use std::fmt::Debug;

use edgempi::{
    Band, Bor, Bxor, Element, Land, Located, Logical, Lor, Lxor, Max, Maxloc, Min, Minloc, Prod, ReduceOp, Sum, World,
    reduce_local,
};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::{LENS, assert_usable, plain, rank_and_size};

const SIZE: u32 = 4;

pub fn prefixes_and_blocks_of_a_sum_reach_their_ranks(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for len in LENS {
            let data = given(rank, len);
            assert!(comm.scan(&data, Sum).wait().unwrap().into_iter().eq(sum_of(rank + 1, len)));
            let before = comm.exscan(&data, Sum).wait().unwrap();
            assert_eq!(before.is_some(), rank > 0);
            assert!(before.is_none_or(|before| before.into_iter().eq(sum_of(rank, len))));
            let (counts, start) = (counts(size, len), start(size, rank, len));
            let own = comm.reduce_scatter(&data, &counts, Sum).wait().unwrap();
            assert!(own.into_iter().eq(sum_of(size, len).skip(start).take(counts[rank as usize])));
            let block = comm.reduce_scatter_block(data.repeat(size as usize), Sum).wait().unwrap();
            assert!(block.into_iter().eq(sum_of(size, len)));
        }
        assert_usable(world);
    });
}

/// What a rank gives to a sum, and the sum of what the first ranks give.
fn given(rank: u32, len: usize) -> Vec<u64> {
    (0..len as u64).map(|at| at + u64::from(rank)).collect()
}

fn sum_of(ranks: u32, len: usize) -> impl Iterator<Item = u64> {
    let ranks = u64::from(ranks);
    (0..len as u64).map(move |at| ranks * at + ranks * ranks.saturating_sub(1) / 2)
}

/// The first rank gets nothing, the last one what is left over.
fn counts(size: u32, len: usize) -> Vec<usize> {
    let share = len / size as usize;
    let mut counts = vec![share; size as usize];
    counts[0] = 0;
    counts[size as usize - 1] = len - share * (size as usize - 2);
    counts
}

fn start(size: u32, rank: u32, len: usize) -> usize {
    counts(size, len)[..rank as usize].iter().sum()
}

pub fn folds_in_place_leave_what_is_not_theirs(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for len in LENS {
            let mut largest = vec![rank; len];
            comm.allreduce_in_place(&mut largest, Max).wait().unwrap();
            assert_eq!(largest, vec![size - 1; len]);
            let mut place = vec![rank; len];
            comm.reduce_in_place(1, &mut place, Max).wait().unwrap();
            assert_eq!(place, vec![if rank == 1 { size - 1 } else { rank }; len]);
            let data = given(rank, len);
            let mut place = data.clone();
            comm.scan_in_place(&mut place, Sum).wait().unwrap();
            assert!(place.into_iter().eq(sum_of(rank + 1, len)));
            let mut place = data.clone();
            comm.exscan_in_place(&mut place, Sum).wait().unwrap();
            assert!(if rank == 0 { place == data } else { place.into_iter().eq(sum_of(rank, len)) });
            let (counts, start) = (counts(size, len), start(size, rank, len));
            let own = counts[rank as usize];
            let mut place = data.clone();
            comm.reduce_scatter_in_place(&mut place, &counts, Sum).wait().unwrap();
            assert!(place[..own].iter().copied().eq(sum_of(size, len).skip(start).take(own)));
            assert!(place[own..] == data[own..]);
            let whole = data.repeat(size as usize);
            let mut place = whole.clone();
            comm.reduce_scatter_block_in_place(&mut place, Sum).wait().unwrap();
            assert!(place[..len].iter().copied().eq(sum_of(size, len)));
            assert!(place[len..] == whole[len..]);
        }
        assert_usable(world);
    });
}

/// Asks for an allreduce, and whether everybody gets what `expected` is, at every place.
fn check<T: Element + PartialEq + Debug>(world: &World, op: ReduceOp, own: T, expected: T) {
    for len in LENS {
        let result = world.comm().allreduce(vec![own; len], op).wait().unwrap();
        assert!(result.len() == len && result.iter().all(|value| *value == expected), "{op}: {:?}", result[0]);
    }
}

pub fn every_op_gives_what_it_should(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (rank, size) = rank_and_size(world);
        check(world, Sum, f64::from(rank), f64::from(size * (size - 1) / 2));
        check(world, Prod, rank + 1, (1..=size).product());
        check(world, Max, rank as i16 - 2, size as i16 - 3);
        check(world, Min, rank as i16 - 2, -2);
        let is_last = Logical::from(rank == size - 1);
        check(world, Land, is_last, Logical::from(false));
        check(world, Lor, is_last, Logical::from(true));
        check(world, Lxor, Logical::from(rank > 0), Logical::from(size.is_multiple_of(2)));
        check(world, Band, !(1u8 << rank), u8::MAX << size);
        check(world, Bor, 1u8 << rank, u8::MAX >> (8 - size));
        check(world, Bxor, u64::from(rank), (0..u64::from(size)).fold(0, |a, b| a ^ b));
        // Two ranks have the best value: the lower index counts.
        let half = Located::new(f32::from(rank / 2 == 0), rank);
        check(world, Maxloc, half, Located::new(1.0, 0));
        check(world, Minloc, half, Located::new(0.0, 2));
        assert_usable(world);
    });
}

/// Of two ranks: the hub combines them as anybody can.
pub fn what_is_combined_here_has_the_same_bits(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let rank = world.rank().get();
        let pair = world.comm().split(Some(rank / 2), 0).wait().unwrap().expect("everybody has a colour");
        for len in LENS {
            let given =
                |rank: u32| (0..len).map(|at| f64::from(rank + 1) / (at % 1009 + 3) as f64).collect::<Vec<f64>>();
            let mut expected = given(rank / 2 * 2);
            reduce_local(&mut expected, &given(rank / 2 * 2 + 1), Prod).unwrap();
            let product = pair.allreduce(given(rank), Prod).wait().unwrap();
            assert!(product.into_iter().map(f64::to_bits).eq(expected.into_iter().map(f64::to_bits)));
        }
        assert_usable(world);
    });
}

/// Neither commutative nor of one length.
pub fn objects_are_folded_in_the_order_of_ranks(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let objects = comm.objects();
        let append = |a: String, b: String| a + &b;
        for len in LENS {
            let letter = |rank: u32| char::from(b'a' + rank as u8).to_string();
            let word = |rank: u32| letter(rank).repeat(len / (rank as usize + 1));
            let joined = |ranks: u32| (0..ranks).map(word).collect::<String>();
            let all = joined(size);
            assert_eq!(objects.reduce(2, word(rank), append).wait().unwrap(), (rank == 2).then(|| all.clone()));
            assert!(objects.allreduce(word(rank), append).wait().unwrap() == all);
            assert!(objects.scan(word(rank), append).wait().unwrap() == joined(rank + 1));
            let before = objects.exscan(word(rank), append).wait().unwrap();
            assert!(before == (rank > 0).then(|| joined(rank)));
            // A word for each rank; of the other call rank 0 gets none, and the last one two.
            let words: Vec<String> = (0..size).map(|to| word(rank) + &letter(to)).collect();
            let gets = |to: u32| (0..size).map(|from| word(from) + &letter(to)).collect::<String>();
            assert!(objects.reduce_scatter_block(words.clone(), append).wait().unwrap() == gets(rank));
            let counts = [0, 1, 1, 2];
            let own = objects.reduce_scatter(words, &counts, append).wait().unwrap();
            let start: usize = counts[..rank as usize].iter().sum();
            assert_eq!(own.len(), counts[rank as usize]);
            assert!((start as u32..).zip(own).all(|(at, word)| word == gets(at)));
        }
        assert_usable(world);
    });
}
