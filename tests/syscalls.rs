//! One call to the system carries many frames: a hub's calls are counted by strace, on Linux, where that may be used.

use std::fs;
use std::process::{Command, Stdio};

use edgempi::hub::Registry;
use edgempi::{Comm, Error, World};
use edgempi_tests::job::HubProcess;
use edgempi_tests::process::command;
use edgempi_tests::{edgempi, join, joining};

const MESSAGES: u32 = 1000;

fn strace_works() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    traced.is_ok_and(|status| status.success())
}

/// Rank 0 sends, rank 1 has asked for all of it before.
fn flood(worlds: &[World]) -> Result<(), Error> {
    let [sender, receiver]: [Comm; 2] = [worlds[0].comm(), worlds[1].comm()];
    let receiving: Vec<_> = (0..MESSAGES).map(|_| receiver.recv::<u32>(0, 1)).collect();
    let barriers = [sender.barrier(), receiver.barrier()];
    barriers.into_iter().try_for_each(|barrier| barrier.wait())?;
    let sending: Vec<_> = (0..MESSAGES).map(|number| sender.send(1, 1, [number])).collect();
    sending.into_iter().try_for_each(|sent| sent.wait())?;
    for (number, received) in (0..MESSAGES).zip(receiving) {
        assert_eq!(received.wait()?.0, [number]);
    }
    Ok(())
}

#[test]
fn a_hub_reads_and_writes_many_frames_at_a_time() {
    if !strace_works() {
        println!("SKIPPED: strace is not here, or may not be used");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let trace = directory.path().join("calls");
    let mut hub = command("strace".as_ref());
    hub.args(["-f", "-e", "trace=recvfrom,sendto,writev", "-o"]).arg(&trace).arg(edgempi());
    hub.args(["hub", "--size", "2", "--listen", "127.0.0.1:0"]).env("EDGEMPI_PROTO", "tcp");
    hub.stdin(Stdio::null());
    let hub = HubProcess::of(hub);
    let address = hub.address.parse().expect("it says where it is");
    let worlds = join((0..2).map(|rank| joining(address, 2, rank)), &Registry::new()).expect("a world");
    flood(&worlds).expect("nothing is wrong with this world");
    let traffic = worlds.iter().map(World::traffic).collect::<Vec<_>>();
    let leaving: Vec<_> = worlds.into_iter().map(World::finalize).collect();
    leaving.into_iter().for_each(|request| request.wait().expect("both have finished"));
    hub.process.end().succeeded();

    let text = fs::read_to_string(&trace).expect("strace wrote it");
    let moved = |call: &str| {
        let is_it = |line: &&str| {
            line.contains(call) && line.rsplit("= ").next().is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n > 0))
        };
        text.lines().filter(is_it).count() as u64
    };
    let (reads, writes) = (moved("recvfrom"), moved("sendto") + moved("writev"));
    let up: u64 = traffic.iter().map(|traffic| traffic.frames_sent).sum();
    let down: u64 = traffic.iter().map(|traffic| traffic.frames_received).sum();
    println!("{up} frames in {reads} reads, {down} frames in {writes} writes");
    assert!(up >= u64::from(2 * MESSAGES) && down >= u64::from(MESSAGES));
    assert!(reads * 4 <= up, "{up} frames in {reads} reads");
    assert!(writes * 4 <= down, "{down} frames in {writes} writes");
}
