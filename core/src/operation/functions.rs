//! Folds and columns made of functions on elements, so that nobody has to cut bytes.

use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::{Columns, Fold};
use crate::datatype::{Datatype, Element};

/// A [`Fold`] made of functions on elements of `N` numbers each.
pub(crate) struct FoldOf<T, const N: usize, C, F> {
    combine: C,
    finish: F,
    element: PhantomData<fn(T) -> T>,
}

impl<T, const N: usize, C, F> FoldOf<T, N, C, F> {
    pub(crate) fn new(combine: C, finish: F) -> Self {
        Self { combine, finish, element: PhantomData }
    }
}

impl<T, const N: usize, C, F> Fold for FoldOf<T, N, C, F>
where
    T: Element,
    C: Fn([T; N], [T; N]) -> [T; N] + Send + Sync,
    F: Fn([T; N]) -> [T; N] + Send + Sync,
{
    fn element_size(&self) -> usize {
        N * size_of::<T>()
    }

    fn datatype(&self) -> Option<Datatype> {
        Some(T::DATATYPE)
    }

    fn combine(&self, left: &mut [u8], right: &[u8]) {
        let size = self.element_size().max(1);
        for (left, right) in left.chunks_exact_mut(size).zip(right.chunks_exact(size)) {
            let combined = (self.combine)(read(left), read(right));
            left.copy_from_slice(combined.as_bytes());
        }
    }

    fn finish(&self, result: &mut [u8]) {
        for element in result.chunks_exact_mut(self.element_size().max(1)) {
            let finished = (self.finish)(read(element));
            element.copy_from_slice(finished.as_bytes());
        }
    }
}

/// The `N` numbers that begin `bytes`; what is not there counts as zero.
fn read<T: Element, const N: usize>(bytes: &[u8]) -> [T; N] {
    <[T; N]>::read_from_prefix(bytes).map_or_else(|_| <[T; N]>::new_zeroed(), |(numbers, _)| numbers)
}

/// [`Columns`] made of a function on the values at one place.
pub(crate) struct ColumnsOf<T, F> {
    function: F,
    element: PhantomData<fn(T) -> T>,
}

impl<T, F> ColumnsOf<T, F> {
    pub(crate) fn new(function: F) -> Self {
        Self { function, element: PhantomData }
    }
}

impl<T: Element, F: Fn(&mut [T]) -> T + Send + Sync> Columns for ColumnsOf<T, F> {
    fn element_size(&self) -> usize {
        size_of::<T>()
    }

    fn datatype(&self) -> Option<Datatype> {
        Some(T::DATATYPE)
    }

    fn combine(&self, columns: &[&[u8]], result: &mut [u8]) {
        let size = size_of::<T>();
        let mut values: Vec<T> = vec![T::new_zeroed(); columns.len()];
        for (place, at) in result.chunks_exact_mut(size).zip((0..).step_by(size)) {
            for (value, column) in values.iter_mut().zip(columns) {
                let [one] = read::<T, 1>(column.get(at..).unwrap_or_default());
                *value = one;
            }
            place.copy_from_slice((self.function)(&mut values).as_bytes());
        }
    }
}
