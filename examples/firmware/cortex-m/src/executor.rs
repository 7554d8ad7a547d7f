//! An executor that sleeps in WFI.
//!
//! embassy's own sleeps in WFE, which QEMU treats as a yield: an idle board would take a whole core of the host.

use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::{asm, interrupt};
use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

/// Whether a task was woken since the executor last looked.
static WOKEN: AtomicBool = AtomicBool::new(false);

// What embassy-executor calls when a task is woken.
#[unsafe(export_name = "__pender")]
fn wake(_context: *mut ()) {
    WOKEN.store(true, Ordering::SeqCst);
}

/// Spawns the first tasks by `start`, and runs tasks for ever.
///
/// # Panics
///
/// If it runs already.
pub fn run(start: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor: &'static raw::Executor = EXECUTOR.init(raw::Executor::new(ptr::null_mut()));
    start(executor.spawner());
    loop {
        WOKEN.store(false, Ordering::SeqCst);
        // SAFETY: nothing else polls this executor: only one `run` gets past `init`, and none runs within itself,
        // because tasks don't have the executor.
        unsafe { executor.poll() };
        interrupt::disable();
        if !WOKEN.load(Ordering::SeqCst) {
            // An interrupt ends it even now, and is served as soon as interrupts are on.
            asm::wfi();
        }
        // SAFETY: they were on before, and no critical section is open here.
        unsafe { interrupt::enable() };
    }
}
