//! Answers to requests: each gets one, a result or a failure.

use alloc::format;

use super::Hub;
use super::operation::UserError;
use super::peer::{Sent, Session};
use crate::error::Fault;
use crate::payload::Payload;
use crate::rank::{Rank, Tag};
use crate::request::RequestId;
use crate::wire::{Complete, Down, Fail, Layout, MAX_REASON_LEN, Submit};

impl Hub {
    /// Answers a request with its result.
    pub(super) fn complete_request(
        &mut self,
        rank: Rank,
        request: RequestId,
        sent: Sent,
        payload: Payload,
        mut complete: Complete,
    ) {
        let Some(session) = self.answered(rank, request) else { return };
        complete.sequence = session.sequence;
        self.send(rank, Down::Complete(complete), payload, sent);
    }

    /// Answers a request with a failure.
    pub(super) fn fail_request(&mut self, rank: Rank, request: RequestId, fault: Fault, text: &str) {
        self.fail_request_with(rank, request, fault, text, &UserError::default());
    }

    /// Answers a call that is no collective with a failure, whose text goes on with the call and its place.
    pub(super) fn fail_call(&mut self, rank: Rank, submit: &Submit, fault: Fault, text: &str) {
        let text = format!("{text}; rank {rank} called {}", self.describe_call(rank, submit));
        self.fail_request(rank, submit.request, fault, &text);
    }

    /// Answers a request with a failure, for which the user's code has an error of its own. That is left out where it
    /// does not fit the frame whole.
    pub(super) fn fail_request_with(
        &mut self,
        rank: Rank,
        request: RequestId,
        fault: Fault,
        text: &str,
        error: &UserError,
    ) {
        let Some(session) = self.answered(rank, request) else { return };
        let sequence = session.sequence;
        let max = session.hello.map_or(64, |hello| hello.max_payload as usize);
        let Fault { category, rank: first, count, mut len, max: limit } = fault;
        let UserError { encoded, own_text } = error;
        let fits = |text: usize| !encoded.is_empty() && text + encoded.len() <= max.min(MAX_REASON_LEN);
        // The error is worth more than the places of the calls.
        let text = text.get(..*own_text).filter(|own| !fits(text.len()) && fits(own.len())).unwrap_or(text);
        let mut payload = super::reason(text, max);
        if fits(text.len()) {
            len = text.len() as u64;
            payload = Payload::concat(&[payload, encoded.clone()]);
        }
        let fail =
            Fail { request, sequence, acknowledged: 0, category, rank: first, count, len, max: limit, queue_limit: 0 };
        self.send(rank, Down::Fail(fail), payload, Sent::Nothing);
    }

    /// The request is over: its answer is the next of its session, whose number that has now.
    fn answered(&mut self, rank: Rank, request: RequestId) -> Option<&mut Session> {
        let now = self.now;
        let session = self.session_mut(rank)?;
        session.requests.remove(&request);
        session.last.answered(request, now);
        session.unsent_answers += 1;
        session.sequence = session.sequence.wrapping_add(1);
        Some(session)
    }
}

/// A Complete without result; sequence and limits are filled in later.
pub(super) fn blank(request: RequestId) -> Complete {
    Complete {
        request,
        sequence: 0,
        acknowledged: 0,
        layout: Layout::Empty,
        source: Rank::new(0),
        tag: Tag(0),
        bytes: 0,
        queue_limit: 0,
    }
}
