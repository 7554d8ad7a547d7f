//! MPI for ranks that are unequal: servers, boards and simulated ranks in one communicator, joined by a hub.
//!
//! This crate is what a host application depends on. A process joins a *world*, becomes one of its *ranks*, and calls
//! MPI's operations on a *communicator*. A rank has one connection, to the *hub*, which matches what the ranks ask for,
//! runs the operation, and hands each rank its result.
//!
//! ```
//! use edgempi::{Error, Sum};
//!
//! fn main() -> Result<(), Error> {
//!     let world = edgempi::init().wait()?;
//!     let comm = world.comm();
//!     let total = comm.allreduce([comm.rank().get()], Sum).wait()?;
//!     println!("rank {} of {}: all ranks add up to {}", comm.rank(), comm.size(), total[0]);
//!     world.finalize().wait()
//! }
//! ```
//!
//! # Starting
//!
//! [`init`] finds its place by itself: `edgempi run -n 4 PROGRAM` starts four ranks on this machine, `mpirun` and `srun`
//! work as well, and so does anything that sets the variables of module [`config`]. Rank 0 hosts the hub in its own
//! process, unless `EDGEMPI_ADDR` says that it is elsewhere: there `edgempi hub` serves, or a program of your own with
//! [`hub::Server`]. A program started alone is a world of one rank.
//!
//! [`Builder`] takes settings from code. [`local`] makes a world of several ranks inside one process, which is handy
//! for tests; the examples on these pages use it:
//!
//! ```
//! let worlds = edgempi::local(3)?;
//! let requests: Vec<_> = worlds.iter().map(|world| world.comm().allgather([world.rank().get() * 10])).collect();
//! for request in requests {
//!     assert_eq!(request.wait()?, [0, 10, 20]);
//! }
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! A world is left with [`World::finalize`]. A process that ends without it counts as failed.
//!
//! # Pages
//!
//! - [`mpi`]: for somebody who knows MPI, every communication call of MPI 4.1 and ours beside it.
//! - [`operations`]: operations of one's own.
//! - [`sim`]: worlds of virtual ranks. [`config`]: settings. [`hub`]: a hub in a program of one's own.
//! - [`performance`]: what calls cost, and why.
//! - [`edgempi_core::delivery`]: what is promised of order, loss and memory.
//!
//! # Buffers and objects
//!
//! Every call is there twice.
//!
//! - On *buffers*, the methods of [`Comm`]: vectors, slices and arrays of an [`Element`] (integers, floats, [`Logical`],
//!   [`Located`]). They travel as they lie in memory. A vector that is handed over is what is sent, and comes back with
//!   the result in it; a slice is copied.
//! - On *objects*, the methods of [`Objects`], which [`Comm::objects`] gives: any serde value, encoded with postcard. They
//!   may have different lengths on different ranks.
//!
//! ```
//! # let world = edgempi::init().wait()?;
//! use edgempi::{Max, Sum};
//!
//! let comm = world.comm();
//! let weights: Vec<f32> = comm.allreduce(vec![0.5; 1000], Sum).wait()?; // the vector comes back
//! let mut gradient = [0.0f64; 16];
//! comm.allreduce_in_place(&mut gradient, Sum).wait()?; // a slice of one's own, copied in and out
//! let largest: u64 = comm.objects().allreduce(7u64, Max).wait()?; // a value
//! let setup = comm.objects().bcast(0, (comm.rank() == 0).then(|| ("adam".to_owned(), 0.01f32))).wait()?;
//! # assert_eq!((weights.len(), largest, setup.0.as_str()), (1000, 7, "adam"));
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! # Requests
//!
//! Every call starts at once and returns a [`Request`]; it goes on by itself, whether or not anybody waits. So one type
//! covers MPI's blocking and nonblocking halves. Use it in one of these ways:
//!
//! - `.await` it, in any async runtime;
//! - [`wait`](Request::wait) for it, in a program without one;
//! - ask it with [`test`](Request::test) now and then;
//! - [`map`](Request::map) it to something else first;
//! - wait for several with [`wait_all`], [`wait_any`] or [`wait_some`], or ask after them with [`test_all`], [`test_any`]
//!   or [`test_some`];
//! - take a receive back with [`cancel`](Request::cancel), and be told whether a message was faster.
//!
//! A call that is made again and again on the same buffer is a [`Persistent`] request: [`Comm::allreduce_init`] and its
//! like describe it once, [`start`](Persistent::start) makes it. [`Persistent::calling`] does the same for any other call.
//!
//! ```
//! # let world = edgempi::init().wait()?;
//! use edgempi::Sum;
//!
//! let request = world.comm().allreduce(vec![1.0f64; 1000], Sum); // under way
//! let meanwhile: u64 = (0..1000).sum();
//! let total = request.wait()?;
//! # assert_eq!((meanwhile, total[0]), (499500, 1.0));
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! **Dropping a request** that is not finished never breaks the communicator. What happens to the call depends on who
//! could still use its result:
//!
//! | what is dropped | what happens |
//! |---|---|
//! | a collective or a send that owns its buffers | it goes on; its result, or its failure, is lost |
//! | a collective on a borrowed slice (`…_in_place`, or by the [`Communicator`] trait) | it fails on every participant with [`Error::Cancelled`] |
//! | a call that makes a communicator (`split`, `dup`, `create`, `cart`, …) | the same, before it has ended; after that the communicator is freed |
//! | a receive | it is taken back. If a message had matched it already, that message is lost |
//!
//! So a receive in a `select!` belongs there by reference, `&mut request`, and stays alive for the next turn. More on
//! this, on order, and on what happens when somebody dies: [`edgempi_core::delivery`].
//!
//! # With and without async
//!
//! Nothing here needs a runtime, and nothing depends on which one there is: requests are plain futures, woken by a
//! thread of the library. [`block_on`] drives a future in a program without a runtime. In an async program don't call
//! `wait`: it blocks the thread, though never the library.
//!
//! ```
//! use edgempi::{Communicator, Sum};
//!
//! async fn mean(comm: &impl Communicator, values: &mut [f32]) -> bool {
//!     comm.allreduce_in_place(values, Sum).await.is_ok()
//! }
//!
//! let world = edgempi::init().wait()?;
//! assert!(edgempi::block_on(mean(&world.comm(), &mut [1.0; 8])));
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! # Progress
//!
//! One thread for each world moves its bytes: the rank's, and where the hub is in the same process, the hub's. Whoever
//! starts a call writes its first frame, if the link is free; then the thread takes over. So a rank that computes for
//! ten seconds holds up nobody who does not need its data, not even when its process hosts the hub, and not even on a
//! current-thread runtime. Folds run on the hub's thread; user-defined operations have threads of their own there.
//!
//! # Errors
//!
//! One enum, [`Error`], to match on; printed, it tells a person what to do next. Errors of a call come out of its
//! request. A rank that dies fails the operations that need it, on every other rank, at once: nobody hangs because
//! somebody died. Ranks that disagree are told so, both sides with their place in the source:
//!
//! ```
//! use edgempi::{Error, Max, Sum};
//!
//! let worlds = edgempi::local(2)?;
//! let sum = worlds[0].comm().allreduce([1, 2, 3], Sum);
//! let max = worlds[1].comm().allreduce([1, 2, 3], Max);
//! for request in [sum, max] {
//!     match request.wait() {
//!         Err(Error::Mismatch { reason }) => {
//!             assert!(reason.contains("allreduce(SUM, 3 x i32) at ") && reason.contains("allreduce(MAX, 3 x i32) at "));
//!         }
//!         other => panic!("they can not agree: {other:?}"),
//!     }
//! }
//! // The communicator goes on.
//! let barriers = [worlds[0].comm().barrier(), worlds[1].comm().barrier()];
//! # for barrier in barriers { barrier.wait()?; }
//! # Ok::<(), Error>(())
//! ```
//!
//! # Communicators
//!
//! [`Comm::split`] parts the ranks of a communicator into new ones, [`Comm::split_type`] by machine or by kind,
//! [`Comm::dup`] copies one, and [`Comm::create`] makes one of a [`ProcessGroup`], MPI's group, with its algebra. Calls on
//! different communicators never meet. Ranks and roots are numbers of the communicator that is called. [`comm_self`] is this
//! process alone.
//!
//! [`Comm::cart`] puts the ranks in a grid, [`Comm::dist_graph_adjacent`] in a graph: a [`Neighborhood`] has the collectives
//! among neighbours.
//!
//! ```
//! use edgempi::Sum;
//!
//! let worlds = edgempi::local(4)?;
//! let halves: Vec<_> = worlds.iter().map(|world| world.comm().split(Some(world.rank().get() / 2), 0)).collect();
//! let mut comms = Vec::new();
//! for half in halves {
//!     comms.push(half.wait()?.expect("every rank said a colour"));
//! }
//! let sums: Vec<_> = comms.iter().zip([1, 2, 3, 4]).map(|(comm, value)| comm.allreduce([value], Sum)).collect();
//! let mut results = Vec::new();
//! for sum in sums {
//!     results.push(sum.wait()?[0]);
//! }
//! assert_eq!(results, [1 + 2, 1 + 2, 3 + 4, 3 + 4]);
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! # Operations of one's own
//!
//! In three strengths, which module [`operations`] tells more of:
//!
//! - A function that makes one value of two, given to [`Objects::reduce`] or [`Objects::allreduce`]: a closure, which runs at
//!   the ranks and says the types of what it takes, or a function at the hub, by its [`Named`].
//! - A fold or columns, which combine buffers range by range at the hub: [`Comm::fold`].
//! - An [`Operation`] names a function that runs at the hub, once for each call, on the inputs of some ranks, and whose
//!   outputs go to some ranks. [`Comm::apply`] calls it; [`Builder::operations`] or [`hub::Server`] registers it.
//!
//! ```
//! use edgempi::hub::{Applied, Registry};
//! use edgempi::{Builder, Group, Operation, Rank};
//!
//! /// The median of everybody's value reaches everybody.
//! struct Median;
//!
//! impl Operation for Median {
//!     const NAME: &'static str = "median";
//!     type Parameters = ();
//!     type Input = i64;
//!     type Output = i64;
//!
//!     fn parameters(&self) {}
//!
//!     fn group(&self) -> Group<'_> {
//!         Group::ALL
//!     }
//! }
//!
//! fn median(call: Applied<'_, ()>, inputs: Vec<(Rank, i64)>) -> Result<Vec<(Rank, i64)>, String> {
//!     let mut values: Vec<i64> = inputs.into_iter().map(|(_, value)| value).collect();
//!     values.sort_unstable();
//!     let middle = values[values.len() / 2];
//!     Ok(call.destinations.iter().map(|rank| (*rank, middle)).collect())
//! }
//!
//! let mut operations = Registry::new();
//! operations.insert_fn(Median::NAME, Median::VERSION, median);
//! let worlds = Builder::new().operations(operations).local(3)?;
//! let values = [30, 10, 20];
//! let requests: Vec<_> =
//!     worlds.iter().zip(values).map(|(world, value)| world.comm().apply(&Median, Some(&value))).collect();
//! for request in requests {
//!     assert_eq!(request.wait()?, Some(20));
//! }
//! # Ok::<(), edgempi::Error>(())
//! ```
//!
//! # Algorithms for every kind of rank
//!
//! A function over the [`Communicator`] trait, in a `no_std` crate, runs on hosts and, with crate `edgempi-embassy`, on
//! boards. [`Comm`] implements it. The trait's calls work on borrowed slices; where a [`Comm`] itself is at hand, its own
//! methods of the same names come first.
//!
//! # Simulation
//!
//! [`sim`] runs a program on thousands of virtual ranks in one thread and in virtual time, over links that are slow, lossy,
//! cut or asleep, with ranks that die: the same [`Comm`], and the same hub. One seed decides everything.
//!
//! ```
//! use edgempi::Sum;
//! use edgempi::sim::{Class, Simulation};
//!
//! let simulation = Simulation::new(1).ranks(2, Class::server()).ranks(100, Class::board().loss(0.02));
//! let outcome = simulation.run(|rank| async move { rank.allreduce([1], Sum).await })?;
//! assert!(outcome.into_values()?.iter().all(|sum| *sum == [102]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `command` (default): the binary `edgempi`. A program that only uses the library can do without what it needs, with
//!   `default-features = false`.
//! - `bridge` (a part of `command`): `edgempi::bridge`, between a board's serial line and its hub.
#![warn(missing_debug_implementations, missing_docs)]
#![deny(unsafe_code)]

