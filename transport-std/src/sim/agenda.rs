//! The events that are to come, in the order of time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use edgempi_core::Instant;

use super::world::HubEnd;

/// What is to come. Ranks are numbers, so that a day of them takes little memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A rank connects.
    Start(u32),
    /// Something arrives at the hub, or at a rank.
    Up(u32),
    Down(u32),
    /// A sender's buffer has room again.
    UpRoom(u32),
    DownRoom(u32),
    /// A rank's endpoint has a deadline.
    Timer(u32),
    /// The hub has waited long enough for a peer to read its last words.
    Linger(u32),
    Death(u32),
    HubEnd(HubEnd),
    /// A program's time has come.
    Alarm(u32),
}

struct Entry {
    at: Instant,
    /// Events of one moment happen in the order in which they were foreseen.
    number: u64,
    /// Whether programs may wait for it: more than a sign of life.
    counts: bool,
    event: Event,
}

impl Ord for Entry {
    /// The heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

/// The events that are to come.
#[derive(Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Entry>,
    next_number: u64,
    /// How many of them count.
    pub(super) expected: u64,
}

impl Agenda {
    pub(super) fn push(&mut self, at: Instant, counts: bool, event: Event) {
        self.next_number += 1;
        self.expected += u64::from(counts);
        self.heap.push(Entry { at, number: self.next_number, counts, event });
    }

    /// When the next one happens.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// The next one, and whether it counts.
    pub(super) fn pop(&mut self) -> Option<(bool, Event)> {
        let Entry { counts, event, .. } = self.heap.pop()?;
        self.expected -= u64::from(counts);
        Some((counts, event))
    }
}
