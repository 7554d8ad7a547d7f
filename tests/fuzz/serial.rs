//! Target `serial`: a line that damages what it carries, or somebody on it who forges frames.

use std::collections::VecDeque;
use std::time::Duration;

use edgempi_core::Instant;
use edgempi_core::serial::{Frame, Reason, SerialLink, State};

use crate::choices::Choices;
use crate::line::{SILENCE, Stream, framed};
use crate::world::Choose;

const PAYLOAD: usize = 24;
/// How long a line without faults takes at most to carry everything, or to find out that a session is over.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes under way; what is beyond is lost.
const ROOM: usize = 4096;

/// One end of the line, with what it has to say and what it hears.
struct End<'a> {
    link: SerialLink<'a, PAYLOAD>,
    side: u64,
    /// What it writes, from a session's beginning to its end.
    writes: Option<Stream>,
    /// How many streams it has begun.
    begun: u64,
    /// The beginning of what it reads, which says whose session it is; then the rest.
    opening: Vec<u8>,
    reads: Option<Stream>,
    last_heard: u64,
    /// What it has put on the line.
    out: VecDeque<u8>,
}

impl<'a> End<'a> {
    fn new(link: SerialLink<'a, PAYLOAD>, side: u64) -> Self {
        let (opening, out) = (Vec::new(), VecDeque::new());
        Self { link, side, writes: None, begun: 0, opening, reads: None, last_heard: 0, out }
    }

    fn write(&mut self, limit: usize) {
        if self.link.state() == State::Up {
            let writes = self.writes.get_or_insert_with(|| {
                self.begun += 1;
                Stream::numbered(self.side, self.begun)
            });
            writes.write(&mut self.link, limit);
        }
    }

    fn read(&mut self, limit: usize, other_begun: u64) {
        if let Some(reads) = &mut self.reads {
            return reads.read(&mut self.link, limit.max(1));
        }
        let mut bytes = [0; 8];
        let n = self.link.read(&mut bytes[self.opening.len()..]);
        self.opening.extend(&bytes[self.opening.len()..][..n]);
        if let Ok(number) = <[u8; 8]>::try_from(self.opening.as_slice()) {
            let number = u64::from_le_bytes(number);
            assert!(self.last_heard < number && number <= other_begun, "{number} after {}", self.last_heard);
            self.last_heard = number;
            self.reads = Some(Stream::heard(1 - self.side, number));
        }
    }

    fn reconnect(&mut self, now: Instant) {
        self.link.reconnect(now);
        (self.writes, self.reads) = (None, None);
        self.opening.clear();
    }

    fn transmit(&mut self, now: Instant, limit: usize) -> usize {
        let mut bytes = [0; 64];
        let n = self.link.transmit(now, &mut bytes[..limit]);
        self.out.extend(&bytes[..n]);
        self.out.truncate(ROOM);
        n
    }

    fn fire(&mut self, now: Instant) {
        if self.link.poll_timeout().is_some_and(|at| at <= now) {
            self.link.handle_timeout(now);
            assert!(self.link.poll_timeout().is_none_or(|at| at > now), "a deadline that has passed is reported again");
        }
    }
}

/// Choices of what happens on a line and at its ends.
pub fn fuzz_serial(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut frames = [[Frame::<PAYLOAD>::EMPTY; 4]; 4];
    let [a, b, c, d] = &mut frames;
    let windows = [0; 4].map(|_| 1 + choices.below(4));
    let is_forged = choices.below(4) == 0;
    let epoch = choices.below(256) as u32;
    let start = Instant::ZERO;
    let bridge = SerialLink::bridge(start, SILENCE, epoch, &mut a[..windows[0]], &mut b[..windows[1]]);
    let board = SerialLink::board(start, SILENCE, &mut c[..windows[2]], &mut d[..windows[3]]);
    let mut ends = [End::new(bridge, 0), End::new(board, 1)];
    let mut now = start;
    while !choices.is_empty() {
        now = happen(&mut ends, now, is_forged, &mut choices);
    }
    if !is_forged {
        calm_down(&mut ends, now);
    }
}

