//! Whatever peers say, the hub does not panic and gives honest ranks what is theirs.

mod world;

use std::collections::BTreeMap;

use bytes::Bytes;
use edgempi_core::endpoint::Config;
use edgempi_core::hub::{self, Applied, Hub, PeerId, Registry};
use edgempi_core::request::{CallCode, CommunicatorId, Receive};
use edgempi_core::wire::{
    Cancel, Complete, Credit, Data, Down, Fail, Goodbye, GoodbyeReason, Hello, MAX_HEAD_LEN, Name, NameKind, Ping,
    Prefix, Submit, SubmitFlags, Up,
};
use edgempi_core::{
    ANY_SOURCE, ANY_TAG, Call, Category, Datatype, Group, Instant, Rank, ReduceOp, RequestId, SplitRequest,
    SplitResult, Tag,
};
use proptest::prelude::*;
use world::{Ask, Outcome, Random, World, ask, barrier, bcast, hello, recv, request_id, send, words};

const HONEST: [Rank; 2] = [Rank::new(0), Rank::new(1)];
const PAIR: Group<'static> = Group::new(&HONEST, &HONEST);
const SIZE: u32 = 4;

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.insert_fn("sum", 1, |call: Applied<'_, ()>, inputs: Vec<(Rank, u32)>| {
        let sum: u32 = inputs.iter().fold(0, |sum, (_, value)| sum.wrapping_add(*value));
        Ok::<_, String>(call.destinations.iter().map(|rank| (*rank, sum)).collect::<Vec<_>>())
    });
    registry
}

/// A peer that mostly keeps to the protocol, so that it gets far, and then does not.
struct Villain {
    peer: PeerId,
    rank: u32,
    sequence: u32,
    requests: Vec<(RequestId, u64)>,
    credits: Vec<Credit>,
    /// The communicators that it knows, the world first, and the splits that will tell of more.
    communicators: Vec<u64>,
    splits: Vec<RequestId>,
    counters: BTreeMap<(u64, bool), u32>,
}

impl Villain {
    fn new(world: &mut World, rank: u32, random: &mut Random) -> Self {
        let peer = world.hub.connect(world.now);
        let mut villain = Self {
            peer,
            rank,
            sequence: 0,
            requests: Vec::new(),
            credits: Vec::new(),
            communicators: vec![0],
            splits: Vec::new(),
            counters: BTreeMap::new(),
        };
        let window = [0, 64, 500, u32::MAX][random.below(4)];
        let payload = [64, 100, 5000, u32::MAX][random.below(4)];
        let open_parts = [0, 1, 3, u16::MAX][random.below(4)];
        let hello = Hello { receive_window: window, max_payload: payload, open_parts, ..hello(rank, SIZE) };
        villain.say(world, Up::Hello(hello), Vec::new());
        for (kind, id, payload) in [
            (NameKind::Group, 1, words([2, 2, 0, 1, 0, 1])),
            (NameKind::Group, 2, words([2, 1, rank, 0, rank])),
            (NameKind::Group, 3, words([0, 4, 0, 1, 2, 3])),
            (NameKind::Operation, 1, b"\x01\0\0\0sum".to_vec()),
            (NameKind::Operation, 2, b"\x02\0\0\0none".to_vec()),
        ] {
            villain.say(world, Up::Name(Name { kind, id }), payload);
        }
        villain
    }

    fn say(&mut self, world: &mut World, frame: Up, payload: Vec<u8>) {
        let mut head = [0; MAX_HEAD_LEN];
        let len = frame.encode(payload.len() as u32, &mut head);
        self.say_bytes(world, &head[..len], payload);
    }

    fn say_bytes(&mut self, world: &mut World, head: &[u8], payload: Vec<u8>) {
        let (prefix, header) = head.split_first_chunk().unwrap();
        let prefix = Prefix::decode(*prefix);
        if world.hub.check_prefix(world.now, self.peer, prefix).is_ok() {
            world.hub.handle_frame(world.now, self.peer, prefix, header, Bytes::from(payload));
        }
    }

