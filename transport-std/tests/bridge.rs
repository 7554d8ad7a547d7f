//! The bridge between boards that are serial links of this test, and hubs that are its sockets.
#![cfg(feature = "bridge")]

#[cfg(all(unix, feature = "command"))]
mod lines;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use edgempi::bridge::{Bridge, Line, Stop};
use edgempi::{Config, Error};
use edgempi_core::serial::{Frame, Reason, SerialLink, State};

/// Nothing here takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bridge that serves until the test is over.
struct Served {
    address: Option<SocketAddr>,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Served {
    fn new(line: &str, hub: SocketAddr, wait: Duration) -> Self {
        let config = Config::new().rank(0).size(1).addr(hub.to_string()).wait(wait);
        let bridge = Bridge::open(Line::parse(line, 115_200).unwrap(), &config).unwrap();
        let (address, stop) = (bridge.local_addr(), bridge.stop());
        Self { address, stop, thread: Some(thread::spawn(move || bridge.serve())) }
    }

    /// A bridge that waits for boards.
    fn listening(hub: SocketAddr) -> Self {
        Self::new("listen:127.0.0.1:0", hub, PATIENCE)
    }

    fn board(&self) -> Board<TcpStream> {
        Board::new(TcpStream::connect(self.address.unwrap()).unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        let served = self.thread.take().unwrap().join();
        if !thread::panicking() {
            served.unwrap().unwrap();
        }
    }
}

/// What a test does with a line without waiting.
trait Wire {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    fn send(&mut self, bytes: &[u8]);
}

impl Wire for TcpStream {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.set_read_timeout(Some(Duration::from_millis(5)))?;
        self.read(buffer)
    }

    fn send(&mut self, bytes: &[u8]) {
        // A line that is gone shows when it is read.
        let _ = self.write_all(bytes);
    }
}

/// A board's end of a serial link.
struct Board<W> {
    wire: W,
    link: SerialLink<'static>,
    start: Instant,
}

impl<W: Wire> Board<W> {
    fn new(wire: W) -> Self {
        Self { wire, link: link(edgempi_core::Instant::ZERO), start: Instant::now() }
    }

