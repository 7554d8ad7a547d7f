//! Every limit holds: for those who keep to them everything works, and whoever does not fails alone.

mod world;

use edgempi_core::endpoint::Config;
use edgempi_core::hub::{self, Registry};
use edgempi_core::request::{CallCode, Slot};
use edgempi_core::wire::{
    Cancel, Credit, Data, Down, Goodbye, GoodbyeReason, Name, NameKind, Ping, Submit, SubmitFlags, Up,
};
use edgempi_core::{Call, Category, Datatype, Endpoint, Group, Instant, Rank, ReduceOp};
use world::{Ask, Outcome, Stranger, World, ask, barrier, bcast, hello, recv, request_id, send, submit, words};

const SUM: ReduceOp = ReduceOp::Sum;

fn allreduce(rank: u32, len: u32) -> Ask<'static> {
    let call = Call::Allreduce { op: SUM };
    Ask { datatype: Datatype::U32, ..ask(call, words((0..len).map(|k| rank + k)), len as usize * 4) }
}

fn alltoall(rank: u32, size: u32, len: usize) -> Ask<'static> {
    let parts = (0..size).map(|to| vec![(rank * 16 + to) as u8; len]).collect();
    Ask { parts, ..ask(Call::Alltoall, Vec::new(), len * size as usize) }
}

/// Two honest ranks, and a peer that has joined as rank 2.
fn cheated(change: impl Fn(&mut hub::Config)) -> (World, Stranger) {
    let mut config = hub::Config::new(3);
    config.max_payload = 4096;
    config.queue_size = 8192;
    change(&mut config);
    let now = Instant::from_micros(1);
    let mut world = World { hub: hub::Hub::new(now, config, Registry::new()), nodes: Vec::new(), now };
    for rank in 0..2 {
        world.join(Config::host(Rank::new(rank), 3));
    }
    world.settle();
    let stranger = Stranger::join(&mut world, 2);
    (world, stranger)
}

/// The peer has been let go for the reason that `words` give, its rank has failed, and nobody else has noticed.
#[track_caller]
fn assert_let_go(world: &mut World, stranger: &mut Stranger, category: Category, word: &str) {
    stranger.listen(world);
    let (fault, text) = stranger.rejection().expect("it was let go");
    assert_eq!(fault.category, category, "{text}");
    assert!(text.contains(word), "{text}");
    assert!(world.hub.wants_close(stranger.peer));
    // Nothing that it says counts any more.
    let before = stranger.said.len();
    stranger.say(world, Up::Ping(Ping { acknowledged: 0 }), b"");
    assert_eq!(stranger.said.len(), before);
    world.hub.disconnect(world.now, stranger.peer);
    let status = world.hub.status();
    assert_eq!((status.alive, status.failed), (2, 1));
    let (sent, receive) = (world.ask(0, send(1, 77, "unmoved")), world.ask(1, recv(0, 77, 7)));
    let failing = [world.ask(0, barrier()), world.ask(1, barrier())][1];
    world.settle();
    assert!(world.is_done(0, sent));
    assert_eq!(world.outcome(1, receive).bytes(), b"unmoved");
    assert_eq!(world.outcome(1, failing).fault().0.category, Category::RankFailed);
    assert_eq!((world.hub.status().operations, world.hub.status().windows), (0, 0));
}

/// One frame, or a few, for which a peer is let go.
#[track_caller]
fn refused(frames: &[(Up, &[u8])], word: &str) {
    let (mut world, mut stranger) = cheated(|_| {});
    for (frame, payload) in frames {
        assert_eq!(stranger.rejection(), None, "before {frame:?}");
        stranger.say(&mut world, *frame, payload);
    }
    assert_let_go(&mut world, &mut stranger, Category::Protocol, word);
}

fn eager(send: u64, submit: Submit) -> Up {
    Up::Submit(Submit { send, flags: submit.flags.with(SubmitFlags::EAGER), ..submit })
}

