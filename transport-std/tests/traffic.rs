//! What a rank says of its own traffic.

use edgempi::{Error, Sum};

#[test]
fn a_rank_counts_what_the_hub_counts() -> Result<(), Error> {
    let worlds = edgempi::local(2)?;
    let (first, second) = (worlds[0].comm(), worlds[1].comm());
    let before = worlds[0].traffic();
    let (sum, other) = (first.allreduce([1u64], Sum), second.allreduce([2u64], Sum));
    assert_eq!((sum.wait()?, other.wait()?), (vec![3], vec![3]));
    let after = worlds[0].traffic();
    let frames = (after.frames_sent - before.frames_sent, after.frames_received - before.frames_received);
    // The place in the source travels ahead of its first call.
    assert_eq!(frames, (2, 1));
    // A prefix of 6 bytes, the header of a Complete, the sum.
    assert_eq!(after.received - before.received, 6 + 37 + 8);
    Ok(())
}
