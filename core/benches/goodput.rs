//! How much of a serial line's bytes reach a reader, over error rate, frame size and window: the table in the
//! documentation of `edgempi_core::serial`. In virtual time, so the machine does not matter.
//!
//!     cargo bench --package edgempi-core --bench goodput

#[path = "../tests/line/mod.rs"]
mod line;

use std::time::Duration;

use edgempi_core::serial::State;
use line::{Pair, Quality, Stream, UART};

fn main() {
    for (title, both) in [("one way", false), ("both ways at once", true)] {
        for window in [1, 2, 4, 8] {
            println!("\n{title}, windows of {window}; percent of 11,520 bytes per second");
            println!("bad bytes    payload 48     112     240     496    1008");
            for bad in [0, 100, 1_000, 2_000, 5_000, 10_000] {
                let row = [
                    goodput::<48>(bad, window, both),
                    goodput::<112>(bad, window, both),
                    goodput::<240>(bad, window, both),
                    goodput::<496>(bad, window, both),
                    goodput::<1008>(bad, window, both),
                ];
                let row: String = row.iter().map(|share| format!("{share:8.1}")).collect();
                println!("{:8.4} %    {row}", bad as f64 / 10_000.0);
            }
        }
    }
}

/// The share of the line's bytes that reach a reader, in percent, when everybody writes and reads all they can.
fn goodput<const PAYLOAD: usize>(bad: u64, window: usize, both: bool) -> f64 {
    const SECONDS: u64 = 120;
    let mut pair = Pair::<PAYLOAD>::new(7, Quality { bad, ..UART }, window);
    pair.connect();
    let (mut down, mut up) = (Stream::new(1, u64::MAX), Stream::new(2, if both { u64::MAX } else { 0 }));
    pair.run_until(Duration::from_secs(SECONDS), |pair| {
        down.write(&mut pair.bridge, usize::MAX);
        up.write(&mut pair.board, usize::MAX);
        down.read(&mut pair.board, 1000);
        up.read(&mut pair.bridge, 1000);
        (pair.bridge.state(), pair.board.state()) != (State::Up, State::Up)
    });
    let bytes = if both { (down.read + up.read) / 2 } else { down.read };
    100.0 * bytes as f64 / (SECONDS * UART.rate) as f64
}
