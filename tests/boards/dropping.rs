//! Calls that are given up, on a board and beside one: at every poll, of every kind of call. Whoever gives up and whoever
//! does not: the next call works.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use edgempi::hub::Registry;
use edgempi::{Builder, Error, Group, Operation, Rank, Sum};
use edgempi_core::{Category, Communicator, ReduceOp};
use edgempi_embassy::{Comm, Memory, Options, Port, join};
use edgempi_tests::{LoneHub, Watchdog, joining};
use every_call::ScaledSum;

use crate::SocketPort;
use crate::sleeping::{Driver, StdClock, drive};

/// The host is rank 0, the board rank 1.
const SIZE: u32 = 2;
/// Room for what leaves the board: a message of many elements takes many polls.
const CAPACITY: usize = 600;
const LENS: [usize; 2] = [3, 1500];
/// Bytes that move in one poll, about.
const STEP: usize = 150;
/// No call takes so many polls.
const ENDLESS: u32 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Barrier,
    Bcast(u32),
    Gather(u32),
    Scatter(u32),
    Allgather,
    Alltoall,
    Reduce(u32),
    Allreduce,
    AllreduceInPlace,
    /// A message from this rank to the other one.
    Message(u32),
    /// Each gives the other one.
    Sendrecv,
    Split,
    Object(u32),
    Apply,
    Functions,
}

const KINDS: [Kind; 21] = [
    Kind::Barrier,
    Kind::Bcast(0),
    Kind::Bcast(1),
    Kind::Gather(0),
    Kind::Gather(1),
    Kind::Scatter(0),
    Kind::Scatter(1),
    Kind::Allgather,
    Kind::Alltoall,
    Kind::Reduce(0),
    Kind::Reduce(1),
    Kind::Allreduce,
    Kind::AllreduceInPlace,
    Kind::Message(0),
    Kind::Message(1),
    Kind::Sendrecv,
    Kind::Split,
    Kind::Object(0),
    Kind::Object(1),
    Kind::Apply,
    Kind::Functions,
];

#[derive(Clone, Copy, Debug)]
struct Trial {
    kind: Kind,
    rank: u32,
    len: usize,
    /// A tag that no other trial has.
    number: u32,
}

/// How a call ended that nobody here gave up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Done,
    /// The other side gave it up.
    Cancelled,
    Failed,
}

type Fill = Box<dyn FnMut(usize, &mut [u8])>;
type Take = Box<dyn FnMut(usize, &[u8])>;
type Attempt<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// The buffers of a call, and what is in them when it is done.
struct Space {
    from: Vec<f32>,
    to: Vec<f32>,
    expected: Vec<f32>,
    send: Vec<u8>,
    receive: Vec<u8>,
    fill: Fill,
    take: Take,
    taken: Rc<RefCell<Vec<u8>>>,
}

fn given(rank: u32, len: usize) -> Vec<f32> {
    (0..len).map(|at| (rank as usize * 500 + at) as f32 / 4.0).collect()
}

impl Space {
    fn new(trial: &Trial) -> Self {
        let Trial { kind, rank, len, .. } = *trial;
        let (own, other, none) = (given(rank, len), given(1 - rank, len), vec![0.0; len]);
        let both = [given(0, len), given(1, len)].concat();
        let sum: Vec<f32> = own.iter().zip(&other).map(|(own, other)| own + other).collect();
        let empty = Vec::new();
        let (from, to, expected) = match kind {
            Kind::Barrier | Kind::Split | Kind::Object(_) | Kind::Apply | Kind::Functions => {
                (empty.clone(), empty.clone(), empty)
            }
            Kind::Bcast(root) | Kind::Message(root) if root == rank => (empty, own.clone(), own),
            Kind::Bcast(_) | Kind::Message(_) => (empty, none, other),
            Kind::Gather(root) if root == rank => (own, both.clone(), both),
            Kind::Gather(_) => (own, empty.clone(), empty),
            Kind::Scatter(root) if root == rank => (both, none, own),
            Kind::Scatter(_) => (empty, none, own),
            Kind::Allgather => (own, vec![0.0; 2 * len], both),
            // Both blocks of a rank are what it gives.
            Kind::Alltoall => ([own.clone(), own].concat(), vec![0.0; 2 * len], both),
            Kind::Reduce(root) => (empty, own.clone(), if root == rank { sum } else { own }),
            Kind::Allreduce => (own, none, sum),
            Kind::AllreduceInPlace => (empty, own, sum),
            Kind::Sendrecv => (own, none, other),
        };
        let taken = Rc::new(RefCell::new(Vec::new()));
        let fill = move |offset: usize, bytes: &mut [u8]| {
            for (byte, at) in bytes.iter_mut().zip(offset..) {
                *byte = ((rank as usize * 500 + at / 4) as f32 / 4.0).to_le_bytes()[at % 4];
            }
        };
        let results = Rc::clone(&taken);
        let take = move |offset: usize, bytes: &[u8]| {
            assert_eq!(offset, results.borrow().len(), "results come in order");
            results.borrow_mut().extend_from_slice(bytes);
        };
        let (send, receive) = (vec![0; 256], vec![0; 256]);
        Self { from, to, expected, send, receive, fill: Box::new(fill), take: Box::new(take), taken }
    }

