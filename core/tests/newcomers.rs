//! Ranks that come, come twice, do not fit, never come or fall silent.

mod world;

use std::time::Duration;

use edgempi_core::endpoint::{Config, Reach};
use edgempi_core::hub;
use edgempi_core::hub::{Event, Registry};
use edgempi_core::wire::{GoodbyeReason, Up};
use edgempi_core::{Category, Instant, Rank, RequestId};
use world::{Outcome, Stranger, World, barrier, hello, recv, send};

/// A world whose hub is not quite the usual one.
fn with(size: u32, change: impl Fn(&mut hub::Config)) -> World {
    let mut config = hub::Config::new(size);
    change(&mut config);
    World::with(config, Registry::new(), |_, _| {})
}

#[track_caller]
fn assert_failed(world: &World, rank: usize, request: RequestId, category: Category, culprit: u32) {
    let (fault, text) = world.outcome(rank, request).fault();
    assert_eq!((fault.category, fault.rank), (category, Rank::new(culprit)), "{text}");
    assert!(text.contains(&format!("rank {culprit} ")), "{text}");
}

#[test]
fn ranks_that_do_not_come_in_time_have_failed() {
    let mut config = hub::Config::new(3);
    config.join_wait = Some(Duration::from_secs(5));
    let now = Instant::from_micros(1);
    let mut world = World { hub: hub::Hub::new(now, config, Registry::new()), nodes: Vec::new(), now };
    world.wait(Duration::from_secs(100));
    assert_eq!(world.hub.status().failed, 0, "nobody has come, so nobody waits");
    world.join(Config::host(Rank::new(0), 3));
    world.join(Config::host(Rank::new(1), 3));
    world.settle();
    let request = world.ask(0, barrier());
    world.wait(Duration::from_millis(4999));
    assert!(!world.is_done(0, request));
    world.wait(Duration::from_millis(2));
    assert_failed(&world, 0, request, Category::RankFailed, 2);
    assert!(world.outcome(0, request).fault().1.contains("EDGEMPI_WAIT"));
    // It comes all the same, and is told why it may not.
    let late = world.join(Config::host(Rank::new(2), 3));
    world.settle();
    let (fault, text) = world.nodes[late].rejected.clone().unwrap();
    assert_eq!((fault.category, fault.len), (Category::RankFailed, 0), "{text}");
}

#[test]
fn a_world_that_lost_everybody_before_it_was_complete_does_not_wait_for_the_rest() {
    let mut config = hub::Config::new(3);
    config.join_wait = Some(Duration::from_secs(500));
    let now = Instant::from_micros(1);
    let mut world = World { hub: hub::Hub::new(now, config, Registry::new()), nodes: Vec::new(), now };
    let first = world.join(Config::host(Rank::new(0), 3));
    world.wait(Duration::from_secs(100));
    world.kill(first);
    // Who was on the way is told, and is not taken into the next world.
    world.wait(Duration::from_secs(1));
    let late = world.join(Config::host(Rank::new(1), 3));
    world.settle();
    let request = world.ask(late, barrier());
    world.settle();
    assert_failed(&world, late, request, Category::RankFailed, 0);
    world.wait(Duration::from_secs(10));
    assert!(!world.hub.is_over(), "somebody is there");
    world.kill(late);
    world.wait(Duration::from_millis(1999));
    assert!(!world.hub.is_over());
    world.wait(Duration::from_millis(2));
    assert!(world.hub.is_over());
    assert_eq!(world.hub.status().failed, 3);
}

#[test]
fn a_hub_tells_who_comes_and_goes() {
    let mut world = World::new(3);
    let joined =
        |rank: u32, world: &World| Event::Joined { rank: Rank::new(rank), peer: world.nodes[rank as usize].peer };
    for rank in 0..3 {
        assert_eq!(world.hub.poll_event(), Some(joined(rank, &world)));
    }
    world.nodes[1].endpoint.leave(GoodbyeReason::Finished);
    world.settle();
    world.kill(1);
    assert_eq!(world.hub.poll_event(), Some(Event::Finished { rank: Rank::new(1) }));
    world.kill(2);
    let reason = "its connection closed without a goodbye".to_owned();
    assert_eq!(world.hub.poll_event(), Some(Event::Failed { rank: Rank::new(2), reason }));
    // That ranks go when the hub says so is nobody's failure.
    world.hub.shut_down(world.now);
    world.kill(0);
    assert_eq!(world.hub.poll_event(), None);
}

