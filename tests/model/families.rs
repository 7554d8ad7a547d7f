//! Calls of the later families: prefixes, blocks of a combination, blocks whose lengths differ, folds of the user's. What
//! each gives by the model, and how a rank makes it.

use edgempi::hub::Registry;
use edgempi::{Comm, Communicator, Group, Named};

use crate::calls::Pieces;
use crate::model::{as_bytes, merged, tree};
use crate::persistent;
use crate::plan::View;
use crate::played::played;
use crate::program::{Call, Data, Ends, Form, Pattern};
use crate::values::{Sample, bytes, elements, hash, object, op, samples, with_type, zeros};

/// What this rank gets, piece by piece.
pub fn expected(view: &View<'_>) -> Vec<Vec<u8>> {
    let View { at, own, .. } = *view;
    let (size, len) = (view.size(), view.part.len);
    match *view.call {
        Call::Scan { exclusive, op: number, data } => {
            let ranks = if exclusive { 0..own } else { 0..own + 1 };
            let prefix = match data.form {
                Form::Object => ranks.map(|rank| object(at, rank, 0, len)).reduce(merged),
                _ => with_type!(data.kind, T => {
                    let vectors = ranks.map(|rank| samples::<T>(at, rank, len));
                    vectors.reduce(|left, right| combined(left, right, number)).map(|prefix| as_bytes(&prefix))
                }),
            };
            prefix.into_iter().collect()
        }
        Call::ReduceScatter { data: Data { form: Form::Object, .. }, .. } => {
            let result = |place| tree((0..size).map(|from| object(at, from, place, len)).collect(), &merged);
            let counts = object_counts(view);
            let start: usize = counts[..own as usize].iter().sum();
            (start..start + counts[own as usize]).map(|place| result(place as u32)).collect()
        }
        Call::ReduceScatter { even, op: number, data } => with_type!(data.kind, T => {
            let counts = counts(view, even);
            let start: usize = counts[..own as usize].iter().sum();
            let vectors = (0..size).map(|rank| samples::<T>(at, rank, counts.iter().sum())).collect();
            let whole = tree(vectors, &|left, right| combined::<T>(left, right, number));
            vec![as_bytes(&whole[start..start + counts[own as usize]])]
        }),
        Call::Varied { pattern, root, data } => {
            let block = |from, to| bytes(at, from, to, block_len(view, from, to) * data.kind.size());
            let root = view.rank(root);
            match pattern {
                Pattern::Gather if root != own => Vec::new(),
                Pattern::Gather => (0..size).map(|from| block(from, root)).collect(),
                Pattern::Scatter => vec![block(root, own)],
                Pattern::Allgather => (0..size).map(|from| block(from, 0)).collect(),
                Pattern::Alltoall => (0..size).map(|from| block(from, own)).collect(),
            }
        }
        Call::Fold { ends: Ends::Some(_, destinations), .. } if !view.chosen(destinations).contains(&own) => Vec::new(),
        Call::Fold { ends: Ends::One(root), .. } if view.rank(root) != own => Vec::new(),
        Call::Fold { columns, ends, .. } => {
            let sources = match ends {
                // In the order of the group.
                Ends::Some(sources, _) => view.chosen(sources),
                Ends::All | Ends::One(_) => (0..size).collect(),
            };
            let given: Vec<Vec<u32>> = sources.into_iter().map(|rank| elements(at, rank, 0, 2 * len)).collect();
            let folded: Vec<u32> = if columns {
                (0..2 * len).map(|k| column(&mut given.iter().map(|data| data[k]).collect::<Vec<_>>())).collect()
            } else {
                let add = |left: Vec<u32>, right: Vec<u32>| {
                    let pairs = left.as_chunks::<2>().0.iter().zip(right.as_chunks::<2>().0);
                    pairs.flat_map(|(left, right)| pair(*left, *right)).collect()
                };
                let pairs: Vec<u32> = tree(given, &add);
                pairs.as_chunks::<2>().0.iter().flat_map(|pair| finished(*pair)).collect()
            };
            vec![as_bytes(&folded)]
        }
        ref call => unreachable!("{call:?} is elsewhere"),
    }
}

fn combined<T: Sample>(left: Vec<T>, right: Vec<T>, number: usize) -> Vec<T> {
    let op = op::<T>(number);
    left.into_iter().zip(right).map(|(left, right)| left.combine(op, right)).collect()
}

/// How many elements each rank gets of a combination; some get none.
pub fn counts(view: &View<'_>, even: bool) -> Vec<usize> {
    let (size, len) = (view.size() as usize, view.part.len);
    if even {
        return vec![len; size];
    }
    let mut left = len * size;
    let mut counts = Vec::new();
    for rank in 1..size {
        // In each round the same.
        let count = left * (hash(&[view.tag(0).into(), rank as u64]) % 4) as usize / 6;
        counts.push(count);
        left -= count;
    }
    counts.push(left);
    counts
}

