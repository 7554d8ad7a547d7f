//! What the processor does when it can't go on: it panics, so that it's told as a panic is.

use cortex_m_rt::{ExceptionFrame, exception};

// SAFETY: a fault may come at any time, and may find anything half done; nothing of that is used here any more, but
// for the console, which every board can write to at any time.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    panic!("the processor can't go on at {:#010x}", frame.pc())
}
