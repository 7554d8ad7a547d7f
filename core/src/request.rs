//! The life of a request: what is asked for, and the slot that holds it until the hub has answered.

use core::fmt;

pub use crate::call::CallCode;
use crate::call::{Call, Intent, SplitResult};
use crate::datatype::{Datatype, ReduceOp};
use crate::error::{Category, Fault};
use crate::rank::{Rank, Source, Tag, TagSelector};
use crate::wire::SubmitFlags;

/// A rank's name for one of its requests: a slot, and which of the slot's lives it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u32);

impl RequestId {
    /// No request: what a credit for the whole queue names.
    pub const NONE: Self = Self(0);

    pub(crate) const fn new(index: u16, generation: u16) -> Self {
        Self((generation as u32) << 16 | index as u32)
    }

    /// The slot's index.
    pub const fn index(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    pub(crate) const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}

crate::wire::as_field!(RequestId as u32, |id| id.0, |number| Some(RequestId(number)));

/// In how many parts a rank's message travels, one way. A block that a rank would send to itself never does:
/// its driver copies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Parts {
    /// Nothing travels.
    #[default]
    None = 0,
    /// One part, number 0.
    One,
    /// One part for each other rank of the communicator, numbered by rank.
    EachOther,
}

/// What a rank is to an operation: which way its bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// What it gives.
    pub up: Parts,
    /// What it receives.
    pub down: Parts,
}

impl Role {
    /// The role of `rank` in `call`.
    pub fn new(call: &Call<'_>, rank: Rank) -> Self {
        use Parts::{EachOther, None, One};
        let (up, down) = match *call {
            Call::Barrier | Call::Free | Call::Probe { .. } | Call::Iprobe { .. } => (None, None),
            Call::Mprobe { .. } | Call::Improbe { .. } | Call::Discard { .. } => (None, None),
            Call::Bcast { root } if root == rank => (One, None),
            Call::Bcast { .. } | Call::Recv { .. } | Call::Mrecv { .. } | Call::Members => (None, One),
            Call::Gather { root } | Call::Gatherv { root } if root == rank => (None, EachOther),
            Call::Gather { .. } | Call::Gatherv { .. } => (One, None),
            Call::Send { .. } | Call::Ssend { .. } | Call::Rsend { .. } => (One, None),
            Call::Scatter { root } | Call::Scatterv { root } if root == rank => (EachOther, None),
            Call::Scatter { .. } | Call::Scatterv { .. } => (None, One),
            Call::Allgather | Call::Allgatherv => (One, EachOther),
            Call::Alltoall | Call::Alltoallv => (EachOther, EachOther),
            Call::Reduce { root, .. } => (One, if root == rank { One } else { None }),
            Call::Exscan { .. } => (One, if rank == 0 { None } else { One }),
            Call::Allreduce { .. } | Call::Split | Call::Scan { .. } => (One, One),
            Call::ReduceScatter { .. } | Call::ReduceScatterBlock { .. } => (One, One),
            Call::User { group, .. } => (
                if group.sources.contains(rank) { One } else { None },
                if group.destinations.contains(rank) { One } else { None },
            ),
        };
        Self { up, down }
    }
}

/// How much a call may receive, in bytes, its own block included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// Just this many.
    Exactly(usize),
    /// This many or fewer.
    AtMost(usize),
}

impl Receive {
    /// The number itself.
    pub const fn limit(self) -> usize {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }
}

/// What a rank sends with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// This many bytes in parts of one length, the rank's own block included.
    Equal(usize),
    /// This many bytes in parts whose lengths differ, without the rank's own block. The inline payload begins
    /// with one length (`u64`) for each rank of the communicator.
    Varied(usize),
}

/// Numbers for what a session names once; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NameIds {
    /// The group. All ranks in order as sources and as destinations have no name: they are counted, and compared, with
    /// the built-in collectives.
    pub group: u16,
    /// The user operation.
    pub operation: u16,
    /// The place in the source.
    pub site: u16,
    /// The names that the hub has not been told yet travel ahead of this request.
    pub new: NewNames,
}

/// Which of a request's names the hub has not been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NewNames {
    /// The group's.
    pub group: bool,
    /// The operation's.
    pub operation: bool,
    /// The site's.
    pub site: bool,
}

impl NewNames {
    fn marks(self) -> Marks {
        let mark = |is_new: bool, mark: u8| if is_new { mark } else { 0 };
        Marks(
            mark(self.group, Marks::NEW_GROUP)
                | mark(self.operation, Marks::NEW_OPERATION)
                | mark(self.site, Marks::NEW_SITE),
        )
    }
}

/// A call as numbers: what an endpoint needs to submit it.
#[derive(Clone, Copy, Debug)]
pub struct Submission {
    pub(crate) asked: Asked,
    /// The names that travel ahead of it.
    pub(crate) names: Marks,
}

