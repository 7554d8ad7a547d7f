//! What every link has to do: one suite, and a line for each link.

mod backpressure;
mod calls;
mod cancellation;
mod data;
mod endings;
mod failure;
mod families;
mod order;
mod sizes;

use edgempi::hub::Registry;
use edgempi::{Config, Sum, World};
use edgempi_tests::links::{self, Link};

/// A module for each link, with a test for each thing that it has to do.
macro_rules! links {
    ($($link:ident;)*) => {$(
        mod $link {
            links!(@tests links::$link:
                calls: every_call_gives_what_it_should, calls_on_parts_of_the_world;
                families: blocks_that_differ_reach_their_ranks, prefixes_and_blocks_of_a_sum_reach_their_ranks,
                    in_place_forms_leave_what_is_not_theirs, sends_of_every_mode_arrive,
                    probes_find_messages_and_keep_them, several_requests_end_in_any_order,
                    communicators_side_by_side_do_not_meet, operations_of_users_run_range_by_range;
                sizes: messages_of_every_size, blocks_of_every_size, folds_of_every_size, objects_of_every_size;
                order: messages_do_not_overtake_each_other, messages_from_anybody_stay_in_the_order_of_each_sender,
                    collectives_in_flight_end_in_any_order, collectives_on_two_communicators_do_not_see_each_other,
                    threads_share_a_world;
                backpressure: messages_that_nobody_receives_stay_with_their_sender,
                    a_rank_that_is_late_costs_bounded_memory_and_holds_up_nobody,
                    more_than_all_buffers_hold_crosses_both_ways_at_once;
                cancellation: a_receive_is_taken_back, a_send_that_borrows_is_taken_back,
                    a_collective_that_borrows_fails_on_all_ranks_at_any_stage, what_owns_its_buffers_goes_on;
                endings: what_was_sent_before_goodbye_arrives, receives_that_nobody_can_serve_are_told,
                    nothing_starts_after_goodbye, a_world_that_is_dropped_has_failed,
                    a_rank_that_has_left_is_missed_by_name;
                failure: whoever_needs_a_dead_rank_is_told, a_death_in_the_middle_of_a_stream_is_told,
                    survivors_go_on, one_is_left_when_all_others_die;
            );
        }
    )*};
    (@tests $link:path: $($file:ident: $($name:ident),*;)*) => {
        use super::*;
        $($(
            #[test]
            fn $name() {
                $file::$name($link);
            }
        )*)*
    };
}

links! {
    memory;
    tcp;
}

#[cfg(target_os = "linux")]
links! {
    unix;
}

/// A world with the usual settings, whose hub knows no operations.
fn plain(link: Link, size: u32) -> Vec<World> {
    link(size, &Config::new(), &Registry::new())
}

/// Whoever this is, and how many there are.
fn rank_and_size(world: &World) -> (u32, u32) {
    (world.rank().get(), world.size())
}

/// Everything works.
fn assert_usable(world: &World) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    comm.barrier().wait().unwrap();
    assert_eq!(comm.allreduce([rank, 1], Sum).wait().unwrap(), [size * (size - 1) / 2, size]);
    let sent = comm.send((rank + 1) % size, u32::MAX, [rank; 9]);
    let (came, _) = comm.recv::<u32>((rank + size - 1) % size, u32::MAX).wait().unwrap();
    assert_eq!(came, [(rank + size - 1) % size; 9]);
    sent.wait().unwrap();
}
