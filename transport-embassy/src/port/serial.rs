//! A serial line: a UART, USB-CDC or a radio modem, made reliable by core's serial link.

use core::cell::RefCell;
use core::convert::Infallible;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use edgempi_core::serial::{DEFAULT_PAYLOAD, Frame, Reason, SerialLink, State};
use embedded_io_async::{Read, Write};

use super::Port;
use crate::clock::Clock;

/// Bytes moved between the line and the link at a time.
const PIECE: usize = 64;

/// A serial link between a [`SerialPort`] and the line.
///
/// Its two windows, in frames, are the caller's, for as long as the line lasts. What is sent needs 326 bytes, two frames
/// of the usual length, or else [`join`](crate::join) refuses the port; what comes, one frame. With four in each it is fast.
///
/// On a host, `edgempi bridge --serial /dev/ttyACM0 --hub ADDRESS` leads from the line to the hub.
///
/// ```
/// use core::time::Duration;
/// use edgempi_embassy::edgempi_core::serial::Frame;
/// use edgempi_embassy::port::SerialLine;
/// use edgempi_embassy::{Clock, Communicator, Error, Memory, Options, join};
/// use embassy_futures::select::{Either, select};
/// use embedded_io_async::{Read, Write};
/// use static_cell::ConstStaticCell;
///
/// static MEMORY: ConstStaticCell<Memory<2, 256>> = ConstStaticCell::new(Memory::new());
/// static SEND: ConstStaticCell<[Frame; 4]> = ConstStaticCell::new([Frame::EMPTY; 4]);
/// static RECEIVE: ConstStaticCell<[Frame; 4]> = ConstStaticCell::new([Frame::EMPTY; 4]);
/// const SILENCE: Duration = Duration::from_secs(60);
///
/// /// Over the two halves of a UART.
/// async fn board<R: Read, W: Write>(reader: R, writer: W, clock: impl Clock) -> Result<(), Error> {
///     let line = SerialLine::new(&clock, SILENCE, SEND.take(), RECEIVE.take());
///     let (port, runner) = line.split(reader, writer);
///     let application = async {
///         let world = join(port, &clock, MEMORY.take(), &Options::new(1, 2).max_silence(SILENCE)).await?;
///         world.comm().barrier().await?;
///         world.finalize().await
///     };
///     match select(application, runner.run()).await {
///         Either::First(result) => result,
///         Either::Second(Err(_)) => panic!("the UART is broken"),
///     }
/// }
/// ```
pub struct SerialLine<'b, C, const PAYLOAD: usize = DEFAULT_PAYLOAD> {
    shared: RefCell<Shared<'b, PAYLOAD>>,
    clock: C,
    capacity: usize,
}

struct Shared<'b, const PAYLOAD: usize> {
    link: SerialLink<'b, PAYLOAD>,
    /// The engine, waiting for bytes or for room.
    port: Option<Waker>,
    /// The runner's writing half, waiting for something to put on the line.
    line: Option<Waker>,
}

impl<'b, C: Clock, const PAYLOAD: usize> SerialLine<'b, C, PAYLOAD> {
    /// A line that may be silent for `max_silence` before the bridge gives it up, or for as long as it likes if that is
    /// zero; say what the rank's [`Options`](crate::Options) say.
    pub fn new(
        clock: C,
        max_silence: Duration,
        send: &'b mut [Frame<PAYLOAD>],
        receive: &'b mut [Frame<PAYLOAD>],
    ) -> Self {
        let capacity = send.len() * PAYLOAD;
        let link = SerialLink::board(clock.now(), max_silence, send, receive);
        Self { shared: RefCell::new(Shared { link, port: None, line: None }), clock, capacity }
    }

    /// The end for [`join`](crate::join), and the one that has to run beside it.
    pub fn split<R: Read, W: Write>(
        &self,
        reader: R,
        writer: W,
    ) -> (SerialPort<'_, 'b, C, PAYLOAD>, SerialRunner<'_, 'b, C, R, W, PAYLOAD>) {
        (SerialPort { line: self }, SerialRunner { line: self, reader, writer })
    }

    /// Works on the link, which may then have something for the line.
    fn with<T>(&self, f: impl FnOnce(&mut SerialLink<'b, PAYLOAD>) -> T) -> Option<T> {
        let mut shared = self.shared.try_borrow_mut().ok()?;
        let result = f(&mut shared.link);
        if let Some(waker) = shared.line.take() {
            waker.wake();
        }
        Some(result)
    }

    fn wake_port(&self) {
        let waker = self.shared.try_borrow_mut().ok().and_then(|mut shared| shared.port.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait_as_port(&self, context: &Context<'_>) {
        if let Ok(mut shared) = self.shared.try_borrow_mut() {
            shared.port = Some(context.waker().clone());
        }
    }
}

/// A rank's end of a [`SerialLine`].
pub struct SerialPort<'l, 'b, C, const PAYLOAD: usize = DEFAULT_PAYLOAD> {
    line: &'l SerialLine<'b, C, PAYLOAD>,
}

impl<C, const PAYLOAD: usize> fmt::Debug for SerialLine<'_, C, PAYLOAD> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialLine").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl<C, const PAYLOAD: usize> fmt::Debug for SerialPort<'_, '_, C, PAYLOAD> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SerialPort").field(&self.line).finish()
    }
}

impl<C, R, W, const PAYLOAD: usize> fmt::Debug for SerialRunner<'_, '_, C, R, W, PAYLOAD> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SerialRunner").field(&self.line).finish()
    }
}

