//! How a session of the serial link begins and ends, and that no two are ever mixed.

mod line;

use std::time::Duration;

use edgempi_core::Instant;
use edgempi_core::serial::{Reason, SerialLink, State};
use line::{MINUTE, Pair, Quality, Random, SECOND, SILENCE, Stream, UART, board, bridge, framed, frames, said};

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
fn a_board_that_starts_anew_and_reads_an_old_call_goes_on_with_no_session_of_its_former_life() {
    let (mut bridge, mut board) = (bridge::<240>(4, 9), board::<240>(4));
    let now = Instant::ZERO;
    let connect = said(&mut bridge, now);
    board.receive(now, &connect);
    bridge.receive(now, &said(&mut board, now));
    board.receive(now, &said(&mut bridge, now));
    // So many frames that the numbers begin anew: the first ones of another life would be taken for the next ones.
    let mut read = [0; 40];
    for _ in 0..256 {
        assert_eq!(board.write(b"first"), 5);
        bridge.receive(now, &said(&mut board, now));
        assert_eq!(bridge.read(&mut read), 5);
        board.receive(now, &said(&mut bridge, now));
    }
    // What it says first is lost, and its line's memory still holds the bridge's call.
    let mut board = SerialLink::<240>::board(now, SILENCE, frames(4), frames(4));
    let _ = said(&mut board, now);
    board.receive(now, &connect);
    bridge.receive(now, &said(&mut board, now));
    board.receive(now, &said(&mut bridge, now));
    board.write(b"second");
    bridge.receive(now, &said(&mut board, now));
    assert_eq!(bridge.read(&mut read), 0, "bytes of two lives are in one session");
    assert_eq!(bridge.state(), State::Reset(Reason::Restarted));
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
fn a_reset_that_comes_twice_ends_one_session() {
    let mut pair = Pair::<240>::new(1, UART, 4);
    pair.connect();
    let now = pair.instant();
    pair.bridge.reset(Reason::HubLost);
    let reset = said(&mut pair.bridge, now);
    pair.board.receive(now, &reset);
    assert_eq!(pair.board.state(), State::Reset(Reason::HubLost));
    pair.board.reconnect(now);
    pair.board.receive(now, &reset);
    assert_eq!(pair.board.state(), State::Connecting);
    pair.bridge.reconnect(now);
    pair.connect();
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
    for seed in 0..25 {
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

#[test]
fn deadlines_that_have_passed_together_are_over_together() {
    for pause in (50..2500).step_by(50) {
        let mut pair = Pair::<240>::new(1, UART, 4);
        pair.connect();
        let mut now = pair.instant();
        assert_eq!(pair.bridge.write(b"nobody hears this"), 17);
        while pair.bridge.state() == State::Up {
            let _ = said(&mut pair.bridge, now);
            now = now + Duration::from_millis(pause);
            if pair.bridge.poll_timeout().is_some_and(|at| at <= now) {
                pair.bridge.handle_timeout(now);
                let next = pair.bridge.poll_timeout();
                assert!(next.is_none_or(|at| at > now), "looked at every {pause} ms: {next:?} at {now:?}");
            }
        }
        assert_eq!(pair.bridge.state(), State::Reset(Reason::Silent));
    }
}