fn varied(submit: Submit) -> Submit {
    Submit { flags: submit.flags.with(SubmitFlags::VARIED), ..submit }
}

#[test]
fn a_message_larger_than_allowed_fails_on_everybody_with_both_numbers() {
    let asks: [fn(u32) -> Ask<'static>; 4] = [
        |rank| bcast(rank, 1, vec![1; 2000]),
        |rank| allreduce(rank, 500),
        |rank| alltoall(rank, 2, 1000),
        |rank| if rank == 0 { send(1, 0, vec![0; 2000]) } else { recv(0, 0, 2000) },
    ];
    for make in asks {
        let mut config = hub::Config::new(2);
        (config.max_message, config.max_payload) = (1999, 512);
        let mut world = World::with(config, Registry::new(), |_, _| {});
        for outcome in world.all(make) {
            let (fault, text) = outcome.fault();
            assert_eq!((fault.category, fault.len, fault.max), (Category::TooLarge, 2000, 1999), "{text}");
            assert!(text.contains("EDGEMPI_MSG_SIZE"), "{text}");
        }
        world.assert_usable();
    }
}

#[test]
fn more_requests_than_the_hub_takes_are_an_error_at_the_call() {
    let mut config = hub::Config::new(2);
    config.max_requests = 3;
    let mut world = World::with(config, Registry::new(), |_, _| {});
    let requests = [1, 2, 3].map(|tag| world.ask(0, recv(1, tag, 1)));
    let fault = world.nodes[0].ask(recv(1, 4, 1)).unwrap_err();
    assert_eq!((fault.category, fault.len, fault.max), (Category::TooManyRequests, 4, 3));
    world.settle();
    world.ask(1, send(0, 2, "x"));
    world.settle();
    assert_eq!(world.outcome(0, requests[1]).bytes(), b"x");
    world.ask(0, recv(1, 4, 1));
    world.settle();
    for request in world.open(0) {
        world.cancel(0, request);
    }
    world.settle();
    world.assert_usable();
}

#[test]
fn more_requests_than_there_are_slots_are_an_error_at_the_call() {
    let mut endpoint = Endpoint::new(Instant::ZERO, Config::host(Rank::new(0), 1), [Slot::FREE; 2]);
    assert_eq!((endpoint.capacity(), endpoint.free_slots()), (2, 2));
    let id = edgempi_core::request::CommunicatorId { id: 0, rank: Rank::new(0), size: 1 };
    let submission = edgempi_core::request::Submission::new(
        id,
        &Call::Barrier,
        Datatype::Object,
        edgempi_core::request::Sent::Equal(0),
        edgempi_core::request::Receive::Exactly(0),
        false,
        edgempi_core::request::NameIds::default(),
        0,
    )
    .unwrap();
    endpoint.submit(&submission).unwrap();
    endpoint.submit(&submission).unwrap();
    let fault = endpoint.submit(&submission).unwrap_err();
    assert_eq!((fault.category, fault.len, fault.max), (Category::TooManyRequests, 3, 2));
}

#[test]
fn a_frame_larger_than_announced_is_refused_with_both_numbers_before_it_is_read() {
    let (mut world, mut stranger) = cheated(|_| {});
    stranger.say(&mut world, eager(4097, submit(1, 1, CallCode::Send)), &[0; 4097]);
    assert_let_go(&mut world, &mut stranger, Category::TooLarge, "4097 bytes is more than the 4096");
}

#[test]
fn a_queue_that_is_overrun_is_refused_with_both_numbers() {
    let (mut world, mut stranger) = cheated(|_| {});
    stranger.say(&mut world, eager(4096, submit(1, 1, CallCode::Send)), &[0; 4096]);
    stranger.say(&mut world, eager(4000, submit(2, 2, CallCode::Send)), &[0; 4000]);
    assert_let_go(&mut world, &mut stranger, Category::TooLarge, "8608 bytes of this rank are queued, 8192");
}

