//! What a board gets done by the emulator or debugger that runs it. Without either, these calls end in a fault.

use core::fmt;

use cortex_m_semihosting::{debug, nr, syscall1};
use static_cell::ConstStaticCell;

/// How long a command line may be.
const COMMAND_LINE: usize = 256;

/// The words that the program was started with, its own name first; none of them where they are too many, or where
/// this was asked before.
pub fn command_line() -> &'static str {
    static LINE: ConstStaticCell<[u8; COMMAND_LINE]> = ConstStaticCell::new([0; COMMAND_LINE]);
    let Some(line) = LINE.try_take() else { return "" };
    let mut block = [line.as_mut_ptr() as usize, line.len()];
    // SAFETY: the call fills the memory that `block` names, `line` alone, and replaces the length by that of what it
    // wrote.
    let status = unsafe { syscall1(nr::GET_CMDLINE, block.as_mut_ptr() as usize) };
    let [_, len] = block;
    let written = if status == 0 { line.get(..len).unwrap_or_default() } else { &[] };
    core::str::from_utf8(written).unwrap_or_default().trim_end_matches('\0')
}

/// A console for people: what the emulator or debugger prints.
#[derive(Clone, Copy, Debug)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The call wants a zero at the end, so it gets copies.
        let mut copy = [0; 33];
        for part in text.as_bytes().chunks(copy.len() - 1) {
            copy[..part.len()].copy_from_slice(part);
            copy[part.len()] = 0;
            // SAFETY: the call reads from the address up to the zero.
            unsafe { syscall1(nr::WRITE0, copy.as_ptr() as usize) };
        }
        Ok(())
    }
}

/// Ends the program with exit code 0 or, if it failed, 1.
pub fn exit(success: bool) -> ! {
    debug::exit(if success { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    // A debugger leaves the board here; so nothing runs any more.
    cortex_m::interrupt::disable();
    loop {
        cortex_m::asm::wfi();
    }
}
