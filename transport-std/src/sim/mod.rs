//! Worlds of virtual ranks in one thread, in virtual time: to see what an algorithm does on a thousand boards with bad
//! links, and to test it under faults that come again whenever they are wanted.
//!
//! A program is an async function of a [`Rank`], which is the ordinary [`Comm`] with all of its calls, and
//! a clock. Between the ranks and the real hub, the very same that serves processes, are virtual links; what takes time
//! on them takes none here. One seed decides everything that is left to chance.
//!
//! ```
//! use std::time::Duration;
//!
//! use edgempi::Sum;
//! use edgempi::sim::{Class, Simulation};
//!
//! let simulation = Simulation::new(1)
//!     .ranks(2, Class::server())
//!     .ranks(50, Class::board().loss(0.02)) // boards on a bad cell network
//!     .rank(7, |class| class.slowness(3.0));
//! let outcome = simulation.run(|rank| async move {
//!     for number in 0..3 {
//!         rank.round(number);
//!         rank.compute(Duration::from_secs(2)).await; // what a board would take
//!         let gradient = rank.allreduce(vec![1.0f32; 1000], Sum).await?;
//!         assert_eq!(gradient[0], 52.0);
//!     }
//!     Ok(rank.now())
//! })?;
//! println!("{}", outcome.report);
//! let slowest = outcome.report.rounds[2].late[0].0;
//! assert_eq!(slowest, edgempi::Rank::new(7));
//! let times = outcome.into_values()?; // the first rank that failed is an error
//! assert!(times[0] > Duration::from_secs(3 * 6));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Programs
//!
//! - `.await` everything. All ranks share one thread, so [`Request::wait`](crate::Request::wait) and
//!   [`block_on`](crate::block_on) panic in a program, and so does a loop around [`test`](crate::Request::test) that
//!   awaits nothing.
//! - Time passes in calls, in [`sleep`](Rank::sleep) and in [`compute`](Rank::compute), and nowhere else: what a program
//!   really computes takes none.
//! - For chance there is [`random`](Rank::random). A program that asks the system for time or random numbers, shares
//!   state with threads, or walks through a `HashMap` is not the same the next time.
//! - A program that returns a value has finalized its world; one that returns an error has failed in the eyes of the
//!   others, like a process whose `main` returns one.
//! - A function over the [`Communicator`](crate::Communicator) trait takes [`rank.comm()`](Rank::comm).
//!
//! # Links and faults
//!
//! A [`Class`] says what ranks are like; [`Simulation::rank`] changes one of them. Links are reliable and in order, as
//! TCP is, and what goes wrong on them costs time.
//!
//! | what | how | what comes of it |
//! |---|---|---|
//! | distance | [`latency`](Class::latency), [`jitter`](Class::jitter) | every frame is under way for so long; frames of different ranks overtake each other |
//! | bandwidth | [`bandwidth_up`](Class::bandwidth_up), [`bandwidth_down`](Class::bandwidth_down) | frames leave one behind the other; beyond the [`buffer`](Class::buffer) the sender waits |
//! | loss | [`loss`](Class::loss), [`retransmission`](Class::retransmission) | the frame, and all behind it, come later |
//! | a partition | [`partition`](Class::partition), [`partition_one_way`](Class::partition_one_way) | frames wait for its end, unless one side loses patience before |
//! | a sleeping radio | [`radio`](Class::radio) | frames wait until it is awake |
//! | a slow rank | [`slowness`](Class::slowness) | computing takes longer |
//! | a late rank | [`start`](Class::start) | the others wait for it, for as long as the [`config`](Simulation::config) says |
//! | a crash | [`crash`](Class::crash) | the hub knows at once, and tells whoever needs the rank |
//! | a lost power | [`power_loss`](Class::power_loss) | the hub knows after the [`silence`](Class::silence) that the rank promised to keep |
//! | the hub's end | [`hub_crash`](Simulation::hub_crash), [`hub_power_loss`](Simulation::hub_power_loss), [`hub_shutdown`](Simulation::hub_shutdown) | everybody is disconnected, at once or after pings without answer |
//!
//! What is not modelled: the hub's own bandwidth and speed (its work takes no virtual time, and links of different
//! ranks share nothing), packets that hold several frames, congestion. A partition or a crash cuts between frames, not
//! within them.
//!
//! # The same again
//!
//! A run has a [hash of its trace](Outcome::trace): every event, its time, every byte. It is equal for equal seeds, in
//! any process and on any machine. So a failure is seen again by its seed. It is part of every message: of [`Stopped`],
//! which says why a run could not go on (a deadlock with the calls that each rank waits in, a panic), of
//! [`RankFailure`], and of a test that panics while it holds an [`Outcome`]. `EDGEMPI_SIM_SEED=42 cargo test NAME` takes
//! the place of the seed in the code; [`seeds`] tries many where the variable is not set, and that one where it is.
//! [`Simulation::trace`] prints what happens.
//!
//! # What it costs
//!
//! Only events cost time: a day of sleeping costs no more than a second of it. Ranks that promise a short
//! [silence](Class::silence) say all day that they live, though. `cargo run --release --example simulation_scale` prints
//! this table; here on a virtual machine (AMD EPYC), with ranks of [`Class::server`]:
//!
//! | ranks | join and leave | one barrier | memory | one allreduce of 1000 f32 | memory |
//! |---|---|---|---|---|---|
//! | 10 | 46 µs | 12 µs | 3.1 MiB | 46 µs | 3.2 MiB |
//! | 100 | 565 µs | 164 µs | 3.7 MiB | 514 µs | 4.8 MiB |
//! | 1000 | 13.9 ms | 3.2 ms | 9.9 MiB | 9.5 ms | 18 MiB |
//! | 10000 | 254.6 ms | 65.4 ms | 73 MiB | 150.5 ms | 155 MiB |
//! | 100000 | 3.70 s | 909.2 ms | 692 MiB | 1.96 s | 1518 MiB |
//!
//! What grows faster than the world is what does so on a real hub: vectors beyond a window are folded in pieces, and
//! the hub's window bytes are shared by all ranks, so that more ranks mean smaller pieces
//! ([`hub_limits`](Simulation::hub_limits) changes that). And a broadcast to ten thousand ranks is in memory once for
//! each, as the ranks' own buffers.
//!
//! # An example
//!
//! `cargo run --release --example simulation`: a thousand unreliable boards learn to read digits, some of them die, and
//! a plot shows accuracy and bytes against virtual time.

