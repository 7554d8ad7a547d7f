//! What the library costs: images that do nothing but call it, to be held against `echo` of the same board.
//!
//! They use what `echo` uses: its buffer, its console, its errors. Results are not looked at; `hello` does that.

use edgempi_core::operation::Operation;
use edgempi_core::{ANY_SOURCE, ANY_TAG, Communicator as _, Group, ReduceOp};
use edgempi_embassy::{Comm, EmbassyClock, Options, join};
use embassy_futures::select::{Either, select};
use static_cell::ConstStaticCell;

use crate::link::Keeper as _;
use crate::world::CallMemory;
use crate::{Arguments, Board, Failure, Link as _};

/// The buffer of `echo`, as elements: all calls share it.
static BUFFER: ConstStaticCell<[f32; 64]> = ConstStaticCell::new([0.0; 64]);
/// As for `hello` and `fedavg`.
static MEMORY: ConstStaticCell<CallMemory> = ConstStaticCell::new(CallMemory::new());

/// Barrier, bcast and allreduce, and no other call.
///
/// # Errors
///
/// If an argument is bad, the link, or a call.
pub fn size_basic<B: Board>(board: B) -> impl Future<Output = Result<(), Failure>> {
    in_pair(board, basic)
}

/// Joins a world of two, with as little around it as `echo` has around its link.
async fn in_pair<B: Board>(
    board: B,
    application: impl AsyncFnOnce(&Comm<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let arguments = Arguments::new(board.arguments());
    let rank = arguments.find::<usize>("rank")?.unwrap_or(0);
    let mut link = board.link();
    let (port, keeper) = link.connect(&arguments).await?;
    let stay = async {
        let world = join(port, EmbassyClock, MEMORY.take(), &Options::new(rank as u32, 2)).await?;
        application(&world.comm()).await?;
        world.finalize().await?;
        Ok(())
    };
    match select(stay, keeper.keep()).await {
        Either::First(result) => result,
        Either::Second(failure) => Err(failure),
    }
}

async fn basic(comm: &Comm<'_>) -> Result<(), Failure> {
    let buffer = BUFFER.take();
    comm.barrier().await?;
    comm.bcast(0, buffer).await?;
    comm.allreduce_in_place(buffer, ReduceOp::Sum).await?;
    Ok(())
}

/// Every call of the library. In a world of two, both of them boards with this image.
///
/// # Errors
///
/// If an argument is bad, the link, or a call.
pub fn size_all<B: Board>(board: B) -> impl Future<Output = Result<(), Failure>> {
    in_pair(board, all)
}

/// An operation that no hub knows: the call's way there and back is the same.
struct Unknown;

impl Operation for Unknown {
    const NAME: &'static str = "unknown";
    type Parameters = u8;
    type Input = f32;
    type Output = f32;

    fn parameters(&self) -> u8 {
        1
    }

    fn group(&self) -> Group<'_> {
        Group::ALL
    }
}

async fn all(comm: &Comm<'_>) -> Result<(), Failure> {
    let (block, buffer) = BUFFER.take().split_at_mut(2);
    let (own, other) = (comm.rank(), 1 - comm.rank().get().min(1));
    let pair = buffer.first_chunk_mut::<4>().ok_or(Failure::Wrong { call: "size_all" })?;

    comm.barrier().await?;
    comm.bcast(0, pair).await?;
    comm.gather(0, block, if own == 0 { &mut pair[..] } else { &mut [] }).await?;
    comm.scatter(0, if own == 0 { &pair[..] } else { &[] }, block).await?;
    comm.allgather(block, pair).await?;
    comm.reduce_in_place(0, pair, ReduceOp::Sum).await?;
    comm.allreduce(&*block, &mut pair[..2], ReduceOp::Sum).await?;
    comm.allreduce_in_place(pair, ReduceOp::Sum).await?;
    comm.sendrecv(other, 1, &*block, other, 1, &mut pair[..2]).await?;
    if own == 0 {
        comm.send(other, 2, &*block).await?;
    } else {
        comm.recv(ANY_SOURCE, ANY_TAG, block).await?;
    }

    let mut scratch = [0; 16];
    if own == 0 {
        comm.send_object(other, 3, &pair[0], &mut scratch).await?;
    } else {
        (pair[0], _) = comm.recv_object(other, 3, &mut scratch).await?;
    }
    pair[0] = comm.bcast_object(0, Some(&pair[1]), &mut scratch).await?;
    // Fails, as it should.
    let (send, receive) = scratch.split_at_mut(8);
    let _ = comm.apply(&Unknown, Some(&pair[0]), send, receive).await;

    let mut fill = |offset: usize, bytes: &mut [u8]| bytes.fill(offset as u8);
    let mut sum = 0;
    let mut take = |offset: usize, bytes: &[u8]| sum += offset + bytes.len();
    if own != 0 {
        comm.reduce_from::<f32>(0, 4, ReduceOp::Sum, &mut fill).await?;
    } else {
        comm.reduce_in_place(0, pair, ReduceOp::Sum).await?;
    }
    comm.allreduce_from::<f32>(64, ReduceOp::Sum, &mut fill, &mut take).await?;
    if let Some(half) = comm.split(Some(0), 0).await? {
        half.barrier().await?;
    }
    let mut token = comm.allreduce_in_place(pair, ReduceOp::Sum);
    while token.test().is_none() {
        comm.progress().await;
    }
    Ok(())
}
