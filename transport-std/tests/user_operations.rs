//! Operations of one's own, as hosts call them: groups of any kind, many at once, folds of buffers, and how they fail.

use edgempi::hub::{Applied, Registry};
use edgempi::{Builder, Comm, Error, Group, Named, Operation, Rank, Request, Sum, World};
use serde::{Deserialize, Serialize};

const SPREAD: Named = Named::new("spread");
const TOTAL: Named = Named::new("total");
const PAIRS: Named = Named::new("pairs");

/// What ranks give: each kind of rank something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Given {
    Question(String),
    Numbers(Vec<u32>),
    Nothing,
}

/// What ranks get.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Gotten {
    Answer { to: String, sum: u32 },
    Count(usize),
}

struct Ask {
    sources: Vec<Rank>,
    destinations: Vec<Rank>,
    factor: u32,
}

impl Operation for Ask {
    const NAME: &'static str = "ask";
    const VERSION: u32 = 3;
    type Parameters = u32;
    type Input = Given;
    type Output = Gotten;

    fn parameters(&self) -> u32 {
        self.factor
    }

    fn group(&self) -> Group<'_> {
        Group::new(&self.sources, &self.destinations)
    }
}

/// Whoever asks gets the sum of all numbers, times the parameter; the others hear how many there were.
fn answer(call: Applied<'_, u32>, inputs: Vec<(Rank, Given)>) -> Result<Vec<(Rank, Gotten)>, String> {
    let numbers: Vec<u32> = inputs
        .iter()
        .flat_map(|(_, given)| match given {
            Given::Numbers(numbers) => numbers.clone(),
            Given::Question(_) | Given::Nothing => Vec::new(),
        })
        .collect();
    let question = |to: Rank| {
        inputs.iter().find_map(|(rank, given)| match given {
            Given::Question(text) if *rank == to => Some(text.clone()),
            _ => None,
        })
    };
    let outputs = call.destinations.iter().map(|rank| {
        let gotten = match question(*rank) {
            Some(to) => Gotten::Answer { to, sum: numbers.iter().sum::<u32>() * call.parameters },
            None => Gotten::Count(numbers.len()),
        };
        (*rank, gotten)
    });
    Ok(outputs.collect())
}

fn worlds(size: u32) -> Vec<World> {
    let mut operations = Registry::new();
    operations.insert_fn(Ask::NAME, Ask::VERSION, answer);
    operations.insert_fold_fn(TOTAL.name, TOTAL.version, |[a]: [u32; 1], [b]: [u32; 1]| [a.wrapping_add(b)], |sum| sum);
    operations.insert_fold_fn(PAIRS.name, PAIRS.version, |[a, b], [c, d]: [u32; 2]| [a + c, b + d], |sums| sums);
    operations.insert_columns_fn(SPREAD.name, SPREAD.version, |values: &mut [i32]| {
        assert!(values[0] != i32::MIN, "no such value");
        values.iter().max().unwrap_or(&0) - values.iter().min().unwrap_or(&0)
    });
    operations.insert_reduce("longest", 2, |a: String, b: String| if b.len() > a.len() { b } else { a });
    Builder::new().operations(operations).local(size).unwrap()
}

fn comms(worlds: &[World]) -> Vec<Comm> {
    worlds.iter().map(World::comm).collect()
}

fn all<T>(requests: Vec<Request<'_, T>>) -> Vec<Result<T, Error>> {
    requests.into_iter().map(Request::wait).collect()
}

fn ranks(numbers: &[u32]) -> Vec<Rank> {
    numbers.iter().map(|number| Rank::new(*number)).collect()
}

#[test]
fn ranks_give_and_get_different_types_by_an_enum() {
    let worlds = worlds(4);
    let comms = comms(&worlds);
    let operation = Ask { sources: ranks(&[2, 0, 1]), destinations: ranks(&[1, 3, 2]), factor: 10 };
    let given = [
        Some(Given::Numbers(vec![1, 2])),
        Some(Given::Question("how much".to_owned())),
        Some(Given::Numbers(vec![4])),
        // No source, so nobody looks at it.
        Some(Given::Nothing),
    ];
    let requests = comms.iter().zip(&given).map(|(comm, given)| comm.apply(&operation, given.as_ref())).collect();
    let got: Result<Vec<_>, _> = all(requests).into_iter().collect();
    let answer = Gotten::Answer { to: "how much".to_owned(), sum: 70 };
    assert_eq!(got.unwrap(), [None, Some(answer), Some(Gotten::Count(3)), Some(Gotten::Count(3))]);
}

