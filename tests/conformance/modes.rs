//! The modes of sending, sends and receives in one call, and messages to and from nobody.

use edgempi::{ANY_SOURCE, ANY_TAG, Error, Rank, Status, World, wait_all};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, elements, zeros};
use super::{LENS, assert_usable, neighbours, plain, rank_and_size};

const SIZE: u32 = 4;

pub fn sends_of_every_mode_arrive(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let data = || elements::<u32>(rank, next, len);
            assert!(comm.bsend(next, 1, data()).test());
            let synchronous = comm.ssend(next, 2, data());
            for tag in [2, 1] {
                let (came, status) = comm.recv::<u32>(ANY_SOURCE, tag).wait().unwrap();
                assert_eq!((came.len(), status.source), (len, Rank::new(previous)));
                assert_eq!((status.bytes, status.count::<u32>()), (4 * len, Some(len)));
                assert!(are_from(previous, rank, &came));
            }
            synchronous.wait().unwrap();
            let sent = comm.send(next, 3, data());
            let memory = comm.recv_reusing(zeros::<u32>(len / 2), previous, 3).wait().unwrap().0;
            assert!(memory.len() == len && are_from(previous, rank, &memory));
            sent.wait().unwrap();
        }
        assert_usable(world);
    });
}

/// Of objects: each has its own length.
pub fn objects_of_every_mode_arrive(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        let objects = comm.objects();
        for len in LENS {
            let text = |from: u32| from.to_string().repeat(len + from as usize);
            objects.bsend(next, 1, &text(rank)).wait().unwrap();
            let synchronous = objects.ssend(next, 2, &text(rank));
            let receive = objects.recv::<String>(previous, 3);
            go(world);
            objects.rsend(next, 3, &text(rank)).wait().unwrap();
            assert!(receive.wait().unwrap().0 == text(previous));
            for tag in [2, 1] {
                let (came, status) = objects.recv::<String>(ANY_SOURCE, tag).wait().unwrap();
                assert!(came == text(previous) && status.source == previous);
            }
            synchronous.wait().unwrap();
            let (came, _) = objects.sendrecv::<str, String>(next, 4, &text(rank), previous, 4).wait().unwrap();
            assert!(came == Some(text(previous)));
            let mut place = text(rank);
            objects.sendrecv_replace(next, 5, previous, 5, &mut place).wait().unwrap();
            assert!(place == text(previous));
        }
        assert_usable(world);
    });
}

/// Tells the previous rank that it may send: calls of one rank reach the hub in order, so what was posted before is there.
fn go(world: &World) {
    const GO: u32 = 1000;
    let (comm, (next, previous)) = (world.comm(), neighbours(world));
    comm.send(previous, GO, [1u8]).wait().unwrap();
    comm.recv::<u8>(next, GO).wait().unwrap();
}

pub fn a_ready_send_meets_a_receive_that_waits(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let mut place = zeros::<u32>(len + 1);
            let (owned, any) = (comm.recv::<u32>(previous, 1), comm.recv::<u32>(ANY_SOURCE, 2));
            let into = comm.recv_into(previous, 3, &mut place);
            go(world);
            let sends = [1, 2, 3].map(|tag| comm.rsend(next, tag, elements::<u32>(rank, tag, len)));
            let status = into.wait().unwrap();
            assert!(are_from(previous, 1, &owned.wait().unwrap().0));
            assert!(are_from(previous, 2, &any.wait().unwrap().0));
            assert!(status.count::<u32>() == Some(len) && are_from(previous, 3, &place[..len]) && place[len] == 0);
            wait_all(sends).wait().unwrap();
        }
        assert_usable(world);
    });
}

pub fn a_ready_send_that_nobody_awaits_leaves_both_sides_usable(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            // A receive of another tag, or from another rank, is none that waits for it.
            let other = comm.recv::<u32>(previous, 2);
            let stranger = comm.recv::<u32>(next, 1);
            go(world);
            let early = comm.rsend(next, 1, elements::<u32>(rank, 1, len)).wait();
            assert!(matches!(early, Err(Error::NotReady { .. })), "{early:?}");
            // Nothing of it is there: all have tried, and nobody has sent anything else.
            comm.barrier().wait().unwrap();
            assert!(comm.iprobe(ANY_SOURCE, ANY_TAG).wait().unwrap().is_none());
            assert!(!other.test() && !stranger.test());
            comm.barrier().wait().unwrap();
            let sends =
                [(next, 2), (previous, 1)].map(|(to, tag)| comm.ssend(to, tag, elements::<u32>(rank, tag, len)));
            assert!(are_from(previous, 2, &other.wait().unwrap().0));
            assert!(are_from(next, 1, &stranger.wait().unwrap().0));
            wait_all(sends).wait().unwrap();
        }
        assert_usable(world);
    });
}

