//! Arithmetic that needs the value of every rank at once: medians, trimmed means, votes.

use crate::datatype::Datatype;

/// How the elements of all ranks at one place become one, where two at a time are not enough: a median, a trimmed mean.
///
/// Operates on raw bytes, which may lie at any address. The hub calls it range by range, so that it holds a window of
/// each rank's buffer, however long that is; it runs on a thread of the hub's driver. A panic in it fails the operation
/// that it is part of, and nothing else.
pub trait Columns: Send + Sync {
    /// The size of an element in bytes. A range is cut between elements only.
    fn element_size(&self) -> usize;

    /// What its elements are made of: buffers of anything else are refused. `None` takes whatever has the right size.
    fn datatype(&self) -> Option<Datatype> {
        None
    }

    /// Makes `result` of `columns`, one range of equal length from each source, in the group's order. `result` has that
    /// length, too, and is zero.
    fn combine(&self, columns: &[&[u8]], result: &mut [u8]);
}
