//! What buffers hold and how it is combined: [`Element`]s, their [`Datatype`]s, and the [`ReduceOp`]s on them.
//!
//! The payload of a typed buffer is the memory of the buffer, so an element is a type without padding whose
//! every bit pattern is a value. `bool` is not: a 2 that arrives would be undefined behaviour. Truth values
//! travel as [`Logical`].

use core::fmt;
use core::hash::{Hash, Hasher};

use half::{bf16, f16};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[cfg(not(target_endian = "little"))]
compile_error!("edgempi sends the memory of typed buffers as it is, little-endian: it has no big-endian port");

/// What an element is on the wire (MPI 4.1, chapter 3.2.2).
///
/// The numbers are part of the wire format. A located type has the number of its value's type plus 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Datatype {
    /// A serde value, encoded with postcard: counted in bytes, combined by no [`ReduceOp`].
    Object = 0,
    /// `u8`
    U8 = 1,
    /// `u16`
    U16 = 2,
    /// `u32`
    U32 = 3,
    /// `u64`
    U64 = 4,
    /// `i8`
    I8 = 8,
    /// `i16`
    I16 = 9,
    /// `i32`
    I32 = 10,
    /// `i64`
    I64 = 11,
    /// [`half::f16`]
    F16 = 16,
    /// [`half::bf16`]
    BF16 = 17,
    /// `f32`
    F32 = 18,
    /// `f64`
    F64 = 19,
    /// [`Logical`]
    Logical = 24,
    /// [`Located<u8>`](Located)
    LocatedU8 = 33,
    /// [`Located<u16>`](Located)
    LocatedU16 = 34,
    /// [`Located<u32>`](Located)
    LocatedU32 = 35,
    /// [`Located<u64>`](Located)
    LocatedU64 = 36,
    /// [`Located<i8>`](Located)
    LocatedI8 = 40,
    /// [`Located<i16>`](Located)
    LocatedI16 = 41,
    /// [`Located<i32>`](Located)
    LocatedI32 = 42,
    /// [`Located<i64>`](Located)
    LocatedI64 = 43,
    /// [`Located<f32>`](Located)
    LocatedF32 = 50,
    /// [`Located<f64>`](Located)
    LocatedF64 = 51,
}

impl Datatype {
    /// Every datatype, in the order of their codes.
    #[rustfmt::skip]
    pub const ALL: [Self; 24] = [
        Self::Object,
        Self::U8, Self::U16, Self::U32, Self::U64,
        Self::I8, Self::I16, Self::I32, Self::I64,
        Self::F16, Self::BF16, Self::F32, Self::F64,
        Self::Logical,
        Self::LocatedU8, Self::LocatedU16, Self::LocatedU32, Self::LocatedU64,
        Self::LocatedI8, Self::LocatedI16, Self::LocatedI32, Self::LocatedI64,
        Self::LocatedF32, Self::LocatedF64,
    ];

    /// The datatype with this number on the wire.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.code() == code)
    }

    /// Its number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The size of one element in bytes; 1 for [`Object`](Self::Object).
    pub const fn size(self) -> usize {
        match self {
            Self::Object | Self::U8 | Self::I8 | Self::Logical => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 | Self::LocatedU8 | Self::LocatedI8 => 2,
            Self::U32 | Self::I32 | Self::F32 | Self::LocatedU16 | Self::LocatedI16 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::LocatedU32 | Self::LocatedI32 | Self::LocatedF32 => 8,
            Self::LocatedU64 | Self::LocatedI64 | Self::LocatedF64 => 16,
        }
    }

    /// Its name, as a Rust program writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Logical => "Logical",
            Self::LocatedU8 => "Located<u8>",
            Self::LocatedU16 => "Located<u16>",
            Self::LocatedU32 => "Located<u32>",
            Self::LocatedU64 => "Located<u64>",
            Self::LocatedI8 => "Located<i8>",
            Self::LocatedI16 => "Located<i16>",
            Self::LocatedI32 => "Located<i32>",
            Self::LocatedI64 => "Located<i64>",
            Self::LocatedF32 => "Located<f32>",
            Self::LocatedF64 => "Located<f64>",
        }
    }

    /// Whether `op` is defined on this datatype (MPI 4.1, chapter 6.9.2).
    pub const fn accepts(self, op: ReduceOp) -> bool {
        use ReduceOp::{Band, Bor, Bxor, Land, Lor, Lxor, Max, Maxloc, Min, Minloc, Prod, Sum};
        const ARITHMETIC: u32 = set(&[Max, Min, Sum, Prod]);
        const LOGICAL: u32 = set(&[Land, Lor, Lxor]);
        const BITWISE: u32 = set(&[Band, Bor, Bxor]);
        const LOCATING: u32 = set(&[Minloc, Maxloc]);
        // By the datatypes' codes, and as bits: boards carry this.
        let ops = match self.code() {
            0 => 0,
            1..16 => ARITHMETIC | LOGICAL | BITWISE,
            16..24 => ARITHMETIC,
            24 => LOGICAL,
            _ => LOCATING,
        };
        ops & set(&[op]) != 0
    }
}

