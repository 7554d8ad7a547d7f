//! Every call with checked results, in fixed buffers: the same source on hosts and boards, which run it in one world.
//!
//! [`every_call`] makes the calls of the trait. What hosts and boards spell differently (objects, operations, parts) is
//! checked by each of them, against the values that are fixed here.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

use edgempi_core::operation::Operation;
use edgempi_core::{ANY_SOURCE, ANY_TAG, Communicator, Group, Located, Rank, ReduceOp};

/// Elements of a block: more than one frame's worth of a board that nobody polls, whose scratch memory is small.
pub const LEN: usize = 50;
/// The largest world that takes part.
pub const MOST_RANKS: usize = 6;
/// Elements of a vector that is in no board's memory.
pub const LONG: usize = 3000;

/// What went wrong.
#[derive(Debug)]
pub enum Failed<E> {
    /// A call failed.
    Call(E),
    /// A call's result is wrong.
    Wrong(&'static str),
}

impl<E> From<E> for Failed<E> {
    fn from(error: E) -> Self {
        Self::Call(error)
    }
}

impl<E: fmt::Display> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => write!(f, "{error}"),
            Self::Wrong(call) => write!(f, "a wrong result of {call}"),
        }
    }
}

/// The calls' buffers, for static memory: all zeros.
pub struct Space {
    block: [f32; LEN],
    other: [f32; LEN],
    all: [f32; LEN * MOST_RANKS],
    blocks: [u16; LEN * MOST_RANKS],
    exchanged: [u16; LEN * MOST_RANKS],
}

impl Space {
    /// Empty buffers.
    pub const ZERO: Self = Self { block: [0.0; _], other: [0.0; _], all: [0.0; _], blocks: [0; _], exchanged: [0; _] };
}

/// Element `at` of what `rank` gives: sums of these are exact.
pub fn value(rank: u32, at: usize) -> f32 {
    (rank * 1000 + at as u32 % 321) as f32 / 8.0
}

/// Fills a block with what `rank` gives.
pub fn give(rank: u32, block: &mut [f32]) {
    for (at, element) in block.iter_mut().enumerate() {
        *element = value(rank, at);
    }
}

/// Whether a block is what `rank` gives.
pub fn is_from(rank: u32, block: &[f32]) -> bool {
    block.iter().enumerate().all(|(at, element)| *element == value(rank, at))
}

/// Whether blocks are what ranks 0, 1, 2 and so on give.
pub fn are_from_all(blocks: &[f32]) -> bool {
    blocks.chunks(LEN).zip(0..).all(|(block, rank)| is_from(rank, block))
}

/// Whether a vector is the sum of what `size` ranks give.
pub fn is_sum(size: u32, sum: &[f32]) -> bool {
    sum.iter().enumerate().all(|(at, element)| *element == (0..size).map(|rank| value(rank, at)).sum::<f32>())
}

/// An error that names `call`, unless its result is right.
pub fn check<E>(call: &'static str, is_right: bool) -> Result<(), Failed<E>> {
    if is_right { Ok(()) } else { Err(Failed::Wrong(call)) }
}

/// The sum of the numbers of some ranks, times a factor, for some ranks.
pub struct ScaledSum<'a> {
    /// The factor.
    pub factor: u32,
    /// Who gives, and who receives.
    pub group: Group<'a>,
}

impl Operation for ScaledSum<'_> {
    const NAME: &'static str = "scaled sum";
    type Parameters = u32;
    type Input = u32;
    type Output = u32;

    fn parameters(&self) -> u32 {
        self.factor
    }

    fn group(&self) -> Group<'_> {
        self.group
    }
}

/// Every call of [`Communicator`], with results checked.
///
/// # Errors
///
/// The first call that fails, or that has a wrong result.
pub async fn every_call<C: Communicator>(comm: &C, space: &mut Space) -> Result<(), Failed<C::Error>> {
    comm.barrier().await?;
    for root in 0..comm.size() {
        rooted(comm, root, space).await?;
    }
    symmetric(comm, space).await?;
    messages(comm, space).await?;
    comm.barrier().await?;
    Ok(())
}

