//! Numbers that a session gives to long things: groups, the users' operations, places in the source.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::panic::Location;

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

/// Numbers of places in the source.
pub(super) struct Sites {
    /// By file, line and column.
    numbers: Numbers<(&'static str, u32, u32)>,
    /// What was asked for of late, by where the program holds it, which may be in several places for one in the source:
    /// most calls are made where others were before.
    recent: [(Option<&'static Location<'static>>, u16); RECENT],
}

/// How many places are found without a look at their files' names.
const RECENT: usize = 64;

impl Default for Sites {
    fn default() -> Self {
        Self { numbers: Numbers::default(), recent: [(None, 0); RECENT] }
    }
}

impl Sites {
    /// The entry among the recent ones that is this place's, if it has one.
    fn recent(&mut self, site: &'static Location<'static>) -> &mut (Option<&'static Location<'static>>, u16) {
        let address = std::ptr::from_ref(site).addr();
        &mut self.recent[address / size_of::<Location<'_>>() % RECENT]
    }

    /// As [`Numbers::get`].
    pub(super) fn get(&mut self, site: &'static Location<'static>) -> (u16, bool) {
        if let (Some(known), number) = *self.recent(site)
            && std::ptr::eq(known, site)
        {
            return (number, false);
        }
        let place = (site.file(), site.line(), site.column());
        let found = self.numbers.get(&place, place.0.len());
        match found {
            (number, false) => *self.recent(site) = (Some(site), number),
            // The numbers may have started anew.
            (_, true) => self.recent = [(None, 0); RECENT],
        }
        found
    }

    /// As [`Numbers::give`].
    pub(super) fn give(&mut self, site: &'static Location<'static>, number: u16) {
        let place = (site.file(), site.line(), site.column());
        self.numbers.give(place, place.0.len(), number);
    }
}

/// Collectives started on a communicator.
#[derive(Default)]
struct Started {
    /// Of all its ranks.
    whole: u32,
    groups: HashMap<Vec<u8>, u32>,
}

/// All names of a session.
#[derive(Default)]
pub(super) struct Names {
    pub(super) groups: Numbers<Vec<u8>>,
    pub(super) operations: Numbers<Vec<u8>>,
    pub(super) sites: Sites,
    /// Collectives started on each communicator, by group. These counts outlive the groups' numbers: all participants
    /// have to go on counting where they are.
    started: BTreeMap<u64, Started>,
}

impl Names {
    /// How many collectives this rank has started on a communicator and group; the empty group is all of it.
    pub(super) fn started(&self, communicator: u64, group: &[u8]) -> u32 {
        let Some(started) = self.started.get(&communicator) else { return 0 };
        if group.is_empty() { started.whole } else { started.groups.get(group).copied().unwrap_or(0) }
    }

    pub(super) fn start(&mut self, communicator: u64, group: &[u8]) {
        let Started { whole, groups } = self.started.entry(communicator).or_default();
        if group.is_empty() {
            *whole = whole.wrapping_add(1);
            return;
        }
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
    fn places_keep_their_numbers_until_those_start_anew() {
        let mut sites = Sites::default();
        let places = [Location::caller(), Location::caller()];
        for (index, place) in places.into_iter().enumerate() {
            let (number, is_new) = sites.get(place);
            assert_eq!((number, is_new), (index as u16 + 1, true));
            sites.give(place, number);
        }
        for _ in 0..3 {
            assert_eq!(places.map(|place| sites.get(place)), [(1, false), (2, false)]);
        }
        sites.numbers.bytes = MAX_BYTES;
        let other = Location::caller();
        assert_eq!(sites.get(other), (1, true));
        sites.give(other, 1);
        assert_eq!(sites.get(places[1]), (2, true), "its number has become another's");
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
