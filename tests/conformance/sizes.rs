//! Messages around every length at which something changes on their way.

use std::panic::Location;

use edgempi::hub::Registry;
use edgempi::{Bxor, Config, Element, Located, Sum, World};
use edgempi_core::endpoint::{self, EAGER_OVERHEAD};
use edgempi_core::{Communicator, Rank, hub};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;
use zerocopy::IntoBytes;

use super::data::{are_from, are_from_all, bytes, elements, to_all, zeros};
use super::{assert_usable, rank_and_size};

const SIZE: u32 = 3;
/// Neither the first nor the last.
const ROOT: u32 = 1;
/// Bytes of a rank that the hub holds before anybody asks for them: less than a frame, so that both matter.
const QUEUE: usize = 100_000;

/// Bytes of the payload of one frame: what a rank takes, and the hub.
fn frame() -> usize {
    let frame = endpoint::Config::host(Rank::new(0), SIZE).max_payload as usize;
    assert_eq!(frame, hub::Config::new(SIZE).max_payload as usize, "then there are two boundaries to try");
    frame
}

/// Bytes that a giver may be ahead of its receivers. So few ranks leave each a whole window, with much to spare.
fn window() -> usize {
    let config = hub::Config::new(SIZE);
    assert!(config.window * u64::from(SIZE + 1) * 8 <= config.window_total);
    config.window as usize
}

/// Lengths in elements of `element` bytes: nothing, one, just around each boundary, and beyond all of them.
fn lengths(element: usize) -> Vec<usize> {
    let others = SIZE as usize - 1;
    // A frame that holds the blocks of all others, too.
    let boundaries = [QUEUE - EAGER_OVERHEAD as usize, frame() / others, frame(), window()];
    let around = boundaries.into_iter().flat_map(|bytes| (bytes / element - 1)..=(bytes / element + 1));
    let many = 3 * window() / element + 1;
    [0, 1].into_iter().chain(around).chain([many]).collect()
}

/// Says which length it was when something fails.
struct Saying(&'static Location<'static>, usize, &'static str);

impl Drop for Saying {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: this was about {} elements of {}", self.0, self.1, self.2);
        }
    }
}

#[track_caller]
fn each<T: Element>(world: &World, check: impl Fn(&World, usize)) {
    for len in lengths(size_of::<T>()) {
        let _saying = Saying(Location::caller(), len, std::any::type_name::<T>());
        check(world, len);
    }
}

fn worlds(link: Link) -> Vec<World> {
    link(SIZE, &Config::new().queue_size(QUEUE as u64), &Registry::new())
}

fn message<T: Element>(world: &World, len: usize) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    // Beside its receive, and before it.
    for is_expected in [true, false] {
        let early = is_expected.then(|| comm.recv::<T>(previous, 1));
        let sent = comm.send(next, 1, elements::<T>(rank, next, len));
        if !is_expected {
            comm.barrier().wait().unwrap();
        }
        let (came, status) = early.unwrap_or_else(|| comm.recv(previous, 1)).wait().unwrap();
        assert!(status.count::<T>() == Some(len) && are_from(previous, rank, &came));
        sent.wait().unwrap();
    }
    // Into memory that is longer, from memory that is lent.
    let (given, mut place) = (elements::<T>(rank, next, len), zeros::<T>(len + 1));
    let sent = Communicator::send(&comm, next, 2, &given);
    let status = Communicator::recv(&comm, previous, 2, &mut place).wait().unwrap();
    assert!(status.count::<T>() == Some(len) && are_from(previous, rank, &place[..len]));
    assert!(place[len].as_bytes().iter().all(|byte| *byte == 0));
    sent.wait().unwrap();
    let data = elements::<T>(if rank == ROOT { ROOT } else { 50 }, 0, len);
    assert!(are_from(ROOT, 0, &comm.bcast(ROOT, data.clone()).wait().unwrap()));
    let mut place = data;
    Communicator::bcast(&comm, ROOT, &mut place).wait().unwrap();
    assert!(are_from(ROOT, 0, &place));
}