/// Reduce ops as bits.
const fn set(ops: &[ReduceOp]) -> u32 {
    let mut bits = 0;
    let mut rest = ops;
    while let [op, others @ ..] = rest {
        bits |= 1 << (op.code() - 0x20);
        rest = others;
    }
    bits
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A built-in reduce op: how two elements become one (MPI 4.1, chapter 6.9.2).
///
/// The same bits come out on every machine:
///
/// - Integers wrap around.
/// - Floats are rounded to nearest, ties to even. `f16` and `bf16` are rounded after each combination.
/// - A NaN among the elements makes the result NaN, for [`Max`](Self::Max) and [`Min`](Self::Min) too, and it
///   is always the same NaN: the positive quiet one without payload. −0 is less than +0. (These are `maximum`
///   and `minimum` of IEEE 754-2019.)
/// - The logical ops take nonzero as true and yield 0 or 1.
/// - [`Minloc`](Self::Minloc) and [`Maxloc`](Self::Maxloc) yield one of their elements as it came: that with
///   the least or greatest value, among equal values that with the lowest index. A NaN goes before every
///   number, and all NaNs are equal, as are −0 and +0.
///
/// The numbers are part of the wire format, and those of MPI's standard ABI (MPI 5.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum ReduceOp {
    /// The sum.
    Sum = 0x21,
    /// The minimum.
    Min = 0x22,
    /// The maximum.
    Max = 0x23,
    /// The product.
    Prod = 0x24,
    /// And, bit by bit.
    Band = 0x28,
    /// Or, bit by bit.
    Bor = 0x29,
    /// Exclusive or, bit by bit.
    Bxor = 0x2a,
    /// Whether all are true.
    Land = 0x30,
    /// Whether any is true.
    Lor = 0x31,
    /// Whether an odd number of them is true.
    Lxor = 0x32,
    /// The minimum and where it is.
    Minloc = 0x38,
    /// The maximum and where it is.
    Maxloc = 0x39,
}

impl ReduceOp {
    /// Every reduce op, in the order of their codes.
    #[rustfmt::skip]
    pub const ALL: [Self; 12] = [
        Self::Sum, Self::Min, Self::Max, Self::Prod,
        Self::Band, Self::Bor, Self::Bxor,
        Self::Land, Self::Lor, Self::Lxor,
        Self::Minloc, Self::Maxloc,
    ];

    /// The reduce op with this number on the wire.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.code() == code)
    }

    /// Its number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its name, as MPI writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "SUM",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Prod => "PROD",
            Self::Band => "BAND",
            Self::Bor => "BOR",
            Self::Bxor => "BXOR",
            Self::Land => "LAND",
            Self::Lor => "LOR",
            Self::Lxor => "LXOR",
            Self::Minloc => "MINLOC",
            Self::Maxloc => "MAXLOC",
        }
    }
}

impl fmt::Display for ReduceOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A type whose buffers travel as they lie in memory: the integers, the floats, [`Logical`] and [`Located`].
///
/// `bool` is none, because most bytes are no `bool`: use [`Logical`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no element of a buffer",
    note = "elements are the integers, the floats, `Logical` (for `bool`) and `Located`; a host sends any other serde value by `comm.objects()`"
)]
pub trait Element: FromBytes + IntoBytes + Immutable + Copy + Send + Sync + sealed::Sealed + 'static {
    /// What it is on the wire.
    const DATATYPE: Datatype;
}

