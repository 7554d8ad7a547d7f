//! How a world is at a moment: what the hub tells whoever asks.
//!
//! It travels as postcard, under a version of its own: its fields are for people and their scripts, and will change more
//! often than the frames do. Of a large world it holds the beginning, and says how much it leaves out: it takes at most
//! about a megabyte, and a few milliseconds, whatever goes on.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::activity::seconds;
use super::mail::Message;
use super::operation::{Operation, Phase};
use super::peer::{Life, Session, Who};
use super::session::named;
use super::slow::KEPT;
use super::{Hub, PeerId, Refusal, cut};
use crate::error::{Category, Fault};
use crate::payload::Payload;
use crate::rank::Rank;
use crate::time::Instant;
use crate::wire::{Down, Goodbye, GoodbyeReason, RankKind, SnapshotPiece};

/// The version of what the bytes of a [`Snapshot`] mean.
pub const SNAPSHOT_VERSION: u16 = 1;

/// How much of each a snapshot names.
const MAX_RANKS: usize = 1024;
const MAX_OPERATIONS: usize = 128;
const MAX_UNMATCHED: usize = 256;
/// Most bytes of a text in it.
const MAX_TEXT: usize = 512;
/// Of operations with so many streams and lanes the bytes are not added up.
const MAX_STREAMS: usize = 1 << 16;
/// Bytes of a snapshot in one frame.
const PIECE: usize = 16 * 1024;
/// How often somebody may ask.
const PAUSE: Duration = Duration::from_millis(50);

/// A world as its hub sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The world's name.
    pub world: String,
    /// How many ranks it has.
    pub size: u32,
    /// How many are there.
    pub here: u32,
    /// How many have finalized.
    pub finished: u32,
    /// How many have failed, or never came.
    pub failed: u32,
    /// The ranks, as many as fit; those that have finished are left out first.
    pub ranks: Vec<RankSnapshot>,
    /// How many were left out.
    pub ranks_left_out: u32,
    /// Operations in flight, the oldest first.
    pub operations: Vec<OperationSnapshot>,
    /// How many were left out.
    pub operations_left_out: u64,
    /// Sends without a receive, receives and probes without a send.
    pub unmatched: Vec<Unmatched>,
    /// How many were left out.
    pub unmatched_left_out: u64,
    /// What the hub holds.
    pub held: Held,
}

/// Where a rank is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RankState {
    /// It has not come.
    Awaited,
    /// It is there.
    Here,
    /// It has finalized.
    Finished,
    /// It has failed, and how.
    Failed(String),
}

/// One rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RankSnapshot {
    /// Its number in the world.
    pub rank: u32,
    /// Where it is in its life.
    pub state: RankState,
    /// "host", "board" or "virtual"; empty if it has not come.
    pub kind: String,
    /// Where its link comes from, if the hub's driver knows.
    pub from: String,
    /// Milliseconds since it was last heard.
    pub silent_ms: u64,
    /// Its last call and where that is in its source; empty if it has made none.
    pub call: String,
    /// Whether that call has not been answered.
    pub is_waiting: bool,
    /// Milliseconds since the call came, or since it ended.
    pub call_ms: u64,
    /// Whether it has said that its one thread waits.
    pub is_blocked: bool,
    /// How many of its requests are open.
    pub requests: u32,
    /// Bytes of it that the hub holds before somebody asks for them.
    pub queued: u64,
}

/// An operation in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperationSnapshot {
    /// The call and where the first of those who wait called it.
    pub call: String,
    /// The ranks of its communicator, if that is not the world: " among ranks 1, 3".
    pub among: String,
    /// Milliseconds since the first rank called it.
    pub ms: u64,
    /// "gathering", "waiting for room", "running" or "failed".
    pub phase: String,
    /// How many ranks have come.
    pub come: u32,
    /// How many there are.
    pub size: u32,
    /// Who has not come, or has not sent all, and what is known of each.
    pub missing: Vec<String>,
    /// How many more.
    pub missing_left_out: u32,
    /// Bytes received from its ranks, those that are to come in all, and those sent to
    /// them in pieces; unknown of the largest.
    pub received: Option<u64>,
    /// See `received`.
    pub total: Option<u64>,
    /// See `received`.
    pub sent: Option<u64>,
}

