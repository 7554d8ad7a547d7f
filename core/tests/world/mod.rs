//! A world in memory: endpoints and a hub joined by queues, stepped until nothing moves. Nothing here has a clock.

#![allow(dead_code, reason = "each test file uses its own part of the harness")]

use std::collections::{HashMap, VecDeque};

use edgempi_core::Payload;
use edgempi_core::endpoint::{Config, Content, Event, Incoming, Outgoing, Reach};
use edgempi_core::hub::{self, Hub, PeerId, Registry};
use edgempi_core::request::{CallCode, CommunicatorId, NameIds, NewNames, Parts, Receive, Sent, Slot, Submission};
use edgempi_core::wire::{
    Down, GoodbyeReason, Hello, Layout, MAGIC, MAX_HEAD_LEN, PREFIX_LEN, Prefix, RankKind, Submit, SubmitFlags, Up,
    VERSION,
};
use edgempi_core::{
    Call, Datatype, Endpoint, Fault, Group, Instant, Rank, RequestId, Source, Status, Tag, TagSelector,
};

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Frame {
    pub head: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn kind(&self) -> u8 {
        self.head[0]
    }

    fn prefix(&self) -> Prefix {
        Prefix::decode(self.head[..PREFIX_LEN].try_into().unwrap())
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Done { status: Status, parts: Vec<Vec<u8>> },
    Failed { fault: Fault, text: String },
}

impl Outcome {
    #[track_caller]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Outcome::Done { parts, .. } => parts.concat(),
            Outcome::Failed { text, fault } => panic!("failed: {fault}: {text}"),
        }
    }

    #[track_caller]
    pub fn fault(&self) -> (Fault, String) {
        match self {
            Outcome::Failed { fault, text } => (*fault, text.clone()),
            Outcome::Done { .. } => panic!("it succeeded"),
        }
    }
}

struct Held {
    /// The rank's own number in the communicator.
    own: usize,
    parts: Vec<Vec<u8>>,
    varied: bool,
    role_down: Parts,
    received: Vec<Vec<u8>>,
    group: Vec<u8>,
    operation: Vec<u8>,
    site: Vec<u8>,
    cancelled: bool,
}

pub struct Node {
    pub endpoint: Endpoint<Vec<Slot>>,
    pub peer: PeerId,
    pub rank: Rank,
    size: u32,
    held: HashMap<RequestId, Held>,
    pub outcomes: HashMap<RequestId, Outcome>,
    /// Sends whose bytes the hub has room for.
    pub owned: Vec<RequestId>,
    pub to_hub: VecDeque<Frame>,
    pub to_rank: VecDeque<Frame>,
    /// Kinds of all frames sent, up and down.
    pub ups: Vec<u8>,
    pub downs: Vec<u8>,
    pub rejected: Option<(Fault, String)>,
    pub goodbye: Option<GoodbyeReason>,
    counters: HashMap<(u64, u16), u32>,
    names: u16,
    /// Frames stay in the queues while this is set.
    pub stalled: bool,
    pub error: Option<Fault>,
    /// The place in the source that the next calls name.
    pub site: Option<&'static str>,
    window: usize,
    /// Whether Submits say that the result may come at any pace.
    pub unlimited: bool,
}

/// What a rank asks for.
pub struct Ask<'a> {
    pub call: Call<'a>,
    pub datatype: Datatype,
    pub parts: Vec<Vec<u8>>,
    pub varied: bool,
    pub receive: Receive,
}

pub struct World {
    pub hub: Hub,
    pub nodes: Vec<Node>,
    pub now: Instant,
}

impl World {
    pub fn new(size: u32) -> Self {
        Self::with(hub::Config::new(size), Registry::new(), |_, _| {})
    }

    pub fn with(config: hub::Config, registry: Registry, adjust: impl Fn(u32, &mut Config)) -> Self {
        let now = Instant::from_micros(1);
        let size = config.size;
        let mut world = World { hub: Hub::new(now, config, registry), nodes: Vec::new(), now };
        for rank in 0..size {
            let mut config = Config::host(Rank::new(rank), size);
            adjust(rank, &mut config);
            world.join(config);
        }
        world.settle();
        world
    }

