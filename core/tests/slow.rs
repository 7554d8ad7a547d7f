//! Calls that wait for long: what people are told of them, when, and how often.

mod world;

use std::time::Duration;

use edgempi_core::endpoint::Config;
use edgempi_core::hub::{self, Event, Registry};
use edgempi_core::request::Receive;
use edgempi_core::wire::GoodbyeReason;
use edgempi_core::{Call, Datatype, Rank, ReduceOp, Source, Tag, TagSelector};
use world::{Ask, World, ask, barrier, bcast, recv, send, without_bytes};

const SECOND: Duration = Duration::from_secs(1);

fn world(size: u32) -> World {
    let adjust = |rank, config: &mut Config| {
        if rank == 8 {
            config.max_silence = Duration::ZERO;
        }
    };
    let mut world = World::with(hub::Config::new(size), Registry::new(), adjust);
    for node in &mut world.nodes {
        node.site = Some("main.rs:12:5");
    }
    while world.hub.poll_event().is_some() {}
    world
}

/// What people are told.
fn lines(world: &mut World) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(event) = world.hub.poll_event() {
        if let Event::Slow { text } = event {
            lines.push(text);
        }
    }
    lines
}

fn allreduce() -> Ask<'static> {
    Ask { datatype: Datatype::F32, ..ask(Call::Allreduce { op: ReduceOp::Sum }, vec![0; 400], 400) }
}

