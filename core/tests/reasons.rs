//! What a rank is told whose call fails because of another rank: what happened there, and which call here that fails.

mod world;

use std::time::Duration;

use edgempi_core::hub::{self, Registry};
use edgempi_core::request::{CommunicatorId, Receive};
use edgempi_core::wire::GoodbyeReason;
use edgempi_core::{
    Call, Category, Color, Datatype, Rank, RequestId, Source, SplitRequest, SplitResult, Tag, TagSelector,
};
use world::{Ask, World, ask, barrier, bcast, recv, send, without_bytes};

/// A world of small frames whose ranks say where they call, after a barrier.
fn world(size: u32) -> World {
    let mut config = hub::Config::new(size);
    (config.queue_size, config.max_message) = (1024, 1 << 20);
    let mut world = World::with(config, Registry::new(), |_, _| {});
    for (rank, site) in ["zero.rs:10:3", "one.rs:20:3", "two.rs:30:3"].into_iter().enumerate() {
        if let Some(node) = world.nodes.get_mut(rank) {
            node.site = Some(site);
        }
    }
    world.all(|_| barrier());
    world
}

fn large() -> Vec<u8> {
    vec![7; 100_000]
}

fn ssend(dest: u32, tag: u32, bytes: impl Into<Vec<u8>>) -> Ask<'static> {
    ask(Call::Ssend { dest: Rank::new(dest), tag: Tag(tag) }, bytes.into(), 0)
}

#[track_caller]
fn assert_told(world: &World, rank: usize, request: RequestId, category: Category, expected: &str) {
    let (fault, text) = world.outcome(rank, request).fault();
    assert_eq!((text.as_str(), fault.category), (expected, category));
}

#[test]
fn calls_that_need_a_rank_that_has_failed() {
    let mut world = world(3);
    let any = || recv(Source::Any, TagSelector::Any, 8);
    let waiting = [
        (0, world.ask(0, recv(2, 7, 8)), "recv(from rank 2, tag 7)"),
        (1, world.ask(1, ssend(2, 4, "ab")), "ssend(to rank 2, tag 4, 2 x u8)"),
        (0, world.ask(0, bcast(0, 1, vec![0; 5])), "bcast(root 1, 5 x u8)"),
    ];
    world.ask(2, recv(0, 99, 8));
    world.settle();
    world.kill(2);
    world.settle();
    let why = "rank 2 has failed: its connection closed without a goodbye (last seen in recv";
    let sites = ["zero.rs:10:3", "one.rs:20:3"];
    for (rank, request, call) in waiting {
        let site = sites[rank];
        let expected = format!("{why}(from rank 0, tag 99) at two.rs:30:3); rank {rank} called {call} at {site}");
        assert_told(&world, rank, request, Category::RankFailed, &expected);
    }
    // Of what it waited in nothing is left but the call.
    let later = [
        (0, world.ask(0, send(2, 1, "x")), "send(to rank 2, tag 1, 1 x u8)"),
        (1, world.ask(1, recv(2, 8, 8)), "recv(from rank 2, tag 8)"),
        (1, world.ask(1, barrier()), "barrier"),
    ];
    let open = world.ask(0, any());
    world.settle();
    for (rank, request, call) in later {
        let expected = format!("{why} at two.rs:30:3); rank {rank} called {call} at {}", sites[rank]);
        assert_told(&world, rank, request, Category::RankFailed, &expected);
    }
    assert!(!world.is_done(0, open), "rank 1 may still send");
    world.kill(1);
    // It might send to itself.
    world.wait(Duration::from_secs(1));
    let expected = "all other ranks are gone: rank 2 has failed: its connection closed without a goodbye (last seen in recv \
                    at two.rs:30:3); rank 0 called recv(from any rank, any tag) at zero.rs:10:3";
    assert_told(&world, 0, open, Category::RankFailed, expected);
}

#[test]
fn a_call_that_needs_a_rank_that_has_finalized() {
    let mut world = world(2);
    let waiting = world.ask(0, recv(1, 7, 8));
    world.settle();
    world.nodes[1].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    let late = world.ask(0, barrier());
    world.settle();
    let why = "rank 1 has finalized and takes part in nothing any more (last seen in barrier at one.rs:20:3)";
    for (request, call) in [(waiting, "recv(from rank 1, tag 7)"), (late, "barrier")] {
        let expected = format!("{why}; rank 0 called {call} at zero.rs:10:3");
        assert_told(&world, 0, request, Category::RankFinished, &expected);
    }
}

#[test]
fn a_long_message_whose_sender_dies_on_the_way() {
    let mut config = hub::Config::new(2);
    (config.queue_size, config.window, config.max_payload) = (1024, 1024, 1024);
    let mut world = World::with(config, Registry::new(), |_, config| config.max_payload = 512);
    world.nodes[1].site = Some("one.rs:20:3");
    world.ask(0, send(1, 5, large()));
    let receive = world.ask(1, recv(0, 5, 100_000));
    while world.hub.status().windows == 0 {
        world.step();
    }
    world.kill(0);
    world.settle();
    let expected = "rank 0 has failed: its connection closed without a goodbye (last seen in send(to rank 1, tag 5)); \
                    rank 1 called recv(from rank 0, tag 5) at one.rs:20:3";
    assert_told(&world, 1, receive, Category::RankFailed, expected);
}

