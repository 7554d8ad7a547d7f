//! Messages between two ranks: which receive takes which, what arrives, and who waits for whom.

mod world;

use edgempi_core::endpoint::EAGER_OVERHEAD;
use edgempi_core::hub;
use edgempi_core::hub::Registry;
use edgempi_core::request::Receive;
use edgempi_core::{ANY_SOURCE, ANY_TAG, Call, Category, Datatype, Rank, Tag};
use world::{Ask, Outcome, World, recv, send};

const QUEUE: u64 = 16 * 1024;

/// A world whose frames and queues are small, so that few bytes are a long message.
fn small(size: u32) -> World {
    let mut config = hub::Config::new(size);
    config.max_payload = 4096;
    config.window = 8192;
    config.queue_size = QUEUE;
    World::with(config, Registry::new(), |_, config| config.max_payload = 1024)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn status(outcome: &Outcome) -> (Rank, Tag, usize) {
    match outcome {
        Outcome::Done { status, .. } => (status.source, status.tag, status.bytes),
        Outcome::Failed { fault, text } => panic!("{fault}: {text}"),
    }
}

#[test]
fn a_message_arrives_whoever_comes_first() {
    for len in [0, 1, 64, 1000, 1024, 1025, 4096, 5000, QUEUE as usize, 100_000] {
        for receive_first in [false, true] {
            let mut world = small(2);
            let mut receive = None;
            if receive_first {
                receive = Some(world.ask(1, recv(0, 5, len)));
                world.settle();
            }
            let sent = world.ask(0, send(1, 5, bytes(len)));
            world.settle();
            let receive = receive.unwrap_or_else(|| world.ask(1, recv(0, 5, len)));
            world.settle();
            assert_eq!(world.outcome(1, receive).bytes(), bytes(len), "{len} bytes");
            assert_eq!(status(&world.outcome(1, receive)), (Rank::new(0), Tag(5), len));
            assert_eq!(status(&world.outcome(0, sent)).2, 0);
            world.assert_idle();
        }
    }
}

#[test]
fn a_message_may_be_shorter_than_its_receive() {
    for len in [0, 10, 5000, 60_000] {
        for receive in [Receive::AtMost(70_000), Receive::Exactly(70_000)] {
            let mut world = small(2);
            world.ask(0, send(1, 0, bytes(len)));
            let request = world.ask(1, Ask { receive, ..recv(0, 0, 0) });
            world.settle();
            assert_eq!(world.outcome(1, request).bytes(), bytes(len));
            world.assert_idle();
        }
    }
}

#[test]
fn tags_choose_among_messages() {
    let mut world = World::new(2);
    for tag in 0..4 {
        world.ask(0, send(1, tag, vec![tag as u8]));
    }
    world.settle();
    for tag in [2, 0, 3, 1] {
        let request = world.ask(1, recv(0, tag, 1));
        world.settle();
        assert_eq!(world.outcome(1, request).bytes(), [tag as u8]);
    }
    world.assert_idle();
}

#[test]
fn messages_do_not_overtake_each_other() {
    for receives_first in [false, true] {
        let mut world = small(2);
        // Long and short ones in turn: a short one would be done earlier.
        let lengths: Vec<usize> = (0..20).map(|at| if at % 2 == 0 { 30_000 } else { 1 }).collect();
        let mut receives = Vec::new();
        for step in [receives_first, !receives_first] {
            if step {
                receives = lengths.iter().map(|_| world.ask(1, recv(0, 1, 30_000))).collect();
            } else {
                for (at, len) in lengths.iter().enumerate() {
                    world.ask(0, send(1, 1, vec![at as u8; *len]));
                }
            }
            world.settle();
        }
        for (at, (request, len)) in receives.into_iter().zip(&lengths).enumerate() {
            assert_eq!(world.outcome(1, request).bytes(), vec![at as u8; *len]);
        }
        world.assert_idle();
    }
}

#[test]
fn any_source_and_any_tag_take_the_oldest_message() {
    let mut world = World::new(4);
    for (rank, tag) in [(3, 9), (1, 7), (2, 9), (1, 9)] {
        world.ask(rank, send(0, tag, vec![rank as u8, tag as u8]));
        world.settle();
    }
    let takes =
        [recv(ANY_SOURCE, 9, 2), recv(1, ANY_TAG, 2), recv(ANY_SOURCE, ANY_TAG, 2), recv(ANY_SOURCE, ANY_TAG, 2)];
    let expected = [(3, 9), (1, 7), (2, 9), (1, 9)];
    for (take, (source, tag)) in takes.into_iter().zip(expected) {
        let request = world.ask(0, take);
        world.settle();
        assert_eq!(status(&world.outcome(0, request)), (Rank::new(source), Tag(tag), 2));
        assert_eq!(world.outcome(0, request).bytes(), [source as u8, tag as u8]);
    }
    world.assert_idle();
}

#[test]
fn a_message_goes_to_the_oldest_receive_that_takes_it() {
    let mut world = World::new(3);
    let any_tag = world.ask(0, recv(1, ANY_TAG, 1));
    let exact = world.ask(0, recv(1, 5, 1));
    let any_source = world.ask(0, recv(ANY_SOURCE, 5, 1));
    let any = world.ask(0, recv(ANY_SOURCE, ANY_TAG, 1));
    world.settle();
    for (rank, tag, value) in [(2, 5, 1), (1, 5, 2), (1, 5, 3), (2, 8, 4)] {
        world.ask(rank, send(0, tag, vec![value]));
        world.settle();
    }
    let got = [any_source, any_tag, exact, any].map(|request| world.outcome(0, request).bytes());
    assert_eq!(got, [[1], [2], [3], [4]]);
    world.assert_idle();
}

#[test]
fn a_rank_sends_to_itself() {
    for len in [0, 5, 100_000] {
        for receive_first in [false, true] {
            let mut world = small(2);
            let early = receive_first.then(|| world.ask(1, recv(1, 3, len)));
            let sent = world.ask(1, send(1, 3, bytes(len)));
            let receive = early.unwrap_or_else(|| world.ask(1, recv(ANY_SOURCE, 3, len)));
            world.settle();
            assert_eq!(world.outcome(1, receive).bytes(), bytes(len));
            assert!(world.is_done(1, sent));
            world.assert_idle();
        }
    }
}

#[test]
fn a_message_larger_than_its_receive_is_truncated_and_its_send_completes() {
    for (len, max) in [(1, 0), (11, 10), (5000, 4999), (100_000, 10)] {
        for receive_first in [false, true] {
            let mut world = small(2);
            let early = receive_first.then(|| world.ask(1, recv(0, 0, max)));
            world.settle();
            let sent = world.ask(0, send(1, 0, bytes(len)));
            world.settle();
            let receive = early.unwrap_or_else(|| world.ask(1, recv(0, 0, max)));
            world.settle();
            let (fault, text) = world.outcome(1, receive).fault();
            assert_eq!((fault.category, fault.len, fault.max), (Category::Truncated, len as u64, max as u64));
            assert!(text.contains(&len.to_string()) && text.contains(&max.to_string()), "{text}");
            assert!(matches!(world.outcome(0, sent), Outcome::Done { .. }));
            world.assert_usable();
        }
    }
}

#[test]
fn datatypes_that_differ_fail_both_sides() {
    for len in [4, 40_000] {
        let mut world = small(2);
        let sent = world.ask(0, Ask { datatype: Datatype::F32, ..send(1, 6, bytes(len)) });
        let receive = world.ask(1, Ask { datatype: Datatype::U32, ..recv(0, 6, len) });
        world.settle();
        for (rank, request) in [(0, sent), (1, receive)] {
            let (fault, text) = world.outcome(rank, request).fault();
            assert_eq!(fault.category, Category::Mismatch);
            assert!(text.contains("f32") && text.contains("u32"), "{text}");
        }
        world.assert_usable();
    }
}

#[test]
fn a_send_resolves_at_once_within_the_queue_limit_only() {
    let mut world = small(2);
    let fits = world.ask(0, send(1, 0, bytes(4000)));
    let too_long_for_a_frame = world.ask(0, send(1, 0, bytes(4097)));
    world.settle();
    assert_eq!(world.nodes[0].owned, [fits]);
    assert!(!world.is_done(0, fits) && !world.is_done(0, too_long_for_a_frame));
    // The beginning of the long one is in the queue, too.
    assert_eq!(world.hub.status().queued, 4000 + 4096 + 2 * EAGER_OVERHEAD);
    let receives = [world.ask(1, recv(0, 0, 4000)), world.ask(1, recv(0, 0, 5000))];
    world.settle();
    assert_eq!(receives.map(|request| world.outcome(1, request).bytes().len()), [4000, 4097]);
    assert!(world.is_done(0, fits) && world.is_done(0, too_long_for_a_frame));
    world.assert_idle();
}

#[test]
fn a_flood_that_nobody_receives_stays_within_the_queue_and_holds_nobody_up() {
    const SENDS: usize = 100_000;
    let mut config = hub::Config::new(3);
    config.queue_size = QUEUE;
    let mut world = World::with(config, Registry::new(), |_, _| {});
    let mut accepted = Vec::new();
    let mut refused = 0;
    let mut peak = 0;
    for at in 0..SENDS {
        if !world.nodes[0].endpoint.has_free_slot() {
            world.nodes[0].endpoint.grow(|slots| slots.resize(40_000, edgempi_core::request::Slot::FREE));
        }
        match world.nodes[0].ask(send(1, 0, (at as u32).to_le_bytes())) {
            Ok(request) => accepted.push(request),
            Err(fault) => {
                assert_eq!((fault.category, fault.max), (Category::TooManyRequests, 32_768));
                refused += 1;
            }
        }
        while world.transmit(0) {}
        while world.deliver_up(0) {}
        peak = peak.max(world.hub.status().queued);
    }
    world.settle();
    assert!(peak <= QUEUE && world.hub.status().queued <= QUEUE, "{peak} bytes are queued");
    assert_eq!((accepted.len(), refused), (32_768, SENDS - 32_768));
    let eager = (QUEUE / (4 + EAGER_OVERHEAD)) as usize;
    assert_eq!(world.nodes[0].owned.len(), eager, "the rest is pending");
    // Others go on.
    let sent = world.ask(2, send(1, 1, "hello"));
    let receive = world.ask(1, recv(2, 1, 5));
    world.settle();
    assert!(world.is_done(2, sent));
    assert_eq!(world.outcome(1, receive).bytes(), b"hello");
    // And the flood arrives whole and in order, once somebody asks.
    for at in 0..accepted.len() {
        let receive = world.ask(1, recv(0, 0, 4));
        world.settle();
        assert_eq!(world.outcome(1, receive).bytes(), (at as u32).to_le_bytes());
        assert!(world.hub.status().queued <= QUEUE);
    }
    world.assert_usable();
}

#[test]
fn queue_credit_comes_back_however_long_the_stream() {
    let mut world = small(2);
    for round in 0..500 {
        let len = [0, 1, 100, 3000, 4096, 10_000][round % 6];
        let (there, back) = (round % 2, 1 - round % 2);
        let sent = world.ask(there, send(back as u32, 0, bytes(len)));
        let receive = world.ask(back, recv(there as u32, 0, len));
        world.settle();
        assert_eq!(world.outcome(back, receive).bytes(), bytes(len), "round {round}");
        assert!(world.is_done(there, sent));
        assert_eq!(world.nodes[there].owned.contains(&sent), len <= 4096, "round {round}: no credit for {len} bytes");
    }
    world.assert_idle();
}

#[test]
fn a_stream_with_many_sends_ahead_never_stalls() {
    let mut world = small(2);
    let sends: Vec<_> = (0..300).map(|at| world.ask(0, send(1, 0, vec![at as u8; 1 + at * 37 % 9000]))).collect();
    world.settle();
    for at in 0..300 {
        let receive = world.ask(1, recv(0, 0, 9000));
        world.settle();
        assert_eq!(world.outcome(1, receive).bytes(), vec![at as u8; 1 + at * 37 % 9000]);
    }
    assert!(sends.into_iter().all(|request| world.is_done(0, request)));
    world.assert_idle();
}

#[test]
fn a_ready_send_that_is_refused_takes_nothing_of_the_queue() {
    let mut world = small(2);
    for _ in 0..40 {
        let ready = Ask { call: Call::Rsend { dest: Rank::new(1), tag: Tag(5) }, ..send(1, 5, bytes(900)) };
        let request = world.ask(0, ready);
        world.settle();
        let (fault, text) = world.outcome(0, request).fault();
        assert_eq!(fault.category, Category::NotReady, "{text}");
        world.assert_idle();
    }
}

#[test]
fn a_cancelled_receive_takes_no_message() {
    let mut world = World::new(2);
    let given_up = world.ask(1, recv(0, 0, 9));
    let kept = world.ask(1, recv(0, 0, 9));
    world.settle();
    world.cancel(1, given_up);
    world.settle();
    world.ask(0, send(1, 0, "one"));
    world.settle();
    assert_eq!(world.outcome(1, kept).bytes(), b"one");
    assert!(!world.is_done(1, given_up));
    world.assert_usable();
}

#[test]
fn a_cancelled_send_that_nobody_took_is_gone() {
    for len in [3, 100_000] {
        let mut world = small(2);
        let given_up = world.ask(0, send(1, 0, bytes(len)));
        world.ask(0, send(1, 0, "two"));
        world.settle();
        world.cancel(0, given_up);
        world.settle();
        let receive = world.ask(1, recv(0, 0, 100_000));
        world.settle();
        assert_eq!(world.outcome(1, receive).bytes(), b"two");
        world.assert_usable();
    }
}

#[test]
fn a_send_cancelled_before_it_left_reads_no_bytes() {
    for len in [3, 100_000] {
        let mut world = small(2);
        let receive = world.ask(1, recv(0, 0, 100_000));
        world.settle();
        let given_up = world.ask(0, send(1, 0, bytes(len)));
        world.cancel(0, given_up);
        world.settle();
        let (fault, _) = world.outcome(1, receive).fault();
        assert_eq!((fault.category, fault.rank), (Category::Cancelled, Rank::new(0)));
        world.assert_usable();
    }
}

#[test]
fn a_message_cancelled_by_either_side_half_way_fails_the_other() {
    for canceller in [0, 1] {
        let mut world = small(2);
        let sent = world.ask(0, send(1, 0, bytes(100_000)));
        let receive = world.ask(1, recv(0, 0, 100_000));
        for _ in 0..20 {
            world.step();
        }
        assert!(!world.is_done(0, sent) && !world.is_done(1, receive));
        world.cancel(canceller, [sent, receive][canceller]);
        world.settle();
        let other = 1 - canceller;
        let (fault, text) = world.outcome(other, [sent, receive][other]).fault();
        assert_eq!((fault.category, fault.rank), (Category::Cancelled, Rank::new(canceller as u32)), "{text}");
        world.assert_usable();
    }
}
