//! Sends and receives that are taken back: either that is in time and nothing has happened, or the message arrives whole.

mod world;

use edgempi_core::hub::{self, Registry};
use edgempi_core::{Call, Category, Fault, Rank, RequestId, Tag};
use world::{Ask, Outcome, Random, World, ask, barrier, recv, send};

const QUEUE: u64 = 16 * 1024;

/// A world whose frames and queues are small, so that few bytes are a long message.
fn small() -> World {
    let mut config = hub::Config::new(2);
    config.max_payload = 4096;
    config.window = 8192;
    config.queue_size = QUEUE;
    World::with(config, Registry::new(), |_, config| config.max_payload = 1024)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn withdrawn(rank: u32) -> Fault {
    Fault::of_ranks(Category::Cancelled, Rank::new(rank), 1)
}

#[test]
fn a_receive_that_nobody_serves_is_withdrawn_and_the_message_goes_to_the_next() {
    for len in [3, 100_000] {
        let mut world = small();
        let first = world.ask(1, recv(0, 5, len));
        world.settle();
        world.nodes[1].withdraw(first);
        world.settle();
        assert_eq!(
            world.outcome(1, first).fault(),
            (withdrawn(1), "rank 1 cancelled its recv(from rank 0, tag 5)".to_owned())
        );
        world.ask(0, send(1, 5, bytes(len)));
        let second = world.ask(1, recv(0, 5, len));
        world.settle();
        assert_eq!(world.outcome(1, second).bytes(), bytes(len));
        world.assert_idle();
    }
}

#[test]
fn a_long_send_that_nobody_receives_is_withdrawn_and_never_seen() {
    let mut world = small();
    let first = world.ask(0, send(1, 5, bytes(100_000)));
    world.settle();
    world.nodes[0].withdraw(first);
    world.settle();
    assert_eq!(
        world.outcome(0, first).fault(),
        (withdrawn(0), "rank 0 cancelled its send(to rank 1, tag 5, 100000 x u8)".to_owned())
    );
    world.ask(0, send(1, 5, *b"next"));
    let receive = world.ask(1, recv(0, 5, 100_000));
    world.settle();
    assert_eq!(world.outcome(1, receive).bytes(), b"next");
    world.assert_idle();
}

#[test]
fn a_short_synchronous_send_is_withdrawn_as_long_as_nobody_receives() {
    let synchronous = |bytes: &[u8]| ask(Call::Ssend { dest: Rank::new(1), tag: Tag(5) }, bytes.to_vec(), 0);
    let mut world = small();
    let first = world.ask(0, synchronous(b"taken back"));
    world.settle();
    world.nodes[0].withdraw(first);
    world.settle();
    assert_eq!(world.outcome(0, first).fault().0, withdrawn(0));
    let second = world.ask(0, synchronous(b"received"));
    let receive = world.ask(1, recv(0, 5, 10));
    world.settle();
    world.nodes[0].withdraw(second);
    world.settle();
    assert_eq!(world.outcome(1, receive).bytes(), b"received");
    assert!(matches!(world.outcome(0, second), Outcome::Done { .. }));
    world.assert_idle();
}

#[test]
fn a_standard_send_that_is_done_can_not_be_withdrawn() {
    for has_left in [false, true] {
        let mut world = small();
        let sent = world.ask(0, send(1, 5, *b"gone"));
        if has_left {
            world.settle();
        }
        world.nodes[0].withdraw(sent);
        world.settle();
        assert_eq!(world.nodes[0].owned, [sent]);
        let receive = world.ask(1, recv(0, 5, 10));
        world.settle();
        assert_eq!(world.outcome(1, receive).bytes(), b"gone");
        assert!(matches!(world.outcome(0, sent), Outcome::Done { .. }));
        world.assert_idle();
    }
}

#[test]
fn a_message_in_the_middle_arrives_whole() {
    // Without a step, and after ever more of them: before, while and after it is on its way.
    for steps in 0..150 {
        for withdraws in 0..2 {
            let mut world = small();
            let sent = world.ask(0, send(1, 5, bytes(50_000)));
            let receive = world.ask(1, recv(0, 5, 50_000));
            world.step();
            world.step();
            for _ in 0..steps {
                world.step();
            }
            let request = [sent, receive][withdraws];
            world.nodes[withdraws].withdraw(request);
            world.settle();
            assert_eq!(world.outcome(1, receive).bytes(), bytes(50_000), "rank {withdraws} after {steps} steps");
            assert!(matches!(world.outcome(0, sent), Outcome::Done { .. }));
            world.assert_idle();
        }
    }
}

#[test]
fn what_has_not_left_is_sent_first_so_that_order_and_numbers_stay() {
    let mut world = small();
    let first = world.ask(1, recv(0, 5, 10));
    world.nodes[1].withdraw(first);
    world.nodes[1].withdraw(first);
    let second = world.ask(1, recv(0, 5, 10));
    let long = world.ask(0, send(1, 6, bytes(100_000)));
    world.nodes[0].withdraw(long);
    assert!(world.nodes[0].ups.len() + world.nodes[1].ups.len() == 2, "only both Hellos have left");
    world.settle();
    assert_eq!(world.outcome(1, first).fault().0, withdrawn(1));
    assert_eq!(world.outcome(0, long).fault().0, withdrawn(0));
    world.ask(0, send(1, 5, *b"one"));
    world.ask(0, send(1, 6, *b"two"));
    let third = world.ask(1, recv(0, 6, 100_000));
    world.settle();
    assert_eq!((world.outcome(1, second).bytes(), world.outcome(1, third).bytes()), (b"one".into(), b"two".into()));
    world.assert_usable();
}

#[test]
fn a_request_that_is_withdrawn_can_still_be_given_up() {
    for steps in 0..4 {
        let mut world = small();
        let receive = world.ask(1, recv(0, 5, 10));
        world.settle();
        world.nodes[1].withdraw(receive);
        for _ in 0..steps {
            world.step();
        }
        world.cancel(1, receive);
        world.settle();
        world.assert_usable();
    }
}

#[test]
fn a_collective_goes_on_when_it_is_withdrawn() {
    let mut world = small();
    let first = world.ask(0, barrier());
    world.settle();
    world.nodes[0].withdraw(first);
    world.settle();
    let second = world.ask(1, barrier());
    world.settle();
    for (rank, request) in [(0, first), (1, second)] {
        assert!(matches!(world.outcome(rank, request), Outcome::Done { .. }));
    }
    world.assert_idle();
}

/// A message and its receive, one of them or both withdrawn somewhere on the way.
fn race(random: &mut Random) {
    let mut world = small();
    let len = [1, 1000, 5000, 40_000][random.below(4)];
    // Beyond the queue's room, so that it is not done at once.
    let fills = random.below(2) == 0;
    let (dest, tag) = (Rank::new(1), Tag(5));
    let call = [Call::Send { dest, tag }, Call::Ssend { dest, tag }][random.below(2)];
    let mut asks: Vec<(usize, Ask<'_>)> = vec![(0, ask(call, bytes(len), 0)), (1, recv(0, 5, len))];
    if fills {
        world.ask(0, send(1, 9, bytes(QUEUE as usize - 600)));
    }
    if random.below(2) == 0 {
        asks.reverse();
    }
    let mut requests = [RequestId::NONE; 2];
    for (rank, ask) in asks {
        requests[rank] = world.ask(rank, ask);
        (0..random.below(30)).for_each(|_| world.random_step(random));
    }
    let withdraws = [[true, false], [false, true], [true, true]][random.below(3)];
    for rank in [0, 1] {
        if withdraws[rank] {
            world.nodes[rank].withdraw(requests[rank]);
            (0..random.below(60)).for_each(|_| world.random_step(random));
        }
    }
    world.settle();
    let ended = |rank: usize| world.is_done(rank, requests[rank]).then(|| world.outcome(rank, requests[rank]));
    let is_sent_eagerly = world.nodes[0].owned.contains(&requests[0]);
    let is_withdrawn = |rank: usize| match ended(rank) {
        Some(Outcome::Failed { fault, .. }) => {
            assert_eq!(fault, withdrawn(rank as u32));
            assert!(withdraws[rank], "nobody withdrew it");
            true
        }
        _ => false,
    };
    match (is_withdrawn(0), is_withdrawn(1)) {
        (false, false) => assert_eq!(ended(1).expect("it has come").bytes(), bytes(len)),
        (true, false) => {
            assert!(!is_sent_eagerly, "a send that was done is gone");
            assert!(ended(1).is_none(), "it received what was never sent");
            world.ask(0, send(1, 5, *b"x"));
        }
        (false, true) => {
            let again = world.ask(1, recv(0, 5, len));
            world.settle();
            assert_eq!(world.outcome(1, again).bytes(), bytes(len), "nothing is lost");
        }
        (true, true) => assert!(!is_sent_eagerly, "a send that was done is gone"),
    }
    if fills {
        world.ask(1, recv(0, 9, QUEUE as usize));
    }
    world.settle();
    world.assert_usable();
}

proptest::proptest! {
    #[test]
    fn a_message_is_withdrawn_or_received_but_never_both(seed: u64) {
        race(&mut Random(seed));
    }
}
