//! Mistakes that are answered: calls that do not fit each other, and ranks that wait for each other. The world goes on.

use std::thread;
use std::time::Duration;

use edgempi::config::Threads;
use edgempi::hub::Registry;
use edgempi::{Config, Error, Max, Sum};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{elements, zeros};
use super::{LENS, assert_usable, neighbours, plain};

const SIZE: u32 = 3;

pub fn ranks_that_do_not_agree_are_told_both_sides(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        for len in LENS {
            let ops = comm.allreduce(vec![rank; len], if rank == 1 { Max } else { Sum }).wait().map(drop);
            let lengths = comm.allreduce(vec![rank; len + usize::from(rank == 1)], Sum).wait().map(drop);
            let calls = if rank == 1 {
                comm.allgather(vec![rank; len]).wait().map(drop)
            } else {
                comm.allreduce(vec![rank; len], Sum).wait().map(drop)
            };
            let sides = [
                (ops, ["MAX".to_owned(), "SUM".to_owned()]),
                (lengths, [len, len + 1].map(|len| format!("{len} x u32"))),
                (calls, ["allgather".to_owned(), "allreduce".to_owned()]),
            ];
            for (result, says) in sides {
                let error = result.expect_err("rank 1 means something else");
                assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
                let said = error.to_string();
                assert!(says.iter().all(|says| said.contains(says)) && said.contains("diagnosis.rs:"), "{said}");
            }
        }
        assert_usable(world);
    });
}

pub fn what_does_not_fit_its_buffer_is_truncated_and_leaves_it_alone(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let sent = comm.send(next, 1, elements::<u32>(rank, 1, len));
            let mut place = zeros::<u32>(len - 1);
            let truncated = comm.recv_into(previous, 1, &mut place).wait();
            assert!(matches!(truncated, Err(Error::Truncated { .. })), "{truncated:?}");
            let sent = sent.wait();
            assert!(matches!(sent, Ok(()) | Err(Error::Truncated { .. })), "{sent:?}");
            // Who gives is done before the others come, maybe, and would hear of it in the next call on that communicator.
            let once = [comm.dup().wait().unwrap(), comm.dup().wait().unwrap()];
            let mut place = zeros::<u32>(len + usize::from(rank == 1));
            let broadcast = once[0].bcast_in_place(1, &mut place).wait();
            assert!(rank == 1 || matches!(broadcast, Err(Error::Truncated { .. })), "{broadcast:?}");
            let mut place = zeros::<u32>(if rank == 0 { len * SIZE as usize } else { len + 1 });
            let gathered = once[1].gather_in_place(0, &mut place).wait();
            assert!(rank != 0 || matches!(gathered, Err(Error::Truncated { .. })), "{gathered:?}");
            assert!(place.iter().all(|value| *value == 0));
        }
        assert_usable(world);
    });
}

/// Where each has declared that it calls from one thread alone.
pub fn ranks_that_wait_for_each_other_are_told_who_and_where(link: Link) {
    on_ranks(link(SIZE, &Config::new().threads(Threads::Single), &Registry::new()), |world| {
        let (comm, (_, previous)) = (world.comm(), neighbours(world));
        for _ in LENS {
            let error = comm.recv::<u8>(previous, 5).wait().expect_err("nobody sends");
            assert!(matches!(error, Error::Deadlock { .. }), "{error:?}");
            let said = error.to_string();
            let receives = (0..SIZE).map(|from| format!("recv(from rank {from}, tag 5)"));
            assert!(receives.into_iter().all(|receive| said.contains(&receive)), "{said}");
            assert!(said.contains("diagnosis.rs:"), "{said}");
            comm.barrier().wait().unwrap();
        }
        assert_usable(world);
    });
}

/// The hub looks a moment after a rank has told it that it waits, which takes a rank a moment, too.
const SEVERAL_LOOKS: Duration = Duration::from_millis(400);

/// The same waits, which another thread of each rank then ends.
pub fn ranks_of_several_threads_that_wait_are_left_alone(link: Link) {
    on_ranks(link(SIZE, &Config::new().threads(Threads::Multiple), &Registry::new()), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            thread::scope(|scope| {
                comm.barrier().wait().unwrap();
                let waiting = scope.spawn(|| comm.recv::<u32>(previous, 5).wait());
                if len == LENS[0] {
                    // Long enough for ranks of one thread to be told.
                    thread::sleep(SEVERAL_LOOKS);
                }
                comm.send(next, 5, vec![rank; len]).wait().unwrap();
                assert_eq!(waiting.join().expect("it does not panic").unwrap().0, vec![previous; len]);
            });
        }
        assert_usable(world);
    });
}
