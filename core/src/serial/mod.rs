//! The serial link: a reliable, ordered stream of bytes over a line that loses and flips some, without I/O.
//!
//! A board and the bridge of its hub each hold one [`SerialLink`], and run it over whatever carries bytes in order: a
//! UART, USB, a radio modem, a TCP connection. To the layer above it is a stream with a limited number of bytes in
//! flight ([`write`](SerialLink::write), [`free`](SerialLink::free), [`read`](SerialLink::read)); on the other side it
//! takes what the line brings ([`receive`](SerialLink::receive)) and says what to put on it
//! ([`transmit`](SerialLink::transmit)). Frames of the protocol ([`crate::wire`]) travel in it like any other bytes.
//!
//! # What it promises
//!
//! Bytes that [`read`](SerialLink::read) returns are those that the other end wrote, in order, none missing, none
//! twice, from the beginning of the session; or the link is [reset](State::Reset). Nothing is handed out before the
//! CRC-32 of its frame was right, and an intact frame of an older session never passes that check.
//!
//! # How it works
//!
//! Frames are COBS-encoded between zero bytes, so both ends find the next beginning whatever happened to the last
//! frame. Each Data frame has a sequence number, and each frame of a session reports what has come: everything up to
//! a number, which frames beyond it, and how many more may be sent. Because a line keeps the order of what it carries,
//! a report that the other end has heard of a later frame proves that an earlier one is lost; just the lost ones leave
//! again. When nothing is heard for a while, a Ping of a few bytes asks for a report, at intervals that double from
//! the measured round trip on.
//!
//! A session begins when the bridge sends an epoch that it has not used before and the board takes it. It ends for
//! both when either of them says so, when nothing comes through for too long, when the board starts anew (it says so
//! until it is connected) or when the bridge chooses another epoch. Each end then tells the layer above, which calls
//! [`reconnect`](SerialLink::reconnect) once it has put its own state in order; so no byte of one session can be taken
//! for one of another.
//!
//! # How fast
//!
//! Percent of the line's bytes that reach a reader, one way / both ways at once, over 115,200 baud with windows of 4
//! frames, by payload of a frame (`cargo bench --package edgempi-core --bench goodput` prints this for
//! other windows, too):
//!
//! | bad bytes | 48 | 112 | 240 | 496 | 1008 |
//! |---|---|---|---|---|---|
//! | none | 79 / 78 | 90 / 90 | 95 / 95 | 97 / 97 | 98 / 98 |
//! | 1 in 10,000 | 78 / 76 | 88 / 87 | 92 / 92 | 92 / 91 | 88 / 85 |
//! | 1 in 1,000 | 73 / 66 | 78 / 73 | 71 / 67 | 49 / 46 | 21 / 18 |
//! | 1 in 500 | 67 / 58 | 66 / 60 | 47 / 44 | 22 / 16 | 6 / 2 |
//! | 1 in 200 | 47 / 42 | 32 / 29 | 12 / 9 | 3 / 0 | 0 / 0 |
//!
//! Out-of-order frames are kept, because that pays: at 1 bad byte in 1,000 and 240 bytes of payload a window of 4 would
//! get through 49 / 46 percent if they were sent again. A window of 8 gets 74 / 72, and more than
//! 74 there can't be.
//!
//! # Memory
//!
//! Each frame of a window takes [`Frame`]'s few bytes beside its payload, in memory of the caller. Payload is copied
//! once each way: from the writer into the window, from the window to the reader; encoding and decoding happen on the
//! way to and from the line. The ends may differ in both sizes: the smaller ones count. The link itself takes a few
//! hundred bytes, and 5 kB of text on a Cortex-M3.
//!
//! ```
//! use core::time::Duration;
//! use edgempi_core::Instant;
//! use edgempi_core::serial::{Frame, SerialLink, State};
//!
//! let silence = Duration::from_secs(10);
//! let (mut sent, mut received) = ([Frame::<240>::EMPTY; 4], [Frame::<240>::EMPTY; 4]);
//! let mut board = SerialLink::board(Instant::ZERO, silence, &mut sent, &mut received);
//! let (mut sent, mut received) = ([Frame::<500>::EMPTY; 8], [Frame::<500>::EMPTY; 8]);
//! let mut bridge = SerialLink::bridge(Instant::ZERO, silence, 7, &mut sent, &mut received);
//!
//! let mut line = [0; 64];
//! for millis in 0.. {
//!     let now = Instant::from_micros(millis * 1000);
//!     let n = bridge.transmit(now, &mut line);
//!     board.receive(now, &line[..n]);
//!     let n = board.transmit(now, &mut line);
//!     bridge.receive(now, &line[..n]);
//!     if board.state() == State::Up {
//!         break;
//!     }
//! }
//! assert_eq!(board.write(b"hello"), 5);
//! let now = Instant::from_micros(1_000_000);
//! let n = board.transmit(now, &mut line);
//! bridge.receive(now, &line[..n]);
//! let mut read = [0; 10];
//! assert_eq!(bridge.read(&mut read), 5);
//! assert_eq!(&read[..5], b"hello");
//! ```

mod assembly;
mod cobs;
mod departure;
mod frame;
mod link;
mod receive;
mod round_trip;
mod send;
mod session;

pub use frame::Reason;
pub use link::SerialLink;

/// Payload bytes of a frame that takes at most 256 bytes of the line.
pub const DEFAULT_PAYLOAD: usize = 240;

/// Most frames of a window; a longer slice is not used beyond this.
pub const MAX_WINDOW: usize = 16;

/// Microseconds, as [`Instant`](crate::Instant) counts them.
type Micros = u64;

/// Room for one frame of a window. All zeros while it is empty, so a static takes no room in an image.
#[derive(Clone, Copy, Debug)]
pub struct Frame<const PAYLOAD: usize = DEFAULT_PAYLOAD> {
    len: u16,
    order: u8,
    bytes: [u8; PAYLOAD],
}

impl<const PAYLOAD: usize> Frame<PAYLOAD> {
    /// An empty one.
    pub const EMPTY: Self = Self { len: 0, order: 0, bytes: [0; PAYLOAD] };
}

impl<const PAYLOAD: usize> Default for Frame<PAYLOAD> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// There is none yet. Nothing can be written.
    Connecting,
    /// Bytes go both ways.
    Up,
    /// It is over. What came in order can still be read; what was written may or may not have arrived.
    Reset(Reason),
}

/// What has happened to frames since the link was made, for people. The numbers wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Data frames that left, for the first time or again.
    pub sent: u32,
    /// Those of them that left again.
    pub resent: u32,
    /// Frames that came whole.
    pub received: u32,
    /// Frames that came damaged; noise counts, too.
    pub damaged: u32,
}
