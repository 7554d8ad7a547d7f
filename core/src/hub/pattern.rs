//! How the bytes of each call flow, and in what shape its results come.

use crate::request::CallCode;

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
    pub(super) fn of(call: CallCode) -> Self {
        use CallCode::*;
        match call {
            Barrier | Free | Members => Self::Nothing,
            Send | Ssend | Rsend | Recv | Probe | Iprobe | Mprobe | Improbe | Mrecv | Discard => Self::Message,
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
