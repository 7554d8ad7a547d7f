//! Random programs agree with a plain sequential model, on every link and in the simulator under faults.
//!
//! `EDGEMPI_MODEL_CASES=10000` runs more of them, `EDGEMPI_MODEL_SEED=42` one again; `EDGEMPI_MODEL_LONG=25` says how
//! many of a hundred calls over links move more than a frame, and what a seed makes depends on it.

mod calls;
mod cases;
mod communicators;
mod families;
mod half_way;
mod messages;
mod model;
mod persistent;
mod plan;
mod play;
mod played;
mod program;
mod simulated;
mod threads;
mod topologies;
mod values;
mod verdict;
mod waiting;

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
    if are_all_drawn() {
        assert_eq!(played::missing(CALLS), [""; 0], "these were never made");
    }
}

/// Whether so many programs are drawn that nothing is left out by chance.
fn are_all_drawn() -> bool {
    cases::number("EDGEMPI_MODEL_SEED").is_none()
        && cases::number("EDGEMPI_MODEL_CASES").is_none_or(|cases| cases >= 300)
}

#[test]
fn programs_in_the_simulator_in_which_a_rank_dies() {
    let strategy = (program(LONG_IN_SIMULATION), conditions(true));
    cases(300, &strategy, |(program, conditions)| simulated::run(program, conditions));
}

/// All calls that move data, that make communicators, and that wait, in all their forms.
const CALLS: &[&str] = &[
    "Comm::barrier",
    "Comm::bcast",
    "Comm::bcast_in_place",
    "Comm::gather",
    "Comm::gather_in_place",
    "Comm::gather_reusing",
    "Comm::gatherv",
    "Comm::scatter",
    "Comm::scatter_in_place",
    "Comm::scatter_reusing",
    "Comm::scatterv",
    "Comm::allgather",
    "Comm::allgather_in_place",
    "Comm::allgather_reusing",
    "Comm::allgatherv",
    "Comm::alltoall",
    "Comm::alltoall_in_place",
    "Comm::alltoall_reusing",
    "Comm::alltoallv",
    "Comm::reduce",
    "Comm::reduce_in_place",
    "Comm::allreduce",
    "Comm::allreduce_in_place",
    "Comm::scan",
    "Comm::scan_in_place",
    "Comm::exscan",
    "Comm::exscan_in_place",
    "Comm::reduce_scatter",
    "Comm::reduce_scatter_in_place",
    "Comm::reduce_scatter_block",
    "Comm::reduce_scatter_block_in_place",
    "Comm::send",
    "Comm::ssend",
    "Comm::bsend",
    "Comm::rsend",
    "Comm::recv",
    "Comm::recv_into",
    "Comm::recv_reusing",
    "Comm::sendrecv",
    "Comm::sendrecv_replace",
    "Comm::probe",
    "Comm::iprobe",
    "Comm::mprobe",
    "Comm::improbe",
    "Comm::apply",
    "Comm::fold",
    "Comm::fold_all",
    "Comm::fold_to",
    "Comm::dup",
    "Comm::split",
    "Comm::split_type",
    "Comm::create",
    "Comm::create_group",
    "Comm::group",
    "Comm::compare",
    "Comm::cart",
    "Comm::dist_graph",
    "Comm::dist_graph_adjacent",
    "Comm::barrier_init",
    "Comm::bcast_init",
    "Comm::gather_init",
    "Comm::scatter_init",
    "Comm::allgather_init",
    "Comm::alltoall_init",
    "Comm::reduce_init",
    "Comm::allreduce_init",
    "Comm::scan_init",
    "Comm::exscan_init",
    "Comm::reduce_scatter_init",
    "Comm::reduce_scatter_block_init",
    "Comm::send_init",
    "Comm::ssend_init",
    "Comm::bsend_init",
    "Comm::rsend_init",
    "Comm::recv_init",
    "Objects::bcast",
    "Objects::gather",
    "Objects::scatter",
    "Objects::allgather",
    "Objects::alltoall",
    "Objects::reduce",
    "Objects::allreduce",
    "Objects::scan",
    "Objects::exscan",
    "Objects::reduce_scatter",
    "Objects::reduce_scatter_block",
    "Objects::send",
    "Objects::ssend",
    "Objects::bsend",
    "Objects::rsend",
    "Objects::recv",
    "Objects::recv_or_none",
    "Objects::sendrecv",
    "Objects::sendrecv_replace",
    "Communicator::barrier",
    "Communicator::bcast",
    "Communicator::gather",
    "Communicator::scatter",
    "Communicator::allgather",
    "Communicator::alltoall",
    "Communicator::reduce_in_place",
    "Communicator::allreduce",
    "Communicator::allreduce_in_place",
    "Communicator::scan",
    "Communicator::exscan",
    "Communicator::reduce_scatter_block",
    "Communicator::send",
    "Communicator::recv",
    "Communicator::sendrecv",
    "Neighborhood::neighbor_allgather",
    "Neighborhood::neighbor_allgatherv",
    "Neighborhood::neighbor_alltoall",
    "Neighborhood::neighbor_alltoallv",
    "NeighborObjects::neighbor_allgather",
    "NeighborObjects::neighbor_alltoall",
    "Cartesian::sub",
    "Cartesian::shift",
    "Cartesian::coords",
    "Cartesian::rank_at",
    "Message::recv",
    "Message::recv_into",
    "Message::recv_object",
    "Persistent::start",
    "Persistent::request",
    "Persistent::cancel",
    "Persistent::calling",
    "Request::cancel",
    "wait_all",
    "wait_any",
    "wait_some",
    "test_all",
    "test_any",
    "test_some",
    "start_all",
    "reduce_local",
    "comm_self",
    "dims_create",
];

