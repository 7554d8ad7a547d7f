//! What the programs of a simulation ask of it, in the order in which they do: to be carried out between two events.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use edgempi_core::Instant;

/// Something to be done for a rank's program.
pub(super) enum Order {
    /// This rank may have something to send.
    Transmit(usize),
    /// Wake somebody at this time.
    Alarm(Instant, Arc<Alarm>),
    /// This rank begins a round.
    Round(usize, u32),
}

#[derive(Default)]
struct Queues {
    orders: VecDeque<Order>,
    /// Tasks to be polled.
    woken: VecDeque<usize>,
}

/// What all programs and the simulation share.
#[derive(Default)]
pub(super) struct Desk {
    now: AtomicU64,
    queues: Mutex<Queues>,
}

impl Desk {
    pub(super) fn now(&self) -> Instant {
        Instant::from_micros(self.now.load(Ordering::Relaxed))
    }

    pub(super) fn set_now(&self, now: Instant) {
        self.now.store(now.as_micros(), Ordering::Relaxed);
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn order(&self, order: Order) {
        self.queues().orders.push_back(order);
    }

    pub(super) fn next_order(&self) -> Option<Order> {
        self.queues().orders.pop_front()
    }

    pub(super) fn next_woken(&self) -> Option<usize> {
        self.queues().woken.pop_front()
    }
}

/// What wakes the task of a rank.
pub(super) struct TaskWaker {
    desk: Arc<Desk>,
    task: usize,
    /// It is among those to be polled.
    listed: AtomicBool,
}

impl TaskWaker {
    /// The waker of a task that is to be polled.
    pub(super) fn woken(desk: Arc<Desk>, task: usize) -> Arc<Self> {
        let waker = Arc::new(Self { desk, task, listed: AtomicBool::new(false) });
        waker.wake_by_ref();
        waker
    }

    /// The task is about to be polled: from now on it can be woken again.
    pub(super) fn taken(&self) {
        self.listed.store(false, Ordering::Relaxed);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::Relaxed) {
            self.desk.queues().woken.push_back(self.task);
        }
    }
}

/// Somebody who waits for a time.
#[derive(Default)]
pub(super) struct Alarm {
    waker: Mutex<Option<Waker>>,
}

impl Alarm {
    fn set(&self, waker: Option<Waker>) {
        let before = std::mem::replace(&mut *self.waker.lock().unwrap_or_else(PoisonError::into_inner), waker);
        drop(before);
    }

    pub(super) fn ring(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A time that passes in a simulation: a future that takes as long.
///
/// # Cancel safety
///
/// Dropping it wakes nobody.
#[must_use = "time passes when this is awaited"]
pub struct Sleep {
    desk: Arc<Desk>,
    until: Instant,
    alarm: Option<Arc<Alarm>>,
}

impl Sleep {
    pub(super) fn new(desk: Arc<Desk>, until: Instant) -> Self {
        Self { desk, until, alarm: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.desk.now() >= self.until {
            self.alarm = None;
            return Poll::Ready(());
        }
        let waker = Some(context.waker().clone());
        match &self.alarm {
            Some(alarm) => alarm.set(waker),
            None => {
                let alarm = Arc::new(Alarm { waker: Mutex::new(waker) });
                self.desk.order(Order::Alarm(self.until, alarm.clone()));
                self.alarm = Some(alarm);
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(alarm) = &self.alarm {
            alarm.set(None);
        }
    }
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sleep(until {})", self.until)
    }
}
