//! Joining and leaving a world: MPI's Init and Finalize.

#[cfg(all(test, not(loom)))]
mod cut_off;

use std::ffi::OsString;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use edgempi_core::endpoint;
use edgempi_core::hub::{self, Registry};
use edgempi_core::request::CommunicatorId;
use edgempi_core::wire::GoodbyeReason;
use edgempi_core::{Purpose, Rank};

use crate::comm::{Comm, get_or_start};
use crate::config::{Config, ConfigError, Field, Resolved, meant_by, unknown_variables};
use crate::engine::{self, Engine, HubDriver, RankDriver, State, Traffic};
use crate::error::Error;
use crate::link::{self, NAMES};
use crate::membership::Membership;
use crate::request::{block_on, block_until};
use crate::signal::Signal;
use crate::warning::warn;

/// Joins the world that the environment describes (MPI 4.1, chapter 11.2): reads the [configuration](crate::config),
/// starts the hub if this is rank 0 and no hub's address is given, connects, and waits until all ranks have come.
///
/// Starts at once, on a thread of its own; `.await` the result in an async program (of whatever runtime), or
/// [`wait`](Init::wait) for it in any other. It tries to connect for `EDGEMPI_WAIT`, because ranks start in any order;
/// the hub waits as long for the other ranks, from when the first has come.
///
/// ```
/// let world = edgempi::init().wait()?;
/// println!("rank {} of {}", world.rank(), world.size());
/// world.finalize().wait()?;
/// # Ok::<(), edgempi::Error>(())
/// ```
#[track_caller]
pub fn init() -> Init {
    Builder::new().init()
}

/// What a world is joined with, where the environment is not to decide, and the operations of one's own.
///
/// ```
/// use std::time::Duration;
///
/// use edgempi::{Builder, Config};
///
/// let config = Config::new().size(1).rank(0).wait(Duration::from_secs(5));
/// let world = Builder::new().config(config).init().wait()?;
/// assert!(world.hosts_hub());
/// # Ok::<(), edgempi::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    config: Config,
    registry: Registry,
}

