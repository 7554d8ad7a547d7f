//! Arithmetic that needs the value of every rank at once: medians, trimmed means, votes.

use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::datatype::Element;

/// How the elements of all ranks at one place become one, where two at a time are not enough: a median, a trimmed mean.
///
/// Operates on raw bytes, which may lie at any address. The hub calls it range by range, so that it holds a window of
/// each rank's buffer, however long that is; it runs on a thread of the hub's driver. A panic in it fails the operation
/// that it is part of, and nothing else.
pub trait Columns: Send + Sync {
    /// The size of an element in bytes. A range is cut between elements only.
    fn element_size(&self) -> usize;

    /// Makes `result` of `columns`, one range of equal length from each source, in the group's order. `result` has that
    /// length, too, and is zero.
    fn combine(&self, columns: &[&[u8]], result: &mut [u8]);
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

    fn combine(&self, columns: &[&[u8]], result: &mut [u8]) {
        let size = size_of::<T>();
        let mut values: Vec<T> = vec![T::new_zeroed(); columns.len()];
        for (place, at) in result.chunks_exact_mut(size).zip((0..).step_by(size)) {
            for (value, column) in values.iter_mut().zip(columns) {
                let bytes = column.get(at..).and_then(|rest| rest.get(..size)).unwrap_or_default();
                *value = T::read_from_bytes(bytes).unwrap_or_else(|_| T::new_zeroed());
            }
            place.copy_from_slice((self.function)(&mut values).as_bytes());
        }
    }
}
