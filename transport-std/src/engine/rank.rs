//! The rank's side of its link: reads frames into the requests' buffers, and writes frames out of them.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgempi_core::Status;
use edgempi_core::endpoint::{Content, Outgoing};
use edgempi_core::wire::{MAX_HEAD_LEN, PREFIX_LEN, Prefix};

use super::payload::{Reason, Receiving, no_place};
use super::{Engine, RANK_KEY, State};
use crate::codec::{Fill, FrameReader};
use crate::error::Error;
use crate::link::{Link, Watched};
use crate::pending::Pending;

/// Bytes read ahead.
const AHEAD: usize = 64 * 1024;
/// Payloads up to this are copied behind their heads, so that many small frames leave at once.
const COPIED: usize = 16 * 1024;
/// Bytes read before somebody else gets a turn.
const QUOTA: usize = 4 << 20;

/// A payload that is written straight from a request's buffers.
struct Large {
    pending: Arc<Pending>,
    part: usize,
    offset: usize,
    len: usize,
    /// The request is done once this is out.
    resolves: bool,
}

/// The holder of the link.
pub(crate) struct RankDriver {
    link: Watched,
    reader: FrameReader,
    receiving: Option<(Receiving, usize)>,
    /// Frames on their way out: heads and small payloads, then at most one large payload.
    out: Vec<u8>,
    written: usize,
    large: Option<Large>,
    /// Nothing can be written any more. What the hub has said, and why it let go, may still be on its way.
    mute: bool,
    /// The other side closed, or the link failed.
    over: bool,
}

impl RankDriver {
    pub(crate) fn new(engine: &Engine, link: Box<dyn Link>) -> io::Result<Self> {
        Ok(Self {
            link: Watched::new(link, engine.poller(), RANK_KEY)?,
            reader: FrameReader::new(AHEAD),
            receiving: None,
            out: Vec::with_capacity(2 * AHEAD),
            written: 0,
            large: None,
            mute: false,
            over: false,
        })
    }

    pub(super) fn woken(&mut self, readable: bool, writable: bool) {
        self.link.woken(readable, writable);
    }

    pub(super) fn arm(&mut self, engine: &Engine) {
        if self.over {
            return;
        }
        if let Err(error) = self.link.arm(!self.is_flushed()) {
            self.fail(engine, &error);
        }
    }

    pub(super) fn disarm(&mut self) {
        // A poller that can't be told is one that is gone.
        let _ = self.link.disarm();
    }

