//! Submits become participants of operations: found by name, compared, started, or failed together.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::payload::Payload;

use super::group::GroupInfo;
use super::operation::{Folding, Key, Operation, Participant, Phase, Plan, Presence, UserError};
use super::pattern::{Pattern, Results, Shape};
use super::peer::Place;
use super::registry::{Combine, Registered};
use super::signature::{Signature, purpose_of};
use super::stream::Stream;
use super::{Hub, Refusal, WORLD, broken};
use crate::error::{Category, Fault};
use crate::operation::BuiltinFold;
use crate::rank::{Rank, Tag};
use crate::request::{CallCode, RequestId};
use crate::wire::{MAX_REASON_LEN, Submit, SubmitFlags};

/// How many collectives a rank may be ahead of the others, its answers in hand.
const MAX_AHEAD: usize = 1024;

impl Hub {
    pub(super) fn on_submit(&mut self, rank: Rank, submit: Submit, payload: Payload) -> Result<(), Refusal> {
        let (now, max_requests) = (self.now, self.config.max_requests);
        self.watch_for_slow_calls();
        let members = self.members(submit.communicator);
        let own = members.and_then(|members| Some((members.position(rank)?, members.members.len() as u32)));
        let (number, size) = own.ok_or_else(|| broken("a call on a communicator that the rank is not in"))?;
        let number = Rank::new(number as u32);
        let Some(session) = self.session_mut(rank) else { return Ok(()) };
        if submit.sequence != session.received.wrapping_add(1) {
            return Err(broken("a submit out of order"));
        }
        session.received = submit.sequence;
        // What a program drops may be given back while its thread waits: that is no call of the thread's.
        if !matches!(CallCode::from_code(submit.call), Some(CallCode::Free | CallCode::Discard)) {
            session.blocked = None;
            session.last.note(&submit, payload.len(), now);
        }
        // An answer that has not left counts: its rank can not know that the request is over.
        let open = session.requests.len() + session.unsent_answers;
        if session.requests.contains_key(&submit.request) || submit.request == RequestId::NONE {
            return Err(broken("a request that is open already, or none"));
        }
        if open >= max_requests as usize {
            let fault = Fault::of_size(Category::TooManyRequests, open as u64 + 1, max_requests.into());
            return Err((fault, format!("more than {max_requests} requests are open")));
        }
        if !session.is_alive() {
            return Err(broken("a submit after goodbye"));
        }
        let group = match submit.group {
            0 => None,
            id => Some(session.names.groups.get(&id).cloned().ok_or_else(|| broken("a group without a name"))?),
        };
        let name = match submit.name {
            0 => None,
            id => {
                Some(session.names.operations.get(&id).cloned().ok_or_else(|| broken("an operation without a name"))?)
            }
        };
        let table = if submit.flags.has(SubmitFlags::VARIED) { size as usize * 8 } else { 0 };
        let inline = payload.len().checked_sub(table).ok_or_else(|| broken("lengths that are cut short"))?;
        if inline as u64 > submit.send {
            return Err(broken("more payload than was announced"));
        }
        self.check_charge(rank, &submit, inline as u64)?;
        let group = match group {
            Some(group) => self.group_within(submit.communicator, &group),
            None => self.members(submit.communicator).cloned(),
        };
        let place = group.and_then(|group| Some((group.position(rank)?, group)));
        let (position, group) = place.ok_or_else(|| broken("a call on a group that the rank is not in"))?;
        let signature = Signature::new(&submit, size, number, name);
        let signature = signature.ok_or_else(|| broken("a call that means nothing"))?;
        if signature.call == CallCode::Split && !group.all_do_both() {
            return Err(broken("a split of ranks of which not each gives and receives"));
        }
        match signature.call {
            CallCode::Send | CallCode::Ssend | CallCode::Rsend => self.on_send(rank, submit, payload),
            CallCode::Free => self.on_free(rank, &submit),
            CallCode::Members => {
                self.on_members(rank, &submit);
                Ok(())
            }
            CallCode::Mrecv => self.on_mrecv(rank, submit),
            CallCode::Discard => self.on_discard(rank, &submit),
            call if call.is_receive() => match self.take_notice(rank, submit.communicator) {
                Some((fault, text)) => {
                    self.fail_request(rank, submit.request, fault, &text);
                    Ok(())
                }
                None => self.on_recv(rank, submit, call),
            },
            _ => self.on_collective(rank, submit, payload, &group, position, signature),
        }
    }

