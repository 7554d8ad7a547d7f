//! Being told to stop.

use std::io;

/// A signal that asks for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// The polite request of another process.
    Terminate,
    /// The terminal went away.
    HangUp,
}

impl Signal {
    /// The signal's number on Unix.
    pub fn number(self) -> u8 {
        match self {
            Signal::HangUp => 1,
            Signal::Interrupt => 2,
            Signal::Terminate => 15,
        }
    }

    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Signal::HangUp => "SIGHUP",
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
        }
    }
}

/// Calls `on_signal`, on a thread of its own, for each signal from now on; none ends this process by itself any more.
///
/// A signal that whoever started this process wants ignored (`nohup`) stays ignored.
#[cfg(unix)]
pub fn listen(mut on_signal: impl FnMut(Signal) + Send + 'static) -> io::Result<()> {
    let heeded =
        [Signal::Interrupt, Signal::Terminate, Signal::HangUp].into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = signal_hook::iterator::Signals::new(heeded.map(|signal| i32::from(signal.number())))?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for number in signals.forever() {
            on_signal(match number {
                1 => Signal::HangUp,
                2 => Signal::Interrupt,
                _ => Signal::Terminate,
            });
        }
    })?;
    Ok(())
}

/// Calls `on_signal`, on a thread of its own, for each Ctrl-C from now on.
#[cfg(not(unix))]
pub fn listen(mut on_signal: impl FnMut(Signal) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || on_signal(Signal::Interrupt)).map_err(io::Error::other)
}

/// Whether this process was started with the signal ignored. Only Linux says so without unsafe code.
#[cfg(unix)]
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (signal.number() - 1)) != 0
}

/// Whether a terminal may have sent an interrupt, which then reached every process of the job by itself.
pub fn has_terminal() -> bool {
    cfg!(not(unix)) || std::fs::File::open("/dev/tty").is_ok()
}
