//! Ranks that die or finish: whoever needs them is told, and nobody hangs.

mod world;

use std::time::Duration;

use edgempi_core::endpoint::Config;
use edgempi_core::hub;
use edgempi_core::hub::{Hub, Registry};
use edgempi_core::wire::{Down, GoodbyeReason};
use edgempi_core::{
    ANY_SOURCE, ANY_TAG, Call, Category, Datatype, Instant, Rank, ReduceOp, RequestId, Source, Tag, TagSelector,
};
use world::{Ask, Outcome, Stranger, World, ask, barrier, bcast, recv, send, without_bytes, words};

/// A world in which a few thousand bytes are many frames.
fn small(size: u32) -> World {
    let mut config = hub::Config::new(size);
    (config.max_payload, config.window, config.queue_size) = (1024, 2048, 2048);
    World::with(config, Registry::new(), |_, config| config.max_payload = 512)
}

fn allreduce(rank: u32, len: u32) -> Ask<'static> {
    let call = Call::Allreduce { op: ReduceOp::Sum };
    Ask { datatype: Datatype::U32, ..ask(call, words((0..len).map(|k| rank + k)), len as usize * 4) }
}

#[track_caller]
fn assert_failed(world: &World, rank: usize, request: RequestId, category: Category, culprit: u32) {
    let (fault, text) = world.outcome(rank, request).fault();
    assert_eq!((fault.category, fault.rank), (category, Rank::new(culprit)), "{text}");
    assert!(text.contains(&format!("rank {culprit} ")), "{text}");
}

/// The rest of a world whose rank 2 is gone holds nothing.
fn assert_empty(world: &World) {
    let status = world.hub.status();
    assert_eq!((status.operations, status.queued, status.windows), (0, 0, 0), "{status:?}");
}

#[test]
fn a_death_fails_whoever_waits_in_a_collective() {
    let asks: [fn(u32) -> Ask<'static>; 5] = [
        |_| barrier(),
        |rank| bcast(rank, 2, vec![1; 9]),
        |rank| allreduce(rank, 4),
        |rank| allreduce(rank, 5000),
        |rank| ask(Call::Allgather, vec![rank as u8; 3000], 9000),
    ];
    for make in asks {
        let mut world = small(3);
        let requests = [world.ask(0, make(0)), world.ask(1, make(1))];
        world.settle();
        world.kill(2);
        world.settle();
        for (rank, request) in requests.into_iter().enumerate() {
            assert_failed(&world, rank, request, Category::RankFailed, 2);
        }
        // And whatever comes later fails at once.
        let late = world.ask(0, barrier());
        world.settle();
        assert_failed(&world, 0, late, Category::RankFailed, 2);
        let other = world.ask(1, barrier());
        world.settle();
        assert_failed(&world, 1, other, Category::RankFailed, 2);
        assert_empty(&world);
    }
}

#[test]
fn a_death_half_way_through_any_large_transfer_fails_the_others() {
    let asks: [fn(u32) -> Ask<'static>; 4] = [
        |rank| bcast(rank, 0, vec![1; 20_000]),
        |rank| allreduce(rank, 5000),
        |rank| ask(Call::Allgather, vec![rank as u8; 9000], 27_000),
        |rank| ask(Call::Gather { root: Rank::new(1) }, vec![rank as u8; 9000], if rank == 1 { 27_000 } else { 0 }),
    ];
    for make in asks {
        for steps in (1..60).step_by(3) {
            let mut world = small(3);
            let requests: Vec<_> = (0..3).map(|rank| world.ask(rank, make(rank as u32))).collect();
            for _ in 0..steps {
                world.step();
            }
            world.kill(2);
            world.settle();
            for (rank, request) in requests.into_iter().enumerate().take(2) {
                // What it was needed for may be over.
                if let Outcome::Failed { fault, text } = world.outcome(rank, request) {
                    assert_eq!((fault.category, fault.rank), (Category::RankFailed, Rank::new(2)), "{text}");
                }
            }
            assert_empty(&world);
        }
    }
}