    fn hear(&mut self, hub: &mut Hub, count: usize) {
        for _ in 0..count {
            match hub.poll_transmit(self.peer) {
                Some((Down::Credit(credit), _)) => self.credits.push(credit),
                Some((Down::Complete(Complete { request, .. }) | Down::Fail(Fail { request, .. }), payload)) => {
                    self.requests.retain(|(open, _)| *open != request);
                    if let (true, Ok(result)) = (self.splits.contains(&request), payload.as_ref().try_into()) {
                        self.communicators.push(SplitResult::from_bytes(result).id);
                    }
                }
                Some(_) => {}
                None => break,
            }
        }
    }

    fn act(&mut self, world: &mut World, random: &mut Random) {
        let reading = random.below(4);
        self.hear(&mut world.hub, reading);
        let some_request = |villain: &Self, random: &mut Random| match villain
            .requests
            .get(random.below(villain.requests.len() + 1))
        {
            Some((request, _)) => *request,
            None => request_id(random.below(70_000) as u32),
        };
        match random.below(20) {
            0..10 => self.submit(world, random),
            10..14 => {
                // Mostly data for which there is credit.
                let Some(credit) = self.credits.pop() else { return };
                let wrong = random.below(12);
                let offset = if wrong == 0 { credit.limit + 1 } else { 0 };
                let part = if wrong == 1 { 77 } else { credit.part };
                let len = credit.limit.min(3008) as usize + usize::from(wrong == 2);
                let len = if wrong == 3 { len.saturating_sub(random.below(3)) } else { len };
                let data = Data { request: credit.request, part, offset };
                self.say(world, Up::Data(data), vec![1; len]);
                if random.below(3) == 0 {
                    self.credits.push(credit);
                }
            }
            14..16 => {
                let request = some_request(self, random);
                let limit = [0, 100, 10_000, u64::MAX][random.below(4)];
                let credit = Credit { request, part: random.below(5) as u32, limit, len: limit };
                self.say(world, Up::Credit(credit), Vec::new());
            }
            16 => {
                let request = some_request(self, random);
                self.say(world, Up::Cancel(Cancel { request }), Vec::new());
            }
            17 => self.say(world, Up::Ping(Ping { acknowledged: 0 }), Vec::new()),
            18 => match random.below(15) {
                0 => self.say(world, Up::Goodbye(Goodbye { reason: GoodbyeReason::Finished }), Vec::new()),
                1 => self.say(world, Up::Goodbye(Goodbye { reason: GoodbyeReason::Dropped }), Vec::new()),
                2 => self.say(world, Up::Hello(hello(self.rank, SIZE)), Vec::new()),
                3 => {
                    let noise: Vec<u8> = (0..6 + random.below(80)).map(|_| random.below(256) as u8).collect();
                    self.say_bytes(world, &noise, Vec::new());
                }
                _ => self.say(world, Up::Pong(Ping { acknowledged: 9 }), Vec::new()),
            },
            _ => {
                let kind = [NameKind::Group, NameKind::Operation, NameKind::Site][random.below(3)];
                let payload = words((0..random.below(6)).map(|_| random.below(4) as u32));
                if random.below(10) == 0 || kind == NameKind::Site {
                    self.say(world, Up::Name(Name { kind, id: random.below(5) as u16 }), payload);
                }
            }
        }
    }

    /// Splits the world as it should.
    fn split(&mut self, world: &mut World, request: Vec<u8>) {
        self.sequence += 1;
        let counter = self.counters.entry((0, false)).or_default();
        let submit = Submit {
            datatype: Datatype::Object.code(),
            flags: SubmitFlags::empty().with(SubmitFlags::EAGER),
            n: *counter,
            send: request.len() as u64,
            receive: SplitResult::LEN as u64,
            ..world::submit(0x10000 + self.sequence, self.sequence, CallCode::Split)
        };
        *counter += 1;
        self.splits.push(submit.request);
        self.say(world, Up::Submit(submit), request);
    }

