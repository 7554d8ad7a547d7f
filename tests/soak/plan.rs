//! What the ranks of one world do: everything follows from a seed, so each rank knows the whole of it without being
//! told, and what every other rank gives.

use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes that one collective moves at most, all ranks together.
const MOST_BYTES: usize = 8 << 20;
/// Bytes of the longest element.
const ELEMENT: usize = 8;

/// Numbers that follow from a seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Which ranks a world loses on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// None.
    Lives,
    /// Those of one process, which is killed.
    LosesProcess(usize),
    /// One, which joins and then breaks the protocol.
    Betrayed(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Barrier,
    Bcast,
    Gather,
    Scatter,
    Allgather,
    Alltoall,
    Reduce,
    Allreduce,
    AllreduceInPlace,
    /// An allreduce that nobody waits for.
    Unheard,
    /// An allreduce in place that one rank drops.
    GivenUp,
    ObjectsBcast,
    ObjectsGather,
    ObjectsAllreduce,
    /// Blocks that differ in length.
    Gatherv,
    ReduceScatter,
    Scan,
    Exscan,
    /// Each rank sends to another one, and receives from the one that sends to it.
    Shift,
    /// The same, from any source.
    ShiftFromAny,
    /// Two messages with the same tag: they do not overtake each other.
    ShiftTwice,
    /// The send ends when it is received.
    ShiftSynchronous,
    /// The message is kept by a probe first.
    ShiftProbed,
    /// A receive that nobody sends to, dropped.
    Unserved,
}

const KINDS: [Kind; 24] = [
    Kind::Barrier,
    Kind::Bcast,
    Kind::Gather,
    Kind::Scatter,
    Kind::Allgather,
    Kind::Alltoall,
    Kind::Reduce,
    Kind::Allreduce,
    Kind::AllreduceInPlace,
    Kind::Unheard,
    Kind::GivenUp,
    Kind::ObjectsBcast,
    Kind::ObjectsGather,
    Kind::ObjectsAllreduce,
    Kind::Shift,
    Kind::ShiftFromAny,
    Kind::ShiftTwice,
    Kind::ShiftSynchronous,
    Kind::ShiftProbed,
    Kind::Gatherv,
    Kind::ReduceScatter,
    Kind::Scan,
    Kind::Exscan,
    Kind::Unserved,
];

/// One call, that each rank of each communicator of a family makes.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub family: usize,
    pub kind: Kind,
    /// Decides its root, the elements' type, the data.
    pub seed: u64,
    /// Says how long it is, from 0 to 255; see [`Call::len`].
    length: u8,
    /// No other call has this one.
    pub tag: u32,
}

impl Call {
    /// Elements that a rank gives, or gives to each, in a communicator of `size`.
    pub fn len(&self, size: usize) -> usize {
        let blocks = match self.kind {
            Kind::Allgather | Kind::Alltoall | Kind::ObjectsGather | Kind::ReduceScatter => size * size,
            _ => size,
        };
        let most = MOST_BYTES / ELEMENT / blocks;
        match self.length {
            0..150 => usize::from(self.length) / 2,
            150..235 => most / 64 + usize::from(self.length),
            _ => most - usize::from(self.length % 3),
        }
    }

    /// The root, or the rank that gives up, or how far a shift goes: less than `size`.
    pub fn chosen(&self, size: usize) -> usize {
        (self.seed >> 8) as usize % size
    }
}

/// What all ranks do next.
#[derive(Clone, Debug)]
pub enum Step {
    /// The communicators of a family part into those of a new one.
    Split { parent: usize, seed: u64 },
    /// Nobody uses a family any more.
    Free { family: usize },
    /// Calls that are all started before one is waited for.
    Batch(Vec<Call>),
}

/// Communicators that were made together: the world ranks of each, in the order of their ranks in it.
pub type Family = Vec<Vec<u32>>;

/// What one world is and does.
pub struct Plan {
    pub size: u32,
    pub seed: u64,
    /// The ranks of each process.
    pub processes: Vec<Range<u32>>,
    pub fate: Fate,
    /// Before anybody is lost.
    pub opening: Vec<Step>,
    pub steps: Vec<Step>,
    pub families: Vec<Family>,
}

