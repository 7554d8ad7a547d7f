//! Programs in the simulator, under faults that are generated and shrunk like the programs.

use std::time::Duration;

use edgempi::Config;
use edgempi::sim::{Class, Direction, Failure, Rank, Simulation, TraceHash};
use proptest::prelude::*;

use crate::calls::operations;
use crate::plan::{Plan, Setting};
use crate::play::{End, Pace, Player};
use crate::played;
use crate::program::{Limits, Program};
use crate::threads::Notes;
use crate::verdict::{Played, judge};

/// What befalls a world.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// The simulation's.
    pub seed: u64,
    pub frame: u32,
    pub window: u64,
    pub window_total: u64,
    pub queue: u64,
    /// By rank.
    pub links: Vec<Conditioned>,
    pub partitions: Vec<Partition>,
    pub death: Option<Death>,
}

/// A rank and its link.
#[derive(Clone, Copy, Debug)]
pub struct Conditioned {
    /// In milliseconds, and so much more at random.
    pub latency: u64,
    pub jitter: u64,
    /// Of a hundred packets.
    pub loss: u32,
    pub bandwidth: Option<u64>,
    pub buffer: u64,
    pub frame: u32,
    pub parts: u16,
    pub slowness: u32,
}

/// Nothing passes a rank's link for a while, which ends before anybody loses patience. In milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    pub rank: u32,
    pub direction: Option<bool>,
    pub at: u64,
    pub length: u64,
}

/// A rank dies, after so many milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    pub rank: u32,
    pub at: u64,
    pub power: bool,
}

const RANKS: usize = 9;
/// Longer than any fault but death: packets are lost several times in a row now and then, each time for twice as long.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Any conditions; `dies` says whether some rank dies.
pub fn conditions(dies: bool) -> impl Strategy<Value = Conditions> {
    let frame = prop::sample::select(vec![256_u32, 1000, 4096, 65_536]);
    let window = prop::sample::select(vec![1024_u64, 2048, 8192]);
    let window_total = prop::sample::select(vec![1 << 24, 65_536, 4096_u64]);
    let queue = prop::sample::select(vec![65_536_u64, 4096, 1024]);
    let links = prop::collection::vec(link(), RANKS);
    let partition = (0..RANKS as u32, prop::option::of(any::<bool>()), 0_u64..4000, 1_u64..5000)
        .prop_map(|(rank, direction, at, length)| Partition { rank, direction, at, length });
    let partitions = prop::collection::vec(partition, 0..3);
    let death = (0..RANKS as u32, 0_u64..4000, any::<bool>()).prop_map(|(rank, at, power)| Death { rank, at, power });
    let death = death.prop_map(move |death| dies.then_some(death));
    let limits = (any::<u64>(), frame, window, window_total, queue);
    (limits, links, partitions, death).prop_map(
        |((seed, frame, window, window_total, queue), links, partitions, death)| Conditions {
            seed,
            frame,
            window,
            window_total,
            queue,
            links,
            partitions,
            death,
        },
    )
}

fn link() -> impl Strategy<Value = Conditioned> {
    let latency = prop_oneof![Just(0_u64), 1_u64..60];
    let jitter = prop_oneof![Just(0_u64), 1_u64..60];
    let loss = prop_oneof![2 => Just(0_u32), 1 => 1_u32..20];
    let bandwidth = prop::option::of(20_000_u64..2_000_000);
    let frame = prop::sample::select(vec![65_536_u32, 1024, 300, 64]);
    let parts = prop::sample::select(vec![256_u16, 2, 1]);
    let rest = (1000_u64..20_000, frame, parts, prop_oneof![3 => Just(1_u32), 1 => 2_u32..20]);
    (latency, jitter, loss, bandwidth, rest).prop_map(
        |(latency, jitter, loss, bandwidth, (buffer, frame, parts, slowness))| Conditioned {
            latency,
            jitter,
            loss,
            bandwidth,
            buffer,
            frame,
            parts,
            slowness,
        },
    )
}

