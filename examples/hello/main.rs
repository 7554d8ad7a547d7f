//! The first calls of MPI: a barrier, a broadcast, gathered ranks, a message, work that overlaps a request, and a sum.
//!
//!     edgempi run -n 4 --example hello

use edgempi::{Error, Sum};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = edgempi::init().await?;
    let comm = world.comm();
    let (rank, size) = (comm.rank(), comm.size());

    comm.barrier().await?;

    // Objects: any serde value.
    let greeting = comm.objects().bcast(0, (rank == 0).then(|| "hello, world".to_owned())).await?;
    println!("{greeting}: this is rank {rank} of {size}");

    // Buffers: elements that travel as they are.
    let ranks: Vec<u32> = comm.allgather([rank.get()]).await?;
    assert!(ranks.into_iter().eq(0..size));

    if size > 1 {
        if rank == 0 {
            comm.objects().send(1, 7, &("a pair", 42u32)).await?;
        } else if rank == 1 {
            let ((text, number), status): ((String, u32), _) = comm.objects().recv(0, 7).await?;
            println!("rank 1 received ({text:?}, {number}) from rank {}", status.source);
        }
    }

    // A request is under way as soon as it is made; it needs nobody to wait for it.
    let request = comm.allreduce(vec![f64::from(rank.get()); 1000], Sum);
    let own_work: u64 = (0..1_000_000u64).map(|x| x % 7).sum();
    let total = request.await?;
    println!("rank {rank} worked out {own_work} while the ranks were added up: {}", total[0]);

    // In place, over bytes.
    let mut bytes = vec![1u8; 16];
    comm.allreduce_in_place(&mut bytes, Sum).await?;
    assert!(bytes.iter().all(|byte| u32::from(*byte) == size % 256));

    world.finalize().await
}
