//! What a call says of itself, what the participants of one have to agree on, and the same in words.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::pattern::Pattern;
use crate::call::{Purpose, SplitRequest};
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
    /// What the program called, where that is not the call.
    pub(super) purpose: Option<Purpose>,
    /// A fingerprint of more that all have to agree on; 0 of a participant that says none.
    pub(super) arguments: u32,
}

impl Signature {
    /// What a Submit says, `None` if its numbers mean nothing.
    pub(super) fn new(submit: &Submit, size: u32, rank: Rank, name: Option<(u32, Arc<str>)>) -> Option<Self> {
        use CallCode::{
            Allgather, Alltoall, Bcast, Gather, Gatherv, Reduce, ReduceScatter, ReduceScatterBlock, Scatter, Scatterv,
            Split, User,
        };
        let call = CallCode::from_code(submit.call)?;
        let datatype = Datatype::from_code(submit.datatype)?;
        let combines = call.combines();
        let op = if combines { Some(ReduceOp::from_code(submit.op)?) } else { None };
        let purpose = match submit.op {
            0 => None,
            _ if combines => None,
            code => Some(Purpose::from_code(code).filter(|purpose| purpose.travels_as(call))?),
        };
        let arguments = if call.is_collective() { submit.tag.0 } else { 0 };
        let root = match call {
            Bcast | Gather | Scatter | Gatherv | Scatterv | Reduce => Some(submit.peer),
            _ => None,
        };
        // Groups are for user operations and splits; all others are of the whole communicator.
        let takes_group = matches!(call, User | Split);
        if submit.peer.get() >= size || (call == User) != name.is_some() || (!takes_group && submit.group != 0) {
            return None;
        }
        if op.is_some_and(|op| !datatype.accepts(op)) {
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
        Some(Self { call, root, datatype, op, block: block.filter(|_| typed), name, purpose, arguments })
    }

    /// Whether two participants mean the same.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let blocks = match (self.block, other.block) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        self.is_same_call(other) && !self.differs_in_arguments(other) && blocks
    }

    pub(super) fn is_same_call(&self, other: &Self) -> bool {
        let shared = |signature: &Self| signature.purpose.filter(|purpose| purpose.is_shared());
        self.call == other.call
            && self.root == other.root
            && self.datatype == other.datatype
            && self.op == other.op
            && self.name == other.name
            && shared(self) == shared(other)
    }

    fn differs_in_arguments(&self, other: &Self) -> bool {
        self.arguments != 0 && other.arguments != 0 && self.arguments != other.arguments
    }

    /// What a participant has learnt of the call from another one.
    pub(super) fn learn(&mut self, other: &Self) {
        self.block = self.block.or(other.block);
        if self.arguments == 0 {
            self.arguments = other.arguments;
        }
    }

    /// In which arguments another participant differs that means the same call otherwise, for people.
    pub(super) fn other_arguments(&self, other: &Self) -> &'static str {
        match self.call {
            _ if !self.is_same_call(other) || !self.differs_in_arguments(other) => "",
            CallCode::User => ", with other parameters",
            CallCode::Split => ", with other arguments",
            _ => ", with other counts",
        }
    }

    /// Whether two participants mean the same call, and only differ in how long what the root gives or receives is.
    pub(super) fn differs_in_length(&self, other: &Self) -> bool {
        matches!(self.call, CallCode::Bcast | CallCode::Scatter | CallCode::Gather)
            && self.is_same_call(other)
            && !self.differs_in_arguments(other)
    }

    /// The call, for people.
    pub(super) fn describe(&self) -> String {
        self.describe_with(None)
    }

    /// The call with one more detail, for people.
    pub(super) fn describe_with(&self, more: Option<String>) -> String {
        let mut text = match &self.name {
            Some((version, name)) => format!("operation \"{name}\" version {version}"),
            None => String::from(name_of(self.call, self.purpose)),
        };
        let mut details: Vec<String> = Vec::new();
        if let Some(root) = self.root {
            details.push(format!("root {root}"));
        }
        if let Some(op) = self.op {
            details.push(format!("{op}"));
        }
        let moves_data = !matches!(
            self.call,
            CallCode::Barrier | CallCode::Split | CallCode::Free | CallCode::Members | CallCode::User
        );
        match (self.datatype, self.block) {
            _ if self.purpose.is_some_and(Purpose::makes_communicators) => {}
            _ if self.purpose.is_some_and(Purpose::combines) => details.push(String::from("objects, by a closure")),
            (Datatype::Object, _) if !moves_data => {}
            (Datatype::Object, _) => details.push(String::from("objects")),
            (datatype, Some(block)) => details.push(format!("{} x {datatype}", block / datatype.size().max(1) as u64)),
            (datatype, None) => details.push(format!("{datatype}")),
        }
        details.extend(more);
        if !details.is_empty() {
            // "operation "mean" version 1 (f32)", and "allreduce(SUM, 100 x f32)".
            let space = if self.name.is_some() { " " } else { "" };
            text.push_str(&format!("{space}({})", details.join(", ")));
        }
        text
    }
}

/// What the program called, for people.
pub(super) fn name_of(call: CallCode, purpose: Option<Purpose>) -> &'static str {
    purpose.map_or(call.as_str(), Purpose::as_str)
}

/// The purpose of a call that the hub has taken: another number is that of a reduce op.
pub(super) fn purpose_of(submit: &Submit) -> Option<Purpose> {
    let is_plain = CallCode::from_code(submit.call).is_some_and(|call| !call.combines());
    Purpose::from_code(submit.op).filter(|_| is_plain)
}
