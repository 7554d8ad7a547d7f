//! Sends and receives: matched in order, then passed on like any other stream.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::answer::blank;
use crate::payload::Payload;

use super::mail::{Mailbox, Message, Posted};
use super::operation::{Operation, Participant, Phase, Plan, Presence, UserError};
use super::pattern::Results;
use super::peer::{Place, Sent, Session};
use super::signature::{Signature, purpose_of};
use super::{Hub, Refusal, broken};
use crate::communicator::Status;
use crate::datatype::Datatype;
use crate::error::{Category, Fault};
use crate::rank::{Rank, Source, TagSelector};
use crate::request::{CallCode, RequestId};
use crate::wire::{Complete, Down, Layout, Submit, SubmitFlags};

impl Hub {
    pub(super) fn on_send(&mut self, rank: Rank, submit: Submit, payload: Payload) -> Result<(), Refusal> {
        let dest = self.rank_in_world(submit.communicator, submit.peer)?;
        if let Some((fault, text)) = self.absence_in(submit.communicator, dest) {
            self.free_charge(rank, cost(&submit, payload.len()));
            self.fail_call(rank, &submit, fault, &text);
            return Ok(());
        }
        let is_ready = submit.call == CallCode::Rsend as u8;
        let mailbox = self.mail.entry((submit.communicator, dest)).or_default();
        // Whoever waits in a matched probe has posted no receive.
        let is_early = is_ready && !mailbox.has_receive(rank, submit.tag);
        let posted = if is_early { None } else { mailbox.take_posted(rank, submit.tag) };
        match posted {
            Some(posted) => {
                self.forget_empty(submit.communicator, dest);
                let message = Message { sender: rank, submit, payload, is_lost: false, since: self.now };
                self.match_message(message, posted);
            }
            None if is_ready => {
                self.forget_empty(submit.communicator, dest);
                self.free_charge(rank, cost(&submit, payload.len()));
                let text = format!(
                    "rank {dest}{} has posted no receive for the ready send of rank {rank} with tag {}{}",
                    self.last_seen(dest),
                    submit.tag,
                    self.site_of(rank, submit.site),
                );
                self.fail_request(rank, submit.request, Fault::of_ranks(Category::NotReady, dest, 1), &text);
            }
            None => {
                // Whoever only looks for a message is told of it, and it stays.
                for probe in mailbox.take_probes(rank, submit.tag) {
                    self.found(probe.receiver, &probe.submit, rank, &submit);
                }
                let since = self.now;
                let mailbox = self.mail.entry((submit.communicator, dest)).or_default();
                let order = mailbox.push_message(since, rank, submit, payload);
                let place = Place::Unexpected { communicator: submit.communicator, dest, order };
                if let Some(session) = self.session_mut(rank) {
                    session.requests.insert(submit.request, place);
                }
            }
        }
        Ok(())
    }

