//! A host's side of the application `calls`: the same calls, with the same checks.

use edgempi::hub::{Applied, Registry};
use edgempi::{Comm, Group, Operation, Rank, Sum, World, block_on};
use every_call::{Failed, LEN, LONG, ScaledSum, Space, every_call, give, is_from, is_sum, value};

/// What a hub has to know for them.
pub fn operations() -> Registry {
    let mut operations = Registry::new();
    operations.insert_fn(ScaledSum::NAME, ScaledSum::VERSION, scaled_sum);
    operations
}

fn scaled_sum(call: Applied<'_, u32>, inputs: Vec<(Rank, u32)>) -> Result<Vec<(Rank, u32)>, String> {
    let sum: u32 = inputs.iter().map(|(_, value)| value).sum();
    Ok(call.destinations.iter().map(|rank| (*rank, sum * call.parameters)).collect())
}

/// Every call.
pub fn calls(world: &World) {
    let comm = world.comm();
    let mut space = Space::ZERO;
    right(block_on(every_call(&comm, &mut space)));
    parts(&comm, &mut space);
    objects(&comm);
    apply(&comm);
    in_flight(&comm);
    long(&comm);
}

fn right(result: Result<(), Failed<edgempi::Error>>) {
    if let Err(failed) = result {
        panic!("{failed}");
    }
}

fn parts(comm: &Comm, space: &mut Space) {
    let (rank, size) = (comm.rank().get(), comm.size());
    let part = comm.split(Some(rank % 2), -(rank as i32)).wait().expect("a split").expect("a colour");
    let above = (rank + 1..size).filter(|other| other % 2 == rank % 2).count();
    assert_eq!(part.rank().index(), above);
    right(block_on(every_call(&part, space)));
    assert!(comm.split(None, 0).wait().expect("a split").is_none());
}

fn objects(comm: &Comm) {
    let (rank, size) = (comm.rank().get(), comm.size());
    for root in [0, size - 1] {
        let own = (rank == root).then(|| ("from the root".to_owned(), root));
        let came: (String, u32) = comm.objects().bcast(root, own).wait().expect("a value");
        assert_eq!(came, ("from the root".to_owned(), root));
    }
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    comm.objects().send(next, 3, &("a pair", rank)).wait().expect("it is sent");
    let (came, status): ((String, u32), _) = comm.objects().recv(previous, 3).wait().expect("a value");
    assert_eq!((came, status.source), (("a pair".to_owned(), previous), Rank::new(previous)));
}

fn apply(comm: &Comm) {
    let (rank, size) = (comm.rank().get(), comm.size());
    let all = ScaledSum { factor: 3, group: Group::ALL };
    let came = comm.apply(&all, Some(&rank)).wait().expect("the hub knows it");
    assert_eq!(came, Some(3 * size * (size - 1) / 2));
    let (ends, last) = ([Rank::new(0), Rank::new(size - 1)], [Rank::new(size - 1)]);
    if rank == 0 || rank == size - 1 {
        let some = ScaledSum { factor: 5, group: Group::new(&ends, &last) };
        let came = comm.apply(&some, Some(&(rank + 1))).wait().expect("the hub knows it");
        assert_eq!(came, (rank == size - 1).then_some(5 * (size + 1)));
    }
}

fn in_flight(comm: &Comm) {
    let (rank, size) = (comm.rank().get(), comm.size());
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    let (early, late) = (comm.recv::<f32>(previous, 21), comm.recv::<u8>(previous, 22));
    let sum = comm.allreduce([u64::from(rank) + 1], Sum);
    comm.send(next, 22, [1u8, 2, 3]).wait().expect("it is sent");
    assert_eq!(late.wait().expect("a message").0, [1, 2, 3]);
    assert_eq!(sum.wait().expect("a sum"), [u64::from(size) * u64::from(size + 1) / 2]);
    comm.barrier().wait().expect("all are here");
    let mut block = vec![0.0; LEN];
    give(rank, &mut block);
    comm.send(next, 21, block).wait().expect("it is sent");
    let (early, _) = early.wait().expect("a message");
    assert!(early.len() == LEN && is_from(previous, &early));
}

fn long(comm: &Comm) {
    let own: Vec<f32> = (0..LONG).map(|at| value(comm.rank().get(), at)).collect();
    assert!(is_sum(comm.size(), &comm.allreduce(own.clone(), Sum).wait().expect("a sum")));
    let sum = comm.reduce(0, own, Sum).wait().expect("a sum");
    assert!(comm.rank() != 0 || sum.is_some_and(|sum| is_sum(comm.size(), &sum)));
}
