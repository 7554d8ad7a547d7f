//! The hub in its process, and what it uses of the system.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use edgempi_tests::process::{Process, lone_hub};

/// What a hub uses while nothing happens.
pub struct Idle {
    /// Bytes that it needs more than before anybody joined.
    pub memory: u64,
    /// Of one processor.
    pub processor: f64,
    pub files: usize,
}

pub struct Hub {
    pub address: SocketAddr,
    process: Process,
    empty: u64,
}

impl Hub {
    pub fn start(ranks: u32) -> Self {
        let (process, address) = lone_hub(ranks, &[("RUST_LOG", "warn"), ("EDGEMPI_WAIT", "120s")]);
        let empty = resident(process.id());
        Self { address, process, empty }
    }

    /// Looks at the hub for the middle of a time in which all ranks wait for one.
    pub fn idle(&mut self, time: Duration) -> Idle {
        let id = self.process.id();
        // Not for something to happen, but for time to pass in which nothing does.
        thread::sleep(time / 4);
        let before = processor(id);
        thread::sleep(time / 2);
        let used = processor(id) - before;
        let files = fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count);
        Idle { memory: resident(id).saturating_sub(self.empty), processor: used / (time / 2).as_secs_f64(), files }
    }

    pub fn end(mut self) {
        let (status, said) = self.process.end();
        assert!(status.success(), "{said}");
    }
}

/// Bytes of memory.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("Linux tells of processes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("memory is told of");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
}

/// Seconds of processor time, of all its threads, as the scheduler counts them.
fn processor(process: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("Linux tells of threads");
    let ran = tasks.filter_map(|task| {
        let statistics = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        statistics.split_whitespace().next()?.parse::<f64>().ok()
    });
    ran.sum::<f64>() / 1e9
}
