//! The serial link over lines that do all that a line may do: the right bytes in order, or an error; and what that costs.

mod line;

use std::time::Duration;

use edgempi_core::serial::{MAX_WINDOW, Reason, State};
use line::{MINUTE, Pair, Quality, Random, SECOND, Stream, UART, framed, said};

/// Bytes that a frame of 240 bytes of payload takes beside it.
const OVERHEAD: u64 = 14;

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
    let done = pair.run_until(60 * MINUTE, |pair| {
        if pair.now >= next {
            next = pair.now + pace;
            pair.alarm = if pace > 0 { next } else { u64::MAX };
            down.write(&mut pair.bridge, write);
            down.read(&mut pair.board, read);
            up.write(&mut pair.board, write);
            up.read(&mut pair.bridge, read);
        }
        (down.is_done() && up.is_done()) || !pair.is_up()
    });
    let context = format!("seed {seed}: {quality:?} {windows:?} {down:?} {up:?}");
    assert!(done, "no end: {context}");
    let done = down.is_done() && up.is_done();
    assert!(done || quality.bad >= 1_000, "{context}");
    if quality.bad == 0 {
        let resent = pair.bridge.counters().resent + pair.board.counters().resent;
        assert_eq!(resent, 0, "{context}");
    }
    done
}

#[test]
fn bytes_arrive_in_order_whatever_the_line_does() {
    let mut done = 0;
    for seed in 0..80 {
        done += u32::from(both_ways::<240, 240>(seed));
        done += u32::from(both_ways::<100, 1000>(seed));
        done += u32::from(both_ways::<300, 17>(seed));
    }
    assert!(done >= 230, "only {done} of 240 streams arrived");
}

#[test]
fn a_line_on_which_hardly_anything_survives_ends_in_a_reset() {
    for seed in 0..20 {
        let mut pair = Pair::<240>::new(seed, UART, 4);
        pair.connect();
        (pair.down.quality.bad, pair.up.quality.bad) = (60_000, 60_000);
        let mut down = Stream::new(seed, 100_000);
        let over = pair.run_until(10 * MINUTE, |pair| {
            down.write(&mut pair.bridge, 1000);
            down.read(&mut pair.board, 1000);
            !pair.is_up()
        });
        assert!(over && !down.is_done(), "seed {seed}");
        let states = [pair.bridge.state(), pair.board.state()];
        assert!(states.contains(&State::Reset(Reason::Silent)), "seed {seed}: {states:?}");
    }
}

#[test]
fn only_what_is_lost_leaves_again() {
    let mut pair = Pair::<100>::new(1, UART, 8);
    pair.connect();
    pair.wait(SECOND);
    let now = pair.instant();
    assert_eq!(pair.bridge.write(&[5; 800]), 800);
    let mut data = said(&mut pair.bridge, now);
    // The third and the sixth of eight frames.
    for n in [3, 6] {
        let at = data.iter().enumerate().filter(|(_, byte)| **byte == 0).nth(n).unwrap().0;
        data[at - 10] ^= 1;
    }
    pair.board.receive(now, &data);
    pair.wait(SECOND);
    assert_eq!(pair.board.read(&mut [0; 1000]), 800);
    assert_eq!((pair.bridge.counters().resent, pair.board.counters().damaged), (2, 2));
}

/// How long it takes until a frame arrives whose first try is lost.
#[track_caller]
fn time_of_a_lost_frame(pair: &mut Pair<240>) -> u64 {
    assert_eq!(pair.bridge.write(&[2; 240]), 240);
    let now = pair.instant();
    assert!(pair.bridge.poll_timeout().is_none_or(|at| at > now), "a Ping, though data are about to leave");
    assert!(said(&mut pair.bridge, now).len() > 240);
    assert!(pair.run_until(10 * SECOND, |pair| pair.board.is_readable()));
    let taken = pair.now - now.as_micros();
    assert_eq!(pair.board.read(&mut [0; 500]), 240);
    pair.wait(SECOND);
    taken
}

#[test]
fn a_lost_last_frame_is_missed_within_a_few_round_trips() {
    let mut pair = Pair::<240>::new(1, UART, 2);
    pair.connect();
    for _ in 0..5 {
        // The round trip is known: 22 ms for a frame, 2 ms for its report.
        assert_eq!(pair.bridge.write(&[1; 240]), 240);
        pair.wait(SECOND);
        assert_eq!(pair.board.read(&mut [0; 500]), 240);
    }
    let bound = 150_000;
    let taken = time_of_a_lost_frame(&mut pair);
    assert!(taken < bound, "{taken} µs");
    pair.wait(10 * MINUTE);
    let taken = time_of_a_lost_frame(&mut pair);
    assert!(taken < bound, "{taken} µs after a rest");
    while pair.bridge.write(&[1; 240]) > 0 {
        pair.wait(SECOND);
    }
    pair.wait(10 * MINUTE);
    while !pair.bridge.is_flushed() || pair.board.is_readable() {
        pair.board.read(&mut [0; 500]);
        pair.wait(SECOND);
    }
    let taken = time_of_a_lost_frame(&mut pair);
    assert!(taken < bound, "{taken} µs after the reader had rested");
}

