//! The clock, by the two APB timers of Arm's Cortex-M System Design Kit: timer 0 counts, timer 1 wakes.

use firmware_cortex_m::clock::{Clock, Timer};
use firmware_cortex_m::device::Device;

use crate::interrupts::Interrupt;

// SAFETY: the board's memory map has timer 0 there, a device without DMA.
const TIMER0: Device = unsafe { Device::at(0x4000_0000) };
// SAFETY: the board's memory map has timer 1 there, a device without DMA.
const TIMER1: Device = unsafe { Device::at(0x4000_1000) };
// SAFETY: the board's memory map has the dual timer there, a device without DMA.
const DUAL_TIMER: Device = unsafe { Device::at(0x4000_2000) };

const CTRL: usize = 0x00;
const VALUE: usize = 0x04;
const RELOAD: usize = 0x08;
const INTERRUPT_CLEAR: usize = 0x0c;

const CTRL_ENABLE: u32 = 1 << 0;
const CTRL_INTERRUPT: u32 = 1 << 3;

const DUAL_LOAD: usize = 0x00;
const DUAL_CTRL: usize = 0x08;
/// Enabled, of 32 bits, and at rest once it has come to 0; without interrupt.
const DUAL_CTRL_ONCE: u32 = 1 << 7 | 1 << 1 | 1 << 0;

struct Timers;

embassy_time_driver::time_driver_impl!(static CLOCK: Clock<Timers> = Clock::new(Timers));

pub(crate) fn start() {
    TIMER0.write(RELOAD, u32::MAX);
    TIMER0.write(VALUE, u32::MAX);
    TIMER0.write(CTRL, CTRL_ENABLE);
    CLOCK.start();
    Interrupt::Timer1.enable();
}

pub(crate) fn on_interrupt() {
    TIMER1.write(INTERRUPT_CLEAR, 1);
    CLOCK.on_alarm();
}

impl Timer for Timers {
    const BITS: u32 = 32;
    const TICKS_PER_MICROSECOND: u32 = 25;

    fn ticks(&self) -> u32 {
        // It counts down.
        0u32.wrapping_sub(TIMER0.read(VALUE))
    }

    fn set_alarm(&self, ticks: u32) {
        TIMER1.write(CTRL, 0);
        TIMER1.write(INTERRUPT_CLEAR, 1);
        // Nothing to start again from: it rings once.
        TIMER1.write(RELOAD, 0);
        TIMER1.write(VALUE, ticks);
        TIMER1.write(CTRL, CTRL_ENABLE | CTRL_INTERRUPT);
    }
}

/// Makes QEMU look at its sockets now, by letting a spare timer run for 1 µs. It looks when a timer of the board is due,
/// or when something else wakes it, and what a board sends does not: an answer may then lie there for a second.
pub(crate) fn wake_emulator() {
    DUAL_TIMER.write(DUAL_CTRL, 0);
    DUAL_TIMER.write(DUAL_LOAD, Timers::TICKS_PER_MICROSECOND);
    DUAL_TIMER.write(DUAL_CTRL, DUAL_CTRL_ONCE);
}