    fn submit(&mut self, world: &mut World, random: &mut Random) {
        let communicator = self.communicators[random.below(self.communicators.len())];
        // Splits and frees would end all calls on the world too soon.
        let calls: &[u8] = &[1, 1, 1, 2, 2, 2, 16, 17, 18, 19, 20, 21, 22, 23, 64, 64, 48, 48, 48, 49];
        let call = calls[random.below(if communicator == 0 { 16 } else { 20 })];
        let mut flags = SubmitFlags::empty();
        for flag in [SubmitFlags::EXACT, SubmitFlags::UNLIMITED, SubmitFlags::ANY_SOURCE, SubmitFlags::ANY_TAG] {
            flags = flags.with_if(random.below(2) == 0, flag);
        }
        let folds = matches!(call, 22 | 23);
        let mut send = [0, 4, 4, 100, 4000, 20_000, 1 << 40, u64::MAX][random.below(8)];
        if matches!(call, 2 | 16) {
            send = 0;
        }
        if matches!(call, 19 | 21) || folds {
            send -= send % 8;
        }
        if call == 48 {
            send = SplitRequest::LEN as u64;
        }
        let inline = if random.below(2) == 0 || call == 48 { send.min(900) } else { 0 };
        let whole = matches!(call, 19 | 21) && inline < send;
        let inline = if whole { 0 } else { inline };
        flags = flags.with_if(inline > 0, SubmitFlags::EAGER);
        let user = call == 64;
        let group = if user { random.below(4) as u16 } else { 0 };
        let counter = self.counters.entry((communicator, user && group == 2)).or_default();
        let n = *counter;
        *counter += u32::from(!matches!(call, 1 | 2 | 49));
        self.sequence += 1;
        let mut submit = Submit {
            request: request_id(0x10000 + self.sequence),
            sequence: self.sequence,
            acknowledged: 0,
            call,
            datatype: [0, 1, Datatype::F32.code()][random.below(3)],
            op: 0,
            flags,
            communicator,
            group,
            name: if user { 1 + random.below(2) as u16 } else { 0 },
            site: 0,
            peer: Rank::new(random.below(if communicator == 0 { SIZE as usize } else { 2 }) as u32),
            tag: Tag(random.below(3) as u32),
            n,
            send,
            receive: [0, 4, 16, 80_000, u64::MAX][random.below(5)],
        };
        if folds {
            submit.op = ReduceOp::Sum.code();
            submit.datatype = [1, Datatype::F32.code()][random.below(2)];
        }
        let mut payload = vec![random.below(256) as u8; inline as usize];
        if matches!(call, 19 | 21) && random.below(3) == 0 {
            submit.flags = submit.flags.with(SubmitFlags::VARIED);
            let lengths = [send / 2, 0, send - send / 2, 0];
            payload = [lengths.map(u64::to_le_bytes).concat(), payload].concat();
        }
        if call == 48 {
            let color = (random.below(4) > 0).then(|| random.below(2) as u32);
            payload = SplitRequest { color, key: random.below(3) as i32 }.to_bytes().to_vec();
            (submit.datatype, submit.receive) = (Datatype::Object.code(), SplitResult::LEN as u64);
            self.splits.push(submit.request);
        }
        // And now and then one field is anything.
        match random.below(60) {
            0 => submit.sequence ^= 1,
            1 => submit.request = request_id(random.below(5) as u32),
            2 => submit.call = random.below(256) as u8,
            3 => submit.datatype = random.below(256) as u8,
            4 => submit.op = random.below(256) as u8,
            5 => submit.flags = submit.flags.with(SubmitFlags::VARIED),
            6 => submit.flags = submit.flags.with(SubmitFlags::EAGER),
            7 => submit.peer = Rank::new(random.below(9) as u32),
            8 => submit.send = submit.send.wrapping_mul(7).wrapping_add(3),
            9 => payload.push(0),
            10 => submit.group = 1 + random.below(3) as u16,
            11 => submit.n = submit.n.wrapping_sub(1),
            _ => {}
        }
        self.requests.push((submit.request, submit.send));
        self.say(world, Up::Submit(submit), payload);
    }
}

fn sum(value: u32) -> Ask<'static> {
    let call = Call::User { name: "sum", version: 1, group: PAIR };
    // postcard of `TypedInput((), value)`
    let mut block = Vec::new();
    let mut rest = value;
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
    Ask { datatype: Datatype::Object, receive: Receive::AtMost(9), ..ask(call, block, 0) }
}

/// What an honest rank asks for, and the bytes that it must get. `None`: the villains take part, so anything goes.
type Wish = (usize, RequestId, Option<Vec<u8>>);

