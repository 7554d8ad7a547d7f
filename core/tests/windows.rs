//! Small windows, queues, frames and parts slow things down; they never stop them.

mod world;

use edgempi_core::endpoint::Config;
use edgempi_core::hub::{self, Hub, Registry};
use edgempi_core::operation::Fold;
use edgempi_core::request::{CallCode, Receive, Slot};
use edgempi_core::wire::{Credit, Down, Hello, Submit, Up};
use edgempi_core::{Call, Category, Datatype, Group, Instant, Rank, ReduceOp};
use world::{Ask, Outcome, Stranger, World, ask, bcast, hello, recv, send, submit, words};

const SUM: ReduceOp = ReduceOp::Sum;

fn allreduce(rank: u32, len: u32) -> Ask<'static> {
    let call = Call::Allreduce { op: SUM };
    Ask { datatype: Datatype::U32, ..ask(call, words((0..len).map(|k| rank + k)), len as usize * 4) }
}

fn alltoall(rank: u32, size: u32, len: usize) -> Ask<'static> {
    let parts = (0..size).map(|to| vec![(rank * 16 + to) as u8; len]).collect();
    Ask { parts, ..ask(Call::Alltoall, Vec::new(), len * size as usize) }
}

#[test]
fn several_large_operations_share_tiny_windows_and_all_complete() {
    for window_total in [0, 64, 1024, 4096, 20_000] {
        let mut config = hub::Config::new(4);
        (config.max_payload, config.queue_size) = (1024, 1024);
        (config.window, config.window_total) = (4096, window_total);
        let mut world = World::with(config, Registry::new(), |rank, config| {
            (config.max_payload, config.open_parts) = (300, 1 + rank as u16 % 2);
        });
        let mut requests = Vec::new();
        for round in 0..5 {
            for rank in 0..4 {
                let at = rank as u32;
                requests.push((rank, world.ask(rank, allreduce(at, 3000))));
                requests.push((rank, world.ask(rank, alltoall(at, 4, 3000))));
                requests.push((rank, world.ask(rank, bcast(at, 1, vec![at as u8; 9000]))));
                requests.push((rank, world.ask(rank, send((at + 1) % 4, round, vec![at as u8; 5000]))));
                requests.push((rank, world.ask(rank, recv((at + 3) % 4, round, 5000))));
            }
        }
        while world.step() {
            assert!(world.hub.status().windows <= window_total);
        }
        for (rank, request) in requests {
            assert!(matches!(world.outcome(rank, request), Outcome::Done { .. }));
        }
        world.assert_usable();
    }
}

#[test]
fn operations_that_fail_when_their_windows_come_free_let_the_next_one_start() {
    let mut config = hub::Config::new(2);
    (config.max_payload, config.queue_size, config.window, config.window_total) = (1024, 1024, 1024, 1024);
    let mut world = World::with(config, Registry::new(), |_, _| {});
    let mut requests = Vec::new();
    for round in 0..3000 {
        // All but the first and last give more than is received.
        let fits = round == 0 || round == 2999;
        let root = Ask { datatype: Datatype::Object, ..bcast(0, 0, vec![3; 4000]) };
        let receive = Receive::AtMost(if fits { 4000 } else { 3999 });
        let other = Ask { datatype: Datatype::Object, receive, ..bcast(1, 0, vec![]) };
        for node in &mut world.nodes {
            if !node.endpoint.has_free_slot() {
                node.endpoint.grow(|slots| slots.resize(9000, Slot::FREE));
            }
        }
        requests.push((fits, world.ask(0, root), world.ask(1, other)));
    }
    world.settle();
    for (fits, root, other) in requests {
        if fits {
            assert_eq!(world.outcome(1, other).bytes(), vec![3; 4000]);
        } else {
            assert_eq!(world.outcome(0, root).fault().0.category, Category::Truncated);
            assert_eq!(world.outcome(1, other).fault().0.category, Category::Truncated);
        }
    }
    world.assert_usable();
}

#[test]
fn a_result_that_fits_a_frame_but_not_its_window_arrives() {
    let mut config = hub::Config::new(3);
    (config.window, config.queue_size) = (1024, 1024);
    let mut world = World::with(config, Registry::new(), |_, _| {});
    for node in &mut world.nodes {
        node.unlimited = true;
    }
    for outcome in world.all(|rank| allreduce(rank, 5000)) {
        assert_eq!(outcome.bytes().len(), 20_000);
    }
    for outcome in world.all(|rank| ask(Call::Allgather, vec![rank as u8; 9000], 27_000)) {
        assert_eq!(outcome.bytes().len(), 18_000);
    }
    for (rank, outcome) in world.all(|rank| bcast(rank, 0, vec![1; 9000])).iter().enumerate() {
        assert_eq!(outcome.bytes().len(), if rank == 0 { 0 } else { 9000 });
    }
    world.assert_usable();
}

