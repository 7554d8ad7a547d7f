//! A connection that is cut without a goodbye, at once or in the middle of a frame: the rank behind it is told, and whoever
//! needs that rank; nobody hangs, nothing comes in part, and the others go on.

use std::fmt::Debug;
use std::sync::Barrier;
use std::thread;

use edgempi::hub::Registry;
use edgempi::{
    ANY_SOURCE, ANY_TAG, Comm, Config, Error, Max, Named, Rank, Request, SplitType, Sum, World, start_all, test_any,
    wait_all, wait_any,
};
use edgempi_tests::Watchdog;
use edgempi_tests::links::{Relayed, RelayedLink};
use edgempi_tests::relay::{LONG, Relay, Way};

use super::data::{are_from, are_from_all, elements, to_all, zeros};
use super::operations::{LONGEST, MEDIAN, operations};
use super::{LENS, neighbours, rank_and_size};

const SIZE: u32 = 3;
/// The rank whose connection is cut.
const CUT: u32 = SIZE - 1;

#[track_caller]
fn assert_disconnected<T: Debug>(result: Result<T, Error>) {
    let error = result.expect_err("the connection is cut");
    assert!(matches!(&error, Error::Disconnected { .. }), "{error:?}");
}

#[track_caller]
fn assert_failed<T: Debug>(result: Result<T, Error>) {
    let error = result.expect_err("a rank that is needed is cut off");
    assert!(matches!(&error, Error::RankFailed { ranks, .. } if *ranks == [Rank::new(CUT)]), "{error:?}");
}

/// A world of [`SIZE`]: the last rank, whose connection is to be cut, does its part, and the others do theirs. Then it can do
/// nothing any more, and the others have each other.
fn cut_one(link: RelayedLink, be_cut: impl FnOnce(&World, &Relay) + Send, survive: impl Fn(&World, &Relay) + Sync) {
    let _watchdog = Watchdog::start();
    let Relayed { mut worlds, relays } = link(SIZE, &Config::new(), &operations());
    let (cut, relay) = (worlds.pop().expect("there are several"), relays.last().expect("the last rank has one"));
    let survive = &survive;
    thread::scope(|scope| {
        scope.spawn(move || {
            be_cut(&cut, relay);
            relay.wait_until_cut();
            nothing_goes(&cut);
            assert_disconnected(cut.finalize().wait());
        });
        for world in worlds {
            scope.spawn(move || {
                survive(&world, relay);
                go_on(&world);
                world.finalize().wait().expect("the others have left, too");
            });
        }
    });
}

/// Whatever a rank calls that is cut off, it is told so; with itself it can still talk.
fn nothing_goes(world: &World) {
    let comm = world.comm();
    let objects = comm.objects();
    // What is called at the very moment may still be taken, and is told, too.
    for request in of_every_kind(&comm) {
        assert_disconnected(request.wait());
    }
    let text = "text".to_owned();
    for request in [
        comm.send(0, 1, [1u8]),
        comm.rsend(0, 1, [1u8]),
        comm.bsend(0, 1, [1u8]),
        objects.send(0, 1, "text"),
        objects.bcast(0, None::<String>).map(drop),
        objects.gather(0, &text).map(drop),
        comm.dup().map(drop),
        comm.split_type(SplitType::Kind, 0).map(drop),
        comm.cart(&[SIZE], &[true]).map(drop),
        comm.iprobe(ANY_SOURCE, ANY_TAG).map(drop),
        comm.improbe(0, ANY_TAG).map(drop),
        comm.fold_all(Named::new("anything"), [1u8]).map(drop),
    ] {
        assert_disconnected(request.wait());
    }
    let mut again = [comm.recv_init(0, 1, vec![0u8; 9]), comm.recv_init(ANY_SOURCE, 2, vec![0u8; 9])];
    start_all(&mut again).unwrap();
    assert_disconnected(wait_all(again.iter_mut().map(|receive| receive.request())).wait());
    let own = world.comm_self().unwrap();
    assert_eq!(own.sendrecv::<u8, u8>(0, 1, [7], 0, 1).wait().unwrap().0, [7]);
}

