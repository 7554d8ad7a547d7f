//! What a bridge does while its line is open: five threads around one serial link.
//!
//! Two read and write the line, two the connection to the hub, as long as there is one; the thread that serves keeps
//! the time and sees sessions begin and end. Each blocks in calls of its own only, so a line that takes no bytes does
//! not keep a silent board from being noticed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use edgempi_core::serial::{Frame, MAX_WINDOW, Reason, SerialLink, State};
use tracing::{debug, info, warn};

use super::Stop;
use super::line::{Port, TICK};
use crate::config::Address;
use crate::link;

/// Largest payload of a frame. The board may take less, and decides.
const PAYLOAD: usize = 1024;

/// Longest silence of a bridge: its threads may have to wait for a processor.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// Bytes that are handed to the line at once; what is, can no longer be overtaken by a report.
const CHUNK: usize = 256;

/// How long the last bytes of a hub that has closed may take to the board.
const FLUSH: Duration = Duration::from_secs(10);

/// Pauses between two tries to reach the hub.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The hub, and how long to try to reach it.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) address: Address,
    pub(super) wait: Duration,
}

struct Shared<'b> {
    locked: Mutex<Locked<'b>>,
    /// Something in there has.
    changed: Condvar,
    /// When time began for the link.
    start: Instant,
}

struct Locked<'b> {
    link: SerialLink<'b, PAYLOAD>,
    /// Why the line is lost.
    lost: Option<String>,
    /// All threads end.
    over: bool,
}

impl Locked<'_> {
    fn is_up(&self) -> bool {
        !self.over && self.link.state() == State::Up
    }
}

