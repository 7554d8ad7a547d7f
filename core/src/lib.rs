#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![doc = "edgempi-core"]
#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod communicator;
pub mod datatype;
pub mod operation;
pub mod rank;
pub use communicator::{Buffers, Call, Communicator, Status};
pub use datatype::{Datatype, Element, Locatable, Located, Logical, ReduceOp};
pub use rank::{ANY_SOURCE, ANY_TAG, Group, Rank, Ranks, Source, Tag, TagSelector};
