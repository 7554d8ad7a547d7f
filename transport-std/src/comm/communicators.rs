//! New communicators: how ranks part into them, and what happens when nobody uses one any more.

use std::panic::Location;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use edgempi_core::request::{CommunicatorId, Receive, Sent};
use edgempi_core::{Call, Color, Datatype, Intent, Purpose, Rank, SplitRequest, SplitResult, Tag};

use super::details::Details;
use super::{Comm, Started, whole};
use crate::buffers::{Inbound, Outbound};
use crate::engine::{Asked, Drive, OwnedCall};
use crate::error::Error;
use crate::group::{Comparison, ProcessGroup, fingerprint};
use crate::pending::{Completion, Pending};
use crate::request::{OnDrop, Request};

/// This rank's place in a communicator other than the world. When the last handle goes, the hub is told.
pub(super) struct Membership {
    engine: Arc<dyn Drive>,
    id: CommunicatorId,
}

impl Drop for Membership {
    fn drop(&mut self) {
        // If the hub is gone, so is the communicator.
        let _ = self.engine.submit(Asked::of_the_library(self.id, Call::Free));
    }
}

/// A new communicator that nobody has taken yet. If nobody does, it is freed: others may wait for this rank there.
struct Unclaimed {
    parent: Option<Comm>,
    pending: Arc<OnceLock<Arc<Pending>>>,
}

impl Unclaimed {
    fn claim(mut self, completion: Completion) -> Result<Option<Comm>, Error> {
        self.parent.take().ok_or_else(|| Error::defect())?.split_off(completion)
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let (Some(parent), Some(pending)) = (self.parent.take(), self.pending.get()) {
            let late = Arc::new(Late { parent: Mutex::new(Some(parent)), pending: pending.clone() });
            late.free_in(&mut Context::from_waker(&Waker::from(late.clone())));
        }
    }
}

/// A new communicator that may come, and will not be taken.
struct Late {
    parent: Mutex<Option<Comm>>,
    pending: Arc<Pending>,
}

impl Late {
    /// Frees it if it has come; else, if it comes, the waker has that done.
    fn free_in(&self, context: &mut Context<'_>) {
        if let Poll::Ready(result) = self.pending.poll(context) {
            let parent = self.parent.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let (Some(parent), Ok(completion)) = (parent, result) {
                drop(parent.split_off(completion));
            }
        }
    }
}

impl Wake for Late {
    fn wake(self: Arc<Self>) {
        self.free_in(&mut Context::from_waker(Waker::noop()));
    }
}

