//! The soak: hubs in processes of their own serve world after world, of ranks in other processes that make random calls
//! on random communicators. Some ranks are killed, some turn on their world, and strangers come by. Every result is
//! checked, and what the hubs use of the system must not grow.
//!
//!     cargo run --release --package edgempi-tests --bin soak -- --seconds 1800
//!
//! A world that goes wrong says its seed; `--seed` runs it first. It all happens on loopback addresses.

mod calls;
mod hub;
mod plan;
mod rank;
mod strangers;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use edgempi_tests::process::{Process, command};

use hub::Hub;
use plan::{Fate, Plan, Random};
use rank::Done;
use strangers::Traitor;

/// Ranks of the worlds of each hub.
const SIZES: [u32; 3] = [16, 31, 64];
/// How often figures are printed.
const NEWS: Duration = Duration::from_secs(20);
/// From when everybody is there until somebody is lost, at most.
const LIFE: u64 = 400;

#[derive(Default)]
struct Figures {
    worlds: u64,
    done: Done,
    killed: u64,
    traitors: u64,
    strangers: u64,
}

/// One world, from the first process to the last.
fn serve(program: &Path, hub: &mut Hub, seed: u64, figures: &mut Figures) {
    let (plan, mut random) = (Plan::new(hub.size, seed), Random(!seed));
    let mut processes: Vec<Process> = (0..plan.processes.len())
        .map(|index| {
            let mut command = command(program);
            let place = [hub.size.to_string(), seed.to_string(), index.to_string()];
            command.arg("rank").arg(hub.address.to_string()).args(place);
            Process::start(command)
        })
        .collect();
    let traitor = match plan.fate {
        Fate::Betrayed(rank) => Some(Traitor::join(hub.address, hub.size, rank)),
        _ => None,
    };
    for process in &mut processes {
        if process.hear() != "ready" {
            fail(process, &plan);
        }
    }
    let strangers = thread::spawn({
        let (address, size, mut random) = (hub.address, hub.size, Random(seed ^ 1));
        move || strangers::pester(address, size, &mut random)
    });
    // At random, so not when something happens.
    thread::sleep(Duration::from_millis(random.next() % LIFE));
    if let Some(traitor) = traitor {
        traitor.betray(&mut random);
        figures.traitors += 1;
    }
    if let Fate::LosesProcess(index) = plan.fate {
        processes.remove(index).kill();
        figures.killed += u64::from(plan.lost());
    }
    let (count, open) = strangers.join().unwrap_or_else(|_| panic!("seed {seed}: strangers are treated wrongly"));
    figures.strangers += count;
    // The world lasts until now: they might have been taken for ranks of the next one.
    processes.iter_mut().for_each(Process::close_input);
    for process in &mut processes {
        match Done::parse(&process.hear()) {
            Some(done) => figures.done.add(done),
            None => fail(process, &plan),
        }
    }
    hub.world_ended(hub.size - plan.lost());
    drop(open);
    figures.worlds += 1;
}

fn fail(process: &mut Process, plan: &Plan) -> ! {
    let (status, said) = process.end();
    panic!("a process of a world of {} with seed {} ended with {status}: {said}", plan.size, plan.seed);
}

fn tell(start: Instant, figures: &Figures, hubs: &[Hub]) {
    let Figures { worlds, done: Done { calls, failed, bytes }, killed, traitors, strangers } = figures;
    print!(
        "{:5} s: {worlds} worlds, {calls} calls ({failed} failed for a death), {:.2} GB, {killed} ranks killed, {traitors} \
         turned, {strangers} strangers;",
        start.elapsed().as_secs(),
        *bytes as f64 / 1e9
    );
    for hub in hubs {
        if let Some(sample) = hub.samples.last() {
            print!(" hub of {}: {} kB, {} fds", hub.size, sample.resident, sample.descriptors);
        }
    }
    println!();
}

fn soak(time: Duration, first: u64) -> ExitCode {
    let program = std::env::current_exe().expect("this program is a file");
    let mut hubs = SIZES.map(Hub::start);
    let (start, mut figures, mut news) = (Instant::now(), Figures::default(), NEWS);
    let mut seed = first;
    while start.elapsed() < time || hubs.iter().any(|hub| hub.samples.len() < hub::LEAST) {
        for hub in &mut hubs {
            serve(&program, hub, seed, &mut figures);
            seed += 1;
        }
        if start.elapsed() >= news {
            tell(start, &figures, &hubs);
            news = start.elapsed() + NEWS;
        }
    }
    tell(start, &figures, &hubs);
    let mut code = ExitCode::SUCCESS;
    for hub in hubs {
        match hub.judge() {
            Some(Ok(text)) => println!("hub of {}: {text}", hub.size),
            Some(Err(text)) => {
                println!("hub of {}, which GROWS: {text}", hub.size);
                code = ExitCode::FAILURE;
            }
            None => println!("SKIPPED: the hub of {}: this system does not say what a process uses", hub.size),
        }
        hub.end();
    }
    code
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["rank", hub, size, seed, index] => {
            let hub: SocketAddr = hub.parse().expect("an address");
            rank::run(hub, number(size) as u32, number(seed), number(index) as usize);
            ExitCode::SUCCESS
        }
        ["--seconds", seconds] => soak(Duration::from_secs(number(seconds)), 1),
        ["--seconds", seconds, "--seed", seed] => soak(Duration::from_secs(number(seconds)), number(seed)),
        _ => {
            eprintln!("usage: soak --seconds N [--seed N]");
            ExitCode::from(2)
        }
    }
}
