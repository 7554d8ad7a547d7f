//! What is measured, and how.

use std::mem::take;
use std::time::Instant;

use edgempi::{Comm, Error, Max, Sum, World};
use serde::Serialize;

use super::BenchError;

/// The names of the workloads, in the order of [`Workload::ALL`].
pub const NAMES: [&str; 11] = [
    "barrier",
    "pingpong",
    "bcast",
    "reduce",
    "allreduce",
    "gather",
    "scatter",
    "allgather",
    "alltoall",
    "object-allreduce",
    "object-bcast",
];

/// A call that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Barrier,
    Pingpong,
    Bcast,
    Reduce,
    Allreduce,
    Gather,
    Scatter,
    Allgather,
    Alltoall,
    /// Of one integer.
    ObjectAllreduce,
    /// Of a string of so many bytes.
    ObjectBcast,
}

/// What was measured of one workload with one size.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub ranks: u32,
    pub bytes: u64,
    /// Of the slowest rank in each round, in microseconds.
    pub median_us: f64,
    pub p99_us: f64,
    /// Bytes that all ranks together have sent to the hub and received from it, for one call.
    pub moved: f64,
}

/// What to measure, size by size.
pub fn plan(workloads: &[Workload], sizes: Vec<u64>, ranks: u32) -> impl Iterator<Item = (Workload, usize)> {
    let barrier = workloads.contains(&Workload::Barrier).then_some((Workload::Barrier, 0));
    let others: Vec<_> = workloads
        .iter()
        .copied()
        .filter(move |workload| match workload {
            Workload::Barrier => false,
            Workload::Pingpong => ranks > 1,
            _ => true,
        })
        .collect();
    let first = sizes.first().copied();
    barrier.into_iter().chain(sizes.into_iter().flat_map(move |size| {
        // An integer has one size.
        let is_wanted = move |workload: &Workload| *workload != Workload::ObjectAllreduce || first == Some(size);
        let others = others.clone().into_iter().filter(is_wanted);
        others.map(move |workload| (workload, usize::try_from(size).unwrap_or(usize::MAX)))
    }))
}

/// How often a call is made.
fn rounds(bytes: usize) -> usize {
    match bytes {
        0..=4096 => 2000,
        4097..=262_144 => 300,
        262_145..=4_194_304 => 60,
        _ => 20,
    }
}

/// Makes calls, and remembers how long they took and what they moved.
struct Watch<'w> {
    world: &'w World,
    seconds: Vec<f64>,
    moved: u64,
}

impl Watch<'_> {
    fn time<T>(&mut self, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let (before, start) = (self.world.traffic(), Instant::now());
        let result = call()?;
        self.seconds.push(start.elapsed().as_secs_f64());
        let after = self.world.traffic();
        self.moved += after.sent + after.received - before.sent - before.received;
        Ok(result)
    }

    /// Calls in lockstep: a few to warm up, then those that count.
    fn rounds(&mut self, bytes: usize, mut call: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
        let rounds = rounds(bytes);
        for _ in 0..rounds / 10 + 2 {
            call()?;
        }
        for _ in 0..rounds {
            self.world.comm().barrier().wait()?;
            self.time(&mut call)?;
        }
        Ok(())
    }
}

impl Workload {
    pub const ALL: &[Workload] = &[
        Workload::Barrier,
        Workload::Pingpong,
        Workload::Bcast,
        Workload::Reduce,
        Workload::Allreduce,
        Workload::Gather,
        Workload::Scatter,
        Workload::Allgather,
        Workload::Alltoall,
        Workload::ObjectAllreduce,
        Workload::ObjectBcast,
    ];

    /// The workload of this name, which is one of [`NAMES`].
    pub fn named(name: &str) -> Self {
        let index = NAMES.iter().position(|known| *known == name).unwrap_or_default();
        Self::ALL[index]
    }

    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// Checks the call's result, then measures it. `None` where rank 0 alone learns the figures, and on ranks that take
    /// no part.
    pub fn measure(self, world: &World, bytes: usize) -> Result<Option<Figure>, BenchError> {
        let comm = &world.comm();
        let right = self.is_right(comm, bytes)?;
        let wrong = comm.allreduce([u8::from(!right)], Max).wait()?;
        if wrong != [0] {
            return Err(BenchError::Wrong { name: self.name(), bytes });
        }
        let mut watch = Watch { world, seconds: Vec::new(), moved: 0 };
        self.run(comm, bytes, &mut watch)?;
        // Who took no part has taken no time.
        watch.seconds.resize(rounds(bytes), 0.0);
        let slowest = comm.reduce(0, watch.seconds, Max).wait()?;
        let moved = comm.reduce(0, [watch.moved], Sum).wait()?;
        let (Some(mut slowest), Some(moved)) = (slowest, moved) else { return Ok(None) };
        slowest.sort_by(f64::total_cmp);
        let at = |index: usize| slowest[index] * 1e6;
        let rounds = slowest.len();
        Ok(Some(Figure {
            name: self.name(),
            ranks: world.size(),
            bytes: bytes as u64,
            median_us: at(rounds / 2),
            p99_us: at(rounds * 99 / 100),
            moved: moved[0] as f64 / rounds as f64,
        }))
    }

