//! Where the payloads of frames live: which bytes go behind a departing head, and where those behind an arriving one
//! belong. The same for every driver, whether its link is a stream or carries whole frames.

use std::sync::Arc;

use edgempi_core::endpoint::{Content, Incoming, Outgoing, Reach};
use edgempi_core::wire::{Layout, MAX_HEAD_LEN, Prefix};
use edgempi_core::{Category, Fault, Instant, RequestId};

use super::State;
use crate::buffers::{Buffers, Inbound};
use crate::error::Error;
use crate::pending::Pending;

/// What becomes of the payload behind a head that has come.
pub(crate) enum Receiving {
    /// It goes to a place in a request's buffers.
    Place { pending: Arc<Pending>, part: usize, offset: usize, len: usize },
    /// It is collected, then taken apart.
    Collect { pending: Arc<Pending>, id: RequestId, layout: Layout, bytes: Vec<u8> },
    /// It says why: `text` bytes for people, then the error of the user's code.
    Reason { bytes: Vec<u8>, text: usize },
    /// Nobody wants it.
    Discard { len: usize },
}

/// Why something failed.
#[derive(Default)]
pub(crate) struct Reason {
    pub(crate) text: String,
    /// What the user's code at the hub returned as its error, as postcard.
    pub(crate) error: Vec<u8>,
}

/// A payload that is not what its request can take, and why.
pub(crate) struct Refused {
    pub(crate) request: RequestId,
    pub(crate) reason: String,
}

impl Receiving {
    /// How many bytes belong to it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Place { len, .. } | Self::Discard { len } => *len,
            Self::Collect { bytes, .. } | Self::Reason { bytes, .. } => bytes.len(),
        }
    }

    /// Takes all of the payload at once, from a link that carries whole frames.
    ///
    /// # Errors
    ///
    /// The hub sent bytes that have no place, and the link ends.
    pub(crate) fn fill(&mut self, payload: &[u8]) -> Result<(), Error> {
        let place = match self {
            Self::Place { pending, part, offset, len } => {
                let mut inner = pending.lock();
                let place = inner.buffers.as_mut().and_then(|buffers| buffers.incoming(*part, *offset, *len));
                let place = place.filter(|place| place.len() == payload.len()).ok_or_else(no_place)?;
                place.copy_from_slice(payload);
                return Ok(());
            }
            Self::Discard { .. } => return Ok(()),
            Self::Collect { bytes, .. } | Self::Reason { bytes, .. } => bytes,
        };
        payload.clone_into(place);
        Ok(())
    }

    /// All of it has come: takes a collected result apart. Returns the reason, if that is what it was.
    pub(crate) fn finish(self) -> Result<Reason, Refused> {
        match self {
            Self::Collect { pending, id, layout, bytes } => {
                let taken = match (&mut pending.lock().buffers, layout) {
                    (Some(buffers), Layout::Equal) => buffers.take_blocks(&bytes),
                    (Some(buffers), Layout::Varied) => buffers.take_parts(&bytes),
                    _ => Ok(()),
                };
                taken.map(|()| Reason::default()).map_err(|reason| Refused { request: id, reason })
            }
            Self::Reason { mut bytes, text } => {
                let error = bytes.split_off(text.min(bytes.len()));
                Ok(Reason { text: String::from_utf8_lossy(&bytes).into_owned(), error })
            }
            Self::Place { .. } | Self::Discard { .. } => Ok(Reason::default()),
        }
    }
}

impl State {
    /// The next frame to send; its head is written to `head`.
    pub(crate) fn poll_transmit(&mut self, now: Instant, head: &mut [u8; MAX_HEAD_LEN]) -> Option<Outgoing> {
        let (endpoint, requests) = self.split();
        endpoint.poll_transmit(now, head, Reach::Everything, |content| match content {
            Content::Group(request) | Content::Operation(request) | Content::Site(request) => requests
                .get(request.index())
                .and_then(|held| held.as_ref())
                .and_then(|held| held.pending.lock().buffers.as_ref().map(|buffers| name_of(buffers, content).len()))
                .unwrap_or(0),
            Content::World | Content::Inline(_) | Content::Part { .. } => 0,
        })
    }

