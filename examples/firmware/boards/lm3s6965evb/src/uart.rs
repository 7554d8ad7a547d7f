//! UART0, for people, and UART1, for a host: both PL011s of Arm's.

use core::fmt;

use firmware_cortex_m::device::Device;
use firmware_cortex_m::uart::{BufferedUart, Full, Reader, Registers, Writer};

use crate::interrupts::Interrupt;

// SAFETY: the chip's memory map has UART0 there, and its DMA stays off.
const UART0: Device = unsafe { Device::at(0x4000_c000) };
// SAFETY: the chip's memory map has UART1 there, and its DMA stays off.
const UART1: Device = unsafe { Device::at(0x4000_d000) };

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const INTEGER_DIVISOR: usize = 0x24;
const FRACTIONAL_DIVISOR: usize = 0x28;
const LINE_CONTROL: usize = 0x2c;
const CONTROL: usize = 0x30;
const INTERRUPT_MASK: usize = 0x38;
const INTERRUPT_CLEAR: usize = 0x44;

const TRANSMIT_FULL: u32 = 1 << 5;
const RECEIVE_EMPTY: u32 = 1 << 4;
/// 50 MHz / (16 · (27 + 8/64)) = 115,207 Bd.
const DIVISORS: (u32, u32) = (27, 8);
/// Bytes of 8 bits, with FIFOs.
const LINE_CONTROL_8_BITS: u32 = 3 << 5 | 1 << 4;
/// On, in both directions.
const CONTROL_ON: u32 = 1 << 9 | 1 << 8 | 1 << 0;
const RECEIVE_INTERRUPT: u32 = 1 << 4;
const TRANSMIT_INTERRUPT: u32 = 1 << 5;
/// Bytes have been waiting for a while, too few for the other interrupt.
const RECEIVE_TIMEOUT_INTERRUPT: u32 = 1 << 6;

/// The buffers of the line to the host.
const RECEIVE: usize = 1024;
const TRANSMIT: usize = 256;

/// What comes from the host.
pub type LineReader = Reader<Line, RECEIVE, TRANSMIT>;
/// What goes to the host.
pub type LineWriter = Writer<Line, RECEIVE, TRANSMIT>;

static LINE: BufferedUart<Line, RECEIVE, TRANSMIT> = BufferedUart::new(Line { _private: () });

/// UART1.
pub struct Line {
    _private: (),
}

pub(crate) fn start() {
    set_up(UART0);
    set_up(UART1);
    LINE.start();
    Interrupt::Uart1.enable();
}

fn set_up(uart: Device) {
    uart.write(CONTROL, 0);
    uart.write(INTEGER_DIVISOR, DIVISORS.0);
    uart.write(FRACTIONAL_DIVISOR, DIVISORS.1);
    uart.write(LINE_CONTROL, LINE_CONTROL_8_BITS);
    uart.write(CONTROL, CONTROL_ON);
}

pub(crate) fn line() -> (LineReader, LineWriter) {
    LINE.split()
}

pub(crate) fn on_interrupt() {
    LINE.on_interrupt();
}

impl Registers for Line {
    fn receive(&mut self) -> Option<u8> {
        // Of a byte that came badly, the register says so in further bits. Who must know, checks what it gets.
        (UART1.read(FLAGS) & RECEIVE_EMPTY == 0).then(|| UART1.read(DATA) as u8)
    }

    fn transmit(&mut self, byte: u8) -> Result<(), Full> {
        if UART1.read(FLAGS) & TRANSMIT_FULL != 0 {
            return Err(Full);
        }
        UART1.write(DATA, byte.into());
        Ok(())
    }

    fn listen(&mut self, byte_came: bool, room_to_send: bool) {
        let mut mask = 0;
        if byte_came {
            mask |= RECEIVE_INTERRUPT | RECEIVE_TIMEOUT_INTERRUPT;
        }
        if room_to_send {
            mask |= TRANSMIT_INTERRUPT;
        }
        // This one is remembered from when the FIFO last ran low, and it's full where somebody waits for room. The others
        // last as long as there is something to read.
        UART1.write(INTERRUPT_CLEAR, TRANSMIT_INTERRUPT);
        UART1.write(INTERRUPT_MASK, mask);
    }
}

/// The console. Writing waits while it is busy.
#[derive(Clone, Copy, Debug)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while UART0.read(FLAGS) & TRANSMIT_FULL != 0 {}
            UART0.write(DATA, byte.into());
        }
        Ok(())
    }
}
