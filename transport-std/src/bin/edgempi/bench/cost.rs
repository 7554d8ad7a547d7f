//! What a process has cost so far: processor time and memory.

use std::fs;

use edgempi::{Error, World};
use serde::{Deserialize, Serialize};

/// What one rank's process has cost, and the hub's where that is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cost {
    pub rank: u32,
    pub hosts_hub: bool,
    /// Seconds of processor time, of all threads.
    pub processor_seconds: Option<f64>,
    /// The most memory that the process has had at a time, in bytes.
    pub peak_memory: Option<u64>,
}

/// What all ranks have cost; at rank 0 alone.
pub fn of_all(world: &World) -> Result<Vec<Cost>, Error> {
    let own = Cost {
        rank: world.rank().get(),
        hosts_hub: world.hosts_hub(),
        processor_seconds: processor_seconds(),
        peak_memory: peak_memory(),
    };
    Ok(world.comm().objects().gather(0, &own).wait()?.unwrap_or_default())
}

/// Linux tells, others do not.
fn processor_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    /// What the kernel says to programs, whatever it has inside.
    const TICKS_PER_SECOND: f64 = 100.0;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
