//! Where an endpoint's requests lie: slots that are free, ready to send, or hold a further part of a message.

use super::{Endpoint, Event};
use crate::request::{Marks, Progress, RequestId, Slot, State};

/// A list of slots, chained by `next`; numbers are indices plus one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    pub(super) head: u16,
    pub(super) tail: u16,
}

impl<S: AsRef<[Slot]> + AsMut<[Slot]> + ?Sized> Endpoint<S> {
    /// The slot of `part` of the request at `index`, its own or a further one.
    pub(super) fn part_slot(&self, index: u16, part: u32, state: State) -> Option<u16> {
        let slots = self.slots.as_ref();
        let request = slots.get(usize::from(index))?;
        let own = if state == State::UpPart { &request.up } else { &request.down };
        if own.len > 0 && own.part == part {
            return Some(index);
        }
        let mut next = request.parts;
        while next != 0 {
            let slot = slots.get(usize::from(next - 1))?;
            let progress = if state == State::UpPart { &slot.up } else { &slot.down };
            if slot.state == state && progress.part == part {
                return Some(next - 1);
            }
            next = slot.parts;
        }
        None
    }

    /// Whether a part that was announced to the request at `index` has not come whole.
    pub(super) fn is_receiving(&self, index: u16) -> bool {
        let slots = self.slots.as_ref();
        let Some(request) = slots.get(usize::from(index)) else { return false };
        let further = |number: &u16| Some(slots.get(usize::from(number.checked_sub(1)?))?.parts);
        let mut others = core::iter::successors(Some(request.parts), further);
        request.down.len > 0
            || others.any(|number| {
                let slot = number.checked_sub(1).and_then(|index| slots.get(usize::from(index)));
                slot.is_some_and(|slot| slot.state == State::DownPart)
            })
    }

    /// Opens a part of the request at `index`, in its own slot if that has room.
    pub(super) fn open_part(&mut self, index: u16, state: State, progress: Progress) -> Option<u16> {
        if progress.len == 0 {
            // An empty part is over before it begins.
            return Some(index);
        }
        let slot = self.slot_mut(index)?;
        let own = if state == State::UpPart { &mut slot.up } else { &mut slot.down };
        if own.len == 0 {
            *own = progress;
            return Some(index);
        }
        let first = slot.parts;
        let further = self.pop_free()?;
        let slot = self.slot_mut(further)?;
        (slot.state, slot.owner, slot.parts) = (state, index, first);
        if state == State::UpPart {
            slot.up = progress;
        } else {
            slot.down = progress;
        }
        if let Some(slot) = self.slot_mut(index) {
            slot.parts = further + 1;
        }
        Some(further)
    }

    /// A part at `index` is over; `owner` is its request.
    pub(super) fn close_part(&mut self, owner: u16, index: u16) {
        let Some(slot) = self.slot_mut(index) else { return };
        if index == owner {
            if slot.up.len > 0 && slot.up.offset == slot.up.len {
                slot.up = Progress::default();
            }
            if slot.down.len > 0 && slot.down.offset == slot.down.len {
                slot.down = Progress::default();
                slot.marks.clear(Marks::CREDIT);
            }
            return;
        }
        let next = slot.parts;
        let mut at = owner;
        while let Some(slot) = self.slot_mut(at) {
            if slot.parts == index + 1 {
                slot.parts = next;
                break;
            }
            match slot.parts {
                0 => break,
                further => at = further - 1,
            }
        }
        self.retire(index);
    }

    /// A request has its answer; its slot is free once `event` has been taken.
    pub(super) fn finish(&mut self, index: u16, event: Event) {
        self.settle(index);
        if let Some(slot) = self.slot_mut(index) {
            slot.state = State::Finished;
        }
        self.finished = Some(index);
        self.event = Some(event);
    }