/// A send or a receive that waits for the other, or for the receive of a matched probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unmatched {
    /// Whose.
    pub rank: u32,
    /// The call and its place in the source.
    pub call: String,
    /// Milliseconds since it came.
    pub ms: u64,
    /// Bytes of it that the hub holds.
    pub held: u64,
}

/// What the hub holds, against its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Held {
    /// Bytes that nobody has asked for yet, and how many may be.
    pub queued: u64,
    /// See `queued`.
    pub queue_total: u64,
    /// Window bytes of operations, and how many there are.
    pub windows: u64,
    /// See `windows`.
    pub window_total: u64,
    /// Bytes of inputs of users' operations; as many may be as there are window bytes.
    pub inputs: u64,
    /// Communicators, and how many may be.
    pub communicators: u64,
    /// See `communicators`.
    pub max_communicators: u64,
}

impl Snapshot {
    /// Reads the pieces of a snapshot of this version, put together.
    ///
    /// # Errors
    ///
    /// If these bytes are no snapshot.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

impl Hub {
    /// Somebody who is no rank asks how the world is. Nobody has to wait for that: what is sent is bounded, and so is how
    /// often.
    pub(super) fn on_inquire(&mut self, peer: PeerId, world: &[u8]) -> Result<(), Refusal> {
        self.check_world("whoever asks", world)?;
        if self.now < self.next_inquiry {
            let text = format!("the hub has just been asked; ask again in {} ms", PAUSE.as_millis());
            return Err((Fault::new(Category::Timeout), text));
        }
        self.next_inquiry = self.now + PAUSE;
        let encoded = postcard::to_allocvec(&self.snapshot(self.now));
        let bytes = encoded.map_err(|error| (Fault::new(Category::Protocol), error.to_string()))?;
        let whole = Payload::from(bytes);
        // A megabyte at most.
        let len = whole.len() as u32;
        let mut rest = whole;
        while !rest.is_empty() {
            let offset = len - rest.len() as u32;
            let piece = rest.split_to(rest.len().min(PIECE));
            self.send_to_peer(peer, Down::Snapshot(SnapshotPiece { version: SNAPSHOT_VERSION, offset, len }), piece);
        }
        self.send_to_peer(peer, Down::Goodbye(Goodbye { reason: GoodbyeReason::Finished }), Payload::new());
        if let Some(peer) = self.peers.get_mut(&peer) {
            // That was the last that it hears.
            peer.who = Who::Rejected;
        }
        Ok(())
    }

    /// How the world is at `now`: where nothing happens, nobody else tells the hub how late it is.
    pub fn snapshot(&mut self, now: Instant) -> Snapshot {
        self.now = now;
        let (ranks, ranks_left_out) = self.rank_snapshots();
        let operations =
            self.operations.values().take(MAX_OPERATIONS).map(|operation| self.operation_snapshot(operation));
        let status = self.status();
        let mut unmatched = Vec::new();
        let mut count = 0;
        for mailbox in self.mail.values() {
            count += mailbox.messages().len() + mailbox.receive_count();
            let room = MAX_UNMATCHED.saturating_sub(unmatched.len());
            unmatched.extend(mailbox.messages().take(room).map(|message| self.unmatched_send(message, "")));
            let room = MAX_UNMATCHED.saturating_sub(unmatched.len());
            unmatched.extend(mailbox.receives().take(room).map(|(_, posted)| Unmatched {
                rank: posted.receiver.get(),
                call: text(&self.describe_call(posted.receiver, &posted.submit)),
                ms: millis(self.now.since(posted.since)),
                held: 0,
            }));
        }
        count += self.kept.len();
        let room = MAX_UNMATCHED.saturating_sub(unmatched.len());
        unmatched.extend(self.kept.values().take(room).map(|message| self.unmatched_send(message, KEPT)));
        Snapshot {
            world: self.config.world.clone(),
            size: self.config.size,
            here: status.alive,
            finished: self.finished,
            failed: self.failed,
            ranks,
            ranks_left_out,
            operations: operations.collect(),
            operations_left_out: self.operations.len().saturating_sub(MAX_OPERATIONS) as u64,
            unmatched_left_out: (count - unmatched.len()) as u64,
            unmatched,
            held: Held {
                queued: status.queued,
                queue_total: self.config.queue_total,
                windows: status.windows,
                window_total: self.config.window_total,
                inputs: status.inputs,
                communicators: self.communicators.len() as u64,
                max_communicators: self.config.max_communicators.into(),
            },
        }
    }

