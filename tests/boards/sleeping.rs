//! How a board's thread sleeps: until a socket that its futures have asked is ready, an alarm of theirs is due, or
//! somebody has woken them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use edgempi_embassy::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

thread_local! {
    /// Sockets that were not ready when this thread asked them.
    static SOCKETS: RefCell<Vec<(Weak<TcpStream>, PollFlags)>> = const { RefCell::new(Vec::new()) };
    /// The first alarm that somebody has set on this thread.
    static ALARM: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Nothing has come over a socket: what does is worth waking up for.
pub fn wants_read(socket: &Rc<TcpStream>) {
    wants(socket, PollFlags::IN);
}

/// A socket takes no more: when it does is worth waking up for.
pub fn wants_write(socket: &Rc<TcpStream>) {
    wants(socket, PollFlags::OUT);
}

fn wants(socket: &Rc<TcpStream>, what: PollFlags) {
    SOCKETS.with_borrow_mut(|sockets| {
        match sockets.iter_mut().find(|(known, _)| known.as_ptr() == Rc::as_ptr(socket)) {
            Some((_, flags)) => *flags |= what,
            None => sockets.push((Rc::downgrade(socket), what)),
        }
    });
}

/// A clock whose alarms end [`Bell::sleep`].
pub struct StdClock(pub Instant);

impl Clock for StdClock {
    fn now(&self) -> edgempi_core::Instant {
        edgempi_core::Instant::from_micros(self.0.elapsed().as_micros() as u64)
    }

    fn wake_at(&self, at: edgempi_core::Instant, _: &Waker) {
        let at = self.0.checked_add(Duration::from_micros(at.as_micros()));
        ALARM.set([ALARM.get(), at].into_iter().flatten().min());
    }
}

/// What a thread's wakers ring.
pub struct Bell {
    ring: UnixStream,
    rung: UnixStream,
}

impl Bell {
    pub fn new() -> Arc<Self> {
        let (ring, rung) = UnixStream::pair().expect("a pair of sockets");
        for end in [&ring, &rung] {
            end.set_nonblocking(true).expect("a socket can be non-blocking");
        }
        Arc::new(Self { ring, rung })
    }

    /// Sleeps until somebody rings, an alarm is due, a socket is ready, or `until`, whatever is first.
    pub fn sleep(&self, until: Instant) {
        let end = ALARM.get().map_or(until, |alarm| alarm.min(until));
        let mut asked = SOCKETS.take();
        asked.retain(|(socket, _)| socket.strong_count() > 0);
        let sockets: Vec<_> = asked.iter().filter_map(|(socket, flags)| Some((socket.upgrade()?, *flags))).collect();
        let mut awaited = vec![PollFd::new(&self.rung, PollFlags::IN)];
        awaited.extend(sockets.iter().map(|(socket, flags)| PollFd::new(&**socket, *flags)));
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).expect("a minute or less");
        // Interrupted is awake, too.
        let _ = poll(&mut awaited, Some(&left));
        let is_ready: Vec<bool> = awaited.iter().skip(1).map(|socket| !socket.revents().is_empty()).collect();
        let mut is_ready = is_ready.into_iter();
        // Who wants to hear of a ready one once more asks it first.
        asked.retain(|_| !is_ready.next().unwrap_or(false));
        SOCKETS.set(asked);
        if ALARM.get().is_some_and(|alarm| alarm <= Instant::now()) {
            ALARM.set(None);
        }
        while matches!((&self.rung).read(&mut [0; 64]), Ok(64)) {}
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // A full pipe rings already.
        let _ = (&self.ring).write(&[1]);
    }
}

/// Polls a future whenever it may have something to do, until it is done.
pub fn drive<F: Future>(future: F) -> F::Output {
    let mut driver = Driver::new();
    let mut future = pin!(future);
    loop {
        if let Some(output) = driver.poll(future.as_mut()) {
            return output;
        }
        driver.sleep();
    }
}

/// What polls futures on a thread of a test.
pub struct Driver {
    bell: Arc<Bell>,
    waker: Waker,
    until: Instant,
}

impl Driver {
    pub fn new() -> Self {
        let bell = Bell::new();
        let waker = Waker::from(Arc::clone(&bell));
        Self { bell, waker, until: Instant::now() + Duration::from_secs(60) }
    }

    pub fn poll<F: Future + ?Sized>(&mut self, future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    /// Until what was polled may have something to do.
    pub fn sleep(&self) {
        assert!(Instant::now() < self.until, "a board does not come to its end");
        self.bell.sleep(self.until);
    }
}
