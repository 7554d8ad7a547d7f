//! The engine: moves frames between the port and whatever buffers are at hand. Whoever polls a call drives it.
//!
//! Nothing here holds a pointer into a caller's buffer: bytes move while the future that borrows it is polled. What
//! comes for another request goes into the scratch memory, and no request ever has more credit than its place there
//! holds. No frame is begun that does not fit the port, so none is ever half sent.

use core::cell::RefCell;
use core::task::{Context, Poll, Waker};

use edgempi_core::endpoint::{Content, Event, Incoming, NO_NAME_LEN, Outgoing, Reach};
use edgempi_core::request::Submission;
use edgempi_core::request::{CallCode, CommunicatorId, NameIds, Slot};
use edgempi_core::wire::{GoodbyeReason, Layout, MAX_HEAD_LEN, PREFIX_LEN, Prefix};
use edgempi_core::{Call, Category, Datatype, Endpoint, Rank, RequestId, Status};

use crate::clock::{Clock, NOBODY};
use crate::error::Error;
use crate::hand::{Hand, Source};
use crate::memory::{Entry, NameEntry, Parts, Place, Reason, Stage};
use crate::names::Table;
use crate::port::Port;
use crate::site::SITES;

/// Pieces of frames moved in one poll, each way, before somebody else gets a turn.
const STEPS_PER_POLL: u32 = 32;
/// A frame is begun if its head and this much payload fit: any place in the source, where those are told.
const LEAST_ROOM: usize = MAX_HEAD_LEN + if SITES != 0 { 128 } else { 64 };
/// Bytes that a function is asked for, or given, at a time.
const PIECE: usize = 64;

/// What becomes of the payload that is coming in.
#[derive(Clone, Copy)]
enum Destination {
    Request { request: RequestId, place: Place },
    Reason,
    Nowhere,
}

/// A payload that is coming in.
struct Receiving {
    destination: Destination,
    len: usize,
    got: usize,
    /// Header bytes ahead of it that only a later version understands.
    surplus: usize,
}

/// The link is over, for this reason. (An [`Error`] would be copied at each return.)
type Over = Category;

/// The state of a rank.
pub(crate) struct Engine<'m, P, C> {
    port: P,
    clock: C,
    endpoint: &'m mut Endpoint<[Slot]>,
    entries: &'m mut [Entry],
    scratch: &'m mut [u8],
    /// Bytes of scratch that belong to each request; those behind are the pool.
    share: usize,
    names: &'m mut [NameEntry],
    sites: &'m mut [NameEntry; SITES],
    reason: &'m mut Reason,
    world: &'m str,
    /// The head that is coming in, and how much of it is here.
    head: &'m mut [u8; MAX_HEAD_LEN],
    head_len: usize,
    receiving: Option<Receiving>,
    /// The port had no room when somebody last wanted to write.
    is_blocked: bool,
    /// Nothing can be written any more.
    is_deaf: bool,
    joined: bool,
    goodbye: Option<GoodbyeReason>,
    lost: Option<Error>,
    /// Whoever waits for the world to begin or to end.
    watcher: Option<Waker>,
}

/// A request whose buffers are at hand.
pub(crate) struct AtHand<'h, 'a> {
    pub(crate) request: RequestId,
    pub(crate) hand: &'h mut Hand<'a>,
}