/// Calls that can not end while nobody else makes them, short and long.
fn of_every_kind(comm: &Comm) -> Vec<Request<'static, ()>> {
    let objects = comm.objects();
    let mut requests: Vec<Request<'_, ()>> = vec![
        comm.recv::<u8>(0, 50).map(drop),
        comm.recv::<u32>(ANY_SOURCE, 51).map(drop),
        comm.probe(1, 52).map(drop),
        comm.mprobe(ANY_SOURCE, 53).map(drop),
        objects.recv::<String>(0, 54).map(drop),
        objects.ssend(0, 55, "nobody asks"),
        comm.sendrecv::<u8, u8>(0, 56, [1], 0, 56).map(drop),
        comm.barrier(),
        objects.allgather(&"text".to_owned()).map(drop),
        comm.split(Some(0), 0).map(drop),
    ];
    for len in LENS {
        requests.push(comm.ssend(1, 57, elements::<u32>(CUT, 1, len)));
        requests.push(comm.allreduce(vec![1.5f64; len], Sum).map(drop));
        requests.push(comm.bcast(0, vec![0u16; len]).map(drop));
        requests.push(comm.alltoall(vec![0u8; SIZE as usize * len]).map(drop));
        requests.push(comm.scan(vec![1u32; len], Max).map(drop));
    }
    requests
}

/// The survivors have each other; all together they can do nothing any more.
fn go_on(world: &World) {
    let (comm, rank) = (world.comm(), world.rank().get());
    let other = 1 - rank;
    assert_failed(comm.barrier().wait());
    assert_failed(comm.recv::<u8>(CUT, 99).wait());
    assert_failed(comm.ssend(CUT, 99, [1u8]).wait());
    for len in LENS {
        let (came, _) = comm.sendrecv::<u32, u32>(other, 98, elements(rank, 3, len), ANY_SOURCE, 98).wait().unwrap();
        assert!(came.len() == len && are_from(other, 3, &came));
    }
}

pub fn who_needs_a_rank_that_is_cut_off_is_told_and_so_is_it(link: RelayedLink) {
    let started = Barrier::new(SIZE as usize);
    let be_cut = |world: &World, _: &Relay| {
        let copy = world.comm().dup().wait().unwrap();
        assert!(world.comm().split(None, 0).wait().unwrap().is_none());
        let mut requests = of_every_kind(&copy);
        started.wait();
        // They end one by one, in any order, and each of them tells.
        let count = requests.len();
        for number in 0..count {
            let found = if number % 2 == 0 { test_any(&mut requests) } else { None };
            let (_, result) = found.or_else(|| wait_any(&mut requests).wait()).expect("some are active");
            assert_disconnected(result);
        }
    };
    let survive = |world: &World, relay: &Relay| {
        let comm = world.comm();
        let copy = comm.dup().wait().unwrap();
        let part = comm.split(Some(1), 0).wait().unwrap().expect("a colour was said");
        let mut requests = vec![
            comm.recv::<u8>(CUT, ANY_TAG).map(drop),
            comm.probe(CUT, ANY_TAG).map(drop),
            comm.mprobe(CUT, ANY_TAG).map(drop),
            comm.barrier(),
            comm.objects().alltoall(&["a", "b", "c"].map(str::to_owned)).map(drop),
            comm.split(Some(0), 0).map(drop),
        ];
        for len in LENS {
            requests.push(comm.ssend(CUT, 1, vec![1u8; len]));
            requests.push(comm.allreduce(vec![1u32; len], Sum).map(drop));
            requests.push(comm.bcast(CUT, vec![1u32; len]).map(drop));
        }
        started.wait();
        if comm.rank() == 0 {
            relay.cut();
        }
        requests.into_iter().for_each(|request| assert_failed(request.wait()));
        assert_failed(copy.dup().wait());
        // What was made of survivors alone is whole.
        let rank = part.rank().get();
        for len in LENS {
            assert_eq!(part.allreduce(vec![rank; len], Sum).wait().unwrap(), vec![1; len]);
            assert!(are_from_all(2, |_| 5, &part.allgather(elements::<u16>(rank, 5, len)).wait().unwrap()));
        }
        assert_eq!(part.dup().wait().unwrap().size(), 2);
    };
    cut_one(link, be_cut, survive);
}

