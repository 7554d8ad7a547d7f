//! What it costs to simulate n ranks, as n grows: prints the table in the docs of `edgempi::sim`.
//!
//!     cargo run --release --example simulation_scale
//!     cargo run --release --example simulation_scale -- 200000       (for other numbers of ranks)
//!
//! Each figure comes from a process of its own, so that the memory of one does not count for another. A simulation has
//! one thread; times are those of its processor, where the system says them, so that others on the machine do not count.

use std::error::Error;
use std::fmt;
use std::io::{self, Write, stderr, stdout};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use edgempi::Sum;
use edgempi::config::MAX_SIZE;
use edgempi::sim::{Class, Simulation};

/// Elements of a vector that is summed up.
const ELEMENTS: usize = 1000;
/// How often a call is made.
const CALLS: u32 = 10;

/// What it costs to simulate n ranks, in time and memory, as n grows
///
/// Prints a row for each number of ranks, as soon as it is known. The last of the default ones takes a minute, and 1.5 GiB
/// of memory.
#[derive(Parser)]
struct Arguments {
    /// Numbers of ranks
    #[arg(value_name = "RANKS", default_values_t = [10, 100, 1000, 10_000, 100_000], value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SIZE)))]
    sizes: Vec<u32>,

    /// Measure this alone, in this process, and print seconds and KiB
    #[arg(long, hide = true)]
    measure: Option<Load>,
}

/// What the ranks of a row do.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Load {
    Join,
    Barrier,
    Allreduce,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Barrier => "barrier",
            Self::Allreduce => "allreduce",
        }
    }
}

fn main() -> ExitCode {
    let Arguments { sizes, measure: load } = Arguments::parse();
    let result = match load {
        Some(load) => sizes.iter().try_for_each(|size| measure(*size, load)),
        None => table(&sizes),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads any more (`| head`), so there is nothing more to measure.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "simulation_scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn say(line: fmt::Arguments<'_>) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(stdout(), "{line}")?)
}

/// Prints the table, a row for each of `sizes`.
fn table(sizes: &[u32]) -> Result<(), Box<dyn Error>> {
    say(format_args!("| ranks | join and leave | one barrier | memory | one allreduce of {ELEMENTS} f32 | memory |"))?;
    say(format_args!("|---|---|---|---|---|---|"))?;
    for size in sizes {
        let mut row = Vec::new();
        for load in [Load::Join, Load::Barrier, Load::Allreduce] {
            row.push(run_alone(*size, load)?);
        }
        let [join, barrier, allreduce] = [row[0], row[1], row[2]];
        let each = |total: f64| time((total - join.0).max(0.0) / f64::from(CALLS));
        say(format_args!(
            "| {size} | {} | {} | {} | {} | {} |",
            time(join.0),
            each(barrier.0),
            memory(barrier.1),
            each(allreduce.0),
            memory(allreduce.1)
        ))?;
    }
    Ok(())
}

/// Measures in a process of its own: seconds, and the most memory that it had.
fn run_alone(size: u32, load: Load) -> Result<(f64, u64), Box<dyn Error>> {
    let size = size.to_string();
    let output = Command::new(std::env::current_exe()?).args([&size, "--measure", load.name()]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let (seconds, kib) =
        text.trim().split_once(' ').ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((seconds.parse()?, kib.parse()?))
}

fn measure(size: u32, load: Load) -> Result<(), Box<dyn Error>> {
    // Small worlds again and again: the system counts in milliseconds.
    let runs = (20_000 / size).max(1);
    let begin = Instant::now();
    let busy = processor_time();
    for _ in 0..runs {
        run(size, load)?;
    }
    let seconds = match (busy, processor_time()) {
        (Some(before), Some(after)) => after - before,
        _ => begin.elapsed().as_secs_f64(),
    };
    say(format_args!("{} {}", seconds / f64::from(runs), peak_kib()))
}

fn run(size: u32, load: Load) -> Result<(), Box<dyn Error>> {
    let simulation = Simulation::new(1).ranks(size, Class::server());
    let outcome = simulation.run(|rank| async move {
        let mut vector = Vec::new();
        if load == Load::Allreduce {
            vector = vec![1.0f32; ELEMENTS];
        }
        for _ in 0..CALLS {
            match load {
                Load::Join => {}
                Load::Barrier => rank.barrier().await?,
                Load::Allreduce => {
                    vector = rank.allreduce(vector, Sum).await?;
                    vector.fill(1.0);
                }
            }
        }
        Ok(())
    })?;
    outcome.into_values()?;
    Ok(())
}

/// Seconds that this process has been on a processor.
fn processor_time() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds: u64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds as f64 / 1e9)
}

/// The most memory that this process has had, in KiB; 0 where the system does not say.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

fn time(seconds: f64) -> String {
    match seconds {
        ..0.001 => format!("{:.0} µs", seconds * 1e6),
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

fn memory(kib: u64) -> String {
    match kib {
        ..10_240 => format!("{:.1} MiB", kib as f64 / 1024.0),
        _ => format!("{} MiB", kib / 1024),
    }
}
