//! The board's Ethernet: a LAN9220 of SMSC (a LAN9118 in QEMU), whose FIFOs the processor fills and empties itself.

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use firmware_cortex_m::device::Device;
use static_cell::ConstStaticCell;
use zerocopy::IntoBytes;

use crate::interrupts::Interrupt;
use crate::timers;

// SAFETY: the board's memory map has the Ethernet chip there, and the chip has no DMA of its own.
const CHIP: Device = unsafe { Device::at(0x4020_0000) };

const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const RX_STATUS_PEEK: usize = 0x44;
const TX_STATUS: usize = 0x48;
const ID_REV: usize = 0x50;
const IRQ_CFG: usize = 0x54;
const INT_STS: usize = 0x58;
const INT_EN: usize = 0x5c;
const BYTE_TEST: usize = 0x64;
const FIFO_INT: usize = 0x68;
const RX_CFG: usize = 0x6c;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_FIFO_INF: usize = 0x7c;
const TX_FIFO_INF: usize = 0x80;
const MAC_CMD: usize = 0xa4;
const MAC_DATA: usize = 0xa8;

/// The interrupt is active high and driven both ways.
const IRQ_CFG_ENABLE: u32 = 1 << 8 | 1 << 4 | 1 << 0;
const HW_CFG_RESET: u32 = 1 << 0;
/// 5 kB for what is sent, the rest for what comes.
const HW_CFG_FIFO_SIZES: u32 = 5 << 16;
/// Something waits in the FIFO of what has come: more frames than the level in the lowest byte of FIFO_INT.
const INT_RX_WAITING: u32 = 1 << 3;
const FIFO_INT_LEVELS: u32 = 0;
const TX_CFG_ON: u32 = 1 << 1;
const RX_STATUS_ERROR: u32 = 1 << 15;
/// Of a frame that is sent in one piece: it's the first, and the last.
const TX_COMMAND_WHOLE: u32 = 1 << 13 | 1 << 12;

const MAC_CMD_BUSY: u32 = 1 << 31;
const MAC_CMD_READ: u32 = 1 << 30;
const MAC_CR: u32 = 1;
const MAC_ADDR_HIGH: u32 = 2;
const MAC_ADDR_LOW: u32 = 3;
/// Full duplex, sends and receives; takes what is for this address or for everybody.
const MAC_CR_ON: u32 = 1 << 20 | 1 << 3 | 1 << 2;

const FRAME: usize = 1514;
const FRAME_CHECK: usize = 4;
/// A frame in words, with its check sequence.
const FRAME_WORDS: usize = (FRAME + FRAME_CHECK).div_ceil(4);

static WAKER: AtomicWaker = AtomicWaker::new();

/// The board's Ethernet.
pub(crate) struct Ethernet {
    address: [u8; 6],
    received: &'static mut [u32; FRAME_WORDS],
    to_send: &'static mut [u32; FRAME_WORDS],
}

/// The chip isn't there, or it's another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherChip {
    /// What it says of itself.
    #[expect(dead_code, reason = "for people, in what `expect` prints")]
    id: u32,
}

impl Ethernet {
    /// Sets the chip up, once.
    pub(crate) fn start() -> Result<Self, OtherChip> {
        static RECEIVED: ConstStaticCell<[u32; FRAME_WORDS]> = ConstStaticCell::new([0; FRAME_WORDS]);
        static TO_SEND: ConstStaticCell<[u32; FRAME_WORDS]> = ConstStaticCell::new([0; FRAME_WORDS]);
        let id = CHIP.read(ID_REV);
        if CHIP.read(BYTE_TEST) != 0x8765_4321 || !matches!(id >> 16, 0x0118 | 0x9220) {
            return Err(OtherChip { id });
        }
        CHIP.write(HW_CFG, HW_CFG_RESET);
        while CHIP.read(HW_CFG) & HW_CFG_RESET != 0 {}
        CHIP.write(HW_CFG, HW_CFG_FIFO_SIZES);
        CHIP.write(INT_EN, 0);
        CHIP.write(INT_STS, u32::MAX);
        CHIP.write(IRQ_CFG, IRQ_CFG_ENABLE);
        CHIP.write(FIFO_INT, FIFO_INT_LEVELS);
        CHIP.write(RX_CFG, 0);
        CHIP.write(TX_CFG, TX_CFG_ON);
        let [a, b, c, d] = mac_read(MAC_ADDR_LOW).to_le_bytes();
        let [e, f, ..] = mac_read(MAC_ADDR_HIGH).to_le_bytes();
        mac_write(MAC_CR, MAC_CR_ON);
        CHIP.write(INT_EN, INT_RX_WAITING);
        Interrupt::Ethernet.enable();
        Ok(Self { address: [a, b, c, d, e, f], received: RECEIVED.take(), to_send: TO_SEND.take() })
    }

