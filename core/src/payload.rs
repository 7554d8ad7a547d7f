//! The bytes of payloads at the hub: shared by all who are to get them, in memory that is used again.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::ops::{Deref, RangeBounds};

/// The smallest block that a [`Pool`] keeps has so many bytes, as a power of two; each kind is twice the one before.
const SMALLEST: u32 = 6;
/// How many kinds of blocks there are.
const KINDS: usize = 15;
/// Blocks from this size on are large. Smaller ones are left to the allocator where thousands of them may be: it is quick
/// with them, and what is kept of them between others could not always be given back to the system.
pub(crate) const LARGE: usize = 8 * 1024;
/// How many blocks are looked at for one that nobody holds.
const LOOKS: usize = 4;

/// Bytes that nobody changes any more. A clone or a [slice](Self::slice) shares them.
#[derive(Clone, Default)]
pub struct Payload {
    block: Option<Arc<Vec<u8>>>,
    start: usize,
    end: usize,
}

impl Payload {
    /// No bytes, which take no memory.
    pub const fn new() -> Self {
        Self { block: None, start: 0, end: 0 }
    }

    /// The bytes of a range of this one's, as far as it has them.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        use core::ops::Bound::{Excluded, Included, Unbounded};
        let len = self.len();
        let from = match range.start_bound() {
            Included(from) => *from,
            Excluded(before) => before.saturating_add(1),
            Unbounded => 0,
        };
        let to = match range.end_bound() {
            Included(last) => last.saturating_add(1),
            Excluded(to) => *to,
            Unbounded => len,
        };
        let to = to.min(len);
        let from = from.min(to);
        Self { block: self.block.clone(), start: self.start + from, end: self.start + to }
    }

    /// Takes the first `len` bytes off, as far as it has them.
    #[must_use]
    pub fn split_to(&mut self, len: usize) -> Self {
        let first = self.slice(..len);
        self.start = first.end.max(self.start);
        first
    }

    /// All pieces in one: without a copy, if there is one only.
    pub fn concat(pieces: &[Self]) -> Self {
        match pieces {
            [] => Self::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.block.as_ref().and_then(|block| block.get(self.start..self.end)).unwrap_or_default()
    }
}

impl Borrow<[u8]> for Payload {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { block: (end > 0).then(|| Arc::new(bytes)), start: 0, end }
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

/// Memory that is being filled and will be a [`Payload`]. It may hold anything at first.
pub struct Room {
    block: Arc<Vec<u8>>,
    len: usize,
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.block.get(..self.len).unwrap_or_default()
    }
}

impl core::ops::DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        // Nobody else holds a block while it is a room.
        Arc::get_mut(&mut self.block).and_then(|block| block.get_mut(..len)).unwrap_or_default()
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({} bytes)", self.len)
    }
}

/// Memory for payloads, in blocks of a few sizes, each used again once nobody holds any of its bytes: what has
/// warmed up allocates none for payloads that pass through it.
///
/// ```
/// use edgempi_core::payload::Pool;
///
/// let mut pool = Pool::new(1 << 20);
/// let mut room = pool.room(5);
/// room.copy_from_slice(b"hello");
/// let payload = pool.fill(room);
/// assert_eq!(*payload.slice(1..), *b"ello");
/// ```
pub struct Pool {
    /// Blocks of 64 bytes, 128, and so on. Some may still be held by others.
    blocks: [VecDeque<Arc<Vec<u8>>>; KINDS],
    /// Bytes of all of them.
    kept: usize,
    limit: usize,
    /// The size of the smallest that are kept.
    least: usize,
}

impl Pool {
    /// A pool that keeps blocks of at most `limit` bytes in all; what it lends beyond them is not used again.
    pub fn new(limit: usize) -> Self {
        Self { blocks: [const { VecDeque::new() }; KINDS], kept: 0, limit, least: 0 }
    }

    /// The same, which keeps blocks from 8 KiB on only: many small ones would hold the system's memory in pieces.
    pub fn of_large(limit: usize) -> Self {
        Self { least: LARGE, ..Self::new(limit) }
    }

    /// Which kind of block has room for `len` bytes, if one has.
    fn kind(len: usize) -> Option<usize> {
        let power = len.checked_next_power_of_two()?.ilog2().max(SMALLEST);
        usize::try_from(power - SMALLEST).ok().filter(|kind| *kind < KINDS)
    }