mod agenda;
mod class;
mod executor;
mod generator;
mod hub_side;
mod link;
mod node;
mod orders;
mod rank;
mod report;
mod stopped;
mod trace;
mod world;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use edgempi_core::hub::{self, Hub, Registry};
use edgempi_core::request::CommunicatorId;
use edgempi_core::wire::RankKind;
use edgempi_core::{Instant, endpoint};

use crate::comm::Comm;
use crate::config::{Config, MAX_SIZE};
use crate::error::Error;
use crate::link::NAMES;
use crate::world::hub_config;
use class::{Death, moment};
use executor::Executor;
use generator::Generator;
use node::Node;
use orders::Desk;
use stopped::SaysSeed;
use trace::Trace;
use world::{HubEnd, Setup, World};

pub use class::{Class, Direction};
pub use edgempi_core::hub::Config as HubLimits;
pub(crate) use executor::{forbid_blocking, forbid_testing_in_a_loop, is_simulating};
pub use orders::Sleep;
pub use rank::Rank;
pub use report::{RankReport, Report, Round};
pub use stopped::{Failure, RankFailure, Reason, Stopped, Waiting};
pub use trace::{Entry, TraceHash, What};

/// The environment variable whose number takes the place of a simulation's seed.
pub const SEED_VARIABLE: &str = "EDGEMPI_SIM_SEED";

/// How much virtual time a run gets unless it is said: a month.
const LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The stream of random numbers that sessions are named by; below are those of links.
const SESSIONS: u64 = u64::MAX;

type Limits = Box<dyn FnOnce(&mut HubLimits)>;

/// A simulation that is being set up: ranks of what classes, what becomes of the hub, what is recorded.
///
/// See the [module](self) for an example.
#[must_use = "nothing happens before run(..)"]
pub struct Simulation {
    seed: Result<u64, Error>,
    config: Config,
    registry: Registry,
    classes: Vec<Class>,
    /// The class of each rank.
    ranks: Vec<u32>,
    limits: Option<Limits>,
    hub_end: Option<(Instant, HubEnd)>,
    limit: Duration,
    sink: Option<trace::Sink>,
    /// The first change of a rank that there was not.
    nobody: Option<u32>,
}

/// What a run came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome<T> {
    /// What each rank's program returned, by its rank.
    pub results: Vec<Result<T, Failure>>,
    /// How long it took, and what it moved.
    pub report: Report,
    /// The hash of everything that happened.
    pub trace: TraceHash,
    seed: SaysSeed,
}

impl<T> Outcome<T> {
    /// The seed that everything followed from.
    pub fn seed(&self) -> u64 {
        self.seed.0
    }

    /// What the ranks' programs returned, if all of them have.
    ///
    /// # Errors
    ///
    /// The first rank that gave no value, with the seed of the run.
    pub fn into_values(self) -> Result<Vec<T>, RankFailure> {
        let seed = self.seed.0;
        let values = self.results.into_iter().enumerate().map(|(rank, result)| {
            result.map_err(|failure| RankFailure { rank: edgempi_core::Rank::new(rank as u32), failure, seed })
        });
        values.collect()
    }
}

