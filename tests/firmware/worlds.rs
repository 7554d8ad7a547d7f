//! Boards in one world with hosts.

use std::panic::{AssertUnwindSafe, catch_unwind};

use edgempi::{Builder, World};
use edgempi_core::Rank;
use edgempi_tests::emulator::{
    self, AN385, AN386, Board, LM3S6965EVB, MACHINES, MICROBIT, Machine, Member, all_succeeded,
};
use edgempi_tests::job::{HubProcess, rank, run};
use edgempi_tests::{LoneHub, joining, on_ranks};
use fedavg_round::{Activations, Options, Perceptron, Scratch, Shard, Split, Training, fingerprint};

use crate::host;

/// Hosts, which have the first ranks.
const HOSTS: u32 = 2;
/// Hidden units of the boards' network.
const HIDDEN: usize = 8;

/// A world in which `application` runs on boards, the last ranks, and `host` on the others.
fn beside_hosts(machines: &[&Machine], application: &str, host: impl Fn(&World) + Sync) {
    let size = HOSTS + machines.len() as u32;
    let hub = LoneHub::start_with(size, host::operations());
    let join = |(machine, rank): (&&Machine, u32)| emulator::join(machine, application, hub.address, rank, size, &[]);
    let boards: Vec<Member> = machines.iter().zip(HOSTS..).map(join).collect();
    let inits: Vec<_> = (0..HOSTS).map(|rank| Builder::new().config(joining(hub.address, size, rank)).init()).collect();
    let worlds: Result<Vec<World>, _> = inits.into_iter().map(|init| init.wait()).collect();
    let worlds = match worlds {
        Ok(worlds) => worlds,
        Err(error) => panic!("{error}; {:?}", all_succeeded(boards)),
    };
    // What the boards say explains what hosts complain of.
    let hosts = catch_unwind(AssertUnwindSafe(|| on_ranks(worlds, host)));
    all_succeeded(boards);
    assert!(hosts.is_ok(), "a host failed");
    hub.ended();
}

#[test]
fn boards_on_a_network_make_every_call_beside_hosts() {
    if emulator::available() {
        beside_hosts(&[&AN385, &AN386], "calls", host::calls);
    }
}

#[test]
fn boards_on_serial_lines_make_every_call_beside_hosts() {
    if emulator::available() {
        beside_hosts(&[&LM3S6965EVB, &MICROBIT], "calls", host::calls);
    }
}

#[test]
fn every_kind_of_board_says_hello_in_one_world_with_the_hosts_example() {
    if !emulator::available() {
        return;
    }
    let size = HOSTS + MACHINES.len() as u32;
    let hub = HubProcess::start(size, &[]);
    let hosts: Vec<_> = (0..HOSTS).map(|number| rank(&hub.address, number, size, "hello", &[])).collect();
    let address = hub.address.parse().expect("an address");
    let boards: Vec<_> = MACHINES
        .iter()
        .zip(HOSTS..)
        .map(|(machine, rank)| emulator::join(machine, "hello", address, rank, size, &[]))
        .collect();
    for (said, rank) in all_succeeded(boards).into_iter().zip(HOSTS..) {
        assert!(said.contains(&format!("hello, world: this is rank {rank} of {size}, a board")), "{said}");
    }
    for host in hosts {
        host.end().succeeded();
    }
    hub.process.end().succeeded();
}

