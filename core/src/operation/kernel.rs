//! The arithmetic of the built-in folds: loops over bytes that the compiler turns into vector code.
//!
//! A kernel reads and writes elements as little-endian bytes, so buffers need no alignment. It has no panic
//! path. Floats see `+`, `−`, `×` and comparisons only, so every machine computes the same bits.

use core::ops::{Add, BitAnd, BitOr, BitXor, Mul};

use half::{bf16, f16};

use crate::datatype::{Datatype, ReduceOp};

/// Combines the elements of two buffers into the first: `left = left ∘ right`.
pub(super) type Kernel = fn(&mut [u8], &[u8]);

/// The kernel of `op` on `datatype`, if MPI defines one.
pub(super) fn kernel(datatype: Datatype, op: ReduceOp) -> Option<Kernel> {
    match datatype {
        Datatype::Object => None,
        Datatype::U8 => integer::<u8, 1>(op),
        Datatype::U16 => integer::<u16, 2>(op),
        Datatype::U32 => integer::<u32, 4>(op),
        Datatype::U64 => integer::<u64, 8>(op),
        Datatype::I8 => integer::<i8, 1>(op),
        Datatype::I16 => integer::<i16, 2>(op),
        Datatype::I32 => integer::<i32, 4>(op),
        Datatype::I64 => integer::<i64, 8>(op),
        Datatype::F16 => float::<f16, 2>(op),
        Datatype::BF16 => float::<bf16, 2>(op),
        Datatype::F32 => float::<f32, 4>(op),
        Datatype::F64 => float::<f64, 8>(op),
        Datatype::Logical => logical::<u8, 1>(op),
        Datatype::LocatedU8 => located::<u8, u8, 1>(op),
        Datatype::LocatedU16 => located::<u16, u16, 2>(op),
        Datatype::LocatedU32 => located::<u32, u32, 4>(op),
        Datatype::LocatedU64 => located::<u64, u64, 8>(op),
        Datatype::LocatedI8 => located::<i8, u8, 1>(op),
        Datatype::LocatedI16 => located::<i16, u16, 2>(op),
        Datatype::LocatedI32 => located::<i32, u32, 4>(op),
        Datatype::LocatedI64 => located::<i64, u64, 8>(op),
        Datatype::LocatedF32 => located::<f32, u32, 4>(op),
        Datatype::LocatedF64 => located::<f64, u64, 8>(op),
    }
}

fn integer<T: Integer<N>, const N: usize>(op: ReduceOp) -> Option<Kernel> {
    Some(match op {
        ReduceOp::Sum => |left, right| zip::<T, N>(left, right, T::wrapping_add),
        ReduceOp::Prod => |left, right| zip::<T, N>(left, right, T::wrapping_mul),
        ReduceOp::Min => |left, right| zip::<T, N>(left, right, Ord::min),
        ReduceOp::Max => |left, right| zip::<T, N>(left, right, Ord::max),
        ReduceOp::Band => |left, right| zip::<T, N>(left, right, T::bitand),
        ReduceOp::Bor => |left, right| zip::<T, N>(left, right, T::bitor),
        ReduceOp::Bxor => |left, right| zip::<T, N>(left, right, T::bitxor),
        ReduceOp::Land | ReduceOp::Lor | ReduceOp::Lxor => return logical::<T, N>(op),
        ReduceOp::Minloc | ReduceOp::Maxloc => return None,
    })
}

fn logical<T: Integer<N>, const N: usize>(op: ReduceOp) -> Option<Kernel> {
    Some(match op {
        ReduceOp::Land => |left, right| zip::<T, N>(left, right, |a, b| T::from(a.is_true() & b.is_true())),
        ReduceOp::Lor => |left, right| zip::<T, N>(left, right, |a, b| T::from(a.is_true() | b.is_true())),
        ReduceOp::Lxor => |left, right| zip::<T, N>(left, right, |a, b| T::from(a.is_true() ^ b.is_true())),
        _ => return None,
    })
}

fn float<T: Lane<N, Value: Float>, const N: usize>(op: ReduceOp) -> Option<Kernel> {
    Some(match op {
        ReduceOp::Sum => |left, right| zip::<T, N>(left, right, T::Value::add),
        ReduceOp::Prod => |left, right| zip::<T, N>(left, right, T::Value::mul),
        ReduceOp::Min => |left, right| zip::<T, N>(left, right, T::Value::minimum),
        ReduceOp::Max => |left, right| zip::<T, N>(left, right, T::Value::maximum),
        _ => return None,
    })
}

