//! Limits on messages, requests and the hub's memory: whoever meets one is told or waits, and nobody else notices.

mod flood;
mod long;
mod too_large;

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use edgempi::{Comm, Sum};

/// Tests that measure time or memory run one by one.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything works.
fn assert_usable(comm: &Comm) {
    let (rank, size) = (comm.rank().get(), comm.size());
    comm.barrier().wait().unwrap();
    assert_eq!(comm.allreduce([rank, 1], Sum).wait().unwrap(), [size * (size - 1) / 2, size]);
    let sent = comm.send((rank + 1) % size, u32::MAX, [rank]);
    let (came, _) = comm.recv::<u32>((rank + size - 1) % size, u32::MAX).wait().unwrap();
    assert_eq!(came, [(rank + size - 1) % size]);
    sent.wait().unwrap();
}

/// The most memory that a process has had so far, in bytes; `None` where the system does not say.
fn most_memory(process: u32) -> Option<u64> {
    bytes_in(&format!("/proc/{process}/status"), "VmHWM:")
}

/// A number of kilobytes in a file of Linux's /proc.
fn bytes_in(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
