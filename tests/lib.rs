//! What the tests have in common: the programs under test, and how to run several as one world.

pub mod bridge;
pub mod emulator;
pub mod job;
pub mod links;
pub mod process;
pub mod relay;
pub mod stranger;

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use edgempi::hub::{Registry, Report, Server, Stop};
use edgempi::{Builder, Config, Error, Init, World};
use escargot::CargoBuild;
use escargot::format::Message;

/// What has happened to the rank that is to blame for a failed call. What a person is told goes on with where that rank was
/// last seen, and ends with the call that fails.
#[track_caller]
pub fn blame(error: &Error) -> String {
    let said = error.to_string();
    let (told, call) = said.rsplit_once("; rank ").unwrap_or_else(|| panic!("no call is named: {said}"));
    assert!(call.contains(" called ") && call.contains(" at "), "no place is named: {said}");
    told.split(" (last seen in ").next().unwrap_or_default().to_owned()
}

/// Nothing in a test takes longer, unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// How programs of this workspace are built: of the whole of it, so that features are those of the build that made the
/// tests.
fn build() -> CargoBuild {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    CargoBuild::new().manifest_path(manifest).arg("--workspace").arg("--locked")
}

/// A program of this workspace, built if need be: in the profile of the tests themselves.
fn built(kind: fn(CargoBuild, &str) -> CargoBuild, name: &str) -> PathBuf {
    let build = if cfg!(debug_assertions) { build() } else { build().release() };
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

/// A loopback address on which nobody listens. It is none of those that the system gives to whoever connects somewhere, so
/// nobody takes it before it is used.
pub fn free_address() -> SocketAddr {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // Test programs that run side by side begin far from each other.
    let start = std::process::id().wrapping_mul(7919);
    let next = || start.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)) % 20_000 + 10_000;
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    let candidates = std::iter::repeat_with(|| SocketAddr::from((Ipv4Addr::LOCALHOST, next() as u16)));
    candidates.take(1000).find(is_free).expect("a free port among a thousand")
}

/// A rank of a world whose rank 0 hosts the hub at `hub`. The environment has no say in it.
pub fn hosted(hub: SocketAddr, size: u32, rank: u32) -> Config {
    let config = Config::new().listen(hub.to_string()).size(size).rank(rank).wait(Duration::from_secs(30)).world("");
    config.proto("tcp").addr(if rank == 0 { String::new() } else { hub.to_string() })
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
        Self::start_with(size, Registry::new())
    }

    /// The same, which knows `operations`.
    pub fn start_with(size: u32, operations: Registry) -> Self {
        let config = Config::new().listen("127.0.0.1:0").rank(0).size(size).wait(PATIENCE).world("");
        let server = Server::bind(&config, operations).expect("a free port");
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

/// A program or an example as it is released, for tests that move much. All are built together, as `tests/run` does,
/// so that it does not take another build.
pub fn released(name: &str) -> &'static Path {
    static PATHS: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    let paths = PATHS.get_or_init(|| {
        let messages = build().release().bins().examples().exec().expect("cargo runs");
        let executable = |message: Result<escargot::Message, _>| match message
            .expect("the programs can be built")
            .decode()
            .expect("cargo says what it built")
        {
            Message::CompilerArtifact(artifact) => {
                Some((artifact.target.name.into_owned(), artifact.executable?.into_owned()))
            }
            _ => None,
        };
        messages.filter_map(executable).collect()
    });
    paths.get(name).unwrap_or_else(|| panic!("there is no program {name}"))
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a port");
    listener.local_addr().expect("it has an address").port()
}

/// [`tcp_worlds`] with settings of the test's own, and with its operations.
pub fn tcp_worlds_of(builder: &Builder, config: &Config, size: u32) -> Vec<World> {
    let port = free_port();
    let joining: Vec<_> = (0..size)
        .map(|rank| {
            let address = if rank == 0 { String::new() } else { format!("127.0.0.1:{port}") };
            let config = config.clone().proto("tcp").listen("127.0.0.1").port(port).size(size).rank(rank).addr(address);
            builder.clone().config(config.wait(PATIENCE / 2)).init()
        })
        .collect();
    joining.into_iter().map(|init| init.wait().expect("the rank joins")).collect()
}

/// Ranks that share one process over memory links and ranks that are joined over TCP, with the name of what joins them.
pub fn both_kinds_of_worlds(operations: &Registry, config: &Config, size: u32) -> [(&'static str, Vec<World>); 2] {
    let builder = Builder::new().operations(operations.clone());
    let memory = builder.clone().config(config.clone()).local(size).expect("a world in memory");
    [("memory", memory), ("tcp", tcp_worlds_of(&builder, config, size))]
}

/// Runs `f` on `count` threads, with the number of each, under the same watch.
pub fn on_threads<T: Send>(count: u32, f: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let _watchdog = Watchdog::start();
    let f = &f;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || f(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Says something even where the output of tests is captured.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
