//! `edgempi hub`: a hub as a process of its own, world after world, and what it says and does when ranks or it fail.
#![cfg(unix)]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use edgempi_tests::edgempi;
use edgempi_tests::job::{HubProcess, Process, command, rank, rank_command, ranks, run};

/// Where a hub sees the ranks of this machine.
const HERE: &str = if cfg!(target_os = "linux") { "this machine" } else { "127.0.0.1:" };

#[test]
fn a_hub_of_its_own_serves_ranks_started_by_hand_and_ends_with_them() {
    let mut hub = HubProcess::start(3, &[]);
    let hint = hub.process.line("edgempi: start each rank with ");
    assert!(hint.ends_with(&format!("EDGEMPI_ADDR={} EDGEMPI_SIZE=3 EDGEMPI_RANK=0 to 2", hub.address)), "{hint}");
    let ended: Vec<_> = ranks(&hub.address, 3, "fedavg", &[]).into_iter().map(|rank| rank.end().succeeded()).collect();
    assert!(ended[0].accuracy() >= 90.0, "{ended:#?}");
    assert_eq!(ended[0].weights(), run(3, "fedavg", &[]).succeeded().weights());
    assert_eq!((ended[1].stdout.as_str(), ended[2].stdout.as_str()), ("", ""));
    let said = hub.process.end().succeeded().stderr;
    for number in 0..3 {
        assert!(said.contains(&format!("rank {number} is here, from {HERE}")), "{said}");
        assert!(said.contains(&format!("rank {number} has finished (")), "{said}");
    }
    assert!(said.contains("3 of 3 ranks finished; ") && said.contains(" MB received, "), "{said}");
}

#[test]
fn a_hub_that_serves_for_ever_serves_world_after_world() {
    let mut hub = HubProcess::start(3, &["--forever"]);
    for _ in 0..3 {
        for ended in ranks(&hub.address, 3, "hello", &[]).into_iter().map(Process::end) {
            ended.succeeded();
        }
        // No need to wait for it: whoever comes earlier waits.
    }
    for _ in 0..3 {
        hub.process.line("3 of 3 ranks finished");
    }
    hub.process.line("ready for the next world");
    hub.process.signal("INT");
    assert_eq!(hub.process.end().code, Some(128 + 2));
}

#[test]
fn a_world_that_never_completes_does_not_stop_a_hub_that_serves_for_ever() {
    let mut hub = HubProcess::start_with(3, &["--forever"], "1s");
    let early = [rank(&hub.address, 0, 3, "hello", &[]), rank(&hub.address, 1, 3, "hello", &[])];
    for process in early {
        let ended = process.end();
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(ended.stderr.contains("rank 2 ") && ended.stderr.contains("did not come within 1 s"), "{ended:#?}");
    }
    hub.process.line("edgempi: the world has ended");
    for ended in ranks(&hub.address, 3, "hello", &[]).into_iter().map(Process::end) {
        ended.succeeded();
    }
    hub.process.line("3 of 3 ranks finished");
}

#[test]
fn a_world_that_everybody_left_before_it_was_complete_makes_room_for_the_next() {
    let mut hub = HubProcess::start_with(3, &["--forever"], "1h");
    let early = rank(&hub.address, 1, 3, "hello", &[]);
    hub.process.line("rank 1 is here");
    drop(early);
    let line = hub.process.line("edgempi: the world has ended");
    assert!(line.contains("0 of 3 ranks finished, rank 1 failed (its connection closed"), "{line}");
    for ended in ranks(&hub.address, 3, "hello", &[]).into_iter().map(Process::end) {
        ended.succeeded();
    }
    hub.process.line("3 of 3 ranks finished");
}

