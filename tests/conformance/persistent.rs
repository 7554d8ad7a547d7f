//! Calls that are described once and made again and again, with other contents each time.

use edgempi::{Error, Max, Persistent, SendReceive, Sum, World, start_all, wait_all};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, are_from_all, elements, to_all};
use super::{LENS, assert_usable, neighbours, plain, rank_and_size};

const SIZE: u32 = 4;
const ROUNDS: u32 = 3;

pub fn messages_again_and_again(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let place = || vec![0u32; len];
            let mut receives: Vec<_> = (0..4).map(|tag| comm.recv_init(previous, tag, place())).collect();
            let mut sends = [
                comm.send_init(next, 0, place()),
                comm.ssend_init(next, 1, place()),
                comm.bsend_init(next, 2, place()),
                comm.rsend_init(next, 3, place()),
            ];
            for round in 0..ROUNDS {
                for (send, tag) in sends.iter_mut().zip(0..) {
                    *send.buffer_mut().expect("no round is under way") = elements(rank, 4 * round + tag, len);
                }
                start_all(&mut receives).unwrap();
                // For the one that has to be ready.
                comm.barrier().wait().unwrap();
                start_all(&mut sends).unwrap();
                assert!(sends[0].start().is_err() && sends[0].buffer().is_none(), "it is under way");
                let statuses = wait_all(receives.iter_mut().map(Persistent::request)).wait().unwrap();
                for (tag, (receive, status)) in (0..).zip(receives.iter().zip(statuses)) {
                    let came = receive.buffer().expect("it is back");
                    assert!(status.tag == tag && came.len() == len && are_from(previous, 4 * round + tag, came));
                }
                wait_all(sends.iter_mut().map(Persistent::request)).wait().unwrap();
            }
            for (tag, send) in (0..).zip(sends) {
                let kept = send.into_buffer().expect("no round is under way");
                assert!(are_from(rank, 4 * (ROUNDS - 1) + tag, &kept));
            }
        }
        assert_usable(world);
    });
}

/// The round loses its buffer; with another one it goes on.
pub fn a_round_that_fails_does_not_end_the_others(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let mut ready = comm.rsend_init(next, 1, elements::<u32>(rank, 1, len));
            let mut short = comm.recv_init(previous, 2, vec![0u32; len]);
            ready.start().unwrap();
            let early = ready.wait();
            assert!(matches!(early, Err(Error::NotReady { .. })), "{early:?}");
            assert!(ready.buffer().is_none() && ready.start().is_err());
            short.start().unwrap();
            let sent = comm.send(next, 2, elements::<u32>(rank, 2, len + 1));
            let truncated = short.wait();
            assert!(matches!(truncated, Err(Error::Truncated { .. })), "{truncated:?}");
            let sent = sent.wait();
            assert!(matches!(sent, Ok(()) | Err(Error::Truncated { .. })), "{sent:?}");
            for round in 3..5 {
                ready.set_buffer(elements(rank, round, len)).unwrap();
                short.set_buffer(vec![0; len]).unwrap();
                short.start().unwrap();
                let receive = comm.recv::<u32>(previous, 1);
                comm.barrier().wait().unwrap();
                ready.start().unwrap();
                let sent = comm.send(next, 2, elements::<u32>(rank, round, len / 2));
                ready.wait().unwrap();
                assert!(are_from(previous, round, &receive.wait().unwrap().0));
                assert_eq!(short.wait().unwrap().count::<u32>(), Some(len / 2));
                assert!(short.buffer().is_some_and(|came| came.len() == len / 2 && are_from(previous, round, came)));
                sent.wait().unwrap();
            }
        }
        assert_usable(world);
    });
}

