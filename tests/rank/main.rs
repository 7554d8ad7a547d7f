//! A rank that does as it is told: joins the world that its environment describes, says `joined`, and then obeys what
//! comes line by line on stdin. `ok` or `error: …` on stdout is how each went.
//!
//! With `--promise MILLISECONDS` it speaks the protocol by hand instead, and promises never to be silent for longer.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use edgempi::hub::Registry;
use edgempi::{ANY_SOURCE, Builder, Comm, Error, Named, Rank, Source, Sum, World};
use edgempi_core::wire::{Down, Ping, Up};
use edgempi_tests::stranger::{Stranger, first_barrier, hello};

/// The tag of all messages.
const TAG: u32 = 5;
/// What the hub of a world of these ranks knows, if one of them hosts it.
const TOTAL: Named = Named::new("total");
/// Elements of a stream that takes a while.
const LONG: usize = 32 << 20;
/// Bytes sent of it when it is said to be under way.
const UNDER_WAY: u64 = 4 << 20;

fn say(text: &str) {
    println!("{text}");
    std::io::stdout().flush().expect("somebody listens");
}

fn report(result: Result<(), Error>) {
    match result {
        Ok(()) => say("ok"),
        Err(error) => say(&format!("error: {error:?}")),
    }
}

fn number(words: &[&str], at: usize) -> u32 {
    let number = words.get(at).and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("{words:?} lacks a number"))
}

/// `receive` from anybody, or `receive RANK`.
fn receive(comm: &Comm, words: &[&str]) -> Result<(), Error> {
    let source = if words.len() > 1 { Source::Rank(Rank::new(number(words, 1))) } else { ANY_SOURCE };
    comm.recv::<u8>(source, TAG).wait().map(drop)
}

fn obey(world: World) -> Result<(), Error> {
    say("joined");
    let comm = world.comm();
    let (mut world, mut streams) = (Some(world), Vec::new());
    for line in std::io::stdin().lines() {
        let line = line.expect("orders are text");
        let words: Vec<&str> = line.split(' ').collect();
        match (line.as_str(), &world) {
            _ if words[0] == "send" => report(comm.send(number(&words, 1), TAG, [7u8]).wait()),
            _ if words[0] == "receive" => report(receive(&comm, &words)),
            // From another thread, in a while.
            _ if words[0] == "help" => {
                let (comm, whom) = (comm.clone(), number(&words, 1));
                let wait = Duration::from_millis(u64::from(number(&words, 2)));
                thread::spawn(move || {
                    thread::sleep(wait);
                    comm.send(whom, TAG, [7u8]).wait()
                });
                say("ok");
            }
            ("serve", _) => {
                let (comm, words) = (comm.clone(), ["receive"]);
                thread::spawn(move || report(receive(&comm, &words)));
            }
            ("barrier", _) => report(comm.barrier().wait()),
            // By the hub's function, which a thread of the hub's runs.
            ("total", _) => report(comm.objects().allreduce(1u32, TOTAL).wait().map(drop)),
            ("stream", Some(world)) => {
                let before = world.traffic().sent;
                streams.push(comm.allreduce(vec![0f32; LONG], Sum));
                while world.traffic().sent < before + UNDER_WAY {
                    thread::yield_now();
                }
                say("ok");
            }
            ("exit", _) => std::process::exit(7),
            ("panic", _) => panic!("this rank was told to panic"),
            ("drop", _) => {
                world = None;
                say("ok");
            }
            ("finalize", _) => report(world.take().map_or(Ok(()), |world| world.finalize().wait())),
            (other, _) => panic!("this rank was told to {other}, and can not"),
        }
    }
    Ok(())
}

/// A rank by hand: takes part in the barrier of all ranks, then does nothing but say that it lives.
fn promise(silence: u32) {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let hub: SocketAddr = variable("EDGEMPI_ADDR").parse().expect("an address");
    let [rank, size] = ["EDGEMPI_RANK", "EDGEMPI_SIZE"].map(|name| variable(name).parse().expect("a number"));
    let mut hello = hello(rank, size);
    hello.max_silence = silence;
    let mut stranger = Stranger::join(hub, hello);
    stranger.say(Up::Submit(first_barrier()), &[]).expect("the hub reads");
    let mut pinger = stranger.second_voice();
    thread::spawn(move || {
        while pinger.say(Up::Ping(Ping { acknowledged: 0 }), &[]).is_ok() {
            thread::sleep(Duration::from_millis(u64::from(silence / 5)));
        }
    });
    while let Some((frame, _)) = stranger.hear() {
        if let Down::Complete(_) = frame {
            say("joined");
        }
    }
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--promise", silence] => {
            promise(silence.parse().expect("milliseconds"));
            Ok(())
        }
        _ => {
            let mut operations = Registry::new();
            operations.insert_reduce(TOTAL.name, TOTAL.version, |a: u32, b: u32| a + b);
            obey(Builder::new().operations(operations).init().wait()?)
        }
    }
}