    /// What a rank has not been told of an operation that it had left before the others disagreed. A send does not
    /// take it: it may be done already, and then nobody would hear.
    fn take_notice(&mut self, rank: Rank, communicator: u64) -> Option<Refusal> {
        let (fault, text) = self.session_mut(rank)?.notice.remove(&communicator)?;
        Some((fault, String::from(&*text)))
    }

    fn on_collective(
        &mut self,
        rank: Rank,
        submit: Submit,
        payload: Payload,
        group: &Arc<GroupInfo>,
        position: usize,
        signature: Signature,
    ) -> Result<(), Refusal> {
        let key = Key { communicator: submit.communicator, group: group.id, n: submit.n };
        let found = self.names.get(&key).and_then(|id| self.operations.remove(id));
        let mut operation = match found {
            Some(operation) => operation,
            None => {
                if let Some(absence) = self.absence_of_any(key.communicator, group) {
                    // A rank may well be gone because of what this one has not been told. Whoever calls it later is told
                    // of the absence, too, so there is nothing to keep.
                    let (fault, text) = self.take_notice(rank, submit.communicator).unwrap_or_else(|| {
                        let (fault, text) = absence;
                        let call = self.describe_collective(rank, &signature, group, submit.communicator, submit.site);
                        (fault, format!("{text}; rank {rank} called {call}"))
                    });
                    self.free_charge(rank, charge(&submit, payload.len(), group.members.len()));
                    self.fail_request(rank, submit.request, fault, &text);
                    return Ok(());
                }
                self.open_operation(key, group.clone(), signature.clone(), rank, submit.site)
            }
        };
        if operation.participants.get(position).is_none_or(|participant| participant.presence != Presence::Absent) {
            self.put_back(operation);
            return Err(broken("the same collective twice"));
        }
        self.enrol(&mut operation, position, rank, &submit);
        let result = self.take_part(&mut operation, position, &submit, payload, &signature);
        self.put_back(operation);
        result
    }

    fn take_part(
        &mut self,
        operation: &mut Operation,
        position: usize,
        submit: &Submit,
        payload: Payload,
        signature: &Signature,
    ) -> Result<(), Refusal> {
        let rank = operation.participants.get(position).map_or(Rank::new(0), |participant| participant.rank);
        let charge = charge(submit, payload.len(), operation.size());
        if let Phase::Failed(fault, _) = &operation.phase {
            let is_mismatch = is_disagreement(*fault);
            self.free_charge(rank, charge);
            match self.take_notice(rank, submit.communicator) {
                // What came before may well be why this has failed.
                Some((fault, text)) if !is_mismatch => self.tell(operation, position, fault, &text),
                _ if signature.is_same_call(&operation.signature) => self.tell_failure(operation, position),
                _ => {
                    // What it has called is not what has failed: that is told as it is.
                    let meant = core::mem::replace(&mut operation.signature, signature.clone());
                    self.tell_failure(operation, position);
                    operation.signature = meant;
                }
            }
            return Ok(());
        }
        // A notice fails the operation for everybody, or those without one would wait for this rank.
        let failure = if let Some(refusal) = self.take_notice(rank, submit.communicator) {
            Some(refusal)
        } else if !signature.agrees(&operation.signature) {
            Some(self.mismatch(operation, position, signature))
        } else if submit.send > self.config.max_message {
            Some(self.too_large(&format!("what rank {rank} gives"), submit.send))
        } else {
            None
        };
        if let Some((fault, text)) = failure {
            self.free_charge(rank, charge);
            self.fail_operation(operation, fault, &text);
            return Ok(());
        }
        operation.signature.learn(signature);
        self.attach(operation, position, submit, payload)?;
        self.advance(operation, position);
        Ok(())
    }

