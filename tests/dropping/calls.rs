//! Every kind of call between all ranks, and what it should give.

use std::sync::LazyLock;

use edgempi::hub::{Apply, ApplyError};
use edgempi::{Communicator, Datatype, Group, Operation, Rank, Ranks, Sum, World};
use edgempi_core::{Buffers, Call};
use zerocopy::IntoBytes;

use super::{Kind, LARGE, ROOT, SIZE, attempt, cancels, goes_on};

/// What `from` gives `to`.
pub fn block(from: u32, to: u32, len: usize) -> &'static [u32] {
    static NUMBERS: LazyLock<Vec<u32>> =
        LazyLock::new(|| (0..2 * LARGE as u32).map(|at| at.wrapping_mul(2_654_435_761).rotate_left(at % 32)).collect());
    &NUMBERS[(from * 100 + to * 7) as usize..][..len]
}

pub fn zeros(len: usize) -> Vec<u32> {
    vec![0; len]
}

/// A block from each rank to `to`.
pub fn from_all(to: impl Fn(u32) -> u32, len: usize) -> Vec<u32> {
    (0..SIZE).map(|from| block(from, to(from), len)).collect::<Vec<_>>().concat()
}

/// A block from `from` to each rank.
pub fn to_all(from: u32, len: usize) -> Vec<u32> {
    (0..SIZE).map(|to| block(from, to, len)).collect::<Vec<_>>().concat()
}

/// The sum of what all ranks give to rank 0.
pub fn total(len: usize) -> &'static [u32] {
    static TOTAL: LazyLock<Vec<u32>> = LazyLock::new(|| {
        let mut total = zeros(LARGE);
        for rank in 0..SIZE {
            total.iter_mut().zip(block(rank, 0, LARGE)).for_each(|(sum, number)| *sum = sum.wrapping_add(*number));
        }
        total
    });
    &TOTAL[..len]
}

pub fn rank_of(world: &World) -> u32 {
    world.rank().get()
}

/// Calls that own their buffers.
pub fn owned() -> Vec<Kind> {
    vec![
        goes_on("barrier", |world, trial| attempt(world, trial, world.comm().barrier(), |()| true)),
        goes_on("bcast", |world, trial| {
            let data = if rank_of(world) == ROOT { block(ROOT, 0, trial.len).to_vec() } else { zeros(trial.len) };
            attempt(world, trial, world.comm().bcast(ROOT, data), |data| data == block(ROOT, 0, trial.len))
        }),
        goes_on("gather", |world, trial| {
            let (rank, all) = (rank_of(world), from_all(|_| 0, trial.len));
            let request = world.comm().gather(ROOT, block(rank, 0, trial.len));
            attempt(world, trial, request, |data| data == (rank == ROOT).then_some(all))
        }),
        goes_on("scatter", |world, trial| {
            let rank = rank_of(world);
            let request = world.comm().scatter(ROOT, (rank == ROOT).then(|| to_all(ROOT, trial.len)));
            attempt(world, trial, request, |data| data == block(ROOT, rank, trial.len))
        }),
        goes_on("allgather", |world, trial| {
            let request = world.comm().allgather(block(rank_of(world), 0, trial.len));
            attempt(world, trial, request, |data| data == from_all(|_| 0, trial.len))
        }),
        goes_on("alltoall", |world, trial| {
            let (rank, share) = (rank_of(world), trial.len / 3);
            let request = world.comm().alltoall(to_all(rank, share));
            attempt(world, trial, request, |data| data == from_all(|_| rank, share))
        }),
        goes_on("reduce", |world, trial| {
            let rank = rank_of(world);
            let request = world.comm().reduce(ROOT, block(rank, 0, trial.len), Sum);
            attempt(world, trial, request, |data| data.as_deref() == (rank == ROOT).then(|| total(trial.len)))
        }),
        goes_on("allreduce", |world, trial| {
            let request = world.comm().allreduce(block(rank_of(world), 0, trial.len), Sum);
            attempt(world, trial, request, |data| data == total(trial.len))
        }),
    ]
}

