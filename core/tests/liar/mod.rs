//! A hub that mostly keeps to the protocol, for one rank.

use std::collections::{HashMap, HashSet};

use edgempi_core::endpoint::{Config, Event, Incoming, Reach};
use edgempi_core::hub::SNAPSHOT_VERSION;
use edgempi_core::request::{CommunicatorId, NameIds, NewNames, Parts, Receive, Sent, Slot, Submission};
use edgempi_core::wire::{
    Complete, Credit, Data, Down, Fail, Goodbye, GoodbyeReason, Layout, MAX_HEAD_LEN, PREFIX_LEN, Part, Ping, Prefix,
    Reject, SnapshotPiece, VERSION, Welcome,
};
use edgempi_core::{
    ANY_SOURCE, ANY_TAG, Call, Category, Datatype, Endpoint, Group, Instant, Rank, ReduceOp, RequestId, Tag,
};

use crate::world::{Choose, request_id};

const SIZE: u32 = 4;
const PAIR: Group<'static> = Group::new(&[Rank::new(0), Rank::new(1)], &[Rank::new(0), Rank::new(1)]);

/// A hub that lies to an endpoint, and what the endpoint's driver believes.
pub struct Liar {
    endpoint: Endpoint<Vec<Slot>>,
    now: Instant,
    sequence: u32,
    open: Vec<(RequestId, usize)>,
    announced: HashMap<(RequestId, u32), usize>,
    /// Parts that an honest hub would go on with, and how far they are.
    coming: Vec<(RequestId, u32, usize)>,
    believed: usize,
    unlimited: HashSet<RequestId>,
    probes: HashSet<RequestId>,
    given_up: Vec<RequestId>,
    /// Whether a request receives one part; or else one from each other rank.
    expects: HashMap<RequestId, bool>,
    window: usize,
    over: bool,
}

impl Liar {
    pub fn new(random: &mut impl Choose) -> Self {
        let mut config = Config::host(Rank::new(0), SIZE);
        config.receive_window = [64, 500, u32::MAX][random.below(3)];
        config.max_payload = 4096;
        let window = config.receive_window as usize;
        let endpoint = Endpoint::new(Instant::ZERO, config, vec![Slot::FREE; 100]);
        let mut liar = Self {
            endpoint,
            now: Instant::ZERO,
            sequence: 0,
            open: Vec::new(),
            announced: HashMap::new(),
            coming: Vec::new(),
            believed: 0,
            unlimited: HashSet::new(),
            probes: HashSet::new(),
            given_up: Vec::new(),
            expects: HashMap::new(),
            window,
            over: false,
        };
        liar.drain();
        liar.tell(
            Down::Welcome(Welcome {
                version: VERSION,
                session: 0,
                incarnation: 0,
                max_payload: [64, 1000][random.below(2)],
                max_message: 0,
                max_requests: 20,
                queue_size: 2000,
                max_silence: 0,
            }),
            0,
        );
        liar
    }

    fn drain(&mut self) {
        let mut head = [0; MAX_HEAD_LEN];
        // All requests that there may be, each of 40,000 bytes in the smallest frames.
        for _ in 0..100_000 {
            if self.endpoint.poll_transmit(self.now, &mut head, Reach::Everything, |_| 10).is_none() {
                return;
            }
        }
        panic!("the endpoint never falls silent");
    }