    pub fn join(&mut self, config: Config) -> usize {
        let peer = self.hub.connect(self.now);
        self.nodes.push(Node {
            endpoint: Endpoint::new(self.now, config, vec![Slot::FREE; 600]),
            peer,
            rank: config.rank,
            size: config.size,
            held: HashMap::new(),
            outcomes: HashMap::new(),
            owned: Vec::new(),
            to_hub: VecDeque::new(),
            to_rank: VecDeque::new(),
            ups: Vec::new(),
            downs: Vec::new(),
            rejected: None,
            goodbye: None,
            counters: HashMap::new(),
            names: 0,
            stalled: false,
            error: None,
            site: None,
            window: config.receive_window as usize,
            unlimited: false,
        });
        self.nodes.len() - 1
    }

    #[track_caller]
    pub fn ask(&mut self, rank: usize, ask: Ask<'_>) -> RequestId {
        self.nodes[rank].ask(ask).expect("the call is valid")
    }

    /// A call on a communicator other than the world.
    #[track_caller]
    pub fn ask_on(&mut self, rank: usize, communicator: CommunicatorId, ask: Ask<'_>) -> RequestId {
        self.nodes[rank].ask_on(communicator, ask).expect("the call is valid")
    }

    /// Moves frames, runs work and events until nothing is left to do. Panics if that takes beyond reason.
    pub fn settle(&mut self) {
        for _ in 0..2_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// One frame of each rank, each way. Returns whether anything moved.
    pub fn step(&mut self) -> bool {
        let mut moved = false;
        for index in 0..self.nodes.len() {
            moved |= self.step_node(index);
        }
        moved | self.step_hub()
    }

    pub fn step_node(&mut self, index: usize) -> bool {
        let now = self.now;
        let node = &mut self.nodes[index];
        let mut moved = node.transmit(now);
        if node.stalled {
            return moved;
        }
        moved |= self.deliver_up(index);
        moved | self.deliver_down(index)
    }

    /// The rank hands one frame to its link.
    pub fn transmit(&mut self, index: usize) -> bool {
        let now = self.now;
        self.nodes[index].transmit(now)
    }

    /// One frame of a rank reaches the hub.
    pub fn deliver_up(&mut self, index: usize) -> bool {
        let node = &mut self.nodes[index];
        let Some(frame) = node.to_hub.pop_front() else { return false };
        let (now, peer, prefix) = (self.now, node.peer, frame.prefix());
        if self.hub.check_prefix(now, peer, prefix).is_ok() {
            self.hub.handle_frame(now, peer, prefix, &frame.head[PREFIX_LEN..], Payload::from(frame.payload));
        }
        true
    }

    /// One frame of the hub reaches a rank.
    pub fn deliver_down(&mut self, index: usize) -> bool {
        let Some(frame) = self.nodes[index].to_rank.pop_front() else { return false };
        let now = self.now;
        self.nodes[index].receive(now, frame);
        true
    }

    /// The hub hands one frame for one rank to its link.
    pub fn transmit_down(&mut self, index: usize) -> bool {
        let node = &mut self.nodes[index];
        let Some((frame, payload)) = self.hub.poll_transmit(node.peer) else { return false };
        node.push_down(frame, &payload);
        true
    }

    /// One piece of work is done.
    pub fn work(&mut self) -> bool {
        let Some(work) = self.hub.poll_work() else { return false };
        let done = work.run();
        self.hub.finish_work(self.now, done);
        true
    }

    /// One thing happens somewhere, or nothing.
    pub fn random_step(&mut self, random: &mut impl Choose) {
        let index = random.below(self.nodes.len());
        match random.below(5) {
            0 => self.transmit(index),
            1 => self.deliver_up(index),
            2 => self.deliver_down(index),
            3 => self.transmit_down(index),
            _ => self.work(),
        };
    }

    /// A request is given up; nobody hears of it any more.
    pub fn cancel(&mut self, rank: usize, request: RequestId) {
        let node = &mut self.nodes[rank];
        if let Some(held) = node.held.get_mut(&request) {
            held.cancelled = true;
            node.endpoint.cancel(request);
        }
    }

    /// Requests of a rank that nobody has answered.
    pub fn open(&self, rank: usize) -> Vec<RequestId> {
        self.nodes[rank].held.iter().filter(|(_, held)| !held.cancelled).map(|(request, _)| *request).collect()
    }

    /// Nothing is left of anything, anywhere.
    #[track_caller]
    pub fn assert_idle(&self) {
        let status = self.hub.status();
        assert_eq!((status.operations, status.queued, status.windows), (0, 0, 0), "{status:?}");
        for (rank, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.error, None, "rank {rank}");
            assert!(node.held.is_empty(), "rank {rank} has not heard the end of something");
            assert_eq!(node.endpoint.open_requests(), 0, "rank {rank}");
            assert_eq!(node.endpoint.free_slots(), node.endpoint.capacity(), "rank {rank}");
        }
    }

