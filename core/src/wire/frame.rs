//! The frames between a rank and the hub, as two enums: [`Up`] and [`Down`].

use super::field::{as_field, header};
use super::{DecodeError, Hello, Inquire, PREFIX_LEN, Reject, SnapshotPiece, Welcome};
use crate::error::{Category, Fault};
use crate::rank::{Rank, Tag};
use crate::request::RequestId;

/// The first bytes of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Which frame it is.
    pub kind: u8,
    /// Bytes of its header.
    pub header_len: u8,
    /// Bytes of its payload.
    pub payload_len: u32,
}

impl Prefix {
    /// Reads the prefix.
    pub fn decode(bytes: [u8; PREFIX_LEN]) -> Self {
        let [kind, header_len, a, b, c, d] = bytes;
        Self { kind, header_len, payload_len: u32::from_le_bytes([a, b, c, d]) }
    }

    /// Writes the prefix in front of a header.
    pub(crate) fn encode(self, head: &mut [u8; super::MAX_HEAD_LEN]) {
        let [a, b, c, d] = self.payload_len.to_le_bytes();
        if let Some(prefix) = head.first_chunk_mut() {
            *prefix = [self.kind, self.header_len, a, b, c, d];
        }
    }
}

/// What a [`Name`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum NameKind {
    /// A group of ranks: two counts (`u32`), then the sources and the destinations (`u32` each), and, if its calls are to be
    /// counted apart from those of others with the same ranks, a label (`u32`).
    Group = 1,
    /// A user's operation: its version (`u32`), then its name.
    Operation = 2,
    /// A place in the rank's source code, for people.
    Site = 3,
}

as_field!(NameKind as u8, |kind| *kind as u8, |code| Some(match code {
    1 => NameKind::Group,
    2 => NameKind::Operation,
    3 => NameKind::Site,
    _ => return None,
}));

/// The yes-or-no facts of a [`Submit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubmitFlags(u8);

impl SubmitFlags {
    /// The result takes the place of what is sent.
    pub const IN_PLACE: Self = Self(1);
    /// The result must have just the length that `receive` says, not less.
    pub const EXACT: Self = Self(2);
    /// The parts sent differ in length: the payload begins with their lengths, a `u64` each.
    pub const VARIED: Self = Self(4);
    /// The payload is counted against the rank's queue limit.
    pub const EAGER: Self = Self(8);
    /// The rank takes the whole result at any pace: it gives no credit.
    pub const UNLIMITED: Self = Self(16);
    /// A receive from any source.
    pub const ANY_SOURCE: Self = Self(32);
    /// A receive of any tag.
    pub const ANY_TAG: Self = Self(64);

    /// No flag at all.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all of `flags` are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These and `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// These, and `flags` where `condition` holds.
    #[must_use]
    pub const fn with_if(self, condition: bool, flags: Self) -> Self {
        if condition { self.with(flags) } else { self }
    }
}

as_field!(SubmitFlags as u8, |flags| flags.0, |bits| Some(SubmitFlags(bits)));

/// How the payload of a [`Complete`] is divided into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Layout {
    /// The payload is empty: nothing was to come, or it came in Data frames.
    Empty = 0,
    /// One part.
    Single = 1,
    /// One part from each other rank, in rank order, all of one length.
    Equal = 2,
    /// One part from each other rank; the payload begins with their lengths, a `u64` each.
    Varied = 3,
}

as_field!(Layout as u8, |layout| *layout as u8, |code| Some(match code {
    0 => Layout::Empty,
    1 => Layout::Single,
    2 => Layout::Equal,
    3 => Layout::Varied,
    _ => return None,
}));

/// Why somebody leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GoodbyeReason {
    /// The rank has finalized; or, from the hub, the whole world has.
    Finished = 0,
    /// The rank gave up without finalizing.
    Dropped = 1,
    /// The hub stops while ranks still need it.
    Shutdown = 2,
}

as_field!(GoodbyeReason as u8, |reason| *reason as u8, |code| Some(match code {
    0 => GoodbyeReason::Finished,
    1 => GoodbyeReason::Dropped,
    // A reason that only a later version knows is no orderly end.
    _ => GoodbyeReason::Shutdown,
}));