impl Conditioned {
    fn class(self) -> Class {
        let class = Class::ideal()
            .latency(Duration::from_millis(self.latency))
            .jitter(Duration::from_millis(self.jitter))
            .loss(f64::from(self.loss) / 100.0)
            .buffer(self.buffer)
            .max_payload(self.frame)
            .open_parts(self.parts)
            .silence(PATIENCE)
            .slowness(f64::from(self.slowness));
        match self.bandwidth {
            Some(bytes) => class.bandwidth(bytes),
            None => class,
        }
    }
}

impl Partition {
    fn befall(self, class: Class) -> Class {
        let time = Duration::from_millis(self.at)..Duration::from_millis(self.at + self.length);
        match self.direction {
            None => class.partition(time),
            Some(true) => class.partition_one_way(Direction::Up, time),
            Some(false) => class.partition_one_way(Direction::Down, time),
        }
    }
}

impl Conditions {
    fn simulation(&self, size: u32) -> Simulation {
        let mut simulation = Simulation::exactly(self.seed);
        for link in self.links.iter().take(size as usize) {
            simulation = simulation.ranks(1, link.class());
        }
        for partition in self.partitions.iter().filter(|partition| partition.rank < size) {
            simulation = simulation.rank(partition.rank, |class| partition.befall(class));
        }
        if let Some(Death { rank, at, power }) = self.death {
            let at = Duration::from_millis(at);
            let kill = |class: Class| if power { class.power_loss(at) } else { class.crash(at) };
            simulation = simulation.rank(rank % size, kill);
        }
        let Self { frame, window, window_total, .. } = *self;
        let limits = simulation.hub_limits(move |limits| {
            (limits.max_payload, limits.window, limits.window_total) = (frame, window, window_total);
            (limits.max_silence, limits.hello_wait) = (PATIENCE, PATIENCE);
        });
        limits.config(Config::new().queue_size(self.queue).wait(PATIENCE)).operations(operations())
    }
}

/// Virtual time.
struct Virtual(Rank);

impl Pace for Virtual {
    async fn pause(&self, length: u32) {
        self.0.compute(Duration::from_millis(u64::from(length) * 3)).await;
    }
}

/// Runs a program in the simulator, some of them twice.
///
/// # Errors
///
/// What was wrong.
pub fn run(program: &Program, conditions: &Conditions) -> Result<(), String> {
    let trace = run_once(program, conditions)?;
    if conditions.seed.is_multiple_of(8) && run_once(program, conditions)? != trace {
        return Err("the same seed gives another trace".to_owned());
    }
    Ok(())
}

fn run_once(program: &Program, conditions: &Conditions) -> Result<TraceHash, String> {
    let Conditions { frame, window, queue, death, .. } = conditions;
    let limits = Limits { frame: *frame as usize, window: *window as usize, queue: *queue as usize };
    let plan = Plan::new(program, Setting { limits, may_die: death.is_some(), is_simulated: true });
    let notes: Vec<Notes> = (0..program.size).map(|_| Notes::new(&plan)).collect();
    let outcome = conditions.simulation(program.size).run(|rank| {
        let (plan, notes) = (&plan, &notes[rank.rank().index()]);
        async move {
            let world = rank.comm().clone();
            Player { plan, world, pace: &Virtual(rank), journal: &notes, dies_at: None }.play().await
        }
    });
    let outcome = outcome.map_err(|stopped| stopped.to_string())?;
    let dead = death.map(|death| death.rank % program.size);
    let trace = outcome.trace;
    let status = outcome.report.hub.ok_or("the hub is gone")?;
    let held = (status.operations, status.queued, status.windows);
    if held != (0, 0, 0) || (dead.is_none() && !outcome.report.failed.is_empty()) {
        return Err(format!("the hub is left with {status:?}, and {:?} have failed", outcome.report.failed));
    }
    let end = |result: Result<End, Failure>| match result {
        Ok(end) => Some(Ok(end)),
        Err(Failure::Error(error)) => Some(Err(error)),
        // It died.
        Err(_) => None,
    };
    let ends: Vec<_> = outcome.results.into_iter().map(end).collect();
    let ranks: Vec<Played> =
        ends.into_iter().zip(notes).map(|(end, notes)| Played { outcomes: notes.into_outcomes(), end }).collect();
    judge(&plan, dead, &ranks)?;
    played::note(format!("{} ranks", program.size));
    Ok(trace)
}