    /// The world takes another operation.
    #[track_caller]
    pub fn assert_usable(&mut self) {
        let outcomes = self.all(|_| barrier());
        for (rank, outcome) in outcomes.iter().enumerate() {
            assert!(matches!(outcome, Outcome::Done { .. }), "rank {rank}: {outcome:?}");
        }
        self.assert_idle();
    }

    pub fn step_hub(&mut self) -> bool {
        let mut moved = false;
        while let Some(work) = self.hub.poll_work() {
            moved = true;
            let done = work.run();
            self.hub.finish_work(self.now, done);
        }
        while let Some(peer) = self.hub.poll_peer() {
            let Some(node) = self.nodes.iter_mut().find(|node| node.peer == peer) else { continue };
            while let Some((frame, payload)) = self.hub.poll_transmit(peer) {
                moved = true;
                node.push_down(frame, &payload);
            }
        }
        moved
    }

    /// The link of a rank breaks.
    pub fn kill(&mut self, rank: usize) {
        let node = &mut self.nodes[rank];
        node.endpoint.disconnect();
        node.to_hub.clear();
        node.to_rank.clear();
        let peer = node.peer;
        self.hub.disconnect(self.now, peer);
    }

    #[track_caller]
    pub fn outcome(&self, rank: usize, request: RequestId) -> Outcome {
        let node = &self.nodes[rank];
        node.outcomes.get(&request).cloned().unwrap_or_else(|| panic!("rank {rank}'s request is not done"))
    }

    pub fn is_done(&self, rank: usize, request: RequestId) -> bool {
        self.nodes[rank].outcomes.contains_key(&request)
    }

    /// Every rank makes a call, all of them are settled, and each rank's result is returned.
    #[track_caller]
    pub fn all(&mut self, ask: impl Fn(u32) -> Ask<'static>) -> Vec<Outcome> {
        let requests: Vec<RequestId> = (0..self.nodes.len()).map(|rank| self.ask(rank, ask(rank as u32))).collect();
        self.settle();
        requests.into_iter().enumerate().map(|(rank, request)| self.outcome(rank, request)).collect()
    }

    /// Advances time, firing every deadline on the way.
    pub fn wait(&mut self, duration: std::time::Duration) {
        let until = self.now + duration;
        loop {
            self.settle();
            let nodes = self.nodes.iter().filter(|node| !node.stalled).filter_map(|node| node.endpoint.poll_timeout());
            let Some(next) = nodes.chain(self.hub.poll_timeout()).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            for node in self.nodes.iter_mut().filter(|node| !node.stalled) {
                if let Err(fault) = node.endpoint.handle_timeout(self.now) {
                    node.error = Some(fault);
                }
            }
            self.hub.handle_timeout(self.now);
        }
        self.now = until;
        self.settle();
    }
}

/// A peer without an endpoint, which may say anything.
pub struct Stranger {
    pub peer: PeerId,
    pub said: Vec<(Down, Payload)>,
}

impl Stranger {
    pub fn connect(world: &mut World) -> Self {
        Self { peer: world.hub.connect(world.now), said: Vec::new() }
    }

    /// Takes the place of a rank that has not come, and takes 64 KiB frames at any pace.
    pub fn join(world: &mut World, rank: u32) -> Self {
        let mut stranger = Self::connect(world);
        stranger.say(world, Up::Hello(hello(rank, world.hub.config().size)), b"");
        assert!(matches!(stranger.said.as_slice(), [(Down::Welcome(_), _)]), "{:?}", stranger.said);
        stranger.said.clear();
        stranger
    }

    /// Says one thing, and hears what the hub answers to everybody.
    pub fn say(&mut self, world: &mut World, frame: Up, payload: &[u8]) {
        let mut head = [0; MAX_HEAD_LEN];
        let len = frame.encode(payload.len() as u32, &mut head);
        self.say_bytes(world, &head[..len], payload);
    }

