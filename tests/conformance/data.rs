//! What ranks give: bytes that tell whose they are and where they belong.

use std::sync::LazyLock;

use edgempi::Element;
use zerocopy::IntoBytes;

/// The longest block that may be asked for, in bytes.
pub const LONGEST: usize = 4 << 20;
/// How far the blocks of different ranks lie apart. Odd, so that no two of them look alike for a while.
const APART: usize = 4099;

/// The bytes that `from` gives `to`.
pub fn bytes(from: u32, to: u32, len: usize) -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mix = |at: u32| at.wrapping_mul(2_654_435_761).rotate_left(at % 31).to_le_bytes();
        (0..(LONGEST + 256 * APART) as u32 / 4).flat_map(mix).collect()
    });
    &BYTES[(from * 13 + to) as usize * APART..][..len]
}

/// The same as elements of any type; for floats they may be no numbers.
pub fn elements<T: Element>(from: u32, to: u32, len: usize) -> Vec<T> {
    let mut elements = zeros(len);
    let bytes = bytes(from, to, len * size_of::<T>());
    elements.as_mut_slice().as_mut_bytes().copy_from_slice(bytes);
    elements
}

/// No elements yet.
pub fn zeros<T: Element>(len: usize) -> Vec<T> {
    T::new_vec_zeroed(len).expect("there is memory")
}

/// Whether these elements are what `from` gives `to`, bit by bit.
pub fn are_from<T: Element>(from: u32, to: u32, elements: &[T]) -> bool {
    let came = elements.as_bytes();
    came == bytes(from, to, came.len())
}

/// A block from each rank to `to(rank)`.
pub fn are_from_all<T: Element>(size: u32, to: impl Fn(u32) -> u32, elements: &[T]) -> bool {
    let block = elements.len() / size as usize;
    elements.len() == block * size as usize
        && (0..size).all(|from| are_from(from, to(from), &elements[from as usize * block..][..block]))
}

/// Blocks from `from` to each rank.
pub fn to_all<T: Element>(size: u32, from: u32, block: usize) -> Vec<T> {
    (0..size).map(|to| elements::<T>(from, to, block)).collect::<Vec<_>>().concat()
}