    /// Writes the `len` bytes of `content` to the end of `out`.
    pub(crate) fn write_payload(&self, content: Content, len: usize, out: &mut Vec<u8>) {
        let end = out.len() + len;
        let (request, part) = match content {
            Content::World => {
                out.extend_from_slice(self.world.as_bytes());
                return;
            }
            Content::Group(request) | Content::Operation(request) | Content::Site(request) => (request, None),
            Content::Inline(request) => (request, Some((0, 0))),
            Content::Part { request, part, offset } => (request, Some((part as usize, offset))),
        };
        if let Some(pending) = self.find(request)
            && let Some(buffers) = &pending.lock().buffers
        {
            match (content, part) {
                (Content::Inline(_), _) => buffers.write_inline(len, out),
                (_, Some((part, offset))) => {
                    out.extend_from_slice(buffers.outgoing(part, offset, len).unwrap_or_default());
                }
                (_, None) => out.extend_from_slice(name_of(buffers, content)),
            }
        }
        // Whatever the head announced is what goes out, even if the request is gone.
        out.resize(end, 0);
    }

    /// A head has come: finds out where its payload goes.
    ///
    /// # Errors
    ///
    /// The frame makes no sense, and the link ends.
    pub(crate) fn receive(&mut self, now: Instant, prefix: Prefix, header: &[u8]) -> Result<Receiving, Error> {
        let incoming = self
            .handle_frame(now, prefix, header)
            .map_err(|fault| Error::Protocol { reason: nonsense(&self.hub, fault) })?;
        Ok(match incoming {
            Incoming::Nothing => Receiving::Discard { len: prefix.payload_len as usize },
            Incoming::Payload { request, part, offset, len } => match self.find(request) {
                Some(pending) if !pending.is_resolved() => {
                    Receiving::Place { pending, part: part as usize, offset, len }
                }
                _ => Receiving::Discard { len },
            },
            Incoming::Result { request, layout, len } => match self.find(request) {
                Some(pending) if !pending.is_resolved() => match place_result(&pending, request, layout, len) {
                    Ok(receiving) => receiving,
                    Err(reason) => {
                        self.refuse(request, reason);
                        Receiving::Discard { len }
                    }
                },
                _ => Receiving::Discard { len },
            },
            Incoming::Reason { len, text } => Receiving::Reason { bytes: vec![0; len], text },
            Incoming::Discard { len } => Receiving::Discard { len },
        })
    }
}

/// A payload that its request never expected.
pub(super) fn no_place() -> Error {
    Error::Protocol { reason: "the hub sent bytes that have no place".to_owned() }
}

/// Why the hub's frame ends the link.
fn nonsense(hub: &str, fault: Fault) -> String {
    let Fault { category, len, max, .. } = fault;
    match category {
        Category::Version => format!(
            "the hub at {hub} speaks version {len} of the protocol and this rank version {max}: use the same release \
             of edgempi on both sides"
        ),
        _ => format!("the hub at {hub} sent a frame that makes no sense: {fault}"),
    }
}

fn name_of(buffers: &Buffers, content: Content) -> &[u8] {
    match content {
        Content::Group(_) => &buffers.group,
        Content::Operation(_) => &buffers.operation,
        Content::Site(_) => buffers.site.as_bytes(),
        Content::World | Content::Inline(_) | Content::Part { .. } => &[],
    }
}

/// Where a result goes that comes in one payload. An error says why it can't be taken.
fn place_result(pending: &Arc<Pending>, id: RequestId, layout: Layout, len: usize) -> Result<Receiving, String> {
    let mut inner = pending.lock();
    let Some(buffers) = &mut inner.buffers else { return Ok(Receiving::Discard { len }) };
    if layout == Layout::Single && matches!(buffers.inbound, Inbound::Whole { .. }) {
        buffers.announce(0, len)?;
        return Ok(Receiving::Place { pending: pending.clone(), part: 0, offset: 0, len });
    }
    Ok(Receiving::Collect { pending: pending.clone(), id, layout, bytes: vec![0; len] })
}