/// Calls of a `Comm` on borrowed buffers.
pub fn in_place() -> Vec<Kind> {
    vec![
        cancels("allreduce in place", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let mut data = own.to_vec();
            let outcome = attempt(world, trial, comm.allreduce_in_place(&mut data, Sum), |()| true);
            outcome.check(&data, own, total(trial.len))
        }),
        cancels("reduce in place", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let mut data = own.to_vec();
            let outcome = attempt(world, trial, comm.reduce_in_place(ROOT, &mut data, Sum), |()| true);
            outcome.check(&data, own, if comm.rank() == ROOT { total(trial.len) } else { own })
        }),
        cancels("bcast in place", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let mut data = own.to_vec();
            let outcome = attempt(world, trial, comm.bcast_in_place(ROOT, &mut data), |()| true);
            outcome.check(&data, own, block(ROOT, 0, trial.len))
        }),
    ]
}

/// Calls of the trait that algorithms are written against; all of them borrow.
pub fn borrowed() -> Vec<Kind> {
    vec![
        cancels("Communicator::barrier", |world, trial| {
            let comm = world.comm();
            attempt(world, trial, Communicator::barrier(&comm), |_| true)
        }),
        cancels("Communicator::bcast", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let mut data = own.to_vec();
            let outcome = attempt(world, trial, Communicator::bcast(&comm, ROOT, &mut data), |_| true);
            outcome.check(&data, own, block(ROOT, 0, trial.len))
        }),
        cancels("Communicator::gather", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let before = zeros(3 * trial.len);
            let mut all = before.clone();
            let outcome = attempt(world, trial, Communicator::gather(&comm, ROOT, own, &mut all), |_| true);
            let after = if comm.rank() == ROOT { from_all(|_| 0, trial.len) } else { before.clone() };
            outcome.check(&all, &before, &after)
        }),
        cancels("Communicator::scatter", |world, trial| {
            let (comm, rank) = (world.comm(), rank_of(world));
            let all = if rank == ROOT { to_all(ROOT, trial.len) } else { Vec::new() };
            let mut own = zeros(trial.len);
            let outcome = attempt(world, trial, Communicator::scatter(&comm, ROOT, &all, &mut own), |_| true);
            outcome.check(&own, &zeros(trial.len), block(ROOT, rank, trial.len))
        }),
        cancels("Communicator::allgather", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let mut all = zeros(3 * trial.len);
            let outcome = attempt(world, trial, Communicator::allgather(&comm, own, &mut all), |_| true);
            outcome.check(&all, &zeros(3 * trial.len), &from_all(|_| 0, trial.len))
        }),
        cancels("Communicator::alltoall", |world, trial| {
            let (comm, rank, share) = (world.comm(), rank_of(world), trial.len / 3);
            let (own, mut all) = (to_all(rank, share), zeros(trial.len));
            let outcome = attempt(world, trial, Communicator::alltoall(&comm, &own, &mut all), |_| true);
            outcome.check(&all, &zeros(trial.len), &from_all(|_| rank, share))
        }),
        cancels("Communicator::allreduce", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let mut sum = zeros(trial.len);
            let outcome = attempt(world, trial, Communicator::allreduce(&comm, own, &mut sum, Sum), |_| true);
            outcome.check(&sum, &zeros(trial.len), total(trial.len))
        }),
        cancels("Communicator::allreduce_in_place", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let mut data = own.to_vec();
            let outcome = attempt(world, trial, Communicator::allreduce_in_place(&comm, &mut data, Sum), |_| true);
            outcome.check(&data, own, total(trial.len))
        }),
        cancels("Communicator::reduce_in_place", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let mut data = own.to_vec();
            let outcome = attempt(world, trial, Communicator::reduce_in_place(&comm, ROOT, &mut data, Sum), |_| true);
            outcome.check(&data, own, if comm.rank() == ROOT { total(trial.len) } else { own })
        }),
        cancels("Communicator::transfer of a user operation", |world, trial| {
            let (comm, own) = (world.comm(), block(rank_of(world), 0, trial.len));
            let mut first = zeros(trial.len);
            let group = Group { sources: Ranks::All, destinations: Ranks::All };
            let call = Call::User { name: First::NAME, version: First::VERSION, group };
            let buffers = Buffers::Both { send: own.as_bytes(), receive: first.as_mut_bytes() };
            let request = Communicator::transfer(&comm, call, Datatype::Object, buffers);
            let outcome = attempt(world, trial, request, |_| true);
            outcome.check(&first, &zeros(trial.len), block(0, 0, trial.len))
        }),
    ]
}

