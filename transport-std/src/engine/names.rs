//! Numbers that a session gives to long things: groups, the users' operations, places in the source.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Most bytes of the names of one kind that the hub holds for this session: with those of the other kinds well below
/// what it takes.
pub(super) const MAX_BYTES: usize = 256 * 1024;
/// What a name counts beside its own bytes.
const OVERHEAD: usize = 64;

/// Names of one kind. When there are too many they are all forgotten, and numbers start anew: naming something again
/// costs a frame, and the hub forgets what a number stood for.
pub(super) struct Numbers<K> {
    given: HashMap<K, u16>,
    bytes: usize,
}

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Self { given: HashMap::new(), bytes: 0 }
    }
}

impl<K: Hash + Eq> Numbers<K> {
    /// A number for `key`, whose name has `len` bytes, and whether it is new. A new one counts once it has been
    /// [given](Self::give).
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, len: usize) -> (u16, bool)
    where
        K: Borrow<Q>,
    {
        if let Some(number) = self.given.get(key) {
            return (*number, false);
        }
        if self.bytes + OVERHEAD + len > MAX_BYTES {
            self.given.clear();
            self.bytes = 0;
        }
        // Their bytes keep their count far below 65,535.
        (self.given.len() as u16 + 1, true)
    }

    /// What has this number.
    pub(super) fn find(&self, number: u16) -> Option<&K> {
        self.given.iter().find(|(_, given)| **given == number).map(|(key, _)| key)
    }

    pub(super) fn give(&mut self, key: K, len: usize, number: u16) {
        self.bytes += OVERHEAD + len;
        self.given.insert(key, number);
    }
}

/// All names of a session.
#[derive(Default)]
pub(super) struct Names {
    pub(super) groups: Numbers<Vec<u8>>,
    pub(super) operations: Numbers<Vec<u8>>,
    pub(super) sites: Numbers<(&'static str, u32, u32)>,
    /// Collectives started on each communicator, by group. These counts outlive the groups' numbers: all participants
    /// have to go on counting where they are.
    started: HashMap<u64, HashMap<Vec<u8>, u32>>,
}

impl Names {
    /// How many collectives this rank has started on a communicator and group.
    pub(super) fn started(&self, communicator: u64, group: &[u8]) -> u32 {
        self.started.get(&communicator).and_then(|groups| groups.get(group)).copied().unwrap_or(0)
    }

    pub(super) fn start(&mut self, communicator: u64, group: &[u8]) {
        let groups = self.started.entry(communicator).or_default();
        match groups.get_mut(group) {
            Some(count) => *count = count.wrapping_add(1),
            None => {
                groups.insert(group.to_vec(), 1);
            }
        }
    }

    pub(super) fn forget_communicator(&mut self, communicator: u64) {
        self.started.remove(&communicator);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_anew_before_the_hub_holds_too_much() {
        let mut numbers = Numbers::<Vec<u8>>::default();
        let mut held = HashMap::new();
        let mut renewed = 0;
        for round in 0..20_000u32 {
            let key = round.to_le_bytes().to_vec();
            let (number, is_new) = numbers.get(&key, 100);
            assert!(is_new && number > 0);
            numbers.give(key.clone(), 100, number);
            assert_eq!(numbers.get(&key, 100), (number, false));
            renewed += usize::from(held.insert(number, round).is_some_and(|_| number == 1));
        }
        assert!(held.len() * (100 + OVERHEAD) <= MAX_BYTES, "{} numbers", held.len());
        assert!((10..20).contains(&renewed), "{renewed}");
    }

    #[test]
    fn collectives_are_counted_by_communicator_and_group() {
        let mut names = Names::default();
        for (communicator, group) in [(0, &b""[..]), (0, b"a"), (0, b""), (7, b"a"), (7, b"a")] {
            names.start(communicator, group);
        }
        let started = |names: &Names| [(0, &b""[..]), (0, b"a"), (7, b"a"), (7, b"")].map(|(c, g)| names.started(c, g));
        assert_eq!(started(&names), [2, 1, 2, 0]);
        names.forget_communicator(7);
        assert_eq!(started(&names), [2, 1, 0, 0]);
    }
}
