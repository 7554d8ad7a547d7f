//! How a world is, for whoever asks its hub: what they read, and what it may cost.

mod world;

use std::time::Duration;

use edgempi_core::hub::{self, Registry, SNAPSHOT_VERSION, Snapshot};
use edgempi_core::request::CommunicatorId;
use edgempi_core::wire::{Down, Inquire, MAGIC, Up, VERSION};
use edgempi_core::{
    Call, Category, Color, Datatype, Payload, Rank, ReduceOp, Source, SplitRequest, SplitResult, Tag, TagSelector,
};
use world::{Ask, Stranger, World, ask, barrier, recv, send, without_bytes};

const SECOND: Duration = Duration::from_secs(1);

/// Asks, and hears all that the hub says to it.
fn inquire(world: &mut World, name: &[u8]) -> Vec<(Down, Payload)> {
    let mut stranger = Stranger::connect(world);
    stranger.say(world, Up::Inquire(Inquire { magic: MAGIC, version: VERSION }), name);
    assert!(world.hub.wants_close(stranger.peer));
    world.hub.disconnect(world.now, stranger.peer);
    stranger.said
}

/// The whole of it, from its pieces, and how many bytes that is.
fn snapshot(world: &mut World) -> (Snapshot, usize) {
    let said = inquire(world, b"");
    let (last, pieces) = said.split_last().expect("it answers");
    assert!(matches!(last, (Down::Goodbye(_), _)), "{said:?}");
    let mut bytes = Vec::new();
    for (frame, piece) in pieces {
        let Down::Snapshot(head) = frame else { panic!("{frame:?}") };
        assert_eq!((head.version, head.offset as usize), (SNAPSHOT_VERSION, bytes.len()));
        bytes.extend_from_slice(piece);
        assert!(bytes.len() <= head.len as usize && piece.len() <= 64 * 1024);
    }
    (Snapshot::from_bytes(&bytes).expect("it is a snapshot"), bytes.len())
}

#[test]
fn a_world_that_is_stuck_is_told_rank_by_rank() {
    let mut world = World::with(hub::Config::new(3), Registry::new(), |_, config| config.max_silence = Duration::ZERO);
    for node in &mut world.nodes {
        node.site = Some("main.rs:12:5");
    }
    let peer = world.nodes[0].peer;
    world.hub.name_peer(peer, "192.0.2.7:4711");
    for rank in 0..3 {
        world.ask(rank, barrier());
    }
    world.settle();
    world.wait(SECOND);
    let sum = || Ask { datatype: Datatype::F32, ..ask(Call::Allreduce { op: ReduceOp::Sum }, vec![0; 400], 400) };
    let request = world.ask(0, sum());
    world.nodes[0].endpoint.blocked(request);
    world.ask(1, send(2, 9, "hello"));
    world.ask(1, recv(2, 7, 8));
    world.settle();
    world.wait(11 * SECOND);
    let (snapshot, _) = snapshot(&mut world);
    let text = snapshot.to_string();
    let expected = [
        "a world of 3 ranks: 3 here, 0 finished, 0 failed",
        "  rank 0 (host, 192.0.2.7:4711, heard 11 s ago): for 11 s in allreduce(SUM, 100 x f32) at main.rs:12:5, \
         its one thread waits",
        "  rank 1 (host, heard 11 s ago): for 11 s in recv(from rank 2, tag 7) at main.rs:12:5; 2 requests are open",
        "  rank 2 (host, heard 12 s ago): last seen in barrier at main.rs:12:5, finished 12 s ago",
        "operations in flight: 1",
        "  allreduce(SUM, 100 x f32) at main.rs:12:5: gathering for 11 s, 1 of 3 have come; \
         missing rank 1 (for 11 s in recv(from rank 2, tag 7) at main.rs:12:5), \
         rank 2 (last seen in barrier at main.rs:12:5, finished 12 s ago); 400 of 400 bytes received, 0 sent",
        "unmatched sends and receives: 2",
    ];
    for (line, expected) in text.lines().zip(&expected) {
        assert_eq!(line, *expected, "\n{text}");
    }
    assert!(text.contains("  rank 1: recv(from rank 2, tag 7) at main.rs:12:5, for 11 s"), "{text}");
    assert!(text.contains("  rank 1: send(to rank 2, tag 9, 5 x u8) at main.rs:12:5, for 11 s"), "{text}");
    let ssend = Call::Ssend { dest: Rank::new(2), tag: Tag(3) };
    world.ask(0, ask(ssend, b"kept".to_vec(), 0));
    let source = Source::Rank(Rank::new(0));
    world.ask(2, without_bytes(Call::Mprobe { source, tag: TagSelector::Any, message: 1 }));
    world.wait(2 * SECOND);
    let told = self::snapshot(&mut world).0.to_string();
    let kept = "  rank 0: ssend(to rank 2, tag 3, 4 x u8) at main.rs:12:5; found by a matched probe and not received, for 2.0 s";
    assert!(told.contains("unmatched sends and receives: 3") && told.lines().any(|line| line == kept), "{told}");
    assert!(text.contains("held: 917 of 1073741824 bytes queued, 0 of "), "{text}");
}

