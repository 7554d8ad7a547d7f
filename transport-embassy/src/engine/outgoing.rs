//! What goes out: frames whose payload is at hand, begun only if they fit the port.

use core::task::{Context, Poll};

use edgempi_core::endpoint::{Content, NO_NAME_LEN, Outgoing, Reach};
use edgempi_core::wire::MAX_HEAD_LEN;
use edgempi_core::{Category, Rank, RequestId, Status, Tag};

use super::{AtHand, Engine, Over, PIECE, STEPS_PER_POLL};
use crate::clock::Clock;
use crate::error::Error;
use crate::hand::{Hand, Source};
use crate::memory::Stage;
use crate::port::Port;
use crate::site::SITES;

/// A frame is begun if its head and this much payload fit: any place in the source, where those are told.
const LEAST_ROOM: usize = MAX_HEAD_LEN + if SITES != 0 { 128 } else { 64 };

impl<P: Port, C: Clock> Engine<'_, P, C> {
    /// Writes a frame. Returns whether there was one.
    pub(super) fn write(
        &mut self,
        context: &mut Context<'_>,
        at_hand: Option<&mut AtHand<'_, '_>>,
    ) -> Result<bool, Over> {
        let names = at_hand.as_ref().and_then(|at_hand| at_hand.hand.names);
        let wanted = names.map_or(LEAST_ROOM, |names| names.room.max(LEAST_ROOM));
        self.is_blocked = true;
        let room = match self.port.poll_free(context, wanted) {
            Poll::Ready(Ok(room)) => room,
            Poll::Ready(Err(_)) => {
                self.is_deaf = true;
                return Ok(false);
            }
            Poll::Pending => return Ok(false),
        };
        self.is_blocked = false;
        let now = self.clock.now();
        let mut head = [0; MAX_HEAD_LEN];
        let reach = Reach::Within { room, request: at_hand.as_ref().map(|at_hand| at_hand.request) };
        let hand = at_hand.map(|at_hand| &mut *at_hand.hand);
        let name_len = |content| match (content, &hand) {
            (Content::Site(_), Some(hand)) => hand.site.len(),
            (_, Some(Hand { names: Some(names), .. })) => names.len(content),
            _ => 0,
        };
        let Some(outgoing) = self.endpoint.poll_transmit(now, &mut head, reach, name_len) else { return Ok(false) };
        let Outgoing { head_len, payload, done } = outgoing;
        self.put(head.get(..head_len).unwrap_or_default())?;
        match (payload, hand) {
            (Some((Content::World, _)), _) => {
                let world = self.world;
                self.put(world.as_bytes())?;
            }
            (Some((content, len)), Some(hand)) => self.put_content(hand, content, len)?,
            // Of an operation that was given up before its name could leave, nobody knows the name: it has none.
            (Some((Content::Operation(_), _)), None) => self.put(&[0; NO_NAME_LEN])?,
            // The endpoint offers no payload that is out of reach.
            (Some(_), None) => return Err(Category::Protocol),
            (None, _) => {}
        }
        if let Some(request) = done {
            self.sent(request);
        }
        Ok(true)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.port.write(bytes).map_err(|_| Category::Disconnected)
    }

    fn put_content(&mut self, hand: &mut Hand<'_>, content: Content, len: usize) -> Result<(), Over> {
        let (part, offset) = match content {
            Content::World => return Ok(()),
            Content::Site(_) => {
                let (number, _) = hand.site.number(self.sites);
                if let Some(site) = usize::from(number).checked_sub(1).and_then(|index| self.sites.get_mut(index)) {
                    site.told = true;
                }
                return hand.site.write(&mut |bytes| self.put(bytes));
            }
            Content::Group(_) | Content::Operation(_) => {
                let Some(names) = &hand.names else { return Err(Category::Protocol) };
                let number = names.write(content, &mut |bytes| self.put(bytes))?;
                if let Some(name) = self.names.get_mut(number) {
                    name.told = true;
                }
                return Ok(());
            }
            Content::Inline(_) if hand.sends_blocks => {
                let Some(blocks) = hand.blocks else { return Err(Category::Protocol) };
                return (blocks.write)(hand, len, &mut |bytes| self.put(bytes));
            }
            Content::Inline(_) => (0, 0),
            Content::Part { part, offset, .. } => (part, offset),
        };
        if let Source::Function(fill) = &mut hand.source {
            let mut done = 0;
            while done < len {
                let mut bytes = [0; PIECE];
                let piece = bytes.get_mut(..(len - done).min(PIECE)).unwrap_or_default();
                fill(offset + done, piece);
                done += piece.len();
                self.put(piece)?;
            }
            return Ok(());
        }
        let bytes = hand.outgoing(part, offset, len).ok_or(Category::Protocol)?;
        self.put(bytes)
    }

    /// A send's bytes are all on their way, and the hub has room for them: it is done for its caller, as long as another
    /// slot is left for the next call.
    fn sent(&mut self, request: RequestId) {
        if self.endpoint.has_free_slot() {
            let status = Status { source: Rank::new(0), tag: Tag(0), bytes: 0 };
            self.settle(request, Stage::Done(status));
        }
    }

    /// Writes what there is room for, without waiting for more.
    pub(super) fn write_now(&mut self, context: &mut Context<'_>, mut at_hand: Option<AtHand<'_, '_>>) {
        for _ in 0..STEPS_PER_POLL {
            match self.write(context, at_hand.as_mut()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(category) => return self.lose(Error::new(category)),
            }
        }
        if self.is_blocked {
            // The port may have forgotten whom to wake.
            self.wake_another();
        }
    }
}
