//! `edgempi bench`: how long calls take, and what they cost.

mod cost;
mod picture;
mod report;
mod workload;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use edgempi::Error;

use crate::{run, say};
use report::{Report, ReportError};
use workload::{NAMES, Workload};

/// Measure how long calls take
///
/// Either starts ranks on this machine (-n), or is itself one rank of a world that `edgempi run`, mpirun or srun starts.
/// A line a workload and size: name, ranks, bytes, median and 99th percentile in microseconds, bytes on the links of
/// all ranks together for one call. A call's time is that of its slowest rank, and every call but a pingpong begins after
/// a barrier. Bytes are those of the vector (bcast, reduce, allreduce), what a rank gives to all ranks together, itself too
/// (scatter, alltoall), or gets from them (gather, allgather); pingpong is there and back between ranks 0 and 1;
/// object-allreduce is of one integer, object-bcast of a string. Up to 4 KiB a call is made 2000 times, above 4 MiB 20
/// times: there the 99th percentile is the longest. At the end a line a rank: processor time and peak memory of its
/// process, the hub's too where it is in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    edgempi bench -n 4\n  \
    edgempi bench -n 2 --only pingpong --max 32768\n  \
    mpirun -np 4 edgempi bench --json > ours.json\n  \
    edgempi bench -n 4 --beside mpi.txt --plot bench.svg    mpi.txt: lines as above, of another library")]
pub struct Arguments {
    /// Start so many ranks on this machine, instead of being one
    #[arg(short = 'n', long = "ranks", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    ranks: Option<u32>,

    /// Measure these only
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = PossibleValuesParser::new(NAMES).map(|name| Workload::named(&name)))]
    only: Vec<Workload>,

    /// The largest size, in bytes; sizes are 8, 128, 2048, ... up to it
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, value_parser = clap::value_parser!(u64).range(8..=1 << 32))]
    max: u64,

    /// These sizes instead, in bytes
    #[arg(long, value_name = "BYTES", value_delimiter = ',', conflicts_with = "max", value_parser = clap::value_parser!(u64).range(4..=1 << 32))]
    sizes: Vec<u64>,

    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,

    /// Print the ratio to these figures of another library beside ours
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,

    /// Draw time and throughput against size, of both libraries if there are two
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

impl Arguments {
    /// What is measured, in bytes.
    fn sizes(&self) -> Vec<u64> {
        if self.sizes.is_empty() {
            let steps = std::iter::successors(Some(8u64), |size| size.checked_mul(16));
            return steps.take_while(|size| *size <= self.max).collect();
        }
        self.sizes.clone()
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Edgempi(#[from] Error),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("`{name}` gives a wrong result with {bytes} bytes: do not trust its time")]
    Wrong { name: &'static str, bytes: usize },
    #[error("there is nothing to measure: pingpong is between two ranks, and this is a world of one")]
    NoPartner,
    #[error("can't find this program to start it as ranks: {0}")]
    Myself(io::Error),
    #[error("can't write the figures: {0}")]
    Output(#[from] io::Error),
}

pub fn execute(arguments: &Arguments) -> u8 {
    let result = match arguments.ranks {
        Some(ranks) => start(ranks, arguments),
        None => be_a_rank(arguments).map(|()| 0),
    };
    result.unwrap_or_else(|error| {
        say(&error);
        1
    })
}

/// Starts this program as the ranks.
fn start(ranks: u32, arguments: &Arguments) -> Result<u8, BenchError> {
    // What is wrong is said once, and not by ranks that fail.
    plan(ranks, arguments)?;
    if let Some(path) = &arguments.beside {
        report::read(path)?;
    }
    if let Some(path) = &arguments.plot {
        picture::check(path)?;
    }
    let mut command: Vec<OsString> = vec![std::env::current_exe().map_err(BenchError::Myself)?.into(), "bench".into()];
    if arguments.sizes.is_empty() {
        command.extend(["--max".into(), arguments.max.to_string().into()]);
    } else {
        let sizes: Vec<_> = arguments.sizes.iter().map(u64::to_string).collect();
        command.extend(["--sizes".into(), sizes.join(",").into()]);
    }
    if !arguments.only.is_empty() {
        let names: Vec<_> = arguments.only.iter().map(|workload| workload.name()).collect();
        command.extend(["--only".into(), names.join(",").into()]);
    }
    if arguments.json {
        command.push("--json".into());
    }
    for (option, path) in [("--beside", &arguments.beside), ("--plot", &arguments.plot)] {
        if let Some(path) = path {
            command.extend([option.into(), path.into()]);
        }
    }
    Ok(run::execute(&run::Arguments::plain(ranks, command)))
}

/// What to measure, in this order. Pingpong alone is what a world of one can not do.
fn plan(ranks: u32, arguments: &Arguments) -> Result<Vec<(Workload, usize)>, BenchError> {
    let workloads = if arguments.only.is_empty() { Workload::ALL } else { &arguments.only };
    let plan: Vec<_> = workload::plan(workloads, arguments.sizes(), ranks).collect();
    if plan.is_empty() { Err(BenchError::NoPartner) } else { Ok(plan) }
}

fn be_a_rank(arguments: &Arguments) -> Result<(), BenchError> {
    let world = edgempi::init().wait()?;
    let shows = world.rank() == 0;
    let other = match &arguments.beside {
        Some(path) if shows => report::read(path)?,
        _ => Vec::new(),
    };
    if let (true, Some(path)) = (shows, &arguments.plot) {
        picture::check(path)?;
    }
    let plan = match plan(world.size(), arguments) {
        Ok(plan) => plan,
        // All ranks think so: it is no failure of any of them.
        Err(error) => {
            world.finalize().wait()?;
            return if shows { Err(error) } else { Ok(()) };
        }
    };
    let mut report = Report::new(world.size(), other);
    if let (true, Some(path)) = (shows, &arguments.beside) {
        let has_pair = |(workload, bytes): &(Workload, usize)| report.beside(workload.name(), *bytes as u64).is_some();
        if !plan.iter().any(has_pair) {
            say(format!(
                "`{}` has no figure of a name, a number of ranks ({}) and a size that are measured here: there are no ratios",
                path.display(),
                world.size()
            ));
        }
    }
    let mut out = io::stdout().lock();
    if shows && !arguments.json {
        writeln!(out, "{}", report.heading())?;
    }
    for (workload, bytes) in plan {
        let Some(figure) = workload.measure(&world, bytes)? else { continue };
        if shows && !arguments.json {
            writeln!(out, "{}", report.line(&figure))?;
            out.flush()?;
        }
        report.figures.push(figure);
    }
    report.costs = cost::of_all(&world)?;
    if shows {
        if arguments.json {
            writeln!(out, "{}", report.json())?;
        } else {
            write!(out, "{}", report.costs())?;
        }
        if let Some(path) = &arguments.plot {
            picture::draw(path, &report)?;
        }
    }
    world.finalize().wait()?;
    Ok(())
}
