//! What the state machines promise their drivers: memory, deadlines, and how much work a frame costs.

mod world;

use std::time::Duration;

use edgempi_core::Payload;
use edgempi_core::endpoint::{Config, Event, Incoming, Reach};
use edgempi_core::hub::{self, Hub, PeerId, Registry};
use edgempi_core::request::{CallCode, CommunicatorId, NameIds, NewNames, Receive, Sent, Slot, Submission};
use edgempi_core::wire::{Cancel, Down, Fail, MAX_HEAD_LEN, Ping, Prefix, Submit, SubmitFlags, Up, VERSION, Welcome};
use edgempi_core::{
    Call, Category, Color, Datatype, Endpoint, Instant, Rank, ReduceOp, SplitRequest, SplitResult, Tag,
};
use world::{Ask, Random, World, ask, barrier, bcast, hello, request_id, submit};

#[test]
fn a_free_slot_takes_no_room_in_an_image() {
    // Padding aside, which a static never writes: what is printed is every field.
    let text = format!("{:?}", Slot::FREE);
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    assert!(numbers.clone().count() > 20 && numbers.into_iter().all(|digits| digits == "0"), "{text}");
    assert!(text.contains("state: Free"), "{text}");
    assert!(size_of::<Slot>() <= 160, "{} bytes", size_of::<Slot>());
}

#[test]
fn slots_may_be_added_at_any_time() {
    let mut endpoint = Endpoint::new(Instant::ZERO, Config::host(Rank::new(0), 1), vec![]);
    assert!(!endpoint.has_free_slot());
    endpoint.grow(|slots| slots.resize(3, Slot::FREE));
    assert_eq!((endpoint.free_slots(), endpoint.capacity()), (3, 3));
    endpoint.grow(|slots| slots.resize(100_000, Slot::FREE));
    assert_eq!((endpoint.free_slots(), endpoint.capacity()), (65_535, 65_535));
}

#[test]
fn a_slot_that_is_used_again_has_another_name() {
    let mut world = World::new(1);
    let mut names = std::collections::HashSet::new();
    for _ in 0..3000 {
        let request = world.ask(0, barrier());
        world.settle();
        assert!(names.insert(request), "{request:?} names two requests");
    }
}

/// An endpoint with this many slots in a world of one that has been let in.
fn joined(slots: usize) -> Endpoint<Vec<Slot>> {
    let config = Config { max_silence: Duration::ZERO, ..Config::host(Rank::new(0), 1) };
    let mut endpoint = Endpoint::new(Instant::ZERO, config, vec![Slot::FREE; slots]);
    let hello = endpoint.poll_transmit(Instant::ZERO, &mut [0; MAX_HEAD_LEN], Reach::Everything, |_| 0);
    assert!(hello.is_some());
    let welcome = Welcome {
        version: VERSION,
        session: 1,
        incarnation: 1,
        max_payload: 1000,
        max_message: 1000,
        max_requests: 10,
        queue_size: 1000,
        max_silence: 0,
    };
    let _ = hear(&mut endpoint, Down::Welcome(welcome), 0);
    assert!(matches!(endpoint.poll_event(), Some(Event::Welcome(_))));
    endpoint
}

/// The head of a frame reaches an endpoint.
fn hear(endpoint: &mut Endpoint<Vec<Slot>>, frame: Down, payload: u32) -> Incoming {
    let mut head = [0; MAX_HEAD_LEN];
    let len = frame.encode(payload, &mut head);
    let (prefix, header) = head[..len].split_first_chunk().unwrap();
    endpoint.handle_frame(Instant::ZERO, Prefix::decode(*prefix), header).unwrap()
}

#[test]
fn a_call_site_too_long_for_the_link_does_not_let_later_calls_overtake() {
    let send = |site: u16| {
        let new = NewNames { site: true, ..NewNames::default() };
        let names = NameIds { site, new, ..NameIds::default() };
        let own = CommunicatorId { id: 0, rank: Rank::new(0), size: 1 };
        let call = Call::Ssend { dest: Rank::new(0), tag: Tag(5) };
        Submission::new(own, &call, Datatype::U8, Sent::Equal(10), Receive::Exactly(0), false, names, 0).unwrap()
    };
    let mut endpoint = joined(4);
    let requests = [1, 2].map(|site| endpoint.submit(&send(site)).unwrap());
    // The first one's names are at hand, and its site is longer than what the link takes now.
    let reach = Reach::Within { room: MAX_HEAD_LEN + 16, request: Some(requests[0]) };
    let mut submitted = Vec::new();
    let mut head = [0; MAX_HEAD_LEN];
    while let Some(frame) = endpoint.poll_transmit(Instant::ZERO, &mut head, reach, |_| 30) {
        let (prefix, header) = head[..frame.head_len].split_first_chunk().unwrap();
        if let Some(Up::Submit(submit)) = Up::decode(Prefix::decode(*prefix).kind, header).unwrap() {
            submitted.push(submit.request);
        }
    }
    assert_eq!(submitted, requests);
}