    fn run(self, comm: &Comm, bytes: usize, watch: &mut Watch<'_>) -> Result<(), Error> {
        let (rank, ranks) = (comm.rank().get(), comm.size() as usize);
        let each = (bytes / ranks).max(1);
        let (mut vector, mut result) = (vec![0u8; bytes], Vec::new());
        let mut numbers = vec![0f32; bytes / 4];
        match self {
            Self::Barrier => watch.rounds(bytes, || comm.barrier().wait()),
            Self::Pingpong if rank > 1 => Ok(()),
            Self::Pingpong => pingpong(comm, bytes, watch),
            Self::Bcast => watch.rounds(bytes, || {
                vector = comm.bcast(0, take(&mut vector)).wait()?;
                Ok(())
            }),
            Self::Reduce => watch.rounds(bytes, || comm.reduce(0, numbers.as_slice(), Sum).wait().map(drop)),
            Self::Allreduce => watch.rounds(bytes, || {
                numbers = comm.allreduce(take(&mut numbers), Sum).wait()?;
                Ok(())
            }),
            Self::Gather => watch.rounds(bytes, || {
                let all = comm.gather_reusing(take(&mut result), 0, &vector[..each]).wait()?;
                result = all.unwrap_or_default();
                Ok(())
            }),
            Self::Scatter => watch.rounds(bytes, || {
                result =
                    comm.scatter_reusing(take(&mut result), 0, (rank == 0).then(|| vec![0u8; each * ranks])).wait()?;
                Ok(())
            }),
            Self::Allgather => watch.rounds(bytes, || {
                result = comm.allgather_reusing(take(&mut result), &vector[..each]).wait()?;
                Ok(())
            }),
            Self::Alltoall => watch.rounds(bytes, || {
                vector.resize(each * ranks, 0);
                result = comm.alltoall_reusing(take(&mut result), vector.as_slice()).wait()?;
                Ok(())
            }),
            Self::ObjectAllreduce => {
                watch.rounds(bytes, || comm.objects().allreduce(u64::from(rank), Sum).wait().map(drop))
            }
            Self::ObjectBcast => {
                let mut text = (rank == 0).then(|| "x".repeat(bytes));
                watch.rounds(bytes, || {
                    let value = comm.objects().bcast(0, text.take()).wait()?;
                    text = (rank == 0).then_some(value);
                    Ok(())
                })
            }
        }
    }

    /// Makes the call once, with values that tell whether the right ones come out.
    fn is_right(self, comm: &Comm, bytes: usize) -> Result<bool, Error> {
        let (rank, ranks) = (comm.rank().get(), comm.size());
        let each = (bytes / ranks as usize).max(1);
        let block = |rank: u32| (0..each).map(move |index| (index as u32 * 31 + rank * 7) as u8);
        let blocks = || (0..ranks).flat_map(block).collect::<Vec<u8>>();
        let numbers = |rank: u32| (0..bytes / 4).map(move |index| (index % 1000) as f32 + rank as f32);
        let sums = || -> Vec<f32> {
            let total = (0..ranks).sum::<u32>() as f32;
            (0..bytes / 4).map(|index| (index % 1000) as f32 * ranks as f32 + total).collect()
        };
        Ok(match self {
            Self::Barrier | Self::Pingpong => true,
            Self::Bcast => {
                let whole: Vec<u8> = (0..bytes).map(|index| (index * 31) as u8).collect();
                comm.bcast(0, if rank == 0 { whole.clone() } else { vec![0; bytes] }).wait()? == whole
            }
            Self::Reduce => {
                let result = comm.reduce(0, numbers(rank).collect::<Vec<_>>(), Sum).wait()?;
                result.is_none_or(|result| result == sums())
            }
            Self::Allreduce => comm.allreduce(numbers(rank).collect::<Vec<_>>(), Sum).wait()? == sums(),
            Self::Gather => {
                let result = comm.gather(0, block(rank).collect::<Vec<_>>()).wait()?;
                result.is_none_or(|result| result == blocks())
            }
            Self::Scatter => comm.scatter(0, (rank == 0).then(blocks)).wait()?.into_iter().eq(block(rank)),
            Self::Allgather => comm.allgather(block(rank).collect::<Vec<_>>()).wait()? == blocks(),
            Self::Alltoall => {
                let given: Vec<u8> = (0..ranks).flat_map(|to| block(rank + to)).collect();
                let expected: Vec<u8> = (0..ranks).flat_map(|from| block(from + rank)).collect();
                comm.alltoall(given).wait()? == expected
            }
            Self::ObjectAllreduce => {
                comm.objects().allreduce(u64::from(rank), Sum).wait()? == (0..u64::from(ranks)).sum::<u64>()
            }
            Self::ObjectBcast => {
                let value: String = (0..bytes).map(|index| char::from(b'a' + (index % 26) as u8)).collect();
                comm.objects().bcast(0, (rank == 0).then(|| value.clone())).wait()? == value
            }
        })
    }
}

/// There and back between ranks 0 and 1; whoever has received a buffer sends it back.
fn pingpong(comm: &Comm, bytes: usize, watch: &mut Watch<'_>) -> Result<(), Error> {
    const TAG: u32 = 0;
    let rounds = rounds(bytes);
    let mut buffer = vec![0u8; bytes];
    for round in 0..rounds + 5 {
        let mut there_and_back = || {
            let other = 1 - comm.rank().get();
            if comm.rank() == 0 {
                comm.send(other, TAG, take(&mut buffer)).wait()?;
                buffer = comm.recv::<u8>(other, TAG).wait()?.0;
            } else {
                let received = comm.recv::<u8>(other, TAG).wait()?.0;
                comm.send(other, TAG, received).wait()?;
            }
            Ok(())
        };
        if round < 5 {
            there_and_back()?;
        } else {
            watch.time(there_and_back)?;
        }
    }
    Ok(())
}