impl<C: Clock, const PAYLOAD: usize> SerialPort<'_, '_, C, PAYLOAD> {
    /// Whether bytes go both ways; resolves to that, or to why they never will.
    pub fn wait_up(&mut self) -> impl Future<Output = Result<(), Reason>> {
        poll_fn(|context| match self.state() {
            State::Up => Poll::Ready(Ok(())),
            State::Reset(reason) => Poll::Ready(Err(reason)),
            // It is on its way.
            _ => {
                self.line.wait_as_port(context);
                Poll::Pending
            }
        })
    }

    fn state(&self) -> State {
        let shared = self.line.shared.try_borrow();
        shared.map_or(State::Reset(Reason::Closed), |shared| shared.link.state())
    }
}

impl<C: Clock, const PAYLOAD: usize> Port for SerialPort<'_, '_, C, PAYLOAD> {
    type Error = Reason;

    fn poll_read(&mut self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, Reason>> {
        let is_readable = self.line.shared.try_borrow().is_ok_and(|shared| shared.link.is_readable());
        if is_readable {
            return Poll::Ready(self.line.with(|link| link.read(bytes)).ok_or(Reason::Closed));
        }
        if let State::Reset(reason) = self.state() {
            return Poll::Ready(Err(reason));
        }
        self.line.wait_as_port(context);
        Poll::Pending
    }

    fn poll_free(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Reason>> {
        if let State::Reset(reason) = self.state() {
            return Poll::Ready(Err(reason));
        }
        let free = self.line.shared.try_borrow().map_or(0, |shared| shared.link.free());
        if free >= wanted {
            return Poll::Ready(Ok(free));
        }
        self.line.wait_as_port(context);
        Poll::Pending
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        match self.line.with(|link| link.write(bytes)) {
            Some(n) if n == bytes.len() => Ok(()),
            _ => Err(Reason::Closed),
        }
    }

    fn capacity(&self) -> usize {
        self.line.capacity
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let is_flushed = self.line.shared.try_borrow().is_ok_and(|shared| shared.link.is_flushed());
        if let State::Reset(reason) = self.state() {
            return Poll::Ready(Err(reason));
        }
        if is_flushed {
            return Poll::Ready(Ok(()));
        }
        self.line.wait_as_port(context);
        Poll::Pending
    }
}

/// What moves bytes between a [`SerialLine`] and the hardware. It owns reader and writer, and is to run for as long as
/// the line is used: dropped in the middle of a transfer it loses what the hardware had given it.
pub struct SerialRunner<'l, 'b, C, R, W, const PAYLOAD: usize = DEFAULT_PAYLOAD> {
    line: &'l SerialLine<'b, C, PAYLOAD>,
    reader: R,
    writer: W,
}

impl<C: Clock, R: Read, W: Write, const PAYLOAD: usize> SerialRunner<'_, '_, C, R, W, PAYLOAD> {
    /// Moves bytes until the hardware fails.
    ///
    /// # Errors
    ///
    /// What the reader or the writer says.
    ///
    /// # Cancel safety
    ///
    /// None: to be dropped only together with the port.
    pub async fn run(self) -> Result<Infallible, RunError<R::Error, W::Error>> {
        let Self { line, reader, writer } = self;
        let mut reading = pin!(read(line, reader));
        let mut writing = pin!(write(line, writer));
        poll_fn(|context| match reading.as_mut().poll(context) {
            Poll::Ready(error) => Poll::Ready(Err(RunError::Read(error))),
            Poll::Pending => writing.as_mut().poll(context).map(|error| Err(RunError::Write(error))),
        })
        .await
    }
}

/// Why a [`SerialRunner`] ended.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError<R, W> {
    /// The reader failed.
    Read(R),
    /// The writer failed.
    Write(W),
}

async fn read<C: Clock, R: Read, const PAYLOAD: usize>(line: &SerialLine<'_, C, PAYLOAD>, mut reader: R) -> R::Error {
    let mut bytes = [0; PIECE];
    loop {
        match reader.read(&mut bytes).await {
            Ok(n) => {
                let now = line.clock.now();
                line.with(|link| link.receive(now, bytes.get(..n).unwrap_or_default()));
                line.wake_port();
            }
            Err(error) => return error,
        }
    }
}

async fn write<C: Clock, W: Write, const PAYLOAD: usize>(line: &SerialLine<'_, C, PAYLOAD>, mut writer: W) -> W::Error {
    let mut bytes = [0; PIECE];
    loop {
        let n = poll_fn(|context| line.poll_transmit(context, &mut bytes)).await;
        if let Err(error) = writer.write_all(bytes.get(..n).unwrap_or_default()).await {
            return error;
        }
        if let Err(error) = writer.flush().await {
            return error;
        }
    }
}

impl<C: Clock, const PAYLOAD: usize> SerialLine<'_, C, PAYLOAD> {
    /// Bytes for the hardware, once there are some.
    fn poll_transmit(&self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<usize> {
        let Ok(mut shared) = self.shared.try_borrow_mut() else { return Poll::Pending };
        let now = self.clock.now();
        let before = shared.link.state();
        shared.link.handle_timeout(now);
        let n = shared.link.transmit(now, bytes);
        if let (true, Some(waker)) = (shared.link.state() != before, shared.port.take()) {
            waker.wake();
        }
        if n > 0 {
            return Poll::Ready(n);
        }
        if let Some(at) = shared.link.poll_timeout() {
            self.clock.wake_at(at, context.waker());
        }
        shared.line = Some(context.waker().clone());
        Poll::Pending
    }
}