/// A round that nothing has met is as if it had never been; one that something has met is over.
pub fn a_round_that_is_taken_back(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let mut receive = comm.recv_init(previous, 1, vec![0u32; len]);
            let mut send = comm.ssend_init(next, 1, elements::<u32>(rank, 1, len));
            assert!(receive.test() && receive.cancel().wait().is_err(), "none is under way");
            receive.start().unwrap();
            assert!(!receive.test(), "nobody has sent");
            assert_eq!(receive.cancel().wait().unwrap(), None);
            comm.barrier().wait().unwrap();
            send.start().unwrap();
            // Nobody receives it, so that is taken back, too.
            assert_eq!(send.cancel().wait().unwrap(), None);
            comm.barrier().wait().unwrap();
            receive.start().unwrap();
            send.start().unwrap();
            send.wait().unwrap();
            // All have been received.
            comm.barrier().wait().unwrap();
            let late = receive.cancel().wait().unwrap().expect("the message has met it");
            assert_eq!(late.count::<u32>(), Some(len));
            assert!(receive.test() && are_from(previous, 1, receive.buffer().expect("it is back")));
            comm.barrier().wait().unwrap();
        }
        assert_usable(world);
    });
}

/// One of them under way is taken back when its persistent request is dropped, if it is a receive; else it goes on alone.
pub fn a_round_whose_request_is_dropped(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let (next, previous) = neighbours(world);
        for len in LENS {
            let mut receive = comm.recv_init(previous, 1, vec![0u32; len]);
            let mut send = comm.send_init(next, 1, elements::<u32>(rank, 1, len));
            let mut sum = comm.allreduce_init(vec![rank; len], Sum);
            receive.start().unwrap();
            drop(receive.request());
            assert!(receive.is_active(), "what waits for a round is not the round");
            drop(receive);
            comm.barrier().wait().unwrap();
            send.start().unwrap();
            sum.start().unwrap();
            if rank == 2 {
                drop((send, sum));
            } else {
                sum.wait().unwrap();
                assert_eq!(sum.into_buffer(), Some(vec![size * (size - 1) / 2; len]));
                send.wait().unwrap();
            }
            assert!(are_from(previous, 1, &comm.recv::<u32>(previous, 1).wait().unwrap().0));
        }
        assert_usable(world);
    });
}

pub fn blocks_again_and_again(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let root = 1;
        let is_root = rank == root;
        for len in LENS {
            let mut barrier = comm.barrier_init();
            let mut bcast = comm.bcast_init(root, vec![0u16; len]);
            let mut blocks: [Persistent<SendReceive<u32>>; 4] = [
                comm.gather_init(root, vec![0u32; len]),
                comm.scatter_init(root, is_root.then(|| vec![0u32; len * size as usize])),
                comm.allgather_init(vec![0u32; len]),
                comm.alltoall_init(vec![0u32; len * size as usize]),
            ];
            for round in 0..ROUNDS {
                if is_root {
                    *bcast.buffer_mut().expect("no round is under way") = elements(root, round, len);
                }
                let own = || elements(rank, round, len);
                let given =
                    [own(), if is_root { to_all(size, rank, len) } else { Vec::new() }, own(), to_all(size, rank, len)];
                for (call, given) in blocks.iter_mut().zip(given) {
                    call.buffer_mut().expect("no round is under way").send = given;
                }
                bcast.start().unwrap();
                start_all(&mut blocks).unwrap();
                barrier.start().unwrap();
                barrier.wait().unwrap();
                wait_all(blocks.iter_mut().map(Persistent::request)).wait().unwrap();
                bcast.wait().unwrap();
                assert!(bcast.buffer().is_some_and(|came| are_from(root, round, came)));
                let came = blocks.each_ref().map(|call| &call.buffer().expect("it is back").receive);
                assert!(if is_root { are_from_all(size, |_| round, came[0]) } else { came[0].is_empty() });
                assert!(came[1].len() == len && are_from(root, rank, came[1]));
                assert!(came[2].len() == len * size as usize && are_from_all(size, |_| round, came[2]));
                assert!(came[3].len() == len * size as usize && are_from_all(size, |_| rank, came[3]));
            }
        }
        assert_usable(world);
    });
}

