//! Random programs in random interleavings agree with a plain sequential model, and always come to an end.

mod world;

use edgempi_core::hub;
use edgempi_core::hub::Registry;
use edgempi_core::operation::fold_tree;
use edgempi_core::request::Receive;
use edgempi_core::{Call, Category, Datatype, Rank, ReduceOp, RequestId, Tag};
use proptest::prelude::*;
use world::{Ask, Outcome, Random, World, ask, barrier, bcast, recv, send};

/// One operation of a program: what every rank calls, and what it gets.
#[derive(Clone, Debug)]
enum Step {
    Barrier,
    Bcast { root: u32, len: usize },
    Gather { root: u32, len: usize },
    Scatter { root: u32, len: usize },
    Allgather { len: usize },
    Alltoall { len: usize },
    Exchange { seed: usize },
    Reduce { root: u32, len: usize },
    Allreduce { len: usize, integers: bool },
    Scan { len: usize, exclusive: bool },
    ReduceScatter { seed: usize },
    Gatherv { root: u32, seed: usize },
    Message { from: u32, to: u32, len: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![3 => 0_usize..200, 2 => 200_usize..3000, 1 => 3000_usize..12_000];
    (0..13, 0_u32..9, 0_u32..9, len, any::<bool>()).prop_map(|(kind, root, to, len, integers)| match kind {
        0 => Step::Barrier,
        1 => Step::Bcast { root, len },
        2 => Step::Gather { root, len },
        3 => Step::Scatter { root, len },
        4 => Step::Allgather { len },
        5 => Step::Alltoall { len },
        6 => Step::Exchange { seed: len },
        7 => Step::Reduce { root, len },
        8 => Step::Allreduce { len, integers },
        9 => Step::Scan { len, exclusive: integers },
        10 => Step::ReduceScatter { seed: len },
        11 => Step::Gatherv { root, seed: len },
        _ => Step::Message { from: root, to, len },
    })
}

/// Bytes that tell what they are.
fn block(at: usize, from: u32, to: u32, len: usize) -> Vec<u8> {
    (0..len).map(|k| (at * 101 + from as usize * 31 + to as usize * 17 + k * 7 + k / 256) as u8).collect()
}

/// How much `from` gives `to` in an exchange of blocks of different lengths.
fn share(seed: usize, from: u32, to: u32) -> usize {
    (seed * 7 + from as usize * 13 + to as usize * 29) % 5 * seed / 3
}

/// The bytes of some ranks, combined by exclusive or.
fn combined(at: usize, ranks: std::ops::Range<u32>, len: usize) -> Vec<u8> {
    let mut result = vec![0; len];
    for from in ranks {
        result.iter_mut().zip(block(at, from, 0, len)).for_each(|(to, byte)| *to ^= byte);
    }
    result
}

fn float(at: usize, rank: u32, k: usize) -> f32 {
    ((at * 31 + k * 17 + rank as usize * 7919) % 1009) as f32 / 7.3 - 60.0
}

fn floats(at: usize, rank: u32, len: usize) -> Vec<u8> {
    (0..len / 4).flat_map(|k| float(at, rank, k).to_le_bytes()).collect()
}

impl Step {
    /// What a rank asks for; nothing if it has no part in this. A message to oneself is asked for twice.
    fn asks(&self, at: usize, rank: u32, size: u32) -> Vec<Ask<'static>> {
        let blocks = |len: usize| len * size as usize;
        match *self {
            Step::Barrier => vec![barrier()],
            Step::Bcast { root, len } => vec![bcast(rank, root % size, block(at, root % size, 0, len))],
            Step::Gather { root, len } => {
                let root = Rank::new(root % size);
                let receive = if root == rank { blocks(len) } else { 0 };
                vec![ask(Call::Gather { root }, block(at, rank, 0, len), receive)]
            }
            Step::Scatter { root, len } => {
                let root = Rank::new(root % size);
                let parts =
                    if root == rank { (0..size).map(|to| block(at, rank, to, len)).collect() } else { Vec::new() };
                vec![Ask { parts, ..ask(Call::Scatter { root }, Vec::new(), len) }]
            }
            Step::Allgather { len } => vec![ask(Call::Allgather, block(at, rank, 0, len), blocks(len))],
            Step::Alltoall { len } => {
                let parts = (0..size).map(|to| block(at, rank, to, len)).collect();
                vec![Ask { parts, ..ask(Call::Alltoall, Vec::new(), blocks(len)) }]
            }
            Step::Exchange { seed } => vec![Ask {
                call: Call::Alltoall,
                datatype: Datatype::Object,
                parts: (0..size).map(|to| block(at, rank, to, share(seed, rank, to))).collect(),
                varied: true,
                receive: Receive::AtMost(1 << 30),
            }],
            Step::Reduce { root, len } => {
                let root = Rank::new(root % size);
                let receive = if root == rank { len / 4 * 4 } else { 0 };
                let call = Call::Reduce { root, op: ReduceOp::Sum };
                vec![Ask { datatype: Datatype::F32, ..ask(call, floats(at, rank, len), receive) }]
            }
            Step::Allreduce { len, integers: false } => {
                let call = Call::Allreduce { op: ReduceOp::Sum };
                vec![Ask { datatype: Datatype::F32, ..ask(call, floats(at, rank, len), len / 4 * 4) }]
            }
            Step::Allreduce { len, integers: true } => {
                vec![ask(Call::Allreduce { op: ReduceOp::Bxor }, block(at, rank, 0, len), len)]
            }
            Step::Scan { len, exclusive } => {
                let op = ReduceOp::Bxor;
                let call = if exclusive { Call::Exscan { op } } else { Call::Scan { op } };
                let receive = if exclusive && rank == 0 { 0 } else { len };
                vec![ask(call, block(at, rank, 0, len), receive)]
            }
            Step::ReduceScatter { seed } => {
                let len = (0..size).map(|to| share(seed, 0, to)).sum();
                let call = Call::ReduceScatter { op: ReduceOp::Bxor };
                vec![ask(call, block(at, rank, 0, len), share(seed, 0, rank))]
            }
            Step::Gatherv { root, seed } => {
                let root = Rank::new(root % size);
                let receive = Receive::AtMost(if root == rank { 1 << 30 } else { 0 });
                vec![Ask { receive, ..ask(Call::Gatherv { root }, block(at, rank, 0, share(seed, rank, 0)), 0) }]
            }
            Step::Message { from, to, len } => {
                let (from, to) = (from % size, to % size);
                let mut asks = Vec::new();
                if from == rank {
                    asks.push(send(to, at as u32, block(at, from, to, len)));
                }
                if to == rank {
                    asks.push(recv(from, Tag(at as u32), len));
                }
                asks
            }
        }
    }

