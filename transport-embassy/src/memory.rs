//! The memory of a rank: the caller's, and all zeros until it is used, so that a static of it costs no flash.

use core::fmt;
use core::task::Waker;

use edgempi_core::request::Slot;
use edgempi_core::wire::MAX_HEAD_LEN;
use edgempi_core::{Endpoint, RequestId, Status};

use crate::error::Error;
use crate::site::SITES;

/// Names and counters that a rank holds: one for each communicator, and two for each pair of a user operation and a
/// group that it uses.
const NAMES: usize = 8;

/// Bytes of the hub's last words that are kept.
const REASON: usize = 120;

/// The memory of a rank with up to `N` requests in flight (1 to 255). One that has ended counts until its future has been
/// polled, or dropped.
///
/// `SCRATCH` bytes hold what comes for requests that nobody polls at the time, so that none of them blocks another: half
/// of them are shared out equally, the other half speeds one long transfer up. At least 64 for each request. The more
/// scratch, the faster long results come over links with long round trips: about `SCRATCH / 2` bytes a round trip.
///
/// ```
/// use edgempi_embassy::Memory;
/// use static_cell::ConstStaticCell;
///
/// static MEMORY: ConstStaticCell<Memory<8, 2048>> = ConstStaticCell::new(Memory::new());
/// let memory = MEMORY.take();
/// # let _ = memory;
/// ```
pub struct Memory<const N: usize, const SCRATCH: usize = 1024> {
    endpoint: Endpoint<[Slot; N]>,
    head: [u8; MAX_HEAD_LEN],
    entries: [Entry; N],
    scratch: [u8; SCRATCH],
    names: [NameEntry; NAMES],
    sites: [NameEntry; SITES],
    reason: Reason,
}

impl<const N: usize, const SCRATCH: usize> Memory<N, SCRATCH> {
    const FITS: () = {
        assert!(N >= 1 && N <= 255, "a rank has 1 to 255 requests in flight");
        assert!(
            SCRATCH >= 64 * N && SCRATCH <= 1 << 16,
            "scratch is at least 64 bytes for each request, at most 64 KiB"
        );
    };

    /// Memory that nobody uses.
    pub const fn new() -> Self {
        const { Self::FITS };
        Self {
            endpoint: Endpoint::idle([Slot::FREE; N]),
            head: [0; MAX_HEAD_LEN],
            entries: [const { Entry::FREE }; N],
            scratch: [0; SCRATCH],
            names: [NameEntry::FREE; NAMES],
            sites: [NameEntry::FREE; SITES],
            reason: Reason { len: 0, most: 0, bytes: [0; REASON] },
        }
    }

    /// What the hub said last when it refused or failed something, cut to 120 bytes; also after the world is gone.
    pub fn last_reason(&self) -> &str {
        self.reason.as_str()
    }

    /// Clears what an earlier world has left; the endpoint is to be started.
    pub(crate) fn parts(&mut self) -> Parts<'_> {
        for entry in &mut self.entries {
            *entry = Entry::FREE;
        }
        self.names.fill(NameEntry::FREE);
        self.sites.fill(NameEntry::FREE);
        self.reason.len = 0;
        let Self { endpoint, head, entries, scratch, names, sites, reason } = self;
        Parts { endpoint, head, entries, scratch, names, sites, reason }
    }
}

impl<const N: usize, const SCRATCH: usize> fmt::Debug for Memory<N, SCRATCH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("requests", &N).field("scratch", &SCRATCH).finish_non_exhaustive()
    }
}

impl<const N: usize, const SCRATCH: usize> Default for Memory<N, SCRATCH> {
    fn default() -> Self {
        Self::new()
    }
}

/// The memory, its sizes put aside.
pub(crate) struct Parts<'m> {
    pub(crate) endpoint: &'m mut Endpoint<[Slot]>,
    /// The head of a frame that is coming in.
    pub(crate) head: &'m mut [u8; MAX_HEAD_LEN],
    pub(crate) entries: &'m mut [Entry],
    pub(crate) scratch: &'m mut [u8],
    pub(crate) names: &'m mut [NameEntry],
    pub(crate) sites: &'m mut [NameEntry; SITES],
    pub(crate) reason: &'m mut Reason,
}

/// The hub's last words.
pub(crate) struct Reason {
    len: u8,
    /// What comes after so many bytes is not for people, or too much.
    most: u8,
    bytes: [u8; REASON],
}

impl Reason {
    /// A text of so many bytes comes.
    pub(crate) fn expect(&mut self, text: usize) {
        self.len = 0;
        self.most = text.min(REASON) as u8;
    }

    /// Where the next bytes go; empty once it is full.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.bytes.get_mut(usize::from(self.len)..usize::from(self.most)).unwrap_or_default()
    }

    pub(crate) fn advance(&mut self, n: usize) {
        self.len = (usize::from(self.len) + n).min(self.most.into()) as u8;
    }

    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            // Cut within a character, unless the hub is broken.
            Err(error) => {
                bytes.get(..error.valid_up_to()).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
            }
        }
    }
}

/// Where a request stands, as its future sees it. Laid out so that a free one is all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Nobody's.
    Free,
    /// Under way.
    Waiting,
    /// Done; its result may still be in the scratch memory.
    Done(Status),
    Failed(Error),
}

/// Bytes of a result that wait in the scratch memory, or are to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Whether the bytes are all other ranks' blocks, one behind the other; otherwise they are of one part.
    pub(crate) blocks: bool,
    pub(crate) part: u32,
    pub(crate) offset: usize,
}

impl Place {
    /// The first byte of the only part.
    pub(crate) const START: Self = Self { blocks: false, part: 0, offset: 0 };
}

/// A request beside its slot.
pub(crate) struct Entry {
    pub(crate) request: RequestId,
    pub(crate) stage: Stage,
    pub(crate) waker: Option<Waker>,
    /// Where the bytes in the scratch memory belong.
    pub(crate) place: Place,
    /// How many bytes are there.
    pub(crate) stored: u16,
    /// Whether it has the pool.
    pub(crate) has_pool: bool,
    /// The part that is open, how long it is, how far it may come, and how far it has reached its buffer.
    pub(crate) part: u32,
    pub(crate) part_len: usize,
    pub(crate) granted: usize,
    pub(crate) taken: usize,
}

impl Entry {
    pub(crate) const FREE: Self = Self {
        request: RequestId::NONE,
        stage: Stage::Free,
        waker: None,
        place: Place::START,
        stored: 0,
        has_pool: false,
        part: 0,
        part_len: 0,
        granted: 0,
        taken: 0,
    };

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Something that has a number in this session: a group, an operation, a place in the source, or a communicator's count of
/// collectives.
#[derive(Clone, Copy)]
pub(crate) struct NameEntry {
    /// What it is, hashed; 0 is nothing.
    pub(crate) hash: u64,
    /// Collectives started on it.
    pub(crate) started: u32,
    /// Whether the hub has been told.
    pub(crate) told: bool,
}

impl NameEntry {
    pub(crate) const FREE: Self = Self { hash: 0, started: 0, told: false };
}
