//! Calls with data that everybody can work out, so that every rank checks every result.

use std::fmt::Debug;

use edgempi::{ANY_SOURCE, Comm, Element, Error, Max, Min, Rank, ReduceOp, Request, Status, Sum};

use crate::plan::{Call, Kind, mix};

/// What is wrong with a result, or that nothing is.
pub type Verdict = Result<(), String>;

/// A type of elements in which sums of all ranks' values are exact.
pub trait Value: Element + PartialEq + Debug + 'static {
    fn from_number(number: u32) -> Self;
}

impl Value for u32 {
    fn from_number(number: u32) -> Self {
        number
    }
}

impl Value for i64 {
    fn from_number(number: u32) -> Self {
        number.into()
    }
}

impl Value for f32 {
    fn from_number(number: u32) -> Self {
        // Exact below 2^24.
        number as Self
    }
}

impl Value for f64 {
    fn from_number(number: u32) -> Self {
        number.into()
    }
}

/// Element `index` of what a world rank gives.
fn number(seed: u64, rank: u32, index: usize) -> u32 {
    (mix(seed ^ index as u64) & 0xffff) as u32 + 3 * rank
}

fn block<T: Value>(seed: u64, rank: u32, indices: std::ops::Range<usize>) -> Vec<T> {
    indices.map(|index| T::from_number(number(seed, rank, index))).collect()
}

/// The fold of one element of all ranks of a communicator.
struct Folded {
    op: ReduceOp,
    size: u32,
    ranks: u32,
    largest: u32,
    smallest: u32,
}

impl Folded {
    fn new(op: ReduceOp, group: &[u32]) -> Self {
        let (largest, smallest) = (group.iter().max(), group.iter().min());
        Self {
            op,
            size: group.len() as u32,
            ranks: group.iter().sum(),
            largest: *largest.expect("a communicator has ranks"),
            smallest: *smallest.expect("a communicator has ranks"),
        }
    }

    fn element(&self, seed: u64, index: usize) -> u32 {
        match self.op {
            Max => number(seed, self.largest, index),
            Min => number(seed, self.smallest, index),
            _ => self.size * number(seed, 0, index) + 3 * self.ranks,
        }
    }

    fn check<T: Value>(&self, seed: u64, got: &[T], len: usize) -> Verdict {
        compare(got, len, |index| self.element(seed, index))
    }
}

