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

use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Datatype, Element};

use super::{Comm, Started, whole};
use crate::buffers::{Inbound, Outbound, sized};
use crate::engine::OwnedCall;
use crate::error::Error;
use crate::request::{OnDrop, Request};

/// Elements that a call takes: a vector, which is sent as it is, or a slice or array, which is copied to one.
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
    /// A call that moves nothing of this rank's.
    pub(super) fn nothing(&self, call: Call<'static>, datatype: Datatype) -> Started {
        Started {
            call: OwnedCall::Builtin(call),
            datatype,
            sent: Sent::Equal(0),
            receive: Receive::Exactly(0),
            outbound: Outbound::Nothing,
            inbound: Inbound::Nothing,
        }
    }

    fn folded<T: Element>(&self, call: Call<'static>, data: Vec<T>, receives: bool) -> Started {
        let len = size_of_val(data.as_slice());
        Started {
            call: OwnedCall::Builtin(call),
            datatype: T::DATATYPE,
            sent: Sent::Equal(len),
            receive: Receive::Exactly(if receives { len } else { 0 }),
            outbound: Outbound::InPlace,
            inbound: Inbound::Whole { storage: Box::new(data), open: false },
        }
    }

    /// Room for a block from each rank around the own one, where this rank `receives`.
    fn blocks_around<T: Element>(
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
            let place = data.get_mut(..result.len()).ok_or(Error::Finalized)?;
            place.copy_from_slice(&result);
            Ok(())
        })
    }

    /// How many of `len` elements belong to each rank.
    fn block_of(&self, len: usize) -> Result<usize, Error> {
        let size = self.size() as usize;
        if !len.is_multiple_of(size) {
            let text = format!("{len} elements can not be divided into one block for each of {size} ranks");
            return Err(Error::invalid(text));
        }
        Ok(len / size)
    }

    /// Takes what this rank has for itself out of what it has for each.
    fn take_own<T>(&self, parts: &mut [Vec<T>]) -> Result<Vec<T>, Error> {
        let size = self.size() as usize;
        if parts.len() != size {
            return Err(Error::invalid(format!("{} blocks were given for {size} ranks", parts.len())));
        }
        parts.get_mut(self.rank().index()).map(std::mem::take).ok_or(Error::Finalized)
    }
}

/// Bytes of all of them.
fn total<T>(parts: &[Vec<T>]) -> usize {
    parts.iter().map(|part| size_of_val(part.as_slice())).sum()
}