    fn unmatched_send(&self, message: &Message, more: &str) -> Unmatched {
        Unmatched {
            rank: message.sender.get(),
            call: text(&(self.describe_call(message.sender, &message.submit) + more)),
            ms: millis(self.now.since(message.since)),
            held: message.payload.len() as u64,
        }
    }

    fn rank_snapshots(&self) -> (Vec<RankSnapshot>, u32) {
        let is_finished = |session: &Session| matches!(session.life, Life::Finished(_));
        let all = || self.ranks.iter().enumerate();
        let first = all().filter(|(_, session)| !is_finished(session));
        let chosen = first.chain(all().filter(|(_, session)| is_finished(session))).take(MAX_RANKS);
        let mut ranks: Vec<RankSnapshot> =
            chosen.map(|(index, session)| self.rank_snapshot(Rank::new(index as u32), session)).collect();
        ranks.sort_by_key(|one| one.rank);
        let left_out = self.ranks.len() - ranks.len();
        (ranks, left_out as u32)
    }

    fn rank_snapshot(&self, rank: Rank, session: &Session) -> RankSnapshot {
        let state = match &session.life {
            Life::Awaited => RankState::Awaited,
            Life::Alive(_) => RankState::Here,
            Life::Finished(_) => RankState::Finished,
            Life::Failed(why) => RankState::Failed(text(why)),
        };
        let kind = match session.hello.map(|hello| hello.kind) {
            None => "",
            Some(RankKind::Host) => "host",
            Some(RankKind::Board) => "board",
            Some(RankKind::Virtual) => "virtual",
        };
        let peer = session.peer().and_then(|peer| self.peers.get(&peer));
        let last = session.last;
        let is_waiting = session.is_alive() && session.waits_in().is_some();
        let is_blocked = session.blocked_in().is_some();
        let ended = last.ended.filter(|_| !is_blocked);
        RankSnapshot {
            rank: rank.get(),
            state,
            kind: kind.into(),
            from: peer.map(|peer| String::from(&*peer.from)).unwrap_or_default(),
            silent_ms: millis(self.now.since(session.last_heard)),
            call: text(&self.describe_last(rank).unwrap_or_default()),
            is_waiting,
            call_ms: millis(self.now.since(ended.unwrap_or(last.at))),
            is_blocked,
            requests: session.requests.len() as u32,
            queued: session.charged - session.freed,
        }
    }

