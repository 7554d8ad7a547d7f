//! Means of one's own over vectors of any length: one with weights, and one that a few wild values do not move.
//!
//!     edgempi run -n 5 --example own_fold
//!
//! Both run at the hub, range by range: it holds a window of each rank's vector, however long that is, and sends the
//! first results while the last values are on their way.
//!
//! - A [`Fold`](edgempi::operations#buffers-range-by-range) combines the elements of two ranks at a time: sums of values and
//!   of weights, which are divided when all ranks are in them.
//! - Columns get the values of all ranks at one place: a trimmed mean leaves the largest and the smallest out.

use std::io::{Write, stdout};

use edgempi::hub::Registry;
use edgempi::{Error, Named, Sum};

/// An element is value x weight and weight; the result is the mean and the weight of all.
const WEIGHTED_MEAN: Named = Named::new("weighted mean");
const TRIMMED_MEAN: Named = Named::new("trimmed mean");

/// Coordinates: many windows of the hub.
const LEN: usize = 200_000;

/// The mean without the smallest and the largest value, where there are three at least.
fn trimmed(values: &mut [f32]) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    let kept = if values.len() > 2 { &values[1..values.len() - 1] } else { values };
    kept.iter().sum::<f32>() / kept.len() as f32
}

/// What a rank has at a place; rank 2 is broken.
fn value(rank: u32, at: usize) -> f32 {
    if rank == 2 { f32::INFINITY } else { (at % 100) as f32 + rank as f32 }
}

/// How many samples a rank has seen of a place, say.
fn weight(rank: u32, at: usize) -> f32 {
    ((rank as usize + at) % 3 + 1) as f32
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut operations = Registry::new();
    operations.insert_fold_fn(
        WEIGHTED_MEAN.name,
        WEIGHTED_MEAN.version,
        |[a, v]: [f32; 2], [b, w]: [f32; 2]| [a + b, v + w],
        |[sum, weight]| [sum / weight, weight],
    );
    operations.insert_columns_fn(TRIMMED_MEAN.name, TRIMMED_MEAN.version, trimmed);
    // Every rank may say so; it matters on the one whose process has the hub.
    let world = edgempi::Builder::new().operations(operations).init().await?;
    let (comm, rank, size) = (world.comm(), world.rank().get(), world.size());

    // A weight for each value. The vector is handed over, and comes back with the result in it.
    let pairs: Vec<f32> = (0..LEN).flat_map(|at| [at as f32 % 7.0 * weight(rank, at), weight(rank, at)]).collect();
    let means = comm.fold_all(WEIGHTED_MEAN, pairs).await?;
    for (at, mean) in means.chunks_exact(2).enumerate() {
        let weights: f32 = (0..size).map(|rank| weight(rank, at)).sum();
        assert_eq!(mean, [at as f32 % 7.0, weights], "all ranks have the same value at a place");
    }

    // One weight for the whole vector takes half the bytes, and no operation of one's own: send values x weight, with the
    // weight behind them, through a sum; divide by what comes back last.
    let weight = rank as f32 + 1.0;
    let mut values: Vec<f32> = (0..LEN).map(|at| at as f32 % 7.0 * weight).collect();
    values.push(weight);
    let mut sums = comm.allreduce(values, Sum).await?;
    let weights = sums.pop().unwrap_or(1.0);
    assert!(sums.iter().enumerate().all(|(at, sum)| sum / weights == at as f32 % 7.0));

    // Only rank 0 wants to know.
    let values: Vec<f32> = (0..LEN).map(|at| value(rank, at)).collect();
    if let Some(means) = comm.fold_to(TRIMMED_MEAN, 0, values).await? {
        for (at, mean) in means.iter().enumerate() {
            let mut column: Vec<f32> = (0..size).map(|rank| value(rank, at)).collect();
            assert_eq!(*mean, trimmed(&mut column));
            assert!(mean.is_finite());
        }
        // Whether anybody reads it does not matter to the others.
        let _ = writeln!(stdout(), "the first mean of {size} ranks is {}, whatever rank 2 says", means[0]);
    }
    world.finalize().await
}
