//! Operations that users register at the hub: what they get, what they return, and how they fail.

mod world;

use edgempi_core::hub::{self, Applied, Registry, TypedInput};
use edgempi_core::request::{CommunicatorId, Receive};
use edgempi_core::{Call, Category, Color, Datatype, Group, Rank, RequestId, SplitRequest, SplitResult};
use serde::Serialize;
use world::{Ask, Outcome, World, ask, recv, send};

const R0: Rank = Rank::new(0);
const R1: Rank = Rank::new(1);
const R2: Rank = Rank::new(2);
const R3: Rank = Rank::new(3);

const ALL: Group<'static> = Group::ALL;
/// Everybody gives; the even ranks receive.
const PAIRS: Group<'static> = Group::new(&[R0, R1, R2, R3], &[R0, R2]);

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.insert_fn("pairs", 1, |call: Applied<'_, ()>, inputs: Vec<(Rank, u32)>| {
        let sum =
            |first: Rank| inputs.iter().filter(|(rank, _)| rank.get() / 2 == first.get() / 2).map(|(_, v)| v).sum();
        Ok::<_, String>(call.destinations.iter().map(|rank| (*rank, sum(*rank))).collect::<Vec<(Rank, u32)>>())
    });
    registry.insert_fn("scaled", 2, |call: Applied<'_, u32>, inputs: Vec<(Rank, Vec<u32>)>| {
        let all: Vec<u32> =
            inputs.into_iter().flat_map(|(_, values)| values).map(|v| v.wrapping_mul(call.parameters)).collect();
        Ok::<_, String>(call.destinations.iter().map(|rank| (*rank, all.clone())).collect::<Vec<_>>())
    });
    registry.insert_fn("refuses", 1, |_: Applied<'_, ()>, _: Vec<(Rank, u32)>| {
        Err::<Vec<(Rank, u32)>, _>("the accountant says no")
    });
    // Outputs are those of the parameters, right or wrong.
    registry.insert_fn("returns", 1, |call: Applied<'_, Vec<u32>>, _: Vec<(Rank, u32)>| {
        Ok::<_, String>(call.parameters.into_iter().map(|rank| (Rank::new(rank), rank)).collect::<Vec<_>>())
    });
    registry
}

fn call<P: Serialize, I: Serialize>(
    name: &'static str,
    version: u32,
    group: Group<'static>,
    p: P,
    i: I,
) -> Ask<'static> {
    Ask {
        call: Call::User { name, version, group },
        datatype: Datatype::Object,
        parts: vec![postcard::to_allocvec(&TypedInput(p, i)).unwrap()],
        varied: false,
        receive: Receive::AtMost(1 << 30),
    }
}

fn scaled(group: Group<'static>, factor: u32, values: Vec<u32>) -> Ask<'static> {
    call("scaled", 2, group, factor, values)
}

fn pairs(rank: u32) -> Ask<'static> {
    call("pairs", 1, PAIRS, (), rank)
}

fn world(size: u32) -> World {
    World::with(hub::Config::new(size), registry(), |_, _| {})
}

fn value<T: serde::de::DeserializeOwned>(outcome: &Outcome) -> T {
    postcard::from_bytes(&outcome.bytes()).unwrap()
}

/// A communicator of some ranks of the world, in the opposite order.
fn backwards(world: &mut World, is_in: impl Fn(u32) -> bool) -> Vec<CommunicatorId> {
    let outcomes = world.all(|rank| {
        let request = SplitRequest { color: is_in(rank).then_some(Color::Number(0)), key: -(rank as i32) };
        Ask { datatype: Datatype::Object, ..ask(Call::Split, request.to_bytes().to_vec(), SplitResult::LEN) }
    });
    let place = |outcome: &Outcome| {
        let SplitResult { id, rank, size } = SplitResult::from_bytes(outcome.bytes().try_into().expect("16 bytes"));
        CommunicatorId { id, rank, size }
    };
    outcomes.iter().map(place).collect()
}

