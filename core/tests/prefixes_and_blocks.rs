//! scan, exscan and reduce_scatter: computations whose result is another one at every rank, over vectors from nothing to
//! many windows.

mod world;

use edgempi_core::hub::{self, Registry};
use edgempi_core::request::Receive;
use edgempi_core::{Call, Category, Datatype, ReduceOp, RequestId};
use world::{Ask, Outcome, Random, World, ask};

const SIZES: [u32; 5] = [1, 2, 3, 5, 8];
/// Elements of 4 bytes: up to ten times the largest window of the small worlds, and no multiple of anything.
const LENGTHS: [usize; 6] = [0, 1, 16, 77, 1000, 12_003];

/// What rank `rank` gives: sums depend on their order.
fn vector(rank: u32, len: usize) -> Vec<f32> {
    (0..len).map(|at| ((rank as usize * 7919 + at * 31) % 1009) as f32 / 7.3 - 60.0).collect()
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|element| element.to_le_bytes()).collect()
}

/// The vectors of some ranks added from the left.
fn from_the_left(ranks: std::ops::Range<u32>, len: usize) -> Vec<f32> {
    ranks
        .map(|rank| vector(rank, len))
        .reduce(|sum, next| sum.iter().zip(&next).map(|(left, right)| left + right).collect())
        .unwrap_or_default()
}

/// All vectors added in the shape of every fold.
fn total(size: u32, len: usize) -> Vec<f32> {
    let vectors = (0..size).map(|rank| vector(rank, len)).collect::<Vec<_>>();
    edgempi_core::operation::fold_tree(vectors, |mut left, right| {
        left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
        left
    })
    .unwrap_or_default()
}

fn floats(call: Call<'static>, rank: u32, len: usize, receive: usize) -> Ask<'static> {
    Ask { datatype: Datatype::F32, ..ask(call, bytes(&vector(rank, len)), receive * 4) }
}

fn scan(rank: u32, len: usize) -> Ask<'static> {
    floats(Call::Scan { op: ReduceOp::Sum }, rank, len, len)
}

fn exscan(rank: u32, len: usize) -> Ask<'static> {
    floats(Call::Exscan { op: ReduceOp::Sum }, rank, len, if rank == 0 { 0 } else { len })
}

fn reduce_scatter(rank: u32, counts: &[usize]) -> Ask<'static> {
    let call = Call::ReduceScatter { op: ReduceOp::Sum };
    floats(call, rank, counts.iter().sum(), counts[rank as usize])
}

fn reduce_scatter_block(rank: u32, size: u32, block: usize) -> Ask<'static> {
    floats(Call::ReduceScatterBlock { op: ReduceOp::Sum }, rank, size as usize * block, block)
}

/// Worlds of every kind; the small ones fold range by range.
fn every_world(test: impl Fn(&mut World, u32, usize)) {
    for size in SIZES {
        for len in LENGTHS {
            for mut world in [World::new(size), World::small(size), World::boards(size)] {
                test(&mut world, size, len);
                world.assert_usable();
            }
        }
    }
}

#[track_caller]
fn assert_bytes(outcome: &Outcome, expected: &[f32], what: &str) {
    assert!(outcome.bytes() == bytes(expected), "{what}: {} elements are expected", expected.len());
}

#[test]
fn scan_adds_up_the_ranks_to_ones_own() {
    every_world(|world, size, len| {
        for (rank, outcome) in world.all(|rank| scan(rank, len)).iter().enumerate() {
            let what = format!("rank {rank} of {size}, {len} elements");
            assert_bytes(outcome, &from_the_left(0..rank as u32 + 1, len), &what);
        }
    });
}

#[test]
fn exscan_adds_up_the_ranks_before_ones_own() {
    every_world(|world, size, len| {
        let outcomes = world.all(|rank| exscan(rank, len));
        assert!(matches!(&outcomes[0], Outcome::Done { parts, .. } if parts.is_empty()), "the first gets nothing");
        for (rank, outcome) in outcomes.iter().enumerate().skip(1) {
            let what = format!("rank {rank} of {size}, {len} elements");
            assert_bytes(outcome, &from_the_left(0..rank as u32, len), &what);
        }
    });
}

#[test]
fn reduce_scatter_block_hands_out_equal_blocks_of_the_total() {
    every_world(|world, size, len| {
        let block = len / size as usize;
        let total = total(size, block * size as usize);
        for (rank, outcome) in world.all(|rank| reduce_scatter_block(rank, size, block)).iter().enumerate() {
            let what = format!("rank {rank} of {size}, {block} elements");
            assert_bytes(outcome, &total[rank * block..][..block], &what);
        }
    });
}

