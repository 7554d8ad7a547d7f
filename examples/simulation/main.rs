//! A thousand unreliable boards and four servers learn to read digits together: two hours of it, simulated in seconds.
//!
//!     cargo run --release --example simulation
//!     cargo run --release --example simulation -- --seed 7 --deaths 20 --output run.svg
//!
//! The boards are on a bad cell network: far away, lossy, some of them slow, some with radios that sleep most of the
//! time; and now and then one loses its power for good. So they are grouped in cells of 50, each a communicator with a
//! server as its rank 0. A cell trains as the fedavg example does, with the very same `round`; the servers then average
//! their cells. When a board dies, the collectives of its cell fail on all of the others, who then go home; the rest goes
//! on without that cell.
//!
//! Prints what each round took and what the deaths have cost, and writes a plot of accuracy and bytes against virtual
//! time.

#[path = "../fedavg/digits.rs"]
mod digits;
mod plot;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use digits::Digits;
use edgempi::sim::{Class, Failure, Rank, Report, Simulation};
use edgempi::{Comm, Sum};
use fedavg_round::{Activations, Options, Perceptron, Scratch, Split, round};
use plot::Point;

const SERVERS: u32 = 4;
const CELLS: u32 = 20;
const BOARDS_IN_CELL: u32 = 50;
const HIDDEN: usize = 16;
type Model = Perceptron<HIDDEN>;

const OPTIONS: Options = Options::DEFAULT;

/// How long a board of ordinary speed trains in a round.
const TRAINING: Duration = Duration::from_secs(5);

/// A federated run with unreliable boards, in virtual time
#[derive(Parser)]
struct Arguments {
    /// What everything follows from that is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many rounds to train
    #[arg(long, value_name = "N", default_value_t = 100)]
    rounds: u32,

    /// How many boards lose their power while they train
    #[arg(long, value_name = "N", default_value_t = 8)]
    deaths: u32,

    /// Where the plot goes
    #[arg(long, value_name = "FILE", default_value = "simulation.svg")]
    output: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "simulation: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let digits = Digits::load();
    let outcome = simulation(arguments).run(|rank| {
        let (digits, rounds) = (&digits, arguments.rounds);
        async move {
            if rank.rank() < SERVERS { serve(&rank, digits, rounds).await } else { learn(&rank, digits, rounds).await }
        }
    })?;
    // Dead boards are no news. The servers have not failed.
    let curve = outcome.results[0].as_ref().map_err(Clone::clone)?;
    let report = &outcome.report;
    say(format_args!("{report}"));
    say(format_args!("{}", Losses::of(&outcome.results)));
    say(format_args!(
        "{:.1} hours of virtual time, {:.1} s of real time",
        report.duration.as_secs_f64() / 3600.0,
        begin.elapsed().as_secs_f64()
    ));
    say(format_args!("trace {} of seed {}", outcome.trace, outcome.seed()));
    draw(curve, report, &arguments.output)
}

/// Prints; that nobody reads any more (`| head`) is no reason not to write the plot.
fn say(text: fmt::Arguments<'_>) {
    let _ = writeln!(stdout(), "{text}");
}

/// What the deaths have cost: a collective needs all of its ranks, so a cell ends with the first board that it loses.
struct Losses {
    boards: usize,
    cells: BTreeSet<u32>,
}

impl Losses {
    fn of<T>(results: &[Result<T, Failure>]) -> Self {
        let boards = (0..).zip(results.iter().skip(SERVERS as usize));
        let dead: Vec<u32> =
            boards.filter(|(_, result)| matches!(result, Err(Failure::Died { .. }))).map(|(board, _)| board).collect();
        Self { boards: dead.len(), cells: dead.iter().map(|board| board % CELLS).collect() }
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { boards, cells } = self;
        let left = CELLS as usize - cells.len();
        write!(f, "boards that lost their power: {boards}; cells of {BOARDS_IN_CELL} that went on: {left} of {CELLS}")
    }
}

/// Four servers, and boards of three kinds, of which some die.
fn simulation(arguments: &Arguments) -> Simulation {
    let board = Class::board().loss(0.02).jitter(Duration::from_millis(300)).silence(Duration::from_secs(300));
    let slow = board.clone().slowness(3.0).bandwidth_up(4000);
    let asleep = board.clone().radio(Duration::from_secs(2), Duration::from_secs(20));
    let boards = CELLS * BOARDS_IN_CELL;
    let mut simulation = Simulation::new(arguments.seed)
        .ranks(SERVERS, Class::server())
        .ranks(boards / 2, board)
        .ranks(boards / 4, slow)
        .ranks(boards - boards / 2 - boards / 4, asleep)
        // Boards take their time to come, and to answer.
        .config(edgempi::Config::new().wait(Duration::from_secs(600)))
        .hub_limits(|limits| limits.max_silence = Duration::from_secs(120));
    for death in 0..arguments.deaths {
        // Spread over boards and time.
        let victim = SERVERS + (death * 389 + 17) % boards;
        let at = Duration::from_secs(600 + u64::from(death) * 300);
        simulation = simulation.rank(victim, |class| class.power_loss(at));
    }
    simulation
}