    /// Room for `len` bytes.
    pub fn room(&mut self, len: usize) -> Room {
        let Some(kind) = Self::kind(len) else { return Room { block: Arc::new(vec![0; len]), len } };
        for _ in 0..LOOKS {
            let Some(mut block) = self.blocks.get_mut(kind).and_then(VecDeque::pop_front) else { break };
            if Arc::get_mut(&mut block).is_some() {
                self.kept -= block.len();
                return Room { block, len };
            }
            if let Some(blocks) = self.blocks.get_mut(kind) {
                blocks.push_back(block);
            }
        }
        let size = 1 << (kind + SMALLEST as usize);
        Room { block: Arc::new(vec![0; if size < self.least { len } else { size }]), len }
    }

    /// What was written to the room.
    pub fn fill(&mut self, room: Room) -> Payload {
        let Room { block, len } = room;
        let size = block.len();
        if size >= self.least
            && size.is_power_of_two()
            && self.kept + size <= self.limit
            && let Some(blocks) = Self::kind(size).and_then(|kind| self.blocks.get_mut(kind))
        {
            blocks.push_back(block.clone());
            self.kept += size;
        }
        Payload { block: Some(block), start: 0, end: len }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {} bytes)", self.kept, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(pool: &mut Pool, bytes: &[u8]) -> Payload {
        let mut room = pool.room(bytes.len());
        room.copy_from_slice(bytes);
        pool.fill(room)
    }

    #[test]
    fn slices_share_and_end_where_the_bytes_do() {
        let payload = Payload::from(vec![0, 1, 2, 3, 4, 5]);
        assert_eq!(*payload.slice(2..4), [2, 3]);
        assert_eq!(*payload.slice(2..4).slice(1..), [3]);
        assert_eq!(*payload.slice(..=1), [0, 1]);
        for beyond in [payload.slice(6..), payload.slice(9..12), payload.slice(2..4).slice(3..)] {
            assert!(beyond.is_empty());
        }
        assert_eq!(*payload.slice(4..100), [4, 5]);
        assert_eq!(Payload::new(), Payload::from(vec![]));
    }

    #[test]
    fn what_is_split_off_is_gone_and_pieces_go_together_again() {
        let mut payload = Payload::from(vec![0, 1, 2, 3, 4, 5]);
        let first = payload.split_to(2);
        let second = payload.split_to(1);
        assert_eq!((&*first, &*second, &*payload), (&[0, 1][..], &[2][..], &[3, 4, 5][..]));
        assert_eq!(*Payload::concat(&[first.clone(), second, payload.clone()]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(Payload::concat(core::slice::from_ref(&first)).as_ptr(), first.as_ptr());
        assert_eq!((*payload.split_to(100) == [3, 4, 5], payload.len()), (true, 0));
        assert_eq!(Payload::concat(&[]), Payload::new());
    }

    #[test]
    fn a_block_is_used_again_when_nobody_holds_its_bytes() {
        let mut pool = Pool::new(1 << 20);
        let first = fill(&mut pool, &[1; LARGE]);
        let place = first.as_ptr();
        let part = first.slice(50..);
        drop(first);
        let second = fill(&mut pool, &[2; LARGE]);
        assert_ne!(second.as_ptr(), place, "a part of the first is still held");
        assert!(part.iter().all(|byte| *byte == 1));
        drop(part);
        let third = fill(&mut pool, &[3; LARGE - 10]);
        assert_eq!(third.as_ptr(), place);
        assert_eq!((*second == [2; LARGE], *third == [3; LARGE - 10]), (true, true));
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_limit() {
        let limit = 4 * LARGE;
        let mut pool = Pool::new(limit);
        let held: Vec<Payload> = (0..20).map(|index| fill(&mut pool, &[index; LARGE])).collect();
        assert_eq!(pool.kept, limit);
        assert!(held.iter().enumerate().all(|(index, payload)| **payload == [index as u8; LARGE]));
        drop(held);
        for len in [0, 1, 64, 65, 1000, 1025, 1 << 20, (1 << 20) + 1, 3 << 20] {
            let payload = fill(&mut pool, &vec![7; len]);
            assert!(payload.len() == len && payload.iter().all(|byte| *byte == 7), "{len}");
            assert!(pool.kept <= limit, "{len}");
            let mut large = Pool::of_large(limit);
            let small = fill(&mut large, &vec![7; len]);
            assert!(
                small.len() == len && (large.kept == 0) == (len <= LARGE / 2 || large.kept > limit || len > limit),
                "{len}"
            );
        }
    }
}
