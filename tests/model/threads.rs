//! Programs over real links: every rank on a thread of its own.

use std::sync::{Mutex, PoisonError};
use std::thread;

use edgempi::{Config, World, block_on};
use edgempi_core::hub;
use edgempi_tests::links::Link;

use crate::calls::operations;
use crate::plan::{Plan, Setting};
use crate::play::{End, Journal, Outcome, Pace, Player};
use crate::program::{Limits, Program};
use crate::verdict::{Played, judge};

/// Bytes of a rank that the hub holds before anybody asks for them: less than a frame, so that messages wait.
const QUEUE: usize = 64 << 10;

/// A rank dies when it comes to this step.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    pub rank: u32,
    pub step: usize,
}

/// What a rank writes its outcomes to, which outlives it.
pub struct Notes(Mutex<Vec<Option<Outcome>>>);

impl Notes {
    pub fn new(plan: &Plan) -> Self {
        Self(Mutex::new(vec![None; plan.steps.len()]))
    }

    pub fn into_outcomes(self) -> Vec<Option<Outcome>> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for &Notes {
    fn write(&self, step: usize, outcome: Outcome) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[step] = Some(outcome);
    }
}

/// Real time.
struct Real;

impl Pace for Real {
    async fn pause(&self, length: u32) {
        for _ in 0..length * 4 {
            thread::yield_now();
        }
    }
}

/// Runs a program over a link.
///
/// # Errors
///
/// What was wrong.
pub fn run(link: Link, program: &Program, death: Option<Death>) -> Result<(), String> {
    let limits = hub::Config::new(program.size);
    let limits = Limits { frame: limits.max_payload as usize, window: limits.window as usize, queue: QUEUE };
    let death = death.map(|Death { rank, step }| Death { rank: rank % program.size, step: step % program.steps.len() });
    let plan = Plan::new(program, Setting { limits, may_die: death.is_some(), is_simulated: false });
    let worlds = link(program.size, &Config::new().queue_size(QUEUE as u64), &operations());
    let notes: Vec<Notes> = worlds.iter().map(|_| Notes::new(&plan)).collect();
    let ends = thread::scope(|scope| {
        let play = |(world, notes): (World, _)| {
            let plan = &plan;
            scope.spawn(move || play(world, plan, notes, death))
        };
        let playing: Vec<_> = worlds.into_iter().zip(&notes).map(play).collect();
        playing.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut ranks = Vec::new();
    for (rank, (end, notes)) in ends.into_iter().zip(notes).enumerate() {
        let (end, finalized) = end.map_err(|_| format!("rank {rank} panicked"))?;
        finalized.map_err(|error| format!("rank {rank} can not finalize: {error}"))?;
        ranks.push(Played { outcomes: notes.into_outcomes(), end: Some(end) });
    }
    judge(&plan, death.map(|death| death.rank), &ranks)
}

/// How a rank ended, and how it left.
type Ended = (Result<End, edgempi::Error>, Result<(), edgempi::Error>);

fn play(world: World, plan: &Plan, notes: &Notes, death: Option<Death>) -> Ended {
    let dies_at = death.filter(|death| world.rank() == death.rank).map(|death| death.step);
    let player = Player { plan, world: world.comm(), pace: &Real, journal: &notes, dies_at };
    let end = block_on(player.play());
    match end {
        Ok(End::Done) => (end, world.finalize().wait()),
        // Dropped, the world has failed.
        _ => (end, Ok(())),
    }
}
