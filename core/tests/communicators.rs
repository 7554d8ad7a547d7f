//! Communicators made by split: who is in them, that their calls never meet, and when they are forgotten.

mod world;

use std::time::Duration;

use edgempi_core::request::{CommunicatorId, Receive};
use edgempi_core::wire::RankKind;
use edgempi_core::{
    Call, Category, Color, Datatype, Rank, ReduceOp, Source, SplitRequest, SplitResult, Tag, TagSelector, hub,
};
use world::{Ask, Outcome, World};

const WORLD: u64 = 0;

fn ask(call: Call<'static>, send: Vec<u8>, receive: Receive) -> Ask<'static> {
    Ask { call, datatype: Datatype::U8, parts: vec![send], varied: false, receive }
}

fn split(color: Option<u32>, key: i32) -> Ask<'static> {
    split_by(color.map(Color::Number), key)
}

fn split_by(color: Option<Color>, key: i32) -> Ask<'static> {
    let bytes = SplitRequest { color, key }.to_bytes().to_vec();
    Ask { datatype: Datatype::Object, ..ask(Call::Split, bytes, Receive::Exactly(SplitResult::LEN)) }
}

fn free() -> Ask<'static> {
    Ask { datatype: Datatype::Object, parts: vec![], ..ask(Call::Free, vec![], Receive::Exactly(0)) }
}

/// What a split has come to.
fn place(bytes: Vec<u8>) -> CommunicatorId {
    let SplitResult { id, rank, size } = SplitResult::from_bytes(bytes.try_into().expect("16 bytes"));
    CommunicatorId { id, rank, size }
}

/// Has every rank split the world, and gives each one's place.
fn split_world(world: &mut World, request: impl Fn(u32) -> (Option<u32>, i32)) -> Vec<CommunicatorId> {
    let outcomes = world.all(|rank| {
        let (color, key) = request(rank);
        split(color, key)
    });
    outcomes.iter().map(|outcome| place(outcome.bytes())).collect()
}

/// Has every rank split again what it is in.
fn split_again(
    world: &mut World,
    places: &[CommunicatorId],
    again: impl Fn(usize) -> Ask<'static>,
) -> Vec<CommunicatorId> {
    let requests: Vec<_> = (0..places.len()).map(|rank| world.ask_on(rank, places[rank], again(rank))).collect();
    world.settle();
    requests.iter().enumerate().map(|(rank, request)| place(world.outcome(rank, *request).bytes())).collect()
}

fn sum() -> Call<'static> {
    Call::Allreduce { op: ReduceOp::Sum }
}

#[test]
fn ranks_of_one_color_are_ordered_by_key_then_by_rank() {
    let mut world = World::new(6);
    let places = split_world(&mut world, |rank| match rank {
        5 => (None, 0),
        _ => (Some(rank % 2), if rank == 4 { -1 } else { 0 }),
    });
    let of = |rank: usize| (places[rank].rank.get(), places[rank].size);
    assert_eq!([of(0), of(2), of(4)], [(1, 3), (2, 3), (0, 3)], "colour 0: rank 4 has the least key");
    assert_eq!([of(1), of(3)], [(0, 2), (1, 2)]);
    assert_eq!(of(5), (0, 0), "no colour, no communicator");
    assert_eq!(places[0].id, places[4].id);
    assert!(places[0].id != places[1].id && places[0].id != WORLD && places[1].id != WORLD);
}

#[test]
fn calls_on_several_communicators_at_once_never_meet() {
    let mut world = World::new(5);
    let halves = split_world(&mut world, |rank| (Some(rank % 2), -(rank as i32)));
    let copies = split_world(&mut world, |_| (Some(0), 0));
    let mut requests = Vec::new();
    for rank in 0..5 {
        let send = |value: u8| ask(sum(), vec![value; 3000], Receive::Exactly(3000));
        let on_half = world.ask_on(rank, halves[rank], send(1));
        let on_copy = world.ask_on(rank, copies[rank], send(rank as u8));
        let on_world = world.ask(rank, send(2));
        requests.push([on_half, on_copy, on_world]);
    }
    world.settle();
    for (rank, [half, copy, all]) in requests.into_iter().enumerate() {
        assert_eq!(world.outcome(rank, half).bytes(), [if rank % 2 == 0 { 3 } else { 2 }; 3000]);
        assert_eq!(world.outcome(rank, copy).bytes(), [1 + 2 + 3 + 4; 3000]);
        assert_eq!(world.outcome(rank, all).bytes(), [10; 3000]);
    }
}

