//! Requests that are given up: at every poll, of every kind of call, on every rank that takes part. Nothing is
//! corrupted, the others get their result or learn who gave up, and the world goes on.

mod calls;
mod messages;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::hub::{HubStatus, Registry};
use edgempi::{Comm, Communicator, Config, Error, Operation, Rank, Request, Sum, World};
use edgempi_tests::{both_kinds_of_worlds, on_ranks};

use calls::{First, block, rank_of};

const SIZE: u32 = 3;
/// Neither the first rank nor the last, nor the one beside the hub.
const ROOT: u32 = 1;
/// Elements of a message that fits a frame, and of one that is longer than some windows. The size divides them.
const SMALL: usize = 3;
const LARGE: usize = 240_000;
/// How often a call is given up at another stage of its large messages.
const STAGES: u64 = 8;

/// When a request is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Patience {
    Endless,
    /// After so many polls.
    Polls(u32),
    /// Once so many bytes have moved on the link, either way.
    Bytes(u64),
}

/// A call that one rank gives up.
struct Trial {
    len: usize,
    /// A number that no other trial has.
    number: u32,
    /// When this rank gives up, if it is the one that does.
    patience: Patience,
    /// Bytes that had moved on its link before.
    moved: u64,
    /// It leaks its request instead of dropping it.
    forgets: bool,
}

/// What became of a call on one rank.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// It had its result, and that was right.
    Done,
    GivenUp,
    /// This rank gave up.
    Cancelled(Rank),
    /// A message whose sender gave up before anybody took it.
    TakenBack,
}

type Call = dyn Fn(&World, &Trial) -> Outcome + Sync;

/// A call, as every rank makes it.
struct Kind {
    name: &'static str,
    call: Box<Call>,
    /// By rank: whether the others fail when it gives up, or go on.
    cancels: [bool; SIZE as usize],
    /// How many ranks give it up in turn.
    droppers: u32,
}

/// A call that owns its buffers.
fn goes_on(name: &'static str, call: impl Fn(&World, &Trial) -> Outcome + Sync + 'static) -> Kind {
    Kind { name, call: Box::new(call), cancels: [false; 3], droppers: SIZE }
}

/// A call that borrows them.
fn cancels(name: &'static str, call: impl Fn(&World, &Trial) -> Outcome + Sync + 'static) -> Kind {
    Kind { name, call: Box::new(call), cancels: [true; 3], droppers: SIZE }
}

impl Outcome {
    /// Borrowed memory has changed, from what it was `before`, if and only if the call is done.
    fn check(self, memory: &[u32], before: &[u32], after: &[u32]) -> Self {
        let expected = if self == Outcome::Done { after } else { before };
        assert!(memory == expected, "{self:?}, and the memory is not what it should be");
        self
    }
}

/// Polls `request` until it is done, or given up. Before each poll something has moved, as when a waker wakes.
fn drive<T>(world: &World, trial: &Trial, mut request: Request<'_, T>) -> Option<Result<T, Error>> {
    let (mut polls, mut seen) = (0, None);
    loop {
        let is_enough = match trial.patience {
            Patience::Endless => return Some(request.wait()),
            Patience::Polls(most) => polls == most,
            Patience::Bytes(most) => moved(world) - trial.moved >= most,
        };
        if is_enough {
            break;
        }
        while !request.test() && seen == Some(moved(world)) {
            thread::yield_now();
        }
        seen = Some(moved(world));
        match Pin::new(&mut request).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => return Some(result),
            Poll::Pending => polls += 1,
        }
    }
    if trial.forgets {
        std::mem::forget(request);
    }
    None
}

/// Bytes that a rank has sent and received.
fn moved(world: &World) -> u64 {
    let traffic = world.traffic();
    traffic.sent + traffic.received
}

