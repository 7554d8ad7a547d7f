//! Random programs agree with a plain sequential model, on every link and in the simulator under faults.
//!
//! `EDGEMPI_MODEL_CASES=10000` runs more of them, `EDGEMPI_MODEL_SEED=42` one again; `EDGEMPI_MODEL_LONG=25` says how
//! many of a hundred calls over links move more than a frame, and what a seed makes depends on it.

mod calls;
mod cases;
mod families;
mod half_way;
mod model;
mod plan;
mod play;
mod program;
mod simulated;
mod threads;
mod values;
mod verdict;

use std::cell::RefCell;
use std::collections::BTreeMap;

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

#[cfg(target_os = "linux")]
#[test]
fn programs_over_unix_sockets() {
    over(links::unix);
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

#[test]
fn the_seeds_draw_every_call_in_every_form_on_every_kind_of_element() {
    if cases::number("EDGEMPI_MODEL_SEED")
        .or(cases::number("EDGEMPI_MODEL_CASES").filter(|cases| *cases < 300))
        .is_some()
    {
        return; // They are not to be drawn.
    }
    let drawn = RefCell::new(BTreeMap::<String, u32>::new());
    let note = |what: String| *drawn.borrow_mut().entry(what).or_default() += 1;
    let strategy = (program(LONG_IN_SIMULATION), conditions(false));
    cases(300, &strategy, |(program, _)| {
        note(format!("{} ranks", program.size));
        for step in &program.steps {
            let text = format!("{:?}", step.call);
            let name = text.split(' ').next().unwrap_or_default();
            note(name.to_owned());
            // How it takes its buffers, what its elements are, and what receives say.
            for part in ["form", "kind", "selector", "mode", "probed", "exclusive", "even", "pattern", "columns"] {
                if let Some((_, rest)) = text.split_once(&format!("{part}: ")) {
                    let value = rest.split([',', ' ', '}']).next().unwrap_or_default();
                    note(format!("{name} {value}"));
                }
            }
            if step.given_up.is_some() {
                note(format!("{name} given up"));
            }
        }
        Ok(())
    });
    let drawn = drawn.into_inner();
    let is_drawn = |what: &str| assert!(drawn.get(what).is_some_and(|times| *times > 1), "{what} is not drawn");
    (1..=9).for_each(|size| is_drawn(&format!("{size} ranks")));
    let moving = [
        "Bcast",
        "Gather",
        "Scatter",
        "Allgather",
        "Alltoall",
        "Reduce",
        "Allreduce",
        "Messages",
        "Funnel",
        "Scan",
        "ReduceScatter",
        "Varied",
    ];
    for name in moving {
        is_drawn(name);
        ["Owned", "Borrowed", "Object"].into_iter().for_each(|form| is_drawn(&format!("{name} {form}")));
        let kinds = ["U8", "I16", "U32", "I64", "Bf16", "F32", "F64", "Logical", "LocatedF32"];
        kinds.into_iter().for_each(|kind| is_drawn(&format!("{name} {kind}")));
        is_drawn(&format!("{name} given up"));
    }
    ["Barrier Owned", "Barrier Borrowed", "Apply", "Split", "Free"].into_iter().for_each(is_drawn);
    ["Messages Exact", "Messages AnySource", "Messages AnyTag"].into_iter().for_each(is_drawn);
    ["Messages Standard", "Messages Synchronous", "Messages Buffered"].into_iter().for_each(is_drawn);
    ["Varied Gather", "Varied Scatter", "Varied Allgather", "Varied Alltoall"].into_iter().for_each(is_drawn);
    for name in ["Messages", "Scan", "ReduceScatter", "Fold"] {
        is_drawn(&format!("{name} true"));
        is_drawn(&format!("{name} false"));
    }
}