    pub fn say_bytes(&mut self, world: &mut World, head: &[u8], payload: &[u8]) {
        let (prefix, header) = head.split_first_chunk().unwrap();
        let prefix = Prefix::decode(*prefix);
        if world.hub.check_prefix(world.now, self.peer, prefix).is_ok() {
            world.hub.handle_frame(world.now, self.peer, prefix, header, Payload::from(payload));
        }
        self.listen(world);
    }

    pub fn listen(&mut self, world: &mut World) {
        world.settle();
        while let Some(said) = world.hub.poll_transmit(self.peer) {
            self.said.push(said);
        }
        world.settle();
    }

    /// Why the hub let it go, if it has.
    pub fn rejection(&self) -> Option<(Fault, String)> {
        self.said.iter().find_map(|(frame, text)| match frame {
            Down::Reject(reject) => Some((reject.fault(), String::from_utf8(text.to_vec()).unwrap())),
            _ => None,
        })
    }
}

/// What a host says, as rank `rank` of `size`.
pub fn hello(rank: u32, size: u32) -> Hello {
    Hello {
        magic: MAGIC,
        version: VERSION,
        rank: Rank::new(rank),
        size,
        kind: RankKind::Host,
        max_payload: 64 * 1024,
        max_message: u64::MAX,
        open_parts: 8,
        receive_window: u32::MAX,
        max_silence: 0,
    }
}

/// A Submit that says nothing in particular.
pub fn submit(request: u32, sequence: u32, call: CallCode) -> Submit {
    Submit {
        request: request_id(request),
        sequence,
        acknowledged: 0,
        call: call as u8,
        datatype: Datatype::U8.code(),
        op: 0,
        flags: SubmitFlags::empty(),
        communicator: 0,
        group: 0,
        name: 0,
        site: 0,
        peer: Rank::new(0),
        tag: Tag(0),
        n: 0,
        send: 0,
        receive: 0,
    }
}

impl Node {
    fn push_down(&mut self, frame: Down, payload: &[u8]) {
        let mut head = [0; MAX_HEAD_LEN];
        let len = frame.encode(payload.len() as u32, &mut head);
        self.downs.push(frame.kind());
        self.to_rank.push_back(Frame { head: head[..len].to_vec(), payload: payload.to_vec() });
    }

    pub fn ask(&mut self, ask: Ask<'_>) -> Result<RequestId, Fault> {
        self.ask_on(CommunicatorId { id: 0, rank: self.rank, size: self.size }, ask)
    }

    pub fn ask_on(&mut self, communicator: CommunicatorId, ask: Ask<'_>) -> Result<RequestId, Fault> {
        let mut parts = ask.parts;
        if ask.varied
            && let Some(part) = parts.get_mut(communicator.rank.index())
        {
            // A rank's own block stays at home.
            part.clear();
        }
        let total: usize = parts.iter().map(Vec::len).sum();
        let sent = if ask.varied { Sent::Varied(total) } else { Sent::Equal(total) };
        let group_bytes = match ask.call {
            Call::User { group, .. } if group != Group::ALL => encode_group(&group, communicator.size),
            _ => Vec::new(),
        };
        let mut names = NameIds::default();
        let mut operation = Vec::new();
        if let Call::User { name, version, .. } = ask.call {
            // Every call gets numbers of its own: the counter then runs by content.
            self.names += 1;
            names.operation = self.names;
            names.group = if group_bytes.is_empty() { 0 } else { self.names };
            names.new = NewNames { group: names.group != 0, operation: true, site: false };
            operation = [&version.to_le_bytes(), name.as_bytes()].concat();
        }
        let n = match ask.call {
            Call::Send { .. } | Call::Recv { .. } | Call::Free => 0,
            Call::User { .. } if names.group != 0 => {
                let key =
                    group_bytes.iter().fold(1u16, |hash, byte| hash.wrapping_mul(31).wrapping_add((*byte).into()));
                let counter = self.counters.entry((communicator.id, key)).or_default();
                std::mem::replace(counter, *counter + 1)
            }
            _ => {
                let counter = self.counters.entry((communicator.id, 0)).or_default();
                std::mem::replace(counter, *counter + 1)
            }
        };
        if self.site.is_some() {
            self.names += 1;
            names.site = self.names;
            names.new.site = true;
        }
        let submission = Submission::new(communicator, &ask.call, ask.datatype, sent, ask.receive, false, names, n)?;
        let submission = if self.unlimited { submission.unlimited() } else { submission };
        let request = self.endpoint.submit(&submission)?;
        let role = submission.role();
        let held = Held {
            own: communicator.rank.index(),
            parts,
            varied: ask.varied,
            role_down: role.down,
            received: vec![Vec::new(); if role.down == Parts::EachOther { communicator.size as usize } else { 1 }],
            group: group_bytes,
            operation,
            site: self.site.unwrap_or_default().into(),
            cancelled: false,
        };
        self.held.insert(request, held);
        Ok(request)
    }

