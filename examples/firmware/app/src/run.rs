//! Runs an application from the board's start to its exit code.

use core::fmt::Write as _;

use crate::{Board, Failure, Outcome};

/// Runs `application` on `board`, says on the console what came of it, and ends the board's work.
pub async fn run<B: Board>(board: B, application: impl AsyncFnOnce(B) -> Result<(), Failure>) -> ! {
    let mut console = board.console();
    let outcome = match application(board).await {
        Ok(()) => Outcome::Success,
        Err(failure) => {
            // What can't be said on the console can't be said at all.
            let _ = writeln!(console, "failed: {failure}");
            Outcome::Failure
        }
    };
    let _ = writeln!(console, "stack: {} bytes at most", B::stack_high_water());
    B::exit(outcome)
}
