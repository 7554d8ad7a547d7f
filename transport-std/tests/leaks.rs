//! Worlds come and go, and leave nothing behind in their process. Alone in its file: it counts the process's threads.
#![cfg(target_os = "linux")]

use std::net::TcpListener;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use edgempi::hub::{Applied, Registry};
use edgempi::{Builder, Config, Error, Group, Init, Operation, Rank, Sum, World};

struct Count;

impl Operation for Count {
    const NAME: &'static str = "count";
    type Parameters = ();
    type Input = ();
    type Output = u32;

    fn parameters(&self) {}

    fn group(&self) -> Group<'_> {
        Group::ALL
    }
}

fn count(call: Applied<'_, ()>, inputs: Vec<(Rank, ())>) -> Result<Vec<(Rank, u32)>, String> {
    Ok(call.destinations.iter().map(|rank| (*rank, inputs.len() as u32)).collect())
}

/// A world of three ranks over TCP, whose hub is beside rank 0.
fn world_over_tcp(operations: &Registry) -> Result<Vec<World>, Error> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let joining = |rank| {
        let config = Config::new().listen(free.to_string()).size(3).rank(rank).wait(Duration::from_secs(30)).world("");
        let config = config.addr(if rank == 0 { String::new() } else { free.to_string() });
        Builder::new().config(config).operations(operations.clone()).init()
    };
    let joining: Vec<Init> = (0..3).map(joining).collect();
    joining.into_iter().map(Init::wait).collect()
}

fn work(worlds: &[World]) -> Result<(), Error> {
    let sums: Vec<_> = worlds.iter().map(|world| world.comm().allreduce(vec![1u32; 100_000], Sum)).collect();
    let counts: Vec<_> = worlds.iter().map(|world| world.comm().apply(&Count, Some(&()))).collect();
    let copies: Vec<_> = worlds.iter().map(|world| world.comm().dup()).collect();
    for ((sum, count), copy) in sums.into_iter().zip(counts).zip(copies) {
        assert_eq!((sum.wait()?[0], count.wait()?), (worlds.len() as u32, Some(worlds.len() as u32)));
        copy.wait()?;
    }
    Ok(())
}

/// Threads and descriptors of this process.
fn held() -> io::Result<(usize, usize)> {
    Ok((fs::read_dir("/proc/self/task")?.count(), fs::read_dir("/proc/self/fd")?.count()))
}

#[test]
fn two_hundred_worlds_leave_no_thread_and_no_descriptor() -> Result<(), Error> {
    let mut operations = Registry::new();
    operations.insert_fn(Count::NAME, Count::VERSION, count);
    let before = held().expect("Linux says so");
    for round in 0..200 {
        let worlds = match round % 3 {
            0 => Builder::new().operations(operations.clone()).local(3)?,
            _ => world_over_tcp(&operations)?,
        };
        work(&worlds)?;
        if round % 5 == 4 {
            // Some do not say goodbye, with calls of theirs under way.
            let _never = worlds[1].comm().recv::<u8>(0, 0);
            drop(worlds);
        } else {
            let leaving: Vec<_> = worlds.into_iter().map(World::finalize).collect();
            leaving.into_iter().try_for_each(|leaving| leaving.wait())?;
        }
    }
    // Threads end after they have said that they do.
    let start = Instant::now();
    while held().expect("Linux says so") != before {
        let (now, waited) = (held().expect("Linux says so"), start.elapsed());
        assert!(waited < Duration::from_secs(20), "{now:?} threads and descriptors, {before:?} before");
        thread::yield_now();
    }
    Ok(())
}
