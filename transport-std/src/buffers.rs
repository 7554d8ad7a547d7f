//! The memory of a request: what it sends and where its result goes, with the types of the elements put aside.

use std::any::Any;

use edgempi_core::Element;
use edgempi_core::request::CommunicatorId;
use zerocopy::FromZeros;

/// Memory of elements, seen as bytes.
pub(crate) trait Storage: Send {
    fn bytes(&self) -> &[u8];
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Makes room for `len` bytes, whatever they are. An error says why not.
    fn resize(&mut self, len: usize) -> Result<(), String>;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Element> Storage for Vec<T> {
    fn bytes(&self) -> &[u8] {
        zerocopy::IntoBytes::as_bytes(self.as_slice())
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        zerocopy::IntoBytes::as_mut_bytes(self.as_mut_slice())
    }

    fn resize(&mut self, len: usize) -> Result<(), String> {
        if !len.is_multiple_of(size_of::<T>()) {
            let (size, name) = (size_of::<T>(), T::DATATYPE);
            return Err(format!("{len} bytes are no whole number of {name} elements of {size} bytes"));
        }
        let memory = std::mem::take(self);
        *self = sized(memory, len / size_of::<T>()).ok_or_else(|| format!("no memory for {len} bytes"))?;
        Ok(())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Memory of elements in a vector for each rank, their lengths up to the ranks.
pub(crate) trait Parts: Send {
    fn count(&self) -> usize;
    fn get(&self, part: usize) -> Option<&dyn Storage>;
    fn get_mut(&mut self, part: usize) -> Option<&mut dyn Storage>;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Element> Parts for Vec<Vec<T>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, part: usize) -> Option<&dyn Storage> {
        self.as_slice().get(part).map(|part| part as &dyn Storage)
    }

    fn get_mut(&mut self, part: usize) -> Option<&mut dyn Storage> {
        self.as_mut_slice().get_mut(part).map(|part| part as &mut dyn Storage)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl dyn Parts {
    /// The bytes of each part.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count()).map(|part| self.get(part).map_or(&[][..], Storage::bytes))
    }
}

/// A vector of `len` elements, whatever they are: in `memory`, if there is enough. `None` if there is none.
pub(crate) fn sized<T: Element>(mut memory: Vec<T>, len: usize) -> Option<Vec<T>> {
    if memory.capacity() < len {
        return <T as FromZeros>::new_vec_zeroed(len).ok();
    }
    memory.resize(len, T::new_zeroed());
    Some(memory)
}

/// What a request sends.
pub(crate) enum Outbound {
    /// Nothing.
    Nothing,
    /// What will be overwritten by the result; of parts, the own one, which stays.
    InPlace,
    /// One part, or blocks of one length.
    Whole(Box<dyn Storage>),
    /// A part for each rank; the own one is empty.
    Parts(Box<dyn Parts>),
}

/// Where a request's result goes.
pub(crate) enum Inbound {
    /// Nowhere.
    Nothing,
    /// One part.
    Whole {
        storage: Box<dyn Storage>,
        /// Whether the length is up to the sender.
        open: bool,
    },
    /// A block of one length from each rank; the own one is there already.
    Blocks(Box<dyn Storage>),
    /// A part from each rank, of whatever length; the own one is there already.
    Parts(Box<dyn Parts>),
}

/// Both directions of a request, and the names that travel ahead of it.
pub(crate) struct Buffers {
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
    /// Whether there is a part for each rank to send.
    pub(crate) split: bool,
    /// Position of this rank and size of the communicator.
    pub(crate) own: usize,
    pub(crate) size: usize,
    /// Most bytes that may come in parts of their own.
    pub(crate) limit: usize,
    /// Whether anything has come: of an empty message nothing does.
    announced: bool,
    /// Payloads of names that the hub has not been told.
    pub(crate) group: Vec<u8>,
    pub(crate) operation: Vec<u8>,
    pub(crate) site: String,
}

impl Buffers {
    /// The buffers of a call on a communicator, which may receive `limit` bytes in parts of their own.
    pub(crate) fn new(outbound: Outbound, inbound: Inbound, communicator: CommunicatorId, limit: usize) -> Self {
        Self {
            outbound,
            inbound,
            split: false,
            own: communicator.rank.index(),
            size: communicator.size as usize,
            limit,
            announced: false,
            group: Vec::new(),
            operation: Vec::new(),
            site: String::new(),
        }
    }

    /// The bytes `offset..offset + len` of a part to be sent.
    pub(crate) fn outgoing(&self, part: usize, offset: usize, len: usize) -> Option<&[u8]> {
        let whole = match (&self.outbound, &self.inbound) {
            (Outbound::Nothing, _) => return None,
            (Outbound::Parts(parts), _) => return parts.get(part)?.bytes().get(offset..offset.checked_add(len)?),
            (Outbound::Whole(storage), _) => storage.bytes(),
            (Outbound::InPlace, Inbound::Whole { storage, .. } | Inbound::Blocks(storage)) => storage.bytes(),
            (Outbound::InPlace, Inbound::Parts(parts)) => parts.get(self.own)?.bytes(),
            (Outbound::InPlace, Inbound::Nothing) => return None,
        };
        // A single part has number 0; blocks are numbered by rank.
        let start = if part == 0 { offset } else { part * (whole.len() / self.size) + offset };
        whole.get(start..start.checked_add(len)?)
    }

    /// The beginning of what is sent, `len` bytes of it in all.
    pub(crate) fn write_inline(&self, len: usize, place: &mut Vec<u8>) {
        let split = self.split;
        let end = place.len() + len;
        match &self.outbound {
            Outbound::Parts(parts) if split => {
                for part in parts.iter() {
                    place.extend((part.len() as u64).to_le_bytes());
                }
                for part in parts.iter() {
                    place.extend_from_slice(&part[..part.len().min(end.saturating_sub(place.len()))]);
                }
            }
            _ if split => {
                let block = len / (self.size - 1).max(1);
                for rank in (0..self.size).filter(|rank| *rank != self.own) {
                    place.extend_from_slice(self.outgoing(rank, 0, block).unwrap_or_default());
                }
            }
            _ => place.extend_from_slice(self.outgoing(0, 0, len).unwrap_or_default()),
        }
        // Whatever the endpoint announced is what goes out, even if a bug above were to give less.
        place.resize(end, 0);
    }

    /// Makes room for a part that is about to come.
    pub(crate) fn announce(&mut self, part: usize, len: usize) -> Result<(), String> {
        let own = self.own;
        self.announced = true;
        match &mut self.inbound {
            Inbound::Whole { storage, open: true } => storage.resize(len),
            Inbound::Parts(parts) => {
                // As the hub counts: the own block does not come.
                let held: usize =
                    parts.iter().enumerate().filter(|(at, _)| *at != own).map(|(_, part)| part.len()).sum();
                let place = parts.get_mut(part).ok_or("a part that does not exist")?;
                if held.saturating_add(len) > self.limit {
                    return Err(format!("{} bytes are more than the {} allowed", held.saturating_add(len), self.limit));
                }
                place.resize(len)
            }
            Inbound::Whole { .. } | Inbound::Blocks(_) | Inbound::Nothing => Ok(()),
        }
    }

    /// What is in the memory now stays, although nothing has come.
    pub(crate) fn keep(&mut self) {
        self.announced = true;
    }

    /// The result, if it is in one piece.
    pub(crate) fn into_whole(self) -> Option<Box<dyn Storage>> {
        match self.inbound {
            Inbound::Whole { mut storage, open } => {
                if open && !self.announced {
                    // What was in the memory before is no message. No bytes are a whole number of any elements.
                    let _ = storage.resize(0);
                }
                Some(storage)
            }
            Inbound::Blocks(storage) => Some(storage),
            Inbound::Nothing | Inbound::Parts(_) => None,
        }
    }

    /// The place of the bytes `offset..offset + len` of an arriving part.
    pub(crate) fn incoming(&mut self, part: usize, offset: usize, len: usize) -> Option<&mut [u8]> {
        let end = offset.checked_add(len)?;
        match &mut self.inbound {
            Inbound::Nothing => None,
            Inbound::Whole { storage, .. } => storage.bytes_mut().get_mut(offset..end),
            Inbound::Blocks(storage) => {
                let bytes = storage.bytes_mut();
                let block = bytes.len() / self.size;
                if end > block {
                    return None;
                }
                let start = part.checked_mul(block)?;
                bytes.get_mut(start + offset..start + end)
            }
            Inbound::Parts(parts) => parts.get_mut(part)?.bytes_mut().get_mut(offset..end),
        }
    }

    /// Takes in a whole result in one payload: blocks from all others, in rank order.
    pub(crate) fn take_blocks(&mut self, payload: &[u8]) -> Result<(), String> {
        let others = self.size.saturating_sub(1).max(1);
        if !payload.len().is_multiple_of(others) {
            return Err("blocks of one length that are not".to_owned());
        }
        let block = payload.len() / others;
        let ranks = (0..self.size).filter(|rank| *rank != self.own);
        let pieces: Vec<(usize, &[u8])> =
            if block == 0 { Vec::new() } else { ranks.zip(payload.chunks_exact(block)).collect() };
        self.take_pieces(&pieces)
    }

    /// Takes in a whole result in one payload: lengths, then the parts.
    pub(crate) fn take_parts(&mut self, payload: &[u8]) -> Result<(), String> {
        let short = || "lengths that are cut short".to_owned();
        let (table, mut rest) = payload.split_at_checked(self.size * 8).ok_or_else(short)?;
        let mut pieces = Vec::with_capacity(self.size);
        for (rank, entry) in table.as_chunks::<8>().0.iter().enumerate() {
            let len = usize::try_from(u64::from_le_bytes(*entry)).map_err(|_| short())?;
            let (piece, behind) = rest.split_at_checked(len).ok_or_else(short)?;
            rest = behind;
            if rank != self.own {
                pieces.push((rank, piece));
            }
        }
        self.take_pieces(&pieces)
    }

    fn take_pieces(&mut self, pieces: &[(usize, &[u8])]) -> Result<(), String> {
        for (rank, piece) in pieces {
            self.announce(*rank, piece.len())?;
            let place = self.incoming(*rank, 0, piece.len()).ok_or("a block that does not fit")?;
            place.copy_from_slice(piece);
        }
        Ok(())
    }
}