#[test]
fn a_world_that_ends_waits_for_no_stranger() {
    let mut world = World::new(1);
    let mut stranger = Stranger::connect(&mut world);
    world.nodes[0].stalled = true;
    let twin = world.join(Config::host(Rank::new(0), 1));
    world.settle();
    world.kill(0);
    assert!(world.hub.is_over());
    stranger.listen(&mut world);
    for (fault, text) in [stranger.rejection().unwrap(), world.nodes[twin].rejected.clone().unwrap()] {
        assert_eq!(fault.category, Category::WrongWorld, "{text}");
    }
    assert!(world.hub.wants_close(stranger.peer));
    assert!(world.hub.wants_close(world.nodes[twin].peer));
}

#[test]
fn keepalive_keeps_silent_ranks_alive() {
    let mut world = World::new(3);
    world.wait(Duration::from_secs(3600));
    assert_eq!(world.hub.status().alive, 3);
    assert!(world.nodes.iter().all(|node| node.error.is_none() && node.ups.contains(&20) && node.downs.contains(&21)));
    world.assert_usable();
}

#[test]
fn a_rank_that_waits_to_leave_keeps_saying_that_it_lives() {
    let mut world = World::new(2);
    world.ask(0, barrier());
    world.nodes[0].endpoint.leave(GoodbyeReason::Finished);
    world.wait(Duration::from_secs(3600));
    assert_eq!(world.hub.status().alive, 2);
    let request = world.ask(1, barrier());
    world.settle();
    assert!(matches!(world.outcome(1, request), Outcome::Done { .. }));
    assert_eq!(world.hub.status().finished, 1);
}

#[test]
fn a_rank_that_falls_silent_has_failed_after_the_silence_it_announced() {
    let mut world = World::with(hub::Config::new(2), Registry::new(), |_, config| {
        config.max_silence = Duration::from_secs(9);
    });
    let request = world.ask(0, barrier());
    world.settle();
    world.nodes[1].stalled = true;
    world.wait(Duration::from_millis(8900));
    assert!(!world.is_done(0, request));
    world.wait(Duration::from_millis(200));
    assert_failed(&world, 0, request, Category::RankFailed, 1);
    assert!(world.outcome(0, request).fault().1.contains("silent for 9 s"));
}

#[test]
fn time_in_which_the_hub_itself_did_not_run_is_no_silence_of_its_ranks() {
    let mut world = World::with(hub::Config::new(2), Registry::new(), |_, config| {
        config.max_silence = Duration::from_secs(9);
    });
    let request = world.ask(0, barrier());
    world.settle();
    world.nodes[1].stalled = true;
    // The whole machine was asleep.
    world.now = world.now + Duration::from_secs(3600);
    world.hub.handle_timeout(world.now);
    world.settle();
    assert!(!world.is_done(0, request));
    world.wait(Duration::from_millis(8900));
    assert!(!world.is_done(0, request));
    // From then on it counts again.
    world.wait(Duration::from_millis(200));
    assert_failed(&world, 0, request, Category::RankFailed, 1);
}

#[test]
fn a_rank_that_did_not_run_itself_asks_its_hub_once_more() {
    let mut world = World::new(1);
    let silence = world.hub.config().max_silence;
    let endpoint = &mut world.nodes[0].endpoint;
    let mut head = [0; edgempi_core::wire::MAX_HEAD_LEN];
    let asked = endpoint.poll_timeout().unwrap();
    assert_eq!(endpoint.handle_timeout(asked), Ok(()));
    assert!(endpoint.poll_transmit(asked, &mut head, Reach::Everything, |_| 0).is_some());
    let woken = asked + Duration::from_secs(3600);
    assert_eq!(endpoint.handle_timeout(woken), Ok(()));
    assert!(endpoint.poll_timeout().is_some_and(|at| at > woken));
    assert!(endpoint.poll_transmit(woken, &mut head, Reach::Everything, |_| 0).is_some(), "it asks");
    let mut given_up = None;
    while given_up.is_none() {
        let at = endpoint.poll_timeout().expect("it waits for an answer");
        given_up = endpoint.handle_timeout(at).is_err().then_some(at);
        while endpoint.poll_transmit(at, &mut head, Reach::Everything, |_| 0).is_some() {}
    }
    assert_eq!(given_up, Some(woken + silence));
}

