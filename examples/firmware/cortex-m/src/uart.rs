//! A UART with a buffer in each direction, which interrupts fill and empty.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::task::Poll;

use critical_section::Mutex;
use embassy_sync::waitqueue::AtomicWaker;
use embedded_io_async::{ErrorType, Read, Write};
use heapless::Deque;

/// A UART's registers.
pub trait Registers {
    /// Takes a byte that has come.
    fn receive(&mut self) -> Option<u8>;

    /// Sends a byte, unless too many are on their way already.
    fn transmit(&mut self, byte: u8) -> Result<(), Full>;

    /// Asks for interrupts, or for none: where a byte has come, where there is room for one to be sent. What was asked
    /// for before is forgotten. A condition that lasts, or that came while nobody had asked, interrupts, too.
    fn listen(&mut self, byte_came: bool, room_to_send: bool);
}

/// No room for another byte to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A UART with a buffer of `RECEIVE` bytes for what comes and one of `TRANSMIT` for what goes.
///
/// Bytes that come while the buffer is full stay in the UART, which may lose some. Call
/// [`on_interrupt`](Self::on_interrupt) at each of its interrupts.
pub struct BufferedUart<R, const RECEIVE: usize, const TRANSMIT: usize> {
    state: Mutex<RefCell<State<R, RECEIVE, TRANSMIT>>>,
    readable: AtomicWaker,
    writable: AtomicWaker,
}

struct State<R, const RECEIVE: usize, const TRANSMIT: usize> {
    registers: R,
    received: Deque<u8, RECEIVE>,
    to_send: Deque<u8, TRANSMIT>,
}

impl<R: Registers, const RECEIVE: usize, const TRANSMIT: usize> State<R, RECEIVE, TRANSMIT> {
    /// Moves bytes between the buffers and the registers, as far as they go.
    fn pump(&mut self) {
        while !self.received.is_full()
            && let Some(byte) = self.registers.receive()
        {
            let _ = self.received.push_back(byte);
        }
        while let Some(&byte) = self.to_send.front()
            && self.registers.transmit(byte).is_ok()
        {
            self.to_send.pop_front();
        }
        self.registers.listen(!self.received.is_full(), !self.to_send.is_empty());
    }
}

impl<R: Registers, const RECEIVE: usize, const TRANSMIT: usize> BufferedUart<R, RECEIVE, TRANSMIT> {
    /// A UART that still has to be [started](Self::start).
    pub const fn new(registers: R) -> Self {
        Self {
            state: Mutex::new(RefCell::new(State { registers, received: Deque::new(), to_send: Deque::new() })),
            readable: AtomicWaker::new(),
            writable: AtomicWaker::new(),
        }
    }

    /// Begins to receive, once the UART is set up.
    pub fn start(&self) {
        self.with_state(State::pump);
    }

    /// Takes what came and sends what waits.
    pub fn on_interrupt(&self) {
        let (came, room) = self.with_state(|state| {
            state.pump();
            (!state.received.is_empty(), !state.to_send.is_full())
        });
        if came {
            self.readable.wake();
        }
        if room {
            self.writable.wake();
        }
    }

    /// Both directions; for one reader and one writer at a time.
    pub const fn split(&'static self) -> (Reader<R, RECEIVE, TRANSMIT>, Writer<R, RECEIVE, TRANSMIT>) {
        (Reader(self), Writer(self))
    }

    fn with_state<T>(&self, work: impl FnOnce(&mut State<R, RECEIVE, TRANSMIT>) -> T) -> T {
        critical_section::with(|section| work(&mut self.state.borrow_ref_mut(section)))
    }

    fn read(&self, bytes: &mut [u8]) -> usize {
        self.with_state(|state| {
            let mut len = 0;
            while let Some(byte) = bytes.get_mut(len)
                && let Some(came) = state.received.pop_front()
            {
                *byte = came;
                len += 1;
            }
            // There may be room now for what had to stay in the UART.
            state.pump();
            len
        })
    }

    fn write(&self, bytes: &[u8]) -> usize {
        self.with_state(|state| {
            let mut len = 0;
            while let Some(&byte) = bytes.get(len)
                && state.to_send.push_back(byte).is_ok()
            {
                len += 1;
            }
            state.pump();
            len
        })
    }
}

/// What comes over a UART.
pub struct Reader<R: 'static, const RECEIVE: usize, const TRANSMIT: usize>(&'static BufferedUart<R, RECEIVE, TRANSMIT>);

/// What goes over a UART.
pub struct Writer<R: 'static, const RECEIVE: usize, const TRANSMIT: usize>(&'static BufferedUart<R, RECEIVE, TRANSMIT>);

impl<R, const RECEIVE: usize, const TRANSMIT: usize> ErrorType for Reader<R, RECEIVE, TRANSMIT> {
    type Error = Infallible;
}

impl<R, const RECEIVE: usize, const TRANSMIT: usize> ErrorType for Writer<R, RECEIVE, TRANSMIT> {
    type Error = Infallible;
}

impl<R: Registers, const RECEIVE: usize, const TRANSMIT: usize> Read for Reader<R, RECEIVE, TRANSMIT> {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            self.0.readable.register(context.waker());
            match self.0.read(bytes) {
                0 if !bytes.is_empty() => Poll::Pending,
                len => Poll::Ready(Ok(len)),
            }
        })
        .await
    }
}

impl<R: Registers, const RECEIVE: usize, const TRANSMIT: usize> Write for Writer<R, RECEIVE, TRANSMIT> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            self.0.writable.register(context.waker());
            match self.0.write(bytes) {
                0 if !bytes.is_empty() => Poll::Pending,
                len => Poll::Ready(Ok(len)),
            }
        })
        .await
    }

    /// Waits until all is in the UART, which may still have a few bytes to send.
    async fn flush(&mut self) -> Result<(), Infallible> {
        poll_fn(|context| {
            self.0.writable.register(context.waker());
            if self.0.with_state(|state| state.to_send.is_empty()) { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}
