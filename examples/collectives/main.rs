//! Collectives: numbers are sorted by all ranks together, each of which ends up with a range of them.
//!
//!     edgempi run -n 4 --example collectives
//!
//! Needs the crates `edgempi` and `tokio` (features `macros` and `rt`). Without async, `.wait()?` stands wherever
//! `.await?` stands here, and `main` is an ordinary function.

use std::io::{Write, stdout};

use edgempi::{Comm, Error, Max, Sum};

/// How many numbers there are for each rank, on average.
const SHARE: usize = 1000;
/// How many of its numbers each rank shows the others, so that they can agree on ranges.
const SAMPLES: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = edgempi::init().await?;
    let comm = world.comm();
    let mut own = deal(&comm).await?;
    own.sort_unstable();
    let bounds = agree(&comm, &own).await?;
    let mut sorted = exchange(&comm, &own, &bounds).await?;
    sorted.sort_unstable();
    report(&comm, sorted).await?;
    world.finalize().await
}

/// Rank 0 has all the numbers, and deals them out. Nobody else knows how many it will get.
async fn deal(comm: &Comm) -> Result<Vec<u32>, Error> {
    let size = comm.size() as usize;
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let shares = (comm.rank() == 0).then(|| {
        let mut numbers: Vec<u32> = (0..size * SHARE).map(|_| next()).collect();
        // Uneven shares: every other rank gets half of its neighbour's.
        let cut = |rank: usize| if rank % 2 == 1 { SHARE / 2 } else { SHARE };
        let mut shares: Vec<Vec<u32>> = (0..size - 1).map(|rank| numbers.drain(..cut(rank)).collect()).collect();
        shares.push(numbers);
        shares
    });
    comm.scatterv(0, shares).await
}

/// Every rank shows some of its numbers, and all see the same: so all choose the same bounds between the ranks' ranges.
async fn agree(comm: &Comm, own: &[u32]) -> Result<Vec<u32>, Error> {
    let mut samples = vec![0; SAMPLES * comm.size() as usize];
    let place = comm.rank().index() * SAMPLES;
    for (at, sample) in samples[place..place + SAMPLES].iter_mut().enumerate() {
        *sample = own[at * own.len() / SAMPLES];
    }
    comm.allgather_in_place(&mut samples).await?;
    samples.sort_unstable();
    Ok(samples.chunks(SAMPLES).skip(1).map(|chunk| chunk[0]).collect())
}

/// Each number goes to the rank in whose range it is.
async fn exchange(comm: &Comm, own: &[u32], bounds: &[u32]) -> Result<Vec<u32>, Error> {
    let mut rest = own;
    let mut blocks: Vec<Vec<u32>> = Vec::new();
    for bound in bounds {
        let (block, behind) = rest.split_at(rest.partition_point(|number| number < bound));
        blocks.push(block.to_vec());
        rest = behind;
    }
    blocks.push(rest.to_vec());
    // How many each rank will get in all: column sums, of which everybody needs one.
    let counts: Vec<u64> = blocks.iter().map(|block| block.len() as u64).collect();
    let expected = comm.reduce_scatter_block(counts, Sum).await?[0];
    let came = comm.alltoallv(blocks).await?.concat();
    assert_eq!(came.len() as u64, expected);
    Ok(came)
}

/// Where each rank's range begins, and whether all of them together are in order.
async fn report(comm: &Comm, sorted: Vec<u32>) -> Result<(), Error> {
    let len = sorted.len() as u64;
    let start = comm.exscan([len], Sum).await?.map_or(0, |start| start[0]);
    let end = comm.scan([len], Sum).await?[0];
    assert_eq!(end - start, len);
    let most = comm.allreduce([len], Max).await?[0];
    assert!(most < 2 * SHARE as u64, "{most} numbers at one rank");

    // Objects go the same ways: any serde value, and closures.
    let ranges = comm.objects().gather(0, &(comm.rank().get(), start..end)).await?;
    let pieces = comm.gatherv(0, sorted).await?;
    if let (Some(ranges), Some(pieces)) = (ranges, pieces) {
        let mut expected = 0;
        for (rank, range) in &ranges {
            assert_eq!((range.start, range.end - range.start), (expected, pieces[*rank as usize].len() as u64));
            expected = range.end;
        }
        let all = pieces.concat();
        assert!(all.is_sorted());
        // Unlike `println!` this doesn't panic where nobody reads any more, as in `edgempi run … | head -1`.
        let _ = writeln!(stdout(), "{} numbers in order, in {} ranges", all.len(), ranges.len());
    }
    Ok(())
}
