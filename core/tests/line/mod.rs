//! Two ends of a serial link and the bad line between them, in virtual time. Everything follows from a seed.

#![allow(dead_code, reason = "each test file uses its own part of the model")]

use std::collections::VecDeque;
use std::time::Duration;

use crc::{CRC_32_ISO_HDLC, Crc};
use edgempi_core::Instant;
use edgempi_core::serial::{Frame, SerialLink, State};

/// Numbers in no order, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// What a line is like.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Bytes in a second.
    pub rate: u64,
    /// Microseconds on the way.
    pub delay: u64,
    /// Longest time that it may stand still between two pieces, now and then.
    pub pause: u64,
    /// Bad bytes in a million: flipped, dropped, doubled, or with noise before them.
    pub bad: u64,
}

/// A UART at 115,200 baud, with a little latency at either end.
pub const UART: Quality = Quality { rate: 11_520, delay: 500, pause: 0, bad: 0 };

/// One direction.
#[derive(Debug)]
pub struct Line {
    pub quality: Quality,
    random: Random,
    /// When the last byte taken is out.
    busy_until: u64,
    /// What is on the way, and when it arrives.
    way: VecDeque<(u64, Vec<u8>)>,
    /// Bytes that the line took.
    pub carried: u64,
    /// All of them, for tests that want to say them again.
    pub recorded: Option<Vec<u8>>,
}

impl Line {
    fn new(quality: Quality, seed: u64) -> Self {
        Self { quality, random: Random(seed), busy_until: 0, way: VecDeque::new(), carried: 0, recorded: None }
    }

    fn put(&mut self, now: u64, bytes: &[u8]) {
        self.carried += bytes.len() as u64;
        if let Some(recorded) = &mut self.recorded {
            recorded.extend(bytes);
        }
        self.busy_until = now.max(self.busy_until) + (bytes.len() as u64 * 1_000_000).div_ceil(self.quality.rate);
        let mut arrived = Vec::new();
        for byte in bytes {
            if self.random.next() % 1_000_000 >= self.quality.bad {
                arrived.push(*byte);
                continue;
            }
            match self.random.below(4) {
                0 => arrived.push(byte ^ (1 << self.random.below(8))),
                1 => {}
                2 => arrived.extend([*byte, *byte]),
                _ => arrived.extend([self.random.next() as u8, *byte]),
            }
        }
        let pause =
            if self.quality.pause > 0 && self.random.one_in(20) { self.random.next() % self.quality.pause } else { 0 };
        let after = self.way.back().map_or(0, |(at, _)| *at);
        self.way.push_back(((self.busy_until + self.quality.delay + pause).max(after), arrived));
    }

    fn take(&mut self, now: u64) -> Option<Vec<u8>> {
        let (at, _) = self.way.front()?;
        if *at <= now { self.way.pop_front().map(|(_, bytes)| bytes) } else { None }
    }

    /// Whatever is on the way never arrives.
    pub fn cut(&mut self) {
        self.way.clear();
    }
}

pub fn frames<const PAYLOAD: usize>(n: usize) -> &'static mut [Frame<PAYLOAD>] {
    Box::leak(vec![Frame::EMPTY; n].into_boxed_slice())
}

/// The two ends, and both directions.
pub struct Pair<const PAYLOAD: usize, const BRIDGE_PAYLOAD: usize = PAYLOAD> {
    pub now: u64,
    pub bridge: SerialLink<'static, BRIDGE_PAYLOAD>,
    pub board: SerialLink<'static, PAYLOAD>,
    /// From the bridge to the board.
    pub down: Line,
    pub up: Line,
    /// When somebody wants to look again, whatever the ends do.
    pub alarm: u64,
    random: Random,
    turns: u64,
}

pub const SILENCE: Duration = Duration::from_secs(10);
pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);

impl<const PAYLOAD: usize, const BRIDGE_PAYLOAD: usize> Pair<PAYLOAD, BRIDGE_PAYLOAD> {
    pub fn new(seed: u64, quality: Quality, window: usize) -> Self {
        Self::with_windows(seed, quality, [window; 4])
    }

