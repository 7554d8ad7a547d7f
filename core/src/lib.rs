//! The protocol of edgempi without I/O: the state machines of a rank and of the hub that joins the ranks.
//!
//! This crate opens no socket, reads no clock, draws no random number and, without its feature `alloc`, allocates
//! nothing. Whoever has those things drives it: crate `edgempi` on hosts, crate `edgempi-embassy` on boards. Programs
//! depend on one of these two; what they meet from here is the [`Communicator`] trait, with ranks, datatypes and
//! reduce ops.
//!
//! # The house, from the roof down
//!
//! ```text
//!   rank                                                    hub
//!
//!   communicator   a call and its buffers
//!        │
//!   request        the call as numbers, in a slot
//!        │
//!   endpoint ───── Hello Submit Data Credit … ──────▶  hub ──── work ───▶ operation
//!            ◀──── Welcome Part Data Complete … ─────       ◀── result ──
//!                  wire: one header and at most
//!                  one payload in a frame
//! ```
//!
//! - [`communicator`]: what an algorithm is written against. A [`Call`] is a value (the file [`call`] lists them) and
//!   [`Buffers`] are bytes, so the one method that an implementation writes, [`transfer`](Communicator::transfer), needs
//!   no generics. `allreduce`, `bcast` and the others are thin skins over it.
//! - [`request`]: a call in progress. [`Submission`](request::Submission) checks a call and turns it into numbers; a
//!   [`Slot`](request::Slot) is its memory until the hub has answered; a [`RequestId`] names the slot and which of its
//!   lives is meant.
//! - [`endpoint`]: a rank's state machine over memory that the driver gives, `&mut [Slot]` or `Vec<Slot>`. It holds no
//!   payload: it says which bytes go behind a departing header, and where the bytes of an arriving frame belong.
//! - [`wire`]: what the bytes are. Two enums, [`Up`](wire::Up) and [`Down`](wire::Down), with fixed little-endian
//!   layouts, written by hand and pinned by tests.
//! - [`hub`] (feature `alloc`): the other state machine. It finds the calls that belong together, compares them, moves
//!   their bytes under credit, and answers every request. Payloads are [`Payload`]s, so that a broadcast holds one copy,
//!   in memory of a [`Pool`](payload::Pool). Arithmetic and the user's code leave it as [`Work`](hub::Work), for any thread.
//! - [`operation`]: what is computed on the way. A [`Fold`](operation::Fold) makes one element of two, always in the
//!   same tree over the ranks; an [`Operation`](operation::Operation) is the user's own.
//!
//! Below all of them: [`rank`], [`datatype`], [`error`], and [`time`], microseconds that come in from outside. And
//! [`delivery`] is a chapter to read: what a resolved send means, what stays in order, and what is left when a link, a
//! rank or a request is lost.
//!
//! # How it is driven
//!
//! Tell a state machine of one change (a call, a frame, a deadline), then drain it: frames to send, work, events.
//! Each method that is polled says after which calls it may have more to say. Here are two ranks and their hub in one
//! thread, with no link but this loop; a real driver differs in that frames pass through sockets, and that `now` moves.
//!
//! ```
//! use edgempi_core::Payload;
//! use edgempi_core::endpoint::{Config, Event, Incoming, Outgoing, Reach};
//! use edgempi_core::hub::{self, Hub, PeerId, Registry};
//! use edgempi_core::request::{CommunicatorId, NameIds, Receive, Sent, Slot, Submission};
//! use edgempi_core::wire::{MAX_HEAD_LEN, Prefix};
//! use edgempi_core::{Call, Datatype, Endpoint, Fault, Instant, Rank, ReduceOp};
//!
//! struct Node {
//!     endpoint: Endpoint<[Slot; 2]>,
//!     peer: PeerId,
//!     /// The caller's buffer, one `u32`: what is sent leaves from here, and the result comes here.
//!     data: [u8; 4],
//!     done: bool,
//! }
//!
//! /// Prefix and header, as they would be read off a link.
//! fn split(head: &[u8]) -> (Prefix, &[u8]) {
//!     let (prefix, header) = head.split_first_chunk().expect("a frame has a prefix");
//!     (Prefix::decode(*prefix), header)
//! }
//!
//! let now = Instant::ZERO;
//! let mut hub = Hub::new(now, hub::Config::new(2), Registry::new());
//! let mut nodes = [0, 1].map(|rank| Node {
//!     endpoint: Endpoint::new(now, Config::host(Rank::new(rank), 2), [Slot::FREE; 2]),
//!     peer: hub.connect(now),
//!     data: (rank + 20).to_le_bytes(),
//!     done: false,
//! });
//!
//! // Each rank asks for a sum. It need not have joined yet: the call leaves after the Welcome.
//! for (rank, node) in (0..).zip(&mut nodes) {
//!     let world = CommunicatorId { id: 0, rank: Rank::new(rank), size: 2 };
//!     let call = Call::Allreduce { op: ReduceOp::Sum };
//!     let (sent, receive) = (Sent::Equal(4), Receive::Exactly(4));
//!     let submission =
//!         Submission::new(world, &call, Datatype::U32, sent, receive, true, NameIds::default(), 0)?;
//!     node.endpoint.submit(&submission)?;
//! }
//!
//! let mut head = [0; MAX_HEAD_LEN];
//! while nodes.iter().any(|node| !node.done) {
//!     for node in &mut nodes {
//!         // Up: the endpoint writes the head; the payload is the buffer's.
//!         while let Some(outgoing) = node.endpoint.poll_transmit(now, &mut head, Reach::Everything, |_| 0) {
//!             let Outgoing { head_len, payload, .. } = outgoing;
//!             let len = payload.map_or(0, |(_content, len)| len);
//!             let (prefix, header) = split(&head[..head_len]);
//!             hub.handle_frame(now, node.peer, prefix, header, Payload::from(&node.data[..len]));
//!         }
//!     }
//!     while let Some(work) = hub.poll_work() {
//!         hub.finish_work(now, work.run());
//!     }
//!     while let Some(peer) = hub.poll_peer() {
//!         let node = nodes.iter_mut().find(|node| node.peer == peer).expect("the hub knows no others");
//!         // Down: the endpoint says where the payload belongs, then what that means.
//!         while let Some((frame, payload)) = hub.poll_transmit(peer) {
//!             let len = frame.encode(payload.len() as u32, &mut head);
//!             let (prefix, header) = split(&head[..len]);
//!             if let Incoming::Result { .. } = node.endpoint.handle_frame(now, prefix, header)? {
//!                 node.data.copy_from_slice(&payload);
//!             }
//!             if let Some(Event::Complete { .. }) = node.endpoint.poll_event() {
//!                 node.done = true;
//!             }
//!         }
//!     }
//! }
//! assert!(nodes.iter().all(|node| u32::from_le_bytes(node.data) == 20 + 21));
//! # Ok::<(), Fault>(())
//! ```
//!
//! # What is promised
//!
//! - **Nothing that comes from a link makes either state machine panic.** A peer that breaks the protocol is told so
//!   and let go, and nobody else is harmed. A hub that lies makes [`handle_frame`](Endpoint::handle_frame) return an
//!   error; it never makes a driver write outside of a caller's buffer.
//! - A small operation is one frame up and one frame down for each rank. Large ones follow in `Data` frames.
//! - A fold has the same bits whatever comes first, however it is cut, and wherever it is computed.
//! - Memory is bounded by limits that both sides know: see [`delivery`].
//! - An endpoint allocates nothing, and its polls take no longer when more requests are open.
//! - A deadline that has passed is not reported again, and a drained state machine stays quiet: a driver's loop ends.
//! - Every request is answered once, by [`Event::Complete`](endpoint::Event::Complete) or
//!   [`Event::Fail`](endpoint::Event::Fail), unless it was cancelled or the link is over.
//!
//! # What is not
//!
//! - **Secrecy.** Frames are plain, and the hub believes a Hello. Encrypt below.
//! - **Reliability of a link.** A link delivers all bytes in order or ends. When it ends the rank has failed; sessions
//!   do not outlive links today.
//! - **Compatibility.** Both sides have to speak the same [`VERSION`](wire::VERSION). `Reject` and `Goodbye` alone keep
//!   their layout, so that two versions can tell each other why they part.
//! - **Other hardware.** Typed buffers travel as they lie in memory, so the crate compiles for little-endian machines
//!   alone.
//!
//! # Features
//!
//! - `alloc` (default): the [`hub`], reductions of objects, and [`fold_all`](operation::fold_all). Without it the crate
//!   needs no allocator; `tests/run firmware` builds it so for a Cortex-M3.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod call;
pub mod communicator;
pub mod datatype;
pub mod delivery;
pub mod endpoint;
pub mod error;
#[cfg(feature = "alloc")]
pub mod hub;
pub mod operation;
#[cfg(feature = "alloc")]
pub mod payload;
pub mod rank;
pub mod request;
pub mod serial;
pub mod time;
pub mod wire;

pub use call::{Call, Color, Intent, Purpose, SplitRequest, SplitResult};
pub use communicator::{Buffers, Communicator, Sendrecv, Status};
pub use datatype::{Datatype, Element, Locatable, Located, Logical, ReduceOp};
pub use endpoint::Endpoint;
pub use error::{Category, Fault};
#[cfg(feature = "alloc")]
pub use hub::Hub;
#[cfg(feature = "alloc")]
pub use payload::Payload;
pub use rank::{ANY_SOURCE, ANY_TAG, Group, Rank, Ranks, Source, Tag, TagSelector};
pub use request::RequestId;
pub use serial::SerialLink;
pub use time::Instant;
