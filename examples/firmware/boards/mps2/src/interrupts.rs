//! The interrupts that the board's devices share out.

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;

use crate::{ethernet, timers};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Interrupt {
    Timer1 = 9,
    Ethernet = 13,
}

// SAFETY: these are the board's numbers, each once.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

impl Interrupt {
    /// Lets it interrupt from now on.
    pub(crate) fn enable(self) {
        // SAFETY: no critical section of ours relies on a masked interrupt: they all mask every interrupt.
        unsafe { NVIC::unmask(self) }
    }
}

// There is no crate of the chip's registers, so cortex-m-rt knows no names of its interrupts and brings all here.
//
// SAFETY: interrupt handlers may be called at any time that interrupts are on, and these are made for it: what they
// share with tasks is in critical sections.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    const TIMER1: i16 = Interrupt::Timer1 as i16;
    const ETHERNET: i16 = Interrupt::Ethernet as i16;
    match number {
        TIMER1 => timers::on_interrupt(),
        ETHERNET => ethernet::on_interrupt(),
        _ => panic!("interrupt {number}, which nobody asked for"),
    }
}
