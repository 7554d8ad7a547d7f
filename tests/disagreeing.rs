//! Ranks that do not mean the same, and operations of users that fail: over memory and over TCP, everybody who is still
//! in the operation is told what is wrong, and the next one works.

use std::sync::Barrier;

use edgempi::hub::{Applied, Registry};
use edgempi::{Builder, Comm, Error, Group, Max, Operation, Rank, Sum, World};
use edgempi_tests::{on_ranks, tcp_worlds, tcp_worlds_with};

const R0: Rank = Rank::new(0);
const R1: Rank = Rank::new(1);
const R2: Rank = Rank::new(2);
/// Everybody gives, and rank 0 receives.
const TO_FIRST: Group<'static> = Group::new(&[R0, R1, R2], &[R0]);

/// What became of a call, and the line that made it.
type Made = (u32, Result<(), Error>);

/// Makes a call and waits for it.
macro_rules! made {
    ($call:expr) => {
        (line!(), $call.wait().map(drop))
    };
}

/// Runs `function` on 3 ranks joined over memory, then on 3 joined over TCP. Returns the results in rank order.
fn on_both<T: Send>(function: impl Fn(&World) -> T + Sync) -> [Vec<T>; 2] {
    let local = Builder::new().operations(operations()).local(3).expect("threads are left");
    [on_ranks(local, &function), on_ranks(tcp_worlds_with(3, &operations()), &function)]
}

#[track_caller]
fn assert_usable(comm: &Comm) {
    assert_eq!(comm.allreduce([comm.rank().get()], Max).wait(), Ok(vec![2]));
    assert_eq!(comm.apply(&Total, Some(&1)).wait().map(|total| total.is_some()), Ok(comm.rank() == R0));
}

/// The place of a call in the text for people.
fn at(line: u32) -> String {
    format!("{}:{line}:", file!())
}

/// Rank 0 makes one call and the others another, at the same time. Every rank is told of both, and where they are.
#[track_caller]
fn disagree(texts: [&str; 2], first: fn(&Comm) -> Made, second: fn(&Comm) -> Made) {
    let results = on_both(|world| {
        let comm = world.comm();
        let made = if comm.rank() == R0 { first(&comm) } else { second(&comm) };
        assert_usable(&comm);
        made
    });
    for made in results {
        let lines = [made[0].0, made[1].0];
        for (rank, (_, result)) in made.into_iter().enumerate() {
            let error = result.expect_err("they do not agree");
            assert!(matches!(error, Error::Mismatch { .. }), "rank {rank}: {error:?}");
            let said = error.to_string();
            let their_calls = ["rank 1 calls", "rank 2 calls", "ranks 1, 2 call"]
                .map(|who| format!("{who} {} at {}", texts[1], at(lines[1])));
            assert!(said.starts_with("the ranks do not agree: "), "rank {rank}: {said}");
            assert!(said.contains(&format!("rank 0 calls {} at {}", texts[0], at(lines[0]))), "rank {rank}: {said}");
            assert!(their_calls.iter().any(|call| said.contains(call)), "rank {rank}: {said}");
        }
    }
}

#[test]
fn different_operations() {
    disagree(
        ["barrier", "allgather(4 x u8)"], //
        |comm| made!(comm.barrier()),
        |comm| made!(comm.allgather([1u8; 4])),
    );
    disagree(
        ["allgather(3 x i64)", "alltoall(3 x i64)"],
        |comm| made!(comm.allgather([1i64; 3])),
        |comm| made!(comm.alltoall([1i64; 9])),
    );
    disagree(
        ["reduce(root 0, SUM, 2 x f32)", "allreduce(SUM, 2 x f32)"],
        |comm| made!(comm.reduce(0, [1f32; 2], Sum)),
        |comm| made!(comm.allreduce([1f32; 2], Sum)),
    );
}

#[test]
fn a_builtin_operation_and_one_of_the_users() {
    disagree(
        ["operation \"same\" version 1", "barrier"],
        |comm| made!(comm.apply(&Same, Some(&1))),
        |comm| made!(comm.barrier()),
    );
}

