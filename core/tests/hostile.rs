//! Whatever peers say, the hub does not panic and gives honest ranks what is theirs.

mod villain;
mod world;

use proptest::prelude::*;
use villain::{Refuge, Siege};
use world::Random;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn honest_ranks_get_what_is_theirs_whatever_the_others_say(seed: u64, rounds in 1_usize..120) {
        let mut random = Random(seed);
        let mut siege = Siege::new(&mut random);
        for _ in 0..rounds {
            siege.go_on(&mut random);
        }
        siege.end();
    }

    #[test]
    fn communicators_of_honest_ranks_are_theirs_whatever_the_others_say(seed: u64, rounds in 1_usize..120) {
        let mut random = Random(seed);
        let mut refuge = Refuge::new(&mut random);
        for _ in 0..rounds {
            refuge.go_on(&mut random);
        }
        refuge.end();
    }
}