/// Federated averaging on boards and hosts together ends with the weights of hosts alone, bit for bit.
fn learn(machines: &[&Machine], arguments: (&[&'static str], &[&str])) {
    let size = HOSTS + machines.len() as u32;
    let (of_hosts, of_boards) = arguments;
    let alone = run(size, "fedavg", of_hosts).succeeded().weights();
    let hub = HubProcess::start(size, &[]);
    let hosts: Vec<_> = (0..HOSTS).map(|number| rank(&hub.address, number, size, "fedavg", of_hosts)).collect();
    let address = hub.address.parse().expect("an address");
    let join = |(machine, rank): (&&Machine, u32)| emulator::join(machine, "fedavg", address, rank, size, of_boards);
    let boards: Vec<Member> = machines.iter().zip(HOSTS..).map(join).collect();
    for said in all_succeeded(boards) {
        assert!(said.contains(&format!("weights {alone}")), "hosts alone have {alone}:\n{said}");
    }
    let hosts: Vec<_> = hosts.into_iter().map(|host| host.end().succeeded()).collect();
    assert_eq!(hosts[0].weights(), alone);
    hub.process.end().succeeded();
}

#[test]
fn boards_on_a_network_learn_the_weights_that_hosts_alone_learn() {
    if emulator::available() {
        let hosts = ["--rounds", "3", "--epochs", "2"];
        learn(&[&AN385, &AN386], (&hosts, &["rounds=3", "epochs=2"]));
    }
}

#[test]
fn a_board_on_a_serial_line_learns_the_weights_that_hosts_alone_learn() {
    if emulator::available() {
        let hosts = ["--rounds", "2", "--epochs", "1", "--split", "label-skew"];
        learn(&[&LM3S6965EVB], (&hosts, &["rounds=2", "epochs=1", "split=label-skew"]));
    }
}

#[test]
fn a_board_of_16_kilobytes_learns_a_smaller_network() {
    if emulator::available() {
        let hosts = ["--hidden", "8", "--rounds", "2", "--epochs", "1"];
        learn(&[&MICROBIT], (&hosts, &["hidden=8", "rounds=2", "epochs=1"]));
    }
}

/// What the image `epoch` computes, here.
fn epoch(number: u32, size: u32) -> u64 {
    let text = include_str!("../../examples/fedavg/data/digits.csv");
    let rows = text.lines().take(1297).map(|line| line.split(',').map(|number| number.parse().expect("a number")));
    let rows: Vec<Vec<u8>> = rows.map(Iterator::collect).collect();
    let pixels: Vec<[u8; 64]> = rows.iter().map(|row| *row.first_chunk().expect("64 pixels")).collect();
    let labels: Vec<u8> = rows.iter().map(|row| row[64]).collect();
    let options = Options { epochs: 1, ..Options::DEFAULT };
    let mut memory = vec![0; labels.len()];
    let rows = Split::Iid.rows(&labels, Rank::new(number), size, options.seed, &mut memory);
    let shard = Shard::new(&pixels, &labels).select(rows);
    let (mut order, mut batch) = (vec![0; shard.len()], vec![Activations::<HIDDEN>::ZERO; fedavg_round::BATCH]);
    let mut scratch = Scratch { order: &mut order, batch: &mut batch };
    let mut weights = vec![0.0; Perceptron::<HIDDEN>::LEN];
    Perceptron::<HIDDEN>::initialize(&mut weights, options.seed);
    let mut training = Training::new(&shard, &mut scratch, &options, 0, Rank::new(number));
    while training.step(&mut weights) {}
    fingerprint(&weights)
}

#[test]
fn an_epoch_gives_the_same_weights_on_a_host_and_on_every_processor() {
    if !emulator::available() {
        return;
    }
    let weights = format!("weights {:016x}", epoch(1, 4));
    assert_ne!(epoch(1, 4), epoch(2, 4), "the fingerprint tells shards apart");
    let boards: Vec<_> =
        MACHINES.iter().map(|machine| Board::start(machine, "epoch", &["rank=1", "size=4"], "null")).collect();
    for board in boards {
        let name = board.to_string();
        let (success, said) = board.end();
        assert!(success && said.contains(&weights), "{name}: {said}; a host has {weights}");
    }
}

#[test]
fn a_board_says_on_its_console_why_the_hub_refuses_it() {
    if !emulator::available() {
        return;
    }
    let hub = LoneHub::start(3);
    let cases = [(1, 8, "world has 3 ranks"), (7, 9, "world has 3 ranks")];
    for (rank, size, why) in cases {
        let address = format!("hub=10.0.2.2:{}", hub.address.port());
        let (rank, size) = (format!("rank={rank}"), format!("size={size}"));
        let (success, said) = Board::start(&AN385, "hello", &[&address, &rank, &size], "null").end();
        assert!(!success && said.contains("the hub says: ") && said.contains(why), "{said}");
    }
}
