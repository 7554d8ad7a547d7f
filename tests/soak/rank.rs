//! A process with some of the ranks of one world.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::exit;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use edgempi::{Builder, Comm, Error, World};
use edgempi_tests::joining;

use crate::calls::{Caller, Started};
use crate::plan::{Call, Fate, Kind, Plan, Random, Step, color_and_key};

/// No world takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(100);

/// What the ranks of a process have done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Calls that have been waited for.
    pub calls: u64,
    /// Those that failed, as they had to.
    pub failed: u64,
    /// Bytes sent and received.
    pub bytes: u64,
}

impl Done {
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.bytes += other.bytes;
    }

    pub fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.strip_prefix("done ")?.split(' ').map_while(|number| number.parse().ok());
        Some(Self { calls: numbers.next()?, failed: numbers.next()?, bytes: numbers.next()? })
    }
}

/// Runs the ranks of process `index`. Says `ready` when the world may lose ranks, and `done` with three numbers. A
/// process that is to be killed waits for it then.
pub fn run(hub: SocketAddr, size: u32, seed: u64, index: usize) {
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        eprintln!("the world hangs: it has not ended after {PATIENCE:?}");
        exit(1);
    });
    let plan = Plan::new(size, seed);
    let is_traitor = |rank: u32| plan.fate == Fate::Betrayed(rank);
    let ranks: Vec<u32> = plan.processes[index].clone().filter(|rank| !is_traitor(*rank)).collect();
    let joining: Vec<_> = ranks.iter().map(|rank| Builder::new().config(joining(hub, size, *rank)).init()).collect();
    let worlds: Vec<World> = joining.into_iter().map(|init| init.wait().expect("the rank joins")).collect();
    let opened = Barrier::new(worlds.len() + 1);
    let mut done = Done::default();
    thread::scope(|scope| {
        let (plan, opened) = (&plan, &opened);
        let running: Vec<_> = worlds.into_iter().map(|world| scope.spawn(|| live(plan, world, opened))).collect();
        opened.wait();
        say("ready");
        for rank in running {
            done.add(rank.join().unwrap_or_else(|_| exit(1)));
        }
    });
    say(&format!("done {} {} {}", done.calls, done.failed, done.bytes));
}

fn say(text: &str) {
    println!("{text}");
    io::stdout().flush().expect("somebody listens");
}

/// One rank's life.
fn live(plan: &Plan, world: World, opened: &Barrier) -> Done {
    let mut rank = Living {
        rank: world.rank().get(),
        plan,
        comms: vec![Some(world.comm())],
        done: Done::default(),
        random: Random(plan.seed ^ (u64::from(world.rank().get()) << 32)),
    };
    for step in &plan.opening {
        rank.take(step);
    }
    opened.wait();
    for step in &plan.steps {
        rank.take(step);
    }
    rank.comms.clear();
    while plan.is_lost(rank.rank) {
        // Its process is killed now, if it has not been earlier.
        thread::park();
    }
    // The world lasts until its strangers have had their say.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    let traffic = world.traffic();
    rank.done.bytes = traffic.sent + traffic.received;
    world.finalize().wait().unwrap_or_else(|error| rank.complain(&format!("finalize: {error:?}")));
    rank.done
}

struct Living<'a> {
    rank: u32,
    plan: &'a Plan,
    /// This rank's communicator of each family.
    comms: Vec<Option<Comm>>,
    done: Done,
    random: Random,
}

impl Living<'_> {
    fn complain(&self, what: &str) -> ! {
        let Plan { size, seed, fate, .. } = self.plan;
        eprintln!("rank {} of {size}, seed {seed} ({fate:?}): {what}", self.rank);
        exit(1);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Split { parent, seed } => self.split(*parent, *seed),
            Step::Free { family } => self.comms[*family] = None,
            Step::Batch(calls) => self.batch(calls),
        }
    }

    fn split(&mut self, parent: usize, seed: u64) {
        let new = self.comms.len();
        let expected = self.plan.group(new, self.rank).map(<[u32]>::to_vec);
        // Where somebody dies, the plan has no such communicator.
        let takes_part = self
            .plan
            .group(parent, self.rank)
            .is_some_and(|group| new <= self.plan.opening.len() || group.iter().all(|rank| !self.plan.is_lost(*rank)));
        let comm = match &self.comms[parent] {
            Some(comm) if takes_part => {
                let (color, key) = color_and_key(seed, self.rank);
                comm.split(color, key).wait().unwrap_or_else(|error| self.complain(&format!("split: {error:?}")))
            }
            _ => None,
        };
        let place = comm.as_ref().map(|comm| (comm.rank().index(), comm.size() as usize));
        let right = expected.map(|group| {
            let own = group.iter().position(|rank| *rank == self.rank);
            (own.expect("its own group"), group.len())
        });
        if place != right {
            self.complain(&format!("split: rank and size are {place:?} instead of {right:?}"));
        }
        self.comms.push(comm);
    }

    fn batch(&mut self, calls: &[Call]) {
        let mut started = Vec::new();
        for call in calls {
            let Some(comm) = &self.comms[call.family] else { continue };
            let group = self.plan.group(call.family, self.rank).unwrap_or_else(|| self.complain("no group"));
            let caller = Caller { comm, group, is_lost: &|rank| self.plan.is_lost(rank) };
            caller.start(*call, &mut started);
        }
        while !started.is_empty() {
            let next = self.random.below(started.len());
            self.judge(started.swap_remove(next));
        }
    }

    /// A result is right; a failure is of a rank that the call needs, and that dies.
    fn judge(&mut self, started: Started) {
        self.done.calls += 1;
        let (call, needs) = (started.call, started.needs.clone());
        let is_given_up = call.kind == Kind::GivenUp;
        let is_excused = |error: &Error| match error {
            Error::RankFailed { ranks, .. } => {
                ranks.iter().all(|rank| self.plan.is_lost(rank.get()))
                    && needs.iter().any(|rank| self.plan.is_lost(*rank))
            }
            Error::Cancelled { rank, .. } => is_given_up && needs[call.chosen(needs.len())] == rank.get(),
            // Somebody has heard that the call was given up, and has left since.
            Error::RankFinished { rank, .. } => is_given_up && needs.contains(&rank.get()),
            _ => false,
        };
        match started.wait() {
            Ok(Ok(())) => {}
            Ok(Err(wrong)) => self.complain(&format!("{call:?}: {wrong}")),
            Err(error) if is_excused(&error) => self.done.failed += 1,
            Err(error) => self.complain(&format!("{call:?} fails: {error:?}")),
        }
    }
}
