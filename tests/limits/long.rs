//! A message as long as memory allows, through a hub that holds little of it.

use edgempi::Sum;
use edgempi_tests::job::HubProcess;
use edgempi_tests::process::{Process, command};
use edgempi_tests::{on_ranks, released, say, tcp_worlds};

use super::{alone, bytes_in, most_memory};

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
    let mut hub = command(released("edgempi"));
    hub.args(["hub", "--listen", "127.0.0.1:0", "--size", &SIZE.to_string()]);
    let hub = HubProcess::of(hub);
    let program = released("large_allreduce");
    let start = |rank: u32| {
        let mut command = command(program);
        command.arg((GIB / 4).to_string()).env("EDGEMPI_ADDR", &hub.address);
        command.env("EDGEMPI_SIZE", SIZE.to_string()).env("EDGEMPI_RANK", rank.to_string());
        Process::start(command)
    };
    let mut ranks: Vec<_> = (0..SIZE).map(start).collect();
    for (rank, process) in ranks.iter_mut().enumerate() {
        let line = process.hear();
        println!("rank {rank}: {line}");
        assert!(line.contains("right"), "rank {rank} says {line:?}");
    }
    let most = most_memory(hub.process.id()).expect("Linux says so");
    println!("the hub had {} MiB at most", most >> 20);
    // They finalize when their input ends.
    ranks.iter_mut().for_each(Process::close_input);
    for (rank, process) in ranks.iter_mut().enumerate() {
        let (status, errors) = process.end();
        assert!(status.success(), "rank {rank} failed: {errors}");
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
