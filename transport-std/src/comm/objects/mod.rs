//! The calls of a communicator for any serde value, one file for each family. Values travel as postcard.

mod collect;
mod point_to_point;
mod reduce;
mod scan;

use edgempi_core::operation::Named;
use edgempi_core::request::Receive;
use edgempi_core::{Call, Datatype, Rank};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Comm, Started, in_parts, whole};
use crate::buffers::Inbound;
use crate::error::Error;
use crate::pending::Completion;

/// A value as it travels.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    postcard::to_allocvec(value).map_err(|error| Error::Encode { reason: error.to_string() })
}

/// Where a value comes from.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    Rank(Rank),
    /// The user's operation of this name.
    Operation(&'static str),
}

/// A value that has come.
pub(super) fn decode<T: DeserializeOwned>(origin: Origin, bytes: &[u8]) -> Result<T, Error> {
    let reason = match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => return Ok(value),
        Ok((_, rest)) => format!("{} bytes are left over", rest.len()),
        Err(error) => error.to_string(),
    };
    let (from, what) = match origin {
        Origin::Rank(rank) => (Some(rank), format!("the object from rank {rank}")),
        Origin::Operation(name) => (None, format!("the output of operation \"{name}\"")),
    };
    Err(Error::Decode { from, what, expected: std::any::type_name::<T>(), reason })
}

/// The calls of a [`Comm`] for any serde value: its own names, values instead of buffers.
///
/// Values are encoded with postcard, and may have different lengths on different ranks. So `gather` of vectors is what
/// MPI calls `Gatherv`: all the calls here are the v forms, too. All ranks have to mean the same type: what comes is checked as far as its bytes tell, and is
/// [`Error::Decode`] otherwise, on that rank alone. postcard does not describe itself: formats and attributes that need
/// that (`serde_json::Value`, `#[serde(untagged)]`, `#[serde(flatten)]`) do not decode.
///
/// Errors are those of [`Comm`]'s calls, with [`Error::Encode`] at once for a value that serde can't write. A rank
/// receives at most `EDGEMPI_MSG_SIZE` bytes in one call, from all others together; more is [`Error::Truncated`].
#[derive(Clone, Copy, Debug)]
pub struct Objects<'c> {
    comm: &'c Comm,
}

impl Objects<'_> {
    pub(super) fn comm(&self) -> &Comm {
        self.comm
    }
}

impl Comm {
    /// The same calls for any serde value.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .map(|world| world.comm().objects().allgather(&format!("I am {}", world.rank())))
    ///     .collect();
    /// for request in requests {
    ///     assert_eq!(request.wait()?, ["I am 0", "I am 1"]);
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    pub fn objects(&self) -> Objects<'_> {
        Objects { comm: self }
    }
}

impl Objects<'_> {
    fn sending<T: Serialize + ?Sized>(&self, call: Call<'static>, value: &T) -> Result<Started, Error> {
        Ok(Started::sending(call, encode(value)?).of_objects())
    }

    fn receiving(&self, call: Call<'static>) -> Started {
        Started::receiving(call, self.comm.message_size, Vec::<u8>::new()).of_objects()
    }

    fn collecting<T: Serialize>(&self, call: Call<'static>, value: &T, receives: bool) -> Result<Started, Error> {
        let mut started = self.sending(call, value)?;
        if receives {
            let mut parts = vec![Vec::new(); self.comm.size() as usize];
            parts[self.comm.rank().index()] = encode(value)?;
            started.receive = Receive::AtMost(self.comm.message_size);
            started.inbound = Inbound::Parts(Box::new(parts));
        }
        Ok(started)
    }

    /// A part for each rank but this one, and the bytes of all of them.
    fn parts<T: Serialize>(&self, values: &[T]) -> Result<(Vec<Vec<u8>>, usize), Error> {
        let size = self.comm.size() as usize;
        if values.len() != size {
            let text = format!("{} values were given for {size} ranks", values.len());
            return Err(Error::invalid(text));
        }
        let mut parts = Vec::with_capacity(size);
        for (rank, value) in values.iter().enumerate() {
            parts.push(if rank == self.comm.rank().index() { Vec::new() } else { encode(value)? });
        }
        let total = parts.iter().map(Vec::len).sum();
        Ok((parts, total))
    }

    fn element(&self, call: Call<'static>, datatype: Datatype, bytes: Vec<u8>, receives: bool) -> Started {
        Started { datatype, ..Started::combining(call, bytes, receives) }
    }
}

fn one<T: DeserializeOwned>(from: Rank, completion: Completion) -> Result<T, Error> {
    decode(Origin::Rank(from), &whole::<u8>(completion)?)
}

fn all<T: DeserializeOwned>(completion: Completion) -> Result<Vec<T>, Error> {
    let parts = in_parts::<u8>(completion)?;
    parts.iter().enumerate().map(|(rank, part)| decode(Origin::Rank(Rank::new(rank as u32)), part)).collect()
}

fn element<T>(completion: Completion, decode: fn(&[u8]) -> Option<T>) -> Result<T, Error> {
    decode(&whole::<u8>(completion)?).ok_or_else(|| Error::defect())
}

/// A function at the hub makes one value for all who receive.
fn only_reduces(named: Named) -> Error {
    Error::invalid(format!("{named:?} runs at the hub, for reduce and allreduce; give a closure here"))
}