fn block<T: Element>(world: &World, len: usize) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    let (own, is_root) = (elements::<T>(rank, 0, len), rank == ROOT);
    let gathered = comm.gather(ROOT, &own).wait().unwrap();
    assert!(gathered.is_some() == is_root && gathered.is_none_or(|all| are_from_all(size, |_| 0, &all)));
    let scattered = comm.scatter(ROOT, is_root.then(|| to_all::<T>(size, ROOT, len))).wait().unwrap();
    assert!(scattered.len() == len && are_from(ROOT, rank, &scattered));
    assert!(are_from_all(size, |_| 0, &comm.allgather(&own).wait().unwrap()));
    let exchanged = comm.alltoall(to_all::<T>(size, rank, len)).wait().unwrap();
    assert!(exchanged.len() == len * size as usize && are_from_all(size, |_| rank, &exchanged));
    let mut all = zeros::<T>(len * size as usize);
    Communicator::allgather(&comm, &own, &mut all).wait().unwrap();
    assert!(are_from_all(size, |_| 0, &all));
}

/// Bits that come out of all ranks' blocks by an exclusive or.
fn folded(size: u32, len: usize) -> Vec<u8> {
    let mut expected = bytes(0, 0, len).to_vec();
    for rank in 1..size {
        expected.iter_mut().zip(bytes(rank, 0, len)).for_each(|(bits, other)| *bits ^= other);
    }
    expected
}

fn fold<T: Element>(world: &World, len: usize) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    let own = elements::<T>(rank, 0, len);
    let expected = folded(size, size_of_val(own.as_slice()));
    let reduced = comm.reduce(ROOT, &own, Bxor).wait().unwrap();
    assert!(reduced.is_some() == (rank == ROOT) && reduced.is_none_or(|bits| bits.as_bytes() == expected));
    let mut place = own;
    Communicator::allreduce_in_place(&comm, &mut place, Bxor).wait().unwrap();
    assert!(place.as_bytes() == expected);
}

/// A sum whose bits depend on its order.
fn float_sum(world: &World, len: usize) {
    let float = |rank: u32, at: usize| f64::from(rank + 1) / (at % 1009 + 3) as f64;
    let own: Vec<f64> = (0..len).map(|at| float(world.rank().get(), at)).collect();
    let sum = world.comm().allreduce(own, Sum).wait().unwrap();
    assert_eq!(sum.len(), len);
    let is_right = |(at, sum): (usize, &f64)| sum.to_bits() == ((float(0, at) + float(1, at)) + float(2, at)).to_bits();
    assert!(sum.iter().enumerate().all(is_right));
}

fn object(world: &World, len: usize) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    let objects = comm.objects();
    // Encoded it is a few bytes longer; each rank gives its own length.
    let text = |from: u32| String::from_utf8(vec![b'a' + from as u8; len.saturating_sub(from as usize)]).unwrap();
    assert_eq!(objects.bcast(ROOT, (rank == ROOT).then(|| text(ROOT))).wait().unwrap(), text(ROOT));
    let all: Vec<String> = (0..size).map(text).collect();
    assert_eq!(objects.allgather(&text(rank)).wait().unwrap(), all);
    assert_eq!(objects.alltoall(&all).wait().unwrap(), vec![text(rank); size as usize]);
    let sent = objects.send((rank + 1) % size, 1, &text(rank));
    assert_eq!(objects.recv::<String>((rank + size - 1) % size, 1).wait().unwrap().0, text((rank + size - 1) % size));
    sent.wait().unwrap();
}

pub fn messages_of_every_size(link: Link) {
    on_ranks(worlds(link), |world| {
        each::<u8>(world, message::<u8>);
        each::<f32>(world, message::<f32>);
        each::<Located<f64>>(world, message::<Located<f64>>);
        assert_usable(world);
    });
}

pub fn blocks_of_every_size(link: Link) {
    on_ranks(worlds(link), |world| {
        each::<u8>(world, block::<u8>);
        each::<u16>(world, block::<u16>);
        each::<Located<f64>>(world, block::<Located<f64>>);
        assert_usable(world);
    });
}

pub fn folds_of_every_size(link: Link) {
    on_ranks(worlds(link), |world| {
        each::<u8>(world, fold::<u8>);
        each::<u64>(world, fold::<u64>);
        each::<f64>(world, float_sum);
        assert_usable(world);
    });
}

pub fn objects_of_every_size(link: Link) {
    on_ranks(worlds(link), |world| {
        each::<u8>(world, object);
        assert_usable(world);
    });
}
