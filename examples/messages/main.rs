//! Messages: a ring and a line of ranks without an `if`, sends of every mode, and messages that are looked at before they
//! are received.
//!
//!     edgempi run -n 4 --example messages
//!
//! Needs the crates `edgempi` and `tokio` (features `macros` and `rt`). Without async, `.wait()?` stands wherever
//! `.await?` stands here, and `main` is an ordinary function.

use std::io::{Write, stdout};

use edgempi::{ANY_SOURCE, Comm, Error, Status};

// A receive takes what has its tag.
const RING: u32 = 1;
const LINE: u32 = 2;
const MODES: u32 = 3;
const NUMBERS: u32 = 4;
const WORDS: u32 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = edgempi::init().await?;
    let comm = world.comm();
    ring_and_line(&comm).await?;
    modes(&comm).await?;
    let numbers = of_unknown_length(&comm).await?;
    let letters = whole_messages(&comm).await?;
    if comm.rank() == 0 {
        // Unlike `println!` this doesn't panic where nobody reads any more, as in `edgempi run … | head -1`.
        let _ = writeln!(stdout(), "{numbers} numbers and {letters} letters from {} ranks", comm.size());
    }
    world.finalize().await
}

/// Everybody sends to the right and receives from the left at the same time, so nobody waits for itself.
async fn ring_and_line(comm: &Comm) -> Result<(), Error> {
    let (me, size) = (comm.rank().get(), comm.size());
    let (left, right) = ((me + size - 1) % size, (me + 1) % size);
    let (came, _) = comm.sendrecv::<u32, u32>(right, RING, [me], left, RING).await?;
    assert_eq!(came, [left]);

    // A line is a ring that is cut. `None` is nobody: a send to it is done at once, and a receive from it brings nothing.
    let (left, right) = (me.checked_sub(1), (me + 1 < size).then_some(me + 1));
    let mut data = [me];
    let status = comm.sendrecv_replace(right, LINE, left, LINE, &mut data).await?;
    assert_eq!(status.source == Status::NOBODY, left.is_none());
    assert_eq!(data, [left.unwrap_or(me)], "who has nobody on the left keeps its own");
    Ok(())
}

/// When a send is done depends on its mode; what is received does not, and no message overtakes another.
async fn modes(comm: &Comm) -> Result<(), Error> {
    let (me, size) = (comm.rank().get(), comm.size());
    let (left, right) = ((me + size - 1) % size, (me + 1) % size);
    // A receive is posted as soon as it is made: behind a barrier everybody's is. A ready send counts on that.
    let first = comm.recv::<u8>(left, MODES);
    comm.barrier().await?;
    comm.rsend(right, MODES, [0u8]).await?;
    // Done when the data are safe to be used again: at once, as long as the hub has room for them.
    comm.send(right, MODES, [1u8]).await?;
    // Done at once, whatever the hub has room for.
    comm.bsend(right, MODES, [2u8]).await?;
    // Done when it is received, so this waits only behind the receives.
    let synchronous = comm.ssend(right, MODES, [3u8]);
    let mut came = first.await?.0;
    for _ in 1..4 {
        came.extend(comm.recv::<u8>(left, MODES).await?.0);
    }
    synchronous.await?;
    assert_eq!(came, [0, 1, 2, 3]);
    Ok(())
}

/// Rank 0 does not know who comes next, nor with how much: a probe tells it, and leaves the message where it is.
async fn of_unknown_length(comm: &Comm) -> Result<usize, Error> {
    let (me, size) = (comm.rank().get(), comm.size());
    let send = comm.send(0, NUMBERS, vec![f64::from(me); me as usize + 1]);
    let mut numbers = Vec::new();
    for _ in 0..if me == 0 { size } else { 0 } {
        let status = comm.probe(ANY_SOURCE, NUMBERS).await?;
        let begin = numbers.len();
        // The count is in elements of the type asked for.
        numbers.resize(begin + status.count::<f64>().unwrap_or_default(), 0.0);
        comm.recv_into(status.source, status.tag, &mut numbers[begin..]).await?;
        assert!(numbers[begin..].iter().all(|number| *number == f64::from(status.source.get())));
    }
    send.await?;
    Ok(numbers.len())
}

/// A matched probe keeps the message for whoever holds it: where several tasks receive, none takes it from another.
async fn whole_messages(comm: &Comm) -> Result<usize, Error> {
    let (me, size) = (comm.rank().get(), comm.size());
    let send = comm.objects().send(0, WORDS, &"x".repeat(me as usize));
    let mut letters = 0;
    for _ in 0..if me == 0 { size } else { 0 } {
        let message = comm.mprobe(ANY_SOURCE, WORDS).await?;
        let source = message.status().source;
        let (word, _) = message.recv_object::<String>().await?;
        assert_eq!(word.as_deref().map(str::len), Some(source.index()));
        letters += source.index();
    }
    send.await?;
    Ok(letters)
}