impl Plan {
    pub fn new(size: u32, seed: u64) -> Self {
        let mut random = Random(seed);
        let count = 2 + random.below(3) as u32;
        let processes: Vec<_> = (0..count).map(|index| size * index / count..size * (index + 1) / count).collect();
        let fate = match random.below(4) {
            0 | 1 => Fate::Lives,
            2 => Fate::LosesProcess(random.below(processes.len())),
            _ => Fate::Betrayed(random.below(size as usize) as u32),
        };
        let families = vec![vec![(0..size).collect()]];
        let mut plan = Self { size, seed, processes, fate, opening: Vec::new(), steps: Vec::new(), families };
        let mut live = vec![0];
        // A traitor takes part in nothing.
        if !matches!(fate, Fate::Betrayed(_)) {
            for _ in 0..1 + random.below(3) {
                let step = plan.split(&mut random, &mut live, true);
                plan.opening.push(step);
            }
        }
        let mut tag = 0;
        for _ in 0..20 + random.below(20) {
            let step = match random.below(20) {
                0 => plan.split(&mut random, &mut live, false),
                1 if live.len() > 3 => {
                    let family = live.swap_remove(1 + random.below(live.len() - 1));
                    Step::Free { family }
                }
                _ => plan.batch(&mut random, &live, &mut tag),
            };
            plan.steps.push(step);
        }
        plan
    }

    fn split(&mut self, random: &mut Random, live: &mut Vec<usize>, everybody: bool) -> Step {
        let (parent, seed) = (live[random.below(live.len())], random.next());
        live.push(self.families.len());
        let mut family = Family::new();
        for group in &self.families[parent] {
            if everybody || group.iter().all(|rank| !self.is_lost(*rank)) {
                family.extend(parted(group, seed));
            }
        }
        self.families.push(family);
        Step::Split { parent, seed }
    }

    fn batch(&self, random: &mut Random, live: &[usize], tag: &mut u32) -> Step {
        let calls = (0..1 + random.below(4)).map(|_| {
            *tag += 1;
            Call {
                family: live[random.below(live.len())],
                kind: KINDS[random.below(KINDS.len())],
                seed: random.next(),
                length: random.below(256) as u8,
                tag: *tag,
            }
        });
        Step::Batch(calls.collect())
    }

    /// Whether a rank dies before its world ends.
    pub fn is_lost(&self, rank: u32) -> bool {
        match self.fate {
            Fate::Lives => false,
            Fate::LosesProcess(process) => self.processes[process].contains(&rank),
            Fate::Betrayed(traitor) => rank == traitor,
        }
    }

    pub fn lost(&self) -> u32 {
        (0..self.size).filter(|rank| self.is_lost(*rank)).count() as u32
    }

    /// The communicator of a family in which a rank is: all its ranks.
    pub fn group(&self, family: usize, rank: u32) -> Option<&[u32]> {
        self.families[family].iter().map(Vec::as_slice).find(|group| group.contains(&rank))
    }
}

/// What a rank says when its communicator parts.
pub fn color_and_key(seed: u64, rank: u32) -> (Option<u32>, i32) {
    let bits = mix(seed ^ u64::from(rank));
    let color = match seed % 5 {
        0 => Some(0),
        1 => Some((bits % 2) as u32),
        2 => (!bits.is_multiple_of(4)).then_some((bits % 4) as u32),
        3 => bits.is_multiple_of(3).then_some(7),
        _ => Some(rank / 5),
    };
    (color, (bits >> 32) as i32 % 4)
}

fn parted(group: &[u32], seed: u64) -> Family {
    let mut parts: BTreeMap<u32, Vec<(i32, usize)>> = BTreeMap::new();
    for (place, rank) in group.iter().enumerate() {
        let (color, key) = color_and_key(seed, *rank);
        if let Some(color) = color {
            parts.entry(color).or_default().push((key, place));
        }
    }
    let in_order = |mut part: Vec<(i32, usize)>| {
        part.sort_unstable();
        part.into_iter().map(|(_, place)| group[place]).collect()
    };
    parts.into_values().map(in_order).collect()
}