#[test]
fn a_request_that_has_ended_keeps_its_name_until_its_event_has_been_taken() {
    let barrier = Submission::new(
        CommunicatorId { id: 0, rank: Rank::new(0), size: 1 },
        &Call::Barrier,
        Datatype::Object,
        Sent::Equal(0),
        Receive::Exactly(0),
        false,
        NameIds::default(),
        0,
    )
    .unwrap();
    let mut endpoint = joined(1);
    for sequence in 1..20 {
        let request = endpoint.submit(&barrier).unwrap();
        assert!(endpoint.poll_transmit(Instant::ZERO, &mut [0; MAX_HEAD_LEN], Reach::Everything, |_| 0).is_some());
        // The reason is still on its way when somebody starts the next call.
        let fail = Fail {
            request,
            sequence,
            acknowledged: 0,
            category: Category::Remote,
            rank: Rank::new(0),
            count: 0,
            len: 0,
            max: 0,
            queue_limit: 0,
        };
        assert_eq!(hear(&mut endpoint, Down::Fail(fail), 100), Incoming::Reason { len: 100, text: 100 });
        assert_eq!(endpoint.submit(&barrier).unwrap_err().category, Category::TooManyRequests);
        endpoint.cancel(request);
        assert!(endpoint.poll_transmit(Instant::ZERO, &mut [0; MAX_HEAD_LEN], Reach::Everything, |_| 0).is_none());
        assert!(matches!(endpoint.poll_event(), Some(Event::Fail { request: ended, .. }) if ended == request));
        assert_eq!((endpoint.open_requests(), endpoint.free_slots()), (0, 1));
    }
}

proptest::proptest! {
    #[test]
    fn a_deadline_that_has_passed_is_not_reported_again(seed: u64) {
        let mut random = Random(seed);
        let mut config = hub::Config::new(3);
        config.join_wait = Some(Duration::from_micros(random.below(3_000_000) as u64));
        config.hello_wait = Duration::from_micros(random.below(2_000_000) as u64);
        config.probe_wait = Duration::from_micros(random.below(2_000_000) as u64);
        config.max_silence = Duration::from_micros(random.below(2_000_000) as u64);
        let now = Instant::from_micros(1);
        let mut world = World { hub: Hub::new(now, config, Registry::new()), nodes: Vec::new(), now };
        for _ in 0..60 {
            if random.below(3) == 0 {
                let mut config = Config::host(Rank::new(random.below(3) as u32), 3);
                config.max_silence = Duration::from_micros(random.below(3_000_000) as u64);
                world.join(config);
            }
            if random.below(5) == 0 {
                world.hub.connect(world.now);
            }
            if random.below(10) == 0 && !world.nodes.is_empty() {
                let victim = random.below(world.nodes.len());
                world.nodes[victim].stalled ^= true;
            }
            if random.below(2) == 0 {
                world.settle();
            }
            world.now = world.now + Duration::from_micros(random.below(1_000_000) as u64);
            let now = world.now;
            world.hub.handle_timeout(now);
            assert!(world.hub.poll_timeout().is_none_or(|at| at > now));
            for node in &mut world.nodes {
                let _ = node.endpoint.handle_timeout(now);
                assert!(node.endpoint.poll_timeout().is_none_or(|at| at > now));
                // Nor is it after what the deadline was for has been sent.
                let mut head = [0; MAX_HEAD_LEN];
                while node.endpoint.poll_transmit(now, &mut head, Reach::Everything, |_| 0).is_some() {}
                assert!(node.endpoint.poll_timeout().is_none_or(|at| at > now));
            }
        }
    }
}

#[test]
fn a_hub_that_is_silent_when_asked_stays_so() {
    let mut world = World::new(2);
    world.all(|rank| bcast(rank, 0, vec![1; 1000]));
    assert!(world.hub.poll_peer().is_none() && world.hub.poll_work().is_none());
    for node in &mut world.nodes {
        assert!(world.hub.poll_transmit(node.peer).is_none());
        let mut head = [0; MAX_HEAD_LEN];
        assert!(node.endpoint.poll_transmit(world.now, &mut head, Reach::Everything, |_| 0).is_none());
        assert!(node.endpoint.poll_event().is_none());
    }
}