/// What has come whole is there for whoever asks later; of what has not, nothing is.
pub fn what_came_before_the_cut_stays(link: RelayedLink) {
    let be_cut = |world: &World, relay: &Relay| {
        let comm = world.comm();
        comm.send(0, 1, elements::<u32>(CUT, 1, LENS[0])).wait().unwrap();
        let kept = comm.ssend(1, 2, elements::<u32>(CUT, 2, LENS[0]));
        // The hub has those two.
        comm.barrier().wait().unwrap();
        drop((comm.send(0, 3, elements::<u32>(CUT, 3, LENS[1])), kept));
        relay.cut();
    };
    let survive = |world: &World, relay: &Relay| {
        let comm = world.comm();
        let kept = (comm.rank() == 1).then(|| comm.mprobe(CUT, 2).wait().unwrap());
        comm.barrier().wait().unwrap();
        relay.wait_until_cut();
        assert_failed(comm.barrier().wait());
        if let Some(kept) = kept {
            assert!(are_from(CUT, 2, &kept.recv::<u32>().wait().unwrap().0));
            return;
        }
        let (came, status) = comm.recv::<u32>(ANY_SOURCE, 1).wait().unwrap();
        assert!(status.source == CUT && came.len() == LENS[0] && are_from(CUT, 1, &came));
        match comm.recv::<u32>(CUT, 3).wait() {
            Ok((came, _)) => assert!(came.len() == LENS[1] && are_from(CUT, 3, &came)),
            error => assert_failed(error),
        }
    };
    cut_one(link, be_cut, survive);
}

/// A call that moves something long; says that it failed, or whether what came is right. Where it fails, borrowed memory is
/// as it was.
type Exchange = fn(&World, usize) -> Result<bool, Error>;

/// Who only gives is done when the library has taken it, and hears of the cut in a call that waits for others.
fn hears(world: &World) -> Result<bool, Error> {
    world.comm().barrier().wait().map(|()| true)
}

/// Needs what the last rank gives, everywhere.
const UP: [Exchange; 11] = [
    |world, len| {
        let (comm, rank) = (world.comm(), world.rank().get());
        if rank == CUT {
            let sends = [0, 1].map(|to| comm.ssend(to, 1, elements::<u8>(CUT, to, len)));
            return wait_all(sends).wait().and_then(|_| hears(world));
        }
        comm.recv::<u8>(CUT, 1).wait().map(|(came, _)| came.len() == len && are_from(CUT, rank, &came))
    },
    |world, len| {
        let (comm, rank) = (world.comm(), world.rank().get());
        if rank == CUT {
            let sends = [0, 1].map(|to| comm.send(to, 1, elements::<u8>(CUT, to, len)));
            return wait_all(sends).wait().and_then(|_| hears(world));
        }
        let mut place = zeros::<u8>(len);
        let received = comm.recv_into(CUT, 1, &mut place).wait();
        untouched_if_failed(received.map(drop), &zeros(len), &place, are_from(CUT, rank, &place))
    },
    |world, len| {
        let mut place = elements::<u64>(world.rank().get(), 0, len / 8);
        let own = place.clone();
        let folded = world.comm().allreduce_in_place(&mut place, Max).wait();
        untouched_if_failed(folded, &own, &place, true)
    },
    |world, len| {
        let own = if world.rank() == CUT { elements(CUT, 0, len) } else { zeros::<u8>(len) };
        let mut place = own.clone();
        let broadcast = world.comm().bcast_in_place(CUT, &mut place).wait();
        let came = untouched_if_failed(broadcast, &own, &place, are_from(CUT, 0, &place));
        if world.rank() == CUT { came.and_then(|_| hears(world)) } else { came }
    },
    |world, len| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        comm.alltoall(to_all::<u8>(size, rank, len)).wait().map(|came| are_from_all(size, |_| rank, &came))
    },
    |world, len| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        comm.allgather(elements::<u8>(rank, 0, len)).wait().map(|came| are_from_all(size, |_| 0, &came))
    },
    |world, len| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let given = (rank == CUT).then(|| (0..size).map(|to| elements::<u8>(CUT, to, len)).collect());
        let came = comm.scatterv(CUT, given).wait().map(|came| came.len() == len && are_from(CUT, rank, &came));
        if rank == CUT { came.and_then(|_| hears(world)) } else { came }
    },
    |world, len| {
        let text = |from: u32| from.to_string().repeat(len);
        let came = world.comm().objects().allgather(&text(world.rank().get())).wait()?;
        Ok((0..).zip(came).all(|(from, came)| came == text(from)))
    },
    |world, len| {
        let median = world.comm().fold_all(MEDIAN, vec![world.rank().get(); len / 4]).wait()?;
        Ok(median == vec![SIZE / 2; len / 4])
    },
    |world, len| {
        let word = "*".repeat(len + world.rank().index());
        let longest = world.comm().objects().allreduce(word, LONGEST).wait()?;
        Ok(longest == "*".repeat(len + CUT as usize))
    },
    |world, len| {
        let (next, previous) = neighbours(world);
        let ring = world.comm().dist_graph_adjacent(&[previous, next], &[next, previous]).wait()?;
        let came = ring.neighbor_allgather(elements::<u8>(world.rank().get(), 0, len)).wait()?;
        let [Some(first), Some(second)] = &came[..] else { return Ok(false) };
        let is_right = are_from(previous, 0, first) && are_from(next, 0, second);
        // These are messages, each by itself.
        if world.rank() == CUT { hears(world) } else { Ok(is_right) }
    },
];

