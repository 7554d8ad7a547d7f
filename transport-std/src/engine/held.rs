//! The open requests of a rank, as the engine keeps them and as a person would name them.

use std::fmt::Write;
use std::panic::Location;
use std::sync::Arc;

use edgempi_core::{Call, RequestId, Source, TagSelector};

use crate::pending::Pending;

/// A request that the hub has not answered.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) id: RequestId,
    pub(super) pending: Arc<Pending>,
    pub(super) called: Called,
    /// The communicator's number.
    pub(super) communicator: u64,
    pub(super) site: &'static Location<'static>,
}

/// What was called.
#[derive(Clone, Copy)]
pub(super) enum Called {
    Builtin(Call<'static>),
    /// A user's operation, by the number that this session gave it.
    User(u16),
}

impl Called {
    pub(super) fn is_collective(self) -> bool {
        !matches!(self, Self::Builtin(Call::Send { .. } | Call::Recv { .. } | Call::Free))
    }
}

impl Held {
    /// The call, its ranks and its place in the source. `name` is that of a user's operation.
    pub(super) fn describe(&self, name: impl FnOnce(u16) -> String) -> String {
        let mut text = match self.called {
            Called::User(number) => format!("operation \"{}\"", name(number)),
            Called::Builtin(call) => match call {
                Call::Barrier => "barrier".to_owned(),
                Call::Bcast { root } => format!("bcast(root {root})"),
                Call::Gather { root } => format!("gather(root {root})"),
                Call::Scatter { root } => format!("scatter(root {root})"),
                Call::Allgather => "allgather".to_owned(),
                Call::Alltoall => "alltoall".to_owned(),
                Call::Reduce { root, op } => format!("reduce(root {root}, {op})"),
                Call::Allreduce { op } => format!("allreduce({op})"),
                Call::Send { dest, tag } => format!("send(to {dest}, tag {tag})"),
                Call::Recv { source, tag } => {
                    let source = match source {
                        Source::Any => "anybody".to_owned(),
                        Source::Rank(rank) => rank.to_string(),
                    };
                    let tag = match tag {
                        TagSelector::Any => "any tag".to_owned(),
                        TagSelector::Tag(tag) => format!("tag {tag}"),
                    };
                    format!("recv(from {source}, {tag})")
                }
                Call::Split => "split".to_owned(),
                Call::Free => "free".to_owned(),
                Call::User { name, .. } => format!("operation \"{name}\""),
            },
        };
        if self.communicator != 0 {
            // Writing to a string does not fail.
            let _ = write!(text, " on communicator {:x}", self.communicator);
        }
        let _ = write!(text, " at {}", self.site);
        text
    }
}