#[test]
fn more_requests_than_announced_are_refused() {
    let (mut world, mut stranger) = cheated(|config| config.max_requests = 5);
    for number in 1..=6 {
        stranger.say(&mut world, Up::Submit(submit(number, number, CallCode::Recv)), b"");
    }
    assert_let_go(&mut world, &mut stranger, Category::TooManyRequests, "more than 5 requests");
}

#[test]
fn answers_that_nobody_reads_count_as_requests() {
    let (mut world, stranger) = cheated(|config| config.max_requests = 50);
    let mut head = [0; edgempi_core::wire::MAX_HEAD_LEN];
    world.kill(1);
    world.settle();
    for number in 1..200 {
        // Each fails at once.
        let receive = Submit { peer: Rank::new(1), ..submit(number, number, CallCode::Recv) };
        let len = Up::Submit(receive).encode(0, &mut head);
        let (prefix, header) = head[..len].split_first_chunk().unwrap();
        let prefix = edgempi_core::wire::Prefix::decode(*prefix);
        world.hub.handle_frame(world.now, stranger.peer, prefix, header, bytes::Bytes::new());
    }
    let answers = std::iter::from_fn(|| world.hub.poll_transmit(stranger.peer)).count();
    assert!(answers <= 55, "{answers} frames were held for a peer that does not read");
}

#[test]
fn questions_that_nobody_waits_for_are_answered_once() {
    let (mut world, stranger) = cheated(|_| {});
    let mut head = [0; edgempi_core::wire::MAX_HEAD_LEN];
    let len = Up::Ping(Ping { acknowledged: 0 }).encode(0, &mut head);
    for _ in 0..1000 {
        let (prefix, header) = head[..len].split_first_chunk().unwrap();
        let prefix = edgempi_core::wire::Prefix::decode(*prefix);
        world.hub.handle_frame(world.now, stranger.peer, prefix, header, bytes::Bytes::new());
    }
    assert_eq!(std::iter::from_fn(|| world.hub.poll_transmit(stranger.peer)).count(), 1);
}

#[test]
fn submits_out_of_order_are_refused() {
    for sequence in [0, 2, u32::MAX] {
        refused(&[(Up::Submit(submit(1, sequence, CallCode::Recv)), b"")], "out of order");
    }
}

#[test]
fn a_request_that_is_open_already_is_refused() {
    let receive = |sequence| (Up::Submit(submit(7, sequence, CallCode::Recv)), &b""[..]);
    refused(&[receive(1), receive(2)], "open already");
    refused(&[(Up::Submit(submit(0, 1, CallCode::Recv)), b"")], "or none");
}

#[test]
fn a_collective_called_twice_is_refused() {
    let barrier = |number| (Up::Submit(submit(number, number, CallCode::Barrier)), &b""[..]);
    refused(&[barrier(1), barrier(2)], "twice");
}

#[test]
fn a_second_hello_and_a_late_submit_are_refused() {
    refused(&[(Up::Hello(hello(2, 3)), b"")], "second Hello");
    let (mut world, mut stranger) = cheated(|_| {});
    stranger.say(&mut world, Up::Goodbye(Goodbye { reason: GoodbyeReason::Finished }), b"");
    stranger.say(&mut world, Up::Submit(submit(1, 1, CallCode::Recv)), b"");
    assert!(stranger.rejection().unwrap().1.contains("after goodbye"));
    assert_eq!((world.hub.status().finished, world.hub.status().failed), (1, 0));
}

#[test]
fn somebody_who_does_not_begin_with_hello_is_no_rank() {
    let (mut world, _) = cheated(|_| {});
    let mut stranger = Stranger::connect(&mut world);
    stranger.say_bytes(&mut world, b"GET / HTTP/1.1\r\n", b"");
    assert!(stranger.rejection().unwrap().1.contains("no Hello"));
    let mut stranger = Stranger::connect(&mut world);
    stranger.say(&mut world, Up::Hello(hello(2, 3)), &[b'x'; 257]);
    assert_eq!(stranger.rejection().unwrap().0.category, Category::TooLarge);
    assert_eq!(world.hub.status().alive, 3);
}

