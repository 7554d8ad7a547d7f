//! What passes between a request and whoever ends it, in every order of what their threads do.

use std::sync::atomic::AtomicUsize;

use edgempi_core::Status;
use edgempi_core::request::CommunicatorId;
use loom::thread;

use super::*;
use crate::buffers::{Buffers, Inbound, Outbound};
use crate::engine::Asked;

/// An engine that only counts what is given up.
#[derive(Default)]
struct Idle {
    cancelled: AtomicUsize,
}

impl Drive for Idle {
    fn submit(&self, _: Asked) -> Result<RequestId, Error> {
        Err(Error::Finalized)
    }

    fn cancel(&self, _: RequestId) {
        self.cancelled.fetch_add(1, Ordering::SeqCst);
    }

    fn withdraw(&self, _: RequestId) -> Result<edgempi_core::Rank, Error> {
        Err(Error::Finalized)
    }

    fn spin(&self, _: &dyn Fn() -> bool) {}
}

fn started(on_drop: OnDrop) -> (Request<'static, ()>, Arc<Pending>, Arc<Idle>) {
    let world = CommunicatorId { id: 0, rank: edgempi_core::Rank::new(0), size: 1 };
    let pending = Pending::new(Buffers::new(Outbound::Nothing, Inbound::Nothing, world, 0));
    let engine = Arc::new(Idle::default());
    let request = Request::started(engine.clone(), pending.clone(), RequestId::NONE, on_drop, |_| Ok(()));
    (request, pending, engine)
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn loom_who_waits_hears_of_the_end() {
    loom::model(|| {
        let (request, pending, _) = started(OnDrop::Detach);
        let engine = thread::spawn(move || pending.resolve(Ok(Status::default())));
        assert_eq!(request.wait(), Ok(()));
        engine.join().expect("nobody panics");
    });
}

#[test]
fn loom_a_request_ends_once_whoever_ends_it() {
    loom::model(|| {
        let (request, pending, _) = started(OnDrop::Detach);
        let ends = [Ok(Status::default()), Err(Error::Finalized)].map(|end| {
            let pending = pending.clone();
            thread::spawn(move || pending.resolve(end))
        });
        let end = request.wait();
        assert!(matches!(end, Ok(()) | Err(Error::Finalized)));
        for thread in ends {
            thread.join().expect("nobody panics");
        }
    });
}

#[test]
fn loom_who_asked_last_is_woken_and_nobody_twice() {
    loom::model(|| {
        let (mut request, pending, _) = started(OnDrop::Detach);
        let engine = thread::spawn(move || pending.resolve(Ok(Status::default())));
        let (first, last) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
        let mut is_ready = false;
        for waker in [&first, &last] {
            if !is_ready {
                let waker = Waker::from(waker.clone());
                is_ready = Pin::new(&mut request).poll(&mut Context::from_waker(&waker)).is_ready();
            }
        }
        engine.join().expect("nobody panics");
        let (first, last) = (first.0.load(Ordering::SeqCst), last.0.load(Ordering::SeqCst));
        assert!(first + last <= 1);
        assert!(is_ready || last == 1, "it has ended, and whoever asked last does not know");
        assert!(is_ready || request.test());
    });
}

#[test]
fn loom_a_request_moves_to_another_thread_that_waits() {
    loom::model(|| {
        let (mut request, pending, _) = started(OnDrop::Detach);
        let engine = thread::spawn(move || pending.resolve(Ok(Status::default())));
        let polled = Pin::new(&mut request).poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            let waiting = thread::spawn(move || request.wait());
            assert_eq!(waiting.join().expect("nobody panics"), Ok(()));
        }
        engine.join().expect("nobody panics");
    });
}

#[test]
fn loom_a_request_that_is_dropped_has_ended_or_is_given_up() {
    loom::model(|| {
        let (mut request, pending, counting) = started(OnDrop::Cancel);
        let resolving = pending.clone();
        let engine = thread::spawn(move || resolving.resolve(Ok(Status::default())));
        let waker = Arc::new(Counting::default());
        let polled = {
            let waker = Waker::from(waker.clone());
            Pin::new(&mut request).poll(&mut Context::from_waker(&waker))
        };
        drop(request);
        let before = waker.0.load(Ordering::SeqCst);
        engine.join().expect("nobody panics");
        let cancelled = counting.cancelled.load(Ordering::SeqCst);
        assert!(cancelled == 0 || polled.is_pending());
        assert!(cancelled <= 1);
        assert!(before <= 1 && waker.0.load(Ordering::SeqCst) <= 1);
        // Nobody keeps the waker of somebody who has gone.
        assert_eq!(Arc::strong_count(&waker), 1);
    });
}
