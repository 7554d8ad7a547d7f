//! Boards under QEMU, connected to a test.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::bridge::OwnBridge;

/// No image of a test runs longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A board that QEMU emulates.
#[derive(Debug)]
pub struct Machine {
    /// Its name in QEMU.
    pub name: &'static str,
    /// Its package in examples/firmware, which its images' names begin with.
    package: &'static str,
    target: &'static str,
    /// How it's connected.
    pub line: Line,
}

/// How a board is connected to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// By Ethernet, in a network of QEMU's.
    Network,
    /// By a UART.
    Serial,
}

/// A Cortex-M3 with Ethernet.
pub const AN385: Machine =
    Machine { name: "mps2-an385", package: "mps2", target: "thumbv7m-none-eabi", line: Line::Network };
/// A Cortex-M4F with Ethernet.
pub const AN386: Machine =
    Machine { name: "mps2-an386", package: "mps2", target: "thumbv7em-none-eabihf", line: Line::Network };
/// A Cortex-M3 with 64 kB of RAM and UARTs.
pub const LM3S6965EVB: Machine =
    Machine { name: "lm3s6965evb", package: "lm3s6965evb", target: "thumbv7m-none-eabi", line: Line::Serial };
/// A Cortex-M0 with 16 kB of RAM and a UART.
pub const MICROBIT: Machine =
    Machine { name: "microbit", package: "microbit", target: "thumbv6m-none-eabi", line: Line::Serial };

/// All of them.
pub const MACHINES: [&Machine; 4] = [&AN385, &AN386, &LM3S6965EVB, &MICROBIT];

impl Machine {
    /// The file of an image for this board, such as `echo`.
    ///
    /// # Panics
    ///
    /// If [`available`] doesn't say that there are images.
    pub fn image(&self, application: &str) -> PathBuf {
        let images = images().expect("asked for after `available`");
        images.join(self.target).join("release").join(format!("{}-{application}", self.package))
    }
}

/// Whether boards can be emulated here. The first call builds all images. Where they can't be had, this says why, and the
/// test has to end.
pub fn available() -> bool {
    match found() {
        Ok(()) => true,
        Err(why) => {
            let test = thread::current().name().unwrap_or_default().to_owned();
            // Past the test harness, which keeps what is printed.
            writeln!(io::stderr(), "\nSKIPPED: {test}: {why}").expect("somebody reads stderr");
            false
        }
    }
}

/// As [`available`], for programs that are no test.
///
/// # Errors
///
/// Why they can't be had.
pub fn found() -> Result<(), &'static str> {
    images().map(|_| ())
}

/// The folder of all images, or why there is none.
fn images() -> Result<&'static Path, &'static str> {
    static IMAGES: OnceLock<Result<String, String>> = OnceLock::new();
    emulator()?;
    outcome(IMAGES.get_or_init(|| script("images"))).map(Path::new)
}

/// The emulator, or why there is none.
fn emulator() -> Result<&'static str, &'static str> {
    static EMULATOR: OnceLock<Result<String, String>> = OnceLock::new();
    outcome(EMULATOR.get_or_init(|| script("qemu")))
}

fn outcome(result: &Result<String, String>) -> Result<&str, &str> {
    result.as_deref().map_err(String::as_str)
}

/// What a script of tests/firmware prints, or why it can't be had here, which it says by exit code 77.
fn script(name: &str) -> Result<String, String> {
    let mut command = Command::new(root().join("tests/firmware").join(name));
    // What is set for this test's own build is not meant for boards.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_BOOTSTRAP"] {
        command.env_remove(variable);
    }
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} doesn't start: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(String::from_utf8(output.stdout).expect("paths here are text").trim_end().to_owned()),
        Some(77) => Err(errors.lines().last().unwrap_or_default().to_owned()),
        _ => panic!("tests/firmware/{name}: {}\n{errors}", output.status),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project")
}

/// A board that runs. It's switched off when this is dropped.
#[derive(Debug)]
pub struct Board {
    name: String,
    emulator: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    deadline: Instant,
}

