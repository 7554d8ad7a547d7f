//! One epoch of training without any other rank: all boards, and hosts, come to the same weights, bit for bit.

use core::fmt::Write as _;

use static_cell::ConstStaticCell;

use fedavg_round::{Options, Perceptron, Scratch, Training, fingerprint};

use crate::fedavg::{Small, deal};
use crate::{Arguments, Board, Failure};

/// Trains for one epoch on the images of the arguments `rank` and `size`, and says the weights' fingerprint.
///
/// # Errors
///
/// If an argument is bad.
pub async fn epoch<B: Board>(board: B) -> Result<(), Failure> {
    static MODEL: ConstStaticCell<Small> = ConstStaticCell::new(Small::UNUSED);
    let arguments = Arguments::new(board.arguments());
    let (rank, size): (u32, u32) = (arguments.need("rank")?, arguments.need("size")?);
    let Small { weights, batch, rows, order } = MODEL.take();
    let options = Options { epochs: 1, ..Options::DEFAULT };
    let rank = edgempi_core::Rank::new(rank);
    let shard = deal(fedavg_round::Split::Iid, rank, size, options.seed, rows, order)?;
    Perceptron::<8>::initialize(weights, options.seed);
    let mut scratch = Scratch { order, batch };
    let mut training = Training::new(&shard, &mut scratch, &options, 0, rank);
    while training.step(weights) {}
    let _ = writeln!(board.console(), "weights {:016x}", fingerprint(weights));
    Ok(())
}
