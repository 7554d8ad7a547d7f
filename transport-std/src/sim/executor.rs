//! Runs the programs of all ranks on this thread: each is polled when it was woken, and what they ask for is done in
//! between.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use edgempi_core::wire::GoodbyeReason;
use edgempi_core::{Instant, Rank};

use super::orders::{Desk, TaskWaker};
use super::stopped::{Failure, Reason, Waiting};
use super::world::{Step, World};
use crate::error::Error;

/// How often programs may be polled, all ranks together, without any time passing: this, and more for each rank.
const MOST_POLLS: u64 = 1_000_000;
const MOST_POLLS_OF_RANK: u64 = 1000;
/// How often a program may test requests without giving the thread back in between.
const MOST_TESTS: u64 = 1_000_000;

thread_local! {
    static POLLING: Cell<bool> = const { Cell::new(false) };
    /// Requests that were tested since a program was last polled.
    static TESTS: Cell<u64> = const { Cell::new(0) };
}

/// Panics if this thread is that of a simulation: to block it would stop all of its ranks.
#[track_caller]
pub(crate) fn forbid_blocking() {
    assert!(
        !POLLING.get(),
        "a program in a simulation waits for something in a way that blocks its thread, which all ranks share: \
         `.await` it, where it says wait() or block_on(..)"
    );
}

/// Whether this thread is that of a simulation, in which a program runs.
pub(crate) fn is_simulating() -> bool {
    POLLING.get()
}

/// Counts a request that is tested; panics if this thread is that of a simulation, and a program tests without an end:
/// nothing can come of it while it does.
#[track_caller]
pub(crate) fn forbid_testing_in_a_loop() {
    if POLLING.get() {
        let tests = TESTS.get() + 1;
        TESTS.set(tests);
        assert!(
            tests <= MOST_TESTS,
            "a program in a simulation asks test() over and over, and the thread that all ranks share never gets on: \
             `.await` something in the loop, sleep(..) for one"
        );
    }
}

/// Says that programs are being polled on this thread, until it is dropped.
struct Polling(bool);

impl Polling {
    fn begin() -> Self {
        TESTS.set(0);
        Self(POLLING.replace(true))
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        POLLING.set(self.0);
    }
}

struct Task<F, T> {
    /// `None` once it has ended.
    future: Option<Pin<Box<F>>>,
    wakes: Arc<TaskWaker>,
    waker: Waker,
    result: Option<Result<T, Failure>>,
}

/// The programs of all ranks.
pub(super) struct Executor<F, T> {
    tasks: Vec<Task<F, T>>,
    running: usize,
    /// Polls since time last moved.
    polls: u64,
    polled_at: Instant,
}

impl<T, F: Future<Output = Result<T, Error>>> Executor<F, T> {
    /// A program for each rank, to be polled.
    pub(super) fn new(desk: &Arc<Desk>, futures: impl Iterator<Item = F>) -> Self {
        let task = |(number, future)| {
            let wakes = TaskWaker::woken(desk.clone(), number);
            let waker = Waker::from(wakes.clone());
            Task { future: Some(Box::pin(future)), wakes, waker, result: None }
        };
        let tasks: Vec<_> = futures.enumerate().map(task).collect();
        Self { running: tasks.len(), tasks, polls: 0, polled_at: Instant::ZERO }
    }

    /// Runs until every program has ended and all has been said.
    pub(super) fn run(&mut self, world: &mut World, limit: Duration) -> Result<(), Reason> {
        loop {
            self.poll_woken(world)?;
            if self.running == 0 && world.is_over() {
                return Ok(());
            }
            match world.step() {
                Step::Happened => {}
                // Whoever is still to be heard of is not to be waited for.
                Step::Nothing | Step::TimeLimit if self.running == 0 => return Ok(()),
                Step::Nothing => return Err(Reason::Deadlock { waiting: self.waiting(world) }),
                Step::TimeLimit => return Err(Reason::TimeLimit { limit, waiting: self.waiting(world) }),
            }
        }
    }

    fn poll_woken(&mut self, world: &mut World) -> Result<(), Reason> {
        loop {
            while let Some(rank) = world.died.pop() {
                self.end(world, rank, Err(Failure::Died { at: world.now.since(Instant::ZERO) }));
            }
            world.carry_out();
            let Some(rank) = world.desk.next_woken() else { return Ok(()) };
            self.poll(world, rank)?;
        }
    }

    fn poll(&mut self, world: &mut World, rank: usize) -> Result<(), Reason> {
        let Some(task) = self.tasks.get_mut(rank) else { return Ok(()) };
        let Some(future) = &mut task.future else { return Ok(()) };
        task.wakes.taken();
        self.polls = if self.polled_at == world.now { self.polls + 1 } else { 1 };
        self.polled_at = world.now;
        let who = Rank::new(rank as u32);
        if self.polls > MOST_POLLS + MOST_POLLS_OF_RANK * world.sides.len() as u64 {
            return Err(Reason::Spinning { rank: who, polls: self.polls });
        }
        world.note_work();
        let polled = {
            let _polling = Polling::begin();
            let mut context = Context::from_waker(&task.waker);
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)))
        };
        match polled {
            Ok(Poll::Pending) => Ok(()),
            Ok(Poll::Ready(result)) => {
                self.end(world, rank, result.map_err(Failure::Error));
                Ok(())
            }
            Err(panic) => Err(Reason::Panicked { rank: who, message: message(&*panic) }),
        }
    }

    /// A program has ended, or its rank died.
    fn end(&mut self, world: &mut World, rank: usize, result: Result<T, Failure>) {
        let Some(task) = self.tasks.get_mut(rank) else { return };
        let died = matches!(result, Err(Failure::Died { .. }));
        // What it holds goes first, as locals of a main do before its world: requests that nobody waits for any more.
        let had_future = task.future.take().is_some();
        if had_future {
            self.running -= 1;
            world.carry_out();
            if !died {
                let reason = if result.is_ok() { GoodbyeReason::Finished } else { GoodbyeReason::Dropped };
                world.leave(rank, reason);
            }
            task.result = Some(result);
        }
        if died {
            world.bury(rank);
        }
    }

    /// Who has not ended, and what each waits for.
    fn waiting(&self, world: &World) -> Vec<Waiting> {
        let open = self.tasks.iter().enumerate().filter(|(_, task)| task.future.is_some());
        open.map(|(rank, _)| {
            let state = world.sides[rank].node.state();
            let mut calls: Vec<String> = state.waiting().collect();
            if state.joined.get().is_none() {
                calls.push("joining the world".to_owned());
            }
            Waiting { rank: Rank::new(rank as u32), calls }
        })
        .collect()
    }

    /// What each program came to.
    pub(super) fn into_results(self) -> Vec<Result<T, Failure>> {
        let missing = || Err(Failure::Error(Error::Finalized));
        self.tasks.into_iter().map(|task| task.result.unwrap_or_else(missing)).collect()
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it did not say why").to_owned()
}
