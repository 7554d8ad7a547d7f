//! What a board provides. Each crate under `boards/` implements this, and nothing in this crate knows which one.

use core::fmt;

use crate::Link;

/// A board, set up and ready to run one application.
///
/// A board also has an embassy-time driver, an executor, a panic handler that says on the console what went wrong, and
/// one image for each application, in its `src/bin`.
pub trait Board {
    /// The way to a host.
    type Link: Link;
    /// Where a person reads what the application has to say. Never the line that the link uses.
    type Console: fmt::Write;

    /// What the application was started with: words with a space between, most of them `name=value`.
    fn arguments(&self) -> &'static str;

    /// The console.
    fn console(&self) -> Self::Console;

    /// Gives the link away.
    fn link(self) -> Self::Link;

    /// How many bytes of stack have been in use at most, since the start.
    fn stack_high_water() -> usize;

    /// The end: of the emulator, or of what the debugger shows, with an exit code that says the outcome; else of any
    /// work, until reset.
    fn exit(outcome: Outcome) -> !;
}

/// How an application ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Success,
    /// Exit code 1.
    Failure,
}
