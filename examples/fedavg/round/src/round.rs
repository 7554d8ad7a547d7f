//! The algorithm: written once against [`Communicator`], for servers, boards and simulated ranks.

use edgempi_core::{Communicator, ReduceOp};

use crate::model::Perceptron;
use crate::shard::Shard;
use crate::training::{Options, Scratch, Training};

/// What a round did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundReport {
    /// The mean cross entropy of this rank's images in its last epoch, before averaging.
    pub loss: f32,
    /// How many images all ranks trained on.
    pub examples: u32,
}

/// Gives every rank the same random `weights`: rank 0 makes them from `seed` and broadcasts them.
///
/// # Errors
///
/// Those of the communicator.
///
/// # Cancel safety
///
/// As a broadcast: dropping the future fails it on every rank.
///
/// # Panics
///
/// If `weights` has not [`Perceptron::LEN`] elements.
pub async fn start<C: Communicator, const HIDDEN: usize>(
    comm: &C,
    weights: &mut [f32],
    seed: u64,
) -> Result<(), C::Error> {
    if comm.rank() == 0 {
        Perceptron::<HIDDEN>::initialize(weights, seed);
    }
    comm.bcast(0, weights).await?;
    Ok(())
}

/// One round of federated averaging, number `number`: trains on `shard`, then replaces the weights by their
/// mean over all ranks, weighted by the number of images. Afterwards all ranks have the same weights, bit for
/// bit. A rank without images takes part, and at least one must have some.
///
/// # Errors
///
/// Those of the communicator. The weights are then of no use: the caller starts again from a copy of its own.
///
/// # Cancel safety
///
/// Dropping the future while it trains keeps other ranks waiting; dropping it while it averages fails the
/// allreduce on every rank. The weights are of no use in either case.
///
/// # Panics
///
/// If `weights` has not [`Perceptron::LEN`] elements, or if the scratch memory is too small for the shard.
pub async fn round<C: Communicator, const HIDDEN: usize>(
    comm: &C,
    weights: &mut [f32],
    shard: &Shard<'_>,
    scratch: &mut Scratch<'_, HIDDEN>,
    options: &Options,
    number: u32,
) -> Result<RoundReport, C::Error> {
    let mut training = Training::new(shard, scratch, options, number, comm.rank());
    while training.step(weights) {
        comm.progress().await;
    }
    let loss = training.loss();
    let examples = average(comm, weights, shard.len()).await?;
    Ok(RoundReport { loss, examples })
}

/// Replaces the weights by their mean over all ranks, of which this one counts `examples` times. The last
/// element, a one, becomes the sum of all counts on the way: so one allreduce does both.
async fn average<C: Communicator>(comm: &C, weights: &mut [f32], examples: usize) -> Result<u32, C::Error> {
    for weight in weights.iter_mut() {
        *weight *= examples as f32;
    }
    comm.allreduce_in_place(weights, ReduceOp::Sum).await?;
    let total = weights.last().copied().unwrap_or(1.0);
    for weight in weights.iter_mut() {
        *weight /= total;
    }
    Ok(total as u32)
}
