//! Where in its source a board makes a call: a host prints it with a mismatch.

use edgempi::{Comm as HostComm, Sum};
use edgempi_core::{Category, Communicator, Rank, ReduceOp};
use edgempi_embassy::{Comm, Options};

use crate::faults::{beside_a_host, failed};
use crate::sleeping::drive;

/// A host and a board that do not agree, some times over. Every time the host is told where the board's call is.
fn disagree(times: usize, board_calls: fn(&Comm<'_>) -> u32, text: &'static str) {
    let (tell, line) = std::sync::mpsc::channel();
    let host_calls = move |comm: &HostComm| {
        let error = comm.allreduce([1u32; 3], Sum).wait().expect_err("they do not agree");
        let place = format!("rank 1 calls {text} at {}:{}:", file!(), line.recv().expect("the board says it"));
        assert!(error.to_string().contains(&place), "{error}, without {place}");
    };
    beside_a_host::<2, 256>(
        Options::new(1, 2),
        move |world| (0..times).for_each(|_| host_calls(&world.comm())),
        |comm| (0..times).for_each(|_| tell.send(board_calls(comm)).expect("the host listens")),
    );
}

#[test]
fn a_mismatch_says_where_a_board_makes_its_call() {
    fn board(comm: &Comm<'_>) -> u32 {
        let (line, call) = (line!(), comm.barrier());
        assert_eq!(failed(drive(call)).0, Category::Mismatch);
        line
    }
    disagree(3, board, "barrier");
}

#[test]
fn a_mismatch_says_where_a_board_splits_or_calls_with_functions() {
    fn split(comm: &Comm<'_>) -> u32 {
        let (line, call) = (line!(), comm.split(None, 0));
        assert_eq!(failed(drive(call)).0, Category::Mismatch);
        line
    }
    fn functions(comm: &Comm<'_>) -> u32 {
        let mut fill = |_: usize, bytes: &mut [u8]| bytes.fill(0);
        let (line, call) = (line!(), comm.reduce_from::<u32>(Rank::new(0), 2, ReduceOp::Sum, &mut fill));
        assert_eq!(failed(drive(call)).0, Category::Mismatch);
        line
    }
    disagree(1, split, "split");
    disagree(1, functions, "reduce(root 0, SUM, 2 x u32)");
}

#[test]
fn calls_at_more_places_than_a_board_tells_work_all_the_same() {
    let board = |comm: &Comm<'_>| {
        #[rustfmt::skip]
        let calls = [
            comm.barrier(), comm.barrier(), comm.barrier(), comm.barrier(), comm.barrier(), comm.barrier(),
            comm.barrier(), comm.barrier(), comm.barrier(), comm.barrier(), comm.barrier(), comm.barrier(),
            comm.barrier(), comm.barrier(), comm.barrier(), comm.barrier(), comm.barrier(), comm.barrier(),
        ];
        for call in calls {
            drive(call).expect("a barrier");
        }
    };
    let host = |world: &edgempi::World| (0..18).for_each(|_| world.comm().barrier().wait().expect("a barrier"));
    beside_a_host::<20, 2048>(Options::new(1, 2), host, board);
}
