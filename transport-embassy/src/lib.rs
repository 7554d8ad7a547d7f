//! edgempi for firmware: a rank on a board, without a heap, driven by an async executor such as embassy's.
//!
//! **Today this crate is a skeleton.** It re-exports [`edgempi_core`]; it cannot join a world yet.
//!
//! | | |
//! |---|---|
//! | there | [`Communicator`], the trait an algorithm is written against once for hosts, boards and simulations; with core's ranks, datatypes and reduce operations it compiles for Cortex-M without a heap |
//! | not yet | the engine that drives a rank over a link, the links themselves (TCP over embassy-net or smoltcp, serial), and the clock they wait on |
//!
//! What can be written today is the algorithm:
//!
//! ```
//! use edgempi_embassy::Communicator;
//! use edgempi_embassy::edgempi_core::ReduceOp;
//!
//! /// Every rank's weights become the mean of all ranks' weights.
//! async fn average<C: Communicator>(comm: &C, weights: &mut [f32]) -> Result<(), C::Error> {
//!     comm.allreduce_in_place(weights, ReduceOp::Sum).await?;
//!     let size = comm.size() as f32;
//!     weights.iter_mut().for_each(|weight| *weight /= size);
//!     Ok(())
//! }
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub use edgempi_core;
pub use edgempi_core::Communicator;
