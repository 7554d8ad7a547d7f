//! The BBC micro:bit (version 1), an nRF51822: a Cortex-M0 with 16 kB of RAM, as QEMU emulates it.
//!
//! The link is the only UART there is. So the console, arguments and the end are the emulator's, by semihosting.
#![no_std]
#![warn(missing_docs)]

mod interrupts;
mod timers;
mod uart;

use core::fmt::Write as _;
use core::panic::PanicInfo;

use embassy_executor::Spawner;
use firmware_app::link::serial::Serial;
use firmware_app::{Board, Outcome};
use firmware_cortex_m::semihosting::{self, Console};
use firmware_cortex_m::{executor, stack};

pub use uart::{LineReader, LineWriter};

/// The board, set up.
pub struct Microbit {
    arguments: &'static str,
}

/// Sets the board up and lets `application` spawn a task that takes it.
pub fn start(application: impl FnOnce(Spawner, Microbit)) -> ! {
    timers::start();
    uart::start();
    let arguments = semihosting::command_line();
    executor::run(|spawner| application(spawner, Microbit { arguments }))
}

impl Board for Microbit {
    type Link = Serial<LineReader, LineWriter>;
    type Console = Console;

    fn arguments(&self) -> &'static str {
        self.arguments
    }

    fn console(&self) -> Console {
        Console
    }

    fn link(self) -> Self::Link {
        let (reader, writer) = uart::line();
        Serial::new(reader, writer)
    }

    fn stack_high_water() -> usize {
        stack::high_water()
    }

    fn exit(outcome: Outcome) -> ! {
        semihosting::exit(outcome == Outcome::Success)
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "{info}");
    semihosting::exit(false)
}
