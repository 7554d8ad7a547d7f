//! What stays in order, and what may not wait for each other.

use std::thread;

use edgempi::{ANY_SOURCE, ANY_TAG, Comm, Max, Request, Sum};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, elements};
use super::{assert_usable, plain, rank_and_size};

/// Elements of message `number`: mostly short, now and then longer than a frame, or than a window.
fn len(number: u32) -> usize {
    match number % 16 {
        5 => 80_000,
        11 => 300_000,
        _ => 1 + number as usize * 7,
    }
}

/// A message that says its number.
fn message(number: u32) -> Vec<u32> {
    let mut data = elements(number, 0, len(number));
    data[0] = number;
    data
}

fn is_message(number: u32, data: &[u32]) -> bool {
    data.len() == len(number) && data[0] == number && data[1..] == elements::<u32>(number, 0, len(number))[1..]
}

pub fn messages_do_not_overtake_each_other(link: Link) {
    const COUNT: u32 = 48;
    on_ranks(plain(link, 2), |world| {
        let comm = world.comm();
        // Tags alternate; the receives are there before the messages, or come later, or half and half.
        for ahead in [COUNT, 0, COUNT / 2] {
            if comm.rank() == 0 {
                if ahead > 0 {
                    comm.barrier().wait().unwrap();
                }
                let sends: Vec<_> = (0..COUNT).map(|number| comm.send(1, number % 2, message(number))).collect();
                if ahead == 0 {
                    comm.barrier().wait().unwrap();
                }
                sends.into_iter().for_each(|send| send.wait().unwrap());
            } else {
                if ahead == 0 {
                    comm.barrier().wait().unwrap();
                }
                let early: Vec<_> = (0..ahead).map(|_| comm.recv::<u32>(0, ANY_TAG)).collect();
                if ahead > 0 {
                    comm.barrier().wait().unwrap();
                }
                for (number, request) in early.into_iter().enumerate() {
                    let (data, status) = request.wait().unwrap();
                    assert!(status.tag == number as u32 % 2 && is_message(number as u32, &data), "message {number}");
                }
                // Of each tag by itself, in the order of sending.
                for tag in [1, 0] {
                    for number in (ahead..COUNT).filter(|number| number % 2 == tag) {
                        assert!(is_message(number, &comm.recv::<u32>(0, tag).wait().unwrap().0), "message {number}");
                    }
                }
            }
        }
        assert_usable(world);
    });
}

pub fn messages_from_anybody_stay_in_the_order_of_each_sender(link: Link) {
    const COUNT: u32 = 24;
    on_ranks(plain(link, 4), |world| {
        let comm = world.comm();
        let (rank, size) = rank_and_size(world);
        if rank > 0 {
            let sends: Vec<_> = (0..COUNT).map(|number| comm.send(0, number * 10 + rank, message(number))).collect();
            sends.into_iter().for_each(|send| send.wait().unwrap());
        } else {
            let mut next = vec![0; size as usize];
            let receives: Vec<_> =
                (1..size).flat_map(|_| 0..COUNT).map(|_| comm.recv::<u32>(ANY_SOURCE, ANY_TAG)).collect();
            for receive in receives {
                let (data, status) = receive.wait().unwrap();
                let number = &mut next[status.source.index()];
                assert_eq!(status.tag.0, *number * 10 + status.source.get());
                assert!(is_message(*number, &data));
                *number += 1;
            }
            assert_eq!(next, [0, COUNT, COUNT, COUNT]);
        }
        assert_usable(world);
    });
}

pub fn collectives_in_flight_end_in_any_order(link: Link) {
    const COUNT: u32 = 30;
    on_ranks(plain(link, 3), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let start = |number: u32| -> Request<'static, bool> {
            let len = len(number);
            match number % 3 {
                0 => comm.allreduce(vec![rank + number; len], Max).map(move |max| max == vec![size - 1 + number; len]),
                1 => comm
                    .bcast(number % size, elements::<u16>(if rank == number % size { number } else { 40 }, 0, len))
                    .map(move |data| data.len() == len && are_from(number, 0, &data)),
                _ => comm.allgather([rank, number]).map(move |all| all == [0, number, 1, number, 2, number]),
            }
        };
        let mut requests: Vec<_> = (0..COUNT).map(start).collect();
        // Each rank asks for the results in an order of its own.
        while !requests.is_empty() {
            let which = (requests.len() * (rank as usize + 1) / 4).min(requests.len() - 1);
            assert!(requests.swap_remove(which).wait().unwrap());
        }
        assert_usable(world);
    });
}

pub fn collectives_on_two_communicators_do_not_see_each_other(link: Link) {
    const ROUNDS: u32 = 40;
    on_ranks(plain(link, 4), |world| {
        let (first, rank) = (world.comm(), world.rank().get());
        let second = first.dup().wait().unwrap();
        let both = |number: u32| {
            let on = |comm: &Comm, scale: u32| comm.allreduce(vec![rank * scale + number; len(number)], Sum);
            // Every other rank starts them the other way round.
            if rank.is_multiple_of(2) {
                (on(&first, 1), on(&second, 100))
            } else {
                let later = on(&second, 100);
                (on(&first, 1), later)
            }
        };
        let requests: Vec<_> = (0..ROUNDS).map(both).collect();
        for (number, (first, second)) in requests.into_iter().enumerate().rev() {
            let (number, len) = (number as u32, len(number as u32));
            assert_eq!(second.wait().unwrap(), vec![600 + 4 * number; len]);
            assert_eq!(first.wait().unwrap(), vec![6 + 4 * number; len]);
        }
        assert_usable(world);
    });
}

pub fn threads_share_a_world(link: Link) {
    on_ranks(plain(link, 3), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let copies: Vec<Comm> = (0..4).map(|_| comm.dup().wait().unwrap()).collect();
        thread::scope(|scope| {
            for (thread, copy) in (0u32..).zip(&copies) {
                scope.spawn(move || {
                    for round in 0..25 {
                        let sum = copy.allreduce([rank, thread, round], Sum).wait().unwrap();
                        assert_eq!(sum, [3, 3 * thread, 3 * round]);
                        let sent = copy.send((rank + 1) % size, round, [thread; 50]);
                        let (came, _) = copy.recv::<u32>((rank + 2) % size, round).wait().unwrap();
                        assert_eq!(came, [thread; 50]);
                        sent.wait().unwrap();
                    }
                });
            }
        });
        assert_usable(world);
    });
}