fn located<T, I, const N: usize>(op: ReduceOp) -> Option<Kernel>
where
    T: Lane<N, Value: PartialOrd>,
    I: Lane<N, Value: Ord>,
{
    Some(match op {
        ReduceOp::Minloc => |left, right| locate::<T, I, N>(left, right, |a, b| a < b),
        ReduceOp::Maxloc => |left, right| locate::<T, I, N>(left, right, |a, b| a > b),
        _ => return None,
    })
}

/// `left = f(left, right)`, element by element.
fn zip<T: Lane<N>, const N: usize>(left: &mut [u8], right: &[u8], f: impl Fn(T::Value, T::Value) -> T::Value) {
    let (left, _) = left.as_chunks_mut::<N>();
    let (right, _) = right.as_chunks::<N>();
    for (left, right) in left.iter_mut().zip(right) {
        *left = T::store(f(T::load(*left), T::load(*right)));
    }
}

/// Takes each pair of `right` whose value goes `before` that of `left`, or is equal and has a lower index.
fn locate<T, I, const N: usize>(left: &mut [u8], right: &[u8], before: impl Fn(&T::Value, &T::Value) -> bool)
where
    T: Lane<N, Value: PartialOrd>,
    I: Lane<N, Value: Ord>,
{
    let (left, _) = left.as_chunks_mut::<N>().0.as_chunks_mut::<2>();
    let (right, _) = right.as_chunks::<N>().0.as_chunks::<2>();
    for (left, right) in left.iter_mut().zip(right) {
        let (a, b) = (T::load(left[0]), T::load(right[0]));
        let lower = I::load(right[1]) < I::load(left[1]);
        // Only a NaN differs from itself; it goes before every number, and two of them are equal.
        #[expect(clippy::eq_op)]
        let (a_nan, b_nan) = (a != a, b != b);
        let equal = a == b || (a_nan && b_nan);
        if before(&b, &a) || (b_nan && !a_nan) || (equal && lower) {
            *left = *right;
        }
    }
}

/// An element as bytes, and the value to compute with.
trait Lane<const N: usize> {
    type Value: Copy;

    fn load(bytes: [u8; N]) -> Self::Value;

    /// Every NaN becomes the same one: which one arithmetic yields, differs from machine to machine.
    fn store(value: Self::Value) -> [u8; N];
}

trait Integer<const N: usize>:
    Lane<N, Value = Self> + Copy + Ord + From<bool> + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self>
{
    fn wrapping_add(self, other: Self) -> Self;
    fn wrapping_mul(self, other: Self) -> Self;
    fn is_true(self) -> bool;
}

trait Float: Copy + PartialOrd + Add<Output = Self> + Mul<Output = Self> {
    /// The greater one, where −0 < +0; a NaN if there is one.
    fn maximum(self, other: Self) -> Self;
    /// The less one, where −0 < +0; a NaN if there is one.
    fn minimum(self, other: Self) -> Self;
}

// The language has no other way to say the same of a list of types.
macro_rules! integers {
    ($($integer:ident)*) => {$(
        impl Lane<{ size_of::<$integer>() }> for $integer {
            type Value = Self;

            fn load(bytes: [u8; size_of::<$integer>()]) -> Self {
                Self::from_le_bytes(bytes)
            }

            fn store(value: Self) -> [u8; size_of::<$integer>()] {
                value.to_le_bytes()
            }
        }

        impl Integer<{ size_of::<$integer>() }> for $integer {
            fn wrapping_add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn wrapping_mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            fn is_true(self) -> bool {
                self != 0
            }
        }
    )*};
}

