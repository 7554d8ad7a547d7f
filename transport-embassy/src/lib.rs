//! edgempi for firmware: a rank on a board, without a heap, in memory that the caller gives.
//!
//! A board takes its rank beside processes on servers, and runs the same algorithm, written once against
//! [`Communicator`]:
//!
//! ```
//! use edgempi_embassy::edgempi_core::ReduceOp;
//! use edgempi_embassy::{Clock, Communicator, Error, Memory, Options, Port, join};
//! use static_cell::ConstStaticCell;
//!
//! /// Every rank's weights become the mean of all ranks' weights: on boards and on hosts.
//! async fn average<C: Communicator>(comm: &C, weights: &mut [f32]) -> Result<(), C::Error> {
//!     comm.allreduce_in_place(weights, ReduceOp::Sum).await?;
//!     let size = comm.size() as f32;
//!     weights.iter_mut().for_each(|weight| *weight /= size);
//!     Ok(())
//! }
//!
//! /// Eight calls in flight; all zeros, so it takes no flash.
//! static MEMORY: ConstStaticCell<Memory<8, 2048>> = ConstStaticCell::new(Memory::new());
//!
//! /// This board is rank 3 of 4.
//! async fn board(port: impl Port, clock: impl Clock, weights: &mut [f32]) -> Result<(), Error> {
//!     let world = join(port, clock, MEMORY.take(), &Options::new(3, 4)).await?;
//!     average(&world.comm(), weights).await?;
//!     world.finalize().await
//! }
//! ```
//!
//! - [`Memory`] is all the memory of a rank: requests in flight, and scratch for what comes while nobody polls for it.
//!   Payloads go between the port and the caller's slices.
//! - A [`Port`] carries the bytes: `TcpPort` over embassy-net, `SmoltcpPort` over bare smoltcp, `SerialPort` over a UART,
//!   USB-CDC or a radio modem, each behind the feature of that name, or one of your own.
//! - A [`Clock`] says the time: `EmbassyClock`, behind feature `embassy-time`, or one of your own.
//! - A call starts when it is made, and moves only while some call, or [`progress`](Communicator::progress), is polled.
//!   In long arithmetic await that now and then, or promise a longer silence: [`Options::max_silence`].
//! - [`Transfer::test`] and [`poll_once`] are for programs that are one loop, without an executor.
//!
//!
//! # How much memory
//!
//! In [`Memory<N, SCRATCH>`](Memory), `N` is how many calls are in flight at most; one that was given up counts until the
//! hub has answered it, and so does a [`send`](Communicator::send) until it has left. A program that awaits its calls one
//! by one has enough with 2; 4 leave room for a token or two beside them. On a Cortex-M a request takes 168 bytes.
//!
//! `SCRATCH` is where bytes wait for calls that nobody polls at the time. With at least 64 bytes for each request
//! everything works; more makes long results faster: the hub sends about `SCRATCH / 2` bytes before it hears that there is
//! room again, so on a link with a round trip of 1 ms, 1,024 bytes of scratch bring 500 kB/s. What a call sends, and its
//! result if the call is polled meanwhile, never passes through it. On top come 600 bytes for the link and its names.
//! There is room for 8 of these: one for each communicator that is in use, one for each user operation, and one for each
//! group of ranks that such operations are called on; a call that needs a ninth fails with `TooManyRequests` and that
//! number.
//!
//! # Some of the ranks
//!
//! [`split`](Comm::split) makes a communicator of the ranks that say the same colour; it has its own ranks and
//! collectives, and is freed when it is dropped.
//!
//! ```
//! use edgempi_embassy::edgempi_core::ReduceOp;
//! use edgempi_embassy::{Comm, Communicator, Error};
//!
//! /// Ranks with a camera agree on what they see; the others go on at once.
//! async fn agree(comm: &Comm<'_>, has_camera: bool, seen: &mut [u32]) -> Result<(), Error> {
//!     let cameras = comm.split(has_camera.then_some(1), 0).await?;
//!     if let Some(cameras) = cameras {
//!         cameras.allreduce_in_place(seen, ReduceOp::Bor).await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # A serial line
//!
//! `port::SerialLine` makes a UART, USB-CDC or a radio modem reliable, and `edgempi bridge` on a host leads from there to
//! the hub. Its runner has to run beside whatever uses the port; the page of `SerialLine` shows both.
//!
//! # When something is wrong
//!
//! An [`Error`] says what, with a number and a rank, in 16 bytes; with feature `defmt` it can be logged so. The hub's own words
//! are in [`World::last_reason`]. With feature `sites` the hub prints where in the board's source a call was made that
//! does not fit the others' calls; that brings the names of source files into flash, and 256 bytes into `Memory`.
//!
//! # What is promised
//!
//! What is promised about order, loss and dropped calls is in [`edgempi_core::delivery`].
//!
//! The engine is tested on hosts, over sockets with small buffers (`tests/boards`), and as images on emulated boards
//! beside host ranks (`examples/firmware`, `tests/firmware`). No panic of the library itself can be reached: in
//! `tests/firmware/panic-free` that would be a link error.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

mod clock;
mod comm;
mod engine;
mod error;
mod hand;
mod memory;
mod names;
pub mod port;
mod site;
mod transfer;
mod world;

pub use clock::Clock;
#[cfg(feature = "embassy-time")]
pub use clock::EmbassyClock;
pub use comm::{Comm, Object, Split};
pub use edgempi_core;
pub use edgempi_core::Communicator;
pub use error::Error;
pub use memory::Memory;
pub use port::Port;
pub use transfer::{Progress, Transfer};
pub use world::{Finalize, Join, Options, World, join, poll_once};
