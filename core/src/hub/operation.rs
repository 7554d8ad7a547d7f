//! One operation in progress: who takes part, what they agreed on, and which stream goes where.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::payload::Payload;

use super::registry::{Apply, Combine};
use super::stream::Stream;
use crate::communicator::SplitRequest;
use crate::datatype::{Datatype, ReduceOp};
use crate::rank::{Rank, Tag};
use crate::request::{CallCode, RequestId};
use crate::time::Instant;
use crate::wire::{Submit, SubmitFlags};

/// The ranks of one kind of operation, known to the hub under a number of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GroupInfo {
    /// 0 is every rank of the communicator.
    pub(super) id: u64,
    /// Who takes part, by rank in the world, sources first. Positions in an operation are indices into this.
    pub(super) members: Box<[Rank]>,
    /// Their ranks in the communicator, where those are not their positions.
    numbers: Option<Box<[Rank]>>,
    /// How many of them are sources.
    pub(super) sources: usize,
    /// Positions of the destinations.
    pub(super) destinations: Box<[usize]>,
    /// Positions by rank in the world; empty where they are the same.
    positions: BTreeMap<Rank, usize>,
    /// The group as it was named, where this is the same in a communicator.
    named: Option<Arc<GroupInfo>>,
}

impl GroupInfo {
    /// All ranks of a world of `size`.
    pub(super) fn world(size: u32) -> Self {
        let members: Box<[Rank]> = (0..size).map(Rank::new).collect();
        let destinations = (0..members.len()).collect();
        Self {
            id: 0,
            sources: members.len(),
            members,
            numbers: None,
            destinations,
            positions: BTreeMap::new(),
            named: None,
        }
    }

    /// All ranks of a communicator, in the order of their ranks in it.
    pub(super) fn all(members: Box<[Rank]>) -> Self {
        let destinations = (0..members.len()).collect();
        let positions = members.iter().enumerate().map(|(position, rank)| (*rank, position)).collect();
        Self { id: 0, sources: members.len(), members, numbers: None, destinations, positions, named: None }
    }

    /// This group of ranks of a communicator, as a group of ranks of the world. `None` if the communicator has not all
    /// of them.
    pub(super) fn within(self: &Arc<Self>, communicator: &Self) -> Option<Self> {
        let members: Option<Box<[Rank]>> =
            self.members.iter().map(|rank| communicator.members.get(rank.index()).copied()).collect();
        let members = members?;
        let positions = members.iter().enumerate().map(|(position, rank)| (*rank, position)).collect();
        Some(Self {
            id: self.id,
            sources: self.sources,
            members,
            numbers: Some(self.members.clone()),
            destinations: self.destinations.clone(),
            positions,
            named: Some(self.clone()),
        })
    }

    /// The rank in the communicator of the member at `position`.
    pub(super) fn number(&self, position: usize) -> Option<Rank> {
        match &self.numbers {
            Some(numbers) => numbers.get(position).copied(),
            None => (position < self.members.len()).then(|| Rank::new(position as u32)),
        }
    }

    /// `sources` give and `destinations` receive. `None` if a rank stands twice on a side, or nobody does.
    pub(super) fn new(id: u64, sources: &[Rank], destinations: &[Rank]) -> Option<Self> {
        let mut positions = BTreeMap::new();
        let mut members = Vec::with_capacity(sources.len() + destinations.len());
        for rank in sources {
            if positions.insert(*rank, members.len()).is_some() {
                return None;
            }
            members.push(*rank);
        }
        let mut places = Vec::with_capacity(destinations.len());
        let mut taken = BTreeSet::new();
        for rank in destinations {
            let position = *positions.entry(*rank).or_insert_with(|| {
                members.push(*rank);
                members.len() - 1
            });
            if !taken.insert(position) {
                return None;
            }
            places.push(position);
        }
        let (members, destinations) = (members.into_boxed_slice(), places.into_boxed_slice());
        let numbers = Some(members.clone());
        let sources = sources.len();
        let named = None;
        (!members.is_empty()).then_some(Self { id, members, numbers, sources, destinations, positions, named })
    }

    /// Bytes of the group's name.
    pub(super) fn name_len(&self) -> usize {
        (2 + self.sources + self.destinations.len()) * size_of::<u32>()
    }