/// Blocks that add up to about `len`: even ones, all at the first or last rank, every other one empty, at random.
fn all_counts(size: usize, len: usize) -> Vec<Vec<usize>> {
    let mut random = Random(len as u64 * 31 + size as u64);
    let alone = |at: usize| (0..size).map(|rank| if rank == at { len } else { 0 }).collect();
    vec![
        alone(0),
        alone(size - 1),
        alone(size / 2),
        (0..size).map(|rank| if rank % 2 == 1 { len / size } else { 0 }).collect(),
        (0..size).map(|rank| if rank % 2 == 0 { len / size } else { 1 }).collect(),
        (0..size).map(|_| random.below(2 * len / size + 1)).collect(),
        vec![0; size],
    ]
}

#[test]
fn reduce_scatter_hands_out_uneven_and_empty_blocks_of_the_total() {
    for size in SIZES {
        for len in LENGTHS {
            for counts in all_counts(size as usize, len) {
                let total = total(size, counts.iter().sum());
                for mut world in [World::new(size), World::small(size), World::boards(size)] {
                    let outcomes = world.all(|rank| reduce_scatter(rank, &counts));
                    let mut start = 0;
                    for (rank, outcome) in outcomes.iter().enumerate() {
                        let what = format!("rank {rank} of blocks {counts:?}");
                        assert_bytes(outcome, &total[start..start + counts[rank]], &what);
                        start += counts[rank];
                    }
                    world.assert_usable();
                }
            }
        }
    }
}

/// One of each, on the same communicator.
fn one_of_each(rank: u32, size: u32, len: usize) -> Vec<Ask<'static>> {
    let counts: Vec<usize> = (0..size as usize).map(|at| if at == 1 { len } else { at % 3 }).collect();
    vec![
        scan(rank, len),
        exscan(rank, len),
        reduce_scatter(rank, &counts),
        reduce_scatter_block(rank, size, len / size as usize),
    ]
}

fn expected(rank: u32, size: u32, len: usize) -> Vec<Vec<u8>> {
    let counts: Vec<usize> = (0..size as usize).map(|at| if at == 1 { len } else { at % 3 }).collect();
    let (at, block) = (rank as usize, len / size as usize);
    let start = counts[..at].iter().sum::<usize>();
    let before = if rank == 0 { Vec::new() } else { from_the_left(0..rank, len) };
    [
        from_the_left(0..rank + 1, len),
        before,
        total(size, counts.iter().sum())[start..start + counts[at]].to_vec(),
        total(size, block * size as usize)[at * block..][..block].to_vec(),
    ]
    .map(|vector| bytes(&vector))
    .to_vec()
}

#[test]
fn whatever_happens_first_the_results_are_the_same() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let size = 2 + random.below(4) as u32;
        let len = random.below(2500);
        let mut world = if random.below(2) == 0 { World::small(size) } else { World::boards(size) };
        let mut requests: Vec<(u32, usize, RequestId)> = Vec::new();
        for rank in 0..size {
            for (at, ask) in one_of_each(rank, size, len).into_iter().enumerate() {
                requests.push((rank, at, world.ask(rank as usize, ask)));
                (0..random.below(20)).for_each(|_| world.random_step(&mut random));
            }
        }
        (0..2000).for_each(|_| world.random_step(&mut random));
        world.settle();
        for (rank, at, request) in requests {
            let outcome = world.outcome(rank as usize, request);
            let expected = &expected(rank, size, len)[at];
            assert!(&outcome.bytes() == expected, "seed {seed}: call {at} of rank {rank}, {len} elements");
        }
        world.assert_usable();
    }
}

#[test]
fn in_place_no_result_comes_before_what_it_takes_the_place_of_has_left() {
    for seed in 0..40 {
        let mut random = Random(1000 + seed);
        let size = 2 + random.below(4) as u32;
        let len = 500 + random.below(2500);
        let mut world = if random.below(2) == 0 { World::small(size) } else { World::boards(size) };
        for node in &mut world.nodes {
            node.in_place = random.below(3) > 0;
        }
        let mut requests: Vec<(u32, usize, RequestId)> = Vec::new();
        for rank in 0..size {
            for (at, ask) in one_of_each(rank, size, len).into_iter().enumerate() {
                requests.push((rank, at, world.ask(rank as usize, ask)));
            }
        }
        (0..3000).for_each(|_| world.random_step(&mut random));
        world.settle();
        for (rank, at, request) in requests {
            let outcome = world.outcome(rank as usize, request);
            let expected = &expected(rank, size, len)[at];
            assert!(&outcome.bytes() == expected, "seed {seed}: call {at} of rank {rank}, {len} elements");
        }
        world.assert_usable();
    }
}

