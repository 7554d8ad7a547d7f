//! A board's place in a world: joined as the arguments say, left when the application is done.

use core::fmt::Write as _;

use edgempi_embassy::{Comm, EmbassyClock, Memory, Options, join};
use embassy_futures::select::{Either, select};

use crate::link::Keeper as _;
use crate::{Arguments, Board, Failure, Link};

/// The memory of an application's calls: so many in flight, with so many bytes of scratch.
pub type CallMemory = Memory<4, 512>;

/// Joins the world that the arguments `rank`, `size`, and `world` if it has a name, say, and runs `application` in it.
///
/// # Errors
///
/// If an argument is bad, or the link; what the application returns. What the hub said of it is on the console then.
pub async fn in_world<B: Board, const N: usize, const SCRATCH: usize>(
    board: B,
    memory: &'static mut Memory<N, SCRATCH>,
    application: impl AsyncFnOnce(&Comm<'_>, &mut B::Console, &Arguments<'static>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut console = board.console();
    let arguments = Arguments::new(board.arguments());
    let options = Options::new(arguments.need("rank")?, arguments.need("size")?);
    let options = options.world(arguments.text("world").unwrap_or_default());
    let mut link = board.link();
    let (port, keeper) = link.connect(&arguments).await?;
    let stay = async {
        let world = join(port, EmbassyClock, &mut *memory, &options).await?;
        application(&world.comm(), &mut console, &arguments).await?;
        world.finalize().await?;
        Ok(())
    };
    let result = match select(stay, keeper.keep()).await {
        Either::First(result) => result,
        Either::Second(failure) => Err(failure),
    };
    if result.is_err() && !memory.last_reason().is_empty() {
        let _ = writeln!(console, "the hub says: {}", memory.last_reason());
    }
    result
}