    fn check(&self, trial: &Trial) {
        assert!(self.to == self.expected, "a wrong result of {trial:?}");
        if trial.kind == Kind::Functions {
            let taken = self.taken.borrow();
            let sum = given(0, trial.len).into_iter().zip(given(1, trial.len)).flat_map(|(a, b)| (a + b).to_le_bytes());
            // A host has no functions that give and take.
            assert!(trial.rank == 0 || taken.iter().copied().eq(sum), "a wrong result of {trial:?}");
        }
    }
}

fn outcome<T, E: Cancels>(result: Result<T, E>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(error) if error.cancels() => Outcome::Cancelled,
        Err(error) => {
            eprintln!("{error}");
            Outcome::Failed
        }
    }
}

/// An error that may say that the other side gave up.
trait Cancels: std::error::Error {
    fn cancels(&self) -> bool;
}

impl Cancels for Error {
    fn cancels(&self) -> bool {
        matches!(self, Error::Cancelled { .. })
    }
}

impl Cancels for edgempi_embassy::Error {
    fn cancels(&self) -> bool {
        self.category() == Category::Cancelled
    }
}

/// A rank's communicator, with all kinds of calls; each is started before this returns.
trait Side {
    fn start<'a>(&'a self, trial: &Trial, space: &'a mut Space) -> Attempt<'a>;
}

/// Calls that hosts and boards write alike.
fn alike<'a, C>(comm: &'a C, trial: &Trial, space: &'a mut Space) -> Attempt<'a>
where
    C: Communicator,
    C::Error: Cancels,
{
    let Space { from, to, .. } = space;
    let other = 1 - trial.rank;
    let call = match trial.kind {
        Kind::Bcast(root) => comm.bcast(root, to),
        Kind::Gather(root) => comm.gather(root, from, to),
        Kind::Scatter(root) => comm.scatter(root, from, to),
        Kind::Allgather => comm.allgather(from, to),
        Kind::Alltoall => comm.alltoall(from, to),
        Kind::Reduce(root) => comm.reduce_in_place(root, to, ReduceOp::Sum),
        Kind::Allreduce => comm.allreduce(from, to, ReduceOp::Sum),
        Kind::AllreduceInPlace => comm.allreduce_in_place(to, ReduceOp::Sum),
        Kind::Message(from) if from == trial.rank => comm.send(other, trial.number, to),
        Kind::Message(from) => comm.recv(from, trial.number, to),
        Kind::Sendrecv => {
            let call = comm.sendrecv(other, trial.number, from, other, trial.number, to);
            return Box::pin(async { outcome(call.await) });
        }
        _ => comm.barrier(),
    };
    Box::pin(async { outcome(call.await) })
}

impl Side for edgempi::Comm {
    fn start<'a>(&'a self, trial: &Trial, space: &'a mut Space) -> Attempt<'a> {
        let (rank, len) = (trial.rank, trial.len);
        match trial.kind {
            Kind::Split => {
                let call = self.split(Some(1), 0);
                Box::pin(async { outcome(call.await) })
            }
            Kind::Object(root) => {
                let call = self.objects().bcast(root, (rank == root).then(|| "a word".to_owned()));
                Box::pin(async { outcome(call.await.map(|word: String| assert_eq!(word, "a word"))) })
            }
            Kind::Apply => {
                let call = self.apply(&ScaledSum { factor: 2, group: Group::ALL }, Some(&rank));
                Box::pin(async { outcome(call.await.map(|sum| assert_eq!(sum, Some(2)))) })
            }
            Kind::Functions => {
                space.from = given(rank, len);
                let call = self.allreduce_in_place(&mut space.from, Sum);
                Box::pin(async { outcome(call.await) })
            }
            _ => alike(self, trial, space),
        }
    }
}

