//! A call as a communicator makes it, and what is wrong with one that can not be made.

use std::panic::Location;
use std::sync::Arc;

use edgempi_core::request::{CommunicatorId, Receive, Sent};
use edgempi_core::wire::MAX_OPERATION_LEN;
use edgempi_core::{Call, Category, Datatype, Fault, Group, Intent, Rank, Ranks, Source};

use super::names::MAX_BYTES;
use super::payload::Reason;
use crate::buffers::{Buffers, Inbound, Outbound};
use crate::error::Error;
use crate::pending::Pending;

/// A call with its buffers, as a communicator makes it.
pub(crate) struct Asked {
    pub(crate) communicator: CommunicatorId,
    pub(crate) call: OwnedCall,
    pub(crate) datatype: Datatype,
    pub(crate) sent: Sent,
    pub(crate) receive: Receive,
    pub(crate) in_place: bool,
    pub(crate) intent: Intent,
    pub(crate) site: &'static Location<'static>,
    pub(crate) pending: Arc<Pending>,
}

impl Asked {
    /// A call of the library's own, which moves nothing of this rank's.
    #[track_caller]
    pub(crate) fn of_the_library(communicator: CommunicatorId, call: Call<'static>) -> Self {
        Self {
            communicator,
            call: OwnedCall::Builtin(call),
            datatype: Datatype::Object,
            sent: Sent::Equal(0),
            receive: Receive::Exactly(0),
            in_place: false,
            intent: Intent::default(),
            site: Location::caller(),
            pending: Pending::new(Buffers::new(Outbound::Nothing, Inbound::Nothing, communicator, 0)),
        }
    }
}

/// A call whose names are bytes already.
pub(crate) enum OwnedCall {
    Builtin(Call<'static>),
    /// The group's name is empty if it is the whole communicator, which needs none.
    User {
        group: Vec<u8>,
        sources: Vec<Rank>,
        destinations: Vec<Rank>,
        operation: Vec<u8>,
    },
    /// A split of some ranks, who alone take part.
    SplitAmong {
        /// The group's name.
        group: Vec<u8>,
    },
}

impl OwnedCall {
    /// A user's operation between these ranks of a communicator of `size`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if a rank is not in the communicator, or stands twice on one side: the hub would take that for a
    /// breach of the protocol.
    pub(crate) fn user(group: Group<'_>, size: u32, name: &str, version: u32) -> Result<Self, Error> {
        let list = |ranks: Ranks<'_>| -> Vec<Rank> {
            match ranks {
                Ranks::All => (0..size).map(Rank::new).collect(),
                Ranks::List(ranks) => ranks.to_vec(),
            }
        };
        let (sources, destinations) = (list(group.sources), list(group.destinations));
        check_side(&sources, size, "source")?;
        check_side(&destinations, size, "destination")?;
        let is_all = |ranks: &[Rank]| ranks.iter().copied().eq((0..size).map(Rank::new));
        // All ranks are no group of their own: there, these calls are counted with the built-in ones, and so compared with
        // them.
        let is_whole = is_all(&sources) && is_all(&destinations);
        let group = if is_whole { Vec::new() } else { group_name(&sources, &destinations, None) };
        // As the hub reads it: a version, then the name.
        let operation = [&version.to_le_bytes(), name.as_bytes()].concat();
        Ok(Self::User { group, sources, destinations, operation })
    }

    /// A split among these ranks of a communicator, which others with another `label` never meet.
    pub(crate) fn split_among(ranks: &[Rank], label: u32) -> Self {
        Self::SplitAmong { group: group_name(ranks, ranks, Some(label)) }
    }

    /// The name of the group that makes it; empty if that is the whole communicator.
    pub(super) fn group(&self) -> &[u8] {
        match self {
            Self::Builtin(_) => &[],
            Self::User { group, .. } | Self::SplitAmong { group } => group,
        }
    }

    /// The call for the endpoint, which needs no names.
    pub(super) fn plain(&self) -> Call<'_> {
        match self {
            Self::Builtin(call) => *call,
            Self::User { sources, destinations, .. } => {
                let group = Group { sources: Ranks::List(sources), destinations: Ranks::List(destinations) };
                Call::User { name: "", version: 0, group }
            }
            Self::SplitAmong { .. } => Call::Split,
        }
    }
}