    /// What each of those requests gets, in parts.
    fn expected(&self, at: usize, rank: u32, size: u32) -> Vec<Vec<Vec<u8>>> {
        let others = |len: &dyn Fn(u32) -> Vec<u8>| {
            (0..size).map(|from| if from == rank { Vec::new() } else { len(from) }).collect::<Vec<_>>()
        };
        let sum = |len: usize| -> Vec<u8> {
            let of = |k| fold_tree((0..size).map(|rank| float(at, rank, k)).collect::<Vec<_>>(), |a, b| a + b);
            (0..len / 4).flat_map(|k| of(k).unwrap().to_le_bytes()).collect()
        };
        match *self {
            Step::Barrier => vec![vec![]],
            Step::Bcast { root, .. } if root % size == rank => vec![vec![]],
            Step::Bcast { root, len } => vec![vec![block(at, root % size, 0, len)]],
            Step::Gather { root, len } if root % size == rank => vec![others(&|from| block(at, from, 0, len))],
            Step::Gather { .. } => vec![vec![]],
            Step::Scatter { root, .. } if root % size == rank => vec![vec![]],
            Step::Scatter { root, len } => vec![vec![block(at, root % size, rank, len)]],
            Step::Allgather { len } => vec![others(&|from| block(at, from, 0, len))],
            Step::Alltoall { len } => vec![others(&|from| block(at, from, rank, len))],
            Step::Exchange { seed } => vec![others(&|from| block(at, from, rank, share(seed, from, rank)))],
            Step::Reduce { root, len } if root % size == rank => vec![vec![sum(len)]],
            Step::Reduce { .. } => vec![vec![]],
            Step::Allreduce { len, integers: false } => vec![vec![sum(len)]],
            Step::Allreduce { len, integers: true } => {
                vec![vec![combined(at, 0..size, len)]]
            }
            Step::Scan { exclusive: true, .. } if rank == 0 => vec![vec![]],
            Step::Scan { len, exclusive } => vec![vec![combined(at, 0..rank + u32::from(!exclusive), len)]],
            Step::ReduceScatter { seed } => {
                let start: usize = (0..rank).map(|to| share(seed, 0, to)).sum();
                let len = (0..size).map(|to| share(seed, 0, to)).sum();
                vec![vec![combined(at, 0..size, len)[start..][..share(seed, 0, rank)].to_vec()]]
            }
            Step::Gatherv { root, seed } if root % size == rank => {
                vec![others(&|from| block(at, from, 0, share(seed, from, 0)))]
            }
            Step::Gatherv { .. } => vec![vec![]],
            Step::Message { from, to, len } => {
                let (from, to) = (from % size, to % size);
                let mut parts = Vec::new();
                if from == rank {
                    parts.push(vec![]);
                }
                if to == rank {
                    parts.push(vec![block(at, from, to, len)]);
                }
                parts
            }
        }
    }
}

