//! Limits on messages, requests and the hub's memory: whoever meets one is told or waits, and nobody else notices.

mod flood;
mod long;
mod too_large;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
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

/// The command `edgempi hub` at work, for one world.
struct HubProcess {
    process: Child,
    address: String,
}

impl HubProcess {
    fn start(program: &std::path::Path, size: u32) -> Self {
        let mut command = Command::new(program);
        command.args(["hub", "--listen", "127.0.0.1:0", "--size", &size.to_string()]);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the hub starts");
        let mut line = String::new();
        let stderr = process.stderr.take().expect("its stderr is a pipe");
        BufReader::new(stderr).read_line(&mut line).expect("it speaks text");
        let address = line.trim().rsplit(' ').next().filter(|_| line.contains("hub of a world")).map(str::to_owned);
        Self { process, address: address.unwrap_or_else(|| panic!("no address of the hub in {line:?}")) }
    }

    /// The most memory that it has had so far, in bytes; `None` where the system does not say.
    fn most_memory(&self) -> Option<u64> {
        bytes_in(&format!("/proc/{}/status", self.process.id()), "VmHWM:")
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        // It ends by itself where the test does not fail.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A number of kilobytes in a file of Linux's /proc.
fn bytes_in(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