#[test]
fn a_collective_names_who_is_missing_and_what_they_did_last() {
    let mut world = world(10);
    for rank in [4, 8] {
        world.nodes[rank].site = Some("main.rs:9:1");
    }
    for rank in 0..10 {
        world.ask(rank, barrier());
    }
    world.settle();
    world.wait(2 * SECOND);
    for rank in (0..10).filter(|rank| ![4, 8, 9].contains(rank)) {
        world.ask(rank, allreduce());
    }
    world.ask(9, recv(4, 7, 8));
    world.settle();
    // Rank 8 says nothing: it may keep silent for as long as it likes.
    world.wait(59 * SECOND);
    assert_eq!(lines(&mut world), Vec::<String>::new());
    world.wait(SECOND);
    let told = lines(&mut world);
    let expected = [
        "allreduce(SUM, 100 x f32) at main.rs:12:5 has waited 60 s: 7 of 10 have come; \
         missing 4 (last seen in barrier at main.rs:9:1, finished 62 s ago), \
         8 (silent for 62 s; last seen in barrier at main.rs:9:1, finished 62 s ago), \
         9 (for 60 s in recv(from rank 4, tag 7) at main.rs:12:5)",
        "rank 9 has waited 60 s in recv(from rank 4, tag 7) at main.rs:12:5 for rank 4 \
         (last seen in barrier at main.rs:9:1, finished 62 s ago)",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_collective_is_told_with_the_place_of_one_who_waits_in_it() {
    let mut world = world(2);
    world.ask(1, allreduce());
    world.wait(60 * SECOND);
    let told = lines(&mut world);
    let [line] = told.as_slice() else { panic!("{told:?}") };
    let expected = "allreduce(SUM, 100 x f32) at main.rs:12:5 has waited 60 s: 1 of 2 have come; missing 0 (";
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn a_collective_of_which_all_who_came_have_their_answers_is_not_told_of() {
    let mut world = world(3);
    let request = world.ask(0, bcast(0, 0, vec![1; 5]));
    world.wait(200 * SECOND);
    assert!(world.is_done(0, request));
    assert_eq!(lines(&mut world), Vec::<String>::new());
    world.ask(2, bcast(2, 0, vec![0; 5]));
    world.wait(200 * SECOND);
    assert_eq!(lines(&mut world), Vec::<String>::new());
}

#[test]
fn a_probe_that_waits_is_told_of() {
    let mut world = world(2);
    let (source, tag) = (Source::Rank(Rank::new(1)), TagSelector::Tag(Tag(5)));
    world.ask(0, without_bytes(Call::Probe { source, tag, wait: true }));
    world.wait(60 * SECOND);
    let told = lines(&mut world);
    let [line] = told.as_slice() else { panic!("{told:?}") };
    let expected = "rank 0 has waited 60 s in probe(from rank 1, tag 5) at main.rs:12:5 for rank 1 (";
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn what_is_told_once_is_told_again_after_twice_the_time() {
    let mut world = world(2);
    world.ask(0, barrier());
    let mut told = Vec::new();
    for second in 0..500 {
        world.wait(SECOND);
        if !lines(&mut world).is_empty() {
            told.push(second + 1);
        }
    }
    assert_eq!(told, [60, 120, 240, 480]);
    world.ask(1, barrier());
    world.wait(1000 * SECOND);
    assert_eq!(lines(&mut world), Vec::<String>::new());
}

#[test]
fn a_cycle_of_receives_is_only_suspected_where_ranks_may_call_from_several_threads() {
    let mut world = world(3);
    let requests = [world.ask(0, recv(1, 5, 8)), world.ask(1, recv(0, 6, 8))];
    world.ask(2, recv(Source::Any, TagSelector::Any, 8));
    world.wait(60 * SECOND);
    let told = lines(&mut world);
    assert_eq!(told.len(), 4, "{told:#?}");
    assert_eq!(
        told[2],
        "rank 2 has waited 60 s in recv(from any rank, any tag) at main.rs:12:5 for a message from any rank"
    );
    let suspicion = told[3].as_str();
    assert!(
        suspicion.starts_with(
            "this may be a deadlock: rank 0 waits in recv(from rank 1, tag 5) at main.rs:12:5 for rank 1; \
             rank 1 waits in recv(from rank 0, tag 6) at main.rs:12:5 for rank 0"
        ),
        "{suspicion}"
    );
    assert!(!world.is_done(0, requests[0]) && !world.is_done(1, requests[1]));
}

#[test]
fn who_waits_for_a_rank_of_a_suspected_cycle_is_no_part_of_it() {
    let mut world = world(3);
    for (rank, source) in [(0, 1), (1, 2), (2, 1)] {
        world.ask(rank, recv(source, 5, 8));
    }
    world.wait(60 * SECOND);
    let told = lines(&mut world);
    let suspicion = told[3].as_str();
    assert!(
        suspicion.starts_with(
            "this may be a deadlock: rank 1 waits in recv(from rank 2, tag 5) at main.rs:12:5 for rank 2; \
             rank 2 waits in recv(from rank 1, tag 5) at main.rs:12:5 for rank 1 ("
        ),
        "{suspicion}"
    );
}

#[test]
fn a_message_that_its_sender_is_done_with_may_wait_for_as_long_as_it_likes() {
    let mut world = world(2);
    world.ask(0, send(1, 5, "x"));
    world.wait(200 * SECOND);
    assert_eq!(lines(&mut world), Vec::<String>::new());
}

#[test]
fn a_large_message_that_nobody_receives_is_told_of() {
    let mut config = hub::Config::new(2);
    config.queue_size = 1024;
    config.slow = Some(3 * SECOND);
    let mut world = World::with(config, Registry::new(), |_, _| {});
    world.nodes[1].site = Some("other.rs:1:1");
    world.ask(0, send(1, 5, vec![0; 5000]));
    world.ask(1, send(0, 6, "x"));
    world.wait(3 * SECOND);
    assert_eq!(
        lines(&mut world),
        ["rank 0 has waited 3.0 s in send(to rank 1, tag 5, 5000 x u8) for rank 1 \
          (last seen in send at other.rs:1:1, finished 3.0 s ago)"]
    );
}

#[test]
fn ranks_that_stream_are_told_with_how_much_they_have_sent() {
    let mut config = hub::Config::new(2);
    (config.queue_size, config.window, config.max_payload) = (1024, 1024, 64 * 1024);
    let mut world = World::with(config, Registry::new(), |_, config| {
        (config.max_payload, config.max_silence) = (1024, Duration::ZERO);
    });
    let large = || Ask { ..ask(Call::Allreduce { op: ReduceOp::Bor }, vec![0; 4096], 4096) };
    world.ask(0, large());
    world.ask(1, large());
    while world.hub.status().windows == 0 {
        world.step();
    }
    for _ in 0..6 {
        world.step();
    }
    world.nodes[1].stalled = true;
    world.wait(60 * SECOND);
    let told = lines(&mut world);
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert!(line.starts_with("allreduce(BOR, 4096 x u8) has waited 60 s: 2 of 2 have come; waiting for "), "{line}");
    assert!(line.contains("1 (") && line.ends_with("% sent)"), "{line}");
}

#[test]
fn who_has_sent_everything_is_not_waited_for() {
    let mut config = hub::Config::new(3);
    (config.queue_size, config.window) = (1024, 1024);
    let mut world = World::with(config, Registry::new(), |_, config| {
        (config.max_payload, config.max_silence) = (1024, Duration::ZERO);
    });
    for (rank, len) in [(0, 10), (1, 100), (2, 4096)] {
        let receive = Receive::AtMost(10_000);
        world.ask(rank, Ask { receive, ..ask(Call::Allgatherv, vec![rank as u8; len], 0) });
    }
    while world.hub.status().windows == 0 {
        world.step();
    }
    world.nodes[2].stalled = true;
    world.wait(60 * SECOND);
    let told = lines(&mut world);
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert!(line.starts_with("allgatherv(u8) has waited 60 s: 3 of 3 have come; waiting for 2 ("), "{line}");
    assert!(line.ends_with(" % sent)") && !line.contains("100 %"), "{line}");
}

#[test]
fn lines_that_nobody_takes_do_not_pile_up() {
    let mut config = hub::Config::new(2);
    config.slow = Some(SECOND);
    let mut world = World::with(config, Registry::new(), |_, _| {});
    for tag in 0..200 {
        world.ask(0, recv(1, tag, 8));
        world.wait(SECOND);
    }
    let told = lines(&mut world).len();
    assert!((8..50).contains(&told), "{told}");
}

#[test]
fn many_calls_that_wait_as_long_are_counted_and_not_all_told() {
    let mut world = world(40);
    for rank in 1..40 {
        world.ask(rank, recv(0, 5, 8));
    }
    world.wait(60 * SECOND);
    let told = lines(&mut world);
    assert_eq!((told.len(), told[8].as_str()), (9, "31 more calls have waited as long"));
}

#[test]
fn a_hub_that_is_to_say_nothing_says_nothing() {
    let mut config = hub::Config::new(2);
    config.slow = None;
    let mut world = World::with(config, Registry::new(), |_, _| {});
    world.ask(0, recv(1, Tag(5), 8));
    world.wait(5000 * SECOND);
    assert_eq!(lines(&mut world), Vec::<String>::new());
    world.nodes[0].endpoint.leave(GoodbyeReason::Dropped);
}