#[test]
fn calls_that_mean_nothing_are_refused() {
    let base = submit(1, 1, CallCode::Barrier);
    let calls = [
        Submit { call: 99, ..base },
        Submit { datatype: 99, ..base },
        Submit { op: 99, ..base },
        Submit { op: SUM.code(), ..base },
        Submit { communicator: 5, ..base },
        Submit { group: 5, ..base },
        Submit { name: 5, ..base },
        Submit { peer: Rank::new(3), ..submit(1, 1, CallCode::Bcast) },
        Submit { peer: Rank::new(u32::MAX), ..submit(1, 1, CallCode::Send) },
        submit(1, 1, CallCode::User),
        submit(1, 1, CallCode::Allreduce),
        Submit { op: SUM.code(), datatype: 0, ..submit(1, 1, CallCode::Allreduce) },
        // Half an element, and blocks of unequal length.
        Submit { op: SUM.code(), datatype: Datatype::F64.code(), send: 12, ..submit(1, 1, CallCode::Allreduce) },
        Submit { send: 4, ..submit(1, 1, CallCode::Alltoall) },
        Submit { send: 4, peer: Rank::new(2), ..submit(1, 1, CallCode::Scatter) },
        Submit { send: 4, ..submit(1, 1, CallCode::Recv) },
    ];
    for call in calls {
        refused(&[(Up::Submit(call), b"")], "");
    }
}

#[test]
fn payloads_that_do_not_fit_their_call_are_refused() {
    let send = submit(1, 1, CallCode::Send);
    refused(&[(Up::Submit(Submit { send: 4, ..send }), b"four")], "not counted");
    refused(&[(eager(3, send), b"four")], "more payload than was announced");
    refused(&[(eager(4, submit(1, 1, CallCode::Barrier)), b"four")], "means nothing");
    refused(&[(eager(4, submit(1, 1, CallCode::Bcast)), b"four")], "does not fit");
    // A part of what an alltoall sends can not come with the call.
    refused(&[(eager(6, submit(1, 1, CallCode::Alltoall)), b"abc")], "does not fit");
}

#[test]
fn tables_of_lengths_that_lie_are_refused() {
    let table = |lengths: [u64; 3]| lengths.map(u64::to_le_bytes).concat();
    let exchange = varied(submit(1, 1, CallCode::Alltoall));
    refused(&[(Up::Submit(exchange), &[0; 23])], "cut short");
    refused(&[(Up::Submit(Submit { send: 10, ..exchange }), &table([4, 5, 0]))], "does not fit");
    refused(&[(Up::Submit(Submit { send: 10, ..exchange }), &table([u64::MAX, 11, 0]))], "beyond reason");
    refused(&[(Up::Submit(varied(submit(1, 1, CallCode::Send))), &table([0; 3]))], "means nothing");
    refused(&[(eager(0, varied(submit(1, 1, CallCode::Recv))), &table([0; 3]))], "means nothing");
    refused(&[(Up::Submit(varied(submit(1, 1, CallCode::Barrier))), &table([0; 3]))], "means nothing");
}

