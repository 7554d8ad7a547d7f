//! The serial link over lines that do all that a line may do: the right bytes in order, or an error.

mod line;

use std::time::Duration;

use crc::{CRC_32_ISO_HDLC, Crc};
use edgempi_core::Instant;
use edgempi_core::serial::{DEFAULT_PAYLOAD, Frame, MAX_WINDOW, Reason, SerialLink, State};
use line::{Pair, Quality, Random, SILENCE, Stream, UART, frames};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

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

// What a frame is.

/// Whatever an end has to say now.
fn said<const PAYLOAD: usize>(link: &mut SerialLink<'_, PAYLOAD>, now: Instant) -> Vec<u8> {
    let mut bytes = vec![0; 10_000];
    let n = link.transmit(now, &mut bytes);
    bytes.truncate(n);
    bytes
}

/// A frame for the line, of a session or of none.
fn framed(epoch: Option<u32>, content: &[u8]) -> Vec<u8> {
    let checked = [epoch.map(u32::to_le_bytes).as_ref().map_or(&[][..], |epoch| epoch), content].concat();
    let check = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(&checked);
    let mut line = vec![0];
    line.extend(cobs::encode_vec(&[content, &check.to_le_bytes()].concat()));
    line.push(0);
    line
}

fn board<const PAYLOAD: usize>(window: usize) -> SerialLink<'static, PAYLOAD> {
    SerialLink::board(Instant::ZERO, SILENCE, frames(window), frames(window))
}

fn bridge<const PAYLOAD: usize>(window: usize, epoch: u32) -> SerialLink<'static, PAYLOAD> {
    SerialLink::bridge(Instant::ZERO, SILENCE, epoch, frames(window), frames(window))
}

#[test]
fn every_frame_has_its_bytes() {
    let now = Instant::ZERO;
    let (mut bridge, mut board) = (bridge::<240>(4, 0x0403_0201), board::<100>(2));
    let nobody = said(&mut board, now);
    assert_eq!(nobody, framed(None, &[0x60, 1, 0, 0, 0, 0, 1]));
    let connect = said(&mut bridge, now);
    assert_eq!(connect, framed(None, &[0x20, 1, 1, 2, 3, 4, 1, 240, 0, 4, 0x10, 0x27, 0, 0]));
    board.receive(now, &connect);
    let accept = said(&mut board, now);
    assert_eq!(accept, framed(None, &[0x40, 1, 1, 2, 3, 4, 1, 100, 0, 2, 0x10, 0x27, 0, 0]));
    bridge.receive(now, &accept);
    let session = Some(0x0403_0201);
    let ping = said(&mut bridge, now);
    assert_eq!(ping, framed(session, &[0xc0 | 4, 0, 0, 0, 0, 0]));
    board.receive(now, &ping);
    let ack = said(&mut board, now);
    assert_eq!(ack, framed(session, &[0xa0 | 2, 0, 0, 0, 0, 0]));
    bridge.receive(now, &ack);
    assert_eq!(board.write(b"hello"), 5);
    let data = said(&mut board, now);
    assert_eq!(data, framed(session, &[&[0x80 | 2, 1, 0, 0, 0, 0, 0], &b"hello"[..]].concat()));
    bridge.receive(now, &data);
    assert_eq!(said(&mut bridge, now), framed(session, &[0xa0 | 3, 0, 1, 1, 0, 0]));
    bridge.reset(Reason::HubLost);
    assert_eq!(said(&mut bridge, now), framed(None, &[0x60, 1, 1, 2, 3, 4, 10]));
}

#[test]
fn a_full_frame_of_the_default_size_takes_256_bytes_of_the_line() {
    let mut pair = Pair::<DEFAULT_PAYLOAD>::new(1, UART, 1);
    pair.connect();
    pair.wait(SECOND);
    for byte in [0, 1, 255] {
        assert_eq!(pair.board.write(&[byte; 500]), DEFAULT_PAYLOAD);
        let now = pair.instant();
        let data = said(&mut pair.board, now);
        assert!((254..=256).contains(&data.len()), "{} bytes", data.len());
        assert_eq!(data.iter().filter(|byte| **byte == 0).count(), 2, "delimiters only");
        pair.bridge.receive(pair.instant(), &data);
        assert_eq!(pair.bridge.read(&mut [0; 500]), DEFAULT_PAYLOAD);
        let now = pair.instant();
        let ack = said(&mut pair.bridge, now);
        pair.board.receive(pair.instant(), &ack);
    }
}

