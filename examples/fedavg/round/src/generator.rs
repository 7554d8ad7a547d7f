//! A random number generator that gives the same numbers on every target: PCG-XSH-RR 64/32 (O'Neill, 2014).

/// A sequence of random numbers that is a function of its seed and stream.
#[derive(Clone, Debug)]
pub struct Generator {
    state: u64,
    increment: u64,
}

impl Generator {
    const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

    /// The sequence number `stream` of `seed`. The top bit of `stream` is ignored.
    pub const fn new(seed: u64, stream: u64) -> Self {
        let increment = (stream << 1) | 1;
        let state = increment.wrapping_add(seed).wrapping_mul(Self::MULTIPLIER).wrapping_add(increment);
        Self { state, increment }
    }

    /// The next number.
    pub const fn next_u32(&mut self) -> u32 {
        let state = self.state;
        self.state = state.wrapping_mul(Self::MULTIPLIER).wrapping_add(self.increment);
        let xorshifted = (((state >> 18) ^ state) >> 27) as u32;
        xorshifted.rotate_right((state >> 59) as u32)
    }

    /// A number from 0 to `bound` − 1.
    pub const fn below(&mut self, bound: u32) -> u32 {
        ((self.next_u32() as u64 * bound as u64) >> 32) as u32
    }

    /// A number from −`limit` to `limit`, of 2²⁴ equally likely ones.
    pub fn symmetric(&mut self, limit: f32) -> f32 {
        let unit = (self.next_u32() >> 8) as f32 / 16_777_216.0;
        (unit + unit - 1.0) * limit
    }

    /// Brings `items` into an order in which every permutation is equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u32 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Generator;

    #[test]
    fn gives_the_numbers_of_the_reference_implementation() {
        let mut generator = Generator::new(42, 54);
        let numbers = [(); 6].map(|()| generator.next_u32());
        assert_eq!(numbers, [0xa15c_02b7, 0x7b47_f409, 0xba1d_3330, 0x83d2_f293, 0xbfa4_784b, 0xcbed_606e]);
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: [u8; 100] = core::array::from_fn(|index| index as u8);
        Generator::new(1, 2).shuffle(&mut items);
        assert_ne!(items[..4], [0, 1, 2, 3]);
        items.sort_unstable();
        assert!(items.iter().enumerate().all(|(index, &item)| index == usize::from(item)));
    }

    #[test]
    fn symmetric_stays_within_its_limit() {
        let mut generator = Generator::new(3, 0);
        for _ in 0..10_000 {
            let number = generator.symmetric(0.5);
            assert!((-0.5..=0.5).contains(&number), "{number}");
        }
    }
}
