//! Federated averaging, with the round function of the host's example `fedavg`, on a shard of the digits in flash.

use core::fmt::Write as _;

use edgempi_core::Communicator as _;
use edgempi_embassy::Comm;
use fedavg_round::{Activations, BATCH, INPUTS, Options, Perceptron, ROUNDS, Scratch, Shard, Split, fingerprint};
use static_cell::ConstStaticCell;

use crate::world::{CallMemory, in_world};
use crate::{Arguments, Board, Failure};

/// Units of the hidden layer: few enough for 16 kB of RAM. Hosts say `--hidden 8`.
const HIDDEN: usize = 8;
/// Images of the largest shard: all of them, for a world of one.
const IMAGES: usize = LABELS.len();

static PIXELS: &[u8; IMAGES * INPUTS] = include_bytes!(concat!(env!("OUT_DIR"), "/pixels"));
static LABELS: &[u8; 1297] = include_bytes!(concat!(env!("OUT_DIR"), "/labels"));

/// Everything that training needs, so that none of it is on the stack.
struct Model {
    weights: [f32; Perceptron::<HIDDEN>::LEN],
    batch: [Activations<HIDDEN>; BATCH],
    rows: [u16; IMAGES],
    order: [u16; IMAGES / 2],
}

/// Trains beside hosts that run the example `fedavg`. The arguments `rounds`, `epochs`, `rate`, `seed`, and `split` (iid
/// or label-skew) are those of the example, and must be the same on all ranks.
///
/// # Errors
///
/// If an argument is bad, the link, or a call.
pub fn fedavg<B: Board>(board: B) -> impl Future<Output = Result<(), Failure>> {
    static MEMORY: ConstStaticCell<CallMemory> = ConstStaticCell::new(CallMemory::new());
    in_world(board, MEMORY.take(), learn::<B>)
}

async fn learn<B: Board>(comm: &Comm<'_>, console: &mut B::Console, arguments: &Arguments<'_>) -> Result<(), Failure> {
    static MODEL: ConstStaticCell<Model> =
        ConstStaticCell::new(Model { weights: [0.0; _], batch: [Activations::ZERO; _], rows: [0; _], order: [0; _] });
    let Model { weights, batch, rows, order } = MODEL.take();
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

    let rows = split.rows(LABELS, comm.rank(), comm.size(), options.seed, rows);
    let shard = Shard::new(PIXELS.as_chunks().0, LABELS).select(rows);
    if shard.len() > order.len() {
        // The order of so many images does not fit.
        return Err(Failure::Argument { argument: "size" });
    }
    let mut scratch = Scratch { order, batch };
    fedavg_round::start::<_, HIDDEN>(comm, weights, options.seed).await?;
    for number in 0..rounds {
        let report = fedavg_round::round(comm, weights, &shard, &mut scratch, &options, number).await?;
        if number == 0 || number + 1 == rounds {
            let _ = writeln!(console, "round {}/{rounds}: loss {:.4} before averaging", number + 1, report.loss);
        }
    }
    let _ = writeln!(console, "weights {:016x}", fingerprint(weights));
    Ok(())
}
