//! What the bytes are: frames, and the first words of two strangers. Read by the endpoint, the hub and bridges.
//!
//! A frame is `kind: u8 | header_len: u8 | payload_len: u32 | header | payload`, little-endian. Headers have a fixed
//! layout; a reader takes the fields that it knows and skips what a later version put behind them. Payloads of typed
//! buffers are raw little-endian elements, objects are postcard, names and reasons are UTF-8.
//!
//! Frames of a kind from [`OPTIONAL`] up may be skipped by whoever does not know them; any other unknown kind is an
//! error, because skipping it could lose something.

pub(crate) mod field;
mod frame;
mod hello;
#[cfg(test)]
mod tests;

pub use field::DecodeError;
pub(crate) use field::as_field;
pub use frame::{
    Blocked, Cancel, Complete, Credit, Data, Down, Fail, Goodbye, GoodbyeReason, Layout, Name, NameKind, Part, Ping,
    Prefix, Submit, SubmitFlags, Up, Withdraw,
};
pub use hello::{Hello, Inquire, MAGIC, RankKind, Reject, SnapshotPiece, VERSION, Welcome};

/// Bytes of a frame before its header.
pub const PREFIX_LEN: usize = 6;

/// Most bytes of any header that this version writes.
pub const MAX_HEADER_LEN: usize = 64;

/// Room for the prefix and the largest header.
pub const MAX_HEAD_LEN: usize = PREFIX_LEN + MAX_HEADER_LEN;

/// A Data frame to the hub that is not the last of its part holds a multiple of this many bytes: then no element is
/// cut, and nobody can have the hub keep a window in crumbs.
pub const GRAIN: usize = 64;

/// Frames of this kind and above may be skipped by a reader that does not know them.
pub const OPTIONAL: u8 = 0x80;

/// The kind of the first frame that a rank sends, in every version of the protocol.
pub const HELLO: u8 = 1;

/// The kind of the first frame of somebody who only asks how the world is.
pub const INQUIRE: u8 = 4;

/// Most payload bytes of a frame from a peer that has not said Hello.
pub const MAX_HELLO_PAYLOAD: u32 = 256;

/// Most bytes of the name of a user's operation.
pub const MAX_OPERATION_LEN: usize = 1024;

/// Most bytes of the text in a Reject, a Fail or a Goodbye.
pub const MAX_REASON_LEN: usize = 4096;
