//! What ranks give: bytes and elements that follow from who gives them to whom in which step, and how two elements
//! become one.

use edgempi::{Datatype, Element, Located, Logical, ReduceOp};
use half::bf16;
use zerocopy::IntoBytes;

pub use crate::program::Kind;

/// A number that looks random.
pub fn hash(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// The bytes that `from` gives `to` in step `at`.
pub fn bytes(at: usize, from: u32, to: u32, len: usize) -> Vec<u8> {
    let seed = hash(&[at as u64, from.into(), to.into()]);
    let words = (0..len.div_ceil(8) as u64).map(|word| (seed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let mut bytes: Vec<u8> = words.flatten().collect();
    bytes.truncate(len);
    bytes
}

/// The same as elements.
pub fn elements<T: Element>(at: usize, from: u32, to: u32, len: usize) -> Vec<T> {
    let mut elements = zeros(len);
    let bytes = bytes(at, from, to, len * size_of::<T>());
    elements.as_mut_slice().as_mut_bytes().copy_from_slice(&bytes);
    elements
}

pub fn zeros<T: Element>(len: usize) -> Vec<T> {
    T::new_vec_zeroed(len).expect("there is memory")
}

/// How long the object is that `from` gives `to`, where `len` is said.
pub fn object_len(at: usize, from: u32, to: u32, len: usize) -> usize {
    len * (hash(&[at as u64, from.into(), to.into(), 77]) % 4) as usize / 2
}

/// That object.
pub fn object(at: usize, from: u32, to: u32, len: usize) -> Vec<u8> {
    bytes(at, from, to, object_len(at, from, to, len))
}

/// An element that can be made from a random number and folded, by other means than the library's.
pub trait Sample: Element {
    /// A value whose folds are no NaN and tell in which shape they were made.
    fn sample(random: u64) -> Self;
    fn combine(self, op: ReduceOp, right: Self) -> Self;
}

/// What `rank` gives to the fold of step `at`.
pub fn samples<T: Sample>(at: usize, rank: u32, len: usize) -> Vec<T> {
    let seed = hash(&[at as u64, rank.into()]);
    (0..len as u64).map(|k| T::sample((seed ^ k).wrapping_mul(0xd129_42e3_1f9b_5a2d).rotate_left(23))).collect()
}

/// The op that a program means by a number: one that is defined on these elements.
pub fn op<T: Element>(number: usize) -> ReduceOp {
    let ops: Vec<ReduceOp> = ReduceOp::ALL.into_iter().filter(|op| T::DATATYPE.accepts(*op)).collect();
    ops[number % ops.len()]
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Sample for $type {
            fn sample(random: u64) -> Self {
                // Truth values that are false, too.
                if random % 5 == 0 { 0 } else { (random >> 16) as Self }
            }

            fn combine(self, op: ReduceOp, right: Self) -> Self {
                let (a, b) = (self != 0, right != 0);
                match op {
                    ReduceOp::Sum => self.wrapping_add(right),
                    ReduceOp::Prod => self.wrapping_mul(right),
                    ReduceOp::Min => if right < self { right } else { self },
                    ReduceOp::Max => if right > self { right } else { self },
                    ReduceOp::Band => self & right,
                    ReduceOp::Bor => self | right,
                    ReduceOp::Bxor => self ^ right,
                    ReduceOp::Land => Self::from(a && b),
                    ReduceOp::Lor => Self::from(a || b),
                    ReduceOp::Lxor => Self::from(a != b),
                    op => unreachable!("{op} of integers"),
                }
            }
        }
    )*};
}

integers!(u8, i16, u32, i64);

macro_rules! floats {
    ($($type:ty, $from:expr;)*) => {$(
        impl Sample for $type {
            fn sample(random: u64) -> Self {
                // No zero, whose sign would matter, and nothing that nine factors make infinite in f32.
                let magnitude = 0.3 + (random >> 40) as f64 / 3e6;
                $from(if random % 3 == 0 { -magnitude } else { magnitude })
            }

            fn combine(self, op: ReduceOp, right: Self) -> Self {
                match op {
                    ReduceOp::Sum => self + right,
                    ReduceOp::Prod => self * right,
                    ReduceOp::Min => if right < self { right } else { self },
                    ReduceOp::Max => if right > self { right } else { self },
                    op => unreachable!("{op} of floats"),
                }
            }
        }
    )*};
}

floats! {
    f32, |value: f64| value as f32;
    f64, |value: f64| value;
    bf16, bf16::from_f64;
}

impl Sample for Logical {
    fn sample(random: u64) -> Self {
        // Every byte but 0 is true.
        let mut value = [Self::FALSE];
        value.as_mut_bytes()[0] = (random >> 20) as u8 % 3;
        value[0]
    }

    fn combine(self, op: ReduceOp, right: Self) -> Self {
        Self::from(match op {
            ReduceOp::Land => self.get() && right.get(),
            ReduceOp::Lor => self.get() || right.get(),
            ReduceOp::Lxor => self.get() != right.get(),
            op => unreachable!("{op} of truth values"),
        })
    }
}

impl Sample for Located<f32> {
    fn sample(random: u64) -> Self {
        // Few values, so that places decide, too.
        Self::new((random >> 30) as u8 as f32 / 8.0, (random >> 44) as u32)
    }

    fn combine(self, op: ReduceOp, right: Self) -> Self {
        let is_better = match op {
            ReduceOp::Minloc => right.value() < self.value(),
            ReduceOp::Maxloc => right.value() > self.value(),
            op => unreachable!("{op} of located values"),
        };
        let is_lower = right.value() == self.value() && right.index() < self.index();
        if is_better || is_lower { right } else { self }
    }
}

impl Kind {
    pub fn size(self) -> usize {
        let datatype = match self {
            Self::U8 => Datatype::U8,
            Self::I16 => Datatype::I16,
            Self::U32 => Datatype::U32,
            Self::I64 => Datatype::I64,
            Self::Bf16 => Datatype::BF16,
            Self::F32 => Datatype::F32,
            Self::F64 => Datatype::F64,
            Self::Logical => Datatype::Logical,
            Self::LocatedF32 => Datatype::LocatedF32,
        };
        datatype.size()
    }
}

/// Names the type of a [`Kind`] in an expression.
macro_rules! with_type {
    ($kind:expr, $type:ident => $body:expr) => {
        match $kind {
            $crate::program::Kind::U8 => {
                type $type = u8;
                $body
            }
            $crate::program::Kind::I16 => {
                type $type = i16;
                $body
            }
            $crate::program::Kind::U32 => {
                type $type = u32;
                $body
            }
            $crate::program::Kind::I64 => {
                type $type = i64;
                $body
            }
            $crate::program::Kind::Bf16 => {
                type $type = half::bf16;
                $body
            }
            $crate::program::Kind::F32 => {
                type $type = f32;
                $body
            }
            $crate::program::Kind::F64 => {
                type $type = f64;
                $body
            }
            $crate::program::Kind::Logical => {
                type $type = edgempi::Logical;
                $body
            }
            $crate::program::Kind::LocatedF32 => {
                type $type = edgempi::Located<f32>;
                $body
            }
        }
    };
}
pub(crate) use with_type;