header! {
    /// Gives a number to something long, once in a session. The payload is what it stands for.
    Name {
        /// What is named.
        kind: NameKind,
        /// The number, from 1.
        id: u16,
    }
}

header! {
    /// A rank's call. The payload is the beginning of what it sends, or all of it.
    Submit {
        /// The rank's name for the request.
        request: RequestId,
        /// Counts this session's submits, from 1.
        sequence: u32,
        /// The last Complete or Fail that came, by its `sequence`.
        acknowledged: u32,
        /// Which call; see [`CallCode`](crate::request::CallCode).
        call: u8,
        /// The datatype's code.
        datatype: u8,
        /// The reduce op's code where the call combines; otherwise that of the [`Purpose`](crate::Purpose), 0 for none.
        op: u8,
        /// Facts about the buffers.
        flags: SubmitFlags,
        /// The communicator; 0 is the world.
        communicator: u64,
        /// The group's name; 0 for the whole communicator.
        group: u16,
        /// The user operation's name; 0 for none.
        name: u16,
        /// The place in the source; 0 for unknown.
        site: u16,
        /// Root, destination or source.
        peer: Rank,
        /// The message's tag; of a collective its [`arguments`](crate::Intent::arguments).
        tag: Tag,
        /// How many collectives this rank has started before on this communicator and group.
        n: u32,
        /// Bytes that the rank sends in all, its own block included.
        send: u64,
        /// Bytes that the rank receives in all, its own block included: exactly, or at most.
        receive: u64,
    }
}

header! {
    /// A part of a result is about to come.
    Part {
        /// The request.
        request: RequestId,
        /// Which part.
        part: u32,
        /// Its length in bytes.
        len: u64,
    }
}

header! {
    /// Bytes of a part, at least one. To the hub see [`GRAIN`](super::GRAIN), too.
    Data {
        /// The request.
        request: RequestId,
        /// Which part.
        part: u32,
        /// Where in the part the payload begins.
        offset: u64,
    }
}

header! {
    /// How far the other side may send.
    Credit {
        /// The request; [`RequestId::NONE`] for the rank's queue as a whole.
        request: RequestId,
        /// Which part.
        part: u32,
        /// The offset up to which bytes may be sent; for the queue, the count of bytes since the session began.
        limit: u64,
        /// The part's whole length.
        len: u64,
    }
}

header! {
    /// A request is done. The payload is its result, unless that came in Data frames.
    Complete {
        /// The request.
        request: RequestId,
        /// Counts this session's Completes and Fails, from 1.
        sequence: u32,
        /// The last Submit that came, by its `sequence`.
        acknowledged: u32,
        /// How the payload is divided.
        layout: Layout,
        /// The sender, for a receive.
        source: Rank,
        /// The message's tag, for a receive.
        tag: Tag,
        /// Bytes of the result in all, without the rank's own block.
        bytes: u64,
        /// Queue bytes that may have been sent since the session began.
        queue_limit: u64,
    }
}

header! {
    /// A request has failed. The payload says why, for people. Where the user's code at the hub returned an error of its own
    /// (category [`Remote`](Category::Remote)), `len` may say where that text ends: behind it is the error, as postcard.
    Fail {
        /// The request.
        request: RequestId,
        /// Counts this session's Completes and Fails, from 1.
        sequence: u32,
        /// The last Submit that came, by its `sequence`.
        acknowledged: u32,
        /// What kind of failure.
        category: Category,
        /// The first rank that it concerns.
        rank: Rank,
        /// How many ranks it concerns.
        count: u32,
        /// The size that was asked for; of [`Remote`](Category::Remote) the length of the text, if an error is behind it.
        len: u64,
        /// The size that is allowed.
        max: u64,
        /// Queue bytes that may have been sent since the session began.
        queue_limit: u64,
    }
}

impl Fail {
    /// The failure, apart from its request.
    pub fn fault(&self) -> Fault {
        let len = if self.category == Category::Remote { 0 } else { self.len };
        Fault { category: self.category, rank: self.rank, count: self.count, len, max: self.max }
    }

    /// How many bytes of a payload of `payload` bytes are text.
    pub fn text_len(&self, payload: usize) -> usize {
        match usize::try_from(self.len) {
            Ok(len) if self.category == Category::Remote && (1..payload).contains(&len) => len,
            _ => payload,
        }
    }
}

