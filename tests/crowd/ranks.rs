//! Some of the ranks, in one process, on one thread: it starts a call on each, and then waits for all.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use edgempi::hub::Registry;
use edgempi::{Comm, Error, Request, Sum, World};
use edgempi_tests::{join, joining};

/// Is `count` ranks of a world of `size` from `first` on, and does what it reads. Answers each line with the median of a
/// round in microseconds.
pub fn be(hub: SocketAddr, size: u32, first: u32, count: u32) {
    let configs = (first..first + count).map(|rank| joining(hub, size, rank).wait(Duration::from_secs(120)));
    let worlds = join(configs, &Registry::new()).unwrap_or_else(|error| panic!("{error}"));
    say("ready");
    for line in io::stdin().lock().lines() {
        let line = line.expect("lines are text");
        let (what, number) = line.split_once(' ').expect("what, and how often");
        let number: u64 = number.parse().expect("a number");
        let median = match what {
            "barrier" => rounds(&worlds, number, |comm| comm.barrier()),
            "allreduce" => rounds(&worlds, number, |comm| comm.allreduce(vec![1f32; 256], Sum).map(drop)),
            _ => {
                keep_waiting(&worlds, Duration::from_secs(number));
                0.0
            }
        };
        say(&median.to_string());
    }
    let leaving: Vec<_> = worlds.into_iter().map(World::finalize).collect();
    leaving.into_iter().for_each(|request| request.wait().expect("all have finished"));
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody reads");
}

/// The median time of a call on all ranks, in microseconds.
fn rounds(worlds: &[World], rounds: u64, call: impl Fn(&Comm) -> Request<'static, ()>) -> f64 {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            wait(worlds.iter().map(|world| call(&world.comm())).collect()).expect("nothing is wrong with this world");
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn wait(requests: Vec<Request<'static, ()>>) -> Result<(), Error> {
    requests.into_iter().try_for_each(Request::wait)
}

/// A barrier to which rank 0 comes late.
fn keep_waiting(worlds: &[World], time: Duration) {
    let (late, early): (Vec<&World>, Vec<&World>) = worlds.iter().partition(|world| world.rank() == 0);
    let early = early.iter().map(|world| world.comm().barrier()).collect();
    if let [late] = late.as_slice() {
        thread::sleep(time);
        late.comm().barrier().wait().expect("nothing is wrong with this world");
    }
    wait(early).expect("nothing is wrong with this world");
}