#[test]
fn lengths_beyond_reason_are_too_large_and_never_overflow() {
    for call in [CallCode::Gather, CallCode::Allgather, CallCode::Alltoall, CallCode::Bcast, CallCode::Send] {
        let (mut world, mut stranger) = cheated(|config| config.max_message = u64::MAX);
        let datatype = Datatype::Object.code();
        let len = u64::MAX / 3 * 3;
        let frame = Submit { send: len, receive: len, datatype, peer: Rank::new(2), ..submit(1, 1, call) };
        stranger.say(&mut world, Up::Submit(frame), b"");
        let other = |rank: u32| {
            let call = match call {
                CallCode::Gather => Call::Gather { root: Rank::new(2) },
                CallCode::Allgather => Call::Allgather,
                CallCode::Alltoall => return alltoall(rank, 3, 900),
                CallCode::Bcast => Call::Bcast { root: Rank::new(2) },
                _ => return recv(2, 0, usize::MAX),
            };
            ask(call, vec![1; 90], 1 << 40)
        };
        for rank in 0..2 {
            let ask = other(rank);
            let receive = edgempi_core::request::Receive::AtMost(1 << 40);
            world.ask(rank as usize, Ask { datatype: Datatype::Object, receive, ..ask });
        }
        world.settle();
        stranger.listen(&mut world);
    }
}

#[test]
fn names_that_name_nothing_are_refused() {
    let name = |kind, id| Up::Name(Name { kind, id });
    let group = |numbers: &[u32]| words(numbers.iter().copied());
    refused(&[(name(NameKind::Site, 0), b"x")], "number 0");
    refused(&[(name(NameKind::Operation, 1), b"abc")], "operation's name");
    let bad: [&[u32]; 8] =
        [&[], &[1], &[0, 0], &[1, 0], &[2, 0, 1, 1], &[1, 1, 0, 3], &[u32::MAX, 1, 0], &[0, 2, 1, 1]];
    for numbers in bad {
        refused(&[(name(NameKind::Group, 1), &group(numbers))], "a group that names no ranks");
    }
    refused(&[(name(NameKind::Group, 1), &[0; 9])], "a group that names no ranks");
    // A group without the rank itself.
    let user = Submit { group: 1, name: 2, ..submit(1, 1, CallCode::User) };
    refused(
        &[
            (name(NameKind::Group, 1), &group(&[1, 1, 0, 1])),
            (name(NameKind::Operation, 2), b"\x01\0\0\0op"),
            (Up::Submit(user), b""),
        ],
        "not in",
    );
}

#[test]
fn names_without_end_are_refused() {
    let (mut world, mut stranger) = cheated(|_| {});
    for number in 0..257 {
        stranger.say(&mut world, Up::Name(Name { kind: NameKind::Site, id: 1 + number }), &[b'x'; 4096]);
    }
    assert_let_go(&mut world, &mut stranger, Category::TooLarge, "names of one session");
}

#[test]
fn data_without_credit_or_beyond_it_or_out_of_order_is_refused() {
    let data = |offset| Up::Data(Data { request: request_id(1), part: 0, offset });
    let root = Submit { send: 2_000_000, peer: Rank::new(2), ..submit(1, 1, CallCode::Bcast) };
    // Nobody else has come.
    refused(&[(Up::Submit(root), b""), (data(0), b"early")], "data without credit");
    refused(
        &[(Up::Submit(Submit { send: 9, ..submit(1, 1, CallCode::Send) }), b""), (data(0), b"x")],
        "without credit",
    );
    for (frame, word) in [
        (data(1), "out of order"),
        (data(u64::MAX), "out of order"),
        (Up::Data(Data { request: request_id(1), part: 1, offset: 0 }), "a part that is not"),
        (Up::Data(Data { request: request_id(1), part: u32::MAX, offset: 0 }), "a part that is not"),
    ] {
        let (mut world, mut stranger) = cheated(|config| config.window = 6000);
        for rank in 0..2 {
            world.ask(rank, bcast(rank as u32, 2, vec![0; 2_000_000]));
        }
        stranger.say(&mut world, Up::Submit(root), b"");
        let [(Down::Credit(credit), _)] = stranger.said.as_slice() else { panic!("{:?}", stranger.said) };
        assert_eq!((credit.part, credit.limit), (0, 5952));
        stranger.say(&mut world, frame, &[1; 64]);
        assert_let_go(&mut world, &mut stranger, Category::Protocol, word);
    }
    let (mut world, mut stranger) = cheated(|config| config.window = 6000);
    let requests = [0, 1].map(|rank| world.ask(rank, bcast(rank as u32, 2, vec![0; 2_000_000])));
    stranger.say(&mut world, Up::Submit(root), b"");
    // The receivers do not read, so no credit comes back.
    for rank in 0..2 {
        world.nodes[rank].stalled = true;
    }
    let mut head = [0; edgempi_core::wire::MAX_HEAD_LEN];
    for (offset, len) in [(0, 4096), (4096, 1857)] {
        let head_len = data(offset).encode(len as u32, &mut head);
        let (prefix, header) = head[..head_len].split_first_chunk().unwrap();
        let prefix = edgempi_core::wire::Prefix::decode(*prefix);
        world.hub.handle_frame(world.now, stranger.peer, prefix, header, vec![0; len].into());
    }
    for rank in 0..2 {
        world.nodes[rank].stalled = false;
    }
    assert_let_go(&mut world, &mut stranger, Category::Protocol, "beyond credit");
    assert_eq!(world.outcome(0, requests[0]).fault().0.category, Category::RankFailed);
}

