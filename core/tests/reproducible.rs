//! Sums of floats have the same bits whatever frames the ranks send, however wide the hub's windows are, and whatever
//! arrives when.

mod world;

use edgempi_core::hub::{self, Registry};
use edgempi_core::operation::{BuiltinFold, Input, fold_all};
use edgempi_core::{Call, Datatype, Rank, ReduceOp};
use half::{bf16, f16};
use world::{Ask, Outcome, Random, World, ask};

const SUM: ReduceOp = ReduceOp::Sum;
const FLOATS: [Datatype; 4] = [Datatype::F16, Datatype::BF16, Datatype::F32, Datatype::F64];
/// What a board and a server say in Hello.
const SMALL_FRAMES: u32 = 1024;
const LARGE_FRAMES: u32 = 256 * 1024;

/// Of either sign, and of many magnitudes, so that sums depend on their order.
fn float(random: &mut Random, datatype: Datatype) -> Vec<u8> {
    let fraction = 1.0 + random.below(1 << 23) as f32 / (1 << 23) as f32;
    let value = fraction * [0.01, -0.2, 3.0, -40.0, 500.0][random.below(5)];
    match datatype {
        Datatype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        Datatype::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        Datatype::F32 => value.to_le_bytes().to_vec(),
        _ => (f64::from(value) / 3.0).to_le_bytes().to_vec(),
    }
}

fn block(random: &mut Random, datatype: Datatype, len: usize) -> Vec<u8> {
    (0..len / datatype.size()).flat_map(|_| float(random, datatype)).collect()
}

fn sum(datatype: Datatype, blocks: &[Vec<u8>]) -> Vec<u8> {
    let segments: Vec<[&Vec<u8>; 1]> = blocks.iter().map(|block| [block]).collect();
    let mut inputs: Vec<_> = segments.iter().map(|segments| Input::new(segments, 0)).collect();
    fold_all(&BuiltinFold::new(datatype, SUM).unwrap(), &mut inputs, blocks[0].len())
}

/// A world with these windows in which every other rank sends and takes small frames.
fn world(size: u32, window: u64, frames: [u32; 2], random: &mut Random) -> World {
    let mut config = hub::Config::new(size);
    (config.window, config.queue_size) = (window, [1024, 1 << 20][random.below(2)]);
    // What the hub says is what the ranks send.
    config.max_payload = frames[random.below(2)];
    let mut world = World::with(config, Registry::new(), |rank, config| {
        config.max_payload = frames[rank as usize % 2];
        config.receive_window = if rank % 2 == 0 { 2048 } else { u32::MAX };
    });
    for node in &mut world.nodes {
        node.unlimited = random.below(2) == 0;
    }
    world
}

/// Every rank calls when chance says so, and every frame and every fold takes its own time. `root` has the result, or
/// everybody.
fn add(world: &mut World, random: &mut Random, datatype: Datatype, blocks: &[Vec<u8>], root: Option<u32>) {
    let mut waiting: Vec<usize> = (0..blocks.len()).collect();
    let mut requests = Vec::new();
    let len = blocks[0].len();
    while !waiting.is_empty() {
        for _ in 0..random.below(60) {
            world.random_step(random);
        }
        let rank = waiting.swap_remove(random.below(waiting.len()));
        let (call, receives) = match root {
            None => (Call::Allreduce { op: SUM }, true),
            Some(root) => (Call::Reduce { root: Rank::new(root), op: SUM }, root as usize == rank),
        };
        let call = Ask { datatype, ..ask(call, blocks[rank].clone(), if receives { len } else { 0 }) };
        requests.push((rank, receives, world.ask(rank, call)));
    }
    for _ in 0..random.below(3000) {
        world.random_step(random);
    }
    world.settle();
    let expected = sum(datatype, blocks);
    for (rank, receives, request) in requests {
        let outcome = world.outcome(rank, request);
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
        assert!(!receives || outcome.bytes() == expected, "{len} bytes of {datatype}: rank {rank} has other bits");
    }
}

#[test]
fn sums_have_the_same_bits_whatever_the_frames_the_windows_and_the_order() {
    for size in 2..10 {
        for (seed, window) in [1024, 4096, 10_000, 1 << 20].into_iter().enumerate() {
            let mut random = Random(u64::from(size) << 32 | seed as u64);
            let mut world = world(size, window, [64, SMALL_FRAMES], &mut random);
            for datatype in FLOATS {
                for len in [datatype.size(), 72, 1032, 13_000] {
                    let blocks: Vec<_> = (0..size).map(|_| block(&mut random, datatype, len)).collect();
                    add(&mut world, &mut random, datatype, &blocks, None);
                    let root = random.below(size as usize) as u32;
                    add(&mut world, &mut random, datatype, &blocks, Some(root));
                }
            }
            world.assert_usable();
        }
    }
}

#[test]
fn a_board_with_small_frames_and_a_server_with_large_ones_get_the_same_bits() {
    const LEN: usize = 1_200_000;
    let default = hub::Config::new(1).window;
    for (seed, window) in [LARGE_FRAMES.into(), default, u64::MAX].into_iter().enumerate() {
        let mut random = Random(seed as u64);
        let mut world = world(3, window, [SMALL_FRAMES, LARGE_FRAMES], &mut random);
        for datatype in [Datatype::F32, Datatype::F64] {
            let blocks: Vec<_> = (0..3).map(|_| block(&mut random, datatype, LEN)).collect();
            add(&mut world, &mut random, datatype, &blocks, None);
        }
        world.assert_usable();
    }
}

#[test]
fn the_sums_that_are_compared_depend_on_the_order() {
    let mut random = Random(0);
    for datatype in FLOATS {
        let mut blocks: Vec<_> = (0..4).map(|_| block(&mut random, datatype, 1000)).collect();
        let before = sum(datatype, &blocks);
        blocks.rotate_left(1);
        assert_ne!(sum(datatype, &blocks), before, "{datatype}");
    }
}
