//! A rank that adds up as many numbers as its argument says, checks the sum, and finalizes when its input ends.

use std::io::Read;
use std::time::Instant;

use edgempi::{Error, Sum};

fn number(rank: u32, at: usize) -> u32 {
    (at as u32).wrapping_mul(2_654_435_761).wrapping_add(rank * 7)
}

fn main() -> Result<(), Error> {
    let count: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).expect("how many numbers?");
    let world = edgempi::init().wait()?;
    let (rank, size) = (world.rank().get(), world.size());
    let numbers: Vec<u32> = (0..count).map(|at| number(rank, at)).collect();
    world.comm().barrier().wait()?;
    let start = Instant::now();
    let sums = world.comm().allreduce(numbers, Sum).wait()?;
    let elapsed = start.elapsed();
    let expected = |at: usize| (0..size).map(|rank| number(rank, at)).fold(0, u32::wrapping_add);
    assert_eq!(sums.len(), count);
    let wrong = sums.iter().enumerate().find(|(at, sum)| **sum != expected(*at));
    match wrong {
        None => println!("all {count} sums are right, after {elapsed:.1?}"),
        Some((at, sum)) => println!("sum {at} is {sum} instead of {}", expected(at)),
    }
    drop(sums);
    std::io::stdin().read_to_end(&mut Vec::new()).expect("an input that ends");
    world.finalize().wait()
}