/// A group's name, as the hub reads it: two counts, the ranks, and a label if it has one.
fn group_name(sources: &[Rank], destinations: &[Rank], label: Option<u32>) -> Vec<u8> {
    let counts = [sources.len() as u32, destinations.len() as u32];
    let ranks = sources.iter().chain(destinations).map(|rank| rank.get());
    counts.into_iter().chain(ranks).chain(label).flat_map(u32::to_le_bytes).collect()
}

/// Whether the ranks on one side of a group are ranks of a communicator of `size`, each of them once.
fn check_side(ranks: &[Rank], size: u32, side: &str) -> Result<(), Error> {
    if let Some(rank) = ranks.iter().find(|rank| rank.get() >= size) {
        let text = format!("rank {rank} of the operation's group is not in this communicator of {size}");
        return Err(Error::invalid(text));
    }
    if ranks.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    let mut sorted = ranks.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::invalid(format!("rank {} is a {side} of the operation's group twice", pair[0]))),
        None => Ok(()),
    }
}

/// Whether the hub takes the name of a user's operation.
pub(super) fn check_operation(operation: &[u8]) -> Result<(), Error> {
    // Behind its version.
    let len = operation.len().saturating_sub(size_of::<u32>());
    if len > MAX_OPERATION_LEN {
        return Err(Error::invalid(format!("an operation's name of {len} bytes; {MAX_OPERATION_LEN} are allowed")));
    }
    Ok(())
}

/// Whether the hub takes the name of a call's group.
pub(super) fn check_group(call: &OwnedCall) -> Result<(), Error> {
    let (len, max) = (call.group().len(), MAX_BYTES / 2);
    if len <= max {
        return Ok(());
    }
    // Besides the ranks there are two counts, and a label.
    let words = |len: usize| len / size_of::<Rank>();
    Err(Error::invalid(match call {
        OwnedCall::SplitAmong { .. } => {
            let ranks = |len| (words(len) - 3) / 2;
            format!("a communicator of {} ranks without the others; {} are allowed", ranks(len), ranks(max))
        }
        OwnedCall::Builtin(_) | OwnedCall::User { .. } => {
            format!("a group with {} sources and destinations; {} are allowed", words(len) - 2, words(max) - 2)
        }
    }))
}

/// What is wrong with a call, with its numbers.
pub(super) fn invalid(fault: Fault, call: &Call<'_>, datatype: Datatype, communicator: CommunicatorId) -> Error {
    let Fault { category, len, max, .. } = fault;
    let CommunicatorId { size, rank, .. } = communicator;
    if category != Category::InvalidArgument {
        return Error::from_hub(fault, Reason::default());
    }
    let nobody = |rank: Rank, what: &str| {
        Error::invalid(format!("there is no rank {rank} {what}: ranks go from 0 to {}", size.saturating_sub(1)))
    };
    match *call {
        _ if call.op().is_some_and(|op| !datatype.accepts(op)) => {
            let op = call.op().map(|op| op.to_string()).unwrap_or_default();
            Error::invalid(format!("{op} is not defined on {datatype} (MPI 4.1, chapter 6.9.2)"))
        }
        Call::User { .. } => {
            Error::invalid(format!("rank {rank} is neither source nor destination of the operation's group"))
        }
        Call::Send { dest, .. } | Call::Ssend { dest, .. } | Call::Rsend { dest, .. } if dest.get() >= size => {
            nobody(dest, "to send to")
        }
        Call::Recv { source: Source::Rank(source), .. }
        | Call::Probe { source: Source::Rank(source), .. }
        | Call::Iprobe { source: Source::Rank(source), .. }
        | Call::Mprobe { source: Source::Rank(source), .. }
        | Call::Improbe { source: Source::Rank(source), .. } => nobody(source, "to receive from"),
        Call::Bcast { root }
        | Call::Gather { root }
        | Call::Scatter { root }
        | Call::Gatherv { root }
        | Call::Scatterv { root }
        | Call::Reduce { root, .. }
            if root.get() >= size =>
        {
            nobody(root, "to be the root")
        }
        _ => Error::invalid(format!("{len} bytes can not be divided into one block for each of {max} ranks")),
    }
}
