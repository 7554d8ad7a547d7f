//! What an endpoint sends next, and how a frame is made.

use super::silence::millis;
use super::{Config, Endpoint, Phase};
use crate::call::{CallCode, is_receive, is_send};
use crate::rank::{Rank, Tag};
use crate::request::{Marks, Parts, Progress, RequestId, Slot, State};
use crate::time::Instant;
use crate::wire::{
    Blocked, Cancel, Credit, Data, Goodbye, GoodbyeReason, Hello, MAGIC, MAX_HEAD_LEN, Name, NameKind, PREFIX_LEN,
    Ping, Prefix, Submit, SubmitFlags, Up, VERSION, Withdraw,
};

/// Queue bytes that a message costs beside its own: what the hub keeps about it.
pub const EAGER_OVERHEAD: u64 = 256;

/// Bytes of an operation without a name: its version.
pub const NO_NAME_LEN: usize = 4;

/// Which bytes go behind a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The world's name.
    World,
    /// The group that this request names, as [`NameKind::Group`](crate::wire::NameKind::Group) says.
    Group(RequestId),
    /// The version (`u32`) and name of this request's operation.
    Operation(RequestId),
    /// This request's place in the source.
    Site(RequestId),
    /// The beginning of what a request sends: with parts of its own for each rank, all of them in rank order, behind
    /// their lengths if these differ.
    Inline(RequestId),
    /// Bytes of a part from `offset`.
    Part {
        /// Whose.
        request: RequestId,
        /// Which part.
        part: u32,
        /// Where in the part.
        offset: usize,
    },
}

/// What a driver can put on the link right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any frame: all payloads are at hand, and there is room for each.
    Everything,
    /// A frame that fits.
    Within {
        /// Bytes that the link takes at once, head and payload together; at least [`MAX_HEAD_LEN`].
        room: usize,
        /// The one request whose payload and names are at hand.
        request: Option<RequestId>,
    },
}

impl Reach {
    /// Whether a request's payload and names are at hand.
    fn covers(self, request: RequestId) -> bool {
        match self {
            Self::Everything => true,
            Self::Within { request: at_hand, .. } => at_hand == Some(request),
        }
    }

    /// How much payload of a request can go out in one frame.
    fn payload(self, request: RequestId) -> usize {
        match self {
            Self::Everything => usize::MAX,
            Self::Within { room, request: Some(at_hand) } if at_hand == request => room.saturating_sub(MAX_HEAD_LEN),
            Self::Within { .. } => 0,
        }
    }
}

/// A frame to send: its head is in the buffer that the driver gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Bytes of prefix and header.
    pub head_len: usize,
    /// What follows them, and how many bytes. For a name the driver says how many, see [`Endpoint::poll_transmit`].
    pub payload: Option<(Content, usize)>,
    /// A send that is done as soon as this frame's bytes are out of the caller's buffer: the hub has room for them.
    pub done: Option<RequestId>,
}

/// What an open request has to send.
enum Next {
    Frame,
    Nothing,
    /// Bytes that are out of reach.
    OutOfReach,
}

/// A frame that is being made, all of it in one place.
struct Draft<'h> {
    head: &'h mut [u8; MAX_HEAD_LEN],
    kind: u8,
    header_len: u8,
    payload: Option<(Content, usize)>,
    done: Option<RequestId>,
}

impl<'h> Draft<'h> {
    fn new(head: &'h mut [u8; MAX_HEAD_LEN]) -> Self {
        Self { head, kind: 0, header_len: 0, payload: None, done: None }
    }

    /// Writes a header. Inlined where a frame is made: then its kind is known, and none is copied about.
    #[inline(always)]
    fn set(&mut self, frame: Up) {
        self.kind = frame.kind();
        self.header_len = frame.encode_header(self.head);
    }

    fn finish(self) -> Outgoing {
        let Self { head, kind, header_len, payload, done } = self;
        let payload = payload.filter(|(_, len)| *len > 0);
        // Payloads are cut to the hub's max_payload, a u32.
        let payload_len = payload.map_or(0, |(_, len)| len) as u32;
        Prefix { kind, header_len, payload_len }.encode(head);
        Outgoing { head_len: PREFIX_LEN + usize::from(header_len), payload, done }
    }
}

