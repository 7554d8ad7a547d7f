//! What a frame on the line holds: a head, payload if it is a Data frame, and a check.
//!
//! | frame | head, little-endian |
//! |---|---|
//! | Connect, Accept | `kind: u8`, `version: u8`, `epoch: u32`, `reason: u8`, `payload: u16`, `window: u8`, `max_silence: u32` |
//! | Reset | `kind: u8`, `version: u8`, `epoch: u32`, `reason: u8` |
//! | Ack, Ping | `kind and window: u8`, `order: u8`, `echo: u8`, `ack: u8`, `held: u16` |
//! | Data | the same, `sequence: u8`, then the payload |
//!
//! The check is CRC-32 as in zip and Ethernet. That of Data, Ack and Ping begins with the epoch, which does not travel
//! with them: an intact frame of another epoch never passes, since the first four bytes of what a CRC-32 runs over
//! decide one to one about its value.

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, Digest, NoTable};

/// The version of the serial link. Connect, Accept and Reset begin alike in all versions.
pub(super) const VERSION: u8 = 1;

/// Bytes of the largest head.
pub(super) const MAX_HEAD: usize = 14;
/// Bytes of a Data frame's head.
pub(super) const DATA_HEAD: usize = 7;
/// Bytes of a check.
pub(super) const CHECK: usize = 4;

/// The kind is in the upper bits, the window of a session's frames in the lower ones.
const WINDOW: u8 = 0x1f;
pub(super) const CONNECT: u8 = 1 << 5;
pub(super) const ACCEPT: u8 = 2 << 5;
pub(super) const RESET: u8 = 3 << 5;
pub(super) const DATA: u8 = 4 << 5;
pub(super) const ACK: u8 = 5 << 5;
pub(super) const PING: u8 = 6 << 5;

/// Why a serial link was reset. The numbers are the wire's and keep gaps for later reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Reason {
    /// The other end has started anew.
    Restarted = 1,
    /// Nothing came through for too long.
    Silent = 3,
    /// The two ends speak different versions of the link.
    Version = 4,
    /// Whoever used the link was done with it.
    Closed = 5,
    /// The bridge has lost its connection to the hub.
    HubLost = 10,
    /// The bridge does not reach the hub.
    HubUnreachable = 11,
}

impl Reason {
    /// The reason with this number on the wire. One that only a later version knows says that the link is closed.
    #[inline(never)] // 70 bytes less on a Cortex-M3
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Restarted,
            3 => Self::Silent,
            4 => Self::Version,
            10 => Self::HubLost,
            11 => Self::HubUnreachable,
            _ => Self::Closed,
        }
    }

    /// What happened, in a few words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restarted => "the other end has started anew",
            Self::Silent => "nothing came through for too long",
            Self::Version => "the two ends speak different versions of the serial link",
            Self::Closed => "the other end has closed the link",
            Self::HubLost => "the bridge has lost its connection to the hub",
            Self::HubUnreachable => "the bridge does not reach the hub",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one end says of itself when a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) version: u8,
    pub(super) epoch: u32,
    /// Why there is a new session.
    pub(super) reason: Reason,
    /// Most payload bytes that it takes in one frame.
    pub(super) payload: u16,
    /// How many frames it takes.
    pub(super) window: u8,
    /// Longest time that it takes to answer, in milliseconds; 0 for as long as it likes.
    pub(super) max_silence: u32,
}

/// What every frame of a session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// How many frames this end takes from `ack` on.
    pub(super) window: u8,
    /// Counts the Data frames that have left before, and this one.
    pub(super) order: u8,
    /// The last `order` that came.
    pub(super) echo: u8,
    /// The sequence of the first Data frame that has not come.
    pub(super) ack: u8,
    /// Which of those from there on have: bit n is `ack` + n.
    pub(super) held: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Connect(Greeting),
    Accept(Greeting),
    Reset { epoch: u32, reason: Reason },
    Data { report: Report, sequence: u8 },
    Ack(Report),
    Ping(Report),
}

