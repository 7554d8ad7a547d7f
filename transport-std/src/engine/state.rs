//! A rank's endpoint with everything that belongs to its requests: their buffers, the names given, who waits.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, MutexGuard};

use edgempi_core::endpoint::{Config, Event, Incoming};
use edgempi_core::request::{CallCode, NameIds, Parts, Slot, Submission};
use edgempi_core::wire::{GoodbyeReason, Prefix};
use edgempi_core::{Call, Category, Endpoint, Fault, Instant, Rank, RequestId, Status};

use super::asked::{Asked, OwnedCall, check_group, check_operation, invalid};
use super::held::{Called, Held};
use super::names::Names;
use super::payload::{Reason, Refused};
use crate::config::Threads;
use crate::error::Error;
use crate::pending::Pending;
use crate::signal::Signal;

/// Something that somebody waits for has happened. Those who wait are woken once the state is unlocked: a waker may do
/// anything, start or drop a request, say.
enum Resolution {
    Request(Arc<Pending>, Result<Status, Error>),
    Joined(Result<(), Error>),
    Ended(Result<(), Error>),
}

/// The locked state. Letting go of it wakes those whose requests were resolved meanwhile.
pub(crate) struct StateGuard<'e>(Option<MutexGuard<'e, State>>);

impl<'e> StateGuard<'e> {
    pub(crate) fn new(guard: MutexGuard<'e, State>) -> Self {
        Self(Some(guard))
    }
}

impl Deref for StateGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.0.as_ref().expect("the guard is taken by drop alone")
    }
}

impl DerefMut for StateGuard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_mut().expect("the guard is taken by drop alone")
    }
}

impl Drop for StateGuard<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.0.take() else { return };
        if state.resolutions.is_empty() && state.dropped.is_empty() {
            return;
        }
        let resolutions = std::mem::take(&mut state.resolutions);
        let dropped = std::mem::take(&mut state.dropped);
        let (joined, ended) = (state.joined.clone(), state.ended.clone());
        drop(state);
        drop(dropped);
        for resolution in resolutions {
            match resolution {
                Resolution::Request(pending, outcome) => pending.resolve(outcome),
                Resolution::Joined(outcome) => joined.set(outcome),
                Resolution::Ended(outcome) => ended.set(outcome),
            }
        }
    }
}

/// The state of a rank.
pub(crate) struct State {
    /// This rank, in the world.
    own: Rank,
    pub(super) endpoint: Endpoint<Vec<Slot>>,
    requests: Vec<Option<Held>>,
    names: Names,
    /// What the hub is told of a place in the source.
    site_text: fn(&'static Location<'static>) -> String,
    pub(super) world: String,
    /// Where the hub is, for people.
    pub(super) hub: String,
    /// Where to look when the hub is gone without a word.
    pub(crate) hub_hint: &'static str,
    /// Why nothing works any more.
    lost: Option<Error>,
    /// Calls made just before that was known.
    late: Vec<Arc<Pending>>,
    /// Calls that nobody waits for, and that somebody else may: there was no room for them yet.
    owed: VecDeque<Asked>,
    pub(crate) joined: Signal<Result<(), Error>>,
    pub(crate) ended: Signal<Result<(), Error>>,
    leaving: bool,
    /// The place of the request that this rank, which leaves, waits for; and the last one that the hub has been told of.
    held_up_by: usize,
    told_held_up: Option<RequestId>,
    /// Whether the program has been told of a failure.
    has_told_failure: bool,
    /// Which threads make calls: if it is one, none comes while that waits.
    pub(crate) threads: Threads,
    resolutions: Vec<Resolution>,
    /// What is dropped once the state is unlocked: its waker may be the last of a task, which then drops anything.
    dropped: Vec<Arc<Pending>>,
}

impl State {
    /// A rank that has said nothing yet. `hub` says where its hub is, for people.
    pub(crate) fn new(now: Instant, config: Config, world: String, hub: String) -> Self {
        Self::sized(now, config, world, hub, 64, |site| site.to_string())
    }

