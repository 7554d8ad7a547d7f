//! Messages from rank 0 to rank 1, given up by one of them.

use edgempi::{Communicator, Request, World};

use super::calls::{block, rank_of, zeros};
use super::{Kind, Outcome, Patience, Trial, attempt};

/// How a message is sent and received.
struct Message {
    name: &'static str,
    send: fn(&World, &Trial, &[u32]) -> Outcome,
    /// What came, unless the receive was given up or failed.
    recv: fn(&World, &Trial) -> (Outcome, Vec<u32>),
    /// Whether a send that is given up takes its message back.
    takes_back: bool,
}

fn received(world: &World, trial: &Trial, request: Request<'_, Vec<u32>>) -> (Outcome, Vec<u32>) {
    let mut came = Vec::new();
    let outcome = attempt(world, trial, request, |data| {
        came = data;
        true
    });
    (outcome, came)
}

const MESSAGES: &[Message] = &[
    Message {
        name: "send and recv",
        send: |world, trial, data| attempt(world, trial, world.comm().send(1, trial.number, data), |()| true),
        recv: |world, trial| received(world, trial, world.comm().recv(0, trial.number).map(|(data, _)| data)),
        takes_back: false,
    },
    Message {
        name: "send and recv_into",
        send: |world, trial, data| attempt(world, trial, world.comm().send(1, trial.number, data), |()| true),
        recv: |world, trial| {
            let mut data = zeros(trial.len);
            let mut len = 0;
            let request = world.comm().recv_into(0, trial.number, &mut data);
            let outcome = attempt(world, trial, request, |status| {
                len = status.count::<u32>().expect("whole elements");
                true
            });
            assert!(data[len..].iter().all(|number| *number == 0), "memory behind the message has changed");
            data.truncate(len);
            (outcome, data)
        },
        takes_back: false,
    },
    Message {
        name: "Communicator::send and recv",
        send: |world, trial, data| {
            let comm = world.comm();
            attempt(world, trial, Communicator::send(&comm, 1, trial.number, data), |_| true)
        },
        recv: |world, trial| {
            let (comm, mut data, mut len) = (world.comm(), zeros(trial.len), 0);
            let outcome = attempt(world, trial, Communicator::recv(&comm, 0, trial.number, &mut data), |status| {
                len = status.count::<u32>().expect("whole elements");
                true
            });
            assert!(data[len..].iter().all(|number| *number == 0), "memory behind the message has changed");
            data.truncate(len);
            (outcome, data)
        },
        takes_back: true,
    },
    Message {
        name: "send and recv of an object",
        send: |world, trial, data| attempt(world, trial, world.comm().objects().send(1, trial.number, data), |()| true),
        recv: |world, trial| received(world, trial, world.comm().objects().recv(0, trial.number).map(|(data, _)| data)),
        takes_back: false,
    },
];

impl Message {
    /// A message from rank 0 to rank 1, given up by one of them, and a second one that nobody gives up.
    fn run(&self, world: &World, trial: &Trial) -> Outcome {
        let (first, second) = (block(0, 1, trial.len), block(0, 2, 2));
        let patient = Trial { patience: Patience::Endless, ..*trial };
        match rank_of(world) {
            0 => {
                let outcome = (self.send)(world, trial, first);
                assert_eq!((self.send)(world, &patient, second), Outcome::Done);
                outcome
            }
            1 => {
                let (outcome, came) = (self.recv)(world, trial);
                if outcome == Outcome::Done && came == second {
                    return Outcome::TakenBack;
                }
                assert!(outcome != Outcome::Done || came == first, "a wrong message");
                loop {
                    let (again, came) = (self.recv)(world, &patient);
                    if again == Outcome::Done && came == second {
                        return outcome;
                    }
                    // Nobody had taken the first one yet.
                    assert_eq!(outcome, Outcome::GivenUp);
                    assert!(again == Outcome::Done && came == first, "{again:?}, or a wrong message");
                }
            }
            _ => Outcome::Done,
        }
    }
}

pub fn messages() -> Vec<Kind> {
    let kind = |message: &'static Message| {
        let call = Box::new(|world: &World, trial: &Trial| message.run(world, trial));
        Kind { name: message.name, call, cancels: [message.takes_back, true, false], droppers: 2 }
    };
    MESSAGES.iter().map(kind).collect()
}
