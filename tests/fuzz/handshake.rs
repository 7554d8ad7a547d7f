//! Target `handshake`: strangers at a hub whose world is still empty, and a rank that meets one who says to be the hub.

use std::time::Duration;

use edgempi_core::Payload;
use edgempi_core::endpoint::{Config, Event as RankEvent, Reach};
use edgempi_core::hub::{self, Event, Hub, PeerId, Registry};
use edgempi_core::request::Slot;
use edgempi_core::wire::{Down, MAX_HEAD_LEN, PREFIX_LEN, Prefix};
use edgempi_core::{Endpoint, Instant, Rank};

use crate::frames::next_frame;

const SIZE: u32 = 3;
const STRANGERS: usize = 5;
/// Bytes in front of a frame from here on are something else than a number of a stranger.
const CUT: u8 = 0xc0;
const LATER: u8 = 0xe0;

/// What somebody has heard of the hub.
struct Stranger {
    peer: PeerId,
    /// What the hub says goes to a rank, too, that said nothing of all this.
    rank: Endpoint<[Slot; 8]>,
    is_in: bool,
    /// It only asked how the world is, and is no rank.
    has_asked: bool,
    is_out: bool,
}

impl Stranger {
    fn new(hub: &mut Hub, now: Instant, number: usize) -> Self {
        let config = Config::host(Rank::new(number as u32 % SIZE), SIZE);
        let mut rank = Endpoint::new(now, config, [Slot::FREE; 8]);
        let mut head = [0; MAX_HEAD_LEN];
        // It has greeted.
        while rank.poll_transmit(now, &mut head, Reach::Everything, |_| 0).is_some() {}
        Self { peer: hub.connect(now), rank, is_in: false, has_asked: false, is_out: false }
    }

    fn hear(&mut self, hub: &mut Hub, now: Instant) {
        while let Some((frame, payload)) = hub.poll_transmit(self.peer) {
            assert!(!self.is_out, "whoever was sent away hears no more: {frame:?}");
            match frame {
                Down::Welcome(_) => assert!(!std::mem::replace(&mut self.is_in, true), "welcome twice"),
                Down::Reject(_) => self.is_out = true,
                Down::Goodbye(_) if self.has_asked => self.is_out = true,
                Down::Goodbye(_) => assert!(self.is_in),
                Down::Snapshot(_) => {
                    assert!(!self.is_in, "a rank does not ask");
                    self.has_asked = true;
                }
                _ => assert!(self.is_in, "{frame:?} for a stranger"),
            }
            let mut head = [0; MAX_HEAD_LEN];
            let len = frame.encode(payload.len() as u32, &mut head);
            self.overhear(now, &head[..len]);
        }
    }

    fn overhear(&mut self, now: Instant, head: &[u8]) {
        let Some((prefix, header)) = head.split_first_chunk::<PREFIX_LEN>() else { return };
        if self.rank.handle_frame(now, Prefix::decode(*prefix), header).is_err() {
            self.rank.disconnect();
        }
        let was_joined = self.rank.is_joined();
        if let Some(RankEvent::Welcome(_)) = self.rank.poll_event() {
            assert!(was_joined);
        }
    }
}

/// Frames behind a byte that says who says them.
pub fn fuzz_handshake(mut data: &[u8]) {
    let mut now = Instant::from_micros(1);
    let mut hub = Hub::new(now, hub::Config::new(SIZE), Registry::new());
    let mut strangers: Vec<Stranger> = (0..STRANGERS).map(|number| Stranger::new(&mut hub, now, number)).collect();
    let mut joined = 0;
    while let Some((who, rest)) = data.split_first() {
        data = rest;
        let stranger = &mut strangers[usize::from(*who) % STRANGERS];
        match *who {
            LATER.. => {
                now = now + Duration::from_millis(500 * u64::from(*who - LATER));
                hub.handle_timeout(now);
            }
            CUT.. => {
                hub.disconnect(now, stranger.peer);
                *stranger = Stranger::new(&mut hub, now, usize::from(*who));
            }
            _ => {
                let Some((prefix, header, payload)) = next_frame(&mut data) else { break };
                if hub.check_prefix(now, stranger.peer, prefix).is_ok() {
                    hub.handle_frame(now, stranger.peer, prefix, header, Payload::from(payload));
                }
                let mut head = [0; MAX_HEAD_LEN];
                let len = MAX_HEAD_LEN.min(PREFIX_LEN + header.len());
                head[0] = prefix.kind;
                head[1] = prefix.header_len;
                head[2..PREFIX_LEN].copy_from_slice(&prefix.payload_len.to_le_bytes());
                head[PREFIX_LEN..len].copy_from_slice(&header[..len - PREFIX_LEN]);
                stranger.overhear(now, &head[..len]);
            }
        }
        while let Some(work) = hub.poll_work() {
            let done = work.run();
            hub.finish_work(now, done);
        }
        for stranger in &mut strangers {
            stranger.hear(&mut hub, now);
        }
        while let Some(event) = hub.poll_event() {
            joined += u32::from(matches!(event, Event::Joined { .. }));
        }
        let status = hub.status();
        assert!(status.alive + status.finished + status.failed <= SIZE, "{status:?}");
        assert!(joined <= SIZE, "a place was given twice");
    }
    for stranger in &strangers {
        hub.disconnect(now, stranger.peer);
    }
    let status = hub.status();
    assert_eq!((status.alive, status.windows), (0, 0), "{status:?}");
    // What has failed is kept for those who may still come.
    assert!(status.operations == 0 || !hub.is_over(), "{status:?}");
    assert!(hub.is_deserted());
}
