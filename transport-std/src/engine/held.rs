//! The open requests of a rank, as the engine keeps them and as a person would name them.

use std::fmt::Write;
use std::panic::Location;
use std::sync::Arc;

use edgempi_core::request::CallCode;
use edgempi_core::{Call, Purpose, RequestId, Source, TagSelector};

use crate::pending::Pending;

/// A request that the hub has not answered.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) id: RequestId,
    pub(super) pending: Arc<Pending>,
    pub(super) called: Called,
    /// What the program called, where that is not it.
    pub(super) purpose: Option<Purpose>,
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
        match self {
            Self::Builtin(call) => CallCode::of(&call).is_collective(),
            Self::User(_) => true,
        }
    }

    /// Whether a rank that leaves waits for it.
    pub(super) fn holds_up(self) -> bool {
        match self {
            Self::Builtin(call) => self.is_collective() || CallCode::of(&call).is_send(),
            Self::User(_) => true,
        }
    }
}

impl Held {
    /// The call, its ranks and its place in the source. `name` is that of a user's operation.
    pub(super) fn describe(&self, name: impl FnOnce(u16) -> String) -> String {
        let mut text = match self.called {
            Called::User(number) => format!("operation \"{}\"", name(number)),
            Called::Builtin(call) => describe(&call, self.purpose),
        };
        if self.communicator != 0 {
            // Writing to a string does not fail.
            let _ = write!(text, " on communicator {:x}", self.communicator);
        }
        let _ = write!(text, " at {}", self.site);
        text
    }
}

fn describe(call: &Call<'_>, purpose: Option<Purpose>) -> String {
    let name = purpose.map_or(CallCode::of(call).as_str(), Purpose::as_str);
    match *call {
        Call::Bcast { root }
        | Call::Gather { root }
        | Call::Scatter { root }
        | Call::Gatherv { root }
        | Call::Scatterv { root } => format!("{name}(root {root})"),
        Call::Reduce { root, op } => format!("{name}(root {root}, {op})"),
        Call::Send { dest, tag } | Call::Ssend { dest, tag } | Call::Rsend { dest, tag } => {
            format!("{name}(to {dest}, tag {tag})")
        }
        Call::Recv { source, tag }
        | Call::Probe { source, tag }
        | Call::Iprobe { source, tag }
        | Call::Mprobe { source, tag, .. }
        | Call::Improbe { source, tag, .. } => {
            let source = match source {
                Source::Any => "anybody".to_owned(),
                Source::Rank(rank) => rank.to_string(),
            };
            let tag = match tag {
                TagSelector::Any => "any tag".to_owned(),
                TagSelector::Tag(tag) => format!("tag {tag}"),
            };
            format!("{name}(from {source}, {tag})")
        }
        _ => match call.op() {
            Some(op) => format!("{name}({op})"),
            None => name.to_owned(),
        },
    }
}
