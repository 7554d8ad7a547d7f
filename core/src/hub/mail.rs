//! Point-to-point messages that wait for their receive, and receives that wait for their message.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::payload::Payload;

use crate::rank::{Rank, Source, Tag, TagSelector};
use crate::request::CallCode;
use crate::time::Instant;
use crate::wire::Submit;

/// When something came to a mailbox, counted from 1.
pub(super) type Order = u64;

/// A send without its receive.
pub(super) struct Message {
    pub(super) sender: Rank,
    pub(super) submit: Submit,
    /// The beginning of the message, or all of it.
    pub(super) payload: Payload,
    /// Its sender is gone or has given it up, and the rest will not come. It stays where it is, for its receive to fail:
    /// otherwise a later message would be taken for it. What it held of the queue is free already.
    pub(super) is_lost: bool,
    /// When it came.
    pub(super) since: Instant,
}

impl Message {
    /// Whether all of it is here.
    pub(super) fn is_whole(&self) -> bool {
        self.payload.len() as u64 == self.submit.send
    }

    /// The rest of it will not come. Returns what has come, which is to be freed.
    pub(super) fn lose(&mut self) -> Self {
        let payload = core::mem::take(&mut self.payload);
        let held = Self { payload, ..*self };
        self.is_lost = true;
        held
    }
}

/// A receive, or a probe, without its send.
#[derive(Clone, Copy)]
pub(super) struct Posted {
    pub(super) receiver: Rank,
    pub(super) submit: Submit,
    /// When it came.
    pub(super) since: Instant,
}

/// What waits at one rank of one communicator. Messages between two ranks never overtake each other
/// (MPI 4.1, chapter 3.5). Finding what fits takes about the same time whatever else waits.
#[derive(Default)]
pub(super) struct Mailbox {
    unexpected: BTreeMap<Order, Message>,
    /// The same messages, in the orders in which receives ask for them.
    by_sender: BTreeSet<(Rank, Order)>,
    by_tag: BTreeSet<(Tag, Order)>,
    by_sender_and_tag: BTreeSet<(Rank, Tag, Order)>,
    posted: BTreeMap<(Source, TagSelector, Order), Posted>,
    /// Whoever waits to hear of a message, and leaves it.
    probes: BTreeMap<(Source, TagSelector, Order), Posted>,
    last: Order,
}

const ALL: RangeInclusive<Order> = 0..=Order::MAX;

/// In which words a receive may ask for a message.
fn askings(sender: Rank, tag: Tag) -> [(Source, TagSelector); 4] {
    let (from, tag) = (Source::Rank(sender), TagSelector::Tag(tag));
    [(from, tag), (from, TagSelector::Any), (Source::Any, tag), (Source::Any, TagSelector::Any)]
}

impl Mailbox {
    pub(super) fn is_empty(&self) -> bool {
        self.unexpected.is_empty() && self.posted.is_empty() && self.probes.is_empty()
    }

    pub(super) fn push_message(&mut self, since: Instant, sender: Rank, submit: Submit, payload: Payload) -> Order {
        self.last += 1;
        let (tag, order) = (submit.tag, self.last);
        self.by_sender.insert((sender, order));
        self.by_tag.insert((tag, order));
        self.by_sender_and_tag.insert((sender, tag, order));
        self.unexpected.insert(order, Message { sender, submit, payload, is_lost: false, since });
        order
    }

    pub(super) fn push_posted(&mut self, source: Source, tag: TagSelector, posted: Posted) -> Order {
        self.last += 1;
        self.posted.insert((source, tag, self.last), posted);
        self.last
    }

    pub(super) fn push_probe(&mut self, source: Source, tag: TagSelector, probe: Posted) -> Order {
        self.last += 1;
        self.probes.insert((source, tag, self.last), probe);
        self.last
    }