#[test]
fn a_slow_reader_gets_its_result_when_it_reads_on() {
    for slow in 0..3 {
        for at in 0..4 {
            let mut world = World::small(3);
            let requests: Vec<RequestId> =
                (0..3).map(|rank| world.ask(rank, one_of_each(rank as u32, 3, 20_000).swap_remove(at))).collect();
            for _ in 0..10 {
                world.step();
            }
            world.nodes[slow].stalled = true;
            world.settle();
            assert!(!world.is_done(slow, requests[slow]), "call {at}: rank {slow} does not read");
            world.nodes[slow].stalled = false;
            world.settle();
            for (rank, request) in requests.into_iter().enumerate() {
                let expected = expected(rank as u32, 3, 20_000).swap_remove(at);
                assert!(world.outcome(rank, request).bytes() == expected, "call {at}, rank {rank}");
            }
            world.assert_usable();
        }
    }
}

#[test]
fn who_takes_no_prefix_holds_up_those_who_give_within_a_few_windows() {
    const CREDIT: u8 = 12;
    let mut config = hub::Config::new(3);
    (config.max_payload, config.window, config.queue_size) = (1024, 4096, 1024);
    for at in 0..2 {
        let mut world = World::with(config.clone(), Registry::new(), |_, config| {
            (config.max_payload, config.receive_window) = (512, 1024);
        });
        let requests: Vec<RequestId> =
            (0..3).map(|rank| world.ask(rank, one_of_each(rank as u32, 3, 20_000).swap_remove(at))).collect();
        // Rank 1 hears only how much more it may give.
        let (mut given, mut kept) = (0, Vec::new());
        loop {
            let mut moved = false;
            for rank in 0..3 {
                moved |= world.transmit(rank);
                given += world.nodes[rank].to_hub.front().map_or(0, |frame| frame.payload.len());
                moved |= world.deliver_up(rank);
                let told = &mut world.nodes[rank].to_rank;
                while rank == 1 && told.front().is_some_and(|frame| frame.kind() != CREDIT) {
                    kept.extend(told.pop_front());
                }
                moved |= world.deliver_down(rank);
            }
            if !(moved | world.step_hub()) {
                break;
            }
        }
        assert!(given < 3 * (4096 + 3 * 1024), "call {at}: {given} bytes were given");
        assert!(!world.is_done(1, requests[1]), "call {at}");
        world.nodes[1].to_rank.extend(kept);
        world.settle();
        for (rank, request) in requests.into_iter().enumerate() {
            let expected = expected(rank as u32, 3, 20_000).swap_remove(at);
            assert!(world.outcome(rank, request).bytes() == expected, "call {at}, rank {rank}");
        }
        world.assert_usable();
    }
}