#[test]
fn messages_roots_and_blocks_go_by_the_ranks_of_the_communicator() {
    let mut world = World::new(4);
    // Reversed: rank 0 of the new communicator is rank 3 of the world.
    let places = split_world(&mut world, |rank| (Some(7), -(rank as i32)));
    let send = Call::Send { dest: Rank::new(0), tag: Tag(5) };
    let recv = Call::Recv { source: Source::Any, tag: TagSelector::Any };
    let probe = Call::Probe { source: Source::Any, tag: TagSelector::Any };
    for len in [8, 300_000] {
        let looking = world.ask_on(3, places[3], Ask { parts: vec![], ..ask(probe, vec![], Receive::Exactly(0)) });
        let sent = world.ask_on(1, places[1], ask(send, vec![1; len], Receive::Exactly(0)));
        world.settle();
        let came = world.ask_on(3, places[3], Ask { parts: vec![], ..ask(recv, vec![], Receive::AtMost(len)) });
        world.settle();
        world.outcome(1, sent).bytes();
        for (request, bytes) in [(looking, Vec::new()), (came, vec![1; len])] {
            match world.outcome(3, request) {
                Outcome::Done { status, parts } => {
                    assert_eq!((status.source, status.tag, status.bytes), (Rank::new(2), Tag(5), len));
                    assert!(parts.concat() == bytes);
                }
                failed => panic!("{failed:?}"),
            }
        }
    }

    let gather = Call::Gather { root: Rank::new(1) };
    let requests: Vec<_> = (0..4)
        .map(|rank| {
            let receive = Receive::Exactly(if places[rank].rank == 1 { 8 } else { 0 });
            world.ask_on(rank, places[rank], ask(gather, vec![rank as u8; 2], receive))
        })
        .collect();
    world.settle();
    let root = (0..4).find(|rank| places[*rank].rank == 1).expect("somebody is the root");
    match world.outcome(root, requests[root]) {
        Outcome::Done { parts, .. } => assert_eq!(parts, [vec![3, 3], vec![], vec![1, 1], vec![0, 0]]),
        failed => panic!("{failed:?}"),
    }
}

#[test]
fn a_split_of_a_split_works_and_the_same_calls_give_the_same_numbers() {
    let places = || {
        let mut world = World::new(4);
        let halves = split_world(&mut world, |rank| (Some(rank / 2), 0));
        let again = split_again(&mut world, &halves, |rank| split(Some(0), -(rank as i32)));
        let send = |rank: usize| ask(Call::Allgather, vec![rank as u8], Receive::Exactly(2));
        let requests: Vec<_> = (0..4).map(|rank| world.ask_on(rank, again[rank], send(rank))).collect();
        world.settle();
        for (rank, request) in requests.into_iter().enumerate() {
            // The own block stays at home.
            assert_eq!(world.outcome(rank, request).bytes(), [rank as u8 ^ 1]);
        }
        again
    };
    let first = places();
    assert_eq!(first, places(), "another life of the hub finds the same numbers");
    assert_eq!(first.iter().map(|place| place.rank.get()).collect::<Vec<_>>(), [1, 0, 1, 0]);
    assert_ne!(first[0].id, first[2].id);
}

#[test]
fn what_a_rank_gave_before_it_freed_its_communicator_arrives() {
    let mut world = World::new(3);
    let places = split_world(&mut world, |_| (Some(0), 0));
    let bcast = |send, receive| ask(Call::Bcast { root: Rank::new(0) }, send, receive);
    world.ask_on(0, places[0], bcast(vec![7; 5], Receive::Exactly(0)));
    let early = world.ask_on(1, places[1], bcast(vec![], Receive::Exactly(5)));
    world.settle();
    for rank in [0, 1] {
        world.ask_on(rank, places[rank], free());
    }
    world.settle();
    let late = world.ask_on(2, places[2], bcast(vec![], Receive::Exactly(5)));
    world.settle();
    for (rank, request) in [(1, early), (2, late)] {
        assert_eq!(world.outcome(rank, request).bytes(), [7; 5]);
    }
}

#[test]
fn a_call_on_a_communicator_that_the_rank_is_not_in_ends_its_link() {
    let mut world = World::new(3);
    let places = split_world(&mut world, |rank| ((rank < 2).then_some(0), 0));
    world.ask_on(2, places[0], ask(Call::Barrier, vec![], Receive::Exactly(0)));
    world.settle();
    let (fault, text) = world.nodes[2].rejected.clone().expect("the hub lets it go");
    assert_eq!(fault.category, Category::Protocol);
    assert!(text.contains("communicator that the rank is not in"), "{text}");
}

