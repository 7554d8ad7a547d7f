//! Folds: how the elements of many ranks become one, always in the same shape.
//!
//! The hub's workers call [`fold_range`] on the bytes that the ranks have sent; whoever folds objects calls
//! [`fold_tree`]. Both compute the binary tree over the ranks of a group, in order, that splits n ranks at the
//! largest power of two below n. So a float sum has the same bits whatever came first and wherever it was
//! folded, and a subtree can be folded on its own:
//!
//! ```text
//! 5 ranks: ((0 1)(2 3)) 4        6 ranks: ((0 1)(2 3))(4 5)        7 ranks: ((0 1)(2 3))((4 5) 6)
//! ```

#[cfg(feature = "alloc")]
use alloc::{vec, vec::Vec};

use crate::datatype::{Datatype, ReduceOp};
use crate::operation::kernel::{Kernel, kernel};

/// How a range is cut: so many bytes of two ranks fit the first-level cache, and a tree of ranks the second.
const BLOCK: usize = 16 * 1024;

/// How two elements become one (MPI 4.1, chapter 6.9.5). Associative in spirit; commutative it need not be.
///
/// Operates on raw bytes, which may lie at any address. A panic in it fails the operation that it is part of,
/// and nothing else.
pub trait Fold: Send + Sync {
    /// The size of an element in bytes. A range is cut between elements only.
    fn element_size(&self) -> usize;

    /// What its elements are made of: buffers of anything else are refused. `None` takes whatever has the right size.
    fn datatype(&self) -> Option<Datatype> {
        None
    }

    /// Combines two buffers of equal length, element by element: `left = left ∘ right`. In `left` is what comes
    /// from the lower ranks.
    fn combine(&self, left: &mut [u8], right: &[u8]);

    /// Turns elements combined of all ranks into the result: divides a sum of weights, say. Called once for each
    /// element.
    fn finish(&self, result: &mut [u8]) {
        let _ = result;
    }
}

/// The fold of a built-in [`ReduceOp`].
#[derive(Clone, Copy, Debug)]
pub struct BuiltinFold {
    datatype: Datatype,
    op: ReduceOp,
    kernel: Kernel,
}

impl BuiltinFold {
    /// The fold of `op` on elements of `datatype`; `None` where `datatype` doesn't
    /// [accept](Datatype::accepts) it.
    pub fn new(datatype: Datatype, op: ReduceOp) -> Option<Self> {
        Some(Self { datatype, op, kernel: kernel(datatype, op)? })
    }

    /// What it combines.
    pub const fn datatype(&self) -> Datatype {
        self.datatype
    }

    /// How it combines.
    pub const fn op(&self) -> ReduceOp {
        self.op
    }
}

impl Fold for BuiltinFold {
    fn element_size(&self) -> usize {
        self.datatype.size()
    }

    fn combine(&self, left: &mut [u8], right: &[u8]) {
        debug_assert_eq!(left.len(), right.len());
        debug_assert!(left.len().is_multiple_of(self.element_size()));
        (self.kernel)(left, right);
    }
}

/// Where the tree over `ranks` ranks is split: so many go left. 0 if there is nothing to split.
pub const fn split(ranks: usize) -> usize {
    match ranks {
        0 | 1 => 0,
        // The highest bit of the last rank's number.
        _ => 1 << (ranks - 1).ilog2(),
    }
}

/// Folds `values`, one for each rank and in their order, in the shape of every fold. `None` if there are none.
///
/// ```
/// use edgempi_core::operation::fold_tree;
///
/// let ranks = ["0", "1", "2", "3", "4"].map(String::from);
/// let tree = fold_tree(ranks, |left, right| format!("({left} {right})"));
/// assert_eq!(tree.as_deref(), Some("(((0 1) (2 3)) 4)"));
/// ```
pub fn fold_tree<I>(values: I, mut combine: impl FnMut(I::Item, I::Item) -> I::Item) -> Option<I::Item>
where
    I: IntoIterator<IntoIter: ExactSizeIterator>,
{
    let mut values = values.into_iter();
    subtree(values.len(), &mut values, &mut combine)
}

/// Folds the next `count` values. An iterator that ends before it said yields `None`.
fn subtree<T>(count: usize, values: &mut impl Iterator<Item = T>, combine: &mut impl FnMut(T, T) -> T) -> Option<T> {
    match count {
        0 => None,
        1 => values.next(),
        _ => {
            let left = subtree(split(count), values, combine)?;
            let right = subtree(count - split(count), values, combine)?;
            Some(combine(left, right))
        }
    }
}

