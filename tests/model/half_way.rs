//! Calls that a rank drops half way, and messages of which one side does.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use edgempi::{Comm, Communicator, Error, Rank, Status};

use crate::model::{as_bytes, received};
use crate::plan::View;
use crate::play::{Outcome, Pace};
use crate::values::{Sample, bytes, elements};

/// Polls a future once.
pub async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Polls `call`, with pauses, until it is done or there were enough of them, and drops it then.
pub async fn give_up<F: Future>(mut call: Pin<Box<F>>, pauses: u32, pace: &impl Pace) -> Option<F::Output> {
    for _ in 0..pauses {
        if let Some(output) = poll_once(call.as_mut()).await {
            return Some(output);
        }
        pace.pause(1).await;
    }
    // Even one that is dropped at once has been started: the others count on it.
    poll_once(call.as_mut()).await
}

/// Two messages with one tag, the first of which its sender or its receiver gives up. Whatever becomes of that one, the
/// second arrives, and nothing arrives twice or behind it.
pub struct TwoMessages<'a, P> {
    pub comm: &'a Comm,
    pub view: View<'a>,
    pub from: u32,
    pub to: u32,
    pub sender_gives_up: bool,
    pub pauses: u32,
    pub pace: &'a P,
}

impl<P: Pace> TwoMessages<'_, P> {
    /// This rank's part in it.
    pub async fn take_part<T: Sample>(&self) -> Outcome {
        match self.view.own {
            own if own == self.from => self.send::<T>().await,
            own if own == self.to => self.receive::<T>().await,
            _ => Outcome::Right,
        }
    }

    /// How many elements a message has: the second is short.
    fn len(&self, number: u32) -> usize {
        if number == 0 { self.view.part.len } else { 2 }
    }

    async fn send<T: Sample>(&self) -> Outcome {
        let Self { comm, to, .. } = *self;
        let tag = self.view.tag(0);
        let [first, second] = [0, 1].map(|number| elements::<T>(self.view.at, self.from, number, self.len(number)));
        let (first, second) = if self.sender_gives_up {
            let lent = Box::pin(async { Communicator::send(comm, to, tag, &first).await.map(drop) });
            let first = give_up(lent, self.pauses, self.pace).await.unwrap_or(Ok(()));
            (first, comm.send(to, tag, second).await)
        } else {
            // Both are under way before one is waited for.
            let [first, second] = [first, second].map(|data| comm.send(to, tag, data));
            (first.await, second.await)
        };
        match (first, second) {
            (Ok(()), Ok(())) => Outcome::Right,
            // Its receiver had matched it, and let it go.
            (Err(Error::Cancelled { rank, .. }), Ok(())) if self.is(rank, to) && !self.sender_gives_up => {
                Outcome::Right
            }
            (Err(error), _) | (_, Err(error)) => Outcome::Failed(error),
        }
    }

    async fn receive<T: Sample>(&self) -> Outcome {
        let Self { comm, from, .. } = *self;
        let tag = self.view.tag(0);
        let message = |number| {
            let data = bytes(self.view.at, from, number, self.len(number) * size_of::<T>());
            received(from, tag, &data)
        };
        let (first, second) = (message(0), message(1));
        let as_sent = |came: &(Vec<T>, Status)| received(came.1.source.get(), came.1.tag.0, &as_bytes(&came.0));
        let mut may_be_first = true;
        if !self.sender_gives_up {
            match give_up(Box::pin(comm.recv::<T>(from, tag)), self.pauses, self.pace).await {
                None => {}
                Some(Ok(came)) if as_sent(&came) == first => may_be_first = false,
                Some(Ok(_)) => return Outcome::Wrong("the first message is another one".to_owned()),
                Some(Err(error)) => return Outcome::Failed(error),
            }
        }
        loop {
            match comm.recv::<T>(from, tag).await {
                Ok(came) => {
                    let came = as_sent(&came);
                    if came == second {
                        return Outcome::Right;
                    }
                    if !may_be_first || came != first {
                        return Outcome::Wrong(format!("a message of {} bytes that was not sent", came.len()));
                    }
                }
                // Its sender took it back in the middle.
                Err(Error::Cancelled { rank, .. }) if self.sender_gives_up && may_be_first && self.is(rank, from) => {}
                Err(error) => return Outcome::Failed(error),
            }
            may_be_first = false;
        }
    }

    /// Whether `rank` of the world is `own` here.
    fn is(&self, rank: Rank, own: u32) -> bool {
        rank == self.view.part.members[own as usize]
    }
}