/// The first elements for all ranks of a world.
fn of<T>(all: &mut [T], size: u32) -> &mut [T] {
    all.get_mut(..LEN * size as usize).unwrap_or_default()
}

/// Calls in which one rank has another part than the others.
async fn rooted<C: Communicator>(comm: &C, root: u32, space: &mut Space) -> Result<(), Failed<C::Error>> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let Space { block, other, all, .. } = space;
    let all = of(all, size);

    block.fill(0.0);
    if rank == root {
        give(root, block);
    }
    comm.bcast(root, block).await?;
    check("bcast", is_from(root, block))?;

    give(rank, block);
    all.fill(0.0);
    comm.gather(root, block, if rank == root { &mut *all } else { &mut [] }).await?;
    check("gather", rank != root || are_from_all(all))?;

    other.fill(0.0);
    comm.scatter(root, if rank == root { &*all } else { &[] }, other).await?;
    check("scatter", is_from(rank, other))?;

    comm.reduce_in_place(root, block, ReduceOp::Sum).await?;
    check("reduce", if rank == root { is_sum(size, block) } else { is_from(rank, block) })
}

/// Calls in which all ranks have the same part.
async fn symmetric<C: Communicator>(comm: &C, space: &mut Space) -> Result<(), Failed<C::Error>> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let Space { block, other, all, blocks, exchanged } = space;

    give(rank, block);
    let all = of(all, size);
    comm.allgather(block, all).await?;
    check("allgather", are_from_all(all))?;

    let (blocks, exchanged) = (of(blocks, size), of(exchanged, size));
    for (at, element) in blocks.iter_mut().enumerate() {
        *element = (rank as usize * 7 + at) as u16;
    }
    comm.alltoall(blocks, exchanged).await?;
    let mut came = exchanged.chunks(LEN).zip(0..);
    let is_own = |(block, from): (&[u16], usize)| {
        let expected = |at: usize| (from * 7 + rank as usize * LEN + at) as u16;
        block.iter().enumerate().all(|(at, element)| *element == expected(at))
    };
    check("alltoall", came.all(is_own))?;

    comm.allreduce(block, other, ReduceOp::Min).await?;
    check("allreduce", is_from(0, other))?;
    comm.allreduce_in_place(block, ReduceOp::Sum).await?;
    check("allreduce_in_place", is_sum(size, block))?;

    let mut best = [Located::new(f64::from(rank), u64::from(rank))];
    comm.allreduce_in_place(&mut best, ReduceOp::Maxloc).await?;
    check("allreduce with a place", best[0].index() == u64::from(size - 1))
}

/// Messages between two ranks.
async fn messages<C: Communicator>(comm: &C, space: &mut Space) -> Result<(), Failed<C::Error>> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    let Space { block, other, all, .. } = space;

    // The receive has room for more than comes.
    give(rank, block);
    let receiving = comm.recv(previous, 9, all);
    comm.send(next, 9, block).await?;
    let status = receiving.await?;
    let envelope = (status.source, status.tag, status.count::<f32>());
    check("recv's status", envelope == (Rank::new(previous), 9.into(), Some(LEN)))?;
    check("recv", is_from(previous, &all[..LEN]))?;

    other.fill(0.0);
    let status = comm.sendrecv(previous, 5, block, next, 5, other).await?;
    check("sendrecv", status.source == Rank::new(next) && is_from(next, other))?;

    // Whoever comes first.
    if rank != 0 {
        comm.send(0, rank, &[rank * 10]).await?;
        return Ok(());
    }
    let mut seen = 0;
    for _ in 1..size {
        let mut number = [0u32];
        let status = comm.recv(ANY_SOURCE, ANY_TAG, &mut number).await?;
        check("recv from anybody", number[0] == status.source.get() * 10 && status.tag.0 == status.source.get())?;
        seen += number[0];
    }
    check("recv from everybody", seen == (0..size).map(|rank| rank * 10).sum())
}