    /// A receive, or a probe.
    pub(super) fn on_recv(&mut self, rank: Rank, submit: Submit, call: CallCode) -> Result<(), Refusal> {
        let source = if submit.flags.has(SubmitFlags::ANY_SOURCE) {
            Source::Any
        } else {
            Source::Rank(self.rank_in_world(submit.communicator, submit.peer)?)
        };
        let tag = if submit.flags.has(SubmitFlags::ANY_TAG) { TagSelector::Any } else { TagSelector::Tag(submit.tag) };
        let is_probe = matches!(call, CallCode::Probe | CallCode::Iprobe);
        let mailbox = self.mail.entry((submit.communicator, rank)).or_default();
        if is_probe && let Some(message) = mailbox.find_message(source, tag) {
            let (sender, send, is_lost) = (message.sender, message.submit, message.is_lost);
            match self.absence(sender).filter(|_| is_lost) {
                Some((fault, text)) => self.fail_call(rank, &submit, fault, &text),
                None => self.found(rank, &submit, sender, &send),
            }
            return Ok(());
        }
        if !is_probe && let Some(message) = mailbox.take_message(source, tag) {
            self.forget_empty(submit.communicator, rank);
            self.deliver(message, Posted { receiver: rank, submit, since: self.now });
            return Ok(());
        }
        let asks_once = matches!(call, CallCode::Iprobe | CallCode::Improbe);
        let refusal = match source {
            _ if asks_once => self.asks_in_vain(rank, &submit, source),
            Source::Rank(source) => self.absence_in(submit.communicator, source),
            Source::Any => None,
        };
        if let Some((fault, text)) = refusal {
            self.forget_empty(submit.communicator, rank);
            self.fail_call(rank, &submit, fault, &text);
            return Ok(());
        }
        if asks_once {
            self.forget_empty(submit.communicator, rank);
            let complete = Complete { source: Status::NOBODY, ..blank(submit.request) };
            self.complete_request(rank, submit.request, Sent::Nothing, Payload::new(), complete);
            return Ok(());
        }
        let mailbox = self.mail.entry((submit.communicator, rank)).or_default();
        let posted = Posted { receiver: rank, submit, since: self.now };
        let order =
            if is_probe { mailbox.push_probe(source, tag, posted) } else { mailbox.push_posted(source, tag, posted) };
        let place = Place::Posted { communicator: submit.communicator, source, tag, order, is_probe };
        if let Some(session) = self.session_mut(rank) {
            session.requests.insert(submit.request, place);
        }
        if source == Source::Any && self.is_alone(submit.communicator, rank) {
            self.suspect_lonely(submit.communicator, rank);
        }
        Ok(())
    }

    /// A message that has waited meets what was posted for it.
    pub(super) fn deliver(&mut self, message: Message, posted: Posted) {
        let Message { sender, submit: send, is_lost, .. } = message;
        if let Some(session) = self.session_mut(sender) {
            session.requests.remove(&send.request);
        }
        if is_lost {
            let (fault, text) = self.absence(sender).unwrap_or_else(|| self.cancelled(sender, &send));
            self.fail_call(posted.receiver, &posted.submit, fault, &text);
            return;
        }
        self.match_message(message, posted);
    }

    /// Tells a probe of a message.
    pub(super) fn found(&mut self, receiver: Rank, probe: &Submit, sender: Rank, send: &Submit) {
        let number = self.members(send.communicator).and_then(|members| members.position(sender));
        let source = Rank::new(number.unwrap_or_default() as u32);
        let complete = Complete { source, tag: send.tag, bytes: send.send, ..blank(probe.request) };
        self.complete_request(receiver, probe.request, Sent::Nothing, Payload::new(), complete);
    }

    /// The rank of the world that has this number in a communicator.
    fn rank_in_world(&self, communicator: u64, number: Rank) -> Result<Rank, Refusal> {
        let rank = self.members(communicator).and_then(|members| members.members.get(number.index())).copied();
        rank.ok_or_else(|| broken("a rank that the communicator has not"))
    }

    pub(super) fn forget_empty(&mut self, communicator: u64, rank: Rank) {
        if self.mail.get(&(communicator, rank)).is_some_and(Mailbox::is_empty) {
            self.mail.remove(&(communicator, rank));
        }
    }