#[test]
fn what_is_said_of_requests_that_are_over_or_never_were_is_ignored() {
    let (mut world, mut stranger) = cheated(|_| {});
    for number in [0, 1, 9, u32::MAX] {
        let request = request_id(number);
        stranger.say(&mut world, Up::Data(Data { request, part: 3, offset: 9 }), b"late");
        stranger.say(&mut world, Up::Credit(Credit { request, part: 3, limit: u64::MAX, len: 1 }), b"");
        stranger.say(&mut world, Up::Cancel(Cancel { request }), b"");
    }
    assert_eq!(stranger.rejection(), None);
    assert_eq!(world.hub.status().alive, 3);
}

#[test]
fn credit_for_parts_that_are_not_is_ignored() {
    let (mut world, mut stranger) = cheated(|_| {});
    let call = Submit { receive: 100_000, ..submit(1, 1, CallCode::Bcast) };
    stranger.say(&mut world, Up::Submit(call), b"");
    for part in [0, 1, u32::MAX] {
        let credit = Credit { request: request_id(1), part, limit: u64::MAX, len: 1 };
        stranger.say(&mut world, Up::Credit(credit), b"");
    }
    for rank in 0..2 {
        world.ask(rank, bcast(rank as u32, 0, vec![5; 100_000]));
    }
    world.settle();
    stranger.listen(&mut world);
    assert_eq!(stranger.rejection(), None);
    assert!(stranger.said.iter().any(|(frame, _)| matches!(frame, Down::Complete(_))));
}

#[test]
fn a_rank_that_finishes_inside_an_operation_fails_the_others() {
    let (mut world, mut stranger) = cheated(|_| {});
    stranger.say(&mut world, Up::Submit(Submit { datatype: 0, ..submit(1, 1, CallCode::Barrier) }), b"");
    let request = world.ask(0, barrier());
    world.settle();
    stranger.say(&mut world, Up::Goodbye(Goodbye { reason: GoodbyeReason::Finished }), b"");
    assert_eq!(world.outcome(0, request).fault().0.category, Category::RankFinished);
    world.hub.disconnect(world.now, stranger.peer);
}

#[test]
fn several_large_operations_share_tiny_windows_and_all_complete() {
    for window_total in [0, 64, 1024, 4096, 20_000] {
        let mut config = hub::Config::new(4);
        (config.max_payload, config.queue_size) = (1024, 1024);
        (config.window, config.window_total) = (4096, window_total);
        let mut world = World::with(config, Registry::new(), |rank, config| {
            (config.max_payload, config.open_parts) = (300, 1 + rank as u16 % 2);
        });
        let mut requests = Vec::new();
        for round in 0..5 {
            for rank in 0..4 {
                let at = rank as u32;
                requests.push((rank, world.ask(rank, allreduce(at, 3000))));
                requests.push((rank, world.ask(rank, alltoall(at, 4, 3000))));
                requests.push((rank, world.ask(rank, bcast(at, 1, vec![at as u8; 9000]))));
                requests.push((rank, world.ask(rank, send((at + 1) % 4, round, vec![at as u8; 5000]))));
                requests.push((rank, world.ask(rank, recv((at + 3) % 4, round, 5000))));
            }
        }
        while world.step() {
            assert!(world.hub.status().windows <= window_total);
        }
        for (rank, request) in requests {
            assert!(matches!(world.outcome(rank, request), Outcome::Done { .. }));
        }
        world.assert_usable();
    }
}

