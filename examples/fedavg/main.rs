//! Federated averaging: ranks learn to read handwritten digits together, and no image ever leaves its rank.
//!
//!     edgempi run -n 4 --example fedavg
//!     edgempi run -n 16 --example fedavg -- --split label-skew
//!     edgempi run -n 4 --no-prefix --example fedavg           (a progress bar, on a terminal)
//!     cargo run --release --example fedavg -- --central       (the same model, without federation)
//!
//! The algorithm is in crate `fedavg-round`, which boards run unchanged. What is here is a host's part: flags,
//! data, and the evaluation on rank 0.

mod digits;
mod progress;

use std::error::Error;
use std::io::{Write, stderr};
use std::process::ExitCode;
use std::time::Instant;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use digits::Digits;
use edgempi_core::Rank;
use fedavg_round::{Activations, Options, Perceptron, Scratch, Training, fingerprint, round, start};
use progress::{Progress, say};

/// Ranks learn to read handwritten digits together, by federated averaging
///
/// Every rank trains a small neural network on its own images; then the networks of all ranks are averaged, and the
/// next round begins. Rank 0 tests the network after each round on 500 images that no rank learns from. Every rank
/// needs the same options.
#[derive(Parser)]
struct Arguments {
    /// How the 1,297 training images are dealt out to the ranks
    #[arg(long, value_enum, default_value_t = Split::Iid)]
    split: Split,

    /// How many rounds to train
    #[arg(long, value_name = "N", default_value_t = fedavg_round::ROUNDS)]
    rounds: u32,

    /// How often a rank goes through its images in a round
    #[arg(long, value_name = "N", default_value_t = Options::DEFAULT.epochs)]
    epochs: u32,

    /// How many images a mini-batch has
    #[arg(long, value_name = "N", default_value_t = fedavg_round::BATCH as u16, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// How far a mini-batch moves the weights against its mean gradient
    #[arg(long, value_name = "RATE", default_value_t = Options::DEFAULT.learning_rate)]
    learning_rate: f32,

    /// What all random numbers derive from: initial weights, the ranks' images, their order
    #[arg(long, value_name = "NUMBER", default_value_t = Options::DEFAULT.seed)]
    seed: u64,

    /// How many hidden units the network has
    #[arg(long, value_name = "UNITS", default_value_t = fedavg_round::HIDDEN, value_parser = hidden_units())]
    hidden: usize,

    /// Train the same network on rank 0 alone, on all training images and for as many epochs
    #[arg(long)]
    central: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Split {
    /// At random: every rank sees all digits
    Iid,
    /// By digit: a rank sees few digits, four or five if there are 4 ranks, two to four if there are 16
    LabelSkew,
}

impl From<Split> for fedavg_round::Split {
    fn from(split: Split) -> Self {
        match split {
            Split::Iid => Self::Iid,
            Split::LabelSkew => Self::LabelSkew,
        }
    }
}

/// The sizes of which this program has a model: a size is part of a model's type.
fn hidden_units() -> impl TypedValueParser<Value = usize> {
    PossibleValuesParser::new(["8", "16", "32", "64"]).try_map(|units| units.parse::<usize>())
}

impl Arguments {
    fn options(&self) -> Options {
        Options { epochs: self.epochs, learning_rate: self.learning_rate, seed: self.seed }
    }

    fn run<const HIDDEN: usize>(&self) -> Result<(), Box<dyn Error>> {
        if self.central {
            edgempi::block_on(train_centrally::<HIDDEN>(self))
        } else {
            edgempi::block_on(train_together::<HIDDEN>(self))
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.hidden {
        8 => arguments.run::<8>(),
        16 => arguments.run::<16>(),
        64 => arguments.run::<64>(),
        _ => arguments.run::<32>(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "fedavg: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a rank does: it trains on its own images, round by round.
async fn train_together<const HIDDEN: usize>(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let world = edgempi::init().await?;
    let comm = world.comm();
    let digits = Digits::load();
    let options = arguments.options();

    let split = fedavg_round::Split::from(arguments.split);
    let mut memory = vec![0; digits.training().len()];
    let rows = split.rows(digits.training_labels(), comm.rank(), comm.size(), options.seed, &mut memory);
    let shard = digits.training().select(rows);
    let mut order = vec![0; shard.len()];
    let mut batch = vec![Activations::<HIDDEN>::ZERO; usize::from(arguments.batch)];
    let mut scratch = Scratch { order: &mut order, batch: &mut batch };
    let mut weights = vec![0.0; Perceptron::<HIDDEN>::LEN];

    let mut progress = (comm.rank() == 0).then(|| Progress::new(arguments.rounds, world.traffic()));
    start::<_, HIDDEN>(&comm, &mut weights, options.seed).await?;
    for number in 0..arguments.rounds {
        round(&comm, &mut weights, &shard, &mut scratch, &options, number).await?;
        if let Some(progress) = &mut progress {
            progress.round(number, Perceptron::<HIDDEN>::evaluate(&weights, &digits.test()), world.traffic());
        }
    }
    if let Some(progress) = progress {
        let evaluation = Perceptron::<HIDDEN>::evaluate(&weights, &digits.test());
        progress.finish(comm.size(), evaluation, world.traffic(), fingerprint(&weights));
    }
    world.finalize().await?;
    Ok(())
}

/// The same training without the other ranks, if there are any: what federated averaging is measured against.
async fn train_centrally<const HIDDEN: usize>(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let world = edgempi::init().await?;
    if world.rank() == 0 {
        train_alone::<HIDDEN>(arguments);
    }
    world.finalize().await?;
    Ok(())
}

fn train_alone<const HIDDEN: usize>(arguments: &Arguments) {
    let begin = Instant::now();
    let digits = Digits::load();
    let shard = digits.training();
    let epochs = arguments.rounds.saturating_mul(arguments.epochs);
    let options = Options { epochs, ..arguments.options() };
    let mut order = vec![0; shard.len()];
    let mut batch = vec![Activations::<HIDDEN>::ZERO; usize::from(arguments.batch)];
    let mut scratch = Scratch { order: &mut order, batch: &mut batch };
    let mut weights = vec![0.0; Perceptron::<HIDDEN>::LEN];
    Perceptron::<HIDDEN>::initialize(&mut weights, options.seed);
    let mut training = Training::new(&shard, &mut scratch, &options, 0, Rank::new(0));
    while training.step(&mut weights) {}
    let evaluation = Perceptron::<HIDDEN>::evaluate(&weights, &digits.test());
    say(format_args!("test accuracy   {}", progress::accuracy(&evaluation)));
    say(format_args!("epochs          {epochs}"));
    say(format_args!("total time      {:.3} s", begin.elapsed().as_secs_f64()));
    say(format_args!("weights         {:016x}", fingerprint(&weights)));
}
