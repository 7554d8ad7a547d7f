//! How much memory an image takes: read from its ELF file, as `size` does.

use std::path::Path;

/// Bytes of an image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Code and constants, in flash.
    pub text: i64,
    /// Variables, with a value at the start or zero, in RAM.
    pub ram: i64,
}

const SECTION_TABLE: usize = 0x20;
const SECTION_LEN: usize = 0x2e;
const SECTION_COUNT: usize = 0x30;
const WRITABLE: u32 = 1;
const ALLOCATED: u32 = 2;
/// The stack's pattern and other memory that is not set at the start has no bytes in the file either.
const HAS_NO_BYTES: u32 = 8;

impl Size {
    /// The size of a 32-bit little-endian ELF file.
    ///
    /// # Panics
    ///
    /// If the file is none.
    pub fn of(path: &Path) -> Self {
        let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(file.starts_with(b"\x7fELF\x01\x01"), "{} is no image", path.display());
        let half = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
        let table = word(SECTION_TABLE) as usize;
        let mut size = Self::default();
        for section in (0..half(SECTION_COUNT)).map(|number| table + number * half(SECTION_LEN)) {
            let (kind, flags, len) = (word(section + 4), word(section + 8), i64::from(word(section + 20)));
            match flags & (WRITABLE | ALLOCATED) {
                ALLOCATED if kind != HAS_NO_BYTES => size.text += len,
                flags if flags & ALLOCATED != 0 => size.ram += len,
                _ => {}
            }
        }
        size
    }
}
