//! Communicators: groups of ranks that call among themselves, and several operations in flight that never meet.
//!
//!     edgempi run -n 4 --example communicators
//!
//! Needs the crates `edgempi` and `tokio` (features `macros` and `rt`). Without async, `.wait()?` stands wherever
//! `.await?` stands here, and `main` is an ordinary function.

use std::io::{Write, stdout};

use edgempi::{Comm, Comparison, Error, Max, SplitType, Sum};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = edgempi::init().await?;
    let comm = world.comm();
    let half = halves(&comm).await?;
    let machine = neighbours(&comm).await?;
    let backwards = from_a_group(&comm).await?;
    without_the_others(&comm).await?;
    at_once(&comm, &half).await?;
    if comm.rank() == 0 {
        // Unlike `println!` this doesn't panic where nobody reads any more, as in `edgempi run … | head -1`.
        let text = format!("{} ranks: {} in its half, {machine} on its machine", comm.size(), half.size());
        let _ = writeln!(stdout(), "{text}, {backwards} in a group");
    }
    // A communicator is freed when the last clone of it is dropped.
    world.finalize().await
}

/// Ranks of one colour form a communicator, in the order of the key: here from the highest to the lowest.
async fn halves(comm: &Comm) -> Result<Comm, Error> {
    let me = comm.rank().get();
    let half = comm.split(Some(me % 2), -(me as i32)).await?.expect("this rank said a colour");
    half.set_name(if me.is_multiple_of(2) { "even" } else { "odd" });
    // Ranks are numbers of the communicator that is called.
    let members = half.allgather([me]).await?;
    assert!(members.is_sorted_by(|one, next| one > next) && members[half.rank().index()] == me);
    // Who says no colour takes part, and gets none.
    let first = comm.split((me == 0).then_some(0), 0).await?;
    assert_eq!(first.map(|first| first.size()), (me == 0).then_some(1));
    Ok(half)
}

/// How many ranks are on this rank's machine, whose files and processors they share.
async fn neighbours(comm: &Comm) -> Result<u32, Error> {
    let machine = comm.split_type(SplitType::Machine, 0).await?.expect("a type was given");
    Ok(machine.size())
}

/// A communicator of a chosen list of ranks, in its order: all but the last, backwards. Groups are reckoned with locally.
async fn from_a_group(comm: &Comm) -> Result<usize, Error> {
    let (me, size) = (comm.rank().get(), comm.size());
    let all = comm.group().await?;
    let chosen = if size == 1 { all } else { all.exclude(&[size - 1])? };
    let backwards: Vec<u32> = (0..chosen.size()).rev().collect();
    let chosen = chosen.include(&backwards)?;
    // Everybody calls; who is not in the group gets none.
    let created = comm.create(&chosen).await?;
    assert_eq!(created.is_some(), chosen.rank(me).is_some());
    if let Some(created) = &created {
        assert_eq!(created.rank().get(), created.size() - 1 - me);
        assert_eq!(created.bcast(0, [me]).await?, [created.size() - 1], "its rank 0 is the last of the group");
    }
    Ok(chosen.ranks().len())
}

/// Some ranks make a communicator of their own while the others do something else: they alone call.
async fn without_the_others(comm: &Comm) -> Result<(), Error> {
    let me = comm.rank().get();
    if !me.is_multiple_of(2) {
        return Ok(());
    }
    let even: Vec<u32> = (0..comm.size()).step_by(2).collect();
    let among_us = comm.create_group(&even, 0).await?;
    assert_eq!(among_us.allgather([me]).await?, even);
    Ok(())
}

/// A library that makes calls of its own makes them on a copy, and so never meets those of the program. Calls on different
/// communicators may even be started in another order on each rank.
async fn at_once(comm: &Comm, half: &Comm) -> Result<(), Error> {
    let copy = comm.dup().await?;
    assert_eq!(comm.compare(&copy).await?, Comparison::Congruent);
    let me = comm.rank().get();
    let (total, most) = if me.is_multiple_of(2) {
        let total = comm.allreduce([me], Sum);
        (total, copy.allreduce([me], Max))
    } else {
        let most = copy.allreduce([me], Max);
        (comm.allreduce([me], Sum), most)
    };
    let count = half.allreduce([1u32], Sum);
    // All three are under way; they end in whatever order.
    assert_eq!(count.await?, [half.size()]);
    assert_eq!(most.await?, [comm.size() - 1]);
    assert_eq!(total.await?, [comm.size() * (comm.size() - 1) / 2]);
    Ok(())
}