fn happen(ends: &mut [End<'_>; 2], mut now: Instant, is_forged: bool, choices: &mut Choices<'_>) -> Instant {
    let side = choices.below(2);
    let other_begun = ends[1 - side].begun;
    match choices.below(14) {
        0 => ends[side].write(choices.below(100)),
        1 if is_forged => {
            let _ = ends[side].link.read(&mut [0; 40]);
        }
        1 => ends[side].read(choices.below(100), other_begun),
        2..=4 => {
            ends[side].transmit(now, 1 + choices.below(64));
        }
        5..=7 => {
            let len = choices.below(80).min(ends[side].out.len());
            let bytes: Vec<u8> = ends[side].out.drain(..len).collect();
            ends[1 - side].link.receive(now, &bytes);
        }
        8 => damage(&mut ends[side].out, choices),
        9 => {
            let next = ends.iter().filter_map(|end| end.link.poll_timeout()).min();
            now = next.map_or(now, |next| now.max(next));
        }
        10 => now = now + Duration::from_millis(1 << choices.below(14)),
        11 => ends[side].link.reset([Reason::Closed, Reason::Restarted][choices.below(2)]),
        12 => ends[side].reconnect(now),
        _ => {
            let len = choices.below(40);
            let content = choices.bytes(len);
            let noise = if is_forged {
                // The check of an epoch that may be the right one, or of none.
                framed((choices.below(2) == 0).then(|| choices.below(256) as u32), &content)
            } else {
                content
            };
            ends[side].link.receive(now, &noise);
        }
    }
    for end in ends {
        end.fire(now);
    }
    now
}

fn damage(line: &mut VecDeque<u8>, choices: &mut Choices<'_>) {
    let at = choices.below(256);
    let Some(byte) = line.get_mut(at) else { return };
    match choices.below(4) {
        0 => *byte ^= 1 << choices.below(8),
        1 => drop(line.remove(at)),
        2 => line.insert(at, choices.below(256) as u8),
        _ => line.clear(),
    }
}

/// The line has no faults any more: what is written arrives, or the session is over and a new one comes.
fn calm_down(ends: &mut [End<'_>; 2], mut now: Instant) {
    let until = now + PATIENCE;
    let mut is_new = false;
    while now < until {
        while carry(ends, now) {}
        for side in 0..2 {
            let other_begun = ends[1 - side].begun;
            while ends[side].link.is_readable() {
                ends[side].read(50, other_begun);
            }
            if let State::Reset(_) = ends[side].link.state() {
                ends[side].reconnect(now);
                is_new = true;
            }
        }
        if carry(ends, now) {
            continue;
        }
        let is_up = ends.iter().all(|end| end.link.state() == State::Up);
        if is_up && is_new && ends.iter().all(|end| end.writes.is_none()) {
            ends.iter_mut().for_each(|end| end.write(60));
            continue;
        }
        if is_up && ends.iter().all(|end| end.link.is_flushed()) {
            return;
        }
        let next = ends.iter().filter_map(|end| end.link.poll_timeout()).min().unwrap_or(until);
        now = now.max(next) + Duration::from_micros(1);
        ends.iter_mut().for_each(|end| end.fire(now));
    }
    let states = ends.each_ref().map(|end| (end.link.state(), end.link.is_flushed()));
    panic!("a line without faults carries nothing: {states:?}");
}

/// Brings both ways what there is to say. Returns whether there was anything.
fn carry(ends: &mut [End<'_>; 2], now: Instant) -> bool {
    let mut is_any = false;
    for side in 0..2 {
        while ends[side].transmit(now, 64) > 0 || !ends[side].out.is_empty() {
            is_any = true;
            let bytes: Vec<u8> = ends[side].out.drain(..).collect();
            ends[1 - side].link.receive(now, &bytes);
        }
    }
    is_any
}
