//! A message as long as memory allows, through a hub that holds little of it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use edgempi::Sum;
use edgempi_tests::{on_ranks, released, say, tcp_worlds};

use super::{HubProcess, alone, bytes_in};

const GIB: u64 = 1 << 30;

#[test]
fn a_gibibyte_is_reduced_over_four_ranks_by_a_hub_of_less_than_64_mebibytes() {
    const SIZE: u32 = 4;
    let _alone = alone();
    let available = bytes_in("/proc/meminfo", "MemAvailable:").unwrap_or(0);
    if available < 10 * GIB {
        say("SKIPPED: an allreduce of 1 GiB: it needs 10 GiB of available memory, on Linux");
        return;
    }
    let hub = HubProcess::start(released("edgempi"), SIZE);
    let program = released("large_allreduce");
    let mut ranks: Vec<_> = (0..SIZE)
        .map(|rank| {
            let mut command = Command::new(program);
            command.arg((GIB / 4).to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
            command.env("EDGEMPI_ADDR", &hub.address).env("EDGEMPI_SIZE", SIZE.to_string());
            command.env("EDGEMPI_RANK", rank.to_string()).spawn().expect("the rank starts")
        })
        .collect();
    for (rank, process) in ranks.iter_mut().enumerate() {
        let mut line = String::new();
        let stdout = process.stdout.as_mut().expect("its stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it speaks text");
        print!("rank {rank}: {line}");
        assert!(line.contains("right"), "rank {rank} says {line:?}");
    }
    let most = hub.most_memory().expect("Linux says so");
    println!("the hub had {} MiB at most", most >> 20);
    for process in &mut ranks {
        // They finalize when their input ends.
        drop(process.stdin.take());
    }
    for (rank, mut process) in ranks.into_iter().enumerate() {
        assert!(process.wait().expect("the rank ends").success(), "rank {rank} failed");
    }
    assert!(most < 64 << 20, "the hub had {most} bytes");
}

#[test]
fn the_memory_of_a_request_that_was_given_up_is_free_once_the_hub_has_answered() {
    const NUMBERS: usize = 64 << 20;
    let _alone = alone();
    let memory = || bytes_in("/proc/self/status", "VmRSS:");
    if memory().is_none() {
        say("SKIPPED: the memory of a request that was given up: this system does not say how much a process has");
        return;
    }
    let held = on_ranks(tcp_worlds(2), |world| {
        let comm = world.comm();
        let before = memory();
        if comm.rank() == 0 {
            drop(comm.allreduce_in_place(&mut vec![0u32; NUMBERS], Sum));
            comm.send(1, 0, [0u8]).wait().unwrap();
        } else {
            // Not before it has been given up.
            comm.recv::<u8>(0, 0).wait().unwrap();
            assert!(comm.allreduce(vec![0u32; NUMBERS], Sum).wait().is_err());
        }
        // What is in front of a barrier's answer has come with it.
        comm.barrier().wait().unwrap();
        memory().unwrap_or(0).saturating_sub(before.unwrap_or(0))
    });
    assert!(held[0] < NUMBERS as u64, "{} bytes are still there", held[0]);
}