    /// An operation that `rank` is the first to call, at `site`.
    fn open_operation(
        &mut self,
        key: Key,
        group: Arc<GroupInfo>,
        signature: Signature,
        rank: Rank,
        site: u16,
    ) -> Box<Operation> {
        self.next_operation += 1;
        let id = self.next_operation;
        let size = group.members.len();
        let root = signature.root.map_or(0, Rank::index);
        let mut participants: Vec<Participant> = Vec::with_capacity(size);
        participants.extend(group.members.iter().map(|rank| Participant { rank: *rank, ..Participant::default() }));
        let mut phase = Phase::Gathering;
        let builtin = signature.op.and_then(|op| BuiltinFold::new(signature.datatype, op));
        let (plan, results) = match (builtin, &signature.name) {
            (Some(fold), _) => {
                let shape = Shape::of(signature.call);
                (Plan::Fold(Folding::new(Combine::Builtin(fold), shape)), shape.results())
            }
            (None, Some((version, name))) => match self.registry.find(name, *version, signature.datatype) {
                Ok(Registered::Apply(apply)) => {
                    (Plan::Apply { apply, name: name.clone(), running: false }, Results::Each)
                }
                Ok(Registered::Fold(fold)) => {
                    let combine = Combine::Fold(fold, name.clone());
                    (Plan::Fold(Folding::new(combine, Shape::Whole)), Results::Shared)
                }
                Ok(Registered::Columns(columns)) => {
                    let combine = Combine::Columns(columns, name.clone());
                    (Plan::Fold(Folding::new(combine, Shape::Whole)), Results::Shared)
                }
                Err(instead) => {
                    let call = format!("rank {rank} calls {}{}", signature.describe(), self.site_of(rank, site));
                    let (category, instead) = instead;
                    phase = Phase::Failed(Fault::new(category), format!("{call}, and {instead}").into());
                    (Plan::Route, Results::None)
                }
            },
            (None, None) if signature.call == CallCode::Split => (Plan::Split, Results::Each),
            (None, None) => (Plan::Route, Results::None),
        };
        let mut operation = Box::new(Operation {
            id,
            key: Some(key),
            group,
            signature,
            root,
            results,
            tag: Tag(0),
            participants,
            arrived: 0,
            givers_missing: 0,
            incomplete: 0,
            unanswered: size,
            postponed: Vec::new(),
            phase,
            given: Vec::new(),
            streams: Vec::new(),
            drained: 0,
            unopened: VecDeque::new(),
            plan,
            error: UserError::default(),
            at_work: false,
            window: 0,
            reserved: 0,
            since: self.now,
        });
        operation.givers_missing = (0..size).filter(|position| operation.is_giver(*position)).count();
        self.names.insert(key, id);
        operation
    }

    /// Notes that a rank has come.
    pub(super) fn enrol(&mut self, operation: &mut Operation, position: usize, rank: Rank, submit: &Submit) {
        let Some(session) = self.session_mut(rank) else { return };
        session.requests.insert(submit.request, Place::Operation { id: operation.id, position });
        let Some(hello) = session.hello else { return };
        let unlimited = submit.flags.has(SubmitFlags::UNLIMITED);
        let participant = Participant {
            presence: Presence::Present,
            rank,
            request: Some(submit.request),
            site: submit.site,
            purpose: purpose_of(submit),
            max_payload: hello.max_payload.into(),
            window: if unlimited || hello.receive_window == u32::MAX { u64::MAX } else { hello.receive_window.into() },
            receive: submit.receive,
            exact: submit.flags.has(SubmitFlags::EXACT),
            open_parts: u32::from(hello.open_parts.max(1)),
            ..Participant::default()
        };
        if let Some(place) = operation.participants.get_mut(position) {
            *place = participant;
        }
        operation.arrived += 1;
        if operation.is_giver(position) {
            operation.givers_missing = operation.givers_missing.saturating_sub(1);
        }
    }

