//! The hub's side of the protocol, without I/O: it matches what ranks ask for, has it run, and hands out results.
//!
//! Whoever drives it tells it of links, frames and time, and asks it for frames, work and deadlines. Payloads are
//! reference-counted, so a broadcast to any number of ranks holds one copy. Nothing that comes from a link makes it
//! panic; a peer that breaks the protocol is told so and let go, and its rank has failed.
//!
//! A driver's loop, which the crate page shows in full:
//!
//! - [`connect`](Hub::connect) a link that has come up, [`disconnect`](Hub::disconnect) one that has gone down.
//! - When a prefix has come, [`check_prefix`](Hub::check_prefix), before any memory is made ready for what it
//!   announces; when the frame is whole, [`handle_frame`](Hub::handle_frame); while it takes its time,
//!   [`heard`](Hub::heard). Read every link at all times: what the
//!   hub holds is bounded by credit, not by waiting.
//! - Then drain: [`poll_work`](Hub::poll_work), to be run on any thread and handed back by
//!   [`finish_work`](Hub::finish_work), and for each [`poll_peer`](Hub::poll_peer) whose link has room,
//!   [`poll_transmit`](Hub::poll_transmit) until there is nothing. A peer without room is asked again when it has some;
//!   what it has not taken keeps others from going further ahead of it than a window.
//! - At [`poll_timeout`](Hub::poll_timeout), [`handle_timeout`](Hub::handle_timeout).
//! - Close a link when [`wants_close`](Hub::wants_close) says so.

mod activity;
mod answer;
mod budget;
mod cancel;
mod collective;
mod communicator;
mod config;
mod cycles;
mod deadlock;
mod flow;
mod group;
mod job;
mod lonely;
mod mail;
mod matched;
mod names;
mod operation;
mod pattern;
mod peer;
mod point_to_point;
mod registry;
mod session;
mod sides;
mod signature;
mod slow;
mod snapshot;
mod stream;
mod waits;
mod work;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::payload::Payload;

use crate::error::{Category, Fault};
use crate::rank::Rank;
use crate::time::Instant;
use crate::wire::{
    Down, Goodbye, GoodbyeReason, HELLO, INQUIRE, MAX_HELLO_PAYLOAD, MAX_REASON_LEN, Ping, Prefix, Reject, Up, VERSION,
    Welcome,
};

use budget::Budget;
use communicator::{Communicator, WORLD};
use group::GroupInfo;
use lonely::Lonely;
use mail::{Mailbox, Message};
use names::Groups;
use operation::{Key, Operation};
use peer::{Life, Outgoing, Peer, Sent, Session, Who};
use session::NO_HELLO;

pub use config::{Config, Event, HubStatus};
pub use job::{Done, Ticket, Work};
pub use peer::PeerId;
pub use registry::{Applied, Apply, ApplyError, MAX_ELEMENT, Registry, TypedInput};
pub use snapshot::{Held, OperationSnapshot, RankSnapshot, RankState, SNAPSHOT_VERSION, Snapshot, Unmatched};

/// A refusal: the numbers, and the text for people.
type Refusal = (Fault, String);

#[derive(Clone, Copy, Debug)]
enum Timer {
    Hello(PeerId),
    Probe(PeerId),
    Silence(Rank),
    Lonely(u64, Rank),
    Join,
    Deserted,
    Deadlock,
    Slow,
}

/// The hub of one world.
pub struct Hub {
    config: Config,
    registry: Registry,
    now: Instant,
    peers: BTreeMap<PeerId, Peer>,
    next_peer: u64,
    /// Peers with something to send.
    ready: VecDeque<PeerId>,
    ranks: Vec<Session>,
    /// Ranks that have come, those that have finished, and those that have failed.
    joined: u32,
    finished: u32,
    failed: u32,
    timers: BTreeMap<(Instant, u64), Timer>,
    next_timer: u64,
    join_timer: bool,
    communicators: BTreeMap<u64, Communicator>,
    groups: Groups<Vec<u8>>,
    next_group: u64,
    operations: BTreeMap<u64, Box<Operation>>,
    /// Memory for the pieces of what is folded, with nothing in it.
    spare_pieces: Vec<Vec<Vec<Payload>>>,
    next_operation: u64,
    names: BTreeMap<Key, u64>,
    mail: BTreeMap<(u64, Rank), Mailbox>,
    /// Ranks that are alone in a communicator, and receive there from any rank.
    lonely: BTreeMap<(u64, Rank), Lonely>,
    /// Messages that probes keep for their receives, by receiver and the number that it gave.
    kept: BTreeMap<(Rank, u32), Message>,
    /// For the windows of parts, and for the inputs of users' operations.
    windows: Budget,
    inputs: Budget,
    /// Strangers that claim the rank of a link that is being probed.
    claims: Vec<(Rank, PeerId)>,
    work: VecDeque<Work>,
    /// At most two for each rank, and a few lines on slow calls.
    events: VecDeque<Event>,
    over: bool,
    /// Whether a rank has said that it is blocked, and may still be; and whether the hub is about to look what for.
    any_blocked: bool,
    suspects_deadlock: bool,
    /// Whether it will look for calls that take long, and when it last has.
    watches_slow_calls: bool,
    looked_for_slow_calls: Instant,
    /// Before this, nobody else is told how the world is.
    next_inquiry: Instant,
}

