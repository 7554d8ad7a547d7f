//! The serial link over lines that do all that a line may do: the right bytes in order, or an error.

mod line;

use std::time::Duration;

use edgempi_core::serial::{MAX_WINDOW, State};
use line::{Pair, Quality, Random, Stream, UART};

const MINUTE: Duration = Duration::from_secs(60);

/// Sends so many bytes each way over a line that the seed chooses, with ends that the seed chooses.
fn both_ways<const PAYLOAD: usize, const BRIDGE_PAYLOAD: usize>(seed: u64) -> bool {
    let mut random = Random(seed);
    let quality = Quality {
        rate: [1_000, 11_520, 200_000][random.below(3)],
        delay: [0, 500, 30_000][random.below(3)],
        pause: [0, 0, 200_000][random.below(3)],
        bad: [0, 100, 1_000, 5_000][random.below(4)],
    };
    let windows = [0; 4].map(|_| 1 + random.below(MAX_WINDOW + 2));
    let mut pair = Pair::<PAYLOAD, BRIDGE_PAYLOAD>::with_windows(seed, quality, windows);
    pair.connect();
    let total = random.below(20_000) as u64;
    let (mut down, mut up) = (Stream::new(seed, total), Stream::new(!seed, 20_000 - total));
    // Some readers look seldom, some writers write little.
    let pace = [0, 0, 3_000, 50_000][random.below(4)];
    let (write, read) = (1 + random.below(1_000), 1 + random.below(1_000));
    let mut next = 0;
    pair.run_until(60 * MINUTE, |pair| {
        if pair.now >= next {
            next = pair.now + pace;
            pair.alarm = if pace > 0 { next } else { u64::MAX };
            down.write(&mut pair.bridge, write);
            down.read(&mut pair.board, read);
            up.write(&mut pair.board, write);
            up.read(&mut pair.bridge, read);
        }
        let over = [pair.bridge.state(), pair.board.state()].iter().any(|state| *state != State::Up);
        over || (down.is_done() && up.is_done())
    });
    let done = down.is_done() && up.is_done();
    assert!(done || quality.bad >= 1_000, "seed {seed}: {quality:?} {windows:?} {down:?} {up:?}");
    assert!(done || pair.now < 59 * 60_000_000, "seed {seed}: no end");
    done
}

#[test]
fn bytes_arrive_in_order_whatever_the_line_does() {
    let mut done = 0;
    for seed in 0..150 {
        done += u32::from(both_ways::<240, 240>(seed));
        done += u32::from(both_ways::<100, 1000>(seed));
        done += u32::from(both_ways::<300, 17>(seed));
    }
    assert!(done > 400, "only {done} of 450 streams arrived");
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

#[test]
#[ignore = "prints figures: cargo test --release -p edgempi-core --test serial -- --ignored --nocapture goodput"]
fn goodput_over_error_rate_and_frame_size() {
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
