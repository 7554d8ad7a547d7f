//! Requests that are made of others, and those that never were calls.

use super::*;
use crate::{Comm, World};

fn worlds() -> (Vec<World>, Vec<Comm>) {
    let worlds = crate::local(2).expect("a world in memory");
    let comms = worlds.iter().map(World::comm).collect();
    (worlds, comms)
}

fn receives(comm: &Comm) -> Vec<Request<'static, u8>> {
    (0..3).map(|tag| comm.recv::<u8>(1, tag).map(|(data, _)| data[0])).collect()
}

#[test]
fn a_ready_request_is_done_and_gives_its_result_once() {
    let mut request = Request::ready(Ok(20)).map(|value| value + 1);
    assert!(request.test() && request.is_active());
    assert_eq!(block_on(&mut request), Ok(21));
    assert!(!request.is_active() && matches!(block_on(&mut request), Err(Error::InvalidArgument { .. })));
    assert_eq!(Request::<u8>::ready(Err(Error::Finalized)).map(|_| ()).wait(), Err(Error::Finalized));
    assert_eq!(Request::ready(Ok(1)).cancel().wait(), Ok(Some(1)));
    let mut list = [Request::ready(Ok(1)), Request::ready(Err(Error::Finalized))];
    assert_eq!(wait_some(&mut list).wait(), [(0, Ok(1)), (1, Err(Error::Finalized))]);
}

#[test]
fn joined_requests_end_together() -> Result<(), Error> {
    let (_worlds, comms) = worlds();
    let mut joined = Request::join(receives(&comms[0]), |values| Ok(values.into_iter().sum::<u8>())).map(u32::from);
    for tag in [2, 0] {
        comms[1].send(0, tag, [tag as u8 + 1]).wait()?;
    }
    assert!(Pin::new(&mut joined).poll(&mut Context::from_waker(Waker::noop())).is_pending() && !joined.test());
    let mut list = [joined, Request::ready(Ok(100))];
    assert_eq!(test_any(&mut list), Some((1, Ok(100))));
    comms[1].send(0, 1, [2u8]).wait()?;
    assert_eq!(wait_any(&mut list).wait(), Some((0, Ok(1 + 2 + 3))));
    Ok(())
}

#[test]
fn a_joined_request_fails_with_the_first_in_order_once_all_have_ended() -> Result<(), Error> {
    let (_worlds, comms) = worlds();
    let mut requests = receives(&comms[0]);
    requests.insert(1, Request::refused(Error::Finalized));
    requests.push(Request::refused(Error::invalid("the last")));
    let joined = Request::join(requests, |_| -> Result<(), Error> { panic!("it has failed") });
    for tag in [0, 2, 1] {
        assert!(!joined.test());
        comms[1].send(0, tag, [1u8]).wait()?;
    }
    assert_eq!(joined.wait(), Err(Error::Finalized));
    Ok(())
}

#[test]
fn dropping_a_joined_request_drops_all_of_it() -> Result<(), Error> {
    let (_worlds, comms) = worlds();
    drop(Request::join(receives(&comms[0]), Ok));
    // What it says later the hub hears later: now it knows of the dropped receives.
    comms[0].send(1, 9, [0u8]).wait()?;
    comms[1].recv::<u8>(0, 9).wait()?;
    for tag in 0..3 {
        comms[1].send(0, tag, [tag as u8]).wait()?;
        assert_eq!(comms[0].recv::<u8>(1, tag).wait()?.0, [tag as u8], "the first receive was taken back");
    }
    let refused = Request::join(receives(&comms[0]), Ok).cancel().wait();
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    Ok(())
}

#[test]
fn of_two_requests_the_second_begins_when_the_first_has_ended() -> Result<(), Error> {
    let (_worlds, comms) = worlds();
    let receive = |tag| comms[0].recv::<u8>(1, tag).map(|(data, _)| data[0]);
    // By testing alone, and by waiting alone.
    for tests in [true, false] {
        let chained = receive(0).then(|first| comms[0].recv::<u8>(1, 1).map(move |(data, _)| (first, data[0])));
        comms[1].send(0, 1, [2u8]).wait()?;
        assert!(!chained.test(), "the first has not ended");
        comms[1].send(0, 0, [1u8]).wait()?;
        while tests && !chained.test() {
            std::thread::yield_now();
        }
        assert_eq!(chained.wait(), Ok((1, 2)));
    }
    // Without the first there is no second.
    let mut place = [0u8];
    let too_short = comms[0].recv_into(1, 0, &mut place).then(|_| Request::ready(Ok(7)));
    comms[1].send(0, 0, [1u8; 2]).wait()?;
    while !too_short.test() {
        std::thread::yield_now();
    }
    assert!(matches!(too_short.wait(), Err(Error::Truncated { .. })));
    Ok(())
}
