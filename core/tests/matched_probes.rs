//! Messages that a matched probe keeps, and whose sender or receiver gives them up before they are received.

mod world;

use edgempi_core::hub::{self, Registry};
use edgempi_core::request::Receive;
use edgempi_core::{Call, Category, Rank, RequestId, Source, Tag, TagSelector};
use world::{Ask, World, send, without_bytes};

const LONG: usize = 100_000;

/// A world whose frames and queues are small, so that few bytes are a long message.
fn small() -> World {
    let mut config = hub::Config::new(2);
    config.max_payload = 4096;
    config.window = 8192;
    config.queue_size = 16 * 1024;
    World::with(config, Registry::new(), |_, config| config.max_payload = 1024)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn ssend(len: usize) -> Ask<'static> {
    Ask { call: Call::Ssend { dest: Rank::new(1), tag: Tag(5) }, ..send(1, 5, bytes(len)) }
}

/// Rank 0 sends, and rank 1 keeps the message.
fn kept(world: &mut World, send: Ask<'_>) -> RequestId {
    let sending = world.ask(0, send);
    let source = Source::Rank(Rank::new(0));
    let probe = world.ask(1, without_bytes(Call::Mprobe { source, tag: TagSelector::Any, message: 1 }));
    world.settle();
    assert!(world.is_done(1, probe) && !world.is_done(0, sending));
    sending
}

fn mrecv() -> Ask<'static> {
    Ask { receive: Receive::AtMost(LONG), ..without_bytes(Call::Mrecv { message: 1 }) }
}

fn discard() -> Ask<'static> {
    without_bytes(Call::Discard { message: 1 })
}

#[test]
fn a_long_message_that_its_sender_cancels_fails_its_receive() {
    for call in [send(1, 5, bytes(LONG)), ssend(LONG)] {
        let mut world = small();
        let sending = kept(&mut world, call);
        world.cancel(0, sending);
        world.settle();
        let receive = world.ask(1, mrecv());
        world.settle();
        let (fault, text) = world.outcome(1, receive).fault();
        assert_eq!((fault.category, fault.rank), (Category::Cancelled, Rank::new(0)));
        assert!(text.starts_with("rank 0 cancelled its ") && text.ends_with("; rank 1 called mrecv"), "{text}");
        world.assert_usable();
    }
}

#[test]
fn a_long_message_that_its_sender_cancels_can_be_discarded() {
    let mut world = small();
    let sending = kept(&mut world, send(1, 5, bytes(LONG)));
    world.cancel(0, sending);
    world.settle();
    world.ask(1, discard());
    world.settle();
    world.assert_usable();
}

#[test]
fn a_message_that_is_discarded_is_received_and_leaves_nothing() {
    let mut world = small();
    let sending = kept(&mut world, ssend(300));
    let discarded = world.ask(1, discard());
    world.settle();
    assert!(world.is_done(1, discarded));
    assert_eq!(world.outcome(0, sending).bytes(), b"");
    world.assert_usable();
}

#[test]
fn of_two_messages_under_one_number_the_second_is_lost_and_both_sides_are_told() {
    let mut world = small();
    let first = kept(&mut world, ssend(300));
    let second = world.ask(0, ssend(200));
    let source = Source::Rank(Rank::new(0));
    let probe = world.ask(1, without_bytes(Call::Mprobe { source, tag: TagSelector::Any, message: 1 }));
    world.settle();
    for (rank, request) in [(0, second), (1, probe)] {
        let (fault, text) = world.outcome(rank, request).fault();
        assert_eq!(fault.category, Category::Protocol);
        assert!(text.contains("under one number"), "{text}");
    }
    let receive = world.ask(1, mrecv());
    world.settle();
    assert_eq!(world.outcome(1, receive).bytes(), bytes(300));
    assert!(world.is_done(0, first));
    world.assert_usable();
}

#[test]
fn a_message_that_is_here_whole_arrives_although_its_sender_cancels() {
    let mut world = small();
    let sending = kept(&mut world, ssend(300));
    world.cancel(0, sending);
    world.settle();
    let receive = world.ask(1, mrecv());
    world.settle();
    assert_eq!(world.outcome(1, receive).bytes(), bytes(300));
    world.assert_usable();
}

#[test]
fn a_message_that_is_withdrawn_too_late_arrives_whole() {
    let mut world = small();
    let sending = kept(&mut world, ssend(LONG));
    world.nodes[0].withdraw(sending);
    world.settle();
    let receive = world.ask(1, mrecv());
    world.settle();
    assert_eq!(world.outcome(1, receive).bytes(), bytes(LONG));
    world.assert_usable();
}

#[test]
fn of_a_message_whose_sender_dies_nothing_is_left() {
    for call in [mrecv(), discard()] {
        let mut world = small();
        kept(&mut world, send(1, 5, bytes(LONG)));
        world.kill(0);
        world.settle();
        let is_received = matches!(call.call, Call::Mrecv { .. });
        let receive = world.ask(1, call);
        world.settle();
        if is_received {
            assert_eq!(world.outcome(1, receive).fault().0.category, Category::RankFailed);
        }
        assert_eq!(world.hub.status().queued, 0);
    }
}
