//! The world of a simulation: the hub, the ranks' links, and what happens to them. One thread, virtual time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use edgempi_core::Instant;
use edgempi_core::hub::{Hub, PeerId};
use edgempi_core::wire::GoodbyeReason;

use super::agenda::{Agenda, Event};
use super::class::{Class, Death, Direction, LONGEST};
use super::generator::Generator;
use super::link::{Lane, NEVER};
use super::node::{Frame, Node};
use super::orders::{Alarm, Desk, Order};
use super::report::{Ledger, Report};
use super::trace::{Trace, What};
use crate::error::Error;

/// What travels on a link.
pub(super) enum Parcel {
    Connect,
    Frame(Frame),
    Close,
}

/// How the hub ends before its world does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HubEnd {
    /// It says goodbye.
    ShutDown,
    /// It dies as a rank may.
    Death(Death),
}

/// Where a rank's own end of its link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It has not come.
    Awaited,
    Linked,
    Unlinked,
    /// It died.
    Dead,
}

/// A rank, its link, and what the hub's driver notes of it.
pub(super) struct Side {
    pub(super) node: Arc<Node>,
    pub(super) class: u32,
    pub(super) life: Life,
    pub(super) up: Lane<Parcel>,
    pub(super) down: Lane<Parcel>,
    /// Somebody waits for room.
    up_room: bool,
    down_room: bool,
    /// The deadline that the heap knows of.
    timer: Option<Instant>,
    pub(super) peer: Option<PeerId>,
    /// As in the driver of a real hub.
    pub(super) ending: bool,
    pub(super) closing: bool,
    pub(super) wrote: bool,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Happened,
    /// Nothing that anybody could wait for will happen any more.
    Nothing,
    TimeLimit,
}

/// All of a simulation but the programs.
pub(super) struct World {
    pub(super) desk: Arc<Desk>,
    pub(super) now: Instant,
    pub(super) hub: Option<Hub>,
    pub(super) hub_end: Option<HubEnd>,
    pub(super) classes: Vec<Class>,
    pub(super) sides: Vec<Side>,
    pub(super) peers: HashMap<PeerId, u32>,
    agenda: Agenda,
    /// When something last happened that counts.
    busy: Instant,
    /// How long after that nothing but signs of life can mean that nothing will change any more.
    quiet: Duration,
    limit: Instant,
    alarms: Vec<Option<Arc<Alarm>>>,
    free_alarms: Vec<u32>,
    pub(super) trace: Trace,
    pub(super) ledger: Ledger,
    /// Ranks that died, whose programs are to be dropped.
    pub(super) died: Vec<usize>,
}

/// What a [`World`] is made of.
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) hub: Hub,
    pub(super) classes: Vec<Class>,
    /// The class of each rank.
    pub(super) ranks: Vec<u32>,
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) hub_end: Option<(Instant, HubEnd)>,
    pub(super) limit: Duration,
    pub(super) trace: Trace,
}

impl World {
    pub(super) fn new(desk: Arc<Desk>, setup: Setup) -> Self {
        let Setup { seed, hub, classes, ranks, nodes, hub_end, limit, trace } = setup;
        let sides = nodes.into_iter().zip(&ranks).enumerate().map(|(rank, (node, class))| {
            let stream = |which: u64| Generator::new(seed, (rank as u64) << 2 | which);
            let period = classes[*class as usize].radio.map_or(0, |radio| super::link::micros(radio.every));
            let phase = Duration::from_micros(stream(2).up_to(period.saturating_sub(1)));
            Side {
                node,
                class: *class,
                life: Life::Awaited,
                up: Lane::new(Direction::Up, stream(0), phase),
                down: Lane::new(Direction::Down, stream(1), phase),
                up_room: false,
                down_room: false,
                timer: None,
                peer: None,
                ending: false,
                closing: false,
                wrote: false,
            }
        });
        let mut world = Self {
            desk,
            now: Instant::ZERO,
            quiet: patience(&hub, &classes),
            hub: Some(hub),
            hub_end: None,
            sides: sides.collect(),
            classes,
            peers: HashMap::new(),
            agenda: Agenda::default(),
            busy: Instant::ZERO,
            limit: Instant::ZERO + limit,
            alarms: Vec::new(),
            free_alarms: Vec::new(),
            trace,
            ledger: Ledger::new(ranks.len()),
            died: Vec::new(),
        };
        for rank in 0..world.sides.len() {
            let Class { start, death, .. } = *world.class(rank);
            world.expect(start, Event::Start(rank as u32));
            if let Some((at, _)) = death {
                world.expect(at, Event::Death(rank as u32));
            }
        }
        if let Some((at, end)) = hub_end {
            world.expect(at, Event::HubEnd(end));
        }
        world
    }

    pub(super) fn class(&self, rank: usize) -> &Class {
        &self.classes[self.sides[rank].class as usize]
    }

    /// Foresees something that programs may wait for.
    fn expect(&mut self, at: Instant, event: Event) {
        if at < NEVER {
            self.agenda.push(at, true, event);
        }
    }

