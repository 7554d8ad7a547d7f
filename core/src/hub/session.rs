//! How ranks come and go: Hello, names, silence, goodbye, death.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::operation::{Operation, Presence};
use super::peer::{Life, Peer, Place, Who};
use super::sides::list;
use super::{Event, Hub, PeerId, Refusal, Timer, broken};
use crate::error::{Category, Fault};
use crate::rank::{Rank, Source};
use crate::time::{Instant, OVERSLEPT};
use crate::wire::{Down, GoodbyeReason, HELLO, Hello, MAX_HELLO_PAYLOAD, Ping, Up, VERSION};

/// What somebody is told who takes the hub for something else.
pub(super) const NO_HELLO: &str = "this is the hub of an edgempi world, and these bytes are no Hello";

/// How long a world that some ranks have not come to, and that all others have left, still waits: whoever is on the
/// way is to hear what happened, and not to end up in the next world.
const DESERTED_WAIT: Duration = Duration::from_secs(2);

impl Hub {
    /// A stranger's first words, before they are understood: another version may mean something else by the rest.
    pub(super) fn check_version(&mut self, peer: PeerId, header: &[u8]) -> Result<(), Refusal> {
        match Hello::version(header) {
            None => Err(broken(NO_HELLO)),
            Some(VERSION) => Ok(()),
            Some(version) => {
                if let (Some(peer), Ok(Some(Up::Hello(hello)))) = (self.peers.get_mut(&peer), Up::decode(HELLO, header))
                {
                    // If that still is what it says there, a board can read why.
                    peer.max_reason = hello.max_payload.min(MAX_HELLO_PAYLOAD) as usize;
                }
                let fault = Fault::of_size(Category::Version, version.into(), VERSION.into());
                let text = format!(
                    "this rank speaks version {version} of the protocol and the hub version {VERSION}: use the same \
                     release of edgempi on both sides"
                );
                Err((fault, text))
            }
        }
    }

    /// Whether somebody looks for this world.
    pub(super) fn check_world(&self, who: &str, world: &[u8]) -> Result<(), Refusal> {
        if world == self.config.world.as_bytes() {
            return Ok(());
        }
        let (theirs, ours) = (named(&String::from_utf8_lossy(world)), named(&self.config.world));
        let text =
            format!("the hub serves {ours}, {who} looks for {theirs}; start every rank with the same EDGEMPI_WORLD");
        Err((Fault::of_size(Category::WrongWorld, 0, 0), text))
    }