#[test]
fn a_rank_whose_frame_takes_longer_than_its_silence_lives() {
    let mut world = World::with(hub::Config::new(2), Registry::new(), |_, config| {
        config.max_silence = Duration::from_secs(9);
    });
    let request = world.ask(0, barrier());
    world.settle();
    world.nodes[1].stalled = true;
    let peer = world.nodes[1].peer;
    // Nor can somebody else have its rank meanwhile.
    let twin = world.join(Config::host(Rank::new(1), 2));
    for _ in 0..50 {
        world.wait(Duration::from_millis(900));
        world.hub.heard(world.now, peer);
    }
    assert!(!world.is_done(0, request));
    assert_eq!(world.nodes[twin].rejected.clone().unwrap().0.category, Category::RankTaken);
    world.wait(Duration::from_secs(10));
    assert_failed(&world, 0, request, Category::RankFailed, 1);
}

#[test]
fn a_hub_whose_frame_takes_longer_than_its_silence_lives() {
    let mut endpoint = World::new(1).nodes.remove(0).endpoint;
    let mut head = [0; edgempi_core::wire::MAX_HEAD_LEN];
    for second in 1..200 {
        let now = Instant::from_micros(second * 1_000_000);
        endpoint.heard(now);
        assert_eq!(endpoint.handle_timeout(now), Ok(()));
        while endpoint.poll_transmit(now, &mut head, Reach::Everything, |_| 0).is_some() {}
    }
}

#[test]
fn a_rank_may_keep_silent_for_ever_if_it_said_so() {
    let mut world = World::with(hub::Config::new(2), Registry::new(), |_, config| config.max_silence = Duration::ZERO);
    world.nodes[1].stalled = true;
    world.wait(Duration::from_secs(100_000));
    assert_eq!(world.hub.status().alive, 2);
    world.nodes[1].stalled = false;
    world.assert_usable();
}

#[test]
fn a_hub_that_no_longer_answers_is_noticed() {
    let mut world = World::new(1);
    let node = &mut world.nodes[0];
    let mut head = [0; edgempi_core::wire::MAX_HEAD_LEN];
    let mut deadlines = 0;
    loop {
        let at = node.endpoint.poll_timeout().unwrap();
        deadlines += 1;
        if let Err(fault) = node.endpoint.handle_timeout(at) {
            assert_eq!(fault.category, Category::Timeout);
            break;
        }
        assert!(node.endpoint.poll_timeout().is_none_or(|next| next > at));
        while node.endpoint.poll_transmit(at, &mut head, Reach::Everything, |_| 0).is_some() {}
        assert!(node.endpoint.poll_timeout().is_none_or(|next| next > at), "a deadline is reported again");
        assert!(deadlines < 10);
    }
    assert!(deadlines > 1);
}

#[test]
fn a_hub_that_takes_nothing_any_more_is_noticed() {
    let mut world = World::new(1);
    let endpoint = &mut world.nodes[0].endpoint;
    // The link is full: nothing is asked of the endpoint, not even its ping.
    let asked = endpoint.poll_timeout().unwrap();
    assert_eq!(endpoint.handle_timeout(asked), Ok(()));
    let given_up = endpoint.poll_timeout().expect("it waits for an answer");
    assert_eq!(given_up, asked + world.hub.config().max_silence);
    assert_eq!(endpoint.handle_timeout(given_up).unwrap_err().category, Category::Timeout);
    assert_eq!(endpoint.poll_timeout(), None);
}

#[test]
fn a_hub_that_promises_no_answers_is_never_given_up() {
    let mut world = with(1, |config| config.max_silence = Duration::ZERO);
    world.wait(Duration::from_secs(1000));
    assert_eq!(world.nodes[0].error, None);
    world.assert_usable();
}

