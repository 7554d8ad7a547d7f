//! What a request waits for, as far as it depends on somebody's next call; and the same in words.

use alloc::format;
use alloc::string::String;

use super::group::GroupInfo;
use super::mail::Message;
use super::operation::{Operation, Participant, Phase, Presence};
use super::peer::Place;
use super::sides::list;
use super::signature::{Signature, name_of, purpose_of};
use super::{Hub, WORLD};
use crate::call::Purpose;
use crate::datatype::Datatype;
use crate::rank::{Rank, Source};
use crate::request::{CallCode, RequestId};
use crate::wire::{Submit, SubmitFlags};

/// Whose calls a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// One rank is to call: the source of a receive, the destination of a send.
    For(Rank),
    /// Any other rank of the communicator is to send.
    ForAnybody { communicator: u64 },
    /// All that an operation [awaits](Operation::awaited) are to call.
    ForParticipants { operation: u64 },
}

impl Operation {
    /// The ranks without whose calls the operation can not begin. Those that only receive are not among them as long as
    /// it may begin without them: that depends on whether everything rides along with the calls still to come.
    pub(super) fn awaited(&self) -> impl Iterator<Item = Rank> {
        let needs_givers = self.givers_missing > 0;
        let begins = self.phase != Phase::Gathering;
        let is_awaited = move |(position, one): &(usize, &Participant)| {
            !begins && one.presence == Presence::Absent && (!needs_givers || self.is_giver(*position))
        };
        self.participants.iter().enumerate().filter(is_awaited).map(|(_, one)| one.rank)
    }
}

impl Hub {
    /// Whose calls a request waits for. `None` if it goes on without any: it has been answered, or its bytes are on
    /// their way, which the ranks' links see to whatever their threads do.
    pub(super) fn wait_of(&self, rank: Rank, request: RequestId) -> Option<Wait> {
        let place = *self.session(rank)?.requests.get(&request)?;
        match place {
            Place::Operation { id, .. } => {
                let is_gathering = self.operations.get(&id)?.phase == Phase::Gathering;
                is_gathering.then_some(Wait::ForParticipants { operation: id })
            }
            Place::Unexpected { communicator, dest, order } => {
                let message = self.mail.get(&(communicator, dest))?.message(order)?;
                message.is_waited_for().then_some(Wait::For(dest))
            }
            Place::Posted { communicator, source: Source::Any, .. } => Some(Wait::ForAnybody { communicator }),
            Place::Posted { source: Source::Rank(source), .. } => Some(Wait::For(source)),
            Place::Kept => {
                let (keeper, message) = self.kept_message(rank, request)?;
                message.is_waited_for().then_some(Wait::For(keeper))
            }
        }
    }

    /// A send of `rank` that a probe has found, and who keeps it.
    fn kept_message(&self, rank: Rank, request: RequestId) -> Option<(Rank, &Message)> {
        let is_it = |message: &Message| message.sender == rank && message.submit.request == request;
        let ((keeper, _), message) = self.kept.iter().find(|(_, message)| is_it(message))?;
        Some((*keeper, message))
    }

    /// The call that a request is, with its place in the source.
    pub(super) fn describe_request(&self, rank: Rank, request: RequestId) -> Option<String> {
        match *self.session(rank)?.requests.get(&request)? {
            Place::Operation { id, position } => Some(self.describe_part(self.operations.get(&id)?, position)),
            Place::Unexpected { communicator, dest, order } => {
                let message = self.mail.get(&(communicator, dest))?.message(order)?;
                Some(self.describe_call(rank, &message.submit))
            }
            Place::Posted { communicator, source, tag, order, is_probe } => {
                let posted = self.mail.get(&(communicator, rank))?.posted(source, tag, order, is_probe)?;
                Some(self.describe_call(rank, &posted.submit))
            }
            Place::Kept => {
                let (_, message) = self.kept_message(rank, request)?;
                Some(self.describe_call(rank, &message.submit))
            }
        }
    }

