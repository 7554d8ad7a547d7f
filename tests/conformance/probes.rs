//! Probes, and messages that a matched probe keeps.

use edgempi::{ANY_SOURCE, ANY_TAG, Error, Rank, Request, wait_all};
use edgempi_tests::links::Link;
use edgempi_tests::on_ranks;

use super::data::{are_from, elements, zeros};
use super::{LENS, assert_usable, neighbours, plain};

const SIZE: u32 = 4;

pub fn probes_find_messages_and_keep_them(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let sends = [1, 1, 2].map(|tag| comm.ssend(next, tag, elements::<u64>(rank, tag, len)));
            let status = comm.probe(ANY_SOURCE, 2).wait().unwrap();
            assert_eq!((status.source, status.count::<u64>()), (Rank::new(previous), Some(len)));
            // What a probe has found is still there, for another one, too.
            assert_eq!(comm.iprobe(previous, 2).wait().unwrap(), Some(status));
            let first = comm.mprobe(previous, 1).wait().unwrap();
            let second = comm.improbe(ANY_SOURCE, 1).wait().unwrap().expect("messages of one sender come in order");
            assert!(comm.iprobe(previous, 1).wait().unwrap().is_none(), "both are kept");
            assert!(comm.improbe(previous, 3).wait().unwrap().is_none());
            for message in [second, first] {
                let probed = message.status();
                let (came, status) = message.recv::<u64>().wait().unwrap();
                assert_eq!((came.len(), status.tag.0, status), (len, 1, probed));
                assert!(are_from(previous, 1, &came));
            }
            assert!(are_from(previous, 2, &comm.recv::<u64>(previous, ANY_TAG).wait().unwrap().0));
            wait_all(sends).wait().unwrap();
        }
        assert_usable(world);
    });
}

/// A probe that waits is answered when the message comes, and only by one that fits.
pub fn a_probe_waits_for_its_message(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let (probe, matched) = (comm.probe(previous, 2), comm.mprobe(ANY_SOURCE, 3));
            comm.barrier().wait().unwrap();
            comm.send(next, 1, [rank]).wait().unwrap();
            assert_eq!(comm.recv::<u32>(previous, 1).wait().unwrap().0, [previous]);
            assert!(!probe.test() && !matched.test());
            comm.barrier().wait().unwrap();
            let sends = [2, 3].map(|tag| comm.send(next, tag, elements::<u16>(rank, tag, len)));
            assert_eq!(probe.wait().unwrap().count::<u16>(), Some(len));
            assert!(are_from(previous, 3, &matched.wait().unwrap().recv::<u16>().wait().unwrap().0));
            assert!(are_from(previous, 2, &comm.recv::<u16>(previous, 2).wait().unwrap().0));
            wait_all(sends).wait().unwrap();
        }
        assert_usable(world);
    });
}

pub fn a_kept_message_goes_into_a_buffer_or_becomes_a_value(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let sends = [1, 2].map(|tag| comm.ssend(next, tag, elements::<u32>(rank, tag, len)));
            let text = |from: u32| from.to_string().repeat(len);
            let spoken = comm.objects().ssend(next, 3, &text(rank));
            let mut place = zeros::<u32>(len + 1);
            let message = comm.mprobe(previous, 1).wait().unwrap();
            assert_eq!(message.recv_into(&mut place).wait().unwrap().count::<u32>(), Some(len));
            assert!(are_from(previous, 1, &place[..len]) && place[len] == 0);
            // One that is too long for its buffer is lost, and the buffer as it was.
            let message = comm.mprobe(previous, 2).wait().unwrap();
            let truncated = message.recv_into(&mut place[..len - 1]).wait();
            assert!(matches!(truncated, Err(Error::Truncated { .. })), "{truncated:?}");
            assert!(are_from(previous, 1, &place[..len]));
            let message = comm.mprobe(previous, 3).wait().unwrap();
            let (value, status) = message.recv_object::<String>().wait().unwrap();
            assert!(value == Some(text(previous)) && status.tag.0 == 3);
            spoken.wait().unwrap();
            let [first, second] = sends.map(Request::wait);
            first.unwrap();
            assert!(matches!(second, Ok(()) | Err(Error::Truncated { .. })), "{second:?}");
            assert!(comm.iprobe(ANY_SOURCE, ANY_TAG).wait().unwrap().is_none());
            comm.barrier().wait().unwrap();
        }
        assert_usable(world);
    });
}

/// Its sender goes on as if it had been received, and those behind it come.
pub fn a_kept_message_that_is_dropped_is_lost_and_no_other(link: Link) {
    on_ranks(plain(link, SIZE), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        let (next, previous) = neighbours(world);
        for len in LENS {
            let sends = [7, 8, 9].map(|number| comm.ssend(next, 1, elements::<u32>(rank, number, len)));
            drop(comm.mprobe(previous, 1).wait().unwrap());
            let kept = comm.mprobe(previous, 1).wait().unwrap();
            assert!(are_from(previous, 9, &comm.recv::<u32>(previous, 1).wait().unwrap().0));
            assert!(are_from(previous, 8, &kept.recv::<u32>().wait().unwrap().0));
            wait_all(sends).wait().unwrap();
            // A receive of it that is given up loses it as well.
            let sent = comm.send(next, 2, elements::<u32>(rank, 7, len));
            drop(comm.mprobe(previous, 2).wait().unwrap().recv::<u32>());
            let lost = sent.wait();
            assert!(matches!(lost, Ok(()) | Err(Error::Cancelled { .. })), "{lost:?}");
            // So does a probe that nobody asks for its message, whether it had come or not.
            drop(comm.mprobe(previous, 3));
            comm.barrier().wait().unwrap();
            let sent = comm.send(next, 3, elements::<u32>(rank, 3, len));
            assert!(are_from(previous, 3, &comm.recv::<u32>(previous, 3).wait().unwrap().0));
            sent.wait().unwrap();
        }
        assert_usable(world);
    });
}
