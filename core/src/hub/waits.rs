//! What a request waits for, as far as it depends on somebody's next call; and the same in words.

use alloc::format;
use alloc::string::String;

use super::collective::list;
use super::mail::{Message, Posted};
use super::operation::{Operation, Participant, Phase, Presence};
use super::peer::Place;
use super::{Hub, WORLD};
use crate::datatype::Datatype;
use crate::rank::{Rank, Source, TagSelector};
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
            Place::Kept => self.kept_for(rank, request).map(Wait::For),
        }
    }

    /// Who keeps a send of `rank` that a probe has found.
    fn kept_for(&self, rank: Rank, request: RequestId) -> Option<Rank> {
        let is_it = |message: &Message| message.sender == rank && message.submit.request == request;
        let ((receiver, _), message) = self.kept.iter().find(|(_, message)| is_it(message))?;
        message.is_waited_for().then_some(*receiver)
    }

    /// The call that a request is, with its place in the source.
    pub(super) fn describe_request(&self, rank: Rank, request: RequestId) -> Option<String> {
        match *self.session(rank)?.requests.get(&request)? {
            Place::Operation { id, position } => {
                let operation = self.operations.get(&id)?;
                let site = operation.participants.get(position).map_or(0, |one| one.site);
                let call = match operation.key {
                    Some(key) => format!("{}{}", operation.signature.describe(), self.ranks_of(key.communicator)),
                    None => String::from(if position == 0 { "send" } else { "recv" }),
                };
                Some(format!("{call}{}", self.site_of(rank, site)))
            }
            Place::Unexpected { communicator, dest, order } => {
                let message = self.mail.get(&(communicator, dest))?.message(order)?;
                Some(self.describe_send(message, dest))
            }
            Place::Posted { communicator, source, tag, order, is_probe } => {
                let posted = self.mail.get(&(communicator, rank))?.posted(source, tag, order, is_probe)?;
                Some(self.describe_receive(posted, source, tag))
            }
            Place::Kept => {
                let dest = self.kept_for(rank, request)?;
                let mut kept = self.kept.values();
                let message = kept.find(|message| message.sender == rank && message.submit.request == request)?;
                Some(self.describe_send(message, dest))
            }
        }
    }

    pub(super) fn describe_send(&self, message: &Message, dest: Rank) -> String {
        let Submit { communicator, site, tag, call, datatype, send, .. } = message.submit;
        let name = CallCode::from_code(call).map_or("send", CallCode::as_str);
        let what = match Datatype::from_code(datatype) {
            Some(Datatype::Object) | None => String::from("an object"),
            Some(datatype) => format!("{} x {datatype}", send / datatype.size().max(1) as u64),
        };
        let ranks = self.ranks_of(communicator);
        format!("{name}(to rank {dest}, tag {tag}, {what}){ranks}{}", self.site_of(message.sender, site))
    }

    pub(super) fn describe_receive(&self, posted: &Posted, source: Source, tag: TagSelector) -> String {
        let Submit { communicator, site, call, .. } = posted.submit;
        let name = CallCode::from_code(call).map_or("recv", CallCode::as_str);
        let source = match source {
            Source::Rank(source) => format!("from rank {source}"),
            Source::Any => String::from("from any rank"),
        };
        let tag = match tag {
            TagSelector::Tag(tag) => format!("tag {tag}"),
            TagSelector::Any => String::from("any tag"),
        };
        format!("{name}({source}, {tag}){}{}", self.ranks_of(communicator), self.site_of(posted.receiver, site))
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