#[track_caller]
fn all_fail(world: &World, requests: &[RequestId], category: Category, words: &[&str]) {
    for (rank, request) in requests.iter().enumerate() {
        let (fault, text) = world.outcome(rank, *request).fault();
        assert_eq!(fault.category, category, "rank {rank}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "rank {rank}: {text}");
    }
}

#[test]
fn pairs_of_ranks_are_added() {
    let mut world = world(4);
    let outcomes = world.all(pairs);
    assert_eq!(value::<u32>(&outcomes[0]), 1);
    assert_eq!(value::<u32>(&outcomes[2]), 5);
    assert!(matches!((&outcomes[1], &outcomes[3]), (Outcome::Done { .. }, Outcome::Done { .. })));
    world.assert_idle();
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let mut world = world(2);
    let requests = [0, 1].map(|rank| world.ask(rank, call("piars", 1, ALL, (), 1)));
    world.settle();
    let words = ["\"piars\"", "pairs", "scaled", "refuses", "returns"];
    all_fail(&world, &requests, Category::UnknownOperation, &words);
    world.assert_usable();
    let mut empty = World::new(1);
    let request = empty.ask(0, call("piars", 1, ALL, (), 1));
    empty.settle();
    all_fail(&empty, &[request], Category::UnknownOperation, &["nothing is registered"]);
}

#[test]
fn another_version_is_refused_with_both() {
    let mut world = world(2);
    let requests = [0, 1].map(|rank| world.ask(rank, call("scaled", 3, ALL, 1, vec![1])));
    world.settle();
    all_fail(&world, &requests, Category::UnknownOperation, &["version 2", "version 3"]);
    world.assert_usable();
}

#[test]
fn ranks_with_different_versions_do_not_agree() {
    let mut world = world(2);
    let requests = [2, 3].map(|version| world.ask(version as usize - 2, call("scaled", version, ALL, 1, vec![1])));
    world.settle();
    all_fail(&world, &requests, Category::Mismatch, &["version 2", "version 3"]);
    world.assert_usable();
}

#[test]
fn an_error_reaches_every_participant_those_who_only_give_too() {
    let mut world = world(4);
    let requests = [0, 1, 2, 3].map(|rank| world.ask(rank, call("refuses", 1, PAIRS, (), 1)));
    world.settle();
    all_fail(&world, &requests, Category::Remote, &["\"refuses\"", "the accountant says no"]);
    world.assert_usable();
}

/// An error of the user's own; its text says what its field is.
#[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
struct Refusal(Vec<u8>);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes are too many", self.0.len())
    }
}

/// A world whose ranks 1 and 2 take small frames; the parameter says how long the error is.
fn refusing() -> World {
    let mut registry = Registry::new();
    registry.insert_fn("refuse", 1, |call: Applied<'_, u16>, _: Vec<(Rank, ())>| {
        Err::<Vec<(Rank, ())>, _>(Refusal(vec![0xff; call.parameters.into()]))
    });
    World::with(hub::Config::new(3), registry, |rank, config| {
        config.max_payload = [1 << 18, 200, 64][rank as usize];
    })
}

#[test]
fn an_error_of_the_users_own_reaches_whoever_has_room_for_it_and_its_text_everybody() {
    let mut world = refusing();
    // One that fits all, two that do not, and one that is longer than any reason.
    for (len, receivers) in [(3u16, 3), (100, 2), (1000, 1), (4096, 0)] {
        let requests = [0, 1, 2].map(|rank| world.ask(rank, call("refuse", 1, ALL, len, ())));
        world.settle();
        let text = format!("operation \"refuse\" failed: {len} bytes are too many");
        for (rank, request) in requests.into_iter().enumerate() {
            let (fault, said) = world.outcome(rank, request).fault();
            assert_eq!(fault, edgempi_core::Fault::new(Category::Remote));
            assert_eq!(said, text, "rank {rank}");
            let error = &world.nodes[rank].errors[&request];
            let decoded = (!error.is_empty()).then(|| postcard::from_bytes::<Refusal>(error).unwrap());
            let expected = (rank < receivers).then(|| Refusal(vec![0xff; len.into()]));
            assert_eq!(decoded, expected, "rank {rank}, {len} bytes");
        }
        world.assert_usable();
    }
}

