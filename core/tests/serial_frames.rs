//! The serial link's frames, byte by byte, and what an end makes of bytes that are none, or that lie.

mod line;

use edgempi_core::Instant;
use edgempi_core::serial::{DEFAULT_PAYLOAD, Frame, Reason, SerialLink, State};
use line::{Pair, SECOND, UART, board, bridge, framed, said};
use proptest::prelude::*;

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
    for _ in 0..40 {
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
