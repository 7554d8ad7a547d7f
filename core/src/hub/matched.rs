//! Matched probes: they keep a message for a receive that is to come (MPI 4.1, chapter 3.8.2).

use alloc::vec::Vec;

use super::answer::blank;
use super::mail::{Message, Posted};
use super::peer::{Place, Sent};
use super::{Hub, Refusal};
use crate::error::{Category, Fault};
use crate::payload::Payload;
use crate::rank::Rank;
use crate::request::RequestId;
use crate::wire::Submit;

impl Hub {
    /// Receives the message that an earlier probe has kept.
    pub(super) fn on_mrecv(&mut self, rank: Rank, submit: Submit) -> Result<(), Refusal> {
        match self.kept.remove(&(rank, submit.n)) {
            Some(message) => self.deliver(message, Posted { receiver: rank, submit, since: self.now }),
            None => self.never_kept(rank, &submit),
        }
        Ok(())
    }

    /// Nobody wants a kept message any more.
    pub(super) fn on_discard(&mut self, rank: Rank, submit: &Submit) -> Result<(), Refusal> {
        match self.kept.remove(&(rank, submit.n)) {
            Some(message) => {
                self.discard(&message);
                self.complete_request(rank, submit.request, Sent::Nothing, Payload::new(), blank(submit.request));
            }
            None => self.never_kept(rank, submit),
        }
        Ok(())
    }

    fn never_kept(&mut self, rank: Rank, submit: &Submit) {
        let fault = Fault::of_size(Category::InvalidArgument, submit.n.into(), 0);
        self.fail_call(rank, submit, fault, "no probe has kept such a message");
    }

    /// A kept message is lost on purpose: its sender goes on as if it had been received.
    fn discard(&mut self, message: &Message) {
        if !message.is_lost {
            self.free_message(message);
            let sender = message.submit.request;
            self.complete_request(message.sender, sender, Sent::Nothing, Payload::new(), blank(sender));
        }
    }

    /// Keeps a message for the receive that is to follow its probe.
    pub(super) fn keep(&mut self, message: Message, posted: Posted) {
        let Message { sender, submit: send, .. } = message;
        let Posted { receiver, submit: probe, .. } = posted;
        if self.kept.contains_key(&(receiver, probe.n)) {
            // The rank gave the number twice: its earlier message is lost, and its sender is told.
            let fault = Fault::new(Category::Protocol);
            self.free_message(&message);
            self.fail_call(sender, &send, fault, "the receiver kept two messages under one number");
            self.fail_call(receiver, &probe, fault, "two messages are kept under one number");
            return;
        }
        if let Some(session) = self.session_mut(sender) {
            session.requests.insert(send.request, Place::Kept);
        }
        self.found(receiver, &probe, sender, &send);
        self.kept.insert((receiver, probe.n), message);
    }

    /// A rank takes part no more: gives back what it kept, and what it had not sent whole of what others keep. One that has
    /// finalized, or freed the communicator, has let go of what it kept; one that has failed may have wanted it.
    pub(super) fn kept_gone(&mut self, rank: Rank, communicator: Option<u64>, fault: Fault, text: &str) {
        let has_gone = self.is_absent(rank);
        let (mut lost, mut unfinished): (Vec<Message>, Vec<Message>) = Default::default();
        self.kept.retain(|(receiver, _), message| {
            let in_question = communicator.is_none_or(|communicator| communicator == message.submit.communicator);
            if *receiver == rank && in_question {
                let payload = core::mem::take(&mut message.payload);
                lost.push(Message { payload, ..*message });
                return false;
            }
            if has_gone && message.sender == rank && !message.is_lost && !message.is_whole() {
                unfinished.push(message.lose());
            }
            true
        });
        for message in lost {
            if fault.category == Category::RankFinished {
                self.discard(&message);
            } else if !message.is_lost {
                self.free_message(&message);
                self.fail_call(message.sender, &message.submit, fault, text);
            }
        }
        for message in unfinished {
            self.free_message(&message);
        }
    }

    /// A kept message is given up by its sender: it goes on if all of it is here, otherwise its receive is told.
    pub(super) fn cancel_kept(&mut self, sender: Rank, request: RequestId) {
        let is_it = |message: &&Message| message.sender == sender && message.submit.request == request;
        let Some(message) = self.kept.values().find(is_it).filter(|message| !message.is_whole()) else { return };
        let (fault, text) = self.cancelled(sender, &message.submit);
        self.lose_kept(sender, request, fault, &text);
    }

    /// A kept message is lost, whole or not: so is its send, and its receive is told.
    pub(super) fn lose_kept(&mut self, sender: Rank, request: RequestId, fault: Fault, text: &str) {
        let is_it = |message: &&mut Message| message.sender == sender && message.submit.request == request;
        let Some(message) = self.kept.values_mut().find(is_it) else { return };
        let message = message.lose();
        self.free_message(&message);
        self.fail_request(sender, request, fault, text);
    }
}