    /// The windows: of the bridge to send and to receive, then of the board.
    pub fn with_windows(seed: u64, quality: Quality, windows: [usize; 4]) -> Self {
        let [a, b, c, d] = windows;
        let start = Instant::ZERO;
        Self {
            now: 0,
            bridge: SerialLink::bridge(start, SILENCE, seed as u32, frames(a), frames(b)),
            board: SerialLink::board(start, SILENCE, frames(c), frames(d)),
            down: Line::new(quality, seed ^ 1),
            up: Line::new(quality, seed ^ 2),
            alarm: u64::MAX,
            random: Random(seed ^ 3),
            turns: 0,
        }
    }

    pub fn instant(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// The ends see what has come and what is due.
    pub fn deliver(&mut self) {
        let now = self.instant();
        while let Some(bytes) = self.down.take(self.now) {
            receive_cut(&mut self.board, now, &bytes, &mut self.random);
        }
        while let Some(bytes) = self.up.take(self.now) {
            receive_cut(&mut self.bridge, now, &bytes, &mut self.random);
        }
        fire(&mut self.bridge, now);
        fire(&mut self.board, now);
    }

    /// The lines take what they can, and time moves on to when something happens next; to `until`, and returns false,
    /// if that is later.
    pub fn advance(&mut self, until: u64) -> bool {
        let limit = 1 + self.random.below(64);
        let down = transmit(&mut self.bridge, &mut self.down, self.now, limit);
        let up = transmit(&mut self.board, &mut self.up, self.now, limit);
        let arrivals = [&self.down, &self.up].map(|line| line.way.front().map(|(at, _)| *at));
        let timeouts = [self.bridge.poll_timeout(), self.board.poll_timeout()].map(|at| at.map(Instant::as_micros));
        let all = arrivals.into_iter().chain(timeouts).chain([down, up]).flatten().chain([self.alarm]);
        let next = all.min().unwrap_or(u64::MAX);
        self.turns = if next > self.now { 0 } else { self.turns + 1 };
        assert!(self.turns < 1000, "time stands still at {}", self.now);
        self.now = self.now.max(next.min(until));
        next <= until
    }

    /// Runs until `done`, which may use the ends, at most for `patience`. Returns whether it is.
    pub fn run_until(&mut self, patience: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now + patience.as_micros() as u64;
        loop {
            self.deliver();
            if done(self) {
                return true;
            }
            if !self.advance(until) {
                return false;
            }
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    pub fn is_up(&self) -> bool {
        (self.bridge.state(), self.board.state()) == (State::Up, State::Up)
    }

    /// Both ends put their own state in order after a reset.
    pub fn reconnect(&mut self) {
        self.bridge.reconnect(self.instant());
        self.board.reconnect(self.instant());
    }

    #[track_caller]
    pub fn connect(&mut self) {
        let up = self.run_until(Duration::from_secs(60), |pair| pair.is_up());
        assert!(up, "{:?}, {:?}", self.bridge.state(), self.board.state());
    }
}

/// Hands over bytes in pieces, because no UART knows where frames begin.
fn receive_cut<const PAYLOAD: usize>(
    link: &mut SerialLink<'_, PAYLOAD>,
    now: Instant,
    mut bytes: &[u8],
    random: &mut Random,
) {
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(1 + random.below(bytes.len()));
        link.receive(now, piece);
        bytes = rest;
    }
}

fn fire<const PAYLOAD: usize>(link: &mut SerialLink<'_, PAYLOAD>, now: Instant) {
    if link.poll_timeout().is_some_and(|at| at <= now) {
        link.handle_timeout(now);
        assert!(link.poll_timeout().is_none_or(|at| at > now), "a deadline that has passed is reported again");
    }
}

/// Gives the line what it takes now. Returns when it takes more, if there may be more.
fn transmit<const PAYLOAD: usize>(
    link: &mut SerialLink<'_, PAYLOAD>,
    line: &mut Line,
    now: u64,
    limit: usize,
) -> Option<u64> {
    if line.busy_until > now {
        return Some(line.busy_until);
    }
    let mut bytes = [0; 64];
    let free = link.free();
    let n = link.transmit(Instant::from_micros(now), &mut bytes[..limit]);
    assert!(link.free() >= free, "room that was promised is gone");
    if n == 0 {
        return None;
    }
    line.put(now, &bytes[..n]);
    Some(line.busy_until)
}

/// The bytes of a stream, each by its place, different for each `source`.
pub fn byte_at(source: u64, at: u64) -> u8 {
    (Random(source.wrapping_mul(0x1_0000_0001) ^ (at / 8)).next() >> (at % 8 * 8)) as u8
}

/// One direction of a stream under test: what was written, and how much of it has been read.
#[derive(Clone, Debug)]
pub struct Stream {
    source: u64,
    number: Option<u64>,
    total: u64,
    pub written: u64,
    pub read: u64,
}

impl Stream {
    pub fn new(source: u64, total: u64) -> Self {
        Self { source, number: None, total, written: 0, read: 0 }
    }

    /// One without end that begins with the number of its session.
    pub fn numbered(side: u64, number: u64) -> Self {
        Self { number: Some(number), ..Self::new(side ^ number, u64::MAX) }
    }

    /// The same, for a reader who has read the number.
    pub fn heard(side: u64, number: u64) -> Self {
        Self { read: 8, written: u64::MAX, ..Self::numbered(side, number) }
    }

    fn byte(&self, at: u64) -> u8 {
        match self.number {
            Some(number) if at < 8 => number.to_le_bytes()[at as usize],
            _ => byte_at(self.source, at),
        }
    }

    /// Writes up to `limit` bytes.
    pub fn write<const PAYLOAD: usize>(&mut self, link: &mut SerialLink<'_, PAYLOAD>, limit: usize) {
        let free = link.free();
        // A little more than is promised may be taken.
        let len = limit.min((self.total - self.written) as usize).min(free + 50);
        let bytes: Vec<u8> = (0..len as u64).map(|at| self.byte(self.written + at)).collect();
        let n = link.write(&bytes);
        assert!(n >= free.min(len), "{n} bytes of {len} are taken, {free} were free");
        self.written += n as u64;
    }

    /// Reads up to `limit` bytes, and checks them.
    #[track_caller]
    pub fn read<const PAYLOAD: usize>(&mut self, link: &mut SerialLink<'_, PAYLOAD>, limit: usize) {
        if !link.is_readable() {
            return;
        }
        let mut bytes = vec![0; limit];
        let n = link.read(&mut bytes);
        assert!(n > 0, "nothing to read");
        for byte in &bytes[..n] {
            assert_eq!(*byte, self.byte(self.read), "wrong byte at {}", self.read);
            self.read += 1;
        }
        assert!(self.read <= self.written, "bytes that nobody wrote");
    }

    pub fn is_done(&self) -> bool {
        self.read == self.total
    }
}

/// Whatever an end has to say now.
pub fn said<const PAYLOAD: usize>(link: &mut SerialLink<'_, PAYLOAD>, now: Instant) -> Vec<u8> {
    let mut bytes = vec![0; 10_000];
    let n = link.transmit(now, &mut bytes);
    bytes.truncate(n);
    bytes
}

/// A frame for the line, of a session or of none.
pub fn framed(epoch: Option<u32>, content: &[u8]) -> Vec<u8> {
    let checked = [epoch.map(u32::to_le_bytes).as_ref().map_or(&[][..], |epoch| epoch), content].concat();
    let check = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(&checked);
    let mut line = vec![0];
    line.extend(cobs::encode_vec(&[content, &check.to_le_bytes()].concat()));
    line.push(0);
    line
}

pub fn board<const PAYLOAD: usize>(window: usize) -> SerialLink<'static, PAYLOAD> {
    SerialLink::board(Instant::ZERO, SILENCE, frames(window), frames(window))
}

pub fn bridge<const PAYLOAD: usize>(window: usize, epoch: u32) -> SerialLink<'static, PAYLOAD> {
    SerialLink::bridge(Instant::ZERO, SILENCE, epoch, frames(window), frames(window))
}