impl core::fmt::Debug for Hub {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Hub").field("size", &self.config.size).field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub that nobody has joined.
    pub fn new(now: Instant, config: Config, registry: Registry) -> Self {
        let size = config.size.max(1);
        Self {
            windows: Budget::new(config.window_total),
            inputs: Budget::new(config.window_total),
            registry,
            now,
            peers: BTreeMap::new(),
            next_peer: 0,
            ready: VecDeque::new(),
            ranks: (0..size).map(|_| Session::new()).collect(),
            joined: 0,
            finished: 0,
            failed: 0,
            timers: BTreeMap::new(),
            next_timer: 0,
            join_timer: false,
            communicators: BTreeMap::from([(WORLD, Communicator::new(GroupInfo::world(size)))]),
            groups: Groups::new(),
            next_group: 0,
            operations: BTreeMap::new(),
            spare_pieces: Vec::new(),
            next_operation: 0,
            names: BTreeMap::new(),
            mail: BTreeMap::new(),
            lonely: BTreeMap::new(),
            kept: BTreeMap::new(),
            claims: Vec::new(),
            work: VecDeque::new(),
            events: VecDeque::new(),
            over: false,
            any_blocked: false,
            suspects_deadlock: false,
            watches_slow_calls: false,
            looked_for_slow_calls: now,
            next_inquiry: now,
            config,
        }
    }

    /// A link has come up.
    pub fn connect(&mut self, now: Instant) -> PeerId {
        self.now = now;
        self.next_peer += 1;
        let id = PeerId(self.next_peer);
        self.peers.insert(id, Peer::new());
        self.set_timer(now + self.config.hello_wait, Timer::Hello(id));
        id
    }