/// New communicators.
impl Comm {
    /// The ranks that say the same `color` form a new communicator, ordered by `key` and among equal keys by rank here
    /// (MPI 4.1, chapter 7.4.2). `None` instead of a colour, MPI's `UNDEFINED`, gives `None`.
    ///
    /// Operations on different communicators never meet. A communicator is freed when its last handle is dropped on
    /// every rank, and with it every request that was started there.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// # std::thread::scope(|scope| for world in worlds { scope.spawn(move || {
    /// let comm = world.comm();
    /// let parity = comm.rank().get() % 2;
    /// let half = comm.split(Some(parity), 0).wait()?.expect("this rank said a colour");
    /// assert_eq!(half.size(), if parity == 0 { 2 } else { 1 });
    /// # drop(half);
    /// # world.finalize().wait() }); });
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn split(&self, color: Option<u32>, key: i32) -> Request<'static, Option<Comm>> {
        self.split_by(color.map(Color::Number), key)
    }

    /// As [`split`](Self::split), by anything that ranks may have in common.
    #[track_caller]
    pub(crate) fn split_by(&self, color: Option<Color>, key: i32) -> Request<'static, Option<Comm>> {
        self.split_in(OwnedCall::Builtin(Call::Split), color, key)
    }

    #[track_caller]
    fn split_in(&self, call: OwnedCall, color: Option<Color>, key: i32) -> Request<'static, Option<Comm>> {
        let started = Started {
            call,
            datatype: Datatype::Object,
            sent: Sent::Equal(SplitRequest::LEN),
            receive: Receive::Exactly(SplitResult::LEN),
            outbound: Outbound::Whole(Box::new(SplitRequest { color, key }.to_bytes().to_vec())),
            inbound: Inbound::Whole { storage: Box::new(Vec::<u8>::new()), open: true },
        };
        let pending = Arc::new(OnceLock::new());
        let unclaimed = Unclaimed { parent: Some(self.clone()), pending: pending.clone() };
        let request = self.start(started, OnDrop::Withdraw, move |completion| unclaimed.claim(completion));
        if let Some(started) = request.pending() {
            // Nobody else sets it.
            let _ = pending.set(started);
        }
        request
    }

    /// The communicator that the hub's answer to a split on this one puts this rank in.
    fn split_off(self, completion: Completion) -> Result<Option<Self>, Error> {
        let bytes = whole::<u8>(completion)?;
        let cut = || Error::Protocol { reason: "the hub's answer to a split is cut short".to_owned() };
        let bytes = <[u8; SplitResult::LEN]>::try_from(bytes.as_slice()).map_err(|_| cut())?;
        let absurd = |fault| Error::Protocol { reason: format!("the hub's answer to a split makes no sense: {fault}") };
        let Some(id) = self.id.split(SplitResult::from_bytes(bytes)).map_err(absurd)? else { return Ok(None) };
        let membership = Membership { engine: self.engine.clone(), id };
        Ok(Some(Self { id, details: Arc::new(Details::of(membership)), intent: Intent::default(), ..self }))
    }

    /// A new communicator of the same ranks (MPI 4.1, chapter 7.4.2): for a task or a library that must not meet the
    /// calls of others. Boards have no part in it, nor in what is made of groups, grids and graphs: their
    /// [`split`](Self::split) meets that of hosts alone.
    #[track_caller]
    pub fn dup(&self) -> Request<'static, Comm> {
        self.dup_for(Purpose::Dup)
    }

    #[track_caller]
    pub(crate) fn dup_for(&self, purpose: Purpose) -> Request<'static, Comm> {
        let missing = || Error::Protocol { reason: "the hub left this rank out of a copy".to_owned() };
        self.meaning(purpose).split(Some(0), 0).and_then(move |comm| comm.ok_or_else(missing))
    }

    /// A new communicator of the processes of a group, in the group's order (MPI 4.1, chapter 7.4.2, `Comm_create`).
    /// Collective over this communicator: every rank of it has to call, and gets `None` if its own `group` does not have
    /// it. Ranks may give different groups, as long as all of one group give the same.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// # std::thread::scope(|scope| for world in worlds { scope.spawn(move || {
    /// let comm = world.comm();
    /// let backwards = comm.group().wait()?.include(&[2, 0])?;
    /// match comm.create(&backwards).wait()? {
    ///     Some(pair) => assert_eq!(pair.rank(), if world.rank() == 2 { 0 } else { 1 }),
    ///     None => assert_eq!(world.rank(), 1),
    /// }
    /// # world.finalize().wait() }); });
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Mismatch`] if not all of the group are in this communicator, or gave it.
    #[track_caller]
    pub fn create(&self, group: &ProcessGroup) -> Request<'static, Option<Comm>> {
        let (place, site) = (group.rank(self.rank_in_world), Location::caller());
        let size = group.size();
        // All of a group find each other by what it is made of.
        let color = place.map(|_| Color::Text(group.fingerprint()));
        let key = place.map_or(0, |rank| rank.get() as i32);
        self.meaning(Purpose::Create).split_by(color, key).and_then(move |comm| match comm {
            Some(comm) if comm.size() != size => Err(Error::Mismatch {
                reason: format!(
                    "{} of the {size} processes of a group gave it to create(): all of them have to, and be ranks of the \
                     communicator that it is called on",
                    comm.size()
                ),
            }
            .at(site)),
            comm => Ok(comm),
        })
    }

    /// A new communicator of these `ranks` of this one, in their order, who alone take part (MPI 4.1, chapter 7.4.2,
    /// `Comm_create_group`): what the others do, and whether they are still there, does not matter. Each of the ranks gives
    /// the same ranks and the same `tag`. Calls with different tags never meet, so several tasks may make them at once.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// # let comms: Vec<_> = worlds.iter().map(|world| world.comm()).collect();
    /// // Rank 1 has no part in it.
    /// let backwards = [2, 0];
    /// let (one, other) = (comms[0].create_group(&backwards, 7), comms[2].create_group(&backwards, 7));
    /// assert_eq!((one.wait()?.rank().get(), other.wait()?.rank().get()), (1, 0));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if this communicator has no such rank, one is named
    /// twice, or the caller is not named; [`Error::Mismatch`] if they are not named in the same order. A call with other
    /// ranks or another tag does not meet this one.
    #[track_caller]
    pub fn create_group(&self, ranks: &[impl Into<Rank> + Copy], tag: impl Into<Tag>) -> Request<'static, Comm> {
        let ranks: Vec<Rank> = ranks.iter().map(|rank| (*rank).into()).collect();
        let mut sorted = ranks.clone();
        sorted.sort_unstable();
        let place = match self.place_among(&ranks, &sorted) {
            Ok(place) => place,
            Err(error) => return Request::refused(error),
        };
        // Those who mean the same ranks find each other, and then see whether they mean the same order.
        let order = Color::Text(fingerprint(ranks.iter().map(|rank| rank.get())));
        let site = Location::caller();
        let call = OwnedCall::split_among(&sorted, tag.into().0);
        self.meaning(Purpose::CreateGroup).split_in(call, Some(order), place as i32).and_then(move |comm| match comm {
            Some(comm) if comm.size() as usize == ranks.len() => Ok(comm),
            _ => {
                let reason = "the ranks of a create_group() do not name themselves in the same order".to_owned();
                Err(Error::Mismatch { reason }.at(site))
            }
        })
    }

    /// Where this rank stands among `ranks`, if they are distinct ranks of this communicator.
    fn place_among(&self, ranks: &[Rank], sorted: &[Rank]) -> Result<usize, Error> {
        if let Some(last) = sorted.last().filter(|last| **last >= self.size()) {
            return Err(Error::invalid(format!("there is no rank {last} in a communicator of {}", self.size())));
        }
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid(format!("rank {} is named twice", pair[0])));
        }
        let place = ranks.iter().position(|rank| *rank == self.rank());
        place.ok_or_else(|| Error::invalid(format!("rank {} is not among the ranks that it names", self.rank())))
    }

    /// The processes of this communicator, in the order of their ranks (MPI 4.1, chapter 7.3.2, `Comm_group`). Asks the
    /// hub, if this is not the world; nobody else takes part.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::TooLarge`] if the list does not fit one frame (65,536 ranks on a host).
    #[track_caller]
    pub fn group(&self) -> Request<'static, ProcessGroup> {
        let size = self.size();
        if size == 1 {
            return Request::ready(Ok(ProcessGroup::of_distinct(vec![self.rank_in_world])));
        }
        if self.id.id == 0 {
            return Request::ready(Ok(ProcessGroup::of_distinct((0..size).map(Rank::new).collect())));
        }
        let started = Started {
            call: OwnedCall::Builtin(Call::Members),
            datatype: Datatype::Object,
            sent: Sent::Equal(0),
            receive: Receive::Exactly(size as usize * size_of::<u32>()),
            outbound: Outbound::Nothing,
            inbound: Inbound::Whole { storage: Box::new(Vec::<u8>::new()), open: true },
        };
        self.start(started, OnDrop::Detach, |completion| {
            let bytes = whole::<u8>(completion)?;
            let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
            let absurd =
                |error| Error::Protocol { reason: format!("the hub's list of members makes no sense: {error}") };
            ProcessGroup::new(words).map_err(absurd)
        })
    }

    /// How two communicators relate (MPI 4.1, chapter 7.4.1): are they the same, or do they have the same ranks, in the
    /// same order or in another? Asks the hub for their groups; nobody else takes part. Of two different worlds the ranks'
    /// numbers are compared.
    ///
    /// ```
    /// use edgempi::Comparison;
    ///
    /// let world = edgempi::init().wait()?;
    /// let (comm, copy) = (world.comm(), world.comm().dup().wait()?);
    /// assert_eq!(comm.compare(&world.comm()).wait()?, Comparison::Identical);
    /// assert_eq!(comm.compare(&copy).wait()?, Comparison::Congruent);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn compare(&self, other: &Self) -> Request<'static, Comparison> {
        if Arc::ptr_eq(&self.engine, &other.engine) && self.id.id == other.id.id {
            return Request::ready(Ok(Comparison::Identical));
        }
        Request::join(vec![self.group(), other.group()], |groups| match groups.as_slice() {
            [one, other] => Ok(match one.compare(other) {
                Comparison::Identical => Comparison::Congruent,
                relation => relation,
            }),
            _ => Err(Error::defect()),
        })
    }
}
