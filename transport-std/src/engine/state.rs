//! A rank's endpoint with everything that belongs to its requests: their buffers, the names given, who waits.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, MutexGuard};

use edgempi_core::endpoint::{Config, Event};
use edgempi_core::request::{CommunicatorId, NameIds, NewNames, Parts, Receive, Sent, Slot, Submission};
use edgempi_core::wire::GoodbyeReason;
use edgempi_core::{Call, Category, Datatype, Endpoint, Fault, Group, Instant, Rank, Ranks, RequestId, Status};

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
    User { group: Vec<u8>, sources: Vec<Rank>, destinations: Vec<Rank>, operation: Vec<u8> },
}

impl OwnedCall {
    /// A user's operation between these ranks.
    pub(crate) fn user(sources: Vec<Rank>, destinations: Vec<Rank>, name: &str, version: u32) -> Self {
        // As the hub reads them: two counts, then the ranks; a version, then the name.
        let counts = [sources.len() as u32, destinations.len() as u32];
        let ranks = sources.iter().chain(&destinations).map(|rank| rank.get());
        let group = counts.into_iter().chain(ranks).flat_map(u32::to_le_bytes).collect();
        let operation = [&version.to_le_bytes(), name.as_bytes()].concat();
        Self::User { group, sources, destinations, operation }
    }

    /// The call for the endpoint, which needs no names.
    fn plain(&self) -> Call<'_> {
        match self {
            Self::Builtin(call) => *call,
            Self::User { sources, destinations, .. } => {
                let group = Group { sources: Ranks::List(sources), destinations: Ranks::List(destinations) };
                Call::User { name: "", version: 0, group }
            }
        }
    }
}

