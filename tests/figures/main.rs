//! The figures of boards: what the library costs there, held against a budget, and how fast it is. tests/firmware/figures
//! runs this.

mod cost;
mod image;
mod speed;

use std::process::ExitCode;

use edgempi_tests::emulator;

fn main() -> ExitCode {
    if let Err(why) = emulator::found() {
        eprintln!("{why}");
        return ExitCode::from(77);
    }
    let is_within = cost::print();
    if std::env::args().any(|argument| argument == "--speed") {
        speed::print();
    }
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