    /// Where a rank of the world stands.
    pub(super) fn position(&self, rank: Rank) -> Option<usize> {
        if self.positions.is_empty() {
            return (rank.index() < self.members.len()).then_some(rank.index());
        }
        self.positions.get(&rank).copied()
    }
}

/// What a collective is called by all its participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) communicator: u64,
    pub(super) group: u64,
    pub(super) n: u32,
}

/// What the participants of a collective have to agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) call: CallCode,
    pub(super) root: Option<Rank>,
    pub(super) datatype: Datatype,
    pub(super) op: Option<ReduceOp>,
    /// Bytes of a block, where this participant knows them.
    pub(super) block: Option<u64>,
    /// The user operation and its version.
    pub(super) name: Option<(u32, Arc<str>)>,
}

impl Signature {
    /// What a Submit says, `None` if its numbers mean nothing.
    pub(super) fn new(submit: &Submit, size: u32, rank: Rank, name: Option<(u32, Arc<str>)>) -> Option<Self> {
        use CallCode::{
            Allgather, Allreduce, Alltoall, Bcast, Exscan, Gather, Gatherv, Reduce, ReduceScatter, ReduceScatterBlock,
            Scan, Scatter, Scatterv, Split, User,
        };
        let call = CallCode::from_code(submit.call)?;
        let datatype = Datatype::from_code(submit.datatype)?;
        let op = if submit.op == 0 { None } else { Some(ReduceOp::from_code(submit.op)?) };
        let root = match call {
            Bcast | Gather | Scatter | Gatherv | Scatterv | Reduce => Some(submit.peer),
            _ => None,
        };
        // Groups are for user operations; all others are of the whole communicator.
        if submit.peer.get() >= size || (call == User) != name.is_some() || (call != User && submit.group != 0) {
            return None;
        }
        let combines = matches!(call, Reduce | Allreduce | ReduceScatter | ReduceScatterBlock | Scan | Exscan);
        if combines != op.is_some() || op.is_some_and(|op| !datatype.accepts(op)) {
            return None;
        }
        let is_root = root == Some(rank);
        let varied = submit.flags.has(SubmitFlags::VARIED);
        let exact = submit.flags.has(SubmitFlags::EXACT).then_some(submit.receive);
        let ranks = u64::from(size.max(1));
        let typed = datatype != Datatype::Object;
        let block = match call {
            Bcast if is_root => Some(submit.send),
            Scatter if is_root => (!varied).then_some(submit.send / ranks),
            Bcast | Scatter => exact,
            Gather | Allgather => Some(submit.send),
            _ if combines => Some(submit.send),
            Alltoall => (!varied).then_some(submit.send / ranks),
            _ => None,
        };
        let pattern = Pattern::of(call);
        let splits = pattern == Pattern::Alltoall || (pattern == Pattern::Scatter && is_root);
        if (splits && !varied && !submit.send.is_multiple_of(ranks)) || (varied && !splits) {
            return None;
        }
        if combines && !submit.send.is_multiple_of(datatype.size() as u64) {
            return None;
        }
        // Whoever receives a block of a result says how long it is.
        if matches!(call, ReduceScatter | ReduceScatterBlock)
            && !exact.is_some_and(|bytes| bytes.is_multiple_of(datatype.size() as u64))
        {
            return None;
        }
        if submit.send > 0 && (pattern == Pattern::Nothing || call.is_receive()) {
            return None;
        }
        if call == Split && submit.send != SplitRequest::LEN as u64 {
            return None;
        }
        Some(Self { call, root, datatype, op, block: block.filter(|_| typed), name })
    }

