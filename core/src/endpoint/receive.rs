//! What an endpoint makes of a frame that comes, and where the frame's payload belongs.

use super::{Endpoint, Event, Phase};
use crate::call::{is_probe, is_receive};
use crate::communicator::Status;
use crate::error::{Category, Fault};
use crate::rank::Tag;
use crate::request::{Marks, Parts, Progress, RequestId, Slot, State};
use crate::time::Instant;
use crate::wire::{Complete, Credit, Data, Down, Layout, Part, Prefix, SubmitFlags, VERSION, Welcome};

const PROTOCOL: Fault = Fault::new(Category::Protocol);

/// Where the payload of the frame that just came belongs. The driver has to take all of it off the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// There is none.
    Nothing,
    /// Bytes `offset..offset + len` of a part that [`Event::Part`] announced.
    Payload {
        /// Whose.
        request: RequestId,
        /// Which part.
        part: u32,
        /// Where in the part it begins.
        offset: usize,
        /// How many bytes.
        len: usize,
    },
    /// The whole result of a request, laid out as said.
    Result {
        /// Whose.
        request: RequestId,
        /// How it is divided.
        layout: Layout,
        /// How many bytes.
        len: usize,
    },
    /// A reason, about the event that follows.
    Reason {
        /// How many bytes.
        len: usize,
        /// How many of them, from the front, are a text for people: UTF-8, unless the hub is broken. What is behind it is
        /// the error of the user's code at the hub, as postcard.
        text: usize,
    },
    /// Bytes that nobody wants any more.
    Discard {
        /// How many bytes.
        len: usize,
    },
}

impl<S: AsRef<[Slot]> + AsMut<[Slot]> + ?Sized> Endpoint<S> {
    /// Takes in the head of a frame and says where its payload belongs. The payload, `prefix.payload_len` bytes, need
    /// not have come yet; the driver takes all of it off the link before the next frame.
    ///
    /// # Errors
    ///
    /// The hub broke the protocol: the driver closes the link and calls [`disconnect`](Self::disconnect).
    pub fn handle_frame(&mut self, now: Instant, prefix: Prefix, header: &[u8]) -> Result<Incoming, Fault> {
        debug_assert!(self.event.is_none(), "drain events before the next frame");
        self.heard(now);
        let len = prefix.payload_len as usize;
        if len > self.config.max_payload as usize {
            let max = self.config.max_payload.into();
            return Err(Fault::of_size(Category::Protocol, len as u64, max));
        }
        let mut fault = PROTOCOL;
        self.take_in(prefix.kind, header, len, &mut fault).ok_or(fault)
    }

    /// `None` is a hub that broke the protocol, unless `fault` says otherwise: 32 bytes of it would be copied at each
    /// return.
    fn take_in(&mut self, kind: u8, header: &[u8], len: usize, fault: &mut Fault) -> Option<Incoming> {
        let Some(frame) = Down::decode(kind, header).ok()? else { return Some(Incoming::Discard { len }) };
        let greeted = !matches!(self.phase, Phase::Start | Phase::Greeting);
        match frame {
            Down::Welcome(welcome) => self.on_welcome(welcome, len, fault),
            Down::Reject(reject) => {
                self.phase = Phase::Closed;
                self.event = Some(Event::Rejected(reject.fault()));
                Some(Incoming::Reason { len, text: len })
            }
            Down::Goodbye(goodbye) => {
                self.phase = Phase::Closed;
                self.event = Some(Event::Goodbye(goodbye.reason));
                Some(Incoming::Reason { len, text: len })
            }
            _ if !greeted => None,
            // Only whoever asks is told.
            Down::Snapshot(_) => None,
            Down::Ping(_) => {
                self.pong = true;
                Some(Incoming::Discard { len })
            }
            Down::Pong(_) => Some(Incoming::Discard { len }),
            Down::Part(part) => self.on_part(part, len),
            Down::Data(data) => self.on_data(data, len),
            Down::Credit(credit) => self.on_credit(credit, len),
            Down::Complete(complete) => self.on_complete(complete, len),
            Down::Fail(fail) => {
                self.settle_sequence(fail.sequence, fail.queue_limit)?;
                let (index, slot) = self.find(fail.request)?;
                if slot.marks.has(Marks::CANCELLED) {
                    self.finish(index, Event::Released { request: fail.request });
                    return Some(Incoming::Discard { len });
                }
                self.finish(index, Event::Fail { request: fail.request, fault: fail.fault() });
                Some(Incoming::Reason { len, text: fail.text_len(len) })
            }
        }
    }