#[test]
fn a_death_fails_messages_from_it_and_to_it() {
    for len in [5, 20_000] {
        let mut world = small(3);
        let receive = world.ask(0, recv(2, 0, len));
        let sent = world.ask(1, send(2, 0, vec![1; len]));
        let to_other = world.ask(1, send(0, 7, "kept"));
        world.settle();
        world.kill(2);
        world.settle();
        assert_failed(&world, 0, receive, Category::RankFailed, 2);
        assert_failed(&world, 1, sent, Category::RankFailed, 2);
        let (receive, sent) = (world.ask(0, recv(2, 0, len)), world.ask(0, send(2, 0, "late")));
        let kept = world.ask(0, recv(1, 7, 4));
        world.settle();
        assert_failed(&world, 0, receive, Category::RankFailed, 2);
        assert_failed(&world, 0, sent, Category::RankFailed, 2);
        assert_eq!(world.outcome(0, kept).bytes(), b"kept");
        assert!(world.is_done(1, to_other));
        assert_empty(&world);
    }
}

#[test]
fn a_death_half_way_through_a_message_fails_the_other_side() {
    for dying in [0, 1] {
        for steps in 1..40 {
            let mut world = small(2);
            let requests = [world.ask(0, send(1, 0, vec![7; 9000])), world.ask(1, recv(0, 0, 9000))];
            for _ in 0..steps {
                world.step();
            }
            world.kill(dying);
            world.settle();
            let other = 1 - dying;
            if let Outcome::Failed { fault, .. } = world.outcome(other, requests[other]) {
                assert_eq!((fault.category, fault.rank), (Category::RankFailed, Rank::new(dying as u32)));
            }
            assert_empty(&world);
        }
    }
}

#[test]
fn a_message_to_oneself_dies_with_its_rank() {
    for steps in 1..30 {
        let mut config = hub::Config::new(2);
        (config.max_payload, config.window, config.queue_size) = (1024, 2048, 2048);
        let mut world = World::with(config, Registry::new(), |_, config| {
            (config.max_payload, config.receive_window) = (512, 512);
        });
        world.ask(0, send(0, 0, vec![7; 9000]));
        world.ask(0, recv(0, 0, 9000));
        for _ in 0..steps {
            world.step();
        }
        world.kill(0);
        world.settle();
        assert_empty(&world);
    }
}

#[test]
fn a_whole_message_outlives_its_sender() {
    let mut world = small(2);
    world.ask(0, send(1, 0, "last words"));
    world.ask(0, send(1, 1, ""));
    world.settle();
    world.kill(0);
    world.settle();
    // A probe finds it, too.
    let (source, tag) = (Source::Rank(Rank::new(0)), TagSelector::Tag(Tag(0)));
    let probe = world.ask(1, without_bytes(Call::Probe { source, tag }));
    let receives = [world.ask(1, recv(0, 0, 10)), world.ask(1, recv(ANY_SOURCE, 1, 10))];
    world.settle();
    assert!(matches!(world.outcome(1, probe), Outcome::Done { status, .. } if status.bytes == 10));
    assert_eq!(world.outcome(1, receives[0]).bytes(), b"last words");
    assert_eq!(world.outcome(1, receives[1]).bytes(), b"");
    assert_empty(&world);
}

#[test]
fn a_message_of_which_only_the_beginning_came_dies_with_its_sender() {
    let mut world = small(2);
    world.ask(0, send(1, 0, vec![1; 9000]));
    world.settle();
    assert!(world.hub.status().queued > 0);
    world.kill(0);
    world.settle();
    assert_empty(&world);
    let receive = world.ask(1, recv(0, 0, 9000));
    world.settle();
    assert_failed(&world, 1, receive, Category::RankFailed, 0);
}