/// Numbers that this session has given to long things.
#[derive(Default)]
struct Names {
    groups: HashMap<Vec<u8>, u16>,
    operations: HashMap<Vec<u8>, u16>,
    sites: HashMap<(&'static str, u32, u32), u16>,
    /// Collectives started on each communicator and group.
    started: HashMap<(u64, u16), u32>,
}

/// A number for `key`, and whether it is new; 0 if there are no numbers left.
fn number<K: std::hash::Hash + Eq>(names: &HashMap<K, u16>, key: &K) -> (u16, bool) {
    match names.get(key) {
        Some(number) => (*number, false),
        None => (u16::try_from(names.len() + 1).unwrap_or(0), names.len() < usize::from(u16::MAX)),
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
    pub(super) fn new(guard: MutexGuard<'e, State>) -> Self {
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
        if state.resolutions.is_empty() {
            return;
        }
        let resolutions = std::mem::take(&mut state.resolutions);
        let (joined, ended) = (state.joined.clone(), state.ended.clone());
        drop(state);
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
    pub(super) endpoint: Endpoint<Vec<Slot>>,
    requests: Vec<Option<(RequestId, Arc<Pending>)>>,
    names: Names,
    pub(super) world: String,
    /// Where the hub is, for people.
    pub(super) hub: String,
    /// Why nothing works any more.
    lost: Option<Error>,
    pub(crate) joined: Signal<Result<(), Error>>,
    pub(crate) ended: Signal<Result<(), Error>>,
    leaving: bool,
    resolutions: Vec<Resolution>,
}

impl State {
    pub(crate) fn new(now: Instant, mut config: Config, world: String, hub: String) -> Self {
        config.world_len = world.len() as u32;
        Self {
            endpoint: Endpoint::new(now, config, vec![Slot::FREE; 64]),
            requests: Vec::new(),
            names: Names::default(),
            world,
            hub,
            lost: None,
            joined: Signal::new(),
            ended: Signal::new(),
            leaving: false,
            resolutions: Vec::new(),
        }
    }

    pub(super) fn submit(&mut self, asked: Asked) -> Result<RequestId, Error> {
        if let Some(error) = &self.lost {
            return Err(error.clone());
        }
        if self.leaving {
            return Err(Error::Finalized);
        }
        let Asked { communicator, call, datatype, sent, receive, in_place, site, pending } = asked;
        let place = (site.file(), site.line(), site.column());
        let (number, is_new) = number(&self.names.sites, &place);
        let mut names =
            NameIds { site: number, new: NewNames { site: is_new, ..NewNames::default() }, ..NameIds::default() };
        if let OwnedCall::User { group, operation, .. } = &call {
            (names.group, names.new.group) = self::number(&self.names.groups, group);
            (names.operation, names.new.operation) = self::number(&self.names.operations, operation);
            if names.group == 0 || names.operation == 0 {
                return Err(Error::invalid("65,535 groups or operations have been used in this session already"));
            }
        }
        let plain = call.plain();
        let is_message = matches!(plain, Call::Send { .. } | Call::Recv { .. });
        let counter = (communicator.id, names.group);
        let n = if is_message { 0 } else { self.names.started.get(&counter).copied().unwrap_or(0) };
        let submission = Submission::new(communicator, &plain, datatype, sent, receive, in_place, names, n)
            .map_err(|fault| invalid(fault, &plain, datatype, communicator))?
            .unlimited();
        self.make_room();
        let id = self.endpoint.submit(&submission).map_err(|fault| Error::from_hub(fault, String::new()))?;
        if let Some(buffers) = &mut pending.lock().buffers {
            buffers.split = submission.role().up == Parts::EachOther;
            if names.new.site {
                buffers.site = format!("{}:{}:{}", place.0, place.1, place.2);
            }
            if let OwnedCall::User { group, operation, .. } = call {
                if names.new.group {
                    buffers.group.clone_from(&group);
                    self.names.groups.insert(group, names.group);
                }
                if names.new.operation {
                    buffers.operation.clone_from(&operation);
                    self.names.operations.insert(operation, names.operation);
                }
            }
        }
        if names.new.site {
            self.names.sites.insert(place, names.site);
        }
        if !is_message {
            self.names.started.insert(counter, n.wrapping_add(1));
        }
        if self.requests.len() <= id.index() {
            self.requests.resize(id.index() + 1, None);
        }
        self.requests[id.index()] = Some((id, pending));
        Ok(id)
    }

    /// Sees to it that the endpoint has a slot to spare.
    pub(super) fn make_room(&mut self) {
        if !self.endpoint.has_free_slot() {
            self.endpoint.grow(|slots| slots.resize(slots.len() * 2, Slot::FREE));
        }
    }

    /// Where the hub is, for people.
    pub(crate) fn hub_name(&self) -> &str {
        &self.hub
    }

    /// The request with this id; one that was cancelled is kept until the hub has answered, because its frames may
    /// still have to leave.
    pub(super) fn find(&self, id: RequestId) -> Option<Arc<Pending>> {
        match self.requests.get(id.index()) {
            Some(Some((held, pending))) if *held == id => Some(pending.clone()),
            _ => None,
        }
    }

    /// The endpoint, and the requests that it asks about.
    #[allow(clippy::type_complexity, reason = "the two fields, side by side")]
    pub(super) fn split(&mut self) -> (&mut Endpoint<Vec<Slot>>, &[Option<(RequestId, Arc<Pending>)>]) {
        (&mut self.endpoint, &self.requests)
    }

    fn take(&mut self, id: RequestId) -> Option<Arc<Pending>> {
        let pending = self.find(id)?;
        self.requests[id.index()] = None;
        Some(pending)
    }

    pub(super) fn cancel(&mut self, id: RequestId) {
        self.endpoint.cancel(id);
    }

    /// A part or a result can't be taken: its request fails here, and the others are told.
    pub(super) fn refuse(&mut self, id: RequestId, reason: String) {
        if let Some(pending) = self.find(id) {
            self.resolve(pending, Err(Error::InvalidArgument { reason }));
        }
        self.endpoint.cancel(id);
    }

    pub(super) fn leave(&mut self, reason: GoodbyeReason) {
        self.leaving = true;
        self.endpoint.leave(reason);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.lost.is_some() { None } else { self.endpoint.poll_timeout() }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.lost.is_some() {
            return Ok(());
        }
        let hub = &self.hub;
        self.endpoint
            .handle_timeout(now)
            .map_err(|_| Error::disconnected(format!("the hub at {hub} no longer answers")))
    }

    /// What the last frame was about, now that its payload has been taken.
    pub(super) fn handle_event(&mut self, event: Event, reason: String) {
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
            Event::Released { request } => drop(self.take(request)),
            Event::Rejected(Fault { category, .. }) => {
                let address = self.hub.clone();
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

    /// Nothing works any more, because of `error`.
    pub(super) fn lose(&mut self, error: &Error) {
        self.endpoint.disconnect();
        if self.lost.is_some() {
            return;
        }
        self.lost = Some(error.clone());
        self.resolutions.push(Resolution::Joined(Err(error.clone())));
        self.resolutions.push(Resolution::Ended(Err(error.clone())));
        for (_, pending) in self.requests.drain(..).flatten() {
            self.resolutions.push(Resolution::Request(pending, Err(error.clone())));
        }
    }

    /// Resolves a request as soon as the state is unlocked.
    pub(super) fn resolve(&mut self, pending: Arc<Pending>, outcome: Result<Status, Error>) {
        self.resolutions.push(Resolution::Request(pending, outcome));
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }
}

/// What is wrong with a call, with its numbers.
fn invalid(fault: Fault, call: &Call<'_>, datatype: Datatype, communicator: CommunicatorId) -> Error {
    let Fault { category, len, max, .. } = fault;
    let CommunicatorId { size, rank, .. } = communicator;
    match (category, call) {
        (Category::InvalidArgument, Call::Reduce { op, .. } | Call::Allreduce { op }) if !datatype.accepts(*op) => {
            Error::invalid(format!("{op} is not defined on {datatype} (MPI 4.1, chapter 6.9.2)"))
        }
        (Category::InvalidArgument, Call::User { .. }) => {
            Error::invalid(format!("rank {rank} is neither source nor destination of the operation's group"))
        }
        (Category::InvalidArgument, Call::Send { dest, .. }) if dest.get() >= size => {
            Error::invalid(format!("there is no rank {dest} to send to: ranks go from 0 to {}", size - 1))
        }
        (Category::InvalidArgument, Call::Recv { .. }) => {
            Error::invalid(format!("there is no rank {len} to receive from: ranks go from 0 to {}", size - 1))
        }
        (
            Category::InvalidArgument,
            Call::Bcast { root } | Call::Gather { root } | Call::Scatter { root } | Call::Reduce { root, .. },
        ) if root.get() >= size => {
            Error::invalid(format!("there is no rank {root} to be the root: ranks go from 0 to {}", size - 1))
        }
        (Category::InvalidArgument, _) => {
            Error::invalid(format!("{len} bytes can not be divided into one block for each of {max} ranks"))
        }
        _ => Error::from_hub(fault, String::new()),
    }
}
