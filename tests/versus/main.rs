//! edgempi and Open MPI side by side: both measure the same, by turns, in one run, and what counts is the ratio.
//! tests/versus/run runs this.

mod figures;
mod goals;
mod libraries;
mod stream;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use figures::Figures;
use libraries::{Failure, Library};

/// Compare edgempi with Open MPI on this machine
///
/// Each library measures by turns, and what is printed are medians over the turns, in microseconds, and ratios to Open
/// MPI over TCP: below 1 is faster than it. Machines do something else now and then; more turns make up for that.
/// The goals are ratios that the project has set itself: over TCP, and with what edgempi chooses by itself.
#[derive(Debug, Parser)]
#[command(name = "tests/versus/run", bin_name = "tests/versus/run")]
struct Arguments {
    /// How many ranks, or several such numbers with commas
    #[arg(short = 'n', long, value_name = "N", value_delimiter = ',', default_values_t = [2, 4, 8], value_parser = clap::value_parser!(u32).range(2..=1024))]
    ranks: Vec<u32>,

    /// The largest size, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, value_parser = clap::value_parser!(u64).range(8..=1 << 32))]
    max: u64,

    /// Turns of each library
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,

    /// Compare calls on objects with those of mpi4py
    #[arg(long)]
    objects: bool,

    /// Instead, the rate of one direction of one link beside that of a plain socket
    #[arg(long, conflicts_with = "objects")]
    stream: bool,

    /// Open MPI through shared memory, too
    #[arg(long)]
    shared_memory: bool,

    /// Keep the files that the libraries wrote, name by name, here
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            match failure {
                // Nothing is wrong: what cannot be compared is passed over.
                Failure::Missing(_) => ExitCode::from(77),
                Failure::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let programs = libraries::build(arguments.objects)?;
    if arguments.stream {
        return stream::compare(&programs, arguments.turns);
    }
    let mut libraries = vec![Library::OpenMpiTcp, Library::EdgempiTcp, Library::Edgempi];
    if arguments.shared_memory {
        libraries.push(Library::OpenMpiShared);
    }
    for ranks in &arguments.ranks {
        let mut figures = Figures::default();
        for turn in 0..arguments.turns {
            for library in &libraries {
                eprintln!("{ranks} ranks, turn {} of {}: {library}", turn + 1, arguments.turns);
                let lines = programs.measure(*library, *ranks, arguments.max)?;
                if let Some(directory) = &arguments.keep {
                    libraries::keep(directory, *library, *ranks, turn, &lines)?;
                }
                figures.add(*library, &lines);
            }
        }
        print!("{}", figures.table(*ranks, &libraries));
    }
    Ok(())
}