/// What one rank gives to a fold: bytes in segments, in order. Segments may be cut anywhere, between elements or
/// in them, and differently for each rank.
///
/// It is read from front to back; what has been folded is gone from it.
#[derive(Debug)]
pub struct Input<'a, S> {
    segments: &'a [S],
    /// How many bytes of the first segment are gone.
    skip: usize,
}

impl<'a, S: AsRef<[u8]>> Input<'a, S> {
    /// The bytes of `segments` after the first `skip`.
    pub fn new(segments: &'a [S], skip: usize) -> Self {
        Self { segments, skip }
    }

    /// How many bytes it still has.
    pub fn remaining(&self) -> usize {
        let all: usize = self.segments.iter().map(|segment| segment.as_ref().len()).sum();
        all.saturating_sub(self.skip)
    }

    /// The bytes that are left of the first segment that has any.
    fn front(&mut self) -> &'a [u8] {
        while let [first, rest @ ..] = self.segments {
            match first.as_ref().get(self.skip..) {
                Some(front) if !front.is_empty() => return front,
                _ => {
                    self.skip = self.skip.saturating_sub(first.as_ref().len());
                    self.segments = rest;
                }
            }
        }
        &[]
    }

    /// Takes the next `block.len()` bytes: where they are, if in one segment, or else copied to `block`.
    fn take<'b>(&mut self, block: &'b mut [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        if let Some(bytes) = self.front().get(..block.len()) {
            self.skip += bytes.len();
            return bytes;
        }
        self.read(block);
        block
    }

    /// Copies the next `block.len()` bytes to `block`. Bytes that it hasn't got count as 0.
    pub(crate) fn read(&mut self, mut block: &mut [u8]) {
        while !block.is_empty() {
            let front = self.front();
            let count = if front.is_empty() { block.len() } else { front.len().min(block.len()) };
            let Some((now, later)) = block.split_at_mut_checked(count) else { return };
            match front.get(..count) {
                Some(bytes) => {
                    now.copy_from_slice(bytes);
                    self.skip += count;
                }
                None => now.fill(0),
            }
            block = later;
        }
    }
}

/// How many bytes of scratch [`fold_range`] works best with: a block for each level of the tree.
pub fn scratch_len(fold: &dyn Fold, ranks: usize) -> usize {
    block_len(fold).saturating_mul(levels(ranks))
}

/// How many levels the tree over `ranks` ranks has.
fn levels(ranks: usize) -> usize {
    match ranks {
        0 | 1 => 0,
        _ => (ranks - 1).ilog2() as usize + 1,
    }
}

/// The length of a block: a whole number of elements, at least one.
fn block_len(fold: &dyn Fold) -> usize {
    let element = fold.element_size().max(1);
    element.max(BLOCK - BLOCK % element)
}

