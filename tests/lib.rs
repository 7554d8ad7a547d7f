//! What the tests have in common: the programs under test, and how to run several as one world.

pub mod emulator;
pub mod job;
pub mod process;
pub mod stranger;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use edgempi::hub::{Registry, Report, Server, Stop};
use edgempi::{Builder, Config, Error, Init, World};

/// Nothing in a test takes longer, unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program of this workspace, built if need be: in the profile of the tests themselves.
fn built(kind: fn(escargot::CargoBuild, &str) -> escargot::CargoBuild, name: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    // Of the whole workspace, so that features are those of the build that made the tests.
    let build = escargot::CargoBuild::new().manifest_path(manifest).arg("--workspace").arg("--locked");
    let build = if cfg!(debug_assertions) { build } else { build.release() };
    match kind(build, name).run() {
        Ok(run) => run.path().to_owned(),
        Err(error) => panic!("{name} can not be built: {error}"),
    }
}

/// The command `edgempi`.
pub fn edgempi() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| built(|build, name| build.bin(name), "edgempi"))
}

/// The program of an example.
pub fn example(name: &str) -> PathBuf {
    built(|build, name| build.example(name), name)
}

/// A loopback address on which nobody listens. The system gives out others for a while.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

/// A rank of a world whose rank 0 hosts the hub at `hub`. The environment has no say in it.
pub fn hosted(hub: SocketAddr, size: u32, rank: u32) -> Config {
    let config = Config::new().listen(hub.to_string()).size(size).rank(rank).wait(Duration::from_secs(30)).world("");
    config.addr(if rank == 0 { String::new() } else { hub.to_string() })
}

/// Joins ranks of this process to one world, each from a thread of its own.
///
/// # Errors
///
/// Why the first of them could not join that could not.
pub fn join(configs: impl IntoIterator<Item = Config>, operations: &Registry) -> Result<Vec<World>, Error> {
    let joining = |config| Builder::new().config(config).operations(operations.clone()).init();
    let joining: Vec<Init> = configs.into_iter().map(joining).collect();
    joining.into_iter().map(Init::wait).collect()
}

/// A world of `size` ranks in this process, joined over loopback TCP. Rank 0, the first, hosts the hub.
pub fn tcp_worlds(size: u32) -> Vec<World> {
    tcp_worlds_with(size, &Registry::new())
}

/// [`tcp_worlds`] whose hub knows `operations`.
pub fn tcp_worlds_with(size: u32, operations: &Registry) -> Vec<World> {
    let hub = free_address();
    let worlds = join((0..size).map(|rank| hosted(hub, size, rank)), operations);
    worlds.expect("nothing is wrong with this world")
}

/// A rank of a world whose hub at `hub` is none of the ranks'. The environment has no say in it.
pub fn joining(hub: SocketAddr, size: u32, rank: u32) -> Config {
    hosted(hub, size, rank).addr(hub.to_string())
}

/// A hub on a thread of its own, which belongs to no rank. It stops when this is dropped.
pub struct LoneHub {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Stop,
    serving: Option<JoinHandle<Result<Report, Error>>>,
}

impl LoneHub {
    /// Serves one world of `size` ranks.
    pub fn start(size: u32) -> Self {
        let config = Config::new().listen("127.0.0.1:0").rank(0).size(size).wait(PATIENCE).world("");
        let server = Server::bind(&config, Registry::new()).expect("a free port");
        let (address, stop) = (server.local_addr(), server.stop());
        Self { address, stop, serving: Some(thread::spawn(move || server.serve())) }
    }

    /// Waits until it ends by itself, because its world is over.
    pub fn ended(mut self) {
        let served = self.serving.take().map(|serving| serving.join().expect("a hub does not panic"));
        assert!(matches!(served, Some(Ok(_))), "{served:?}");
    }
}

impl Drop for LoneHub {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// Runs `function` on every rank, each on a thread of its own, then finalizes. Returns the results in rank order. If
/// that takes longer than [`PATIENCE`], the process aborts and says so.
pub fn on_ranks<T: Send>(worlds: Vec<World>, function: impl Fn(&World) -> T + Sync) -> Vec<T> {
    let _watchdog = Watchdog::start();
    let function = &function;
    thread::scope(|scope| {
        let run = |world: World| {
            scope.spawn(move || {
                // If this panics, the world is dropped, and the other ranks learn of it.
                let result = function(&world);
                let rank = world.rank();
                world.finalize().wait().unwrap_or_else(|error| panic!("rank {rank} can not finalize: {error}"));
                result
            })
        };
        let running: Vec<_> = worlds.into_iter().map(run).collect();
        running.into_iter().map(|rank| rank.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Aborts the process, saying which test hangs, unless it is dropped within [`PATIENCE`].
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// Watches over what the current thread does.
    pub fn start() -> Self {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let (alive, bark) = channel::<()>();
        thread::spawn(move || {
            if bark.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Written past the test harness, which holds back what is printed until a test ends.
                let _ = writeln!(std::io::stderr(), "\n{test} hangs: it has not ended after {PATIENCE:?}");
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}