impl Builder {
    /// As the environment says, without operations of one's own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes settings from code; what it leaves unset comes from the environment.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The operations of the hub, if it runs in this process; others ignore them, so every rank may say the same.
    pub fn operations(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// A world of `size` ranks within this process; see [`local`]. Of the settings those for sizes count, and how long to
    /// wait.
    ///
    /// # Errors
    ///
    /// As [`local`]; [`Error::Config`] for bad settings.
    pub fn local(self, size: u32) -> Result<Vec<World>, Error> {
        self.local_as_set(size, |_| None)
    }

    /// As [`local`](Self::local); what the settings leave open comes from `lookup`.
    pub(crate) fn local_as_set(
        self,
        size: u32,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Vec<World>, Error> {
        let config = self.config.size(size).rank(0);
        let resolved = config.resolve_from(NAMES, lookup)?;
        let nobody = endpoint::Config::host(Rank::new(0), 1);
        let hub =
            Engine::new(resolved.spin, |now| State::new(now, nobody, String::new(), String::new())).map_err(broken)?;
        let mut driver = HubDriver::new(&hub, hub_config(&resolved), self.registry, Vec::new()).map_err(broken)?;
        let message_size = usize::try_from(resolved.message_size).unwrap_or(usize::MAX);
        let mut joining = Vec::new();
        for rank in (0..resolved.size).map(Rank::new) {
            let config = endpoint::Config::host(rank, resolved.size);
            let name = "a thread of this process".to_owned();
            let engine = Engine::new(resolved.spin, |now| State::new(now, config, resolved.world.clone(), name))
                .map_err(broken)?;
            engine.state().threads = resolved.threads;
            let (up, down) = link::memory_pair(wake(&engine), wake(&hub));
            driver.add(hub.now(), Box::new(down)).map_err(broken)?;
            engine.set_driver(RankDriver::new(&engine, Box::new(up)).map_err(broken)?);
            let id = CommunicatorId { id: 0, rank, size: resolved.size };
            joining.push(Joined { engine, id, message_size, hosts: false, is_process: false, ended: Signal::new() });
        }
        hub.set_hub(driver);
        let run_all = || {
            spawn("edgempi-hub", move || drop(hub.run()))?;
            for Joined { engine, ended, .. } in joining.clone() {
                spawn("edgempi", move || {
                    let _ended = ended.set_at_last(());
                    engine.run();
                })?;
            }
            joining.iter().cloned().map(|joined| joined.welcomed(resolved.wait)).collect::<Result<Vec<_>, _>>()
        };
        match run_all() {
            Ok(joined) => Ok(joined.into_iter().map(Joined::into_world).collect()),
            Err(error) => {
                // Those that run already would go on without anybody who could end them.
                joining.iter().for_each(|joined| joined.engine.go());
                Err(error)
            }
        }
    }

    /// Joins the world; see [`init`].
    #[track_caller]
    pub fn init(self) -> Init {
        let site = Location::caller();
        for variable in unknown_variables() {
            let help = "`edgempi config` shows those there are";
            match meant_by(&variable) {
                Some(setting) => {
                    let text = format!("{variable} is no setting and has no effect: is {setting} meant? {help}");
                    warn(&text, |text| tracing::warn!("{text}"));
                }
                // It may be the program's own.
                None => tracing::warn!("{variable} is no setting and has no effect; {help}"),
            }
        }
        let ready = Signal::new();
        let failed = ready.clone();
        let given_up = Arc::new(AtomicBool::new(false));
        let result = self.config.resolve(NAMES).map_err(Error::from).and_then(|resolved| {
            let (signal, given_up) = (ready.clone(), given_up.clone());
            let body = move || join(&resolved, self.registry, site, &signal, given_up);
            spawn("edgempi", body)
        });
        if let Err(error) = result {
            failed.set(Err(error));
        }
        Init { ready, taken: false, given_up }
    }
}

/// A world of `size` ranks within this process, over in-memory links: for tests, and for trying things out. The element
/// at index r is rank r. The environment has no say in it.
///
/// Calls start at once and need nobody to wait for them, so one thread can play all ranks: make the requests of all,
/// then wait for each.
///
/// ```
/// use edgempi::Sum;
///
/// let worlds = edgempi::local(3)?;
/// std::thread::scope(|scope| {
///     for world in worlds {
///         scope.spawn(move || {
///             let total = world.comm().allreduce([world.rank().get()], Sum).wait()?;
///             assert_eq!(total, [0 + 1 + 2]);
///             world.finalize().wait()
///         });
///     }
/// });
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidArgument`] if the system has no threads or pollers left, [`Error::Config`] if `size` is 0 or beyond
/// [`MAX_SIZE`](crate::config::MAX_SIZE).
pub fn local(size: u32) -> Result<Vec<World>, Error> {
    Builder::new().local(size)
}

/// A world that is being joined.
///
/// # Cancel safety
///
/// Dropping it unfinished gives the world up: the other ranks are told that this one has failed.
#[must_use = "the world is there when this has been awaited or waited for"]
pub struct Init {
    ready: Signal<Result<Joined, Error>>,
    /// The world has been handed over.
    taken: bool,
    given_up: Arc<AtomicBool>,
}

impl std::fmt::Debug for Init {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Init")
    }
}

/// What the engine's thread hands over.
#[derive(Clone)]
struct Joined {
    engine: Arc<Engine>,
    id: CommunicatorId,
    message_size: usize,
    hosts: bool,
    /// Whether the rank is a process, and not one of several in a process.
    is_process: bool,
    /// Set when the engine's thread has ended.
    ended: Signal<()>,
}

impl Joined {
    /// Waits until the hub has let this rank in.
    fn welcomed(self, wait: Duration) -> Result<Self, Error> {
        let start = Instant::now();
        let (welcome, hub) = {
            let state = self.engine.state();
            (state.joined.clone(), state.hub_name().to_owned())
        };
        let welcome = std::pin::pin!(welcome);
        // A hub in this process answers, however little patience there is.
        let deadline = if self.hosts { None } else { start.checked_add(wait) };
        match block_until(welcome, deadline) {
            Some(result) => result.map(|()| self),
            None => Err(Error::Connect {
                address: hub,
                tries: 1,
                waited: start.elapsed(),
                reason: "something accepted the connection there and does not answer like a hub".to_owned(),
            }),
        }
    }

    fn into_world(self) -> World {
        let Self { engine, id, message_size, hosts, is_process, ended } = self;
        World {
            comm: Comm::world(engine.clone(), id, message_size),
            engine,
            hosts,
            ended,
            is_process,
            is_left: false,
            alone: Mutex::default(),
        }
    }
}

impl Init {
    /// Waits for the world, on this thread.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for bad settings, [`Error::Listen`] if this process hosts the hub and the port is taken,
    /// [`Error::Connect`] if no hub answers in time, [`Error::Refused`] if the hub does not want this rank,
    /// [`Error::RankFailed`] naming the first rank that did not come in time.
    pub fn wait(self) -> Result<World, Error> {
        block_on(self)
    }
}

impl Future for Init {
    type Output = Result<World, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(joined) = Pin::new(&mut self.ready).poll(context) else { return Poll::Pending };
        self.taken = true;
        Poll::Ready(joined.map(Joined::into_world))
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if !self.taken {
            // Whichever comes later, this or the world, sees the other.
            self.given_up.store(true, Ordering::SeqCst);
            if let Some(Ok(joined)) = self.ready.get() {
                joined.engine.give_up();
            }
        }
    }
}

/// A world: all ranks of one job, and this process's place among them.
///
/// Keep it for as long as there are calls to make. Dropping it without [`finalize`](Self::finalize) is safe; the other
/// ranks are told that this one has failed, and people are, in the log or on stderr, unless the program panics or has had
/// an error from a call. Where it hosts the hub, that goes on for the others as long as the process
/// lives; dropping the world then takes up to a second, while the others learn from it what has happened.
#[derive(Debug)]
#[must_use = "a rank whose world is dropped without finalize() counts as failed"]
pub struct World {
    comm: Comm,
    engine: Arc<Engine>,
    hosts: bool,
    ended: Signal<()>,
    /// Whether the rank is a process: those of a world within one are a test's, and end with it.
    is_process: bool,
    is_left: bool,
    /// This rank's communicator of itself alone, if it was asked for.
    alone: Mutex<Option<Comm>>,
}

impl World {
    /// The communicator of all ranks (MPI's `COMM_WORLD`).
    pub fn comm(&self) -> Comm {
        self.comm.clone()
    }

    /// The communicator of this rank alone (MPI's `COMM_SELF`), which is there when the world is over, too; see
    /// [`comm_self`](crate::comm_self()).
    ///
    /// # Errors
    ///
    /// As [`comm_self`](crate::comm_self()).
    pub fn comm_self(&self) -> Result<Comm, Error> {
        get_or_start(&self.alone, self.rank())
    }

    /// This process's rank.
    pub fn rank(&self) -> Rank {
        self.comm.rank()
    }

    /// How many ranks the world has.
    pub fn size(&self) -> u32 {
        self.comm.size()
    }

    /// Whether this rank hosts the hub. None does in a [`local`] world, whose hub is beside its ranks.
    pub fn hosts_hub(&self) -> bool {
        self.hosts
    }

    /// What this rank has sent and received so far, over its link to the hub.
    pub fn traffic(&self) -> Traffic {
        self.engine.traffic()
    }

    /// What the hub is doing; `None` if this rank does not [host](Self::hosts_hub) it.
    ///
    /// ```
    /// let world = edgempi::init().wait()?;
    /// assert!(world.hosts_hub() && world.hub_status().is_some() && world.hub_snapshot().is_some());
    /// let local = edgempi::local(1)?.remove(0);
    /// assert!(!local.hosts_hub() && local.hub_status().is_none() && local.hub_snapshot().is_none());
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    pub fn hub_status(&self) -> Option<hub::HubStatus> {
        self.engine.hub().as_ref().map(HubDriver::status)
    }

    /// How the world is, as the hub sees it: its ranks and what each waits for, operations in flight; `None` if this rank
    /// does not [host](Self::hosts_hub) it. [`hub::snapshot`](crate::hub::snapshot()) asks a hub in another process.
    pub fn hub_snapshot(&self) -> Option<hub::Snapshot> {
        self.engine.hub_snapshot()
    }

    /// Leaves the world (MPI 4.1, chapter 11.2): lets what was started come to its end, says goodbye, and waits until all
    /// ranks have finalized or failed.
    ///
    /// Starts at once; calls made from now on are [`Error::Finalized`]. Collectives and sends that are under way are
    /// waited for. Receives are not: one that nobody has served fails. A [`Message`](crate::Message) that was not received is
    /// dropped.
    pub fn finalize(mut self) -> Finalize {
        self.is_left = true;
        let engine = self.engine.clone();
        engine.leave(GoodbyeReason::Finished);
        let over = engine.state().ended.clone();
        Finalize { over, ended: self.ended.clone(), engine, result: None }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        // Who leaves because of a panic or a failed call has been told enough.
        if self.is_process && !thread::panicking() && !self.engine.state().has_told_failure() {
            let rank = self.rank();
            let text = format!(
                "the World of rank {rank} is dropped without finalize(), so the rank counts as failed: a program ends with \
                 world.finalize().wait(), or .await"
            );
            warn(&text, |text| tracing::warn!("{text}"));
        }
        self.engine.give_up();
    }
}

/// A world that is being left.
///
/// # Cancel safety
///
/// Dropping it changes nothing: the rank leaves in an orderly way all the same, as long as the process lives.
#[must_use = "a process that ends before this is done looks like one that failed"]
pub struct Finalize {
    over: Signal<Result<(), Error>>,
    ended: Signal<()>,
    engine: Arc<Engine>,
    result: Option<Result<(), Error>>,
}

impl std::fmt::Debug for Finalize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Finalize")
    }
}

