//! Calls that wait for long: what people are told of them, when, and how often.

mod world;

use std::time::Duration;

use edgempi_core::endpoint::Config;
use edgempi_core::hub::{self, Registry};
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
    assert_eq!(world.lines(), Vec::<String>::new());
    world.wait(SECOND);
    let told = world.lines();
    let expected = [
        "allreduce(SUM, 100 x f32) at main.rs:12:5 has waited 60 s: 7 of 10 have come; \
         missing rank 4 (last seen in barrier at main.rs:9:1, finished 62 s ago), \
         rank 8 (silent for 62 s; last seen in barrier at main.rs:9:1, finished 62 s ago), \
         rank 9 (for 60 s in recv(from rank 4, tag 7) at main.rs:12:5)",
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
    let told = world.lines();
    let [line] = told.as_slice() else { panic!("{told:?}") };
    let expected = "allreduce(SUM, 100 x f32) at main.rs:12:5 has waited 60 s: 1 of 2 have come; missing rank 0 (";
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn a_collective_of_which_all_who_came_have_their_answers_is_not_told_of() {
    let mut world = world(3);
    let request = world.ask(0, bcast(0, 0, vec![1; 5]));
    world.wait(200 * SECOND);
    assert!(world.is_done(0, request));
    assert_eq!(world.lines(), Vec::<String>::new());
    world.ask(2, bcast(2, 0, vec![0; 5]));
    world.wait(200 * SECOND);
    assert_eq!(world.lines(), Vec::<String>::new());
}

#[test]
fn a_probe_that_waits_is_told_of() {
    let mut world = world(2);
    let (source, tag) = (Source::Rank(Rank::new(1)), TagSelector::Tag(Tag(5)));
    world.ask(0, without_bytes(Call::Probe { source, tag }));
    world.wait(60 * SECOND);
    let told = world.lines();
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
        if !world.lines().is_empty() {
            told.push(second + 1);
        }
    }
    assert_eq!(told, [60, 120, 240, 480]);
    world.ask(1, barrier());
    world.wait(1000 * SECOND);
    assert_eq!(world.lines(), Vec::<String>::new());
}

#[test]
fn a_cycle_of_receives_is_only_suspected_where_ranks_may_call_from_several_threads() {
    let mut world = world(3);
    let requests = [world.ask(0, recv(1, 5, 8)), world.ask(1, recv(0, 6, 8))];
    world.ask(2, recv(Source::Any, TagSelector::Any, 8));
    world.wait(60 * SECOND);
    let told = world.lines();
    let expected = [
        "this may be a deadlock: rank 0 has waited 60 s in recv(from rank 1, tag 5) at main.rs:12:5 for rank 1; \
         rank 1 has waited 60 s in recv(from rank 0, tag 6) at main.rs:12:5 for rank 0 (ranks that make calls from one \
         thread alone, and wait in wait(), are told so at once, if their process has no other thread or \
         EDGEMPI_THREADS=single)",
        "rank 2 has waited 60 s in recv(from any rank, any tag) at main.rs:12:5 for a message from any rank",
    ];
    assert_eq!(told, expected);
    assert!(!world.is_done(0, requests[0]) && !world.is_done(1, requests[1]));
}

#[test]
fn each_cycle_is_told_once_however_many_wait_in_it_and_for_it() {
    let mut world = world(6);
    for (rank, other) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        world.ask(rank, recv(other, 5, 8));
    }
    world.wait(10 * SECOND);
    // These wait for ranks of a cycle, and are in none.
    world.ask(4, recv(2, 5, 8));
    world.ask(5, barrier());
    world.wait(50 * SECOND);
    let told = world.lines();
    let [first, second] = told.as_slice() else { panic!("{told:#?}") };
    assert!(
        first.starts_with("this may be a deadlock: rank 0 has waited 60 s in recv(from rank 1, tag 5) at "),
        "{first}"
    );
    assert!(
        second.starts_with("this may be a deadlock: rank 2 has waited 60 s in recv(from rank 3, tag 5) at "),
        "{second}"
    );
    world.wait(10 * SECOND);
    let told = world.lines();
    let [barrier, outside] = told.as_slice() else { panic!("{told:#?}") };
    assert!(
        barrier.starts_with("barrier at main.rs:12:5 has waited 60 s: 1 of 6 have come; missing rank 0 (for "),
        "{barrier}"
    );
    assert!(
        outside.starts_with("rank 4 has waited 60 s in recv(from rank 2, tag 5) at main.rs:12:5 for "),
        "{outside}"
    );
}

