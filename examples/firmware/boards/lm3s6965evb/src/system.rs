//! The chip's clock, and what gets it.

use firmware_cortex_m::device::Device;

// SAFETY: the chip's memory map has system control there, a device without DMA.
const SYSTEM: Device = unsafe { Device::at(0x400f_e000) };
// SAFETY: the chip's memory map has port A there, a device without DMA.
const PORT_A: Device = unsafe { Device::at(0x4000_4000) };
// SAFETY: the chip's memory map has port D there, a device without DMA.
const PORT_D: Device = unsafe { Device::at(0x4000_7000) };

const RAW_INTERRUPTS: usize = 0x050;
const RUN_CLOCK: usize = 0x060;
const CLOCK_GATES_1: usize = 0x104;
const CLOCK_GATES_2: usize = 0x108;

const PLL_LOCKED: u32 = 1 << 6;
const BYPASS: u32 = 1 << 11;
const POWER_DOWN: u32 = 1 << 13;
/// The PLL's 200 MHz, divided by 4 (3 + 1), made from the board's crystal of 8 MHz.
const RUN_AT_50_MHZ: u32 = 3 << 23 | 1 << 22 | 0xe << 6;
/// The oscillator inside the chip is off, the crystal's on.
const CRYSTAL_ONLY: u32 = 1 << 0;

const GATE_UART0: u32 = 1 << 0;
const GATE_UART1: u32 = 1 << 1;
const GATE_TIMER0: u32 = 1 << 16;
const GATE_PORT_A: u32 = 1 << 0;
const GATE_PORT_D: u32 = 1 << 3;

const ALTERNATE_FUNCTION: usize = 0x420;
const DIGITAL_ENABLE: usize = 0x51c;
const PINS_OF_UART0: u32 = 1 << 1 | 1 << 0;
const PINS_OF_UART1: u32 = 1 << 3 | 1 << 2;

/// Runs at 50 MHz from now on, and gives the clock and the pins to the devices that are used here.
pub(crate) fn start() {
    // As the manual asks: past the PLL while it starts, and to it once it's steady.
    SYSTEM.write(RUN_CLOCK, RUN_AT_50_MHZ | CRYSTAL_ONLY | BYPASS | POWER_DOWN);
    SYSTEM.write(RUN_CLOCK, RUN_AT_50_MHZ | CRYSTAL_ONLY | BYPASS);
    while SYSTEM.read(RAW_INTERRUPTS) & PLL_LOCKED == 0 {}
    SYSTEM.write(RUN_CLOCK, RUN_AT_50_MHZ | CRYSTAL_ONLY);

    SYSTEM.write(CLOCK_GATES_1, GATE_UART0 | GATE_UART1 | GATE_TIMER0);
    SYSTEM.write(CLOCK_GATES_2, GATE_PORT_A | GATE_PORT_D);
    // A device answers three clocks after it got one, and reading takes longer.
    let _ = SYSTEM.read(CLOCK_GATES_2);

    for (port, pins) in [(PORT_A, PINS_OF_UART0), (PORT_D, PINS_OF_UART1)] {
        port.write(ALTERNATE_FUNCTION, port.read(ALTERNATE_FUNCTION) | pins);
        port.write(DIGITAL_ENABLE, port.read(DIGITAL_ENABLE) | pins);
    }
}
