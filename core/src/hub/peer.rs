//! What the hub knows of a link and of the rank behind it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;

use crate::payload::Payload;

use crate::endpoint::EAGER_OVERHEAD;
use crate::error::Fault;
use crate::rank::{Rank, Source, TagSelector};
use crate::request::RequestId;
use crate::time::Instant;
use crate::wire::{Down, Hello, MAX_HELLO_PAYLOAD};

use super::activity::LastCall;
use super::lonely::Asking;
use super::mail::Order;
use super::names::Names;

/// One link to the hub. Numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(super) u64);

/// What becomes free once a frame has left the hub.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    Nothing,
    /// A charge on a giver's queue.
    Charge {
        rank: Rank,
        cost: u64,
    },
    /// The segment of a stream that ends here.
    Segment {
        operation: u64,
        stream: usize,
        end: u64,
    },
    /// The whole result of a participant.
    Result {
        operation: u64,
        position: usize,
    },
}

pub(super) struct Outgoing {
    pub(super) frame: Down,
    pub(super) payload: Payload,
    pub(super) sent: Sent,
}

/// Who is behind a link.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    /// Nobody has said Hello.
    Stranger,
    /// Somebody claims a rank whose old link is being asked whether it lives.
    Claimant(Hello),
    /// A rank.
    Rank(Rank),
    /// Somebody whose link ends once the queue is empty.
    Leaving,
    /// The same, and what it has just been told is the last that it hears: why it is sent away, or what it asked for.
    Rejected,
}

pub(super) struct Peer {
    pub(super) who: Who,
    /// Frames that must not wait behind data. They have no payload.
    pub(super) urgent: VecDeque<Down>,
    pub(super) queue: VecDeque<Outgoing>,
    /// Whether the peer is among those with something to send.
    pub(super) listed: bool,
    /// Whether a Pong waits to be sent, and a Ping.
    pub(super) pong: bool,
    pub(super) ping: bool,
    /// Most bytes of text that the other side takes.
    pub(super) max_reason: usize,
    /// Where it comes from, for people.
    pub(super) from: Box<str>,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            who: Who::Stranger,
            urgent: VecDeque::new(),
            queue: VecDeque::new(),
            listed: false,
            pong: false,
            ping: false,
            max_reason: MAX_HELLO_PAYLOAD as usize,
            from: Box::default(),
        }
    }
}

/// Where a rank is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It has never come.
    Awaited,
    Alive(PeerId),
    /// It has finalized; its link may still be open.
    Finished(PeerId),
    Failed(String),
}

/// Where a request is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// A participant of an operation.
    Operation { id: u64, position: usize },
    /// A send that waits for its receive.
    Unexpected { communicator: u64, dest: Rank, order: Order },
    /// A receive or a probe that waits for its send.
    Posted { communicator: u64, source: Source, tag: TagSelector, order: Order, is_probe: bool },
    /// A send that a probe of its receiver has found, and keeps for the receive that is to follow.
    Kept,
}

/// A rank's session.
pub(super) struct Session {
    pub(super) life: Life,
    pub(super) hello: Option<Hello>,
    pub(super) last_heard: Instant,
    /// The last Submit that came.
    pub(super) received: u32,
    /// The last Complete or Fail that was queued.
    pub(super) sequence: u32,
    pub(super) requests: BTreeMap<RequestId, Place>,
    /// Completes and Fails that have not left the hub.
    pub(super) unsent_answers: usize,
    /// Collectives in which the rank has its answer and others have not come.
    pub(super) ahead: usize,
    /// Queue bytes charged since the session began, those set free again, and the limit that the rank was told.
    pub(super) charged: u64,
    pub(super) freed: u64,
    pub(super) told: u64,
    pub(super) queue_size: u64,
    pub(super) names: Names,
    /// A failure that this rank has not been told of: its own part had been done.
    pub(super) notice: BTreeMap<u64, (Fault, Arc<str>)>,
    /// The request that the rank's one thread has said it waits for. It may have been answered since.
    pub(super) blocked: Option<RequestId>,
    /// What it asks for again and again, although nobody can send it.
    pub(super) asking: Option<Asking>,
    /// What it did last.
    pub(super) last: LastCall,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            life: Life::Awaited,
            hello: None,
            last_heard: Instant::ZERO,
            received: 0,
            sequence: 0,
            requests: BTreeMap::new(),
            unsent_answers: 0,
            ahead: 0,
            charged: 0,
            freed: 0,
            told: 0,
            queue_size: 0,
            names: Names::default(),
            notice: BTreeMap::new(),
            blocked: None,
            asking: None,
            last: LastCall::default(),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        matches!(self.life, Life::Alive(_))
    }

    /// The open request for which its one thread waits, if the hub has been told of that.
    pub(super) fn blocked_in(&self) -> Option<RequestId> {
        self.blocked.filter(|request| self.requests.contains_key(request))
    }

    /// The open request for which it waits, as far as the hub knows: if it has not been told, that is its last one.
    pub(super) fn waits_in(&self) -> Option<RequestId> {
        let last = Some(self.last.request).filter(|_| self.last.ended.is_none());
        self.blocked_in().or(last.filter(|request| self.requests.contains_key(request)))
    }

    pub(super) fn peer(&self) -> Option<PeerId> {
        match self.life {
            Life::Alive(peer) | Life::Finished(peer) => Some(peer),
            Life::Awaited | Life::Failed(_) => None,
        }
    }

    /// What `inline` bytes of a Submit cost.
    pub(super) fn cost(inline: u64) -> u64 {
        inline + EAGER_OVERHEAD
    }
}
