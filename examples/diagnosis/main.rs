//! Diagnosis: three mistakes that crash or hang other programs, and what the hub says of them.
//!
//!     edgempi run -n 4 --example diagnosis
//!
//! The ranks call different collectives, wait for each other in a ring, and wait for one that is late. Each of the first two
//! is an error that names the ranks and the lines below; of the third the hub complains on its own. It all ends by itself.

use std::io::{Write, stdout};
use std::thread;
use std::time::Duration;

use edgempi::config::Config;
use edgempi::{Builder, Comm, Error, Max, Sum, World};

fn main() -> Result<(), Error> {
    // What `EDGEMPI_SLOW=200ms` says from outside.
    let config = Config::new().slow(Duration::from_millis(200));
    let world = Builder::new().config(config).init().wait()?;
    let comm = world.comm();
    let told = [mismatch(&comm)?, deadlock(&comm)?, slow(&world)?];
    if comm.rank() == 0 {
        for text in told.into_iter().flatten() {
            // Whether anybody reads it does not matter to the others.
            let _ = writeln!(stdout(), "{text}");
        }
    }
    world.finalize().wait()
}

/// The last rank wants the maximum where all others want the sum.
fn mismatch(comm: &Comm) -> Result<Option<String>, Error> {
    if comm.size() == 1 {
        // There is nobody to disagree with.
        return Ok(None);
    }
    let request = if comm.rank().get() + 1 == comm.size() {
        comm.allreduce([1.0f32], Max)
    } else {
        comm.allreduce([1.0f32], Sum)
    };
    match request.wait() {
        Err(Error::Mismatch { reason }) => Ok(Some(format!("mismatch: {reason}"))),
        other => panic!("they can not agree: {other:?}"),
    }
}

/// Everybody receives before it sends, so nobody ever gets as far as to send. Only processes of one thread can be told so, as
/// this is: of others the hub does not know whether another thread would help. On other systems than Linux it takes
/// `EDGEMPI_THREADS=single` to know.
fn deadlock(comm: &Comm) -> Result<Option<String>, Error> {
    let (me, size) = (comm.rank().get(), comm.size());
    match comm.recv::<u8>((me + size - 1) % size, 7).wait() {
        Err(Error::Deadlock { reason, .. }) => Ok(Some(format!("deadlock: {reason}"))),
        other => panic!("nobody sends: {other:?}"),
    }
}

/// Rank 0 is late for a barrier. After 200 ms the hub says so on stderr, or in the log of a program that has one; whoever
/// asks the hub hears the same, as `edgempi hub --status` does.
fn slow(world: &World) -> Result<Option<String>, Error> {
    let comm = world.comm();
    // The communicator works as before.
    assert_eq!(comm.allreduce([1u32], Sum).wait()?, [comm.size()]);
    let mut told = None;
    // A hub elsewhere is asked by `edgempi::hub::snapshot`.
    while told.is_none() && comm.rank() == 0 && comm.size() > 1 && world.hosts_hub() {
        thread::sleep(Duration::from_millis(20));
        let snapshot = world.hub_snapshot().expect("the hub is in this process");
        // Everybody else is there, and has been for a while.
        let late = snapshot.operations.iter().find(|late| late.come + 1 == late.size && late.ms >= 600);
        told = late.map(|late| format!("slow: {late}"));
    }
    comm.barrier().wait()?;
    Ok(told)
}