    /// Whether the hub has closed its side, or the link has failed.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.over || self.mute || (self.out.is_empty() && self.large.is_none())
    }

    /// Reads what has come. Returns whether anything has.
    pub(super) fn read(&mut self, engine: &Engine) -> bool {
        let mut moved = 0;
        self.link.readable = true;
        while !self.over && moved < QUOTA {
            match self.read_some(engine) {
                Ok((n, Fill::Some)) => moved += n.max(1),
                Ok((_, Fill::Blocked)) => break,
                Ok((_, Fill::Closed)) => {
                    let (hub, hint) = hub_of(engine);
                    self.end(engine, &Error::disconnected(format!("the hub at {hub} closed the connection{hint}")));
                }
                Err(error) => self.fail(engine, &error),
            }
        }
        if moved > 0 && self.receiving.is_some() {
            engine.state().endpoint.heard(engine.now());
        }
        moved > 0
    }

    fn read_some(&mut self, engine: &Engine) -> io::Result<(usize, Fill)> {
        let Some((receiving, got)) = &mut self.receiving else {
            let Some((prefix, header)) = self.reader.head() else {
                return Ok((0, self.reader.fill(&mut self.link)?));
            };
            let mut held = [0; u8::MAX as usize];
            let header_len = header.len();
            held[..header_len].copy_from_slice(header);
            self.reader.take_head(prefix);
            let len = PREFIX_LEN + header_len + prefix.payload_len as usize;
            engine.counters.received.fetch_add(len as u64, Ordering::Relaxed);
            engine.counters.frames_received.fetch_add(1, Ordering::Relaxed);
            self.begin(engine, prefix, &held[..header_len]);
            return Ok((len, Fill::Some));
        };
        let (n, fill, len) = match receiving {
            Receiving::Place { pending, part, offset, len } => {
                let mut inner = pending.lock();
                let place = inner.buffers.as_mut().and_then(|buffers| buffers.incoming(*part, *offset, *len));
                match place.and_then(|place| place.get_mut(*got..)) {
                    Some(place) => {
                        let (n, fill) = self.reader.read(place, &mut self.link)?;
                        (n, fill, *len)
                    }
                    None => {
                        drop(inner);
                        self.end(engine, &no_place());
                        return Ok((0, Fill::Blocked));
                    }
                }
            }
            Receiving::Collect { bytes, .. } | Receiving::Reason { bytes, .. } => {
                let (n, fill) = self.reader.read(&mut bytes[*got..], &mut self.link)?;
                (n, fill, bytes.len())
            }
            Receiving::Discard { len } => match self.reader.discard(*len - *got) {
                0 if *len > *got => (0, self.reader.fill(&mut self.link)?, *len),
                n => (n, Fill::Some, *len),
            },
        };
        *got += n;
        if *got == len {
            self.finish(engine);
        }
        Ok((n, if n > 0 { Fill::Some } else { fill }))
    }

    /// A head has come: finds out where its payload goes.
    fn begin(&mut self, engine: &Engine, prefix: Prefix, header: &[u8]) {
        let received = engine.state().receive(engine.now(), prefix, header);
        match received {
            Ok(receiving) => {
                let is_empty = receiving.len() == 0;
                self.receiving = Some((receiving, 0));
                if is_empty {
                    self.finish(engine);
                }
            }
            Err(error) => self.end(engine, &error),
        }
    }

    /// The payload is in its place.
    fn finish(&mut self, engine: &Engine) {
        let finished = self.receiving.take().map_or(Ok(Reason::default()), |(receiving, _)| receiving.finish());
        let mut state = engine.state();
        if state.finish(finished) {
            drop(state);
            self.over = true;
            self.link.close_write();
        }
    }

    /// Writes what there is to write. Returns whether anything was.
    pub(super) fn write(&mut self, engine: &Engine) -> bool {
        let mut moved = false;
        while !self.over && !self.mute {
            if self.is_flushed() && !self.collect(engine) {
                break;
            }
            match self.write_some(engine) {
                Ok(Some(n)) => {
                    moved = true;
                    engine.counters.sent.fetch_add(n as u64, Ordering::Relaxed);
                }
                Ok(None) => break,
                // Reading will end it.
                Err(error) => {
                    tracing::debug!("nothing can be written to the hub: {error}");
                    self.mute = true;
                }
            }
        }
        moved
    }

    /// Takes frames from the endpoint until there is a good load of them. Returns whether there are any.
    fn collect(&mut self, engine: &Engine) -> bool {
        let now = engine.now();
        let mut state = engine.state();
        while self.large.is_none() && self.out.len() < AHEAD {
            let mut head = [0; MAX_HEAD_LEN];
            let Some(outgoing) = state.poll_transmit(now, &mut head) else { break };
            engine.counters.frames_sent.fetch_add(1, Ordering::Relaxed);
            let Outgoing { head_len, payload, done: resolves } = outgoing;
            self.out.extend_from_slice(&head[..head_len]);
            if let Some((content, len)) = payload {
                self.append(&state, content, len, resolves.is_some());
            }
            if self.large.as_ref().is_none_or(|large| !large.resolves)
                && let Some(pending) = resolves.and_then(|id| state.find(id))
            {
                state.resolve(pending, Ok(Status::default()));
            }
        }
        drop(state);
        !self.is_flushed()
    }

    fn append(&mut self, state: &State, content: Content, len: usize, resolves: bool) {
        let (request, part, offset) = match content {
            Content::Inline(request) => (request, 0, 0),
            Content::Part { request, part, offset } => (request, part as usize, offset),
            Content::World | Content::Group(_) | Content::Operation(_) | Content::Site(_) => {
                return state.write_payload(content, len, &mut self.out);
            }
        };
        let is_inline = matches!(content, Content::Inline(_));
        if len > COPIED
            && let Some(pending) = state.find(request)
            && pending.lock().buffers.as_ref().is_some_and(|buffers| !(is_inline && buffers.split))
        {
            self.large = Some(Large { pending, part, offset, len, resolves });
        } else {
            state.write_payload(content, len, &mut self.out);
        }
    }

    fn write_some(&mut self, engine: &Engine) -> io::Result<Option<usize>> {
        let heads = self.out.len() - self.written.min(self.out.len());
        let n = match &self.large {
            None => self.link.write(&[IoSlice::new(&self.out[self.written..])])?,
            Some(large) => {
                let behind = self.written.saturating_sub(self.out.len());
                let inner = large.pending.lock();
                let buffers = inner.buffers.as_ref();
                let payload =
                    buffers.and_then(|held| held.outgoing(large.part, large.offset + behind, large.len - behind));
                let Some(payload) = payload else {
                    drop(inner);
                    let reason = "the hub sent a result before its request had left".to_owned();
                    self.end(engine, &Error::Protocol { reason });
                    return Ok(None);
                };
                let heads = &self.out[self.out.len() - heads..];
                self.link.write(&[IoSlice::new(heads), IoSlice::new(payload)])?
            }
        };
        let Some(n) = n else { return Ok(None) };
        self.written += n;
        let total = self.out.len() + self.large.as_ref().map_or(0, |large| large.len);
        if self.written == total {
            self.out.clear();
            self.written = 0;
            if let Some(Large { pending, resolves: true, .. }) = self.large.take() {
                pending.resolve(Ok(Status::default()));
            }
        }
        Ok(Some(n))
    }

    fn fail(&mut self, engine: &Engine, error: &io::Error) {
        let (hub, hint) = hub_of(engine);
        self.end(engine, &Error::disconnected(format!("the connection to the hub at {hub} broke: {error}{hint}")));
    }

    fn end(&mut self, engine: &Engine, error: &Error) {
        self.over = true;
        self.link.close_write();
        engine.state().lose(error);
    }
}

/// Where the hub is, or was, and where to look when it is gone without a word.
fn hub_of(engine: &Engine) -> (String, &'static str) {
    let state = engine.state();
    (state.hub.clone(), state.hub_hint)
}
