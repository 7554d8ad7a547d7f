//! Federated averaging, with the round function of the host's example `fedavg`, on a shard of the digits in flash.

use core::fmt::Write as _;

use edgempi_core::{Communicator as _, Rank};
use edgempi_embassy::Comm;
use fedavg_round::{Activations, BATCH, INPUTS, Options, Perceptron, ROUNDS, Scratch, Shard, Split, fingerprint};
use static_cell::ConstStaticCell;

use crate::world::{CallMemory, in_world};
use crate::{Arguments, Board, Failure};

/// Images of the largest shard: all of them, for a world of one.
const IMAGES: usize = LABELS.len();

static PIXELS: &[u8; IMAGES * INPUTS] = include_bytes!(concat!(env!("OUT_DIR"), "/pixels"));
static LABELS: &[u8; 1297] = include_bytes!(concat!(env!("OUT_DIR"), "/labels"));

/// Everything that training needs, so that none of it is on the stack: a network with `HIDDEN` units in its hidden
/// layer, which all ranks must have (hosts: `--hidden`), and so `WEIGHTS` weights.
pub struct Model<const HIDDEN: usize, const WEIGHTS: usize> {
    pub(crate) weights: [f32; WEIGHTS],
    pub(crate) batch: [Activations<HIDDEN>; BATCH],
    pub(crate) rows: [u16; IMAGES],
    pub(crate) order: [u16; IMAGES / 3 + 1],
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

/// The network of the host's example.
pub type Usual = Model<32, { Perceptron::<32>::LEN }>;
/// One that fits 16 kB of RAM.
pub type Small = Model<8, { Perceptron::<8>::LEN }>;

impl<const HIDDEN: usize, const WEIGHTS: usize> Model<HIDDEN, WEIGHTS> {
    /// One that nobody uses yet.
    pub const UNUSED: Self = Self {
        weights: [0.0; WEIGHTS],
        batch: [Activations::ZERO; BATCH],
        rows: [0; IMAGES],
        order: [0; IMAGES / 3 + 1],
    };
}

/// Trains beside hosts that run the example `fedavg`. The arguments `rounds`, `epochs`,
/// `learning-rate`, `seed`, and `split` (iid or label-skew) are those of the example, and must be the same on all ranks.
///
/// # Errors
///
/// If an argument is bad, the link, or a call.
pub async fn fedavg<B: Board, const HIDDEN: usize, const WEIGHTS: usize>(
    board: B,
    model: &'static mut Model<HIDDEN, WEIGHTS>,
) -> Result<(), Failure> {
    static MEMORY: ConstStaticCell<CallMemory> = ConstStaticCell::new(CallMemory::new());
    in_world(board, MEMORY.take(), async |comm: &Comm<'_>, console: &mut B::Console, arguments: &Arguments<'static>| {
        learn::<B, HIDDEN, WEIGHTS>(comm, console, arguments, model).await
    })
    .await
}

async fn learn<B: Board, const HIDDEN: usize, const WEIGHTS: usize>(
    comm: &Comm<'_>,
    console: &mut B::Console,
    arguments: &Arguments<'_>,
    model: &mut Model<HIDDEN, WEIGHTS>,
) -> Result<(), Failure> {
    let Model { weights, batch, rows, order } = model;
    if arguments.find("hidden")?.is_some_and(|hidden: usize| hidden != HIDDEN) {
        // The network is a part of the image.
        return Err(Failure::Argument { argument: "hidden" });
    }
    let usual = Options::DEFAULT;
    let options = Options {
        epochs: arguments.find("epochs")?.unwrap_or(usual.epochs),
        learning_rate: arguments.find("learning-rate")?.unwrap_or(usual.learning_rate),
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