    /// As [`new`](Self::new), with memory for so many requests at first, and its own way to name places in the source.
    pub(crate) fn sized(
        now: Instant,
        mut config: Config,
        world: String,
        hub: String,
        slots: usize,
        site_text: fn(&'static Location<'static>) -> String,
    ) -> Self {
        config.world_len = world.len() as u32;
        Self {
            own: config.rank,
            endpoint: Endpoint::new(now, config, vec![Slot::FREE; slots]),
            requests: Vec::new(),
            names: Names::default(),
            site_text,
            world,
            hub,
            hub_hint: "",
            lost: None,
            late: Vec::new(),
            owed: VecDeque::new(),
            joined: Signal::new(),
            ended: Signal::new(),
            leaving: false,
            held_up_by: 0,
            told_held_up: None,
            has_told_failure: false,
            threads: Threads::Multiple,
            resolutions: Vec::new(),
            dropped: Vec::new(),
        }
    }

    pub(crate) fn submit(&mut self, asked: Asked) -> Result<RequestId, Error> {
        let result = self.try_submit(asked);
        self.has_told_failure |= result.is_err();
        result
    }

    fn try_submit(&mut self, asked: Asked) -> Result<RequestId, Error> {
        if let Some(error) = &self.lost {
            return Err(error.clone());
        }
        if self.leaving {
            return Err(Error::Finalized);
        }
        let Asked { communicator, call, datatype, sent, receive, in_place, intent, site, pending } = asked;
        let mut names = NameIds::default();
        (names.site, names.new.site) = self.names.sites.get(site);
        let group = call.group();
        if !group.is_empty() {
            check_group(&call)?;
            (names.group, names.new.group) = self.names.groups.get(group, group.len());
        }
        if let OwnedCall::User { operation, .. } = &call {
            check_operation(operation)?;
            (names.operation, names.new.operation) = self.names.operations.get(operation, operation.len());
        }
        // Their callers have gone; a rank that waits for a message to be taken would wait for ever.
        let gives_back = matches!(call, OwnedCall::Builtin(Call::Free | Call::Discard { .. }));
        let plain = call.plain();
        let called = match &call {
            OwnedCall::Builtin(call) => Called::Builtin(*call),
            OwnedCall::SplitAmong { .. } => Called::Builtin(Call::Split),
            OwnedCall::User { .. } => Called::User(names.operation),
        };
        let is_collective = CallCode::of(&plain).is_collective();
        let is_freed = matches!(plain, Call::Free);
        let n = if is_collective { self.names.started(communicator.id, group) } else { 0 };
        let submission = Submission::new(communicator, &plain, datatype, sent, receive, in_place, names, n)
            .map_err(|fault| invalid(fault, &plain, datatype, communicator))?
            .meaning(intent)
            .unlimited();
        self.make_room();
        let id = match self.endpoint.submit(&submission) {
            Ok(id) => id,
            Err(Fault { category: Category::Disconnected, .. }) => {
                // The hub's last word has begun to come; when all of it is here, it tells why.
                self.late.push(pending);
                return Ok(RequestId::NONE);
            }
            Err(Fault { category: Category::TooManyRequests, .. }) if gives_back => {
                self.owed.push_back(Asked {
                    communicator,
                    call,
                    datatype,
                    sent,
                    receive,
                    in_place,
                    intent,
                    site,
                    pending,
                });
                return Ok(RequestId::NONE);
            }
            Err(fault) => return Err(Error::from_hub(fault, Reason::default())),
        };
        if is_collective {
            self.names.start(communicator.id, group);
        } else if is_freed {
            self.names.forget_communicator(communicator.id);
        }
        if let Some(buffers) = &mut pending.lock().buffers {
            buffers.split = submission.role().up == Parts::EachOther;
            if names.new.site {
                buffers.site = (self.site_text)(site);
                self.names.sites.give(site, names.site);
            }
            if names.new.group {
                buffers.group = group.to_vec();
                self.names.groups.give(group.to_vec(), group.len(), names.group);
            }
            if let OwnedCall::User { operation, .. } = call
                && names.new.operation
            {
                buffers.operation.clone_from(&operation);
                self.names.operations.give(operation, buffers.operation.len(), names.operation);
            }
        }
        if self.requests.len() <= id.index() {
            self.requests.resize(id.index() + 1, None);
        }
        let held = Held { id, pending, called, purpose: intent.purpose, communicator: communicator.id, site };
        let earlier = self.requests[id.index()].replace(held);
        self.dropped.extend(earlier.map(|held| held.pending));
        Ok(id)
    }

    /// Sees to it that the endpoint has a slot to spare, as far as it can use any more.
    pub(super) fn make_room(&mut self) {
        if !self.endpoint.has_free_slot() && self.endpoint.capacity() < usize::from(u16::MAX) {
            self.endpoint.grow(|slots| slots.resize(slots.len() * 2, Slot::FREE));
        }
    }

