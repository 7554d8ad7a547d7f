//! Drives a hub: its listener, its links, its work.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use edgempi_core::Instant;
use edgempi_core::hub::{self, Event, Hub, HubStatus, PeerId, Registry, Snapshot};
use edgempi_core::payload::Pool;

use super::connection::Connection;
use super::worker::Workers;
use super::{Engine, FIRST_LINK_KEY, FIRST_LISTENER_KEY};
use crate::codec::Fill;
use crate::hub::Report;
use crate::link::{self, Link, Listener, Watched, WatchedListener};
use crate::warning::warn;

/// Bytes read from one link before another gets a turn.
const QUOTA: usize = 256 * 1024;
/// Bytes of payloads that the hub keeps memory for, to use it again.
const POOL: usize = 2 << 20;
/// How long a peer may take to read its last words, and why it is refused, before its link is cut.
const LINGER: Duration = Duration::from_secs(2);

/// How many connections there may be beside one for each rank. All of them take memory until they have said Hello, or
/// not said it in time.
const STRANGERS: usize = 256;

/// Up to so many links are asked one after the other whether anything has come; of more the poller tells.
const SWEPT: usize = 16;

/// How long to wait when the system refuses connections, because too many files are open, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Under which name the log tells of ranks.
pub(super) const HUB: &str = "edgempi::hub";

/// The driver of a hub.
pub(crate) struct HubDriver {
    hub: Hub,
    listeners: Vec<WatchedListener>,
    connections: BTreeMap<PeerId, Connection>,
    keys: BTreeMap<usize, PeerId>,
    next_key: usize,
    workers: Workers,
    pool: Pool,
    poller: Arc<polling::Poller>,
    /// Links that have something to read or to write.
    busy: VecDeque<PeerId>,
    /// Links that have no descriptor to say so.
    unwatched: Vec<PeerId>,
    /// Links that are ending, and when they are looked at, the first in front.
    lingering: VecDeque<(Instant, PeerId)>,
    accepting: bool,
    /// Whether there is no room for more connections.
    is_full: bool,
    /// When to try again after the system refused a connection.
    accept_again: Option<Instant>,
    /// What has become of the ranks so far, and the traffic of links that are gone.
    report: Report,
    /// When the first rank came.
    begin: Option<Instant>,
    /// Where somebody on this machine can ask how the world is, until people have been told.
    untold_address: Option<SocketAddr>,
}

