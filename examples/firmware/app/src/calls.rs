//! Every call that the library has for boards, each against a known result. Tests run it beside hosts that make the same
//! calls (`tests/firmware`).

use core::fmt::Write as _;

use edgempi_core::{Communicator, Group, Rank, ReduceOp};
use edgempi_embassy::{Comm, Transfer};
use embassy_futures::yield_now;
use every_call::{Failed, LEN, LONG, MOST_RANKS, ScaledSum, Space, every_call, give, is_from, value};
use heapless::String;
use static_cell::ConstStaticCell;

use crate::world::{CallMemory, in_world};
use crate::{Arguments, Board, Failure};

/// Makes every call, in a world of up to [`MOST_RANKS`] whose hub knows the operation [`ScaledSum`].
///
/// # Errors
///
/// If an argument is bad, the link, a call, or a result.
pub async fn calls<B: Board>(board: B) -> Result<(), Failure> {
    static MEMORY: ConstStaticCell<CallMemory> = ConstStaticCell::new(CallMemory::new());
    in_world(board, MEMORY.take(), call::<B>).await
}

async fn call<B: Board>(comm: &Comm<'_>, console: &mut B::Console, _: &Arguments<'_>) -> Result<(), Failure> {
    static SPACE: ConstStaticCell<Space> = ConstStaticCell::new(Space::ZERO);
    let space = SPACE.take();
    if comm.size() as usize > MOST_RANKS {
        return Err(Failure::Argument { argument: "size" });
    }
    every_call(comm, space).await?;
    parts(comm, space).await?;
    objects(comm).await?;
    operations(comm).await?;
    in_flight(comm).await?;
    nowhere(comm).await?;
    let _ = writeln!(console, "all calls are right");
    Ok(())
}

impl From<Failed<edgempi_embassy::Error>> for Failure {
    fn from(failed: Failed<edgempi_embassy::Error>) -> Self {
        match failed {
            Failed::Call(error) => Self::World(error),
            Failed::Wrong(call) => Self::Wrong { call },
        }
    }
}

/// An error that names `call`, unless its result is right.
fn require(call: &'static str, is_right: bool) -> Result<(), Failure> {
    if is_right { Ok(()) } else { Err(Failure::Wrong { call }) }
}

/// Even and odd ranks part, the last one first; and all calls work among them.
async fn parts(comm: &Comm<'_>, space: &mut Space) -> Result<(), Failure> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let part = comm.split(Some(rank % 2), -(rank as i32)).await?.ok_or(Failure::Wrong { call: "split" })?;
    let above = (rank + 1..size).filter(|other| other % 2 == rank % 2).count() as u32;
    let all = (0..size).filter(|other| other % 2 == rank % 2).count() as u32;
    require("split", (part.rank().get(), part.size()) == (above, all))?;
    every_call(&part, space).await?;
    let nothing = comm.split(None, 0).await?;
    require("split without a colour", nothing.is_none())
}

/// Values of the first rank, of the last one, and of a neighbour.
async fn objects(comm: &Comm<'_>) -> Result<(), Failure> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let mut scratch = [0; 64];
    for root in [0, size - 1] {
        let own: (String<16>, u32) = (text("from the root"), root);
        let came = comm.bcast_object(root, (rank == root).then_some(&own), &mut scratch).await?;
        require("bcast_object", came == own)?;
    }
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    let pair: (String<16>, u32) = (text("a pair"), rank);
    let mut room = [0; 64];
    let receiving = comm.recv_object::<(String<16>, u32)>(previous, 3, &mut room);
    comm.send_object(next, 3, &pair, &mut scratch).await?;
    let ((word, number), status) = receiving.await?;
    let is_right = word == "a pair" && number == previous && status.source == Rank::new(previous);
    require("recv_object", is_right)
}

fn text<const N: usize>(text: &str) -> String<N> {
    String::try_from(text).unwrap_or_default()
}

/// An operation that the hub knows by its name: for all ranks, then from two of them to one.
async fn operations(comm: &Comm<'_>) -> Result<(), Failure> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let (mut send, mut receive) = ([0; 32], [0; 32]);
    let all = ScaledSum { factor: 3, group: Group::ALL };
    let came = comm.apply(&all, Some(&rank), &mut send, &mut receive).await?;
    require("apply", came == Some(3 * size * (size - 1) / 2))?;

    let (ends, last) = ([Rank::new(0), Rank::new(size - 1)], [Rank::new(size - 1)]);
    if rank == 0 || rank == size - 1 {
        let some = ScaledSum { factor: 5, group: Group::new(&ends, &last) };
        let came = comm.apply(&some, Some(&(rank + 1)), &mut send, &mut receive).await?;
        require("apply on some ranks", came == (rank == size - 1).then_some(5 * (size + 1)))?;
    }
    Ok(())
}

/// Four requests at a time, as many as there is memory for, asked again and again whether they are done.
async fn in_flight(comm: &Comm<'_>) -> Result<(), Failure> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    let (mut early, mut late, mut block) = ([0.0; LEN], [0u8; 3], [0.0; LEN]);
    give(rank, &mut block);
    let mut sum = [u64::from(rank) + 1];
    {
        let mut tokens: [Option<Transfer<'_>>; 4] = [
            Some(comm.recv(previous, 21, &mut early)),
            Some(comm.recv(previous, 22, &mut late)),
            Some(comm.allreduce_in_place(&mut sum, ReduceOp::Sum)),
            Some(comm.send(next, 22, &[1u8, 2, 3])),
        ];
        let refused = comm.barrier().await;
        let number = refused.err().filter(|error| error.category() == edgempi_core::Category::TooManyRequests);
        require("a request too many", number.is_some_and(|error| error.number() == 4))?;
        // All but the receive whose message has not been sent.
        while tokens.iter().flatten().count() > 1 {
            for token in tokens.iter_mut() {
                if let Some(result) = token.as_mut().and_then(Transfer::test) {
                    result?;
                    *token = None;
                }
            }
            yield_now().await;
        }
        // The receive does not keep another call from its end.
        comm.barrier().await?;
        comm.send(next, 21, &block).await?;
        while let Some(token) = &mut tokens[0] {
            if let Some(result) = token.test() {
                result?;
                tokens[0] = None;
            }
            yield_now().await;
        }
    }
    require("several requests", is_from(previous, &early) && late == [1, 2, 3])?;
    require("several requests", sum[0] == u64::from(size) * u64::from(size + 1) / 2)
}

/// Vectors that are nowhere: made up on the way, and looked at as they come.
async fn nowhere(comm: &Comm<'_>) -> Result<(), Failure> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let mut fill = |offset: usize, bytes: &mut [u8]| {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = value(rank, (offset + at) / 4).to_le_bytes()[(offset + at) % 4];
        }
    };
    let mut right = 0;
    let mut take = |offset: usize, bytes: &[u8]| {
        for (at, byte) in bytes.iter().enumerate() {
            let sum: f32 = (0..size).map(|rank| value(rank, (offset + at) / 4)).sum();
            right += usize::from(sum.to_le_bytes()[(offset + at) % 4] == *byte);
        }
    };
    comm.allreduce_from::<f32>(LONG, ReduceOp::Sum, &mut fill, &mut take).await?;
    require("allreduce_from", right == 4 * LONG)?;
    if rank != 0 {
        comm.reduce_from::<f32>(0, LONG, ReduceOp::Sum, &mut fill).await?;
    }
    Ok(())
}