    fn submit(&mut self, random: &mut impl Choose) {
        let root = Rank::new(random.below(SIZE as usize) as u32);
        let call = [
            Call::Barrier,
            Call::Bcast { root },
            Call::Gather { root },
            Call::Scatter { root },
            Call::Allgather,
            Call::Alltoall,
            Call::Allreduce { op: ReduceOp::Sum },
            Call::Send { dest: root, tag: Tag(0) },
            Call::Recv { source: ANY_SOURCE, tag: ANY_TAG },
            Call::User { name: "x", version: 1, group: PAIR },
            Call::Ssend { dest: root, tag: Tag(0) },
            Call::Rsend { dest: root, tag: Tag(0) },
            Call::Probe { source: ANY_SOURCE, tag: ANY_TAG },
            Call::Iprobe { source: ANY_SOURCE, tag: ANY_TAG },
            Call::Mprobe { source: ANY_SOURCE, tag: ANY_TAG, message: 1 },
            Call::Improbe { source: ANY_SOURCE, tag: ANY_TAG, message: 1 },
            Call::Mrecv { message: 1 },
            Call::Discard { message: 1 },
            Call::Gatherv { root },
            Call::Scatterv { root },
            Call::Allgatherv,
            Call::Alltoallv,
            Call::ReduceScatter { op: ReduceOp::Sum },
            Call::ReduceScatterBlock { op: ReduceOp::Max },
            Call::Scan { op: ReduceOp::Sum },
            Call::Exscan { op: ReduceOp::Min },
            Call::Split,
            Call::Members,
            Call::Free,
        ][random.below(29)];
        let send = [0, 4, 400, 40_000][random.below(4)];
        let bytes = [0, 4, 400, 40_000][random.below(4)];
        let receive = if random.below(2) == 0 { Receive::Exactly(bytes) } else { Receive::AtMost(bytes) };
        let sent = if random.below(3) == 0 { Sent::Varied(send) } else { Sent::Equal(send) };
        let names = NameIds {
            group: 1,
            operation: 1,
            site: 1,
            new: NewNames { group: random.below(2) == 0, operation: false, site: random.below(2) == 0 },
        };
        let id = CommunicatorId { id: 0, rank: Rank::new(0), size: SIZE };
        let submission = Submission::new(id, &call, Datatype::U8, sent, receive, false, names, 0).unwrap();
        let unlimited = random.below(2) == 0;
        let submission = if unlimited { submission.unlimited() } else { submission };
        if let Ok(request) = self.endpoint.submit(&submission) {
            if matches!(call, Call::Probe { .. } | Call::Mprobe { .. }) {
                self.probes.insert(request);
            }
            self.open.push((request, bytes));
            match submission.role().down {
                Parts::None => {}
                down => {
                    self.expects.insert(request, down == Parts::One);
                }
            }
            if unlimited {
                self.unlimited.insert(request);
            }
        }
    }

    fn tell(&mut self, frame: Down, payload: usize) {
        let mut head = [0; MAX_HEAD_LEN];
        let len = frame.encode(payload as u32, &mut head);
        self.tell_bytes(&head[..len]);
    }

    fn tell_bytes(&mut self, head: &[u8]) {
        let (prefix, header) = head.split_first_chunk().unwrap();
        let prefix = Prefix::decode(*prefix);
        let limit = |liar: &Self, request| liar.open.iter().find(|(open, _)| *open == request).map(|(_, bytes)| *bytes);
        match self.endpoint.handle_frame(self.now, prefix, header) {
            Err(fault) => {
                assert!(matches!(fault.category, Category::Protocol | Category::Version));
                self.endpoint.disconnect();
                self.over = true;
                return;
            }
            Ok(Incoming::Payload { request, part, offset, len }) => {
                // Nobody has granted more than the window.
                assert!(self.unlimited.contains(&request) || offset + len <= self.window);
                let announced = self.announced.get(&(request, part)).expect("a part that was announced");
                assert!(offset + len <= *announced, "{offset} + {len} of {announced}");
                assert_eq!(len, prefix.payload_len as usize);
            }
            Ok(Incoming::Result { request, layout, len }) => {
                assert!(self.unlimited.contains(&request) || len <= self.window);
                let table = if layout == Layout::Varied { SIZE as usize * 8 } else { 0 };
                assert!(len - table <= limit(self, request).expect("an open request"));
                assert_eq!(len, prefix.payload_len as usize);
            }
            Ok(Incoming::Nothing) => assert_eq!(prefix.payload_len, 0, "bytes that nobody takes off the link"),
            Ok(Incoming::Reason { len, .. } | Incoming::Discard { len }) => {
                assert_eq!(len, prefix.payload_len as usize)
            }
        }
        match self.endpoint.poll_event() {
            Some(Event::Part { request, part, len }) => {
                assert!(len <= limit(self, request).expect("an open request"));
                self.announced.insert((request, part), len);
                self.coming.push((request, part, 0));
            }
            Some(Event::Complete { request, .. } | Event::Fail { request, .. }) => {
                assert!(self.open.iter().any(|(open, _)| *open == request), "it was answered before");
                self.open.retain(|(open, _)| *open != request);
            }
            Some(Event::Released { request }) => {
                assert!(!self.open.iter().any(|(open, _)| *open == request), "nobody gave it up");
            }
            Some(Event::Goodbye(_) | Event::Rejected(_)) => self.over = true,
            Some(Event::Welcome(_)) | None => {}
        }
    }