    /// A number that other boards have otherwise: the address.
    pub(crate) fn seed(&self) -> u64 {
        self.address.iter().fold(0, |seed, &byte| seed << 8 | u64::from(byte))
    }

    /// Whether a good frame is the next to be read. Bad ones before it are dropped.
    fn find_frame() -> bool {
        while frames_waiting() > 0 {
            let status = CHIP.read(RX_STATUS_PEEK);
            let len = frame_len(status);
            if status & RX_STATUS_ERROR == 0 && (FRAME_CHECK..=FRAME + FRAME_CHECK).contains(&len) {
                return true;
            }
            CHIP.read(RX_STATUS);
            for _ in 0..len.div_ceil(4) {
                CHIP.read(RX_DATA);
            }
        }
        false
    }
}

/// How many frames have come and were not read.
fn frames_waiting() -> u32 {
    CHIP.read(RX_FIFO_INF) >> 16 & 0xff
}

/// A frame's bytes, by its status, its check sequence included.
fn frame_len(status: u32) -> usize {
    (status >> 16 & 0x3fff) as usize
}

fn mac_wait() {
    while CHIP.read(MAC_CMD) & MAC_CMD_BUSY != 0 {}
}

fn mac_read(register: u32) -> u32 {
    mac_wait();
    CHIP.write(MAC_CMD, MAC_CMD_BUSY | MAC_CMD_READ | register);
    mac_wait();
    CHIP.read(MAC_DATA)
}

fn mac_write(register: u32, value: u32) {
    mac_wait();
    CHIP.write(MAC_DATA, value);
    CHIP.write(MAC_CMD, MAC_CMD_BUSY | register);
    mac_wait();
}

pub(crate) fn on_interrupt() {
    // The driver asks for the next once it has read all that is there.
    CHIP.write(INT_EN, 0);
    WAKER.wake();
}

impl Driver for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Received<'_>, ToSend<'_>)> {
        if !Self::find_frame() {
            WAKER.register(context.waker());
            CHIP.write(INT_STS, INT_RX_WAITING);
            CHIP.write(INT_EN, INT_RX_WAITING);
            // QEMU interrupts when a frame comes, but not for those that came before it was asked to.
            if !Self::find_frame() {
                return None;
            }
        }
        Some((Received(self.received), ToSend(self.to_send)))
    }

    fn transmit(&mut self, _context: &mut Context<'_>) -> Option<ToSend<'_>> {
        Some(ToSend(self.to_send))
    }

    fn link_state(&mut self, _context: &mut Context<'_>) -> LinkState {
        // Asking the chip's other half takes long, and TCP finds out by itself.
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME;
        // The chip holds several frames. A number here would be the largest TCP window, in frames.
        capabilities.max_burst_size = None;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}

/// The frame that is the next to be read.
pub(crate) struct Received<'a>(&'a mut [u32; FRAME_WORDS]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, read: F) -> R {
        let len = frame_len(CHIP.read(RX_STATUS));
        for word in self.0.iter_mut().take(len.div_ceil(4)) {
            *word = CHIP.read(RX_DATA);
        }
        read(&mut self.0.as_mut_bytes()[..len - FRAME_CHECK])
    }
}

/// Room for a frame.
pub(crate) struct ToSend<'a>(&'a mut [u32; FRAME_WORDS]);

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let result = write(&mut self.0.as_mut_bytes()[..len]);
        let words = len.div_ceil(4);
        // What was sent leaves a status behind.
        while CHIP.read(TX_FIFO_INF) >> 16 & 0xff > 0 {
            CHIP.read(TX_STATUS);
        }
        // At 100 Mbit/s this takes a fraction of a millisecond, if the FIFO was full; QEMU's never is.
        while ((CHIP.read(TX_FIFO_INF) & 0xffff) as usize) < words * 4 + 8 {}
        CHIP.write(TX_DATA, TX_COMMAND_WHOLE | len as u32);
        CHIP.write(TX_DATA, (len as u32) << 16 | len as u32);
        for &word in self.0.iter().take(words) {
            CHIP.write(TX_DATA, word);
        }
        timers::wake_emulator();
        result
    }
}