/// Where both do not fit, the error is worth more than the places of the calls.
#[test]
fn an_error_of_the_users_own_is_not_given_up_for_lines() {
    let mut world = refusing();
    for node in &mut world.nodes {
        node.site = Some("a_file_with_a_long_name.rs:100:20");
    }
    for (len, rank, with_places) in [(3u16, 0, true), (3, 1, true), (100, 0, true), (100, 1, false), (4000, 0, false)] {
        let requests = [0, 1, 2].map(|rank| world.ask(rank, call("refuse", 1, ALL, len, ())));
        world.settle();
        let (_, said) = world.outcome(rank, requests[rank]).fault();
        let own = format!("operation \"refuse\" failed: {len} bytes are too many");
        let places = "; ranks 0, 1, 2 call it at a_file_with_a_long_name.rs:100:20";
        assert_eq!(said, if with_places { own + places } else { own }, "rank {rank}, {len} bytes");
        let error = &world.nodes[rank].errors[&requests[rank]];
        assert_eq!(postcard::from_bytes::<Refusal>(error).unwrap(), Refusal(vec![0xff; len.into()]), "rank {rank}");
    }
}

#[test]
fn a_late_participant_gets_the_error_of_the_users_own_too() {
    const TO_ALL: Group<'static> = Group::new(&[R0], &[R0, R1, R2]);
    let mut world = refusing();
    let early = world.ask(0, call("refuse", 1, TO_ALL, 5u16, ()));
    world.settle();
    assert!(world.is_done(0, early));
    let late = [1, 2].map(|rank| {
        let ask = call("refuse", 1, TO_ALL, 5u16, ());
        world.ask(rank, Ask { parts: Vec::new(), ..ask })
    });
    world.settle();
    for (rank, request) in [(0, early), (1, late[0]), (2, late[1])] {
        let error = &world.nodes[rank].errors[&request];
        assert_eq!(postcard::from_bytes::<Refusal>(error).unwrap(), Refusal(vec![0xff; 5]), "rank {rank}");
    }
    world.assert_usable();
}

#[test]
fn a_panic_fails_its_operation_on_every_participant_and_nothing_else() {
    let mut world = world(4);
    let requests = [0, 1, 2, 3].map(|rank| world.ask(rank, pairs(rank as u32)));
    let mut tickets = Vec::new();
    for _ in 0..20 {
        for rank in 0..4 {
            world.step_node(rank);
        }
        while let Some(work) = world.hub.poll_work() {
            assert!(work.is_user_code() && work.size() > 0);
            tickets.push(work.ticket());
        }
    }
    let [ticket] = <[_; 1]>::try_from(tickets).unwrap();
    assert!(requests.iter().enumerate().all(|(rank, request)| !world.is_done(rank, *request)));
    let done = ticket.panicked("index out of bounds");
    world.hub.finish_work(world.now, done);
    world.settle();
    all_fail(&world, &requests, Category::Remote, &["\"pairs\" panicked", "index out of bounds"]);
    world.assert_usable();
    assert_eq!(value::<u32>(&world.all(pairs)[2]), 5);
}

#[test]
fn work_that_comes_back_after_its_operation_was_given_up_is_forgotten() {
    let mut world = world(4);
    let requests = [0, 1, 2, 3].map(|rank| world.ask(rank, pairs(rank as u32)));
    let mut taken = None;
    for _ in 0..20 {
        for rank in 0..4 {
            world.step_node(rank);
        }
        taken = taken.or_else(|| world.hub.poll_work());
    }
    world.cancel(1, requests[1]);
    world.settle();
    assert_eq!(world.outcome(0, requests[0]).fault().0.category, Category::Cancelled);
    let done = taken.unwrap().run();
    world.hub.finish_work(world.now, done);
    world.settle();
    world.assert_usable();
}

#[test]
fn outputs_that_do_not_fit_the_destinations_fail() {
    let cases: [(&[u32], &str); 3] = [
        (&[0, 2, 1], "output for rank 1, which is no destination"),
        (&[0], "no output for rank 2"),
        (&[0, 2, 0], "two outputs for rank 0"),
    ];
    for (outputs, text) in cases {
        let mut world = world(4);
        let requests = [0, 1, 2, 3].map(|rank| world.ask(rank, call("returns", 1, PAIRS, outputs.to_vec(), 1)));
        world.settle();
        all_fail(&world, &requests, Category::Remote, &[text]);
        world.assert_usable();
    }
}

