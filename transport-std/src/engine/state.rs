//! A rank's endpoint with everything that belongs to its requests: their buffers, the names given, who waits.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, MutexGuard};

use edgempi_core::endpoint::{Config, Event, Incoming};
use edgempi_core::request::{CallCode, CommunicatorId, NameIds, Parts, Receive, Sent, Slot, Submission};
use edgempi_core::wire::{GoodbyeReason, MAX_OPERATION_LEN, Prefix};
use edgempi_core::{Call, Category, Datatype, Endpoint, Fault, Group, Instant, Rank, Ranks, RequestId, Source, Status};

use super::held::{Called, Held};
use super::names::{MAX_BYTES, Names};
use super::payload::{Reason, Refused};
use crate::error::Error;
use crate::pending::Pending;
use crate::signal::Signal;

/// A call with its buffers, as a communicator makes it.
pub(crate) struct Asked {
    pub(crate) communicator: CommunicatorId,
    pub(crate) call: OwnedCall,
    pub(crate) datatype: Datatype,
    pub(crate) sent: Sent,
    pub(crate) receive: Receive,
    pub(crate) in_place: bool,
    pub(crate) site: &'static Location<'static>,
    pub(crate) pending: Arc<Pending>,
}

/// A call whose names are bytes already.
pub(crate) enum OwnedCall {
    Builtin(Call<'static>),
    /// The group's name is empty if it is the whole communicator, which needs none.
    User {
        group: Vec<u8>,
        sources: Vec<Rank>,
        destinations: Vec<Rank>,
        operation: Vec<u8>,
    },
    /// A split of some ranks, who alone take part.
    SplitAmong {
        /// The group's name.
        group: Vec<u8>,
    },
}

impl OwnedCall {
    /// A user's operation between these ranks of a communicator of `size`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if a rank is not in the communicator, or stands twice on one side: the hub would take that for a
    /// breach of the protocol.
    pub(crate) fn user(group: Group<'_>, size: u32, name: &str, version: u32) -> Result<Self, Error> {
        let list = |ranks: Ranks<'_>| -> Vec<Rank> {
            match ranks {
                Ranks::All => (0..size).map(Rank::new).collect(),
                Ranks::List(ranks) => ranks.to_vec(),
            }
        };
        let (sources, destinations) = (list(group.sources), list(group.destinations));
        check_side(&sources, size, "source")?;
        check_side(&destinations, size, "destination")?;
        let is_all = |ranks: &[Rank]| ranks.iter().copied().eq((0..size).map(Rank::new));
        // All ranks are no group of their own: there, these calls are counted with the built-in ones, and so compared with
        // them.
        let is_whole = is_all(&sources) && is_all(&destinations);
        let group = if is_whole { Vec::new() } else { group_name(&sources, &destinations, None) };
        // As the hub reads it: a version, then the name.
        let operation = [&version.to_le_bytes(), name.as_bytes()].concat();
        Ok(Self::User { group, sources, destinations, operation })
    }

    /// A split among these ranks of a communicator, which others with another `label` never meet.
    pub(crate) fn split_among(ranks: &[Rank], label: u32) -> Self {
        Self::SplitAmong { group: group_name(ranks, ranks, Some(label)) }
    }

    /// The name of the group that makes it; empty if that is the whole communicator.
    fn group(&self) -> &[u8] {
        match self {
            Self::Builtin(_) => &[],
            Self::User { group, .. } | Self::SplitAmong { group } => group,
        }
    }

    /// The call for the endpoint, which needs no names.
    fn plain(&self) -> Call<'_> {
        match self {
            Self::Builtin(call) => *call,
            Self::User { sources, destinations, .. } => {
                let group = Group { sources: Ranks::List(sources), destinations: Ranks::List(destinations) };
                Call::User { name: "", version: 0, group }
            }
            Self::SplitAmong { .. } => Call::Split,
        }
    }
}

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
    /// Whether all calls come from one thread, so that none comes while it waits.
    pub(crate) calls_from_one_thread: bool,
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
            calls_from_one_thread: false,
            resolutions: Vec::new(),
            dropped: Vec::new(),
        }
    }

    pub(crate) fn submit(&mut self, asked: Asked) -> Result<RequestId, Error> {
        if let Some(error) = &self.lost {
            return Err(error.clone());
        }
        if self.leaving {
            return Err(Error::Finalized);
        }
        let Asked { communicator, call, datatype, sent, receive, in_place, site, pending } = asked;
        let mut names = NameIds::default();
        (names.site, names.new.site) = self.names.sites.get(site);
        let group = call.group();
        if !group.is_empty() {
            check_group(group)?;
            (names.group, names.new.group) = self.names.groups.get(group, group.len());
        }
        if let OwnedCall::User { operation, .. } = &call {
            check_operation(operation)?;
            (names.operation, names.new.operation) = self.names.operations.get(operation, operation.len());
        }
        // Their callers have gone; a rank that waits for a message to be taken would wait for ever.
        let gives_back = matches!(call, OwnedCall::Builtin(Call::Free | Call::Mrecv { discard: true, .. }));
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
                self.owed.push_back(Asked { communicator, call, datatype, sent, receive, in_place, site, pending });
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
        let held = Held { id, pending, called, communicator: communicator.id, site };
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

    /// Takes a send or a receive back if nobody has matched it; returns this rank.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it is a collective, and has not ended.
    pub(crate) fn withdraw(&mut self, id: RequestId) -> Result<Rank, Error> {
        if let Some(Some(held)) = self.requests.get(id.index())
            && held.id == id
            && held.called.is_collective()
        {
            let text =
                "a collective can not be cancelled: drop its request, and where it borrows its buffer it fails on all";
            return Err(Error::invalid(text));
        }
        self.endpoint.withdraw(id);
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

    /// The thread that waits for this request sleeps. Returns whether the hub is to be told.
    pub(crate) fn blocked(&mut self, id: RequestId) -> bool {
        let tells = self.calls_from_one_thread && self.find(id).is_some_and(|pending| !pending.is_resolved());
        if tells {
            self.endpoint.blocked(id);
        }
        tells
    }

    pub(crate) fn leave(&mut self, reason: GoodbyeReason) {
        self.leaving = true;
        self.endpoint.leave(reason);
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
        self.resolutions.push(Resolution::Request(pending, outcome));
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }
}

/// A group's name, as the hub reads it: two counts, the ranks, and a label if it has one.
fn group_name(sources: &[Rank], destinations: &[Rank], label: Option<u32>) -> Vec<u8> {
    let counts = [sources.len() as u32, destinations.len() as u32];
    let ranks = sources.iter().chain(destinations).map(|rank| rank.get());
    counts.into_iter().chain(ranks).chain(label).flat_map(u32::to_le_bytes).collect()
}

/// Whether the ranks on one side of a group are ranks of a communicator of `size`, each of them once.
fn check_side(ranks: &[Rank], size: u32, side: &str) -> Result<(), Error> {
    if let Some(rank) = ranks.iter().find(|rank| rank.get() >= size) {
        let text = format!("rank {rank} of the operation's group is not in this communicator of {size}");
        return Err(Error::invalid(text));
    }
    if ranks.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    let mut sorted = ranks.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::invalid(format!("rank {} is a {side} of the operation's group twice", pair[0]))),
        None => Ok(()),
    }
}