    // Each of these is called in one place, and inlined there: so no header is copied on a board.

    #[inline(always)]
    fn on_welcome(&mut self, welcome: Welcome, payload_len: usize, fault: &mut Fault) -> Option<Incoming> {
        if self.phase != Phase::Greeting {
            return None;
        }
        self.phase = Phase::Joined;
        if welcome.version != VERSION {
            *fault = Fault::of_size(Category::Version, welcome.version.into(), VERSION.into());
            return None;
        }
        self.max_payload = (welcome.max_payload as usize).max(64);
        self.max_message = welcome.max_message;
        self.max_requests = welcome.max_requests;
        self.queue_limit = welcome.queue_size;
        // A hub that promises nothing may take as long as it likes.
        self.hub_silence = match welcome.max_silence {
            0 => u64::MAX,
            millis => u64::from(millis) * 1000,
        };
        self.event = Some(Event::Welcome(welcome));
        Some(Incoming::Discard { len: payload_len })
    }

    #[inline(always)]
    fn on_part(&mut self, part: Part, payload_len: usize) -> Option<Incoming> {
        let Some((index, slot)) = self.find(part.request) else { return Some(Incoming::Discard { len: payload_len }) };
        if payload_len != 0 || slot.state != State::Open {
            return None;
        }
        let len = usize::try_from(part.len).ok()?;
        let cancelled = slot.marks.has(Marks::CANCELLED);
        let allowed = match slot.asked.down {
            Parts::None => false,
            Parts::One => part.part == 0 && fits(slot, len, slot.asked.receive),
            Parts::EachOther => {
                part.part < slot.asked.size && fits(slot, len, slot.asked.receive / (slot.asked.size as usize).max(1))
            }
        };
        let (before, limit) = (slot.announced, slot.asked.receive);
        let announced = before.checked_add(len).filter(|announced| *announced <= limit)?;
        slot.announced = announced;
        if !allowed || self.part_slot(index, part.part, State::DownPart).is_some() {
            return None;
        }
        // What comes unasked is bounded for the whole request, so only its first part may begin at once.
        let window = match self.config.receive_window {
            u32::MAX => usize::MAX,
            window if before == 0 => window as usize,
            _ => 0,
        };
        let progress = Progress { part: part.part, offset: 0, limit: window.min(len), len };
        self.open_part(index, State::DownPart, progress)?;
        if !cancelled {
            self.event = Some(Event::Part { request: part.request, part: part.part, len });
        }
        Some(Incoming::Nothing)
    }

    #[inline(always)]
    fn on_data(&mut self, data: Data, len: usize) -> Option<Incoming> {
        let Some((owner, request_slot)) = self.find(data.request) else { return Some(Incoming::Discard { len }) };
        let cancelled = request_slot.marks.has(Marks::CANCELLED);
        let unlimited = request_slot.asked.flags.has(SubmitFlags::UNLIMITED);
        let index = self.part_slot(owner, data.part, State::DownPart)?;
        let slot = self.slot_mut(index)?;
        let offset = slot.down.offset;
        let end = offset.checked_add(len)?;
        let allowed = if unlimited { slot.down.len } else { slot.down.limit };
        if data.offset != offset as u64 || end > allowed {
            return None;
        }
        slot.down.offset = end;
        let finished = end == slot.down.len;
        if finished {
            self.close_part(owner, index);
        }
        if cancelled {
            return Some(Incoming::Discard { len });
        }
        Some(Incoming::Payload { request: data.request, part: data.part, offset, len })
    }

