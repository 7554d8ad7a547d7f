//! Texas Instruments' LM3S6965 evaluation board, a Cortex-M3 with 64 kB of RAM, as QEMU emulates it.
//!
//! The link is UART1; the console is UART0; arguments and the end are the emulator's, by semihosting.
#![no_std]
#![warn(missing_docs)]

mod interrupts;
mod system;
mod timers;
mod uart;

use core::fmt::Write as _;
use core::panic::PanicInfo;

use embassy_executor::Spawner;
use firmware_app::link::serial::Serial;
use firmware_app::{Board, Outcome};
use firmware_cortex_m::{executor, semihosting, stack};

pub use uart::{Console, LineReader, LineWriter};

/// The board, set up.
pub struct Lm3s6965evb {
    arguments: &'static str,
}

/// Sets the board up and lets `application` spawn a task that takes it.
pub fn start(application: impl FnOnce(Spawner, Lm3s6965evb)) -> ! {
    system::start();
    uart::start();
    timers::start();
    let arguments = semihosting::command_line();
    executor::run(|spawner| application(spawner, Lm3s6965evb { arguments }))
}

impl Board for Lm3s6965evb {
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