    /// Turns what a rank gives into streams.
    pub(super) fn attach(
        &mut self,
        operation: &mut Operation,
        position: usize,
        submit: &Submit,
        mut payload: Payload,
    ) -> Result<(), Refusal> {
        let ups = operation.ups(position);
        let lanes = operation.input_lanes();
        let size = operation.size();
        let is_split = operation.gives_split();
        let varied = submit.flags.has(SubmitFlags::VARIED);
        let table = if varied { payload.split_to(payload.len().min(size * 8)) } else { Payload::new() };
        let inline = payload.len();
        let mut charge = super::point_to_point::cost(submit, inline);
        let (mut total, mut incomplete) = (0u64, 0u32);
        for (part, index) in ups.iter() {
            let own = is_split && part as usize == position;
            let len = if !is_split {
                submit.send
            } else if varied {
                let entry = table.get(part as usize * 8..).and_then(|rest| rest.first_chunk::<8>());
                u64::from_le_bytes(*entry.ok_or_else(|| broken("lengths that are cut short"))?)
            } else {
                submit.send / size.max(1) as u64
            };
            let mut stream = if own { Stream::void() } else { Stream::new(Some(position), part, len, lanes) };
            if matches!(operation.pattern(), Pattern::Bcast | Pattern::Allgather) {
                for (at, lane) in stream.lanes.iter_mut().enumerate() {
                    lane.done = operation.is_excluded(index, at);
                }
            }
            // A gather's root keeps its own block.
            if operation.pattern() == Pattern::Gather && position == operation.root {
                stream = Stream::void();
            }
            if !stream.void {
                total = total.checked_add(len).ok_or_else(|| broken("lengths beyond reason"))?;
                let n = payload.len().min(usize::try_from(len).unwrap_or(usize::MAX));
                if inline > 0 || charge > 0 {
                    let whole_charge = charge;
                    let share = if is_split { (n as u64).min(charge) } else { charge };
                    charge = whole_charge - share;
                    charge += stream.push_charged(payload.split_to(n), share);
                }
                if !stream.is_complete() {
                    incomplete += 1;
                }
            }
            operation.given.push((index, stream));
        }
        if !payload.is_empty() || (is_split && inline > 0 && incomplete > 0) || (varied && total != submit.send) {
            return Err(broken("a payload that does not fit its call"));
        }
        // What is left is the overhead of a message in many parts, or of one without bytes.
        let rank = operation.participants.get(position).map_or(Rank::new(0), |participant| participant.rank);
        self.free_charge(rank, charge);
        operation.incomplete += incomplete as usize;
        if let Some(participant) = operation.participants.get_mut(position) {
            participant.ups_left = incomplete;
        }
        Ok(())
    }

    /// Fails an operation for everybody who still waits in it; whoever comes late will be told.
    pub(super) fn fail_operation(&mut self, operation: &mut Operation, fault: Fault, text: &str) {
        // No more of it than anybody will be told.
        let text: Arc<str> = super::cut(text, MAX_REASON_LEN).into();
        operation.phase = Phase::Failed(fault, text.clone());
        operation.unopened.clear();
        if !operation.at_work {
            self.let_go(operation);
        }
        for position in 0..operation.size() {
            let Some(participant) = operation.participants.get(position) else { continue };
            match participant.presence {
                Presence::Present => self.tell_failure(operation, position),
                Presence::Done if is_disagreement(fault) => {
                    let communicator = operation.key.map_or(WORLD, |key| key.communicator);
                    if let Some(session) = self.session_mut(participant.rank) {
                        session.notice.entry(communicator).or_insert_with(|| (fault, text.clone()));
                    }
                }
                Presence::Done | Presence::Absent => {}
            }
        }
    }

    /// Gives back what an operation holds of the limits.
    fn let_go(&mut self, operation: &mut Operation) {
        // Their memory, too: whoever comes late may never come.
        let (given, streams) = (core::mem::take(&mut operation.given), core::mem::take(&mut operation.streams));
        for stream in given.into_iter().map(|(_, stream)| stream).chain(streams) {
            if let Some(giver) = stream.source.and_then(|source| operation.participants.get(source)) {
                self.free_charge(giver.rank, stream.charge);
            }
        }
        self.return_windows(operation);
    }

