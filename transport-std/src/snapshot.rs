//! Asks a running hub how its world is, over a link of its own: not as a rank, and while all ranks may be stuck.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgempi_core::Category;
use edgempi_core::hub::{SNAPSHOT_VERSION, Snapshot};
use edgempi_core::wire::{Down, Inquire, MAGIC, MAX_HEAD_LEN, PREFIX_LEN, Prefix, Up, VERSION};
use polling::{Events, Poller};

use crate::config::Config;
use crate::error::Error;
use crate::link::{self, NAMES, Watched};

/// A longer answer is no answer of a hub.
const LONGEST: usize = 8 << 20;
/// How long to leave the hub alone that somebody else has just asked.
const PAUSE: Duration = Duration::from_millis(60);

/// Asks the hub that `config` or the environment tells of how its world is: its address, the world's name, the link and how
/// long to wait count. The ranks take no notice.
///
/// # Errors
///
/// [`Error::Config`] for bad settings, [`Error::Connect`] if no hub is there, [`Error::Refused`] if it serves another world,
/// [`Error::Disconnected`] if it does not answer in time.
pub fn snapshot(config: &Config) -> Result<Snapshot, Error> {
    let resolved = config.clone().resolve(NAMES)?;
    let address = resolved.hub();
    let until = Instant::now() + resolved.wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let link = link::connect(&address, &resolved.proto, left)?;
        let lost = |error: io::Error| Error::disconnected(format!("the hub at {address} does not answer: {error}"));
        let mut inquiry = Inquiry::new(link).map_err(lost)?;
        inquiry.ask(resolved.world.as_bytes(), until).map_err(lost)?;
        match inquiry.answer(until).map_err(lost)? {
            Answer::Snapshot(snapshot) => return Ok(*snapshot),
            Answer::Refused { category: Category::Timeout, .. } if Instant::now() + PAUSE < until => {
                std::thread::sleep(PAUSE);
            }
            Answer::Refused { category, reason } => {
                return Err(Error::Refused { category, address: address.to_string(), reason });
            }
        }
    }
}

/// What the hub says.
enum Answer {
    Snapshot(Box<Snapshot>),
    Refused { category: Category, reason: String },
}

/// One question and its answer.
struct Inquiry {
    link: Watched,
    poller: Arc<Poller>,
    /// What has come and has not been understood yet.
    bytes: Vec<u8>,
    /// What the hub has said of its snapshot so far.
    said: Vec<u8>,
}

impl Inquiry {
    fn new(link: Box<dyn link::Link>) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        let link = Watched::new(link, poller.clone(), 0)?;
        Ok(Self { link, poller, bytes: Vec::new(), said: Vec::new() })
    }

    fn ask(&mut self, world: &[u8], until: Instant) -> io::Result<()> {
        let mut head = [0; MAX_HEAD_LEN];
        // A world's name is at most 256 bytes.
        let len = Up::Inquire(Inquire { magic: MAGIC, version: VERSION }).encode(world.len() as u32, &mut head);
        let frame = [&head[..len], world].concat();
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match self.link.write(&[IoSlice::new(rest)])? {
                Some(n) => rest = rest.get(n..).unwrap_or_default(),
                None => self.wait(true, until)?,
            }
        }
        Ok(())
    }

    fn answer(&mut self, until: Instant) -> io::Result<Answer> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            while let Some((frame, payload)) = self.next_frame()? {
                if let Some(answer) = self.take_in(frame, payload)? {
                    return Ok(answer);
                }
            }
            // Whoever says one thing after the other, and never answers, is not listened to for ever.
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.link.read(&mut buffer)? {
                Some(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
                Some(n) => self.bytes.extend_from_slice(&buffer[..n]),
                None => self.wait(false, until)?,
            }
            if self.bytes.len() + self.said.len() > LONGEST {
                return Err(io::Error::other("it says more than any hub does"));
            }
        }
    }

    /// Takes a frame off what has come, if it is whole. One of a kind that is not known is nothing.
    fn next_frame(&mut self) -> io::Result<Option<(Option<Down>, Vec<u8>)>> {
        let Some((prefix, rest)) = self.bytes.split_first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        let prefix = Prefix::decode(*prefix);
        let Some((header, rest)) = rest.split_at_checked(prefix.header_len.into()) else { return Ok(None) };
        let Some(payload) = rest.get(..prefix.payload_len as usize) else { return Ok(None) };
        let frame = Down::decode(prefix.kind, header).map_err(io::Error::other)?;
        let payload = payload.to_vec();
        self.bytes.drain(..PREFIX_LEN + header.len() + payload.len());
        Ok(Some((frame, payload)))
    }

    fn take_in(&mut self, frame: Option<Down>, payload: Vec<u8>) -> io::Result<Option<Answer>> {
        match frame {
            Some(Down::Snapshot(piece)) if piece.version != SNAPSHOT_VERSION => {
                let ours = SNAPSHOT_VERSION;
                let text = format!("its snapshots have version {}, this edgempi reads version {ours}", piece.version);
                Err(io::Error::other(text))
            }
            Some(Down::Snapshot(piece)) => {
                if piece.offset as usize != self.said.len() {
                    return Err(io::Error::other("its snapshot does not come in order"));
                }
                self.said.extend(payload);
                Ok(None)
            }
            Some(Down::Reject(reject)) => {
                let reason = String::from_utf8_lossy(&payload).into_owned();
                Ok(Some(Answer::Refused { category: reject.category, reason }))
            }
            Some(Down::Goodbye(_)) => {
                let snapshot = Snapshot::from_bytes(&self.said).map_err(io::Error::other)?;
                Ok(Some(Answer::Snapshot(Box::new(snapshot))))
            }
            Some(_) => Err(io::Error::other("it takes whoever asks for a rank")),
            None => Ok(None),
        }
    }

    /// Sleeps until the link has something to say, or takes more.
    fn wait(&mut self, wants_write: bool, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.link.arm(wants_write)?;
        let mut events = Events::new();
        self.poller.wait(&mut events, Some(left))?;
        for event in events.iter() {
            self.link.woken(event.readable, event.writable);
        }
        Ok(())
    }
}
