//! Programs in processes of their own, whose output is read as it comes, and what fedavg says in the end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::{edgempi, example};

/// Nothing here takes longer, unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program of an example, which is built once.
pub fn program(name: &'static str) -> &'static Path {
    static PATHS: Mutex<BTreeMap<&str, &Path>> = Mutex::new(BTreeMap::new());
    let mut paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
    paths.entry(name).or_insert_with(|| Box::leak(example(name).into_boxed_path()))
}

/// A command in an environment without settings of ours or of another launcher.
pub fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    for variable in edgempi::config::SETTINGS.iter().flat_map(|setting| setting.variables) {
        command.env_remove(variable);
    }
    for variable in ["RUST_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// `edgempi run` of an example on so many ranks.
pub fn run(ranks: u32, name: &'static str, arguments: &[&str]) -> Ended {
    let mut command = command(edgempi(), &["run", "-n", &ranks.to_string()]);
    command.arg(program(name)).args(arguments);
    Process::start(command).end()
}

/// Starts by hand a rank of a world whose hub is at `address`.
pub fn rank(address: &str, rank: u32, size: u32, name: &'static str, arguments: &[&str]) -> Process {
    Process::start(rank_command(address, rank, size, name, arguments))
}

/// The command of such a rank.
pub fn rank_command(address: &str, rank: u32, size: u32, name: &'static str, arguments: &[&str]) -> Command {
    let mut command = command(program(name), arguments);
    command.env("EDGEMPI_ADDR", address).env("EDGEMPI_SIZE", size.to_string()).env("EDGEMPI_RANK", rank.to_string());
    command
}

/// Starts all ranks of such a world.
pub fn ranks(address: &str, size: u32, name: &'static str, arguments: &[&str]) -> Vec<Process> {
    (0..size).map(|number| rank(address, number, size, name, arguments)).collect()
}

/// Says that a test has not been made, and why; past the test harness, which keeps what a test prints that passes.
pub fn skipped(why: impl fmt::Display) {
    writeln!(io::stderr(), "\nSKIPPED: {why}").expect("somebody reads stderr");
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A process whose output is read as it comes; it does not outlive its test.
pub struct Process {
    child: Child,
    output: Receiver<(Stream, String)>,
    /// What it has said so far.
    pub ended: Ended,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

/// What is left of a process.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it has printed.
    pub stdout: String,
    /// What it has complained of.
    pub stderr: String,
}

impl Process {
    /// Starts `command`.
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, output) = mpsc::channel();
        let streams: [(_, Box<dyn Read + Send>); 2] = [
            (Stream::Stdout, Box::new(child.stdout.take().unwrap())),
            (Stream::Stderr, Box::new(child.stderr.take().unwrap())),
        ];
        for (stream, pipe) in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                    let _ = sender.send((stream, String::from_utf8_lossy(&line).into_owned() + "\n"));
                }
            });
        }
        Self { child, output, ended: Ended::default() }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of output; none when there is no more.
    #[track_caller]
    fn next(&mut self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "it goes on and on: {:#?}", self.ended);
        match self.output.recv_timeout(left) {
            Ok((stream, line)) => {
                match stream {
                    Stream::Stdout => self.ended.stdout += &line,
                    Stream::Stderr => self.ended.stderr += &line,
                }
                Some(line)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs: {:#?}", self.ended),
        }
    }

    /// Waits for a line with this text, and returns it.
    #[track_caller]
    pub fn line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline) {
                Some(line) if line.contains(text) => return line.trim_end().to_owned(),
                Some(_) => {}
                None => panic!("nothing says {text:?}: {:#?}", self.ended),
            }
        }
    }

    /// Sends a signal by its name: INT, TERM.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        while self.next(deadline).is_some() {}
        self.ended.code = self.child.wait().unwrap().code();
        std::mem::take(&mut self.ended)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The same, if its exit code is 0.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// The lines of standard output, in the order of their text.
    pub fn sorted(&self) -> Vec<&str> {
        let mut lines: Vec<_> = self.stdout.lines().collect();
        lines.sort_unstable();
        lines
    }

    /// What fedavg's summary says behind `name`, after whatever prefix the launcher gave it.
    #[track_caller]
    pub fn summary(&self, name: &str) -> &str {
        let mut found = self.stdout.lines().filter_map(|line| Some(line.split_once(name)?.1.trim()));
        let last = found.next_back();
        last.unwrap_or_else(|| panic!("no {name:?}: {self:#?}"))
    }

    /// The share of the test images that fedavg's last weights read right, in percent.
    #[track_caller]
    pub fn accuracy(&self) -> f64 {
        self.summary("test accuracy").split(' ').next().unwrap().parse().unwrap()
    }

    /// The fingerprint of fedavg's last weights.
    #[track_caller]
    pub fn weights(&self) -> String {
        let weights = self.summary("weights  ");
        assert!(weights.len() == 16 && weights.chars().all(|digit| digit.is_ascii_hexdigit()), "{weights}");
        weights.to_owned()
    }
}

/// `edgempi hub` on a port of the system's choice.
pub struct HubProcess {
    /// The hub itself.
    pub process: Process,
    /// Where it listens.
    pub address: String,
}

impl HubProcess {
    /// The hub of a world of `size`.
    pub fn start(size: u32, options: &[&str]) -> Self {
        Self::start_with(size, options, "30s")
    }

    /// The same, which waits so long for ranks.
    pub fn start_with(size: u32, options: &[&str], wait: &str) -> Self {
        let size = size.to_string();
        let arguments = [&["hub", "--size", &size, "--listen", "127.0.0.1:0"], options].concat();
        let mut command = command(edgempi(), &arguments);
        command.env("EDGEMPI_WAIT", wait);
        Self::of(command)
    }

    /// The hub that `command` starts.
    pub fn of(command: Command) -> Self {
        let mut process = Process::start(command);
        let line = process.line("edgempi: hub of a world of ");
        let address = line.rsplit(' ').next().unwrap().to_owned();
        Self { process, address }
    }
}