#[test]
fn what_a_hub_says_is_printed_whatever_its_numbers_are() {
    let mut world = World::new(2);
    world.ask(0, recv(1, 7, 8));
    world.ask(1, barrier());
    world.settle();
    let (mut snapshot, _) = snapshot(&mut world);
    (snapshot.size, snapshot.here, snapshot.ranks_left_out) = (u32::MAX, u32::MAX, u32::MAX);
    (snapshot.operations_left_out, snapshot.unmatched_left_out) = (u64::MAX, u64::MAX);
    snapshot.ranks[0].silent_ms = u64::MAX;
    (snapshot.operations[0].ms, snapshot.unmatched[0].ms) = (u64::MAX, u64::MAX);
    let text = snapshot.to_string();
    assert!(text.contains(&format!("operations in flight: {}\n", u64::MAX)), "{text}");
    assert!(text.contains(&format!("  and {} more sends and receives\n", u64::MAX)), "{text}");
}

#[test]
fn who_names_another_world_is_turned_away() {
    let mut config = hub::Config::new(2);
    config.world = "this".into();
    let mut world = World::with(config, Registry::new(), |_, config| config.world_len = 0);
    let said = inquire(&mut world, b"that");
    let [(Down::Reject(reject), text)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(reject.category, Category::WrongWorld);
    let text = String::from_utf8_lossy(text);
    assert!(text.starts_with("the hub serves world \"this\", whoever asks looks for world \"that\""), "{text}");
}

#[test]
fn who_asks_too_often_is_turned_away_for_a_moment() {
    let mut world = World::new(2);
    snapshot(&mut world);
    let said = inquire(&mut world, b"");
    let [(Down::Reject(reject), text)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(reject.category, Category::Timeout);
    assert_eq!(&text[..], b"the hub has just been asked; ask again in 50 ms");
    world.now = world.now + Duration::from_millis(50);
    snapshot(&mut world);
    world.assert_usable();
}

#[test]
fn a_large_world_is_told_in_part() {
    let mut config = hub::Config::new(3000);
    config.slow = None;
    let mut world = World::with(config, Registry::new(), |_, config| config.max_silence = Duration::ZERO);
    for rank in 0..3000 {
        world.ask(rank, recv((rank as u32 + 1) % 3000, 5, 8));
    }
    world.settle();
    let (snapshot, len) = snapshot(&mut world);
    assert!(len < 1 << 20, "{len} bytes");
    assert_eq!((snapshot.ranks.len(), snapshot.ranks_left_out), (1024, 3000 - 1024));
    assert_eq!((snapshot.unmatched.len(), snapshot.unmatched_left_out), (256, 3000 - 256));
    assert!(snapshot.to_string().contains("\n  and 1976 more ranks\n"));
}

#[test]
fn of_many_operations_the_oldest_are_told() {
    let mut config = hub::Config::new(2);
    config.slow = None;
    let mut world = World::with(config, Registry::new(), |_, config| config.max_silence = Duration::ZERO);
    for _ in 0..200 {
        world.ask(0, barrier());
    }
    world.settle();
    let (snapshot, _) = snapshot(&mut world);
    assert_eq!((snapshot.operations.len(), snapshot.operations_left_out), (128, 72));
    let text = snapshot.to_string();
    assert!(text.contains("operations in flight: 200\n") && text.contains("\n  and 72 more operations\n"), "{text}");
}

#[test]
fn a_call_that_took_long_is_told_from_its_end_and_its_rank_waits_no_more() {
    let mut world = World::with(hub::Config::new(2), Registry::new(), |_, config| config.max_silence = Duration::ZERO);
    let request = world.ask(0, barrier());
    world.nodes[0].endpoint.blocked(request);
    world.wait(5 * SECOND);
    world.ask(1, barrier());
    world.wait(7 * SECOND);
    // Another request of the rank is open, for which its thread does not wait.
    world.ask(0, recv(1, 7, 8));
    world.ask(1, send(0, 7, "hello"));
    world.wait(2 * SECOND);
    let (snapshot, _) = snapshot(&mut world);
    let text = snapshot.to_string();
    assert!(text.contains("rank 0 (host, heard 2.0 s ago): last seen in recv, finished 2.0 s ago\n"), "{text}");
    assert!(snapshot.ranks.iter().all(|rank| !rank.is_blocked), "{text}");
}

/// Of several open requests it is the one in which the rank's thread is, whatever came last.
#[test]
fn what_a_rank_waits_in_is_told_and_not_what_it_called_last() {
    let mut world = World::with(hub::Config::new(2), Registry::new(), |_, config| config.max_silence = Duration::ZERO);
    let first = world.ask(0, recv(1, 7, 8));
    world.ask(0, recv(1, 9, 8));
    world.ask(0, send(1, 3, "done at once"));
    world.nodes[0].endpoint.blocked(first);
    world.settle();
    world.wait(2 * SECOND);
    let (snapshot, _) = snapshot(&mut world);
    let text = snapshot.to_string();
    let expected = "for 2.0 s in recv(from rank 1, tag 7), its one thread waits; 3 requests are open";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn an_operation_of_some_ranks_is_told_with_who_they_are_and_the_bytes_of_its_inputs() {
    let mut config = hub::Config::new(3);
    (config.queue_size, config.window, config.max_payload) = (1024, 1024, 64 * 1024);
    let mut world = World::with(config, Registry::new(), |_, config| {
        (config.max_payload, config.max_silence) = (1024, Duration::ZERO);
    });
    let places = world.all(|rank| {
        let request = SplitRequest { color: (rank != 1).then_some(Color::Number(0)), key: 0 };
        Ask { datatype: Datatype::Object, ..ask(Call::Split, request.to_bytes().to_vec(), SplitResult::LEN) }
    });
    for rank in [0, 2] {
        let bytes = places[rank].bytes().try_into().expect("16 bytes");
        let SplitResult { id, rank: place, size } = SplitResult::from_bytes(bytes);
        let large = ask(Call::Allreduce { op: ReduceOp::Bor }, vec![0; 4096], 4096);
        world.ask_on(rank, CommunicatorId { id, rank: place, size }, large);
    }
    while world.hub.status().windows == 0 {
        world.step();
    }
    world.nodes[2].stalled = true;
    world.settle();
    let (snapshot, _) = snapshot(&mut world);
    let [operation] = snapshot.operations.as_slice() else { panic!("{snapshot}") };
    let text = operation.to_string();
    assert!(
        text.starts_with("allreduce(BOR, 4096 x u8) among ranks 0, 2: running for 0.0 s, 2 of 2 have come; "),
        "{text}"
    );
    assert_eq!((operation.total, operation.phase.as_str()), (Some(8192), "running"));
    assert!(operation.received.is_some_and(|bytes| (512..8192).contains(&bytes)), "{text}");
}

#[test]
fn who_asks_in_another_version_is_told_so() {
    let mut world = World::new(1);
    let mut stranger = Stranger::connect(&mut world);
    stranger.say(&mut world, Up::Inquire(Inquire { magic: MAGIC, version: VERSION + 1 }), b"");
    let (fault, _) = stranger.rejection().expect("it is turned away");
    assert_eq!(fault.category, Category::Version);
}
