//! Applications for boards, each written once for all of them. A board's crate (`boards/*`) provides a [`Board`] and
//! calls [`run`] with one of them:
//!
//! - [`echo`]: sends back what comes. It is what an image costs that has a link to a host, and nothing else.
//! - [`smoke`]: lets a host try what the board provides. Run it first when porting.
//! - [`hello`]: the first calls of MPI, beside hosts that run the example `hello`.
//! - [`calls`]: every call of the library, beside hosts that make the same ones.
//! - [`epoch`]: one epoch of `fedavg`'s training, without other ranks.
//! - [`fedavg`]: learns to read digits, beside hosts that run the example `fedavg`.
//! - [`size_all`] and [`size_basic`]: what the library costs, held against [`echo`].
//! - [`speed`]: how fast the link is, with the library and without.
#![no_std]
#![warn(missing_docs)]

mod arguments;
mod board;
mod calls;
mod echo;
mod epoch;
mod failure;
pub mod fedavg;
mod hello;
pub mod link;
mod run;
mod sizes;
mod smoke;
mod speed;
mod world;

pub use arguments::Arguments;
pub use board::{Board, Outcome};
pub use calls::calls;
pub use echo::echo;
pub use epoch::epoch;
pub use failure::Failure;
pub use hello::hello;
pub use link::Link;
pub use run::run;
pub use sizes::{size_all, size_basic};
pub use smoke::smoke;
pub use speed::speed;
