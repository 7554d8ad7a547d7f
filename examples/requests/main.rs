//! Requests: results in the order in which they come, a receive that is taken back, calls that are made again and again.
//!
//!     edgempi run -n 4 --example requests
//!
//! Needs the crates `edgempi` and `tokio` (features `macros` and `rt`). Without async, `.wait()?` stands wherever
//! `.await?` stands here, and `main` is an ordinary function.

use std::io::{Write, stdout};

use edgempi::{ANY_SOURCE, Comm, Error, Persistent, Request, Sum, start_all, wait_all, wait_any};

const WORK: u32 = 1;
const NEVER: u32 = 2;
const RING: u32 = 3;

/// What a list of requests of several kinds brings.
enum News {
    Worked { rank: u32, result: u64 },
    Total(u32),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = edgempi::init().await?;
    let comm = world.comm();
    let news = as_they_come(&comm).await?;
    let taken_back = take_back(&comm).await?;
    let ring = turn_a_ring(&comm).await?;
    collect_again(&comm).await?;
    if comm.rank() == 0 {
        // Unlike `println!` this doesn't panic where nobody reads any more, as in `edgempi run … | head -1`.
        let _ = writeln!(stdout(), "{news} news, {taken_back} receive taken back, the ring is back after {ring} turns");
    }
    world.finalize().await
}

/// Rank 0 takes what the others have worked out in the order in which they are ready, and a sum beside it. `map` makes one
/// list of requests whose results have different types.
async fn as_they_come(comm: &Comm) -> Result<u32, Error> {
    let (me, size) = (comm.rank().get(), comm.size());
    let total = comm.allreduce([me], Sum).map(|total| News::Total(total[0]));
    let sends: Option<Request<'_, ()>> = (me > 0).then(|| comm.send(0, WORK, [u64::from(me) * u64::from(me)]));
    let others = if me == 0 { 1..size } else { 0..0 };
    let mut requests: Vec<Request<'_, News>> = others
        .map(|rank| comm.recv(rank, WORK).map(move |(data, _)| News::Worked { rank, result: data[0] }))
        .chain([total])
        .collect();
    let mut news = 0;
    while let Some((_, result)) = wait_any(&mut requests).await {
        match result? {
            News::Worked { rank, result } => assert_eq!(result, u64::from(rank * rank)),
            News::Total(total) => assert_eq!(total, size * (size - 1) / 2),
        }
        news += 1;
    }
    wait_all(sends).await?;
    Ok(news)
}

/// A receive that nobody serves gives `None` when it is cancelled. Had a message been faster, it would give `Some`.
async fn take_back(comm: &Comm) -> Result<u32, Error> {
    if comm.size() == 1 {
        // There is nobody to receive from.
        return Ok(0);
    }
    let message = comm.recv::<u8>(ANY_SOURCE, NEVER).cancel().await?;
    // Nobody leaves before all have cancelled: a receive that nobody is left to serve fails by itself.
    comm.barrier().await?;
    Ok(u32::from(message.is_none()))
}

/// A token goes round until it is back where it started. The calls are described once, and their buffers are used again.
async fn turn_a_ring(comm: &Comm) -> Result<u32, Error> {
    let (me, size) = (comm.rank().get(), comm.size());
    let mut receive = comm.recv_init((me + size - 1) % size, RING, vec![0u32; 1]);
    let mut send = [comm.send_init((me + 1) % size, RING, vec![me; 1])];
    let mut turns = 0;
    loop {
        receive.start()?;
        start_all(&mut send)?;
        (&mut receive).await?;
        wait_all(send.iter_mut().map(Persistent::request)).await?;
        turns += 1;
        // Between two rounds the buffers are at hand.
        if let (Some(come), [send]) = (receive.buffer(), &mut send)
            && let Some(go) = send.buffer_mut()
        {
            go.copy_from_slice(come);
            if come[0] == me {
                return Ok(turns);
            }
        }
    }
}

/// Any other call is described by a closure, which is lent the buffer at each start. Here the blocks grow from round to round.
async fn collect_again(comm: &Comm) -> Result<(), Error> {
    let (me, of_rounds) = (comm.rank().get(), comm.clone());
    let mut gather = Persistent::calling(Vec::new(), move |data: &mut Vec<u32>| of_rounds.gatherv(0, &*data));
    for round in 0..3 {
        if let Some(data) = gather.buffer_mut() {
            data.push(me * 10 + round);
        }
        gather.start()?;
        if let Some(blocks) = (&mut gather).await? {
            let grown = |rank: u32| (0..=round).map(move |round| rank * 10 + round);
            assert!((0..).zip(blocks).all(|(rank, block)| block.into_iter().eq(grown(rank))));
        }
    }
    // A round that nobody has served is taken back, and the next one can be started.
    let mut receive = comm.recv_init(me, NEVER, vec![0u8; 1]);
    receive.start()?;
    assert!(receive.cancel().await?.is_none());
    let send = comm.send(me, NEVER, [7u8]);
    receive.start()?;
    (&mut receive).await?;
    assert_eq!(receive.buffer(), Some(&vec![7]));
    send.await
}