    /// What the participant at `position` of an operation has called.
    pub(super) fn describe_part(&self, operation: &Operation, position: usize) -> String {
        let rank = |at: usize| operation.participants.get(at).map(|one| one.rank).unwrap_or_default();
        let site = operation.participants.get(position).map_or(0, |one| one.site);
        let call = match (operation.key, position) {
            (Some(key), _) => {
                let Operation { group, signature, .. } = operation;
                return self.describe_collective(rank(position), signature, group, key.communicator, site);
            }
            (None, position) => {
                let call = if position == 0 { operation.signature.call } else { CallCode::Recv };
                let purpose = operation.participants.get(position).and_then(|one| one.purpose);
                let (way, other) = if position == 0 { ("to", rank(1)) } else { ("from", rank(0)) };
                let name = name_of(call, purpose);
                match purpose.is_some_and(Purpose::is_of_neighbours) {
                    true => format!("{name}({way} rank {other})"),
                    false => format!("{name}({way} rank {other}, tag {})", operation.tag),
                }
            }
        };
        format!("{call}{}", self.site_of(rank(position), site))
    }

    /// What `rank` has called, if that is a collective: "allreduce(SUM, 100 x f32) among ranks 1, 3 at main.rs:12:5".
    pub(super) fn describe_collective(
        &self,
        rank: Rank,
        call: &Signature,
        group: &GroupInfo,
        communicator: u64,
        site: u16,
    ) -> String {
        let (group, among) = (group.describe(), self.ranks_of(communicator));
        format!("{}{group}{among}{}", call.describe(), self.site_of(rank, site))
    }

    /// What `rank` has called, if that is no collective: "recv(from rank 1, tag 5) at main.rs:3:9".
    pub(super) fn describe_call(&self, rank: Rank, submit: &Submit) -> String {
        let Submit { communicator, site, tag, peer, datatype, send, flags, .. } = *submit;
        let Some(call) = CallCode::from_code(submit.call) else { return String::new() };
        let other = self.members(communicator).and_then(|all| all.members.get(peer.index())).copied().unwrap_or(peer);
        let purpose = purpose_of(submit);
        let is_of_neighbours = purpose.is_some_and(Purpose::is_of_neighbours);
        let details = match call {
            // Nobody has chosen the tag.
            _ if is_of_neighbours && call.is_send() => format!("(to rank {other})"),
            _ if is_of_neighbours => format!("(from rank {other})"),
            CallCode::Send | CallCode::Ssend | CallCode::Rsend => {
                let what = match Datatype::from_code(datatype) {
                    Some(Datatype::Object) | None => String::from("an object"),
                    Some(datatype) => format!("{} x {datatype}", send / datatype.size().max(1) as u64),
                };
                format!("(to rank {other}, tag {tag}, {what})")
            }
            CallCode::Recv | CallCode::Probe | CallCode::Iprobe | CallCode::Mprobe | CallCode::Improbe => {
                let any_source = flags.has(SubmitFlags::ANY_SOURCE);
                let source = if any_source { String::from("any rank") } else { format!("rank {other}") };
                let any_tag = flags.has(SubmitFlags::ANY_TAG);
                let tag = if any_tag { String::from("any tag") } else { format!("tag {tag}") };
                format!("(from {source}, {tag})")
            }
            _ => String::new(),
        };
        let name = name_of(call, purpose);
        format!("{name}{details}{}{}", self.ranks_of(communicator), self.site_of(rank, site))
    }

    /// " among ranks 1, 3", for a call on another communicator than the world.
    pub(super) fn ranks_of(&self, communicator: u64) -> String {
        match self.members(communicator) {
            Some(all) if communicator != WORLD => format!(" among {}", list(&all.members)),
            _ => String::new(),
        }
    }
}

impl Message {
    /// Whether its sender waits for the receive. A send that came whole was done when it left its rank.
    pub(super) fn is_waited_for(&self) -> bool {
        let is_done =
            self.is_whole() && self.submit.flags.has(SubmitFlags::EAGER) && self.submit.call != CallCode::Ssend as u8;
        !self.is_lost && !is_done
    }
}
