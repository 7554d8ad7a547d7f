//! gatherv, scatterv, allgatherv and alltoallv: blocks of elements whose lengths differ, and are known to their givers alone.

mod world;

use edgempi_core::request::Receive;
use edgempi_core::{Call, Category, Datatype, Rank, RequestId};
use world::{Ask, Outcome, Random, World, ask};

const SIZES: [u32; 5] = [1, 2, 3, 5, 8];

/// How many elements of 4 bytes `from` gives `to`: none, a few, or more than any window.
fn count(scale: usize, from: u32, to: u32) -> usize {
    (from as usize * 7 + to as usize * 13 + scale) % 5 * scale
}

fn block(from: u32, to: u32, count: usize) -> Vec<u8> {
    (0..count as u32).flat_map(|at| (from * 1_000_003 + to * 10_007 + at * 17).to_le_bytes()).collect()
}

fn given(scale: usize, from: u32, to: u32) -> Vec<u8> {
    block(from, to, count(scale, from, to))
}

fn floats(call: Call<'static>, parts: Vec<Vec<u8>>, varied: bool, most: usize) -> Ask<'static> {
    Ask { call, datatype: Datatype::F32, parts, varied, receive: Receive::AtMost(most) }
}

/// One of the four calls, and which blocks reach `rank`, by the ranks that give them; the own one stays at home.
#[derive(Clone, Copy, Debug)]
enum Varied {
    Gather(u32),
    Scatter(u32),
    Allgather,
    Alltoall,
}

impl Varied {
    fn all(size: u32) -> [Self; 4] {
        [Self::Gather(size / 2), Self::Scatter(size - 1), Self::Allgather, Self::Alltoall]
    }

    fn ask(self, rank: u32, size: u32, scale: usize) -> Ask<'static> {
        let each = || (0..size).map(|to| given(scale, rank, to)).collect();
        let most = 1 << 30;
        match self {
            Self::Gather(root) => {
                let most = if rank == root { most } else { 0 };
                floats(Call::Gatherv { root: Rank::new(root) }, vec![given(scale, rank, 0)], false, most)
            }
            Self::Scatter(root) if rank == root => floats(Call::Scatterv { root: Rank::new(root) }, each(), true, 0),
            Self::Scatter(root) => floats(Call::Scatterv { root: Rank::new(root) }, Vec::new(), false, most),
            Self::Allgather => floats(Call::Allgatherv, vec![given(scale, rank, 0)], false, most),
            Self::Alltoall => floats(Call::Alltoallv, each(), true, most),
        }
    }

    fn expected(self, rank: u32, size: u32, scale: usize) -> Vec<Vec<u8>> {
        let from_each = |to: u32| {
            (0..size).map(|from| if from == rank { Vec::new() } else { given(scale, from, to) }).collect::<Vec<_>>()
        };
        match self {
            Self::Gather(root) if root == rank => from_each(0),
            Self::Scatter(root) if root != rank => vec![given(scale, root, rank)],
            Self::Gather(_) | Self::Scatter(_) => Vec::new(),
            Self::Allgather => from_each(0),
            Self::Alltoall => from_each(rank),
        }
    }
}

#[track_caller]
fn assert_parts(outcome: &Outcome, expected: &[Vec<u8>], what: &str) {
    match outcome {
        Outcome::Done { parts, .. } => assert!(parts == expected, "{what}"),
        Outcome::Failed { text, .. } => panic!("{what}: {text}"),
    }
}

#[test]
fn every_block_arrives_with_its_own_length() {
    for size in SIZES {
        for scale in [0, 1, 40, 700, 3000] {
            for mut world in [World::new(size), World::small(size), World::boards(size)] {
                for call in Varied::all(size) {
                    for (rank, outcome) in world.all(|rank| call.ask(rank, size, scale)).iter().enumerate() {
                        let what = format!("{call:?} at rank {rank} of {size}, blocks of {scale}s");
                        assert_parts(outcome, &call.expected(rank as u32, size, scale), &what);
                    }
                }
                world.assert_usable();
            }
        }
    }
}

#[test]
fn whatever_happens_first_the_blocks_are_the_same() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let size = 2 + random.below(4) as u32;
        let scale = random.below(600);
        let mut world = if random.below(2) == 0 { World::small(size) } else { World::boards(size) };
        let mut requests: Vec<(u32, Varied, RequestId)> = Vec::new();
        for rank in 0..size {
            for call in Varied::all(size) {
                requests.push((rank, call, world.ask(rank as usize, call.ask(rank, size, scale))));
                (0..random.below(20)).for_each(|_| world.random_step(&mut random));
            }
        }
        (0..2000).for_each(|_| world.random_step(&mut random));
        world.settle();
        for (rank, call, request) in requests {
            let outcome = world.outcome(rank as usize, request);
            assert_parts(&outcome, &call.expected(rank, size, scale), &format!("seed {seed}: {call:?} at rank {rank}"));
        }
        world.assert_usable();
    }
}

