//! A rank of the world: an endpoint, its queues, and what its calls send and receive.

use std::collections::{HashMap, VecDeque};

use edgempi_core::endpoint::{Config, Content, Event, Incoming, Outgoing, Reach};
use edgempi_core::hub::PeerId;
use edgempi_core::request::{CallCode, CommunicatorId, NameIds, NewNames, Parts, Sent, Slot, Submission};
use edgempi_core::wire::{Down, GoodbyeReason, Layout, MAX_HEAD_LEN, PREFIX_LEN, Prefix};
use edgempi_core::{Call, Endpoint, Fault, Group, Instant, Rank, Ranks, RequestId};

use super::{Ask, Frame, Outcome};

/// A request whose end the rank has not heard.
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
    /// Where the result goes, of a call whose result takes the place of what it gives: over so many bytes of that.
    over: Option<usize>,
}

impl Held {
    /// A result that came in one piece.
    fn unpack(&mut self, layout: Layout, payload: Vec<u8>) {
        let own = self.own;
        match layout {
            Layout::Empty => {}
            Layout::Single if self.over.is_some() => {
                self.parts[0][..payload.len()].copy_from_slice(&payload);
                self.over = Some(payload.len());
            }
            Layout::Single => self.received[0] = payload,
            Layout::Equal => {
                let block = payload.len() / (self.received.len() - 1);
                let blocks = payload.chunks_exact(block);
                for (place, block) in others(&mut self.received, own).zip(blocks) {
                    *place = block.to_vec();
                }
            }
            Layout::Varied => {
                let (table, mut rest) = payload.split_at(self.received.len() * 8);
                for (place, entry) in self.received.iter_mut().zip(table.chunks_exact(8)) {
                    let (part, behind) = rest.split_at(u64::from_le_bytes(entry.try_into().unwrap()) as usize);
                    *place = part.to_vec();
                    rest = behind;
                }
            }
        }
    }
}

pub struct Node {
    pub endpoint: Endpoint<Vec<Slot>>,
    pub peer: PeerId,
    pub rank: Rank,
    size: u32,
    held: HashMap<RequestId, Held>,
    pub outcomes: HashMap<RequestId, Outcome>,
    /// What was behind the text of a failure.
    pub errors: HashMap<RequestId, Vec<u8>>,
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
    /// Whether results take the place of what is sent.
    pub in_place: bool,
}

impl Node {
    pub fn new(now: Instant, peer: PeerId, config: Config) -> Self {
        Self {
            endpoint: Endpoint::new(now, config, vec![Slot::FREE; 600]),
            peer,
            rank: config.rank,
            size: config.size,
            held: HashMap::new(),
            outcomes: HashMap::new(),
            errors: HashMap::new(),
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
            in_place: false,
        }
    }

    pub(super) fn push_down(&mut self, frame: Down, payload: &[u8]) {
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
            call if !CallCode::of(&call).is_collective() => 0,
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
        let submission =
            Submission::new(communicator, &ask.call, ask.datatype, sent, ask.receive, self.in_place, names, n)?;
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
            over: (self.in_place && role.down == Parts::One).then_some(0),
        };
        self.held.insert(request, held);
        Ok(request)
    }

    /// A request is given up, if it still runs.
    pub(super) fn cancel(&mut self, request: RequestId) {
        if let Some(held) = self.held.get_mut(&request) {
            held.cancelled = true;
            self.endpoint.cancel(request);
        }
    }

    /// A request is withdrawn, if it still runs.
    pub fn withdraw(&mut self, request: RequestId) {
        self.endpoint.withdraw(request);
    }

    /// Requests that nobody has answered or given up.
    pub(super) fn open(&self) -> Vec<RequestId> {
        self.held.iter().filter(|(_, held)| !held.cancelled).map(|(request, _)| *request).collect()
    }

    /// Whether no request is left, given up or not.
    pub(super) fn has_heard_all(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn transmit(&mut self, now: Instant) -> bool {
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

    pub(super) fn receive(&mut self, now: Instant, frame: Frame) {
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
        let (mut text, mut error) = (String::new(), Vec::new());
        match incoming {
            Incoming::Nothing => assert!(payload.is_empty()),
            Incoming::Payload { request, part, offset, len } => {
                assert_eq!(payload.len(), len);
                let held = self.held.get_mut(&request).unwrap();
                assert!(!held.cancelled);
                let place = if held.over.is_some() { &mut held.parts[0] } else { &mut held.received[part as usize] };
                place[offset..offset + len].copy_from_slice(&payload);
                if self.window < u32::MAX as usize {
                    self.endpoint.grant(request, part, offset + len + self.window);
                }
            }
            Incoming::Result { request, layout, len } => {
                assert_eq!(payload.len(), len);
                self.held.get_mut(&request).unwrap().unpack(layout, payload);
            }
            Incoming::Reason { len, text: end } => {
                assert_eq!(payload.len(), len);
                let mut payload = payload;
                error = payload.split_off(end);
                text = String::from_utf8(payload).unwrap();
            }
            Incoming::Discard { len } => assert_eq!(payload.len(), len),
        }
        self.hear(text, error);
    }

    /// What the last frame has led to; the text is what it said, with the error behind it.
    fn hear(&mut self, text: String, error: Vec<u8>) {
        match self.endpoint.poll_event() {
            None | Some(Event::Welcome(_)) => {}
            Some(Event::Part { request, part, len }) => {
                let held = self.held.get_mut(&request).unwrap();
                match &mut held.over {
                    Some(over) => *over = len,
                    None => held.received[part as usize] = vec![0; len],
                }
                if self.window < u32::MAX as usize {
                    self.endpoint.grant(request, part, self.window.min(len));
                }
            }
            Some(Event::Complete { request, status }) => {
                let held = self.held.remove(&request).unwrap();
                let mut parts = match held.over {
                    Some(len) => vec![held.parts[0][..len].to_vec()],
                    None => held.received,
                };
                if held.role_down == Parts::None {
                    parts.clear();
                }
                assert!(self.outcomes.insert(request, Outcome::Done { status, parts }).is_none());
            }
            Some(Event::Fail { request, fault }) => {
                self.held.remove(&request);
                self.errors.insert(request, error);
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
    let list = |ranks: &Ranks<'_>| -> Vec<u32> {
        match ranks {
            Ranks::All => (0..size).collect(),
            Ranks::List(list) => list.iter().map(|rank| rank.get()).collect(),
        }
    };
    let (sources, destinations) = (list(&group.sources), list(&group.destinations));
    let counts = [sources.len() as u32, destinations.len() as u32];
    counts.iter().chain(&sources).chain(&destinations).flat_map(|number| number.to_le_bytes()).collect()
}
