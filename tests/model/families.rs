//! Calls of the later families: prefixes, blocks of a combination, blocks whose lengths differ, folds of the user's. What
//! each gives by the model, and how a rank makes it.

use edgempi::hub::Registry;
use edgempi::{Comm, Communicator, Error, Group, Named, Persistent};

use crate::calls::Pieces;
use crate::model::{as_bytes, merged, tree};
use crate::plan::View;
use crate::played::played;
use crate::program::{Call, Data, Form, Pattern};
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
        Call::Fold { groups: Some((_, destinations)), .. } if !view.chosen(destinations).contains(&own) => Vec::new(),
        Call::Fold { groups: None, .. } if folds_to(view).is_some_and(|root| root != own) => Vec::new(),
        Call::Fold { columns, groups, .. } => {
            // In the order of the group.
            let sources = groups.map_or_else(|| (0..size).collect(), |(sources, _)| view.chosen(sources));
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
        _ => Vec::new(),
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

/// The only rank that gets what all have given to a fold, if it is one.
fn folds_to(view: &View<'_>) -> Option<u32> {
    view.at.is_multiple_of(3).then(|| view.rank(view.at as u32))
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

/// Makes one rank's call; all of it is started at the first poll.
pub async fn perform(comm: &Comm, view: &View<'_>) -> Pieces {
    let View { at, own, .. } = *view;
    match *view.call {
        Call::Scan { data, .. } | Call::ReduceScatter { data, .. } if data.form == Form::Object => {
            objects(comm, view).await
        }
        Call::Scan { exclusive, op, data } => with_type!(data.kind, T => scan::<T>(comm, view, exclusive, op).await),
        Call::ReduceScatter { even, op, data } => {
            with_type!(data.kind, T => reduce_scatter::<T>(comm, view, even, op).await)
        }
        Call::Varied { pattern, root, data } => {
            let root = view.rank(root);
            with_type!(data.kind, T => varied::<T>(comm, view, pattern, root).await)
        }
        Call::Fold { columns, groups, .. } => {
            let named = Named::new(if columns { "columns" } else { "pairs" });
            let given: Vec<u32> = elements(at, own, 0, 2 * view.part.len);
            let Some((sources, destinations)) = groups else {
                if let Some(root) = folds_to(view) {
                    let folded = played!(Comm, comm, fold_to(named, root, given)).await?;
                    return Ok(folded.iter().map(|folded| as_bytes(folded)).collect());
                }
                if view.call.form() == Form::Persistent {
                    let comm = comm.clone();
                    let call =
                        played!(Persistent::calling(given, move |given| played!(Comm, comm, fold_all(named, &*given))));
                    return Ok(vec![as_bytes(&once(call).await?)]);
                }
                return Ok(vec![as_bytes(&played!(Comm, comm, fold_all(named, given)).await?)]);
            };
            let [sources, destinations] = [sources, destinations].map(|bits| view.group(bits));
            let group = Group::new(&sources, &destinations);
            if !group.contains(comm.rank()) {
                return Ok(Vec::new());
            }
            let given = sources.contains(&comm.rank()).then_some(given);
            Ok(played!(Comm, comm, fold(named, group, given)).await?.iter().map(|folded| as_bytes(folded)).collect())
        }
        _ => Ok(Vec::new()),
    }
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
    Ok(match (view.call.form(), exclusive) {
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
        (_, false) => vec![as_bytes(&played!(Comm, comm, scan(data, op)).await?)],
        (_, true) => played!(Comm, comm, exscan(data, op)).await?.iter().map(|data| as_bytes(data)).collect(),
    })
}

async fn reduce_scatter<T: Sample>(comm: &Comm, view: &View<'_>, even: bool, number: usize) -> Pieces {
    let counts = counts(view, even);
    let mut data = samples::<T>(view.at, view.own, counts.iter().sum());
    let (op, own) = (op::<T>(number), counts[view.own as usize]);
    Ok(match view.call.form() {
        Form::Borrowed if even => {
            let mut block = zeros::<T>(own);
            played!(Communicator::reduce_scatter_block(comm, &data, &mut block, op)).await?;
            vec![as_bytes(&block)]
        }
        Form::Borrowed | Form::InPlace => {
            match even {
                true => played!(Comm, comm, reduce_scatter_block_in_place(&mut data, op)).await?,
                false => played!(Comm, comm, reduce_scatter_in_place(&mut data, &counts, op)).await?,
            }
            vec![as_bytes(&data[..own])]
        }
        _ if even => vec![as_bytes(&played!(Comm, comm, reduce_scatter_block(data, op)).await?)],
        _ => vec![as_bytes(&played!(Comm, comm, reduce_scatter(data, &counts, op)).await?)],
    })
}

async fn varied<T: Sample>(comm: &Comm, view: &View<'_>, pattern: Pattern, root: u32) -> Pieces {
    let View { at, own, .. } = *view;
    let block = |to| elements::<T>(at, own, to, block_len(view, own, to));
    let for_all = || (0..view.size()).map(block).collect::<Vec<_>>();
    let pieces = |blocks: Vec<Vec<T>>| blocks.iter().map(|block| as_bytes(block)).collect::<Vec<_>>();
    let all = gives_all(pattern, own, root).then(for_all);
    let own_block = block(if matches!(pattern, Pattern::Gather) { root } else { 0 });
    if view.call.form() == Form::Persistent {
        let comm = comm.clone();
        return Ok(match pattern {
            Pattern::Gather => {
                let call =
                    played!(Persistent::calling(own_block, move |block| played!(Comm, comm, gatherv(root, &*block))));
                once(call).await?.map_or_else(Vec::new, pieces)
            }
            Pattern::Scatter => {
                vec![as_bytes(
                    &once(played!(Persistent::calling(all, move |all| played!(
                        Comm,
                        comm,
                        scatterv(root, all.clone())
                    ))))
                    .await?,
                )]
            }
            Pattern::Allgather => pieces(
                once(played!(Persistent::calling(own_block, move |block| played!(Comm, comm, allgatherv(&*block)))))
                    .await?,
            ),
            Pattern::Alltoall => {
                let call = played!(Persistent::calling(all.unwrap_or_default(), move |all| played!(
                    Comm,
                    comm,
                    alltoallv(all.clone())
                )));
                pieces(once(call).await?)
            }
        });
    }
    Ok::<_, Error>(match pattern {
        Pattern::Gather => played!(Comm, comm, gatherv(root, own_block)).await?.map_or_else(Vec::new, pieces),
        Pattern::Scatter => vec![as_bytes(&played!(Comm, comm, scatterv(root, all)).await?)],
        Pattern::Allgather => pieces(played!(Comm, comm, allgatherv(own_block)).await?),
        Pattern::Alltoall => pieces(played!(Comm, comm, alltoallv(all.unwrap_or_default())).await?),
    })
}

/// Whether a rank has a block for each rank.
fn gives_all(pattern: Pattern, own: u32, root: u32) -> bool {
    match pattern {
        Pattern::Gather | Pattern::Allgather => false,
        Pattern::Scatter => own == root,
        Pattern::Alltoall => true,
    }
}

/// One round of it.
async fn once<B: Send + 'static, T: Send + 'static>(mut call: Persistent<B, T>) -> Result<T, Error> {
    played!(Persistent, call, start())?;
    played!(Persistent, call, request()).await
}
