//! Threads for the user's code at the hub, which may take its time or panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use edgempi_core::hub::{Done, Work};

use super::threads::Counted;

/// How many calls of user code run at a time. They may wait for something, or never end: others are not to wait for them.
const MOST: usize = 64;

/// Threads that run work, started when there are not enough. They end when the hub does.
pub(super) struct Workers {
    queue: Option<Sender<Work>>,
    work: Arc<Mutex<Receiver<Work>>>,
    done: Receiver<Done>,
    report: Sender<Done>,
    wake: Arc<dyn Fn() + Send + Sync>,
    threads: usize,
    most: usize,
    /// Work that has been handed out and not come back.
    running: usize,
}

impl Workers {
    pub(super) fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let (queue, work) = channel();
        let (report, done) = channel();
        let work = Arc::new(Mutex::new(work));
        Self { queue: Some(queue), work, done, report, wake, threads: 0, most: MOST, running: 0 }
    }

    pub(super) fn push(&mut self, work: Work) {
        self.running += 1;
        if self.running > self.threads && self.threads < self.most {
            self.spawn();
        }
        match &self.queue {
            Some(queue) if self.threads > 0 => {
                // Both ends are here, so it takes whatever comes.
                let _ = queue.send(work);
            }
            // No thread could be started: better slowly than never.
            _ => {
                let _ = self.report.send(run(work));
                (self.wake)();
            }
        }
    }

    /// Work that has come back.
    pub(super) fn pop(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        self.running -= 1;
        Some(done)
    }

    fn spawn(&mut self) {
        let (work, report, wake) = (self.work.clone(), self.report.clone(), self.wake.clone());
        let body = move || {
            loop {
                // As long as it has nothing to do, it makes no calls.
                let idle = Counted::new();
                let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                drop(idle);
                let Ok(next) = next else { return };
                if report.send(run(next)).is_err() {
                    return;
                }
                wake();
            }
        };
        match thread::Builder::new().name(format!("edgempi-work-{}", self.threads)).spawn(body) {
            Ok(_) => self.threads += 1,
            Err(error) => tracing::warn!("no thread for the operations at the hub: {error}"),
        }
    }
}

/// Runs work; a panic in it is a failure like any other.
pub(crate) fn run(work: Work) -> Done {
    let ticket = work.ticket();
    catch_unwind(AssertUnwindSafe(|| work.run())).unwrap_or_else(|panic| ticket.panicked(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use edgempi_core::Payload;
    use edgempi_core::endpoint::{Config, Outgoing, Reach};
    use edgempi_core::hub::{self, Applied, Hub, Registry};
    use edgempi_core::request::{CommunicatorId, NameIds, NewNames, Receive, Sent, Slot, Submission};
    use edgempi_core::wire::{MAX_HEAD_LEN, Prefix};
    use edgempi_core::{Call, Datatype, Endpoint, Group, Instant, Rank};

    use super::*;

    /// What a hub of one rank hands out when that rank calls the only operation there is.
    fn some_work(function: impl Fn() + Send + Sync + 'static) -> Work {
        let mut registry = Registry::new();
        registry.insert_fn("op", 1, move |_: Applied<'_, ()>, inputs: Vec<(Rank, ())>| {
            function();
            Ok::<_, String>(inputs)
        });
        let now = Instant::ZERO;
        let mut hub = Hub::new(now, hub::Config::new(1), registry);
        let peer = hub.connect(now);
        let mut endpoint = Endpoint::new(now, Config::host(Rank::new(0), 1), [Slot::FREE; 1]);
        let world = CommunicatorId { id: 0, rank: Rank::new(0), size: 1 };
        let call = Call::User { name: "op", version: 1, group: Group::ALL };
        let new = NewNames { operation: true, ..NewNames::default() };
        let names = NameIds { operation: 1, new, ..NameIds::default() };
        let (sent, receive) = (Sent::Equal(0), Receive::AtMost(0));
        let submission = Submission::new(world, &call, Datatype::Object, sent, receive, false, names, 0);
        endpoint.submit(&submission.expect("it is valid")).expect("there is a slot");
        let mut head = [0; MAX_HEAD_LEN];
        loop {
            let reach = Reach::Everything;
            while let Some(Outgoing { head_len, payload, .. }) = endpoint.poll_transmit(now, &mut head, reach, |_| 6) {
                let (prefix, header) = head[..head_len].split_first_chunk().expect("a frame has a prefix");
                let payload = payload.map_or(Payload::new(), |_| Payload::from(&b"\x01\0\0\0op"[..]));
                hub.handle_frame(now, peer, Prefix::decode(*prefix), header, payload);
            }
            if let Some(work) = hub.poll_work() {
                return work;
            }
            let (frame, payload) = hub.poll_transmit(peer).expect("the hub has an answer");
            let len = frame.encode(payload.len() as u32, &mut head);
            let (prefix, header) = head[..len].split_first_chunk().expect("a frame has a prefix");
            endpoint.handle_frame(now, Prefix::decode(*prefix), header).expect("it makes sense");
            let _ = endpoint.poll_event();
        }
    }

    #[test]
    fn work_is_done_even_if_the_system_has_no_thread_for_it() {
        let woken = Arc::new(AtomicUsize::new(0));
        let wakes = woken.clone();
        let mut workers = Workers::new(Arc::new(move || {
            wakes.fetch_add(1, Ordering::SeqCst);
        }));
        workers.most = 0;
        workers.push(some_work(|| {}));
        assert!(workers.pop().is_some());
        assert_eq!((woken.load(Ordering::SeqCst), workers.running), (1, 0));
    }

    #[test]
    fn work_that_takes_long_holds_no_other_up() {
        let (wake, woken) = channel();
        let mut workers = Workers::new(Arc::new(move || wake.send(()).expect("somebody counts")));
        // None of them ends before all have begun.
        let together = Arc::new(Barrier::new(MOST));
        for _ in 0..MOST {
            let together = together.clone();
            workers.push(some_work(move || {
                together.wait();
            }));
        }
        for _ in 0..MOST {
            woken.recv_timeout(Duration::from_secs(30)).expect("each of them ends");
            assert!(workers.pop().is_some());
        }
    }
}