/// The seeds to try, one after the other: all of `seeds`, or only the one that `EDGEMPI_SIM_SEED` says.
///
/// ```
/// use edgempi::sim::{Class, Simulation, seeds};
///
/// for seed in seeds(0..20) {
///     let simulation = Simulation::new(seed).ranks(3, Class::server());
///     simulation.run(|rank| async move { rank.barrier().await })?.into_values()?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seeds(seeds: impl IntoIterator<Item = u64>) -> impl Iterator<Item = u64> {
    let said = std::env::var_os(SEED_VARIABLE);
    let most = if said.is_some() { 1 } else { usize::MAX };
    // What is no number is an error of the simulation.
    let said: Option<u64> = said.and_then(|text| text.to_str()?.parse().ok());
    seeds.into_iter().take(most).map(move |seed| said.unwrap_or(seed))
}

impl Simulation {
    /// A simulation without ranks. Everything that is left to chance follows from `seed`; if the environment variable
    /// `EDGEMPI_SIM_SEED` is set, its number takes the place of `seed`, to see a failure again.
    pub fn new(seed: u64) -> Self {
        let seed = match std::env::var(SEED_VARIABLE) {
            Err(std::env::VarError::NotPresent) => Ok(seed),
            Ok(text) => text.parse().map_err(|_| Error::invalid(format!("{SEED_VARIABLE}={text} is no number"))),
            Err(error) => Err(Error::invalid(format!("{SEED_VARIABLE}: {error}"))),
        };
        Self { seed, ..Self::exactly(0) }
    }

    /// As [`new`](Self::new), whatever the environment says: for programs that compare seeds, or that have a way of their
    /// own to be told one. The variable that a failure names has no effect then.
    pub fn exactly(seed: u64) -> Self {
        Self {
            seed: Ok(seed),
            config: Config::new(),
            registry: Registry::new(),
            classes: Vec::new(),
            ranks: Vec::new(),
            limits: None,
            hub_end: None,
            limit: LIMIT,
            sink: None,
            nobody: None,
        }
    }

    /// Adds `count` ranks of a class; the first that are added have the lowest numbers.
    pub fn ranks(mut self, count: u32, class: Class) -> Self {
        let number = self.classes.len() as u32;
        self.classes.push(class);
        // More than there can be are as many as one too many.
        let room = (MAX_SIZE as usize + 1).saturating_sub(self.ranks.len());
        self.ranks.extend((0..count).map(|_| number).take(room));
        self
    }

    /// Changes what one rank is like, which was added before.
    pub fn rank(mut self, rank: u32, change: impl FnOnce(Class) -> Class) -> Self {
        let number = self.classes.len() as u32;
        let Some(place) = self.ranks.get_mut(rank as usize) else {
            self.nobody.get_or_insert(rank);
            return self;
        };
        let before = std::mem::replace(place, number);
        let class = change(self.classes[before as usize].clone());
        self.classes.push(class);
        self
    }

