//! Federated averaging, with the round function of the host's example `fedavg`, on a shard of the digits in flash.

use core::fmt::Write as _;

use edgempi_core::{Communicator as _, Rank};
use edgempi_embassy::Comm;
use fedavg_round::{Activations, BATCH, INPUTS, Options, Perceptron, ROUNDS, Scratch, Shard, Split, fingerprint};
use static_cell::ConstStaticCell;

use crate::world::{CallMemory, in_world};
use crate::{Arguments, Board, Failure};

/// Units of the hidden layer: few enough for 16 kB of RAM. Hosts say `--hidden 8`.
pub(crate) const HIDDEN: usize = 8;
/// Images of the largest shard: all of them, for a world of one.
const IMAGES: usize = LABELS.len();

static PIXELS: &[u8; IMAGES * INPUTS] = include_bytes!(concat!(env!("OUT_DIR"), "/pixels"));
static LABELS: &[u8; 1297] = include_bytes!(concat!(env!("OUT_DIR"), "/labels"));

/// Everything that training needs, so that none of it is on the stack.
pub(crate) struct Model {
    pub(crate) weights: [f32; Perceptron::<HIDDEN>::LEN],
    pub(crate) batch: [Activations<HIDDEN>; BATCH],
    pub(crate) rows: [u16; IMAGES],
    pub(crate) order: [u16; IMAGES / 2],
}

impl Model {
    /// Gives it away, once.
    pub(crate) fn take() -> &'static mut Self {
        static MODEL: ConstStaticCell<Model> = ConstStaticCell::new(Model {
            weights: [0.0; _],
            batch: [Activations::ZERO; _],
            rows: [0; _],
            order: [0; _],
        });
        MODEL.take()
    }
}

/// The images of a rank of `size`, whose order has to fit `order`.
pub(crate) fn deal<'a>(
    split: Split,
    rank: Rank,
    size: u32,
    seed: u64,
    rows: &'a mut [u16; IMAGES],
    order: &[u16],
) -> Result<Shard<'a>, Failure> {
    if rank.get() >= size {
        return Err(Failure::Argument { argument: "rank" });
    }
    let rows = split.rows(LABELS, rank, size, seed, rows);
    let shard = Shard::new(PIXELS.as_chunks().0, LABELS).select(rows);
    if shard.len() > order.len() {
        return Err(Failure::Argument { argument: "size" });
    }
    Ok(shard)
}

/// Trains beside hosts that run the example `fedavg`. The arguments `rounds`, `epochs`, `rate`, `seed`, and `split` (iid
/// or label-skew) are those of the example, and must be the same on all ranks.
///
/// # Errors
///
/// If an argument is bad, the link, or a call.
pub async fn fedavg<B: Board>(board: B) -> Result<(), Failure> {
    static MEMORY: ConstStaticCell<CallMemory> = ConstStaticCell::new(CallMemory::new());
    in_world(board, MEMORY.take(), learn::<B>).await
}

async fn learn<B: Board>(comm: &Comm<'_>, console: &mut B::Console, arguments: &Arguments<'_>) -> Result<(), Failure> {
    let Model { weights, batch, rows, order } = Model::take();
    let usual = Options::DEFAULT;
    let options = Options {
        epochs: arguments.find("epochs")?.unwrap_or(usual.epochs),
        learning_rate: arguments.find("rate")?.unwrap_or(usual.learning_rate),
        seed: arguments.find("seed")?.unwrap_or(usual.seed),
    };
    let rounds = arguments.find("rounds")?.unwrap_or(ROUNDS);
    let split = match arguments.text("split") {
        None | Some("iid") => Split::Iid,
        Some("label-skew") => Split::LabelSkew,
        Some(_) => return Err(Failure::Argument { argument: "split" }),
    };

    let shard = deal(split, comm.rank(), comm.size(), options.seed, rows, order)?;
    let mut scratch = Scratch { order, batch };
    fedavg_round::start::<_, HIDDEN>(comm, weights, options.seed).await?;
    for number in 0..rounds {
        let report = fedavg_round::round(comm, weights, &shard, &mut scratch, &options, number).await?;
        if number == 0 || number + 1 == rounds {
            // To format a float takes a kilobyte of stack, more than the smallest board can spare.
            let loss = (report.loss * 10_000.0) as u32;
            let (whole, rest) = (loss / 10_000, loss % 10_000);
            let _ = writeln!(console, "round {}/{rounds}: loss {whole}.{rest:04} before averaging", number + 1);
        }
    }
    let _ = writeln!(console, "weights {:016x}", fingerprint(weights));
    Ok(())
}
