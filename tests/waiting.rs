//! Ranks that wait: with one thread alone in their process, which is found out, and with others, which may help.
#![cfg(target_os = "linux")]

use std::path::Path;

use edgempi_tests::free_address;
use edgempi_tests::job::HubProcess;
use edgempi_tests::process::{Process, command, rank_of};

/// The ranks of a hub, each of which has one thread until it is told otherwise.
fn ranks(hub: &HubProcess, size: u32) -> Vec<Process> {
    let start = |rank: u32| {
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_rank")));
        command.env("EDGEMPI_ADDR", &hub.address).env("EDGEMPI_SIZE", size.to_string());
        Process::start({
            command.env("EDGEMPI_RANK", rank.to_string());
            command
        })
    };
    let mut ranks: Vec<Process> = (0..size).map(start).collect();
    ranks.iter_mut().for_each(|rank| assert_eq!(rank.hear(), "joined"));
    ranks
}

fn finalize(ranks: &mut [Process]) {
    ranks.iter_mut().for_each(|rank| rank.say("finalize"));
    ranks.iter_mut().for_each(|rank| assert_eq!(rank.hear(), "ok"));
}

#[test]
fn ranks_of_one_thread_that_wait_for_each_other_are_told_so_without_a_word_of_theirs() {
    let hub = HubProcess::start(3, &[]);
    let mut ranks = ranks(&hub, 3);
    for (rank, from) in [(0, 2), (1, 0), (2, 1)] {
        ranks[rank].say(&format!("receive {from}"));
    }
    for rank in &mut ranks {
        let said = rank.hear();
        let cycle = [(0, 2), (2, 1), (1, 0)]
            .map(|(rank, from)| format!("rank {rank} waits in recv(from rank {from}, tag 5) at "));
        assert!(said.starts_with("error: Deadlock") && cycle.iter().all(|wait| said.contains(wait)), "{said}");
    }
    finalize(&mut ranks);
}

/// The threads that run operations at the hub are the library's: one that has nothing to do helps nobody.
#[test]
fn a_rank_that_has_the_hub_and_its_threads_is_told_as_well() {
    let hub = free_address();
    let mut ranks = [0, 1].map(|rank| Process::start(rank_of(Path::new(env!("CARGO_BIN_EXE_rank")), hub, 2, rank)));
    ranks.iter_mut().for_each(|rank| assert_eq!(rank.hear(), "joined"));
    ranks.iter_mut().for_each(|rank| rank.say("total"));
    ranks.iter_mut().for_each(|rank| assert_eq!(rank.hear(), "ok"));
    ranks[0].say("receive 1");
    ranks[1].say("receive 0");
    for rank in &mut ranks {
        let said = rank.hear();
        assert!(said.starts_with("error: Deadlock"), "{said}");
    }
    finalize(&mut ranks);
}

#[test]
fn ranks_that_another_thread_of_theirs_will_help_are_left_alone() {
    let hub = HubProcess::start(2, &[]);
    let mut ranks = ranks(&hub, 2);
    // One whose process has another thread is enough: it can help, and so nobody is stuck.
    ranks[0].say("help 1 600");
    assert_eq!(ranks[0].hear(), "ok");
    ranks[0].say("receive 1");
    ranks[1].say("receive 0");
    assert_eq!(ranks[1].hear(), "ok");
    ranks[1].say("send 0");
    assert_eq!([ranks[0].hear(), ranks[1].hear()], ["ok", "ok"]);
    finalize(&mut ranks);
}

#[test]
fn a_rank_of_one_thread_that_waits_for_anybody_is_told_that_nobody_is_left() {
    let hub = HubProcess::start(2, &[]);
    let mut ranks = ranks(&hub, 2);
    ranks[0].say("receive");
    ranks[1].say("finalize");
    let said = ranks[0].hear();
    let waits = "rank 0 waits in recv(from any rank, tag 5) at tests/rank/main.rs:";
    assert!(said.starts_with("error: Deadlock") && said.contains(waits), "{said}");
    assert!(said.contains(" for a message, and nobody is left to send one"), "{said}");
    ranks[0].say("finalize");
    assert_eq!([ranks[0].hear(), ranks[1].hear()], ["ok", "ok"]);
}

/// A thread that serves whatever comes, and is ended by a message from its own rank.
#[test]
fn a_thread_that_receives_from_anybody_is_served_by_its_own_rank_long_after_all_others_have_finalized() {
    let mut hub = HubProcess::start(2, &[]);
    let mut ranks = ranks(&hub, 2);
    ranks[0].say("serve");
    ranks[1].say("finalize");
    let line = hub.process.line("and nobody but rank 0 could send to it: rank 1 has finalized");
    assert!(line.contains("rank 0 waits in recv(from any rank, tag 5) at tests/rank/main.rs:"), "{line}");
    ranks[0].say("send 0");
    // Which of the two is said first is left to the threads.
    assert_eq!([ranks[0].hear(), ranks[0].hear()], ["ok", "ok"]);
    ranks[0].say("finalize");
    assert_eq!([ranks[0].hear(), ranks[1].hear()], ["ok", "ok"]);
}