/// The halves differ in length, and in type.
pub fn sends_and_receives_in_one_call_cross(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let data = || elements::<u32>(rank, next, len);
            let (came, status) = comm.sendrecv::<u32, u32>(next, 1, data(), ANY_SOURCE, 1).wait().unwrap();
            assert!(came.len() == len && are_from(previous, rank, &came) && status.source == previous);
            let mut place = data();
            comm.sendrecv_replace(next, 2, previous, ANY_TAG, &mut place).wait().unwrap();
            assert!(are_from(previous, rank, &place));
            // From oneself it is what it was.
            comm.sendrecv_replace(rank, 3, rank, 3, &mut place).wait().unwrap();
            assert!(are_from(previous, rank, &place));
            // Pairs give each other something else, and a shorter message leaves what is behind it.
            let (partner, is_even) = (rank ^ 1, rank.is_multiple_of(2));
            if is_even {
                let given = elements::<u16>(rank, 9, len);
                let (came, _) = comm.sendrecv::<u16, f64>(partner, 4, given, partner, 4).wait().unwrap();
                assert!(came.len() == len / 2 && are_from(partner, 9, &came));
            } else {
                let given = elements::<f64>(rank, 9, len / 2);
                let (came, _) = comm.sendrecv::<f64, u16>(partner, 4, given, partner, 4).wait().unwrap();
                assert!(came.len() == len && are_from(partner, 9, &came));
            }
            let mut place = if is_even { vec![rank; len] } else { vec![rank; len - 1] };
            let replaced = comm.sendrecv_replace(partner, 5, partner, 5, &mut place).wait();
            if is_even {
                assert_eq!(replaced.unwrap().count::<u32>(), Some(len - 1));
                assert!(place[..len - 1].iter().all(|value| *value == partner) && place[len - 1] == rank);
            } else {
                // The other one's is too long for it, and nothing is in its place.
                assert!(matches!(replaced, Err(Error::Truncated { .. })), "{replaced:?}");
                assert!(place.iter().all(|value| *value == rank));
            }
        }
        assert_usable(world);
    });
}

pub fn messages_to_and_from_nobody_are_done_at_once(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, (rank, size)) = (world.comm(), rank_and_size(world));
        let nobody: Option<u32> = None;
        let objects = comm.objects();
        for len in LENS {
            let data = || elements::<u32>(rank, 1, len);
            for sent in [
                comm.send(nobody, 1, data()),
                comm.ssend(nobody, 1, data()),
                comm.bsend(nobody, 1, data()),
                comm.rsend(nobody, 1, data()),
                objects.send(nobody, 1, "nothing"),
                objects.ssend(nobody, 1, "nothing"),
                objects.rsend(nobody, 1, "nothing"),
            ] {
                sent.wait().unwrap();
            }
            let is_nobodys = |status: Status| status.source == Status::NOBODY && status.count::<u32>() == Some(0);
            let (came, status) = comm.recv::<u32>(nobody, 1).wait().unwrap();
            assert!(came.is_empty() && is_nobodys(status));
            let mut place = data();
            assert!(is_nobodys(comm.recv_into(nobody, 1, &mut place).wait().unwrap()) && place == data());
            assert!(is_nobodys(comm.probe(nobody, ANY_TAG).wait().unwrap()));
            assert!(comm.iprobe(nobody, 1).wait().unwrap().is_some_and(is_nobodys));
            assert!(comm.improbe(nobody, 1).wait().unwrap().is_some_and(|message| is_nobodys(message.status())));
            let message = comm.mprobe(nobody, 1).wait().unwrap();
            assert!(is_nobodys(message.recv::<u32>().wait().unwrap().1));
            // A line without ends: its first rank receives from nobody, its last one sends to nobody.
            let (to, from) = ((rank + 1 < size).then_some(rank + 1), rank.checked_sub(1));
            let (came, status) = comm.sendrecv::<u32, u32>(to, 2, data(), from, 2).wait().unwrap();
            assert!(from.map_or(is_nobodys(status), |from| are_from(from, 1, &came) && came.len() == len));
            comm.sendrecv_replace(to, 3, from, 3, &mut place).wait().unwrap();
            assert!(are_from(from.unwrap_or(rank), 1, &place));
            let (word, _) = objects.sendrecv::<u32, u32>(to, 4, &rank, from, 4).wait().unwrap();
            assert_eq!(word, from);
            let (sent, received) = (objects.send(to, 6, &rank), objects.recv_or_none::<u32>(from, 6));
            assert_eq!(received.wait().unwrap().0, from);
            sent.wait().unwrap();
            let mut word = rank;
            objects.sendrecv_replace(to, 7, from, 7, &mut word).wait().unwrap();
            assert_eq!(word, from.unwrap_or(rank));
            let mut again = (comm.send_init(to, 5, data()), comm.recv_init(from, 5, data()));
            for _ in 0..2 {
                again.0.start().unwrap();
                again.1.start().unwrap();
                again.0.wait().unwrap();
                assert_eq!(again.1.wait().unwrap().source, from.map_or(Status::NOBODY, Rank::new));
            }
        }
        assert_usable(world);
    });
}
