//! One side of a call as it is handed to the engine, and the shapes that most calls have.

use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Datatype, Element, Rank};

use crate::buffers::{Inbound, Outbound};
use crate::engine::OwnedCall;

/// One side of a call.
pub(super) struct Started {
    pub(super) call: OwnedCall,
    pub(super) datatype: Datatype,
    pub(super) sent: Sent,
    pub(super) receive: Receive,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
}

impl Started {
    /// A call that moves nothing of this rank's.
    pub(super) fn new(call: Call<'static>, datatype: Datatype) -> Self {
        Self {
            call: OwnedCall::Builtin(call),
            datatype,
            sent: Sent::Equal(0),
            receive: Receive::Exactly(0),
            outbound: Outbound::Nothing,
            inbound: Inbound::Nothing,
        }
    }

    /// A call that sends all of these elements, and receives nothing.
    pub(super) fn sending<T: Element>(call: Call<'static>, data: Vec<T>) -> Self {
        Self {
            sent: Sent::Equal(size_of_val(data.as_slice())),
            outbound: Outbound::Whole(Box::new(data)),
            ..Self::new(call, T::DATATYPE)
        }
    }

    /// A call that receives up to `most` bytes, of any length, into `memory` if it is large enough.
    pub(super) fn receiving<T: Element>(call: Call<'static>, most: usize, memory: Vec<T>) -> Self {
        Self {
            receive: Receive::AtMost(most),
            inbound: Inbound::Whole { storage: Box::new(memory), open: true },
            ..Self::new(call, T::DATATYPE)
        }
    }

    /// A call that combines `data` with those of other ranks. What this rank `receives` takes their place.
    pub(super) fn combining<T: Element>(call: Call<'static>, data: Vec<T>, receives: bool) -> Self {
        let len = size_of_val(data.as_slice());
        Self {
            sent: Sent::Equal(len),
            receive: Receive::Exactly(if receives { len } else { 0 }),
            outbound: Outbound::InPlace,
            inbound: Inbound::Whole { storage: Box::new(data), open: false },
            ..Self::new(call, T::DATATYPE)
        }
    }

    /// A bcast of `data`, or into it.
    pub(super) fn bcast<T: Element>(root: Rank, is_root: bool, data: Vec<T>) -> Self {
        let len = size_of_val(data.as_slice());
        Self {
            sent: Sent::Equal(if is_root { len } else { 0 }),
            receive: Receive::Exactly(if is_root { 0 } else { len }),
            outbound: if is_root { Outbound::InPlace } else { Outbound::Nothing },
            inbound: Inbound::Whole { storage: Box::new(data), open: false },
            ..Self::new(Call::Bcast { root }, T::DATATYPE)
        }
    }

    /// The same call, of encoded values.
    pub(super) fn of_objects(self) -> Self {
        Self { datatype: Datatype::Object, ..self }
    }
}