    /// Frees a request's slot and those of its parts.
    pub(super) fn release(&mut self, index: u16) {
        self.settle(index);
        let mut next = self.slot_mut(index).map_or(0, |slot| slot.parts);
        while next != 0 {
            let further = next - 1;
            next = self.slot_mut(further).map_or(0, |slot| slot.parts);
            self.retire(further);
        }
        self.retire(index);
        self.open -= 1;
    }

    /// Leaving no longer waits for this request.
    pub(super) fn settle(&mut self, index: u16) {
        if let Some(slot) = self.slot_mut(index)
            && !slot.marks.has(Marks::SETTLED)
        {
            slot.marks.set(Marks::SETTLED);
            self.unsettled -= 1;
        }
    }

    /// Empties a slot. If it is still in the ready list, it is freed when it comes up there.
    pub(super) fn retire(&mut self, index: u16) {
        let Some(slot) = self.slot_mut(index) else { return };
        let before = core::mem::replace(slot, Slot::FREE);
        slot.generation = before.generation.wrapping_add(1).max(1);
        slot.next = before.next;
        slot.marks = before.marks.only(Marks::LISTED);
        if !slot.marks.has(Marks::LISTED) {
            self.push_free(index);
        }
    }

    #[inline(never)] // for boards: it is small, and has many callers
    pub(super) fn find(&mut self, request: RequestId) -> Option<(u16, &mut Slot)> {
        let slot = self.slots.as_mut().get_mut(request.index())?;
        let live = slot.generation == request.generation() && matches!(slot.state, State::Queued | State::Open);
        live.then_some((request.index() as u16, slot))
    }

    pub(super) fn slot_mut(&mut self, index: u16) -> Option<&mut Slot> {
        self.slots.as_mut().get_mut(usize::from(index))
    }

    pub(super) fn push_free(&mut self, index: u16) {
        let mut list = self.free;
        self.push(&mut list, index);
        self.free = list;
        if let Some(slot) = self.slot_mut(index) {
            slot.generation = slot.generation.max(1);
        }
    }

    pub(super) fn pop_free(&mut self) -> Option<u16> {
        let mut list = self.free;
        let index = self.pop(&mut list);
        self.free = list;
        index
    }

    pub(super) fn push_ready(&mut self, index: u16) {
        if let Some(slot) = self.slot_mut(index) {
            if slot.marks.has(Marks::LISTED) {
                return;
            }
            slot.marks.set(Marks::LISTED);
        }
        let mut list = self.ready;
        self.push(&mut list, index);
        self.ready = list;
    }

    /// Puts a slot that is in no list at the front of the ready list.
    pub(super) fn push_ready_first(&mut self, index: u16) {
        let List { head, tail } = self.ready;
        let Some(slot) = self.slot_mut(index) else { return };
        slot.marks.set(Marks::LISTED);
        slot.next = head;
        self.ready = List { head: index + 1, tail: if tail == 0 { index + 1 } else { tail } };
    }

    pub(super) fn peek_ready(&self) -> Option<u16> {
        self.ready.head.checked_sub(1)
    }

    pub(super) fn pop_ready(&mut self) {
        let mut list = self.ready;
        let index = self.pop(&mut list);
        self.ready = list;
        if let Some(index) = index
            && let Some(slot) = self.slot_mut(index)
        {
            slot.marks.clear(Marks::LISTED);
            if slot.state == State::Free {
                self.push_free(index);
            }
        }
    }

    pub(super) fn push(&mut self, list: &mut List, index: u16) {
        match list.tail.checked_sub(1).and_then(|tail| self.slot_mut(tail)) {
            Some(tail) => tail.next = index + 1,
            None => list.head = index + 1,
        }
        list.tail = index + 1;
    }

    pub(super) fn pop(&mut self, list: &mut List) -> Option<u16> {
        let index = list.head.checked_sub(1)?;
        let slot = self.slot_mut(index)?;
        list.head = core::mem::take(&mut slot.next);
        if list.head == 0 {
            list.tail = 0;
        }
        Some(index)
    }
}
