//! Every limit holds: for those who keep to them everything works, and whoever does not fails alone.

mod world;

use edgempi_core::endpoint::Config;
use edgempi_core::hub::{self, Registry};
use edgempi_core::request::{CallCode, Slot};
use edgempi_core::wire::{
    Cancel, Credit, Data, Down, Goodbye, GoodbyeReason, Name, NameKind, Ping, Submit, SubmitFlags, Up,
};
use edgempi_core::{Call, Category, Datatype, Endpoint, Instant, Rank, ReduceOp};
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
    // Whether or not it would fit a frame.
    for (make, max_payload) in asks.into_iter().flat_map(|make| [(make, 512), (make, 65_536)]) {
        let mut config = hub::Config::new(2);
        (config.max_message, config.max_payload) = (1999, max_payload);
        let mut world = World::with(config, Registry::new(), |_, _| {});
        for outcome in world.all(make) {
            let (fault, text) = outcome.fault();
            assert_eq!((fault.category, fault.len, fault.max), (Category::TooLarge, 2000, 1999), "{text}");
            assert!(text.contains("EDGEMPI_MSG_SIZE"), "{text}");
        }
        assert!(world.nodes[0].owned.is_empty(), "a send was done before it was refused");
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
        world.hub.handle_frame(world.now, stranger.peer, prefix, header, edgempi_core::Payload::new());
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
        world.hub.handle_frame(world.now, stranger.peer, prefix, header, edgempi_core::Payload::new());
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
    let bad: [&[u32]; 9] = [
        &[],
        &[1],
        &[0, 0],
        &[1, 0],
        &[2, 0, 1, 1],
        &[1, 1, 0, 3],
        &[u32::MAX, 1, 0],
        &[0, 2, 1, 1],
        // Two labels.
        &[1, 1, 0, 0, 7, 7],
    ];
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
    // Groups of which not each rank gives its colour and is told its place.
    let split = Submit { group: 1, send: 24, receive: 16, datatype: 0, ..submit(1, 1, CallCode::Split) };
    for numbers in [&[2, 1, 2, 1, 2][..], &[1, 2, 2, 2, 1], &[2, 2, 2, 1, 1, 2, 5]] {
        let ask = [(name(NameKind::Group, 1), group(numbers)), (Up::Submit(split), Vec::new())];
        refused(&ask.each_ref().map(|(up, payload)| (*up, payload.as_slice())), "not each gives and receives");
    }
    // Whatever else is called has the whole communicator.
    let barrier = Submit { group: 1, ..submit(1, 1, CallCode::Barrier) };
    refused(&[(name(NameKind::Group, 1), &group(&[2, 2, 2, 1, 2, 1])), (Up::Submit(barrier), b"")], "means nothing");
}

#[test]
fn names_without_end_are_refused() {
    let (mut world, mut stranger) = cheated(|_| {});
    for number in 0..4000 {
        let name = Name { kind: NameKind::Operation, id: 1 + number };
        stranger.say(&mut world, Up::Name(name), &[b'x'; 500]);
    }
    assert_let_go(&mut world, &mut stranger, Category::TooLarge, "names of one session");
}

#[test]
fn the_name_of_an_operation_that_is_too_long_is_refused() {
    let (mut world, mut stranger) = cheated(|_| {});
    for number in 1..100 {
        stranger.say(&mut world, Up::Name(Name { kind: NameKind::Operation, id: number }), &[b'x'; 1028]);
    }
    assert_eq!(stranger.rejection(), None);
    stranger.say(&mut world, Up::Name(Name { kind: NameKind::Operation, id: 1 }), &[b'x'; 1029]);
    assert_let_go(&mut world, &mut stranger, Category::TooLarge, "at most 1024 bytes");
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
    for crumb in [0, 1, 63, 65] {
        let (mut world, mut stranger) = cheated(|config| config.window = 6000);
        for rank in 0..2 {
            world.ask(rank, bcast(rank as u32, 2, vec![0; 2_000_000]));
        }
        stranger.say(&mut world, Up::Submit(root), b"");
        stranger.say(&mut world, data(0), &[1; 128]);
        stranger.say(&mut world, data(128), &vec![1; crumb]);
        assert_let_go(&mut world, &mut stranger, Category::Protocol, "crumbs");
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
fn credit_before_an_operation_starts_answers_nobody_and_leaves_no_window_held() {
    const LEN: usize = 100_000;
    let (mut world, mut stranger) = cheated(|_| {});
    let call = Submit { receive: LEN as u64, ..submit(1, 1, CallCode::Bcast) };
    stranger.say(&mut world, Up::Submit(call), b"");
    let credit = Credit { request: call.request, part: 0, limit: u64::MAX, len: LEN as u64 };
    stranger.say(&mut world, Up::Credit(credit), b"");
    assert!(stranger.said.is_empty(), "nobody else has come");
    let requests = [0, 1].map(|rank| world.ask(rank, bcast(rank as u32, 0, vec![3; LEN])));
    for _ in 0..100 {
        stranger.listen(&mut world);
    }
    let completed = |(frame, _): &(Down, _)| matches!(frame, Down::Complete(end) if end.bytes == LEN as u64);
    assert_eq!(stranger.said.iter().filter(|said| completed(said)).count(), 1, "{:?}", stranger.rejection());
    for (rank, request) in requests.into_iter().enumerate() {
        assert!(matches!(world.outcome(rank, request), Outcome::Done { .. }));
    }
    let status = world.hub.status();
    assert_eq!((status.operations, status.windows, status.queued), (0, 0, 0));
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