#[test]
fn a_hundred_calls_of_overlapping_groups_are_in_flight_at_once() {
    let worlds = worlds(5);
    let comms = comms(&worlds);
    // Neighbours, one after the other: every rank is in groups with both of its own, and in different orders.
    let calls: Vec<Ask> = (0..100)
        .map(|call| {
            let (one, other) = (call % 5, (call + 1 + call / 50) % 5);
            Ask { sources: ranks(&[one, other]), destinations: ranks(&[other]), factor: call }
        })
        .collect();
    let mut requests = Vec::new();
    for comm in &comms {
        for (number, call) in calls.iter().enumerate() {
            if !call.sources.contains(&comm.rank()) {
                continue;
            }
            let given = match call.destinations.contains(&comm.rank()) {
                true => Given::Question(number.to_string()),
                false => Given::Numbers(vec![1, number as u32]),
            };
            requests.push((number, comm.apply(call, Some(&given))));
        }
    }
    assert_eq!(requests.len(), 200);
    // The last first: they do not wait for each other.
    let mut answers = 0;
    for (number, request) in requests.into_iter().rev() {
        let sum = (1 + number as u32) * number as u32;
        if let Some(gotten) = request.wait().unwrap() {
            assert_eq!(gotten, Gotten::Answer { to: number.to_string(), sum });
            answers += 1;
        }
    }
    assert_eq!(answers, 100);
}

#[test]
fn a_fold_takes_vectors_of_many_windows_and_gives_them_back_in_place() {
    let worlds = worlds(3);
    let comms = comms(&worlds);
    let len = 500_000;
    let vector = |rank: u32| (0..len).map(|at| at * (rank + 1)).collect::<Vec<u32>>();
    let expected: Vec<u32> = (0..len).map(|at| at * 6).collect();
    let requests = comms.iter().map(|comm| comm.fold_all(TOTAL, vector(comm.rank().get()))).collect();
    for result in all(requests) {
        assert!(result.unwrap() == expected);
    }
    let requests = comms.iter().map(|comm| comm.fold_to(TOTAL, 1, vector(comm.rank().get()))).collect();
    for (rank, result) in all(requests).into_iter().enumerate() {
        assert!(result.unwrap() == (rank == 1).then(|| expected.clone()), "rank {rank}");
    }
}

#[test]
fn lengths_and_types_that_differ_fail_on_every_rank_of_a_fold() {
    let worlds = worlds(2);
    let comms = comms(&worlds);
    let requests = vec![comms[0].fold_all(TOTAL, vec![1u32; 3]), comms[1].fold_all(TOTAL, vec![1u32; 4])];
    for result in all(requests) {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("rank 0 calls operation \"total\" version 1 (3 x u32) at "), "{text}");
        assert!(text.contains("; rank 1 calls operation \"total\" version 1 (4 x u32) at "), "{text}");
    }
    let (words, halves) = (comms[0].fold_all(TOTAL, vec![1u32; 3]), comms[1].fold_all(TOTAL, vec![1u16; 6]));
    let (words, halves) = (words.wait().unwrap_err(), halves.wait().unwrap_err());
    for error in [words, halves] {
        assert!(error.to_string().contains("(u32)") && error.to_string().contains("(u16)"), "{error}");
    }
    let requests = comms.iter().map(|comm| comm.fold_all(PAIRS, [1u32; 3])).collect();
    for result in all(requests) {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("elements of 8 bytes, and 12 bytes are no whole number"), "{error}");
    }
    let missing = comms[0].fold(TOTAL, Group::ALL, None::<Vec<u32>>).wait().unwrap_err();
    assert!(missing.to_string().contains("gives no buffer"), "{missing}");
}

#[test]
fn a_panic_in_columns_fails_that_call_on_all_and_nothing_else() {
    let worlds = worlds(3);
    let comms = comms(&worlds);
    // It panics in the last range alone.
    let mut wild = vec![0; 600_000];
    wild[599_999] = i32::MIN;
    let bad = comms.iter().map(|comm| comm.fold_all(SPREAD, wild.clone())).collect();
    let good = comms.iter().map(|comm| comm.fold_all(SPREAD, [comm.rank().get() as i32 * 5])).collect();
    let sums = comms.iter().map(|comm| comm.allreduce([1], Sum)).collect();
    for result in all(bad) {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Remote { .. }), "{error:?}");
        let text = error.to_string();
        let (why, place) = text.split_once("; ranks 0, 1, 2 call it").expect("it says whose call it was");
        assert_eq!(why, "operation \"spread\" panicked at the hub: no such value");
        assert!(place.starts_with(" at transport-std/tests/user_operations.rs:"), "{text}");
        assert_eq!(error.remote::<String>(), None, "a panic is no error of the user's");
    }
    assert!(all(good).into_iter().all(|result| result.unwrap() == [10]));
    assert!(all(sums).into_iter().all(|result| result.unwrap() == [3]));
}