    /// Bytes that the endpoint expects.
    fn tell_the_truth(&mut self, random: &mut impl Choose) {
        if self.coming.is_empty() {
            return;
        }
        let (request, part, offset) = self.coming.swap_remove(random.below(self.coming.len()));
        let len = self.announced.get(&(request, part)).copied().unwrap_or_default();
        let window = if self.unlimited.contains(&request) { len } else { len.min(self.window) };
        let n = (window - offset.min(window)).min(1 + random.below(2000));
        if n > 0 {
            self.tell(Down::Data(Data { request, part, offset: offset as u64 }), n);
            self.believed += 1;
            self.coming.push((request, part, offset + n));
        }
    }

    fn lie(&mut self, random: &mut impl Choose) {
        let stray = usize::from(random.below(20) == 0);
        let (request, bytes) = match self.open.get(random.below(self.open.len() + stray)) {
            Some((request, bytes)) => (*request, *bytes),
            None => (request_id(random.below(1 << 20) as u32), 9),
        };
        let amount = |random: &mut dyn Choose| match random.below(7) {
            0 => 0,
            1 => 4,
            2 => bytes as u64 / 4,
            3 => 3 * (bytes as u64 / 4),
            4 => [40_000, u64::MAX, u64::MAX - 3][random.below(3)] >> (60 * u32::from(random.below(9) > 0)),
            _ => bytes as u64,
        };
        let part = [0, 0, 0, 1, 2, 3, 4, u32::MAX][random.below(8)] * u32::from(random.below(2) == 0);
        let sequence = self.sequence.wrapping_add(1 + u32::from(random.below(50) == 0));
        let payload = [0, 4, bytes.min(4096), 100][random.below(4)];
        let layout = [Layout::Empty, Layout::Single, Layout::Equal, Layout::Varied][random.below(4)];
        match random.below(40) {
            0..8 => self.tell(Down::Part(Part { request, part, len: amount(random) }), 0),
            8..22 => {
                let offset = if random.below(4) == 0 { amount(random) } else { 0 };
                self.tell(Down::Data(Data { request, part, offset }), payload);
            }
            22..30 => {
                let (limit, len) = (amount(random), amount(random));
                self.tell(Down::Credit(Credit { request, part, limit, len: len.max(limit) }), 0);
            }
            30..33 => {
                let bytes = if random.below(2) == 0 { payload as u64 } else { amount(random) };
                let queue_limit = amount(random);
                self.complete(Complete { bytes, queue_limit, ..self.blank(request, sequence, layout) }, payload);
            }
            33..36 => self.fail(request, sequence, payload),
            36 => self.tell(Down::Ping(Ping { acknowledged: 1 }), payload),
            37 => self.tell(Down::Credit(Credit { request: RequestId::NONE, part, limit: amount(random), len: 0 }), 0),
            38 => {
                let noise: Vec<u8> = (0..PREFIX_LEN + random.below(80)).map(|_| random.below(256) as u8).collect();
                self.tell_bytes(&noise);
            }
            _ => match random.below(10) {
                0 => self.tell(Down::Goodbye(Goodbye { reason: GoodbyeReason::Shutdown }), payload),
                1 => self.tell(Down::Reject(Reject { category: Category::Timeout, len: 0, max: 0 }), payload),
                2 => self.tell(
                    Down::Snapshot(SnapshotPiece { version: SNAPSHOT_VERSION, offset: part, len: part }),
                    payload,
                ),
                // A kind that only a later version knows.
                3 | 4 => self.tell_bytes(&[&[0x80 | random.below(128) as u8, 3, 9, 0, 0, 0][..], &[7; 3]].concat()),
                _ => self.tell(Down::Pong(Ping { acknowledged: 1 }), payload),
            },
        }
    }