    /// Whether two participants mean the same.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let blocks = match (self.block, other.block) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        self.call == other.call
            && self.root == other.root
            && self.datatype == other.datatype
            && self.op == other.op
            && self.name == other.name
            && blocks
    }

    /// Whether two participants mean the same call, and only differ in how long what the root gives or receives is.
    pub(super) fn differs_in_length(&self, other: &Self) -> bool {
        let without = |signature: &Self| Self { block: None, ..signature.clone() };
        matches!(self.call, CallCode::Bcast | CallCode::Scatter | CallCode::Gather) && without(self) == without(other)
    }

    /// The call, for people.
    pub(super) fn describe(&self) -> String {
        let mut text = match &self.name {
            Some((version, name)) => format!("operation \"{name}\" version {version}"),
            None => String::from(self.call.as_str()),
        };
        let mut details: Vec<String> = Vec::new();
        if let Some(root) = self.root {
            details.push(format!("root {root}"));
        }
        if let Some(op) = self.op {
            details.push(format!("{op}"));
        }
        match (self.datatype, self.block) {
            (Datatype::Object, _)
                if matches!(
                    self.call,
                    CallCode::Barrier | CallCode::Split | CallCode::Free | CallCode::Members | CallCode::User
                ) => {}
            (Datatype::Object, _) => details.push(String::from("objects")),
            (datatype, Some(block)) => details.push(format!("{} x {datatype}", block / datatype.size().max(1) as u64)),
            (datatype, None) => details.push(format!("{datatype}")),
        }
        if !details.is_empty() {
            text.push_str(&format!("({})", details.join(", ")));
        }
        text
    }
}

/// Where a participant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Presence {
    /// It has not called.
    #[default]
    Absent,
    /// It waits for its answer.
    Present,
    /// It has its answer.
    Done,
}

/// One rank in an operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Participant {
    pub(super) presence: Presence,
    pub(super) rank: Rank,
    pub(super) request: Option<RequestId>,
    pub(super) site: u16,
    /// Largest payload that its link takes.
    pub(super) max_payload: u64,
    /// Bytes that it takes before it gives credit.
    pub(super) window: u64,
    pub(super) receive: u64,
    pub(super) exact: bool,
    /// Parts that it may have open each way.
    pub(super) open_parts: u32,
    pub(super) ups_open: u32,
    pub(super) downs_open: u32,
    /// Streams of its own that have not come whole.
    pub(super) ups_left: u32,
    /// Streams to it that have not left whole, and those that have not come whole.
    pub(super) downs_left: u32,
    pub(super) downs_missing: u32,
    /// Bytes it gets in all.
    pub(super) result: u64,
    /// Whether a part of its result has been announced to it.
    pub(super) announced: bool,
    /// Whether its result goes in Data frames, because it is too large for one frame.
    pub(super) streaming: bool,
    /// Whether it got its answer before all had come, or has to wait until they have.
    pub(super) ahead: bool,
    pub(super) postponed: bool,
}

/// How far an operation has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Somebody or something is missing.
    Gathering,
    /// All have come; windows are not free yet.
    Waiting,
    /// Bytes flow.
    Running,
    /// It has failed; whoever comes late is told.
    Failed(crate::error::Fault, Arc<str>),
}

/// How the bytes of a call flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Nothing,
    /// From one rank to another.
    Message,
    Bcast,
    Gather,
    Scatter,
    Allgather,
    Alltoall,
    /// From the sources into a computation, and its results to the destinations.
    Computed,
}

impl Pattern {
    fn of(call: CallCode) -> Self {
        use CallCode::*;
        match call {
            Barrier | Free | Members => Self::Nothing,
            Send | Ssend | Rsend | Recv | Probe | Iprobe | Mprobe | Improbe | Mrecv => Self::Message,
            Bcast => Self::Bcast,
            Gather | Gatherv => Self::Gather,
            Scatter | Scatterv => Self::Scatter,
            Allgather | Allgatherv => Self::Allgather,
            Alltoall | Alltoallv => Self::Alltoall,
            Reduce | Allreduce | ReduceScatter | ReduceScatterBlock | Scan | Exscan | Split | User => Self::Computed,
        }
    }
}

/// Which streams the results of a computation have; they are the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Results {
    None,
    /// One stream, with a lane for each participant.
    Shared,
    /// A stream for each destination.
    Each,
}

/// What becomes of the elements of all ranks that are at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One element, for whoever receives.
    Whole,
    /// One element, for the rank in whose block it is.
    Blocks,
    /// One element for each rank: of those up to it, or of those before it.
    Prefixes { exclusive: bool },
}

impl Shape {
    /// That of a call that combines elements.
    pub(super) fn of(call: CallCode) -> Self {
        match call {
            CallCode::ReduceScatter | CallCode::ReduceScatterBlock => Self::Blocks,
            CallCode::Scan => Self::Prefixes { exclusive: false },
            CallCode::Exscan => Self::Prefixes { exclusive: true },
            _ => Self::Whole,
        }
    }

