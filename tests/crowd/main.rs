//! Many ranks on one hub: what it costs as they grow in number. A hub in a process of its own, and ranks over TCP in a few
//! others, many in each; all on loopback.
//!
//!     cargo run --release --package edgempi-tests --bin crowd

mod hub;
mod ranks;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use edgempi_tests::process::{Process, command};

use hub::Hub;

/// How many ranks one hub serves, and what it takes
///
/// Prints a table: medians of the slowest process, and what the hub uses of the system.
#[derive(Debug, Parser)]
#[command(name = "crowd")]
struct Arguments {
    /// How many ranks, or several such numbers with commas
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10, 100, 1000, 5000], value_parser = clap::value_parser!(u32).range(1..))]
    ranks: Vec<u32>,

    /// Processes that the ranks are in
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    processes: u32,

    /// How long all ranks but one wait, to see what the hub does meanwhile, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    wait: u64,

    /// Be some of the ranks: hub, size, the first of them, how many
    #[arg(long, hide = true, num_args = 4)]
    be: Vec<String>,
}

/// What was measured with so many ranks.
struct Row {
    ranks: u32,
    barrier: f64,
    allreduce: f64,
    idle: hub::Idle,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let [hub, size, first, count] = arguments.be.as_slice() {
        let hub: SocketAddr = hub.parse().expect("an address");
        let number = |text: &String| text.parse().expect("a number");
        ranks::be(hub, number(size), number(first), number(count));
        return ExitCode::SUCCESS;
    }
    println!(
        "| ranks | barrier, µs | allreduce of 1 KiB, µs | hub's memory, KiB a rank | hub's processor while all wait | open files |"
    );
    println!("|---|---|---|---|---|---|");
    for ranks in &arguments.ranks {
        let Row { ranks, barrier, allreduce, idle } = measure(*ranks, &arguments);
        println!(
            "| {ranks} | {barrier:.0} | {allreduce:.0} | {:.1} | {:.2} % | {} |",
            idle.memory as f64 / 1024.0 / f64::from(ranks),
            idle.processor * 100.0,
            idle.files
        );
    }
    ExitCode::SUCCESS
}

fn measure(ranks: u32, arguments: &Arguments) -> Row {
    let mut hub = Hub::start(ranks);
    let mut processes = start(hub.address, ranks, arguments.processes.min(ranks));
    let rounds = (20_000 / ranks).clamp(20, 1000);
    let barrier = slowest(&mut processes, &format!("barrier {rounds}"));
    let allreduce = slowest(&mut processes, &format!("allreduce {rounds}"));
    let seconds = arguments.wait;
    processes.iter_mut().for_each(|process| process.say(&format!("wait {seconds}")));
    let idle = hub.idle(Duration::from_secs(seconds));
    for process in &mut processes {
        assert_eq!(process.hear(), "0");
    }
    // None leaves before all others do.
    processes.iter_mut().for_each(Process::close_input);
    for process in &mut processes {
        let (status, said) = process.end();
        assert!(status.success(), "{said}");
    }
    hub.end();
    Row { ranks, barrier, allreduce, idle }
}

/// Starts the ranks, and waits until all have joined.
fn start(hub: SocketAddr, ranks: u32, count: u32) -> Vec<Process> {
    let program = std::env::current_exe().expect("this program is a file");
    let bounds: Vec<u32> =
        (0..=count).map(|index| (u64::from(ranks) * u64::from(index) / u64::from(count)) as u32).collect();
    let start = |bounds: &[u32]| {
        let place = [hub.to_string(), ranks.to_string(), bounds[0].to_string(), (bounds[1] - bounds[0]).to_string()];
        let mut command = command(&program);
        command.arg("--be").args(place);
        Process::start(command)
    };
    let mut processes: Vec<Process> = bounds.windows(2).map(start).collect();
    for process in &mut processes {
        if process.hear() != "ready" {
            let (status, said) = process.end();
            panic!("ranks could not join: {status}: {said}");
        }
    }
    processes
}

/// Has all processes do something, and returns the largest of their medians, in microseconds.
fn slowest(processes: &mut [Process], what: &str) -> f64 {
    processes.iter_mut().for_each(|process| process.say(what));
    let medians = processes.iter_mut().map(|process| process.hear().parse::<f64>().expect("microseconds"));
    medians.fold(0.0, f64::max)
}