#[test]
fn different_roots() {
    disagree(
        ["gather(root 1, 2 x u8)", "gather(root 2, 2 x u8)"],
        |comm| made!(comm.gather(1, [1u8; 2])),
        |comm| made!(comm.gather(2, [1u8; 2])),
    );
    disagree(
        ["reduce(root 2, MAX, 70000 x u16)", "reduce(root 1, MAX, 70000 x u16)"],
        |comm| made!(comm.reduce(2, vec![1u16; 70_000], Max)),
        |comm| made!(comm.reduce(1, vec![1u16; 70_000], Max)),
    );
}

#[test]
fn different_datatypes() {
    disagree(
        ["allgather(2 x u32)", "allgather(2 x f32)"],
        |comm| made!(comm.allgather([1u32; 2])),
        |comm| made!(comm.allgather([1f32; 2])),
    );
    disagree(
        ["allgather(objects)", "allgather(3 x u8)"],
        |comm| made!(comm.objects().allgather(&1u8)),
        |comm| made!(comm.allgather([1u8; 3])),
    );
}

#[test]
fn different_counts() {
    disagree(
        ["allreduce(SUM, 3 x f64)", "allreduce(SUM, 4 x f64)"],
        |comm| made!(comm.allreduce([1f64; 3], Sum)),
        |comm| made!(comm.allreduce([1f64; 4], Sum)),
    );
    disagree(
        ["allreduce(SUM, 1000000 x f64)", "allreduce(SUM, 4 x f64)"],
        |comm| made!(comm.allreduce(vec![0f64; 1_000_000], Sum)),
        |comm| made!(comm.allreduce([1f64; 4], Sum)),
    );
    disagree(
        ["alltoall(2 x i8)", "alltoall(1 x i8)"],
        |comm| made!(comm.alltoall([1i8; 6])),
        |comm| made!(comm.alltoall([1i8; 3])),
    );
}

#[test]
fn different_reduce_ops() {
    disagree(
        ["allreduce(SUM, 1 x i32)", "allreduce(MAX, 1 x i32)"],
        |comm| made!(comm.allreduce([1i32], Sum)),
        |comm| made!(comm.allreduce([1i32], Max)),
    );
}

#[test]
fn three_that_all_differ_are_all_told() {
    for made in on_both(|world| {
        let comm = world.comm();
        let made = match comm.rank().get() {
            0 => made!(comm.barrier()),
            1 => made!(comm.allgather([1u8])),
            _ => made!(comm.allreduce([1u8], Max)),
        };
        assert_usable(&comm);
        made
    }) {
        for (rank, (_, result)) in made.into_iter().enumerate() {
            let error = result.expect_err("they do not agree");
            assert!(matches!(error, Error::Mismatch { .. }), "rank {rank}: {error:?}");
        }
    }
}

#[test]
fn a_rank_that_was_done_already_is_told_at_its_next_call() {
    let turn = Barrier::new(3);
    for results in on_both(|world| {
        let comm = world.comm();
        // The root of a bcast and a rank that has received it do not wait for the others.
        let (line, early) =
            if comm.rank() == R2 { (0, Ok(())) } else { made!(comm.bcast(0, [u8::from(comm.rank() == R0); 5])) };
        assert_eq!(early, Ok(()));
        turn.wait();
        let late = if comm.rank() == R2 { made!(comm.barrier()) } else { (line, Ok(())) };
        turn.wait();
        let next = comm.barrier().wait();
        assert_usable(&comm);
        (late, next)
    }) {
        let [first, second, third] = <[(Made, Result<(), Error>); 3]>::try_from(results).expect("three ranks");
        let said = third.0.1.as_ref().expect_err("it does not agree").to_string();
        let [bcast, barrier] = [at(first.0.0), at(third.0.0)];
        assert!(said.starts_with("the ranks do not agree: ranks 0, 1 call bcast(root 0, 5 x u8) at "), "{said}");
        assert!(said.contains(&bcast), "{said}");
        assert!(said.contains(&format!("; rank 2 calls barrier at {barrier}")), "{said}");
        for ((_, early), next) in [first, second, (third.0.clone(), third.1)] {
            let error = next.expect_err("the failure is told in the next operation, which therefore fails");
            assert!(early.is_ok() || early == third.0.1);
            assert!(matches!(&error, Error::Mismatch { .. }) && error.to_string() == said, "{error:?}");
        }
    }
}

