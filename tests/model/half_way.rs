//! Calls that a rank drops half way, and messages of which one side drops or cancels its call.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use edgempi::{Comm, Communicator, Error, Rank, Status};

use crate::model::{as_bytes, received};
use crate::plan::View;
use crate::play::{Outcome, Pace};
use crate::played::{self, played};
use crate::program::{Call, Form, GivenUp};
use crate::values::{Sample, bytes, elements, zeros};

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

/// Polls `making`, which makes `call`, with pauses, until it is done or there were enough of them, and drops it then.
pub async fn give_up<F: Future>(
    call: &Call,
    mut making: Pin<Box<F>>,
    pauses: u32,
    pace: &impl Pace,
) -> Option<F::Output> {
    for _ in 0..pauses {
        if let Some(output) = poll_once(making.as_mut()).await {
            return Some(output);
        }
        pace.pause(1).await;
    }
    // Even one that is dropped at once has been started: the others count on it.
    let output = poll_once(making.as_mut()).await;
    if output.is_none() {
        played::note_as(call, "dropped");
    }
    output
}

/// Two messages with one tag, the first of which its sender or its receiver gives up. Whatever becomes of that one, the
/// second arrives, and nothing arrives twice or behind it.
///
/// Who drops a call does not know what became of it. Who cancels it does: the sender's second message says whether the
/// first was withdrawn, and a receiver that withdrew its receive loses nothing.
pub struct TwoMessages<'a, P> {
    pub comm: &'a Comm,
    pub view: View<'a>,
    pub from: u32,
    pub to: u32,
    pub given_up: GivenUp,
    pub pace: &'a P,
}