#[test]
fn whoever_waits_on_a_communicator_that_another_has_freed_is_told() {
    let mut world = World::new(2);
    let places = split_world(&mut world, |_| (Some(0), 0));
    let waiting = world.ask_on(0, places[0], ask(Call::Barrier, vec![], Receive::Exactly(0)));
    let recv = Call::Recv { source: Source::Any, tag: TagSelector::Any };
    let receiving = world.ask_on(0, places[0], Ask { parts: vec![], ..ask(recv, vec![], Receive::AtMost(9)) });
    world.settle();
    assert!(!world.is_done(0, waiting));
    world.ask_on(1, places[1], free());
    world.settle();
    world.wait(Duration::from_secs(2));
    let (fault, text) = world.outcome(0, waiting).fault();
    assert_eq!((fault.category, fault.rank), (Category::RankFinished, Rank::new(1)));
    assert!(text.contains("rank 1 has freed the communicator"), "{text}");
    assert!(!world.is_done(0, receiving), "it may send to itself");
    assert_eq!(
        world.lines(),
        [
            "rank 0 waits in recv(from any rank, any tag) among ranks 0, 1, and nobody but rank 0 could send to it: rank 1 has \
          freed the communicator and takes part in nothing on it any more"
        ]
    );
    let late = world.ask_on(0, places[0], ask(Call::Barrier, vec![], Receive::Exactly(0)));
    world.settle();
    assert_eq!(world.outcome(0, late).fault().0.category, Category::RankFinished);
}

#[test]
fn of_the_messages_that_a_rank_keeps_only_those_of_a_communicator_that_it_frees_are_let_go() {
    let mut world = World::new(2);
    let places = split_world(&mut world, |_| (Some(0), 0));
    let all = CommunicatorId { id: WORLD, rank: Rank::new(0), size: 2 };
    let (tag, source) = (Tag(5), Source::Rank(Rank::new(0)));
    let mut sends = Vec::new();
    for (number, from) in [(1, all), (2, places[0])] {
        let to = CommunicatorId { rank: Rank::new(1), ..from };
        sends.push(world.ask_on(
            0,
            from,
            ask(Call::Ssend { dest: Rank::new(1), tag }, vec![7; 3], Receive::Exactly(0)),
        ));
        let keep = Call::Mprobe { source, tag: TagSelector::Tag(tag), message: number };
        let probe = world.ask_on(1, to, Ask { parts: vec![], ..ask(keep, vec![], Receive::Exactly(0)) });
        world.settle();
        assert!(world.is_done(1, probe));
    }
    world.ask_on(1, places[1], free());
    world.settle();
    assert!(matches!(world.outcome(0, sends[1]), Outcome::Done { .. }), "a probe had taken it");
    assert!(!world.is_done(0, sends[0]));
    let receive = Call::Mrecv { message: 1 };
    let receive = world.ask(1, Ask { parts: vec![], ..ask(receive, vec![], Receive::AtMost(9)) });
    world.settle();
    assert_eq!(world.outcome(1, receive).bytes(), [7; 3]);
    world.assert_usable();
}

#[test]
fn communicators_are_forgotten_once_all_have_freed_them() {
    let mut config = hub::Config::new(2);
    config.max_communicators = 4;
    let mut world = World::with(config, hub::Registry::new(), |_, _| {});
    for _ in 0..20 {
        let places = split_world(&mut world, |_| (Some(0), 0));
        for (rank, place) in places.into_iter().enumerate() {
            world.ask_on(rank, place, free());
        }
        world.settle();
    }
    let held: Vec<_> = (0..3).map(|_| split_world(&mut world, |_| (Some(0), 0))).collect();
    let outcomes = world.all(|_| split(Some(0), 0));
    let (fault, text) = outcomes[0].fault();
    assert_eq!((fault.category, fault.len, fault.max), (Category::TooLarge, 5, 4), "{text}");
    drop(held);
}

#[test]
fn a_rank_that_dies_takes_its_communicators_along() {
    let mut config = hub::Config::new(3);
    config.max_communicators = 2;
    let mut world = World::with(config, hub::Registry::new(), |_, _| {});
    let places = split_world(&mut world, |rank| ((rank > 0).then_some(0), 0));
    let waiting = world.ask_on(1, places[1], ask(sum(), vec![1], Receive::Exactly(1)));
    world.settle();
    let peer = world.nodes[2].peer;
    world.hub.disconnect(world.now, peer);
    world.settle();
    assert_eq!(world.outcome(1, waiting).fault().0.category, Category::RankFailed);
}