#[test]
fn memory_is_what_the_docs_say() {
    let text = format!("{:?}", Frame::<2>::EMPTY);
    assert!(text.chars().filter(char::is_ascii_digit).all(|digit| digit == '0'), "not all zeros: {text}");
    assert_eq!(size_of::<Frame<240>>(), 244);
    assert!(size_of::<SerialLink<'_>>() <= 400, "{} bytes", size_of::<SerialLink<'_>>());
}

// What may come from a line, or from somebody who means no good.

#[test]
fn nothing_is_read_before_its_check_was_right() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.connect();
    pair.wait(SECOND);
    let now = pair.instant();
    assert_eq!(pair.bridge.write(&[7; 240]), 240);
    let data = said(&mut pair.bridge, now);
    for at in 1..data.len() {
        for bit in 0..8 {
            let mut flipped = data.clone();
            flipped[at] ^= 1 << bit;
            pair.board.receive(now, &flipped);
            pair.board.receive(now, &[0]);
            assert!(!pair.board.is_readable(), "bit {bit} of byte {at}");
        }
    }
    pair.board.receive(now, &data);
    assert_eq!(pair.board.read(&mut [0; 500]), 240);
}

#[test]
fn a_frame_that_comes_twice_is_read_once() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.connect();
    let now = pair.instant();
    assert_eq!(pair.bridge.write(b"once"), 4);
    let data = said(&mut pair.bridge, now);
    for _ in 0..3 {
        pair.board.receive(now, &data);
    }
    assert_eq!(pair.board.read(&mut [0; 500]), 4);
    pair.board.receive(now, &data);
    assert_eq!(pair.board.read(&mut [0; 500]), 0);
}

#[test]
fn an_intact_frame_of_another_epoch_is_never_read() {
    let mut pair = Pair::<240>::new(7, UART, 4);
    pair.connect();
    (pair.down.recorded, pair.up.recorded) = (Some(Vec::new()), Some(Vec::new()));
    for _ in 0..5 {
        pair.bridge.write(&[1; 700]);
        pair.board.write(&[2; 700]);
        pair.wait(SECOND);
        assert!(pair.bridge.read(&mut [0; 1000]) > 0 && pair.board.read(&mut [0; 1000]) > 0);
    }
    let (down, up) = (pair.down.recorded.take().unwrap(), pair.up.recorded.take().unwrap());
    for _ in 0..300 {
        pair.bridge.reset(Reason::Closed);
        pair.wait(SECOND);
        assert_eq!(pair.board.state(), State::Reset(Reason::Closed));
        pair.reconnect();
        pair.connect();
        pair.board.receive(pair.instant(), &down);
        pair.bridge.receive(pair.instant(), &up);
        assert!(!pair.bridge.is_readable() && !pair.board.is_readable());
        assert!(pair.is_up());
    }
}

#[test]
fn the_two_wires_of_a_line_that_touch_make_no_session() {
    let (mut bridge, mut board) = (bridge::<240>(4, 9), board::<240>(4));
    for second in 0..100 {
        let now = Instant::from_micros(second * 1_000_000);
        for link in [&mut bridge, &mut board] {
            link.handle_timeout(now);
            let echo = said(link, now);
            link.receive(now, &echo);
            assert_eq!(link.state(), State::Connecting);
        }
    }
}

/// What an end answers to anything, in a session and out of one.
fn endure(mut link: SerialLink<'static, 50>, noise: &[Vec<u8>]) {
    let mut now = Instant::ZERO;
    for bytes in noise {
        link.receive(now, bytes);
        let answer = said(&mut link, now);
        assert!(answer.len() < 3000, "{} bytes in answer to {}", answer.len(), bytes.len());
        let read = link.read(&mut [0; 64]);
        let free = link.free();
        let written = link.write(&[3; 30]);
        assert!(written >= free.min(30) && read <= 64);
        now = link.poll_timeout().map_or(now, |at| at.max(now));
        link.handle_timeout(now);
        if matches!(link.state(), State::Reset(_)) && bytes.len() % 2 == 0 {
            link.reconnect(now);
        }
    }
}

