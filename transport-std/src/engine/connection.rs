//! One of a hub's links: whole frames in, as many frames out as one call to the system takes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use edgempi_core::hub::{Hub, PeerId};
use edgempi_core::payload::{Payload, Pool, Room};
use edgempi_core::wire::{Down, MAX_HEAD_LEN, Prefix};
use edgempi_core::{Instant, wire};

use super::Traffic;
use super::hub::HUB;
use crate::codec::{Fill, FrameReader};
use crate::link::Watched;

/// Bytes read ahead from each link.
const AHEAD: usize = 16 * 1024;
/// Frames and bytes taken from the hub for one call to the system.
const BATCH_FRAMES: usize = 32;
const BATCH_BYTES: usize = 1 << 20;

/// A frame on its way out.
pub(super) struct Leaving {
    head: [u8; MAX_HEAD_LEN],
    head_len: usize,
    payload: Payload,
}

/// A frame on its way in.
pub(super) struct Arriving {
    prefix: Prefix,
    header: [u8; wire::MAX_HEADER_LEN],
    payload: Room,
    got: usize,
}

/// A link to a rank, or to somebody who has not said who it is.
pub(super) struct Connection {
    pub(super) key: usize,
    pub(super) link: Watched,
    reader: FrameReader,
    pub(super) arriving: Option<Arriving>,
    pub(super) out: VecDeque<Leaving>,
    /// Bytes of the first frame in `out` that have been written.
    written: usize,
    /// Only its last words are still to be delivered.
    pub(super) ending: bool,
    /// Everything has been said; whatever still comes is thrown away.
    pub(super) closing: bool,
    /// Some of it was said since somebody last looked.
    pub(super) wrote: bool,
    /// Nothing can be said any more. What the other side has said, its goodbye perhaps, may still be on its way.
    pub(super) mute: bool,
    pub(super) over: bool,
    pub(super) traffic: Traffic,
}

impl Connection {
    pub(super) fn new(key: usize, link: Watched) -> Self {
        Self {
            key,
            link,
            reader: FrameReader::new(AHEAD),
            arriving: None,
            out: VecDeque::new(),
            written: 0,
            ending: false,
            closing: false,
            wrote: false,
            mute: false,
            over: false,
            traffic: Traffic::default(),
        }
    }

    /// Whether there is something to do even if nothing comes and the hub has no more to say.
    pub(super) fn is_unfinished(&self) -> bool {
        self.over || self.mute || !self.out.is_empty()
    }

    pub(super) fn read_some(
        &mut self,
        hub: &mut Hub,
        pool: &mut Pool,
        now: Instant,
        peer: PeerId,
    ) -> io::Result<(usize, Fill)> {
        if self.closing {
            let thrown = self.reader.discard(usize::MAX);
            return Ok((thrown, self.reader.fill(&mut self.link)?));
        }
        if let Some(arriving) = &mut self.arriving {
            let (n, fill) = self.reader.read(&mut arriving.payload[arriving.got..], &mut self.link)?;
            arriving.got += n;
            if arriving.got == arriving.payload.len()
                && let Some(Arriving { prefix, header, payload, .. }) = self.arriving.take()
            {
                let header = header.get(..usize::from(prefix.header_len)).unwrap_or(&header);
                self.traffic.frames_received += 1;
                hub.handle_frame(now, peer, prefix, header, pool.fill(payload));
            }
            return Ok((n, if n > 0 { Fill::Some } else { fill }));
        }
        let Some(prefix) = self.reader.prefix() else { return Ok((0, self.reader.fill(&mut self.link)?)) };
        // Before anything is made ready for what it announces.
        if hub.check_prefix(now, peer, prefix).is_err() {
            return Ok((self.reader.discard(usize::MAX), Fill::Some));
        }
        let Some((prefix, bytes)) = self.reader.head() else { return Ok((0, self.reader.fill(&mut self.link)?)) };
        let mut header = [0; wire::MAX_HEADER_LEN];
        let n = bytes.len().min(header.len());
        header[..n].copy_from_slice(&bytes[..n]);
        let taken = wire::PREFIX_LEN + bytes.len();
        self.reader.take_head(prefix);
        let len = prefix.payload_len as usize;
        let whole = if len == 0 { Some(Payload::new()) } else { self.reader.take_whole(len, &self.link) };
        if let Some(payload) = whole {
            self.traffic.frames_received += 1;
            hub.handle_frame(now, peer, prefix, &header[..n], payload);
            return Ok((taken + len, Fill::Some));
        }
        self.arriving = Some(Arriving { prefix, header, payload: pool.room(len), got: 0 });
        Ok((taken, Fill::Some))
    }

    /// Takes frames from the hub until there is a good load of them.
    pub(super) fn collect(&mut self, hub: &mut Hub, peer: PeerId) {
        let mut bytes: usize = self.out.iter().map(|leaving| leaving.payload.len()).sum();
        while self.out.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            let Some((frame, payload)) = hub.poll_transmit(peer) else { break };
            if let Down::Reject(_) = frame {
                let why = String::from_utf8_lossy(&payload);
                tracing::warn!(target: HUB, "turned away {}: {why}", self.link.describe());
            }
            let mut head = [0; MAX_HEAD_LEN];
            // The hub cuts payloads to what the rank takes, a u32.
            let head_len = frame.encode(payload.len() as u32, &mut head);
            bytes += payload.len();
            self.out.push_back(Leaving { head, head_len, payload });
        }
    }

    /// Hands frames over to a rank of this process. Returns whether any, or `None` if it is not of this process.
    fn hand_over(&mut self) -> Option<io::Result<bool>> {
        let mut moved = false;
        while let Some(Leaving { head, head_len, payload }) = self.out.front() {
            match self.link.hand_over(&head[..*head_len], payload)? {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Some(Err(error)),
            }
            moved = true;
            self.traffic.sent += (head_len + payload.len()) as u64;
            self.traffic.frames_sent += 1;
            self.out.pop_front();
        }
        Some(Ok(moved))
    }

    pub(super) fn write_some(&mut self) -> io::Result<bool> {
        if let Some(handed_over) = self.hand_over() {
            return handed_over;
        }
        let pieces = self.out.iter().flat_map(|Leaving { head, head_len, payload }| [&head[..*head_len], payload]);
        let mut slices = [IoSlice::new(&[]); 2 * BATCH_FRAMES];
        let (mut used, mut skip) = (0, self.written);
        for piece in pieces {
            // Only the first frame can have been written in part.
            let done = skip.min(piece.len());
            skip -= done;
            if let Some(slice) = slices.get_mut(used).filter(|_| done < piece.len()) {
                *slice = IoSlice::new(&piece[done..]);
                used += 1;
            }
        }
        let Some(n) = self.link.write(&slices[..used])? else { return Ok(false) };
        self.written += n;
        self.traffic.sent += n as u64;
        while let Some(first) = self.out.front() {
            let len = first.head_len + first.payload.len();
            if self.written < len {
                break;
            }
            self.written -= len;
            self.traffic.frames_sent += 1;
            self.out.pop_front();
        }
        Ok(true)
    }
}
