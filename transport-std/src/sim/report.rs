//! What a run has to say: how long it took, what it moved, round by round, and who was late.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use edgempi_core::hub::HubStatus;
use edgempi_core::{Instant, Rank};

use super::link::NEVER;
use crate::engine::Traffic;

/// How many of a round's late ranks are named.
const LATE: usize = 8;

/// What a run has to say.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The virtual time of the last thing that happened.
    pub duration: Duration,
    /// What all ranks have sent to the hub and received from it, frame heads included.
    pub traffic: Traffic,
    /// The part of that before a rank's first round, or of ranks that mark none.
    pub outside: Traffic,
    /// The rounds that programs [marked](super::Rank::round), in the order of their numbers.
    pub rounds: Vec<Round>,
    /// Each rank, by its number.
    pub ranks: Vec<RankReport>,
    /// The ranks that failed in the eyes of the hub, in this order, and why.
    pub failed: Vec<(Rank, String)>,
    /// What the hub still holds at the end; `None` if it died.
    pub hub: Option<HubStatus>,
    /// How many events the run had: what it costs to simulate.
    pub events: u64,
}

/// One round of all ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Round {
    /// Its number.
    pub number: u32,
    /// How many ranks took part.
    pub ranks: u32,
    /// When the first of them began it.
    pub begin: Duration,
    /// When the last of them had done with it.
    pub end: Duration,
    /// What they have sent and received in it.
    pub traffic: Traffic,
    /// When half of the ranks had said to the hub whatever they had to say in the round; [`Duration::MAX`] if fewer did.
    pub half: Duration,
    /// The ranks whose last word in the round reached the hub latest, and when, [`Duration::MAX`] if it never did; the
    /// latest first, at most eight.
    pub late: Vec<(Rank, Duration)>,
}

impl Round {
    /// How long it took.
    pub fn duration(&self) -> Duration {
        self.end.saturating_sub(self.begin)
    }
}

/// One rank of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RankReport {
    /// What it has sent and received.
    pub traffic: Traffic,
    /// Packets that were lost on its link, both ways, and sent again.
    pub lost: u64,
    /// When its program ended, or it died; `None` if neither happened.
    pub ended: Option<Duration>,
}

/// What becomes a [`Round`].
#[derive(Default)]
struct Building {
    begin: Option<Instant>,
    end: Instant,
    traffic: Traffic,
    /// When each rank's last word came.
    heard: Vec<(Instant, u32)>,
}

/// A rank in a round.
#[derive(Clone, Copy)]
struct Current {
    number: u32,
    began: Instant,
    traffic: Traffic,
    heard: Option<Instant>,
}

/// Everything counted so far.
pub(super) struct Ledger {
    ranks: Vec<RankReport>,
    current: Vec<Option<Current>>,
    rounds: BTreeMap<u32, Building>,
    in_rounds: Traffic,
    pub(super) failed: Vec<(Rank, String)>,
}

impl Ledger {
    pub(super) fn new(size: usize) -> Self {
        Self {
            ranks: vec![RankReport::default(); size],
            current: vec![None; size],
            rounds: BTreeMap::new(),
            in_rounds: Traffic::default(),
            failed: Vec::new(),
        }
    }

    /// A rank has sent a frame; what it has to say, unless it only says that it lives, is heard at `heard`, which may be
    /// [`NEVER`].
    pub(super) fn sent(&mut self, rank: usize, bytes: u64, heard: Option<Instant>) {
        self.count(rank, Traffic { sent: bytes, frames_sent: 1, ..Traffic::default() });
        if let Some(current) = &mut self.current[rank] {
            current.heard = current.heard.max(heard);
        }
    }

    /// Something that a rank has said does not reach the hub after all.
    pub(super) fn unheard(&mut self, rank: usize) {
        if let Some(current) = &mut self.current[rank] {
            current.heard = Some(NEVER);
        }
    }

    pub(super) fn received(&mut self, rank: usize, bytes: u64) {
        self.count(rank, Traffic { received: bytes, frames_received: 1, ..Traffic::default() });
    }

    fn count(&mut self, rank: usize, traffic: Traffic) {
        self.ranks[rank].traffic += traffic;
        if let Some(current) = &mut self.current[rank] {
            current.traffic += traffic;
        }
    }

