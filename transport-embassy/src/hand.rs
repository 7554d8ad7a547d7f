//! The buffers of a call, at hand while its future is polled: what it sends, where its result goes.

use edgempi_core::request::{Parts, Receive, Role, Sent};
use edgempi_core::{Buffers, Call, Category, Datatype, Rank};

use crate::error::Error;
use crate::memory::Place;
use crate::names::{Names, Put};
use crate::site::Site;

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

/// What is done for calls whose messages are made of blocks, one for each rank: by pointers, so that an image without
/// such calls has none of it.
pub(crate) struct Blocks {
    prepare: fn(&mut Hand<'_>, &Call<'_>) -> Result<(), Error>,
    /// Writes all blocks but the own one, of `len` bytes together.
    pub(crate) write: fn(&Hand<'_>, len: usize, Put<'_>) -> Result<(), Category>,
}

impl Blocks {
    /// Those of `call`.
    // Inlined where the call is made, and so is known.
    #[inline(always)]
    pub(crate) fn of(call: &Call<'_>) -> Option<&'static Self> {
        let divides = matches!(
            call,
            Call::Gather { .. }
                | Call::Gatherv { .. }
                | Call::Scatter { .. }
                | Call::Scatterv { .. }
                | Call::Allgather
                | Call::Allgatherv
                | Call::Alltoall
                | Call::Alltoallv
        );
        divides.then_some(&Self { prepare: prepare_blocks, write: write_blocks })
    }
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
    /// Where the call is made.
    pub(crate) site: Site,
    /// Of a call that has any.
    pub(crate) blocks: Option<&'static Blocks>,
    /// Whether there is a part for each other rank to send.
    pub(crate) sends_blocks: bool,
}

impl<'a> Hand<'a> {
    #[track_caller]
    pub(crate) fn new(buffers: Buffers<'a>, own: Rank, size: u32) -> Self {
        let (source, sink) = match buffers {
            Buffers::None => (Source::Nothing, Sink::Nothing),
            Buffers::Send(send) => (Source::Bytes(send), Sink::Nothing),
            Buffers::Receive(receive) => (Source::Nothing, Sink::Bytes(receive)),
            Buffers::Both { send, receive } => (Source::Bytes(send), Sink::Bytes(receive)),
            Buffers::InPlace(bytes) => (Source::InPlace, Sink::Bytes(bytes)),
        };
        Self { source, sink, own: own.get(), size, names: None, site: Site::here(), blocks: None, sends_blocks: false }
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

    /// Whether a function takes the result.
    pub(crate) fn has_function(&self) -> bool {
        matches!(self.sink, Sink::Function(_))
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
        self.sends_blocks = role.up == Parts::EachOther;
        let (sends, room) = (self.sends(), self.room());
        let is_equal = match call {
            Call::Reduce { root, .. } if root.get() == self.own => room == sends,
            Call::Allreduce { .. } => room == sends,
            _ => true,
        };
        if !is_equal {
            return Err(wrong(sends));
        }
        if let Some(blocks) = self.blocks {
            (blocks.prepare)(self, call)?;
        }
        let open = datatype == Datatype::Object;
        let receive = match (role.down, call) {
            (Parts::None, _) => Receive::Exactly(0),
            (_, Call::Recv { .. } | Call::User { .. }) => Receive::AtMost(room),
            (_, Call::Bcast { .. } | Call::Scatter { .. }) if open => Receive::AtMost(room),
            _ => Receive::Exactly(room),
        };
        Ok((Sent::Equal(sends), receive))
    }

    /// Bytes that a buffer gives.
    fn sends(&self) -> usize {
        match &self.source {
            Source::Bytes(bytes) => bytes.len(),
            Source::InPlace => self.room(),
            Source::Nothing | Source::Function(_) => 0,
        }
    }

    /// Bytes that a buffer takes.
    fn room(&self) -> usize {
        match &self.sink {
            Sink::Bytes(bytes) => bytes.len(),
            Sink::Nothing | Sink::Function(_) => 0,
        }
    }
}

fn wrong(needed: usize) -> Error {
    Error::with(Category::InvalidArgument, needed as u64)
}

/// Checks that the blocks fit, and puts one that a rank would send to itself into its place.
fn prepare_blocks(hand: &mut Hand<'_>, call: &Call<'_>) -> Result<(), Error> {
    let (own, size) = (hand.own as usize, hand.size as usize);
    let (sends, room) = (hand.sends(), hand.room());
    let is_root = |root: &Rank| root.get() == hand.own;
    // How much is to be sent or taken, how much is, and where the own block is and goes.
    let (needed, given, block, from, to) = match call {
        Call::Gather { root } | Call::Gatherv { root } if is_root(root) => {
            (sends.saturating_mul(size), room, sends, 0, own)
        }
        Call::Allgather | Call::Allgatherv => (sends.saturating_mul(size), room, sends, 0, own),
        Call::Alltoall | Call::Alltoallv => (sends, room, sends.checked_div(size).unwrap_or(0), own, own),
        Call::Scatter { root } | Call::Scatterv { root } if is_root(root) => {
            (room.saturating_mul(size), sends, room, own, 0)
        }
        _ => return Ok(()),
    };
    if needed != given {
        return Err(wrong(needed));
    }
    if let (Source::Bytes(send), Sink::Bytes(receive)) = (&hand.source, &mut hand.sink) {
        // Within the buffers, as they have the lengths that are needed.
        let (from, to) = (from.saturating_mul(block), to.saturating_mul(block));
        let from = send.get(from..from.saturating_add(block)).unwrap_or_default();
        let to = receive.get_mut(to..to.saturating_add(block)).unwrap_or_default();
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    }
    Ok(())
}

fn write_blocks(hand: &Hand<'_>, len: usize, put: Put<'_>) -> Result<(), Category> {
    let block = len.checked_div((hand.size as usize).saturating_sub(1)).unwrap_or(0);
    for rank in (0..hand.size).filter(|rank| *rank != hand.own) {
        put(hand.outgoing(rank, 0, block).ok_or(Category::Protocol)?)?;
    }
    Ok(())
}
