//! The plain sequential model: what each rank gets from a step in which all do their part.
//!
//! It moves bytes and folds elements by means of its own. Nothing here is asynchronous, and nothing calls the library.

use edgempi::{Element, ReduceOp};
use zerocopy::IntoBytes;

use crate::plan::View;
use crate::program::{Call, Data, Form};
use crate::topologies::Neighbours;
use crate::values::{Sample, bytes, hash, object, op, samples, with_type};
use crate::{families, shifts};

/// What this rank gets, piece by piece, in all rounds; nothing if it gets nothing.
pub fn expected(view: &View<'_>) -> Vec<Vec<u8>> {
    view.rounds().iter().flat_map(expected_once).collect()
}

fn expected_once(view: &View<'_>) -> Vec<Vec<u8>> {
    let View { at, own, .. } = *view;
    let size = view.size();
    let data = view.call.data();
    // What a rank gives another one.
    let block = |from: u32, to: u32| match data {
        Some(Data { form: Form::Object, .. }) => object(at, from, to, view.part.len),
        Some(Data { kind, .. }) => bytes(at, from, to, view.part.len * kind.size()),
        None => Vec::new(),
    };
    let from_all = |to: u32| (0..size).map(|from| block(from, to)).collect();
    match *view.call {
        Call::Barrier { .. } | Call::Split { .. } | Call::Free => Vec::new(),
        Call::Bcast { root, .. } => vec![block(view.rank(root), 0)],
        Call::Gather { root, .. } if view.rank(root) == own => from_all(0),
        Call::Gather { .. } => Vec::new(),
        Call::Scatter { root, .. } => vec![block(view.rank(root), own)],
        Call::Allgather { .. } => from_all(0),
        Call::Alltoall { .. } => from_all(own),
        Call::Reduce { root, op, data } if view.rank(root) == own => vec![folded(view, op, data)],
        Call::Reduce { .. } => Vec::new(),
        Call::Allreduce { op, data } => vec![folded(view, op, data)],
        Call::Scan { .. } | Call::ReduceScatter { .. } | Call::Varied { .. } | Call::Fold { .. } => {
            families::expected(view)
        }
        Call::Unready { .. } => Vec::new(),
        Call::Shift { .. } => {
            let message = |from| received(from, view.tag(0), &block(from, 0));
            shifts::ends(view).1.into_iter().map(message).collect()
        }
        Call::Neighbours { topology, alltoall, varied, data } => {
            Neighbours { topology, alltoall, varied }.expected(view, data)
        }
        Call::Alone { data, .. } => vec![with_type!(data.kind, T => as_bytes(&samples::<T>(at, own, view.part.len)))],
        Call::Messages { from, to, count, .. } => {
            let from = view.rank(from);
            let message = |number| received(from, view.tag(number), &block(from, number));
            if view.rank(to) == own { (0..count).map(message).collect() } else { Vec::new() }
        }
        Call::Funnel { to, count, .. } if view.rank(to) == own => {
            // By sender, and of each in the order of sending.
            let message = |from, number| received(from, view.tag(0), &block(from, number));
            (0..size)
                .flat_map(|from| (0..count).map(move |number| (from, number)))
                .map(|(f, n)| message(f, n))
                .collect()
        }
        Call::Funnel { .. } => Vec::new(),
        Call::Apply { sources, destinations, .. } => {
            if !view.chosen(destinations).contains(&own) {
                return Vec::new();
            }
            let inputs = view.chosen(sources).into_iter().map(|from| (from, object(at, from, 0, view.part.len)));
            vec![applied(at as u32, inputs, own)]
        }
    }
}

/// A message with its envelope.
pub fn received(source: u32, tag: u32, data: &[u8]) -> Vec<u8> {
    [&source.to_le_bytes()[..], &tag.to_le_bytes(), data].concat()
}

/// What the user's operation makes for one destination of all inputs in their order.
pub fn applied(parameter: u32, inputs: impl Iterator<Item = (u32, Vec<u8>)>, destination: u32) -> Vec<u8> {
    let mut output = Vec::new();
    for (from, input) in inputs {
        output.extend(hash(&[parameter.into(), from.into(), destination.into()]).to_le_bytes());
        output.extend(input);
    }
    output
}

/// What one object becomes of two: neither commutative nor associative, so it tells in which shape it was made.
pub fn merged(left: Vec<u8>, right: Vec<u8>) -> Vec<u8> {
    let longer = left.len().max(right.len());
    let of = |bytes: &[u8], at: usize| bytes.get(at).copied().unwrap_or(3);
    (0..longer).map(|at| of(&left, at).wrapping_mul(31).wrapping_add(of(&right, at) ^ 0x5a)).collect()
}

fn folded(view: &View<'_>, number: usize, data: Data) -> Vec<u8> {
    let (at, size, len) = (view.at, view.size(), view.part.len);
    let fold = || match data.form {
        Form::Object => tree((0..size).map(|rank| object(at, rank, 0, len)).collect(), &merged),
        _ => with_type!(data.kind, T => fold_elements::<T>(at, size, len, op::<T>(number))),
    };
    view.folded(fold)
}

fn fold_elements<T: Sample>(at: usize, size: u32, len: usize, op: ReduceOp) -> Vec<u8> {
    let combine = |mut left: Vec<T>, right: Vec<T>| {
        left.iter_mut().zip(right).for_each(|(left, right)| *left = left.combine(op, right));
        left
    };
    as_bytes(&tree((0..size).map(|rank| samples::<T>(at, rank, len)).collect(), &combine))
}

pub fn as_bytes<T: Element>(elements: &[T]) -> Vec<u8> {
    elements.as_bytes().to_vec()
}

/// Folds in the documented shape: the tree that splits n ranks at the largest power of two below n.
pub fn tree<T>(mut ranks: Vec<T>, combine: &impl Fn(T, T) -> T) -> T {
    if ranks.len() == 1 {
        return ranks.remove(0);
    }
    let mut left = 1;
    while left * 2 < ranks.len() {
        left *= 2;
    }
    let right = ranks.split_off(left);
    combine(tree(ranks, combine), tree(right, combine))
}
