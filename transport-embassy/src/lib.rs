//! edgempi for firmware: a rank on a board, without a heap, in memory that the caller gives.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod clock;
mod comm;
mod engine;
mod error;
mod hand;
mod memory;
pub mod port;
mod transfer;
mod world;

pub use clock::Clock;
#[cfg(feature = "embassy-time")]
pub use clock::EmbassyClock;
pub use comm::{Comm, Object, Split};
pub use edgempi_core;
pub use edgempi_core::Communicator;
pub use error::Error;
pub use memory::Memory;
pub use port::Port;
pub use transfer::{Progress, Transfer};
pub use world::{Finalize, Join, Options, World, join, poll_once};