#[test]
fn results_leave_as_soon_as_the_givers_have_come() {
    let mut world = World::new(3);
    let root = world.ask(0, bcast(0, 0, vec![8; 5000]));
    let early = world.ask(1, bcast(1, 0, vec![8; 5000]));
    world.settle();
    assert!(world.is_done(0, root) && world.is_done(1, early), "rank 2 holds nobody up");
    let late = world.ask(2, bcast(2, 0, vec![8; 5000]));
    world.settle();
    assert_eq!(world.outcome(2, late).bytes(), vec![8; 5000]);
    world.assert_idle();
}

#[test]
fn a_pong_says_how_much_has_come() {
    let mut world = World::new(1);
    world.all(|_| barrier());
    let mut head = [0; MAX_HEAD_LEN];
    let len = Up::Ping(Ping { acknowledged: 0 }).encode(0, &mut head);
    let (prefix, header) = head[..len].split_first_chunk().unwrap();
    let peer = world.nodes[0].peer;
    world.hub.handle_frame(world.now, peer, Prefix::decode(*prefix), header, Payload::new());
    assert_eq!(world.hub.poll_transmit(peer), Some((Down::Pong(Ping { acknowledged: 1 }), Payload::new())));
}

/// A frame reaches a hub.
fn say(hub: &mut Hub, peer: PeerId, frame: Up, payload: Vec<u8>) {
    let mut head = [0; MAX_HEAD_LEN];
    let len = frame.encode(payload.len() as u32, &mut head);
    let (prefix, header) = head[..len].split_first_chunk().unwrap();
    hub.handle_frame(Instant::ZERO, peer, Prefix::decode(*prefix), header, payload.into());
}

/// A hub whose ranks have no endpoints.
fn crowded_hub(ranks: u32) -> (Hub, Vec<PeerId>) {
    let mut hub = Hub::new(Instant::ZERO, hub::Config::new(ranks), Registry::new());
    let join = |rank| {
        let peer = hub.connect(Instant::ZERO);
        say(&mut hub, peer, Up::Hello(hello(rank, ranks)), Vec::new());
        peer
    };
    let peers = (0..ranks).map(join).collect();
    (hub, peers)
}

/// So many frames reach a hub without endpoints, one after the other. Returns how many calls it completed.
fn hub_of(ranks: u32, rounds: u32, frame: impl Fn(u32, Submit) -> (Submit, Vec<u8>)) -> usize {
    let (mut hub, peers) = crowded_hub(ranks);
    let mut answers = 0;
    for round in 1..=rounds {
        for (rank, peer) in peers.iter().enumerate() {
            let base = Submit { n: round, datatype: 0, ..submit(round, round, CallCode::Barrier) };
            let (submit, payload) = frame(rank as u32, base);
            say(&mut hub, *peer, Up::Submit(submit), payload);
        }
        while let Some(work) = hub.poll_work() {
            let done = work.run();
            hub.finish_work(Instant::ZERO, done);
        }
        while let Some(peer) = hub.poll_peer() {
            while let Some((frame, _)) = hub.poll_transmit(peer) {
                answers += usize::from(matches!(frame, Down::Complete(_)));
            }
        }
    }
    let status = hub.status();
    assert_eq!((status.operations, status.queued, status.windows), (0, 0, 0));
    answers
}

#[test]
fn a_frame_costs_the_same_in_a_world_of_ten_thousand() {
    const RANKS: u32 = 10_000;
    assert_eq!(hub_of(RANKS, 2, |_, barrier| (barrier, Vec::new())), 2 * RANKS as usize);
    let eager = SubmitFlags::empty().with(SubmitFlags::EAGER);
    // The root comes first: everybody else is a late receiver of a running operation.
    let root_first = |rank, base: Submit| {
        let call = CallCode::Bcast as u8;
        match rank {
            0 => (Submit { call, flags: eager, send: 8, ..base }, vec![7; 8]),
            _ => (Submit { call, receive: 8, ..base }, Vec::new()),
        }
    };
    assert_eq!(hub_of(RANKS, 2, root_first), 2 * RANKS as usize);
    let reduce = |_, base: Submit| {
        let call = CallCode::Allreduce as u8;
        (Submit { call, datatype: 3, op: ReduceOp::Sum.code(), flags: eager, send: 8, receive: 8, ..base }, vec![1; 8])
    };
    assert_eq!(hub_of(RANKS, 2, reduce), 2 * RANKS as usize);
    // Everybody disagrees with the first.
    let disagree = |rank, base: Submit| (Submit { datatype: u8::from(rank > 0), ..base }, Vec::new());
    assert_eq!(hub_of(RANKS, 2, disagree), 0);
}

