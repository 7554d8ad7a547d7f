//! How fast a board is with the library and without: the image `speed` on an emulated board, and this process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use edgempi::Builder;
use edgempi_core::ReduceOp;
use edgempi_tests::emulator::{AN385, Board, connect};
use edgempi_tests::{free_port, hosted};

/// Prints medians, and how they compare.
pub fn print() {
    for (elements, calls) in [(2, 2000), (65_536, 50)] {
        let bytes = elements * size_of::<f32>();
        let (plain, call) = (median(echo(bytes, calls)), median(allreduce(elements, calls)));
        let ratio = call.as_secs_f64() / plain.as_secs_f64();
        println!("{bytes} bytes there and back: plain socket {plain:?}, allreduce {call:?}");
        println!("    time x{ratio:.2}, rate x{:.2}; medians of {calls}", 1.0 / ratio);
    }
}

/// The longest that one write may be ahead of what came back: else both sides wait for room.
const AHEAD: usize = 16 * 1024;

fn echo(bytes: usize, calls: usize) -> Vec<Duration> {
    let (board, mut stream) = connect(&AN385, "speed", &[]);
    let mut data = vec![1; bytes];
    let times = (0..calls).map(|_| timed(|| there_and_back(&mut stream, &mut data))).collect();
    drop(stream);
    let (success, said) = board.end();
    assert!(success, "{said}");
    times
}

fn there_and_back(stream: &mut TcpStream, data: &mut [u8]) {
    let (len, mut sent, mut came) = (data.len(), 0, 0);
    while came < len {
        while sent < len && sent - came < AHEAD {
            let end = len.min(sent + AHEAD / 4);
            stream.write_all(&data[sent..end]).expect("the board's link is open");
            sent = end;
        }
        let n = stream.read(&mut data[came..sent]).expect("the board sends it back");
        assert!(n > 0, "the board has gone");
        came += n;
    }
}

fn allreduce(elements: usize, calls: usize) -> Vec<Duration> {
    let port = free_port();
    let board = thread::spawn(move || {
        let (hub, elements) = (format!("hub=10.0.2.2:{port}"), format!("elements={elements}"));
        let calls = format!("calls={calls}");
        // The hub has to listen first.
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() && Instant::now() < deadline {
            thread::yield_now();
        }
        Board::start(&AN385, "speed", &[&hub, "rank=1", "size=2", &elements, &calls], "null").end()
    });
    let config = hosted(([127, 0, 0, 1], port).into(), 2, 0);
    let world = Builder::new().config(config).init().wait().expect("the board comes");
    let comm = world.comm();
    let mut data = vec![1f32; elements];
    let mut call = || data = comm.allreduce(std::mem::take(&mut data), ReduceOp::Max).wait().expect("it adds up");
    let times = (0..calls).map(|_| timed(&mut call)).collect();
    world.finalize().wait().expect("the board has finished");
    let (success, said) = board.join().expect("a board ends");
    assert!(success, "{said}");
    times
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