#[test]
fn different_parameters_are_an_error() {
    let mut world = world(2);
    let requests = [0, 1].map(|rank| world.ask(rank, scaled(ALL, rank as u32, vec![1])));
    world.settle();
    all_fail(&world, &requests, Category::Remote, &["ranks 0 and 1 gave different parameters"]);
    world.assert_usable();
}

#[test]
fn inputs_that_do_not_decode_are_an_error_that_names_the_rank() {
    for (len, reason) in [(3, "does not decode: "), (9, "does not decode: 4 bytes are left over")] {
        let mut world = world(2);
        let requests = [0, 1].map(|rank| {
            let mut ask = scaled(ALL, 1, vec![1, 2, 3]);
            assert_eq!(ask.parts[0].len(), 5);
            if rank == 1 {
                ask.parts[0].resize(len, 0);
            }
            world.ask(rank, ask)
        });
        world.settle();
        all_fail(&world, &requests, Category::Remote, &["the input of rank 1", reason]);
        world.assert_usable();
    }
}

#[test]
fn several_run_at_once_and_in_any_order() {
    let mut world = world(4);
    let mut requests = Vec::new();
    for round in 0..6_u32 {
        for rank in 0..4 {
            requests.push((round, rank, world.ask(rank, scaled(ALL, round, vec![rank as u32]))));
            requests.push((round + 100, rank, world.ask(rank, pairs(rank as u32 + round))));
        }
    }
    let mut works = Vec::new();
    for _ in 0..100 {
        for rank in 0..4 {
            world.step_node(rank);
        }
        works.extend(std::iter::from_fn(|| world.hub.poll_work()));
    }
    assert_eq!(works.len(), 12);
    for work in works.into_iter().rev() {
        let done = work.run();
        world.hub.finish_work(world.now, done);
    }
    world.settle();
    for (round, rank, request) in requests {
        let outcome = world.outcome(rank, request);
        match round.checked_sub(100) {
            None => assert_eq!(value::<Vec<u32>>(&outcome), [0, round, 2 * round, 3 * round]),
            Some(round) if rank % 2 == 0 => assert_eq!(value::<u32>(&outcome), 2 * rank as u32 + 1 + 2 * round),
            Some(_) => assert!(matches!(outcome, Outcome::Done { .. })),
        }
    }
    world.assert_idle();
}

#[test]
fn ranks_outside_the_group_are_not_needed() {
    const SOME: Group<'static> = Group::new(&[R3, R1], &[R1]);
    let mut world = world(4);
    let requests = [(3, world.ask(3, scaled(SOME, 10, vec![3]))), (1, world.ask(1, scaled(SOME, 10, vec![1])))];
    world.settle();
    assert_eq!(value::<Vec<u32>>(&world.outcome(1, requests[1].1)), [30, 10], "in the group's order");
    assert!(world.is_done(3, requests[0].1));
    let refused = world.nodes[0].ask(scaled(SOME, 10, vec![0])).unwrap_err();
    assert_eq!(refused.category, Category::InvalidArgument);
    world.assert_usable();
}

#[test]
fn a_group_names_ranks_by_their_numbers_in_the_communicator() {
    const SOME: Group<'static> = Group::new(&[R2, R0], &[R0]);
    let mut world = world(4);
    // Ranks 3, 2 and 1 of the world, in this order.
    let places = backwards(&mut world, |rank| rank > 0);
    let giver = world.ask_on(1, places[1], scaled(SOME, 10, vec![1]));
    world.settle();
    assert!(!world.is_done(1, giver));
    let both = world.ask_on(3, places[3], scaled(SOME, 10, vec![3]));
    world.settle();
    assert_eq!(value::<Vec<u32>>(&world.outcome(3, both)), [10, 30], "in the group's order");
    assert_eq!(world.outcome(1, giver).bytes(), b"");

    // What the function gets and returns is named so, too.
    let places = backwards(&mut world, |_| true);
    let requests = [0, 1, 2, 3].map(|rank| world.ask_on(rank, places[rank], pairs(rank as u32)));
    world.settle();
    assert_eq!(value::<u32>(&world.outcome(3, requests[3])), 3 + 2);
    assert_eq!(value::<u32>(&world.outcome(1, requests[1])), 1);
    world.assert_usable();
}