#[test]
fn a_world_of_one_gives_its_queue_back() {
    let mut world = World::new(1);
    for _ in 0..100 {
        world.all(|rank| bcast(rank, 0, vec![1; 200_000]));
        world.all(|rank| alltoall(rank, 1, 200_000));
        world.all(|_| ask(Call::Allgather, vec![1; 200_000], 200_000));
        assert_eq!(world.all(|rank| allreduce(rank, 50_000))[0].bytes(), words(0..50_000));
        world.assert_idle();
    }
}

#[test]
fn boards_with_one_small_part_take_every_collective() {
    for max_payload in [64, 256, 1024] {
        for receive_window in [64, 512, 2000] {
            let mut config = hub::Config::new(5);
            config.window = 2048;
            let mut world = World::with(config, Registry::new(), |_, config| {
                (config.max_payload, config.receive_window, config.open_parts) = (max_payload, receive_window, 1);
            });
            for len in [0, 1, 65, 500, 5000] {
                board_collectives(&mut world, len);
                world.assert_usable();
            }
        }
    }
}

#[test]
fn beyond_its_first_part_a_board_gets_nothing_that_it_has_not_asked_for() {
    const WINDOW: u32 = 320;
    let now = Instant::from_micros(1);
    let mut world = World { hub: Hub::new(now, hub::Config::new(3), Registry::new()), nodes: Vec::new(), now };
    for rank in 0..2 {
        world.join(Config::host(Rank::new(rank), 3));
    }
    let mut board = Stranger::connect(&mut world);
    let hello = Hello { max_payload: 192, receive_window: WINDOW, open_parts: 2, ..hello(2, 3) };
    board.say(&mut world, Up::Hello(hello), b"");
    let call = Submit { receive: 5000, ..submit(1, 1, CallCode::Allgatherv) };
    board.say(&mut world, Up::Submit(call), b"");
    for rank in 0..2 {
        world.ask(rank, Ask { receive: Receive::AtMost(5000), ..ask(Call::Allgatherv, vec![7; 1000], 0) });
    }
    // It says nothing more: both parts have begun, and of one of them a window has come.
    board.listen(&mut world);
    let parts = board.said.iter().filter(|(frame, _)| matches!(frame, Down::Part(_))).count();
    let data = board.said.iter().filter_map(|(frame, payload)| match frame {
        Down::Data(data) => Some((data.part, payload.len() as u32)),
        _ => None,
    });
    let data: Vec<(u32, u32)> = data.collect();
    assert_eq!((parts, data.iter().map(|(_, len)| len).sum::<u32>()), (2, WINDOW), "{data:?}");
    // Then it asks for a little of the other.
    let other = data.first().map_or(0, |(part, _)| 1 - part);
    board.said.clear();
    let credit = Credit { request: call.request, part: other, limit: 100, len: 1000 };
    board.say(&mut world, Up::Credit(credit), b"");
    let [(Down::Data(data), payload)] = board.said.as_slice() else { panic!("{:?}", board.said) };
    assert_eq!((data.part, payload.len()), (other, 100));
}

fn board_collectives(world: &mut World, len: usize) {
    let root = Rank::new(3);
    let own = |rank: u32| vec![rank as u8 + 1; len];
    let others = |own_rank: usize| (0..5).filter(|from| *from != own_rank).flat_map(|from| own(from as u32)).collect();
    for (rank, outcome) in world.all(|rank| bcast(rank, 3, own(9))).iter().enumerate() {
        assert_eq!(outcome.bytes(), if root == rank as u32 { vec![] } else { own(9) });
    }
    for (rank, outcome) in world.all(|rank| ask(Call::Allgather, own(rank), len * 5)).iter().enumerate() {
        let all: Vec<u8> = others(rank);
        assert_eq!(outcome.bytes(), all);
    }
    let gathered = world.all(|rank| ask(Call::Gather { root }, own(rank), if root == rank { len * 5 } else { 0 }));
    let all: Vec<u8> = others(3);
    assert_eq!(gathered[3].bytes(), all);
    let scattered = world.all(|rank| {
        let parts = if root == rank { (0..5).map(own).collect() } else { Vec::new() };
        Ask { parts, ..ask(Call::Scatter { root }, Vec::new(), len) }
    });
    for (rank, outcome) in scattered.iter().enumerate().filter(|(rank, _)| *rank != 3) {
        assert_eq!(outcome.bytes(), own(rank as u32));
    }
    for (rank, outcome) in world.all(|rank| alltoall(rank, 5, len)).iter().enumerate() {
        let all: Vec<u8> =
            (0..5).filter(|from| *from != rank).flat_map(|from| vec![(from * 16 + rank) as u8; len]).collect();
        assert_eq!(outcome.bytes(), all);
    }
    let count = len as u32 / 4;
    for outcome in world.all(|rank| allreduce(rank, count)) {
        assert_eq!(outcome.bytes(), words((0..count).map(|k| 10 + 5 * k)));
    }
    let reduced = world.all(|rank| {
        let receive = if root == rank { count as usize * 4 } else { 0 };
        Ask {
            datatype: Datatype::U32,
            ..ask(Call::Reduce { root, op: ReduceOp::Max }, words((0..count).map(|k| rank + k)), receive)
        }
    });
    assert_eq!(reduced[3].bytes(), words((0..count).map(|k| 4 + k)));
    let (sent, receive) = (world.ask(1, send(4, 0, own(1))), world.ask(4, recv(1, 0, len)));
    world.settle();
    assert!(world.is_done(1, sent));
    assert_eq!(world.outcome(4, receive).bytes(), own(1));
}

