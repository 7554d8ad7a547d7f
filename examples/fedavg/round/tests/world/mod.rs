//! Ranks that live in one thread: a communicator with just the calls that a round makes.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use edgempi_core::{Buffers, Call, Communicator, Datatype, Rank, ReduceOp, Status};

/// What the ranks gave to one operation.
type Given = Vec<Option<Vec<u8>>>;

/// A rank of a world.
pub struct TestComm {
    rank: Rank,
    size: u32,
    /// The operations so far.
    operations: Rc<RefCell<Vec<Given>>>,
    /// How many operations this rank has begun.
    begun: Cell<usize>,
}

impl TestComm {
    /// The result of operation `number` at this rank, once all ranks have given.
    fn result(&self, number: usize, call: &Call<'_>) -> Option<Vec<u8>> {
        let operations = self.operations.borrow();
        let given: Option<Vec<&Vec<u8>>> = operations[number].iter().map(Option::as_ref).collect();
        let given = given?;
        match call {
            Call::Bcast { root } => Some(given[root.index()].clone()),
            Call::Allreduce { op: ReduceOp::Sum } => Some(fold(&given)),
            _ => panic!("a round does not {call:?}"),
        }
    }

    fn give(&self, bytes: &[u8]) -> usize {
        let number = self.begun.get();
        self.begun.set(number + 1);
        let mut operations = self.operations.borrow_mut();
        if operations.len() == number {
            operations.push(vec![None; self.size as usize]);
        }
        operations[number][self.rank.index()] = Some(bytes.to_vec());
        number
    }
}

/// The sum in the shape of every fold: the tree that splits n at the largest power of two below n.
fn fold(given: &[&Vec<u8>]) -> Vec<u8> {
    let [bytes] = given else {
        let (left, right) = given.split_at(given.len().next_power_of_two() / 2);
        let (left, right) = (fold(left), fold(right));
        let pairs = left.as_chunks().0.iter().zip(right.as_chunks().0);
        return pairs.flat_map(|(&a, &b)| (f32::from_le_bytes(a) + f32::from_le_bytes(b)).to_le_bytes()).collect();
    };
    (*bytes).clone()
}

impl Communicator for TestComm {
    type Error = Infallible;
    type Transfer<'a> = Pin<Box<dyn Future<Output = Result<Status, Infallible>> + 'a>>;
    type Progress<'a> = Ready<()>;

    fn rank(&self) -> Rank {
        self.rank
    }

    fn size(&self) -> u32 {
        self.size
    }

    fn transfer<'a>(&'a self, call: Call<'a>, datatype: Datatype, buffers: Buffers<'a>) -> Self::Transfer<'a> {
        assert_eq!(datatype, Datatype::F32);
        let (number, receive) = match buffers {
            Buffers::Send(bytes) => (self.give(bytes), None),
            Buffers::Receive(bytes) | Buffers::InPlace(bytes) => (self.give(bytes), Some(bytes)),
            other => panic!("a round does not use {other:?}"),
        };
        Box::pin(async move {
            let result = poll_fn(|_| self.result(number, &call).map_or(Poll::Pending, Poll::Ready)).await;
            if let Some(receive) = receive {
                receive.copy_from_slice(&result);
            }
            Ok(Status { source: self.rank, bytes: result.len(), ..Status::default() })
        })
    }

    fn progress(&self) -> Self::Progress<'_> {
        ready(())
    }
}

/// Runs `program` as every rank of a world of `size`, and returns what each of them returned.
pub fn run<T, F: Future<Output = T>>(size: u32, program: impl Fn(TestComm) -> F) -> Vec<T> {
    let operations = Rc::default();
    let comms = (0..size).map(|rank| TestComm {
        rank: Rank::new(rank),
        size,
        operations: Rc::clone(&operations),
        begun: Cell::new(0),
    });
    let mut ranks: Vec<_> = comms.map(|comm| (Box::pin(program(comm)), None)).collect();
    let mut context = Context::from_waker(Waker::noop());
    while ranks.iter().any(|(_, result)| result.is_none()) {
        for (future, result) in ranks.iter_mut().filter(|(_, result)| result.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                *result = Some(value);
            }
        }
    }
    ranks.into_iter().filter_map(|(_, result)| result).collect()
}
