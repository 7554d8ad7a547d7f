//! Every call, with checked results.

use edgempi::hub::{Applied, Registry};
use edgempi::{Config, Group, Located, Maxloc, Operation, Rank, Sum, World, block_on};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;
use every_call::{ScaledSum, Space, every_call};

use super::data::{are_from, are_from_all, elements, to_all};
use super::{assert_usable, plain, rank_and_size};

const SIZE: u32 = 5;
const LEN: usize = 37;

fn operations() -> Registry {
    let mut operations = Registry::new();
    let scaled = |call: Applied<'_, u32>, inputs: Vec<(Rank, u32)>| {
        let sum: u32 = inputs.iter().map(|(_, value)| value * call.parameters).sum();
        Ok::<_, String>(call.destinations.iter().map(|rank| (*rank, sum)).collect())
    };
    operations.insert_fn(ScaledSum::NAME, ScaledSum::VERSION, scaled);
    operations
}

/// The calls of the trait, and those that hosts alone spell so.
pub fn every_call_gives_what_it_should(link: Link) {
    on_ranks(link(SIZE, &Config::new(), &operations()), |world| {
        let comm = world.comm();
        let mut space = Space::ZERO;
        block_on(every_call(&comm, &mut space)).unwrap_or_else(|failed| panic!("{failed}"));
        buffers(world);
        objects(world);
        applied(world);
        assert_usable(world);
    });
}

/// Calls that own their buffers, or lend them for one call.
fn buffers(world: &World) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    for root in [0, size - 1] {
        let is_root = rank == root;
        let data = elements::<u16>(if is_root { root } else { 77 }, 0, LEN);
        assert!(are_from(root, 0, &comm.bcast(root, data.clone()).wait().unwrap()));
        let mut place = data;
        comm.bcast_in_place(root, &mut place).wait().unwrap();
        assert!(are_from(root, 0, &place));
        let gathered = comm.gather(root, elements::<i64>(rank, 0, LEN)).wait().unwrap();
        assert_eq!(gathered.is_some(), is_root);
        assert!(gathered.is_none_or(|all| are_from_all(size, |_| 0, &all)));
        let given = is_root.then(|| to_all::<u8>(size, root, LEN));
        assert!(are_from(root, rank, &comm.scatter(root, given).wait().unwrap()));
        let best = comm.reduce(root, [Located::new(f64::from(rank), u64::from(rank))], Maxloc).wait().unwrap();
        assert_eq!(best.map(|best| best[0].index()), is_root.then(|| u64::from(size) - 1));
        let mut sum = [rank, 1];
        comm.reduce_in_place(root, &mut sum, Sum).wait().unwrap();
        assert_eq!(sum, if is_root { [10, size] } else { [rank, 1] });
    }
    assert!(are_from_all(size, |_| 0, &comm.allgather(elements::<f32>(rank, 0, LEN)).wait().unwrap()));
    assert!(are_from_all(size, |_| rank, &comm.alltoall(to_all::<u32>(size, rank, LEN)).wait().unwrap()));
    let mut sum = [f64::from(rank); LEN];
    assert_eq!(comm.allreduce(sum, Sum).wait().unwrap(), [10.0; LEN]);
    comm.allreduce_in_place(&mut sum, Sum).wait().unwrap();
    assert_eq!(sum, [10.0; LEN]);
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    let sent = comm.send(next, 3, elements::<u64>(rank, next, LEN));
    let mut place = [0u64; LEN + 2];
    let status = comm.recv_into(previous, 3, &mut place).wait().unwrap();
    assert_eq!((status.source, status.tag.0, status.count::<u64>()), (Rank::new(previous), 3, Some(LEN)));
    assert!(are_from(previous, rank, &place[..LEN]) && place[LEN..] == [0, 0]);
    sent.wait().unwrap();
    // A message to oneself.
    comm.send(rank, 4, [rank]).wait().unwrap();
    assert_eq!(comm.recv::<u32>(rank, 4).wait().unwrap().0, [rank]);
}

/// Values of different lengths.
fn objects(world: &World) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    let objects = comm.objects();
    let text = |from: u32, to: u32| format!("{from} to {to} {}", "x".repeat((from * 31 + to * 7) as usize));
    let from_all = |to: u32| (0..size).map(|from| text(from, to)).collect::<Vec<String>>();
    let to_all = (0..size).map(|to| text(rank, to)).collect::<Vec<String>>();
    for root in [0, size - 1] {
        let is_root = rank == root;
        assert_eq!(objects.bcast(root, is_root.then(|| text(root, 9))).wait().unwrap(), text(root, 9));
        let gathered = objects.gather(root, &text(rank, root)).wait().unwrap();
        assert_eq!(gathered, is_root.then(|| from_all(root)));
        assert_eq!(objects.scatter(root, is_root.then(|| to_all.clone())).wait().unwrap(), text(root, rank));
        let joined = objects.reduce(root, rank.to_string(), |a: String, b: String| a + &b).wait().unwrap();
        assert_eq!(joined, is_root.then(|| "01234".to_owned()));
    }
    assert_eq!(objects.allgather(&text(rank, 0)).wait().unwrap(), from_all(0));
    assert_eq!(objects.alltoall(&to_all).wait().unwrap(), from_all(rank));
    assert_eq!(objects.allreduce(rank.to_string(), |a: String, b: String| a + &b).wait().unwrap(), "01234");
    assert_eq!(objects.allreduce(rank, Sum).wait().unwrap(), 10);
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    objects.send(next, 5, &text(rank, next)).wait().unwrap();
    assert_eq!(objects.recv::<String>(previous, 5).wait().unwrap().0, text(previous, rank));
}

/// An operation of one's own, for all ranks and for some.
fn applied(world: &World) {
    let (comm, rank) = (world.comm(), world.rank());
    let all = ScaledSum { factor: 3, group: Group::ALL };
    assert_eq!(comm.apply(&all, Some(&rank.get())).wait().unwrap(), Some(30));
    let (sources, destinations) = ([3, 1].map(Rank::new), [1, 4].map(Rank::new));
    let some = ScaledSum { factor: 2, group: Group::new(&sources, &destinations) };
    if some.group.contains(rank) {
        let result = comm.apply(&some, sources.contains(&rank).then_some(&rank.get())).wait().unwrap();
        assert_eq!(result, destinations.contains(&rank).then_some(8));
    }
}

/// Communicators of some ranks, in an order of their own.
pub fn calls_on_parts_of_the_world(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let copy = comm.dup().wait().unwrap();
        assert_eq!((copy.rank(), copy.size()), (comm.rank(), SIZE));
        // The even ones turned round; rank 1 is in none.
        let color = if rank == 1 { None } else { Some(rank % 2) };
        let part = copy.split(color, -(rank as i32)).wait().unwrap();
        assert_eq!(part.is_some(), rank != 1);
        if let Some(part) = part {
            let members: &[u32] = if rank == 3 { &[3] } else { &[4, 2, 0] };
            assert_eq!((part.size(), members[part.rank().index()]), (members.len() as u32, rank));
            assert_eq!(part.allgather([rank]).wait().unwrap(), members);
            let mut space = Space::ZERO;
            block_on(every_call(&part, &mut space)).unwrap_or_else(|failed| panic!("{failed}"));
        }
        drop(copy);
        assert_usable(world);
    });
}