/// Drives `request`, and has its result looked at.
fn attempt<T>(world: &World, trial: &Trial, request: Request<'_, T>, is_right: impl FnOnce(T) -> bool) -> Outcome {
    match drive(world, trial, request) {
        None => Outcome::GivenUp,
        Some(Ok(result)) => {
            assert!(is_right(result), "a wrong result");
            Outcome::Done
        }
        Some(Err(Error::Cancelled { rank, reason })) => {
            assert!(reason.contains(&format!("rank {rank}")), "it does not say who: {reason}");
            Outcome::Cancelled(rank)
        }
        Some(Err(error)) => panic!("{error}"),
    }
}

/// Everything works: a barrier, a reduction, messages. Returns whether some rank says `flag`.
fn assert_usable(comm: &Comm, flag: bool) -> bool {
    let rank = comm.rank().get();
    comm.barrier().wait().unwrap();
    let sum = comm.allreduce([rank + 1, rank * 10, flag.into()], Sum).wait().unwrap();
    assert_eq!(sum[..2], [1 + 2 + 3, 10 + 20]);
    let sent = comm.send((rank + 1) % SIZE, u32::MAX, [rank; 9]);
    let (came, _) = comm.recv::<u32>((rank + 2) % SIZE, u32::MAX).wait().unwrap();
    assert_eq!(came, [(rank + 2) % SIZE; 9]);
    sent.wait().unwrap();
    sum[2] > 0
}

/// Says what was tried when something panics.
struct Tried(String);

impl Drop for Tried {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("this was {}", self.0);
        }
    }
}

/// The trials of one rank.
struct Trials<'w> {
    world: &'w World,
    kinds: &'w [Kind],
    len: usize,
    forgets: bool,
    number: u32,
}

impl Trials<'_> {
    /// Every rank in turn gives each call up: after 0 polls, 1 poll and so on, until it is done before that; then after
    /// one part of its bytes has moved, two parts and so on.
    fn run(mut self) {
        for kind in self.kinds {
            let bytes = self.bytes_of(kind);
            for dropper in 0..kind.droppers {
                let mut polls = 0..;
                while !self.give_up(kind, dropper, polls.next().map(Patience::Polls)) {}
                for stage in 1..STAGES {
                    self.give_up(kind, dropper, Some(Patience::Bytes(bytes * stage / STAGES)));
                }
            }
        }
        self.assert_forgotten_by_the_hub();
    }

    /// The hub holds nothing of anything any more, once all have been answered.
    fn assert_forgotten_by_the_hub(&self) {
        let (comm, start) = (self.world.comm(), Instant::now());
        let held = |status: HubStatus| (status.operations, status.queued, status.windows);
        comm.barrier().wait().unwrap();
        if rank_of(self.world) != 0 {
            // Nothing new, until it has been looked at.
            comm.recv::<u8>(0, u32::MAX).wait().unwrap();
            return;
        }
        while let Some(status) = self.world.hub_status()
            && held(status) != (0, 0, 0)
        {
            assert!(start.elapsed() < Duration::from_secs(10), "the hub still holds something: {status:?}");
            thread::yield_now();
        }
        for other in 1..SIZE {
            comm.send(other, u32::MAX, [0u8]).wait().unwrap();
        }
    }

    /// How many bytes a call moves on this rank's link if nobody gives up.
    fn bytes_of(&mut self, kind: &Kind) -> u64 {
        let before = moved(self.world);
        self.give_up(kind, 0, None);
        moved(self.world) - before
    }

    /// Has one rank give a call up, if any. Returns whether it was done before.
    fn give_up(&mut self, kind: &Kind, dropper: u32, patience: Option<Patience>) -> bool {
        let (comm, rank, len) = (self.world.comm(), rank_of(self.world), self.len);
        let _tried = Tried(format!("{} of {len}: rank {dropper} gives up after {patience:?}", kind.name));
        self.number += 1;
        let patience = patience.filter(|_| rank == dropper).unwrap_or(Patience::Endless);
        let (number, forgets) = (self.number, self.forgets);
        // Other messages are under way meanwhile.
        let (to, from) = ((rank + 1) % SIZE, (rank + 2) % SIZE);
        let came = comm.recv::<u32>(from, u32::MAX - 1);
        let sent = comm.send(to, u32::MAX - 1, block(rank, to, len / 4));

        let trial = Trial { len, number, patience, moved: moved(self.world), forgets };
        let outcome = (kind.call)(self.world, &trial);
        let may_fail = kind.cancels[dropper as usize] && !forgets && rank != dropper;
        match outcome {
            Outcome::Done => {}
            Outcome::GivenUp => assert_ne!(patience, Patience::Endless),
            Outcome::Cancelled(by) => assert!(may_fail && by == dropper, "rank {by} gave up?"),
            Outcome::TakenBack => assert!(may_fail, "the message was lost"),
        }

        assert!(came.wait().unwrap().0 == block(from, rank, len / 4), "another message was damaged");
        sent.wait().unwrap();
        assert_usable(&comm, rank == dropper && outcome != Outcome::GivenUp)
    }
}