fn honest(world: &mut World, round: usize, wishes: &mut Vec<Wish>, random: &mut Random) {
    let len = [0, 5, 900, 9000][random.below(4)];
    let tag = 1000 + round as u32;
    match random.below(3) {
        0 => {
            let (from, to) = (round % 2, 1 - round % 2);
            wishes.push((from, world.ask(from, send(to as u32, tag, vec![round as u8; len])), Some(vec![])));
            let receive = world.ask(to, recv(from as u32, tag, len));
            wishes.push((to, receive, Some(vec![round as u8; len])));
        }
        1 => {
            for rank in 0..2 {
                let request = world.ask(rank, sum(1 + rank as u32 * 3));
                wishes.push((rank, request, Some(vec![5])));
            }
        }
        _ => {
            let (which, root) = (random.below(5), random.below(SIZE as usize) as u32);
            for rank in 0..2 {
                let any = match which {
                    0 => barrier(),
                    1 => bcast(rank as u32, root, vec![1; len]),
                    2 => ask(Call::Allgather, vec![1; len], len * SIZE as usize),
                    3 => recv(ANY_SOURCE, ANY_TAG, len),
                    _ => send(2 + rank as u32, 0, vec![2; len]),
                };
                // A receive of anything would take what the other honest rank is promised.
                let any = if matches!(any.call, Call::Recv { .. }) { recv(2 + root % 2, ANY_TAG, len) } else { any };
                wishes.push((rank, world.ask(rank, any), None));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn honest_ranks_get_what_is_theirs_whatever_the_others_say(seed: u64, rounds in 1_usize..120) {
        let mut random = Random(seed);
        let mut config = hub::Config::new(SIZE);
        (config.max_payload, config.window, config.queue_size) = (4096, 4096, 16_384);
        // With one window for all, a villain that holds it makes others wait until it is gone.
        let scarce = random.below(2) == 0;
        config.window_total = if scarce { 4096 } else { 1 << 24 };
        config.max_message = [1 << 16, u64::MAX][random.below(2)];
        let now = Instant::from_micros(1);
        let mut world = World { hub: Hub::new(now, config, registry()), nodes: Vec::new(), now };
        for rank in 0..2 {
            world.join(Config::host(Rank::new(rank), SIZE));
        }
        world.settle();
        let mut villains = [2, 3].map(|rank| Villain::new(&mut world, rank, &mut random));
        let mut wishes = Vec::new();
        for round in 0..rounds {
            if random.below(4) == 0 {
                honest(&mut world, round, &mut wishes, &mut random);
            }
            for _ in 0..random.below(5) {
                let villain = random.below(2);
                villains[villain].act(&mut world, &mut random);
            }
            for _ in 0..random.below(20) {
                world.random_step(&mut random);
            }
            prop_assert!(world.hub.status().windows <= world.hub.config().window_total);
        }
        world.settle();
        // A rank that was done with an operation when a villain disagreed hears of it in the next one, which fails.
        let told = |world: &World, rank: usize, request: &RequestId| match world.nodes[rank].outcomes.get(request) {
            Some(Outcome::Failed { fault, .. }) => fault.category == Category::Mismatch,
            _ => false,
        };
        let noticed = wishes.iter().any(|(rank, request, _)| told(&world, *rank, request));
        let unserved = wishes.iter().find(|(rank, request, expected)| expected.is_some() && !world.is_done(*rank, *request));
        prop_assert!(unserved.is_none() || scarce || noticed);
        for villain in &villains {
            world.hub.disconnect(world.now, villain.peer);
        }
        world.settle();
        for (rank, request, expected) in wishes {
            let done = world.is_done(rank, request);
            prop_assert!(done || noticed, "rank {} hangs", rank);
            if let Some(expected) = expected
                && done
                && !told(&world, rank, &request)
            {
                prop_assert_eq!(world.outcome(rank, request).bytes(), expected);
            }
        }
        for rank in 0..2 {
            prop_assert_eq!(world.nodes[rank].error, None);
            prop_assert!(world.nodes[rank].rejected.is_none());
            let last = world.ask(rank, barrier());
            world.settle();
            let failed = matches!(world.outcome(rank, last), Outcome::Failed { .. });
            prop_assert!(failed);
        }
        prop_assert_eq!(world.hub.status().windows, 0);
    }

    #[test]
    fn communicators_of_honest_ranks_are_theirs_whatever_the_others_say(seed: u64, rounds in 1_usize..120) {
        let mut random = Random(seed);
        let (mut world, mut villains, own) = with_communicators(&mut random);
        let mut wishes = Vec::new();
        for round in 0..rounds as u32 {
            if random.below(4) == 0 {
                let len = [0, 8, 900, 9000][random.below(4)];
                let (which, root) = (random.below(5), round % 2);
                for (rank, communicator) in own.into_iter().enumerate() {
                    let at = rank as u32;
                    let block = vec![round as u8; len];
                    let (ask, expected) = match which {
                        0 if at == root => (bcast(at, root, block), Vec::new()),
                        0 => (bcast(at, root, vec![0; len]), block),
                        1 => (ask(Call::Allreduce { op: ReduceOp::Sum }, vec![1; len], len), vec![2; len]),
                        2 if at == root => (send(1 - root, round, block), Vec::new()),
                        2 => (recv(root, round, len), block),
                        3 => (ask(Call::Alltoall, vec![0; len], len), vec![0; len / 2]),
                        _ => (barrier(), Vec::new()),
                    };
                    let ask = if which == 3 { Ask { parts: vec![vec![0; len / 2]; 2], ..ask } } else { ask };
                    wishes.push((rank, world.ask_on(rank, communicator, ask), expected));
                }
            }
            for _ in 0..random.below(5) {
                villains[random.below(2)].act(&mut world, &mut random);
            }
            for _ in 0..random.below(20) {
                world.random_step(&mut random);
            }
        }
        world.settle();
        for (rank, request, expected) in &wishes {
            prop_assert!(world.is_done(*rank, *request), "rank {} hangs", rank);
            prop_assert_eq!(&world.outcome(*rank, *request).bytes(), expected);
        }
        for villain in &villains {
            world.hub.disconnect(world.now, villain.peer);
        }
        for (rank, communicator) in own.into_iter().enumerate() {
            wishes.push((rank, world.ask_on(rank, communicator, barrier()), Vec::new()));
        }
        world.settle();
        let (rank, request, _) = wishes[wishes.len() - 1];
        prop_assert_eq!(world.outcome(rank, request).bytes(), b"");
        prop_assert!(world.nodes.iter().all(|node| node.error.is_none() && node.rejected.is_none()));
        prop_assert_eq!(world.hub.status().windows, 0);
    }
}

/// A world in which the honest ranks have a communicator of their own, whose places come with it, and the villains one
/// of theirs and one of all.
fn with_communicators(random: &mut Random) -> (World, [Villain; 2], [CommunicatorId; 2]) {
    let mut config = hub::Config::new(SIZE);
    (config.max_payload, config.window, config.queue_size) = (4096, 4096, 16_384);
    let now = Instant::from_micros(1);
    let mut world = World { hub: Hub::new(now, config, registry()), nodes: Vec::new(), now };
    for rank in 0..2 {
        world.join(Config::host(Rank::new(rank), SIZE));
    }
    world.settle();
    let mut villains = [2, 3].map(|rank| Villain::new(&mut world, rank, random));
    let mut own = [CommunicatorId { id: 0, rank: Rank::new(0), size: 0 }; 2];
    for all in [true, false] {
        let request =
            |color: u32| SplitRequest { color: Some(if all { 0 } else { color }), key: 0 }.to_bytes().to_vec();
        let requests = [0, 1].map(|rank| {
            let split = ask(Call::Split, request(0), SplitResult::LEN);
            world.ask(rank, Ask { datatype: Datatype::Object, ..split })
        });
        for villain in &mut villains {
            villain.split(&mut world, request(1));
        }
        world.settle();
        for villain in &mut villains {
            villain.hear(&mut world.hub, 100);
        }
        own = [0, 1].map(|rank| {
            let bytes = world.outcome(rank, requests[rank]).bytes();
            let SplitResult { id, rank, size } = SplitResult::from_bytes(bytes.try_into().expect("16 bytes"));
            CommunicatorId { id, rank, size }
        });
    }
    (world, villains, own)
}