    fn transmit(&mut self, now: Instant) -> bool {
        let mut head = [0; MAX_HEAD_LEN];
        let held = &self.held;
        let outgoing = self.endpoint.poll_transmit(now, &mut head, Reach::Everything, |content| match content {
            Content::Group(request) => held[&request].group.len(),
            Content::Operation(request) => held[&request].operation.len(),
            Content::Site(request) => held[&request].site.len(),
            _ => unreachable!("only names are asked for"),
        });
        let Some(Outgoing { head_len, payload, done }) = outgoing else { return false };
        let payload = payload.map_or_else(Vec::new, |(content, len)| {
            let bytes = match content {
                Content::World => vec![0; len],
                Content::Group(request) => held[&request].group.clone(),
                Content::Operation(request) => held[&request].operation.clone(),
                Content::Site(request) => held[&request].site.clone(),
                Content::Inline(request) => {
                    let held = &held[&request];
                    let table = if held.varied { held.parts.len() * 8 } else { 0 };
                    assert!(!held.cancelled || len == table, "bytes of a request that was given up");
                    inline(held, held.own, len)
                }
                Content::Part { request, part, offset } => {
                    assert!(!held[&request].cancelled, "bytes of a request that was given up");
                    held[&request].parts[part as usize][offset..offset + len].to_vec()
                }
            };
            assert_eq!(bytes.len(), len);
            bytes
        });
        self.ups.push(head[0]);
        self.to_hub.push_back(Frame { head: head[..head_len].to_vec(), payload });
        self.owned.extend(done);
        true
    }

    fn receive(&mut self, now: Instant, frame: Frame) {
        let Frame { head, payload } = frame;
        let prefix = Prefix::decode(head[..PREFIX_LEN].try_into().unwrap());
        let incoming = match self.endpoint.handle_frame(now, prefix, &head[PREFIX_LEN..]) {
            Ok(incoming) => incoming,
            Err(fault) => {
                self.error = Some(fault);
                self.endpoint.disconnect();
                return;
            }
        };
        let mut text = String::new();
        match incoming {
            Incoming::Nothing => assert!(payload.is_empty()),
            Incoming::Payload { request, part, offset, len } => {
                assert_eq!(payload.len(), len);
                let held = self.held.get_mut(&request).unwrap();
                assert!(!held.cancelled);
                held.received[part as usize][offset..offset + len].copy_from_slice(&payload);
                if self.window < u32::MAX as usize {
                    self.endpoint.grant(request, part, offset + len + self.window);
                }
            }
            Incoming::Result { request, layout, len } => {
                assert_eq!(payload.len(), len);
                let held = self.held.get_mut(&request).unwrap();
                let own = held.own;
                match layout {
                    Layout::Empty => {}
                    Layout::Single => held.received[0] = payload,
                    Layout::Equal => {
                        let block = len / (held.received.len() - 1);
                        let blocks = payload.chunks_exact(block);
                        for (place, block) in others(&mut held.received, own).zip(blocks) {
                            *place = block.to_vec();
                        }
                    }
                    Layout::Varied => {
                        let (table, mut rest) = payload.split_at(held.received.len() * 8);
                        for (place, entry) in held.received.iter_mut().zip(table.chunks_exact(8)) {
                            let (part, behind) = rest.split_at(u64::from_le_bytes(entry.try_into().unwrap()) as usize);
                            *place = part.to_vec();
                            rest = behind;
                        }
                    }
                }
            }
            Incoming::Reason { .. } => text = String::from_utf8(payload).unwrap(),
            Incoming::Discard { len } => assert_eq!(payload.len(), len),
        }
        match self.endpoint.poll_event() {
            None | Some(Event::Welcome(_)) => {}
            Some(Event::Part { request, part, len }) => {
                let held = self.held.get_mut(&request).unwrap();
                held.received[part as usize] = vec![0; len];
                if self.window < u32::MAX as usize {
                    self.endpoint.grant(request, part, self.window.min(len));
                }
            }
            Some(Event::Complete { request, status }) => {
                let held = self.held.remove(&request).unwrap();
                let mut parts = held.received;
                if held.role_down == Parts::None {
                    parts.clear();
                }
                assert!(self.outcomes.insert(request, Outcome::Done { status, parts }).is_none());
            }
            Some(Event::Fail { request, fault }) => {
                self.held.remove(&request);
                assert!(self.outcomes.insert(request, Outcome::Failed { fault, text }).is_none());
            }
            Some(Event::Released { request }) => {
                assert!(self.held.remove(&request).is_some_and(|held| held.cancelled), "nobody gave it up");
            }
            Some(Event::Rejected(fault)) => self.rejected = Some((fault, text)),
            Some(Event::Goodbye(reason)) => self.goodbye = Some(reason),
        }
    }
}

