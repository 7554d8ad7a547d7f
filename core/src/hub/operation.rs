//! One operation in progress: who takes part, what they agreed on, and which stream goes where.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::payload::Payload;

use super::group::GroupInfo;
use super::pattern::{Pattern, Results, Shape};
use super::registry::{Apply, Combine};
use super::signature::Signature;
use super::stream::Stream;
use crate::call::Purpose;
use crate::rank::{Rank, Tag};
use crate::request::{CallCode, RequestId};
use crate::time::Instant;

/// What a collective is called by all its participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) communicator: u64,
    pub(super) group: u64,
    pub(super) n: u32,
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
    /// What the program called, where that is not the call.
    pub(super) purpose: Option<Purpose>,
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

/// What the user's code at the hub returned as its error; of nothing else there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct UserError {
    pub(super) encoded: Payload,
    /// How many bytes its own text has, before the places of the calls.
    pub(super) own_text: usize,
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
    pub(super) error: UserError,
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