    /// A send has met its receive.
    fn match_message(&mut self, message: Message, posted: Posted) {
        let Posted { receiver, submit: receive, .. } = posted;
        if let Some(session) = self.session_mut(receiver) {
            session.requests.remove(&receive.request);
        }
        if matches!(CallCode::from_code(receive.call), Some(CallCode::Mprobe | CallCode::Improbe)) {
            return self.keep(message, posted);
        }
        let Message { sender, submit: send, payload, .. } = message;
        let charge = cost(&send, payload.len());
        if send.send > self.config.max_message {
            // Told here and not earlier, so that the receiver hears of it, too.
            self.free_charge(sender, charge);
            let (fault, text) = self.too_large(&format!("the message of rank {sender}"), send.send);
            self.fail_call(sender, &send, fault, &text);
            self.fail_call(receiver, &receive, fault, &text);
            return;
        }
        let shared = |submit: &Submit| purpose_of(submit).filter(|purpose| purpose.is_shared());
        let is_of_another_call = shared(&send) != shared(&receive);
        if is_of_another_call || send.datatype != receive.datatype {
            self.free_charge(sender, charge);
            let text = match is_of_another_call {
                true => format!(
                    "the ranks do not agree: rank {sender} calls {}; rank {receiver} calls {}",
                    self.describe_call(sender, &send),
                    self.describe_call(receiver, &receive)
                ),
                false => self.datatypes_differ(sender, &send, receiver, &receive),
            };
            let fault = Fault::of_ranks(Category::Mismatch, sender, 2);
            self.fail_request(sender, send.request, fault, &text);
            self.fail_request(receiver, receive.request, fault, &text);
            return;
        }
        if send.send > receive.receive {
            self.free_charge(sender, charge);
            let text = format!(
                "the message from rank {sender} with tag {}{} has {} bytes, and the receive of rank {receiver}{} takes {}",
                send.tag,
                self.site_of(sender, send.site),
                send.send,
                self.site_of(receiver, receive.site),
                receive.receive,
            );
            let fault = Fault::of_size(Category::Truncated, send.send, receive.receive);
            self.fail_request(receiver, receive.request, fault, &text);
            self.complete_request(sender, send.request, Sent::Nothing, Payload::new(), blank(send.request));
            return;
        }
        let whole = payload.len() as u64 == send.send;
        let room = self.room(receiver, receive.flags);
        if whole && send.send <= room {
            self.complete_request(sender, send.request, Sent::Nothing, Payload::new(), blank(send.request));
            let layout = if payload.is_empty() { Layout::Empty } else { Layout::Single };
            let number = self.members(send.communicator).and_then(|members| members.position(sender));
            let source = Rank::new(number.unwrap_or_default() as u32);
            let complete = Complete { layout, source, tag: send.tag, bytes: send.send, ..blank(receive.request) };
            let sent = Sent::Charge { rank: sender, cost: charge };
            self.complete_request(receiver, receive.request, sent, payload, complete);
            return;
        }
        self.start_message(sender, send, payload, receiver, receive);
    }

    /// A message that is longer than a frame, or has not come whole, is an operation of two ranks.
    fn start_message(&mut self, sender: Rank, send: Submit, payload: Payload, receiver: Rank, receive: Submit) {
        self.next_operation += 1;
        let id = self.next_operation;
        let Some(group) = self.members(send.communicator).cloned() else { return };
        let signature = Signature {
            call: CallCode::from_code(send.call).unwrap_or(CallCode::Send),
            root: None,
            datatype: Datatype::from_code(send.datatype).unwrap_or(Datatype::Object),
            op: None,
            block: None,
            name: None,
            purpose: purpose_of(&send),
            arguments: 0,
        };
        let mut operation = Box::new(Operation {
            id,
            key: None,
            group,
            signature,
            root: 0,
            results: Results::None,
            tag: send.tag,
            participants: alloc::vec![Participant::default(), Participant::default()],
            arrived: 0,
            givers_missing: 2,
            incomplete: 0,
            unanswered: 2,
            postponed: Vec::new(),
            phase: Phase::Gathering,
            given: Vec::new(),
            streams: Vec::new(),
            drained: 0,
            unopened: VecDeque::new(),
            plan: Plan::Route,
            error: UserError::default(),
            at_work: false,
            window: 0,
            reserved: 0,
            since: self.now,
        });
        self.enrol(&mut operation, 0, sender, &send);
        self.enrol(&mut operation, 1, receiver, &receive);
        // The payload was checked when it came.
        let attached = self.attach(&mut operation, 0, &send, payload);
        debug_assert!(attached.is_ok(), "a message that was taken can be passed on");
        self.advance(&mut operation, 1);
        self.put_back(operation);
    }

