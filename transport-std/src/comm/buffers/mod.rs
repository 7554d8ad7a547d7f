//! The calls of a communicator on buffers: vectors and slices of elements. One file for each family; here is what they have
//! in common.

mod alltoall;
mod bcast;
mod gather;
mod point_to_point;
mod reduce;
mod reduce_scatter;
mod scan;
mod scatter;

use edgempi_core::request::Receive;
use edgempi_core::{Call, Element};

use super::{Comm, Started, whole};
use crate::buffers::{Inbound, sized};
use crate::error::Error;
use crate::request::{OnDrop, Request};

pub use reduce::reduce_local;

/// Elements that a call takes: a vector, which is sent as it is, or a slice or array, which is copied to one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no buffer of `{T}`",
    note = "buffers are vectors, slices and arrays of an `Element`: integers, floats, `Logical` and `Located`",
    note = "of any other type there is `comm.objects()`, whose calls take every serde value"
)]
pub trait IntoBuffer<T> {
    /// The elements as a vector.
    fn into_buffer(self) -> Vec<T>;
}

impl<T> IntoBuffer<T> for Vec<T> {
    fn into_buffer(self) -> Vec<T> {
        self
    }
}

impl<T: Clone> IntoBuffer<T> for &[T] {
    fn into_buffer(self) -> Vec<T> {
        self.to_vec()
    }
}

impl<T: Clone> IntoBuffer<T> for &Vec<T> {
    fn into_buffer(self) -> Vec<T> {
        self.clone()
    }
}

impl<T, const N: usize> IntoBuffer<T> for [T; N] {
    fn into_buffer(self) -> Vec<T> {
        self.into()
    }
}

impl<T: Clone, const N: usize> IntoBuffer<T> for &[T; N] {
    fn into_buffer(self) -> Vec<T> {
        self.to_vec()
    }
}

impl Comm {
    /// Room for a block from each rank around the own one, where this rank `receives`.
    pub(super) fn blocks_around<T: Element>(
        &self,
        receives: bool,
        memory: Vec<T>,
        own: &[T],
    ) -> Result<(Receive, Inbound), Error> {
        if !receives {
            return Ok((Receive::Exactly(0), Inbound::Nothing));
        }
        let (size, rank) = (self.size() as usize, self.rank().index());
        let elements = own.len().checked_mul(size).and_then(|len| sized(memory, len));
        let Some(mut all) = elements else {
            let text = format!("no memory for {} elements from each of {size} ranks", own.len());
            return Err(Error::invalid(text));
        };
        all[rank * own.len()..][..own.len()].copy_from_slice(own);
        Ok((Receive::Exactly(size_of_val(all.as_slice())), Inbound::Blocks(Box::new(all))))
    }

    /// Starts a call whose result goes to the beginning of borrowed memory, all of it or a part.
    #[track_caller]
    fn start_into<'a, T: Element>(&self, started: Started, data: &'a mut [T]) -> Request<'a, ()> {
        self.start(started, OnDrop::Cancel, move |completion| {
            let result = whole::<T>(completion)?;
            let place = data.get_mut(..result.len()).ok_or_else(|| Error::defect())?;
            place.copy_from_slice(&result);
            Ok(())
        })
    }

    /// How many of `len` elements belong to each rank.
    pub(super) fn block_of(&self, len: usize) -> Result<usize, Error> {
        let size = self.size() as usize;
        if !len.is_multiple_of(size) {
            let text = format!("{len} elements can not be divided into one block for each of {size} ranks");
            return Err(Error::invalid(text));
        }
        Ok(len / size)
    }

    /// This rank's own block of the elements of a scatter, in `memory` if that is large enough.
    pub(super) fn own_block<T: Element>(&self, memory: Vec<T>, data: &[T]) -> Result<Vec<T>, Error> {
        let block = self.block_of(data.len())?;
        let mut own = room(memory, block)?;
        own.copy_from_slice(&data[self.rank().index() * block..][..block]);
        Ok(own)
    }

    /// The call in which everybody gives everybody a block. `memory` takes those that come.
    pub(super) fn alltoall_of<T: Element>(&self, memory: Vec<T>, data: Vec<T>) -> Result<Started, Error> {
        let mut all = room(memory, data.len())?;
        // The own block stays at home.
        let block = self.block_of(data.len())?;
        let own = self.rank().index() * block..(self.rank().index() + 1) * block;
        all[own.clone()].copy_from_slice(&data[own]);
        Ok(Started {
            receive: Receive::Exactly(size_of_val(data.as_slice())),
            inbound: Inbound::Blocks(Box::new(all)),
            ..Started::sending(Call::Alltoall, data)
        })
    }

    /// Takes what this rank has for itself out of what it has for each.
    fn take_own<T>(&self, parts: &mut [Vec<T>]) -> Result<Vec<T>, Error> {
        let size = self.size() as usize;
        if parts.len() != size {
            return Err(Error::invalid(format!("{} blocks were given for {size} ranks", parts.len())));
        }
        parts.get_mut(self.rank().index()).map(std::mem::take).ok_or_else(|| Error::defect())
    }
}

/// Room for `len` elements, in `memory` if that is large enough.
pub(super) fn room<T: Element>(memory: Vec<T>, len: usize) -> Result<Vec<T>, Error> {
    sized(memory, len).ok_or_else(|| Error::invalid(format!("no memory for {len} elements")))
}

/// Bytes of all of them.
fn total<T>(parts: &[Vec<T>]) -> usize {
    parts.iter().map(|part| size_of_val(part.as_slice())).sum()
}