#[test]
fn a_bcast_of_another_length_fails_at_the_receiver_and_is_told_to_the_root() {
    let turn = Barrier::new(3);
    for results in on_both(|world| {
        let comm = world.comm();
        let result = match comm.rank().get() {
            0 => comm.bcast(0, [1.5f32; 5]).wait().map(drop),
            _ => Ok(()),
        };
        turn.wait();
        let result = if comm.rank() == R0 { result } else { comm.bcast(0, [0f32; 6]).wait().map(drop) };
        turn.wait();
        // A receive, which nobody will serve, tells it at once.
        let told = (comm.rank() == R0).then(|| comm.recv::<u8>(1, 0).wait().map(drop));
        assert_usable(&comm);
        (result, told)
    }) {
        assert_eq!(results[0].0, Ok(()), "the root had left already");
        for (result, _) in &results[1..] {
            let said = result.as_ref().expect_err("the lengths differ").to_string();
            assert!(said.contains("rank 0 calls bcast(root 0, 5 x f32) at ") && said.contains("6 x f32"), "{said}");
        }
        let told = results[0].1.clone().expect("rank 0 has called").expect_err("it is told");
        assert!(matches!(told, Error::Truncated { len: 20, max: 24, .. }), "{told:?}");
    }
}

#[test]
fn a_send_and_a_receive_of_different_datatypes() {
    // One that is done before it is received, and one that waits for its receiver.
    for count in [2, 1 << 22] {
        for results in on_both(|world| {
            let comm = world.comm();
            let made = match comm.rank().get() {
                0 => made!(comm.send(1, 7, vec![0f32; count])),
                1 => made!(comm.recv::<u32>(0, 7)),
                _ => (0, Ok(())),
            };
            assert_usable(&comm);
            made
        }) {
            let [(send, sent), (receive, received), _] = <[Made; 3]>::try_from(results).expect("three ranks");
            let error = received.expect_err("they do not agree");
            let said = error.to_string();
            assert!(said.starts_with(&format!("rank 0 sends {count} x f32 (tag 7) at {}", at(send))), "{said}");
            assert!(said.contains(&format!(" and rank 1 receives u32 at {}", at(receive))), "{said}");
            if count > 2 {
                assert_eq!(sent, Err(error));
            }
        }
    }
}

#[test]
fn objects_of_another_type_do_not_decode_and_the_sender_is_named() {
    for results in on_both(|world| {
        let objects = world.comm();
        let objects = objects.objects();
        match world.rank().get() {
            0 => objects.send(1, 7, "some text").wait().map(drop),
            1 => objects.recv::<(u8, bool)>(0, 7).wait().map(drop),
            _ => Ok(()),
        }
    }) {
        let error = results[1].clone().expect_err("a text is no pair");
        assert_eq!(results[0], Ok(()));
        assert!(error.to_string().starts_with("the object from rank 0 is no (u8, bool): "), "{error}");
    }
}

// Operations of users.

macro_rules! operation {
    ($name:ident = $text:literal version $version:literal, $input:ty => $output:ty, $group:expr) => {
        struct $name;

        impl Operation for $name {
            const NAME: &'static str = $text;
            const VERSION: u32 = $version;
            type Parameters = ();
            type Input = $input;
            type Output = $output;

            fn parameters(&self) {}

            fn group(&self) -> Group<'_> {
                $group
            }
        }
    };
}

operation!(Total = "total" version 1, u32 => u32, TO_FIRST);
operation!(Same = "same" version 1, u32 => u32, Group::ALL);
operation!(Misspelt = "totla" version 1, u32 => u32, TO_FIRST);
operation!(Newer = "total" version 2, u32 => u32, TO_FIRST);
operation!(NewerOfAll = "same" version 2, u32 => u32, Group::ALL);
operation!(Refuses = "refuses" version 1, u32 => u32, TO_FIRST);
operation!(Panics = "panics" version 1, u32 => u32, TO_FIRST);
operation!(PanicsSilently = "panics silently" version 1, u32 => u32, TO_FIRST);
operation!(Forgets = "forgets" version 1, u32 => u32, TO_FIRST);
operation!(Text = "total" version 1, String => u32, TO_FIRST);
operation!(AsText = "total" version 1, u32 => String, TO_FIRST);

