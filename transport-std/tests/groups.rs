//! User operations whose groups change from call to call, as where some clients of many are drawn for each round.

use std::thread;

use edgempi::hub::{Applied, Registry};
use edgempi::{Builder, Error, Group, Operation, Rank};
use edgempi_core::{Buffers, Call, Communicator, Datatype};

const SIZE: u32 = 8;
const ROUNDS: u32 = 3000;

/// Tells its destination in which order the sources stand.
struct Order {
    sources: Vec<Rank>,
    destination: [Rank; 1],
}

impl Order {
    /// Another order for each round, of which there are 8! = 40,320.
    fn of_round(round: u32) -> Self {
        let mut left: Vec<u32> = (0..SIZE).collect();
        let mut rest = round as usize * 13;
        let mut take = |_| {
            let at = rest % left.len();
            rest /= left.len();
            Rank::new(left.remove(at))
        };
        Self { sources: (0..SIZE).map(&mut take).collect(), destination: [Rank::new(round % SIZE)] }
    }
}

impl Operation for Order {
    const NAME: &'static str = "order";
    type Parameters = ();
    type Input = u32;
    type Output = Vec<u32>;

    fn parameters(&self) {}

    fn group(&self) -> Group<'_> {
        Group::new(&self.sources, &self.destination)
    }
}

fn order(call: Applied<'_, ()>, inputs: Vec<(Rank, u32)>) -> Result<Vec<(Rank, Vec<u32>)>, String> {
    let values: Vec<u32> = inputs.into_iter().map(|(_, value)| value).collect();
    Ok(call.destinations.iter().map(|rank| (*rank, values.clone())).collect())
}

#[test]
fn more_groups_than_the_hub_holds_names_of() -> Result<(), Error> {
    let mut operations = Registry::new();
    operations.insert_fn(Order::NAME, Order::VERSION, order);
    let worlds = Builder::new().operations(operations).local(SIZE)?;
    thread::scope(|scope| {
        let ranks = worlds.into_iter().map(|world| {
            scope.spawn(move || -> Result<(), Error> {
                let comm = world.comm();
                // The last rounds have the groups of the first ones, whose numbers are long forgotten.
                for round in (0..ROUNDS).chain(0..100) {
                    let operation = Order::of_round(round);
                    let output = comm.apply(&operation, Some(&comm.rank().get())).wait()?;
                    let expected: Vec<u32> = operation.sources.iter().map(|rank| rank.get()).collect();
                    assert_eq!(output, (comm.rank() == round % SIZE).then_some(expected), "round {round}");
                }
                world.finalize().wait()
            })
        });
        let ranks: Vec<_> = ranks.collect();
        ranks.into_iter().try_for_each(|rank| rank.join().expect("no panic"))
    })
}

/// An operation with a name as long as a book.
struct Epic;

impl Operation for Epic {
    const NAME: &'static str = include_str!("../Cargo.toml");
    type Parameters = ();
    type Input = ();
    type Output = ();

    fn parameters(&self) {}

    fn group(&self) -> Group<'_> {
        Group::ALL
    }
}

#[test]
fn an_operation_whose_name_is_too_long_is_an_error_at_the_call() -> Result<(), Error> {
    let worlds = edgempi::local(1)?;
    let error = worlds[0].comm().apply(&Epic, Some(&())).wait().expect_err("nobody takes that name");
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    assert!(error.to_string().contains("bytes; 1024 are allowed, at "), "{error}");
    worlds[0].comm().barrier().wait()
}

/// An operation of whatever ranks.
struct Chosen {
    sources: Vec<Rank>,
    destinations: Vec<Rank>,
}

impl Operation for Chosen {
    const NAME: &'static str = Order::NAME;
    type Parameters = ();
    type Input = u32;
    type Output = Vec<u32>;

    fn parameters(&self) {}

    fn group(&self) -> Group<'_> {
        Group::new(&self.sources, &self.destinations)
    }
}

#[test]
fn a_group_that_can_not_be_is_an_error_at_the_call_and_the_rank_lives() -> Result<(), Error> {
    let worlds = edgempi::local(3)?;
    let comm = worlds[0].comm();
    let ranks = |ranks: &[u32]| -> Vec<Rank> { ranks.iter().copied().map(Rank::new).collect() };
    for (sources, destinations, reason) in [
        (&[2, 0, 1, 2][..], &[0][..], "rank 2 is a source of the operation's group twice"),
        (&[0], &[1, 0, 1], "rank 1 is a destination of the operation's group twice"),
        (&[0, 3], &[0], "rank 3 of the operation's group is not in this communicator of 3"),
        (&[0], &[u32::MAX], "rank 4294967295 of the operation's group is not in this communicator of 3"),
    ] {
        let operation = Chosen { sources: ranks(sources), destinations: ranks(destinations) };
        let line = line!() + 1;
        let error = comm.apply(&operation, Some(&1)).wait().expect_err("there is no such group");
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("{reason}, at {}:{line}:26", file!()));
        // An algorithm for every kind of rank is told the same.
        let call = Call::User { name: Order::NAME, version: Order::VERSION, group: operation.group() };
        let untyped = comm.transfer(call, Datatype::Object, Buffers::Send(&[1])).wait();
        let error = untyped.expect_err("there is no such group");
        assert!(error.to_string().starts_with(&format!("{reason}, at {}:", file!())), "{error}");
    }
    let requests: Vec<_> = worlds.iter().map(|world| world.comm().barrier()).collect();
    requests.into_iter().try_for_each(|request| request.wait())
}
