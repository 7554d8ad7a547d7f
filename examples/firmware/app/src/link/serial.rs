//! A link over a UART, a USB serial port or a radio modem.

use edgempi_core::serial::Frame;
use edgempi_embassy::EmbassyClock;
use edgempi_embassy::port::{RunError, SerialLine, SerialPort, SerialRunner};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use static_cell::ConstStaticCell;

use super::{Keeper, Link, Stream};
use crate::{Arguments, Failure};

/// Frames of the serial link's windows, each way: as many as a small board has room for.
const WINDOW: usize = 2;

/// As long as the rank itself may be silent.
const MAX_SILENCE: core::time::Duration = core::time::Duration::from_secs(60);

/// A line that always leads to the same host. Its two halves can be taken apart.
pub struct Serial<R, W> {
    /// What comes from the host.
    pub reader: R,
    /// What goes to the host.
    pub writer: W,
    line: Option<SerialLine<'static, EmbassyClock>>,
}

impl<R, W> Serial<R, W> {
    /// A line of these halves.
    pub fn new(reader: R, writer: W) -> Self {
        Self { reader, writer, line: None }
    }
}

impl<R: Read, W: Write<Error = R::Error>> Link for Serial<R, W> {
    type Stream<'a>
        = &'a mut Self
    where
        Self: 'a;

    type Port<'a>
        = SerialPort<'a, 'static, EmbassyClock>
    where
        Self: 'a;
    type Keeper<'a>
        = SerialRunner<'a, 'static, EmbassyClock, &'a mut R, &'a mut W>
    where
        Self: 'a;

    async fn connect<'a>(&'a mut self, _: &Arguments<'_>) -> Result<(Self::Port<'a>, Self::Keeper<'a>), Failure> {
        static SEND: ConstStaticCell<[Frame; WINDOW]> = ConstStaticCell::new([Frame::EMPTY; WINDOW]);
        static RECEIVE: ConstStaticCell<[Frame; WINDOW]> = ConstStaticCell::new([Frame::EMPTY; WINDOW]);
        let line = SerialLine::new(EmbassyClock, MAX_SILENCE, SEND.take(), RECEIVE.take());
        Ok(self.line.insert(line).split(&mut self.reader, &mut self.writer))
    }

    async fn open<'a>(&'a mut self, _arguments: &Arguments<'_>) -> Result<&'a mut Self, Failure> {
        Ok(self)
    }
}

impl<R: Read, W: Write> Keeper for SerialRunner<'_, '_, EmbassyClock, R, W> {
    async fn keep(self) -> Failure {
        match self.run().await {
            Ok(never) => match never {},
            Err(RunError::Read(error)) => Failure::lost(error),
            Err(RunError::Write(error)) => Failure::lost(error),
            Err(_) => Failure::Lost(ErrorKind::Other),
        }
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