/// A call as its slot keeps it. All zeros is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) communicator: u64,
    pub(crate) peer: u32,
    pub(crate) tag: u32,
    pub(crate) n: u32,
    pub(crate) size: u32,
    pub(crate) send: usize,
    pub(crate) receive: usize,
    /// Bytes still to be sent.
    pub(crate) unsent: usize,
    pub(crate) group: u16,
    pub(crate) operation: u16,
    pub(crate) site: u16,
    pub(crate) call: u8,
    pub(crate) datatype: u8,
    pub(crate) op: u8,
    pub(crate) flags: SubmitFlags,
    pub(crate) up: Parts,
    pub(crate) down: Parts,
}

/// The communicator that a call is made on, as the rank knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommunicatorId {
    /// Its number; 0 is the world.
    pub id: u64,
    /// The caller's rank in it.
    pub rank: Rank,
    /// How many ranks it has.
    pub size: u32,
}

impl CommunicatorId {
    /// What became of this communicator's rank in a split: its place in a new communicator, if it is in one.
    ///
    /// # Errors
    ///
    /// `Protocol` if the hub says what can not be.
    pub fn split(self, result: SplitResult) -> Result<Option<Self>, Fault> {
        let SplitResult { id, rank, size } = result;
        if size > self.size || (size > 0 && rank.get() >= size) {
            return Err(Fault::of_size(Category::Protocol, size.into(), self.size.into()));
        }
        Ok((size > 0).then_some(Self { id, rank, size }))
    }
}

impl Submission {
    /// Checks `call` and turns it into numbers. `n` counts this rank's collectives on the communicator and group
    /// and means nothing for other calls.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if a rank is not in the communicator, a length is not divisible into blocks, the datatype does not
    /// take the reduce op, or an alltoall is to be done in place. The fault's `len` is the number given and `max` the one that bounds it.
    #[allow(clippy::too_many_arguments, reason = "a call has that many sides; drivers make it in one place")]
    pub fn new(
        communicator: CommunicatorId,
        call: &Call<'_>,
        datatype: Datatype,
        sent: Sent,
        receive: Receive,
        in_place: bool,
        names: NameIds,
        n: u32,
    ) -> Result<Self, Fault> {
        let CommunicatorId { id, rank: own, size } = communicator;
        let invalid = |len: u64, max: u64| Err(Fault::of_size(Category::InvalidArgument, len, max));
        let code = CallCode::of(call);
        let op = call.op();
        let (mut peer, mut label, mut any_source, mut any_tag, mut n) = (Rank::new(0), Tag(0), false, false, n);
        match *call {
            Call::Bcast { root }
            | Call::Gather { root }
            | Call::Scatter { root }
            | Call::Gatherv { root }
            | Call::Scatterv { root }
            | Call::Reduce { root, .. } => peer = root,
            Call::Send { dest, tag } | Call::Ssend { dest, tag } | Call::Rsend { dest, tag } => {
                (peer, label) = (dest, tag);
            }
            Call::Recv { source, tag }
            | Call::Probe { source, tag }
            | Call::Iprobe { source, tag }
            | Call::Mprobe { source, tag, .. }
            | Call::Improbe { source, tag, .. } => {
                match source {
                    Source::Rank(source) => peer = source,
                    Source::Any => any_source = true,
                }
                match tag {
                    TagSelector::Tag(tag) => label = tag,
                    TagSelector::Any => any_tag = true,
                }
            }
            _ => {}
        }
        if let Call::Mprobe { message, .. }
        | Call::Improbe { message, .. }
        | Call::Mrecv { message }
        | Call::Discard { message } = *call
        {
            n = message;
        }
        let flags = SubmitFlags::empty();
        let mut flags = flags.with_if(any_source, SubmitFlags::ANY_SOURCE).with_if(any_tag, SubmitFlags::ANY_TAG);
        if peer.get() >= size {
            return invalid(u64::from(peer.get()), u64::from(size));
        }
        if op.is_some_and(|op| !datatype.accepts(op)) {
            return invalid(0, 0);
        }
        let role = Role::new(call, own);
        if code == CallCode::User && (role.up, role.down) == (Parts::None, Parts::None) {
            return invalid(own.get().into(), size.into());
        }
        if in_place && (role.up, role.down) == (Parts::EachOther, Parts::EachOther) {
            // A block that comes would take the place of one that has not left: parts come and go in any order.
            return invalid(0, 0);
        }
        let blocks = size as usize;
        let (send, travels) = match (sent, role.up) {
            (Sent::Equal(bytes) | Sent::Varied(bytes), Parts::None) => (bytes, 0),
            (Sent::Equal(bytes) | Sent::Varied(bytes), Parts::One) => (bytes, bytes),
            (Sent::Equal(bytes), Parts::EachOther) => {
                // A block is of whole elements, whose sizes are powers of two.
                let block = bytes / blocks;
                if block * blocks != bytes || block & (datatype.size() - 1) != 0 {
                    return invalid(bytes as u64, size.into());
                }
                (bytes, bytes - block)
            }
            (Sent::Varied(bytes), Parts::EachOther) => {
                flags = flags.with(SubmitFlags::VARIED);
                (bytes, bytes)
            }
        };
        if let (Receive::Exactly(bytes), Parts::EachOther) = (receive, role.down)
            && bytes % blocks != 0
        {
            return invalid(bytes as u64, size.into());
        }
        // A message may always be shorter than its receive (MPI 4.1, chapter 3.2.4).
        let exact = matches!(receive, Receive::Exactly(_)) && !code.is_receive();
        flags = flags.with_if(in_place, SubmitFlags::IN_PLACE).with_if(exact, SubmitFlags::EXACT);
        let asked = Asked {
            communicator: id,
            peer: peer.get(),
            tag: label.0,
            n,
            size,
            send,
            receive: receive.limit(),
            unsent: travels,
            group: names.group,
            operation: names.operation,
            site: names.site,
            call: code as u8,
            datatype: datatype.code(),
            op: op.map_or(0, ReduceOp::code),
            flags,
            up: role.up,
            down: role.down,
        };
        Ok(Self { asked, names: names.new.marks() })
    }

