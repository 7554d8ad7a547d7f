//! The clock, by timer 0 of the nRF51, which both counts and wakes; and timer 1, for what QEMU forgets.

use cortex_m::peripheral::NVIC;
use firmware_cortex_m::clock::{Clock, Timer};
use firmware_cortex_m::device::Device;

use crate::interrupts::Interrupt;
use crate::uart;

// SAFETY: the chip's memory map has the clock control there, a device without DMA.
const CLOCKS: Device = unsafe { Device::at(0x4000_0000) };
// SAFETY: the chip's memory map has timer 0 there, a device without DMA.
const TIMER0: Device = unsafe { Device::at(0x4000_8000) };
// SAFETY: the chip's memory map has timer 1 there, a device without DMA.
const TIMER1: Device = unsafe { Device::at(0x4000_9000) };

const CLOCKS_START_CRYSTAL: usize = 0x000;
const CLOCKS_CRYSTAL_STARTED: usize = 0x100;

const START: usize = 0x000;
const CLEAR: usize = 0x00c;
const CAPTURE_1: usize = 0x044;
const COMPARED_0: usize = 0x140;
const SHORTS: usize = 0x200;
const INTERRUPT_SET: usize = 0x304;
const BIT_MODE: usize = 0x508;
const PRESCALER: usize = 0x510;
const COMPARE_0: usize = 0x540;
const COMPARE_1: usize = 0x544;

const BITS_16: u32 = 0;
const BITS_32: u32 = 3;
/// 16 MHz / 2^4: counts microseconds.
const PRESCALER_1_MHZ: u32 = 4;
const INTERRUPT_COMPARED_0: u32 = 1 << 16;
/// At rest once it has come to its first compare register.
const SHORTS_STOP_AT_0: u32 = 1 << 8;

/// So many microseconds are long for a byte, which takes 87 at 115,200 Bd.
const PATIENCE: u32 = 1000;

struct Timers;

embassy_time_driver::time_driver_impl!(static CLOCK: Clock<Timers> = Clock::new(Timers));

pub(crate) fn start() {
    // The oscillator that runs after reset is too coarse for a UART.
    CLOCKS.write(CLOCKS_CRYSTAL_STARTED, 0);
    CLOCKS.write(CLOCKS_START_CRYSTAL, 1);
    while CLOCKS.read(CLOCKS_CRYSTAL_STARTED) == 0 {}

    TIMER0.write(BIT_MODE, BITS_32);
    TIMER0.write(PRESCALER, PRESCALER_1_MHZ);
    TIMER0.write(INTERRUPT_SET, INTERRUPT_COMPARED_0);
    TIMER0.write(START, 1);
    CLOCK.start();
    Interrupt::Timer0.enable();

    TIMER1.write(BIT_MODE, BITS_16);
    TIMER1.write(PRESCALER, PRESCALER_1_MHZ);
    TIMER1.write(SHORTS, SHORTS_STOP_AT_0);
    TIMER1.write(COMPARE_0, PATIENCE);
    TIMER1.write(INTERRUPT_SET, INTERRUPT_COMPARED_0);
    Interrupt::Timer1.enable();
}

pub(crate) fn on_alarm() {
    TIMER0.write(COMPARED_0, 0);
    CLOCK.on_alarm();
}

impl Timer for Timers {
    const BITS: u32 = 32;
    const TICKS_PER_MICROSECOND: u32 = 1;

    fn ticks(&self) -> u32 {
        TIMER0.write(CAPTURE_1, 1);
        TIMER0.read(COMPARE_1)
    }

    fn set_alarm(&self, ticks: u32) {
        let now = self.ticks();
        TIMER0.write(COMPARED_0, 0);
        TIMER0.write(COMPARE_0, now.wrapping_add(ticks));
        // The count may have been there before the register was.
        if self.ticks().wrapping_sub(now) >= ticks {
            NVIC::pend(Interrupt::Timer0);
        }
    }
}

/// Has the UART looked after in a while, unless this is called again before: QEMU interrupts for room to send only if
/// there is some at once, not when a busy host makes some later; and it may sleep when a board begins to receive. On a
/// board this never comes to pass.
pub(crate) fn be_patient() {
    TIMER1.write(CLEAR, 1);
    TIMER1.write(START, 1);
}

pub(crate) fn on_patience() {
    TIMER1.write(COMPARED_0, 0);
    uart::on_interrupt();
}
