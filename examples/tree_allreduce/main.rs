//! An allreduce in phases, written as operations of one's own: pairs of ranks combine up a tree, and the result goes down
//! it again.
//!
//!     edgempi run -n 5 --example tree_allreduce
//!
//! Each step is one call of an [`Operation`] on a group of two: who is in it changes from phase to phase, and the pairs of a
//! phase run side by side. With five ranks:
//!
//! ```text
//! phase    up              down
//!     1    1→0  3→2        0→4
//!     2    2→0             0→2
//!     3    4→0             0→1  2→3
//! ```
//!
//! That is the shape of every fold at the hub, so that even a sum of floats has the bits of the built-in one.

use std::io::{Write, stdout};

use edgempi::hub::{Applied, Registry};
use edgempi::{Comm, Error, Group, Operation, Rank, Sum};

/// Two ranks give a vector each; the lower one gets the sum.
struct Up([Rank; 2]);

impl Operation for Up {
    const NAME: &'static str = "tree up";
    /// The phase: ranks that are in different ones are told, instead of mixing them up.
    type Parameters = u32;
    type Input = Vec<f32>;
    type Output = Vec<f32>;

    fn parameters(&self) -> u32 {
        phase(self.0)
    }

    fn group(&self) -> Group<'_> {
        Group::new(&self.0, &self.0[..1])
    }
}

/// The lower of two ranks gives the result; the other gets it.
struct Down([Rank; 2]);

impl Operation for Down {
    const NAME: &'static str = "tree down";
    type Parameters = u32;
    type Input = Vec<f32>;
    type Output = Vec<f32>;

    fn parameters(&self) -> u32 {
        phase(self.0)
    }

    fn group(&self) -> Group<'_> {
        Group::new(&self.0[..1], &self.0[1..])
    }
}

fn phase([low, high]: [Rank; 2]) -> u32 {
    high.get() - low.get()
}

/// The hub's half of [`Up`].
fn add(call: Applied<'_, u32>, inputs: Vec<(Rank, Vec<f32>)>) -> Result<Vec<(Rank, Vec<f32>)>, String> {
    let mut vectors = inputs.into_iter().map(|(_, vector)| vector);
    let mut sum = vectors.next().unwrap_or_default();
    for vector in vectors {
        if vector.len() != sum.len() {
            return Err(format!("one has {} values in phase {}, one {}", sum.len(), call.parameters, vector.len()));
        }
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    Ok(call.destinations.iter().map(|rank| (*rank, sum.clone())).collect())
}

/// The hub's half of [`Down`].
fn pass(call: Applied<'_, u32>, inputs: Vec<(Rank, Vec<f32>)>) -> Result<Vec<(Rank, Vec<f32>)>, String> {
    let (_, vector) = inputs.into_iter().next().ok_or("nobody gave the result")?;
    Ok(call.destinations.iter().map(|rank| (*rank, vector.clone())).collect())
}

/// The sum of all ranks' vectors, at every rank.
async fn tree_allreduce(comm: &Comm, mut vector: Vec<f32>) -> Result<Vec<f32>, Error> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let pair = |low: u32, step: u32| [Rank::new(low), Rank::new(low + step)];
    let steps = || (0..).map(|power| 1u32 << power).take_while(|step| *step < size);
    // Up, until this rank has given its sum to a lower one.
    let mut given = None;
    for step in steps() {
        if rank % (2 * step) == step {
            comm.apply(&Up(pair(rank - step, step)), Some(&vector)).await?;
            given = Some(step);
            break;
        }
        if rank + step < size
            && let Some(sum) = comm.apply(&Up(pair(rank, step)), Some(&vector)).await?
        {
            vector = sum;
        }
    }
    // Down, the same way back.
    if let Some(step) = given {
        vector = comm.apply(&Down(pair(rank - step, step)), None).await?.unwrap_or_default();
    }
    let below: Vec<u32> = steps().filter(|step| given.is_none_or(|given| *step < given)).collect();
    // All at once: each goes to another rank.
    let requests: Vec<_> = below
        .into_iter()
        .rev()
        .filter(|step| rank + step < size)
        .map(|step| comm.apply(&Down(pair(rank, step)), Some(&vector)))
        .collect();
    for request in requests {
        request.await?;
    }
    Ok(vector)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut operations = Registry::new();
    operations.insert_fn(Up::NAME, Up::VERSION, add);
    operations.insert_fn(Down::NAME, Down::VERSION, pass);
    // Every rank may say so; it matters on the one whose process has the hub.
    let world = edgempi::Builder::new().operations(operations).init().await?;
    let comm = world.comm();

    // Thirds have no end, so every other order of adding them would show.
    let vector: Vec<f32> = (0..1000).map(|at| (comm.rank().get() * 1000 + at) as f32 / 3.0).collect();
    let by_the_tree = tree_allreduce(&comm, vector.clone()).await?;
    let by_the_hub = comm.allreduce(vector, Sum).await?;
    assert_eq!(by_the_tree, by_the_hub);
    if comm.rank() == 0 {
        // Whether anybody reads it does not matter to the others.
        let _ = writeln!(stdout(), "the tree over {} ranks adds up as the hub does: {}", comm.size(), by_the_tree[999]);
    }
    world.finalize().await
}
