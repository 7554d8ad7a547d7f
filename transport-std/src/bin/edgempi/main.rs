//! The command `edgempi`: starts ranks, and shows the configuration.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

mod bridge;
mod config;
mod example;
mod hub;
mod output;
mod run;
mod signals;

/// Starts the ranks of an MPI program, and shows what they will find.
#[derive(Debug, Parser)]
#[command(
    name = "edgempi",
    version,
    after_help = "Examples:\n  \
        edgempi run -n 4 --example fedavg     build an example of this project and start it as 4 ranks\n  \
        edgempi run -n 4 ./train --epochs 3   start 4 ranks of a program\n  \
        edgempi config                        show the settings in effect and where they come from\n\n\
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
    Config(config::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::WARN.into()).from_env_lossy();
    let coloured = is_coloured(&io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(coloured).with_writer(io::stderr).init();
    let code = match arguments.command {
        Command::Run(arguments) => run::execute(&arguments),
        Command::Hub(arguments) => hub::execute(&arguments),
        Command::Bridge(arguments) => bridge::execute(&arguments),
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
