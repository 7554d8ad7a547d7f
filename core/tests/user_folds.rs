//! Folds and columns that users register at the hub: buffers of any length go through them range by range.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use edgempi_core::hub::{self, MAX_ELEMENT, Registry, TypedInput};
use edgempi_core::operation::{Columns, Fold, Input, fold_all};
use edgempi_core::request::Receive;
use edgempi_core::{Call, Category, Datatype, Group, Rank, RequestId};
use world::{Ask, Outcome, Random, World, words};

const R0: Rank = Rank::new(0);
const R1: Rank = Rank::new(1);
const R2: Rank = Rank::new(2);
const R3: Rank = Rank::new(3);
const ALL: Group<'static> = Group::ALL;
/// Two give, in an order of their own, and two others receive.
const ACROSS: Group<'static> = Group::new(&[R3, R1], &[R0, R2]);

/// Odd elements of three bytes; neither associative nor commutative. Notes how much it has been given.
#[derive(Clone, Default)]
struct Mix {
    longest: Arc<AtomicUsize>,
    combined: Arc<AtomicUsize>,
}

impl Fold for Mix {
    fn element_size(&self) -> usize {
        3
    }

    fn combine(&self, left: &mut [u8], right: &[u8]) {
        assert!(left.len() == right.len() && left.len().is_multiple_of(3));
        self.longest.fetch_max(left.len(), Ordering::Relaxed);
        self.combined.fetch_add(left.len(), Ordering::Relaxed);
        for (left, right) in left.as_chunks_mut().0.iter_mut().zip(right.as_chunks().0) {
            let ([a, b, c], [d, e, f]): ([u8; 3], [u8; 3]) = (*left, *right);
            *left = [a.wrapping_mul(31).wrapping_add(d), b.wrapping_mul(17) ^ e.wrapping_add(c), c.rotate_left(3) ^ f];
        }
    }

    fn finish(&self, result: &mut [u8]) {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// The largest of each place, of elements of two bytes.
#[derive(Clone, Default)]
struct Largest {
    longest: Arc<AtomicUsize>,
}

impl Columns for Largest {
    fn element_size(&self) -> usize {
        2
    }

    fn combine(&self, columns: &[&[u8]], result: &mut [u8]) {
        assert!(result.iter().all(|byte| *byte == 0), "an earlier message's");
        self.longest.fetch_max(result.len(), Ordering::Relaxed);
        for (at, place) in result.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let values = columns.iter().map(|column| column.as_chunks::<2>().0[at]);
            *place = values.max_by_key(|value| u16::from_le_bytes(*value)).unwrap();
        }
    }
}

/// Elements of any size, right or wrong.
struct Sized(usize);

impl Fold for Sized {
    fn element_size(&self) -> usize {
        self.0
    }

    fn combine(&self, left: &mut [u8], right: &[u8]) {
        assert!(left.len() == right.len() && left.len().is_multiple_of(self.0));
        left.iter_mut().zip(right).for_each(|(left, right)| *left = left.wrapping_add(*right));
    }
}

fn registry(mix: &Mix, largest: &Largest) -> Registry {
    let mut registry = Registry::new();
    registry.insert_fold("mix", 1, mix.clone());
    registry.insert_columns("largest", 1, largest.clone());
    registry.insert_fold("none", 1, Sized(0));
    registry.insert_fold("huge", 1, Sized(MAX_ELEMENT as usize + 1));
    registry.insert_fold("most", 1, Sized(MAX_ELEMENT as usize));
    registry.insert_columns_fn("median", 1, |values: &mut [u32]| {
        values.sort_unstable();
        values[values.len() / 2]
    });
    registry.insert_fold_fn(
        "weighted mean",
        1,
        |[a, v]: [f32; 2], [b, w]: [f32; 2]| [a + b, v + w],
        |[sum, weight]| [sum / weight, weight],
    );
    registry.insert_reduce("join", 3, |a: String, b: String| format!("({a}{b})"));
    registry
}

fn world(size: u32) -> World {
    World::with(hub::Config::new(size), registry(&Mix::default(), &Largest::default()), |_, _| {})
}

/// A hub with little room and ranks with small frames, a board with the smallest.
fn narrow(size: u32, mix: &Mix, largest: &Largest) -> World {
    let mut config = hub::Config::new(size);
    (config.max_payload, config.window, config.queue_size) = (1024, WINDOW as u64, 2048);
    World::with(config, registry(mix, largest), |rank, config| {
        config.max_payload = if rank == 1 { 200 } else { 512 };
        config.receive_window = if rank == 1 { 256 } else { 4096 };
    })
}

const WINDOW: usize = 4096;

fn fold(name: &'static str, group: Group<'static>, bytes: Vec<u8>) -> Ask<'static> {
    Ask {
        call: Call::User { name, version: 1, group },
        datatype: Datatype::U8,
        parts: vec![bytes],
        varied: false,
        receive: Receive::AtMost(1 << 30),
    }
}