    /// Takes out all probes that this message answers, the oldest first.
    pub(super) fn take_probes(&mut self, sender: Rank, tag: Tag) -> Vec<Posted> {
        if self.probes.is_empty() {
            return Vec::new();
        }
        let answers = |(source, selector, _): &(Source, TagSelector, Order)| {
            let from = matches!(source, Source::Any) || *source == Source::Rank(sender);
            from && (matches!(selector, TagSelector::Any) || *selector == TagSelector::Tag(tag))
        };
        let mut found: Vec<(Order, Posted)> =
            self.probes.extract_if(.., |key, _| answers(key)).map(|((.., order), probe)| (order, probe)).collect();
        found.sort_unstable_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, probe)| probe).collect()
    }

    /// The oldest receive that takes this message.
    pub(super) fn take_posted(&mut self, sender: Rank, tag: Tag) -> Option<Posted> {
        let oldest = |asking| self.posted_for(asking).next().map(|(key, _)| *key);
        let key = askings(sender, tag).into_iter().filter_map(oldest).min_by_key(|(_, _, order)| *order)?;
        self.posted.remove(&key)
    }

    /// Whether a receive, and not a matched probe alone, waits for this message.
    pub(super) fn has_receive(&self, sender: Rank, tag: Tag) -> bool {
        let is_receive = |posted: &Posted| posted.submit.call == CallCode::Recv as u8;
        askings(sender, tag).into_iter().any(|asking| self.posted_for(asking).any(|(_, posted)| is_receive(posted)))
    }

    /// What asks for messages in just these words, the oldest first.
    fn posted_for(
        &self,
        (source, tag): (Source, TagSelector),
    ) -> impl Iterator<Item = (&(Source, TagSelector, Order), &Posted)> {
        self.posted.range((source, tag, *ALL.start())..=(source, tag, *ALL.end()))
    }

    /// The oldest message that this receive takes.
    pub(super) fn take_message(&mut self, source: Source, tag: TagSelector) -> Option<Message> {
        let order = self.find(source, tag)?;
        self.remove_message(order)
    }

    /// The same, which stays where it is.
    pub(super) fn find_message(&self, source: Source, tag: TagSelector) -> Option<&Message> {
        self.unexpected.get(&self.find(source, tag)?)
    }

    fn find(&self, source: Source, tag: TagSelector) -> Option<Order> {
        let (start, end) = ALL.into_inner();
        Some(match (source, tag) {
            (Source::Rank(rank), TagSelector::Tag(tag)) => {
                self.by_sender_and_tag.range((rank, tag, start)..=(rank, tag, end)).next()?.2
            }
            (Source::Rank(rank), TagSelector::Any) => self.by_sender.range((rank, start)..=(rank, end)).next()?.1,
            (Source::Any, TagSelector::Tag(tag)) => self.by_tag.range((tag, start)..=(tag, end)).next()?.1,
            (Source::Any, TagSelector::Any) => *self.unexpected.first_key_value()?.0,
        })
    }

    /// Takes a message back.
    pub(super) fn remove_message(&mut self, order: Order) -> Option<Message> {
        let message = self.unexpected.remove(&order)?;
        let (sender, tag) = (message.sender, message.submit.tag);
        self.by_sender.remove(&(sender, order));
        self.by_tag.remove(&(tag, order));
        self.by_sender_and_tag.remove(&(sender, tag, order));
        Some(message)
    }

    /// Takes a receive or a probe back.
    pub(super) fn remove_posted(
        &mut self,
        source: Source,
        tag: TagSelector,
        order: Order,
        is_probe: bool,
    ) -> Option<Posted> {
        let waiting = if is_probe { &mut self.probes } else { &mut self.posted };
        waiting.remove(&(source, tag, order))
    }

    /// All that waits here: the messages, then receives and probes, each with whom it asks.
    pub(super) fn messages(&self) -> impl ExactSizeIterator<Item = &Message> {
        self.unexpected.values()
    }

    pub(super) fn receives(&self) -> impl Iterator<Item = (Source, &Posted)> {
        let waiting = self.posted.iter().chain(&self.probes);
        waiting.map(|((source, ..), posted)| (*source, posted))
    }

    /// How many receives and probes wait.
    pub(super) fn receive_count(&self) -> usize {
        self.posted.len() + self.probes.len()
    }

    /// A message that waits.
    pub(super) fn message(&self, order: Order) -> Option<&Message> {
        self.unexpected.get(&order)
    }

    /// A receive or a probe that waits.
    pub(super) fn posted(&self, source: Source, tag: TagSelector, order: Order, is_probe: bool) -> Option<&Posted> {
        let waiting = if is_probe { &self.probes } else { &self.posted };
        waiting.get(&(source, tag, order))
    }

    /// Loses the messages of `sender` that its link still had to deliver. Returns what had come of them.
    pub(super) fn lose_unfinished(&mut self, sender: Rank) -> Vec<Message> {
        let (start, end) = ALL.into_inner();
        let mut lost = Vec::new();
        for (_, order) in self.by_sender.range((sender, start)..=(sender, end)) {
            let Some(message) = self.unexpected.get_mut(order) else { continue };
            if !message.is_lost && !message.is_whole() {
                lost.push(message.lose());
            }
        }
        lost
    }

    /// Takes out the receives and probes that only `hopeless` senders could have served.
    pub(super) fn take_unservable(&mut self, hopeless: impl Fn(Source, &Posted) -> bool) -> Vec<Posted> {
        let waiting = [&mut self.posted, &mut self.probes];
        let taken = waiting
            .into_iter()
            .flat_map(|waiting| waiting.extract_if(.., |(source, ..), posted| hopeless(*source, posted)));
        taken.map(|(_, posted)| posted).collect()
    }

    /// Whether some receive or probe takes a message from any rank.
    pub(super) fn waits_for_anybody(&self) -> bool {
        self.posted.keys().chain(self.probes.keys()).any(|(source, ..)| *source == Source::Any)
    }

    /// Takes out everything; nobody asks for what is lost any more.
    pub(super) fn take_all(self) -> (Vec<Message>, Vec<Posted>) {
        let messages = self.unexpected.into_values().filter(|message| !message.is_lost);
        (messages.collect(), self.posted.into_values().chain(self.probes.into_values()).collect())
    }
}