/// The same of objects.
fn object_counts(view: &View<'_>) -> Vec<usize> {
    let Call::ReduceScatter { even: false, .. } = *view.call else { return vec![1; view.size() as usize] };
    (0..view.size()).map(|rank| (hash(&[view.at as u64, rank.into()]) % 3) as usize).collect()
}

fn block_len(view: &View<'_>, from: u32, to: u32) -> usize {
    // A gather's blocks depend on the giver alone: what it gives to whom it does not say.
    let to = match *view.call {
        Call::Varied { pattern: Pattern::Alltoall | Pattern::Scatter, .. } => to,
        _ => 0,
    };
    view.part.len * (hash(&[view.at as u64, from.into(), to.into()]) % 4) as usize / 3
}

/// Neither commutative nor associative.
fn pair([a, b]: [u32; 2], [c, d]: [u32; 2]) -> [u32; 2] {
    [a.wrapping_mul(31).wrapping_add(c), b.rotate_left(5) ^ d]
}

fn finished([a, b]: [u32; 2]) -> [u32; 2] {
    [a ^ b, !b]
}

/// Depends on who gave what.
fn column(values: &mut [u32]) -> u32 {
    values.iter().fold(17, |state: u32, value| state.wrapping_mul(31).wrapping_add(*value))
}

/// What the hub knows.
pub fn add_folds(operations: &mut Registry) {
    operations.insert_fold_fn("pairs", 1, pair, finished);
    operations.insert_columns_fn("columns", 1, column);
    operations.insert_reduce("merged", 1, merged);
}

/// Makes one rank's prefix or block of a combination.
pub async fn perform(comm: &Comm, view: &View<'_>) -> Pieces {
    match *view.call {
        Call::Scan { data: Data { form: Form::Object, .. }, .. }
        | Call::ReduceScatter { data: Data { form: Form::Object, .. }, .. } => objects(comm, view).await,
        Call::Scan { exclusive, op, data } => with_type!(data.kind, T => scan::<T>(comm, view, exclusive, op).await),
        Call::ReduceScatter { even, op, data } => {
            with_type!(data.kind, T => reduce_scatter::<T>(comm, view, even, op).await)
        }
        ref call => unreachable!("{call:?} is made elsewhere"),
    }
}

/// Makes one rank's fold of the user's.
pub async fn fold(comm: &Comm, view: &View<'_>, columns: bool, ends: Ends) -> Pieces {
    let (sources, destinations) = match ends {
        Ends::Some(sources, destinations) => (view.group(sources), view.group(destinations)),
        Ends::All | Ends::One(_) => Default::default(),
    };
    if matches!(ends, Ends::Some(..)) && !Group::new(&sources, &destinations).contains(comm.rank()) {
        return Ok(Vec::new());
    }
    let named = Named::new(if columns { "columns" } else { "pairs" });
    let given = |view: &View<'_>| elements::<u32>(view.at, view.own, 0, 2 * view.part.len);
    let (comm, size) = (comm.clone(), view.size());
    let make = move |given| match ends {
        Ends::All => played!(Comm, comm, fold_all(named, given)).map(Some),
        Ends::One(root) => played!(Comm, comm, fold_to(named, root % size, given)),
        Ends::Some(..) => {
            let given = sources.contains(&comm.rank()).then_some(given);
            played!(Comm, comm, fold(named, Group::new(&sources, &destinations), given))
        }
    };
    persistent::own(view, given, make, |folded| folded.iter().map(|folded| as_bytes(folded)).collect()).await
}

/// Makes one rank's call on blocks whose lengths differ.
pub async fn varied<T: Sample>(comm: &Comm, view: &View<'_>, pattern: Pattern, root: u32) -> Pieces {
    let own = view.own;
    let given = |view: &View<'_>| {
        let block = |to| elements::<T>(view.at, own, to, block_len(view, own, to));
        match pattern {
            Pattern::Gather => vec![block(root)],
            Pattern::Allgather => vec![block(0)],
            Pattern::Scatter | Pattern::Alltoall => (0..view.size()).map(block).collect(),
        }
    };
    let comm = comm.clone();
    let make = move |mut blocks: Vec<Vec<T>>| match pattern {
        Pattern::Gather => played!(Comm, comm, gatherv(root, blocks.remove(0))),
        Pattern::Scatter => {
            played!(Comm, comm, scatterv(root, (own == root).then_some(blocks))).map(|block| Some(vec![block]))
        }
        Pattern::Allgather => played!(Comm, comm, allgatherv(blocks.remove(0))).map(Some),
        Pattern::Alltoall => played!(Comm, comm, alltoallv(blocks)).map(Some),
    };
    persistent::own(view, given, make, |blocks| blocks.iter().flatten().map(|block| as_bytes(block)).collect()).await
}