/// Frames whose check is right, whatever they say.
fn lie() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(0x20u8), Just(0x40), Just(0x60), Just(0x80), Just(0xa0), Just(0xc0), any::<u8>()];
    let epoch = prop_oneof![3 => Just(Some(9)), 3 => Just(None), 1 => any::<Option<u32>>()];
    (epoch, kind, prop::collection::vec(prop_oneof![0..10u8, any::<u8>()], 0..80)).prop_map(|(epoch, kind, rest)| {
        let mut content = vec![kind | rest.first().map_or(0, |window| window & 0x1f)];
        content.extend(rest);
        if kind == 0x20 && content.len() > 6 {
            content[1..6].copy_from_slice(&[1, 9, 0, 0, 0]);
        }
        framed(epoch, &content)
    })
}

proptest! {
    #[test]
    fn garbage_never_panics(noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..30)) {
        endure(board(3), &noise);
        endure(bridge(3, 9), &noise);
    }

    #[test]
    fn frames_that_lie_never_panic(lies in prop::collection::vec(lie(), 0..60)) {
        endure(board(3), &lies);
        endure(bridge(3, 9), &lies);
    }
}

// How much travels.

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

// How a session begins and ends.

#[test]
fn a_session_comes_up_over_a_bad_line() {
    for seed in 0..200 {
        let mut pair = Pair::<240>::new(seed, Quality { bad: 20_000, ..UART }, 4);
        pair.connect();
        assert!(pair.now < 20_000_000, "seed {seed}: {} µs", pair.now);
    }
}

#[test]
fn a_board_that_starts_anew_is_noticed_at_once() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.connect();
    pair.wait(3 * SECOND);
    pair.board = SerialLink::board(pair.instant(), SILENCE, frames(4), frames(4));
    let begin = pair.now;
    assert!(pair.run_until(SECOND, |pair| pair.bridge.state() == State::Reset(Reason::Restarted)));
    assert!(pair.now - begin < 10_000, "{} µs", pair.now - begin);
}

#[test]
fn a_bridge_that_starts_anew_is_noticed_at_once() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.connect();
    pair.wait(3 * SECOND);
    pair.bridge = SerialLink::bridge(pair.instant(), SILENCE, 77, frames(4), frames(4));
    let begin = pair.now;
    assert!(pair.run_until(SECOND, |pair| pair.board.state() == State::Reset(Reason::Restarted)));
    assert!(pair.now - begin < 10_000, "{} µs", pair.now - begin);
}

#[test]
fn a_board_that_starts_anew_in_the_middle_of_a_greeting_says_nothing_twice() {
    let (mut bridge, mut board) = (bridge::<240>(4, 9), board::<240>(4));
    let now = Instant::ZERO;
    let connect = said(&mut bridge, now);
    // The call comes twice, and the board dies between the two, without having been heard saying so.
    board.receive(now, &connect);
    let accept = said(&mut board, now);
    assert_eq!((board.state(), board.free(), board.write(b"first life")), (State::Connecting, 0, 0));
    let mut board = SerialLink::<240>::board(now, SILENCE, frames(4), frames(4));
    let _ = said(&mut board, now);
    board.receive(now, &connect);
    let again = said(&mut board, now);
    bridge.receive(now, &accept);
    bridge.receive(now, &again);
    let sign = said(&mut bridge, now);
    board.receive(now, &sign);
    assert_eq!(board.write(b"second life"), 11);
    let data = said(&mut board, now);
    bridge.receive(now, &data);
    let mut read = [0; 40];
    let n = bridge.read(&mut read);
    assert_eq!(&read[..n], b"second life");
}

#[test]
fn a_call_for_an_epoch_that_is_over_begins_no_session() {
    let (mut bridge, mut board) = (bridge::<240>(4, 9), board::<240>(4));
    let now = Instant::ZERO;
    let connect = said(&mut bridge, now);
    board.receive(now, &connect);
    let accept = said(&mut board, now);
    bridge.receive(now, &accept);
    let sign = said(&mut bridge, now);
    board.receive(now, &sign);
    assert_eq!(board.state(), State::Up);
    board.reset(Reason::Closed);
    board.reconnect(now);
    let _ = said(&mut board, now);
    board.receive(now, &connect);
    assert_eq!(said(&mut board, now), framed(None, &[0x60, 1, 9, 0, 0, 0, 5]));
    board.receive(now, &sign);
    assert_eq!(board.state(), State::Connecting);
}