    /// A part as the call expects it.
    fn announce(&mut self, random: &mut impl Choose) {
        let Some(&(request, bytes)) = self.open.get(random.below(self.open.len().max(1))) else { return };
        let (part, len) =
            if random.below(2) == 0 { (0, bytes) } else { (random.below(SIZE as usize) as u32, bytes / SIZE as usize) };
        if !self.announced.contains_key(&(request, part))
            && self.expects.get(&request) == Some(&(part == 0 && len == bytes))
        {
            self.tell(Down::Part(Part { request, part, len: len as u64 }), 0);
        }
    }

    /// The end of a call.
    fn answer(&mut self, random: &mut impl Choose) {
        let Some(&(request, bytes)) = self.open.get(random.below(self.open.len().max(1))) else { return };
        let sequence = self.sequence.wrapping_add(1);
        match random.below(8) {
            0 | 1 => self.fail(request, sequence, 5),
            // One that receives nothing is done, or has found a message, which may be of any size.
            2 | 3 if !self.expects.contains_key(&request) => {
                let bytes = if self.probes.contains(&request) { [0, 9, u64::MAX][random.below(3)] } else { 0 };
                let source = [Rank::new(1), Rank::new(u32::MAX)][random.below(2)];
                self.complete(Complete { source, bytes, ..self.blank(request, sequence, Layout::Empty) }, 0);
            }
            // The whole of one part, if it fits a frame and nothing of it has come.
            2 if self.expects.get(&request) == Some(&true) && bytes <= 4096 => {
                let single = Complete { bytes: bytes as u64, ..self.blank(request, sequence, Layout::Single) };
                self.complete(single, bytes);
            }
            _ => {}
        }
    }

    fn blank(&self, request: RequestId, sequence: u32, layout: Layout) -> Complete {
        let (source, tag) = (Rank::new(1), Tag(1));
        Complete { request, sequence, acknowledged: 0, layout, source, tag, bytes: 0, queue_limit: 0 }
    }

    fn complete(&mut self, complete: Complete, payload: usize) {
        self.sequence = complete.sequence;
        self.tell(Down::Complete(complete), payload);
    }

    fn fail(&mut self, request: RequestId, sequence: u32, payload: usize) {
        self.sequence = sequence;
        let (category, rank) = (Category::Remote, Rank::new(0));
        let fail =
            Fail { request, sequence, acknowledged: 0, category, rank, count: 0, len: 0, max: 0, queue_limit: 0 };
        self.tell(Down::Fail(fail), payload);
    }

    /// Something happens; a lie now and then. Returns whether the link still holds.
    pub fn go_on(&mut self, random: &mut impl Choose) -> bool {
        match random.below(8) {
            0 | 1 => {
                self.submit(random);
                // A hub knows only what has left.
                if random.below(20) > 0 {
                    self.drain();
                }
            }
            2 => self.drain(),
            3 if !self.open.is_empty() && random.below(3) == 0 => {
                let (request, _) = self.open.swap_remove(random.below(self.open.len()));
                self.endpoint.cancel(request);
                self.given_up.push(request);
            }
            3 if !self.open.is_empty() => {
                let (request, _) = self.open[random.below(self.open.len())];
                if random.below(2) == 0 {
                    self.endpoint.withdraw(request);
                } else {
                    self.endpoint.blocked(request);
                }
            }
            4 | 5 => self.tell_the_truth(random),
            6 => self.answer(random),
            _ if random.below(8) == 0 => self.lie(random),
            _ => self.announce(random),
        }
        !self.over
    }

    /// An honest hub would now answer everything: then nothing is left.
    pub fn end(mut self) {
        let open = self.open.iter().map(|(request, _)| *request);
        let open: Vec<RequestId> = open.chain(self.given_up.iter().copied()).collect();
        for request in open {
            if self.over || self.endpoint.open_requests() == 0 {
                break;
            }
            self.drain();
            self.fail(request, self.sequence + 1, 0);
        }
        if !self.over {
            self.drain();
            assert_eq!(self.endpoint.open_requests(), 0);
            assert_eq!(self.endpoint.free_slots(), self.endpoint.capacity());
        }
    }
}
