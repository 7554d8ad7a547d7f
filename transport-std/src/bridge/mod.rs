//! A bridge carries the frames of one board, whose only line is a serial one, to a hub and back.
//!
//! To the hub it looks like a rank that dials in. On the line it runs its end of [`edgempi_core::serial`], which
//! repeats what is lost; a session of the line and a connection to the hub begin and end together. `edgempi bridge`
//! runs one.

mod line;
mod session;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

pub use self::line::{DEFAULT_BAUD, Line};
use self::line::{Port, TICK};
use self::session::Hub;
use crate::config::Config;
use crate::error::Error;
use crate::link::{self, NAMES};

/// How long to wait before a line that is gone is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// A bridge that has its line, and serves when it is told to.
///
/// ```no_run
/// use edgempi::bridge::{Bridge, Line};
/// use edgempi::{Config, Error};
///
/// let line = Line::parse("/dev/ttyUSB0", 115_200)?;
/// Bridge::open(line, &Config::new().addr("192.0.2.1:61642"))?.serve()
/// # ; Ok::<(), Error>(())
/// ```
pub struct Bridge {
    line: Line,
    source: Source,
    hub: Hub,
    stop: Stop,
}

/// Where lines come from.
enum Source {
    /// The line itself has to be opened.
    Open {
        /// What was opened when the bridge was, to see that it can be.
        first: Mutex<Option<Port>>,
    },
    /// Boards, or their emulators, connect.
    Listen(TcpListener),
}

/// Ends a [`Bridge`] from another thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Tells the board, closes the connection to the hub and lets [`serve`](Bridge::serve) return.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody has.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("line", &self.line).field("hub", &self.hub).finish_non_exhaustive()
    }
}

impl Bridge {
    /// Opens the line. The hub's address, and how long to look for it, are those of `config`, or of the environment.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for bad settings, [`Error::SerialLine`] for a device that is not there or that this user may
    /// not open, or a port that is taken. Nobody at an address to dial is no error: an emulator may start later.
    pub fn open(line: Line, config: &Config) -> Result<Self, Error> {
        let resolved = config.resolve(NAMES)?;
        let failed = |error: std::io::Error| Error::SerialLine { line: line.to_string(), reason: error.to_string() };
        let source = match &line {
            Line::Device { .. } => Source::Open { first: Mutex::new(Some(Port::open(&line).map_err(failed)?)) },
            Line::Dial(_) => Source::Open { first: Mutex::new(None) },
            Line::Listen(address) => {
                let listener = link::listen_tcp(address).map_err(|error| match error {
                    Error::Listen { reason, .. } => Error::SerialLine { line: line.to_string(), reason },
                    other => other,
                })?;
                listener.set_nonblocking(true).map_err(failed)?;
                Source::Listen(listener)
            }
        };
        let hub = Hub { address: resolved.hub(), wait: resolved.wait };
        Ok(Self { line, source, hub, stop: Stop::default() })
    }

    /// Where it listens for boards, if it does; tells the port where that was left to the system.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.source {
            Source::Listen(listener) => listener.local_addr().ok(),
            Source::Open { .. } => None,
        }
    }

    /// The hub's address, for people.
    pub fn hub(&self) -> String {
        self.hub.address.to_string()
    }

    /// The line, for people.
    pub fn line(&self) -> String {
        match self.local_addr() {
            Some(address) => format!("listen:{address}"),
            None => self.line.to_string(),
        }
    }

    /// What ends this bridge.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves one board after the other until it is stopped: opens the line again when it is lost, and connects to
    /// the hub whenever the board begins a session.
    ///
    /// # Errors
    ///
    /// Only if the system refuses what a bridge needs.
    pub fn serve(&self) -> Result<(), Error> {
        while let Some(port) = self.next_port() {
            info!("the serial line {} is open", port.name());
            let outcome = session::serve(&port, &self.hub, &self.stop);
            let failed = |error: std::io::Error| Error::SerialLine { line: port.name(), reason: error.to_string() };
            match outcome.map_err(failed)? {
                Some(reason) => warn!("the serial line {} is lost: {reason}", port.name()),
                None => break,
            }
        }
        Ok(())
    }

    /// The next line, once there is one; `None` if the bridge is stopped.
    fn next_port(&self) -> Option<Port> {
        let mut pause = FIRST_PAUSE;
        let mut reported = String::new();
        while !self.stop.is_stopped() {
            let port = match &self.source {
                Source::Open { first } => {
                    let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                    first.map_or_else(|| Port::open(&self.line), Ok)
                }
                Source::Listen(listener) => listener.accept().and_then(|(stream, _)| Port::accepted(stream)),
            };
            match port {
                Ok(port) => return Some(port),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => pause = FIRST_PAUSE,
                Err(error) => {
                    let reason = error.to_string();
                    if reason != reported {
                        warn!("waiting for the serial line {}: {reason}", self.line());
                        reported = reason;
                    }
                }
            }
            std::thread::sleep(pause.min(TICK));
            pause = (pause * 2).min(LAST_PAUSE);
        }
        None
    }
}
