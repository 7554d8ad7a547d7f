//! The random numbers of a simulation: SplitMix64 (Steele, Lea, Flood, 2014), the same on every machine.

/// A sequence of random numbers that is a function of its seed and stream.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    state: u64,
}

/// Spreads a number over all 64 bits.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Generator {
    /// The sequence number `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self { state: mix(seed.wrapping_add(mix(stream.wrapping_add(0x9e37_79b9_7f4a_7c15)))) }
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number from 0 to `bound`, both included.
    pub(super) fn up_to(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * (u128::from(bound) + 1)) >> 64) as u64
    }

    /// True with a probability of `share`, from 0 to 1.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        // 53 bits are what a float holds exactly.
        ((self.next() >> 11) as f64) < share * (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Generator;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let numbers = |seed, stream| {
            let mut generator = Generator::new(seed, stream);
            [(); 4].map(|()| generator.next())
        };
        assert_eq!(numbers(1, 2), numbers(1, 2));
        assert_ne!(numbers(1, 2), numbers(1, 3));
        assert_ne!(numbers(1, 2), numbers(2, 2));
    }

    #[test]
    fn numbers_stay_within_their_bound_and_reach_it() {
        let mut generator = Generator::new(3, 0);
        let mut seen = [false; 4];
        for _ in 0..100 {
            seen[generator.up_to(3) as usize] = true;
        }
        assert_eq!(seen, [true; 4]);
        assert_eq!(generator.up_to(0), 0);
    }

    #[test]
    fn a_chance_of_a_tenth_comes_about_a_tenth_of_the_time() {
        let mut generator = Generator::new(4, 0);
        let hits = (0..10_000).filter(|_| generator.chance(0.1)).count();
        assert!((900..1100).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| generator.chance(0.0)));
    }
}