impl Finalize {
    /// Waits, on this thread.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] if the hub was lost before the world had ended.
    pub fn wait(self) -> Result<(), Error> {
        block_on(self)
    }
}

impl Future for Finalize {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.result.is_none() {
            let Poll::Ready(result) = Pin::new(&mut self.over).poll(context) else { return Poll::Pending };
            self.result = Some(result);
            self.engine.close();
        }
        // The hub in this process still says goodbye to the others.
        let Poll::Ready(()) = Pin::new(&mut self.ended).poll(context) else { return Poll::Pending };
        Poll::Ready(self.result.take().unwrap_or(Ok(())))
    }
}

impl Drop for Finalize {
    fn drop(&mut self) {
        self.engine.close();
    }
}

/// The engine's thread, from the first connection to the end of the world.
fn join(
    resolved: &Resolved,
    registry: Registry,
    site: &'static Location<'static>,
    ready: &Signal<Result<Joined, Error>>,
    given_up: Arc<AtomicBool>,
) {
    let (rank, size) = (resolved.rank, resolved.size);
    let hosts = rank == 0 && resolved.addr.is_none();
    let membership = Arc::new(Membership::enter(resolved.hub().to_string(), rank));
    match start(resolved, registry, hosts) {
        Err(error) => ready.set(Err(membership.explain(error))),
        Ok(engine) => {
            let ended = Signal::new();
            let message_size = usize::try_from(resolved.message_size).unwrap_or(usize::MAX);
            let id = CommunicatorId { id: 0, rank, size };
            let ended_too = ended.clone();
            let joined = Joined { engine: engine.clone(), id, message_size, hosts, is_process: true, ended: ended_too };
            let (signal, wait, joining) = (ready.clone(), resolved.wait, membership.clone());
            let spawned = spawn("edgempi-join", move || {
                let engine = joined.engine.clone();
                signal.set(gather_everybody(joined, site, wait).map_err(|error| joining.explain(error)));
                if given_up.load(Ordering::SeqCst) {
                    engine.give_up();
                }
            });
            if let Err(error) = spawned {
                engine.go();
                ready.set(Err(error));
            }
            let _ended = ended.set_at_last(());
            engine.run();
        }
    }
}