#[test]
fn a_death_at_any_moment_fails_whoever_has_no_result() {
    for at in 0..4 {
        for steps in (0..80).step_by(4) {
            for dead in 0..3 {
                let mut world = World::boards(3);
                let requests: Vec<RequestId> =
                    (0..3).map(|rank| world.ask(rank, one_of_each(rank as u32, 3, 3000).swap_remove(at))).collect();
                (0..steps).for_each(|_| {
                    world.step();
                });
                world.kill(dead);
                world.settle();
                for (rank, request) in requests.into_iter().enumerate().filter(|(rank, _)| *rank != dead) {
                    match world.outcome(rank, request) {
                        Outcome::Done { .. } => assert!(steps > 20, "call {at} is longer than {steps} steps"),
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
fn a_vector_longer_than_its_windows_is_held_a_window_at_a_time() {
    let mut config = hub::Config::new(4);
    (config.max_payload, config.window, config.queue_size, config.window_total) = (1024, 4096, 1024, 64 * 1024);
    for at in 0..4 {
        let mut world = World::with(config.clone(), Registry::new(), |_, config| config.max_payload = 512);
        let requests: Vec<RequestId> =
            (0..4).map(|rank| world.ask(rank, one_of_each(rank as u32, 4, 30_000).swap_remove(at))).collect();
        let mut most = 0;
        while world.step() {
            most = most.max(world.hub.status().windows);
        }
        assert!(most > 0 && most <= 64 * 1024, "{most}");
        for (rank, request) in requests.into_iter().enumerate() {
            let expected = expected(rank as u32, 4, 30_000).swap_remove(at);
            assert!(world.outcome(rank, request).bytes() == expected, "call {at}, rank {rank}");
        }
        world.assert_usable();
    }
}

/// Every rank is told the same, and the world goes on.
#[track_caller]
fn disagree(asks: impl Fn(u32) -> Ask<'static>, words: &[&str]) {
    let mut world = World::new(3);
    world.nodes[1].site = Some("one.rs:20:3");
    let outcomes = world.all(asks);
    world.nodes[1].site = None;
    for outcome in outcomes {
        let (fault, text) = outcome.fault();
        assert_eq!(fault.category, Category::Mismatch, "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    world.assert_usable();
}

#[test]
fn vectors_of_different_lengths_are_told_with_both_lengths() {
    disagree(|rank| scan(rank, if rank == 1 { 4 } else { 3 }), &["scan(SUM, 3 x f32)", "scan(SUM, 4 x f32)", "one.rs"]);
    disagree(|rank| exscan(rank, if rank == 1 { 4 } else { 3 }), &["exscan(SUM, 3 x f32)", "exscan(SUM, 4 x f32)"]);
    disagree(
        |rank| reduce_scatter_block(rank, 3, if rank == 1 { 2 } else { 1 }),
        &["reduce_scatter_block(SUM, 3 x f32)", "reduce_scatter_block(SUM, 6 x f32)"],
    );
}

#[test]
fn blocks_that_do_not_make_up_the_vector_are_told_one_by_one() {
    let counts = |rank: u32| if rank == 1 { [2, 3, 1] } else { [2, 2, 2] };
    disagree(
        |rank| reduce_scatter(rank, &counts(rank)),
        &["reduce_scatter(SUM, 6 x f32, a block of 2)", "a block of 3) at one.rs", "the 6 elements of a vector"],
    );
    disagree(
        |rank| floats(Call::ReduceScatterBlock { op: ReduceOp::Sum }, rank, 6, 1),
        &["reduce_scatter_block(SUM, 6 x f32, a block of 1)", "the 6 elements of a vector"],
    );
}

#[test]
fn lengths_beyond_reason_are_a_disagreement_too() {
    let call = Call::ReduceScatter { op: ReduceOp::Sum };
    disagree(
        |rank| Ask { receive: Receive::Exactly(usize::MAX & !3), ..floats(call, rank, 6, 2) },
        &["a block of 4611686018427387903", "the 6 elements of a vector"],
    );
}

#[test]
fn one_rank_may_be_in_a_scan_and_another_in_an_exscan_only_by_mistake() {
    disagree(
        |rank| if rank == 1 { exscan(rank, 3) } else { scan(rank, 3) },
        &["calls exscan(SUM, 3 x f32)", "call", "scan(SUM, 3 x f32)"],
    );
    disagree(
        |rank| if rank == 1 { reduce_scatter(rank, &[1, 1, 1]) } else { reduce_scatter_block(rank, 3, 1) },
        &["calls reduce_scatter(SUM, 3 x f32)", "reduce_scatter_block(SUM, 3 x f32)"],
    );
}

#[test]
fn a_small_one_is_one_frame_up_and_one_down() {
    let mut world = World::new(4);
    let (submit, complete) = (9, 13);
    for at in 0..4 {
        for node in &mut world.nodes {
            (node.ups, node.downs) = (Vec::new(), Vec::new());
        }
        world.all(|rank| one_of_each(rank, 4, 8).swap_remove(at));
        for node in &world.nodes {
            assert_eq!((node.ups.as_slice(), node.downs.as_slice()), (&[submit][..], &[complete][..]), "call {at}");
        }
    }
}

#[test]
fn the_first_rank_of_an_exscan_holds_nobody_up_and_is_held_up_by_nobody_late() {
    let mut world = World::new(3);
    let first = world.ask(0, exscan(0, 5));
    world.settle();
    assert!(!world.is_done(0, first), "all give, so all have to come");
    let others = [world.ask(1, exscan(1, 5)), world.ask(2, exscan(2, 5))];
    world.settle();
    assert!(world.is_done(0, first));
    for (rank, request) in (1..).zip(others) {
        assert_eq!(world.outcome(rank, request).bytes(), bytes(&from_the_left(0..rank as u32, 5)));
    }
    world.assert_idle();
}
