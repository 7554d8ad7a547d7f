//! The protocol of edgempi without I/O.
//!
//! [tour placeholder]
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod communicator;
pub mod datatype;
pub mod endpoint;
pub mod error;
#[cfg(feature = "alloc")]
pub mod hub;
pub mod operation;
pub mod rank;
pub mod request;
pub mod serial;
pub mod time;
pub mod wire;

pub use communicator::{Buffers, Call, Communicator, Status};
pub use datatype::{Datatype, Element, Locatable, Located, Logical, ReduceOp};
pub use endpoint::Endpoint;
pub use error::{Category, Fault};
#[cfg(feature = "alloc")]
pub use hub::Hub;
pub use rank::{ANY_SOURCE, ANY_TAG, Group, Rank, Ranks, Source, Tag, TagSelector};
pub use request::RequestId;
pub use serial::SerialLink;
pub use time::Instant;
