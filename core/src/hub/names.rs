//! What ranks name once and then call by a number: groups, the users' operations, places in the source.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::group::GroupInfo;
use super::{Hub, Refusal, broken};
use crate::error::{Category, Fault};
use crate::rank::Rank;
use crate::wire::{MAX_OPERATION_LEN, Name, NameKind};

/// Most bytes of the names that one session holds, and what each of them counts beside its own.
const MAX_NAME_BYTES: usize = 1 << 20;
const NAME_OVERHEAD: usize = 64;
/// Most bytes of a place in the source; a longer one is cut.
const MAX_SITE_LEN: usize = 256;

/// What a session has named.
#[derive(Default)]
pub(super) struct Names {
    pub(super) groups: BTreeMap<u16, Arc<GroupInfo>>,
    pub(super) operations: BTreeMap<u16, (u32, Arc<str>)>,
    pub(super) sites: BTreeMap<u16, String>,
    /// Bytes of all of them.
    bytes: usize,
}

impl Names {
    /// What a number and its name count, 0 if it has none.
    fn len(&self, name: Name) -> usize {
        let len = match name.kind {
            NameKind::Group => self.groups.get(&name.id).map(|group| group.name_len()),
            NameKind::Operation => self.operations.get(&name.id).map(|(_, text)| size_of::<u32>() + text.len()),
            NameKind::Site => self.sites.get(&name.id).map(String::len),
        };
        len.map_or(0, |len| NAME_OVERHEAD + len)
    }
}

/// Groups under numbers that are never used twice. Those that nobody uses are forgotten sooner or later.
pub(super) struct Groups<K> {
    held: BTreeMap<K, Arc<GroupInfo>>,
    /// How many there are when it is time to look for unused ones.
    limit: usize,
}

impl<K: Ord> Groups<K> {
    const FEW: usize = 8;

    pub(super) fn new() -> Self {
        Self { held: BTreeMap::new(), limit: Self::FEW }
    }

    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<GroupInfo>>
    where
        K: core::borrow::Borrow<Q>,
    {
        self.held.get(key)
    }

    pub(super) fn insert(&mut self, key: K, group: Arc<GroupInfo>) {
        if self.held.len() >= self.limit {
            self.forget_unused();
            self.limit = (2 * self.held.len()).max(Self::FEW);
        }
        self.held.insert(key, group);
    }

    pub(super) fn forget_unused(&mut self) {
        self.held.retain(|_, group| Arc::strong_count(group) > 1);
    }

    /// Whether unused ones are looked for before the next one comes.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= self.limit
    }
}

impl Hub {
    pub(super) fn on_name(&mut self, rank: Rank, name: Name, payload: &[u8]) -> Result<(), Refusal> {
        if name.id == 0 {
            return Err(broken("a name has number 0"));
        }
        let group = match name.kind {
            NameKind::Group => Some(self.intern(payload)?),
            NameKind::Operation | NameKind::Site => None,
        };
        let Some(session) = self.session_mut(rank) else { return Ok(()) };
        let names = &mut session.names;
        let before = names.len(name);
        match (name.kind, group) {
            (NameKind::Group, Some(group)) => {
                names.groups.insert(name.id, group);
            }
            (NameKind::Operation, _) => {
                let (version, text) = payload.split_first_chunk::<4>().ok_or_else(|| broken("an operation's name"))?;
                if text.len() > MAX_OPERATION_LEN {
                    let fault = Fault::of_size(Category::TooLarge, text.len() as u64, MAX_OPERATION_LEN as u64);
                    return Err((fault, format!("the name of an operation is at most {MAX_OPERATION_LEN} bytes")));
                }
                let text: Arc<str> = String::from_utf8_lossy(text).into();
                names.operations.insert(name.id, (u32::from_le_bytes(*version), text));
            }
            (NameKind::Site | NameKind::Group, _) => {
                let text = payload.get(..MAX_SITE_LEN).unwrap_or(payload);
                names.sites.insert(name.id, String::from_utf8_lossy(text).into_owned());
            }
        }
        names.bytes = names.bytes - before + names.len(name);
        if names.bytes > MAX_NAME_BYTES {
            let fault = Fault::of_size(Category::TooLarge, names.bytes as u64, MAX_NAME_BYTES as u64);
            return Err((fault, format!("the names of one session are at most {MAX_NAME_BYTES} bytes")));
        }
        Ok(())
    }

    /// The group that a payload describes, under the hub's own number.
    fn intern(&mut self, payload: &[u8]) -> Result<Arc<GroupInfo>, Refusal> {
        if let Some(group) = self.groups.get(payload) {
            return Ok(group.clone());
        }
        let numbers: Vec<u32> = payload.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let bad = || broken("a group that names no ranks, a rank twice, or one outside the world");
        let [sources, destinations, rest @ ..] = numbers.as_slice() else { return Err(bad()) };
        let count = u64::from(*sources) + u64::from(*destinations);
        let (ranks, label) =
            usize::try_from(count).ok().and_then(|count| rest.split_at_checked(count)).ok_or_else(bad)?;
        // With another label the same ranks are another group, whose calls are counted apart.
        if label.len() > 1 || !payload.len().is_multiple_of(4) {
            return Err(bad());
        }
        if ranks.iter().any(|rank| *rank >= self.config.size) {
            return Err(bad());
        }
        let ranks: Vec<Rank> = ranks.iter().copied().map(Rank::new).collect();
        let (sources, destinations) = ranks.split_at(*sources as usize);
        let id = self.next_group + 1;
        let group = Arc::new(GroupInfo::new(id, sources, destinations).ok_or_else(bad)?);
        self.next_group = id;
        if self.groups.is_full() {
            // Those of a communicator hold on to the group that they are made of.
            for communicator in self.communicators.values_mut() {
                communicator.groups.forget_unused();
            }
        }
        self.groups.insert(payload.to_vec(), group.clone());
        Ok(group)
    }

    /// " at file:line:column", if the rank has said where.
    pub(super) fn site_of(&self, rank: Rank, site: u16) -> String {
        match self.session(rank).and_then(|session| session.names.sites.get(&site)) {
            Some(site) if !site.is_empty() => format!(" at {site}"),
            _ => String::new(),
        }
    }
}
