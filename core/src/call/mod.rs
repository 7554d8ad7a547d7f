//! Calls: what a rank asks the hub for, as values.

mod code;
mod intent;
mod split;

pub use code::CallCode;
pub(crate) use code::{is_probe, is_receive, is_send};
pub use intent::{Intent, Purpose};
pub use split::{Color, SplitRequest, SplitResult};

use crate::datatype::ReduceOp;
use crate::rank::{Group, Rank, Source, Tag, TagSelector};

/// What a rank asks the hub for: a value, so that a call needs no generics to be made, sent or printed. The numbers are
/// chapters of MPI 4.1. More may come: whoever looks into calls lets the others through.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Call<'a> {
    /// Everybody waits for everybody (MPI 4.1, chapter 6.3).
    Barrier,
    /// The root's data reach every rank (6.4).
    Bcast {
        /// Who gives.
        root: Rank,
    },
    /// Every rank's block reaches the root, in rank order (6.5).
    Gather {
        /// Who receives.
        root: Rank,
    },
    /// The root's blocks reach the ranks, one each (6.6).
    Scatter {
        /// Who gives.
        root: Rank,
    },
    /// Every rank's block reaches every rank (6.7).
    Allgather,
    /// Block d of rank s becomes block s of rank d (6.8).
    Alltoall,
    /// The root receives all vectors combined element by element (6.9).
    Reduce {
        /// Who receives.
        root: Rank,
        /// How two elements become one.
        op: ReduceOp,
    },
    /// Every rank receives all vectors combined element by element (6.9.6).
    Allreduce {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// As [`Gather`](Self::Gather), of blocks whose lengths differ (6.5).
    Gatherv {
        /// Who receives.
        root: Rank,
    },
    /// As [`Scatter`](Self::Scatter), of blocks whose lengths differ (6.6).
    Scatterv {
        /// Who gives.
        root: Rank,
    },
    /// As [`Allgather`](Self::Allgather), of blocks whose lengths differ (6.7).
    Allgatherv,
    /// As [`Alltoall`](Self::Alltoall), of blocks whose lengths differ (6.8).
    Alltoallv,
    /// All vectors are combined element by element, and each rank receives a block of the result, as many elements as it
    /// asks for, behind those of the ranks before it (6.10.2).
    ReduceScatter {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// The same, in blocks of one length (6.10.1).
    ReduceScatterBlock {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// Every rank receives the vectors of the ranks up to its own combined element by element (6.11.1).
    Scan {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// Every rank but the first receives the vectors of the ranks before it combined element by element (6.11.2).
    Exscan {
        /// How two elements become one.
        op: ReduceOp,
    },
    /// A message to one rank (3.2.1), done when the library has its bytes.
    Send {
        /// Who receives.
        dest: Rank,
        /// The label of the message.
        tag: Tag,
    },
    /// The same, done when a receive has taken it (3.4, synchronous mode).
    Ssend {
        /// Who receives.
        dest: Rank,
        /// The label of the message.
        tag: Tag,
    },
    /// The same, which fails if no receive waits for it (3.4, ready mode).
    Rsend {
        /// Who receives.
        dest: Rank,
        /// The label of the message.
        tag: Tag,
    },
    /// A message from a rank (3.2.4).
    Recv {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
    },
    /// Waits for a message that a receive would take, and leaves it (3.8.1).
    Probe {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
    },
    /// The same without waiting: where there is none, [`Status::source`](crate::Status::source) is [`Status::NOBODY`](crate::Status::NOBODY) (3.8.1).
    Iprobe {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
    },
    /// As [`Probe`](Self::Probe), and keeps the message for an [`Mrecv`](Self::Mrecv): no other receive takes it (3.8.2).
    Mprobe {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
        /// The number under which it is kept, which no other message of this rank has.
        message: u32,
    },
    /// The same without waiting, as [`Iprobe`](Self::Iprobe) (3.8.2).
    Improbe {
        /// Who gives.
        source: Source,
        /// Which labels are taken.
        tag: TagSelector,
        /// The number under which it is kept, which no other message of this rank has.
        message: u32,
    },
    /// Receives the message that an [`Mprobe`](Self::Mprobe) or [`Improbe`](Self::Improbe) has kept (3.8.3).
    Mrecv {
        /// The number under which it is kept.
        message: u32,
    },
    /// The same of a message that nobody wants any more: its sender goes on, and nothing is received. MPI has no such call.
    Discard {
        /// The number under which it is kept.
        message: u32,
    },
    /// The ranks part into new communicators (7.4.2). Gives a [`SplitRequest`], receives a [`SplitResult`].
    Split,
    /// This rank is done with the communicator (7.4.3); nobody waits for the others.
    Free,
    /// Who is in the communicator (7.3.2): receives the ranks in the world of its members, in the order of their ranks in
    /// it, a little-endian `u32` each. The hub answers at once; nobody waits for the others.
    Members,
    /// An operation that the user registered at the hub.
    User {
        /// The operation's registered name.
        name: &'a str,
        /// Its version; the hub's must be the same.
        version: u32,
        /// Who gives and who receives.
        group: Group<'a>,
    },
}

impl Call<'_> {
    /// The call without the lifetime of names; `None` for a user's operation, which has some.
    pub const fn builtin(self) -> Option<Call<'static>> {
        Some(match self {
            Self::Barrier => Call::Barrier,
            Self::Bcast { root } => Call::Bcast { root },
            Self::Gather { root } => Call::Gather { root },
            Self::Scatter { root } => Call::Scatter { root },
            Self::Allgather => Call::Allgather,
            Self::Alltoall => Call::Alltoall,
            Self::Reduce { root, op } => Call::Reduce { root, op },
            Self::Allreduce { op } => Call::Allreduce { op },
            Self::Gatherv { root } => Call::Gatherv { root },
            Self::Scatterv { root } => Call::Scatterv { root },
            Self::Allgatherv => Call::Allgatherv,
            Self::Alltoallv => Call::Alltoallv,
            Self::ReduceScatter { op } => Call::ReduceScatter { op },
            Self::ReduceScatterBlock { op } => Call::ReduceScatterBlock { op },
            Self::Scan { op } => Call::Scan { op },
            Self::Exscan { op } => Call::Exscan { op },
            Self::Send { dest, tag } => Call::Send { dest, tag },
            Self::Ssend { dest, tag } => Call::Ssend { dest, tag },
            Self::Rsend { dest, tag } => Call::Rsend { dest, tag },
            Self::Recv { source, tag } => Call::Recv { source, tag },
            Self::Probe { source, tag } => Call::Probe { source, tag },
            Self::Iprobe { source, tag } => Call::Iprobe { source, tag },
            Self::Mprobe { source, tag, message } => Call::Mprobe { source, tag, message },
            Self::Improbe { source, tag, message } => Call::Improbe { source, tag, message },
            Self::Mrecv { message } => Call::Mrecv { message },
            Self::Discard { message } => Call::Discard { message },
            Self::Split => Call::Split,
            Self::Free => Call::Free,
            Self::Members => Call::Members,
            Self::User { .. } => return None,
        })
    }

    /// How two elements become one, where the call combines some.
    pub const fn op(&self) -> Option<ReduceOp> {
        match *self {
            Self::Reduce { op, .. }
            | Self::Allreduce { op }
            | Self::ReduceScatter { op }
            | Self::ReduceScatterBlock { op }
            | Self::Scan { op }
            | Self::Exscan { op } => Some(op),
            _ => None,
        }
    }
}