    /// Says what the program means with the call.
    #[must_use]
    pub fn meaning(mut self, intent: Intent) -> Self {
        let code = CallCode::from_code(self.asked.call);
        // A call that combines says so in any case.
        if let Some(purpose) = intent.purpose.filter(|_| self.asked.op == 0) {
            self.asked.op = purpose.code();
        }
        if code.is_some_and(CallCode::is_collective) {
            self.asked.tag = intent.arguments;
        }
        self
    }

    /// Lets the hub send the whole result at any pace: for a driver whose memory for it is at hand.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.asked.flags = self.asked.flags.with(SubmitFlags::UNLIMITED);
        self
    }

    /// What this rank gives and receives.
    pub fn role(&self) -> Role {
        Role { up: self.asked.up, down: self.asked.down }
    }
}

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum State {
    /// Nobody's.
    #[default]
    Free = 0,
    /// A request whose Submit has not left.
    Queued,
    /// A request that the hub has, or is about to have.
    Open,
    /// A request that has its answer, while the driver takes that in.
    Finished,
    /// One more part that an open request sends.
    UpPart,
    /// One more part that an open request receives.
    DownPart,
}

/// How far a part has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) part: u32,
    /// Bytes sent or received.
    pub(crate) offset: usize,
    /// How far the sender may go.
    pub(crate) limit: usize,
    pub(crate) len: usize,
}

/// The memory of one request, or of one further part of a request that has several open. All zeros when free; at most 96
/// bytes where pointers have 32 bits, which is asserted when the crate is compiled for such a machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    pub(crate) generation: u16,
    /// The next slot in the list that this one is in, plus one.
    pub(crate) next: u16,
    /// The first further part of this request, plus one; in a part's slot, the next one.
    pub(crate) parts: u16,
    /// In a part's slot, the request's index.
    pub(crate) owner: u16,
    pub(crate) state: State,
    pub(crate) marks: Marks,
    pub(crate) asked: Asked,
    /// Bytes of the result in the parts that were announced so far.
    pub(crate) announced: usize,
    pub(crate) up: Progress,
    pub(crate) down: Progress,
}

/// What a slot has to tell the hub, and what the driver has said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) const NEW_GROUP: u8 = 1;
    pub(crate) const NEW_OPERATION: u8 = 2;
    pub(crate) const NEW_SITE: u8 = 4;
    /// A Cancel is to be sent, or, of a request that was not given up, a Withdraw.
    pub(crate) const CANCEL: u8 = 8;
    pub(crate) const CANCELLED: u8 = 16;
    pub(crate) const CREDIT: u8 = 32;
    pub(crate) const LISTED: u8 = 64;
    pub(crate) const SETTLED: u8 = 128;

    pub(crate) fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    pub(crate) fn set(&mut self, mark: u8) {
        self.0 |= mark;
    }

    /// Of these, only `mark`.
    pub(crate) fn only(self, mark: u8) -> Self {
        Self(self.0 & mark)
    }

    pub(crate) fn clear(&mut self, mark: u8) -> bool {
        let had = self.has(mark);
        self.0 &= !mark;
        had
    }
}

impl Slot {
    /// A slot that nobody uses.
    pub const FREE: Self = Self {
        generation: 0,
        next: 0,
        parts: 0,
        owner: 0,
        state: State::Free,
        marks: Marks(0),
        asked: Asked {
            communicator: 0,
            peer: 0,
            tag: 0,
            n: 0,
            size: 0,
            send: 0,
            receive: 0,
            unsent: 0,
            group: 0,
            operation: 0,
            site: 0,
            call: 0,
            datatype: 0,
            op: 0,
            flags: SubmitFlags::empty(),
            up: Parts::None,
            down: Parts::None,
        },
        announced: 0,
        up: Progress { part: 0, offset: 0, limit: 0, len: 0 },
        down: Progress { part: 0, offset: 0, limit: 0, len: 0 },
    };
}

#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Slot>() <= 96);
