//! The in-memory link: two pipes of bounded size in one process, for the rank beside its hub and for tests.
//!
//! What is written is copied once, into a piece of its own, which the hub takes as the payload that it is; payloads of the
//! hub are not copied at all until they are read into their place.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgempi_core::Payload;
use edgempi_core::payload::Pool;

use super::{Link, Source};

/// Wakes whoever serves the other end of a memory link. May be called from any thread, and does not block.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// A direction that holds so many bytes takes no more. One piece may go beyond it.
const CAPACITY: usize = 1 << 20;
/// Bytes of pieces that a direction keeps memory for, to use it again.
const POOL: usize = 2 << 20;
/// Pieces from this size on are read by themselves, so that they can be taken whole.
const LARGE: usize = 4 * 1024;

struct Pipe {
    pieces: VecDeque<Payload>,
    /// Bytes of all of them.
    held: usize,
    pool: Pool,
    closed: bool,
}

impl Default for Pipe {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), held: 0, pool: Pool::new(POOL), closed: false }
    }
}

impl Pipe {
    /// Whether somebody can write.
    fn check(&self) -> io::Result<()> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.held >= CAPACITY { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    fn push(&mut self, piece: Payload) {
        if !piece.is_empty() {
            self.held += piece.len();
            self.pieces.push_back(piece);
        }
    }

    fn copy(&mut self, bytes: &[u8]) {
        let mut room = self.pool.room(bytes.len());
        room.copy_from_slice(bytes);
        let piece = self.pool.fill(room);
        self.push(piece);
    }

    /// Reads small pieces together, or of a large one.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut got = 0;
        while let Some(front) = self.pieces.front_mut() {
            if got == buffer.len() || (got > 0 && front.len() >= LARGE) {
                break;
            }
            let piece = front.split_to(buffer.len() - got);
            buffer[got..got + piece.len()].copy_from_slice(&piece);
            got += piece.len();
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
        self.held -= got;
        got
    }
}

/// One end of a link within a process.
pub(crate) struct MemoryLink {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
    /// Wakes the other end.
    wake: Wake,
    name: &'static str,
}

/// Two ends; each is given what wakes the other one's reader.
pub(crate) fn memory_pair(wake_first: Wake, wake_second: Wake) -> (MemoryLink, MemoryLink) {
    let (up, down) = (Arc::<Mutex<Pipe>>::default(), Arc::<Mutex<Pipe>>::default());
    let first =
        MemoryLink { incoming: down.clone(), outgoing: up.clone(), wake: wake_second, name: "its hub's process" };
    let second = MemoryLink { incoming: up, outgoing: down, wake: wake_first, name: "this process" };
    (first, second)
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link for MemoryLink {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = lock(&self.incoming);
        let was_full = pipe.held >= CAPACITY;
        let got = pipe.read(buffer);
        if got == 0 && !buffer.is_empty() {
            return if pipe.closed { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        drop(pipe);
        if was_full {
            (self.wake)();
        }
        Ok(got)
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut pipe = lock(&self.outgoing);
        pipe.check()?;
        let mut written = 0;
        for buffer in buffers {
            if pipe.held >= CAPACITY {
                break;
            }
            pipe.copy(buffer);
            written += buffer.len();
        }
        drop(pipe);
        (self.wake)();
        Ok(written)
    }

    fn take(&self, len: usize) -> Option<Payload> {
        let mut pipe = lock(&self.incoming);
        let was_full = pipe.held >= CAPACITY;
        pipe.pieces.front().filter(|front| front.len() == len)?;
        let piece = pipe.pieces.pop_front()?;
        pipe.held -= len;
        drop(pipe);
        if was_full {
            (self.wake)();
        }
        Some(piece)
    }

    fn hand_over(&self, head: &[u8], payload: &Payload) -> Option<io::Result<()>> {
        let mut pipe = lock(&self.outgoing);
        if let Err(error) = pipe.check() {
            return Some(Err(error));
        }
        pipe.copy(head);
        pipe.push(payload.clone());
        drop(pipe);
        (self.wake)();
        Some(Ok(()))
    }

    fn close_write(&self) {
        lock(&self.outgoing).closed = true;
        (self.wake)();
    }

    fn source(&self) -> Option<Source<'_>> {
        None
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        lock(&self.incoming).closed = true;
        self.close_write();
    }
}