#[test]
fn a_second_process_with_a_rank_is_turned_away_and_the_world_goes_on() {
    let mut hub = HubProcess::start(2, &[]);
    let first = rank(&hub.address, 0, 2, "hello", &[]);
    hub.process.line("rank 0 is here");
    let twin = rank(&hub.address, 0, 2, "hello", &[]).end();
    assert_eq!(twin.code, Some(1), "{twin:#?}");
    assert!(twin.stderr.contains("rank 0 is taken by a living process") && twin.stderr.contains("EDGEMPI_RANK"));
    hub.process.line(&format!("turned away {HERE}"));
    rank(&hub.address, 1, 2, "hello", &[]).end().succeeded();
    first.end().succeeded();
    hub.process.end().succeeded();
}

#[test]
fn a_hub_of_a_named_world_takes_no_ranks_of_another_job() {
    let mut command = command(edgempi(), &["hub", "--size", "1", "--listen", "127.0.0.1:0"]);
    command.env("EDGEMPI_WORLD", "blue");
    let mut hub = HubProcess::of(command);
    let hint = hub.process.line("edgempi: start each rank with ");
    assert!(hint.ends_with(" EDGEMPI_SIZE=1 EDGEMPI_RANK=0 EDGEMPI_WORLD=blue"), "{hint}");
    let of_world = |name: &str| {
        let mut command = rank_command(&hub.address, 0, 1, "hello", &[]);
        command.env("EDGEMPI_WORLD", name);
        Process::start(command).end()
    };
    let red = of_world("red");
    assert_eq!(red.code, Some(1), "{red:#?}");
    assert!(red.stderr.contains("\"blue\"") && red.stderr.contains("\"red\""), "{red:#?}");
    of_world("blue").succeeded();
    hub.process.end().succeeded();
}

#[test]
fn a_connection_that_says_nothing_does_not_keep_a_hub() {
    let hub = HubProcess::start(1, &[]);
    let silent = TcpStream::connect(&hub.address).unwrap();
    rank(&hub.address, 0, 1, "hello", &[]).end().succeeded();
    let begun = Instant::now();
    hub.process.end().succeeded();
    // While the world lives, it has ten seconds for its first word.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    drop(silent);
}

#[test]
fn a_hub_that_is_told_to_stop_tells_its_ranks() {
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        let hub = HubProcess::start(3, &[]);
        let mut ranks = ranks(&hub.address, 3, "fedavg", &["--rounds", "1000000"]);
        ranks[0].line("round ");
        hub.process.signal(name);
        for rank in ranks {
            let ended = rank.end();
            assert_eq!(ended.code, Some(1), "{ended:#?}");
            assert!(ended.stderr.starts_with("fedavg: disconnected from the hub: "), "{ended:#?}");
            assert!(ended.stderr.contains("shut down"), "{ended:#?}");
        }
        let ended = hub.process.end();
        assert_eq!(ended.code, Some(128 + number), "{ended:#?}");
        assert!(ended.stderr.contains(&format!("SIG{name}: the ranks are told that the hub goes")), "{ended:#?}");
        assert!(ended.stderr.contains("edgempi: stopped after ") && !ended.stderr.contains("WARN"), "{ended:#?}");
    }
}

#[test]
fn ranks_notice_a_hub_that_is_killed() {
    let hub = HubProcess::start(2, &[]);
    let mut ranks = ranks(&hub.address, 2, "fedavg", &["--rounds", "1000000"]);
    ranks[0].line("round ");
    drop(hub);
    for rank in ranks {
        let ended = rank.end();
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(ended.stderr.starts_with("fedavg: disconnected from the hub: "), "{ended:#?}");
    }
}

#[test]
fn a_hub_that_lacks_its_port_or_its_size_says_what_to_do() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Process::start(command(edgempi(), &["hub", "--size", "2", "--listen", &address])).end();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.starts_with(&format!("edgempi: can not listen on {address}: ")), "{ended:#?}");
    assert!(ended.stderr.contains("EDGEMPI_PORT"), "{ended:#?}");
    let ended = Process::start(command(edgempi(), &["hub"])).end();
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    assert!(ended.stderr.contains("--size N"), "{ended:#?}");
}
