//! Operations of users: reduce functions, folds and columns range by range, functions of everything; for all and for some.

use std::fmt;

use edgempi::hub::{Applied, Registry};
use edgempi::{Config, Error, Group, Named, Operation, Rank, wait_all};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;
use serde::{Deserialize, Serialize};

use super::{LENS, assert_usable, rank_and_size};

const SIZE: u32 = 5;

const WEIGHTED_MEAN: Named = Named::new("weighted mean");
pub const MEDIAN: Named = Named::new("median").version(3);
pub const LONGEST: Named = Named::new("longest");

/// What a destination gets.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Joined {
    to: u32,
    words: String,
}

/// Gives each destination the words of all sources, as often as the parameter says; with a limit on the length.
struct Join<'g> {
    group: Group<'g>,
    times: usize,
}

impl Operation for Join<'_> {
    const NAME: &'static str = "join";
    type Parameters = usize;
    type Input = String;
    type Output = Joined;

    fn parameters(&self) -> usize {
        self.times
    }

    fn group(&self) -> Group<'_> {
        self.group
    }
}

/// An error of the user's own, which is no text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unwanted {
    from: u32,
    word: String,
}

impl fmt::Display for Unwanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} says something unwanted", self.from)
    }
}

fn join(call: Applied<'_, usize>, inputs: Vec<(Rank, String)>) -> Result<Vec<(Rank, Joined)>, Unwanted> {
    if let Some((rank, word)) = inputs.iter().find(|(_, word)| word.starts_with('!')) {
        return Err(Unwanted { from: rank.get(), word: word.chars().take(9).collect() });
    }
    let all: String = inputs.iter().map(|(_, word)| word.as_str()).collect();
    let joined = |to: Rank| Joined { to: to.get(), words: all.repeat(call.parameters) };
    Ok(call.destinations.iter().map(|rank| (*rank, joined(*rank))).collect())
}

/// A hub's half of all of these.
pub fn operations() -> Registry {
    let mut operations = Registry::new();
    let add = |[value, weight]: [f32; 2], [other, more]: [f32; 2]| [value + other, weight + more];
    operations.insert_fold_fn(WEIGHTED_MEAN.name, 1, add, |[value, weight]| [value / weight, weight]);
    operations.insert_columns_fn(MEDIAN.name, 3, |values: &mut [u32]| {
        assert!(values[0] != u32::MAX, "no such value");
        values.sort_unstable();
        values[values.len() / 2]
    });
    operations.insert_reduce(LONGEST.name, 1, |a: String, b: String| if a.len() >= b.len() { a } else { b });
    operations.insert_fn(Join::NAME, Join::VERSION, join);
    operations
}

fn ranks<const N: usize>(ranks: [u32; N]) -> [Rank; N] {
    ranks.map(Rank::new)
}

pub fn folds_and_columns_run_range_by_range(link: Link) {
    on_ranks(link(SIZE, &Config::new(), &operations()), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for len in LENS {
            let weight = rank as f32 + 1.0;
            let mean = comm.fold_all(WEIGHTED_MEAN, [2.0 * weight, weight].repeat(len)).wait().unwrap();
            let weights = (size * (size + 1) / 2) as f32;
            assert!(mean.len() == 2 * len && mean.chunks(2).all(|pair| pair == [2.0, weights]));
            let median = comm.fold_to(MEDIAN, 1, vec![10 * rank; len]).wait().unwrap();
            assert_eq!(median, (rank == 1).then(|| vec![10 * (size / 2); len]));
        }
        assert_usable(world);
    });
}

/// Sources that receive nothing, destinations that give nothing, and a rank that has no part in it.
pub fn folds_and_columns_of_some_ranks(link: Link) {
    on_ranks(link(SIZE, &Config::new(), &operations()), |world| {
        let (comm, rank) = (world.comm(), world.rank());
        let (sources, destinations) = (ranks([0, 2, 4]), ranks([4, 1]));
        let group = Group::new(&sources, &destinations);
        for len in LENS {
            if rank != 3 {
                let given = |value: Vec<u32>| sources.contains(&rank).then_some(value);
                let median = comm.fold(MEDIAN, group, given(vec![rank.get() * 3; len]));
                let data = sources.contains(&rank).then(|| [6.0 * rank.get() as f32, 1.0].repeat(len));
                let mean = comm.fold(WEIGHTED_MEAN, group, data);
                let receives = destinations.contains(&rank);
                assert_eq!(median.wait().unwrap(), receives.then(|| vec![6; len]));
                assert_eq!(mean.wait().unwrap(), receives.then(|| [12.0, 3.0].repeat(len)));
            }
        }
        assert_usable(world);
    });
}

pub fn reduce_functions_run_at_the_ranks_or_at_the_hub(link: Link) {
    on_ranks(link(SIZE, &Config::new(), &operations()), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let objects = comm.objects();
        for len in LENS {
            let word = || "*".repeat(len * rank as usize / 4);
            let longest = len * (size as usize - 1) / 4;
            assert_eq!(objects.allreduce(word(), LONGEST).wait().unwrap().len(), longest);
            let at_root = objects.reduce(3, word(), LONGEST).wait().unwrap();
            assert_eq!(at_root.map(|word| word.len()), (rank == 3).then_some(longest));
            let numbers: Vec<u32> = vec![rank; len];
            let append = |mut a: Vec<u32>, b: Vec<u32>| {
                a.extend(b);
                a
            };
            let all = objects.allreduce(numbers.clone(), append).wait().unwrap();
            assert!(all.len() == len * size as usize && all.is_sorted());
            let all = objects.reduce(0, numbers, append).wait().unwrap();
            assert_eq!(all.map(|all| all.len()), (rank == 0).then_some(len * size as usize));
        }
        assert_usable(world);
    });
}

