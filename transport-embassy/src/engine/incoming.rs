//! What comes in: heads, and payload into the buffer that is at hand or into the scratch memory.

use core::task::{Context, Poll};

use edgempi_core::endpoint::{Event, Incoming};
use edgempi_core::wire::{GoodbyeReason, Layout, MAX_HEAD_LEN, PREFIX_LEN, Prefix};
use edgempi_core::{Category, RequestId};

use super::{AtHand, Engine, Over, PIECE, entry_of, index_of};
use crate::clock::Clock;
use crate::error::Error;
use crate::hand::Hand;
use crate::memory::{Place, Stage};
use crate::port::Port;

/// What becomes of the payload that is coming in.
#[derive(Clone, Copy)]
enum Destination {
    Request { request: RequestId, place: Place },
    Reason,
    Nowhere,
}

/// A payload that is coming in.
pub(super) struct Receiving {
    destination: Destination,
    len: usize,
    got: usize,
    /// Header bytes ahead of it that only a later version understands.
    surplus: usize,
}

impl<P: Port, C: Clock> Engine<'_, P, C> {
    /// Reads a piece of a frame. Returns whether there was one.
    pub(super) fn read(
        &mut self,
        context: &mut Context<'_>,
        at_hand: Option<&mut AtHand<'_, '_>>,
    ) -> Result<bool, Over> {
        let Some(Receiving { destination, len, got, surplus }) = self.receiving else {
            return self.read_head(context);
        };
        let (destination, left) = if surplus > 0 { (Destination::Nowhere, surplus) } else { (destination, len - got) };
        let n = if left > 0 { self.read_payload(context, at_hand, destination, left, got)? } else { Some(0) };
        let Some(n) = n else { return Ok(false) };
        match &mut self.receiving {
            Some(receiving) if surplus > 0 => receiving.surplus -= n,
            Some(receiving) if n < left => {
                receiving.got = got + n;
                self.endpoint.heard(self.clock.now());
            }
            _ => {
                self.receiving = None;
                self.finish();
            }
        }
        Ok(true)
    }

    /// Reads a piece of a head: the prefix, which says how long the header is, then the header.
    fn read_head(&mut self, context: &mut Context<'_>) -> Result<bool, Over> {
        let wanted = self.head_wanted();
        let Some(place) = self.head.get_mut(self.head_len..wanted) else { return Err(Category::Protocol) };
        let Some(n) = read_some(&mut self.port, context, place)? else { return Ok(false) };
        self.head_len += n;
        if self.head_len >= self.head_wanted() {
            self.begin()?;
        }
        Ok(true)
    }

    fn prefix(&self) -> Prefix {
        Prefix::decode(*self.head.first_chunk().unwrap_or(&[0; PREFIX_LEN]))
    }

    /// How many bytes of head there have to be, as far as that is known.
    fn head_wanted(&self) -> usize {
        let header_len = if self.head_len < PREFIX_LEN { 0 } else { usize::from(self.prefix().header_len) };
        (PREFIX_LEN + header_len).min(MAX_HEAD_LEN)
    }

    /// A head is complete: finds out where its payload goes.
    fn begin(&mut self) -> Result<(), Over> {
        let prefix = self.prefix();
        let now = self.clock.now();
        let header = self.head.get(PREFIX_LEN..self.head_len).unwrap_or_default();
        let surplus = usize::from(prefix.header_len) - header.len();
        let incoming = match self.endpoint.handle_frame(now, prefix, header) {
            Ok(incoming) => incoming,
            Err(fault) => {
                self.lose(fault.into());
                return Err(fault.category);
            }
        };
        self.head_len = 0;
        let destination = match incoming {
            Incoming::Payload { request, part, offset, .. } => {
                Destination::Request { request, place: Place { blocks: false, part, offset } }
            }
            Incoming::Result { request, layout, .. } => {
                // Blocks of different lengths have no place in a typed buffer; the endpoint refuses them.
                let blocks = layout == Layout::Equal;
                Destination::Request { request, place: Place { blocks, part: 0, offset: 0 } }
            }
            Incoming::Reason { text, .. } => {
                self.reason.expect(text);
                Destination::Reason
            }
            Incoming::Nothing | Incoming::Discard { .. } => Destination::Nowhere,
        };
        self.receiving = Some(Receiving { destination, len: prefix.payload_len as usize, got: 0, surplus });
        Ok(())
    }

    /// Moves payload, of which `got` bytes have come and `left` are to come, from the port to where it belongs. `None` if
    /// nothing has come.
    fn read_payload(
        &mut self,
        context: &mut Context<'_>,
        at_hand: Option<&mut AtHand<'_, '_>>,
        destination: Destination,
        left: usize,
        got: usize,
    ) -> Result<Option<usize>, Over> {
        let (request, place) = match destination {
            Destination::Request { request, place } => (request, Place { offset: place.offset + got, ..place }),
            Destination::Reason | Destination::Nowhere => (RequestId::NONE, Place::START),
        };
        // None, too, for one that was given up while its bytes were on their way.
        let index = index_of(self.entries, request);
        let mut hand = at_hand.filter(|at_hand| at_hand.request == request).map(|at_hand| &mut *at_hand.hand);
        let mut piece = [0; PIECE];
        let room: &mut [u8] = match (index, &mut hand) {
            (None, _) if matches!(destination, Destination::Reason) => self.reason.space(),
            (Some(index), None) => return self.store(context, index, place, left),
            (Some(_), Some(hand)) if !hand.has_function() => hand.incoming(place, left).ok_or(Category::Protocol)?,
            _ => &mut [],
        };
        let room = if room.is_empty() { &mut piece } else { room };
        let wanted = left.min(room.len());
        let Some(n) = read_some(&mut self.port, context, room.get_mut(..wanted).unwrap_or_default())? else {
            return Ok(None);
        };
        if let Destination::Reason = destination {
            self.reason.advance(n);
        }
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.taken += n;
            if let Some(take) = hand.and_then(Hand::function) {
                take(place.offset, piece.get(..n).unwrap_or_default());
            }
        }
        Ok(Some(n))
    }

    /// A frame has come whole.
    fn finish(&mut self) {
        match self.endpoint.poll_event_keeping() {
            None => {}
            // It was given up: nobody will take its result.
            Some(Event::Released { request }) => self.endpoint.free(request),
            Some(Event::Welcome(_)) => {
                self.joined = true;
                self.wake_watcher();
            }
            Some(Event::Part { request, part, len }) => {
                let share = self.area(request.index()).1;
                if let Some(entry) = entry_of(self.entries, request) {
                    // The first part may begin at once; every other one waits for credit.
                    entry.granted = if entry.part_len == 0 { share.min(len) } else { 0 };
                    (entry.part, entry.part_len, entry.taken) = (part, len, 0);
                    entry.wake();
                }
            }
            Some(Event::Complete { request, status }) => self.settle(request, Stage::Done(status)),
            Some(Event::Fail { request, fault }) => self.settle(request, Stage::Failed(fault.into())),
            Some(Event::Rejected(fault)) => self.lose(fault.into()),
            Some(Event::Goodbye(reason)) => {
                self.goodbye = Some(reason);
                let category = match reason {
                    GoodbyeReason::Finished => Category::RankFinished,
                    _ => Category::Disconnected,
                };
                self.lose(Error::new(category));
            }
        }
    }
}

/// Reads what has come; `None` if nothing has.
pub(super) fn read_some<P: Port>(
    port: &mut P,
    context: &mut Context<'_>,
    place: &mut [u8],
) -> Result<Option<usize>, Over> {
    if place.is_empty() {
        return Ok(Some(0));
    }
    match port.poll_read(context, place) {
        Poll::Pending => Ok(None),
        Poll::Ready(Ok(0) | Err(_)) => Err(Category::Disconnected),
        Poll::Ready(Ok(n)) => Ok(Some(n)),
    }
}
