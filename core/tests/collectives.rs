//! Every collective, over messages from nothing to many windows, gives each rank the right bytes.

mod world;

use edgempi_core::request::{CommunicatorId, NameIds, Receive, Sent, Submission};
use edgempi_core::{Call, Category, Datatype, Rank, ReduceOp};
use world::{Ask, Outcome, World};

/// Bytes that tell where they come from.
fn block(from: u32, to: u32, len: usize) -> Vec<u8> {
    (0..len).map(|at| (from as usize * 31 + to as usize * 17 + at * 7) as u8).collect()
}

const LENGTHS: [usize; 8] = [0, 1, 63, 64, 1000, 4096, 5000, 70_000];
const SIZES: [u32; 5] = [1, 2, 3, 5, 9];

fn ask(call: Call<'static>, parts: Vec<Vec<u8>>, receive: Receive) -> Ask<'static> {
    Ask { call, datatype: Datatype::U8, parts, varied: false, receive }
}

fn every_world(test: impl Fn(World, u32, usize)) {
    for size in SIZES {
        for len in LENGTHS {
            test(World::new(size), size, len);
            test(World::small(size), size, len);
        }
    }
}

fn parts(outcome: &Outcome) -> Vec<Vec<u8>> {
    match outcome {
        Outcome::Done { parts, .. } => parts.clone(),
        Outcome::Failed { fault, text } => panic!("{fault}: {text}"),
    }
}

#[test]
fn barrier_waits_for_everybody() {
    for size in SIZES {
        let mut world = World::new(size);
        let mut requests = Vec::new();
        for rank in 0..size as usize {
            assert!(requests.iter().enumerate().all(|(rank, request)| !world.is_done(rank, *request)));
            requests.push(world.ask(rank, ask(Call::Barrier, vec![], Receive::Exactly(0))));
            world.settle();
        }
        assert!(requests.iter().enumerate().all(|(rank, request)| world.is_done(rank, *request)));
    }
}

#[test]
fn bcast_reaches_everybody() {
    every_world(|mut world, size, len| {
        let root = Rank::new(size / 2);
        let outcomes = world.all(|rank| {
            if root == rank {
                ask(Call::Bcast { root }, vec![block(9, 9, len)], Receive::Exactly(0))
            } else {
                ask(Call::Bcast { root }, vec![], Receive::Exactly(len))
            }
        });
        for (rank, outcome) in outcomes.iter().enumerate() {
            if root != rank as u32 {
                assert_eq!(outcome.bytes(), block(9, 9, len), "rank {rank} of {size}, {len} bytes");
            }
        }
    });
}

#[test]
fn gather_brings_blocks_in_rank_order() {
    every_world(|mut world, size, len| {
        let root = Rank::new(size - 1);
        let outcomes = world.all(|rank| {
            let receive = if root == rank { len * size as usize } else { 0 };
            ask(Call::Gather { root }, vec![block(rank, 0, len)], Receive::Exactly(receive))
        });
        for (from, part) in parts(&outcomes[root.index()]).into_iter().enumerate() {
            let expected = if root == from as u32 { vec![] } else { block(from as u32, 0, len) };
            assert_eq!(part, expected, "from rank {from} of {size}, {len} bytes");
        }
    });
}

#[test]
fn scatter_hands_out_blocks() {
    every_world(|mut world, size, len| {
        let root = Rank::new(0);
        let outcomes = world.all(|rank| {
            if root == rank {
                let blocks = (0..size).map(|to| block(0, to, len)).collect();
                ask(Call::Scatter { root }, blocks, Receive::Exactly(len))
            } else {
                ask(Call::Scatter { root }, vec![], Receive::Exactly(len))
            }
        });
        for (rank, outcome) in outcomes.iter().enumerate().skip(1) {
            assert_eq!(outcome.bytes(), block(0, rank as u32, len), "rank {rank} of {size}, {len} bytes");
        }
    });
}

#[test]
fn allgather_brings_every_block_everywhere() {
    every_world(|mut world, size, len| {
        let outcomes =
            world.all(|rank| ask(Call::Allgather, vec![block(rank, 0, len)], Receive::Exactly(len * size as usize)));
        for (rank, outcome) in outcomes.iter().enumerate() {
            for (from, part) in parts(outcome).into_iter().enumerate() {
                let expected = if from == rank { vec![] } else { block(from as u32, 0, len) };
                assert_eq!(part, expected, "from {from} at {rank} of {size}, {len} bytes");
            }
        }
    });
}

#[test]
fn alltoall_exchanges_blocks() {
    every_world(|mut world, size, len| {
        let outcomes = world.all(|rank| {
            let blocks = (0..size).map(|to| block(rank, to, len)).collect();
            ask(Call::Alltoall, blocks, Receive::Exactly(len * size as usize))
        });
        for (rank, outcome) in outcomes.iter().enumerate() {
            for (from, part) in parts(outcome).into_iter().enumerate() {
                let expected = if from == rank { vec![] } else { block(from as u32, rank as u32, len) };
                assert_eq!(part, expected, "from {from} at {rank} of {size}, {len} bytes");
            }
        }
    });
}

#[test]
fn blocks_of_different_lengths_keep_their_lengths() {
    let length = |from: u32, to: u32| ((from * 7 + to * 13) % 5) as usize * 900;
    for size in SIZES {
        for small_frames in [false, true] {
            let mut world = if small_frames { World::small(size) } else { World::new(size) };
            let outcomes = world.all(|rank| Ask {
                call: Call::Alltoall,
                datatype: Datatype::Object,
                parts: (0..size).map(|to| block(rank, to, length(rank, to))).collect(),
                varied: true,
                receive: Receive::AtMost(1 << 20),
            });
            for (rank, outcome) in outcomes.iter().enumerate() {
                for (from, part) in parts(outcome).into_iter().enumerate().filter(|(from, _)| *from != rank) {
                    let (from, rank) = (from as u32, rank as u32);
                    assert_eq!(part, block(from, rank, length(from, rank)), "from {from} at {rank} of {size}");
                }
            }
        }
    }
}

fn vector(rank: u32, len: usize) -> Vec<u8> {
    (0..len as u32 / 4).flat_map(|at| (rank * 1000 + at).to_le_bytes()).collect()
}

#[test]
fn reduce_and_allreduce_add_element_by_element() {
    every_world(|mut world, size, len| {
        let len = len / 4 * 4;
        let total: Vec<u8> = (0..len as u32 / 4)
            .flat_map(|at| (0..size).map(|rank| rank * 1000 + at).sum::<u32>().to_le_bytes())
            .collect();
        let with = |call, rank, receive| Ask {
            call,
            datatype: Datatype::U32,
            parts: vec![vector(rank, len)],
            varied: false,
            receive: Receive::Exactly(receive),
        };
        let all = world.all(|rank| with(Call::Allreduce { op: ReduceOp::Sum }, rank, len));
        assert!(all.iter().all(|outcome| outcome.bytes() == total), "{size} ranks, {len} bytes");
        let root = Rank::new(size / 3);
        let one =
            world.all(|rank| with(Call::Reduce { root, op: ReduceOp::Sum }, rank, if root == rank { len } else { 0 }));
        assert_eq!(one[root.index()].bytes(), total, "{size} ranks, {len} bytes");
    });
}

#[test]
fn a_small_operation_is_one_frame_up_and_one_down() {
    let mut world = World::new(4);
    let forget = |world: &mut World| {
        for node in &mut world.nodes {
            node.ups.clear();
            node.downs.clear();
        }
    };
    forget(&mut world);
    let (submit, complete) = (9, 13);
    let root = Rank::new(2);
    let calls: [(Call<'static>, usize); 6] = [
        (Call::Barrier, 0),
        (Call::Bcast { root }, 1),
        (Call::Gather { root }, 1),
        (Call::Allgather, 4),
        (Call::Allreduce { op: ReduceOp::Sum }, 1),
        (Call::Alltoall, 4),
    ];
    for (call, blocks) in calls {
        world.all(|rank| {
            let gives = !matches!(call, Call::Bcast { .. } | Call::Scatter { .. }) || root == rank;
            let sends = if matches!(call, Call::Alltoall) { 4 } else { usize::from(gives && blocks > 0) };
            let receive = match call {
                Call::Bcast { .. } if root == rank => 0,
                Call::Gather { .. } => {
                    if root == rank {
                        32
                    } else {
                        0
                    }
                }
                _ => blocks * 8,
            };
            ask(call, vec![block(rank, 0, 8); sends], Receive::Exactly(receive))
        });
        for node in &world.nodes {
            assert_eq!((node.ups.as_slice(), node.downs.as_slice()), (&[submit][..], &[complete][..]), "{call:?}");
        }
        forget(&mut world);
    }
}

#[test]
fn an_alltoall_in_place_is_an_error_because_blocks_would_come_before_others_have_left() {
    let world = CommunicatorId { id: 0, rank: Rank::new(0), size: 2 };
    let submission = |call: &Call<'_>| {
        let (sent, receive, names) = (Sent::Equal(8), Receive::Exactly(8), NameIds::default());
        Submission::new(world, call, Datatype::U32, sent, receive, true, names, 0)
            .map(|_| ())
            .map_err(|fault| fault.category)
    };
    assert_eq!(submission(&Call::Alltoall), Err(Category::InvalidArgument));
    assert_eq!(submission(&Call::Allreduce { op: ReduceOp::Sum }), Ok(()));
    assert_eq!(submission(&Call::Allgather), Ok(()));
}

#[test]
fn a_block_for_each_rank_is_of_whole_elements() {
    let world = CommunicatorId { id: 0, rank: Rank::new(0), size: 2 };
    for (call, receive) in [(Call::Alltoall, 12), (Call::Scatter { root: Rank::new(0) }, 6)] {
        // 3 elements of 4 bytes.
        let (sent, receive, names) = (Sent::Equal(12), Receive::Exactly(receive), NameIds::default());
        let submission = Submission::new(world, &call, Datatype::U32, sent, receive, false, names, 0);
        assert_eq!(submission.map(|_| ()).map_err(|fault| fault.category), Err(Category::InvalidArgument), "{call:?}");
    }
}
