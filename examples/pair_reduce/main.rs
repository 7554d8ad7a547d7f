//! A user-defined operation: neighbours form pairs, a function at the hub adds their values, the lower rank gets the sum.
//!
//!     edgempi run -n 4 --example pair_reduce
//!
//! With each rank's number as its value this prints R0: 1, R1: None, R2: 5, R3: None.
//!
//! An operation has two halves. The ranks' half says who takes part and what goes in and out: [`Operation`]. The hub's
//! half is a function, found by the operation's name: [`Registry`]. Here the hub is in the process of rank 0; for a hub
//! of its own, a program registers the function in the same way and runs `edgempi::hub::Server`.

use std::io::{Write, stdout};

use edgempi::hub::{Applied, Registry};
use edgempi::{Error, Group, Operation, Rank};

/// What a rank says when it calls the operation.
struct PairReduce {
    /// This rank's pair; the last rank of an odd world has nobody beside it.
    pair: Vec<Rank>,
}

impl PairReduce {
    fn new(rank: Rank, size: u32) -> Self {
        let first = rank.get() / 2 * 2;
        Self { pair: (first..size.min(first + 2)).map(Rank::new).collect() }
    }
}

impl Operation for PairReduce {
    const NAME: &'static str = "pair_reduce";
    /// What the ranks tell the hub's function, all the same; nothing here.
    type Parameters = ();
    /// What a rank gives, and what it gets: any serde value.
    type Input = i64;
    type Output = i64;

    fn parameters(&self) {}

    /// Both ranks of the pair give, the lower one receives.
    fn group(&self) -> Group<'_> {
        Group::new(&self.pair, &self.pair[..1])
    }
}

/// What the hub does once the whole pair has come. An error, or a panic, fails the call on every rank of the pair.
fn add(call: Applied<'_, ()>, inputs: Vec<(Rank, i64)>) -> Result<Vec<(Rank, i64)>, String> {
    let sum = inputs.iter().try_fold(0i64, |sum, (_, value)| sum.checked_add(*value)).ok_or("the sum is too large")?;
    Ok(call.destinations.iter().map(|rank| (*rank, sum)).collect())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut operations = Registry::new();
    operations.insert_fn(PairReduce::NAME, PairReduce::VERSION, add);
    // Every rank may say so; it matters on the one whose process has the hub.
    let world = edgempi::Builder::new().operations(operations).init().await?;
    let comm = world.comm();

    let value = i64::from(comm.rank().get());
    let sum = comm.apply(&PairReduce::new(comm.rank(), comm.size()), Some(&value)).await?;
    let sum = sum.map_or_else(|| "None".to_owned(), |sum| sum.to_string());
    // Whether anybody reads it does not matter to the others.
    let _ = writeln!(stdout(), "R{}: {sum}", comm.rank());

    world.finalize().await
}