/// What `from` gives `to` as an object.
fn text(from: u32, to: u32, len: usize) -> &'static str {
    static LETTERS: LazyLock<String> = LazyLock::new(|| {
        block(0, 0, 5 * LARGE / 4).iter().map(|number| (b'a' + (number % 26) as u8) as char).collect()
    });
    let all: &'static str = &LETTERS;
    &all[(from * 100 + to * 7) as usize..][..len]
}

/// Calls on objects, and operations of one's own.
pub fn objects() -> Vec<Kind> {
    vec![
        goes_on("bcast of an object", |world, trial| {
            let value = (rank_of(world) == ROOT).then(|| text(ROOT, 0, trial.len).to_owned());
            let request = world.comm().objects().bcast(ROOT, value);
            attempt(world, trial, request, |value| value == text(ROOT, 0, trial.len))
        }),
        goes_on("gather of objects", |world, trial| {
            let rank = rank_of(world);
            let request = world.comm().objects().gather(ROOT, &text(rank, 0, trial.len).to_owned());
            let expected = (rank == ROOT).then(|| [0, 1, 2].map(|from| text(from, 0, trial.len)));
            attempt(world, trial, request, |values| match (values, expected) {
                (Some(values), Some(expected)) => values == expected,
                (values, expected) => values.is_none() && expected.is_none(),
            })
        }),
        goes_on("scatter of objects", |world, trial| {
            let rank = rank_of(world);
            let values = || [0, 1, 2].map(|to| text(ROOT, to, trial.len).to_owned()).into();
            let request = world.comm().objects().scatter::<String>(ROOT, (rank == ROOT).then(values));
            attempt(world, trial, request, |value| value == text(ROOT, rank, trial.len))
        }),
        goes_on("allgather of objects", |world, trial| {
            let request = world.comm().objects().allgather(&text(rank_of(world), 0, trial.len).to_owned());
            attempt(world, trial, request, |values| values == [0, 1, 2].map(|from| text(from, 0, trial.len)))
        }),
        goes_on("alltoall of objects", |world, trial| {
            let (rank, share) = (rank_of(world), trial.len / 3);
            // Of different lengths: rank 0 gets nothing.
            let values = [0, 1, 2].map(|to| text(rank, to, share * to as usize).to_owned());
            let request = world.comm().objects().alltoall(&values);
            let expected = [0, 1, 2].map(|from| text(from, rank, share * rank as usize));
            attempt(world, trial, request, |values| values == expected)
        }),
        goes_on("reduce of objects", |world, trial| {
            let rank = rank_of(world);
            let longer = |left: String, right: String| if left.len() > right.len() { left } else { right };
            let value = text(rank, 0, trial.len + rank as usize).to_owned();
            let request = world.comm().objects().reduce(ROOT, value, longer);
            let expected = (rank == ROOT).then(|| text(2, 0, trial.len + 2));
            attempt(world, trial, request, |longest| longest.as_deref() == expected)
        }),
        goes_on("allreduce of elements", |world, trial| {
            let request = world.comm().objects().allreduce(rank_of(world) + trial.number, Sum);
            attempt(world, trial, request, |sum| sum == 3 + 3 * trial.number)
        }),
        goes_on("user operation", |world, trial| {
            let request = world.comm().apply(&First, Some(&text(rank_of(world), 0, trial.len).to_owned()));
            attempt(world, trial, request, |first| first.as_deref() == Some(text(0, 0, trial.len)))
        }),
    ]
}

/// Everybody gets what the first rank gives.
pub struct First;

impl Operation for First {
    const NAME: &'static str = "first";
    type Parameters = ();
    type Input = String;
    type Output = String;

    fn parameters(&self) {}

    fn group(&self) -> Group<'_> {
        Group { sources: Ranks::All, destinations: Ranks::All }
    }
}

impl Apply for First {
    fn apply(
        &self,
        destinations: &[Rank],
        inputs: Vec<(Rank, edgempi_core::Payload)>,
    ) -> Result<Vec<(Rank, edgempi_core::Payload)>, ApplyError> {
        Ok(destinations.iter().map(|to| (*to, inputs[0].1.clone())).collect())
    }
}