/// Folds the next `out.len()` bytes of all `inputs`, one for each rank and in their order, into `out`. Without
/// inputs `out` stays as it is.
///
/// Goes block by block, so that what is combined stays in the cache; copies only a block of an input with which
/// a pair starts, or which lies in two segments. `scratch` should have [`scratch_len`] bytes. With less the
/// blocks are smaller, down to one element for each level of the tree. `out` must be a whole number of elements,
/// and each input must have them all.
///
/// Doesn't call [`Fold::finish`], because `inputs` may be those of a subtree: whoever holds the root does.
pub fn fold_range<S: AsRef<[u8]>>(fold: &dyn Fold, inputs: &mut [Input<'_, S>], out: &mut [u8], scratch: &mut [u8]) {
    let element = fold.element_size().max(1);
    debug_assert!(out.len().is_multiple_of(element), "the range ends within an element");
    debug_assert!(inputs.iter().all(|input| input.remaining() >= out.len()), "an input is shorter than the range");
    let room = scratch.len().checked_div(levels(inputs.len())).unwrap_or(usize::MAX);
    let block = block_len(fold).min(room - room % element);
    debug_assert!(block > 0, "the scratch has no room for an element of each level");
    for out in out.chunks_mut(block.max(1)) {
        fold_block(fold, inputs, out, scratch);
    }
}

/// Folds the next block of all `inputs`. `scratch` has room for it on each level.
fn fold_block<S: AsRef<[u8]>>(fold: &dyn Fold, inputs: &mut [Input<'_, S>], out: &mut [u8], scratch: &mut [u8]) {
    match inputs {
        [] => return,
        [leaf] => return leaf.read(out),
        _ => {}
    }
    let Some((left, right)) = inputs.split_at_mut_checked(split(inputs.len())) else { return };
    fold_block(fold, left, out, scratch);
    let Some((block, scratch)) = scratch.split_at_mut_checked(out.len()) else { return };
    let right = if let [leaf] = right {
        leaf.take(block)
    } else {
        fold_block(fold, right, block, scratch);
        block
    };
    fold.combine(out, right);
}

/// Folds the next `len` bytes of all `inputs`, one for each rank of a group and in their order, and finishes
/// them: [`fold_range`] for who keeps no memory for it.
#[cfg(feature = "alloc")]
pub fn fold_all<S: AsRef<[u8]>>(fold: &dyn Fold, inputs: &mut [Input<'_, S>], len: usize) -> Vec<u8> {
    let mut scratch = vec![0; scratch_len(fold, inputs.len())];
    let mut out = vec![0; len];
    fold_range(fold, inputs, &mut out, &mut scratch);
    fold.finish(&mut out);
    out
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::datatype::Element;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::{format, vec, vec::Vec};
    use zerocopy::{FromBytes, IntoBytes};

    /// Not associative, not commutative, and it has odd elements: the CRC-like mix of two three-byte numbers.
    struct Mix;

    impl Mix {
        fn mix(left: [u8; 3], right: [u8; 3]) -> [u8; 3] {
            let [a, b, c] = left;
            let [d, e, f] = right;
            [a.wrapping_mul(31).wrapping_add(d), b.wrapping_mul(17) ^ e.wrapping_add(c), c.rotate_left(3) ^ f]
        }
    }

    impl Fold for Mix {
        fn element_size(&self) -> usize {
            3
        }

        fn combine(&self, left: &mut [u8], right: &[u8]) {
            assert!(left.len() == right.len() && left.len().is_multiple_of(3));
            for (left, right) in left.as_chunks_mut().0.iter_mut().zip(right.as_chunks().0) {
                *left = Self::mix(*left, *right);
            }
        }

        fn finish(&self, result: &mut [u8]) {
            result.iter_mut().for_each(|byte| *byte = !*byte);
        }
    }

    fn tree(ranks: usize) -> Option<String> {
        fold_tree((0..ranks).map(|rank| rank.to_string()), |left, right| format!("({left}{right})"))
    }

    #[test]
    fn a_tree_splits_at_the_largest_power_of_two_below_its_size() {
        assert_eq!(tree(0), None);
        assert_eq!(tree(1).as_deref(), Some("0"));
        assert_eq!(tree(2).as_deref(), Some("(01)"));
        assert_eq!(tree(3).as_deref(), Some("((01)2)"));
        assert_eq!(tree(4).as_deref(), Some("((01)(23))"));
        assert_eq!(tree(5).as_deref(), Some("(((01)(23))4)"));
        assert_eq!(tree(6).as_deref(), Some("(((01)(23))(45))"));
        assert_eq!(tree(7).as_deref(), Some("(((01)(23))((45)6))"));
        assert_eq!(tree(9).as_deref(), Some("((((01)(23))((45)(67)))8)"));
        assert_eq!([0, 1, 2, 3, 4, 5, 8, 9].map(split), [0, 0, 1, 2, 2, 4, 4, 8]);
        assert_eq!(split(usize::MAX), 1 << (usize::BITS - 1));
    }

    #[test]
    fn an_iterator_that_ends_too_early_has_no_result() {
        struct Short(usize);
        impl Iterator for Short {
            type Item = u8;
            fn next(&mut self) -> Option<u8> {
                self.0 = self.0.checked_sub(1)?;
                Some(1)
            }
            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.0 + 1, Some(self.0 + 1))
            }
        }
        impl ExactSizeIterator for Short {}
        assert_eq!(fold_tree(Short(4), |left, right| left + right), None);
    }

    #[test]
    fn no_ranks_leave_the_result_alone_and_one_is_copied() {
        let mut out = [7; 6];
        fold_range::<&[u8]>(&Mix, &mut [], &mut out, &mut []);
        assert_eq!(out, [7; 6]);
        fold_range(&Mix, &mut [Input::new(&[&[1, 2, 3, 4][..], &[5, 6]], 0)], &mut out, &mut []);
        assert_eq!(out, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn consecutive_ranges_continue_where_the_inputs_stand() {
        let segments: [&[u8]; 4] = [&[9, 9], &[9, 1, 2], &[], &[3, 4, 5, 6, 7]];
        let mut inputs = [Input::new(&segments, 3)];
        let mut out = [0; 3];
        fold_range(&Mix, &mut inputs, &mut out, &mut []);
        assert_eq!((out, inputs[0].remaining()), ([1, 2, 3], 4));
        fold_range(&Mix, &mut inputs, &mut out, &mut []);
        assert_eq!((out, inputs[0].remaining()), ([4, 5, 6], 1));
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn what_an_input_lacks_counts_as_zero() {
        let mut out = [7; 6];
        let segments: [&[u8]; 2] = [&[1, 2], &[3, 4]];
        let mut inputs = [Input::new(&segments, 0), Input::new(&segments, 9)];
        let fold = BuiltinFold::new(Datatype::U16, ReduceOp::Sum).unwrap();
        fold_range(&fold, &mut inputs, &mut out, &mut [0; 2]);
        assert_eq!(out, [1, 2, 3, 4, 0, 0]);
        fold_range(&fold, &mut inputs, &mut out, &mut []);
    }

    #[test]
    fn an_op_has_a_fold_where_mpi_defines_it() {
        for datatype in Datatype::ALL {
            for op in ReduceOp::ALL {
                let fold = BuiltinFold::new(datatype, op);
                assert_eq!(fold.is_some(), datatype.accepts(op), "{op} of {datatype}");
                assert!(fold.is_none_or(|fold| (fold.datatype(), fold.op()) == (datatype, op)));
            }
        }
    }

    #[test]
    fn a_sum_of_floats_is_that_of_the_tree_over_many_blocks() {
        const COUNT: usize = 3 * BLOCK / 4 + 5;
        let ranks: Vec<Vec<f32>> = (0..7_u16)
            .map(|rank| (0..COUNT).map(|k| f32::from(rank + 1) / f32::from(k as u16 + 3)).collect())
            .collect();
        let segments: Vec<[&[u8]; 1]> = ranks.iter().map(|values| [values.as_bytes()]).collect();
        let mut inputs: Vec<_> = segments.iter().map(|segments| Input::new(segments, 0)).collect();
        let fold = BuiltinFold::new(f32::DATATYPE, ReduceOp::Sum).unwrap();
        let result = fold_all(&fold, &mut inputs, COUNT * 4);
        let expected: Vec<f32> =
            (0..COUNT).map(|k| fold_tree(ranks.iter().map(|values| values[k]), |a, b| a + b).unwrap()).collect();
        assert_eq!(result, expected.as_bytes());
        assert_eq!(f32::read_from_prefix(&result).unwrap().0, expected[0]);
    }

    proptest! {
        #[test]
        fn neither_cuts_nor_scratch_change_the_result(
            ranks in 1_usize..20,
            elements in 0_usize..60,
            skip in 0_usize..10,
            cuts in prop::collection::vec(prop::collection::vec(0_usize..8, 0..40), 20),
            room in 1_usize..9,
            seed: u8,
        ) {
            let byte = |rank: usize, k: usize| (rank * 89 + k * 57) as u8 ^ seed;
            let ranks: Vec<Vec<u8>> =
                (0..ranks).map(|rank| (0..skip + elements * 3).map(|k| byte(rank, k)).collect()).collect();
            let cut: Vec<Vec<&[u8]>> = ranks
                .iter()
                .zip(&cuts)
                .map(|(bytes, cuts)| {
                    let mut rest = &bytes[..];
                    let mut segments = Vec::new();
                    for &at in cuts {
                        let (segment, tail) = rest.split_at(at.min(rest.len()));
                        segments.push(segment);
                        rest = tail;
                    }
                    segments.push(rest);
                    segments
                })
                .collect();

            let mut out = vec![0; elements * 3];
            let mut inputs: Vec<_> = cut.iter().map(|segments| Input::new(segments, skip)).collect();
            fold_range(&Mix, &mut inputs, &mut out, &mut vec![0; room * 3 * levels(ranks.len())]);
            let expected: Vec<u8> = (0..elements)
                .flat_map(|k| {
                    let at = skip + k * 3;
                    fold_tree(ranks.iter().map(|bytes| bytes[at..].first_chunk().copied().unwrap()), Mix::mix).unwrap()
                })
                .collect();
            prop_assert_eq!(&out, &expected);
            prop_assert!(inputs.iter().all(|input| input.remaining() == 0));

            let mut inputs: Vec<_> = cut.iter().map(|segments| Input::new(segments, skip)).collect();
            Mix.finish(&mut out);
            prop_assert_eq!(fold_all(&Mix, &mut inputs, elements * 3), out);
        }
    }
}
