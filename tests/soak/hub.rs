//! A hub in a process of its own, which serves world after world, and what it uses of the system meanwhile.

use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;

use edgempi_tests::edgempi;
use edgempi_tests::job::{HubProcess, command};

/// How much more memory the last third of the worlds may need than the first: a twentieth and so many kilobytes.
const SLACK: u64 = 1024;
/// Worlds that a hub serves at the least, so that there is something to compare.
pub const LEAST: usize = 8;

/// What a hub uses between two worlds.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Resident memory in kilobytes.
    pub resident: u64,
    /// The most that it ever was.
    pub peak: u64,
    pub descriptors: usize,
}

pub struct Hub {
    pub size: u32,
    pub address: SocketAddr,
    process: HubProcess,
    pub samples: Vec<Sample>,
}

impl Hub {
    pub fn start(size: u32) -> Self {
        let mut command =
            command(edgempi(), &["hub", "--size", &size.to_string(), "--listen", "127.0.0.1:0", "--forever"]);
        // Neither who comes and goes, nor who is turned away.
        command.env("RUST_LOG", "error").env("EDGEMPI_WAIT", "60s");
        // What was freed goes back to the system, so that what is left is what the hub holds.
        command.env("MALLOC_MMAP_THRESHOLD_", "65536").env("MALLOC_TRIM_THRESHOLD_", "65536");
        let process = HubProcess::of(command);
        let address = process.address.parse().expect("the hub says where it is");
        Self { size, address, process, samples: Vec::new() }
    }

    /// Waits for the end of a world, which `finished` ranks have left as they should, and for the hub to be ready for
    /// the next.
    pub fn world_ended(&mut self, finished: u32) {
        let said = self.process.process.line("edgempi: the world has ended");
        let expected = format!(": {finished} of {} ranks finished", self.size);
        assert!(said.contains(&expected), "{finished} should have finished: {said}");
        self.process.process.line("edgempi: ready for the next world");
        self.process.process.ended.stderr.clear();
        if let Some(sample) = measure(self.process.process.id()) {
            self.samples.push(sample);
        }
    }

    /// Ends it, as a person would.
    pub fn end(self) {
        self.process.process.signal("INT");
        assert_eq!(self.process.process.end().code, Some(128 + 2));
    }

    /// Whether it has held as much at the end as at the beginning.
    pub fn judge(&self) -> Option<Result<String, String>> {
        judge(&self.samples)
    }
}

/// Compares the first and the last third of all worlds but the first few. `None` where the system tells nothing.
fn judge(samples: &[Sample]) -> Option<Result<String, String>> {
    let warm = samples.get(samples.len() / 6 + 1..)?;
    let third = warm.len() / 3;
    if third == 0 {
        return None;
    }
    let (first, last) = (&warm[..third], &warm[warm.len() - third..]);
    let medians = |measured: fn(&Sample) -> u64| [first, last].map(|third| median(third.iter().map(measured)));
    let resident = medians(|sample| sample.resident);
    // The next world's engine has opened its own by now, or not yet: the most counts.
    let descriptors = [first, last].map(|third| third.iter().map(|sample| sample.descriptors).max().unwrap_or(0));
    let peak = warm[warm.len() - 1].peak;
    let text = format!(
        "{} kB resident in the first third of its {} worlds, {} kB in the last (at most {peak} kB); {} descriptors, {}",
        resident[0],
        samples.len(),
        resident[1],
        descriptors[0],
        descriptors[1]
    );
    let is_flat = resident[1] <= resident[0] + resident[0] / 20 + SLACK && descriptors[1] <= descriptors[0] + 1;
    Some(if is_flat { Ok(text) } else { Err(text) })
}

fn median<T: Ord + Copy + Debug>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// What Linux tells of a process; `None` elsewhere.
fn measure(process: u32) -> Option<Sample> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
    Some(Sample { resident: kilobytes("VmRSS:")?, peak: kilobytes("VmHWM:")?, descriptors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> usize) -> Vec<Sample> {
        let sample = |world| Sample { resident: resident(world), peak: 50_000, descriptors: descriptors(world) };
        (0..60).map(sample).collect()
    }

    #[test]
    fn a_hub_that_holds_what_it_held_is_flat_whatever_its_first_worlds_took() {
        let warming =
            samples(|world| if world < 11 { 1_000 } else { 20_000 + world % 7 }, |world| 9 + world as usize % 2);
        assert!(matches!(judge(&warming), Some(Ok(_))));
    }

    #[test]
    fn memory_or_descriptors_that_grow_from_world_to_world_are_a_leak() {
        assert!(matches!(judge(&samples(|world| 20_000 + 100 * world, |_| 9)), Some(Err(_))));
        assert!(matches!(judge(&samples(|_| 20_000, |world| 9 + world as usize / 10)), Some(Err(_))));
    }

    #[test]
    fn nothing_is_said_of_too_few_worlds() {
        assert_eq!(judge(&[]), None);
        assert_eq!(judge(&samples(|_| 20_000, |_| 9)[..2]), None);
    }
}
