//! Ranks that do not mean the same: everybody still in the operation is told, with both sides.

mod world;

use edgempi_core::hub::{self, Applied, Registry};
use edgempi_core::request::Receive;
use edgempi_core::{Call, Category, Datatype, Group, Rank, ReduceOp};
use world::{Ask, Outcome, World, ask, barrier, bcast, recv, send};

/// Rank 0 calls one thing and ranks 1 and 2 another, whoever comes first. Everybody who is still in it is told both.
#[track_caller]
fn disagree(first: impl Fn(u32) -> Ask<'static>, second: impl Fn(u32) -> Ask<'static>, words: &[&str]) {
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        let mut world = World::new(3);
        world.nodes[0].site = Some("zero.rs:10:3");
        world.nodes[1].site = Some("one.rs:20:3");
        let mut requests = Vec::new();
        for rank in order {
            let ask = if rank == 0 { first(0) } else { second(rank) };
            requests.push((rank as usize, world.ask(rank as usize, ask)));
            world.settle();
        }
        let mut failed = 0;
        for (rank, request) in requests {
            let Outcome::Failed { fault, text } = world.outcome(rank, request) else { continue };
            failed += 1;
            assert_eq!(fault.category, Category::Mismatch, "{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
            if order != [2, 1, 0] {
                assert!(text.contains("zero.rs:10:3") && text.contains("one.rs:20:3"), "{text}");
            }
        }
        assert!(failed >= 2, "{failed} were told");
        if failed == 3 {
            world.assert_usable();
        }
    }
}

#[test]
fn different_operations() {
    disagree(|_| barrier(), |_| ask(Call::Allgather, vec![1; 4], 12), &["rank 0 calls barrier", "allgather(4 x u8)"]);
    disagree(
        |_| ask(Call::Allgather, vec![1; 4], 12),
        |_| Ask { parts: vec![vec![1; 4]; 3], ..ask(Call::Alltoall, vec![], 12) },
        &["rank 0 calls allgather(4 x u8)", "calls alltoall(4 x u8)"],
    );
}