#[test]
fn what_came_before_a_reset_can_still_be_read() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.connect();
    pair.bridge.write(b"goodbye");
    assert!(pair.run_until(SECOND, |pair| pair.bridge.is_flushed()));
    pair.bridge.reset(Reason::HubLost);
    assert!(pair.run_until(SECOND, |pair| pair.board.state() == State::Reset(Reason::HubLost)));
    let mut read = [0; 20];
    assert_eq!(pair.board.read(&mut read), 7);
    assert_eq!(&read[..7], b"goodbye");
    assert_eq!((pair.board.free(), pair.board.write(b"more")), (0, 0));
}

#[test]
fn the_reason_of_a_reset_arrives_even_if_its_frame_is_lost() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.connect();
    pair.wait(SECOND);
    pair.bridge.reset(Reason::HubUnreachable);
    let now = pair.instant();
    assert!(!said(&mut pair.bridge, now).is_empty());
    pair.bridge.reconnect(pair.instant());
    assert!(pair.run_until(SECOND, |pair| pair.board.state() == State::Reset(Reason::HubUnreachable)));
    // And from the board, which goes on as if nothing had been.
    pair.reconnect();
    pair.connect();
    pair.board.reset(Reason::Closed);
    let now = pair.instant();
    assert!(!said(&mut pair.board, now).is_empty());
    pair.bridge.write(b"are you there?");
    assert!(pair.run_until(SECOND, |pair| pair.bridge.state() == State::Reset(Reason::Closed)));
}

#[test]
fn an_end_that_falls_silent_is_given_up_after_twice_what_it_asked_for() {
    for asked in [2, 20] {
        for writes in [false, true] {
            let asked = Duration::from_secs(asked);
            let mut pair = Pair::<240>::new(1, UART, 4);
            pair.board = SerialLink::board(Instant::ZERO, asked, frames(4), frames(4));
            pair.connect();
            pair.wait(SECOND);
            if writes {
                pair.bridge.write(b"still there?");
            }
            let begin = pair.now;
            let over = pair.run_until(10 * MINUTE, |pair| {
                pair.up.cut();
                pair.bridge.state() != State::Up
            });
            let waited = Duration::from_micros(pair.now - begin);
            assert!(over && pair.bridge.state() == State::Reset(Reason::Silent));
            assert!(waited <= asked * 2 && waited + asked / 4 + SECOND >= asked * 2, "{waited:?} for {asked:?}");
        }
    }
}

#[test]
fn a_board_may_be_silent_as_long_as_it_said() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.board = SerialLink::board(Instant::ZERO, MINUTE, frames(4), frames(4));
    pair.connect();
    pair.bridge.write(b"wake up");
    // It trains for a minute: what comes in the meantime runs over, and nobody looks at the clock.
    let silent = pair.instant() + MINUTE;
    while pair.bridge.poll_timeout().is_some_and(|at| at <= silent) {
        let at = pair.bridge.poll_timeout().unwrap();
        pair.bridge.handle_timeout(at);
        let _ = said(&mut pair.bridge, at);
    }
    pair.now = silent.as_micros();
    assert!(pair.run_until(10 * SECOND, |pair| pair.board.is_readable()));
    assert!(pair.is_up());
}

#[test]
fn a_board_that_promises_nothing_is_waited_for_forever() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.board = SerialLink::board(Instant::ZERO, Duration::ZERO, frames(4), frames(4));
    pair.connect();
    pair.wait(SECOND);
    let mut now = pair.instant();
    for _ in 0..1000 {
        let Some(at) = pair.bridge.poll_timeout() else { break };
        now = at;
        pair.bridge.handle_timeout(now);
        let _ = said(&mut pair.bridge, now);
    }
    assert_eq!(pair.bridge.state(), State::Up, "at {now}");
}

#[test]
fn another_version_of_the_link_is_told_so() {
    let mut board = board::<240>(4);
    let now = Instant::ZERO;
    let _ = said(&mut board, now);
    // A later version may say more.
    board.receive(now, &framed(None, &[0x20, 2, 8, 0, 0, 0, 1, 240, 0, 4, 0x10, 0x27, 0, 0, 99, 99]));
    assert_eq!(said(&mut board, now), framed(None, &[0x60, 1, 8, 0, 0, 0, 4]));
    let mut bridge = bridge::<240>(4, 8);
    bridge.receive(now, &framed(None, &[0x60, 2, 8, 0, 0, 0, 4, 99]));
    assert_eq!(bridge.state(), State::Reset(Reason::Version));
}

