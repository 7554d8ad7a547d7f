//! Links: how frames get from one process to another. One file a transport, one trait.
//!
//! `EDGEMPI_PROTO` says which: `tcp`, `unix` (Linux, where rank and hub share a machine), or `auto`, which takes the
//! latter where it leads to a hub of the same user or root. A hub and a rank in one process share memory, whatever it
//! says. Links of a program's own can not be plugged in yet.

mod dial;
mod files;
mod listen;
mod memory;
mod stream;
mod tcp;
#[cfg(target_os = "linux")]
mod unix;

use std::io::{self, IoSlice};
use std::sync::Arc;

use edgempi_core::Payload;
use polling::{Event, Poller};

pub(crate) use dial::connect;
#[cfg(feature = "bridge")]
pub(crate) use listen::listen_tcp;
pub(crate) use listen::{Listener, WatchedListener, listen, local_addr};
pub(crate) use memory::{Wake, memory_pair};
#[cfg(feature = "bridge")]
pub(crate) use tcp::dial;

/// The names that `EDGEMPI_PROTO` may say.
#[cfg(target_os = "linux")]
pub const NAMES: &[&str] = &[AUTO, TCP, UNIX];
/// The names that `EDGEMPI_PROTO` may say.
#[cfg(not(target_os = "linux"))]
pub const NAMES: &[&str] = &[AUTO, TCP];

const AUTO: &str = "auto";
const TCP: &str = "tcp";
const UNIX: &str = "unix";

/// What the operating system watches for a link: its file descriptor.
#[cfg(unix)]
pub(crate) type Source<'a> = std::os::fd::BorrowedFd<'a>;
/// What the operating system watches for a link: its socket.
#[cfg(windows)]
pub(crate) type Source<'a> = std::os::windows::io::BorrowedSocket<'a>;

/// A duplex that carries the bytes of frames between a rank and a hub, and never blocks.
///
/// A link is reliable and ordered; when it can no longer be, it fails. `read` and `write` behave like those of a
/// non-blocking socket: `WouldBlock` when there is nothing to do, 0 bytes read when the other side has closed.
pub(crate) trait Link: Send + Sync + 'static {
    /// Reads what has come.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing has; anything else ends the link.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes the buffers one behind the other, as far as there is room.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none; anything else ends the link.
    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// The next `len` bytes, if they have come and lie there as they were given, to be taken without a copy.
    fn take(&self, len: usize) -> Option<Payload> {
        let _ = len;
        None
    }

    /// Hands a frame over without a copy of its payload, to somebody in the same process; `None` if the link carries bytes
    /// only.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write)'s.
    fn hand_over(&self, head: &[u8], payload: &Payload) -> Option<io::Result<()>> {
        let _ = (head, payload);
        None
    }

    /// Says that nothing more will be written; what was written still arrives.
    fn close_write(&self);

    /// The socket to watch, or `None` for a link that wakes its reader by itself.
    fn source(&self) -> Option<Source<'_>>;

    /// Where the other side is, for people.
    fn describe(&self) -> String;
}

/// A link under the watch of a poller, which forgets it before it closes.
pub(crate) struct Watched {
    link: Box<dyn Link>,
    poller: Arc<Poller>,
    key: usize,
    /// Reading or writing met `WouldBlock`: nothing to do until the poller says so.
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    armed: Option<(bool, bool)>,
}

impl Watched {
    pub(crate) fn new(link: Box<dyn Link>, poller: Arc<Poller>, key: usize) -> io::Result<Self> {
        if let Some(source) = link.source() {
            add(&poller, &source, Event::none(key))?;
        }
        Ok(Self { link, poller, key, readable: true, writable: true, armed: None })
    }

    /// Reads, unless there was nothing more the last time. A link that gives less than there is room for has no more, so
    /// that nobody need ask once more to hear so.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.readable {
            return Ok(None);
        }
        let result = optional(retry(|| self.link.read(buffer)));
        // Closing is told as often as somebody asks.
        self.readable = matches!(result, Ok(Some(n)) if n == buffer.len() || n == 0);
        result
    }

    /// Writes; notes when there is no room.
    pub(crate) fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let result = retry(|| self.link.write(buffers));
        self.writable = !would_block(&result);
        optional(result)
    }

    /// As [`Link::take`].
    pub(crate) fn take(&self, len: usize) -> Option<Payload> {
        self.link.take(len)
    }

    /// As [`Link::hand_over`]; whether it was taken, or notes that there is no room.
    pub(crate) fn hand_over(&mut self, head: &[u8], payload: &Payload) -> Option<io::Result<bool>> {
        let result = self.link.hand_over(head, payload)?;
        self.writable = !would_block(&result);
        Some(optional(result).map(|taken| taken.is_some()))
    }

    pub(crate) fn close_write(&self) {
        self.link.close_write();
    }

    /// Whether no poller says when there is something to do.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.link.source().is_none()
    }

    pub(crate) fn describe(&self) -> String {
        self.link.describe()
    }

    /// The poller has woken for this link; it watches no more until it is armed.
    pub(crate) fn woken(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
        self.armed = None;
    }

    /// Somebody looks by itself from now on: the poller is to wake nobody.
    pub(crate) fn disarm(&mut self) -> io::Result<()> {
        match self.link.source() {
            Some(source) if self.armed.is_some_and(|armed| armed != (false, false)) => {
                self.armed = Some((false, false));
                self.poller.modify(source, Event::none(self.key))
            }
            _ => Ok(()),
        }
    }

    /// Has the poller watch for what was not ready, once.
    pub(crate) fn arm(&mut self, wants_write: bool) -> io::Result<()> {
        let Some(source) = self.link.source() else {
            // Wakes come at any time: whatever was not ready may be now.
            (self.readable, self.writable) = (true, true);
            return Ok(());
        };
        let wanted = (!self.readable, wants_write && !self.writable);
        if self.armed == Some(wanted) {
            return Ok(());
        }
        self.armed = Some(wanted);
        self.poller.modify(source, Event::new(self.key, wanted.0, wanted.1))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(source) = self.link.source() {
            // Nothing to be done about a failure here: the descriptor is closed right after.
            let _ = self.poller.delete(source);
        }
    }
}

#[cfg(unix)]
fn source_of(socket: &impl std::os::fd::AsFd) -> Source<'_> {
    socket.as_fd()
}

#[cfg(windows)]
fn source_of(socket: &impl std::os::windows::io::AsSocket) -> Source<'_> {
    socket.as_socket()
}

#[allow(unsafe_code, reason = "the only unsafe block of the crate")]
fn add(poller: &Poller, source: &Source<'_>, interest: Event) -> io::Result<()> {
    // SAFETY: `Watched` and `WatchedListener` own what they add, and delete it from the poller when they are dropped,
    // before the descriptor closes.
    unsafe { poller.add(source, interest) }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn would_block<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn optional<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
