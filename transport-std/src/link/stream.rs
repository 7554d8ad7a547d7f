//! A link over a connected stream socket, of whatever family.

use std::io::{self, IoSlice, Read, Write};

use super::{Link, Source};

/// What stream sockets of different families do under different names.
pub(super) trait Socket: Send + Sync + 'static {
    fn source(&self) -> Source<'_>;
    /// Says that nothing more will be written. The other side may be gone already.
    fn shut_write(&self);
    /// Where the other side is, for people.
    fn describe(&self) -> String;
}

/// A connection that does not block.
pub(crate) struct StreamLink<S> {
    socket: S,
}

impl<S> StreamLink<S> {
    /// A link over a socket that has been told not to block.
    pub(super) fn new(socket: S) -> Self {
        Self { socket }
    }
}

impl<S: Socket> Link for StreamLink<S>
where
    for<'s> &'s S: Read + Write,
{
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match buffers {
            // The system is quicker at it.
            [one] => (&self.socket).write(one),
            many => (&self.socket).write_vectored(many),
        }
    }

    fn close_write(&self) {
        self.socket.shut_write();
    }

    fn source(&self) -> Option<Source<'_>> {
        Some(self.socket.source())
    }

    fn describe(&self) -> String {
        self.socket.describe()
    }
}
