//! How fast a board is with the library and without: the image `speed` on an emulated board, and this process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use edgempi::{Builder, World};
use edgempi_core::ReduceOp;
use edgempi_tests::emulator::{AN385, Board, connect};
use edgempi_tests::{free_port, hosted};

/// Prints medians, and how they compare. Plain exchanges and calls take turns, so that both meet the same load.
pub fn print() {
    for (elements, turns, each) in [(2, 20, 100), (65_536, 10, 6)] {
        let (mut plain, mut calls) = (Vec::new(), Vec::new());
        let mut echo = Echo::start();
        let mut world = Pair::start(elements, turns * (each + 1));
        let mut bytes = vec![1; elements * size_of::<f32>()];
        for _ in 0..turns {
            plain.extend(times(each, || there_and_back(&mut echo.stream, &mut bytes)));
            calls.extend(times(each, || world.allreduce()));
        }
        echo.end();
        world.end();
        let (plain, call) = (median(plain), median(calls));
        let ratio = call.as_secs_f64() / plain.as_secs_f64();
        println!("{} bytes there and back: plain socket {plain:?}, allreduce {call:?}", bytes.len());
        println!("    time x{ratio:.2}, rate x{:.2}; medians of {}", 1.0 / ratio, turns * each);
    }
}

/// How long it takes each time. The first time does not count: the board has begun its call long before.
fn times(count: usize, mut work: impl FnMut()) -> Vec<Duration> {
    work();
    (0..count).map(|_| timed(&mut work)).collect()
}

/// The longest that one write may be ahead of what came back: else both sides wait for room.
const AHEAD: usize = 16 * 1024;

/// A board that sends back what comes.
struct Echo {
    board: Board,
    stream: TcpStream,
}

impl Echo {
    fn start() -> Self {
        let (board, stream) = connect(&AN385, "speed", &[]);
        Self { board, stream }
    }

    fn end(self) {
        drop(self.stream);
        let (success, said) = self.board.end();
        assert!(success, "{said}");
    }
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

/// A world of this process, which hosts the hub, and a board.
struct Pair {
    board: JoinHandle<(bool, String)>,
    world: World,
    data: Vec<f32>,
}

impl Pair {
    fn start(elements: usize, calls: usize) -> Self {
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
        Self { board, world, data: vec![1.0; elements] }
    }

    fn allreduce(&mut self) {
        let data = std::mem::take(&mut self.data);
        self.data = self.world.comm().allreduce(data, ReduceOp::Max).wait().expect("it adds up");
    }

    fn end(self) {
        self.world.finalize().wait().expect("the board has finished");
        let (success, said) = self.board.join().expect("a board ends");
        assert!(success, "{said}");
    }
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
