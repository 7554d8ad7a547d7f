//! The ranks that take part in an operation, and where each of them stands in it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::sides::list;
use crate::rank::Rank;

/// The ranks of one kind of operation, known to the hub under a number of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GroupInfo {
    /// 0 is every rank of the communicator.
    pub(super) id: u64,
    /// Who takes part, by rank in the world, sources first. Positions in an operation are indices into this.
    pub(super) members: Box<[Rank]>,
    /// Their ranks in the communicator, where those are not their positions.
    numbers: Option<Box<[Rank]>>,
    /// How many of them are sources.
    pub(super) sources: usize,
    /// Positions of the destinations.
    pub(super) destinations: Box<[usize]>,
    /// Positions by rank in the world; empty where they are the same.
    positions: BTreeMap<Rank, usize>,
    /// The group as it was named, where this is the same in a communicator.
    named: Option<Arc<GroupInfo>>,
}

impl GroupInfo {
    /// All ranks of a world of `size`.
    pub(super) fn world(size: u32) -> Self {
        let members: Box<[Rank]> = (0..size).map(Rank::new).collect();
        let destinations = (0..members.len()).collect();
        Self {
            id: 0,
            sources: members.len(),
            members,
            numbers: None,
            destinations,
            positions: BTreeMap::new(),
            named: None,
        }
    }

    /// All ranks of a communicator, in the order of their ranks in it.
    pub(super) fn all(members: Box<[Rank]>) -> Self {
        let destinations = (0..members.len()).collect();
        let positions = members.iter().enumerate().map(|(position, rank)| (*rank, position)).collect();
        Self { id: 0, sources: members.len(), members, numbers: None, destinations, positions, named: None }
    }

    /// This group of ranks of a communicator, as a group of ranks of the world. `None` if the communicator has not all
    /// of them.
    pub(super) fn within(self: &Arc<Self>, communicator: &Self) -> Option<Self> {
        let members: Option<Box<[Rank]>> =
            self.members.iter().map(|rank| communicator.members.get(rank.index()).copied()).collect();
        let members = members?;
        let positions = members.iter().enumerate().map(|(position, rank)| (*rank, position)).collect();
        Some(Self {
            id: self.id,
            sources: self.sources,
            members,
            numbers: Some(self.members.clone()),
            destinations: self.destinations.clone(),
            positions,
            named: Some(self.clone()),
        })
    }

    /// The rank in the communicator of the member at `position`.
    pub(super) fn number(&self, position: usize) -> Option<Rank> {
        match &self.numbers {
            Some(numbers) => numbers.get(position).copied(),
            None => (position < self.members.len()).then(|| Rank::new(position as u32)),
        }
    }

    /// `sources` give and `destinations` receive. `None` if a rank stands twice on a side, or nobody does.
    pub(super) fn new(id: u64, sources: &[Rank], destinations: &[Rank]) -> Option<Self> {
        let mut positions = BTreeMap::new();
        let mut members = Vec::with_capacity(sources.len() + destinations.len());
        for rank in sources {
            if positions.insert(*rank, members.len()).is_some() {
                return None;
            }
            members.push(*rank);
        }
        let mut places = Vec::with_capacity(destinations.len());
        let mut taken = BTreeSet::new();
        for rank in destinations {
            let position = *positions.entry(*rank).or_insert_with(|| {
                members.push(*rank);
                members.len() - 1
            });
            if !taken.insert(position) {
                return None;
            }
            places.push(position);
        }
        let (members, destinations) = (members.into_boxed_slice(), places.into_boxed_slice());
        let numbers = Some(members.clone());
        let sources = sources.len();
        let named = None;
        (!members.is_empty()).then_some(Self { id, members, numbers, sources, destinations, positions, named })
    }

    /// Most bytes of the group's name, its label included.
    pub(super) fn name_len(&self) -> usize {
        (3 + self.sources + self.destinations.len()) * size_of::<u32>()
    }

    /// Whether every member is a source and a destination, at the same place.
    pub(super) fn all_do_both(&self) -> bool {
        let places = 0..self.members.len();
        self.sources == self.members.len() && self.destinations.iter().copied().eq(places)
    }

    /// " from ranks 0, 1 to rank 2", if it is not all of a communicator.
    pub(super) fn describe(&self) -> String {
        if self.id == 0 {
            return String::new();
        }
        if self.all_do_both() {
            return format!(" of {}", list(&self.members));
        }
        let side = |preposition: &str, ranks: &[Rank]| match ranks {
            [] => String::new(),
            ranks => format!(" {preposition} {}", list(ranks)),
        };
        let destinations: Vec<Rank> =
            self.destinations.iter().filter_map(|position| self.members.get(*position).copied()).collect();
        let sources = self.members.get(..self.sources).unwrap_or_default();
        format!("{}{}", side("from", sources), side("to", &destinations))
    }

    /// Where a rank of the world stands.
    pub(super) fn position(&self, rank: Rank) -> Option<usize> {
        if self.positions.is_empty() {
            return (rank.index() < self.members.len()).then_some(rank.index());
        }
        self.positions.get(&rank).copied()
    }
}
