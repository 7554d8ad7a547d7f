//! What the tests have in common: the programs under test, and how to run several ranks as one world.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::hub::Registry;
use edgempi::{Builder, Config, World};
use escargot::CargoBuild;
use escargot::format::Message;

/// No test here takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// `size` ranks in this process, joined over loopback TCP; rank 0 hosts the hub. The first element is rank 0.
pub fn tcp_worlds(size: u32) -> Vec<World> {
    tcp_worlds_with(&Builder::new(), &Config::new(), size)
}

/// The same with settings of the test's own, and with its operations.
pub fn tcp_worlds_with(builder: &Builder, config: &Config, size: u32) -> Vec<World> {
    let port = free_port();
    let joining: Vec<_> = (0..size)
        .map(|rank| {
            let address = if rank == 0 { String::new() } else { format!("127.0.0.1:{port}") };
            let config = config.clone().listen("127.0.0.1").port(port).size(size).rank(rank).addr(address);
            builder.clone().config(config.wait(PATIENCE / 2)).init()
        })
        .collect();
    joining.into_iter().map(|init| init.wait().expect("the rank joins")).collect()
}

/// Ranks that share one process over memory links and ranks that are joined over TCP, with the name of what joins them.
pub fn both_kinds_of_worlds(operations: &Registry, config: &Config, size: u32) -> [(&'static str, Vec<World>); 2] {
    let builder = Builder::new().operations(operations.clone());
    let memory = builder.clone().config(config.clone()).local(size).expect("a world in memory");
    [("memory", memory), ("tcp", tcp_worlds_with(&builder, config, size))]
}

/// Runs `f` on a thread for each rank, finalizes, and returns what each rank's `f` did. Aborts the test program if a
/// rank takes a minute: a thread that hangs can not be stopped in any other way.
pub fn on_ranks<T: Send>(worlds: Vec<World>, f: impl Fn(&World) -> T + Sync) -> Vec<T> {
    let worlds: Vec<_> = worlds.into_iter().map(|world| Mutex::new(Some(world))).collect();
    on_threads(worlds.len() as u32, |rank| {
        let world = worlds[rank as usize].lock().expect("nobody else takes it").take().expect("it is taken once");
        // A world that is dropped by a panic is one that the others see fail.
        let result = f(&world);
        world.finalize().wait().expect("the world ends");
        result
    })
}

/// Runs `f` on `count` threads, with the number of each, under the same watch.
pub fn on_threads<T: Send>(count: u32, f: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let (f, (done, is_done)) = (&f, channel());
    thread::spawn(move || abort_unless_done((0..count).collect(), &is_done));
    let results = thread::scope(|scope| {
        let spawn = |number| {
            let done = done.clone();
            scope.spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| f(number)));
                let _ = done.send(number);
                result
            })
        };
        let threads: Vec<_> = (0..count).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().and_then(|result| result)).collect::<Vec<_>>()
    });
    results.into_iter().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
}

fn abort_unless_done(mut ranks: Vec<u32>, is_done: &Receiver<u32>) {
    let start = Instant::now();
    while !ranks.is_empty() {
        match is_done.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            Ok(done) => ranks.retain(|rank| *rank != done),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                say(&format!("ranks {ranks:?} hang: they have not come back within {} s", PATIENCE.as_secs()));
                std::process::abort();
            }
        }
    }
}

/// Says something even where the output of tests is captured.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