/// The cells that a rank is in. A server leads several, and is their rank 0.
async fn cells(rank: &Rank) -> Result<Vec<Comm>, edgempi::Error> {
    let me = rank.rank().get();
    let mut cells = Vec::new();
    // A rank says one colour in a split, so each wave makes one cell for each server.
    for wave in 0..CELLS / SERVERS {
        let cell = match me.checked_sub(SERVERS) {
            None => Some(wave * SERVERS + me),
            // Boards next to each other are alike, so they are dealt out to cells in turn.
            Some(board) => Some(board % CELLS).filter(|cell| cell / SERVERS == wave),
        };
        cells.extend(rank.split(cell, i32::from(me >= SERVERS)).await?);
    }
    Ok(cells)
}

/// What a board does: it learns with its cell, for as long as that is whole.
async fn learn(rank: &Rank, digits: &Digits, rounds: u32) -> Result<Vec<Point>, edgempi::Error> {
    let cell = cells(rank).await?.remove(0);
    rank.split(None, 0).await?;
    let mut memory = vec![0; digits.training().len()];
    let (board, boards) = (rank.rank().get() - SERVERS, CELLS * BOARDS_IN_CELL);
    let rows = Split::Iid.rows(digits.training_labels(), board.into(), boards, OPTIONS.seed, &mut memory);
    let shard = digits.training().select(rows);
    let (mut order, mut batch) = (vec![0; shard.len()], [Activations::<HIDDEN>::ZERO; fedavg_round::BATCH]);
    let mut scratch = Scratch { order: &mut order, batch: &mut batch };
    let mut weights = vec![0.0; Model::LEN];
    for number in 0..rounds {
        rank.round(number);
        let learned = async {
            cell.bcast_in_place(0, &mut weights).await?;
            rank.compute(TRAINING).await;
            round(&cell, &mut weights, &shard, &mut scratch, &OPTIONS, number).await
        };
        match learned.await {
            Ok(_) => {}
            // There is no cell any more, which is no failure of this board.
            Err(edgempi::Error::RankFailed { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

/// What a server does: it leads its cells, and averages with the other servers. Returns how well the model did.
async fn serve(rank: &Rank, digits: &Digits, rounds: u32) -> Result<Vec<Point>, edgempi::Error> {
    let mut cells = cells(rank).await?;
    let servers = rank.split(Some(0), 0).await?.expect("a colour was said");
    let (mut order, mut batch) = ([], [Activations::<HIDDEN>::ZERO]);
    let mut scratch = Scratch { order: &mut order, batch: &mut batch };
    let nothing = digits.training().select(&[]);
    let mut weights = vec![0.0; Model::LEN];
    fedavg_round::start::<_, HIDDEN>(&servers, &mut weights, OPTIONS.seed).await?;
    let mut curve = Vec::new();
    for number in 0..rounds {
        // All cells begin at once; what becomes of each is seen below.
        for cell in &cells {
            drop(cell.bcast(0, weights.clone()));
        }
        let mut sum = vec![0.0f32; Model::LEN];
        let mut left = Vec::new();
        for cell in cells {
            let mut theirs = weights.clone();
            if let Ok(report) = round(&cell, &mut theirs, &nothing, &mut scratch, &OPTIONS, number).await {
                for (sum, weight) in sum.iter_mut().zip(&theirs) {
                    *sum += weight * report.examples as f32;
                }
                left.push(cell);
            }
        }
        cells = left;
        servers.allreduce_in_place(&mut sum, Sum).await?;
        // The last element of a model is a one, so its sum counts the examples.
        let total = sum[Model::LEN - 1];
        if total == 0.0 {
            break;
        }
        for (weight, sum) in weights.iter_mut().zip(&sum) {
            *weight = sum / total;
        }
        let accuracy = Model::evaluate(&weights, &digits.test()).accuracy();
        curve.push(Point { at: rank.now(), value: f64::from(accuracy) });
    }
    Ok(curve)
}

/// Writes the plot, and says where it is.
fn draw(accuracy: &[Point], report: &Report, output: &Path) -> Result<(), Box<dyn Error>> {
    let mut moved = 0;
    let bytes: Vec<Point> = report
        .rounds
        .iter()
        .map(|round| {
            moved += round.traffic.sent + round.traffic.received;
            Point { at: round.end, value: moved as f64 / 1e6 }
        })
        .collect();
    let last = accuracy.last().map_or(0.0, |point| point.value);
    say(format_args!(
        "test accuracy {:.1} % after {} rounds, {:.1} MB moved by boards",
        last * 100.0,
        accuracy.len(),
        moved as f64 / 1e6
    ));
    plot::write(output, accuracy, &bytes)?;
    say(format_args!("the plot is in {}", output.display()));
    Ok(())
}
