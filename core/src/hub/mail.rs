//! Point-to-point messages that wait for their receive, and receives that wait for their message.

use alloc::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::rank::{Rank, Source, Tag, TagSelector};
use crate::wire::Submit;

/// A send without its receive.
pub(super) struct Message {
    order: u64,
    pub(super) sender: Rank,
    pub(super) submit: Submit,
    /// The beginning of the message, or all of it.
    pub(super) payload: Bytes,
}

/// A receive without its send.
pub(super) struct Posted {
    order: u64,
    pub(super) receiver: Rank,
    pub(super) submit: Submit,
}

impl Posted {
    pub(super) fn new(order: u64, receiver: Rank, submit: Submit) -> Self {
        Self { order, receiver, submit }
    }
}

/// What waits at one rank of one communicator. Messages between two ranks never overtake each other
/// (MPI 4.1, chapter 3.5).
#[derive(Default)]
pub(super) struct Mailbox {
    unexpected: BTreeMap<(Rank, Tag), VecDeque<Message>>,
    posted: BTreeMap<(Source, TagSelector), VecDeque<Posted>>,
    next: u64,
}

impl Mailbox {
    pub(super) fn is_empty(&self) -> bool {
        self.unexpected.is_empty() && self.posted.is_empty()
    }

    /// Keeps a message; the number that it gets takes it back.
    pub(super) fn push_message(&mut self, sender: Rank, submit: Submit, payload: Bytes) -> u64 {
        self.next += 1;
        let message = Message { order: self.next, sender, submit, payload };
        self.unexpected.entry((sender, submit.tag)).or_default().push_back(message);
        self.next
    }

    /// Keeps a receive; the number that it gets takes it back.
    pub(super) fn push_posted(&mut self, receiver: Rank, source: Source, tag: TagSelector, submit: Submit) -> u64 {
        self.next += 1;
        let posted = Posted::new(self.next, receiver, submit);
        self.posted.entry((source, tag)).or_default().push_back(posted);
        self.next
    }

    /// The oldest receive that takes this message.
    pub(super) fn take_posted(&mut self, sender: Rank, tag: Tag) -> Option<Posted> {
        let keys = [
            (Source::Rank(sender), TagSelector::Tag(tag)),
            (Source::Rank(sender), TagSelector::Any),
            (Source::Any, TagSelector::Tag(tag)),
            (Source::Any, TagSelector::Any),
        ];
        let order = |key: &(Source, TagSelector)| Some(self.posted.get(key)?.front()?.order);
        let (_, key) = keys.into_iter().filter_map(|key| Some((order(&key)?, key))).min()?;
        take(&mut self.posted, &key, |_| Some(0))
    }

    /// The oldest message that this receive takes.
    pub(super) fn take_message(&mut self, source: Source, tag: TagSelector) -> Option<Message> {
        let key = match (source, tag) {
            (Source::Rank(rank), TagSelector::Tag(tag)) => (rank, tag),
            (Source::Rank(rank), TagSelector::Any) => {
                let range = self.unexpected.range((rank, Tag(0))..=(rank, Tag(u32::MAX)));
                range.filter_map(|(key, queue)| Some((queue.front()?.order, *key))).min()?.1
            }
            (Source::Any, selector) => {
                let fits = |tag: Tag| selector == TagSelector::Any || selector == TagSelector::Tag(tag);
                let heads = self.unexpected.iter().filter(|((_, tag), _)| fits(*tag));
                heads.filter_map(|(key, queue)| Some((queue.front()?.order, *key))).min()?.1
            }
        };
        take(&mut self.unexpected, &key, |_| Some(0))
    }

    /// Takes a message back.
    pub(super) fn remove_message(&mut self, sender: Rank, tag: Tag, number: u64) -> Option<Message> {
        take(&mut self.unexpected, &(sender, tag), |queue| {
            queue.binary_search_by_key(&number, |message| message.order).ok()
        })
    }

    /// Takes a receive back.
    pub(super) fn remove_posted(&mut self, source: Source, tag: TagSelector, number: u64) -> Option<Posted> {
        take(&mut self.posted, &(source, tag), |queue| queue.binary_search_by_key(&number, |posted| posted.order).ok())
    }

    /// Takes out the messages of `sender` that its link still had to deliver.
    pub(super) fn take_unfinished(&mut self, sender: Rank) -> VecDeque<Message> {
        let mut taken = VecDeque::new();
        self.unexpected.retain(|(from, _), queue| {
            if *from == sender {
                let (whole, rest) = core::mem::take(queue)
                    .into_iter()
                    .partition(|message| message.payload.len() as u64 == message.submit.send);
                *queue = whole;
                taken.extend::<VecDeque<Message>>(rest);
            }
            !queue.is_empty()
        });
        taken
    }

    /// Takes out the receives that only `hopeless` senders could have served.
    pub(super) fn take_unservable(&mut self, hopeless: impl Fn(Source) -> bool) -> VecDeque<Posted> {
        let mut taken = VecDeque::new();
        self.posted.retain(|(source, _), queue| {
            let gone = hopeless(*source);
            if gone {
                taken.append(queue);
            }
            !gone
        });
        taken
    }

    /// Takes out everything.
    pub(super) fn take_all(&mut self) -> (VecDeque<Message>, VecDeque<Posted>) {
        let messages = core::mem::take(&mut self.unexpected).into_values().flatten().collect();
        let posted = core::mem::take(&mut self.posted).into_values().flatten().collect();
        (messages, posted)
    }
}

fn take<K: Ord, V>(
    map: &mut BTreeMap<K, VecDeque<V>>,
    key: &K,
    choose: impl FnOnce(&VecDeque<V>) -> Option<usize>,
) -> Option<V> {
    let queue = map.get_mut(key)?;
    let taken = queue.remove(choose(queue)?);
    if queue.is_empty() {
        map.remove(key);
    }
    taken
}
