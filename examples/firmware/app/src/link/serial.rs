//! A link over a UART, a USB serial port or a radio modem.

use embedded_io_async::{ErrorType, Read, Write};

use super::{Link, Stream};
use crate::{Arguments, Failure};

/// A line that always leads to the same host. Its two halves can be taken apart.
pub struct Serial<R, W> {
    /// What comes from the host.
    pub reader: R,
    /// What goes to the host.
    pub writer: W,
}

impl<R: Read, W: Write<Error = R::Error>> Link for Serial<R, W> {
    type Stream<'a>
        = &'a mut Self
    where
        Self: 'a;

    async fn open<'a>(&'a mut self, _arguments: &Arguments<'_>) -> Result<&'a mut Self, Failure> {
        Ok(self)
    }
}

impl<R: Read, W: Write<Error = R::Error>> Stream for &mut Serial<R, W> {
    async fn close(self) {
        // A line that takes nothing any more is as good as closed.
        let _ = self.writer.flush().await;
    }
}

impl<R: ErrorType, W> ErrorType for Serial<R, W> {
    type Error = R::Error;
}

impl<R: Read, W> Read for Serial<R, W> {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Self::Error> {
        self.reader.read(bytes).await
    }
}

impl<R: ErrorType, W: Write<Error = R::Error>> Write for Serial<R, W> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        self.writer.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        self.writer.flush().await
    }
}