/// Sessions of one end, each with a stream that begins with the number of the session.
struct Sessions {
    side: u64,
    number: u64,
    out: Stream,
    /// The stream being read, once its number is known.
    heard: Option<Stream>,
    begin: Vec<u8>,
    latest: u64,
}

impl Sessions {
    fn new(side: u64) -> Self {
        Self { side, number: 0, out: Stream::new(side, 0), heard: None, begin: Vec::new(), latest: 0 }
    }

    /// The session before is over, for whatever reason.
    fn begin(&mut self) {
        self.number += 1;
        self.out = Stream::numbered(self.side, self.number);
        (self.heard, self.begin) = (None, Vec::new());
    }

    /// Enough of the other end's session has been read.
    fn is_content(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.read > 2_000)
    }

    #[track_caller]
    fn read<const PAYLOAD: usize>(&mut self, link: &mut SerialLink<'_, PAYLOAD>) {
        let mut byte = [0];
        while self.heard.is_none() && link.read(&mut byte) == 1 {
            self.begin.extend(byte);
            if let Ok(number) = self.begin.as_slice().try_into() {
                let number = u64::from_le_bytes(number);
                assert!(number > self.latest && number < 1_000_000, "session {number} after {}", self.latest);
                self.latest = number;
                self.heard = Some(Stream::heard(!self.side, number));
            }
        }
        if let Some(heard) = &mut self.heard {
            heard.read(link, 500);
        }
    }
}

/// What may happen to a session at any moment.
fn disturb(pair: &mut Pair<100>, [bridge, board]: [&mut Sessions; 2], random: &mut Random) {
    let now = pair.instant();
    match random.below(6) {
        0 => {
            // The board loses power, with what is in its UART; or its line is pulled, too.
            pair.board = SerialLink::board(now, SILENCE, frames(1 + random.below(4)), frames(1 + random.below(4)));
            board.begin();
        }
        1 => {
            let epoch = random.next() as u32;
            pair.bridge = SerialLink::bridge(now, SILENCE, epoch, frames(1 + random.below(4)), frames(4));
            bridge.begin();
        }
        2 => {
            pair.board.reset(Reason::Closed);
            if random.one_in(2) {
                pair.board.reconnect(now);
                board.begin();
            }
        }
        3 => {
            pair.bridge.reset(Reason::HubLost);
            if random.one_in(2) {
                pair.bridge.reconnect(now);
                bridge.begin();
            }
        }
        4 => pair.down.cut(),
        _ => pair.up.cut(),
    }
}

#[test]
fn sessions_never_mix_whatever_ends_them() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let quality = Quality { bad: [0, 1_000, 5_000][random.below(3)], pause: 20_000, rate: 50_000, delay: 2_000 };
        let mut pair = Pair::<100>::new(seed, quality, 4);
        let (mut bridge, mut board) = (Sessions::new(0), Sessions::new(u64::MAX));
        bridge.begin();
        board.begin();
        let (mut next, mut heard) = (0, [0, 0]);
        for disturbances in 0.. {
            let settled = pair.run_until(MINUTE, |pair| {
                bridge.read(&mut pair.bridge);
                board.read(&mut pair.board);
                bridge.out.write(&mut pair.bridge, 300);
                board.out.write(&mut pair.board, 300);
                // The layers above answer a reset when they get to it.
                if matches!(pair.bridge.state(), State::Reset(_)) && (disturbances == 50 || random.one_in(20)) {
                    pair.bridge.reconnect(pair.instant());
                    bridge.begin();
                }
                if matches!(pair.board.state(), State::Reset(_)) && (disturbances == 50 || random.one_in(20)) {
                    pair.board.reconnect(pair.instant());
                    board.begin();
                }
                if disturbances < 50 { pair.now >= next } else { bridge.is_content() && board.is_content() }
            });
            if disturbances == 50 {
                assert!(settled, "seed {seed}: {:?} {:?}", pair.bridge.state(), pair.board.state());
                heard = [bridge.latest, board.latest];
                break;
            }
            disturb(&mut pair, [&mut bridge, &mut board], &mut random);
            let longest = [1_000, 100_000, 3_000_000][random.below(3)];
            next = pair.now + random.below(longest) as u64;
            pair.alarm = if disturbances < 49 { next } else { u64::MAX };
        }
        assert!(heard.iter().all(|sessions| *sessions > 5), "seed {seed}: {heard:?}");
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
