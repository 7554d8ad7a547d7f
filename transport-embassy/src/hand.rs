//! The buffers of a call, at hand while its future is polled: what it sends, where its result goes.

use edgempi_core::request::{Parts, Receive, Role, Sent};
use edgempi_core::{Buffers, Call, Category, Datatype, Rank};

use crate::error::Error;
use crate::memory::Place;
use crate::names::Names;

/// Writes bytes `offset..` of what is sent into a buffer; may be asked for the same range twice.
pub(crate) type Fill<'a> = &'a mut dyn FnMut(usize, &mut [u8]);
/// Takes bytes `offset..` of the result, in order.
pub(crate) type Take<'a> = &'a mut dyn FnMut(usize, &[u8]);

/// What is sent.
pub(crate) enum Source<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// What the result will replace.
    InPlace,
    Function(Fill<'a>),
}

/// Where the result goes.
pub(crate) enum Sink<'a> {
    Nothing,
    Bytes(&'a mut [u8]),
    Function(Take<'a>),
}

/// The buffers of a call, and what the hub has to be told by name.
pub(crate) struct Hand<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) sink: Sink<'a>,
    /// The own rank, and the size of the communicator.
    pub(crate) own: u32,
    pub(crate) size: u32,
    /// A user operation's.
    pub(crate) names: Option<Names<'a>>,
    /// Whether there is a part for each other rank to send.
    pub(crate) sends_blocks: bool,
}

impl<'a> Hand<'a> {
    pub(crate) fn new(buffers: Buffers<'a>, own: Rank, size: u32) -> Self {
        let (source, sink) = match buffers {
            Buffers::None => (Source::Nothing, Sink::Nothing),
            Buffers::Send(send) => (Source::Bytes(send), Sink::Nothing),
            Buffers::Receive(receive) => (Source::Nothing, Sink::Bytes(receive)),
            Buffers::Both { send, receive } => (Source::Bytes(send), Sink::Bytes(receive)),
            Buffers::InPlace(bytes) => (Source::InPlace, Sink::Bytes(bytes)),
        };
        Self { source, sink, own: own.get(), size, names: None, sends_blocks: false }
    }

    /// The bytes of a part to be sent, if they are in memory.
    pub(crate) fn outgoing(&self, part: u32, offset: usize, len: usize) -> Option<&[u8]> {
        let whole: &[u8] = match (&self.source, &self.sink) {
            (Source::Bytes(bytes), _) => bytes,
            (Source::InPlace, Sink::Bytes(bytes)) => bytes,
            _ => return None,
        };
        // A single part has number 0; blocks are numbered by rank.
        let start = if part == 0 {
            offset
        } else {
            (part as usize).checked_mul(self.block(whole.len()))?.checked_add(offset)?
        };
        whole.get(start..start.checked_add(len)?)
    }

    /// Room for bytes that belong at `place`, at most `len` of them; `None` if there is none, or a function takes them.
    pub(crate) fn incoming(&mut self, place: Place, len: usize) -> Option<&mut [u8]> {
        let (own, size) = (self.own, self.size);
        let Sink::Bytes(bytes) = &mut self.sink else { return None };
        let block = bytes.len().checked_div(size as usize)?;
        let (start, len) = if place.blocks {
            // The own block is there already: the others close up around it.
            let index = place.offset.checked_div(block)?;
            let within = place.offset.checked_rem(block)?;
            let rank = index + usize::from(index >= own as usize);
            (rank.checked_mul(block)?.checked_add(within)?, len.min(block - within))
        } else {
            ((place.part as usize).checked_mul(block)?.checked_add(place.offset)?, len)
        };
        bytes.get_mut(start..start.checked_add(len)?)
    }

    /// What takes the result, if no buffer does.
    pub(crate) fn function(&mut self) -> Option<&mut Take<'a>> {
        match &mut self.sink {
            Sink::Function(take) => Some(take),
            Sink::Nothing | Sink::Bytes(_) => None,
        }
    }

    fn block(&self, len: usize) -> usize {
        len.checked_div(self.size as usize).unwrap_or(0)
    }

    /// How the message divides, and how much of one is taken back. Checks the lengths, and puts a block that a rank
    /// would send to itself into its place.
    pub(crate) fn prepare(
        &mut self,
        call: &Call<'_>,
        datatype: Datatype,
        role: Role,
    ) -> Result<(Sent, Receive), Error> {
        let own = self.own as usize;
        let size = self.size as usize;
        self.sends_blocks = role.up == Parts::EachOther;
        let wrong = |needed: usize| Err(Error::with(Category::InvalidArgument, needed as u64));
        let room = match &self.sink {
            Sink::Bytes(bytes) => bytes.len(),
            Sink::Nothing | Sink::Function(_) => 0,
        };
        let sends = match (&self.source, &self.sink) {
            (Source::Bytes(bytes), _) => bytes.len(),
            (Source::InPlace, _) => room,
            (Source::Nothing | Source::Function(_), _) => 0,
        };
        let block_of_all = sends.saturating_mul(size);
        let is_root = |root: &Rank| root.get() == self.own;
        let open = datatype == Datatype::Object;
        match call {
            Call::Gather { root } if is_root(root) && room != block_of_all => return wrong(block_of_all),
            Call::Allgather if room != block_of_all => return wrong(block_of_all),
            Call::Alltoall if room != sends => return wrong(sends),
            Call::Scatter { root } if is_root(root) && room.checked_mul(size) != Some(sends) => {
                return wrong(room.saturating_mul(size));
            }
            Call::Reduce { root, .. } if is_root(root) && room != sends => return wrong(sends),
            Call::Allreduce { .. } if room != sends => return wrong(sends),
            _ => {}
        }
        if let (Source::Bytes(send), Sink::Bytes(receive)) = (&self.source, &mut self.sink) {
            let own_block = match call {
                Call::Gather { root } if root.get() == self.own => Some((*send, own.saturating_mul(sends))),
                Call::Allgather => Some((*send, own.saturating_mul(sends))),
                Call::Alltoall => {
                    let block = sends.checked_div(size).unwrap_or(0);
                    let start = own.saturating_mul(block);
                    send.get(start..start.saturating_add(block)).map(|own| (own, start))
                }
                Call::Scatter { root } if root.get() == self.own => {
                    let start = own.saturating_mul(room);
                    send.get(start..start.saturating_add(room)).map(|own| (own, 0))
                }
                _ => None,
            };
            if let Some((from, start)) = own_block
                && let Some(to) = receive.get_mut(start..start.saturating_add(from.len()))
            {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = *from;
                }
            }
        }
        let receive = match (role.down, call) {
            (Parts::None, _) => Receive::Exactly(0),
            (_, Call::Recv { .. } | Call::User { .. }) => Receive::AtMost(room),
            (_, Call::Bcast { .. } | Call::Scatter { .. }) if open => Receive::AtMost(room),
            _ => Receive::Exactly(room),
        };
        Ok((Sent::Equal(sends), receive))
    }
}
