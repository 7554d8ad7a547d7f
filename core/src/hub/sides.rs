//! Ranks that do not mean the same, in words: who calls what, and where.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::operation::{Operation, Presence};
use super::signature::Signature;
use super::{Hub, Refusal, WORLD};
use crate::error::{Category, Fault};
use crate::rank::Rank;
use crate::request::CallCode;

/// How many sides of a disagreement are printed.
const MAX_SIDES: usize = 8;

impl Hub {
    /// Who calls what, and where: "ranks 0, 1 call barrier at main.rs:3:9; rank 2 calls bcast(root 0, objects) at
    /// main.rs:4:9". `call` says what the participant at a position does, and what is behind the place; `odd_one` is not
    /// left out.
    pub(super) fn describe_sides(
        &self,
        operation: &Operation,
        odd_one: usize,
        call: impl Fn(usize) -> (String, &'static str),
    ) -> String {
        let mut sides: Vec<(String, Vec<Rank>)> = Vec::new();
        let mut unsaid = 0;
        for (at, one) in operation.participants.iter().enumerate() {
            if one.presence == Presence::Absent {
                continue;
            }
            let (what, more) = call(at);
            let what = format!("{what}{}{more}", self.site_of(one.rank, one.site));
            if let Some((_, ranks)) = sides.iter_mut().find(|(side, _)| *side == what) {
                ranks.push(one.rank);
            } else if sides.len() < MAX_SIDES || at == odd_one {
                sides.push((what, alloc::vec![one.rank]));
            } else {
                unsaid += 1;
            }
        }
        let side = |(what, ranks): &(String, Vec<Rank>)| {
            let calls = if ranks.len() > 1 { "call" } else { "calls" };
            format!("{} {calls} {what}", list(ranks))
        };
        let mut text = sides.iter().map(side).collect::<Vec<_>>().join("; ");
        if unsaid > 0 {
            text.push_str(&format!("; {unsaid} more ranks call it at other places"));
        }
        text
    }

    /// The same, if not all mean the same: with the ranks of the communicator.
    pub(super) fn describe_disagreement(
        &self,
        operation: &Operation,
        odd_one: usize,
        call: impl Fn(usize) -> (String, &'static str),
    ) -> String {
        let communicator = operation.key.map_or(WORLD, |key| key.communicator);
        let who = match self.members(communicator) {
            Some(all) if communicator != WORLD => format!(" of a communicator of {}", list(&all.members)),
            _ => String::new(),
        };
        format!("the ranks{who} do not agree: {}", self.describe_sides(operation, odd_one, call))
    }

    /// The participant at `position` means something else than those before it.
    pub(super) fn mismatch(&self, operation: &Operation, position: usize, theirs: &Signature) -> Refusal {
        let text = self.describe_disagreement(operation, position, |at| match at == position {
            true => (theirs.describe(), operation.signature.other_arguments(theirs)),
            false => (operation.signature.describe(), ""),
        });
        let rank = operation.participants.get(position).map_or(Rank::new(0), |one| one.rank);
        let mut fault = Fault::of_ranks(Category::Mismatch, rank, 1);
        let root_is_here =
            operation.participants.get(operation.root).is_some_and(|root| root.presence != Presence::Absent);
        if root_is_here && operation.signature.differs_in_length(theirs) {
            // What comes does not fit: MPI's name for that, with both sides all the same.
            let (theirs, others) = (theirs.block.unwrap_or_default(), operation.signature.block.unwrap_or_default());
            let is_gather = operation.signature.call == CallCode::Gather;
            let (len, max) =
                if (position == operation.root) == is_gather { (others, theirs) } else { (theirs, others) };
            fault = Fault { category: Category::Truncated, len, max, ..fault };
        }
        (fault, text)
    }
}

/// "rank 3" or "ranks 0, 1, 2".
pub(super) fn list(ranks: &[Rank]) -> String {
    let numbers: Vec<String> = ranks.iter().take(16).map(|rank| format!("{rank}")).collect();
    let more = if ranks.len() > 16 { format!(" and {} more", ranks.len() - 16) } else { String::new() };
    format!("rank{} {}{more}", if ranks.len() > 1 { "s" } else { "" }, numbers.join(", "))
}
