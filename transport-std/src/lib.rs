//! MPI for ranks that are unequal: servers, boards and simulated ranks in one communicator, joined by a hub.
#![warn(missing_docs)]
#![deny(unsafe_code)]

#[cfg(feature = "bridge")]
pub mod bridge;
mod buffers;
mod codec;
mod comm;
pub mod config;
mod engine;
mod error;
pub mod hub;
pub mod link;
mod pending;
mod request;
mod signal;
mod world;

pub use comm::{Comm, IntoBuffer, Objects};
pub use config::Config;
pub use edgempi_core::ReduceOp::{Band, Bor, Bxor, Land, Lor, Lxor, Max, Maxloc, Min, Minloc, Prod, Sum};
pub use edgempi_core::operation::{Operation, Reducer};
pub use edgempi_core::{
    ANY_SOURCE, ANY_TAG, Category, Communicator, Datatype, Element, Group, Located, Logical, Rank, Ranks, ReduceOp,
    Source, Status, Tag, TagSelector,
};
pub use engine::Traffic;
pub use error::Error;
pub use request::{Request, block_on};
pub use world::{Builder, Finalize, Init, World, init, local};
