//! The scratch memory: what has come for a request that nobody polls, and how much more of it may come.

use core::task::Context;

use edgempi_core::{Category, RequestId};

use super::incoming::read_some;
use super::{AtHand, Engine, Over, index_of};
use crate::clock::Clock;
use crate::memory::Place;
use crate::port::Port;

impl<P: Port, C: Clock> Engine<'_, P, C> {
    /// Puts payload of a request that nobody polls into the scratch memory, and wakes whoever should.
    pub(super) fn store(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        place: Place,
        left: usize,
    ) -> Result<Option<usize>, Over> {
        let (start, capacity) = self.area(index);
        let Some(entry) = self.entries.get_mut(index) else { return Err(Category::Protocol) };
        let stored = usize::from(entry.stored);
        if stored == 0 {
            entry.place = place;
        }
        let room = left.min(capacity - stored.min(capacity));
        let area = self.scratch.get_mut(start + stored..start + stored + room);
        // No room means that more came than there was credit for, which the endpoint does not let through.
        let area = area.filter(|area| !area.is_empty()).ok_or(Category::Protocol)?;
        let n = read_some(&mut self.port, context, area)?;
        entry.stored += n.unwrap_or(0) as u16;
        entry.wake();
        Ok(n)
    }

    /// Where in the scratch memory a request's bytes go: its share, or the pool.
    pub(super) fn area(&self, index: usize) -> (usize, usize) {
        match self.entries.get(index) {
            Some(entry) if entry.has_pool => (self.share * self.entries.len(), self.pool()),
            _ => (self.share * index, self.share),
        }
    }

    fn pool(&self) -> usize {
        self.scratch.len().saturating_sub(self.share * self.entries.len())
    }

    /// Moves what waits in the scratch memory into the buffer that is at hand.
    pub(super) fn unpack(&mut self, at_hand: &mut AtHand<'_, '_>) {
        let Some(index) = index_of(self.entries, at_hand.request) else { return };
        let (start, _) = self.area(index);
        let Some(entry) = self.entries.get_mut(index) else { return };
        let stored = usize::from(entry.stored);
        let bytes = self.scratch.get(start..start + stored).unwrap_or_default();
        let mut place = entry.place;
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = if let Some(take) = at_hand.hand.function() {
                take(place.offset, rest);
                rest.len()
            } else {
                // A block ends where the next rank's begins.
                let Some(room) = at_hand.hand.incoming(place, rest.len()) else { break };
                for (to, from) in room.iter_mut().zip(rest) {
                    *to = *from;
                }
                room.len()
            };
            rest = rest.get(n..).unwrap_or_default();
            place.offset += n;
            if n == 0 {
                break;
            }
        }
        if entry.place.part == entry.part {
            entry.taken += stored;
        }
        entry.stored = 0;
    }

    /// Gives the hub credit for as much as the request has a place for.
    pub(super) fn top_up(&mut self, request: RequestId) {
        let Some(index) = index_of(self.entries, request) else { return };
        let pool_is_free = !self.entries.iter().any(|entry| entry.has_pool);
        let (share, pool) = (self.share, self.pool());
        let Some(entry) = self.entries.get_mut(index) else { return };
        if pool_is_free && entry.stored == 0 && entry.part_len.saturating_sub(entry.taken) > share {
            entry.has_pool = true;
        }
        let capacity = if entry.has_pool { pool } else { share };
        let limit = entry.part_len.min(entry.taken + capacity);
        let more = limit.saturating_sub(entry.granted);
        if more > 0 && (limit == entry.part_len || more >= capacity / 2) {
            entry.granted = limit;
            self.endpoint.grant(request, entry.part, limit);
        }
    }
}