#[test]
fn a_named_reduction_takes_any_value_and_tells_of_names_that_are_not_there() {
    let worlds = worlds(3);
    let comms = comms(&worlds);
    const LONGEST: Named = Named::new("longest").version(2);
    let word = |comm: &Comm| ["to", "exist", "or"][comm.rank().index()].to_owned();
    let requests = comms.iter().map(|comm| comm.objects().allreduce(word(comm), LONGEST)).collect();
    assert!(all(requests).into_iter().all(|result| result.unwrap() == "exist"));
    let requests = comms.iter().map(|comm| comm.objects().reduce(2, word(comm), LONGEST)).collect();
    let results: Vec<_> = all(requests).into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [None, None, Some("exist".to_owned())]);
    let requests = comms.iter().map(|comm| comm.objects().allreduce(word(comm), Named::new("longest"))).collect();
    for result in all(requests) {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::UnknownOperation { .. }), "{error:?}");
        assert!(error.to_string().contains("version 2"), "{error}");
    }
    let refused = comms[0].objects().scan(String::new(), LONGEST).wait().unwrap_err();
    assert!(matches!(refused, Error::InvalidArgument { .. }), "{refused:?}");
}

#[test]
fn a_text_is_an_error_like_any_other() {
    struct Fails;
    impl Operation for Fails {
        const NAME: &'static str = "fails";
        type Parameters = ();
        type Input = ();
        type Output = ();
        fn parameters(&self) {}
        fn group(&self) -> Group<'_> {
            Group::ALL
        }
    }
    let mut operations = Registry::new();
    operations.insert_fn(Fails::NAME, 1, |_: Applied<'_, ()>, _: Vec<(Rank, ())>| Err::<Vec<(Rank, ())>, _>("no"));
    let worlds = Builder::new().operations(operations).local(2).unwrap();
    let requests = worlds.iter().map(|world| world.comm().apply(&Fails, Some(&()))).collect();
    for result in all(requests) {
        let error = result.unwrap_err();
        let text = error.to_string();
        let expected = "operation \"fails\" failed: no; ranks 0, 1 call it at transport-std/tests/user_operations.rs:";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(error.remote::<String>().as_deref(), Some("no"));
        assert_eq!(error.remote::<(u64, u64)>(), None, "these bytes are no such pair");
    }
}

/// Neither the same size nor a multiple of it makes them the same elements.
#[test]
fn a_typed_fold_of_other_elements_is_refused_on_all_ranks() -> Result<(), Error> {
    let mut operations = Registry::new();
    operations.insert_fold_fn("sums", 1, |[a]: [f32; 1], [b]: [f32; 1]| [a + b], |sum| sum);
    operations.insert_columns_fn("greatest", 2, |values: &mut [f32]| values.iter().copied().fold(0.0, f32::max));
    let worlds = Builder::new().operations(operations).local(2)?;
    let comms: Vec<Comm> = worlds.iter().map(World::comm).collect();
    for (named, version) in [(Named::new("sums"), 1), (Named::new("greatest").version(2), 2)] {
        // Of the same size, and of a multiple of it.
        for request in comms.iter().map(|comm| comm.fold_all(named, [1_i32, 2])).collect::<Vec<_>>() {
            let error = request.wait().expect_err("integers are no floats");
            let Error::Mismatch { reason } = &error else { panic!("{error:?}") };
            let expected = format!(" calls operation \"{}\" version {version} (i32) at ", named.name);
            assert!(reason.contains(&expected), "{reason}");
            assert!(reason.ends_with(", and the operation takes buffers of f32"), "{reason}");
        }
        for request in comms.iter().map(|comm| comm.fold_all(named, [1.5_f64])).collect::<Vec<_>>() {
            assert!(matches!(request.wait(), Err(Error::Mismatch { .. })));
        }
        for request in comms.iter().map(|comm| comm.fold_all(named, [1.5_f32])).collect::<Vec<_>>() {
            request.wait()?;
        }
    }
    Ok(())
}
