//! Peers of a hub that mostly keep to the protocol, so that they get far, and honest ranks beside them.

#![allow(dead_code, reason = "each test uses its own part of the harness")]

mod refuge;
mod siege;

use std::collections::BTreeMap;

use edgempi_core::Payload;
use edgempi_core::endpoint::Config;
use edgempi_core::hub::{self, Applied, Hub, PeerId, Registry};
use edgempi_core::request::{CallCode, CommunicatorId, Receive};
use edgempi_core::wire::{
    Blocked, Cancel, Complete, Credit, Data, Down, Fail, Goodbye, GoodbyeReason, Hello, Inquire, MAGIC, MAX_HEAD_LEN,
    Name, NameKind, Ping, Prefix, Submit, SubmitFlags, Up, VERSION, Withdraw,
};
use edgempi_core::{
    ANY_SOURCE, ANY_TAG, Call, Category, Color, Datatype, Group, Instant, Rank, ReduceOp, RequestId, Source,
    SplitRequest, SplitResult, Tag, TagSelector,
};

pub use refuge::Refuge;
pub use siege::Siege;

use crate::world::{self, Ask, Choose, Outcome, World, ask, barrier, bcast, hello, recv, request_id, send, words};

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
    fn new(world: &mut World, rank: u32, random: &mut impl Choose) -> Self {
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
            world.hub.handle_frame(world.now, self.peer, prefix, header, Payload::from(payload));
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

    fn act(&mut self, world: &mut World, random: &mut impl Choose) {
        let reading = random.below(4);
        self.hear(&mut world.hub, reading);
        let some_request = |villain: &Self, random: &mut dyn Choose| match villain
            .requests
            .get(random.below(villain.requests.len() + 1))
        {
            Some((request, _)) => *request,
            None => request_id(random.below(70_000) as u32),
        };
        match random.below(22) {
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
                let is_gentle = random.below(3) == 0;
                let frame = if is_gentle { Up::Withdraw(Withdraw { request }) } else { Up::Cancel(Cancel { request }) };
                self.say(world, frame, Vec::new());
            }
            20 => {
                let request = some_request(self, random);
                self.say(world, Up::Blocked(Blocked { request }), Vec::new());
            }
            21 => inquire(world, random),
            17 => self.say(world, Up::Ping(Ping { acknowledged: 0 }), Vec::new()),
            18 => match random.below(15) {
                0 => self.say(world, Up::Goodbye(Goodbye { reason: GoodbyeReason::Finished }), Vec::new()),
                1 => self.say(world, Up::Goodbye(Goodbye { reason: GoodbyeReason::Dropped }), Vec::new()),
                2 => self.say(world, Up::Hello(hello(self.rank, SIZE)), Vec::new()),
                3 => {
                    let noise: Vec<u8> = (0..6 + random.below(80)).map(|_| random.below(256) as u8).collect();
                    self.say_bytes(world, &noise, Vec::new());
                }
                4 => world.hub.disconnect(world.now, self.peer),
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

    fn submit(&mut self, world: &mut World, random: &mut impl Choose) {
        let communicator = self.communicators[random.below(self.communicators.len())];
        // Splits and frees would end all calls on the world too soon.
        let messages = [1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5, 6, 7, 7, 7, 8, 9, 9, 9];
        let mut calls: Vec<u8> = messages.into_iter().chain(16..32).chain([50, 64, 64, 64]).collect();
        if communicator != 0 {
            calls.extend([48, 48, 48, 48, 48, 49, 49]);
        }
        let call = calls[random.below(calls.len())];
        let mut flags = SubmitFlags::empty();
        for flag in [SubmitFlags::EXACT, SubmitFlags::UNLIMITED, SubmitFlags::ANY_SOURCE, SubmitFlags::ANY_TAG] {
            flags = flags.with_if(random.below(2) == 0, flag);
        }
        let folds = matches!(call, 22 | 23 | 28..32);
        let scatters = matches!(call, 19 | 21 | 25 | 27);
        flags = flags.with_if((17..32).contains(&call) && random.below(4) == 0, SubmitFlags::IN_PLACE);
        let mut send = [0, 4, 4, 100, 4000, 20_000, 1 << 40, u64::MAX][random.below(8)];
        if matches!(call, 2 | 5..10 | 16 | 49 | 50) {
            send = 0;
        }
        if scatters || folds {
            send -= send % 8;
        }
        if call == 48 {
            send = SplitRequest::LEN as u64;
        }
        let inline = if random.below(2) == 0 || call == 48 { send.min(900) } else { 0 };
        let whole = scatters && inline < send;
        let inline = if whole { 0 } else { inline };
        flags = flags.with_if(inline > 0, SubmitFlags::EAGER);
        let user = call == 64;
        let group = if user { random.below(4) as u16 } else { 0 };
        let counter = self.counters.entry((communicator, user && group == 2)).or_default();
        // Of a probe that keeps its message, and of the receive that follows, it is the message's number.
        let n = if matches!(call, 7..10) { random.below(3) as u32 } else { *counter };
        *counter += u32::from(!matches!(call, 1..10 | 49 | 50));
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
        if matches!(call, 28 | 29) {
            // Mostly the block that is the rank's.
            submit.flags = submit.flags.with(SubmitFlags::EXACT);
            submit.receive = [send / 4 - send / 4 % 8, send / 4 - send / 4 % 8, 8, 0][random.below(4)];
        }
        let mut payload = vec![random.below(256) as u8; inline as usize];
        if scatters && random.below(3) == 0 {
            submit.flags = submit.flags.with(SubmitFlags::VARIED);
            let lengths = [send / 2, 0, send - send / 2, 0];
            payload = [lengths.map(u64::to_le_bytes).concat(), payload].concat();
        }
        if call == 48 {
            let color = match random.below(8) {
                0 => None,
                1 => Some(Color::Kind),
                2 => Some(Color::Text([random.below(2) as u8; 16])),
                _ => Some(Color::Number(random.below(2) as u32)),
            };
            let key = [0, 1, 2, i32::MIN][random.below(4)];
            payload = SplitRequest { color, key }.to_bytes().to_vec();
            if random.below(20) == 0 {
                payload[random.below(SplitRequest::LEN)] = random.below(256) as u8;
            }
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
            12 => submit.communicator = [0, 1, u64::MAX][random.below(3)],
            13 => submit.site = random.below(70_000) as u16,
            14 => submit.receive = [0, 1, 3, 7, 1 << 50][random.below(5)],
            15 => submit.tag = Tag(u32::MAX),
            _ => {}
        }
        self.requests.push((submit.request, submit.send));
        let mut head = [0; MAX_HEAD_LEN];
        let len = Up::Submit(submit).encode(payload.len() as u32, &mut head);
        if random.below(40) == 0 {
            head[random.below(len)] ^= 1 << random.below(8);
        }
        self.say_bytes(world, &head[..len], payload);
    }
}

/// Somebody asks how the world is, or says something like that, and does not always listen to the answer.
fn inquire(world: &mut World, random: &mut impl Choose) {
    let mut stranger = world::Stranger::connect(world);
    let magic = if random.below(8) == 0 { 7 } else { MAGIC };
    let name: &[u8] = [&b""[..], b"another world", &[0xff; 300]][random.below(3)];
    if random.below(2) == 0 {
        stranger.say(world, Up::Inquire(Inquire { magic, version: VERSION }), name);
    } else {
        let mut head = [0; MAX_HEAD_LEN];
        let len = Up::Inquire(Inquire { magic, version: VERSION }).encode(name.len() as u32, &mut head);
        let (prefix, header) = head[..len].split_first_chunk().unwrap();
        let prefix = Prefix::decode(*prefix);
        if world.hub.check_prefix(world.now, stranger.peer, prefix).is_ok() {
            world.hub.handle_frame(world.now, stranger.peer, prefix, header, Payload::from(name.to_vec()));
        }
    }
    world.hub.disconnect(world.now, stranger.peer);
}

/// A world of which the honest ranks have come, and villains in the places of the others.
fn with_villains(config: hub::Config, random: &mut impl Choose) -> (World, [Villain; 2]) {
    let now = Instant::from_micros(1);
    let mut world = World { hub: Hub::new(now, config, registry()), nodes: Vec::new(), now };
    for rank in 0..2 {
        world.join(Config::host(Rank::new(rank), SIZE));
    }
    world.settle();
    let villains = [2, 3].map(|rank| Villain::new(&mut world, rank, random));
    (world, villains)
}

/// A hub that holds little.
fn small() -> hub::Config {
    let mut config = hub::Config::new(SIZE);
    (config.max_payload, config.window, config.queue_size) = (4096, 4096, 16_384);
    config
}

fn assert_within_limits(hub: &Hub) {
    let (status, config) = (hub.status(), hub.config());
    assert!(status.windows <= config.window_total, "{status:?}");
    assert!(status.queued <= config.queue_total, "{status:?}");
}