#[test]
fn calls_that_somebody_has_given_up() {
    let mut world = world(2);
    let given_up = world.ask(1, barrier());
    world.settle();
    world.cancel(1, given_up);
    let waiting = world.ask(0, barrier());
    world.settle();
    let expected = "rank 1 cancelled its barrier at one.rs:20:3; rank 0 called barrier at zero.rs:10:3";
    assert_told(&world, 0, waiting, Category::Cancelled, expected);
    let source = Source::Rank(Rank::new(1));
    let sending = world.ask(1, send(0, 5, large()));
    let probe = Call::Mprobe { source, tag: TagSelector::Any, message: 1 };
    world.ask(0, without_bytes(probe));
    world.settle();
    world.cancel(1, sending);
    world.settle();
    let mrecv = Call::Mrecv { message: 1 };
    let receive = world.ask(0, Ask { receive: Receive::AtMost(100_000), ..without_bytes(mrecv) });
    world.settle();
    let expected =
        "rank 1 cancelled its send(to rank 0, tag 5, 100000 x u8) at one.rs:20:3; rank 0 called mrecv at zero.rs:10:3";
    assert_told(&world, 0, receive, Category::Cancelled, expected);
    world.assert_usable();
}

#[test]
fn messages_that_are_larger_than_a_limit() {
    let mut world = world(2);
    let large = || vec![0; (1 << 20) + 1];
    let (sending, receiving) = (world.ask(0, send(1, 5, large())), world.ask(1, recv(0, 5, 8)));
    world.settle();
    let why = "the message of rank 0 has 1048577 bytes, more than the 1048576 allowed (EDGEMPI_MSG_SIZE)";
    let call = "rank 0 called send(to rank 1, tag 5, 1048577 x u8) at zero.rs:10:3";
    assert_told(&world, 0, sending, Category::TooLarge, &format!("{why}; {call}"));
    let call = "rank 1 called recv(from rank 0, tag 5) at one.rs:20:3";
    assert_told(&world, 1, receiving, Category::TooLarge, &format!("{why}; {call}"));
    let other = world.ask(1, Ask { receive: Receive::AtMost(9), ..bcast(1, 0, Vec::new()) });
    let root = world.ask(0, bcast(0, 0, large()));
    world.settle();
    let why = "what rank 0 gives has 1048577 bytes, more than the 1048576 allowed (EDGEMPI_MSG_SIZE)";
    for (rank, request, site) in [(0, root, "zero.rs:10:3"), (1, other, "one.rs:20:3")] {
        let (fault, text) = world.outcome(rank, request).fault();
        assert_eq!(fault.category, Category::TooLarge, "{text}");
        assert!(text.starts_with(&format!("{why}; rank {rank} called bcast(root 0, ")), "{text}");
        assert!(text.ends_with(&format!(") at {site}")), "{text}");
    }
    world.assert_usable();
}

#[test]
fn a_ready_send_whose_receive_has_not_been_posted() {
    let mut world = world(2);
    let ready = world.ask(0, ask(Call::Rsend { dest: Rank::new(1), tag: Tag(9) }, vec![1], 0));
    world.settle();
    let expected = "rank 1 (last seen in barrier at one.rs:20:3) has posted no receive for the ready send of rank 0 with \
                    tag 9 at zero.rs:10:3";
    assert_told(&world, 0, ready, Category::NotReady, expected);
}

#[test]
fn a_message_that_is_larger_than_its_receive() {
    let mut world = world(2);
    world.ask(0, send(1, 5, "too long"));
    let receive = world.ask(1, recv(0, 5, 3));
    world.settle();
    let expected = "the message from rank 0 with tag 5 at zero.rs:10:3 has 8 bytes, and the receive of rank 1 at \
                    one.rs:20:3 takes 3";
    assert_told(&world, 1, receive, Category::Truncated, expected);
}

#[test]
fn a_matched_receive_of_nothing() {
    let mut world = world(1);
    let receive = world.ask(0, without_bytes(Call::Mrecv { message: 3 }));
    world.settle();
    let expected = "no probe has kept such a message; rank 0 called mrecv at zero.rs:10:3";
    assert_told(&world, 0, receive, Category::InvalidArgument, expected);
}

#[test]
fn a_rank_of_small_frames_is_told_the_beginning() {
    for (len, expected) in [
        (64, "rank 1 has failed: its connection closed without a goodbye (last"),
        (
            128,
            "rank 1 has failed: its connection closed without a goodbye (last seen in barrier at one.rs:20:3); rank 0 \
             called recv(from rank 1",
        ),
    ] {
        let mut world = World::with(hub::Config::new(2), Registry::new(), |rank, config| {
            if rank == 0 {
                config.max_payload = len;
            }
        });
        (world.nodes[0].site, world.nodes[1].site) = (Some("zero.rs:10:3"), Some("one.rs:20:3"));
        world.all(|_| barrier());
        let request = world.ask(0, recv(1, 7, 8));
        world.settle();
        world.kill(1);
        world.settle();
        assert_told(&world, 0, request, Category::RankFailed, expected);
    }
}

#[test]
fn what_a_program_drops_is_not_where_it_was_last_seen() {
    let mut world = world(2);
    let key = |key| Ask {
        datatype: Datatype::Object,
        ..ask(Call::Split, SplitRequest { color: Some(Color::Number(0)), key }.to_bytes().to_vec(), SplitResult::LEN)
    };
    let places = world.all(|_| key(0));
    let SplitResult { id, rank, size } = SplitResult::from_bytes(places[1].bytes().try_into().unwrap());
    world.nodes[1].site = Some("drop.rs:1:1");
    world.ask_on(1, CommunicatorId { id, rank, size }, Ask { datatype: Datatype::Object, ..without_bytes(Call::Free) });
    world.settle();
    world.kill(1);
    let request = world.ask(0, barrier());
    world.settle();
    let expected = "rank 1 has failed: its connection closed without a goodbye (last seen in split at one.rs:20:3); \
                    rank 0 called barrier at zero.rs:10:3";
    assert_told(&world, 0, request, Category::RankFailed, expected);
}