/// A value that can stand in a [`Located`].
pub trait Locatable: Element {
    /// An unsigned integer as wide as the value.
    type Index: FromBytes + IntoBytes + Immutable + Copy + Ord + Hash + fmt::Debug + Send + Sync + 'static;

    #[doc(hidden)]
    const LOCATED: Datatype;

    #[doc(hidden)]
    fn into_bits(self) -> Self::Index;

    #[doc(hidden)]
    fn from_bits(bits: Self::Index) -> Self;
}

// The language has no other way to say the same of a list of types.
macro_rules! elements {
    ($($element:ty => $datatype:ident $(, Located { $located:ident, $index:ty, $into:expr, $from:expr })?;)*) => {$(
        impl sealed::Sealed for $element {}

        impl Element for $element {
            const DATATYPE: Datatype = Datatype::$datatype;
        }

        $(impl Locatable for $element {
            type Index = $index;

            const LOCATED: Datatype = Datatype::$located;

            fn into_bits(self) -> $index {
                $into(self)
            }

            fn from_bits(bits: $index) -> Self {
                $from(bits)
            }
        })?
    )*};
}

elements! {
    u8 => U8, Located { LocatedU8, u8, u8::from, u8::from };
    u16 => U16, Located { LocatedU16, u16, u16::from, u16::from };
    u32 => U32, Located { LocatedU32, u32, u32::from, u32::from };
    u64 => U64, Located { LocatedU64, u64, u64::from, u64::from };
    i8 => I8, Located { LocatedI8, u8, i8::cast_unsigned, u8::cast_signed };
    i16 => I16, Located { LocatedI16, u16, i16::cast_unsigned, u16::cast_signed };
    i32 => I32, Located { LocatedI32, u32, i32::cast_unsigned, u32::cast_signed };
    i64 => I64, Located { LocatedI64, u64, i64::cast_unsigned, u64::cast_signed };
    f16 => F16;
    bf16 => BF16;
    f32 => F32, Located { LocatedF32, u32, f32::to_bits, f32::from_bits };
    f64 => F64, Located { LocatedF64, u64, f64::to_bits, f64::from_bits };
    Logical => Logical;
}

/// A truth value as it travels: a byte, of which every value but 0 is true.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(transparent)]
pub struct Logical(u8);

impl Logical {
    /// False.
    pub const FALSE: Self = Self(0);
    /// True.
    pub const TRUE: Self = Self(1);

    /// The truth value.
    pub const fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Logical {
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}

impl From<Logical> for bool {
    fn from(value: Logical) -> Self {
        value.get()
    }
}

// Not derived: two different bytes can both be true.
impl PartialEq for Logical {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Logical {}

impl PartialEq<bool> for Logical {
    fn eq(&self, other: &bool) -> bool {
        self.get() == *other
    }
}

impl Hash for Logical {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.get().hash(state);
    }
}

impl fmt::Debug for Logical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

impl fmt::Display for Logical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

/// A value and where it is: the element of MINLOC and MAXLOC (MPI 4.1, chapter 6.9.4).
///
/// ```
/// use edgempi_core::Located;
///
/// let rank: u32 = 3;
/// let nearest = Located::new(0.25_f32, rank);
/// assert_eq!((nearest.value(), nearest.index()), (0.25, 3));
/// ```
// The index is as wide as the value, so the pair has no padding; it is kept as two indices, because zerocopy
// can't see that of a generic pair.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(transparent)]
pub struct Located<T: Locatable>([T::Index; 2]);

impl<T: Locatable> Located<T> {
    /// `value`, which is at `index`: often the rank that has it.
    pub fn new(value: T, index: T::Index) -> Self {
        Self([value.into_bits(), index])
    }

    /// The value.
    pub fn value(self) -> T {
        T::from_bits(self.0[0])
    }

    /// Where it is.
    pub fn index(self) -> T::Index {
        self.0[1]
    }
}

impl<T: Locatable> sealed::Sealed for Located<T> {}

impl<T: Locatable> Element for Located<T> {
    const DATATYPE: Datatype = T::LOCATED;
}

// Not derived: floats compare as numbers, not as bits.
impl<T: Locatable + PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value() && self.index() == other.index()
    }
}

