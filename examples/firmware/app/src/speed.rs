//! How fast the link is with the library and without: one image for both, so that nothing else differs.

use core::fmt::Write as _;

use edgempi_core::{Communicator as _, ReduceOp};
use edgempi_embassy::{Comm, Memory};
use embedded_io_async::{Read as _, Write as _};
use static_cell::ConstStaticCell;
use zerocopy::IntoBytes as _;

use crate::link::Stream as _;
use crate::world::in_world;
use crate::{Arguments, Board, Failure, Link};

/// 256 kB, the longest vector.
const ELEMENTS: usize = 65_536;
/// Bytes that are sent back at a time.
const PIECE: usize = 4096;

static DATA: ConstStaticCell<[f32; ELEMENTS]> = ConstStaticCell::new([0.0; ELEMENTS]);

/// Sends back what comes, if it is not told its `rank`. If it is, adds up vectors of `elements` floats, `calls` times.
///
/// # Errors
///
/// If an argument is bad, the link, or a call.
pub async fn speed<B: Board>(board: B) -> Result<(), Failure> {
    // A call gets half of the scratch as its window: about what the link's own buffers hold.
    static MEMORY: ConstStaticCell<Memory<4, 16_384>> = ConstStaticCell::new(Memory::new());
    let arguments = Arguments::new(board.arguments());
    if arguments.text("rank").is_some() {
        return in_world(board, MEMORY.take(), add_up::<B>).await;
    }
    let mut console = board.console();
    let mut link = board.link();
    let mut stream = link.open(&arguments).await?;
    let _ = writeln!(console, "speed");
    let (piece, _) = DATA.take().as_mut_bytes().split_at_mut(PIECE);
    loop {
        let len = stream.read(piece).await.map_err(Failure::lost)?;
        if len == 0 {
            break;
        }
        stream.write_all(&piece[..len]).await.map_err(Failure::lost)?;
    }
    stream.close().await;
    Ok(())
}

async fn add_up<B: Board>(comm: &Comm<'_>, _: &mut B::Console, arguments: &Arguments<'_>) -> Result<(), Failure> {
    let elements: usize = arguments.need("elements")?;
    let calls: u32 = arguments.need("calls")?;
    let data = DATA.take().get_mut(..elements).ok_or(Failure::Argument { argument: "elements" })?;
    for _ in 0..calls {
        comm.allreduce_in_place(data, ReduceOp::Max).await?;
    }
    Ok(())
}