#[test]
fn no_message_takes_the_place_of_one_that_died_with_its_sender() {
    for source in [Source::Rank(Rank::new(0)), ANY_SOURCE] {
        let mut world = small(3);
        world.ask(0, send(1, 0, vec![1; 9000]));
        world.ask(0, send(1, 0, "short"));
        world.settle();
        world.kill(0);
        world.ask(2, send(1, 0, "of another"));
        world.settle();
        let receives = [source, source, Source::Rank(Rank::new(2))].map(|source| {
            let receive = world.ask(1, recv(source, 0, 9000));
            world.settle();
            receive
        });
        assert_failed(&world, 1, receives[0], Category::RankFailed, 0);
        assert_eq!(world.outcome(1, receives[1]).bytes(), b"short");
        assert_eq!(world.outcome(1, receives[2]).bytes(), b"of another");
        assert_empty(&world);
    }
}

#[test]
fn a_message_that_died_with_its_sender_is_forgotten_with_its_receiver() {
    let mut world = small(3);
    world.ask(0, send(1, 0, vec![1; 9000]));
    world.settle();
    world.kill(0);
    world.settle();
    world.kill(1);
    world.settle();
    assert_empty(&world);
}

#[test]
fn a_rank_that_finishes_fails_those_who_still_need_it() {
    let mut world = small(3);
    let requests = [world.ask(0, barrier()), world.ask(1, recv(2, 0, 1))];
    let sent = world.ask(0, send(2, 0, "unread"));
    world.settle();
    world.nodes[2].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    assert_failed(&world, 0, requests[0], Category::RankFinished, 2);
    assert_failed(&world, 1, requests[1], Category::RankFinished, 2);
    assert_failed(&world, 0, sent, Category::RankFinished, 2);
    let late = world.ask(1, barrier());
    world.settle();
    assert_failed(&world, 1, late, Category::RankFinished, 2);
    assert_empty(&world);
    assert_eq!((world.hub.status().finished, world.hub.status().alive), (1, 2));
}

#[test]
fn a_rank_that_goes_without_finalize_has_failed() {
    let mut world = small(3);
    let request = world.ask(0, barrier());
    world.settle();
    world.nodes[2].endpoint.leave(GoodbyeReason::Dropped);
    world.settle();
    assert_failed(&world, 0, request, Category::RankFailed, 2);
    assert!(world.outcome(0, request).fault().1.contains("finalize"));
    assert!(world.hub.wants_close(world.nodes[2].peer));
}

#[test]
fn leaving_waits_for_what_the_rank_still_sends() {
    let mut world = small(2);
    let sent = world.ask(0, send(1, 0, vec![3; 9000]));
    world.nodes[0].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    assert_eq!(world.hub.status().finished, 0);
    let receive = world.ask(1, recv(0, 0, 9000));
    world.settle();
    assert_eq!(world.outcome(1, receive).bytes(), vec![3; 9000]);
    assert!(world.is_done(0, sent));
    assert_eq!(world.hub.status().finished, 1);
}

#[test]
fn giving_up_is_said_at_once_in_the_middle_of_a_long_message_but_behind_calls_made_before() {
    const DATA: u8 = 11;
    let mut world = small(2);
    let requests = [0, 1].map(|rank| world.ask(rank, allreduce(rank as u32, 20_000)));
    while world.nodes[0].ups.iter().filter(|kind| **kind == DATA).count() < 3 {
        assert!(world.step());
    }
    let receive = world.ask(1, recv(0, 0, 4));
    world.ask(0, send(1, 0, "last"));
    world.nodes[0].endpoint.leave(GoodbyeReason::Dropped);
    let before = world.nodes[0].ups.len();
    world.settle();
    // A Submit, then Goodbye.
    assert_eq!(world.nodes[0].ups[before..], [9, 30]);
    assert_failed(&world, 1, requests[1], Category::RankFailed, 0);
    assert_eq!(world.outcome(1, receive).bytes(), b"last");
}