impl HubDriver {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        config: hub::Config,
        registry: Registry,
        listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        let poller = engine.poller();
        let untold_address = link::local_addr(&listeners).ok().map(|mut address| {
            // Nobody can dial "every interface"; the loopback one is among them.
            match address.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                IpAddr::V4(_) | IpAddr::V6(_) => {}
            }
            address
        });
        let keys = FIRST_LISTENER_KEY..FIRST_LINK_KEY;
        let watched = listeners.into_iter().zip(keys);
        let listeners = watched.map(|(listener, key)| WatchedListener::new(listener, poller.clone(), key));
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        let waker = Arc::downgrade(engine);
        let wake = Arc::new(move || {
            if let Some(engine) = waker.upgrade() {
                engine.wake();
            }
        });
        Ok(Self {
            hub: Hub::new(engine.now(), config, registry),
            listeners,
            connections: BTreeMap::new(),
            keys: BTreeMap::new(),
            next_key: FIRST_LINK_KEY,
            workers: Workers::new(wake),
            pool: Pool::of_large(POOL),
            poller,
            busy: VecDeque::new(),
            unwatched: Vec::new(),
            lingering: VecDeque::new(),
            accepting: true,
            is_full: false,
            accept_again: None,
            report: Report::default(),
            begin: None,
            untold_address,
        })
    }

    /// Takes a link in.
    pub(crate) fn add(&mut self, now: Instant, link: Box<dyn Link>) -> io::Result<()> {
        let key = self.next_key;
        self.next_key += 1;
        let link = Watched::new(link, self.poller.clone(), key)?;
        let peer = self.hub.connect(now);
        self.hub.name_peer(peer, &link.describe());
        tracing::debug!(?peer, from = link.describe(), "link up");
        let connection = Connection::new(key, link);
        if connection.link.is_unwatched() {
            self.unwatched.push(peer);
        }
        let was_swept = self.is_swept();
        self.connections.insert(peer, connection);
        if was_swept && !self.is_swept() {
            self.arm();
        }
        self.keys.insert(key, peer);
        self.busy.push_back(peer);
        Ok(())
    }

    pub(super) fn woken(&mut self, key: usize, readable: bool, writable: bool) {
        if key < FIRST_LINK_KEY {
            self.accepting = true;
        } else if let Some(peer) = self.keys.get(&key).copied()
            && let Some(connection) = self.connections.get_mut(&peer)
        {
            connection.link.woken(readable, writable);
            self.busy.push_back(peer);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let lingering = self.lingering.front().map(|(until, _)| *until);
        lingering.into_iter().chain(self.accept_again).chain(self.hub.poll_timeout()).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.hub.handle_timeout(now);
        while let Some((until, peer)) = self.lingering.front().copied()
            && until <= now
        {
            self.lingering.pop_front();
            let Some(connection) = self.connections.get_mut(&peer) else { continue };
            if std::mem::take(&mut connection.wrote) {
                self.lingering.push_back((now + LINGER, peer));
            } else {
                connection.over = true;
                self.busy.push_back(peer);
            }
        }
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            self.accepting = true;
        }
    }

    /// Whether the world is over and everybody has gone.
    pub(super) fn is_over(&self) -> bool {
        self.hub.is_over() && self.connections.is_empty()
    }

    /// Whether every link has taken what there was for it.
    pub(super) fn is_flushed(&self) -> bool {
        self.connections.values().all(|connection| connection.out.is_empty())
    }

    pub(crate) fn status(&self) -> HubStatus {
        self.hub.status()
    }

    pub(crate) fn snapshot(&mut self, now: Instant) -> Snapshot {
        self.hub.snapshot(now)
    }

    /// Stops although ranks still need the hub.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        self.hub.shut_down(now);
        self.clock(now);
    }

    /// Moves what can be moved. Returns whether anything was.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        let mut moved = self.accept(now);
        let is_swept = self.is_swept();
        if is_swept {
            self.busy.clear();
            for (peer, connection) in &mut self.connections {
                (connection.link.readable, connection.link.writable) = (true, true);
                self.busy.push_back(*peer);
            }
        } else {
            self.busy.extend(&self.unwatched);
        }
        for _ in 0..self.busy.len() {
            let Some(peer) = self.busy.pop_front() else { break };
            let read = self.read(now, peer);
            // Those that are not swept are armed by the way.
            if read || !is_swept || self.connections.get(&peer).is_some_and(Connection::is_unfinished) {
                moved |= self.write(now, peer);
            }
            moved |= read;
        }
        while let Some(done) = self.workers.pop() {
            moved = true;
            self.hub.finish_work(now, done);
        }
        loop {
            while let Some(work) = self.hub.poll_work() {
                moved = true;
                if work.is_user_code() {
                    self.workers.push(work);
                } else {
                    self.hub.finish_work(now, work.run_in(&mut self.pool));
                }
            }
            let Some(peer) = self.hub.poll_peer() else { break };
            moved |= self.write(now, peer);
        }
        self.tell(now);
        moved
    }

    /// Whether every turn looks at every link; the poller watches them only from [`arm`](Self::arm) to
    /// [`disarm`](Self::disarm).
    pub(super) fn is_swept(&self) -> bool {
        self.connections.len() <= SWEPT
    }

    /// Has the poller watch all links.
    pub(super) fn arm(&mut self) {
        for (peer, connection) in &mut self.connections {
            if connection.link.arm(!connection.out.is_empty()).is_err() {
                connection.over = true;
                self.busy.push_back(*peer);
            }
        }
    }

    /// Somebody sweeps: the poller is to wake nobody.
    pub(super) fn disarm(&mut self) {
        if self.is_swept() {
            for connection in self.connections.values_mut() {
                // A poller that can't be told is one that is gone.
                let _ = connection.link.disarm();
            }
        }
    }

    /// Tells people what has become of ranks.
    fn tell(&mut self, now: Instant) {
        while let Some(event) = self.hub.poll_event() {
            let size = self.hub.config().size;
            match event {
                Event::Joined { rank, peer } => {
                    self.begin.get_or_insert(now);
                    self.report.joined += 1;
                    let from = self.connections.get(&peer).map(|connection| connection.link.describe());
                    let (from, joined) = (from.unwrap_or_default(), self.report.joined);
                    tracing::info!(target: HUB, "rank {rank} is here, from {from} ({joined} of {size})");
                }
                Event::Finished { rank } => {
                    self.report.finished += 1;
                    tracing::info!(target: HUB, "rank {rank} has finished ({} of {size})", self.report.finished);
                }
                Event::Failed { rank, reason } => {
                    tracing::warn!(target: HUB, "rank {rank} has failed: {reason}");
                    self.report.failed.push((rank, reason));
                }
                Event::Slow { text } => self.tell_slow(&text),
                _ => {}
            }
            self.clock(now);
        }
    }

    /// Tells of a call that takes long; with the first of them, how to learn more.
    fn tell_slow(&mut self, text: &str) {
        let tell = |text: &str| warn(text, |text| tracing::warn!(target: HUB, "{text}"));
        tell(text);
        if let Some(address) = self.untold_address.take() {
            let world = match self.hub.config().world.as_str() {
                "" => String::new(),
                name => format!("EDGEMPI_WORLD={name} "),
            };
            tell(&format!("what all ranks do now is shown by: {world}edgempi hub --status {address}"));
        }
    }

    /// The world has lasted until now.
    fn clock(&mut self, now: Instant) {
        self.report.duration = self.begin.map_or(Duration::ZERO, |begin| now.since(begin));
    }

    /// How the world has ended.
    pub(crate) fn into_report(self) -> Report {
        self.report
    }

    fn accept(&mut self, now: Instant) -> bool {
        if !std::mem::take(&mut self.accepting) || self.hub.is_over() {
            return false;
        }
        let mut room = (self.hub.config().size as usize + STRANGERS).saturating_sub(self.connections.len());
        let mut links = Vec::new();
        for listener in &self.listeners {
            loop {
                if room == 0 {
                    // The others wait in the system's queue, until somebody has gone or has been sent away.
                    self.is_full = true;
                    break;
                }
                match listener.accept() {
                    Ok(Some(link)) => {
                        room -= 1;
                        links.push(link);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        // A connection that broke before it was taken, or too many open files: the next may fare better.
                        tracing::warn!("a connection could not be accepted: {error}");
                        self.accept_again = Some(now + ACCEPT_PAUSE);
                        break;
                    }
                }
            }
            if self.accept_again.is_none()
                && !self.is_full
                && let Err(error) = listener.arm()
            {
                tracing::error!("the hub can accept no more connections: {error}");
            }
        }
        let moved = !links.is_empty();
        for link in links {
            if let Err(error) = self.add(now, link) {
                tracing::warn!("a connection could not be watched: {error}");
            }
        }
        moved
    }

    /// Reads what has come from a peer. Returns whether anything has.
    fn read(&mut self, now: Instant, peer: PeerId) -> bool {
        let Some(connection) = self.connections.get_mut(&peer) else { return false };
        let mut moved = 0;
        while !connection.over && moved < QUOTA {
            match connection.read_some(&mut self.hub, &mut self.pool, now, peer) {
                Ok((n, Fill::Some)) => {
                    moved += n.max(1);
                    connection.traffic.received += n as u64;
                }
                Ok((_, Fill::Blocked)) => break,
                Ok((_, Fill::Closed)) => connection.over = true,
                Err(error) => {
                    tracing::debug!(?peer, "link broke: {error}");
                    connection.over = true;
                }
            }
        }
        if moved > 0 && connection.arriving.is_some() {
            self.hub.heard(now, peer);
        }
        if moved >= QUOTA {
            self.busy.push_back(peer);
        }
        moved > 0
    }

    /// Writes what the hub has for a peer. Returns whether anything was.
    fn write(&mut self, now: Instant, peer: PeerId) -> bool {
        let is_swept = self.is_swept();
        let Some(connection) = self.connections.get_mut(&peer) else { return false };
        let mut moved = false;
        while connection.link.writable && !connection.mute && !connection.over {
            connection.collect(&mut self.hub, peer);
            if connection.out.is_empty() {
                break;
            }
            match connection.write_some() {
                Ok(wrote) => {
                    connection.wrote |= wrote;
                    moved |= wrote;
                }
                Err(error) => {
                    tracing::debug!(?peer, "link broke: {error}");
                    connection.mute = true;
                    connection.out.clear();
                    // Reading will end it.
                    self.busy.push_back(peer);
                    moved = true;
                }
            }
        }
        let began = !connection.ending && self.hub.is_ending(peer);
        if began {
            connection.ending = true;
            connection.wrote = false;
            self.lingering.push_back((now + LINGER, peer));
        }
        if !connection.closing && connection.out.is_empty() && self.hub.wants_close(peer) {
            connection.link.close_write();
            connection.closing = true;
            // All of the time is for reading them.
            connection.wrote = !began;
            connection.arriving = None;
        }
        let failed = !is_swept && connection.link.arm(!connection.out.is_empty()).is_err();
        if connection.over || failed {
            let traffic = connection.traffic;
            let (received, sent) = (traffic.received, traffic.sent);
            tracing::debug!(?peer, from = connection.link.describe(), received, sent, "link down");
            self.report.traffic += traffic;
            self.keys.remove(&connection.key);
            self.connections.remove(&peer);
            self.accepting |= std::mem::take(&mut self.is_full);
            self.unwatched.retain(|unwatched| *unwatched != peer);
            self.hub.disconnect(now, peer);
            return true;
        }
        moved
    }
}