impl<S: AsRef<[Slot]> + AsMut<[Slot]> + ?Sized> Endpoint<S> {
    /// The next frame to send that is within `reach`; its head is written to `head`. The length of a name that is at hand
    /// is asked of `name_len`.
    ///
    /// A Submit whose payload is out of reach leaves without it, so that requests start in the order in which they were
    /// made; the hub asks for the bytes when it needs them. [`lacks`](Self::lacks) tells what else had to wait.
    ///
    /// The value returned may change after: `submit`, `cancel`, `withdraw`, `grant`, `leave`, `disconnect`, `handle_frame`,
    /// `handle_timeout`.
    #[must_use]
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        head: &mut [u8; MAX_HEAD_LEN],
        reach: Reach,
        mut name_len: impl FnMut(Content) -> usize,
    ) -> Option<Outgoing> {
        let mut draft = Draft::new(head);
        if !self.next_frame(now, &mut draft, reach, &mut name_len) {
            return None;
        }
        self.last_sent = now;
        Some(draft.finish())
    }

    /// A request with something to send that the last [`poll_transmit`](Self::poll_transmit) could not reach.
    ///
    /// The value returned may change after: `poll_transmit`.
    #[must_use]
    pub fn lacks(&self) -> Option<RequestId> {
        self.lacks
    }

    /// Drafts the next frame, if there is one.
    fn next_frame(
        &mut self,
        now: Instant,
        draft: &mut Draft<'_>,
        reach: Reach,
        name_len: &mut impl FnMut(Content) -> usize,
    ) -> bool {
        let acknowledged = self.acknowledged;
        match self.phase {
            Phase::Start => {
                self.phase = Phase::Greeting;
                draft.set(Up::Hello(self.hello()));
                draft.payload = Some((Content::World, self.config.world_len as usize));
            }
            Phase::Greeting | Phase::Closed => return false,
            _ if core::mem::take(&mut self.pong) => draft.set(Up::Pong(Ping { acknowledged })),
            _ if core::mem::take(&mut self.ping) => {
                self.pinged.get_or_insert(now);
                draft.set(Up::Ping(Ping { acknowledged }));
            }
            Phase::Left => return false,
            Phase::Joined | Phase::Leaving(_) => {
                if self.next_ready(draft, reach, name_len).is_some() {
                    return true;
                }
                if let Some(request) = self.newly_blocked() {
                    draft.set(Up::Blocked(Blocked { request }));
                    return true;
                }
                let Phase::Leaving(reason) = self.phase else { return false };
                if self.unsettled > 0 && reason == GoodbyeReason::Finished {
                    return false;
                }
                self.phase = Phase::Left;
                draft.set(Up::Goodbye(Goodbye { reason }));
            }
        }
        true
    }

    /// What the rank's thread waits for, once everything has left that it had started before: the hub must not take it
    /// for stuck while a call of it that helps is still on its way.
    fn newly_blocked(&mut self) -> Option<RequestId> {
        if self.ready.head != 0 {
            return None;
        }
        let request = self.blocked.take()?;
        self.find(request).filter(|(_, slot)| !slot.marks.has(Marks::CANCELLED))?;
        Some(request)
    }

    fn next_ready(
        &mut self,
        draft: &mut Draft<'_>,
        reach: Reach,
        name_len: &mut impl FnMut(Content) -> usize,
    ) -> Option<()> {
        self.lacks = None;
        // Calls that were made still count as made; what they are in the middle of does not hold up the last word.
        let gives_up = matches!(self.phase, Phase::Leaving(reason) if reason != GoodbyeReason::Finished);
        let mut first_put_off = None;
        while let Some(index) = self.peek_ready() {
            if first_put_off == Some(index) {
                // Everything has had its turn.
                return None;
            }
            let slot = self.slot_mut(index)?;
            let owner = match slot.state {
                State::UpPart | State::DownPart => slot.owner,
                _ => index,
            };
            let is_queued = slot.state == State::Queued;
            let is_over = matches!(slot.state, State::Finished | State::Free) || (gives_up && !is_queued);
            let request = RequestId::new(owner, self.slot_mut(owner)?.generation);
            let next = if is_over {
                Next::Nothing
            } else if is_queued {
                self.transmit_queued(draft, index, request, reach, name_len)
            } else {
                self.transmit_open(draft, index, request, reach)
            };
            match next {
                Next::Frame => return Some(()),
                Next::Nothing => self.pop_ready(),
                Next::OutOfReach => {
                    self.put_off(request);
                    first_put_off.get_or_insert(index);
                }
            }
        }
        None
    }

    /// What a request that the hub does not know yet has to send next: its names, one by one, then itself.
    fn transmit_queued(
        &mut self,
        draft: &mut Draft<'_>,
        index: u16,
        request: RequestId,
        reach: Reach,
        name_len: &mut impl FnMut(Content) -> usize,
    ) -> Next {
        let Some(slot) = self.slot_mut(index) else { return Next::Nothing };
        let Some((mark, name, content)) = new_name(slot, request) else {
            return self.transmit_submit(draft, index, request, reach);
        };
        let len = if reach.covers(request) {
            name_len(content)
        } else if name.kind == NameKind::Site {
            // It may be missing: its call keeps its place among the others.
            0
        } else if slot.marks.has(Marks::CANCELLED) {
            // Nobody may know the names of a request that was given up any more, and still it keeps its place: as an
            // operation without a name. A group has to have its ranks: then the hub ends the session, and nobody waits
            // for ever.
            if name.kind == NameKind::Operation { NO_NAME_LEN } else { 0 }
        } else {
            return Next::OutOfReach;
        };
        let fits = len <= reach.payload(request);
        // A call site goes without its text rather than let later calls overtake this one.
        let len = if !fits && name.kind == NameKind::Site { 0 } else { len };
        if len > reach.payload(request) {
            return Next::OutOfReach;
        }
        slot.marks.clear(mark);
        draft.set(Up::Name(name));
        draft.payload = Some((content, len));
        Next::Frame
    }

    /// Moves the front of the ready list to its back: what it has to send is out of reach.
    fn put_off(&mut self, request: RequestId) {
        self.lacks.get_or_insert(request);
        if let Some(index) = self.peek_ready() {
            self.pop_ready();
            self.push_ready(index);
        }
    }

    fn transmit_submit(&mut self, draft: &mut Draft<'_>, index: u16, request: RequestId, reach: Reach) -> Next {
        let (max_payload, max_message) = (self.max_payload, self.max_message);
        let room = self.queue_limit.saturating_sub(self.queue_sent);
        self.sequence = self.sequence.wrapping_add(1);
        let (sequence, acknowledged) = (self.sequence, self.acknowledged);
        self.pop_ready();
        let mut cost = 0;
        let mut done = None;
        let Some(slot) = self.slot_mut(index) else { return Next::Nothing };
        let mut flags = slot.asked.flags;
        let call = slot.asked.call;
        let is_send = is_send(call);
        let varied = flags.has(SubmitFlags::VARIED);
        let table = if varied { slot.asked.size as usize * 8 } else { 0 };
        let room = usize::try_from(room.saturating_sub(EAGER_OVERHEAD)).unwrap_or(usize::MAX);
        let affordable = room.min(max_payload.min(reach.payload(request)).saturating_sub(table));
        // Of a request that was given up, the bytes are no longer there.
        let cancelled = slot.marks.has(Marks::CANCELLED);
        // One that the hub will refuse stays here: its send must not be done before that.
        let too_large = slot.asked.send as u64 > max_message;
        let affordable = if room == 0 || cancelled || too_large { 0 } else { affordable };
        let whole = slot.asked.unsent <= affordable;
        let inline = match slot.asked.up {
            Parts::None => 0,
            Parts::One if whole => slot.asked.unsent,
            // A beginning, cut so that no element is.
            Parts::One => affordable & !63,
            Parts::EachOther if whole => slot.asked.unsent,
            Parts::EachOther => 0,
        };
        if inline > 0 || (is_send && whole && room > 0) {
            cost = inline as u64 + EAGER_OVERHEAD;
            flags = flags.with(SubmitFlags::EAGER);
        }
        slot.asked.unsent -= inline;
        slot.up = Progress { part: 0, offset: inline, limit: inline, len: slot.asked.send };
        slot.state = State::Open;
        let submit = Submit {
            request,
            sequence,
            acknowledged,
            call: slot.asked.call,
            datatype: slot.asked.datatype,
            op: slot.asked.op,
            flags,
            communicator: slot.asked.communicator,
            group: slot.asked.group,
            name: slot.asked.operation,
            site: slot.asked.site,
            peer: Rank::new(slot.asked.peer),
            tag: Tag(slot.asked.tag),
            n: slot.asked.n,
            send: slot.asked.send as u64,
            receive: slot.asked.receive as u64,
        };
        let has_part = slot.asked.up == Parts::One;
        if !has_part || inline == slot.asked.send {
            slot.up = Progress::default();
        }
        // Other modes are done when a receive has taken the message.
        if call == CallCode::Send as u8 && cost > 0 && slot.asked.unsent == 0 && !cancelled {
            done = Some(request);
        }
        let cancel = slot.marks.has(Marks::CANCEL);
        let settled = is_receive(call) || done.is_some();
        if settled {
            self.settle(index);
        }
        self.queue_sent += cost;
        // What is done can't be withdrawn.
        if cancel && done.is_none() {
            // Right behind it: what was submitted after it was given up may rely on that.
            self.push_ready_first(index);
        }
        draft.done = done;
        draft.set(Up::Submit(submit));
        draft.payload = Some((Content::Inline(request), table + inline));
        Next::Frame
    }

    /// What an open request, or one of its parts at `index`, has to send next.
    fn transmit_open(&mut self, draft: &mut Draft<'_>, index: u16, request: RequestId, reach: Reach) -> Next {
        let max_payload = self.max_payload;
        let owner = request.index() as u16;
        let owner_slot = self.slot_mut(owner).filter(|slot| slot.state == State::Open);
        let Some(owner_slot) = owner_slot else { return Next::Nothing };
        let cancelled = owner_slot.marks.has(Marks::CANCELLED);
        if owner_slot.marks.clear(Marks::CANCEL) {
            if cancelled {
                draft.set(Up::Cancel(Cancel { request }));
            } else {
                draft.set(Up::Withdraw(Withdraw { request }));
            }
            return Next::Frame;
        }
        let Some(slot) = self.slot_mut(index) else { return Next::Nothing };
        if slot.marks.clear(Marks::CREDIT) && !cancelled {
            let Progress { part, limit, len, .. } = slot.down;
            let credit = Credit { request, part, limit: limit as u64, len: len as u64 };
            draft.set(Up::Credit(credit));
            return Next::Frame;
        }
        let Progress { part, offset, limit, len } = slot.up;
        if offset >= limit || cancelled || slot.state == State::DownPart {
            return Next::Nothing;
        }
        let wanted = limit - offset;
        let mut n = wanted.min(max_payload).min(reach.payload(request));
        if n < wanted.min(64) {
            return Next::OutOfReach;
        }
        if offset + n < len && n > 64 {
            // Frames in the middle of a part hold whole elements.
            n &= !63;
        }
        slot.up.offset += n;
        let (part_done, more) = (slot.up.offset == len, slot.up.offset < limit);
        if part_done {
            self.close_part(owner, index);
        }
        if let Some(slot) = self.slot_mut(owner) {
            slot.asked.unsent = slot.asked.unsent.saturating_sub(n);
        }
        // To the back of the queue, so that one long message does not hold the others up.
        self.pop_ready();
        if more {
            self.push_ready(index);
        }
        draft.set(Up::Data(Data { request, part, offset: offset as u64 }));
        draft.payload = Some((Content::Part { request, part, offset }, n));
        Next::Frame
    }

    fn hello(&self) -> Hello {
        let Config { rank, size, kind, max_payload, max_message, open_parts, receive_window, .. } = self.config;
        let max_silence = millis(self.config.max_silence);
        Hello {
            magic: MAGIC,
            version: VERSION,
            rank,
            size,
            kind,
            max_payload,
            max_message,
            open_parts: open_parts.max(1),
            receive_window,
            max_silence,
        }
    }
}

/// The next name that travels ahead of a request: the mark that says so, its frame and its text.
fn new_name(slot: &Slot, request: RequestId) -> Option<(u8, Name, Content)> {
    let (mark, kind, id, content) = if slot.marks.has(Marks::NEW_GROUP) {
        (Marks::NEW_GROUP, NameKind::Group, slot.asked.group, Content::Group(request))
    } else if slot.marks.has(Marks::NEW_OPERATION) {
        (Marks::NEW_OPERATION, NameKind::Operation, slot.asked.operation, Content::Operation(request))
    } else if slot.marks.has(Marks::NEW_SITE) {
        (Marks::NEW_SITE, NameKind::Site, slot.asked.site, Content::Site(request))
    } else {
        return None;
    };
    Some((mark, Name { kind, id }, content))
}
