//! How one rank plays a program: it starts its calls in their order, has several in flight, and asks for their results in
//! an order of its own.

use std::future::Future;
use std::pin::Pin;

use edgempi::{Comm, Error};

use crate::calls::perform;
use crate::communicators;
use crate::half_way::{TwoMessages, give_up, poll_once};
use crate::model::expected;
use crate::plan::{Plan, Planned, View};
use crate::played;
use crate::program::{Call, Form, GivenUp};
use crate::values::{hash, with_type};

/// How many calls are in flight at the most.
const IN_FLIGHT: usize = 12;

/// What became of a step on one rank.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The result is that of the model.
    Right,
    /// It is not.
    Wrong(String),
    Failed(Error),
    /// This rank dropped it.
    GivenUp,
}

/// What passes the time.
pub trait Pace {
    /// A moment, longer or shorter.
    fn pause(&self, length: u32) -> impl Future<Output = ()>;
}

/// Where the outcomes are written, by step.
pub trait Journal {
    fn write(&self, step: usize, outcome: Outcome);
}

type Activity<'a> = (usize, Pin<Box<dyn Future<Output = Outcome> + 'a>>);

/// One rank of a world at play.
pub struct Player<'a, P, J> {
    pub plan: &'a Plan,
    pub world: Comm,
    pub pace: &'a P,
    pub journal: &'a J,
    /// It ends here, as a rank that died.
    pub dies_at: Option<usize>,
}

/// How a rank's program ends.
#[derive(Debug)]
pub enum End {
    /// It has done everything.
    Done,
    /// It was to die.
    Died,
}

impl<P: Pace, J: Journal> Player<'_, P, J> {
    /// Plays the program.
    ///
    /// # Errors
    ///
    /// What a split met: there is no going on without its communicators.
    pub async fn play(self) -> Result<End, Error> {
        let Self { plan, world, pace, journal, dies_at } = self;
        let own = world.rank().get();
        let mut dice = Dice(hash(&[plan.pace, own.into()]));
        // Some ask for results soon, others have many calls in flight.
        let laziness = 2 + dice.below(8);
        let mut table = Table { pace, journal, families: vec![Some(world)], open: Vec::new() };
        for (at, step) in plan.steps.iter().enumerate() {
            if dies_at == Some(at) {
                return Ok(End::Died);
            }
            if dice.below(4) == 0 {
                pace.pause(dice.below(20) as u32).await;
            }
            let comm = table.families.get(step.family).cloned().flatten();
            if let Some((comm, view)) = comm.zip(plan.view(at, own)) {
                table.begin(comm, view, step).await?;
            } else if matches!(step.call, Call::Split { .. }) && step.given_up.is_none() {
                table.families.resize(step.makes + 1, None);
            }
            while table.open.len() > IN_FLIGHT || (!table.open.is_empty() && dice.below(laziness) == 0) {
                table.complete(dice.below(table.open.len())).await;
            }
        }
        while !table.open.is_empty() {
            table.complete(dice.below(table.open.len())).await;
        }
        Ok(End::Done)
    }
}

/// What a rank has before it: its communicators, and its calls in flight.
struct Table<'a, P, J> {
    pace: &'a P,
    journal: &'a J,
    families: Vec<Option<Comm>>,
    open: Vec<Activity<'a>>,
}

impl<'a, P: Pace, J: Journal> Table<'a, P, J> {
    /// Begins one step; what is not done at once is added to those that are open.
    async fn begin(&mut self, comm: Comm, view: View<'a>, step: &Planned) -> Result<(), Error> {
        assert_eq!((comm.rank().get(), comm.size()), (view.own, view.size()), "another communicator");
        match *view.call {
            Call::Split { by, seed } if step.given_up.is_none() => {
                let new = communicators::perform(&comm, &view, by, seed).await;
                let outcome = new.as_ref().map_or_else(|error| Outcome::Failed(error.clone()), |_| Outcome::Right);
                self.journal.write(view.at, outcome);
                self.families.resize(step.makes, None);
                self.families.push(new?);
                played::note_as(view.call, "right");
            }
            Call::Free => {
                if step.family > 0 {
                    self.families[step.family] = None;
                    played::note_as(view.call, "right");
                }
                self.journal.write(view.at, Outcome::Right);
            }
            Call::Messages { from, to, data, .. } if view.rank(from) != view.rank(to) && data.form != Form::Object => {
                match step.given_up {
                    // Objects have lengths of their own; this is about the call.
                    Some(given_up) => {
                        let (from, to) = (view.rank(from), view.rank(to));
                        let messages = TwoMessages { comm: &comm, view, from, to, given_up, pace: self.pace };
                        let outcome = with_type!(data.kind, T => messages.take_part::<T>().await);
                        self.journal.write(view.at, outcome);
                    }
                    None => self.start(comm, view).await,
                }
            }
            Call::Messages { .. } => self.start(comm, view).await,
            _ => {
                let own = view.part.members[view.own as usize];
                match step.given_up {
                    Some(GivenUp { rank, after, .. }) if rank == own => {
                        let call = Box::pin(perform(comm, view, self.pace));
                        let outcome = give_up(view.call, call, after, self.pace).await;
                        let outcome = outcome.map_or(Outcome::GivenUp, |result| judge(&view, result));
                        self.journal.write(view.at, outcome);
                    }
                    _ => self.start(comm, view).await,
                }
            }
        }
        Ok(())
    }

    /// Starts a call: polled once, it is. Some have to be made at once.
    async fn start(&mut self, comm: Comm, view: View<'a>) {
        if view.is_made_at_once() {
            self.journal.write(view.at, judge(&view, perform(comm, view, self.pace).await));
            return;
        }
        let mut call = Box::pin(perform(comm, view, self.pace));
        match poll_once(call.as_mut()).await {
            Some(result) => self.journal.write(view.at, judge(&view, result)),
            None => self.open.push((view.at, Box::pin(async move { judge(&view, call.await) }))),
        }
    }

    /// Waits for one of the calls in flight.
    async fn complete(&mut self, which: usize) {
        let (step, activity) = self.open.swap_remove(which);
        self.journal.write(step, activity.await);
    }
}

/// Compares what came with the model, bit by bit.
fn judge(view: &View<'_>, result: Result<Vec<Vec<u8>>, Error>) -> Outcome {
    let pieces = match result {
        Ok(pieces) => pieces,
        Err(error) => return Outcome::Failed(error),
    };
    let right = expected(view);
    if pieces == right {
        played::note_as(view.call, "right");
        if view.call.form() != Form::Persistent {
            played::note_as(view.call, &format!("{:?}", view.call.form()));
        }
        return Outcome::Right;
    }
    let lengths = |pieces: &[Vec<u8>]| pieces.iter().map(Vec::len).collect::<Vec<usize>>();
    let differs = pieces.iter().zip(&right).enumerate().find_map(|(number, (came, right))| {
        let byte = came.iter().zip(right).position(|(came, right)| came != right)?;
        Some(format!("; piece {number} differs from byte {byte} on"))
    });
    Outcome::Wrong(format!(
        "pieces of {:?} bytes, and not {:?}{}",
        lengths(&pieces),
        lengths(&right),
        differs.unwrap_or_default()
    ))
}

/// Random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = hash(&[self.0]);
        (self.0 % end as u64) as usize
    }
}