macro_rules! floats {
    ($($float:ident, nan: $nan:expr;)*) => {$(
        impl Lane<{ size_of::<$float>() }> for $float {
            type Value = Self;

            fn load(bytes: [u8; size_of::<$float>()]) -> Self {
                Self::from_le_bytes(bytes)
            }

            fn store(value: Self) -> [u8; size_of::<$float>()] {
                let bits = if value.is_nan() { $nan } else { value.to_bits() };
                bits.to_le_bytes()
            }
        }

        impl Float for $float {
            fn maximum(self, other: Self) -> Self {
                let (one, two) = (if self > other { self } else { other }, if other > self { other } else { self });
                // These differ in their order of −0 and +0 only, and for a NaN.
                Self::from_bits(one.to_bits() & two.to_bits() | if self.is_nan() || other.is_nan() { $nan } else { 0 })
            }

            fn minimum(self, other: Self) -> Self {
                let (one, two) = (if self < other { self } else { other }, if other < self { other } else { self });
                Self::from_bits(one.to_bits() | two.to_bits() | if self.is_nan() || other.is_nan() { $nan } else { 0 })
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 i8 i16 i32 i64 }

floats! {
    f32, nan: 0x7fc0_0000_u32;
    f64, nan: 0x7ff8_0000_0000_0000_u64;
}

// The narrow floats are computed with as f32, and rounded once. Their conversions are written without branches, so
// that they vectorise: two to three times as fast as those of `half`, against which the tests hold them.

impl Lane<2> for bf16 {
    type Value = f32;

    fn load(bytes: [u8; 2]) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
    }

    fn store(value: f32) -> [u8; 2] {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        let bits = if value.is_nan() { 0x7fc0 } else { rounded };
        (bits as u16).to_le_bytes()
    }
}

impl Lane<2> for f16 {
    type Value = f32;

    fn load(bytes: [u8; 2]) -> f32 {
        let half = u32::from(u16::from_le_bytes(bytes));
        let (sign, magnitude) = ((half & 0x8000) << 16, (half & 0x7fff) << 13);
        let normal = magnitude + ((127 - 15) << 23);
        // As fraction of 2⁻¹⁴ with that taken away again; an f32 holds the difference as a normal number.
        let smallest = (127 - 14) << 23;
        let subnormal = (f32::from_bits(magnitude + smallest) - f32::from_bits(smallest)).to_bits();
        let finite = if magnitude < 1 << 23 { subnormal } else { normal };
        let infinite = magnitude | 0x7f80_0000;
        f32::from_bits(sign | if magnitude < 31 << 23 { finite } else { infinite })
    }

    fn store(value: f32) -> [u8; 2] {
        let bits = value.to_bits();
        let (sign, magnitude) = (bits >> 16 & 0x8000, bits & 0x7fff_ffff);
        // The exponent takes its new bias, and the thirteen lost bits round to even.
        let rebiased = magnitude.wrapping_sub((127 - 15) << 23);
        let normal = rebiased.wrapping_add(0xfff + (magnitude >> 13 & 1)) >> 13;
        // Adding ½ leaves the sum's last bit at 2⁻²⁴, the smallest `f16`: the addition rounds.
        let half_bits = 0.5_f32.to_bits();
        let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(half_bits);
        let finite = if magnitude < (127 - 14) << 23 { subnormal } else { normal };
        // From 65520 on, halfway to the 2¹⁶ that it can't hold, a number rounds to infinity.
        let bounded = if magnitude < 65520.0_f32.to_bits() { finite } else { 0x7c00 };
        let bits = if value.is_nan() { 0x7e00 } else { sign | bounded };
        (bits as u16).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datatype::{Element, Located, Logical};
    use proptest::prelude::*;
    use std::fmt::Debug;
    use std::{vec, vec::Vec};
    use zerocopy::{FromBytes, IntoBytes};

    /// `a ∘ b` as the kernel computes it: at an odd address, between elements that it must not mix in.
    fn combine<T: Element>(op: ReduceOp, a: T, b: T) -> T {
        let kernel = kernel(T::DATATYPE, op).unwrap();
        let zero = T::new_zeroed();
        let mut left = vec![0; 1];
        left.extend_from_slice([a, zero, a].as_bytes());
        let right = [b, zero, b];
        kernel(&mut left[1..], right.as_bytes());
        let (first, last) = (&left[1..][..size_of::<T>()], &left[1 + 2 * size_of::<T>()..]);
        assert_eq!(first, last);
        T::read_from_bytes(first).unwrap()
    }

    /// Integers, with their edges as often as all others.
    fn number<T: Arbitrary + Clone + Debug + 'static>(edges: &[T]) -> impl Strategy<Value = T> + use<T> {
        prop_oneof![prop::sample::select(edges.to_vec()), any::<T>()]
    }

    macro_rules! integers_combine {
        ($($name:ident)*) => {$(
            proptest! {
                #[test]
                fn $name(a in number(&[0, 1, $name::MIN, $name::MAX]), b in number(&[0, 1, $name::MIN, $name::MAX])) {
                    prop_assert_eq!(combine(ReduceOp::Sum, a, b), a.wrapping_add(b));
                    prop_assert_eq!(combine(ReduceOp::Prod, a, b), a.wrapping_mul(b));
                    prop_assert_eq!(combine(ReduceOp::Min, a, b), a.min(b));
                    prop_assert_eq!(combine(ReduceOp::Max, a, b), a.max(b));
                    prop_assert_eq!(combine(ReduceOp::Band, a, b), a & b);
                    prop_assert_eq!(combine(ReduceOp::Bor, a, b), a | b);
                    prop_assert_eq!(combine(ReduceOp::Bxor, a, b), a ^ b);
                    prop_assert_eq!(combine(ReduceOp::Land, a, b), $name::from(a != 0 && b != 0));
                    prop_assert_eq!(combine(ReduceOp::Lor, a, b), $name::from(a != 0 || b != 0));
                    prop_assert_eq!(combine(ReduceOp::Lxor, a, b), $name::from((a != 0) != (b != 0)));

                    let (p, q) = (Located::new(a, 3), Located::new(b, 2));
                    prop_assert_eq!(combine(ReduceOp::Minloc, p, q), if a < b { p } else { q });
                    prop_assert_eq!(combine(ReduceOp::Maxloc, p, q), if a > b { p } else { q });
                    prop_assert_eq!(combine(ReduceOp::Minloc, p, Located::new(a, 4)), p);
                    prop_assert_eq!(combine(ReduceOp::Maxloc, Located::new(a, 4), p), p);
                }
            }
        )*};
    }

    mod integers_combine_as_numbers_that_wrap {
        use super::*;
        integers_combine! { u8 u16 u32 u64 i8 i16 i32 i64 }
    }

    #[test]
    fn logical_ops_yield_0_or_1_whatever_byte_was_true() {
        for a in 0..=u8::MAX {
            for b in [0, 1, 2, a, 255] {
                let byte = |op| {
                    let [a, b] = [a, b].map(|byte| Logical::read_from_bytes(&[byte]).unwrap());
                    combine(op, a, b).as_bytes()[0]
                };
                assert_eq!(byte(ReduceOp::Land), u8::from(a != 0 && b != 0));
                assert_eq!(byte(ReduceOp::Lor), u8::from(a != 0 || b != 0));
                assert_eq!(byte(ReduceOp::Lxor), u8::from((a != 0) != (b != 0)));
            }
        }
    }

    const FLOATS: [f32; 12] = [
        f32::NEG_INFINITY,
        f32::MIN,
        -1.5,
        -f32::MIN_POSITIVE,
        -1e-45,
        -0.0,
        0.0,
        1e-45,
        f32::MIN_POSITIVE,
        1.5,
        f32::MAX,
        f32::INFINITY,
    ];
    const NANS: [u32; 4] = [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xffff_ffff];

    #[test]
    fn max_and_min_of_floats_order_every_number_and_minus_zero() {
        // FLOATS is sorted, so the place in it says what must come out, to the bit.
        for (i, a) in FLOATS.into_iter().enumerate() {
            for (j, b) in FLOATS.into_iter().enumerate() {
                let (min, max) = (FLOATS[i.min(j)], FLOATS[i.max(j)]);
                assert_eq!(combine(ReduceOp::Min, a, b).to_bits(), min.to_bits());
                assert_eq!(combine(ReduceOp::Max, a, b).to_bits(), max.to_bits());
                let (min, max) = (f64::from(min), f64::from(max));
                assert_eq!(combine(ReduceOp::Min, f64::from(a), f64::from(b)).to_bits(), min.to_bits());
                assert_eq!(combine(ReduceOp::Max, f64::from(a), f64::from(b)).to_bits(), max.to_bits());
            }
        }
    }

    #[test]
    fn a_nan_makes_the_one_nan_of_every_op() {
        for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Min, ReduceOp::Max] {
            for nan in NANS {
                for other in FLOATS.into_iter().chain(NANS.map(f32::from_bits)) {
                    for (a, b) in [(f32::from_bits(nan), other), (other, f32::from_bits(nan))] {
                        assert_eq!(combine(op, a, b).to_bits(), 0x7fc0_0000);
                        assert_eq!(combine(op, f64::from(a), f64::from(b)).to_bits(), 0x7ff8_0000_0000_0000);
                        assert_eq!(combine(op, f16::from_f32(a), f16::from_f32(b)).to_bits(), 0x7e00);
                        assert_eq!(combine(op, bf16::from_f32(a), bf16::from_f32(b)).to_bits(), 0x7fc0);
                    }
                }
            }
        }
        let infinite = f32::INFINITY;
        assert_eq!(combine(ReduceOp::Sum, infinite, -infinite).to_bits(), 0x7fc0_0000);
        assert_eq!(combine(ReduceOp::Prod, 0.0, -infinite).to_bits(), 0x7fc0_0000);
    }

    #[test]
    fn minloc_and_maxloc_of_floats_pass_on_the_lower_index_and_nans_first() {
        let pick = |op, a: (f32, u32), b: (f32, u32)| {
            let (p, q) = (Located::new(a.0, a.1), Located::new(b.0, b.1));
            let (there, back) = (combine(op, p, q), combine(op, q, p));
            assert_eq!(there.as_bytes(), back.as_bytes());
            let (p, q) = (Located::new(f64::from(a.0), a.1.into()), Located::new(f64::from(b.0), b.1.into()));
            assert_eq!(combine(op, p, q).index(), there.index().into());
            (there.value().to_bits(), there.index())
        };
        for op in [ReduceOp::Minloc, ReduceOp::Maxloc] {
            for nan in NANS {
                for number in FLOATS {
                    assert_eq!(pick(op, (f32::from_bits(nan), 9), (number, 1)), (nan, 9));
                }
                assert_eq!(pick(op, (f32::from_bits(nan), 9), (f32::NAN, 8)), (f32::NAN.to_bits(), 8));
            }
            assert_eq!(pick(op, (-0.0, 1), (0.0, 2)), ((-0.0_f32).to_bits(), 1));
            assert_eq!(pick(op, (-0.0, 2), (0.0, 1)), (0, 1));
            assert_eq!(pick(op, (1.5, u32::MAX), (1.5, 0)), (1.5_f32.to_bits(), 0));
        }
        assert_eq!(pick(ReduceOp::Minloc, (-1.0, 5), (1.0, 0)), ((-1.0_f32).to_bits(), 5));
        assert_eq!(pick(ReduceOp::Maxloc, (-1.0, 0), (1.0, 5)), (1.0_f32.to_bits(), 5));
    }

    #[test]
    fn every_narrow_float_is_read_and_written_as_by_half() {
        for bits in 0..=u16::MAX {
            let half = <f16 as Lane<2>>::load(bits.to_le_bytes());
            let brain = <bf16 as Lane<2>>::load(bits.to_le_bytes());
            let (expected_half, expected_brain) = (f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32());
            assert!(half.to_bits() == expected_half.to_bits() || half.is_nan() && expected_half.is_nan());
            assert!(brain.to_bits() == expected_brain.to_bits() || brain.is_nan() && expected_brain.is_nan());
            if !half.is_nan() {
                assert_eq!(<f16 as Lane<2>>::store(half), bits.to_le_bytes());
            }
            if !brain.is_nan() {
                assert_eq!(<bf16 as Lane<2>>::store(brain), bits.to_le_bytes());
            }
        }
    }

    /// Holds `store` against `half` for the number of these bits.
    fn check_rounding(bits: u32) {
        let value = f32::from_bits(bits);
        let (half, brain) = if value.is_nan() {
            (0x7e00, 0x7fc0)
        } else {
            (f16::from_f32(value).to_bits(), bf16::from_f32(value).to_bits())
        };
        assert_eq!(<f16 as Lane<2>>::store(value), half.to_le_bytes(), "{bits:#x}");
        assert_eq!(<bf16 as Lane<2>>::store(value), brain.to_le_bytes(), "{bits:#x}");
    }

    #[test]
    fn a_narrow_float_is_rounded_to_even_at_every_halfway_point() {
        // An f32 is halfway between two bf16 if its low 16 bits are 0x8000, and between two f16, subnormals
        // included, only if its low 12 bits are 0.
        for high in 0..1_u32 << 20 {
            let bits = high << 12;
            [bits, bits.wrapping_sub(1), bits | 1].into_iter().for_each(check_rounding);
        }
    }

    /// Whether no f16 is nearer to `exact`, ties going to the even one. (`f16::from_f64` drops low bits before it rounds
    /// on machines without f16 instructions, so it is no reference.)
    fn is_nearest(got: f16, exact: f64) -> bool {
        if got.is_nan() || exact.is_nan() {
            return got.is_nan() && exact.is_nan();
        }
        // Where f16 ends, the next number would be 65,536.
        let value = |bits: u16| if bits & 0x7fff >= 0x7c00 { 65_536.0 } else { f16::from_bits(bits & 0x7fff).to_f64() };
        let bits = got.to_bits();
        let distance = |bits: u16| (value(bits) - exact.abs().min(65_536.0)).abs();
        let beats = |neighbour: u16| {
            let (own, other) = (distance(bits), distance(neighbour));
            own < other || (own == other && bits.is_multiple_of(2))
        };
        let magnitude = bits & 0x7fff;
        got.is_sign_negative() == exact.is_sign_negative()
            && (magnitude == 0 || beats(magnitude - 1))
            && (magnitude >= 0x7c00 || beats(magnitude + 1))
    }

    #[test]
    fn the_product_that_is_just_above_a_tie_is_rounded_up() {
        let (p, q) = (f16::from_bits(0xcbe9), f16::from_bits(0xb059));
        assert_eq!(combine(ReduceOp::Prod, p, q).to_bits(), 0x404d);
        assert!(is_nearest(f16::from_bits(0x404d), p.to_f64() * q.to_f64()));
        assert!(!is_nearest(f16::from_bits(0x404c), p.to_f64() * q.to_f64()));
    }

    proptest! {
        #[test]
        fn floats_combine_as_in_one_rounding(a: f32, b: f32, c: f64, d: f64, x: [u16; 2]) {
            prop_assert_eq!(combine(ReduceOp::Sum, a, b).to_bits(), (a + b).to_bits());
            prop_assert_eq!(combine(ReduceOp::Prod, a, b).to_bits(), (a * b).to_bits());
            prop_assert_eq!(combine(ReduceOp::Sum, c, d).to_bits(), (c + d).to_bits());
            prop_assert_eq!(combine(ReduceOp::Prod, c, d).to_bits(), (c * d).to_bits());
            prop_assert_eq!(combine(ReduceOp::Max, c, d), c.max(d));
            prop_assert_eq!(combine(ReduceOp::Min, c, d), c.min(d));

            // In f64 the sum and the product of two f16 are exact.
            let [p, q] = x.map(f16::from_bits);
            prop_assert!(is_nearest(combine(ReduceOp::Sum, p, q), p.to_f64() + q.to_f64()));
            prop_assert!(is_nearest(combine(ReduceOp::Prod, p, q), p.to_f64() * q.to_f64()));
            let exact_max = if p.is_nan() || q.is_nan() { f64::NAN } else { p.to_f64().max(q.to_f64()) };
            prop_assert!(is_nearest(combine(ReduceOp::Max, p, q), exact_max));

            let [p, q] = x.map(bf16::from_bits);
            let same = |got: bf16, exact: f32| got.to_bits() == bf16::from_f32(exact).to_bits() || got.is_nan() && exact.is_nan();
            prop_assert!(same(combine(ReduceOp::Sum, p, q), p.to_f32() + q.to_f32()));
            prop_assert!(same(combine(ReduceOp::Prod, p, q), p.to_f32() * q.to_f32()));
        }
    }

    #[test]
    fn buffers_that_do_not_match_are_combined_as_far_as_both_go() {
        let kernel = kernel(Datatype::U16, ReduceOp::Sum).unwrap();
        let mut left: Vec<u8> = vec![1, 0, 2, 0, 3];
        kernel(&mut left, &[1, 0, 1, 0, 1, 0, 1]);
        kernel(&mut left, &[1, 0, 1]);
        assert_eq!(left, [3, 0, 3, 0, 3]);
    }
}