/// Brings the last rank something from others.
const DOWN: [Exchange; 6] = [
    |world, len| {
        let (comm, rank) = (world.comm(), world.rank().get());
        match rank {
            0 => comm.ssend(CUT, 1, elements::<u8>(0, 1, len)).wait().map(|()| true),
            1 => Ok(true),
            _ => comm.recv::<u8>(ANY_SOURCE, 1).wait().map(|(came, _)| came.len() == len && are_from(0, 1, &came)),
        }
    },
    |world, len| {
        let (comm, rank) = (world.comm(), world.rank().get());
        if rank < CUT {
            return if rank == 0 {
                comm.send(CUT, 1, elements::<u8>(0, 1, len)).wait().map(|()| true)
            } else {
                Ok(true)
            };
        }
        let (message, mut place) = (comm.mprobe(0, 1).wait()?, zeros::<u8>(len));
        let received = message.recv_into(&mut place).wait();
        untouched_if_failed(received.map(drop), &zeros(len), &place, are_from(0, 1, &place))
    },
    |world, len| {
        let own = if world.rank() == 0 { elements(0, 0, len) } else { zeros::<u8>(len) };
        let mut place = own.clone();
        let broadcast = world.comm().bcast_in_place(0, &mut place).wait();
        untouched_if_failed(broadcast, &own, &place, are_from(0, 0, &place))
    },
    |world, len| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        // What it gives is too short to be cut.
        let own = if rank == CUT { Vec::new() } else { elements::<u8>(rank, 0, len) };
        let came = comm.allgatherv(own).wait()?;
        let fits = |(from, came): (u32, Vec<u8>)| came.is_empty() == (from == CUT) && are_from(from, 0, &came);
        Ok(came.len() == size as usize && (0..).zip(came).all(fits))
    },
    |world, len| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let given = (rank == 0).then(|| to_all::<u8>(size, 0, len));
        comm.scatter(0, given).wait().map(|came| came.len() == len && are_from(0, rank, &came))
    },
    |world, len| {
        let text = (world.rank() == 0).then(|| "x".repeat(len));
        world.comm().objects().bcast(0, text).wait().map(|came| came == "x".repeat(len))
    },
];

fn untouched_if_failed<T: PartialEq>(
    result: Result<(), Error>,
    before: &[T],
    after: &[T],
    is_right: bool,
) -> Result<bool, Error> {
    assert!(result.is_ok() || before == after, "something came in part");
    result.map(|()| is_right)
}

/// Bytes of a payload that is cut in its only frame, and of one that takes many.
const BYTES: [usize; 2] = [2 * LONG as usize, 1_200_000];

