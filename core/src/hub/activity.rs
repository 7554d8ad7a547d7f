//! What each rank did last, in a few bytes, and in words.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::Hub;
use super::peer::Life;
use super::signature::{name_of, purpose_of};
use crate::call::Purpose;
use crate::rank::Rank;
use crate::request::{CallCode, RequestId};
use crate::time::Instant;
use crate::wire::{Submit, SubmitFlags};

/// After so long without a word a rank counts as silent in what people read. Hosts say something every ten seconds.
const SILENT: Duration = Duration::from_secs(20);

/// A rank's last call.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastCall {
    /// Its [`CallCode`]; 0 if there was none.
    call: u8,
    purpose: Option<Purpose>,
    name: u16,
    site: u16,
    pub(super) request: RequestId,
    pub(super) at: Instant,
    /// When it was answered, or its sender done with it.
    pub(super) ended: Option<Instant>,
}

impl Default for LastCall {
    fn default() -> Self {
        Self { call: 0, purpose: None, name: 0, site: 0, request: RequestId::NONE, at: Instant::ZERO, ended: None }
    }
}

impl LastCall {
    /// A call has come, with so many bytes of what it sends.
    pub(super) fn note(&mut self, submit: &Submit, inline: usize, now: Instant) {
        // Of a send that comes whole its rank has been done since it left.
        let is_whole = submit.flags.has(SubmitFlags::EAGER) && inline as u64 == submit.send;
        let is_done = submit.call == CallCode::Send as u8 && is_whole;
        *self = Self {
            call: submit.call,
            purpose: purpose_of(submit),
            name: submit.name,
            site: submit.site,
            request: submit.request,
            at: now,
            ended: is_done.then_some(now),
        };
    }

    pub(super) fn answered(&mut self, request: RequestId, now: Instant) {
        if self.request == request {
            self.ended.get_or_insert(now);
        }
    }
}

impl Hub {
    /// The last call of a rank, with its place in the source; as much as is still known of it.
    pub(super) fn describe_last(&self, rank: Rank) -> Option<String> {
        let session = self.session(rank)?;
        let last = session.last;
        if let Some(text) = session.waits_in().and_then(|request| self.describe_request(rank, request)) {
            return Some(text);
        }
        let call = CallCode::from_code(last.call)?;
        let name = session.names.operations.get(&last.name).filter(|_| last.name != 0);
        let what = match name {
            Some((version, name)) => format!("operation \"{name}\" version {version}"),
            None => String::from(name_of(call, last.purpose)),
        };
        Some(format!("{what}{}", self.site_of(rank, last.site)))
    }

    /// " (last seen in barrier at main.rs:9:5)" of a rank that has made a call.
    pub(super) fn last_seen(&self, rank: Rank) -> String {
        self.describe_last(rank).map(|call| format!(" (last seen in {call})")).unwrap_or_default()
    }

    /// How a rank that others wait for is: "silent for 31 s", "last seen in barrier at main.rs:9:5, finished 58 s ago".
    pub(super) fn describe_activity(&self, rank: Rank) -> String {
        let Some(session) = self.session(rank) else { return String::new() };
        match &session.life {
            Life::Awaited => return String::from("not here yet"),
            Life::Failed(why) => return format!("failed: {why}"),
            Life::Finished(_) => return String::from("finalized"),
            Life::Alive(_) => {}
        }
        let silence = self.now.since(session.last_heard);
        let silent = if silence >= SILENT { format!("silent for {}; ", seconds(silence)) } else { String::new() };
        let ended = session.last.ended.filter(|_| session.blocked_in().is_none());
        let doing = match (self.describe_last(rank), ended) {
            (None, _) => String::from("has made no call"),
            (Some(call), Some(ended)) => {
                format!("last seen in {call}, finished {} ago", seconds(self.now.since(ended)))
            }
            (Some(call), None) => format!("for {} in {call}", seconds(self.now.since(session.last.at))),
        };
        format!("{silent}{doing}")
    }
}

/// "58 s", or "0.2 s" of a short time.
pub(super) fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        let tenths = duration.as_millis() / 100;
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    format!("{} s", duration.as_secs())
}
