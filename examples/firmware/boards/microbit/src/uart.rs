//! The UART of the nRF51, for a host.

use firmware_cortex_m::device::Device;
use firmware_cortex_m::uart::{BufferedUart, Full, Reader, Registers, Writer};

use crate::interrupts::Interrupt;
use crate::timers;

// SAFETY: the chip's memory map has the UART there, a device without DMA.
const UART: Device = unsafe { Device::at(0x4000_2000) };
// SAFETY: the chip's memory map has the pins there, a device without DMA.
const PINS: Device = unsafe { Device::at(0x5000_0000) };

const START_RECEIVING: usize = 0x000;
const START_SENDING: usize = 0x008;
const RECEIVED: usize = 0x108;
const SENT: usize = 0x11c;
const INTERRUPT_SET: usize = 0x304;
const INTERRUPT_CLEAR: usize = 0x308;
const ENABLE: usize = 0x500;
const PIN_TO_SEND: usize = 0x50c;
const PIN_TO_RECEIVE: usize = 0x514;
const DATA_RECEIVED: usize = 0x518;
const DATA_TO_SEND: usize = 0x51c;
const BAUD_RATE: usize = 0x524;

const RECEIVED_INTERRUPT: u32 = 1 << 2;
const SENT_INTERRUPT: u32 = 1 << 7;
const ENABLE_UART: u32 = 4;
const BAUD_RATE_115_200: u32 = 0x01d7_e000;

const PINS_SET: usize = 0x508;
const PINS_CONFIGURATION: usize = 0x700;
const OUTPUT: u32 = 3;
const INPUT: u32 = 0;
/// The pins of the micro:bit that lead to its USB chip.
const TO_SEND: u32 = 24;
const TO_RECEIVE: u32 = 25;

/// The buffers. Of bytes that come while an interrupt waits its turn, the chip holds 6.
const RECEIVE: usize = 512;
const TRANSMIT: usize = 128;

/// What comes from the host.
pub type LineReader = Reader<Line, RECEIVE, TRANSMIT>;
/// What goes to the host.
pub type LineWriter = Writer<Line, RECEIVE, TRANSMIT>;

static LINE: BufferedUart<Line, RECEIVE, TRANSMIT> = BufferedUart::new(Line { has_sent: false });

/// The UART.
pub struct Line {
    /// A byte was sent, so that the UART says when it's done with it. Before, it doesn't say that it is at rest.
    has_sent: bool,
}

pub(crate) fn start() {
    // A line at rest is high.
    PINS.write(PINS_SET, 1 << TO_SEND);
    PINS.write(PINS_CONFIGURATION + 4 * TO_SEND as usize, OUTPUT);
    PINS.write(PINS_CONFIGURATION + 4 * TO_RECEIVE as usize, INPUT);
    UART.write(ENABLE, ENABLE_UART);
    UART.write(PIN_TO_SEND, TO_SEND);
    UART.write(PIN_TO_RECEIVE, TO_RECEIVE);
    UART.write(BAUD_RATE, BAUD_RATE_115_200);
    UART.write(START_SENDING, 1);
    UART.write(START_RECEIVING, 1);
    LINE.start();
    Interrupt::Uart0.enable();
    timers::be_patient();
}

pub(crate) fn line() -> (LineReader, LineWriter) {
    LINE.split()
}

pub(crate) fn on_interrupt() {
    LINE.on_interrupt();
}

impl Registers for Line {
    fn receive(&mut self) -> Option<u8> {
        if UART.read(RECEIVED) == 0 {
            return None;
        }
        // In this order, so that the event is left for the byte that comes after this one.
        UART.write(RECEIVED, 0);
        Some(UART.read(DATA_RECEIVED) as u8)
    }

    fn transmit(&mut self, byte: u8) -> Result<(), Full> {
        if self.has_sent && UART.read(SENT) == 0 {
            return Err(Full);
        }
        self.has_sent = true;
        UART.write(SENT, 0);
        UART.write(DATA_TO_SEND, byte.into());
        Ok(())
    }

    fn listen(&mut self, byte_came: bool, room_to_send: bool) {
        let choose = |wanted: bool, interrupt: u32| {
            UART.write(if wanted { INTERRUPT_SET } else { INTERRUPT_CLEAR }, interrupt);
        };
        choose(byte_came, RECEIVED_INTERRUPT);
        choose(room_to_send, SENT_INTERRUPT);
        if room_to_send {
            timers::be_patient();
        }
    }
}
