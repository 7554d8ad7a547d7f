//! A reduction of one's own on any serde type: by a closure, which runs at the ranks, and by a function at the hub.
//!
//!     edgempi run -n 4 --example own_reduce
//!
//! Every rank has measured something. All get the span of all measurements, and where its ends were measured.

use std::io::{Write, stdout};

use edgempi::hub::Registry;
use edgempi::{Error, Named, Rank};
use serde::{Deserialize, Serialize};

/// The least and the most of what some ranks have measured, with who has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Span {
    least: (f64, u32),
    most: (f64, u32),
}

/// Two spans become one. In `left` is what comes from the lower ranks: of equals, theirs stays.
fn join(left: Span, right: Span) -> Span {
    Span {
        least: if right.least.0 < left.least.0 { right.least } else { left.least },
        most: if right.most.0 > left.most.0 { right.most } else { left.most },
    }
}

/// The function above as the hub knows it.
const SPAN: Named = Named::new("span");

fn measured(rank: u32) -> f64 {
    f64::from((rank * 7 + 3) % 5) - 1.5
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut operations = Registry::new();
    operations.insert_reduce(SPAN.name, SPAN.version, join);
    // Every rank may say so; it matters on the one whose process has the hub.
    let world = edgempi::Builder::new().operations(operations).init().await?;
    let (comm, rank) = (world.comm(), world.rank().get());
    let own = Span { least: (measured(rank), rank), most: (measured(rank), rank) };

    // A closure, or a function: every value goes to every rank, and each folds for itself.
    let at_the_ranks = comm.objects().allreduce(own, join).await?;
    // A name: every value goes to the hub, which folds once, in the same shape.
    let at_the_hub = comm.objects().allreduce(own, SPAN).await?;
    // One rank may be enough.
    let root = Rank::new(comm.size() - 1);
    let at_the_root = comm.objects().reduce(root, own, SPAN).await?;

    let spans = (1..comm.size()).map(|rank| Span { least: (measured(rank), rank), most: (measured(rank), rank) });
    let first = Span { least: (measured(0), 0), most: (measured(0), 0) };
    let expected = spans.fold(first, join);
    assert_eq!((at_the_ranks, at_the_hub), (expected, expected));
    assert_eq!(at_the_root, (comm.rank() == root).then_some(expected));
    if let Some(Span { least, most }) = at_the_root {
        // Whether anybody reads it does not matter to the others.
        let _ = writeln!(stdout(), "from {} (rank {}) to {} (rank {})", least.0, least.1, most.0, most.1);
    }
    world.finalize().await
}