#[test]
fn a_receive_from_anybody_costs_the_same_however_many_have_sent() {
    const RANKS: u32 = 20_000;
    let (mut hub, peers) = crowded_hub(RANKS);
    for (rank, peer) in peers.iter().enumerate() {
        let send = submit(1, 1, CallCode::Send);
        say(&mut hub, *peer, Up::Submit(Submit { tag: Tag(rank as u32 % 100), ..send }), Vec::new());
    }
    let start = std::time::Instant::now();
    let mut senders = Vec::new();
    for number in 2..=RANKS + 1 {
        let flags = SubmitFlags::empty().with(SubmitFlags::ANY_SOURCE).with_if(number % 2 == 0, SubmitFlags::ANY_TAG);
        let receive = Submit { flags, tag: Tag(number / 2 % 100), ..submit(number, number, CallCode::Recv) };
        say(&mut hub, peers[0], Up::Submit(receive), Vec::new());
        while let Some((frame, _)) = hub.poll_transmit(peers[0]) {
            if let Down::Complete(complete) = frame
                && complete.request == receive.request
            {
                assert!(number % 2 == 0 || complete.tag == receive.tag);
                senders.push(complete.source.get());
            }
        }
    }
    assert!(senders.len() > RANKS as usize / 2, "{} messages", senders.len());
    senders.sort_unstable();
    assert!(senders.is_sorted_by(|one, next| one < next), "a message came twice");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_communicator_that_is_freed_again_costs_nothing() {
    let (mut hub, peers) = crowded_hub(2);
    let mut copy = 0;
    let split = SplitRequest { color: Some(Color::Number(0)), key: 0 }.to_bytes();
    let eager = SubmitFlags::empty().with(SubmitFlags::EAGER);
    let request =
        Submit { datatype: 0, flags: eager, send: split.len() as u64, receive: 16, ..submit(1, 1, CallCode::Split) };
    for peer in &peers {
        say(&mut hub, *peer, Up::Submit(request), split.to_vec());
    }
    while let Some((_, payload)) = hub.poll_transmit(peers[0]) {
        copy = payload.as_ref().try_into().map_or(copy, |bytes| SplitResult::from_bytes(bytes).id);
    }
    let start = std::time::Instant::now();
    for number in 2..30_000 {
        // Other operations that are open, then the same again and again.
        let barrier = Submit { n: number - 1, datatype: 0, ..submit(number, number, CallCode::Barrier) };
        let free = Submit { communicator: copy, datatype: 0, ..submit(number, number, CallCode::Free) };
        say(&mut hub, peers[0], Up::Submit(if number < 10_000 { barrier } else { free }), Vec::new());
        while let Some((frame, _)) = hub.poll_transmit(peers[0]) {
            assert!(!matches!(frame, Down::Reject(_)), "{frame:?}");
        }
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_gather_of_long_blocks_does_not_look_at_all_of_them_for_each() {
    const RANKS: u32 = 400;
    let mut config = hub::Config::new(RANKS);
    (config.max_payload, config.queue_size, config.window) = (64, 1024, 1024);
    let mut world = World::with(config, Registry::new(), |_, config| config.open_parts = 1);
    let root = Rank::new(0);
    let outcomes = world.all(|rank| {
        let receive = if root == rank { 2000 * RANKS as usize } else { 0 };
        Ask { ..ask(Call::Gather { root }, vec![rank as u8; 2000], receive) }
    });
    assert_eq!(outcomes[0].bytes().len(), 2000 * (RANKS as usize - 1));
    world.assert_idle();
}

#[test]
fn a_receive_is_given_up_without_looking_at_all_that_came_before_it() {
    const RECEIVES: u32 = 100_000;
    let mut config = hub::Config::new(2);
    config.max_requests = RECEIVES;
    let mut hub = Hub::new(Instant::ZERO, config, Registry::new());
    let (start, peer) = (std::time::Instant::now(), hub.connect(Instant::ZERO));
    let mut head = [0; MAX_HEAD_LEN];
    let mut say = |frame: Up| {
        let len = frame.encode(0, &mut head);
        let (prefix, header) = head[..len].split_first_chunk().unwrap();
        hub.handle_frame(Instant::ZERO, peer, Prefix::decode(*prefix), header, Payload::new());
    };
    say(Up::Hello(hello(0, 2)));
    for number in 1..=RECEIVES {
        say(Up::Submit(Submit { peer: Rank::new(1), ..submit(number, number, CallCode::Recv) }));
    }
    for number in (1..=RECEIVES).rev() {
        say(Up::Cancel(Cancel { request: request_id(number) }));
    }
    let answers = std::iter::from_fn(|| hub.poll_transmit(peer)).filter(|(frame, _)| matches!(frame, Down::Fail(_)));
    assert_eq!(answers.count(), RECEIVES as usize);
    assert!(start.elapsed().as_secs() < 30, "that took {:?}", start.elapsed());
}
