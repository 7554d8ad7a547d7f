//! A world in memory: endpoints and a hub joined by queues, stepped until nothing moves. Nothing here has a clock.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of the harness")]

mod asks;
mod node;
mod stranger;

use edgempi_core::endpoint::Config;
use edgempi_core::hub::{self, Event, Hub, Registry};
use edgempi_core::request::CommunicatorId;
use edgempi_core::wire::{PREFIX_LEN, Prefix};
use edgempi_core::{Fault, Instant, Payload, Rank, RequestId, Status};

pub use asks::{Ask, ask, barrier, bcast, recv, send, without_bytes, words};
pub use node::{Node, encode_group};
pub use stranger::{Stranger, hello, request_id, submit};

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

    /// A world with small frames and windows, different for each rank, so that short messages are long ones.
    pub fn small(size: u32) -> Self {
        let mut config = hub::Config::new(size);
        (config.max_payload, config.window, config.queue_size) = (4096, 8192, 16 * 1024);
        Self::with(config, Registry::new(), |rank, config| {
            config.max_payload = if rank % 2 == 0 { 1000 } else { 4000 };
            config.open_parts = 1 + (rank % 3) as u16;
        })
    }

    /// A world of boards: frames and windows of a few hundred bytes, and one part open at a time.
    pub fn boards(size: u32) -> Self {
        let mut config = hub::Config::new(size);
        (config.max_payload, config.window, config.queue_size) = (512, 1024, 1024);
        Self::with(config, Registry::new(), |rank, config| {
            config.max_payload = if rank % 2 == 0 { 192 } else { 256 };
            (config.open_parts, config.receive_window) = (1, 320);
        })
    }

    pub fn join(&mut self, config: Config) -> usize {
        let peer = self.hub.connect(self.now);
        self.nodes.push(Node::new(self.now, peer, config));
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

    /// What people have been told since they were last asked.
    pub fn lines(&mut self) -> Vec<String> {
        let events = std::iter::from_fn(|| self.hub.poll_event());
        events.filter_map(|event| if let Event::Slow { text } = event { Some(text) } else { None }).collect()
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
        self.nodes[rank].cancel(request);
    }

    /// Requests of a rank that nobody has answered.
    pub fn open(&self, rank: usize) -> Vec<RequestId> {
        self.nodes[rank].open()
    }

    /// Nothing is left of anything, anywhere.
    #[track_caller]
    pub fn assert_idle(&self) {
        let status = self.hub.status();
        assert_eq!((status.operations, status.queued, status.windows), (0, 0, 0), "{status:?}");
        for (rank, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.error, None, "rank {rank}");
            assert!(node.has_heard_all(), "rank {rank} has not heard the end of something");
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
