//! Images for boards, run under QEMU: what each board's support promises to applications, and boards in worlds.

mod host;
mod worlds;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use edgempi_tests::emulator::{self, AN385, Board, MACHINES, MICROBIT, PATIENCE, connect};

/// Bytes that tell where they were lost, doubled or swapped.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

/// A request to the image `smoke`.
fn ask(stream: &mut impl Write, letter: u8, number: u32) {
    let mut request = vec![letter];
    request.extend(number.to_le_bytes());
    stream.write_all(&request).expect("the board's link is open");
}

fn answer(stream: &mut impl Read) -> u32 {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).expect("the board answers");
    u32::from_le_bytes(bytes)
}

fn read(stream: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("the board sends");
    bytes
}

fn end_well(board: Board, mut stream: TcpStream) {
    ask(&mut stream, b'Q', 0);
    let (success, said) = board.end();
    assert!(success, "{said}");
}

#[test]
fn an_image_sends_back_what_comes() {
    if !emulator::available() {
        return;
    }
    for machine in MACHINES {
        let sizes = [1, 2, 16, 255, 256, 257, 1024, 5000];
        let total = format!("bytes={}", sizes.iter().sum::<usize>());
        let (board, mut stream) = connect(machine, "echo", &[&total]);
        for size in sizes {
            let bytes = pattern(size);
            stream.write_all(&bytes).expect("the board's link is open");
            assert!(read(&mut stream, size) == bytes, "{size} bytes came back otherwise from {board}");
        }
        let (success, said) = board.end();
        assert!(success && said.contains("bytes at most"), "{said}");
    }
}

#[test]
fn the_end_of_the_stream_ends_an_image() {
    if !emulator::available() {
        return;
    }
    let (board, stream) = connect(&AN385, "echo", &[]);
    drop(stream);
    let (success, said) = board.end();
    assert!(success, "{said}");
}

#[test]
fn nothing_is_lost_in_bulk() {
    if !emulator::available() {
        return;
    }
    let bytes = pattern(100_000);
    let sum = bytes.iter().fold(0u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    for machine in MACHINES {
        let (board, mut stream) = connect(machine, "smoke", &[]);
        ask(&mut stream, b'S', bytes.len() as u32);
        assert!(read(&mut stream, bytes.len()) == bytes, "something else came from {board}");
        ask(&mut stream, b'R', bytes.len() as u32);
        stream.write_all(&bytes).expect("the board's link is open");
        assert_eq!(answer(&mut stream), sum, "something else came to {board}");
        end_well(board, stream);
    }
}

#[test]
fn a_boards_clock_runs_as_the_hosts() {
    if !emulator::available() {
        return;
    }
    for machine in MACHINES {
        let (board, mut stream) = connect(machine, "smoke", &[]);
        for milliseconds in [0, 1, 20, 700] {
            let start = Instant::now();
            ask(&mut stream, b'W', milliseconds);
            let waited = Duration::from_micros(answer(&mut stream).into());
            let passed = start.elapsed();
            assert!(waited >= Duration::from_millis(milliseconds.into()), "{board} waited only {waited:?}");
            // The board's wait lies within the host's. QEMU's clock is the host's; a millisecond for rounding.
            assert!(waited <= passed + Duration::from_millis(1), "{waited:?} within {passed:?} on {board}");
        }
        end_well(board, stream);
    }
}

#[test]
fn a_panic_is_told_on_the_console_and_ends_the_image() {
    if !emulator::available() {
        return;
    }
    for machine in MACHINES {
        let (board, mut stream) = connect(machine, "smoke", &[]);
        ask(&mut stream, b'P', 4711);
        let (success, said) = board.end();
        assert!(!success && said.contains("asked to panic: 4711"), "{said}");
    }
}

#[test]
fn an_image_says_which_argument_it_lacks_or_cannot_read() {
    if !emulator::available() {
        return;
    }
    let cases: [(&[&str], &str); 3] = [
        (&[], "the argument hub=… is missing"),
        (&["hub=somewhere"], "the argument hub=… can't be read"),
        (&["hub=10.0.2.2:9", "bytes=-1"], "the argument bytes=… can't be read"),
    ];
    for (arguments, complaint) in cases {
        let (success, said) = Board::start(&AN385, "echo", arguments, "null").end();
        assert!(!success && said.contains(complaint), "{arguments:?}: {said}");
    }
}

#[test]
fn an_image_says_that_nobody_listens() {
    if !emulator::available() {
        return;
    }
    // The system gives the port to nobody else for now.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let hub = format!("hub=10.0.2.2:{}", listener.local_addr().expect("its address").port());
    drop(listener);
    let (success, said) = Board::start(&AN385, "echo", &[&hub], "null").end();
    assert!(!success && said.contains("can't reach the host: ConnectionRefused"), "{said}");
}

/// A UART that the host keeps waiting, and that nobody tells when the wait is over.
#[cfg(target_os = "linux")]
#[test]
fn a_host_that_reads_late_loses_nothing() {
    use std::os::unix::net::UnixListener;

    if !emulator::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("serial");
    // A Unix socket holds less than a TCP socket does.
    let listener = UnixListener::bind(&path).expect("a socket");
    let serial = format!("unix:{}", path.display());
    let mut board = Board::start(&MICROBIT, "smoke", &[], &serial);
    board.wait_for("smoke");
    let (mut stream, _) = listener.accept().expect("the board connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("it's a timeout");
    let bytes = pattern(400_000);
    ask(&mut stream, b'S', bytes.len() as u32);
    wait_until_idle(&board);
    assert!(read(&mut stream, bytes.len()) == bytes, "something else came from {board}");
    ask(&mut stream, b'Q', 0);
    let (success, said) = board.end();
    assert!(success, "{said}");
}

/// Waits until the emulator works no more: the board has to wait for somebody.
#[cfg(target_os = "linux")]
fn wait_until_idle(board: &Board) {
    let deadline = Instant::now() + PATIENCE;
    let mut before = processor_time(board);
    loop {
        // It's the rate of work that counts, and a rate takes time.
        std::thread::sleep(Duration::from_millis(300));
        let now = processor_time(board);
        if now - before < Duration::from_millis(30) {
            return;
        }
        assert!(Instant::now() < deadline, "{board} never rests");
        before = now;
    }
}

/// What the emulator has used of the processor.
#[cfg(target_os = "linux")]
fn processor_time(board: &Board) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", board.process())).expect("the emulator runs");
    // After the name in parentheses; in ticks of 10 ms.
    let (_, numbers) = stat.rsplit_once(')').expect("the name is in parentheses");
    let ticks = numbers.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// An executor that spins takes a core for each board.
#[cfg(target_os = "linux")]
#[test]
fn a_board_that_waits_costs_the_host_nothing() {
    if !emulator::available() {
        return;
    }
    for machine in MACHINES {
        let (board, mut stream) = connect(machine, "smoke", &[]);
        let before = processor_time(&board);
        ask(&mut stream, b'W', 1000);
        answer(&mut stream);
        let used = processor_time(&board) - before;
        assert!(used < Duration::from_millis(300), "waiting for a second took {used:?} on {board}");
        end_well(board, stream);
    }
}
