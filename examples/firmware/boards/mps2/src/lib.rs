//! Arm's MPS2 board with a Cortex-M3 (AN385) or M4F (AN386), as QEMU emulates it.
//!
//! The link is Ethernet; the console is UART0; arguments and the end are the emulator's, by semihosting.
#![no_std]
#![warn(missing_docs)]

mod console;
mod ethernet;
mod interrupts;
mod timers;

use core::net::Ipv4Addr;

use embassy_executor::Spawner;
use embassy_net::Runner;
use firmware_app::link::network::{self, Network};
use firmware_app::{Arguments, Board, Outcome};
use firmware_cortex_m::{executor, semihosting, stack};
use static_cell::ConstStaticCell;

use console::Console;
use ethernet::Ethernet;

// Where QEMU's own network is, unless it is told otherwise.
const USUAL_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// The board, set up.
pub struct Mps2 {
    arguments: &'static str,
    link: Network,
}

/// Sets the board up and lets `application` spawn a task that takes it.
///
/// # Panics
///
/// If the board lacks a device, or its arguments are bad.
pub fn start(application: impl FnOnce(Spawner, Mps2)) -> ! {
    console::start();
    timers::start();
    let arguments = semihosting::command_line();
    executor::run(|spawner| {
        let link = Network::new(join_network(spawner, &Arguments::new(arguments)));
        application(spawner, Mps2 { arguments, link });
    })
}

// Never inlined: the stack holds a kilobyte of the network's state until that is in place, and then it doesn't.
#[inline(never)]
fn join_network(spawner: Spawner, arguments: &Arguments<'_>) -> embassy_net::Stack<'static> {
    static RESOURCES: ConstStaticCell<network::Resources> = ConstStaticCell::new(network::Resources::new());
    let config = match network::fixed_address(arguments, USUAL_ADDRESS, GATEWAY) {
        Ok(config) => config,
        Err(failure) => panic!("{failure}"),
    };
    let ethernet = Ethernet::start().expect("an Ethernet chip as on this board");
    // The board has no source of randomness, but its address and the time it took to get here are its own.
    let seed = ethernet.seed() ^ embassy_time_driver::now();
    let (stack, runner) = embassy_net::new(ethernet, config, RESOURCES.take(), seed);
    spawner.spawn(keep_network(runner).expect("there is one network"));
    stack
}

#[embassy_executor::task]
async fn keep_network(mut runner: Runner<'static, Ethernet>) -> ! {
    runner.run().await
}

impl Board for Mps2 {
    type Link = Network;
    type Console = Console;

    fn arguments(&self) -> &'static str {
        self.arguments
    }

    fn console(&self) -> Console {
        Console
    }

    fn link(self) -> Network {
        self.link
    }

    fn stack_high_water() -> usize {
        stack::high_water()
    }

    fn exit(outcome: Outcome) -> ! {
        semihosting::exit(outcome == Outcome::Success)
    }
}
