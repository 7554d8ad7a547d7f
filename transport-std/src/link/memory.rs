//! The in-memory link: two pipes of bounded size in one process, for the rank beside its hub and for tests.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Link, Source};

/// Wakes whoever serves the other end of a memory link. May be called from any thread, and does not block.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Bytes that one direction holds.
const CAPACITY: usize = 1 << 20;

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    closed: bool,
}

/// One end of a link within a process: two pipes, of at most 1 MiB each.
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
        let n = buffer.len().min(pipe.bytes.len());
        if n == 0 {
            return if pipe.closed { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let was_full = pipe.bytes.len() >= CAPACITY;
        let (front, back) = pipe.bytes.as_slices();
        let from_front = n.min(front.len());
        buffer[..from_front].copy_from_slice(&front[..from_front]);
        buffer[from_front..n].copy_from_slice(&back[..n - from_front]);
        pipe.bytes.drain(..n);
        drop(pipe);
        if was_full {
            (self.wake)();
        }
        Ok(n)
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut pipe = lock(&self.outgoing);
        if pipe.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = CAPACITY - pipe.bytes.len().min(CAPACITY);
        let mut written = 0;
        for buffer in buffers {
            let n = buffer.len().min(room - written);
            pipe.bytes.extend(&buffer[..n]);
            written += n;
        }
        drop(pipe);
        if written == 0 && buffers.iter().any(|buffer| !buffer.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        (self.wake)();
        Ok(written)
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