    /// Says where a link comes from, for people.
    pub fn name_peer(&mut self, peer: PeerId, from: &str) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.from = cut(from, 64).into();
        }
    }

    /// A link has gone down. If a rank was behind it that had not finished, it has failed.
    pub fn disconnect(&mut self, now: Instant, peer: PeerId) {
        self.now = now;
        let Some(gone) = self.peers.remove(&peer) else { return };
        self.claims.retain(|(_, claimant)| *claimant != peer);
        for frame in gone.queue {
            self.sent(frame.sent);
        }
        if let Who::Rank(rank) = gone.who
            && self.session(rank).is_some_and(|session| session.life == Life::Alive(peer))
        {
            self.rank_failed(rank, "its connection closed without a goodbye".to_owned());
        }
        self.check_over();
        self.start_waiting();
    }

    /// Takes in a frame. An error has been told to the peer already: its link is to be closed once
    /// [`poll_transmit`](Self::poll_transmit) has nothing left for it ([`wants_close`](Self::wants_close)).
    pub fn handle_frame(&mut self, now: Instant, peer: PeerId, prefix: Prefix, header: &[u8], payload: Payload) {
        self.now = now;
        if let Err((fault, text)) = self.dispatch(peer, prefix, header, payload) {
            self.reject(peer, fault, &text);
        }
        self.start_waiting();
    }

    /// Checks the prefix of a frame before its payload is read: what it announces may be too large.
    ///
    /// # Errors
    ///
    /// The peer has been told; nothing more of it is to be read.
    pub fn check_prefix(&mut self, now: Instant, peer: PeerId, prefix: Prefix) -> Result<(), Fault> {
        self.now = now;
        let known = match self.peers.get(&peer).map(|peer| peer.who) {
            Some(Who::Rank(_)) => true,
            Some(Who::Stranger | Who::Claimant(_)) => false,
            // It has been told already.
            Some(Who::Leaving | Who::Rejected) | None => return Err(Fault::new(Category::Protocol)),
        };
        let max = if known { self.config.max_payload } else { MAX_HELLO_PAYLOAD };
        if !known && !matches!(prefix.kind, HELLO | INQUIRE) {
            let fault = Fault::new(Category::Protocol);
            self.reject(peer, fault, NO_HELLO);
            return Err(fault);
        }
        if prefix.payload_len <= max {
            return Ok(());
        }
        let fault = Fault::of_size(Category::TooLarge, prefix.payload_len.into(), max.into());
        self.reject(peer, fault, &format!("a frame of {} bytes is more than the {max} allowed", prefix.payload_len));
        self.start_waiting();
        Err(fault)
    }

    /// Bytes of a frame have come, but not all: whoever sends them lives, however slow its link is.
    pub fn heard(&mut self, now: Instant, peer: PeerId) {
        self.now = now;
        if let Some(Who::Rank(rank)) = self.peers.get(&peer).map(|peer| peer.who) {
            self.lives(rank);
        }
    }

    /// The driver could not make sense of a peer's bytes.
    pub fn reject_garbage(&mut self, now: Instant, peer: PeerId, text: &str) {
        self.now = now;
        self.reject(peer, Fault::new(Category::Protocol), text);
        self.start_waiting();
    }

    /// A peer that has something to send. Each is told once, until there is more for it.
    ///
    /// The value returned may change after: any call that takes `now`, `poll_transmit`.
    #[must_use]
    pub fn poll_peer(&mut self) -> Option<PeerId> {
        let id = self.ready.pop_front()?;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.listed = false;
        }
        Some(id)
    }

    /// The next frame for a peer, and its payload. What it held of the hub's limits is free from here on, so take it only
    /// when the link can.
    ///
    /// The value returned may change after: any call that takes `now`, `poll_transmit` for any peer.
    #[must_use]
    pub fn poll_transmit(&mut self, id: PeerId) -> Option<(Down, Payload)> {
        let peer = self.peers.get_mut(&id)?;
        let urgent = |frame| Outgoing { frame, payload: Payload::new(), sent: Sent::Nothing };
        let next = peer.urgent.pop_front().map(urgent).or_else(|| peer.queue.pop_front());
        let Outgoing { mut frame, payload, sent } = next?;
        let who = peer.who;
        peer.pong &= !matches!(frame, Down::Pong(_));
        peer.ping &= !matches!(frame, Down::Ping(_));
        self.sent(sent);
        if let Who::Rank(rank) = who {
            self.stamp(rank, &mut frame);
        }
        self.start_waiting();
        Some((frame, payload))
    }

    /// Whether a peer's link has no use any more but to deliver what is queued for it. The peer may never take that, so
    /// the driver does not wait for ever.
    pub fn is_ending(&self, id: PeerId) -> bool {
        self.peers.get(&id).is_none_or(|peer| match peer.who {
            Who::Leaving | Who::Rejected => true,
            Who::Rank(_) => self.over,
            Who::Stranger | Who::Claimant(_) => false,
        })
    }

    /// Whether a peer's link is to be closed: it [is ending](Self::is_ending), and everything for it has been sent.
    pub fn wants_close(&self, id: PeerId) -> bool {
        let is_idle = |peer: &Peer| peer.urgent.is_empty() && peer.queue.is_empty();
        self.is_ending(id) && self.peers.get(&id).is_none_or(is_idle)
    }

    /// Arithmetic or user code to be run on any thread, and handed back by [`finish_work`](Self::finish_work).
    ///
    /// The value returned may change after: any call that takes `now`, `poll_transmit`.
    #[must_use]
    pub fn poll_work(&mut self) -> Option<Work> {
        self.work.pop_front()
    }

    /// Takes the result of work.
    pub fn finish_work(&mut self, now: Instant, done: Done) {
        self.now = now;
        self.work_done(done);
        self.start_waiting();
    }

    /// What became of a rank. Nobody needs to ask.
    ///
    /// The value returned may change after: any call that takes `now`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    ///
    /// The value returned may change after: any call that takes `now`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Deadlines have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        while let Some((&(at, number), &timer)) = self.timers.iter().next() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, number));
            self.timer_fired(timer, at);
        }
        self.start_waiting();
        debug_assert!(self.poll_timeout().is_none_or(|at| at > now), "a deadline that has passed is reported again");
    }

    /// Whether every rank has finished or failed.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether nobody is connected.
    pub fn is_deserted(&self) -> bool {
        self.peers.is_empty()
    }

    /// The hub's limits.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Says goodbye to everybody: the driver stops although ranks still need the hub.
    pub fn shut_down(&mut self, now: Instant) {
        self.now = now;
        self.over = true;
        self.say_goodbye(GoodbyeReason::Shutdown);
    }

    /// What goes on.
    pub fn status(&self) -> HubStatus {
        HubStatus {
            alive: self.ranks.iter().filter(|session| session.is_alive()).count() as u32,
            finished: self.finished,
            failed: self.failed,
            operations: self.operations.len(),
            queued: self.ranks.iter().map(|session| session.charged - session.freed).sum(),
            windows: self.windows.held(),
            inputs: self.inputs.held(),
        }
    }

    fn dispatch(&mut self, peer: PeerId, prefix: Prefix, header: &[u8], payload: Payload) -> Result<(), Refusal> {
        let Some(who) = self.peers.get(&peer).map(|peer| peer.who) else { return Ok(()) };
        if matches!(who, Who::Stranger) {
            if !matches!(prefix.kind, HELLO | INQUIRE) {
                return Err(broken(NO_HELLO));
            }
            self.check_version(peer, header)?;
        }
        let frame = Up::decode(prefix.kind, header).map_err(|error| broken(&format!("{error}")))?;
        let rank = match (who, frame) {
            (Who::Leaving | Who::Rejected, _) | (_, None) => return Ok(()),
            (Who::Stranger, Some(Up::Hello(hello))) => return self.on_hello(peer, hello, &payload),
            (Who::Stranger, Some(Up::Inquire(_))) => return self.on_inquire(peer, &payload),
            (Who::Stranger | Who::Claimant(_), Some(_)) => return Err(broken("a frame before the Hello was answered")),
            (Who::Rank(rank), Some(_)) => rank,
        };
        self.lives(rank);
        match frame {
            None => Ok(()),
            Some(Up::Hello(_) | Up::Inquire(_)) => Err(broken("a second Hello")),
            Some(Up::Name(name)) => self.on_name(rank, name, &payload),
            Some(Up::Submit(submit)) => self.on_submit(rank, submit, payload),
            Some(Up::Data(data)) => self.on_data(rank, data, payload),
            Some(Up::Credit(credit)) => self.on_credit(rank, credit),
            Some(Up::Cancel(cancel)) => {
                self.on_cancel(rank, cancel.request);
                Ok(())
            }
            Some(Up::Blocked(blocked)) => {
                self.on_blocked(rank, blocked.request);
                Ok(())
            }
            Some(Up::Withdraw(withdraw)) => {
                self.on_withdraw(rank, withdraw.request);
                Ok(())
            }
            Some(Up::Ping(_)) => {
                let acknowledged = self.session(rank).map_or(0, |session| session.received);
                // One answer is enough for any number of questions, or a peer that does not read could fill the hub.
                let is_first = |peer: &mut Peer| !core::mem::replace(&mut peer.pong, true);
                if self.peers.get_mut(&peer).is_some_and(is_first) {
                    self.send_urgent(peer, Down::Pong(Ping { acknowledged }));
                }
                Ok(())
            }
            Some(Up::Pong(_)) => Ok(()),
            Some(Up::Goodbye(goodbye)) => {
                self.on_goodbye(rank, goodbye.reason);
                Ok(())
            }
        }
    }

    fn session(&self, rank: Rank) -> Option<&Session> {
        self.ranks.get(rank.index())
    }

    fn session_mut(&mut self, rank: Rank) -> Option<&mut Session> {
        self.ranks.get_mut(rank.index())
    }

    /// The process of a rank has been heard.
    fn lives(&mut self, rank: Rank) {
        let now = self.now;
        if let Some(session) = self.session_mut(rank) {
            session.last_heard = now;
        }
        self.claim_refuted(rank);
    }

    fn set_timer(&mut self, at: Instant, timer: Timer) {
        self.next_timer += 1;
        // Never at this very moment, so that a deadline that has passed is not reported again.
        let at = at.max(self.now + Duration::from_micros(1));
        self.timers.insert((at, self.next_timer), timer);
    }

    fn list(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id)
            && !peer.listed
        {
            peer.listed = true;
            self.ready.push_back(id);
        }
    }

    fn send_urgent(&mut self, id: PeerId, frame: Down) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.urgent.push_back(frame);
            self.list(id);
        }
    }

    fn send_to_peer(&mut self, id: PeerId, frame: Down, payload: Payload) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.queue.push_back(Outgoing { frame, payload, sent: Sent::Nothing });
            self.list(id);
        }
    }

    /// Queues a frame for a rank; if its link is gone, what the frame holds is free at once.
    fn send(&mut self, rank: Rank, frame: Down, payload: Payload, sent: Sent) {
        let id = self.session(rank).and_then(Session::peer);
        match id.and_then(|id| self.peers.get_mut(&id)) {
            Some(peer) => {
                peer.queue.push_back(Outgoing { frame, payload, sent });
                if let Some(id) = id {
                    self.list(id);
                }
            }
            None => self.sent(sent),
        }
    }

    /// Writes the latest numbers into a frame that is about to leave.
    fn stamp(&mut self, rank: Rank, frame: &mut Down) {
        let Some(session) = self.session_mut(rank) else { return };
        let limit = session.told.max(session.freed + session.queue_size);
        match frame {
            Down::Complete(complete) => {
                session.unsent_answers = session.unsent_answers.saturating_sub(1);
                (complete.acknowledged, complete.queue_limit) = (session.received, limit);
                session.told = limit;
            }
            Down::Fail(fail) => {
                session.unsent_answers = session.unsent_answers.saturating_sub(1);
                (fail.acknowledged, fail.queue_limit) = (session.received, limit);
                session.told = limit;
            }
            _ => {}
        }
    }

    fn reject(&mut self, id: PeerId, fault: Fault, text: &str) {
        let Some(peer) = self.peers.get(&id) else { return };
        let (who, max) = (peer.who, peer.max_reason);
        if matches!(who, Who::Leaving | Who::Rejected) {
            return;
        }
        self.claims.retain(|(_, claimant)| *claimant != id);
        if let Who::Rank(rank) = who
            && self.session(rank).is_some_and(|session| session.life == Life::Alive(id))
        {
            self.rank_failed(rank, format!("it broke the protocol: {text}"));
        }
        // The reason is the last that it hears, and does not wait behind what is of no use now.
        let useless = self.peers.get_mut(&id).map(|peer| core::mem::take(&mut peer.queue));
        for frame in useless.into_iter().flatten() {
            self.sent(frame.sent);
        }
        let frame = Down::Reject(Reject { category: fault.category, len: fault.len, max: fault.max });
        self.send_to_peer(id, frame, reason(text, max));
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.who = Who::Rejected;
        }
    }

    fn welcome(&mut self, peer: PeerId, rank: Rank) {
        let ranks = u64::from(self.config.size);
        let queue_size = self.config.queue_size.min(self.config.queue_total / ranks).max(1024);
        let number = (self.config.seed ^ (u128::from(self.config.incarnation) << 64)).wrapping_add(rank.get().into());
        let session = uuid::Builder::from_random_bytes(scatter(number).to_le_bytes()).into_uuid().as_u128();
        if let Some(held) = self.session_mut(rank) {
            held.queue_size = queue_size;
            held.told = queue_size;
        }
        let welcome = Welcome {
            version: VERSION,
            session,
            incarnation: self.config.incarnation,
            max_payload: self.config.max_payload,
            max_message: self.config.max_message,
            max_requests: self.config.max_requests,
            queue_size,
            max_silence: u32::try_from(self.config.max_silence.as_millis()).unwrap_or(u32::MAX),
        };
        self.send_urgent(peer, Down::Welcome(welcome));
    }

    fn say_goodbye(&mut self, why: GoodbyeReason) {
        let peers: Vec<(PeerId, Who)> = self.peers.iter().map(|(id, peer)| (*id, peer.who)).collect();
        for (id, who) in peers {
            match who {
                Who::Rank(_) | Who::Leaving => {
                    self.send_to_peer(id, Down::Goodbye(Goodbye { reason: why }), Payload::new());
                }
                Who::Rejected => {}
                // Nobody waits for what it may have to say.
                Who::Stranger | Who::Claimant(_) => {
                    self.reject(id, Fault::new(Category::WrongWorld), "the world of this hub has just ended");
                }
            }
        }
    }
}

/// A peer broke the protocol in the way that `text` says.
fn broken(text: &str) -> Refusal {
    (Fault::new(Category::Protocol), text.to_owned())
}

/// A text for people as a payload of at most `max` bytes.
fn reason(text: &str, max: usize) -> Payload {
    Payload::from(cut(text, max.min(MAX_REASON_LEN)).as_bytes())
}

/// The beginning of a text, at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Spreads a number over 128 bits (the finalizer of SplitMix64, twice): the identities of sessions differ in all bits.
fn scatter(number: u128) -> u128 {
    let mix = |x: u64| {
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let low = mix((number as u64).wrapping_add(0x9e37_79b9_7f4a_7c15));
    let high = mix(((number >> 64) as u64).wrapping_add(low).wrapping_add(0x9e37_79b9_7f4a_7c15));
    u128::from(high) << 64 | u128::from(low)
}