#[test]
fn a_builtin_operation_and_one_of_the_users() {
    let call = Call::User { name: "any", version: 3, group: Group::ALL };
    let mut registry = Registry::new();
    registry.insert_fn("any", 3, |_: Applied<'_, ()>, inputs: Vec<(Rank, u8)>| Ok::<_, String>(inputs));
    let mut world = World::with(hub::Config::new(2), registry, |_, _| {});
    let object = Ask { datatype: Datatype::Object, receive: Receive::AtMost(9), ..ask(call, vec![7], 0) };
    let requests = [world.ask(0, object), world.ask(1, barrier())];
    world.settle();
    for (rank, request) in requests.into_iter().enumerate() {
        let (fault, text) = world.outcome(rank, request).fault();
        assert_eq!(fault.category, Category::Mismatch, "{text}");
        assert!(text.contains("rank 0 calls operation \"any\" version 3; rank 1 calls barrier"), "{text}");
    }
    world.assert_usable();
}

#[test]
fn different_roots() {
    let gather = |root: u32| {
        move |rank: u32| {
            let call = Call::Gather { root: Rank::new(root) };
            ask(call, vec![1; 2], if rank == root { 6 } else { 0 })
        }
    };
    disagree(gather(1), gather(2), &["rank 0 calls gather(root 1, 2 x u8)", "gather(root 2, 2 x u8)"]);
}

#[test]
fn different_datatypes() {
    let gather = |datatype| move |_| Ask { datatype, ..ask(Call::Allgather, vec![1; 8], 24) };
    disagree(gather(Datatype::U32), gather(Datatype::F32), &["rank 0 calls allgather(2 x u32)", "allgather(2 x f32)"]);
    disagree(gather(Datatype::Object), gather(Datatype::F32), &["allgather(objects)", "allgather(2 x f32)"]);
}

#[test]
fn different_counts() {
    let reduce = |count: usize| {
        move |_| {
            let call = Call::Allreduce { op: ReduceOp::Sum };
            Ask { datatype: Datatype::F64, ..ask(call, vec![0; count * 8], count * 8) }
        }
    };
    disagree(reduce(3), reduce(4), &["rank 0 calls allreduce(SUM, 3 x f64)", "allreduce(SUM, 4 x f64)"]);
    disagree(reduce(100_000), reduce(4), &["allreduce(SUM, 100000 x f64)", "allreduce(SUM, 4 x f64)"]);
}

#[test]
fn different_reduce_ops() {
    let reduce = |op| move |_| Ask { datatype: Datatype::I32, ..ask(Call::Allreduce { op }, vec![0; 4], 4) };
    disagree(reduce(ReduceOp::Sum), reduce(ReduceOp::Max), &["allreduce(SUM, 1 x i32)", "allreduce(MAX, 1 x i32)"]);
}

#[test]
fn a_receiver_that_expects_another_length_than_the_root_gives() {
    for expected in [4, 6] {
        let mut world = World::new(2);
        let requests = [world.ask(0, bcast(0, 0, vec![1; 5])), world.ask(1, bcast(1, 0, vec![0; expected]))];
        world.settle();
        let (fault, text) = world.outcome(1, requests[1]).fault();
        assert_eq!((fault.category, fault.len, fault.max), (Category::Truncated, 5, expected as u64), "{text}");
        assert!(text.contains("rank 0 calls bcast(root 0, 5 x u8)") && text.contains("rank 1 calls"), "{text}");
        assert!(matches!(world.outcome(0, requests[0]), Outcome::Done { .. }), "the root had left already");
        let next = world.ask(0, barrier());
        world.settle();
        let told = world.outcome(0, next).fault();
        assert_eq!((told.0.category, told.1), (Category::Truncated, text), "the root is told at its next call");
    }
}

#[test]
fn receivers_that_expect_another_length_than_the_root_gives_once_it_comes() {
    let scatter = |rank: u32, block: usize| {
        let parts = if rank == 2 { vec![vec![7; block]; 3] } else { Vec::new() };
        Ask { parts, ..ask(Call::Scatter { root: Rank::new(2) }, Vec::new(), block) }
    };
    let mut world = World::new(3);
    let requests: Vec<_> = [4, 4, 5]
        .into_iter()
        .enumerate()
        .map(|(rank, block)| {
            let request = world.ask(rank, scatter(rank as u32, block));
            world.settle();
            request
        })
        .collect();
    for (rank, request) in requests.into_iter().enumerate() {
        let (fault, text) = world.outcome(rank, request).fault();
        assert_eq!((fault.category, fault.len, fault.max), (Category::Truncated, 5, 4), "{text}");
        assert!(
            text.contains("ranks 0, 1 call scatter(root 2, 4 x u8); rank 2 calls scatter(root 2, 5 x u8)"),
            "{text}"
        );
    }
    world.assert_usable();
}

#[test]
fn objects_larger_than_their_receive_fail_with_both_numbers() {
    let mut world = World::new(2);
    let object = |ask| Ask { datatype: Datatype::Object, receive: Receive::AtMost(4), ..ask };
    world.ask(0, object(bcast(0, 0, vec![1; 5])));
    let request = world.ask(1, object(bcast(1, 0, vec![])));
    world.settle();
    let (fault, text) = world.outcome(1, request).fault();
    assert_eq!((fault.category, fault.len, fault.max), (Category::Truncated, 5, 4), "{text}");
}

#[test]
fn objects_that_are_together_larger_than_their_receive_fail_with_both_numbers() {
    let mut world = World::new(3);
    for outcome in world.all(|_| Ask {
        datatype: Datatype::Object,
        receive: Receive::AtMost(9),
        ..ask(Call::Allgather, vec![1; 5], 0)
    }) {
        let (fault, text) = outcome.fault();
        assert_eq!((fault.category, fault.len, fault.max), (Category::Truncated, 10, 9), "{text}");
        assert!(text.contains("10 bytes") && text.contains("receives 9"), "{text}");
    }
    world.assert_usable();
}

#[test]
fn blocks_of_different_lengths_do_not_fit_an_exact_receive_although_their_sum_does() {
    let mut world = World::new(3);
    let typed = |world: &mut World, rank: usize, lengths: [usize; 3], varied, receive| {
        let parts = lengths.iter().map(|len| vec![rank as u8; *len]).collect();
        world.ask(rank, Ask { call: Call::Alltoall, datatype: Datatype::U8, parts, varied, receive })
    };
    let exact = typed(&mut world, 0, [2, 2, 2], false, Receive::Exactly(6));
    typed(&mut world, 1, [1, 2, 2], true, Receive::AtMost(9));
    typed(&mut world, 2, [3, 2, 2], true, Receive::AtMost(9));
    world.settle();
    assert_eq!(world.outcome(0, exact).fault().0.category, Category::Truncated);
    world.assert_usable();
}

#[test]
fn a_late_rank_that_disagrees_fails_and_those_already_done_are_told_at_their_next_call() {
    let mut world = World::new(3);
    let root = world.ask(0, bcast(0, 0, vec![1; 5]));
    let early = world.ask(1, bcast(1, 0, vec![1; 5]));
    world.settle();
    assert!(world.is_done(0, root) && world.is_done(1, early));
    let late = world.ask(2, barrier());
    world.settle();
    let (_, first) = world.outcome(2, late).fault();
    assert!(first.contains("ranks 0, 1 call bcast") && first.contains("rank 2 calls barrier"), "{first}");
    // Nobody hangs: the next operation tells all of them, and the one after it works.
    let requests: Vec<_> = (0..3).map(|rank| world.ask(rank, barrier())).collect();
    world.settle();
    for (rank, request) in requests.into_iter().enumerate() {
        let (fault, text) = world.outcome(rank, request).fault();
        assert_eq!((fault.category, text), (Category::Mismatch, first.clone()), "rank {rank}");
    }
    let again = world.ask(0, barrier());
    let others = [world.ask(1, barrier()), world.ask(2, barrier())];
    world.settle();
    let notices = [(0, again), (1, others[0]), (2, others[1])];
    let failed =
        notices.iter().filter(|(rank, request)| matches!(world.outcome(*rank, *request), Outcome::Failed { .. }));
    assert_eq!(failed.count(), 0, "everybody has been told already");
    world.assert_usable();
}

/// One mistake costs one collective more, however far ahead of the others some are.
#[test]
fn nobody_is_told_a_disagreement_twice() {
    let mut world = World::new(4);
    for rank in 0..3 {
        world.ask(rank, bcast(rank as u32, 0, vec![1; 5]));
    }
    world.settle();
    // Rank 2 waits in as many collectives as it likes when rank 3 makes its mistake.
    let ahead = [world.ask(2, barrier()), world.ask(2, barrier())];
    world.settle();
    world.ask(3, barrier());
    world.settle();
    let rounds: Vec<Vec<_>> = (0..3)
        .map(|round| {
            let ask = |world: &mut World, rank: usize| match (rank, round) {
                (2, 0 | 1) => ahead[round],
                _ => world.ask(rank, barrier()),
            };
            let requests = (0..4).map(|rank| ask(&mut world, rank)).collect();
            world.settle();
            requests
        })
        .collect();
    for (round, requests) in rounds.into_iter().enumerate() {
        for (rank, request) in requests.into_iter().enumerate() {
            let is_told = matches!(world.outcome(rank, request), Outcome::Failed { .. });
            assert_eq!(is_told, round == 0, "rank {rank}, {round}");
        }
    }
    world.assert_usable();
}

/// Whoever comes to a call that has failed for another reason is told what it has called itself.
#[test]
fn who_comes_late_with_another_call_is_told_its_own() {
    let mut world = World::new(3);
    let given_up = world.ask(0, barrier());
    world.cancel(0, given_up);
    world.settle();
    let late = world.ask(2, bcast(2, 0, vec![0; 5]));
    world.settle();
    let (_, text) = world.outcome(2, late).fault();
    assert!(text.contains("; rank 2 called bcast(root 0, "), "{text}");
}

#[test]
fn a_disagreement_is_told_before_the_death_that_it_led_to() {
    for others_call_first in [false, true] {
        let mut world = World::new(3);
        let root = world.ask(0, bcast(0, 0, vec![1; 5]));
        world.settle();
        assert!(world.is_done(0, root));
        let late = world.ask(1, barrier());
        world.settle();
        let (_, said) = world.outcome(1, late).fault();
        if others_call_first {
            // Rank 2 waits in the operation that rank 0 calls next, when rank 1 dies.
            world.ask(2, bcast(2, 0, vec![0; 5]));
            world.ask(2, barrier());
            world.settle();
        }
        world.kill(1);
        world.settle();
        let next = world.ask(0, barrier());
        let behind = world.ask(0, barrier());
        world.settle();
        let (fault, text) = world.outcome(0, next).fault();
        assert_eq!((fault.category, text), (Category::Mismatch, said));
        assert_eq!(world.outcome(0, behind).fault().0.category, Category::RankFailed);
    }
}

#[test]
fn a_receive_tells_what_a_rank_has_not_been_told() {
    let mut world = World::new(2);
    world.ask(0, bcast(0, 0, vec![1; 5]));
    world.settle();
    world.ask(1, barrier());
    world.settle();
    // A send does not: it may be done before anybody hears.
    let sent = world.ask(0, send(0, 0, "x"));
    let told = world.ask(0, recv(0, 0, 1));
    let receive = world.ask(0, recv(0, 0, 1));
    world.settle();
    assert_eq!(world.outcome(0, told).fault().0.category, Category::Mismatch);
    assert_eq!(world.outcome(0, receive).bytes(), b"x");
    assert!(world.is_done(0, sent));
    world.assert_usable();
}

#[test]
fn those_who_were_told_are_not_told_again_when_a_third_one_comes() {
    let mut world = World::new(3);
    let requests = [world.ask(0, barrier()), world.ask(1, ask(Call::Allgather, vec![1; 4], 12))];
    world.settle();
    assert!(world.is_done(0, requests[0]) && world.is_done(1, requests[1]));
    let late = world.ask(2, barrier());
    world.settle();
    assert_eq!(world.outcome(2, late).fault().0.category, Category::Mismatch);
    world.assert_usable();
}

#[test]
fn an_operation_after_a_mismatch_works_even_if_it_was_called_before_the_failure_came() {
    let mut world = World::new(3);
    let mut requests = Vec::new();
    for rank in 0..3 {
        world.ask(rank, if rank == 1 { ask(Call::Allgather, vec![1], 3) } else { barrier() });
        requests.push(world.ask(rank, barrier()));
    }
    world.settle();
    for (rank, request) in requests.into_iter().enumerate() {
        assert!(matches!(world.outcome(rank, request), Outcome::Done { .. }), "rank {rank}");
    }
    world.assert_usable();
}
