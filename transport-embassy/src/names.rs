//! What a user operation tells the hub by name: its group of ranks, and itself.

use edgempi_core::endpoint::Content;
use edgempi_core::request::{NameIds, NewNames};
use edgempi_core::wire::MAX_HEAD_LEN;
use edgempi_core::{Category, Group, Ranks};

use crate::engine::PROTOCOL;
use crate::error::Error;
use crate::memory::NameEntry;

/// Writes bytes to the port.
pub(crate) type Put<'p> = &'p mut dyn FnMut(&[u8]) -> Result<(), Category>;

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
    /// Room that the longer of its names takes, each of which is sent in one piece; 0 if the hub knows both.
    pub(crate) room: usize,
    functions: &'static Functions,
}

/// The numbers of a call's names, and where its collectives are counted.
type Numbered = Result<(NameIds, usize), Error>;

/// What is done with names: by pointers, so that an image that calls no user operation has none of it.
struct Functions {
    number: fn(&mut Names<'_>, &mut Table<'_>) -> Numbered,
    len: fn(&Names<'_>, Content) -> usize,
    write: fn(&Names<'_>, Content, Put<'_>) -> Result<usize, Category>,
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
        Self { group, name, version, size, numbers: (0, 0), room: 0, functions }
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
    pub(crate) fn write(&self, content: Content, put: Put<'_>) -> Result<usize, Category> {
        (self.functions.write)(self, content, put)
    }

    /// Gives out the counts of both sides, then the ranks of both, as they travel.
    fn words(&self, give: &mut dyn FnMut(u32) -> Result<(), Category>) -> Result<(), Category> {
        let sides = [self.group.sources, self.group.destinations];
        for side in sides {
            give(count(side, self.size) as u32)?;
        }
        for side in sides {
            for index in 0..count(side, self.size) {
                give(rank(side, index))?;
            }
        }
        Ok(())
    }
}

impl Table<'_> {
    /// The place of a communicator, where its collectives are counted.
    pub(crate) fn everybody(&mut self) -> Result<usize, Error> {
        self.find(Hash::of_communicator(self.communicator)).map(|(index, _)| index)
    }

    /// The place of a name, and whether the hub has still to be told.
    fn find(&mut self, hash: Hash) -> Result<(usize, bool), Error> {
        let hash = hash.get();
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
    let needed = MAX_HEAD_LEN + group_len(names).max(operation_len(names));
    if needed > table.capacity {
        return Err(Error::with(Category::TooLarge, needed as u64));
    }
    let letters = names.name.bytes().fold(Hash::new(3).word(names.version), |hash, letter| hash.word(letter.into()));
    let (operation, new_operation) = table.find(letters)?;
    names.numbers = (everybody, operation);
    let new = NewNames { group: false, operation: new_operation, site: false };
    let mut ids = NameIds { operation: operation as u16 + 1, new, ..NameIds::default() };
    if is_all(names.group.sources, names.size) && is_all(names.group.destinations, names.size) {
        // All ranks are no group of their own: such calls are counted, and compared, with the built-in ones.
        names.room = if new_operation { needed } else { 0 };
        return Ok((ids, everybody));
    }
    let mut hash = Hash::of(2, table.communicator);
    names
        .words(&mut |word| {
            hash = hash.word(word);
            Ok(())
        })
        .map_err(Error::new)?;
    let (counter, new_group) = table.find(hash)?;
    names.numbers.0 = counter;
    (ids.group, ids.new.group) = (counter as u16 + 1, new_group);
    names.room = if new_group || new_operation { needed } else { 0 };
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
    8 + 4 * (count(names.group.sources, names.size) + count(names.group.destinations, names.size))
}

fn operation_len(names: &Names<'_>) -> usize {
    4 + names.name.len()
}

fn write(names: &Names<'_>, content: Content, put: Put<'_>) -> Result<usize, Category> {
    if let Content::Operation(_) = content {
        put(&names.version.to_le_bytes())?;
        put(names.name.as_bytes())?;
        return Ok(names.numbers.1);
    }
    names.words(&mut |word| put(&word.to_le_bytes()))?;
    Ok(names.numbers.0)
}

/// How many ranks one side of a group has.
fn count(side: Ranks<'_>, size: u32) -> usize {
    match side {
        Ranks::All => size as usize,
        Ranks::List(list) => list.len(),
    }
}

/// The rank at `index` of one side.
fn rank(side: Ranks<'_>, index: usize) -> u32 {
    match side {
        Ranks::All => index as u32,
        Ranks::List(list) => list.get(index).map_or(0, |rank| rank.get()),
    }
}

fn is_all(side: Ranks<'_>, size: u32) -> bool {
    count(side, size) == size as usize && (0..size).all(|number| rank(side, number as usize) == number)
}

/// FNV-1a over words.
#[derive(Clone, Copy)]
pub(crate) struct Hash(u64);

impl Hash {
    pub(crate) const fn new(kind: u32) -> Self {
        Self(0xcbf2_9ce4_8422_2325).word(kind)
    }

    fn of(kind: u32, communicator: u64) -> Self {
        Self::new(kind).word(communicator as u32).word((communicator >> 32) as u32)
    }

    /// That of a communicator.
    pub(crate) fn of_communicator(communicator: u64) -> Self {
        Self::of(1, communicator)
    }

    #[inline(never)] // a multiplication of 64 bits
    pub(crate) const fn word(self, word: u32) -> Self {
        Self((self.0 ^ word as u64).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// As it stands in the table; never 0.
    pub(crate) fn get(self) -> u64 {
        self.0.max(1)
    }
}
