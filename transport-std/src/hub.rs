//! A hub as a process of its own: what `edgempi hub` runs, and what a program runs that adds operations to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use edgempi_core::Rank;
use edgempi_core::endpoint;

#[doc(inline)]
pub use edgempi_core::hub::{
    Applied, Apply, ApplyError, Held, HubStatus, MAX_ELEMENT, OperationSnapshot, RankSnapshot, RankState, Registry,
    Snapshot, TypedInput, Unmatched,
};

#[doc(inline)]
pub use edgempi_core::Payload;
#[doc(inline)]
pub use edgempi_core::operation::{Columns, Fold};

pub use crate::snapshot::snapshot;

use crate::config::{Config, Resolved};
use crate::engine::{Engine, HubDriver, State, Traffic};
use crate::error::Error;
use crate::link::{self, Listener, NAMES};
use crate::world::hub_config;

/// A hub that listens, and serves when it is told to.
///
/// Its configuration is that of a process of the world: [`size`](Config::size), [`listen`](Config::listen),
/// [`port`](Config::port), the limits. A hub has no rank; say [`rank(0)`](Config::rank), or a size that comes from the
/// environment without a rank beside it is taken for a mistake.
///
/// ```no_run
/// use edgempi::hub::{Applied, Registry, Server};
/// use edgempi::{Config, Error, Rank};
///
/// let mut operations = Registry::new();
/// operations.insert_fn("double", 1, |_: Applied<'_, ()>, inputs: Vec<(Rank, i64)>| {
///     Ok::<_, String>(inputs.into_iter().map(|(rank, value)| (rank, 2 * value)).collect())
/// });
/// let server = Server::bind(&Config::new().rank(0).size(3), operations)?;
/// println!("listening on {}", server.local_addr());
/// let report = server.serve()?;
/// println!("{} ranks have finished, {} failed", report.finished, report.failed.len());
/// # Ok::<(), Error>(())
/// ```
pub struct Server {
    resolved: Resolved,
    registry: Registry,
    listeners: Vec<Listener>,
    address: SocketAddr,
    stop: Stop,
}

/// How a world has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many ranks have come.
    pub joined: u32,
    /// How many ranks have finalized.
    pub finished: u32,
    /// The ranks that failed or never came, in this order, and what happened to each.
    pub failed: Vec<(Rank, String)>,
    /// From the first rank's coming until the last was gone, or somebody stopped the hub.
    pub duration: Duration,
    /// What the hub has received and sent.
    pub traffic: Traffic,
}

/// Ends a [`Server`] from another thread.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    stopped: Arc<AtomicBool>,
    engine: Arc<Mutex<Weak<Engine>>>,
}

impl Stop {
    /// Says goodbye to all ranks, whose calls then fail with [`Error::Disconnected`], and lets
    /// [`serve`](Server::serve) return.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(engine) = engine {
            engine.shut_hub_down();
        }
    }

    /// Whether somebody has.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

impl Stop {
    /// How the world that is being served is; `None` while none is. See [`snapshot`](snapshot()) for a hub in another process.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        engine.and_then(|engine| engine.hub_snapshot())
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({} ranks at {})", self.resolved.size, self.address)
    }
}

impl Server {
    /// Listens as `config` says, or the environment.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for bad settings, [`Error::Listen`] if the port is taken, [`Error::TooManyRanks`] if the system
    /// allows fewer open files than there are ranks.
    pub fn bind(config: &Config, registry: Registry) -> Result<Self, Error> {
        let resolved = config.resolve(NAMES)?;
        let listeners = link::listen(&resolved.listen, &resolved.proto, resolved.size)?;
        let address = link::local_addr(&listeners)
            .map_err(|error| Error::Listen { address: resolved.listen.to_string(), reason: error.to_string() })?;
        Ok(Self { resolved, registry, listeners, address, stop: Stop::default() })
    }

    /// Where it listens; tells the port where that was left to the system.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// How many ranks its world has.
    pub fn size(&self) -> u32 {
        self.resolved.size
    }

    /// What ends this server.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves one world, on this thread, and returns when all its ranks have finished or failed. Call it again to serve
    /// the next one: links that come in between wait.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`], only if the system refuses what a hub needs.
    pub fn serve(&self) -> Result<Report, Error> {
        let broken =
            |error: std::io::Error| Error::Listen { address: self.address.to_string(), reason: error.to_string() };
        let config = endpoint::Config::host(Rank::new(0), self.resolved.size);
        let name = self.address.to_string();
        let engine =
            Engine::new(self.resolved.spin, |now| State::new(now, config, String::new(), name)).map_err(broken)?;
        let listeners: Result<_, _> = self.listeners.iter().map(Listener::try_clone).collect();
        let listeners = listeners.map_err(broken)?;
        let driver = HubDriver::new(&engine, hub_config(&self.resolved), self.registry.clone(), listeners);
        engine.set_hub(driver.map_err(broken)?);
        *self.stop.engine.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&engine);
        if self.stop.is_stopped() {
            // It was stopped before there was an engine to tell.
            return Ok(Report::default());
        }
        Ok(engine.run().map(HubDriver::into_report).unwrap_or_default())
    }
}