#[test]
fn a_group_may_be_named_again_with_other_ranks() {
    const FIRST: Group<'static> = Group::new(&[Rank::new(0)], &[Rank::new(1)]);
    const SECOND: Group<'static> = Group::new(&[Rank::new(1)], &[Rank::new(0)]);
    let mut registry = Registry::new();
    registry.insert_fn("give", 1, |call: hub::Applied<'_, ()>, inputs: Vec<(Rank, u8)>| {
        Ok::<_, String>(call.destinations.iter().map(|rank| (*rank, inputs[0].1)).collect::<Vec<_>>())
    });
    let mut world = World::with(hub::Config::new(2), registry, |_, _| {});
    for round in 0..4 {
        for (group, from) in [(FIRST, 0), (SECOND, 1)] {
            let outcomes = world.all(|rank| {
                let block = if rank == from { vec![round + from as u8] } else { vec![] };
                let parts = if rank == from { vec![block] } else { Vec::new() };
                let call = Call::User { name: "give", version: 1, group };
                let receive = Receive::AtMost(9);
                Ask { call, datatype: Datatype::Object, parts, varied: false, receive }
            });
            assert_eq!(outcomes[1 - from as usize].bytes(), [round + from as u8]);
        }
    }
    world.assert_idle();
}

#[test]
fn ranks_that_stop_reading_leave_windows_for_others() {
    let mut config = hub::Config::new(4);
    (config.max_payload, config.queue_size, config.window, config.window_total) = (1024, 1024, 8192, 64 * 1024);
    let mut world = World::with(config, Registry::new(), |_, config| config.receive_window = 2048);
    let len = 30_000;
    let taken: Vec<_> = (0..12).map(|tag| world.ask(1, recv(0, tag, len))).collect();
    world.settle();
    world.nodes[1].stalled = true;
    let given: Vec<_> = (0..12).map(|tag| world.ask(0, send(1, tag, vec![tag as u8; len]))).collect();
    world.settle();
    assert!(world.hub.status().windows > 32 * 1024, "{:?}", world.hub.status());
    for tag in 20..30 {
        let given = world.ask(2, send(3, tag, vec![tag as u8; len]));
        let taken = world.ask(3, recv(2, tag, len));
        world.settle();
        assert!(matches!(world.outcome(2, given), Outcome::Done { .. }));
        assert_eq!(world.outcome(3, taken).bytes(), vec![tag as u8; len]);
    }
    world.nodes[1].stalled = false;
    world.settle();
    for (tag, (given, taken)) in (0..).zip(given.into_iter().zip(taken)) {
        assert!(matches!(world.outcome(0, given), Outcome::Done { .. }));
        assert_eq!(world.outcome(1, taken).bytes(), vec![tag; len]);
    }
    world.assert_usable();
}

/// The larger of two numbers of three bytes.
struct Largest;

impl Fold for Largest {
    fn element_size(&self) -> usize {
        3
    }

    fn combine(&self, left: &mut [u8], right: &[u8]) {
        for (left, right) in left.as_chunks_mut::<3>().0.iter_mut().zip(right.as_chunks::<3>().0) {
            *left = (*left).max(*right);
        }
    }
}

#[test]
fn elements_that_end_nowhere_in_particular_are_folded_a_window_at_a_time() {
    for elements in [1, 1000, 7001] {
        let mut config = hub::Config::new(3);
        (config.max_payload, config.window, config.queue_size) = (1024, 2048, 1024);
        let mut registry = Registry::new();
        registry.insert_fold("largest", 1, Largest);
        let mut world = World::with(config, registry, |_, config| config.max_payload = 500);
        let vector = |rank: u32| (0..elements * 3).map(|at| (at * 7 + rank as usize * 91) as u8).collect::<Vec<u8>>();
        let call = Call::User { name: "largest", version: 1, group: Group::ALL };
        let outcomes = world.all(|rank| Ask { datatype: Datatype::U8, ..ask(call, vector(rank), elements * 3) });
        let mut expected = vector(0);
        (1..3).for_each(|rank| Largest.combine(&mut expected, &vector(rank)));
        for outcome in outcomes {
            assert!(outcome.bytes() == expected, "{elements} elements");
        }
        world.assert_usable();
    }
}