#[test]
fn leaving_does_not_wait_for_what_was_given_up() {
    let mut world = World::new(2);
    for _ in 0..1100 {
        // So many that the hub answers the last of them only once the other rank has called them, too.
        let request = world.ask(0, barrier());
        world.settle();
        world.cancel(0, request);
        world.settle();
    }
    assert!(world.nodes[0].endpoint.open_requests() > 0);
    world.nodes[0].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    assert_eq!(world.hub.status().finished, 1);
    let late = world.ask(1, barrier());
    world.settle();
    assert_failed(&world, 1, late, Category::Cancelled, 0);
}

#[test]
fn leaving_does_not_wait_for_receives_and_fails_who_is_sending_to_them() {
    let mut config = hub::Config::new(2);
    (config.max_payload, config.window, config.queue_size) = (1024, 2048, 2048);
    let mut world = World::with(config, Registry::new(), |_, config| {
        (config.max_payload, config.receive_window) = (512, 512);
    });
    world.ask(1, recv(0, 9, 5));
    world.ask(1, recv(0, 0, 9000));
    let sent = world.ask(0, send(1, 0, vec![3; 9000]));
    for _ in 0..12 {
        world.step();
    }
    assert!(!world.is_done(0, sent));
    world.nodes[1].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    assert_failed(&world, 0, sent, Category::RankFinished, 1);
    assert_empty(&world);
}

#[test]
fn results_reach_late_receivers_when_the_giver_has_finished() {
    let mut world = World::new(3);
    world.ask(0, bcast(0, 0, vec![4; 100]));
    world.ask(0, send(1, 2, "and this"));
    world.nodes[0].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    assert_eq!(world.hub.status().finished, 1);
    let requests = [world.ask(1, bcast(1, 0, vec![0; 100])), world.ask(2, bcast(2, 0, vec![0; 100]))];
    let receive = world.ask(1, recv(0, ANY_TAG, 8));
    world.settle();
    assert_eq!(world.outcome(1, requests[0]).bytes(), vec![4; 100]);
    assert_eq!(world.outcome(2, requests[1]).bytes(), vec![4; 100]);
    assert_eq!(world.outcome(1, receive).bytes(), b"and this");
    assert_empty(&world);
}

#[test]
fn a_receive_from_anybody_fails_once_everybody_is_gone_and_somebody_died() {
    for posted_early in [true, false] {
        let mut world = World::new(3);
        let early = posted_early.then(|| world.ask(0, recv(ANY_SOURCE, ANY_TAG, 1)));
        world.settle();
        world.kill(2);
        world.settle();
        assert!(early.is_none_or(|request| !world.is_done(0, request)), "rank 1 can still send");
        world.nodes[1].endpoint.leave(GoodbyeReason::Finished);
        world.settle();
        let request = early.unwrap_or_else(|| world.ask(0, recv(ANY_SOURCE, ANY_TAG, 1)));
        world.settle();
        assert!(!world.is_done(0, request), "rank 0 may send to itself");
        world.wait(Duration::from_secs(2));
        assert_failed(&world, 0, request, Category::RankFailed, 2);
        assert_empty(&world);
    }
}

/// One that another thread of the rank will serve, say: a correct program.
#[test]
fn a_receive_from_anybody_is_told_of_and_waits_if_all_others_have_finished() {
    let mut world = World::new(2);
    let request = world.ask(0, recv(ANY_SOURCE, 5, 1));
    world.nodes[1].endpoint.leave(GoodbyeReason::Finished);
    world.wait(Duration::from_secs(2));
    let another = world.ask(0, recv(ANY_SOURCE, 6, 1));
    world.wait(Duration::from_secs(20));
    assert_eq!(
        world.lines(),
        [
            "rank 0 waits in recv(from any rank, tag 5), and nobody but rank 0 could send to it: rank 1 has finalized and \
          takes part in nothing any more"
        ],
        "once"
    );
    for (receive, tag) in [(request, 5), (another, 6)] {
        assert!(!world.is_done(0, receive));
        world.ask(0, send(0, tag, [7]));
        world.settle();
        assert_eq!(world.outcome(0, receive).bytes(), [7]);
    }
    assert_empty(&world);
}

