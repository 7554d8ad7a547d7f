//! Applications for boards, each written once for all of them. A board's crate (`boards/*`) provides a [`Board`] and
//! calls [`run`] with one of them:
//!
//! - [`echo`]: sends back what comes. It is what an image costs that has a link to a host, and nothing else.
//! - [`smoke`]: lets a host try what the board provides. Run it first when porting.
#![no_std]
#![warn(missing_docs)]

mod arguments;
mod board;
mod echo;
mod failure;
pub mod link;
mod run;
mod smoke;

pub use arguments::Arguments;
pub use board::{Board, Outcome};
pub use echo::echo;
pub use failure::Failure;
pub use link::Link;
pub use run::run;
pub use smoke::smoke;