#[test]
fn a_destination_that_gives_nothing_receives() {
    const TO_ONE: Group<'static> = Group::new(&[R0], &[R1]);
    for late in [false, true] {
        let mut world = world(2);
        let taker = || Ask { parts: Vec::new(), ..scaled(TO_ONE, 0, vec![]) };
        let early = (!late).then(|| world.ask(1, taker()));
        let giver = world.ask(0, scaled(TO_ONE, 7, vec![6]));
        world.settle();
        assert!(world.is_done(0, giver), "a late receiver holds nobody up");
        let request = early.unwrap_or_else(|| world.ask(1, taker()));
        world.settle();
        assert_eq!(value::<Vec<u32>>(&world.outcome(1, request)), [42]);
        world.assert_idle();
    }
}

#[test]
fn a_source_without_any_destination_waits_until_the_function_has_returned() {
    const SINK: Group<'static> = Group::new(&[R1, R0], &[]);
    let mut world = world(3);
    let requests = [0, 1].map(|rank| world.ask(rank, scaled(SINK, 1, vec![5; 10 + rank])));
    // Everything but the function.
    while (0..3).fold(false, |moved, rank| world.step_node(rank) | world.transmit_down(rank) | moved) {}
    assert!([0, 1].iter().all(|rank| !world.is_done(*rank, requests[*rank])), "it has not returned");
    world.settle();
    assert!([0, 1].iter().all(|rank| matches!(world.outcome(*rank, requests[*rank]), Outcome::Done { .. })));
    world.assert_usable();
    // And hears whether it has failed.
    let requests = [0, 1].map(|rank| world.ask(rank, call("refuses", 1, SINK, (), 1)));
    world.settle();
    all_fail(&world, &requests, Category::Remote, &["\"refuses\"", "the accountant says no"]);
    world.assert_usable();
}

#[test]
fn large_inputs_and_outputs_cross_many_windows() {
    let mut config = hub::Config::new(3);
    (config.max_payload, config.window, config.queue_size) = (1024, 2048, 2048);
    let mut world = World::with(config, registry(), |rank, config| {
        config.max_payload = 512;
        config.receive_window = if rank == 0 { 300 } else { u32::MAX };
    });
    let input = |rank: u32| -> Vec<u32> { (0..4000).map(|k| k * 5 + rank).collect() };
    let expected: Vec<u32> = (0..3).flat_map(input).map(|value| value * 3).collect();
    let outcomes = world.all(|rank| scaled(ALL, 3, input(rank)));
    for outcome in outcomes {
        assert!(value::<Vec<u32>>(&outcome) == expected);
    }
    world.assert_usable();
}

#[test]
fn an_output_larger_than_a_message_may_be_fails_on_everybody() {
    let mut config = hub::Config::new(2);
    config.max_message = 1000;
    let mut world = World::with(config, registry(), |_, _| {});
    let requests = [0, 1].map(|rank| world.ask(rank, scaled(ALL, 1, vec![u32::MAX; 150])));
    world.settle();
    for (rank, request) in requests.into_iter().enumerate() {
        let (fault, text) = world.outcome(rank, request).fault();
        assert_eq!((fault.category, fault.max), (Category::TooLarge, 1000), "{text}");
    }
    world.assert_usable();
}

#[test]
fn a_death_fails_a_group_that_holds_it_and_leaves_others_alone() {
    const WITHOUT: Group<'static> = Group::new(&[R0, R1], &[R0, R1]);
    let mut world = world(4);
    let with = world.ask(0, pairs(0));
    world.settle();
    world.kill(3);
    world.settle();
    assert_eq!(world.outcome(0, with).fault().0.category, Category::RankFailed);
    let requests = [0, 1].map(|rank| world.ask(rank, scaled(WITHOUT, 2, vec![rank as u32])));
    let (sent, receive) = (world.ask(2, send(1, 0, "on")), world.ask(1, recv(2, 0, 2)));
    world.settle();
    assert_eq!(value::<Vec<u32>>(&world.outcome(0, requests[0])), [0, 2]);
    assert!(world.is_done(2, sent));
    assert_eq!(world.outcome(1, receive).bytes(), b"on");
}
