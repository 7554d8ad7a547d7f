//! What a user operation tells the hub by name: its group of ranks, and itself.

use edgempi_core::endpoint::Content;
use edgempi_core::request::{NameIds, NewNames};
use edgempi_core::wire::MAX_HEAD_LEN;
use edgempi_core::{Category, Group, Rank, Ranks};

use crate::engine::PROTOCOL;
use crate::error::Error;
use crate::memory::NameEntry;

/// Writes bytes to the port.
pub(crate) type Put<'p> = &'p mut dyn FnMut(&[u8]) -> Result<(), Error>;

/// A user operation's group, name and version.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    group: Group<'a>,
    name: &'a str,
    version: u32,
    /// The size of the communicator.
    size: u32,
    /// Where the group and the operation stand among the rank's names.
    numbers: (usize, usize),
    functions: &'static Functions,
}

/// What is done with names: by pointers, so that an image that calls no user operation has none of it.
struct Functions {
    number: fn(&mut Names<'_>, &mut Table<'_>) -> Result<(NameIds, usize), Error>,
    len: fn(&Names<'_>, Content) -> usize,
    write: fn(&Names<'_>, Content, Put<'_>) -> Result<usize, Error>,
}

/// The names of a rank, and what bounds them.
pub(crate) struct Table<'t> {
    pub(crate) names: &'t mut [NameEntry],
    /// The communicator that the call is made on.
    pub(crate) communicator: u64,
    /// The most that the port takes at once.
    pub(crate) capacity: usize,
}

impl<'a> Names<'a> {
    pub(crate) fn new(group: Group<'a>, name: &'a str, version: u32, size: u32) -> Self {
        let functions = &Functions { number, len, write };
        Self { group, name, version, size, numbers: (0, 0), functions }
    }

    /// The numbers of what is named, and where its collectives are counted.
    pub(crate) fn number(&mut self, table: &mut Table<'_>) -> Result<(NameIds, usize), Error> {
        (self.functions.number)(self, table)
    }

    /// Bytes of a name as it travels.
    pub(crate) fn len(&self, content: Content) -> usize {
        (self.functions.len)(self, content)
    }

    /// Writes a name. Returns its number, of which the hub now knows.
    pub(crate) fn write(&self, content: Content, put: Put<'_>) -> Result<usize, Error> {
        (self.functions.write)(self, content, put)
    }

    /// The counts of both sides, then the ranks of both.
    fn words(&self) -> impl Iterator<Item = u32> {
        let (sources, destinations) = (&self.group.sources, &self.group.destinations);
        let counts = [count(sources, self.size) as u32, count(destinations, self.size) as u32];
        counts.into_iter().chain(ranks(sources, self.size)).chain(ranks(destinations, self.size))
    }
}

impl Table<'_> {
    /// The place of a communicator, where its collectives are counted.
    pub(crate) fn everybody(&mut self) -> Result<usize, Error> {
        self.find(hash_of_communicator(self.communicator)).map(|(index, _)| index)
    }

    /// The place of a name, and whether the hub has still to be told.
    fn find(&mut self, hash: u64) -> Result<(usize, bool), Error> {
        let max = self.names.len() as u64;
        let known = self.names.iter().position(|name| name.hash == hash);
        let index = known.or_else(|| self.names.iter().position(|name| name.hash == 0));
        let index = index.ok_or(Error::with(Category::TooManyRequests, max))?;
        let Some(name) = self.names.get_mut(index) else { return Err(PROTOCOL) };
        name.hash = hash;
        Ok((index, !name.told))
    }
}

fn number(names: &mut Names<'_>, table: &mut Table<'_>) -> Result<(NameIds, usize), Error> {
    let everybody = table.everybody()?;
    let (group, size) = (names.group, names.size);
    let needed = MAX_HEAD_LEN + group_len(names).max(operation_len(names));
    if needed > table.capacity {
        return Err(Error::with(Category::TooLarge, needed as u64));
    }
    let letters = core::iter::once(names.version).chain(names.name.bytes().map(u32::from));
    let (operation, new_operation) = table.find(hash(3, letters))?;
    names.numbers = (everybody, operation);
    let new = NewNames { group: false, operation: new_operation, site: false };
    let mut ids = NameIds { operation: operation as u16 + 1, new, ..NameIds::default() };
    let is_all = |side| count(side, size) == size as usize && ranks(side, size).eq(0..size);
    if is_all(&group.sources) && is_all(&group.destinations) {
        // All ranks are no group of their own: such calls are counted, and compared, with the built-in ones.
        return Ok((ids, everybody));
    }
    let (counter, new_group) = table.find(hash(2, halves(table.communicator).into_iter().chain(names.words())))?;
    names.numbers.0 = counter;
    (ids.group, ids.new.group) = (counter as u16 + 1, new_group);
    Ok((ids, counter))
}

fn len(names: &Names<'_>, content: Content) -> usize {
    match content {
        Content::Group(_) => group_len(names),
        Content::Operation(_) => operation_len(names),
        _ => 0,
    }
}

fn group_len(names: &Names<'_>) -> usize {
    8 + 4 * (count(&names.group.sources, names.size) + count(&names.group.destinations, names.size))
}

fn operation_len(names: &Names<'_>) -> usize {
    4 + names.name.len()
}

fn write(names: &Names<'_>, content: Content, put: Put<'_>) -> Result<usize, Error> {
    if let Content::Operation(_) = content {
        put(&names.version.to_le_bytes())?;
        put(names.name.as_bytes())?;
        return Ok(names.numbers.1);
    }
    for word in names.words() {
        put(&word.to_le_bytes())?;
    }
    Ok(names.numbers.0)
}

/// The ranks of one side of a group, in order.
fn ranks<'r>(side: &'r Ranks<'_>, size: u32) -> impl Iterator<Item = u32> + 'r {
    let all = if matches!(side, Ranks::All) { 0..size } else { 0..0 };
    let list: &[Rank] = match side {
        Ranks::All => &[],
        Ranks::List(list) => list,
    };
    all.chain(list.iter().map(|rank| rank.get()))
}

/// How many ranks one side of a group has.
fn count(side: &Ranks<'_>, size: u32) -> usize {
    match side {
        Ranks::All => size as usize,
        Ranks::List(list) => list.len(),
    }
}

pub(crate) fn hash_of_communicator(id: u64) -> u64 {
    hash(1, halves(id).into_iter())
}

fn halves(id: u64) -> [u32; 2] {
    [id as u32, (id >> 32) as u32]
}

/// FNV-1a over words, never 0.
fn hash(kind: u32, words: impl Iterator<Item = u32>) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let step = |hash: u64, word: u32| (hash ^ u64::from(word)).wrapping_mul(0x0000_0100_0000_01b3);
    core::iter::once(kind).chain(words).fold(start, step).max(1)
}