impl<'b> Shared<'b> {
    fn lock(&self) -> MutexGuard<'_, Locked<'b>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> edgempi_core::Instant {
        edgempi_core::Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Changes something, and tells everybody.
    fn change<T>(&self, change: impl FnOnce(&mut Locked<'b>) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits while `condition` holds, for a while at most.
    fn wait_while(&self, most: Duration, condition: impl Fn(&Locked<'b>) -> bool) -> MutexGuard<'_, Locked<'b>> {
        let waited = self.changed.wait_timeout_while(self.lock(), most, |locked| condition(locked));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Keeps the time until `done`; returns whether it came to that before the line was lost or the bridge stopped.
    fn keep_time_until(&self, stop: &Stop, done: impl Fn(&Locked<'b>) -> bool) -> bool {
        let mut locked = self.lock();
        loop {
            if locked.lost.is_some() || stop.is_stopped() {
                return false;
            }
            let now = self.now();
            if locked.link.poll_timeout().is_some_and(|at| at <= now) {
                locked.link.handle_timeout(now);
                self.changed.notify_all();
            }
            if done(&locked) {
                return true;
            }
            let pause = locked.link.poll_timeout().map_or(TICK, |at| at.since(now).min(TICK));
            locked = self.changed.wait_timeout(locked, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Serves a board until its line is lost, and returns why; `None` if the bridge is stopped.
///
/// # Errors
///
/// The system has no threads left.
pub(super) fn serve(port: &Port, hub: &Hub, stop: &Stop) -> io::Result<Option<String>> {
    let (mut send, mut receive) = (vec![Frame::EMPTY; MAX_WINDOW], vec![Frame::EMPTY; MAX_WINDOW]);
    let epoch = uuid::Uuid::new_v4().as_u128() as u32;
    let link = SerialLink::bridge(edgempi_core::Instant::ZERO, MAX_SILENCE, epoch, &mut send, &mut receive);
    let shared = Shared {
        locked: Mutex::new(Locked { link, lost: None, over: false }),
        changed: Condvar::new(),
        start: Instant::now(),
    };
    thread::scope(|scope| {
        let started = spawn(scope, "line reader", || read_line(&shared, port))
            .and_then(|_| spawn(scope, "line writer", || write_line(&shared, port)));
        let result = started.and_then(|_| {
            while serve_session(scope, &shared, hub, stop)? {}
            Ok(())
        });
        shared.change(|locked| {
            // The writer still says this to the board.
            locked.link.reset(Reason::Closed);
            locked.over = true;
        });
        result
    })?;
    let lost = shared.lock().lost.take();
    Ok(lost.filter(|_| !stop.is_stopped()))
}

fn spawn<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 's,
) -> io::Result<thread::ScopedJoinHandle<'s, T>> {
    thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work)
}

fn read_line(shared: &Shared<'_>, port: &Port) {
    let mut buffer = [0; 4096];
    while !shared.lock().over {
        match port.read(&mut buffer) {
            Ok(0) => {}
            Ok(n) => shared.change(|locked| locked.link.receive(shared.now(), &buffer[..n])),
            Err(error) => return shared.change(|locked| lose(locked, &error)),
        }
    }
}

fn write_line(shared: &Shared<'_>, port: &Port) {
    let mut buffer = [0; CHUNK];
    loop {
        let mut locked = shared.lock();
        let n = locked.link.transmit(shared.now(), &mut buffer);
        if n == 0 {
            if locked.over {
                return;
            }
            // Whoever changes something says so.
            drop(shared.changed.wait(locked).unwrap_or_else(PoisonError::into_inner));
            continue;
        }
        drop(locked);
        let mut left = &buffer[..n];
        while !left.is_empty() {
            match port.write(left) {
                // The last word need not be heard by a line that takes nothing.
                Ok(0) if shared.lock().over => return,
                Ok(n) => left = &left[n..],
                Err(error) => return shared.change(|locked| lose(locked, &error)),
            }
        }
    }
}

fn lose(locked: &mut Locked<'_>, error: &io::Error) {
    locked.lost.get_or_insert_with(|| error.to_string());
}

/// Waits for a session of the board and serves it to its end. Returns whether there may be another.
fn serve_session<'s>(scope: &'s Scope<'s, '_>, shared: &'s Shared<'_>, hub: &'s Hub, stop: &Stop) -> io::Result<bool> {
    let goes_on = shared.keep_time_until(stop, |locked| locked.link.state() != State::Connecting);
    if !goes_on {
        return Ok(false);
    }
    if shared.lock().is_up() {
        info!("the board is connected");
        let connection = spawn(scope, "hub", || serve_hub(scope, shared, hub))?;
        let goes_on = shared.keep_time_until(stop, |locked| locked.link.state() != State::Up);
        if !goes_on {
            // The hub's threads see that, too.
            shared.change(|locked| locked.link.reset(Reason::Closed));
        }
        // The time need not be kept meanwhile: a link that was reset has no deadlines.
        if let Ok(Err(error)) = connection.join() {
            return Err(error);
        }
        if !goes_on {
            return Ok(false);
        }
    }
    let mut locked = shared.lock();
    if let State::Reset(reason) = locked.link.state() {
        info!("the session with the board is over: {reason}");
    }
    debug!("frames on the line so far: {:?}", locked.link.counters());
    locked.link.reconnect(shared.now());
    drop(locked);
    shared.changed.notify_all();
    Ok(true)
}

/// Connects to the hub and carries bytes both ways until the session is over.
///
/// # Errors
///
/// The system has no threads left.
fn serve_hub<'s>(scope: &'s Scope<'s, '_>, shared: &'s Shared<'_>, hub: &Hub) -> io::Result<()> {
    let Some(stream) = connect(shared, hub) else { return Ok(()) };
    info!("the board is through to the hub at {}", hub.address);
    let (up, watched) = match stream.try_clone().and_then(|up| Ok((up, stream.try_clone()?))) {
        Ok(clones) => clones,
        Err(error) => {
            shared.change(|locked| locked.link.reset(Reason::HubLost));
            return Err(error);
        }
    };
    let down = spawn(scope, "from hub", move || from_hub(shared, stream))?;
    to_hub(shared, up);
    // The session is over, or the hub is: its reader finds out.
    let _ = watched.shutdown(Shutdown::Both);
    let _ = down.join();
    Ok(())
}

/// Dials the hub as long as the session lasts, but no longer than the hub's `wait`.
fn connect(shared: &Shared<'_>, hub: &Hub) -> Option<TcpStream> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let left = hub.wait.saturating_sub(start.elapsed());
        let timeout = left.clamp(Duration::from_millis(100), Duration::from_secs(2));
        let error = match link::dial(&hub.address, timeout).and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        {
            Ok(stream) => return Some(stream),
            Err(error) => error,
        };
        let left = hub.wait.saturating_sub(start.elapsed());
        if left.is_zero() {
            warn!("no hub at {} within {:?}: {error}", hub.address, hub.wait);
            shared.change(|locked| locked.link.reset(Reason::HubUnreachable));
            return None;
        }
        debug!("no hub at {} yet: {error}", hub.address);
        let locked = shared.wait_while(pause.min(left), Locked::is_up);
        if !locked.is_up() {
            return None;
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Carries what the board sends, to the last byte that came before the end of the session.
fn to_hub(shared: &Shared<'_>, mut stream: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    // A hub that takes nothing for this long is broken.
    let _ = stream.set_write_timeout(Some(FLUSH));
    loop {
        let waiting = |locked: &Locked<'_>| locked.is_up() && !locked.link.is_readable();
        let mut locked = shared.wait_while(TICK, waiting);
        let n = locked.link.read(&mut buffer);
        let is_up = locked.is_up();
        drop(locked);
        if n > 0 {
            // The board may send more.
            shared.changed.notify_all();
            if let Err(error) = stream.write_all(&buffer[..n]) {
                debug!("the hub takes no more: {error}");
                // Its reader knows better why.
                drop(shared.wait_while(FLUSH, Locked::is_up));
                return;
            }
        } else if !is_up {
            return;
        }
    }
}

/// Carries what the hub sends, and reads no more than the board has room for.
fn from_hub(shared: &Shared<'_>, mut stream: TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    let reason = loop {
        let locked = shared.wait_while(TICK, |locked| locked.is_up() && locked.link.free() == 0);
        if !locked.is_up() {
            return;
        }
        let room = locked.link.free().min(buffer.len());
        drop(locked);
        if room == 0 {
            continue;
        }
        match stream.read(&mut buffer[..room]) {
            Ok(0) => break "it closed the connection".to_owned(),
            Ok(n) => {
                // Room that was promised stays, unless the session is over.
                shared.change(|locked| locked.link.write(&buffer[..n]));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break error.to_string(),
        }
    };
    // The hub's last words, if the board still listens.
    let mut locked = shared.wait_while(FLUSH, |locked| locked.is_up() && !locked.link.is_flushed());
    if locked.is_up() {
        info!("the hub is lost: {reason}");
        locked.link.reset(Reason::HubLost);
    }
    drop(locked);
    shared.changed.notify_all();
}
