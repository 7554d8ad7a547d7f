//! What ranks ask for.

use edgempi_core::request::Receive;
use edgempi_core::{Call, Datatype, Rank, Source, Tag, TagSelector};

/// What a rank asks for.
pub struct Ask<'a> {
    pub call: Call<'a>,
    pub datatype: Datatype,
    pub parts: Vec<Vec<u8>>,
    pub varied: bool,
    pub receive: Receive,
}

/// A call of bytes that sends one block.
pub fn ask(call: Call<'static>, block: Vec<u8>, receive: usize) -> Ask<'static> {
    Ask { call, datatype: Datatype::U8, parts: vec![block], varied: false, receive: Receive::Exactly(receive) }
}

pub fn barrier() -> Ask<'static> {
    Ask { datatype: Datatype::Object, parts: Vec::new(), ..ask(Call::Barrier, Vec::new(), 0) }
}

pub fn bcast(rank: u32, root: u32, block: Vec<u8>) -> Ask<'static> {
    let call = Call::Bcast { root: Rank::new(root) };
    let len = block.len();
    if rank == root { ask(call, block, 0) } else { Ask { parts: Vec::new(), ..ask(call, Vec::new(), len) } }
}

pub fn send(dest: u32, tag: u32, bytes: impl Into<Vec<u8>>) -> Ask<'static> {
    ask(Call::Send { dest: Rank::new(dest), tag: Tag(tag) }, bytes.into(), 0)
}

/// A call that asks for a message and takes no bytes.
pub fn without_bytes(call: Call<'static>) -> Ask<'static> {
    Ask { parts: Vec::new(), ..ask(call, Vec::new(), 0) }
}

pub fn recv(source: impl Into<Source>, tag: impl Into<TagSelector>, max: usize) -> Ask<'static> {
    let call = Call::Recv { source: source.into(), tag: tag.into() };
    Ask { parts: Vec::new(), receive: Receive::AtMost(max), ..ask(call, Vec::new(), 0) }
}

/// Numbers as `u32` elements.
pub fn words(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}
