//! What a call says of itself, what the participants of one have to agree on, and the same in words.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::pattern::Pattern;
use crate::call::SplitRequest;
use crate::datatype::{Datatype, ReduceOp};
use crate::rank::Rank;
use crate::request::CallCode;
use crate::wire::{Submit, SubmitFlags};

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
        // Groups are for user operations and splits; all others are of the whole communicator.
        let takes_group = matches!(call, User | Split);
        if submit.peer.get() >= size || (call == User) != name.is_some() || (!takes_group && submit.group != 0) {
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
        let is_whole = submit.send.is_multiple_of(ranks.saturating_mul(datatype.size() as u64));
        if (splits && !varied && !is_whole) || (varied && !splits) {
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
            // "operation "mean" version 1 (f32)", and "allreduce(SUM, 100 x f32)".
            let space = if self.name.is_some() { " " } else { "" };
            text.push_str(&format!("{space}({})", details.join(", ")));
        }
        text
    }
}
