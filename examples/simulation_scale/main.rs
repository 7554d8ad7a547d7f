//! What it costs to simulate n ranks, as n grows: prints the table in the docs of `edgempi::sim`.
//!
//!     cargo run --release --example simulation_scale
//!     cargo run --release --example simulation_scale -- 200000       (for other numbers of ranks)
//!
//! Each figure comes from a process of its own, so that the memory of one does not count for another. A simulation has
//! one thread; times are those of its processor, where the system says them, so that others on the machine do not count.

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Instant;

use edgempi::Sum;
use edgempi::sim::{Class, Simulation};

/// Elements of a vector that is summed up.
const ELEMENTS: usize = 1000;
/// How often a call is made.
const CALLS: u32 = 10;
/// Ranks of the rows; the last for barriers alone.
const SIZES: [u32; 5] = [10, 100, 1000, 10_000, 100_000];

/// What the ranks of a row do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Join,
    Barrier,
    Allreduce,
}

impl Load {
    const ALL: [Self; 3] = [Self::Join, Self::Barrier, Self::Allreduce];

    fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Barrier => "barrier",
            Self::Allreduce => "allreduce",
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [size, load] => measure(size, load),
        sizes => table(sizes),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulation_scale: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table, a row for each of `sizes`.
fn table(sizes: &[String]) -> Result<(), Box<dyn Error>> {
    let sizes: Vec<String> =
        if sizes.is_empty() { SIZES.map(|size| size.to_string()).to_vec() } else { sizes.to_vec() };
    println!("| ranks | join and leave | one barrier | memory | one allreduce of {ELEMENTS} f32 | memory |");
    println!("|---|---|---|---|---|---|");
    for size in &sizes {
        let mut row = Vec::new();
        for load in Load::ALL {
            row.push(run_alone(size, load)?);
        }
        let [join, barrier, allreduce] = [row[0], row[1], row[2]];
        let each = |total: f64| time((total - join.0).max(0.0) / f64::from(CALLS));
        println!(
            "| {size} | {} | {} | {} | {} | {} |",
            time(join.0),
            each(barrier.0),
            memory(barrier.1),
            each(allreduce.0),
            memory(allreduce.1)
        );
    }
    Ok(())
}

/// Measures in a process of its own: seconds, and the most memory that it had.
fn run_alone(size: &str, load: Load) -> Result<(f64, u64), Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).args([size, load.name()]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let (seconds, kib) =
        text.trim().split_once(' ').ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((seconds.parse()?, kib.parse()?))
}

fn measure(size: &str, load: &str) -> Result<(), Box<dyn Error>> {
    let size: u32 = size.parse()?;
    let load = Load::ALL.into_iter().find(|one| one.name() == load).ok_or("no such load")?;
    // Small worlds again and again: the system counts in milliseconds.
    let runs = (20_000 / size.max(1)).max(1);
    let begin = Instant::now();
    let busy = processor_time();
    for _ in 0..runs {
        run(size, load)?;
    }
    let seconds = match (busy, processor_time()) {
        (Some(before), Some(after)) => after - before,
        _ => begin.elapsed().as_secs_f64(),
    };
    println!("{} {}", seconds / f64::from(runs), peak_kib());
    Ok(())
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