/// Whoever drains what is left asks until there is nothing.
#[test]
fn a_rank_may_look_whether_a_message_is_left_of_one_that_has_finished_but_not_of_one_that_has_died() {
    let ask = |world: &mut World, source: Source| {
        let request = world.ask(0, without_bytes(Call::Iprobe { source, tag: ANY_TAG }));
        world.settle();
        request
    };
    let mut world = World::new(3);
    world.nodes[1].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    let from_1 = Source::Rank(Rank::new(1));
    let looks = [ask(&mut world, from_1), ask(&mut world, ANY_SOURCE)];
    assert!(looks.iter().all(|look| matches!(world.outcome(0, *look), Outcome::Done { .. })));
    world.wait(Duration::from_secs(3));
    assert!(world.lines().is_empty());
    // Who asks now and then does not go on asking.
    let mut asks_for = |millis: &[u64]| {
        for pause in millis {
            let again = ask(&mut world, from_1);
            assert!(matches!(world.outcome(0, again), Outcome::Done { .. }));
            world.wait(Duration::from_millis(*pause));
        }
        world.lines()
    };
    assert!(asks_for(&[1100, 1100, 1100]).is_empty());
    assert_eq!(
        asks_for(&[400, 400, 400, 400, 400, 400]),
        [
            "rank 0 goes on asking in iprobe(from rank 1, any tag): rank 1 has finalized and takes part in nothing any more"
        ],
        "once"
    );
    // Whatever it asks for in turn.
    world.wait(Duration::from_secs(2));
    for source in [from_1, ANY_SOURCE].into_iter().cycle().take(8) {
        ask(&mut world, source);
        world.wait(Duration::from_millis(400));
    }
    assert_eq!(world.lines().len(), 1, "once more");
    world.kill(2);
    world.settle();
    for source in [Source::Rank(Rank::new(2)), ANY_SOURCE] {
        let look = ask(&mut world, source);
        assert_failed(&world, 0, look, Category::RankFailed, 2);
    }
    assert_empty(&world);
}

#[test]
fn a_rank_that_is_alone_receives_from_itself_whatever_comes_first() {
    let mut world = World::new(2);
    let early = world.ask(0, recv(ANY_SOURCE, ANY_TAG, 1));
    world.nodes[1].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    let late = world.ask(0, recv(ANY_SOURCE, ANY_TAG, 1));
    world.wait(Duration::from_millis(500));
    for (request, value) in [(early, 7), (late, 8)] {
        world.ask(0, send(0, 1, [value]));
        world.settle();
        assert!(matches!(world.outcome(0, request), Outcome::Done { .. }));
    }
    assert_empty(&world);
}

#[test]
fn every_receive_of_a_rank_that_is_alone_has_its_time() {
    let mut world = World::new(2);
    world.kill(1);
    world.settle();
    let first = world.ask(0, recv(ANY_SOURCE, ANY_TAG, 1));
    world.wait(Duration::from_millis(900));
    let second = world.ask(0, recv(ANY_SOURCE, ANY_TAG, 1));
    world.wait(Duration::from_millis(200));
    assert!(world.is_done(0, first) && !world.is_done(0, second));
    world.wait(Duration::from_secs(2));
    assert_failed(&world, 0, second, Category::RankFailed, 1);
    assert_empty(&world);
}

#[test]
fn a_receive_from_anybody_waits_although_the_first_of_the_others_is_gone() {
    let mut world = World::new(3);
    world.kill(1);
    world.settle();
    let request = world.ask(0, recv(ANY_SOURCE, ANY_TAG, 1));
    // Longer than a rank has that is alone.
    world.wait(Duration::from_secs(3));
    assert!(!world.is_done(0, request), "rank 2 can still send");
    let probe = world.ask(0, without_bytes(Call::Iprobe { source: ANY_SOURCE, tag: ANY_TAG }));
    world.settle();
    assert!(matches!(world.outcome(0, probe), Outcome::Done { .. }), "it may still find something");
    world.ask(2, send(0, 3, [7]));
    world.settle();
    assert_eq!(world.outcome(0, request).bytes(), [7]);
}