fn compare<T: Value>(got: &[T], len: usize, expected: impl Fn(usize) -> u32) -> Verdict {
    if got.len() != len {
        return Err(format!("{} elements instead of {len}", got.len()));
    }
    for (index, value) in got.iter().enumerate() {
        let expected = T::from_number(expected(index));
        if *value != expected {
            return Err(format!("element {index} of {len} is {value:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

fn compare_objects<T: PartialEq + Debug>(got: &T, expected: &T) -> Verdict {
    if got == expected { Ok(()) } else { Err("another object than the one that was given".to_owned()) }
}

/// How a call goes.
pub enum Outcome {
    Coming(Request<'static, Verdict>),
    Come(Result<Verdict, Error>),
}

/// A call that was made.
pub struct Started {
    pub call: Call,
    /// World ranks whose death may fail it.
    pub needs: Vec<u32>,
    pub outcome: Outcome,
}

impl Started {
    /// Waits for the result.
    pub fn wait(self) -> Result<Verdict, Error> {
        match self.outcome {
            Outcome::Coming(request) => request.wait(),
            Outcome::Come(result) => result,
        }
    }
}

/// One rank's side of a call.
pub struct Caller<'a> {
    pub comm: &'a Comm,
    /// The world ranks of the communicator.
    pub group: &'a [u32],
    /// Whether a world rank dies before its world ends.
    pub is_lost: &'a dyn Fn(u32) -> bool,
}

impl Caller<'_> {
    /// Makes a call. One that borrows memory is waited for here.
    pub fn start(&self, call: Call, started: &mut Vec<Started>) {
        match call.seed % 4 {
            0 => self.start_of::<u32>(call, started),
            1 => self.start_of::<i64>(call, started),
            2 => self.start_of::<f32>(call, started),
            _ => self.start_of::<f64>(call, started),
        }
    }

    fn me(&self) -> usize {
        self.comm.rank().index()
    }

    fn start_of<T: Value>(&self, call: Call, started: &mut Vec<Started>) {
        let (comm, me, size, seed) = (self.comm, self.me(), self.group.len(), call.seed);
        let (len, rank) = (call.len(size), self.group[me]);
        let op = [Sum, Max, Min][(seed >> 40) as usize % 3];
        let mut begin = |needs: &[u32], outcome| started.push(Started { call, needs: needs.to_vec(), outcome });
        match call.kind {
            Kind::AllreduceInPlace | Kind::GivenUp => {
                let mut data = block::<T>(seed, rank, 0..len);
                let request = comm.allreduce_in_place(&mut data, op);
                if call.kind == Kind::GivenUp && me == call.chosen(size) {
                    return;
                }
                let result = request.wait();
                begin(self.group, Outcome::Come(result.map(|()| Folded::new(op, self.group).check(seed, &data, len))));
            }
            Kind::Unheard => drop(comm.allreduce(block::<T>(seed, rank, 0..len), op)),
            Kind::Unserved => drop(comm.recv::<T>(ANY_SOURCE, call.tag)),
            Kind::Shift | Kind::ShiftFromAny | Kind::ShiftTwice | Kind::ShiftSynchronous | Kind::ShiftProbed => {
                self.shift::<T>(call, len, &mut begin)
            }
            _ => begin(self.group, Outcome::Coming(self.collective::<T>(call, len, op))),
        }
    }

    fn collective<T: Value>(&self, call: Call, len: usize, op: ReduceOp) -> Request<'static, Verdict> {
        let (comm, me, size, seed) = (self.comm, self.me(), self.group.len(), call.seed);
        let (rank, root, group) = (self.group[me], call.chosen(size), self.group.to_vec());
        let given = block::<T>(seed, rank, 0..len);
        let to = Rank::new(root as u32);
        match call.kind {
            Kind::Barrier => comm.barrier().map(Ok),
            Kind::Bcast => comm
                .bcast(to, if me == root { given } else { block(0, 0, 0..len) })
                .map(move |got| compare(&got, len, |index| number(seed, group[root], index))),
            Kind::Gather => comm.gather(to, given).map(move |got| match got {
                Some(got) => compare(&got, len * size, |index| number(seed, group[index / len], index % len)),
                None => Ok(()),
            }),
            Kind::Scatter => comm
                .scatter(to, (me == root).then(|| block::<T>(seed, rank, 0..len * size)))
                .map(move |got| compare(&got, len, |index| number(seed, group[root], me * len + index))),
            Kind::Allgather => comm
                .allgather(given)
                .map(move |got| compare(&got, len * size, |index| number(seed, group[index / len], index % len))),
            Kind::Alltoall => comm.alltoall(block::<T>(seed, rank, 0..len * size)).map(move |got| {
                compare(&got, len * size, |index| number(seed, group[index / len], me * len + index % len))
            }),
            Kind::Reduce => comm.reduce(to, given, op).map(move |got| match got {
                Some(got) => Folded::new(op, &group).check(seed, &got, len),
                None => Ok(()),
            }),
            Kind::Gatherv => comm.gatherv(to, block::<T>(seed, rank, 0..len * (me % 3) / 2)).map(move |got| {
                let mut blocks = (0..).zip(got.unwrap_or_default());
                blocks.try_for_each(|(from, got): (usize, Vec<T>)| {
                    compare(&got, len * (from % 3) / 2, |index| number(seed, group[from], index))
                })
            }),
            Kind::ReduceScatter => {
                // The first block is half as long, or empty.
                let counts: Vec<usize> = (0..size).map(|place| if place == 0 { len / 2 } else { len }).collect();
                let (all, own) = (counts.iter().sum(), counts[me]);
                let start: usize = counts[..me].iter().sum();
                comm.reduce_scatter(block::<T>(seed, rank, 0..all), &counts, op).map(move |got| {
                    let folded = Folded::new(op, &group);
                    compare(&got, own, |index| folded.element(seed, start + index))
                })
            }
            Kind::Scan => comm.scan(given, op).map(move |got| Folded::new(op, &group[..=me]).check(seed, &got, len)),
            Kind::Exscan => comm.exscan(given, op).map(move |got| match got {
                None if me == 0 => Ok(()),
                Some(got) if me > 0 => Folded::new(op, &group[..me]).check(seed, &got, len),
                got => Err(format!("rank {me} got {got:?}")),
            }),
            Kind::ObjectsBcast => comm
                .objects()
                .bcast(to, (me == root).then(|| text(seed, rank, len)))
                .map(move |got| compare_objects(&got, &text(seed, group[root], len))),
            Kind::ObjectsGather => comm.objects().gather(to, &text(seed, rank, len / 8 + me % 3)).map(move |got| {
                let expected = group.iter().enumerate().map(|(place, rank)| text(seed, *rank, len / 8 + place % 3));
                got.map_or(Ok(()), |got| compare_objects(&got, &expected.collect()))
            }),
            Kind::ObjectsAllreduce => comm
                .objects()
                .allreduce(vec![rank], |mut left: Vec<u32>, mut right: Vec<u32>| {
                    left.append(&mut right);
                    left
                })
                .map(move |got| compare_objects(&got, &group)),
            _ => comm.allreduce(given, op).map(move |got| Folded::new(op, &group).check(seed, &got, len)),
        }
    }

    fn shift<T: Value>(&self, call: Call, len: usize, begin: &mut dyn FnMut(&[u32], Outcome)) {
        let (me, size, seed) = (self.me(), self.group.len(), call.seed);
        let (to, from) = ((me + call.chosen(size)) % size, (me + size - call.chosen(size)) % size);
        let (rank, source) = (self.group[me], self.group[from]);
        let messages = 1 + usize::from(call.kind == Kind::ShiftTwice);
        for message in 0..messages {
            let indices = message..message + len;
            let (dest, data) = (Rank::new(to as u32), block::<T>(seed, rank, indices));
            let sent = match call.kind {
                Kind::ShiftSynchronous => self.comm.ssend(dest, call.tag, data),
                _ => self.comm.send(dest, call.tag, data),
            };
            begin(&[self.group[to]], Outcome::Coming(sent.map(Ok)));
        }
        for message in 0..messages {
            let expected = move |(got, status): (Vec<T>, Status)| {
                if status.source != from as u32 || status.tag.0 != call.tag {
                    return Err(format!("a message of another: {status:?}"));
                }
                compare(&got, len, |index| number(seed, source, message + index))
            };
            if call.kind == Kind::ShiftProbed {
                match self.comm.mprobe(Rank::new(from as u32), call.tag).wait() {
                    Ok(message) => begin(&[source], Outcome::Coming(message.recv::<T>().map(expected))),
                    Err(error) => begin(&[source], Outcome::Come(Err(error))),
                }
                continue;
            }
            // From anybody, it would wait for somebody else when its sender is dead.
            let receive = if call.kind == Kind::ShiftFromAny && !self.group.iter().any(|rank| (self.is_lost)(*rank)) {
                self.comm.recv(ANY_SOURCE, call.tag)
            } else {
                self.comm.recv(Rank::new(from as u32), call.tag)
            };
            begin(&[source], Outcome::Coming(receive.map(expected)));
        }
    }
}

fn text(seed: u64, rank: u32, len: usize) -> String {
    (0..len).map(|index| char::from(b'a' + (number(seed, rank, index) % 26) as u8)).collect()
}