/// Calls that have no form of their own for this: blocks of lengths that differ, objects, and neighbours.
pub fn any_call_again_and_again(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let (next, previous) = neighbours(world);
        let ring = comm.cart(&[size], &[true]).wait().unwrap().expect("everybody has a place");
        let same = comm.dup().wait().unwrap();
        let mut blocks = Persistent::calling(Vec::new(), move |data: &mut Vec<u32>| comm.allgatherv(&*data));
        let mut words = Persistent::calling(String::new(), move |word| same.objects().allgather(&*word));
        let mut near = Persistent::calling(Vec::new(), move |data: &mut Vec<u16>| ring.neighbor_allgather(&*data));
        for (round, len) in (0..).zip(LENS.repeat(ROUNDS as usize)) {
            let text = |from: u32| format!("{from} {round}").repeat(len / 3);
            *blocks.buffer_mut().expect("no round is under way") = elements(rank, round, len / (rank as usize + 1));
            *words.buffer_mut().expect("no round is under way") = text(rank);
            *near.buffer_mut().expect("no round is under way") = elements(rank, round, len);
            near.start().unwrap();
            words.start().unwrap();
            blocks.start().unwrap();
            let came = blocks.wait().unwrap();
            assert!(
                (0..)
                    .zip(came)
                    .all(|(from, came)| { came.len() == len / (from as usize + 1) && are_from(from, round, &came) })
            );
            assert!((0..).zip(words.wait().unwrap()).all(|(from, came)| came == text(from)));
            let came = near.wait().unwrap();
            assert!(
                [previous, next]
                    .into_iter()
                    .zip(came)
                    .all(|(from, came)| { came.is_some_and(|came| came.len() == len && are_from(from, round, &came)) })
            );
        }
        drop((blocks, words, near));
        assert_usable(world);
    });
}

pub fn folds_again_and_again(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        for len in LENS {
            folds_in_place(world, len);
            folds_of_blocks(world, len);
        }
        assert_usable(world);
    });
}

fn folds_in_place(world: &World, len: usize) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    let mut folds = [
        comm.reduce_init(1, vec![0u32; len], Max),
        comm.allreduce_init(vec![0u32; len], Sum),
        comm.scan_init(vec![0u32; len], Sum),
        comm.exscan_init(vec![0u32; len], Sum),
    ];
    for round in 0..ROUNDS {
        for fold in &mut folds {
            fold.buffer_mut().expect("no round is under way").fill(round * 10 + rank);
        }
        start_all(&mut folds).unwrap();
        // Each round meets the plain call of the same name as well.
        let plain = comm.allreduce(vec![round; len], Sum);
        wait_all(folds.iter_mut().map(Persistent::request)).wait().unwrap();
        assert_eq!(plain.wait().unwrap(), vec![round * size; len]);
        let sum = |ranks: u32| ranks * round * 10 + ranks * ranks.saturating_sub(1) / 2;
        let own = round * 10 + rank;
        let expected = [
            if rank == 1 { round * 10 + size - 1 } else { own },
            sum(size),
            sum(rank + 1),
            if rank == 0 { own } else { sum(rank) },
        ];
        for (fold, expected) in folds.iter().zip(expected) {
            assert!(fold.buffer().is_some_and(|came| came.len() == len && came.iter().all(|value| *value == expected)));
        }
    }
}

fn folds_of_blocks(world: &World, len: usize) {
    let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
    let counts = [0, len, 2 * len, len];
    let mut calls = [
        comm.reduce_scatter_block_init(vec![0u64; len * size as usize], Sum),
        comm.reduce_scatter_init(vec![0u64; len * size as usize], &counts, Sum),
    ];
    for round in 0..u64::from(ROUNDS) {
        for call in &mut calls {
            let send = &mut call.buffer_mut().expect("no round is under way").send;
            // Block b of each rank has b in it.
            send.iter_mut().enumerate().for_each(|(at, value)| *value = round * 100 + (at / len) as u64);
        }
        start_all(&mut calls).unwrap();
        wait_all(calls.iter_mut().map(Persistent::request)).wait().unwrap();
        let of_block = |block: usize| u64::from(size) * (round * 100 + block as u64);
        let [even, uneven] = calls.each_ref().map(|call| &call.buffer().expect("it is back").receive);
        assert!(even.len() == len && even.iter().all(|sum| *sum == of_block(rank as usize)));
        let start: usize = counts[..rank as usize].iter().sum();
        assert!(uneven.len() == counts[rank as usize]);
        assert!(uneven.iter().enumerate().all(|(at, sum)| *sum == of_block((start + at) / len)));
    }
}
