//! How one rank plays a program: it starts its calls in their order, has several in flight, and asks for their results in
//! an order of its own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use edgempi::{Comm, Communicator, Error, Rank, Request};

use crate::calls::perform;
use crate::model::{expected, received};
use crate::plan::{Plan, Planned, View, said};
use crate::program::{Call, Form};
use crate::values::{elements, hash, with_type};

/// How many calls are in flight at the most.
const IN_FLIGHT: usize = 8;

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
        let mut families: Vec<Option<Comm>> = vec![Some(world)];
        let mut open: Vec<Activity<'_>> = Vec::new();
        for (at, step) in plan.steps.iter().enumerate() {
            if dies_at == Some(at) {
                return Ok(End::Died);
            }
            if dice.below(4) == 0 {
                pace.pause(dice.below(20) as u32).await;
            }
            let comm = families.get(step.family).cloned().flatten();
            if let Some((comm, view)) = comm.zip(plan.view(at, own)) {
                begin(comm, view, step, pace, journal, &mut families, &mut open).await?;
            }
            families
                .resize(families.len().max(step.makes + usize::from(matches!(step.call, Call::Split { .. }))), None);
            while open.len() > IN_FLIGHT || (!open.is_empty() && dice.below(3) == 0) {
                let (step, activity) = open.swap_remove(dice.below(open.len()));
                journal.write(step, activity.await);
            }
        }
        while !open.is_empty() {
            let (step, activity) = open.swap_remove(dice.below(open.len()));
            journal.write(step, activity.await);
        }
        Ok(End::Done)
    }
}

/// Begins one step; what is not done at once is added to those that are `open`.
async fn begin<'a>(
    comm: Comm,
    view: View<'a>,
    step: &Planned,
    pace: &impl Pace,
    journal: &impl Journal,
    families: &mut Vec<Option<Comm>>,
    open: &mut Vec<Activity<'a>>,
) -> Result<(), Error> {
    assert_eq!((comm.rank().get(), comm.size()), (view.own, view.size()), "another communicator");
    match *view.call {
        Call::Split { colors, seed } => {
            let new = if colors == 0 {
                comm.dup().await.map(Some)
            } else {
                let (color, key) = said(colors, seed, view.own);
                comm.split(color, key).await
            };
            let outcome = new.as_ref().map_or_else(|error| Outcome::Failed(error.clone()), |_| Outcome::Right);
            journal.write(view.at, outcome);
            families.resize(step.makes, None);
            families.push(new?);
        }
        Call::Free => {
            if step.family > 0 {
                families[step.family] = None;
            }
            journal.write(view.at, Outcome::Right);
        }
        Call::Messages { from, to, .. } if step.given_up.is_some() && view.rank(from) != view.rank(to) => {
            let outcome = given_up_message(&comm, &view, step, pace).await;
            journal.write(view.at, outcome);
        }
        _ => {
            let mut call = Box::pin(perform(comm.clone(), view));
            let own = view.part.members[view.own as usize];
            let may_be_given_up = !matches!(view.call, Call::Messages { .. });
            if let Some((_, pauses)) = step.given_up.filter(|(rank, _)| may_be_given_up && *rank == own) {
                let outcome = give_up(call, pauses, pace).await;
                journal.write(view.at, outcome.map_or(Outcome::GivenUp, |result| judge(&view, result)));
                return Ok(());
            }
            // Polled once, it is started.
            let early = poll_once(call.as_mut()).await;
            match early {
                Some(result) => journal.write(view.at, judge(&view, result)),
                None => open.push((view.at, Box::pin(async move { judge(&view, call.await) }))),
            }
        }
    }
    Ok(())
}

