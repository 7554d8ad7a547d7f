//! The command `edgempi`: starts ranks, serves as their hub, measures, and shows the configuration.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use clap::{Parser, Subcommand};
use tracing::Level;
use tracing_subscriber::EnvFilter;

mod bench;
mod boards;
mod bridge;
mod config;
mod example;
mod hub;
mod output;
mod run;
mod signals;

/// Starts the ranks of an MPI program, serves as their hub, and shows the settings that they will find.
#[derive(Debug, Parser)]
#[command(
    name = "edgempi",
    version,
    after_help = "Examples:\n  \
        edgempi run -n 4 --example fedavg       build an example of this project and start it as 4 ranks\n  \
        edgempi run -n 4 ./train --epochs 3     start 4 ranks of a program\n  \
        edgempi run -n 3 --firmware 2 --example fedavg   the same with 2 of 5 ranks on emulated boards\n  \
        edgempi hub --size 4 --listen 0.0.0.0   wait for 4 ranks that are started elsewhere\n  \
        edgempi bench -n 4                      measure how long calls take\n  \
        edgempi config                          show the settings in effect and where they come from\n\n\
        RUST_LOG=info or RUST_LOG=debug says more."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Hub(hub::Arguments),
    Bridge(bridge::Arguments),
    Bench(bench::Arguments),
    Config(config::Arguments),
}

fn main() -> ExitCode {
    // What mpirun takes for the number of ranks is taken here, too, where it begins a command.
    let as_mpirun =
        |(at, argument): (usize, OsString)| if at == 2 && argument == "-np" { "-n".into() } else { argument };
    let arguments = Arguments::parse_from(std::env::args_os().enumerate().map(as_mpirun));
    // Who watches a hub wants to see who comes and goes; who runs ranks wants to see the ranks.
    let level = if let Command::Hub(_) = arguments.command { Level::INFO } else { Level::WARN };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let coloured = is_coloured(&io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(coloured)
        .with_writer(io::stderr)
        // A stderr that nobody reads any more is no reason to stop.
        .log_internal_errors(false)
        .init();
    let code = match arguments.command {
        Command::Run(arguments) => run::execute(&arguments),
        Command::Hub(arguments) => hub::execute(&arguments),
        Command::Bridge(arguments) => bridge::execute(&arguments),
        Command::Bench(arguments) => bench::execute(&arguments),
        Command::Config(arguments) => config::execute(&arguments),
    };
    ExitCode::from(code)
}

/// Whether the user wants to see colours there.
fn is_coloured(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Tells the user, on stderr; a stderr that nobody reads is no reason to stop.
fn say(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "edgempi: {text}");
}
