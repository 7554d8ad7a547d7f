//! What every link has to do: one suite, and a line for each link.

mod backpressure;
mod blocks;
mod calls;
mod cancellation;
mod communicators;
mod cut;
mod data;
mod diagnosis;
mod endings;
mod failure;
mod folds;
mod modes;
mod operations;
mod order;
mod persistent;
mod probes;
mod requests;
mod sizes;
mod topologies;

use edgempi::hub::Registry;
use edgempi::{Config, Sum, World};
use edgempi_tests::links::{self, Link};

/// A module for each link, with a test for each thing that it has to do.
macro_rules! links {
    ($($link:ident;)*) => {$(
        mod $link {
            links!(@tests links::$link:
                calls: every_call_gives_what_it_should, calls_on_parts_of_the_world;
                blocks: blocks_that_differ_reach_their_ranks, blocks_in_place_leave_what_is_not_theirs,
                    blocks_come_into_memory_that_is_used_again, objects_of_lengths_that_differ_reach_their_ranks;
                folds: prefixes_and_blocks_of_a_sum_reach_their_ranks, folds_in_place_leave_what_is_not_theirs,
                    every_op_gives_what_it_should, what_is_combined_here_has_the_same_bits,
                    objects_are_folded_in_the_order_of_ranks;
                modes: sends_of_every_mode_arrive, objects_of_every_mode_arrive,
                    a_ready_send_meets_a_receive_that_waits,
                    a_ready_send_that_nobody_awaits_leaves_both_sides_usable,
                    sends_and_receives_in_one_call_cross, messages_to_and_from_nobody_are_done_at_once;
                probes: probes_find_messages_and_keep_them, a_probe_waits_for_its_message,
                    a_kept_message_goes_into_a_buffer_or_becomes_a_value,
                    a_kept_message_that_is_dropped_is_lost_and_no_other;
                requests: all_are_waited_for_and_tested, any_is_waited_for_and_tested,
                    some_are_waited_for_and_tested, results_of_different_calls_become_one_type,
                    results_come_without_anybody_waiting, a_receive_that_is_cancelled_takes_its_message_or_leaves_it,
                    a_send_that_is_cancelled_arrives_or_never_was;
                persistent: messages_again_and_again, a_round_that_fails_does_not_end_the_others,
                    a_round_whose_request_is_dropped, a_round_that_is_taken_back, blocks_again_and_again, any_call_again_and_again,
                    folds_again_and_again;
                communicators: a_communicator_of_oneself_needs_nobody, communicators_side_by_side_do_not_meet,
                    a_communicator_is_freed_with_its_last_clone, names_and_attributes_stay_with_their_communicator,
                    groups_of_processes_make_communicators, communicators_are_compared_by_their_groups;
                topologies: neighbours_in_a_grid_exchange_blocks, shifts_in_a_grid_end_at_its_rim,
                    neighbours_in_a_graph_exchange_blocks;
                operations: folds_and_columns_run_range_by_range, folds_and_columns_of_some_ranks,
                    reduce_functions_run_at_the_ranks_or_at_the_hub, functions_of_everything_for_some_ranks,
                    an_error_at_the_hub_reaches_everybody_it_concerns, many_calls_of_one_group_stay_in_order;
                diagnosis: ranks_that_do_not_agree_are_told_both_sides,
                    what_does_not_fit_its_buffer_is_truncated_and_leaves_it_alone,
                    ranks_that_wait_for_each_other_are_told_who_and_where,
                    ranks_of_several_threads_that_wait_are_left_alone;
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

/// The same for links whose connections can be cut.
macro_rules! relayed_links {
    ($($link:ident;)*) => {$(
        mod $link {
            links!(@tests links::$link:
                cut: who_needs_a_rank_that_is_cut_off_is_told_and_so_is_it, what_came_before_the_cut_stays,
                    a_message_that_is_cut_on_its_way_up_comes_to_nobody,
                    a_message_that_is_cut_on_its_way_down_comes_to_nobody,
                    a_rank_that_is_cut_off_while_it_leaves_has_finished, all_that_are_cut_off_at_once_are_told;
            );
        }
    )*};
}

relayed_links! {
    relayed_tcp;
}

#[cfg(target_os = "linux")]
relayed_links! {
    relayed_unix;
    relayed_to_rank_0;
}

/// Elements of a message that travels with its call, and of one that takes many frames and more than a window.
const LENS: [usize; 2] = [5, 300_000];

/// A world with the usual settings, whose hub knows no operations.
fn plain(link: Link, size: u32) -> Vec<World> {
    link(size, &Config::new(), &Registry::new())
}

/// Whoever this is, and how many there are.
fn rank_and_size(world: &World) -> (u32, u32) {
    (world.rank().get(), world.size())
}

/// The rank behind this one in a ring of all, and the one before it.
fn neighbours(world: &World) -> (u32, u32) {
    let (rank, size) = rank_and_size(world);
    ((rank + 1) % size, (rank + size - 1) % size)
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
