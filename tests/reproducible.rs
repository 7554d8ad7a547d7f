//! Sums of floats have the same bits from run to run, whatever arrives when, over whatever link. (Frames and windows of
//! different sizes are tested on the state machines alone: core/tests/reproducible.rs.)

use std::thread;
use std::time::Duration;

use edgempi::hub::Registry;
use edgempi::{Comm, Config, Element, Sum};
use edgempi_core::operation::{BuiltinFold, Input, fold_all, fold_tree};
use edgempi_tests::{both_kinds_of_worlds, on_ranks};
use half::{bf16, f16};
use zerocopy::IntoBytes;

/// Longer than two of the windows in which the hub takes in a message.
const SEVERAL_WINDOWS: usize = (1 << 20) + (1 << 17);

/// SplitMix64: a run that fails can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Of either sign, and between a hundredth and some hundreds, so that sums depend on their order.
    fn float(&mut self) -> f32 {
        let bits = self.next();
        let fraction = 1.0 + (bits >> 41) as f32 / (1 << 23) as f32;
        let exponent = 2.0f32.powi((bits & 15) as i32 - 7);
        if bits & 16 == 0 { fraction * exponent } else { -fraction * exponent }
    }
}

trait Float: Element {
    fn new(value: f32) -> Self;
    fn add(self, other: Self) -> Self;
}

macro_rules! float {
    ($($name:ty: $new:expr;)*) => {$(
        impl Float for $name {
            fn new(value: f32) -> Self {
                $new(value)
            }
            fn add(self, other: Self) -> Self {
                self + other
            }
        }
    )*};
}

float! {
    f32: |value| value;
    f64: |value| f64::from(value) * (1.0 / 3.0);
    f16: f16::from_f32;
    bf16: bf16::from_f32;
}

/// What every rank gives, and the sum.
struct Case<T> {
    inputs: Vec<Vec<T>>,
    sum: Vec<u8>,
}

/// The sum of `inputs` in the order of a fold.
fn folded<'i, T: Float>(inputs: impl Iterator<Item = &'i Vec<T>>) -> Vec<u8> {
    let segments: Vec<[&[u8]; 1]> = inputs.map(|input| [input.as_bytes()]).collect();
    let mut inputs: Vec<_> = segments.iter().map(|segments| Input::new(segments, 0)).collect();
    let fold = BuiltinFold::new(T::DATATYPE, Sum).expect("floats can be added");
    fold_all(&fold, &mut inputs, segments[0][0].len())
}

impl<T: Float> Case<T> {
    fn new(random: &mut Random, size: u32, count: usize) -> Self {
        let inputs: Vec<Vec<T>> = (0..size).map(|_| (0..count).map(|_| T::new(random.float())).collect()).collect();
        let sum = folded(inputs.iter());
        // That is what adding in the shape of the tree gives, and no other shape.
        for (at, expected) in sum.chunks_exact(size_of::<T>()).enumerate().take(100) {
            let tree = fold_tree(inputs.iter().map(|input| input[at]), T::add).expect("there are ranks");
            assert_eq!(tree.as_bytes(), expected);
        }
        if size > 2 && count > 100 {
            assert_ne!(
                folded(inputs.iter().cycle().skip(1).take(inputs.len())),
                sum,
                "numbers that do not depend on the order test nothing"
            );
        }
        Self { inputs, sum }
    }

    /// Adds once, in one of the ways to do that.
    fn check(&self, comm: &Comm, way: u64, context: &str) {
        let rank = comm.rank();
        let mut own = self.inputs[rank.index()].clone();
        let root = (way % u64::from(comm.size())) as u32;
        let result = match way % 3 {
            0 => Some(comm.allreduce(own, Sum).wait().unwrap()),
            1 => comm.reduce(root, own, Sum).wait().unwrap(),
            _ => {
                comm.allreduce_in_place(&mut own, Sum).wait().unwrap();
                Some(own)
            }
        };
        assert_eq!(result.is_some(), way % 3 != 1 || rank == root);
        let (name, count) = (T::DATATYPE, self.inputs[0].len());
        let is_equal = result.is_none_or(|result| result.as_bytes() == self.sum);
        assert!(is_equal, "{count} x {name} on rank {rank} of {}, {context}: other bits", comm.size());
    }
}

struct Cases<T>(Vec<Case<T>>);

impl<T: Float> Cases<T> {
    fn new(random: &mut Random, size: u32, longest: usize) -> Self {
        let counts = [1, 2, 65, 1023, longest / size_of::<T>() + 3];
        Self(counts.map(|count| Case::new(random, size, count)).into())
    }

    /// Adds every case, each rank at a time of its own.
    fn check(&self, comm: &Comm, seed: u64, context: &str) {
        let mut delays = Random(seed ^ u64::from(comm.rank().get()) << 32);
        let mut ways = Random(seed);
        for case in &self.0 {
            thread::sleep(Duration::from_micros(delays.below(3000)));
            case.check(comm, ways.next(), context);
        }
    }
}

fn sums_have_the_same_bits_in_every_run(size: u32) {
    let mut random = Random(size.into());
    // The hub of a test build adds narrow floats slowly.
    let narrow = if size.is_multiple_of(3) { SEVERAL_WINDOWS } else { 1 << 14 };
    let singles = Cases::<f32>::new(&mut random, size, SEVERAL_WINDOWS);
    let doubles = Cases::<f64>::new(&mut random, size, SEVERAL_WINDOWS);
    let halves = Cases::<f16>::new(&mut random, size, narrow);
    let brains = Cases::<bf16>::new(&mut random, size, narrow);
    for (links, worlds) in both_kinds_of_worlds(&Registry::new(), &Config::new(), size) {
        let seed = random.next();
        let context = format!("links: {links}, seed {seed:#x}");
        on_ranks(worlds, |world| {
            let comm = world.comm();
            singles.check(&comm, seed, &context);
            doubles.check(&comm, seed, &context);
            halves.check(&comm, seed, &context);
            brains.check(&comm, seed, &context);
        });
    }
}

macro_rules! sizes {
    ($($name:ident: $size:expr,)*) => {$(
        #[test]
        fn $name() {
            sums_have_the_same_bits_in_every_run($size);
        }
    )*};
}

sizes! {
    sums_of_2_ranks_have_the_same_bits_in_every_run: 2,
    sums_of_3_ranks_have_the_same_bits_in_every_run: 3,
    sums_of_4_ranks_have_the_same_bits_in_every_run: 4,
    sums_of_5_ranks_have_the_same_bits_in_every_run: 5,
    sums_of_6_ranks_have_the_same_bits_in_every_run: 6,
    sums_of_7_ranks_have_the_same_bits_in_every_run: 7,
    sums_of_8_ranks_have_the_same_bits_in_every_run: 8,
    sums_of_9_ranks_have_the_same_bits_in_every_run: 9,
}
