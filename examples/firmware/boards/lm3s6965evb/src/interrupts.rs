//! The interrupts that the chip's devices share out.

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;

use crate::{timers, uart};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Interrupt {
    Uart1 = 6,
    Timer0A = 19,
}

// SAFETY: these are the chip's numbers, each once.
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
    const UART1: i16 = Interrupt::Uart1 as i16;
    const TIMER0A: i16 = Interrupt::Timer0A as i16;
    match number {
        UART1 => uart::on_interrupt(),
        TIMER0A => timers::on_interrupt(),
        _ => panic!("interrupt {number}, which nobody asked for"),
    }
}
