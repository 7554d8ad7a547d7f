//! ST's NUCLEO-F429ZI, a Cortex-M4F with 192 kB of RAM.
//!
//! The link is Ethernet, with an address by DHCP; the console is RTT, which probe-rs shows. Arguments are given when an
//! image is built, in the environment's `ARGUMENTS`: there is nobody to ask later.
#![no_std]
#![warn(missing_docs)]

mod ethernet;

use core::fmt::{self, Write as _};
use core::panic::PanicInfo;

use cortex_m::peripheral::DCB;
use embassy_executor::{Executor, Spawner};
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, Hse, HseMode, Pll, PllMul, PllPDiv, PllPreDiv, PllQDiv, PllSource, Sysclk,
};
use embassy_stm32::time::Hertz;
use firmware_app::link::network::Network;
use firmware_app::{Board, Outcome};
use firmware_cortex_m::{semihosting, stack};
use rtt_target::{rprint, rtt_init_print};
use static_cell::StaticCell;

/// The board, set up.
pub struct NucleoF429zi {
    link: Network,
}

/// Sets the board up and lets `application` spawn a task that takes it.
///
/// # Panics
///
/// If it is called twice.
pub fn start(application: impl FnOnce(Spawner, NucleoF429zi)) -> ! {
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    rtt_init_print!();
    let peripherals = embassy_stm32::init(run_at_180_mhz());
    EXECUTOR.init(Executor::new()).run(|spawner| {
        let link = Network::new(ethernet::join(spawner, peripherals));
        application(spawner, NucleoF429zi { link });
    })
}

/// From the 8 MHz that the board's debugger gives.
fn run_at_180_mhz() -> embassy_stm32::Config {
    let mut config = embassy_stm32::Config::default();
    config.rcc.hse = Some(Hse { freq: Hertz(8_000_000), mode: HseMode::Bypass });
    config.rcc.pll_src = PllSource::HSE;
    config.rcc.pll = Some(Pll {
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL180,
        divp: Some(PllPDiv::DIV2),
        // 45 MHz, for the random numbers: they want no more than 48.
        divq: Some(PllQDiv::DIV8),
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.ahb_pre = AHBPrescaler::DIV1;
    config.rcc.apb1_pre = APBPrescaler::DIV4;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config
}

impl Board for NucleoF429zi {
    type Link = Network;
    type Console = Console;

    fn arguments(&self) -> &'static str {
        option_env!("ARGUMENTS").unwrap_or_default()
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
        exit(outcome)
    }
}

/// Ends `probe-rs run` where that is what runs the board; else the board rests.
fn exit(outcome: Outcome) -> ! {
    if DCB::is_debugger_attached() {
        semihosting::exit(outcome == Outcome::Success)
    }
    loop {
        cortex_m::asm::wfi();
    }
}

/// The console: RTT's first channel. What nobody reads is lost.
#[derive(Clone, Copy, Debug)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        rprint!("{}", text);
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "{info}");
    exit(Outcome::Failure)
}
