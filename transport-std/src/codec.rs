//! Frames on a stream: takes heads and payloads off a link, without copying payloads twice.

use std::io;

use edgempi_core::Payload;
use edgempi_core::wire::{PREFIX_LEN, Prefix};

use crate::link::Watched;

/// What reading has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Bytes came.
    Some,
    /// None came, for now.
    Blocked,
    /// The other side has closed.
    Closed,
}

/// Bytes read ahead at first: enough for small frames, and little for a link on which nothing happens.
const FIRST: usize = 2 * 1024;

/// Takes frames off a link.
pub(crate) struct FrameReader {
    ahead: Vec<u8>,
    /// How large it may become.
    most: usize,
    start: usize,
    end: usize,
}

impl FrameReader {
    /// Reads up to `most` bytes ahead, once so many come at a time; larger payloads go straight into their place.
    pub(crate) fn new(most: usize) -> Self {
        Self { ahead: vec![0; most.min(FIRST)], most, start: 0, end: 0 }
    }

    /// A prefix and its header, if they are here; they are not taken off yet. The header's length is the prefix's.
    pub(crate) fn head(&self) -> Option<(Prefix, &[u8])> {
        let (prefix, rest) = self.ahead[self.start..self.end].split_first_chunk::<PREFIX_LEN>()?;
        let prefix = Prefix::decode(*prefix);
        Some((prefix, rest.get(..usize::from(prefix.header_len))?))
    }

    /// A prefix alone, if it is here.
    pub(crate) fn prefix(&self) -> Option<Prefix> {
        self.ahead[self.start..self.end].first_chunk::<PREFIX_LEN>().map(|prefix| Prefix::decode(*prefix))
    }

    /// Takes a head off.
    pub(crate) fn take_head(&mut self, prefix: Prefix) {
        self.start += PREFIX_LEN + usize::from(prefix.header_len);
    }

    /// Copies payload bytes that are here already; returns how many.
    pub(crate) fn take(&mut self, place: &mut [u8]) -> usize {
        let n = place.len().min(self.end - self.start);
        place[..n].copy_from_slice(&self.ahead[self.start..self.start + n]);
        self.start += n;
        n
    }

    /// A payload that is still with the link, as it was given.
    pub(crate) fn take_whole(&self, len: usize, link: &Watched) -> Option<Payload> {
        if self.start == self.end { link.take(len) } else { None }
    }

    /// Drops up to `len` payload bytes that are here already; returns how many.
    pub(crate) fn discard(&mut self, len: usize) -> usize {
        let n = len.min(self.end - self.start);
        self.start += n;
        n
    }

    /// Reads ahead.
    pub(crate) fn fill(&mut self, link: &mut Watched) -> io::Result<Fill> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > self.ahead.len() / 2 {
            self.ahead.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.ahead.len() {
            return Ok(Fill::Some);
        }
        let came = link.read(&mut self.ahead[self.end..])?;
        self.end += came.unwrap_or(0);
        if self.end == self.ahead.len() && self.end < self.most {
            self.ahead.resize((4 * self.end).min(self.most), 0);
        }
        Ok(outcome(came))
    }

    /// Reads payload bytes into their place; small rests go through the bytes read ahead, so that one call to the
    /// system brings many small frames. Returns how many came.
    pub(crate) fn read(&mut self, place: &mut [u8], link: &mut Watched) -> io::Result<(usize, Fill)> {
        let taken = self.take(place);
        if taken > 0 || place.is_empty() {
            return Ok((taken, Fill::Some));
        }
        if place.len() < self.ahead.len() / 4 {
            let fill = self.fill(link)?;
            return Ok((self.take(place), fill));
        }
        let came = link.read(place)?;
        Ok((came.unwrap_or(0), outcome(came)))
    }
}

fn outcome(came: Option<usize>) -> Fill {
    match came {
        Some(0) => Fill::Closed,
        Some(_) => Fill::Some,
        None => Fill::Blocked,
    }
}
