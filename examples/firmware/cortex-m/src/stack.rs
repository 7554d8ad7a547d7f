//! How much stack is used.

use core::ptr;

unsafe extern "C" {
    // Of cortex-m-rt's linker script: the stack's bottom and top.
    static _stack_end: u32;
    static _stack_start: u32;
}

/// How many bytes of stack have been in use at most since the start, when cortex-m-rt filled it with a pattern.
pub fn high_water() -> usize {
    let top = &raw const _stack_start;
    let mut unused = &raw const _stack_end;
    // SAFETY: it's an aligned address between the stack's bottom and top: memory that always holds something. Nobody
    // else writes there now, because all that is below the stack pointer is unused.
    while unused < top && unsafe { ptr::read_volatile(unused) } == cortex_m_rt::STACK_PAINT_VALUE {
        unused = unused.wrapping_add(1);
    }
    top.addr() - unused.addr()
}