#[test]
fn ranks_part_by_kind_which_the_hub_knows() {
    let config = hub::Config::new(5);
    let kinds = [RankKind::Host, RankKind::Board, RankKind::Host, RankKind::Virtual, RankKind::Board];
    let mut world = World::with(config, hub::Registry::new(), |rank, config| config.kind = kinds[rank as usize]);
    let outcomes = world.all(|_| split_by(Some(Color::Kind), 0));
    let places: Vec<_> =
        outcomes.iter().map(|outcome| SplitResult::from_bytes(outcome.bytes().try_into().expect("16 bytes"))).collect();
    let shape: Vec<_> = places.iter().map(|place| (place.rank.get(), place.size)).collect();
    assert_eq!(shape, [(0, 2), (0, 2), (1, 2), (0, 1), (1, 2)]);
    assert_eq!((places[0].id, places[1].id), (places[2].id, places[4].id));

    // Of the two ranks 1 and 2 of the world, which are ranks 0 and 1 of their communicator.
    let parts = split_world(&mut world, |rank| (Some(u32::from((1..3).contains(&rank))), 0));
    let alone = split_again(&mut world, &parts, |_| split_by(Some(Color::Kind), 0));
    assert_eq!([alone[1].size, alone[2].size], [1, 1]);
}

#[test]
fn all_of_a_colour_of_16_bytes_counts() {
    let mut world = World::new(4);
    let outcomes = world.all(|rank| {
        let mut text = [7; 16];
        text[if rank == 1 { 0 } else { 15 }] = u8::from(rank > 0);
        split_by(Some(Color::Text(text)), 0)
    });
    let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.bytes()[..8].to_vec()).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    assert_eq!(ids[2], ids[3]);
}

#[test]
fn ranks_that_split_by_different_things_are_told_so() {
    let mut world = World::new(3);
    let outcomes = world.all(|rank| match rank {
        0 => split_by(None, 0),
        1 => split_by(Some(Color::Number(1)), 0),
        _ => split_by(Some(Color::Kind), 0),
    });
    for outcome in outcomes {
        let (fault, text) = outcome.fault();
        assert_eq!(fault.category, Category::Mismatch);
        assert_eq!(
            text,
            "the ranks do not agree: rank 0 calls split(by no colour); rank 1 calls split(by colour); rank 2 calls \
             split(by kind of rank)"
        );
    }
    world.assert_usable();
}

#[test]
fn a_rank_asks_alone_who_is_in_a_communicator() {
    let mut world = World::new(4);
    let places = split_world(&mut world, |rank| (Some(rank % 2), -(rank as i32)));
    let members = |limit| Ask { datatype: Datatype::Object, parts: vec![], ..ask(Call::Members, vec![], limit) };
    let told = world.ask_on(3, places[3], members(Receive::Exactly(8)));
    let short = world.ask_on(3, places[3], members(Receive::AtMost(7)));
    let all = world.ask(0, members(Receive::Exactly(16)));
    world.settle();
    assert_eq!(world.outcome(3, told).bytes(), [3, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(world.outcome(0, all).bytes(), [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    let (fault, text) = world.outcome(3, short).fault();
    assert_eq!((fault.category, fault.len, fault.max), (Category::TooLarge, 8, 7), "{text}");
    // It is not counted among the collectives.
    world.assert_usable();
}

#[test]
fn a_list_of_members_that_no_frame_holds_is_refused() {
    let mut world = World::with(hub::Config::new(40), hub::Registry::new(), |_, config| config.max_payload = 64);
    let members =
        Ask { datatype: Datatype::Object, parts: vec![], ..ask(Call::Members, vec![], Receive::Exactly(160)) };
    let told = world.ask(0, members);
    world.settle();
    assert_eq!(world.outcome(0, told).fault().0.category, Category::TooLarge);
}

#[test]
fn what_a_split_says_is_read_as_it_was_written() {
    let text = *b"machine number 9";
    for color in [None, Some(Color::Number(u32::MAX)), Some(Color::Kind), Some(Color::Text(text))] {
        let request = SplitRequest { color, key: -3 };
        assert_eq!(SplitRequest::from_bytes(&request.to_bytes()), Some(request));
    }
    let golden = SplitRequest { color: Some(Color::Number(0x0102)), key: -1 }.to_bytes();
    assert_eq!(golden[..10], [1, 0, 0, 0, 255, 255, 255, 255, 2, 1]);
    assert_eq!(golden[10..], [0; 14]);
    let mut odd = golden;
    odd[20] = 1;
    assert_eq!(SplitRequest::from_bytes(&odd), None, "a number has four bytes");
    assert_eq!(SplitRequest::from_bytes(&golden[1..]), None);
}