    pub(super) fn results(self) -> Results {
        match self {
            Self::Whole => Results::Shared,
            Self::Blocks | Self::Prefixes { .. } => Results::Each,
        }
    }
}

/// A fold in progress.
#[derive(Debug)]
pub(super) struct Folding {
    pub(super) combine: Combine,
    pub(super) shape: Shape,
    /// Bytes folded, or being folded.
    pub(super) folded: u64,
    /// How far the range goes that is folded next.
    pub(super) target: u64,
    /// Inputs that have not come that far.
    pub(super) behind: u32,
    pub(super) chunk: u64,
    /// Bytes, from the front, of which every receiver has been sent what it gets.
    pub(super) released: u64,
    /// Where in the vector each destination's block begins, of [`Shape::Blocks`].
    pub(super) starts: Vec<u64>,
}

impl Folding {
    pub(super) fn new(combine: Combine, shape: Shape) -> Self {
        Self { combine, shape, folded: 0, target: 0, behind: 0, chunk: 0, released: 0, starts: Vec::new() }
    }
}

/// What the hub does with the streams.
pub(super) enum Plan {
    /// Passes them on.
    Route,
    /// Combines them range by range.
    Fold(Folding),
    /// Hands them to the user's code.
    Apply { apply: Arc<dyn Apply>, name: Arc<str>, running: bool },
    /// Makes communicators of them.
    Split,
}

/// An arithmetic progression of stream indices: those of one participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streams {
    start: usize,
    step: usize,
    count: usize,
}

impl Streams {
    const NONE: Self = Self { start: 0, step: 1, count: 0 };

    fn one(index: usize) -> Self {
        Self { start: index, step: 1, count: 1 }
    }

    /// The index of the stream of this part.
    pub(super) fn get(self, part: u32) -> Option<usize> {
        let part = part as usize;
        (part < self.count).then(|| self.start + part * self.step)
    }

    /// Pairs of part number and stream index.
    pub(super) fn iter(self) -> impl Iterator<Item = (u32, usize)> {
        (0..self.count).map(move |part| (part as u32, self.start + part * self.step))
    }
}

/// An operation between ranks.
pub(super) struct Operation {
    pub(super) id: u64,
    /// `None` for a message from one rank to another.
    pub(super) key: Option<Key>,
    pub(super) group: Arc<GroupInfo>,
    pub(super) signature: Signature,
    pub(super) root: usize,
    pub(super) results: Results,
    pub(super) tag: Tag,
    pub(super) participants: Vec<Participant>,
    pub(super) arrived: usize,
    /// Sources that have not come.
    pub(super) givers_missing: usize,
    /// Streams that have not come whole, of the sources that have come.
    pub(super) incomplete: usize,
    /// Participants without an answer.
    pub(super) unanswered: usize,
    /// Participants whose answer waits until all have come.
    pub(super) postponed: Vec<usize>,
    pub(super) phase: Phase,
    /// Streams of those who have come, by index, until the operation starts. All streams there will be are a square of
    /// its size, far too many to hold for a rank that may wait for long.
    pub(super) given: Vec<(usize, Stream)>,
    /// All streams, once it has started.
    pub(super) streams: Vec<Stream>,
    /// How many of them, from the front, have passed everything on, once every participant has its answer.
    pub(super) drained: usize,
    /// Streams that wait until giver and receivers have room for an open part.
    pub(super) unopened: VecDeque<usize>,
    pub(super) plan: Plan,
    /// What the user's code has returned as its error, encoded.
    pub(super) error: Payload,
    /// Work of it has been handed out and has not come back: what that reads takes memory, whatever happens here.
    pub(super) at_work: bool,
    pub(super) window: u64,
    /// Window bytes that the operation holds.
    pub(super) reserved: u64,
    /// When the first rank called it.
    pub(super) since: Instant,
}

impl Operation {
    pub(super) fn size(&self) -> usize {
        self.participants.len()
    }