    pub(super) fn on_hello(&mut self, peer: PeerId, hello: Hello, world: &[u8]) -> Result<(), Refusal> {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.max_reason = hello.max_payload as usize;
        }
        let wrong = |len: u32, max: u32, text: String| {
            Err((Fault::of_size(Category::WrongWorld, len.into(), max.into()), text))
        };
        let size = self.config.size;
        self.check_world("this rank", world)?;
        if hello.size != size {
            return wrong(
                hello.size,
                size,
                format!(
                    "the world has {size} ranks, this rank says {}; start every rank with the same EDGEMPI_SIZE",
                    hello.size
                ),
            );
        }
        if hello.rank >= size {
            let text = format!("there is no rank {} in a world of {size}: ranks go from 0 to {}", hello.rank, size - 1);
            return wrong(hello.rank.get(), size, text);
        }
        if hello.max_payload < 64 {
            return Err(broken("a rank has to take payloads of 64 bytes"));
        }
        let Some(session) = self.session(hello.rank) else { return Ok(()) };
        match session.life.clone() {
            Life::Awaited => self.admit(peer, hello),
            Life::Alive(old) => {
                // Does the old link live? Whatever comes from it refutes the claim.
                let acknowledged = session.received;
                if let Some(newcomer) = self.peers.get_mut(&peer) {
                    newcomer.who = Who::Claimant(hello);
                }
                self.claims.push((hello.rank, peer));
                let is_first = |peer: &mut Peer| !core::mem::replace(&mut peer.ping, true);
                if self.peers.get_mut(&old).is_some_and(is_first) {
                    self.send_urgent(old, Down::Ping(Ping { acknowledged }));
                }
                self.set_timer(self.now + self.config.probe_wait, Timer::Probe(peer));
            }
            Life::Finished(_) => {
                let text = format!("rank {} has finished already", hello.rank);
                return Err((Fault::of_ranks(Category::RankTaken, hello.rank, 1), text));
            }
            Life::Failed(why) => {
                let text = format!(
                    "rank {} has failed ({why}) and can not come back into this world; start all ranks again once the \
                     others have ended too",
                    hello.rank
                );
                return Err((Fault::of_ranks(Category::RankFailed, hello.rank, 1), text));
            }
        }
        Ok(())
    }

    fn admit(&mut self, peer: PeerId, hello: Hello) {
        let now = self.now;
        let Some(session) = self.session_mut(hello.rank) else { return };
        session.life = Life::Alive(peer);
        session.hello = Some(hello);
        session.last_heard = now;
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.who = Who::Rank(hello.rank);
        }
        self.joined += 1;
        self.events.push_back(Event::Joined { rank: hello.rank, peer });
        self.welcome(peer, hello.rank);
        if hello.max_silence > 0 {
            let silence = Duration::from_millis(hello.max_silence.into());
            self.set_timer(now + silence, Timer::Silence(hello.rank));
        }
        if let (false, Some(wait)) = (self.join_timer, self.config.join_wait) {
            self.join_timer = true;
            self.set_timer(now + wait, Timer::Join);
        }
    }

    /// The living process of `rank` has been heard: whoever else claims the rank is refused.
    pub(super) fn claim_refuted(&mut self, rank: Rank) {
        if self.claims.is_empty() {
            return;
        }
        let claimants: Vec<PeerId> =
            self.claims.iter().filter(|(claimed, _)| *claimed == rank).map(|(_, id)| *id).collect();
        for id in claimants {
            let text = format!("rank {rank} is taken by a living process; give every process its own EDGEMPI_RANK");
            self.reject(id, Fault::of_ranks(Category::RankTaken, rank, 1), &text);
        }
    }

    /// A timer that was set to `at` has fired.
    pub(super) fn timer_fired(&mut self, timer: Timer, at: Instant) {
        match timer {
            Timer::Hello(peer) => {
                if self.peers.get(&peer).is_some_and(|peer| matches!(peer.who, Who::Stranger)) {
                    self.reject(peer, Fault::new(Category::Timeout), "no Hello came in time");
                }
            }
            Timer::Probe(peer) => {
                let Some(Who::Claimant(hello)) = self.peers.get(&peer).map(|peer| peer.who) else { return };
                let text = format!(
                    "rank {} had a link that no longer answers; that process counts as failed, and a failed rank can \
                     not come back into this world",
                    hello.rank
                );
                self.reject(peer, Fault::of_ranks(Category::RankFailed, hello.rank, 1), &text);
                let old = self.session(hello.rank).and_then(|session| session.peer());
                self.rank_failed(hello.rank, "its link no longer answers".to_owned());
                if let Some(old) = old {
                    self.reject(old, Fault::new(Category::Timeout), "the link did not answer in time");
                }
            }
            Timer::Lonely(communicator, rank) => self.end_lonely(communicator, rank),
            Timer::Deserted => self.still_deserted(),
            Timer::Deadlock => self.end_deadlocks(),
            Timer::Slow => self.tell_slow_calls(),
            Timer::Silence(rank) => {
                let Some(session) = self.session(rank) else { return };
                let Life::Alive(peer) = session.life else { return };
                let silence = Duration::from_millis(session.hello.map_or(0, |hello| hello.max_silence).into());
                let due = session.last_heard + silence;
                if due > self.now {
                    self.set_timer(due, Timer::Silence(rank));
                } else if self.now.since(at) > OVERSLEPT {
                    // The hub itself has not run. It can't know who was silent meanwhile, and that time does not count.
                    self.set_timer(self.now + silence, Timer::Silence(rank));
                } else {
                    let text = format!("it was silent for {} s", silence.as_secs_f32());
                    self.rank_failed(rank, text);
                    self.reject(peer, Fault::new(Category::Timeout), "the hub has not heard from this rank in time");
                }
            }
            Timer::Join => {
                let awaited = |rank: &Rank| self.session(*rank).is_some_and(|session| session.life == Life::Awaited);
                let missing: Vec<Rank> = (0..self.config.size).map(Rank::new).filter(awaited).collect();
                let who = if missing.len() > 1 { list(&missing) } else { "it".to_owned() };
                let wait = self.config.join_wait.unwrap_or_default().as_secs_f32();
                for rank in missing {
                    self.rank_failed(rank, format!("{who} did not come within {wait} s (EDGEMPI_WAIT)"));
                }
            }
        }
    }

    pub(super) fn on_goodbye(&mut self, rank: Rank, reason: GoodbyeReason) {
        let Some(session) = self.session_mut(rank) else { return };
        let Life::Alive(peer) = session.life else { return };
        if reason == GoodbyeReason::Finished {
            session.life = Life::Finished(peer);
            self.finished += 1;
            self.events.push_back(Event::Finished { rank });
            self.rank_gone(rank);
            self.check_deserted();
        } else {
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.who = Who::Leaving;
            }
            self.rank_failed(rank, "it dropped its world without finalize()".to_owned());
        }
        self.check_over();
    }

    /// A rank is dead: whoever needs it is told.
    pub(super) fn rank_failed(&mut self, rank: Rank, why: String) {
        let Some(session) = self.session_mut(rank) else { return };
        if matches!(session.life, Life::Failed(_) | Life::Finished(_)) {
            return;
        }
        session.life = Life::Failed(why.clone());
        self.failed += 1;
        if !self.over {
            self.events.push_back(Event::Failed { rank, reason: why });
        }
        self.rank_gone(rank);
        self.check_over();
        self.check_deserted();
    }

    /// Why a rank can no longer take part, if so.
    pub(super) fn absence(&self, rank: Rank) -> Option<Refusal> {
        match &self.session(rank)?.life {
            Life::Failed(why) => Some((
                Fault::of_ranks(Category::RankFailed, rank, 1),
                format!("rank {rank} has failed: {why}{}", self.last_seen(rank)),
            )),
            Life::Finished(_) => Some((
                Fault::of_ranks(Category::RankFinished, rank, 1),
                format!("rank {rank} has finalized and takes part in nothing any more{}", self.last_seen(rank)),
            )),
            Life::Awaited | Life::Alive(_) => None,
        }
    }

    /// Whether a rank can no longer take part.
    pub(super) fn is_absent(&self, rank: Rank) -> bool {
        self.session(rank).is_some_and(|session| matches!(session.life, Life::Failed(_) | Life::Finished(_)))
    }

    /// How many ranks can no longer take part.
    pub(super) fn gone(&self) -> u32 {
        self.finished + self.failed
    }

    fn rank_gone(&mut self, rank: Rank) {
        let Some((fault, text)) = self.absence(rank) else { return };
        self.note_missing(rank);
        // A message to oneself has its rank twice.
        let concerns = |operation: &Operation| {
            operation.participants.iter().any(|one| one.rank == rank && one.presence != Presence::Done)
        };
        self.fail_operations(concerns, fault, &text);
        self.mail_gone(rank, None, fault, &text);
        self.leave_all(rank);
        if let Some(session) = self.session_mut(rank) {
            // Whatever it still had open, receives that nobody served, is over with it.
            session.requests.retain(|_, place| matches!(place, Place::Unexpected { .. }));
            session.names.groups.clear();
            session.notice.clear();
        }
        self.suspect_deadlock();
    }

    /// Fails the operations that `concerns` picks, for everybody in them.
    pub(super) fn fail_operations(&mut self, concerns: impl Fn(&Operation) -> bool, fault: Fault, text: &str) {
        let concerned = self.operations.iter().filter(|(_, operation)| concerns(operation));
        let ids: Vec<u64> = concerned.map(|(id, _)| *id).collect();
        for id in ids {
            let Some(mut operation) = self.operations.remove(&id) else { continue };
            if !operation.has_failed() {
                self.fail_operation(&mut operation, fault, text);
            }
            self.put_back(operation);
        }
    }

    /// A rank takes part no more, in one communicator or in all: fails the messages to it, those that it has not sent
    /// whole, and the receives that nobody can serve any more.
    pub(super) fn mail_gone(&mut self, rank: Rank, communicator: Option<u64>, fault: Fault, text: &str) {
        self.kept_gone(rank, communicator, fault, text);
        let in_question = |held: u64| communicator.is_none_or(|communicator| communicator == held);
        let boxes: Vec<(u64, Rank)> = self.mail.keys().filter(|(held, _)| in_question(*held)).copied().collect();
        for (communicator, dest) in boxes {
            let Some(mut mailbox) = self.mail.remove(&(communicator, dest)) else { continue };
            let (mut messages, mut receives) = (Vec::new(), Vec::new());
            if self.is_absent(rank) {
                messages = mailbox.lose_unfinished(rank);
            }
            if dest == rank {
                let (rest, posted) = core::mem::take(&mut mailbox).take_all();
                messages.extend(rest);
                receives = posted;
            } else {
                receives.extend(mailbox.take_unservable(|source, _| source == Source::Rank(rank)));
                if mailbox.waits_for_anybody() && self.is_alone(communicator, dest) {
                    self.suspect_lonely(communicator, dest);
                }
            }
            for message in messages {
                self.free_message(&message);
                self.fail_call(message.sender, &message.submit, fault, text);
            }
            for posted in receives {
                self.fail_call(posted.receiver, &posted.submit, fault, text);
            }
            if !mailbox.is_empty() {
                self.mail.insert((communicator, dest), mailbox);
            }
        }
    }

    pub(super) fn check_over(&mut self) {
        if !self.over && self.gone() >= self.config.size {
            self.over = true;
            self.say_goodbye(GoodbyeReason::Finished);
        }
    }

    /// A rank has gone. Without it the world can not become complete, so nobody waits long for those who never came.
    fn check_deserted(&mut self) {
        if self.config.join_wait.is_some() && self.is_incomplete_and_deserted() {
            self.set_timer(self.now + DESERTED_WAIT, Timer::Deserted);
        }
    }

    /// If somebody has come meanwhile, this begins anew when that rank has gone too.
    fn still_deserted(&mut self) {
        if !self.is_incomplete_and_deserted() {
            return;
        }
        for rank in (0..self.config.size).map(Rank::new) {
            if self.session(rank).is_some_and(|session| session.life == Life::Awaited) {
                self.rank_failed(rank, "it did not come before all others had gone".to_owned());
            }
        }
    }

    fn is_incomplete_and_deserted(&self) -> bool {
        !self.over && self.joined < self.config.size && self.gone() == self.joined
    }
}

/// A world by its name, which may be empty.
pub(super) fn named(world: &str) -> String {
    if world.is_empty() { "a world without a name".to_owned() } else { format!("world \"{world}\"") }
}
