//! A hub of one's own, with operations of its own: a program that listens, and that ranks join.
//!
//!     cargo run --release --example own_hub -- 4
//!
//! Started so it is the hub, and starts four ranks beside it on this machine: copies of itself. On machines of your own
//! start `EDGEMPI_SIZE=4 EDGEMPI_RANK=0 own_hub` and its like with `EDGEMPI_ADDR` where the hub is.
//!
//! The ranks draw from one account, which lives at the hub as long as the hub does. Whoever asks for too much is refused,
//! and every rank of the call can match on the reason.

use std::fmt;
use std::io::{Write, stdout};
use std::process::Command;
use std::sync::Mutex;

use edgempi::hub::{Applied, Registry, Server};
use edgempi::{Config, Error, Group, Operation, Rank};
use serde::{Deserialize, Serialize};

/// Every rank says how much it wants, and gets it; the parameter says from which account.
struct Withdraw {
    account: &'static str,
}

impl Operation for Withdraw {
    const NAME: &'static str = "withdraw";
    type Parameters = &'static str;
    type Input = u64;
    type Output = u64;

    fn parameters(&self) -> &'static str {
        self.account
    }

    fn group(&self) -> Group<'_> {
        Group::ALL
    }
}

/// Why not.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refusal {
    NoSuchAccount { name: String },
    TooLittle { asked: u64, left: u64 },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchAccount { name } => write!(f, "there is no account {name:?}"),
            Self::TooLittle { asked, left } => write!(f, "{asked} were asked for and {left} are left"),
        }
    }
}

/// What the hub can do: [`Withdraw`]'s half there. It may keep what it likes between calls.
fn operations() -> Registry {
    let left = Mutex::new(1000u64);
    let mut operations = Registry::new();
    operations.insert_fn(
        Withdraw::NAME,
        Withdraw::VERSION,
        move |call: Applied<'_, String>, wishes: Vec<(Rank, u64)>| -> Result<Vec<(Rank, u64)>, Refusal> {
            if call.parameters != "ours" {
                return Err(Refusal::NoSuchAccount { name: call.parameters });
            }
            let mut left = left.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let asked = wishes.iter().map(|(_, wish)| wish).sum();
            *left = left.checked_sub(asked).ok_or(Refusal::TooLittle { asked, left: *left })?;
            Ok(wishes)
        },
    );
    operations
}

/// The hub: ten lines, without those that start the ranks.
fn hub(size: u32) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::new().rank(0).size(size).listen("127.0.0.1:0");
    let server = Server::bind(&config, operations())?;
    let mut ranks = Vec::new();
    for rank in 0..size {
        let mut command = Command::new(std::env::current_exe()?);
        command.env("EDGEMPI_ADDR", server.local_addr().to_string());
        command.env("EDGEMPI_SIZE", size.to_string()).env("EDGEMPI_RANK", rank.to_string());
        ranks.push(command.spawn()?);
    }
    let report = server.serve()?;
    for mut rank in ranks {
        rank.wait()?;
    }
    if report.finished < size {
        return Err(format!("{} of {size} ranks finished: {:?}", report.finished, report.failed).into());
    }
    writeln!(stdout(), "hub: {} ranks have finished", report.finished)?;
    Ok(())
}

fn rank() -> Result<(), Error> {
    // Where the hub is in rank 0's process, as `edgempi run` has it, it knows them, too.
    let world = edgempi::Builder::new().operations(operations()).init().wait()?;
    let comm = world.comm();
    let wish = 100 / u64::from(comm.size());
    let ours = Withdraw { account: "ours" };
    assert_eq!(comm.apply(&ours, Some(&wish)).wait()?, Some(wish));

    // Everybody asks for all there was: every rank is told the same.
    let size = u64::from(comm.size());
    let expected = Refusal::TooLittle { asked: 1000 * size, left: 1000 - wish * size };
    let refused = comm.apply(&ours, Some(&1000)).wait().expect_err("so much is not left");
    assert_eq!(refused.remote(), Some(expected));
    if comm.rank() == 0 {
        // Whether anybody reads it does not matter to the others.
        let _ = writeln!(stdout(), "rank 0: {refused}");
    }
    let refused = comm.apply(&Withdraw { account: "theirs" }, Some(&1)).wait().expect_err("it is not there");
    assert_eq!(refused.remote(), Some(Refusal::NoSuchAccount { name: "theirs".to_owned() }));
    // A call that fails is all that fails.
    assert_eq!(comm.apply(&ours, Some(&1)).wait()?, Some(1));
    world.finalize().wait()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1) {
        Some(size) => hub(size.parse()?),
        None => Ok(rank()?),
    }
}
