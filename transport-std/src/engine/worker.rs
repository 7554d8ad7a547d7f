//! Threads for the user's code at the hub, which may take its time or panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use edgempi_core::hub::{Done, Work};

/// A few threads that run work, started when they are first needed. They end when the hub does.
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
        let most = thread::available_parallelism().map_or(4, |cores| cores.get().max(4));
        Self { queue: Some(queue), work: Arc::new(Mutex::new(work)), done, report, wake, threads: 0, most, running: 0 }
    }

    pub(super) fn push(&mut self, work: Work) {
        self.running += 1;
        if self.running > self.threads && self.threads < self.most {
            self.spawn();
        }
        if let Some(queue) = &self.queue
            && let Err(error) = queue.send(work)
        {
            // No thread could be started: better late than never.
            let _ = self.report.send(run(error.0));
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
                let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
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
