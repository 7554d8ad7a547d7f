//! Calls that are given up: before anybody answers, in the middle, and when they are done.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use edgempi::{Comm, Communicator, Error, Request, Sum, World};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, elements, zeros};
use super::{assert_usable, plain, rank_and_size};

const SIZE: u32 = 3;
/// Elements of a message that takes several windows.
const LONG: usize = 500_000;

/// Drops `request` once this rank's link has moved so many bytes more, or it is done.
fn give_up<T>(world: &World, mut request: Request<'_, T>, bytes: u64) -> Option<Result<T, Error>> {
    let moved = || world.traffic().sent + world.traffic().received;
    let before = moved();
    while moved() - before < bytes {
        match Pin::new(&mut request).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => return Some(result),
            Poll::Pending => thread::yield_now(),
        }
    }
    None
}

pub fn a_receive_is_taken_back(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        for len in [3, LONG] {
            // Before anybody sends.
            if rank == 1 {
                drop(comm.recv::<u32>(0, 1));
                drop(comm.recv_into(0, 1, &mut zeros::<u32>(len)));
            }
            comm.barrier().wait().unwrap();
            let sent = (rank == 0).then(|| comm.send(1, 1, elements::<u32>(0, 1, len)));
            if rank == 1 {
                let (came, _) = comm.recv::<u32>(0, 1).wait().unwrap();
                assert!(came.len() == len && are_from(0, 1, &came));
            }
            sent.map_or(Ok(()), Request::wait).unwrap();
            // When it has come in part: it is lost, and the next one is not.
            if rank == 0 {
                let first = comm.send(1, 2, elements::<u32>(0, 7, LONG));
                let second = comm.send(1, 2, elements::<u32>(0, 8, len));
                let lost = first.wait();
                assert!(matches!(lost, Ok(()) | Err(Error::Cancelled { .. })), "{lost:?}");
                second.wait().unwrap();
            } else if rank == 1 {
                let given_up = give_up(world, comm.recv::<u32>(0, 2), LONG as u64);
                // All of it, if this thread did not get to run before it had come.
                assert!(given_up.is_none_or(|came| are_from(0, 7, &came.expect("nobody else gave up").0)));
                let (came, _) = comm.recv::<u32>(0, 2).wait().unwrap();
                assert!(came.len() == len && are_from(0, 8, &came));
            }
        }
        assert_usable(world);
    });
}

pub fn a_send_that_borrows_is_taken_back(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        // More than the hub holds before somebody asks for it.
        let long = 5 << 20;
        if rank == 0 {
            let data = vec![1u8; long];
            drop(Communicator::send(&comm, 1, 1, &data));
            comm.send(1, 1, [2u8]).wait().unwrap();
        }
        comm.barrier().wait().unwrap();
        if rank == 1 {
            assert_eq!(comm.recv::<u8>(0, 1).wait().unwrap().0, [2]);
        }
        assert_usable(world);
    });
}

/// Starts a collective that borrows, and says what it should give.
type Collective = for<'a> fn(&'a Comm, &'a mut [u32]) -> Request<'a, ()>;

pub fn a_collective_that_borrows_fails_on_all_ranks_at_any_stage(link: Link) {
    let collectives: [Collective; 3] = [
        |comm, data| comm.allreduce_in_place(data, Sum),
        |comm, data| comm.bcast_in_place(1, data),
        |comm, data| Communicator::reduce_in_place(comm, 2, data, Sum).map(drop),
    ];
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for collective in collectives {
            for who in 0..size {
                for (len, bytes) in [(3, 0), (LONG, 0), (LONG, 300_000), (LONG, 1_200_000), (LONG, 3_000_000)] {
                    let mut data = vec![rank + 1; len];
                    let request = collective(&comm, &mut data);
                    let outcome = if rank == who { give_up(world, request, bytes) } else { Some(request.wait()) };
                    match outcome {
                        // The result, whole; or nothing at all, where somebody gave up.
                        Some(Ok(())) => assert!(data.iter().all(|number| *number == data[0]) && data.len() == len),
                        None => assert!(data.iter().all(|number| *number == rank + 1)),
                        Some(Err(Error::Cancelled { rank: by, .. })) => {
                            assert!(by == who && rank != who, "rank {by} gave up, and not {who}?");
                            assert!(data.iter().all(|number| *number == rank + 1));
                        }
                        Some(Err(error)) => panic!("{error}"),
                    }
                }
            }
        }
        assert_usable(world);
    });
}

pub fn what_owns_its_buffers_goes_on(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        for len in [3, LONG] {
            for who in 0..size {
                let sum = comm.allreduce(vec![rank + 1; len], Sum);
                let sent = comm.send((rank + 1) % size, 1, elements::<u32>(rank, 0, len));
                if rank == who {
                    drop((sum, sent));
                } else {
                    assert!(sum.wait().unwrap().iter().all(|number| *number == 6));
                    sent.wait().unwrap();
                }
                let previous = (rank + size - 1) % size;
                assert!(are_from(previous, 0, &comm.recv::<u32>(previous, 1).wait().unwrap().0));
            }
        }
        assert_usable(world);
    });
}
