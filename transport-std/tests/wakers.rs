//! Wakers are somebody else's code: whatever one of them does, nobody waits for ever.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use edgempi::Error;

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that can not wake anybody");
    }
}

#[test]
fn a_waker_that_panics_harms_nobody_else() -> Result<(), Error> {
    let worlds = edgempi::local(3)?;
    let comms: Vec<_> = worlds.iter().map(|world| world.comm()).collect();
    let mut receive = pin!(comms[0].recv::<u8>(1, 0));
    let waker = Waker::from(Arc::new(Panics));
    assert!(receive.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let waiting = [comms[0].barrier(), comms[1].barrier()];
    comms[1].send(0, 0, [1u8]).wait()?;
    comms[2].barrier().wait()?;
    for barrier in waiting {
        barrier.wait()?;
    }
    assert_eq!(edgempi::block_on(receive)?.0, [1]);
    let leaving: Vec<_> = worlds.into_iter().map(|world| world.finalize()).collect();
    leaving.into_iter().try_for_each(|leaving| leaving.wait())
}