    /// Lets the next thing happen.
    pub(super) fn step(&mut self) -> Step {
        let hub = self.hub.as_ref().and_then(Hub::poll_timeout).map(|at| at.max(self.now));
        let next = self.agenda.next_at();
        let Some(at) = next.into_iter().chain(hub).min() else { return Step::Nothing };
        if self.agenda.expected == 0 && at > self.busy + self.quiet {
            return Step::Nothing;
        }
        if at > self.limit || at == NEVER {
            return Step::TimeLimit;
        }
        self.now = at;
        self.desk.set_now(at);
        if next != Some(at) {
            if let Some(hub) = &mut self.hub {
                hub.handle_timeout(at);
            }
            self.attend_hub();
        } else if let Some((counts, event)) = self.agenda.pop() {
            if counts {
                self.busy = at;
            }
            self.happen(event);
        }
        Step::Happened
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(rank) => self.start(rank as usize),
            Event::Up(rank) => {
                let parcel = self.sides[rank as usize].up.take(self.now);
                if let Some(parcel) = parcel {
                    self.arrive_at_hub(rank as usize, parcel);
                }
            }
            Event::Down(rank) => {
                let parcel = self.sides[rank as usize].down.take(self.now);
                if let Some(parcel) = parcel {
                    self.arrive_at_rank(rank as usize, &parcel);
                }
            }
            Event::UpRoom(rank) => {
                self.sides[rank as usize].up_room = false;
                self.transmit(rank as usize);
            }
            Event::DownRoom(rank) => {
                self.sides[rank as usize].down_room = false;
                self.serve(rank as usize);
                self.attend_hub();
            }
            Event::Timer(rank) => self.fire(rank as usize),
            Event::Linger(rank) => self.linger(rank as usize),
            Event::Death(rank) => self.die(rank as usize),
            Event::HubEnd(end) => self.end_hub(end),
            Event::Alarm(slot) => {
                self.free_alarms.push(slot);
                if let Some(alarm) = self.alarms[slot as usize].take() {
                    alarm.ring();
                }
            }
        }
    }

    /// Carries out what programs have asked for.
    pub(super) fn carry_out(&mut self) {
        while let Some(order) = self.desk.next_order() {
            match order {
                Order::Transmit(rank) => self.transmit(rank),
                Order::Alarm(at, alarm) => {
                    let slot = self.free_alarms.pop().unwrap_or_else(|| {
                        self.alarms.push(None);
                        (self.alarms.len() - 1) as u32
                    });
                    self.alarms[slot as usize] = Some(alarm);
                    self.expect(at, Event::Alarm(slot));
                }
                Order::Round(rank, number) => {
                    self.trace.add(self.now, Some(rank), What::Round(number));
                    self.ledger.begin(self.now, rank, number);
                }
            }
        }
    }

    fn start(&mut self, rank: usize) {
        let side = &mut self.sides[rank];
        if side.life == Life::Awaited {
            side.life = Life::Linked;
            self.send_up(rank, Parcel::Connect);
            self.transmit(rank);
        }
    }

    /// Sends what a rank has to send, as far as its link has room.
    pub(super) fn transmit(&mut self, rank: usize) {
        while self.sides[rank].life == Life::Linked {
            let now = self.now;
            let side = &mut self.sides[rank];
            if !side.up.has_room(now, &self.classes[side.class as usize]) {
                let room = side.up.room_at().filter(|_| !std::mem::replace(&mut side.up_room, true));
                if let Some(at) = room {
                    self.agenda.push(at, false, Event::UpRoom(rank as u32));
                }
                break;
            }
            let Some(frame) = side.node.next_frame(now) else { break };
            self.send_up(rank, Parcel::Frame(frame));
        }
        self.set_timer(rank);
    }

    pub(super) fn send_up(&mut self, rank: usize, parcel: Parcel) {
        let (bytes, counts) = parcel.measure();
        let is_frame = matches!(parcel, Parcel::Frame(_));
        let side = &mut self.sides[rank];
        let passage = side.up.send(self.now, &self.classes[side.class as usize], bytes, parcel);
        if is_frame {
            let heard = passage.map_or(NEVER, |passage| passage.arrival);
            self.ledger.sent(rank, bytes, counts.then_some(heard));
        }
        if let Some(passage) = passage {
            self.ledger.lost(rank, passage.lost);
            self.agenda.push(passage.arrival, counts, Event::Up(rank as u32));
        }
    }

    pub(super) fn send_down(&mut self, rank: usize, parcel: Parcel) {
        let (bytes, counts) = parcel.measure();
        let side = &mut self.sides[rank];
        let passage = side.down.send(self.now, &self.classes[side.class as usize], bytes, parcel);
        if let Some(passage) = passage {
            self.ledger.lost(rank, passage.lost);
            self.agenda.push(passage.arrival, counts, Event::Down(rank as u32));
        }
    }

    /// Tells the hub's driver when there is room on the way to a rank.
    pub(super) fn await_room(&mut self, rank: usize) {
        let side = &mut self.sides[rank];
        let room = side.down.room_at().filter(|_| !std::mem::replace(&mut side.down_room, true));
        if let Some(at) = room {
            self.agenda.push(at, false, Event::DownRoom(rank as u32));
        }
    }

    pub(super) fn await_linger(&mut self, rank: usize, at: Instant) {
        self.agenda.push(at, false, Event::Linger(rank as u32));
    }

    fn arrive_at_rank(&mut self, rank: usize, parcel: &Parcel) {
        if self.sides[rank].life != Life::Linked {
            return;
        }
        let node = self.sides[rank].node.clone();
        match parcel {
            Parcel::Connect => {}
            Parcel::Frame(frame) => {
                let what = What::Frame { direction: Direction::Down, head: frame.head(), payload: &frame.payload };
                self.trace.add(self.now, Some(rank), what);
                self.ledger.received(rank, frame.len());
                if !node.take_frame(self.now, frame) {
                    self.unlink(rank);
                }
            }
            Parcel::Close => {
                self.trace.add(self.now, Some(rank), What::Closed(Direction::Down));
                node.state().lose(&Error::disconnected("the hub of the simulation closed the connection"));
                self.unlink(rank);
            }
        }
        self.transmit(rank);
    }

    /// A rank closes its end.
    fn unlink(&mut self, rank: usize) {
        self.sides[rank].life = Life::Unlinked;
        self.send_up(rank, Parcel::Close);
    }

    fn set_timer(&mut self, rank: usize) {
        let side = &mut self.sides[rank];
        if side.life != Life::Linked {
            return;
        }
        let due = side.node.state().poll_timeout();
        if let Some(due) = due.filter(|due| side.timer.is_none_or(|timer| *due < timer)) {
            side.timer = Some(due);
            self.agenda.push(due.max(self.now), false, Event::Timer(rank as u32));
        }
    }

    fn fire(&mut self, rank: usize) {
        let side = &mut self.sides[rank];
        if side.timer.is_some_and(|at| at <= self.now) {
            side.timer = None;
        }
        if side.life != Life::Linked {
            return;
        }
        let result = side.node.state().handle_timeout(self.now);
        if let Err(error) = result {
            let node = side.node.clone();
            node.state().lose(&error);
            self.unlink(rank);
            self.busy = self.now;
        }
        self.transmit(rank);
    }

    fn die(&mut self, rank: usize) {
        let Some((_, death)) = self.class(rank).death else { return };
        self.trace.add(self.now, Some(rank), What::Died);
        let was_linked = std::mem::replace(&mut self.sides[rank].life, Life::Dead) == Life::Linked;
        match death {
            Death::Crash if was_linked => self.send_up(rank, Parcel::Close),
            Death::Crash => {}
            Death::PowerLoss => {
                self.sides[rank].down.cut(self.now);
                if self.sides[rank].up.cut(self.now).iter().any(|parcel| parcel.measure().1) {
                    self.ledger.unheard(rank);
                }
            }
        }
        self.died.push(rank);
    }

    /// A rank's program has ended, well or not: it leaves the world as a process would.
    pub(super) fn leave(&mut self, rank: usize, reason: GoodbyeReason) {
        self.trace.add(self.now, Some(rank), What::Ended);
        self.ledger.ended(self.now, rank);
        self.busy = self.now;
        let node = self.sides[rank].node.clone();
        node.state().leave(reason);
        self.transmit(rank);
    }

    /// The program of a rank that died is no more.
    pub(super) fn bury(&mut self, rank: usize) {
        self.ledger.ended(self.now, rank);
        self.sides[rank].node.state().lose(&Error::disconnected("this rank has died"));
    }

    /// Something has been done by a program.
    pub(super) fn note_work(&mut self) {
        self.busy = self.now;
    }

    /// Whether all has been said.
    pub(super) fn is_over(&self) -> bool {
        self.hub.as_ref().is_none_or(|hub| hub.is_over() && hub.is_deserted())
    }

    /// Ends everything, for whoever still holds a communicator.
    pub(super) fn close(&mut self) {
        for side in &self.sides {
            side.node.state().lose(&Error::Finalized);
        }
    }

    pub(super) fn into_report(self) -> Report {
        let hub = self.hub.as_ref().map(Hub::status);
        self.ledger.into_report(self.now, hub, self.trace.events)
    }
}

impl Parcel {
    /// Its bytes, and whether it is more than a sign of life.
    fn measure(&self) -> (u64, bool) {
        match self {
            Self::Connect | Self::Close => (0, true),
            Self::Frame(frame) => (frame.len(), !frame.is_sign_of_life()),
        }
    }
}

/// After how long without anything that programs can notice nothing will come of signs of life any more: every patience
/// has run out by then.
fn patience(hub: &Hub, classes: &[Class]) -> Duration {
    let config = hub.config();
    let ranks = classes.iter().flat_map(|class| {
        [class.silence, class.latency, class.jitter, class.radio.map_or(Duration::ZERO, |radio| radio.every)]
    });
    let hub = [config.max_silence, config.hello_wait, config.probe_wait, config.join_wait.unwrap_or_default()];
    // A rank pings, waits, and is waited for by the hub.
    ranks.chain(hub).max().unwrap_or_default().min(LONGEST) * 4
}
