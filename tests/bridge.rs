//! A bridge in the test's own process: it takes a board's serial link from a TCP connection, which stands for the line,
//! and passes its bytes on to a hub.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use edgempi_core::serial::{Frame, Reason, SerialLink, State};

/// How long it rests where there is nothing to do.
const REST: Duration = Duration::from_micros(100);

/// A bridge between one board and a hub. It ends when this is dropped.
#[derive(Debug)]
pub struct Bridge {
    /// Where it takes the line.
    pub address: SocketAddr,
    over: Arc<AtomicBool>,
    running: Option<JoinHandle<()>>,
}

impl Bridge {
    /// Waits for a line, and passes on to `hub` what comes on it.
    ///
    /// # Panics
    ///
    /// If the system has no port.
    pub fn start(hub: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("its address");
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let running = thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((line, _)) => return pass_on(&line, hub, &is_over),
                    Err(_) => thread::sleep(REST),
                }
            }
        });
        Self { address, over, running: Some(running) }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(running) = self.running.take() {
            // Its own panic has been printed.
            let _ = running.join();
        }
    }
}

/// One direction of a socket that is never waited for: what it has not taken yet.
struct Pipe<'s> {
    socket: &'s TcpStream,
    unsent: Vec<u8>,
}

impl<'s> Pipe<'s> {
    fn new(socket: &'s TcpStream) -> Self {
        socket.set_nonblocking(true).expect("a socket can be non-blocking");
        socket.set_nodelay(true).expect("it's TCP");
        Self { socket, unsent: Vec::new() }
    }

    /// Bytes that have come; `None` at the end of the stream.
    fn read(&mut self, bytes: &mut [u8]) -> Option<usize> {
        match self.socket.read(bytes) {
            Ok(0) => None,
            Ok(n) => Some(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }

    /// Hands the socket what it takes. Returns whether it took something.
    fn flush(&mut self) -> bool {
        let n = self.socket.write(&self.unsent).unwrap_or(0);
        self.unsent.drain(..n);
        n > 0
    }
}

/// Passes bytes on until the line ends, or nobody wants it any more.
fn pass_on(line: &TcpStream, hub: SocketAddr, is_over: &AtomicBool) {
    let hub = TcpStream::connect(hub).expect("the hub listens");
    let (mut line, mut hub) = (Pipe::new(line), Pipe::new(&hub));
    let start = Instant::now();
    let now = || edgempi_core::Instant::from_micros(start.elapsed().as_micros() as u64);
    let (mut send, mut receive) = ([Frame::<240>::EMPTY; 4], [Frame::<240>::EMPTY; 4]);
    let mut link = SerialLink::bridge(now(), Duration::ZERO, 1, &mut send, &mut receive);
    let mut hub_has_ended = false;
    let mut bytes = [0; 256];
    while !is_over.load(Ordering::SeqCst) {
        let mut moved = false;
        if line.unsent.is_empty() {
            link.handle_timeout(now());
            let n = link.transmit(now(), &mut bytes);
            line.unsent.extend_from_slice(&bytes[..n]);
        }
        moved |= line.flush();
        match line.read(&mut bytes) {
            None => return,
            Some(n) => link.receive(now(), &bytes[..n]),
        }
        while hub.unsent.is_empty() && link.is_readable() {
            let n = link.read(&mut bytes);
            hub.unsent.extend_from_slice(&bytes[..n]);
            moved |= hub.flush();
        }
        let room = link.free().min(bytes.len());
        if room > 0 && !hub_has_ended {
            match hub.read(&mut bytes[..room]) {
                None => hub_has_ended = true,
                Some(n) => {
                    assert_eq!(link.write(&bytes[..n]), n, "the link takes what it has room for");
                    moved |= n > 0;
                }
            }
        }
        if hub_has_ended && link.is_flushed() {
            link.reset(Reason::Closed);
        }
        if matches!(link.state(), State::Reset(_)) && !hub_has_ended {
            // The board has gone: its connection ends with it.
            return;
        }
        if !moved {
            thread::sleep(REST);
        }
    }
}