impl<T: Locatable + Eq> Eq for Located<T> {}

impl<T: Locatable + fmt::Debug> fmt::Debug for Located<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Located").field("value", &self.value()).field("index", &self.index()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::vec::Vec;

    /// What the library knows of a datatype is true of the Rust type.
    fn check<T: Element>(seen: &mut Vec<Datatype>) {
        assert_eq!(T::DATATYPE.size(), size_of::<T>());
        let path = core::any::type_name::<T>();
        let generic = path.split_once('<').map(|(outer, inner)| (outer.rsplit("::").next().unwrap(), inner));
        let name = match generic {
            Some((outer, inner)) => format!("{outer}<{inner}"),
            None => path.rsplit("::").next().unwrap().into(),
        };
        assert_eq!(T::DATATYPE.name(), name);
        seen.push(T::DATATYPE);
    }

    fn check_locatable<T: Locatable>(seen: &mut Vec<Datatype>) {
        check::<T>(seen);
        check::<Located<T>>(seen);
        assert_eq!(size_of::<T::Index>(), size_of::<T>());
        assert_eq!(align_of::<Located<T>>(), align_of::<T::Index>());
        assert_eq!(Located::<T>::DATATYPE.code(), T::DATATYPE.code() + 32);
    }

    #[test]
    fn every_datatype_but_object_is_one_element_of_its_name_and_size() {
        let mut seen = Vec::from([Datatype::Object]);
        check_locatable::<u8>(&mut seen);
        check_locatable::<u16>(&mut seen);
        check_locatable::<u32>(&mut seen);
        check_locatable::<u64>(&mut seen);
        check_locatable::<i8>(&mut seen);
        check_locatable::<i16>(&mut seen);
        check_locatable::<i32>(&mut seen);
        check_locatable::<i64>(&mut seen);
        check_locatable::<f32>(&mut seen);
        check_locatable::<f64>(&mut seen);
        check::<f16>(&mut seen);
        check::<bf16>(&mut seen);
        check::<Logical>(&mut seen);
        seen.sort();
        assert_eq!(seen, Datatype::ALL);
    }

    #[test]
    fn codes_name_what_they_came_from_and_nothing_else() {
        for code in 0..=u8::MAX {
            let datatype = Datatype::from_code(code);
            assert_eq!(datatype, Datatype::ALL.into_iter().find(|datatype| *datatype as u8 == code));
            let op = ReduceOp::from_code(code);
            assert_eq!(op, ReduceOp::ALL.into_iter().find(|op| *op as u8 == code));
        }
        assert!(ReduceOp::ALL.is_sorted());
    }

    #[test]
    fn an_op_is_named_as_in_mpi() {
        for op in ReduceOp::ALL {
            assert_eq!(format!("{op}"), format!("{op:?}").to_uppercase());
        }
        assert_eq!(format!("{:>6}|{:<5}", ReduceOp::Sum, Datatype::F32), "   SUM|f32  ");
    }

    #[test]
    fn every_nonzero_byte_is_the_same_truth() {
        let logicals: Vec<Logical> = (0..=u8::MAX).map(|byte| Logical::read_from_bytes(&[byte]).unwrap()).collect();
        assert!(logicals[0] == false && logicals[0] == Logical::FALSE);
        assert!(logicals[1..].iter().all(|&logical| logical.get() && logical == Logical::TRUE));
        assert_eq!(format!("{:?} {}", Logical::from(true), Logical::default()), "true false");
    }

    #[test]
    fn a_located_lies_in_memory_value_first() {
        let located = Located::new(-2.5_f64, 7);
        assert_eq!(located.as_bytes()[..8], (-2.5_f64).to_le_bytes());
        assert_eq!(located.as_bytes()[8..], 7_u64.to_le_bytes());
        assert_eq!(Located::read_from_bytes(located.as_bytes()), Ok(located));
        assert_eq!(format!("{:?}", Located::new(-3_i8, 200)), "Located { value: -3, index: 200 }");
        assert_ne!(Located::new(f32::NAN, 0), Located::new(f32::NAN, 0));
        assert_eq!(Located::new(0.0_f32, 0), Located::new(-0.0_f32, 0));
    }
}