pub fn a_message_that_is_cut_on_its_way_up_comes_to_nobody(link: RelayedLink) {
    for (number, exchange) in UP.into_iter().enumerate() {
        for len in BYTES {
            let be_cut = |world: &World, relay: &Relay| {
                relay.cut_in_a_frame(Way::Up);
                let result = exchange(world, len);
                assert!(result.is_err(), "exchange {number} of {len} bytes is done without its message");
                assert_disconnected(result);
            };
            let survive = |world: &World, _: &Relay| match exchange(world, len) {
                // It may have been sent before the one that was cut.
                Ok(is_right) => assert!(is_right),
                error => assert_failed(error),
            };
            cut_one(link, be_cut, survive);
        }
    }
}

pub fn a_message_that_is_cut_on_its_way_down_comes_to_nobody(link: RelayedLink) {
    for exchange in DOWN {
        for len in BYTES {
            let be_cut = |world: &World, relay: &Relay| {
                relay.cut_in_a_frame(Way::Down);
                assert_disconnected(exchange(world, len));
            };
            let survive = |world: &World, relay: &Relay| {
                match exchange(world, len) {
                    // Who only gives, or has it already, is done.
                    Ok(is_right) => assert!(is_right),
                    error => assert_failed(error),
                }
                relay.wait_until_cut();
            };
            cut_one(link, be_cut, survive);
        }
    }
}

/// It has said that it wants to go, and does not hear whether it may.
pub fn a_rank_that_is_cut_off_while_it_leaves_has_finished(link: RelayedLink) {
    let _watchdog = Watchdog::start();
    let Relayed { mut worlds, relays } = link(SIZE, &Config::new(), &Registry::new());
    let finalize = worlds.pop().expect("there are several").finalize();
    for world in &worlds {
        let error = world.comm().barrier().wait().expect_err("it takes part no more");
        assert!(matches!(error, Error::RankFinished { rank, .. } if rank == CUT), "{error:?}");
    }
    relays.last().expect("it has one").cut();
    assert_disconnected(finalize.wait());
    for world in &worlds {
        let error = world.comm().recv::<u8>(CUT, 1).wait().expect_err("it takes part no more");
        assert!(matches!(error, Error::RankFinished { rank, .. } if rank == CUT), "{error:?}");
    }
    let leaving: Vec<_> = worlds.into_iter().map(World::finalize).collect();
    leaving.into_iter().for_each(|finalize| finalize.wait().unwrap());
}

pub fn all_that_are_cut_off_at_once_are_told(link: RelayedLink) {
    for len in LENS {
        let _watchdog = Watchdog::start();
        let Relayed { worlds, relays } = link(SIZE, &Config::new(), &Registry::new());
        let beside_the_hub = worlds.len() - relays.len();
        // The last block of each is missing: nobody gives it.
        let requests: Vec<_> = worlds
            .iter()
            .map(|world| {
                let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
                let exchanged = comm.alltoall(to_all::<u32>(size, rank, len)).map(drop);
                [exchanged, comm.recv::<u8>(ANY_SOURCE, 1).map(drop)]
            })
            .collect();
        relays.iter().for_each(Relay::cut);
        for (rank, [exchanged, receive]) in requests.into_iter().enumerate() {
            // Some hear of another's end before their own.
            let told = |error: &Error| match error {
                Error::RankFailed { .. } => true,
                Error::Disconnected { .. } => rank >= beside_the_hub,
                _ => false,
            };
            let (exchanged, receive) = (exchanged.wait(), receive.wait());
            assert!(exchanged.as_ref().err().is_none_or(told), "{exchanged:?}");
            assert!(receive.as_ref().is_err_and(told), "{receive:?}");
            let later = worlds[rank].comm().barrier().wait();
            if rank >= beside_the_hub { assert_disconnected(later) } else { assert!(later.is_err()) }
        }
        for (rank, world) in worlds.into_iter().enumerate() {
            let finalized = world.finalize().wait();
            assert!(rank >= beside_the_hub || finalized.is_ok(), "{finalized:?}");
        }
    }
}