    fn now(&self) -> edgempi_core::Instant {
        edgempi_core::Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    /// It loses power, and finds it again.
    fn start_anew(&mut self) {
        self.link = link(self.now());
    }

    /// Runs its line until `done`.
    #[track_caller]
    fn run_until(&mut self, mut done: impl FnMut(&mut SerialLink<'static>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 512];
        while !done(&mut self.link) {
            assert!(Instant::now() < deadline, "it does not come to that; {:?}", self.link.state());
            match self.wire.receive(&mut buffer) {
                Ok(0) => panic!("the line is gone"),
                Ok(n) => self.link.receive(self.now(), &buffer[..n]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => panic!("the line is gone: {error}"),
            }
            self.link.handle_timeout(self.now());
            let n = self.link.transmit(self.now(), &mut buffer);
            self.wire.send(&buffer[..n]);
        }
    }

    #[track_caller]
    fn connect(&mut self) {
        self.run_until(|link| link.state() == State::Up);
    }

    /// Writes `bytes`, and sees them acknowledged.
    #[track_caller]
    fn send(&mut self, mut bytes: &[u8]) {
        self.run_until(|link| {
            let n = link.write(bytes);
            bytes = &bytes[n..];
            bytes.is_empty() && link.is_flushed()
        });
    }

    /// Reads `len` bytes.
    #[track_caller]
    fn receive(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.run_until(|link| {
            let mut buffer = vec![0; len - bytes.len()];
            let n = link.read(&mut buffer);
            bytes.extend(&buffer[..n]);
            bytes.len() == len
        });
        bytes
    }

    #[track_caller]
    fn expect_reset(&mut self, reason: Reason) {
        self.run_until(|link| link.state() != State::Up);
        assert_eq!(self.link.state(), State::Reset(reason));
    }
}

fn link(now: edgempi_core::Instant) -> SerialLink<'static> {
    let frames = || Box::leak(Box::new([Frame::EMPTY; 4]));
    SerialLink::board(now, PATIENCE, frames(), frames())
}

/// Somewhere to listen as a hub, or as an emulator.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[track_caller]
fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).unwrap();
    assert!(read == bytes, "other bytes than the board sent");
}

#[track_caller]
fn expect_closed(stream: &mut TcpStream) {
    match stream.read(&mut [0]) {
        Ok(0) => {}
        Ok(_) => panic!("there is more"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
}

/// Bytes that differ from each other.
fn bytes(len: usize) -> Vec<u8> {
    (0..len as u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).take(len).collect()
}

#[test]
fn bytes_pass_unchanged_both_ways() {
    let (hub, address) = listener();
    let bridge = Served::listening(address);
    let mut board = bridge.board();
    board.connect();
    let mut stream = accept(&hub);
    let (up, down) = (bytes(30_000), bytes(50_001));
    board.send(&up);
    expect(&mut stream, &up);
    stream.write_all(&down).unwrap();
    assert!(board.receive(down.len()) == down, "other bytes than the hub sent");
}

#[test]
fn a_hub_that_is_lost_resets_the_board_after_its_last_words() {
    let (hub, address) = listener();
    let bridge = Served::listening(address);
    let mut board = bridge.board();
    board.connect();
    let mut stream = accept(&hub);
    let words = bytes(20_000);
    stream.write_all(&words).unwrap();
    drop(stream);
    assert!(board.receive(words.len()) == words, "other bytes than the hub sent");
    board.expect_reset(Reason::HubLost);
    // The board may try again.
    board.link.reconnect(board.now());
    board.connect();
    let mut stream = accept(&hub);
    board.send(b"again");
    expect(&mut stream, b"again");
}

#[test]
fn a_board_without_a_hub_is_told_so() {
    let (hub, address) = listener();
    drop(hub);
    let bridge = Served::new("listen:127.0.0.1:0", address, Duration::from_millis(200));
    let mut board = bridge.board();
    board.connect();
    board.expect_reset(Reason::HubUnreachable);
}

#[test]
fn a_hub_may_start_after_its_boards() {
    let (hub, address) = listener();
    drop(hub);
    let bridge = Served::listening(address);
    let mut board = bridge.board();
    board.connect();
    board.send(b"hello");
    let hub = TcpListener::bind(address).unwrap();
    expect(&mut accept(&hub), b"hello");
}

#[test]
fn a_board_that_starts_anew_gets_a_connection_of_its_own() {
    let (hub, address) = listener();
    let bridge = Served::listening(address);
    let mut board = bridge.board();
    for life in [b"first", b"again", b"third"] {
        board.connect();
        let mut stream = accept(&hub);
        board.send(life);
        expect(&mut stream, life);
        board.start_anew();
        board.connect();
        expect_closed(&mut stream);
        let mut stream = accept(&hub);
        board.send(b"anew");
        expect(&mut stream, b"anew");
        board.link.reset(Reason::Closed);
        board.link.reconnect(board.now());
        board.connect();
        expect_closed(&mut stream);
        // The connection of this session is of no interest.
        drop(accept(&hub));
        board.expect_reset(Reason::HubLost);
        board.link.reconnect(board.now());
    }
}

#[test]
fn what_a_board_said_before_it_left_still_reaches_the_hub() {
    let (hub, address) = listener();
    let bridge = Served::listening(address);
    let mut board = bridge.board();
    board.connect();
    let mut stream = accept(&hub);
    let words = bytes(3_000);
    board.send(&words);
    board.link.reset(Reason::Closed);
    board.run_until({
        let mut rounds = 0;
        move |_| {
            rounds += 1;
            rounds > 3
        }
    });
    expect(&mut stream, &words);
    expect_closed(&mut stream);
}

#[test]
fn a_line_that_breaks_is_waited_for_again() {
    let (hub, address) = listener();
    let bridge = Served::listening(address);
    for _ in 0..3 {
        let mut board = bridge.board();
        board.connect();
        let mut stream = accept(&hub);
        board.send(b"hello");
        expect(&mut stream, b"hello");
        drop(board);
        expect_closed(&mut stream);
    }
}

#[test]
fn a_line_that_breaks_is_dialled_again() {
    let (hub, address) = listener();
    let (emulator, line) = listener();
    let _bridge = Served::new(&line.to_string(), address, PATIENCE);
    for _ in 0..3 {
        let mut board = Board::new(accept(&emulator));
        board.connect();
        let mut stream = accept(&hub);
        board.send(b"hello");
        expect(&mut stream, b"hello");
        drop(board);
        expect_closed(&mut stream);
    }
}

#[test]
fn a_hub_is_read_no_faster_than_the_board_reads() {
    let (hub, address) = listener();
    let bridge = Served::listening(address);
    let mut board = bridge.board();
    board.connect();
    let mut stream = accept(&hub);
    // More than all the buffers of a system hold; each write that goes nowhere takes a moment.
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let block = bytes(1 << 16);
    let mut taken = 0;
    let full = loop {
        // A window that nobody reads is kept open by its Pings.
        let mut rounds = 0;
        board.run_until(|_| {
            rounds += 1;
            rounds > 2
        });
        match stream.write(&block) {
            Ok(n) => taken += n,
            Err(error) => break error.kind(),
        }
        assert!(taken < 64 << 20, "the bridge holds {taken} bytes");
    };
    assert!(matches!(full, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{full}");
    // What was taken is not lost.
    let first = board.receive(block.len());
    assert!(first == block, "other bytes than the hub sent");
}

#[test]
fn a_bridge_that_stops_says_so_to_both_sides() {
    let (hub, address) = listener();
    let bridge = Served::listening(address);
    let mut board = bridge.board();
    board.connect();
    let mut stream = accept(&hub);
    bridge.stop.stop();
    board.expect_reset(Reason::Closed);
    expect_closed(&mut stream);
}

#[test]
fn a_line_that_can_not_be_is_an_error() {
    let open = |line: &str| Bridge::open(Line::parse(line, 9600)?, &Config::new().rank(0).size(1)).map(drop);
    let error = open("/dev/there-is-no-such-device").unwrap_err();
    assert!(matches!(error, Error::SerialLine { .. }), "{error}");
    assert!(error.to_string().contains("/dev/there-is-no-such-device"), "{error}");
    let (_taken, address) = listener();
    let error = open(&format!("listen:{address}")).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[cfg(target_os = "linux")]
mod device {
    use std::os::fd::AsRawFd;

    use serial2::SerialPort;

    use super::*;

    impl Wire for SerialPort {
        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.set_read_timeout(Duration::from_millis(5))?;
            SerialPort::read(self, buffer)
        }

        fn send(&mut self, bytes: &[u8]) {
            self.write_all(bytes).unwrap();
        }
    }

    #[test]
    fn a_serial_device_is_a_line() {
        let (near, far) = SerialPort::pair().unwrap();
        let path = std::fs::read_link(format!("/proc/self/fd/{}", far.as_raw_fd())).unwrap();
        let (hub, address) = listener();
        let _bridge = Served::new(path.to_str().unwrap(), address, PATIENCE);
        let mut board = Board::new(near);
        board.connect();
        let mut stream = accept(&hub);
        let words = bytes(5_000);
        board.send(&words);
        expect(&mut stream, &words);
        stream.write_all(&words).unwrap();
        assert!(board.receive(words.len()) == words, "other bytes than the hub sent");
    }
}

#[cfg(all(unix, feature = "command"))]
mod command {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::lines::Lines;

    /// It does not outlive a test that fails.
    struct Process(Child);

    impl Drop for Process {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_command_says_its_port_and_serves_until_it_is_told_to_stop() {
        let (hub, address) = listener();
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgempi"));
        for variable in edgempi::config::SETTINGS.iter().flat_map(|setting| setting.variables) {
            command.env_remove(variable);
        }
        let hub_address = address.to_string();
        command.args(["bridge", "--serial", "listen:127.0.0.1:0", "--hub", &hub_address]).stderr(Stdio::piped());
        let mut child = Process(command.spawn().unwrap());
        let mut said = Lines::of(child.0.stderr.take().unwrap());
        let line = said.with("listen:");
        let (_, rest) = line.split_once("listen:").unwrap();
        let port = rest.split_whitespace().next().unwrap();
        let mut board = Board::new(TcpStream::connect(port).unwrap());
        board.connect();
        let mut stream = accept(&hub);
        board.send(b"hello");
        expect(&mut stream, b"hello");
        let told = Command::new("kill").args(["-s", "TERM", &child.0.id().to_string()]).status().unwrap();
        assert!(told.success());
        board.expect_reset(Reason::Closed);
        expect_closed(&mut stream);
        assert_eq!(child.0.wait().unwrap().code(), Some(143));
    }
}