/// The engine without its types: what communicators and calls see of it.
pub(crate) trait Drive {
    fn submit(
        &self,
        communicator: CommunicatorId,
        call: &Call<'_>,
        datatype: Datatype,
        hand: &mut Hand<'_>,
        len: Option<usize>,
    ) -> Result<RequestId, Error>;
    fn poll(&self, context: &mut Context<'_>, request: RequestId, hand: &mut Hand<'_>) -> Poll<Result<Status, Error>>;
    fn cancel(&self, request: RequestId, hand: Option<&mut Hand<'_>>);
    /// Nobody wants to know how a request ends.
    fn detach(&self, request: RequestId);
    /// Moves what can be moved for others.
    fn progress(&self, context: &mut Context<'_>);
}

impl<'m, P: Port, C: Clock> Engine<'m, P, C> {
    pub(crate) fn new(
        port: P,
        clock: C,
        memory: Parts<'m>,
        mut config: edgempi_core::endpoint::Config,
        world: &'m str,
    ) -> Self {
        let Parts { endpoint, head, entries, scratch, names, sites, reason } = memory;
        let share = scratch.len().checked_div(2 * entries.len()).unwrap_or(0);
        config.receive_window = share as u32;
        config.world_len = world.len() as u32;
        endpoint.start(clock.now(), config);
        Self {
            endpoint,
            port,
            clock,
            entries,
            scratch,
            share,
            names,
            sites,
            reason,
            world,
            head,
            head_len: 0,
            receiving: None,
            is_blocked: false,
            is_deaf: false,
            joined: false,
            goodbye: None,
            lost: None,
            watcher: None,
        }
    }

    /// Moves what can be moved, a bounded amount of it.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>, mut at_hand: Option<AtHand<'_, '_>>) {
        if self.lost.is_some() {
            return;
        }
        let result = self.try_drive(context, at_hand.as_mut());
        if let Err(category) = result {
            self.lose(Error::new(category));
        }
    }

    fn try_drive(&mut self, context: &mut Context<'_>, mut at_hand: Option<&mut AtHand<'_, '_>>) -> Result<(), Over> {
        let now = self.clock.now();
        self.endpoint.handle_timeout(now).map_err(|fault| fault.category)?;
        if let Some(at_hand) = &mut at_hand {
            self.unpack(at_hand);
        }
        let mut steps = STEPS_PER_POLL;
        loop {
            // Always both: whoever only writes may wait for one who does the same.
            let read = self.read(context, at_hand.as_deref_mut())?;
            if let Some(at_hand) = &at_hand {
                self.top_up(at_hand.request);
            }
            let wrote = self.write(context, at_hand.as_deref_mut())?;
            if !read && !wrote {
                if self.is_deaf {
                    // All that came before has been read: it may have said why.
                    return Err(Category::Disconnected);
                }
                break;
            }
            steps -= 1;
            if steps == 0 {
                context.waker().wake_by_ref();
                break;
            }
        }
        if let Some(entry) = self.endpoint.lacks().and_then(|request| entry_of(self.entries, request)) {
            entry.wake();
        }
        if let Some(at) = self.endpoint.poll_timeout() {
            self.alarm(context, at);
        }
        Ok(())
    }

    /// Reads a piece of a frame. Returns whether there was one.
    fn read(&mut self, context: &mut Context<'_>, at_hand: Option<&mut AtHand<'_, '_>>) -> Result<bool, Over> {
        let Some(Receiving { destination, len, got, surplus }) = self.receiving else {
            return self.read_head(context);
        };
        let (destination, left) = if surplus > 0 { (Destination::Nowhere, surplus) } else { (destination, len - got) };
        let n = if left > 0 { self.read_payload(context, at_hand, destination, left, got)? } else { Some(0) };
        let Some(n) = n else { return Ok(false) };
        match &mut self.receiving {
            Some(receiving) if surplus > 0 => receiving.surplus -= n,
            Some(receiving) if n < left => {
                receiving.got = got + n;
                self.endpoint.heard(self.clock.now());
            }
            _ => {
                self.receiving = None;
                self.finish();
            }
        }
        Ok(true)
    }

    /// Reads a piece of a head: the prefix, which says how long the header is, then the header.
    fn read_head(&mut self, context: &mut Context<'_>) -> Result<bool, Over> {
        let wanted = self.head_wanted();
        let Some(place) = self.head.get_mut(self.head_len..wanted) else { return Err(Category::Protocol) };
        let Some(n) = read_some(&mut self.port, context, place)? else { return Ok(false) };
        self.head_len += n;
        if self.head_len >= self.head_wanted() {
            self.begin()?;
        }
        Ok(true)
    }

    fn prefix(&self) -> Prefix {
        Prefix::decode(*self.head.first_chunk().unwrap_or(&[0; PREFIX_LEN]))
    }

    /// How many bytes of head there have to be, as far as that is known.
    fn head_wanted(&self) -> usize {
        let header_len = if self.head_len < PREFIX_LEN { 0 } else { usize::from(self.prefix().header_len) };
        (PREFIX_LEN + header_len).min(MAX_HEAD_LEN)
    }

    /// A head is complete: finds out where its payload goes.
    fn begin(&mut self) -> Result<(), Over> {
        let prefix = self.prefix();
        let now = self.clock.now();
        let header = self.head.get(PREFIX_LEN..self.head_len).unwrap_or_default();
        let surplus = usize::from(prefix.header_len) - header.len();
        let incoming = match self.endpoint.handle_frame(now, prefix, header) {
            Ok(incoming) => incoming,
            Err(fault) => {
                self.lose(fault.into());
                return Err(fault.category);
            }
        };
        self.head_len = 0;
        let destination = match incoming {
            Incoming::Payload { request, part, offset, .. } => {
                Destination::Request { request, place: Place { blocks: false, part, offset } }
            }
            Incoming::Result { request, layout, .. } => {
                // Blocks of different lengths have no place in a typed buffer; the endpoint refuses them.
                let blocks = layout == Layout::Equal;
                Destination::Request { request, place: Place { blocks, part: 0, offset: 0 } }
            }
            Incoming::Reason { text, .. } => {
                self.reason.expect(text);
                Destination::Reason
            }
            Incoming::Nothing | Incoming::Discard { .. } => Destination::Nowhere,
        };
        self.receiving = Some(Receiving { destination, len: prefix.payload_len as usize, got: 0, surplus });
        Ok(())
    }

    /// Moves payload, of which `got` bytes have come and `left` are to come, from the port to where it belongs. `None` if
    /// nothing has come.
    fn read_payload(
        &mut self,
        context: &mut Context<'_>,
        at_hand: Option<&mut AtHand<'_, '_>>,
        destination: Destination,
        left: usize,
        got: usize,
    ) -> Result<Option<usize>, Over> {
        let (request, place) = match destination {
            Destination::Request { request, place } => (request, Place { offset: place.offset + got, ..place }),
            Destination::Reason | Destination::Nowhere => (RequestId::NONE, Place::START),
        };
        // None, too, for one that was given up while its bytes were on their way.
        let index = index_of(self.entries, request);
        let mut hand = at_hand.filter(|at_hand| at_hand.request == request).map(|at_hand| &mut *at_hand.hand);
        let mut piece = [0; PIECE];
        let room: &mut [u8] = match (index, &mut hand) {
            (None, _) if matches!(destination, Destination::Reason) => self.reason.space(),
            (Some(index), None) => return self.store(context, index, place, left),
            (Some(_), Some(hand)) if !hand.has_function() => hand.incoming(place, left).ok_or(Category::Protocol)?,
            _ => &mut [],
        };
        let room = if room.is_empty() { &mut piece } else { room };
        let wanted = left.min(room.len());
        let Some(n) = read_some(&mut self.port, context, room.get_mut(..wanted).unwrap_or_default())? else {
            return Ok(None);
        };
        if let Destination::Reason = destination {
            self.reason.advance(n);
        }
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.taken += n;
            if let Some(take) = hand.and_then(Hand::function) {
                take(place.offset, piece.get(..n).unwrap_or_default());
            }
        }
        Ok(Some(n))
    }

