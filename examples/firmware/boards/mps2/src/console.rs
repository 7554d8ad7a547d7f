//! UART0, for people: an APB UART of Arm's Cortex-M System Design Kit. Writing waits while it is busy.

use core::fmt;
use core::panic::PanicInfo;

use firmware_cortex_m::device::Device;
use firmware_cortex_m::semihosting;

// SAFETY: the board's memory map has UART0 there, a device without DMA.
const UART0: Device = unsafe { Device::at(0x4000_4000) };

const DATA: usize = 0x00;
const STATE: usize = 0x04;
const CTRL: usize = 0x08;
const BAUDDIV: usize = 0x10;

const STATE_TX_FULL: u32 = 1 << 0;
const CTRL_TX_ENABLE: u32 = 1 << 0;

/// 25 MHz / 217 = 115,200 Bd.
const DIVISOR: u32 = 217;

/// The console.
#[derive(Clone, Copy, Debug)]
pub struct Console;

pub(crate) fn start() {
    UART0.write(BAUDDIV, DIVISOR);
    UART0.write(CTRL, CTRL_TX_ENABLE);
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while UART0.read(STATE) & STATE_TX_FULL != 0 {}
            UART0.write(DATA, byte.into());
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    use fmt::Write as _;
    let _ = writeln!(Console, "{info}");
    semihosting::exit(false)
}