    /// Tells the participant at `position`, who waits, that the operation has failed.
    fn tell_failure(&mut self, operation: &mut Operation, position: usize) {
        let Phase::Failed(fault, text) = &operation.phase else { return };
        let (fault, text) = (*fault, text.clone());
        // Where a rank is missing nothing is kept for those who come late.
        let is_last_word = matches!(fault.category, Category::RankFailed | Category::RankFinished);
        if !is_last_word && self.postpones(operation, position) {
            return;
        }
        self.tell(operation, position, fault, &text);
    }

    /// Answers the participant at `position`, who waits.
    fn tell(&mut self, operation: &mut Operation, position: usize, fault: Fault, text: &str) {
        let Some(participant) = operation.participants.get_mut(position) else { return };
        let (Presence::Present, Some(request)) = (participant.presence, participant.request) else { return };
        participant.presence = Presence::Done;
        operation.unanswered -= 1;
        let rank = participant.rank;
        let error = if fault.category == Category::Remote { operation.error.clone() } else { UserError::default() };
        if !says_calls(fault.category) {
            let text = format!("{text}; rank {rank} called {}", self.describe_part(operation, position));
            return self.fail_request_with(rank, request, fault, &text, &error);
        }
        // Who hears it now need not hear it again.
        let communicator = operation.key.map_or(WORLD, |key| key.communicator);
        if let Some(session) = self.session_mut(rank)
            && session.notice.get(&communicator).is_some_and(|(_, notice)| &**notice == text)
        {
            session.notice.remove(&communicator);
        }
        self.fail_request_with(rank, request, fault, text, &error);
    }

    /// Whether the participant at `position` gets its answer only once all have called, because it is too far ahead of
    /// the others. Every operation that somebody is to come to takes memory, and answered requests have no limit.
    pub(super) fn postpones(&mut self, operation: &mut Operation, position: usize) -> bool {
        let is_complete = operation.is_complete();
        let Some(participant) = operation.participants.get_mut(position) else { return false };
        if participant.postponed || is_complete {
            return participant.postponed;
        }
        let Some(session) = self.ranks.get_mut(participant.rank.index()) else { return false };
        if session.ahead >= MAX_AHEAD {
            operation.postpone(position);
            return true;
        }
        session.ahead += 1;
        participant.ahead = true;
        false
    }

    /// Keeps an operation that is not over.
    pub(super) fn put_back(&mut self, mut operation: Box<Operation>) {
        let over = match &operation.phase {
            Phase::Failed(..) => {
                let communicator = operation.key.map_or(WORLD, |key| key.communicator);
                let nobody_comes =
                    operation.is_complete() || self.absence_of_any(communicator, &operation.group).is_some();
                nobody_comes && !operation.at_work
            }
            Phase::Running => operation.unanswered == 0 && operation.is_drained(),
            Phase::Gathering | Phase::Waiting => false,
        };
        if !over {
            self.operations.insert(operation.id, operation);
            return;
        }
        if let Some(key) = operation.key {
            self.names.remove(&key);
        }
        // Nobody is waited for any more.
        operation.arrived = operation.size();
        for position in operation.take_postponed() {
            self.tell_failure(&mut operation, position);
        }
        for one in operation.participants.iter().filter(|one| one.ahead) {
            if let Some(session) = self.ranks.get_mut(one.rank.index()) {
                session.ahead -= 1;
            }
        }
        self.let_go(&mut operation);
    }
}

/// Whether it says that ranks do not mean the same: then those who had their results before are to be told, too.
fn is_disagreement(fault: Fault) -> bool {
    fault.category == Category::Mismatch || (fault.category == Category::Truncated && fault.count > 0)
}

/// Whether what is said of an operation that fails so names the call whose fault it is: otherwise each rank is told which
/// of its own calls has failed.
fn says_calls(category: Category) -> bool {
    use Category::{Cancelled, RankFailed, RankFinished, TooLarge};
    !matches!(category, RankFailed | RankFinished | Cancelled | TooLarge)
}

/// What a Submit with so many bytes of payload was charged, in an operation of `size` ranks.
fn charge(submit: &Submit, payload: usize, size: usize) -> u64 {
    let table = if submit.flags.has(SubmitFlags::VARIED) { size * 8 } else { 0 };
    super::point_to_point::cost(submit, payload.saturating_sub(table))
}