/// Compares what came with the model, bit by bit.
fn judge(view: &View<'_>, result: Result<Vec<Vec<u8>>, Error>) -> Outcome {
    let pieces = match result {
        Ok(pieces) => pieces,
        Err(error) => return Outcome::Failed(error),
    };
    let right = expected(view);
    if pieces == right {
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

/// Polls `call`, with pauses, until it is done or there were enough of them, and drops it then.
async fn give_up<F: Future>(mut call: Pin<Box<F>>, pauses: u32, pace: &impl Pace) -> Option<F::Output> {
    for _ in 0..pauses {
        if let Some(output) = poll_once(call.as_mut()).await {
            return Some(output);
        }
        pace.pause(1).await;
    }
    // Even one that is dropped at once has been started: the others count on it.
    poll_once(call.as_mut()).await
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context: &mut Context<'_>| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Two messages with one tag, the first of which its sender or its receiver gives up. Whatever becomes of that one, the
/// second arrives, and nothing arrives twice or behind it.
async fn given_up_message(comm: &Comm, view: &View<'_>, step: &Planned, pace: &impl Pace) -> Outcome {
    let (Call::Messages { from, to, data, .. }, Some((who, pauses))) = (view.call, step.given_up) else {
        return Outcome::Right;
    };
    let (from, to, tag) = (view.rank(*from), view.rank(*to), view.tag(0));
    let sender_gives_up = who.is_multiple_of(2);
    let kind = data.kind;
    // The second is short, and of the same elements.
    let len = |number: u32| if number == 0 { view.part.len } else { 2 };
    if data.form == Form::Object {
        // Objects have lengths of their own; this is about the call.
        return Outcome::Right;
    }
    if view.own == from {
        with_type!(kind, T => {
            let [first, second] = [0, 1].map(|number| elements::<T>(view.at, from, number, len(number)));
            let first = if sender_gives_up {
                let lent = Box::pin(async { Communicator::send(comm, to, tag, &first).await.map(drop) });
                give_up(lent, pauses, pace).await.unwrap_or(Ok(()))
            } else {
                let sent = comm.send(to, tag, first);
                let second = comm.send(to, tag, second);
                return sent_both(view, to, sent.await, second.await);
            };
            sent_both(view, to, first, comm.send(to, tag, second).await)
        })
    } else if view.own == to {
        with_type!(kind, T => {
            let message = |number| received(from, tag, &crate::values::bytes(view.at, from, number, len(number) * size_of::<T>()));
            let (first, second) = (message(0), message(1));
            let mut may_be_first = true;
            if !sender_gives_up {
                let taken = give_up(Box::pin(comm.recv::<T>(from, tag)), pauses, pace).await;
                match taken {
                    None => {}
                    Some(Ok((data, status))) => {
                        if received(status.source.get(), status.tag.0, &crate::model::as_bytes(&data)) != first {
                            return Outcome::Wrong("the first message is another one".to_owned());
                        }
                        may_be_first = false;
                    }
                    Some(Err(error)) => return Outcome::Failed(error),
                }
            }
            loop {
                let request: Request<'_, _> = comm.recv::<T>(from, tag);
                match request.await {
                    Ok((data, status)) => {
                        let came = received(status.source.get(), status.tag.0, &crate::model::as_bytes(&data));
                        if came == second {
                            return Outcome::Right;
                        }
                        if !may_be_first || came != first {
                            return Outcome::Wrong(format!("a message of {} bytes that was not sent", came.len()));
                        }
                        may_be_first = false;
                    }
                    // The sender took it back in the middle.
                    Err(Error::Cancelled { rank, .. }) if sender_gives_up && may_be_first && is_member(view, rank, from) => {
                        may_be_first = false;
                    }
                    Err(error) => return Outcome::Failed(error),
                }
            }
        })
    } else {
        Outcome::Right
    }
}

/// Whether `rank` of the world is `own` here.
fn is_member(view: &View<'_>, rank: Rank, own: u32) -> bool {
    rank == view.part.members[own as usize]
}

fn sent_both(view: &View<'_>, to: u32, first: Result<(), Error>, second: Result<(), Error>) -> Outcome {
    match (first, second) {
        (Ok(()), Ok(())) => Outcome::Right,
        // Its receiver had matched it, and let it go.
        (Err(Error::Cancelled { rank, .. }), Ok(())) if is_member(view, rank, to) => Outcome::Right,
        (Err(error), _) | (_, Err(error)) => Outcome::Failed(error),
    }
}

/// Random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = hash(&[self.0]);
        (self.0 % end as u64) as usize
    }
}