    /// Whether it has failed, and only waits for those who have not been told.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed(..))
    }

    /// Has a participant wait for its answer.
    pub(super) fn postpone(&mut self, position: usize) {
        if let Some(participant) = self.participants.get_mut(position) {
            participant.postponed = true;
            self.postponed.push(position);
        }
    }

    /// Those who wait for their answer need not any more.
    pub(super) fn take_postponed(&mut self) -> Vec<usize> {
        let postponed = core::mem::take(&mut self.postponed);
        for position in &postponed {
            if let Some(participant) = self.participants.get_mut(*position) {
                participant.postponed = false;
            }
        }
        postponed
    }

    /// Whether all participants have called.
    pub(super) fn is_complete(&self) -> bool {
        self.arrived == self.size()
    }

    /// Whether the participant at `position` gives data, or its presence.
    pub(super) fn is_giver(&self, position: usize) -> bool {
        match self.pattern() {
            Pattern::Bcast | Pattern::Scatter => position == self.root,
            Pattern::Message => true,
            _ => position < self.group.sources,
        }
    }

    /// How its bytes flow.
    pub(super) fn pattern(&self) -> Pattern {
        Pattern::of(self.signature.call)
    }

    /// How many streams carry inputs.
    pub(super) fn input_streams(&self) -> usize {
        match self.pattern() {
            Pattern::Nothing => 0,
            Pattern::Bcast | Pattern::Message => 1,
            Pattern::Gather | Pattern::Scatter | Pattern::Allgather => self.size(),
            Pattern::Alltoall => self.size() * self.size(),
            Pattern::Computed => self.group.sources,
        }
    }

    /// How many streams there are in all.
    pub(super) fn all_streams(&self) -> usize {
        self.input_streams()
            + match self.results {
                Results::None => 0,
                Results::Shared => 1,
                Results::Each => self.group.destinations.len(),
            }
    }

    /// Puts the streams of all givers into their places.
    pub(super) fn arrange_streams(&mut self) {
        self.streams.resize_with(self.all_streams(), Stream::default);
        for (index, stream) in core::mem::take(&mut self.given) {
            if let Some(place) = self.streams.get_mut(index) {
                *place = stream;
            }
        }
    }

    /// How many lanes an input stream has.
    pub(super) fn input_lanes(&self) -> usize {
        match self.pattern() {
            Pattern::Bcast | Pattern::Allgather => self.size(),
            Pattern::Nothing | Pattern::Computed => 0,
            Pattern::Gather | Pattern::Scatter | Pattern::Alltoall | Pattern::Message => 1,
        }
    }

    /// The streams that the participant at `position` gives, by part number.
    pub(super) fn ups(&self, position: usize) -> Streams {
        let size = self.size();
        let is_root = position == self.root;
        match self.pattern() {
            Pattern::Bcast | Pattern::Message if is_root => Streams::one(0),
            Pattern::Scatter if is_root => Streams { start: 0, step: 1, count: size },
            Pattern::Gather | Pattern::Allgather => Streams::one(position),
            Pattern::Alltoall => Streams { start: position * size, step: 1, count: size },
            Pattern::Computed if position < self.group.sources => Streams::one(position),
            Pattern::Nothing | Pattern::Bcast | Pattern::Message | Pattern::Scatter | Pattern::Computed => {
                Streams::NONE
            }
        }
    }

    /// The streams that the participant at `position` receives, by part number.
    pub(super) fn downs(&self, position: usize) -> Streams {
        let size = self.size();
        let is_root = position == self.root;
        match self.pattern() {
            Pattern::Bcast | Pattern::Message if !is_root => Streams::one(0),
            Pattern::Gather if is_root => Streams { start: 0, step: 1, count: size },
            Pattern::Scatter => Streams::one(position),
            Pattern::Allgather => Streams { start: 0, step: 1, count: size },
            Pattern::Alltoall => Streams { start: position, step: size, count: size },
            Pattern::Computed => match (self.results, self.destination(position)) {
                (Results::Shared, Some(_)) => Streams::one(self.group.sources),
                (Results::Each, Some(index)) => Streams::one(self.group.sources + index),
                (Results::None, _) | (_, None) => Streams::NONE,
            },
            Pattern::Nothing | Pattern::Bcast | Pattern::Message | Pattern::Gather => Streams::NONE,
        }
    }

    /// Which destination of a computed result the participant at `position` is, if it is one.
    pub(super) fn destination(&self, position: usize) -> Option<usize> {
        match self.signature.call {
            CallCode::Reduce => (position == self.root).then_some(position),
            CallCode::User => self.group.destinations.iter().position(|at| *at == position),
            _ => (position < self.group.destinations.len()).then_some(position),
        }
    }

    /// Whether the participant at `position` receives a part from each other rank.
    pub(super) fn receives_split(&self, position: usize) -> bool {
        match self.pattern() {
            Pattern::Gather => position == self.root,
            Pattern::Allgather | Pattern::Alltoall => true,
            _ => false,
        }
    }

    /// Whether what a giver gives is in parts of its own for each rank.
    pub(super) fn gives_split(&self) -> bool {
        matches!(self.pattern(), Pattern::Scatter | Pattern::Alltoall)
    }

    /// The lane on which the participant at `position` receives any stream of several lanes, or of one.
    pub(super) fn lane(&self, stream: usize, position: usize) -> usize {
        if self.streams.get(stream).is_some_and(|stream| stream.lanes.len() > 1) { position } else { 0 }
    }

    /// The positions among which those are that [receive](Self::receives) a stream.
    pub(super) fn receivers(&self, stream: usize) -> Range<usize> {
        let one = |position: usize| position..position + 1;
        let Some(held) = self.streams.get(stream) else { return 0..0 };
        match self.pattern() {
            _ if held.void || held.lanes.is_empty() => 0..0,
            Pattern::Gather => one(self.root),
            Pattern::Scatter => one(stream),
            Pattern::Alltoall => one(stream % self.size().max(1)),
            Pattern::Message => one(1),
            Pattern::Computed if self.results == Results::Each => {
                let destination = stream.checked_sub(self.group.sources).and_then(|at| self.group.destinations.get(at));
                destination.map_or(0..0, |position| one(*position))
            }
            Pattern::Nothing | Pattern::Bcast | Pattern::Allgather | Pattern::Computed => 0..held.lanes.len(),
        }
    }

    /// Whether one of the [receivers](Self::receivers) of a stream is one.
    pub(super) fn receives(&self, stream: usize, position: usize) -> bool {
        match self.pattern() {
            Pattern::Gather | Pattern::Scatter | Pattern::Alltoall | Pattern::Message => true,
            Pattern::Computed if self.results == Results::Each => true,
            Pattern::Nothing | Pattern::Bcast | Pattern::Allgather | Pattern::Computed => {
                // Of two ranks, one may be the only receiver of a stream of one lane.
                let at = self.lane(stream, position);
                self.streams.get(stream).and_then(|held| held.lanes.get(at)).is_some_and(|lane| !lane.done)
            }
        }
    }

    /// Whether an input stream with several lanes has none for this position: a rank's own block, and the root's data for
    /// the root.
    pub(super) fn is_excluded(&self, stream: usize, position: usize) -> bool {
        match self.pattern() {
            Pattern::Bcast => position == self.root,
            Pattern::Allgather => position == stream,
            _ => false,
        }
    }

    /// The order in which streams are opened: each rank's own first neighbour first, so that nobody is swamped.
    pub(super) fn opening_order(&self) -> VecDeque<usize> {
        let inputs = self.input_streams();
        if self.pattern() != Pattern::Alltoall {
            return (0..inputs).collect();
        }
        let size = self.size();
        (1..size).flat_map(|step| (0..size).map(move |from| from * size + (from + step) % size)).collect()
    }

    /// Whether every byte has been passed on. Asked once every participant has its answer: from then on nothing more
    /// comes, so that a stream that was found empty need not be looked at again.
    pub(super) fn is_drained(&mut self) -> bool {
        debug_assert_eq!(self.unanswered, 0);
        let holds = |stream: &Stream| stream.holds_bytes() && !stream.lanes.is_empty();
        while self.streams.get(self.drained).is_some_and(|stream| !holds(stream)) {
            self.drained += 1;
        }
        self.drained >= self.streams.len()
    }

    /// Inputs of the user's code, in the group's order.
    pub(super) fn inputs(&self) -> Vec<(Rank, Payload)> {
        let inputs = self.streams.iter().take(self.group.sources).enumerate();
        inputs
            .filter_map(|(at, stream)| {
                let bytes = Payload::concat(&stream.pieces(0, stream.len));
                Some((self.group.number(at)?, bytes))
            })
            .collect()
    }
}