#[test]
fn a_reader_who_does_not_read_stops_the_writer() {
    for seed in 0..20 {
        let mut pair = Pair::<100>::with_windows(seed, Quality { bad: 2_000, ..UART }, [4, 4, 4, 3]);
        pair.connect();
        let mut down = Stream::new(seed, 2_000);
        pair.run_until(MINUTE, |pair| {
            down.write(&mut pair.bridge, 1000);
            false
        });
        assert!(pair.is_up(), "seed {seed}");
        // Both windows are full. A few small frames each second tell that nobody is dead.
        assert_eq!((down.written, pair.bridge.free()), (700, 0), "seed {seed}");
        let carried = pair.down.carried;
        pair.wait(MINUTE);
        assert!(pair.down.carried - carried < 60 * 20, "seed {seed}: {} bytes", pair.down.carried - carried);
        // The report of a wider window may get lost.
        let done = pair.run_until(MINUTE, |pair| {
            down.write(&mut pair.bridge, 1000);
            down.read(&mut pair.board, 1000);
            down.is_done()
        });
        assert!(done, "seed {seed}: {down:?}");
    }
}

#[test]
fn a_writer_hears_at_once_that_there_is_room() {
    for window in [1, 2, 4] {
        let mut pair = Pair::<100>::new(1, UART, window);
        pair.connect();
        while pair.bridge.write(&[1; 100]) > 0 {
            pair.wait(SECOND);
        }
        pair.wait(MINUTE);
        assert_eq!(pair.board.read(&mut [0; 1000]), 100 * window);
        // A report of 14 bytes takes 1.2 ms, and a frame 10.
        pair.wait(Duration::from_millis(20));
        assert!(pair.board.is_readable(), "window of {window}");
    }
}

#[test]
fn a_frame_that_has_arrived_meanwhile_is_not_sent_to_its_end() {
    let mut pair = Pair::<100>::new(8, UART, 2);
    pair.connect();
    pair.wait(SECOND);
    let now = pair.instant();
    let report = |ack: u8, held: u8| framed(Some(8), &[0xa0 | 2, 0, 2, ack, held, 0]);
    assert_eq!(pair.bridge.write(&[1; 200]), 200);
    let _ = said(&mut pair.bridge, now);
    // The second has come, it is said, and the first not; a moment later both have.
    pair.bridge.receive(now, &report(0, 2));
    let mut begin = [0; 30];
    assert_eq!(pair.bridge.transmit(now, &mut begin), 30);
    pair.bridge.receive(now, &report(2, 0));
    assert_eq!(pair.bridge.write(&[2; 200]), 200);
    let rest = said(&mut pair.bridge, now);
    assert_eq!(rest[0], 0, "the frame goes on with bytes of another");
    let frames = rest.split(|byte| *byte == 0).filter(|frame| !frame.is_empty());
    let payloads: Vec<_> = frames.map(|frame| cobs::decode_vec(frame).unwrap()[7..107].to_vec()).collect();
    assert_eq!(payloads, [[2; 100], [2; 100]]);
}

#[test]
fn an_idle_session_costs_a_few_bytes_each_second() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.connect();
    pair.wait(SECOND);
    let before = pair.down.carried + pair.up.carried;
    pair.wait(10 * MINUTE);
    let each_second = (pair.down.carried + pair.up.carried - before) / 600;
    assert!(pair.is_up() && (1..40).contains(&each_second), "{each_second} bytes each second");
}

#[test]
fn a_large_transfer_costs_its_frames_and_reports() {
    let mut pair = Pair::<240>::new(1, UART, 8);
    pair.connect();
    let mut down = Stream::new(1, 240_000);
    let done = pair.run_until(MINUTE, |pair| {
        down.write(&mut pair.bridge, usize::MAX);
        down.read(&mut pair.board, 1000);
        down.is_done()
    });
    assert!(done && pair.down.carried < 1000 * (240 + OVERHEAD) + 500, "{} bytes down", pair.down.carried);
    assert!(pair.up.carried < 1000 * OVERHEAD + 500, "{} bytes up", pair.up.carried);
}
