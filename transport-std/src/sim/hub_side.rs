//! The hub's end of the links: what the driver of a real hub does, on virtual links.

use std::time::Duration;

use edgempi_core::hub::{Event, Hub};
use edgempi_core::wire::MAX_HEAD_LEN;

use super::class::{Death, Direction};
use super::node::Frame;
use super::trace::What;
use super::world::{HubEnd, Life, Parcel, World};
use crate::engine::run_work;

/// How long a peer may take to read its last words before its link is cut.
const LINGER: Duration = Duration::from_secs(2);

impl World {
    pub(super) fn arrive_at_hub(&mut self, rank: usize, parcel: Parcel) {
        let (now, side) = (self.now, &mut self.sides[rank]);
        let Some(hub) = &mut self.hub else {
            if matches!(parcel, Parcel::Connect) && self.hub_end == Some(HubEnd::Death(Death::Crash)) {
                // Nobody listens there any more.
                self.send_down(rank, Parcel::Close);
            }
            return;
        };
        match parcel {
            Parcel::Connect => {
                self.trace.add(now, Some(rank), What::Connected);
                let peer = hub.connect(now);
                side.peer = Some(peer);
                self.peers.insert(peer, rank as u32);
            }
            Parcel::Frame(frame) => {
                let Some(peer) = side.peer else { return };
                let what = What::Frame { direction: Direction::Up, head: frame.head(), payload: &frame.payload };
                self.trace.add(now, Some(rank), what);
                let (prefix, header) = frame.split();
                if hub.check_prefix(now, peer, prefix).is_ok() {
                    hub.handle_frame(now, peer, prefix, header, frame.payload.clone());
                }
            }
            Parcel::Close => {
                self.trace.add(now, Some(rank), What::Closed(Direction::Up));
                self.forget(rank);
            }
        }
        self.attend_hub();
    }

    /// Has the hub's work done, and its frames sent.
    pub(super) fn attend_hub(&mut self) {
        loop {
            let Some(hub) = &mut self.hub else { return };
            while let Some(work) = hub.poll_work() {
                hub.finish_work(self.now, run_work(work));
            }
            let Some(peer) = hub.poll_peer() else { break };
            if let Some(rank) = self.peers.get(&peer).copied() {
                self.serve(rank as usize);
            }
        }
        while let Some(event) = self.hub.as_mut().and_then(Hub::poll_event) {
            if let Event::Failed { rank, reason } = event {
                self.ledger.failed.push((rank, reason));
            }
        }
    }

    /// Sends a rank what the hub has for it, as far as the link has room.
    pub(super) fn serve(&mut self, rank: usize) {
        loop {
            let now = self.now;
            let side = &mut self.sides[rank];
            let (Some(hub), Some(peer)) = (&mut self.hub, side.peer) else { return };
            if !side.down.has_room(now, &self.classes[side.class as usize]) {
                self.await_room(rank);
                break;
            }
            let Some((down, payload)) = hub.poll_transmit(peer) else { break };
            side.wrote = true;
            let mut head = [0; MAX_HEAD_LEN];
            // The hub cuts payloads to what the rank takes, a u32.
            let head_len = down.encode(payload.len() as u32, &mut head);
            self.send_down(rank, Parcel::Frame(Frame::new(head, head_len, payload)));
        }
        self.part(rank);
    }

    /// Begins to close the link of a rank that has no more use for it.
    fn part(&mut self, rank: usize) {
        let side = &mut self.sides[rank];
        let (Some(hub), Some(peer)) = (&self.hub, side.peer) else { return };
        let (is_ending, wants_close) = (hub.is_ending(peer), hub.wants_close(peer));
        if is_ending && !std::mem::replace(&mut side.ending, true) {
            side.wrote = false;
            self.await_linger(rank, self.now + LINGER);
        }
        if wants_close && !std::mem::replace(&mut self.sides[rank].closing, true) {
            self.send_down(rank, Parcel::Close);
        }
    }

    /// Cuts the link of a rank that does not read its last words.
    pub(super) fn linger(&mut self, rank: usize) {
        let side = &mut self.sides[rank];
        if side.peer.is_none() {
            return;
        }
        if std::mem::take(&mut side.wrote) {
            self.await_linger(rank, self.now + LINGER);
            return;
        }
        if !std::mem::replace(&mut side.closing, true) {
            self.send_down(rank, Parcel::Close);
        }
        self.forget(rank);
        self.attend_hub();
    }

    /// A rank's link is gone.
    fn forget(&mut self, rank: usize) {
        if let Some(peer) = self.sides[rank].peer.take() {
            self.peers.remove(&peer);
            if let Some(hub) = &mut self.hub {
                hub.disconnect(self.now, peer);
            }
        }
    }

    pub(super) fn end_hub(&mut self, end: HubEnd) {
        self.hub_end = Some(end);
        if end == HubEnd::ShutDown {
            self.trace.add(self.now, None, What::HubShutDown);
            if let Some(hub) = &mut self.hub {
                hub.shut_down(self.now);
            }
            return self.attend_hub();
        }
        self.trace.add(self.now, None, What::HubDied);
        self.hub = None;
        self.peers.clear();
        for rank in 0..self.sides.len() {
            let side = &mut self.sides[rank];
            let had_link = side.peer.take().is_some();
            if end == HubEnd::Death(Death::PowerLoss) {
                side.down.cut(self.now);
            } else if had_link && side.life != Life::Dead {
                self.send_down(rank, Parcel::Close);
            }
        }
    }
}