#[test]
fn operations_that_fail_when_their_windows_come_free_let_the_next_one_start() {
    let mut config = hub::Config::new(2);
    (config.max_payload, config.queue_size, config.window, config.window_total) = (1024, 1024, 1024, 1024);
    let mut world = World::with(config, Registry::new(), |_, _| {});
    let mut requests = Vec::new();
    for round in 0..3000 {
        // All but the first and last give more than is received.
        let fits = round == 0 || round == 2999;
        let root = Ask { datatype: Datatype::Object, ..bcast(0, 0, vec![3; 4000]) };
        let receive = edgempi_core::request::Receive::AtMost(if fits { 4000 } else { 3999 });
        let other = Ask { datatype: Datatype::Object, receive, ..bcast(1, 0, vec![]) };
        for node in &mut world.nodes {
            if !node.endpoint.has_free_slot() {
                node.endpoint.grow(|slots| slots.resize(9000, Slot::FREE));
            }
        }
        requests.push((fits, world.ask(0, root), world.ask(1, other)));
    }
    world.settle();
    for (fits, root, other) in requests {
        if fits {
            assert_eq!(world.outcome(1, other).bytes(), vec![3; 4000]);
        } else {
            assert_eq!(world.outcome(0, root).fault().0.category, Category::Truncated);
            assert_eq!(world.outcome(1, other).fault().0.category, Category::Truncated);
        }
    }
    world.assert_usable();
}

#[test]
fn a_result_that_fits_a_frame_but_not_its_window_arrives() {
    let mut config = hub::Config::new(3);
    (config.window, config.queue_size) = (1024, 1024);
    let mut world = World::with(config, Registry::new(), |_, _| {});
    for node in &mut world.nodes {
        node.unlimited = true;
    }
    for outcome in world.all(|rank| allreduce(rank, 5000)) {
        assert_eq!(outcome.bytes().len(), 20_000);
    }
    for outcome in world.all(|rank| ask(Call::Allgather, vec![rank as u8; 9000], 27_000)) {
        assert_eq!(outcome.bytes().len(), 18_000);
    }
    for (rank, outcome) in world.all(|rank| bcast(rank, 0, vec![1; 9000])).iter().enumerate() {
        assert_eq!(outcome.bytes().len(), if rank == 0 { 0 } else { 9000 });
    }
    world.assert_usable();
}

#[test]
fn a_world_of_one_gives_its_queue_back() {
    let mut world = World::new(1);
    for _ in 0..100 {
        world.all(|rank| bcast(rank, 0, vec![1; 200_000]));
        world.all(|rank| alltoall(rank, 1, 200_000));
        world.all(|_| ask(Call::Allgather, vec![1; 200_000], 200_000));
        assert_eq!(world.all(|rank| allreduce(rank, 50_000))[0].bytes(), words(0..50_000));
        world.assert_idle();
    }
}

#[test]
fn boards_with_one_small_part_take_every_collective() {
    for max_payload in [64, 256, 1024] {
        for receive_window in [64, 512, 2000] {
            let mut config = hub::Config::new(5);
            config.window = 2048;
            let mut world = World::with(config, Registry::new(), |_, config| {
                (config.max_payload, config.receive_window, config.open_parts) = (max_payload, receive_window, 1);
            });
            for len in [0, 1, 65, 500, 5000] {
                board_collectives(&mut world, len);
                world.assert_usable();
            }
        }
    }
}

