//! The clock: the processor's SysTick counts, the chip's timer 0 wakes. (QEMU's timer 0 cannot be read, and SysTick is too
//! short to wake well.)

use firmware_cortex_m::clock::{Clock, Timer};
use firmware_cortex_m::device::Device;

use crate::interrupts::Interrupt;

// SAFETY: the processor's memory map has SysTick there (and others, none with DMA).
const SYSTICK: Device = unsafe { Device::at(0xe000_e000) };
// SAFETY: the chip's memory map has timer 0 there, a device without DMA.
const TIMER0: Device = unsafe { Device::at(0x4003_0000) };

const SYSTICK_CONTROL: usize = 0x010;
const SYSTICK_RELOAD: usize = 0x014;
const SYSTICK_VALUE: usize = 0x018;
/// Counts the processor's clock, and interrupts nobody.
const SYSTICK_ON: u32 = 1 << 2 | 1 << 0;

const CONFIGURATION: usize = 0x00;
const MODE_A: usize = 0x04;
const CONTROL: usize = 0x0c;
const INTERRUPT_MASK: usize = 0x18;
const INTERRUPT_CLEAR: usize = 0x24;
const LOAD_A: usize = 0x28;

const WHOLE_OF_32_BITS: u32 = 0;
const MODE_ONCE: u32 = 1;
const CONTROL_ENABLE: u32 = 1 << 0;
const TIMED_OUT: u32 = 1 << 0;

struct Timers;

embassy_time_driver::time_driver_impl!(static CLOCK: Clock<Timers> = Clock::new(Timers));

pub(crate) fn start() {
    SYSTICK.write(SYSTICK_RELOAD, (1 << Timers::BITS) - 1);
    SYSTICK.write(SYSTICK_VALUE, 0);
    SYSTICK.write(SYSTICK_CONTROL, SYSTICK_ON);

    TIMER0.write(CONTROL, 0);
    TIMER0.write(CONFIGURATION, WHOLE_OF_32_BITS);
    TIMER0.write(MODE_A, MODE_ONCE);
    TIMER0.write(INTERRUPT_MASK, TIMED_OUT);
    CLOCK.start();
    Interrupt::Timer0A.enable();
}

pub(crate) fn on_interrupt() {
    TIMER0.write(INTERRUPT_CLEAR, TIMED_OUT);
    CLOCK.on_alarm();
}

impl Timer for Timers {
    const BITS: u32 = 24;
    const TICKS_PER_MICROSECOND: u32 = 50;

    fn ticks(&self) -> u32 {
        // It counts down.
        0u32.wrapping_sub(SYSTICK.read(SYSTICK_VALUE)) & ((1 << Self::BITS) - 1)
    }

    fn set_alarm(&self, ticks: u32) {
        TIMER0.write(CONTROL, 0);
        TIMER0.write(INTERRUPT_CLEAR, TIMED_OUT);
        TIMER0.write(LOAD_A, ticks);
        TIMER0.write(CONTROL, CONTROL_ENABLE);
    }
}