fn operations() -> Registry {
    type Outputs = Result<Vec<(Rank, u32)>, String>;
    let mut registry = Registry::new();
    registry.insert_fn("total", 1, |call: Applied<'_, ()>, inputs: Vec<(Rank, u32)>| -> Outputs {
        let total = inputs.iter().map(|(_, value)| value).sum();
        Ok(call.destinations.iter().map(|rank| (*rank, total)).collect())
    });
    registry.insert_fn("same", 1, |_: Applied<'_, ()>, inputs: Vec<(Rank, u32)>| -> Outputs { Ok(inputs) });
    registry.insert_fn("refuses", 1, |_: Applied<'_, ()>, _: Vec<(Rank, u32)>| -> Outputs {
        Err("the accountant says no".to_owned())
    });
    registry.insert_fn("panics", 1, |_: Applied<'_, ()>, inputs: Vec<(Rank, u32)>| -> Outputs {
        panic!("nobody expected {} inputs", inputs.len())
    });
    registry.insert_fn("panics silently", 1, |_: Applied<'_, ()>, _: Vec<(Rank, u32)>| -> Outputs {
        std::panic::panic_any(7)
    });
    registry.insert_fn("forgets", 1, |_: Applied<'_, ()>, _: Vec<(Rank, u32)>| -> Outputs { Ok(Vec::new()) });
    registry
}

/// All ranks make a call that fails on all of them in the same words, and the next one works. Returns the line and the
/// words.
#[track_caller]
fn fails_on_everybody(call: impl Fn(&Comm) -> Made + Sync, is_kind: fn(&Error) -> bool) -> [(u32, String); 2] {
    on_both(|world| {
        let comm = world.comm();
        let made = call(&comm);
        assert_usable(&comm);
        made
    })
    .map(|made| {
        let (line, result) = made[0].clone();
        let error = result.expect_err("it fails");
        assert!(is_kind(&error), "{error:?}");
        for (_, other) in &made {
            assert_eq!(*other, Err(error.clone()));
        }
        (line, error.to_string())
    })
}

/// [`fails_on_everybody`] because of the user's code.
#[track_caller]
fn fails_at_the_hub(call: impl Fn(&Comm) -> Made + Sync, text: &str) {
    for (line, said) in fails_on_everybody(call, |error| matches!(error, Error::Remote { .. })) {
        let (why, calls) = said.split_once("; rank").expect("it says whose call it was");
        assert!(text.starts_with(why), "{said}");
        assert!(calls.contains(&format!(" call it at {}", at(line))), "{said}");
    }
}

/// [`fails_on_everybody`] because the hub has no such operation. Whoever called first is named.
#[track_caller]
fn is_unknown(call: impl Fn(&Comm) -> Made + Sync, operation: &str, instead: &str) {
    for (line, said) in fails_on_everybody(call, |error| matches!(error, Error::UnknownOperation { .. })) {
        let expected = (0..3).map(|rank| format!("rank {rank} calls operation {operation} at {}", at(line)));
        assert!(expected.into_iter().any(|call| said.starts_with(&call)), "{said}");
        assert!(said.ends_with(&format!(", and the hub has {instead}")), "{said}");
    }
}

#[test]
fn operations_that_work() {
    for results in on_both(|world| {
        let comm = world.comm();
        assert_usable(&comm);
        (
            comm.apply(&Total, Some(&(comm.rank().get() + 1))).wait(),
            comm.apply(&Same, Some(&(comm.rank().get() * 7))).wait(),
        )
    }) {
        let expected = [(Ok(Some(6)), Ok(Some(0))), (Ok(None), Ok(Some(7))), (Ok(None), Ok(Some(14)))];
        assert_eq!(results, expected);
    }
}

#[test]
fn an_unknown_operation_is_answered_with_the_known_ones() {
    is_unknown(
        |comm| made!(comm.apply(&Misspelt, Some(&1))),
        "\"totla\" version 1",
        "none of that name; it has \"forgets\", \"panics\", \"panics silently\", \"refuses\", \"same\", \"total\"",
    );
}