fn board_collectives(world: &mut World, len: usize) {
    let root = Rank::new(3);
    let own = |rank: u32| vec![rank as u8 + 1; len];
    let others = |own_rank: usize| (0..5).filter(|from| *from != own_rank).flat_map(|from| own(from as u32)).collect();
    for (rank, outcome) in world.all(|rank| bcast(rank, 3, own(9))).iter().enumerate() {
        assert_eq!(outcome.bytes(), if root == rank as u32 { vec![] } else { own(9) });
    }
    for (rank, outcome) in world.all(|rank| ask(Call::Allgather, own(rank), len * 5)).iter().enumerate() {
        let all: Vec<u8> = others(rank);
        assert_eq!(outcome.bytes(), all);
    }
    let gathered = world.all(|rank| ask(Call::Gather { root }, own(rank), if root == rank { len * 5 } else { 0 }));
    let all: Vec<u8> = others(3);
    assert_eq!(gathered[3].bytes(), all);
    let scattered = world.all(|rank| {
        let parts = if root == rank { (0..5).map(own).collect() } else { Vec::new() };
        Ask { parts, ..ask(Call::Scatter { root }, Vec::new(), len) }
    });
    for (rank, outcome) in scattered.iter().enumerate().filter(|(rank, _)| *rank != 3) {
        assert_eq!(outcome.bytes(), own(rank as u32));
    }
    for (rank, outcome) in world.all(|rank| alltoall(rank, 5, len)).iter().enumerate() {
        let all: Vec<u8> =
            (0..5).filter(|from| *from != rank).flat_map(|from| vec![(from * 16 + rank) as u8; len]).collect();
        assert_eq!(outcome.bytes(), all);
    }
    let count = len as u32 / 4;
    for outcome in world.all(|rank| allreduce(rank, count)) {
        assert_eq!(outcome.bytes(), words((0..count).map(|k| 10 + 5 * k)));
    }
    let reduced = world.all(|rank| {
        let receive = if root == rank { count as usize * 4 } else { 0 };
        Ask {
            datatype: Datatype::U32,
            ..ask(Call::Reduce { root, op: ReduceOp::Max }, words((0..count).map(|k| rank + k)), receive)
        }
    });
    assert_eq!(reduced[3].bytes(), words((0..count).map(|k| 4 + k)));
    let (sent, receive) = (world.ask(1, send(4, 0, own(1))), world.ask(4, recv(1, 0, len)));
    world.settle();
    assert!(world.is_done(1, sent));
    assert_eq!(world.outcome(4, receive).bytes(), own(1));
}

#[test]
fn a_group_may_be_named_again_with_other_ranks() {
    const FIRST: Group<'static> = Group::new(&[Rank::new(0)], &[Rank::new(1)]);
    const SECOND: Group<'static> = Group::new(&[Rank::new(1)], &[Rank::new(0)]);
    let mut registry = Registry::new();
    registry.insert_fn("give", 1, |call: hub::Applied<'_, ()>, inputs: Vec<(Rank, u8)>| {
        Ok::<_, String>(call.destinations.iter().map(|rank| (*rank, inputs[0].1)).collect::<Vec<_>>())
    });
    let mut world = World::with(hub::Config::new(2), registry, |_, _| {});
    for round in 0..4 {
        for (group, from) in [(FIRST, 0), (SECOND, 1)] {
            let outcomes = world.all(|rank| {
                let block = if rank == from { vec![round + from as u8] } else { vec![] };
                let parts = if rank == from { vec![block] } else { Vec::new() };
                let call = Call::User { name: "give", version: 1, group };
                let receive = edgempi_core::request::Receive::AtMost(9);
                Ask { call, datatype: Datatype::Object, parts, varied: false, receive }
            });
            assert_eq!(outcomes[1 - from as usize].bytes(), [round + from as u8]);
        }
    }
    world.assert_idle();
}