#[test]
fn two_whose_large_messages_wait_for_each_other_are_a_cycle_although_they_have_begun() {
    let mut config = hub::Config::new(2);
    config.queue_size = 16 * 1024;
    let mut world = World::with(config, Registry::new(), |_, _| {});
    for rank in 0..2 {
        world.ask(rank, send(1 - rank as u32, 5, vec![7; 100_000]));
    }
    world.settle();
    assert!(world.hub.status().queued > 4096, "their beginnings are here");
    world.wait(60 * SECOND);
    let told = world.lines();
    let [line] = told.as_slice() else { panic!("{told:#?}") };
    assert!(
        line.starts_with("this may be a deadlock: rank 0 has waited 60 s in send(to rank 1, tag 5, 100000 x u8) for "),
        "{line}"
    );
}

#[test]
fn ranks_that_may_wait_for_any_of_several_are_not_promised_that_they_would_be_told() {
    let mut world = world(2);
    world.ask(0, recv(1, 4, 8));
    world.ask(0, recv(1, 5, 8));
    world.ask(1, recv(0, 6, 8));
    world.wait(60 * SECOND);
    let expected = [
        "this may be a deadlock: rank 0 has waited 60 s in recv(from rank 1, tag 5) at main.rs:12:5 for rank 1; \
         rank 1 has waited 60 s in recv(from rank 0, tag 6) at main.rs:12:5 for rank 0",
        "rank 0 has waited 60 s in recv(from rank 1, tag 4) at main.rs:12:5 for rank 1 \
         (for 60 s in recv(from rank 0, tag 6) at main.rs:12:5)",
    ];
    assert_eq!(world.lines(), expected);
}

#[test]
fn a_long_cycle_is_suspected_and_told_in_part() {
    let mut world = world(40);
    for rank in 0..40 {
        world.ask(rank, recv((rank as u32 + 1) % 40, 5, 8));
    }
    world.wait(60 * SECOND);
    let told = world.lines();
    let [line] = told.as_slice() else { panic!("{told:#?}") };
    assert!(
        line.contains("; and so on through 32 more ranks, the last of which waits for rank 0 (ranks that "),
        "{line}"
    );
}

#[test]
fn a_send_that_a_matched_probe_keeps_is_told_of() {
    let mut world = world(2);
    world.nodes[0].site = Some("zero.rs:3:3");
    let ssend = Call::Ssend { dest: Rank::new(1), tag: Tag(3) };
    world.ask(0, ask(ssend, b"kept".to_vec(), 0));
    world.settle();
    world.wait(10 * SECOND);
    let source = Source::Rank(Rank::new(0));
    world.ask(1, without_bytes(Call::Mprobe { source, tag: TagSelector::Any, message: 1 }));
    world.wait(50 * SECOND);
    assert_eq!(
        world.lines(),
        ["rank 0 has waited 60 s in ssend(to rank 1, tag 3, 4 x u8) at zero.rs:3:3 for rank 1 (last seen in \
          mprobe at main.rs:12:5, finished 50 s ago); found by a matched probe and not received"]
    );
}

#[test]
fn who_waits_for_a_rank_of_a_suspected_cycle_is_no_part_of_it() {
    let mut world = world(3);
    for (rank, source) in [(0, 1), (1, 2), (2, 1)] {
        world.ask(rank, recv(source, 5, 8));
    }
    world.wait(60 * SECOND);
    let told = world.lines();
    let suspicion = told[0].as_str();
    assert!(
        suspicion.starts_with(
            "this may be a deadlock: rank 1 has waited 60 s in recv(from rank 2, tag 5) at main.rs:12:5 for rank 2; \
             rank 2 has waited 60 s in recv(from rank 1, tag 5) at main.rs:12:5 for rank 1 ("
        ),
        "{told:#?}"
    );
}

#[test]
fn a_message_that_its_sender_is_done_with_may_wait_for_as_long_as_it_likes() {
    let mut world = world(2);
    world.ask(0, send(1, 5, "x"));
    world.wait(200 * SECOND);
    assert_eq!(world.lines(), Vec::<String>::new());
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
        world.lines(),
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
    let told = world.lines();
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
    let told = world.lines();
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert!(line.starts_with("allgatherv(u8) has waited 60 s: 3 of 3 have come; waiting for rank 2 ("), "{line}");
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
    let told = world.lines().len();
    assert!((8..50).contains(&told), "{told}");
}

#[test]
fn many_calls_that_wait_as_long_are_counted_and_not_all_told() {
    let mut world = world(40);
    for rank in 1..40 {
        world.ask(rank, recv(0, 5, 8));
    }
    world.wait(60 * SECOND);
    let told = world.lines();
    assert_eq!((told.len(), told[8].as_str()), (9, "31 more calls have waited as long"));
}

#[test]
fn a_hub_that_is_to_say_nothing_says_nothing() {
    let mut config = hub::Config::new(2);
    config.slow = None;
    let mut world = World::with(config, Registry::new(), |_, _| {});
    world.ask(0, recv(1, Tag(5), 8));
    world.wait(5000 * SECOND);
    assert_eq!(world.lines(), Vec::<String>::new());
    world.nodes[0].endpoint.leave(GoodbyeReason::Dropped);
}
