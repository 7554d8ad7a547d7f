//! The model and the training round of the fedavg example: the same source, and the same bits, on servers and
//! on boards without a heap.
//!
//! Every rank trains on its own [`Shard`] for some epochs; then [`round()`] averages the models of all ranks,
//! weighted by the number of their examples, with a single allreduce (McMahan et al., *Communication-Efficient
//! Learning of Deep Networks from Decentralized Data*, 2017). No example ever leaves its rank.
//!
//! - [`shard`]: what a rank learns from, and how a dataset is dealt out to ranks
//! - [`model`]: a small perceptron whose weights are one flat slice
//! - [`training`]: mini-batches over a shard, one at a time, without I/O
//! - [`mod@round`]: training and averaging over a communicator
//! - [`generator`]: the random numbers of all this
//!
//! # Example
//!
//! ```
//! use edgempi_core::Communicator;
//! use fedavg_round::{Activations, Options, Perceptron, ROUNDS, Scratch, Shard, round, start};
//!
//! /// Sixteen hidden units are enough for a small board.
//! const HIDDEN: usize = 16;
//!
//! async fn learn<C: Communicator>(comm: &C, shard: &Shard<'_>) -> Result<(), C::Error> {
//!     let mut weights = [0.0; Perceptron::<HIDDEN>::LEN]; // a board: a static
//!     let (mut order, mut batch) = ([0; 400], [Activations::ZERO; 8]);
//!     let mut scratch = Scratch::<HIDDEN> { order: &mut order, batch: &mut batch };
//!     start::<C, HIDDEN>(comm, &mut weights, Options::DEFAULT.seed).await?;
//!     for number in 0..ROUNDS {
//!         round(comm, &mut weights, shard, &mut scratch, &Options::DEFAULT, number).await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Memory
//!
//! The caller provides all of it: the weights, of [`Perceptron::LEN`] elements, and a [`Scratch`]. So a board
//! places both in static memory, and the future of [`round()`] holds references alone.
//!
//! # Bitwise equality
//!
//! Floats are added, subtracted, multiplied, divided, compared and converted, in loops of fixed order; roots,
//! exponentials and logarithms are those of `libm`, pinned to one version. The methods of `f32` that may differ
//! between targets are left alone. So x86-64 and Cortex-M, with or without an FPU, compute the same weights.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod generator;
pub mod model;
pub mod round;
pub mod shard;
pub mod training;

pub use generator::Generator;
pub use model::{Activations, Evaluation, INPUTS, OUTPUTS, Perceptron, fingerprint};
pub use round::{RoundReport, round, start};
pub use shard::{Shard, Split};
pub use training::{BATCH, HIDDEN, Options, ROUNDS, Scratch, Training};
