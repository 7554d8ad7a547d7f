//! The first calls of MPI, as in the host's example `hello`, with which it shares a world.

use core::fmt::Write as _;

use edgempi_core::{Communicator, ReduceOp};
use edgempi_embassy::Comm;
use heapless::String;
use static_cell::ConstStaticCell;

use crate::world::{CallMemory, in_world};
use crate::{Arguments, Board, Failure};

/// What the message from rank 0 to rank 1 is marked with.
const TAG: u32 = 7;
/// The host adds up vectors of this length.
const ELEMENTS: usize = 1000;
/// The largest world that this application takes part in.
const MOST_RANKS: usize = 64;

/// Says hello, and makes the calls that the host's example `hello` makes.
///
/// # Errors
///
/// If an argument is bad, the link, or a call.
pub fn hello<B: Board>(board: B) -> impl Future<Output = Result<(), Failure>> {
    static MEMORY: ConstStaticCell<CallMemory> = ConstStaticCell::new(CallMemory::new());
    in_world(board, MEMORY.take(), greet::<B>)
}

async fn greet<B: Board>(comm: &Comm<'_>, console: &mut B::Console, _: &Arguments<'_>) -> Result<(), Failure> {
    let (rank, size) = (comm.rank(), comm.size());
    comm.barrier().await?;

    let mut scratch = [0; 64];
    let own = String::try_from("hello, world").unwrap_or_default();
    let greeting: String<32> = comm.bcast_object(0, (rank == 0).then_some(&own), &mut scratch).await?;
    let _ = writeln!(console, "{greeting}: this is rank {rank} of {size}, a board");

    let mut ranks = [0u32; MOST_RANKS];
    let ranks = ranks.get_mut(..size as usize).ok_or(Failure::Argument { argument: "size" })?;
    comm.allgather(&[rank.get()], ranks).await?;
    require("allgather", ranks.iter().copied().eq(0..size))?;

    if size > 1 && rank == 0 {
        let pair: (String<8>, u32) = (String::try_from("a pair").unwrap_or_default(), 42);
        comm.send_object(1, TAG, &pair, &mut scratch).await?;
    } else if rank == 1 {
        let ((text, number), status): ((String<8>, u32), _) = comm.recv_object(0, TAG, &mut scratch).await?;
        let _ = writeln!(console, "rank 1 received ({text:?}, {number}) from rank {}", status.source);
    }

    // A vector that is nowhere: what is sent is made up on the way, what comes is looked at and forgotten.
    let own = f64::from(rank.get()).to_le_bytes();
    let total = f64::from(size * (size - 1) / 2).to_le_bytes();
    let mut right = 0;
    let mut fill = |offset: usize, bytes: &mut [u8]| {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = own[(offset + at) % 8];
        }
    };
    let mut take = |offset: usize, bytes: &[u8]| {
        right += bytes.iter().enumerate().filter(|(at, byte)| total[(offset + at) % 8] == **byte).count();
    };
    comm.allreduce_from::<f64>(ELEMENTS, ReduceOp::Sum, &mut fill, &mut take).await?;
    require("allreduce", right == ELEMENTS * 8)?;

    let mut bytes = [1u8; 16];
    comm.allreduce_in_place(&mut bytes, ReduceOp::Sum).await?;
    require("allreduce_in_place", bytes.iter().all(|byte| u32::from(*byte) == size % 256))
}

/// An error that names `call`, unless its result is right.
fn require(call: &'static str, is_right: bool) -> Result<(), Failure> {
    if is_right { Ok(()) } else { Err(Failure::Wrong { call }) }
}