#[test]
fn a_slow_reader_gets_its_blocks_when_it_reads_on() {
    for (call, slow) in [(Varied::Gather(1), 1), (Varied::Scatter(0), 2), (Varied::Allgather, 0), (Varied::Alltoall, 2)]
    {
        let mut world = World::small(3);
        let requests: Vec<RequestId> = (0..3).map(|rank| world.ask(rank, call.ask(rank as u32, 3, 9000))).collect();
        (0..4).for_each(|_| {
            world.step();
        });
        world.nodes[slow].stalled = true;
        world.settle();
        assert!(!world.is_done(slow, requests[slow]), "{call:?}: rank {slow} does not read");
        world.nodes[slow].stalled = false;
        world.settle();
        for (rank, request) in requests.into_iter().enumerate() {
            let expected = call.expected(rank as u32, 3, 9000);
            assert_parts(&world.outcome(rank, request), &expected, &format!("{call:?} at rank {rank}"));
        }
        world.assert_usable();
    }
}

#[test]
fn a_death_at_any_moment_fails_whoever_has_not_all_its_blocks() {
    for call in Varied::all(3) {
        for steps in (0..60).step_by(5) {
            for dead in 0..3 {
                let mut world = World::boards(3);
                let requests: Vec<RequestId> =
                    (0..3).map(|rank| world.ask(rank, call.ask(rank as u32, 3, 1500))).collect();
                (0..steps).for_each(|_| {
                    world.step();
                });
                world.kill(dead);
                world.settle();
                for (rank, request) in requests.into_iter().enumerate().filter(|(rank, _)| *rank != dead) {
                    match world.outcome(rank, request) {
                        Outcome::Done { parts, .. } => {
                            assert!(parts == call.expected(rank as u32, 3, 1500), "{call:?} at rank {rank}");
                        }
                        Outcome::Failed { fault, text } => {
                            assert_eq!(fault.category, Category::RankFailed, "{text}");
                            assert!(text.contains(&format!("rank {dead} ")), "{text}");
                        }
                    }
                }
                let status = world.hub.status();
                assert_eq!((status.operations, status.queued, status.windows), (0, 0, 0), "{status:?}");
            }
        }
    }
}

#[test]
fn more_than_a_rank_receives_is_truncation_with_both_numbers() {
    let mut world = World::new(3);
    let blocks = |rank: u32| vec![block(rank, 0, 5)];
    let outcomes = world.all(|rank| floats(Call::Allgatherv, blocks(rank), false, if rank == 0 { 39 } else { 40 }));
    for outcome in outcomes {
        let (fault, text) = outcome.fault();
        assert_eq!((fault.category, fault.len, fault.max), (Category::Truncated, 40, 39), "{text}");
        assert!(text.contains("allgatherv(f32) gives rank 0 40 bytes, and it receives 39"), "{text}");
    }
    world.assert_usable();
}

#[test]
fn a_block_that_is_not_as_long_as_its_receiver_says_is_truncation() {
    for receive in [16, 24] {
        let mut world = World::new(2);
        let root = Rank::new(0);
        let give = floats(Call::Scatterv { root }, vec![Vec::new(), block(0, 1, 5)], true, 0);
        let take = Ask { receive: Receive::Exactly(receive), ..floats(Call::Scatterv { root }, Vec::new(), false, 0) };
        let request = world.ask(1, take);
        world.ask(0, give);
        world.settle();
        let (fault, text) = world.outcome(1, request).fault();
        assert_eq!((fault.category, fault.len, fault.max), (Category::Truncated, 20, receive as u64), "{text}");
        world.assert_usable();
    }
}

#[test]
fn a_call_of_equal_blocks_and_one_of_blocks_that_differ_are_different_calls() {
    let mut world = World::new(2);
    let outcomes = world.all(|rank| match rank {
        0 => Ask { datatype: Datatype::F32, ..ask(Call::Allgather, vec![0; 8], 16) },
        _ => floats(Call::Allgatherv, vec![vec![0; 8]], false, 16),
    });
    for outcome in outcomes {
        let (fault, text) = outcome.fault();
        assert_eq!(fault.category, Category::Mismatch, "{text}");
        assert!(text.contains("rank 0 calls allgather(2 x f32); rank 1 calls allgatherv(f32)"), "{text}");
    }
    world.assert_usable();
}

#[test]
fn a_small_one_is_one_frame_up_and_one_down() {
    let mut world = World::new(4);
    let (submit, complete) = (9, 13);
    for call in Varied::all(4) {
        for node in &mut world.nodes {
            (node.ups, node.downs) = (Vec::new(), Vec::new());
        }
        world.all(|rank| call.ask(rank, 4, 3));
        for node in &world.nodes {
            assert_eq!((node.ups.as_slice(), node.downs.as_slice()), (&[submit][..], &[complete][..]), "{call:?}");
        }
    }
}