fn on_both_kinds_of_worlds(kinds: &[Kind], large: usize, forgets: bool) {
    let mut operations = Registry::new();
    operations.insert(First::NAME, First::VERSION, First);
    // So that little of a large message goes ahead of its credit.
    let config = Config::new().queue_size(64 << 10);
    for (links, worlds) in both_kinds_of_worlds(&operations, &config, SIZE) {
        let _tried = Tried(format!("over {links}"));
        on_ranks(worlds, |world| {
            Trials { world, kinds, len: SMALL, forgets, number: 0 }.run();
            Trials { world, kinds, len: large, forgets, number: 1 << 20 }.run();
        });
    }
}

#[test]
fn requests_that_own_their_buffers_go_on_when_they_are_dropped() {
    on_both_kinds_of_worlds(&calls::owned(), LARGE, false);
}

#[test]
fn requests_on_objects_go_on_when_they_are_dropped() {
    on_both_kinds_of_worlds(&calls::objects(), LARGE, false);
}

#[test]
fn requests_in_place_fail_on_all_ranks_when_they_are_dropped() {
    on_both_kinds_of_worlds(&calls::in_place(), LARGE, false);
}

#[test]
fn requests_that_borrow_fail_on_all_ranks_when_they_are_dropped() {
    on_both_kinds_of_worlds(&calls::borrowed(), LARGE, false);
}

#[test]
fn messages_that_are_given_up_leave_the_next_ones_alone() {
    on_both_kinds_of_worlds(&messages::messages(), LARGE, false);
}

#[test]
fn requests_that_borrow_go_on_when_they_are_forgotten() {
    on_both_kinds_of_worlds(&calls::in_place(), LARGE, true);
    on_both_kinds_of_worlds(&messages::messages(), LARGE, true);
}

#[test]
fn memory_that_a_forgotten_request_borrowed_is_its_owners() {
    for (_, worlds) in both_kinds_of_worlds(&Registry::new(), &Config::new(), SIZE) {
        on_ranks(worlds, |world| {
            let (comm, rank) = (world.comm(), rank_of(world));
            let mut lent = vec![vec![rank; LARGE]; 4];
            let [reduced, copied, came, into] = lent.as_mut_slice() else { unreachable!("there are four") };
            let sent = comm.send((rank + 1) % SIZE, 1, block(rank, 0, LARGE));
            std::mem::forget(comm.allreduce_in_place(reduced, Sum));
            std::mem::forget(Communicator::bcast(&comm, ROOT, copied));
            std::mem::forget(comm.recv_into((rank + 2) % SIZE, 1, came));
            // Nobody sends this one: it is still open when the world ends.
            std::mem::forget(comm.recv_into((rank + 2) % SIZE, 2, into));
            for memory in &mut lent {
                memory.fill(77);
            }
            sent.wait().unwrap();
            assert_usable(&comm, false);
            // By now all of it has come.
            assert_eq!(comm.allreduce(block(rank, 0, LARGE), Sum).wait().unwrap(), calls::total(LARGE));
            assert!(lent.iter().flatten().all(|number| *number == 77), "somebody wrote to memory that was not lent");
        });
    }
}