    #[inline(always)]
    fn on_credit(&mut self, credit: Credit, payload_len: usize) -> Option<Incoming> {
        let discard = Some(Incoming::Discard { len: payload_len });
        if credit.request == RequestId::NONE {
            self.queue_limit = self.queue_limit.max(credit.limit);
            return discard;
        }
        let Some((index, slot)) = self.find(credit.request) else { return discard };
        if slot.state != State::Open || slot.marks.has(Marks::CANCELLED) || slot.asked.unsent == 0 {
            return discard;
        }
        let limit = usize::try_from(credit.limit).ok()?;
        let len = usize::try_from(credit.len).ok()?;
        let allowed = match slot.asked.up {
            Parts::None => false,
            Parts::One => credit.part == 0 && len == slot.asked.send,
            Parts::EachOther if slot.asked.flags.has(SubmitFlags::VARIED) => {
                credit.part < slot.asked.size && len <= slot.asked.send
            }
            Parts::EachOther => {
                credit.part < slot.asked.size && len == slot.asked.send / (slot.asked.size as usize).max(1)
            }
        };
        if !allowed || limit > len {
            return None;
        }
        let index = match self.part_slot(index, credit.part, State::UpPart) {
            Some(index) => index,
            None => {
                let progress = Progress { part: credit.part, offset: 0, limit: 0, len };
                self.open_part(index, State::UpPart, progress)?
            }
        };
        if let Some(slot) = self.slot_mut(index)
            && limit > slot.up.limit
        {
            if limit > slot.up.len {
                return None;
            }
            slot.up.limit = limit;
            self.push_ready(index);
        }
        discard
    }

    #[inline(always)]
    fn on_complete(&mut self, complete: Complete, len: usize) -> Option<Incoming> {
        self.settle_sequence(complete.sequence, complete.queue_limit)?;
        let window = self.config.receive_window as usize;
        let (index, slot) = self.find(complete.request)?;
        let roles = slot.asked.down;
        let came = match complete.layout {
            Layout::Empty => slot.announced,
            _ if slot.announced > 0 => return None,
            Layout::Single | Layout::Equal => len,
            Layout::Varied => {
                let table = (slot.asked.size as usize).checked_mul(8)?;
                len.checked_sub(table)?
            }
        };
        let layout_fits = match complete.layout {
            Layout::Empty => len == 0,
            Layout::Single => roles == Parts::One,
            Layout::Equal | Layout::Varied => roles == Parts::EachOther,
        };
        let exact = match roles {
            Parts::EachOther => slot.asked.receive - slot.asked.receive / (slot.asked.size as usize).max(1),
            Parts::None => 0,
            Parts::One => slot.asked.receive,
        };
        let flags = slot.asked.flags;
        let length_fits = if flags.has(SubmitFlags::EXACT) {
            came == exact && complete.layout != Layout::Varied
        } else {
            came <= slot.asked.receive
        };
        let within_window = flags.has(SubmitFlags::UNLIMITED) || len <= window;
        let is_probe = is_probe(slot.asked.call);
        if !layout_fits || !length_fits || !within_window || (complete.bytes != came as u64 && !is_probe) {
            return None;
        }
        let is_receive = is_receive(slot.asked.call);
        if self.is_receiving(index) {
            return None;
        }
        let status = if is_receive {
            // A probe tells of bytes that stay where they are.
            Status { source: complete.source, tag: complete.tag, bytes: usize::try_from(complete.bytes).ok()? }
        } else {
            Status { source: self.config.rank, tag: Tag(0), bytes: came }
        };
        let (_, slot) = self.find(complete.request)?;
        if slot.marks.has(Marks::CANCELLED) {
            self.finish(index, Event::Released { request: complete.request });
            return Some(Incoming::Discard { len });
        }
        self.finish(index, Event::Complete { request: complete.request, status });
        Some(match complete.layout {
            Layout::Empty => Incoming::Nothing,
            layout => Incoming::Result { request: complete.request, layout, len },
        })
    }

    fn settle_sequence(&mut self, sequence: u32, queue_limit: u64) -> Option<()> {
        if sequence != self.acknowledged.wrapping_add(1) {
            return None;
        }
        self.acknowledged = sequence;
        self.queue_limit = self.queue_limit.max(queue_limit);
        Some(())
    }
}

/// Whether a part of `len` bytes is what a call that receives `limit` bytes a part may get.
fn fits(slot: &Slot, len: usize, limit: usize) -> bool {
    if slot.asked.flags.has(SubmitFlags::EXACT) { len == limit } else { len <= slot.asked.receive }
}