/// What a call is drawn in: what its elements are, what receives say. How it takes its buffers is seen where it is made.
const PARTS: [&str; 15] = [
    "kind",
    "selector",
    "mode",
    "probed",
    "waiting",
    "exclusive",
    "even",
    "pattern",
    "columns",
    "groups",
    "line",
    "alltoall",
    "varied",
    "topology",
    "by",
];

#[test]
fn the_seeds_draw_every_call_on_every_kind_of_element() {
    if !are_all_drawn() {
        return;
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
            for part in PARTS {
                if let Some((_, rest)) = text.split_once(&format!(" {part}: ")) {
                    let value = rest.split([',', ' ', '}', '(']).next().unwrap_or_default();
                    note(format!("{name} {part} {value}"));
                }
            }
            if let Some(given_up) = step.given_up {
                note(format!("{name} given up"));
                note(format!("{name} cancels {}", given_up.cancels));
            }
        }
        Ok(())
    });
    let drawn = drawn.into_inner();
    let is_drawn = |what: &str| assert!(drawn.get(what).is_some_and(|times| *times > 1), "{what} is not drawn");
    (1..=9).for_each(|size| is_drawn(&format!("{size} ranks")));
    let drawn_of = |name: &str, part: &str, values: &[&str]| {
        values.iter().for_each(|value| is_drawn(&format!("{name} {part} {value}")));
    };
    let collectives =
        ["Bcast", "Gather", "Scatter", "Allgather", "Alltoall", "Reduce", "Allreduce", "Scan", "ReduceScatter"];
    let others = ["Messages", "Funnel", "Shift", "Neighbours", "Varied"];
    for name in collectives.into_iter().chain(others) {
        is_drawn(name);
        drawn_of(name, "kind", &["U8", "I16", "U32", "I64", "Bf16", "F32", "F64", "Logical", "LocatedF32"]);
    }
    collectives.into_iter().chain(["Messages", "Varied"]).for_each(|name| is_drawn(&format!("{name} given up")));
    ["Barrier", "Apply", "Alone", "Unready", "Free", "Split given up"].into_iter().for_each(is_drawn);
    drawn_of("Messages", "selector", &["Exact", "AnySource", "AnyTag"]);
    drawn_of("Messages", "mode", &["Standard", "Synchronous", "Buffered", "Ready"]);
    drawn_of("Messages", "probed", &["Never", "Probe", "Iprobe", "Mprobe", "Improbe"]);
    drawn_of("Messages", "cancels", &["true", "false"]);
    let waiting = ["InTurn", "All", "Any", "Some", "TestAll", "TestAny", "TestSome"];
    ["Messages", "Funnel"].into_iter().for_each(|name| drawn_of(name, "waiting", &waiting));
    drawn_of("Split", "by", &["Copy", "Color", "Kind", "Machine", "Group", "GroupAlone"]);
    drawn_of("Varied", "pattern", &["Gather", "Scatter", "Allgather", "Alltoall"]);
    drawn_of("Neighbours", "topology", &["Grid", "Graph", "Told"]);
    drawn_of("Fold", "groups", &["Some", "None"]);
    let both = [
        ("Scan", "exclusive"),
        ("ReduceScatter", "even"),
        ("Fold", "columns"),
        ("Shift", "line"),
        ("Neighbours", "alltoall"),
        ("Neighbours", "varied"),
    ];
    both.into_iter().for_each(|(name, part)| drawn_of(name, part, &["true", "false"]));
}
