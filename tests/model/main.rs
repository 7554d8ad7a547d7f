//! Random programs agree with a plain sequential model, on every link and in the simulator under faults.
//!
//! `EDGEMPI_MODEL_CASES=10000` runs more of them, `EDGEMPI_MODEL_SEED=42` one again; `EDGEMPI_MODEL_LONG=25` says how
//! many of a hundred calls over links move more than a frame, and what a seed makes depends on it.

mod calls;
mod cases;
mod half_way;
mod model;
mod plan;
mod play;
mod program;
mod simulated;
mod threads;
mod values;
mod verdict;

use edgempi_tests::links::{self, Link};
use proptest::prelude::*;

use cases::cases;
use program::program;
use simulated::conditions;
use threads::Death;

/// Of a hundred calls so many move more than a frame. With the limits of real worlds that takes its time without
/// optimisation.
const LONG: u64 = 2;
const LONG_IN_SIMULATION: u32 = 30;

fn long() -> u32 {
    cases::number("EDGEMPI_MODEL_LONG").unwrap_or(LONG).min(59) as u32
}

fn over(link: Link) {
    cases(60, &program(long()), |program| threads::run(link, program, None));
}

fn over_with_a_death(link: Link) {
    let death = (0_u32..9, 0_usize..24).prop_map(|(rank, step)| Death { rank, step });
    cases(60, &(program(long()), death), |(program, death)| threads::run(link, program, Some(*death)));
}

#[test]
fn programs_over_memory() {
    over(links::memory);
}

#[test]
fn programs_over_tcp() {
    over(links::tcp);
}

#[test]
fn programs_over_memory_in_which_a_rank_dies() {
    over_with_a_death(links::memory);
}

#[test]
fn programs_over_tcp_in_which_a_rank_dies() {
    over_with_a_death(links::tcp);
}

#[test]
fn programs_in_the_simulator_under_faults() {
    let strategy = (program(LONG_IN_SIMULATION), conditions(false));
    cases(300, &strategy, |(program, conditions)| simulated::run(program, conditions));
}

#[test]
fn programs_in_the_simulator_in_which_a_rank_dies() {
    let strategy = (program(LONG_IN_SIMULATION), conditions(true));
    cases(300, &strategy, |(program, conditions)| simulated::run(program, conditions));
}
