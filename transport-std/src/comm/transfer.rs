//! The one untyped call behind the [`Communicator`](edgempi_core::Communicator) trait: any call, on borrowed bytes.

use std::panic::Location;

use edgempi_core::request::{Parts, Receive, Role, Sent};
use edgempi_core::{Buffers, Call, Communicator, Datatype, Rank, Status};

use super::{Comm, Started, whole};
use crate::buffers::{Inbound, Outbound};
use crate::engine::OwnedCall;
use crate::error::Error;
use crate::request::{OnDrop, Request};

/// Bytes that are sent are copied at the call; a result is copied to `buffers` when the request is polled or waited for.
/// So the borrowed memory is touched by this request alone.
impl Communicator for Comm {
    type Error = Error;
    type Transfer<'a> = Request<'a, Status>;
    type Progress<'a> = std::future::Ready<()>;

    fn rank(&self) -> Rank {
        self.id.rank
    }

    fn size(&self) -> u32 {
        self.id.size
    }

    #[track_caller]
    fn transfer<'a>(&'a self, call: Call<'a>, datatype: Datatype, buffers: Buffers<'a>) -> Request<'a, Status> {
        start(self, call, datatype, buffers)
    }

    fn progress(&self) -> Self::Progress<'_> {
        // The engine's own thread sees to that.
        std::future::ready(())
    }
}

/// Starts `call`; its bytes are copied now, and its result into `buffers` when it is polled.
#[track_caller]
fn start<'a>(comm: &Comm, call: Call<'a>, datatype: Datatype, buffers: Buffers<'a>) -> Request<'a, Status> {
    let site = Location::caller();
    let role = Role::new(&call, comm.rank());
    let (send, receive): (Option<Vec<u8>>, Option<&'a mut [u8]>) = match buffers {
        Buffers::None => (None, None),
        Buffers::Send(send) => (Some(send.to_vec()), None),
        Buffers::Receive(receive) => (None, Some(receive)),
        Buffers::Both { send, receive } => (Some(send.to_vec()), Some(receive)),
        Buffers::InPlace(bytes) => (Some(bytes.to_vec()), Some(bytes)),
    };
    let send = send.unwrap_or_default();
    let room = receive.as_ref().map_or(0, |receive| receive.len());
    let inbound = match staging(comm, &call, role, &send, room) {
        Ok(inbound) => inbound,
        Err(error) => return Request::refused(error),
    };
    let at_most = matches!(call, Call::Recv { .. } | Call::Mrecv { .. } | Call::User { .. });
    let receives = !matches!(role.down, Parts::None);
    let expected = match (receives, at_most) {
        (false, _) => Receive::Exactly(0),
        (true, true) => Receive::AtMost(room),
        (true, false) => Receive::Exactly(room),
    };
    let own = own_block(comm, &call, &send);
    if let Some(own) = own.as_ref().filter(|own| own.len() != room) {
        return Request::refused(truncated(own.len(), room));
    }
    let call = match owned(comm, call) {
        Ok(call) => call,
        Err(error) => return Request::refused(error),
    };
    let started = Started {
        call,
        datatype,
        sent: Sent::Equal(send.len()),
        receive: expected,
        outbound: Outbound::Whole(Box::new(send)),
        inbound,
    };
    comm.start_at(started, OnDrop::Cancel, site, move |completion| {
        let status = completion.status;
        let Some(place) = receive else { return Ok(status) };
        if receives {
            let received = whole::<u8>(completion)?;
            let part = place.get_mut(..received.len()).ok_or_else(|| Error::defect())?;
            part.copy_from_slice(&received);
        } else if let Some(own) = own {
            place.get_mut(..own.len()).ok_or_else(|| Error::defect())?.copy_from_slice(&own);
        }
        Ok(status)
    })
}

/// Where the result is collected.
fn staging(comm: &Comm, call: &Call<'_>, role: Role, send: &[u8], room: usize) -> Result<Inbound, Error> {
    let (size, rank) = (comm.size() as usize, comm.rank().index());
    Ok(match role.down {
        Parts::None => Inbound::Nothing,
        Parts::One => Inbound::Whole { storage: Box::new(Vec::<u8>::new()), open: true },
        Parts::EachOther => {
            let exchanges = matches!(call, Call::Alltoall | Call::Alltoallv);
            let needed = if exchanges { send.len() } else { send.len().saturating_mul(size) };
            if room != needed {
                return Err(truncated(needed, room));
            }
            let block = room / size;
            let own = &send[if exchanges { rank * block } else { 0 }..][..block];
            let mut all = vec![0u8; room];
            all[rank * block..][..block].copy_from_slice(own);
            Inbound::Blocks(Box::new(all))
        }
    })
}

/// What a call brings does not fit its buffer.
fn truncated(len: usize, room: usize) -> Error {
    let reason = format!("the call brings {len} bytes, and its buffer has room for {room}");
    Error::Truncated { len: len as u64, max: room as u64, reason }
}

/// What the root of a scatter keeps of its own data.
fn own_block(comm: &Comm, call: &Call<'_>, send: &[u8]) -> Option<Vec<u8>> {
    match call {
        Call::Scatter { root } | Call::Scatterv { root } if *root == comm.rank() => {
            let block = send.len() / comm.size() as usize;
            send.get(comm.rank().index() * block..)?.get(..block).map(<[u8]>::to_vec)
        }
        _ => None,
    }
}

fn owned(comm: &Comm, call: Call<'_>) -> Result<OwnedCall, Error> {
    match call {
        Call::User { name, version, group } => OwnedCall::user(group, comm.size(), name, version),
        _ => call.builtin().map(OwnedCall::Builtin).ok_or_else(|| Error::defect()),
    }
}