#[test]
fn a_second_process_with_a_rank_is_refused_while_the_first_one_lives() {
    for others_gone in [false, true] {
        let mut world = World::new(3);
        if others_gone {
            world.kill(2);
        }
        let twin = world.join(Config::host(Rank::new(1), 3));
        world.wait(Duration::from_millis(500));
        let (fault, text) = world.nodes[twin].rejected.clone().unwrap();
        assert_eq!(fault.category, Category::RankTaken, "{text}");
        assert!(text.contains("EDGEMPI_RANK"), "{text}");
        assert!(world.hub.wants_close(world.nodes[twin].peer));
        world.wait(Duration::from_secs(60));
        let (sent, receive) = (world.ask(0, send(1, 0, "hello")), world.ask(1, recv(0, 0, 5)));
        world.settle();
        assert!(world.is_done(0, sent));
        assert_eq!(world.outcome(1, receive).bytes(), b"hello");
    }
}

#[test]
fn a_process_whose_link_does_not_answer_a_probe_has_failed() {
    let mut world = World::new(2);
    world.nodes[1].stalled = true;
    let request = world.ask(0, recv(1, 0, 1));
    let twin = world.join(Config::host(Rank::new(1), 2));
    world.wait(Duration::from_millis(999));
    assert!(!world.is_done(0, request) && world.nodes[twin].rejected.is_none());
    world.wait(Duration::from_millis(2));
    assert_failed(&world, 0, request, Category::RankFailed, 1);
    let (fault, text) = world.nodes[twin].rejected.clone().unwrap();
    assert_eq!(fault.category, Category::RankFailed, "{text}");
    world.nodes[1].stalled = false;
    world.settle();
    assert_eq!(world.nodes[1].rejected.clone().unwrap().0.category, Category::Timeout);
}

#[test]
fn two_claims_at_once_are_both_refused() {
    let mut world = World::new(1);
    let twins = [world.join(Config::host(Rank::new(0), 1)), world.join(Config::host(Rank::new(0), 1))];
    world.wait(Duration::from_secs(5));
    for twin in twins {
        assert_eq!(world.nodes[twin].rejected.clone().unwrap().0.category, Category::RankTaken);
    }
    assert_eq!(world.hub.status().alive, 1);
}

#[test]
fn newcomers_that_do_not_fit_are_told_why() {
    let mut world = with(2, |config| config.world = "blue".into());
    assert!(world.nodes.iter().all(|node| node.rejected.is_some()), "they say no world's name");
    let said = |world: &mut World, hello, name: &[u8]| {
        let mut stranger = Stranger::connect(world);
        stranger.say(world, Up::Hello(hello), name);
        assert!(world.hub.wants_close(stranger.peer));
        stranger.rejection().unwrap()
    };
    let mut other = hello(0, 2);
    other.version = 9;
    let (fault, text) = said(&mut world, other, b"blue");
    assert_eq!((fault.category, fault.len, fault.max), (Category::Version, 9, 1), "{text}");
    let (fault, text) = said(&mut world, hello(0, 3), b"blue");
    assert_eq!((fault.category, fault.len, fault.max), (Category::WrongWorld, 3, 2), "{text}");
    assert!(text.contains("EDGEMPI_SIZE"));
    let (fault, text) = said(&mut world, hello(2, 2), b"blue");
    assert_eq!((fault.category, fault.len, fault.max), (Category::WrongWorld, 2, 2), "{text}");
    let (fault, text) = said(&mut world, hello(0, 2), b"red");
    assert_eq!(fault.category, Category::WrongWorld);
    assert!(text.contains("red") && text.contains("blue"), "{text}");
    let mut no_magic = hello(0, 2);
    no_magic.magic = 1;
    assert_eq!(said(&mut world, no_magic, b"blue").0.category, Category::Protocol);
    let mut stranger = Stranger::connect(&mut world);
    stranger.say(&mut world, Up::Hello(hello(0, 2)), b"blue");
    assert!(stranger.rejection().is_none());
}

#[test]
fn a_refusal_fits_the_frames_of_a_board() {
    let mut world = World::new(2);
    let mut small = Config::host(Rank::new(0), 3);
    small.max_payload = 64;
    let stranger = world.join(small);
    world.settle();
    assert_eq!(world.nodes[stranger].error, None);
    assert_eq!(world.nodes[stranger].rejected.clone().unwrap().0.category, Category::WrongWorld);
}

#[test]
fn a_link_that_says_nothing_is_closed() {
    let mut world = World::new(1);
    let mut stranger = Stranger::connect(&mut world);
    world.wait(Duration::from_secs(11));
    stranger.listen(&mut world);
    assert_eq!(stranger.rejection().unwrap().0.category, Category::Timeout);
    assert!(world.hub.wants_close(stranger.peer));
}
