//! What passes between a request and whoever ends it, in every order of what their threads do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use edgempi_core::request::CommunicatorId;
use edgempi_core::{Rank, Status};
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

    fn withdraw(&self, _: RequestId) {}

    fn withdraw_message(&self, _: RequestId) -> Result<Rank, Error> {
        Err(Error::Finalized)
    }

    fn spin(&self, _: &dyn Fn() -> bool) {}
}

fn started(on_drop: OnDrop) -> (Request<'static, ()>, Arc<Pending>, Arc<Idle>) {
    let world = CommunicatorId { id: 0, rank: Rank::new(0), size: 1 };
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

/// Two requests, and the threads that end them.
fn two() -> ([Request<'static, ()>; 2], [thread::JoinHandle<()>; 2]) {
    let [(first, ends_first, _), (second, ends_second, _)] = [started(OnDrop::Detach), started(OnDrop::Detach)];
    let threads =
        [ends_first, ends_second].map(|pending| thread::spawn(move || pending.resolve(Ok(Status::default()))));
    ([first, second], threads)
}

#[test]
fn loom_who_waits_for_any_hears_of_each_once() {
    loom::model(|| {
        // Nobody joins the threads: loom takes a late unpark for the end of a thread that is joined.
        let (mut requests, _) = two();
        let (first, _) = wait_any(&mut requests).wait().expect("two are active");
        let (second, _) = wait_any(&mut requests).wait().expect("one is active");
        assert!(first + second == 1 && wait_any(&mut requests).wait().is_none());
    });
}

#[test]
fn loom_who_waits_for_all_hears_when_both_have_ended() {
    loom::model(|| {
        let (requests, _) = two();
        assert_eq!(wait_all(requests).wait(), Ok(vec![(), ()]));
    });
}

#[test]
fn loom_asking_after_some_takes_each_once_and_forgets_nobody_who_waits() {
    loom::model(|| {
        let (mut requests, threads) = two();
        let waker = Arc::new(Counting::default());
        let polled = {
            let waker = Waker::from(waker.clone());
            Pin::new(&mut requests[1]).poll(&mut Context::from_waker(&waker))
        };
        let asked = test_some(&mut requests).len();
        for thread in threads {
            thread.join().expect("nobody panics");
        }
        // Whoever waited was told, unless somebody else took the result.
        let is_woken = waker.0.load(Ordering::SeqCst) == 1;
        assert!(polled.is_ready() || is_woken || !requests[1].is_active());
        let rest = test_some(&mut requests).len();
        assert_eq!(usize::from(polled.is_ready()) + asked + rest, 2);
    });
}