impl Board {
    /// Runs an image with some arguments. `serial` is where its UART leads, in QEMU's words.
    ///
    /// # Panics
    ///
    /// If QEMU doesn't start.
    pub fn start(machine: &Machine, application: &str, arguments: &[&str], serial: &str) -> Self {
        let mut command = Command::new(root().join("examples/firmware/emulate"));
        command.arg(machine.name).arg(machine.image(application)).args(arguments);
        command.env("SERIAL", serial).env("QEMU", emulator().expect("asked for after `available`"));
        command.env_remove("NETWORK").env_remove("QEMU_OPTIONS");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut emulator = command.spawn().unwrap_or_else(|error| panic!("{command:?} doesn't start: {error}"));
        let (sender, lines) = channel();
        // What QEMU itself has to say comes among what the board says.
        read_lines(emulator.stdout.take().expect("it's piped"), sender.clone());
        read_lines(emulator.stderr.take().expect("it's piped"), sender);
        let name = format!("{application} on {}", machine.name);
        Self { name, emulator, lines, said: Vec::new(), deadline: Instant::now() + PATIENCE }
    }

    /// Waits until the board says a line.
    ///
    /// # Panics
    ///
    /// If it ends, or too much time passes, before it does.
    pub fn wait_for(&mut self, line: &str) {
        while let Some(said) = self.hear() {
            if said == line {
                return;
            }
        }
        panic!("{self} ended before it said {line}");
    }

    /// Waits for the end. Returns whether the board said that it went well, and all that it said on its console.
    ///
    /// # Panics
    ///
    /// If too much time passes.
    pub fn end(mut self) -> (bool, String) {
        while self.hear().is_some() {}
        let status = self.emulator.wait().expect("it was started here");
        (status.success(), self.said.join("\n"))
    }

    /// The emulator's process.
    pub fn process(&self) -> u32 {
        self.emulator.id()
    }

    /// The next line that the board says, until it ends.
    fn hear(&mut self) -> Option<&str> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                self.said.push(line);
                self.said.last().map(String::as_str)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{self} takes too long"),
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

/// For messages of tests: which board, and what it said.
impl std::fmt::Display for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, which said {:?},", self.name, self.said)
    }
}

fn read_lines(from: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

/// Runs an image as rank `rank` of a world of `size` whose hub is at `hub`; a board without a network by way of a bridge.
///
/// # Panics
///
/// If QEMU doesn't start.
pub fn join(machine: &Machine, application: &str, hub: SocketAddr, rank: u32, size: u32, arguments: &[&str]) -> Member {
    let (address, rank, size) =
        (format!("hub=10.0.2.2:{}", hub.port()), format!("rank={rank}"), format!("size={size}"));
    let arguments = [&[rank.as_str(), &size, &address], arguments].concat();
    match machine.line {
        Line::Network => Member { board: Board::start(machine, application, &arguments, "null"), bridge: None },
        Line::Serial => {
            let bridge = OwnBridge::start(hub);
            let serial = format!("tcp:{}", bridge.address);
            Member { board: Board::start(machine, application, &arguments, &serial), bridge: Some(bridge) }
        }
    }
}

/// A board in a world, with the bridge that it may need.
#[derive(Debug)]
pub struct Member {
    board: Board,
    bridge: Option<OwnBridge>,
}

impl Member {
    /// Waits until the board has ended well, and returns what it said.
    ///
    /// # Panics
    ///
    /// If it ends otherwise, or too much time passes.
    pub fn succeeded(self) -> String {
        let (name, (success, said)) = self.end();
        assert!(success, "{name} said:\n{said}");
        said
    }

    fn end(self) -> (String, (bool, String)) {
        let Self { board, bridge } = self;
        let name = board.name.clone();
        let ended = board.end();
        drop(bridge);
        (name, ended)
    }
}

/// [`Member::succeeded`] of several; if one fails, what the others say may say why.
///
/// # Panics
///
/// As that does.
pub fn all_succeeded(members: Vec<Member>) -> Vec<String> {
    let ended: Vec<_> = members.into_iter().map(Member::end).collect();
    assert!(ended.iter().all(|(_, (success, _))| *success), "not all boards end well: {ended:#?}");
    ended.into_iter().map(|(_, (_, said))| said).collect()
}

/// Runs an image whose link leads here, and waits until it's open: until the board says the application's name.
///
/// # Panics
///
/// If it doesn't come to that.
pub fn connect(machine: &Machine, application: &str, arguments: &[&str]) -> (Board, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let hub = format!("hub=10.0.2.2:{port}");
    let mut board = match machine.line {
        Line::Network => Board::start(machine, application, &[&[hub.as_str()], arguments].concat(), "null"),
        Line::Serial => Board::start(machine, application, arguments, &format!("tcp:127.0.0.1:{port}")),
    };
    board.wait_for(application);
    // The board is connected by now, so this is there already.
    let (stream, _) = listener.accept().expect("the board connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("it's a timeout");
    stream.set_nodelay(true).expect("it's TCP");
    (board, stream)
}