/// What is known of the first message when the second comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum First {
    Unknown,
    Withdrawn,
    Sent,
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

    fn sender_gives_up(&self) -> bool {
        self.given_up.rank.is_multiple_of(2)
    }

    fn first_len(&self) -> usize {
        self.view.part.len
    }

    /// The second is short, and says what became of the first.
    fn second_len(first: First) -> usize {
        match first {
            First::Unknown => 2,
            First::Withdrawn => 3,
            First::Sent => 4,
        }
    }

    async fn pause(&self) {
        for _ in 0..self.given_up.after {
            self.pace.pause(1).await;
        }
    }

    fn is_persistent(&self) -> bool {
        self.view.call.form() == Form::Persistent
    }

    /// Sends, and takes it back if it can.
    async fn take_back_send<T: Sample>(&self, data: Vec<T>) -> Result<Option<()>, Error> {
        let Self { comm, to, .. } = *self;
        let tag = self.view.tag(0);
        if !self.is_persistent() {
            let send = played!(Comm, comm, send(to, tag, data));
            self.pause().await;
            return played!(Request, send, cancel()).await;
        }
        let given = as_bytes(&data);
        let mut send = played!(Comm, comm, send_init(to, tag, data));
        send.start()?;
        self.pause().await;
        let sent = played!(Persistent, send, cancel()).await?;
        assert!(send.into_buffer().is_some_and(|data| as_bytes(&data) == given), "it is back as it was");
        Ok(sent)
    }

    /// Posts a receive, and takes it back if it can.
    async fn take_back_receive<T: Sample>(&self) -> Result<Option<(Vec<T>, Status)>, Error> {
        let Self { comm, from, .. } = *self;
        let tag = self.view.tag(0);
        if !self.is_persistent() {
            let receive = played!(Comm, comm, recv::<T>(from, tag));
            self.pause().await;
            return played!(Request, receive, cancel()).await;
        }
        let mut receive = played!(Comm, comm, recv_init(from, tag, zeros::<T>(self.first_len())));
        receive.start()?;
        self.pause().await;
        let came = played!(Persistent, receive, cancel()).await?;
        let data = receive.into_buffer().expect("it is back");
        Ok(came.map(|status| (data, status)))
    }

    async fn send<T: Sample>(&self) -> Outcome {
        let Self { comm, to, .. } = *self;
        let tag = self.view.tag(0);
        let first = elements::<T>(self.view.at, self.from, 0, self.first_len());
        let second = |known| elements::<T>(self.view.at, self.from, 1, Self::second_len(known));
        let (first, second) = if self.sender_gives_up() && self.given_up.cancels {
            let first = self.take_back_send(first).await;
            let known = if matches!(first, Ok(None)) { First::Withdrawn } else { First::Sent };
            (first.map(drop), played!(Comm, comm, send(to, tag, second(known))).await)
        } else if self.sender_gives_up() {
            let lent = Box::pin(async { played!(Communicator::send(comm, to, tag, &first)).await.map(drop) });
            let first = give_up(self.view.call, lent, self.given_up.after, self.pace).await.unwrap_or(Ok(()));
            (first, played!(Comm, comm, send(to, tag, second(First::Unknown))).await)
        } else {
            // Both are under way before one is waited for.
            let known = if self.given_up.cancels { First::Sent } else { First::Unknown };
            let [first, second] = [first, second(known)].map(|data| played!(Comm, comm, send(to, tag, data)));
            (first.await, second.await)
        };
        match (first, second) {
            (Ok(()), Ok(())) => Outcome::Right,
            // Its receiver had matched it, and let it go.
            (Err(Error::Cancelled { rank, .. }), Ok(())) if self.is_dropped_by(rank, to) => Outcome::Right,
            (Err(error), _) | (_, Err(error)) => Outcome::Failed(error),
        }
    }

    async fn receive<T: Sample>(&self) -> Outcome {
        let Self { comm, from, .. } = *self;
        let tag = self.view.tag(0);
        let message = |number, len| {
            let data = bytes(self.view.at, from, number, len * size_of::<T>());
            received(from, tag, &data)
        };
        let first = message(0, self.first_len());
        let as_sent = |came: (Vec<T>, Status)| received(came.1.source.get(), came.1.tag.0, &as_bytes(&came.0));
        let mut first_came = false;
        let mut is_lost = false;
        if !self.sender_gives_up() {
            let came = match self.given_up.cancels {
                true => self.take_back_receive().await.transpose(),
                false => {
                    let receive = Box::pin(played!(Comm, comm, recv::<T>(from, tag)));
                    give_up(self.view.call, receive, self.given_up.after, self.pace).await
                }
            };
            match came.map(|came| came.map(as_sent)) {
                None => {}
                Some(Ok(came)) if came == first => first_came = true,
                Some(Ok(_)) => return Outcome::Wrong("the first message is another one".to_owned()),
                Some(Err(error)) => return Outcome::Failed(error),
            }
        }
        loop {
            let came = match played!(Comm, comm, recv::<T>(from, tag)).await.map(as_sent) {
                Ok(came) => came,
                // Its sender took it back in the middle.
                Err(Error::Cancelled { rank, .. }) if !is_lost && !first_came && self.is_dropped_by(rank, from) => {
                    is_lost = true;
                    continue;
                }
                Err(error) => return Outcome::Failed(error),
            };
            let second = [First::Unknown, First::Withdrawn, First::Sent];
            let second = second.into_iter().find(|known| came == message(1, Self::second_len(*known)));
            match second {
                // A first message of the same length may look like it, but comes first.
                None if came == first && !first_came && !is_lost => first_came = true,
                None => return Outcome::Wrong(format!("a message of {} bytes that was not sent", came.len())),
                Some(known) => return self.ended(known, first_came),
            }
        }
    }

    /// What it is when the second message says so much of the first.
    fn ended(&self, known: First, first_came: bool) -> Outcome {
        match (known, first_came) {
            (First::Unknown, _) if !self.given_up.cancels => Outcome::Right,
            (First::Withdrawn, false) | (First::Sent, true) if self.given_up.cancels => Outcome::Right,
            _ => Outcome::Wrong(format!("the first is said to be {known:?}, and has come: {first_came}")),
        }
    }

    /// Whether `rank` of the world is `own` here, and drops its call.
    fn is_dropped_by(&self, rank: Rank, own: u32) -> bool {
        let gives_up = if self.sender_gives_up() { self.from } else { self.to };
        !self.given_up.cancels && gives_up == own && rank == self.view.part.members[own as usize]
    }
}