/// Several at once, of groups that overlap, with parameters that differ.
pub fn functions_of_everything_for_some_ranks(link: Link) {
    on_ranks(link(SIZE, &Config::new(), &operations()), |world| {
        let (comm, rank) = (world.comm(), world.rank());
        for len in LENS {
            let word = |rank: Rank| rank.to_string().repeat(len / (rank.index() + 1));
            // Sources, destinations; those of the last one are all.
            let groups =
                [(vec![0, 2], vec![2, 3]), (vec![4], vec![0, 1, 2]), (vec![1, 0, 3, 2, 4], vec![0, 1, 2, 3, 4])];
            let groups = groups.map(|(sources, destinations)| {
                [sources, destinations].map(|ranks: Vec<u32>| ranks.into_iter().map(Rank::new).collect::<Vec<Rank>>())
            });
            let mut requests = Vec::new();
            for (times, [sources, destinations]) in (1..).zip(&groups) {
                let call = Join { group: Group::new(sources, destinations), times };
                if call.group.contains(rank) {
                    let given = word(rank);
                    let result = comm.apply(&call, sources.contains(&rank).then_some(&given));
                    requests.push((times, sources, destinations, result));
                }
            }
            for (times, sources, destinations, result) in requests.into_iter().rev() {
                // Inputs come in the order of the group's sources.
                let all: String = sources.iter().map(|rank| word(*rank)).collect();
                let expected =
                    destinations.contains(&rank).then(|| Joined { to: rank.get(), words: all.repeat(times) });
                assert!(result.wait().unwrap() == expected);
            }
        }
        assert_usable(world);
    });
}

pub fn an_error_at_the_hub_reaches_everybody_it_concerns(link: Link) {
    on_ranks(link(SIZE, &Config::new(), &operations()), |world| {
        let (comm, rank) = (world.comm(), world.rank());
        for len in LENS {
            let (sources, destinations) = (ranks([0, 3]), ranks([1, 3]));
            let call = Join { group: Group::new(&sources, &destinations), times: 1 };
            let word = format!("{}{}", if rank == 3 { "!" } else { "" }, "x".repeat(len));
            let failing =
                call.group.contains(rank).then(|| comm.apply(&call, sources.contains(&rank).then_some(&word)));
            // Others at the same time are none the worse for it.
            let fine = comm.fold_all(MEDIAN, vec![rank.get(); len]);
            let panicking = comm.fold_all(MEDIAN, vec![u32::MAX; len]);
            let unknown = comm.fold_all(Named::new("unheard of"), vec![1u8; len]);
            let older = comm.objects().allreduce(word.clone(), LONGEST.version(7));
            if let Some(failing) = failing {
                let error = failing.wait().expect_err("rank 3 says something unwanted");
                let expected = Unwanted { from: 3, word: format!("!{}", "x".repeat(len.min(8))) };
                assert!(matches!(error, Error::Remote { .. }), "{error:?}");
                assert!(error.remote() == Some(expected));
                assert!(error.to_string().contains("rank 3 says something unwanted"), "{error}");
            }
            assert_eq!(fine.wait().unwrap(), vec![SIZE / 2; len]);
            let error = panicking.wait().expect_err("it panics");
            assert!(matches!(error, Error::Remote { .. }) && error.to_string().contains("no such value"), "{error}");
            for error in [unknown.wait().map(drop), older.wait().map(drop)] {
                assert!(matches!(error, Err(Error::UnknownOperation { .. })), "{error:?}");
            }
        }
        assert_usable(world);
    });
}

/// Each call of a group counts by itself, whatever other groups do meanwhile.
pub fn many_calls_of_one_group_stay_in_order(link: Link) {
    on_ranks(link(SIZE, &Config::new(), &operations()), |world| {
        let (comm, rank) = (world.comm(), world.rank());
        let pair = [rank.get() / 2 * 2, rank.get() / 2 * 2 + 1].map(Rank::new);
        let members = if pair[1] < SIZE { &pair[..] } else { &pair[..1] };
        // Every seventh is long.
        let word = |rank: &Rank, number: usize| {
            format!("{rank} of {number}").repeat(if number.is_multiple_of(7) { 10_000 } else { 1 })
        };
        let requests = (0..30).map(|number: usize| {
            let call = Join { group: Group::new(members, members), times: number % 3 };
            comm.apply(&call, Some(&word(&rank, number)))
        });
        for (number, came) in wait_all(requests.collect::<Vec<_>>()).wait().unwrap().into_iter().enumerate() {
            let all: String = members.iter().map(|rank| word(rank, number)).collect();
            assert!(came == Some(Joined { to: rank.get(), words: all.repeat(number % 3) }), "call {number}");
        }
        assert_usable(world);
    });
}