/// Waits for the hub's Welcome, then until all ranks have come, in a barrier that is called where the program joins.
fn gather_everybody(joined: Joined, site: &'static Location<'static>, wait: Duration) -> Result<Joined, Error> {
    let engine = joined.engine.clone();
    let result = joined.welcomed(wait).and_then(|joined| {
        let Joined { id, message_size, .. } = joined;
        let comm = Comm::world(engine.clone(), id, message_size);
        comm.meaning(Purpose::Init).barrier_at(site).wait().map(|()| joined)
    });
    if result.is_err() {
        engine.give_up();
    }
    result
}

fn start(resolved: &Resolved, registry: Registry, hosts: bool) -> Result<Arc<Engine>, Error> {
    if resolved.addr.is_none() && resolved.size > 1 && resolved.listen.port == 0 {
        // A hub of its own may listen there, and says where that is; rank 0 has nobody whom it could tell.
        return Err(Error::Config(ConfigError::Invalid {
            field: Field::Listen,
            origin: resolved.origin(Field::Listen),
            value: resolved.listen.to_string(),
            expected: "a port at which the other ranks find the hub of rank 0: name one, or none".to_owned(),
        }));
    }
    let address = resolved.hub();
    let config = endpoint::Config::host(resolved.rank, resolved.size);
    let hub_name = if hosts { "rank 0, which is this process,".to_owned() } else { address.to_string() };
    let engine =
        Engine::new(resolved.spin, |now| State::new(now, config, resolved.world.clone(), hub_name)).map_err(broken)?;
    engine.state().threads = resolved.threads;
    if !hosts {
        if resolved.addr.is_none() {
            engine.state().hub_hint = "; it was in the process of rank 0, which may have said why it ended";
        }
        let link = link::connect(&address, &resolved.proto, resolved.wait)?;
        engine.set_driver(RankDriver::new(&engine, link).map_err(broken)?);
        return Ok(engine);
    }
    let listeners =
        if resolved.size > 1 { link::listen(&resolved.listen, &resolved.proto, resolved.size)? } else { Vec::new() };
    let mut driver = HubDriver::new(&engine, hub_config(resolved), registry, listeners).map_err(broken)?;
    let (up, down) = link::memory_pair(wake(&engine), wake(&engine));
    driver.add(engine.now(), Box::new(down)).map_err(broken)?;
    engine.set_driver(RankDriver::new(&engine, Box::new(up)).map_err(broken)?);
    engine.set_hub(driver);
    Ok(engine)
}

fn broken(error: std::io::Error) -> Error {
    Error::invalid(format!("the system has no poller for the engine: {error}"))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    engine::spawn(name, body).map_err(|error| Error::invalid(format!("no thread for the engine: {error}")))
}

/// What wakes an engine for as long as there is one.
fn wake(engine: &Arc<Engine>) -> link::Wake {
    let engine = Arc::downgrade(engine);
    Arc::new(move || {
        if let Some(engine) = engine.upgrade() {
            engine.wake();
        }
    })
}

/// How a hub with these settings behaves.
pub(crate) fn hub_config(resolved: &Resolved) -> hub::Config {
    let seed = uuid::Uuid::new_v4().as_u128();
    hub::Config {
        world: resolved.world.clone(),
        max_message: resolved.message_size,
        queue_size: resolved.queue_size,
        join_wait: Some(resolved.wait),
        slow: Some(resolved.slow).filter(|slow| !slow.is_zero()),
        seed,
        ..hub::Config::new(resolved.size)
    }
}
