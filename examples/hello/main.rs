//! The first calls of MPI: a barrier, a broadcast, gathered ranks, a message, work that overlaps a request, and a sum.
//!
//!     edgempi run -n 4 --example hello
//!
//! Needs the crates `edgempi` and `tokio` (features `macros` and `rt`). Without async, `.wait()?` stands wherever
//! `.await?` stands here, and `main` is an ordinary function.

use std::io::{Write, stdout};

use edgempi::{Error, Sum};

/// What the message from rank 0 to rank 1 is marked with.
const TAG: u32 = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // Finds the other ranks by what `edgempi run`, mpirun or srun say in the environment; alone, it is a world of one.
    let world = edgempi::init().await?;
    let comm = world.comm();
    let (rank, size) = (comm.rank(), comm.size());

    // Nobody goes on before everybody is here.
    comm.barrier().await?;

    // Objects: any serde value. Only the root, rank 0, has one to give.
    let greeting = comm.objects().bcast(0, (rank == 0).then(|| "hello, world".to_owned())).await?;
    // Unlike `println!` this doesn't panic where nobody reads any more, as in `edgempi run … | head -1`.
    let _ = writeln!(stdout(), "{greeting}: this is rank {rank} of {size}");

    // Buffers: elements that travel as they are. Every rank gives one, and gets all, in the order of the ranks.
    let ranks: Vec<u32> = comm.allgather([rank.get()]).await?;
    assert!(ranks.into_iter().eq(0..size));

    // A message from rank 0 to rank 1: a receive takes what has its tag.
    if size > 1 {
        if rank == 0 {
            comm.objects().send(1, TAG, &("a pair", 42u32)).await?;
        } else if rank == 1 {
            let ((text, number), status): ((String, u32), _) = comm.objects().recv(0, TAG).await?;
            let _ = writeln!(stdout(), "rank 1 received ({text:?}, {number}) from rank {}", status.source);
        }
    }

    // A request is under way as soon as it is made; it needs nobody to wait for it.
    let request = comm.allreduce(vec![f64::from(rank.get()); 1000], Sum);
    let own_work: u64 = (0..1_000_000u64).map(|x| x % 7).sum();
    let total = request.await?;
    let _ = writeln!(stdout(), "rank {rank} worked out {own_work} while the ranks were added up: {}", total[0]);

    // In place, over bytes: the sum takes the place of what this rank gave.
    let mut bytes = vec![1u8; 16];
    comm.allreduce_in_place(&mut bytes, Sum).await?;
    assert!(bytes.iter().all(|byte| u32::from(*byte) == size % 256));

    // Says goodbye. A rank that ends without it counts as failed.
    world.finalize().await
}