    /// Where the hub is, for people.
    pub(crate) fn hub_name(&self) -> &str {
        &self.hub
    }

    /// The request with this id; one that was cancelled is kept until it has been answered, because its frames may still
    /// have to leave.
    pub(crate) fn find(&self, id: RequestId) -> Option<Arc<Pending>> {
        match self.requests.get(id.index()) {
            Some(Some(held)) if held.id == id => Some(held.pending.clone()),
            _ => None,
        }
    }

    /// What this rank waits for, as a person would name it.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = String> {
        let name = |number: u16| {
            let named = self.names.operations.find(number);
            // The version comes first.
            let text = named.and_then(|bytes| bytes.get(4..)).unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        };
        let open = self.requests.iter().flatten().filter(|held| !held.pending.is_resolved());
        open.map(move |held| held.describe(name))
    }

    /// The endpoint, and the requests that it asks about.
    pub(super) fn split(&mut self) -> (&mut Endpoint<Vec<Slot>>, &[Option<Held>]) {
        (&mut self.endpoint, &self.requests)
    }

    fn take(&mut self, id: RequestId) -> Option<Arc<Pending>> {
        let pending = self.find(id)?;
        self.requests[id.index()] = None;
        Some(pending)
    }

    pub(crate) fn cancel(&mut self, id: RequestId) {
        self.endpoint.cancel(id);
    }

    /// Takes a call back if it has not begun at the hub.
    pub(crate) fn withdraw(&mut self, id: RequestId) {
        self.endpoint.withdraw(id);
    }

    /// Takes a send or a receive back if nobody has matched it; returns this rank.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it is a collective, and has not ended.
    pub(crate) fn withdraw_message(&mut self, id: RequestId) -> Result<Rank, Error> {
        if let Some(Some(held)) = self.requests.get(id.index())
            && held.id == id
            && held.called.is_collective()
        {
            let text =
                "a collective can not be cancelled: drop its request, and where it borrows its buffer it fails on all";
            return Err(Error::invalid(text));
        }
        self.withdraw(id);
        Ok(self.own)
    }

    /// Takes in the head of a frame.
    pub(super) fn handle_frame(&mut self, now: Instant, prefix: Prefix, header: &[u8]) -> Result<Incoming, Fault> {
        // The frame may open one more part of a message.
        self.make_room();
        self.endpoint.handle_frame(now, prefix, header)
    }

    /// A part or a result can't be taken: its request fails here, and the others are told.
    pub(super) fn refuse(&mut self, id: RequestId, reason: String) {
        if let Some(pending) = self.find(id) {
            self.resolve(pending, Err(Error::InvalidArgument { reason }));
        }
        self.cancel(id);
    }

    /// Nobody makes a call before this request is answered. Returns whether the hub is to be told.
    pub(crate) fn blocked(&mut self, id: RequestId) -> bool {
        let tells = self.owed.is_empty() && self.find(id).is_some_and(|pending| !pending.is_resolved());
        if tells {
            self.endpoint.blocked(id);
        }
        tells
    }

    pub(crate) fn leave(&mut self, reason: GoodbyeReason) {
        self.leaving = true;
        self.endpoint.leave(reason);
        if reason == GoodbyeReason::Finished {
            self.tell_what_holds_up();
        }
    }

    /// A rank that leaves makes no more calls: so it is blocked, by one after the other of those that it still waits for.
    fn tell_what_holds_up(&mut self) {
        if !self.leaving || !self.owed.is_empty() {
            return;
        }
        // What comes before has ended: there are no new ones.
        while let Some(held) = self.requests.get(self.held_up_by) {
            let id = held.as_ref().filter(|held| held.called.holds_up()).map(|held| held.id);
            if let Some(id) = id.filter(|id| self.endpoint.holds_up(*id)) {
                if self.told_held_up.replace(id) != Some(id) {
                    self.endpoint.blocked(id);
                }
                return;
            }
            self.held_up_by += 1;
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.lost.is_some() { None } else { self.endpoint.poll_timeout() }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.lost.is_some() {
            return Ok(());
        }
        let hub = &self.hub;
        self.endpoint
            .handle_timeout(now)
            .map_err(|_| Error::disconnected(format!("the hub at {hub} no longer answers")))
    }

    /// What the last frame was about, now that its payload has been taken.
    fn handle_event(&mut self, event: Event, reason: Reason) {
        match event {
            Event::Welcome(_) => self.resolutions.push(Resolution::Joined(Ok(()))),
            Event::Part { request, part, len } => {
                let Some(pending) = self.find(request) else { return };
                let refused = match &mut pending.lock().buffers {
                    Some(buffers) => buffers.announce(part as usize, len).err(),
                    None => None,
                };
                if let Some(reason) = refused {
                    self.refuse(request, reason);
                }
            }
            Event::Complete { request, status } => {
                if let Some(pending) = self.take(request) {
                    self.resolve(pending, Ok(status));
                }
            }
            Event::Fail { request, fault } => {
                if let Some(pending) = self.take(request) {
                    self.resolve(pending, Err(Error::from_hub(fault, reason)));
                }
            }
            // With it goes the memory that it used.
            Event::Released { request } => {
                let pending = self.take(request);
                self.dropped.extend(pending);
            }
            Event::Rejected(Fault { category, .. }) => {
                let (address, reason) = (self.hub.clone(), reason.text);
                self.lose(&Error::Refused { category, address, reason });
            }
            Event::Goodbye(GoodbyeReason::Finished) => {
                self.resolutions.push(Resolution::Ended(Ok(())));
                self.lose(&Error::Finalized);
            }
            Event::Goodbye(_) => {
                let error = Error::disconnected(format!("the hub at {} shut down", self.hub));
                self.lose(&error);
            }
        }
    }

    /// A payload is in its place, or was not what its request can take: now for what its frame means. Returns whether
    /// that ends the link.
    pub(crate) fn finish(&mut self, payload: Result<Reason, Refused>) -> bool {
        let reason = payload.unwrap_or_else(|Refused { request, reason }| {
            self.refuse(request, reason);
            Reason::default()
        });
        if let Some(event) = self.endpoint.poll_event() {
            self.handle_event(event, reason);
            // A request may have ended: there may be room.
            if let Some(owed) = self.owed.pop_front() {
                let _ = self.submit(owed);
            }
            self.tell_what_holds_up();
        }
        self.is_lost()
    }

    /// Nothing works any more, because of `error`.
    pub(crate) fn lose(&mut self, error: &Error) {
        self.endpoint.disconnect();
        if self.lost.is_some() {
            return;
        }
        self.lost = Some(error.clone());
        self.owed.clear();
        self.resolutions.push(Resolution::Joined(Err(error.clone())));
        self.resolutions.push(Resolution::Ended(Err(error.clone())));
        let open = self.requests.drain(..).flatten().map(|Held { pending, .. }| pending);
        for pending in open.chain(self.late.drain(..)) {
            self.resolutions.push(Resolution::Request(pending, Err(error.clone())));
        }
    }

    /// Resolves a request as soon as the state is unlocked.
    pub(crate) fn resolve(&mut self, pending: Arc<Pending>, outcome: Result<Status, Error>) {
        // A call that this rank took back itself has not failed.
        let is_own = |error: &Error| matches!(error, Error::Cancelled { rank, .. } if *rank == self.own);
        self.has_told_failure |= outcome.as_ref().is_err_and(|error| !is_own(error));
        self.resolutions.push(Resolution::Request(pending, outcome));
    }

    /// Whether the program has had a reason to give up.
    pub(crate) fn has_told_failure(&self) -> bool {
        self.has_told_failure || self.is_lost()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }
}

#[cfg(test)]
mod tests {
    use edgempi_core::Tag;
    use edgempi_core::request::CommunicatorId;

    use super::*;

    #[test]
    fn requests_beyond_what_an_endpoint_can_hold_take_no_memory() {
        let config = Config::host(Rank::new(0), 2);
        let mut state = State::new(Instant::ZERO, config, String::new(), String::new());
        let communicator = CommunicatorId { id: 0, rank: Rank::new(0), size: 2 };
        // No hub has said yet how many requests it takes.
        let mut submit = || {
            let call = Call::Send { dest: Rank::new(1), tag: Tag(0) };
            let submitted = state.submit(Asked::of_the_library(communicator, call));
            let mut held = 0;
            state.endpoint.grow(|slots| held = slots.len());
            (submitted, held)
        };
        for _ in 0..u16::MAX {
            assert!(submit().0.is_ok());
        }
        for _ in 0..3 {
            let (submitted, held) = submit();
            assert!(matches!(submitted, Err(Error::TooManyRequests { max: 65_535 })), "{submitted:?}");
            assert_eq!(held, 65_536);
        }
    }
}