/// The same of elements of a type.
fn typed(datatype: Datatype, name: &'static str, bytes: Vec<u8>) -> Ask<'static> {
    Ask { datatype, ..fold(name, ALL, bytes) }
}

/// Bytes of a rank, in no order.
fn bytes(rank: u32, len: usize) -> Vec<u8> {
    let mut random = Random(rank.into());
    (0..len).map(|_| random.below(256) as u8).collect()
}

/// What the mix of these ranks is.
fn mixed(ranks: &[u32], len: usize) -> Vec<u8> {
    let given: Vec<[Vec<u8>; 1]> = ranks.iter().map(|rank| [bytes(*rank, len)]).collect();
    let mut inputs: Vec<_> = given.iter().map(|given| Input::new(given, 0)).collect();
    fold_all(&Mix::default(), &mut inputs, len)
}

#[track_caller]
fn all_fail(world: &World, requests: &[RequestId], category: Category, words: &[&str]) {
    for (rank, request) in requests.iter().enumerate() {
        let (fault, text) = world.outcome(rank, *request).fault();
        assert_eq!(fault.category, category, "rank {rank}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "rank {rank}: {text}");
    }
}

#[test]
fn a_fold_has_the_shape_of_every_fold_and_is_finished_once() {
    for size in [1, 2, 3, 5, 8] {
        let mut world = world(size);
        let expected = mixed(&(0..size).collect::<Vec<_>>(), 300);
        for outcome in world.all(|rank| fold("mix", ALL, bytes(rank, 300))) {
            assert_eq!(outcome.bytes(), expected);
        }
        world.assert_usable();
    }
}

#[test]
fn buffers_far_larger_than_the_window_go_through_range_by_range() {
    let (mix, largest) = (Mix::default(), Largest::default());
    let mut world = narrow(4, &mix, &largest);
    let len = 60 * WINDOW;
    let requests: Vec<_> = (0..4).map(|rank| world.ask(rank, fold("mix", ALL, bytes(rank as u32, len)))).collect();
    let mut most = 0;
    while world.step() {
        most = most.max(world.hub.status().windows);
    }
    let expected = mixed(&[0, 1, 2, 3], len);
    for (rank, request) in requests.into_iter().enumerate() {
        assert!(world.outcome(rank, request).bytes() == expected, "rank {rank}");
    }
    // A window for each rank, and one for the result.
    assert!((1..=5 * WINDOW as u64).contains(&most), "{most} bytes of windows");
    assert!((1..=WINDOW).contains(&mix.longest.load(Ordering::Relaxed)));

    let outcomes = world.all(|rank| fold("largest", ALL, bytes(rank, len)));
    let given: Vec<Vec<u8>> = (0..4).map(|rank| bytes(rank, len)).collect();
    let columns: Vec<&[u8]> = given.iter().map(Vec::as_slice).collect();
    let mut expected = vec![0; len];
    Largest::default().combine(&columns, &mut expected);
    assert!(outcomes.into_iter().all(|outcome| outcome.bytes() == expected));
    assert!((1..=WINDOW).contains(&largest.longest.load(Ordering::Relaxed)));
    world.assert_usable();
}

#[test]
fn a_destination_that_does_not_read_holds_the_fold_up_within_a_few_windows() {
    let mix = Mix::default();
    let mut world = narrow(4, &mix, &Largest::default());
    let len = 60 * WINDOW;
    let ask = |world: &mut World, rank: usize| world.ask(rank, fold("mix", ALL, bytes(rank as u32, len)));
    let requests: Vec<_> = (0..4).map(|rank| ask(&mut world, rank)).collect();
    // Rank 1 goes on giving, and takes nothing.
    let round = |world: &mut World| {
        let mut moved = false;
        for rank in 0..4 {
            moved |= world.transmit(rank) | world.deliver_up(rank);
            if rank != 1 || !world.is_done(0, requests[0]) && world.nodes[1].to_rank.len() < 2 {
                moved |= world.deliver_down(rank);
            }
        }
        moved | world.step_hub()
    };
    while round(&mut world) {}
    let combined = mix.combined.load(Ordering::Relaxed);
    assert!(!world.is_done(0, requests[0]) && combined < 20 * WINDOW, "{combined} bytes were combined");
    world.settle();
    let expected = mixed(&[0, 1, 2, 3], len);
    assert!((0..4).all(|rank| world.outcome(rank, requests[rank]).bytes() == expected));
    world.assert_usable();
}

#[test]
fn some_give_and_others_receive() {
    let mut world = narrow(5, &Mix::default(), &Largest::default());
    for len in [0, 3, 600, 30_000] {
        let ask = |rank: u32| match rank {
            1 | 3 => fold("mix", ACROSS, bytes(rank, len)),
            _ => Ask { parts: Vec::new(), ..fold("mix", ACROSS, Vec::new()) },
        };
        let requests: Vec<_> = (0..4).map(|rank| world.ask(rank, ask(rank as u32))).collect();
        world.settle();
        let expected = mixed(&[3, 1], len);
        for (rank, request) in requests.into_iter().enumerate() {
            let got = world.outcome(rank, request).bytes();
            assert!(got == if rank % 2 == 0 { expected.clone() } else { Vec::new() }, "rank {rank}, {len} bytes");
        }
        world.assert_usable();
    }
}

#[test]
fn a_fold_that_nobody_receives_takes_all_that_is_given() {
    const INTO_NOTHING: Group<'static> = Group::new(&[R0, R1], &[]);
    let mut world = narrow(2, &Mix::default(), &Largest::default());
    for len in [0, 3, 600, 60 * WINDOW] {
        for outcome in world.all(|rank| fold("mix", INTO_NOTHING, bytes(rank, len))) {
            assert_eq!(outcome.bytes(), b"", "{len} bytes");
        }
        world.assert_usable();
    }
}

#[test]
fn functions_on_numbers_make_folds_and_columns() {
    let mut world = world(3);
    let values = |rank: u32| words((0..50).map(|at| (at * 7 + rank * 13) % 19));
    for outcome in world.all(|rank| typed(Datatype::U32, "median", values(rank))) {
        let expected = words((0..50).map(|at| {
            let mut values = [0, 1, 2].map(|rank| (at * 7 + rank * 13) % 19);
            values.sort_unstable();
            values[1]
        }));
        assert_eq!(outcome.bytes(), expected);
    }
    let floats = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let given = [[2.0, 1.0, 9.0, 3.0], [12.0, 3.0, 0.0, 0.0], [4.0, 4.0, 1.0, 1.0]];
    for outcome in world.all(|rank| typed(Datatype::F32, "weighted mean", floats(&given[rank as usize]))) {
        assert_eq!(outcome.bytes(), floats(&[18.0 / 8.0, 8.0, 10.0 / 4.0, 4.0]));
    }
    world.assert_usable();
}

#[test]
fn lengths_that_differ_fail_on_everybody_with_both() {
    let mut world = world(3);
    let requests = [0, 1, 2].map(|rank| world.ask(rank, fold("mix", ALL, bytes(0, if rank == 2 { 6 } else { 9 }))));
    world.settle();
    all_fail(
        &world,
        &requests,
        Category::Mismatch,
        &[
            "ranks 0, 1 call operation \"mix\" version 1 (9 x u8)",
            "; rank 2 calls operation \"mix\" version 1 (6 x u8)",
        ],
    );
    world.assert_usable();
}

#[test]
fn a_length_that_ends_within_an_element_fails_on_everybody() {
    let mut world = narrow(2, &Mix::default(), &Largest::default());
    for len in [4, 30_001] {
        let requests = [0, 1].map(|rank| world.ask(rank, fold("mix", ALL, bytes(0, len))));
        world.settle();
        let len = format!("{len} bytes");
        all_fail(&world, &requests, Category::Mismatch, &["\"mix\"", "elements of 3 bytes", &len, "no whole number"]);
        world.assert_usable();
    }
}

#[test]
fn elements_are_from_one_byte_to_the_most() {
    let mut world = narrow(2, &Mix::default(), &Largest::default());
    for name in ["none", "huge"] {
        let requests = [0, 1].map(|rank| world.ask(rank, fold(name, ALL, bytes(0, 257 * 4))));
        world.settle();
        all_fail(&world, &requests, Category::Remote, &[name, "from 1 to 256"]);
        world.assert_usable();
    }
    let len = 256 * 100;
    let expected: Vec<u8> = bytes(0, len).into_iter().zip(bytes(1, len)).map(|(a, b)| a.wrapping_add(b)).collect();
    let outcomes = world.all(|rank| fold("most", ALL, bytes(rank, len)));
    assert!(outcomes.iter().all(|outcome| outcome.bytes() == expected));
    world.assert_usable();
}

#[test]
fn a_panic_in_the_middle_of_a_fold_fails_it_on_everybody_and_nothing_else() {
    for name in ["mix", "largest"] {
        let mut world = narrow(4, &Mix::default(), &Largest::default());
        let len = 30 * WINDOW;
        let requests = [0, 1, 2, 3].map(|rank| world.ask(rank, fold(name, ALL, bytes(rank as u32, len))));
        let mut ranges = 0;
        let mut taken = None;
        for _ in 0..10_000 {
            for rank in 0..4 {
                world.step_node(rank);
            }
            if let Some(work) = world.hub.poll_work() {
                assert!(work.is_user_code());
                ranges += 1;
                if ranges == 4 {
                    taken = Some(work.ticket());
                    break;
                }
                let done = work.run();
                world.hub.finish_work(world.now, done);
            }
            while (0..4).fold(false, |moved, rank| world.transmit_down(rank) | moved) {}
        }
        // A call of others goes on meanwhile.
        let others = [0, 1, 2, 3].map(|rank| world.ask(rank, typed(Datatype::F32, "weighted mean", vec![0; 8])));
        let done = taken.expect("the fourth range comes").panicked("index out of bounds");
        world.hub.finish_work(world.now, done);
        world.settle();
        all_fail(&world, &requests, Category::Remote, &[name, "panicked", "index out of bounds"]);
        assert!((0..4).all(|rank| matches!(world.outcome(rank, others[rank]), Outcome::Done { .. })));
        world.assert_usable();
    }
}

#[test]
fn whoever_gives_up_fails_a_fold_of_users_on_everybody() {
    let mut world = narrow(3, &Mix::default(), &Largest::default());
    let requests = [0, 1, 2].map(|rank| world.ask(rank, fold("mix", ALL, bytes(rank as u32, 30 * WINDOW))));
    for _ in 0..30 {
        world.step();
    }
    world.cancel(2, requests[2]);
    world.settle();
    all_fail(&world, &requests[..2], Category::Cancelled, &["rank 2"]);
    world.assert_usable();
}

#[test]
fn a_named_reduction_of_objects_has_the_shape_of_every_fold() {
    const TO_ONE: Group<'static> = Group::new(&[R0, R1, R2, R3], &[R2]);
    let ask = |rank: u32, group| Ask {
        call: Call::User { name: "join", version: 3, group },
        datatype: Datatype::Object,
        parts: vec![postcard::to_allocvec(&rank.to_string()).unwrap()],
        varied: false,
        receive: Receive::AtMost(1 << 20),
    };
    let text = |outcome: &Outcome| postcard::from_bytes::<String>(&outcome.bytes()).unwrap();
    let mut world = world(5);
    let outcomes = world.all(|rank| ask(rank, ALL));
    assert!(outcomes.iter().all(|outcome| text(outcome) == "(((01)(23))4)"));
    let requests = [0, 1, 2, 3].map(|rank| world.ask(rank, ask(rank as u32, TO_ONE)));
    world.settle();
    assert_eq!(text(&world.outcome(2, requests[2])), "((01)(23))");
    // What is no value of the type names its rank.
    let requests = [0, 1, 2, 3, 4].map(|rank| {
        let ask = ask(rank as u32, ALL);
        let short = TypedInput((), 200u8);
        world
            .ask(rank, if rank == 3 { Ask { parts: vec![postcard::to_allocvec(&short).unwrap()], ..ask } } else { ask })
    });
    world.settle();
    all_fail(&world, &requests, Category::Remote, &["\"join\"", "the input of rank 3 does not decode"]);
    world.assert_usable();
}

/// Says how large its elements are once, and panics after that.
struct AskedAgain(AtomicUsize);

impl AskedAgain {
    fn size(&self) -> usize {
        assert_eq!(self.0.fetch_add(1, Ordering::Relaxed), 0, "asked again");
        1
    }
}

impl Fold for AskedAgain {
    fn element_size(&self) -> usize {
        self.size()
    }

    fn combine(&self, left: &mut [u8], right: &[u8]) {
        left.iter_mut().zip(right).for_each(|(left, right)| *left = left.wrapping_add(*right));
    }
}

impl Columns for AskedAgain {
    fn element_size(&self) -> usize {
        self.size()
    }

    fn combine(&self, columns: &[&[u8]], result: &mut [u8]) {
        result.copy_from_slice(columns[0]);
    }
}

#[test]
fn an_element_size_that_panics_does_not_do_so_inside_of_the_hub() {
    let mut registry = Registry::new();
    registry.insert_fold("fold", 1, AskedAgain(AtomicUsize::new(0)));
    registry.insert_columns("columns", 1, AskedAgain(AtomicUsize::new(0)));
    let mut world = World::with(hub::Config::new(2), registry, |_, _| {});
    for (name, expected) in [("fold", [4, 6]), ("columns", [1, 2])] {
        let requests = [[1, 2], [3, 4]].map(|bytes| fold(name, ALL, bytes.to_vec()));
        let requests: Vec<RequestId> = (0..).zip(requests).map(|(rank, ask)| world.ask(rank, ask)).collect();
        world.settle();
        for (rank, request) in requests.into_iter().enumerate() {
            assert_eq!(world.outcome(rank, request).bytes(), expected);
        }
    }
}
