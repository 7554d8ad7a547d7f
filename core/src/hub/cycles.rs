//! Ranks that wait for each other in a ring: how they are found, and how they are told.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::rank::Rank;

/// How many ranks of a cycle are printed.
const MAX_LINKS: usize = 8;

/// The cycles among ranks each of which waits for at most one other.
pub(super) struct Cycles {
    /// The ranks of each, every one of which waits for the next, and the last for the first.
    pub(super) cycles: Vec<Vec<Rank>>,
    /// Where whoever follows the waits from a rank ends up, and whether that rank is in the cycle itself.
    ends: BTreeMap<Rank, Option<(usize, bool)>>,
}

impl Cycles {
    /// Follows the waits from each of `starts`; `next` says for whom a rank waits. Each rank is asked once.
    pub(super) fn find(starts: &[Rank], mut next: impl FnMut(Rank) -> Option<Rank>) -> Self {
        let mut found = Self { cycles: Vec::new(), ends: BTreeMap::new() };
        for start in starts {
            let (mut path, mut at) = (Vec::new(), Some(*start));
            let mut seen: BTreeMap<Rank, usize> = BTreeMap::new();
            while let Some(rank) = at.filter(|rank| !found.ends.contains_key(rank) && !seen.contains_key(rank)) {
                seen.insert(rank, path.len());
                path.push(rank);
                at = next(rank);
            }
            let from = at.and_then(|rank| seen.get(&rank).copied());
            let end = match from {
                Some(from) => {
                    found.cycles.push(path.get(from..).unwrap_or_default().to_vec());
                    Some(found.cycles.len() - 1)
                }
                None => at.and_then(|rank| found.cycle_of(rank)).map(|(cycle, _)| cycle),
            };
            let ends = path.into_iter().enumerate();
            let is_member = |position| from.is_some_and(|from| position >= from);
            found.ends.extend(ends.map(|(position, rank)| (rank, end.map(|cycle| (cycle, is_member(position))))));
        }
        found
    }

    /// The cycle that a rank waits in, or for, and whether it is in it.
    pub(super) fn cycle_of(&self, rank: Rank) -> Option<(usize, bool)> {
        *self.ends.get(&rank)?
    }
}

/// The ranks of a cycle, each of which waits for the next.
pub(super) fn describe_cycle(links: &[Rank], describe: impl Fn(Rank) -> String) -> String {
    let mut lines: Vec<String> = links.iter().take(MAX_LINKS).map(|rank| describe(*rank)).collect();
    if let Some(unsaid) = links.len().checked_sub(MAX_LINKS).filter(|unsaid| *unsaid > 0) {
        let first = links.first().copied().unwrap_or_default();
        lines.push(format!("and so on through {unsaid} more ranks, the last of which waits for rank {first}"));
    }
    lines.join("; ")
}
