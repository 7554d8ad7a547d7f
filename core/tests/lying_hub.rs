//! Whatever a hub says, the endpoint does not panic and sends no byte where none belongs.

mod liar;
mod world;

use liar::Liar;
use proptest::prelude::*;
use world::Random;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_endpoint_believes_no_hub_that_lies(seed: u64, lies in 1_usize..400) {
        let mut random = Random(seed);
        let mut liar = Liar::new(&mut random);
        for _ in 0..lies {
            if !liar.go_on(&mut random) {
                return Ok(());
            }
        }
        liar.end();
    }
}