    /// How many bytes may go to a rank at once.
    pub(super) fn room(&self, rank: Rank, flags: SubmitFlags) -> u64 {
        let Some(hello) = self.session(rank).and_then(|session| session.hello) else { return 0 };
        let window = if flags.has(SubmitFlags::UNLIMITED) { u64::MAX } else { hello.receive_window.into() };
        window.min(hello.max_payload.into())
    }

    pub(super) fn free_message(&mut self, message: &Message) {
        self.free_charge(message.sender, cost(&message.submit, message.payload.len()));
    }

    /// Bytes of a rank's queue are free again.
    pub(super) fn free_charge(&mut self, rank: Rank, cost: u64) {
        if cost == 0 {
            return;
        }
        let Some(session) = self.session_mut(rank) else { return };
        session.freed += cost;
        let limit = session.freed + session.queue_size;
        // Complete and Fail carry the limit, too; this is for ranks that get none for a while.
        if limit >= session.told + session.queue_size / 2 {
            session.told = limit;
            if let Some(peer) = session.peer() {
                self.send_urgent(
                    peer,
                    Down::Credit(crate::wire::Credit { request: RequestId::NONE, part: 0, limit, len: 0 }),
                );
            }
        }
    }

    /// Why what somebody sends, or the result of the user's code, goes nowhere.
    pub(super) fn too_large(&self, what: &str, len: u64) -> Refusal {
        let max = self.config.max_message;
        let text = format!("{what} has {len} bytes, more than the {max} allowed (EDGEMPI_MSG_SIZE)");
        (Fault::of_size(Category::TooLarge, len, max), text)
    }

    fn datatypes_differ(&self, sender: Rank, send: &Submit, receiver: Rank, receive: &Submit) -> String {
        let what = |submit: &Submit, bytes: u64, most: &str| match Datatype::from_code(submit.datatype) {
            Some(Datatype::Object) => String::from("an object"),
            Some(datatype) => format!("{most}{} x {datatype}", bytes / datatype.size().max(1) as u64),
            None => String::from("?"),
        };
        // A receive of any length takes as many bytes as there are numbers.
        let takes = if receive.receive >= self.config.max_message {
            Datatype::from_code(receive.datatype).map_or(String::from("?"), |datatype| match datatype {
                Datatype::Object => String::from("an object"),
                datatype => format!("{datatype}"),
            })
        } else {
            what(receive, receive.receive, "at most ")
        };
        format!(
            "rank {sender} sends {} (tag {}){} and rank {receiver} receives {takes}{}",
            what(send, send.send, ""),
            send.tag,
            self.site_of(sender, send.site),
            self.site_of(receiver, receive.site),
        )
    }

    pub(super) fn check_charge(&mut self, rank: Rank, submit: &Submit, inline: u64) -> Result<(), Refusal> {
        if !submit.flags.has(SubmitFlags::EAGER) {
            return if inline == 0 { Ok(()) } else { Err(broken("a payload that was not counted")) };
        }
        let Some(session) = self.session_mut(rank) else { return Ok(()) };
        session.charged += Session::cost(inline);
        let (held, max) = (session.charged - session.freed, session.queue_size);
        if held > max {
            let fault = Fault::of_size(Category::TooLarge, held, max);
            return Err((fault, format!("{held} bytes of this rank are queued, {max} are allowed")));
        }
        Ok(())
    }
}

/// What a Submit was charged for its payload.
pub(super) fn cost(submit: &Submit, inline: usize) -> u64 {
    if submit.flags.has(SubmitFlags::EAGER) { Session::cost(inline as u64) } else { 0 }
}

impl Participant {
    /// Whether it waits for its answer.
    pub(super) fn is_present(&self) -> bool {
        self.presence == Presence::Present
    }
}