    pub(super) fn lost(&mut self, rank: usize, packets: u64) {
        self.ranks[rank].lost += packets;
    }

    /// A rank begins a round, and is done with the one before.
    pub(super) fn begin(&mut self, now: Instant, rank: usize, number: u32) {
        self.end_round(now, rank);
        let begin = &mut self.rounds.entry(number).or_default().begin;
        begin.get_or_insert(now);
        self.current[rank] = Some(Current { number, began: now, traffic: Traffic::default(), heard: None });
    }

    /// A rank's program has ended, or it died.
    pub(super) fn ended(&mut self, now: Instant, rank: usize) {
        self.end_round(now, rank);
        self.ranks[rank].ended.get_or_insert(now.since(Instant::ZERO));
    }

    fn end_round(&mut self, now: Instant, rank: usize) {
        let Some(Current { number, began, traffic, heard }) = self.current[rank].take() else { return };
        let round = self.rounds.entry(number).or_default();
        round.end = round.end.max(now);
        round.traffic += traffic;
        self.in_rounds += traffic;
        // Who has nothing to say is not late.
        round.heard.push((heard.unwrap_or(began), rank as u32));
    }

    pub(super) fn into_report(mut self, now: Instant, hub: Option<HubStatus>, events: u64) -> Report {
        for rank in 0..self.ranks.len() {
            self.end_round(now, rank);
        }
        let mut traffic = Traffic::default();
        for rank in &self.ranks {
            traffic += rank.traffic;
        }
        let inside = self.in_rounds;
        let outside = Traffic {
            sent: traffic.sent - inside.sent,
            received: traffic.received - inside.received,
            frames_sent: traffic.frames_sent - inside.frames_sent,
            frames_received: traffic.frames_received - inside.frames_received,
        };
        Report {
            duration: now.since(Instant::ZERO),
            traffic,
            outside,
            rounds: self.rounds.into_iter().map(|(number, building)| building.into_round(number)).collect(),
            ranks: self.ranks,
            failed: self.failed,
            hub,
            events,
        }
    }
}

impl Building {
    fn into_round(mut self, number: u32) -> Round {
        let since = |at: Instant| if at == NEVER { Duration::MAX } else { at.since(Instant::ZERO) };
        // Whoever begins a round again is in it once.
        self.heard.sort_unstable_by_key(|(at, rank)| (*rank, std::cmp::Reverse(*at)));
        self.heard.dedup_by_key(|(_, rank)| *rank);
        // The latest first; among those at one time the lowest rank.
        self.heard.sort_unstable_by_key(|(at, rank)| (std::cmp::Reverse(*at), *rank));
        let half = self.heard.get(self.heard.len() / 2).map_or(Duration::ZERO, |(at, _)| since(*at));
        let late = self.heard.iter().take(LATE).map(|(at, rank)| (Rank::new(*rank), since(*at))).collect();
        Round {
            number,
            ranks: self.heard.len() as u32,
            begin: since(self.begin.unwrap_or_default()),
            end: since(self.end),
            traffic: self.traffic,
            half,
            late,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { traffic, .. } = self;
        writeln!(
            f,
            "round        begin     duration           up         down    last, and how long after half of all"
        )?;
        for round in &self.rounds {
            write!(
                f,
                "{:>5} {:>10.3} s {:>10.3} s {:>10} B {:>10} B",
                round.number,
                round.begin.as_secs_f64(),
                round.duration().as_secs_f64(),
                round.traffic.sent,
                round.traffic.received,
            )?;
            match round.late.first() {
                Some((rank, Duration::MAX)) => writeln!(f, "    rank {rank}, never")?,
                Some((rank, at)) => {
                    writeln!(f, "    rank {rank}, {:.3} s", at.saturating_sub(round.half).as_secs_f64())?;
                }
                None => writeln!(f)?,
            }
        }
        let failed = match self.failed.len() {
            1 => "1 rank failed".to_owned(),
            count => format!("{count} ranks failed"),
        };
        let lost: u64 = self.ranks.iter().map(|rank| rank.lost).sum();
        write!(
            f,
            "{:.3} s in all; {} B up in {} frames, {} B down in {} frames; {lost} packets lost; {failed}",
            self.duration.as_secs_f64(),
            traffic.sent,
            traffic.frames_sent,
            traffic.received,
            traffic.frames_received,
        )
    }
}