    fn operation_snapshot(&self, operation: &Operation) -> OperationSnapshot {
        let phase = match operation.phase {
            Phase::Gathering => "gathering",
            Phase::Waiting => "waiting for room",
            Phase::Running => "running",
            Phase::Failed(..) => "failed",
        };
        let (missing, unnamed) = self.describe_missing(operation);
        let (received, total, sent) = operation.bytes();
        OperationSnapshot {
            call: text(&self.describe_operation(operation)),
            among: operation.key.map(|key| text(&self.ranks_of(key.communicator))).unwrap_or_default(),
            ms: millis(self.now.since(operation.since)),
            phase: phase.into(),
            come: operation.arrived as u32,
            size: operation.size() as u32,
            missing: missing.iter().map(|one| text(one)).collect(),
            missing_left_out: unnamed as u32,
            received,
            total,
            sent,
        }
    }
}

impl Operation {
    /// Bytes received of the inputs, those of all that are known, and those sent on or being sent.
    fn bytes(&self) -> (Option<u64>, Option<u64>, Option<u64>) {
        let lanes = self.streams.first().map_or(1, |stream| stream.lanes.len().max(1));
        if self.streams.len().saturating_mul(lanes) > MAX_STREAMS || self.given.len() > MAX_STREAMS {
            return (None, None, None);
        }
        let given = self.given.iter().map(|(_, stream)| stream);
        let inputs = given.chain(self.streams.iter().take(self.input_streams())).filter(|stream| !stream.void);
        let (received, total) =
            inputs.fold((0, 0), |(received, total), stream| (received + stream.received, total + stream.len));
        let sent = self.streams.iter().flat_map(|stream| &stream.lanes).map(|lane| lane.queued).sum();
        (Some(received), Some(total), Some(sent))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn text(text: &str) -> String {
    cut(text, MAX_TEXT).into()
}

// Whoever asks prints what it was told, whatever the numbers are.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} ranks: {} here, {} finished, {} failed",
            if self.world.is_empty() { String::from("a world") } else { named(&self.world) },
            self.size,
            self.here,
            self.finished,
            self.failed
        )?;
        for rank in &self.ranks {
            writeln!(f, "  {rank}")?;
        }
        left_out(f, self.ranks_left_out.into(), "ranks")?;
        writeln!(
            f,
            "operations in flight: {}",
            (self.operations.len() as u64).saturating_add(self.operations_left_out)
        )?;
        for operation in &self.operations {
            writeln!(f, "  {operation}")?;
        }
        left_out(f, self.operations_left_out, "operations")?;
        writeln!(
            f,
            "unmatched sends and receives: {}",
            (self.unmatched.len() as u64).saturating_add(self.unmatched_left_out)
        )?;
        for one in &self.unmatched {
            writeln!(f, "  rank {}: {}, for {}", one.rank, one.call, time(one.ms))?;
        }
        left_out(f, self.unmatched_left_out, "sends and receives")?;
        let Held { queued, queue_total, windows, window_total, inputs, communicators, max_communicators } = self.held;
        write!(
            f,
            "held: {queued} of {queue_total} bytes queued, {windows} of {window_total} bytes of windows, {inputs} bytes \
             of inputs, {communicators} of {max_communicators} communicators"
        )
    }
}

fn left_out(f: &mut fmt::Formatter<'_>, count: u64, what: &str) -> fmt::Result {
    if count > 0 { writeln!(f, "  and {count} more {what}") } else { Ok(()) }
}

impl fmt::Display for RankSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {}", self.rank)?;
        match &self.state {
            RankState::Awaited => return f.write_str(": not here yet"),
            RankState::Finished => return f.write_str(": finished"),
            RankState::Failed(why) => return write!(f, ": failed: {why}"),
            RankState::Here => {}
        }
        write!(f, " ({}", self.kind)?;
        if !self.from.is_empty() {
            write!(f, ", {}", self.from)?;
        }
        write!(f, ", heard {} ago): ", time(self.silent_ms))?;
        match (self.call.as_str(), self.is_waiting) {
            ("", _) => f.write_str("has made no call")?,
            (call, true) => write!(f, "for {} in {call}", time(self.call_ms))?,
            (call, false) => write!(f, "last seen in {call}, finished {} ago", time(self.call_ms))?,
        }
        if self.is_blocked {
            f.write_str(", its one thread waits")?;
        }
        if self.requests > 1 {
            write!(f, "; {} requests are open", self.requests)?;
        }
        Ok(())
    }
}

impl fmt::Display for OperationSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {} for {}, ", self.call, self.among, self.phase, time(self.ms))?;
        write!(f, "{} of {} have come", self.come, self.size)?;
        if !self.missing.is_empty() {
            let more = self.missing_left_out;
            write!(
                f,
                "; {} {}",
                if self.come < self.size { "missing" } else { "waiting for" },
                self.missing.join(", ")
            )?;
            if more > 0 {
                write!(f, " and {more} more")?;
            }
        }
        if let (Some(received), Some(total), Some(sent)) = (self.received, self.total, self.sent) {
            write!(f, "; {received} of {total} bytes received, {sent} sent")?;
        }
        Ok(())
    }
}

fn time(ms: u64) -> String {
    seconds(Duration::from_millis(ms))
}