impl Side for Comm<'_> {
    fn start<'a>(&'a self, trial: &Trial, space: &'a mut Space) -> Attempt<'a> {
        let (rank, len) = (trial.rank, trial.len);
        match trial.kind {
            Kind::Split => {
                let call = self.split(Some(1), 0);
                Box::pin(async { outcome(call.await.map(drop)) })
            }
            Kind::Object(root) => {
                let word = "a word".to_owned();
                let call = self.bcast_object(root, (rank == root).then_some(&word), &mut space.receive);
                Box::pin(async { outcome(call.await.map(|word: String| assert_eq!(word, "a word"))) })
            }
            Kind::Apply => {
                // Only the call itself borrows the operation.
                const OPERATION: &ScaledSum<'_> = &ScaledSum { factor: 2, group: Group::ALL };
                let call = self.apply(OPERATION, Some(&rank), &mut space.send, &mut space.receive);
                Box::pin(async { outcome(call.await.map(|sum| assert_eq!(sum, Some(2)))) })
            }
            Kind::Functions => {
                let call = self.allreduce_from::<f32>(len, ReduceOp::Sum, &mut *space.fill, &mut *space.take);
                Box::pin(async { outcome(call.await) })
            }
            _ => alike(self, trial, space),
        }
    }
}

/// Polls until the call is done, or has moved something so often.
fn poll_some(mut call: Attempt<'_>, most: u32, meter: &impl Meter) -> Option<Outcome> {
    let mut driver = Driver::new();
    let (mut polls, mut idle) = (0, Instant::now());
    while polls < most {
        meter.allow(STEP);
        let before = meter.moved();
        if let Some(outcome) = driver.poll(call.as_mut()) {
            return Some(outcome);
        }
        if meter.moved() != before {
            (polls, idle) = (polls + 1, Instant::now());
        } else {
            // Its last byte may have left long before the other side gives up, too.
            assert!(idle.elapsed() < Duration::from_secs(20), "a call does not come to its end");
            meter.sleep(&driver);
        }
    }
    None
}

/// One call on one side, of which one side polls it only so often. Returns whether that one has seen its end.
fn attempt<S: Side + Communicator>(comm: &S, trial: &Trial, most: Option<u32>, meter: &impl Meter) -> bool {
    let mut space = Space::new(trial);
    let call = comm.start(trial, &mut space);
    if let Some(most) = most {
        let ended = poll_some(call, most, meter);
        meter.allow(usize::MAX);
        assert!(matches!(ended, None | Some(Outcome::Done)), "{trial:?}: {ended:?}");
        if ended.is_some() {
            space.check(trial);
        }
        return drive(agree(comm, trial, ended.is_some()));
    }
    let (ended, other_is_done) = match trial.kind {
        // Nobody may ever answer; that does not keep other calls from their end.
        Kind::Message(_) | Kind::Sendrecv => beside(call, agree(comm, trial, false)),
        _ => {
            let ended = poll_some(call, ENDLESS, meter);
            meter.allow(usize::MAX);
            (ended, drive(agree(comm, trial, false)))
        }
    };
    match ended {
        Some(Outcome::Done) => space.check(trial),
        Some(Outcome::Cancelled) => {}
        None => assert!(!other_is_done, "{trial:?} has ended on the other side alone"),
        Some(Outcome::Failed) => panic!("{trial:?} failed"),
    }
    other_is_done
}

/// All are in step, and say whether the one that may give up has not.
async fn agree<C: Communicator>(comm: &C, trial: &Trial, is_done: bool) -> bool {
    let mut sums = [u32::from(is_done), trial.number, trial.rank + 1];
    let result = comm.allreduce_in_place(&mut sums, ReduceOp::Sum).await;
    result.unwrap_or_else(|error| panic!("{trial:?}: {error}"));
    assert_eq!(sums[1..], [2 * trial.number, 3], "{trial:?}");
    sums[0] > 0
}

/// Polls a call until all agree that it is given up, or that it is done, and then it is.
fn beside(mut call: Attempt<'_>, agreed: impl Future<Output = bool>) -> (Option<Outcome>, bool) {
    let (mut ended, mut agreed) = (None, pin!(agreed));
    let other_is_done = drive(poll_fn(|context| {
        if ended.is_none()
            && let Poll::Ready(outcome) = call.as_mut().poll(context)
        {
            ended = Some(outcome);
        }
        agreed.as_mut().poll(context)
    }));
    let rest = |call: Attempt<'_>| if other_is_done { Some(drive(call)) } else { poll_briefly(call) };
    (ended.or_else(|| rest(call)), other_is_done)
}

/// Whether a message has come, or failed, that may never come.
fn poll_briefly(mut call: Attempt<'_>) -> Option<Outcome> {
    (0..20).find_map(|_| match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    })
}