/// A world in which every rank is different.
fn unequal(size: u32, random: &mut Random) -> World {
    let mut config = hub::Config::new(size);
    config.max_payload = [256, 1000, 4096, 65_536][random.below(4)];
    config.window = [1024, 2048, 8192, 1 << 20][random.below(4)];
    config.window_total = [1024, 8192, 1 << 24][random.below(3)];
    config.queue_size = [1024, 4096, 1 << 20][random.below(3)];
    let choices: Vec<[usize; 4]> = (0..size).map(|_| [(); 4].map(|()| random.below(4))).collect();
    let mut world = World::with(config, Registry::new(), |rank, config| {
        let [payload, parts, window, _] = choices[rank as usize];
        config.max_payload = [64, 300, 1024, 65_536][payload];
        config.open_parts = [1, 1, 2, 5][parts];
        config.receive_window = [128, 512, 5000, u32::MAX][window];
    });
    for (node, choice) in world.nodes.iter_mut().zip(&choices) {
        node.unlimited = choice[3] == 0;
    }
    world
}

/// Runs `program`, giving up a request now and then if `cancels`; then compares.
fn run(size: u32, program: &[Step], seed: u64, cancels: bool) {
    let mut random = Random(seed);
    let mut world = unequal(size, &mut random);
    let mut next = vec![0; size as usize];
    let mut requests: Vec<(usize, u32, usize, RequestId)> = Vec::new();
    let mut cancelled: Vec<usize> = Vec::new();
    while next.iter().any(|at| *at < program.len()) {
        let rank = random.below(size as usize);
        if random.below(12) == 0 && next[rank] < program.len() {
            let at = next[rank];
            next[rank] += 1;
            for (which, ask) in program[at].asks(at, rank as u32, size).into_iter().enumerate() {
                let request = world.ask(rank, ask);
                requests.push((at, rank as u32, which, request));
            }
        }
        if cancels && !requests.is_empty() && random.below(300) == 0 {
            let (at, rank, _, request) = requests[random.below(requests.len())];
            world.cancel(rank as usize, request);
            cancelled.push(at);
        }
        world.random_step(&mut random);
        assert!(world.hub.status().windows <= world.hub.config().window_total);
    }
    world.settle();
    for (at, rank, which, request) in requests {
        let expected = &program[at].expected(at, rank, size)[which];
        let done = world.nodes[rank as usize].outcomes.get(&request);
        match done {
            Some(Outcome::Done { parts, .. }) => {
                assert_eq!(parts, expected, "rank {rank} of {size}, step {at}: {:?}", program[at]);
            }
            Some(Outcome::Failed { fault, text }) => {
                assert_eq!(fault.category, Category::Cancelled, "{text}");
                assert!(cancelled.contains(&at), "step {at} failed although nobody gave it up: {text}");
            }
            None => assert!(cancelled.contains(&at), "rank {rank} waits for step {at}: {:?}", program[at]),
        }
    }
    // A message whose other half was given up before they met waits for ever: that half is given up, too.
    for rank in 0..size as usize {
        for request in world.open(rank) {
            assert!(cancels);
            world.cancel(rank, request);
        }
    }
    world.settle();
    world.assert_usable();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_agree_with_the_model(
        size in 1_u32..10,
        program in prop::collection::vec(step(), 1..12),
        seed: u64,
    ) {
        run(size, &program, seed, false);
    }

    #[test]
    fn requests_given_up_at_random_leave_the_rest_right(
        size in 1_u32..7,
        program in prop::collection::vec(step(), 1..12),
        seed: u64,
    ) {
        run(size, &program, seed, true);
    }
}

