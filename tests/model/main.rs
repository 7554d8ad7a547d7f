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
mod shifts;
mod simulated;
mod threads;
mod topologies;
mod values;
mod verdict;
mod waiting;

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
        assert_eq!(played::missing(everything()), [""; 0], "these were never played");
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
    "Communicator::scan_in_place",
    "Communicator::exscan",
    "Communicator::exscan_in_place",
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

/// Besides these, what is to be played: each call in the forms that there are of it, and what can be said in it.
fn everything() -> Vec<String> {
    const FORMS: &str = "Owned Borrowed InPlace Persistent Object";
    const COLLECTIVES: &str = "Bcast Gather Scatter Allgather Alltoall Reduce Allreduce Scan ReduceScatter";
    const KINDS: &str = "kind U8 I16 U32 I64 Bf16 F32 F64 Logical LocatedF32";
    let mut all: Vec<String> = CALLS.iter().copied().map(str::to_owned).collect();
    all.extend((1..=9).map(|size| format!("{size} ranks")));
    let mut add = |names: &str, ways: &str, part: &str| {
        for (name, way) in names.split(' ').flat_map(|name| ways.split(' ').map(move |way| (name, way))) {
            let mut values = part.split(' ');
            let part = values.next().unwrap_or_default();
            all.push(format!("{name} {way}"));
            all.extend(values.map(|value| format!("{name} {way} {part} {value}")));
        }
    };
    add(COLLECTIVES, FORMS, "");
    add(COLLECTIVES, "again dropped", "");
    add(COLLECTIVES, "right", KINDS);
    add("Messages Funnel Shift Neighbours Varied", "right", KINDS);
    add("Barrier", "Owned Borrowed Persistent again dropped", "");
    add("Scan", FORMS, "exclusive true false");
    add("ReduceScatter", FORMS, "even true");
    add("ReduceScatter", "Owned InPlace Persistent Object", "even false");
    add("Varied", "Owned Persistent again dropped", "pattern Gather Scatter Allgather Alltoall");
    add("Fold", "Owned Persistent again", "ends All One Some");
    add("Fold", "Owned Persistent again", "columns true false");
    add("Messages", FORMS, "selector Exact AnySource AnyTag");
    add("Messages Funnel", "right", "waiting InTurn All Any Some TestAll TestAny TestSome");
    add("Funnel", FORMS, "");
    add("Messages", "Borrowed", "mode Standard");
    add("Messages", "Owned InPlace Persistent Object", "mode Standard Synchronous Buffered Ready");
    add("Messages", "Borrowed Persistent", "probed Never");
    add("Messages", "Owned InPlace Object", "probed Never Probe Iprobe Mprobe Improbe");
    add("Messages Fold Apply", "dropped", "");
    add("Messages Shift Neighbours", "again", "");
    add("Unready", "Owned Object", "");
    add("Shift", FORMS, "line false");
    add("Shift", "Owned InPlace Persistent Object", "line true");
    add("Neighbours", "Owned Persistent Object", "topology Grid Graph Told");
    add("Neighbours", "Owned Persistent Object", "alltoall true false");
    add("Neighbours", "Owned Persistent", "varied true false");
    add("Apply", "Object", "");
    add("Alone", "Owned", "");
    add("Split", "right dropped", "by Copy Color Kind Machine Group GroupAlone");
    add("Free", "right", "");
    all
}