impl Head {
    /// Writes the head and returns its length.
    pub(super) fn encode(&self, bytes: &mut [u8; MAX_HEAD]) -> usize {
        match *self {
            Self::Connect(greeting) => greeting.encode(CONNECT, bytes),
            Self::Accept(greeting) => greeting.encode(ACCEPT, bytes),
            Self::Reset { epoch, reason } => {
                let [a, b, c, d] = epoch.to_le_bytes();
                *bytes = [RESET, VERSION, a, b, c, d, reason as u8, 0, 0, 0, 0, 0, 0, 0];
                7
            }
            Self::Data { report, sequence } => report.encode(DATA, sequence, bytes) + 1,
            Self::Ack(report) => report.encode(ACK, 0, bytes),
            Self::Ping(report) => report.encode(PING, 0, bytes),
        }
    }

    /// Reads a head from the first `len` bytes. `None` if it is too short or of a kind that only a later version knows.
    pub(super) fn decode(bytes: &[u8; MAX_HEAD], len: usize) -> Option<Self> {
        let [first, b, c, d, e, f, g, ..] = *bytes;
        let kind = first & !WINDOW;
        if len < head_len(kind)? {
            return None;
        }
        let epoch = u32::from_le_bytes([c, d, e, f]);
        let held = u16::from_le_bytes([e, f]);
        let report = Report { window: first & WINDOW, order: b, echo: c, ack: d, held };
        Some(match kind {
            CONNECT => Self::Connect(Greeting::decode(bytes)),
            ACCEPT => Self::Accept(Greeting::decode(bytes)),
            RESET => Self::Reset { epoch, reason: Reason::from_code(g) },
            DATA => Self::Data { report, sequence: g },
            ACK => Self::Ack(report),
            PING => Self::Ping(report),
            _ => return None,
        })
    }
}

impl Greeting {
    fn encode(&self, kind: u8, bytes: &mut [u8; MAX_HEAD]) -> usize {
        let [a, b, c, d] = self.epoch.to_le_bytes();
        let [e, f] = self.payload.to_le_bytes();
        let [g, h, i, j] = self.max_silence.to_le_bytes();
        *bytes = [kind, self.version, a, b, c, d, self.reason as u8, e, f, self.window, g, h, i, j];
        MAX_HEAD
    }

    fn decode(bytes: &[u8; MAX_HEAD]) -> Self {
        let [_, version, a, b, c, d, reason, e, f, window, g, h, i, j] = *bytes;
        Self {
            version,
            epoch: u32::from_le_bytes([a, b, c, d]),
            reason: Reason::from_code(reason),
            payload: u16::from_le_bytes([e, f]),
            window,
            max_silence: u32::from_le_bytes([g, h, i, j]),
        }
    }
}

impl Report {
    fn encode(&self, kind: u8, sequence: u8, bytes: &mut [u8; MAX_HEAD]) -> usize {
        let Self { window, order, echo, ack, held } = *self;
        let [low, high] = held.to_le_bytes();
        *bytes = [kind | (window & WINDOW), order, echo, ack, low, high, sequence, 0, 0, 0, 0, 0, 0, 0];
        6
    }
}

/// Which kind of frame begins with this byte.
pub(super) fn kind_of(first: u8) -> u8 {
    first & !WINDOW
}

/// Whether a frame belongs to a session, and its check begins with the epoch.
pub(super) fn is_of_session(kind: u8) -> bool {
    matches!(kind, DATA | ACK | PING)
}

/// How long the head of a frame is.
pub(super) fn head_len(kind: u8) -> Option<usize> {
    Some(match kind {
        CONNECT | ACCEPT => MAX_HEAD,
        RESET | DATA => 7,
        ACK | PING => 6,
        _ => return None,
    })
}

/// A check in the making.
#[derive(Clone)]
pub(super) struct Check(Digest<'static, u32, NoTable>);

// Without a table: 4 kB of flash less, and still much faster than a line.
static CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

impl Check {
    /// Over nothing yet.
    pub(super) fn new() -> Self {
        Self(CRC.digest())
    }

    /// Over an epoch.
    pub(super) fn of_epoch(epoch: u32) -> Self {
        let mut check = Self::new();
        check.update(&epoch.to_le_bytes());
        check
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    #[inline(never)] // 40 bytes less on a Cortex-M3
    pub(super) fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}