async fn objects(comm: &Comm, view: &View<'_>) -> Pieces {
    let View { at, own, .. } = *view;
    let (objects, len) = (comm.objects(), view.part.len);
    Ok(match *view.call {
        Call::Scan { exclusive: false, .. } => {
            vec![played!(Objects, objects, scan(object(at, own, 0, len), merged)).await?]
        }
        Call::Scan { .. } => {
            played!(Objects, objects, exscan(object(at, own, 0, len), merged)).await?.into_iter().collect()
        }
        _ => {
            let counts = object_counts(view);
            let count: usize = counts.iter().sum();
            let values = (0..count as u32).map(|place| object(at, own, place, len)).collect();
            match *view.call {
                Call::ReduceScatter { even: true, .. } => {
                    vec![played!(Objects, objects, reduce_scatter_block(values, merged)).await?]
                }
                _ => played!(Objects, objects, reduce_scatter(values, &counts, merged)).await?,
            }
        }
    })
}

async fn scan<T: Sample>(comm: &Comm, view: &View<'_>, exclusive: bool, number: usize) -> Pieces {
    let mut data = samples::<T>(view.at, view.own, view.part.len);
    let op = op::<T>(number);
    let in_place = number.is_multiple_of(2);
    Ok(match (view.call.form(), exclusive) {
        (Form::Borrowed, false) if in_place => {
            played!(Communicator::scan_in_place(comm, &mut data, op)).await?;
            vec![as_bytes(&data)]
        }
        (Form::Borrowed, true) if in_place => {
            let given = as_bytes(&data);
            played!(Communicator::exscan_in_place(comm, &mut data, op)).await?;
            assert!(view.own > 0 || as_bytes(&data) == given, "memory changed of the rank that gets nothing");
            if view.own == 0 { Vec::new() } else { vec![as_bytes(&data)] }
        }
        (Form::Borrowed, false) => {
            let mut prefix = zeros::<T>(data.len());
            played!(Communicator::scan(comm, &data, &mut prefix, op)).await?;
            vec![as_bytes(&prefix)]
        }
        (Form::Borrowed, true) => {
            let mut prefix = zeros::<T>(data.len());
            played!(Communicator::exscan(comm, &data, &mut prefix, op)).await?;
            if view.own == 0 { Vec::new() } else { vec![as_bytes(&prefix)] }
        }
        (Form::InPlace, false) => {
            played!(Comm, comm, scan_in_place(&mut data, op)).await?;
            vec![as_bytes(&data)]
        }
        (Form::InPlace, true) => {
            let given = as_bytes(&data);
            played!(Comm, comm, exscan_in_place(&mut data, op)).await?;
            assert!(view.own > 0 || as_bytes(&data) == given, "memory changed of the rank that gets nothing");
            if view.own == 0 { Vec::new() } else { vec![as_bytes(&data)] }
        }
        (Form::Owned, false) => vec![as_bytes(&played!(Comm, comm, scan(data, op)).await?)],
        (Form::Owned, true) => played!(Comm, comm, exscan(data, op)).await?.iter().map(|data| as_bytes(data)).collect(),
        (form, _) => unreachable!("{form:?} is made elsewhere"),
    })
}

async fn reduce_scatter<T: Sample>(comm: &Comm, view: &View<'_>, even: bool, number: usize) -> Pieces {
    let counts = counts(view, even);
    let mut data = samples::<T>(view.at, view.own, counts.iter().sum());
    let (op, own) = (op::<T>(number), counts[view.own as usize]);
    Ok(match view.call.form() {
        Form::Borrowed => {
            let mut block = zeros::<T>(own);
            played!(Communicator::reduce_scatter_block(comm, &data, &mut block, op)).await?;
            vec![as_bytes(&block)]
        }
        Form::InPlace => {
            match even {
                true => played!(Comm, comm, reduce_scatter_block_in_place(&mut data, op)).await?,
                false => played!(Comm, comm, reduce_scatter_in_place(&mut data, &counts, op)).await?,
            }
            vec![as_bytes(&data[..own])]
        }
        Form::Owned if even => vec![as_bytes(&played!(Comm, comm, reduce_scatter_block(data, op)).await?)],
        Form::Owned => vec![as_bytes(&played!(Comm, comm, reduce_scatter(data, &counts, op)).await?)],
        form => unreachable!("{form:?} is made elsewhere"),
    })
}