#[test]
fn an_operation_given_up_at_any_moment_leaves_the_world_usable() {
    const SIZE: u32 = 3;
    for len in [0, 60, 1500] {
        let steps = [
            Step::Barrier,
            Step::Bcast { root: 0, len },
            Step::Gather { root: 0, len },
            Step::Scatter { root: 0, len },
            Step::Allgather { len },
            Step::Alltoall { len },
            Step::Exchange { seed: len },
            Step::Reduce { root: 0, len },
            Step::Allreduce { len, integers: false },
            Step::Message { from: 0, to: 1, len },
            Step::Message { from: 1, to: 1, len },
        ];
        for step in steps {
            for canceller in 0..2 {
                given_up_at_every_moment(&step, SIZE, canceller);
            }
        }
    }
}

fn given_up_at_every_moment(step: &Step, size: u32, canceller: usize) {
    for moment in 0.. {
        let mut random = Random(7);
        let mut config = hub::Config::new(size);
        (config.max_payload, config.window, config.queue_size) = (256, 1024, 1024);
        let mut world = World::with(config, Registry::new(), |_, config| {
            (config.max_payload, config.receive_window, config.open_parts) = (256, 300, 1);
        });
        let mut requests = Vec::new();
        for rank in 0..size {
            for (which, ask) in step.asks(0, rank, size).into_iter().enumerate() {
                requests.push((rank, which, world.ask(rank as usize, ask)));
            }
        }
        for _ in 0..moment {
            world.random_step(&mut random);
        }
        let Some(&(_, _, victim)) = requests.iter().find(|(rank, _, _)| *rank as usize == canceller) else { return };
        let over = world.is_done(canceller, victim);
        world.cancel(canceller, victim);
        world.settle();
        for (rank, which, request) in requests {
            match world.nodes[rank as usize].outcomes.get(&request) {
                Some(Outcome::Done { parts, .. }) => assert_eq!(parts, &step.expected(0, rank, size)[which]),
                Some(Outcome::Failed { fault, text }) => {
                    assert_eq!((fault.category, fault.rank.index()), (Category::Cancelled, canceller), "{text}");
                    assert!(!over);
                }
                None if request == victim => {}
                // The message was taken back before its receive came, or the other way round.
                None => {
                    assert!(matches!(step, Step::Message { .. }), "rank {rank} waits, {moment} steps: {step:?}");
                    world.cancel(rank as usize, request);
                }
            }
        }
        world.settle();
        world.assert_usable();
        if over {
            return;
        }
    }
}