#[test]
fn another_version_of_an_operation_is_refused_with_both() {
    is_unknown(|comm| made!(comm.apply(&Newer, Some(&1))), "\"total\" version 2", "version 1 of it");
}

#[test]
fn a_hub_without_operations_says_so() {
    for worlds in [edgempi::local(3).expect("threads are left"), tcp_worlds(3)] {
        let results = on_ranks(worlds, |world| {
            let result = world.comm().apply(&Same, Some(&1)).wait();
            // A rank that leaves before another has called would be what that one is told of.
            world.comm().barrier().wait().expect("the next call works");
            result
        });
        for result in results {
            let error = result.expect_err("nobody registered it");
            assert!(matches!(error, Error::UnknownOperation { .. }), "{error:?}");
            assert!(error.to_string().ends_with("none of that name: nothing is registered at it"), "{error}");
        }
    }
}

#[test]
fn a_rank_with_another_version_of_an_operation_is_told_so_and_so_are_the_others() {
    // Whether the one with the hub's version comes first, or one of the others.
    for first in [R0, R1] {
        for made in on_both(|world| {
            let comm = world.comm();
            if comm.rank() != first {
                comm.objects().recv::<()>(first, 0).wait().expect("it has called");
            }
            let request =
                if comm.rank() == R0 { comm.apply(&Same, Some(&1)) } else { comm.apply(&NewerOfAll, Some(&1)) };
            if comm.rank() == first {
                for other in (0..3).filter(|other| *other != first.get()) {
                    comm.objects().send(other, 0, &()).wait().expect("the others are there");
                }
            }
            let result = request.wait().map(drop);
            assert_usable(&comm);
            result
        }) {
            for result in made {
                let error = result.expect_err("there is no version 2");
                let said = error.to_string();
                assert!(said.contains("operation \"same\" version 2 at "), "{said}");
                if first == R0 {
                    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
                    assert!(said.contains("rank 0 calls operation \"same\" version 1 at "), "{said}");
                } else {
                    assert!(matches!(error, Error::UnknownOperation { .. }), "{error:?}");
                    assert!(said.starts_with("rank 1 calls ") && said.ends_with(", and the hub has version 1 of it"));
                }
            }
        }
    }
}

#[test]
fn ranks_that_call_different_operations_of_one_group_do_not_agree() {
    disagree(
        ["operation \"total\" version 1", "operation \"refuses\" version 1"],
        |comm| made!(comm.apply(&Total, Some(&1))),
        |comm| made!(comm.apply(&Refuses, Some(&1))),
    );
}

#[test]
fn an_error_of_an_operation_reaches_every_participant() {
    fails_at_the_hub(
        |comm| made!(comm.apply(&Refuses, Some(&1))),
        "operation \"refuses\" failed: the accountant says no",
    );
}

#[test]
fn a_panic_of_an_operation_reaches_every_participant() {
    fails_at_the_hub(
        |comm| made!(comm.apply(&Panics, Some(&1))),
        "operation \"panics\" panicked at the hub: nobody expected 3 inputs",
    );
    fails_at_the_hub(
        |comm| made!(comm.apply(&PanicsSilently, Some(&1))),
        "operation \"panics silently\" panicked at the hub: it did not say why",
    );
}

#[test]
fn an_operation_that_leaves_out_a_destination_fails() {
    fails_at_the_hub(
        |comm| made!(comm.apply(&Forgets, Some(&1))),
        "operation \"forgets\" failed: it returned no output for rank 0",
    );
}

#[test]
fn an_input_of_another_type_names_its_rank() {
    fails_at_the_hub(
        |comm| match comm.rank() {
            // Longer than any number.
            R1 => made!(comm.apply(&Text, Some(&"one".repeat(100)))),
            _ => made!(comm.apply(&Total, Some(&1))),
        },
        "operation \"total\" failed: the input of rank 1 does not decode: 300 bytes are left over",
    );
}

#[test]
fn an_output_of_another_type_is_the_operations_and_no_ranks() {
    for results in on_both(|world| world.comm().apply(&AsText, Some(&100)).wait().map(drop)) {
        let error = results[0].clone().expect_err("a number is no text");
        let expected = "the output of operation \"total\" is no alloc::string::String: ";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(results[1..], [Ok(()), Ok(())], "they only give");
    }
}