/// Whether the hub takes the name of a user's operation.
fn check_operation(operation: &[u8]) -> Result<(), Error> {
    // Behind its version.
    let len = operation.len().saturating_sub(size_of::<u32>());
    if len > MAX_OPERATION_LEN {
        return Err(Error::invalid(format!("an operation's name of {len} bytes; {MAX_OPERATION_LEN} are allowed")));
    }
    Ok(())
}

/// Whether the hub takes the name of a group.
fn check_group(group: &[u8]) -> Result<(), Error> {
    if group.len() > MAX_BYTES / 2 {
        let (ranks, max) = (group.len() / size_of::<Rank>(), MAX_BYTES / 2 / size_of::<Rank>());
        return Err(Error::invalid(format!("a group with {ranks} sources and destinations; {max} are allowed")));
    }
    Ok(())
}

/// What is wrong with a call, with its numbers.
fn invalid(fault: Fault, call: &Call<'_>, datatype: Datatype, communicator: CommunicatorId) -> Error {
    let Fault { category, len, max, .. } = fault;
    let CommunicatorId { size, rank, .. } = communicator;
    if category != Category::InvalidArgument {
        return Error::from_hub(fault, Reason::default());
    }
    let nobody = |rank: Rank, what: &str| {
        Error::invalid(format!("there is no rank {rank} {what}: ranks go from 0 to {}", size.saturating_sub(1)))
    };
    match *call {
        _ if call.op().is_some_and(|op| !datatype.accepts(op)) => {
            let op = call.op().map(|op| op.to_string()).unwrap_or_default();
            Error::invalid(format!("{op} is not defined on {datatype} (MPI 4.1, chapter 6.9.2)"))
        }
        Call::User { .. } => {
            Error::invalid(format!("rank {rank} is neither source nor destination of the operation's group"))
        }
        Call::Send { dest, .. } | Call::Ssend { dest, .. } | Call::Rsend { dest, .. } if dest.get() >= size => {
            nobody(dest, "to send to")
        }
        Call::Recv { source: Source::Rank(source), .. }
        | Call::Probe { source: Source::Rank(source), .. }
        | Call::Mprobe { source: Source::Rank(source), .. } => nobody(source, "to receive from"),
        Call::Bcast { root }
        | Call::Gather { root }
        | Call::Scatter { root }
        | Call::Gatherv { root }
        | Call::Scatterv { root }
        | Call::Reduce { root, .. }
            if root.get() >= size =>
        {
            nobody(root, "to be the root")
        }
        _ => Error::invalid(format!("{len} bytes can not be divided into one block for each of {max} ranks")),
    }
}

#[cfg(test)]
mod tests {
    use edgempi_core::Tag;

    use super::*;
    use crate::buffers::{Buffers, Inbound, Outbound};

    #[test]
    fn requests_beyond_what_an_endpoint_can_hold_take_no_memory() {
        let config = Config::host(Rank::new(0), 2);
        let mut state = State::new(Instant::ZERO, config, String::new(), String::new());
        let communicator = CommunicatorId { id: 0, rank: Rank::new(0), size: 2 };
        // No hub has said yet how many requests it takes.
        let mut submit = || {
            let pending = Pending::new(Buffers::new(Outbound::Nothing, Inbound::Nothing, communicator, 0));
            let asked = Asked {
                communicator,
                call: OwnedCall::Builtin(Call::Send { dest: Rank::new(1), tag: Tag(0) }),
                datatype: Datatype::U8,
                sent: Sent::Equal(0),
                receive: Receive::Exactly(0),
                in_place: false,
                site: Location::caller(),
                pending,
            };
            let submitted = state.submit(asked);
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