/// What has moved on a rank's link.
trait Meter {
    fn moved(&self) -> u64;

    /// How many bytes may come and go in the next poll, about.
    fn allow(&self, _bytes: usize) {}

    /// Until something may have moved, or what was polled may have ended.
    fn sleep(&self, driver: &Driver);
}

impl Meter for edgempi::World {
    fn moved(&self) -> u64 {
        let traffic = self.traffic();
        traffic.sent + traffic.received
    }

    fn sleep(&self, _: &Driver) {
        // A host's engine moves bytes by itself, and tells nobody that it did.
        std::thread::sleep(Duration::from_micros(20));
    }
}

/// A board's.
struct Budget {
    moved: Cell<u64>,
    left: Cell<usize>,
}

impl Budget {
    fn spend(&self, bytes: usize) {
        self.moved.set(self.moved.get() + bytes as u64);
        self.left.set(self.left.get().saturating_sub(bytes));
    }
}

impl Meter for Budget {
    fn moved(&self) -> u64 {
        self.moved.get()
    }

    fn allow(&self, bytes: usize) {
        self.left.set(bytes);
    }

    fn sleep(&self, driver: &Driver) {
        driver.sleep();
    }
}

/// A port over which little goes at a time, so that a poll ends in the middle of a frame, too.
struct Slow<'b> {
    port: SocketPort,
    budget: &'b Budget,
}

impl Port for Slow<'_> {
    type Error = std::io::Error;

    fn poll_read(&mut self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<std::io::Result<usize>> {
        let room = bytes.len().min(self.budget.left.get());
        if room == 0 {
            return Poll::Pending;
        }
        let read = self.port.poll_read(context, &mut bytes[..room]);
        if let Poll::Ready(Ok(n)) = read {
            self.budget.spend(n);
        }
        read
    }

    fn poll_free(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<std::io::Result<usize>> {
        if self.budget.left.get() == 0 { Poll::Pending } else { self.port.poll_free(context, wanted) }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.budget.spend(bytes.len());
        self.port.write(bytes)
    }

    fn capacity(&self) -> usize {
        self.port.capacity()
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.port.poll_close(context)
    }
}

/// Every kind of call is made again and again, until the side that gives up comes to its end.
fn trials(rank: u32, board_drops: bool, attempt: impl Fn(&Trial, Option<u32>) -> bool) -> u32 {
    let mut number = 0;
    for len in LENS {
        for kind in KINDS {
            for most in 0.. {
                number += 1;
                let drops = (rank == 1) == board_drops;
                if attempt(&Trial { kind, rank, len, number }, drops.then_some(most)) {
                    break;
                }
                assert!(most < ENDLESS, "{kind:?} never ends");
            }
        }
    }
    number
}

fn give_up(board_drops: bool) {
    let _watchdog = Watchdog::start();
    let mut operations = Registry::new();
    operations.insert_fn(ScaledSum::NAME, ScaledSum::VERSION, |call, inputs: Vec<(Rank, u32)>| {
        let call: edgempi::hub::Applied<'_, u32> = call;
        let sum: u32 = inputs.iter().map(|(_, value)| value).sum();
        Ok::<_, String>(call.destinations.iter().map(|rank| (*rank, sum * call.parameters)).collect())
    });
    let hub = LoneHub::start_with(SIZE, operations);
    let address = hub.address;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Those given up last keep their places until the hub has heard of it.
            let mut memory = Memory::<8, 1024>::new();
            let budget = Budget { moved: Cell::new(0), left: Cell::new(usize::MAX) };
            let port = Slow { port: SocketPort::connect(address.port(), CAPACITY), budget: &budget };
            let options = Options::new(1, SIZE);
            let world = drive(join(port, StdClock(Instant::now()), &mut memory, &options)).expect("a board joins");
            let comm = world.comm();
            let count = trials(1, board_drops, |trial, most| attempt(&comm, trial, most, &budget));
            assert!(!board_drops || count > 500, "only {count} trials");
            drop(comm);
            drive(world.finalize()).expect("a board leaves");
        });
        let world = Builder::new().config(joining(address, SIZE, 0)).init().wait().expect("a host joins");
        let comm = world.comm();
        trials(0, board_drops, |trial, most| attempt(&comm, trial, most, &world));
        world.finalize().wait().expect("the host leaves");
    });
    hub.ended();
}

#[test]
fn a_board_gives_up_every_call_at_every_poll() {
    give_up(true);
}

#[test]
fn a_host_gives_up_every_call_beside_a_board() {
    give_up(false);
}
