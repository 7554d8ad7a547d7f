//! What a [`Call::Split`](super::Call::Split) gives and receives.

use crate::rank::Rank;

/// What the ranks of one new communicator have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Color {
    /// A number that they say (7.4.2).
    Number(u32),
    /// What kind of process they are, which the hub knows of each: hosts, boards and virtual ranks part (7.4.2, a type of
    /// our own).
    Kind,
    /// A text or number of 16 bytes that they say: the identity of a machine (7.4.2, `COMM_TYPE_SHARED`).
    Text([u8; 16]),
}

/// What a rank says in a [`Call::Split`](super::Call::Split): 24 bytes, little-endian. What the ranks say has to be of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitRequest {
    /// Ranks of one colour form a communicator; a rank without one is in none (MPI's `UNDEFINED`).
    pub color: Option<Color>,
    /// New ranks go by key, and among equal keys by old rank.
    pub key: i32,
}

impl SplitRequest {
    /// Its bytes on the wire.
    pub const LEN: usize = 24;

    /// As it travels: the sort of colour, its key, and 16 bytes of the colour.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let (sort, color): (u32, u128) = match self.color {
            None => (0, 0),
            Some(Color::Number(number)) => (1, number.into()),
            Some(Color::Kind) => (2, 0),
            Some(Color::Text(text)) => (3, u128::from_le_bytes(text)),
        };
        let mut bytes = [0; Self::LEN];
        let words = [sort, self.key as u32].map(u32::to_le_bytes);
        let all = words.as_flattened().iter().copied().chain(color.to_le_bytes());
        bytes.iter_mut().zip(all).for_each(|(place, byte)| *place = byte);
        bytes
    }

    /// What the hub reads; `None` if the bytes mean nothing.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (sort, rest) = bytes.split_first_chunk::<4>()?;
        let (key, color) = rest.split_first_chunk::<4>()?;
        let text: [u8; 16] = color.try_into().ok()?;
        let color = match (u32::from_le_bytes(*sort), u128::from_le_bytes(text)) {
            (0, 0) => None,
            (1, number) => Some(Color::Number(u32::try_from(number).ok()?)),
            (2, 0) => Some(Color::Kind),
            (3, _) => Some(Color::Text(text)),
            _ => return None,
        };
        Some(Self { color, key: i32::from_le_bytes(*key) })
    }
}

/// What a rank gets from a [`Call::Split`](super::Call::Split): 16 bytes, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitResult {
    /// The new communicator's number.
    pub id: u64,
    /// This rank's number in it.
    pub rank: Rank,
    /// How many ranks it has; 0 for a rank without a colour, which is in no new communicator.
    pub size: u32,
}

impl SplitResult {
    /// Its bytes on the wire.
    pub const LEN: usize = 16;

    /// As it travels.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let number = u128::from(self.id) | u128::from(self.rank.get()) << 64 | u128::from(self.size) << 96;
        number.to_le_bytes()
    }

    /// What the rank reads.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let number = u128::from_le_bytes(bytes);
        Self { id: number as u64, rank: Rank::new((number >> 64) as u32), size: (number >> 96) as u32 }
    }
}