/// A call of bytes that sends one block.
pub fn ask(call: Call<'static>, block: Vec<u8>, receive: usize) -> Ask<'static> {
    Ask { call, datatype: Datatype::U8, parts: vec![block], varied: false, receive: Receive::Exactly(receive) }
}

pub fn barrier() -> Ask<'static> {
    Ask { datatype: Datatype::Object, parts: Vec::new(), ..ask(Call::Barrier, Vec::new(), 0) }
}

pub fn bcast(rank: u32, root: u32, block: Vec<u8>) -> Ask<'static> {
    let call = Call::Bcast { root: Rank::new(root) };
    let len = block.len();
    if rank == root { ask(call, block, 0) } else { Ask { parts: Vec::new(), ..ask(call, Vec::new(), len) } }
}

pub fn send(dest: u32, tag: u32, bytes: impl Into<Vec<u8>>) -> Ask<'static> {
    ask(Call::Send { dest: Rank::new(dest), tag: Tag(tag) }, bytes.into(), 0)
}

pub fn recv(source: impl Into<Source>, tag: impl Into<TagSelector>, max: usize) -> Ask<'static> {
    let call = Call::Recv { source: source.into(), tag: tag.into() };
    Ask { parts: Vec::new(), receive: Receive::AtMost(max), ..ask(call, Vec::new(), 0) }
}

/// Numbers in no order, the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Where a test's choices come from: from a seed, or from the bytes of a fuzzer.
pub trait Choose {
    /// A number less than `bound`; 0 if that is 0.
    fn below(&mut self, bound: usize) -> usize;

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

impl Choose for Random {
    fn below(&mut self, bound: usize) -> usize {
        Self::below(self, bound)
    }
}

/// Numbers as `u32` elements.
pub fn words(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// The request with this number on the wire.
pub fn request_id(number: u32) -> RequestId {
    match Up::decode(15, &number.to_le_bytes()) {
        Ok(Some(Up::Cancel(cancel))) => cancel.request,
        _ => unreachable!("a Cancel is a request's number"),
    }
}

fn others(parts: &mut [Vec<u8>], own: usize) -> impl Iterator<Item = &mut Vec<u8>> {
    parts.iter_mut().enumerate().filter(move |(at, _)| *at != own).map(|(_, part)| part)
}

fn inline(held: &Held, own: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if held.varied {
        for part in &held.parts {
            bytes.extend((part.len() as u64).to_le_bytes());
        }
    }
    let split = held.parts.len() > 1;
    for (at, part) in held.parts.iter().enumerate() {
        if !split || at != own {
            bytes.extend(part);
        }
    }
    bytes.truncate(len);
    bytes
}

pub fn encode_group(group: &Group<'_>, size: u32) -> Vec<u8> {
    let list = |ranks: &edgempi_core::Ranks<'_>| -> Vec<u32> {
        match ranks {
            edgempi_core::Ranks::All => (0..size).collect(),
            edgempi_core::Ranks::List(list) => list.iter().map(|rank| rank.get()).collect(),
        }
    };
    let (sources, destinations) = (list(&group.sources), list(&group.destinations));
    let counts = [sources.len() as u32, destinations.len() as u32];
    counts.iter().chain(&sources).chain(&destinations).flat_map(|number| number.to_le_bytes()).collect()
}