#[test]
fn of_a_rank_that_has_finished_and_one_that_has_failed_the_failure_is_told() {
    for first in [1, 2] {
        let mut world = World::new(3);
        for rank in [first, 3 - first] {
            match rank {
                1 => world.nodes[1].endpoint.leave(GoodbyeReason::Finished),
                _ => world.kill(2),
            }
            world.settle();
        }
        let request = world.ask(0, barrier());
        world.settle();
        assert_failed(&world, 0, request, Category::RankFailed, 2);
    }
}

#[test]
fn goodbye_comes_to_everybody_when_the_last_has_finished_and_not_earlier() {
    let mut world = World::new(3);
    for rank in 0..3 {
        assert!(!world.hub.is_over());
        assert!(world.nodes.iter().all(|node| node.goodbye.is_none()));
        world.nodes[rank].endpoint.leave(GoodbyeReason::Finished);
        world.settle();
    }
    assert!(world.hub.is_over());
    for node in &world.nodes {
        assert_eq!(node.goodbye, Some(GoodbyeReason::Finished));
        assert_eq!(node.downs.iter().filter(|kind| **kind == 30).count(), 1);
        assert!(world.hub.wants_close(node.peer));
    }
    for rank in 0..3 {
        world.kill(rank);
    }
    assert!(world.hub.is_deserted());
    assert_eq!(world.hub.status().finished, 3);
}

#[test]
fn a_world_is_over_when_the_rest_has_failed() {
    let mut world = World::new(2);
    world.nodes[0].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    assert!(!world.hub.is_over());
    world.kill(1);
    world.settle();
    assert_eq!(world.nodes[0].goodbye, Some(GoodbyeReason::Finished));
}

#[test]
fn why_a_rank_was_sent_away_is_the_last_that_it_hears() {
    let now = Instant::from_micros(1);
    let mut world = World { hub: Hub::new(now, hub::Config::new(2), Registry::new()), nodes: Vec::new(), now };
    world.join(Config::host(Rank::new(0), 2));
    let mut traitor = Stranger::join(&mut world, 1);
    traitor.say_bytes(&mut world, &[99, 0, 0, 0, 0, 0], b"");
    assert!(traitor.rejection().is_some());
    // Its link is still there when the world ends.
    world.nodes[0].endpoint.leave(GoodbyeReason::Finished);
    traitor.listen(&mut world);
    assert!(world.hub.is_over() && world.hub.wants_close(traitor.peer));
    assert!(matches!(traitor.said.as_slice(), [(Down::Reject(_), _)]), "{:?}", traitor.said);
}

#[test]
fn a_finished_rank_does_not_fail_when_its_link_closes() {
    let mut world = World::new(2);
    world.nodes[0].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    world.kill(0);
    world.settle();
    assert_eq!((world.hub.status().finished, world.hub.status().failed), (1, 0));
    let twin = world.join(Config::host(Rank::new(0), 2));
    world.settle();
    assert_eq!(world.nodes[twin].rejected.clone().unwrap().0.category, Category::RankTaken);
}

#[test]
fn a_hub_that_shuts_down_says_so() {
    let mut world = World::new(2);
    world.ask(0, barrier());
    world.settle();
    world.hub.shut_down(world.now);
    world.settle();
    assert!(world.nodes.iter().all(|node| node.goodbye == Some(GoodbyeReason::Shutdown)));
}

#[test]
fn calls_fail_at_once_when_the_link_is_gone() {
    let mut world = World::new(2);
    world.kill(0);
    assert_eq!(world.nodes[0].ask(barrier()).unwrap_err().category, Category::Disconnected);
}