#[cfg(feature = "bridge")]
pub mod bridge;
mod buffers;
mod codec;
mod comm;
pub mod config;
mod engine;
mod error;
mod group;
pub mod hub;
pub mod link;
mod membership;
pub mod mpi;
pub mod operations;
mod pending;
pub mod performance;
mod request;
mod signal;
pub mod sim;
mod snapshot;
mod sync;
mod topology;
mod warning;
mod world;

/// The programs in README.md, compiled and run by the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

pub use comm::{
    Comm, IntoBuffer, IntoDest, IntoSource, Message, Objects, SendReceive, SplitType, comm_self, reduce_local,
};
pub use config::Config;
pub use edgempi_core::ReduceOp::{Band, Bor, Bxor, Land, Lor, Lxor, Max, Maxloc, Min, Minloc, Prod, Sum};
#[doc(inline)]
pub use edgempi_core::operation::{Named, Operation, Reducer};
#[doc(inline)]
pub use edgempi_core::{
    ANY_SOURCE, ANY_TAG, Buffers, Call, Category, Communicator, Datatype, Element, Group, Located, Logical, Rank,
    Ranks, ReduceOp, Source, Status, Tag, TagSelector,
};
pub use engine::Traffic;
pub use error::Error;
pub use group::{Comparison, ProcessGroup, RankRange};
pub use request::{
    Persistent, Request, WaitAll, WaitAny, WaitSome, block_on, start_all, test_all, test_any, test_some, wait_all,
    wait_any, wait_some,
};
pub use topology::{Cartesian, DistGraph, NeighborObjects, Neighborhood, dims_create};
pub use world::{Builder, Finalize, Init, World, init, local};

/// Requests may be awaited on any thread, and communicators shared among all: a promise that a change in some field would
/// break without a word.
const _: () = {
    const fn travels<T: Send>() {}
    const fn is_shared<T: Send + Sync>() {}
    travels::<Request<'static, Vec<f32>>>();
    travels::<Request<'static, Option<Comm>>>();
    travels::<WaitAll<'static, Vec<f32>>>();
    travels::<WaitAny<'static, 'static, Vec<f32>>>();
    travels::<WaitSome<'static, 'static, Vec<f32>>>();
    travels::<Persistent<Vec<f32>, Status>>();
    travels::<Init>();
    travels::<Finalize>();
    is_shared::<Comm>();
    is_shared::<World>();
    is_shared::<Error>();
    is_shared::<hub::Server>();
    is_shared::<hub::Stop>();
};