    /// Puts payload of a request that nobody polls into the scratch memory, and wakes whoever should.
    fn store(
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
    fn area(&self, index: usize) -> (usize, usize) {
        match self.entries.get(index) {
            Some(entry) if entry.has_pool => (self.share * self.entries.len(), self.pool()),
            _ => (self.share * index, self.share),
        }
    }

    fn pool(&self) -> usize {
        self.scratch.len().saturating_sub(self.share * self.entries.len())
    }

    /// Moves what waits in the scratch memory into the buffer that is at hand.
    fn unpack(&mut self, at_hand: &mut AtHand<'_, '_>) {
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
    fn top_up(&mut self, request: RequestId) {
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

    /// A frame has come whole.
    fn finish(&mut self) {
        match self.endpoint.poll_event() {
            // A request that was given up has nobody here any more.
            None | Some(Event::Released { .. }) => {}
            Some(Event::Welcome(_)) => {
                self.joined = true;
                self.wake_watcher();
            }
            Some(Event::Part { request, part, len }) => {
                let share = self.area(request.index()).1;
                if let Some(entry) = entry_of(self.entries, request) {
                    // The first part may begin at once; every other one waits for credit.
                    entry.granted = if entry.part_len == 0 { share.min(len) } else { 0 };
                    (entry.part, entry.part_len, entry.taken) = (part, len, 0);
                    entry.wake();
                }
            }
            Some(Event::Complete { request, status }) => self.settle(request, Stage::Done(status)),
            Some(Event::Fail { request, fault }) => self.settle(request, Stage::Failed(fault.into())),
            Some(Event::Rejected(fault)) => self.lose(fault.into()),
            Some(Event::Goodbye(reason)) => {
                self.goodbye = Some(reason);
                let category = match reason {
                    GoodbyeReason::Finished => Category::RankFinished,
                    _ => Category::Disconnected,
                };
                self.lose(Error::new(category));
            }
        }
    }

    fn settle(&mut self, request: RequestId, stage: Stage) {
        if let Some(entry) = entry_of(self.entries, request)
            && entry.stage == Stage::Waiting
        {
            entry.stage = stage;
            entry.wake();
        }
    }

    /// Writes a frame. Returns whether there was one.
    fn write(&mut self, context: &mut Context<'_>, at_hand: Option<&mut AtHand<'_, '_>>) -> Result<bool, Over> {
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
            let status = Status { source: Rank::new(0), tag: edgempi_core::Tag(0), bytes: 0 };
            self.settle(request, Stage::Done(status));
        }
    }

    pub(crate) fn lose(&mut self, error: Error) {
        self.endpoint.disconnect();
        self.receiving = None;
        if self.lost.is_some() {
            return;
        }
        self.lost = Some(error);
        for entry in self.entries.iter_mut() {
            if entry.stage == Stage::Waiting {
                entry.stage = Stage::Failed(error);
                entry.wake();
            }
        }
        self.wake_watcher();
    }

    fn wake_watcher(&mut self) {
        if let Some(waker) = self.watcher.take() {
            waker.wake();
        }
    }

    /// Wakes somebody who will drive the port: its last driver has left.
    fn wake_another(&mut self) {
        match self.entries.iter_mut().find(|entry| entry.stage == Stage::Waiting && entry.waker.is_some()) {
            Some(entry) => entry.wake(),
            None => self.wake_watcher(),
        }
    }

    pub(crate) fn watch(&mut self, context: &Context<'_>) {
        self.watcher = Some(context.waker().clone());
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.joined
    }

    pub(crate) fn lost(&self) -> Option<Error> {
        self.lost
    }

    pub(crate) fn goodbye(&self) -> Option<GoodbyeReason> {
        self.goodbye
    }

    pub(crate) fn leave(&mut self, reason: GoodbyeReason) {
        self.endpoint.leave(reason);
    }

    pub(crate) fn port(&mut self) -> &mut P {
        &mut self.port
    }

    pub(crate) fn wake_at(&self, context: &Context<'_>, at: edgempi_core::Instant) -> bool {
        let passed = self.clock.now() >= at;
        if !passed {
            self.alarm(context, at);
        }
        passed
    }

    /// Whoever looks by itself, and has no waker, needs no alarm; some clocks take only their executor's wakers.
    #[inline(never)] // 60 bytes less on a Cortex-M3
    fn alarm(&self, context: &Context<'_>, at: edgempi_core::Instant) {
        if !NOBODY.will_wake(context.waker()) {
            self.clock.wake_at(at, context.waker());
        }
    }

    pub(crate) fn now(&self) -> edgempi_core::Instant {
        self.clock.now()
    }

    pub(crate) fn reason(&self) -> &str {
        self.reason.as_str()
    }

    #[inline(never)] // the result is copied less often
    fn try_submit(
        &mut self,
        communicator: CommunicatorId,
        call: &Call<'_>,
        datatype: Datatype,
        hand: &mut Hand<'_>,
        len: Option<usize>,
    ) -> Result<RequestId, Error> {
        if let Some(error) = self.lost {
            return Err(error);
        }
        let role = edgempi_core::request::Role::new(call, communicator.rank);
        let (mut sent, mut receive) = hand.prepare(call, datatype, role)?;
        if let Some(len) = len {
            // Functions give and take what no buffer holds.
            use edgempi_core::request::{Parts, Receive, Sent};
            if len == usize::MAX {
                // More bytes than can be counted.
                return Err(Error::new(Category::InvalidArgument));
            }
            sent = Sent::Equal(len);
            receive = Receive::Exactly(if role.down == Parts::None { 0 } else { len });
        }
        let mut table = Table { names: self.names, communicator: communicator.id, capacity: self.port.capacity() };
        let (mut names, counter) = match (&mut hand.names, call) {
            (Some(names), _) => names.number(&mut table)?,
            // Only `apply` knows what it calls.
            (None, Call::User { .. }) => return Err(Error::new(Category::InvalidArgument)),
            (None, _) => (NameIds::default(), table.everybody()?),
        };
        (names.site, names.new.site) = hand.site.number(self.sites);
        let is_collective = CallCode::of(call).is_collective();
        let started = self.names.get(counter).map_or(0, |name| name.started);
        if let (Call::Free, Some(name)) = (call, self.names.get_mut(counter)) {
            // Another communicator may be counted here. (Groups keep their numbers: the hub knows them.)
            *name = NameEntry::FREE;
        }
        let in_place = matches!(hand.source, Source::InPlace);
        let n = if is_collective { started } else { 0 };
        let submission = Submission::new(communicator, call, datatype, sent, receive, in_place, names, n)?;
        let request = self.endpoint.submit(&submission)?;
        if let (true, Some(name)) = (is_collective, self.names.get_mut(counter)) {
            name.started = started.wrapping_add(1);
        }
        if let Some(entry) = self.entries.get_mut(request.index()) {
            entry.start(request);
        }
        // Its first frame leaves now if there is room: the buffers are at hand.
        let mut context = Context::from_waker(NOBODY);
        self.write_now(&mut context, Some(AtHand { request, hand }));
        Ok(request)
    }

    /// Writes what there is room for, without waiting for more.
    fn write_now(&mut self, context: &mut Context<'_>, mut at_hand: Option<AtHand<'_, '_>>) {
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

impl<P: Port, C: Clock> Drive for RefCell<Engine<'_, P, C>> {
    fn submit(
        &self,
        communicator: CommunicatorId,
        call: &Call<'_>,
        datatype: Datatype,
        hand: &mut Hand<'_>,
        len: Option<usize>,
    ) -> Result<RequestId, Error> {
        self.try_borrow_mut().map_err(|_| REENTERED)?.try_submit(communicator, call, datatype, hand, len)
    }

    fn poll(&self, context: &mut Context<'_>, request: RequestId, hand: &mut Hand<'_>) -> Poll<Result<Status, Error>> {
        let Ok(mut engine) = self.try_borrow_mut() else { return Poll::Ready(Err(REENTERED)) };
        let engine = &mut *engine;
        engine.drive(context, Some(AtHand { request, hand }));
        let Some(entry) = entry_of(engine.entries, request) else { return Poll::Ready(Err(PROTOCOL)) };
        let result = match entry.stage {
            Stage::Waiting | Stage::Free => {
                match &mut entry.waker {
                    // The port may know nobody now who waits to be woken.
                    waker if NOBODY.will_wake(context.waker()) => {
                        *waker = None;
                        engine.wake_another();
                    }
                    Some(waker) => waker.clone_from(context.waker()),
                    waker => *waker = Some(context.waker().clone()),
                }
                return Poll::Pending;
            }
            Stage::Done(status) => Ok(status),
            Stage::Failed(error) => Err(error),
        };
        // What came for others' sake is in the scratch memory still.
        engine.unpack(&mut AtHand { request, hand });
        engine.release(request);
        Poll::Ready(result)
    }

    fn cancel(&self, request: RequestId, hand: Option<&mut Hand<'_>>) {
        let Ok(mut engine) = self.try_borrow_mut() else { return };
        let waits = entry_of(engine.entries, request).is_some_and(|entry| entry.stage == Stage::Waiting);
        if waits {
            engine.endpoint.cancel(request);
            // This is the last time that its names are at hand, if it has any.
            engine.write_now(&mut Context::from_waker(NOBODY), hand.map(|hand| AtHand { request, hand }));
        }
        engine.release(request);
    }

    fn detach(&self, request: RequestId) {
        if let Ok(mut engine) = self.try_borrow_mut() {
            engine.release(request);
        }
    }

    fn progress(&self, context: &mut Context<'_>) {
        if let Ok(mut engine) = self.try_borrow_mut() {
            engine.drive(context, None);
            engine.wake_another();
        }
    }
}

impl<P: Port, C: Clock> Engine<'_, P, C> {
    /// A future is done with its request.
    fn release(&mut self, request: RequestId) {
        if let Some(entry) = entry_of(self.entries, request) {
            entry.stage = Stage::Free;
            entry.request = RequestId::NONE;
            entry.stored = 0;
            entry.has_pool = false;
            entry.waker = None;
        }
        self.wake_another();
    }
}

pub(crate) const PROTOCOL: Error = Error::new(Category::Protocol);
/// A function of the caller's, or a waker, called back into the library.
const REENTERED: Error = Error::new(Category::InvalidArgument);

fn index_of(entries: &[Entry], request: RequestId) -> Option<usize> {
    let entry = entries.get(request.index())?;
    (entry.request == request && entry.stage != Stage::Free).then_some(request.index())
}

fn entry_of(entries: &mut [Entry], request: RequestId) -> Option<&mut Entry> {
    let index = index_of(entries, request)?;
    entries.get_mut(index)
}

/// Reads what has come; `None` if nothing has.
fn read_some<P: Port>(port: &mut P, context: &mut Context<'_>, place: &mut [u8]) -> Result<Option<usize>, Over> {
    if place.is_empty() {
        return Ok(Some(0));
    }
    match port.poll_read(context, place) {
        Poll::Pending => Ok(None),
        Poll::Ready(Ok(0) | Err(_)) => Err(Category::Disconnected),
        Poll::Ready(Ok(n)) => Ok(Some(n)),
    }
}