    /// The operations of the hub.
    pub fn operations(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Settings of the world: its sizes, how long the hub waits for ranks to come. What this leaves unset has its
    /// default; the environment has no say.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Changes limits of the hub that hosts can not set: how long it may be silent, say, or how far a giver may be ahead.
    pub fn hub_limits(mut self, change: impl FnOnce(&mut HubLimits) + 'static) -> Self {
        self.limits = Some(Box::new(change));
        self
    }

    /// The hub's process dies at this time: every connection is closed, and all that waits fails.
    pub fn hub_crash(mut self, at: Duration) -> Self {
        self.hub_end = Some((moment(at), HubEnd::Death(Death::Crash)));
        self
    }

    /// The hub's power goes at this time: it says nothing any more, so that ranks learn of it when it has not answered
    /// their pings in time.
    pub fn hub_power_loss(mut self, at: Duration) -> Self {
        self.hub_end = Some((moment(at), HubEnd::Death(Death::PowerLoss)));
        self
    }

    /// The hub is shut down at this time, as an operator would: it says goodbye first.
    pub fn hub_shutdown(mut self, at: Duration) -> Self {
        self.hub_end = Some((moment(at), HubEnd::ShutDown));
        self
    }

    /// How much virtual time the programs get; 30 days, if this is not said.
    pub fn limit(mut self, time: Duration) -> Self {
        self.limit = time;
        self
    }

    /// Hands out every line of the trace as it happens: to print it, or to look for something in it.
    ///
    /// ```
    /// # use edgempi::sim::{Class, Simulation};
    /// let simulation = Simulation::new(1).ranks(2, Class::server()).trace(|entry| println!("{entry}"));
    /// # simulation.run(|rank| async move { rank.barrier().await }).unwrap();
    /// ```
    pub fn trace(mut self, line: impl FnMut(&Entry<'_>) + 'static) -> Self {
        self.sink = Some(Box::new(line));
        self
    }

    /// Runs `program` on every rank: it is called once the world is there, as a program's main goes on after
    /// [`edgempi::init`](crate::init), and its rank leaves the world when it ends: in good order if it returns a value,
    /// as one that failed if it returns an error.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the run could not go on: programs that wait for what can not happen any more, that panic, or that
    /// take longer than [`limit`](Self::limit); and if what was set up makes no sense. What single ranks met is in the [outcome](Outcome::results).
    pub fn run<T, F>(self, program: impl Fn(Rank) -> F) -> Result<Outcome<T>, Stopped>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let seed = self.seed.clone().unwrap_or_default();
        let stopped = |at: Duration, trace, reason| Stopped { seed, at, trace, reason };
        let says_seed = SaysSeed(seed);
        let limit = self.limit;
        let (mut world, message_size) =
            self.set_up().map_err(|error| stopped(Duration::ZERO, Trace::new(None).hash(), Reason::Setup(error)))?;
        let desk = world.desk.clone();
        let size = world.sides.len() as u32;
        let programs = world.sides.iter().enumerate().map(|(number, side)| {
            let node = side.node.clone();
            let id = CommunicatorId { id: 0, rank: edgempi_core::Rank::new(number as u32), size };
            let comm = Comm::world(node.clone(), id, message_size);
            let slowness = world.classes[side.class as usize].slowness;
            live(Rank::new(comm, node, desk.clone(), slowness), &program)
        });
        let mut executor = Executor::new(&desk, programs);
        let ended = executor.run(&mut world, limit);
        world.close();
        let trace = world.trace.hash();
        match ended {
            Err(reason) => Err(stopped(world.now.since(Instant::ZERO), trace, reason)),
            Ok(()) => {
                let results = executor.into_results();
                Ok(Outcome { results, report: world.into_report(), trace, seed: says_seed })
            }
        }
    }

    /// Whether what was said makes sense.
    fn check(&self) -> Result<(), Error> {
        if let Some(rank) = self.nobody {
            return Err(Error::invalid(format!(
                "rank {rank} is to be changed before it is there: add ranks with ranks(..) first; there are {}",
                self.ranks.len()
            )));
        }
        let nonsense = self.classes.iter().find_map(|class| class.nonsense.clone());
        nonsense.map_or(Ok(()), |nonsense| Err(Error::invalid(nonsense)))
    }

    /// The world before anything has happened, and the size of a message in it.
    fn set_up(self) -> Result<(World, usize), Error> {
        let seed = self.seed.clone()?;
        self.check()?;
        let size = self.ranks.len() as u32;
        let resolved = self.config.size(size).rank(0).resolve_from(NAMES, |_| None)?;
        let mut sessions = Generator::new(seed, SESSIONS);
        let sessions = u128::from(sessions.next()) << 64 | u128::from(sessions.next());
        let mut limits = hub::Config { seed: sessions, ..hub_config(&resolved) };
        if let Some(change) = self.limits {
            change(&mut limits);
            limits.size = size;
        }
        let desk = Arc::new(Desk::default());
        let nodes = self.ranks.iter().enumerate().map(|(number, class)| {
            let number_of_class = *class;
            let class = &self.classes[*class as usize];
            let config = endpoint::Config {
                kind: RankKind::Virtual,
                max_payload: class.max_payload,
                open_parts: class.open_parts,
                max_silence: class.silence,
                ..endpoint::Config::host(edgempi_core::Rank::new(number as u32), size)
            };
            let generator = Generator::new(seed, (number as u64) << 2 | 3);
            Node::new(desk.clone(), config, resolved.world.clone(), generator, number_of_class)
        });
        let setup = Setup {
            seed,
            hub: Hub::new(Instant::ZERO, limits, self.registry),
            nodes: nodes.collect(),
            classes: self.classes,
            ranks: self.ranks,
            hub_end: self.hub_end,
            limit: self.limit,
            trace: Trace::new(self.sink),
        };
        let message_size = usize::try_from(resolved.message_size).unwrap_or(usize::MAX);
        Ok((World::new(desk, setup), message_size))
    }
}

/// What a rank's process does: it joins, waits for the others as [`init`](crate::init) does, and runs its program.
async fn live<T, F>(rank: Rank, program: &impl Fn(Rank) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    rank.joined().await?;
    rank.comm().barrier().await?;
    program(rank).await
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("seed", &self.seed).field("ranks", &self.ranks.len()).finish_non_exhaustive()
    }
}