header! {
    /// The rank gives a request up. The hub still answers it, with Complete if that was too late.
    Cancel {
        /// The request.
        request: RequestId,
    }
}

header! {
    /// The rank makes its calls from one thread alone, and that thread waits for this request: until it is answered, the
    /// rank makes no other call. The payload is empty.
    Blocked {
        /// The request.
        request: RequestId,
    }
}

header! {
    /// The rank takes back a send or a receive that nobody has matched, or a split that not all have come to. The hub answers
    /// it with Fail, or as ever if that was too late.
    Withdraw {
        /// The request.
        request: RequestId,
    }
}

header! {
    /// Asks for a Pong, or is one.
    Ping {
        /// The highest sequence that came from the other side.
        acknowledged: u32,
    }
}

header! {
    /// Somebody leaves. The payload says why, for people. Never changes.
    Goodbye {
        /// Why.
        reason: GoodbyeReason,
    }
}

macro_rules! frames {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident($header:ident) = $kind:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_meta])* $variant($header),)*
        }

        impl $name {
            /// The frame's kind on the wire.
            pub const fn kind(&self) -> u8 {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            /// Writes prefix and header in front of a payload of `payload_len` bytes; returns their length.
            pub fn encode(&self, payload_len: u32, bytes: &mut [u8; super::MAX_HEAD_LEN]) -> usize {
                let header_len = self.encode_header(bytes);
                Prefix { kind: self.kind(), header_len, payload_len }.encode(bytes);
                PREFIX_LEN + usize::from(header_len)
            }

            /// Writes the header, where it is behind a prefix; returns its length.
            // Where the kind is known, no frame is copied about.
            #[inline(always)]
            pub(crate) fn encode_header(&self, head: &mut [u8; super::MAX_HEAD_LEN]) -> u8 {
                let header = head.split_at_mut(PREFIX_LEN).1;
                let Some(header) = header.first_chunk_mut() else { return 0 };
                // A header fits 64 bytes, as `header!` asserts.
                match self {
                    $(Self::$variant(fields) => fields.encode(header) as u8,)*
                }
            }

            /// Reads a header. `None` if the frame may be skipped.
            pub fn decode(kind: u8, header: &[u8]) -> Result<Option<Self>, DecodeError> {
                Ok(Some(match kind {
                    $($kind => Self::$variant($header::decode(kind, header)?),)*
                    super::OPTIONAL.. => return Ok(None),
                    _ => return Err(DecodeError::Kind(kind)),
                }))
            }
        }
    };
}

frames! {
    /// What a rank sends.
    Up {
        /// The first frame.
        Hello(Hello) = 1,
        /// The first frame of somebody who is no rank, and only asks.
        Inquire(Inquire) = 4,
        /// A number for something long.
        Name(Name) = 8,
        /// A call.
        Submit(Submit) = 9,
        /// Bytes that a call sends.
        Data(Data) = 11,
        /// Room for more of a result.
        Credit(Credit) = 12,
        /// A call given up.
        Cancel(Cancel) = 15,
        /// A message or a receive taken back.
        Withdraw(Withdraw) = 16,
        /// Are you there?
        Ping(Ping) = 20,
        /// I am.
        Pong(Ping) = 21,
        /// The last frame.
        Goodbye(Goodbye) = 30,
        /// The rank's one thread waits.
        Blocked(Blocked) = 0x81,
    }
}

frames! {
    /// What the hub sends.
    Down {
        /// The rank is in.
        Welcome(Welcome) = 2,
        /// The rank is not, or no longer, in.
        Reject(Reject) = 3,
        /// A piece of the answer to an inquiry.
        Snapshot(SnapshotPiece) = 5,
        /// A part of a result begins.
        Part(Part) = 10,
        /// Bytes of a result.
        Data(Data) = 11,
        /// Room for more of what a call sends.
        Credit(Credit) = 12,
        /// A call's end.
        Complete(Complete) = 13,
        /// A call's bad end.
        Fail(Fail) = 14,
        /// Are you there?
        Ping(Ping) = 20,
        /// I am.
        Pong(Ping) = 21,
        /// The last frame.
        Goodbye(Goodbye) = 30,
    }
}
