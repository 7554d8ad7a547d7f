//! Ranks and hubs in processes of their own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::edgempi;

/// `program` in an environment without settings of ours or of a launcher.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for setting in edgempi::config::SETTINGS {
        for variable in setting.variables {
            command.env_remove(variable);
        }
    }
    command.env_remove("RUST_LOG");
    command
}

/// `program` as a rank of a world whose rank 0 hosts the hub at `hub`.
pub fn rank_of(program: &Path, hub: SocketAddr, size: u32, rank: u32) -> Command {
    let mut command = command(program);
    command.env("EDGEMPI_SIZE", size.to_string()).env("EDGEMPI_RANK", rank.to_string());
    match rank {
        0 => command.env("EDGEMPI_LISTEN", hub.to_string()),
        _ => command.env("EDGEMPI_ADDR", hub.to_string()),
    };
    command
}

/// The command `edgempi` as the hub of a world of `size`, with some settings in its environment; and where it listens.
pub fn lone_hub(size: u32, settings: &[(&str, &str)]) -> (Process, SocketAddr) {
    let mut command = command(edgempi());
    command.args(["hub", "--size", &size.to_string(), "--listen", "127.0.0.1:0"]).envs(settings.iter().copied());
    let mut hub = Process::start(command);
    let mut said = String::new();
    hub.errors.read_line(&mut said).expect("lines are text");
    let address = said.trim_end().rsplit(' ').next().and_then(|address| address.parse().ok());
    let address = address.unwrap_or_else(|| panic!("the hub does not say where it is: {said}"));
    (hub, address)
}

/// No test needs a process for longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// A process that takes lines and answers with lines. It is killed when this is dropped.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
    /// As long as it is there, the process may run.
    _watch: Sender<()>,
}

impl Process {
    /// Starts `command`.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let (watch, ended) = channel::<()>();
        let id = child.id().to_string();
        thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Whoever waits for its next line sees that there is none.
                let _ = Command::new("kill").args(["-s", "KILL", &id]).status();
            }
        });
        Self { input: child.stdin.take(), child, output, errors, _watch: watch }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a line.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("nobody has closed it");
        writeln!(input, "{line}").expect("the process reads");
    }

    /// Its next line on stdout, without the line's end; empty when there are no more.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("lines are text");
        line.trim_end().to_owned()
    }

    /// Tells it that there will be no more lines.
    pub fn close_input(&mut self) {
        drop(self.input.take());
    }

    /// Ends it at once, as a crash of the machine would: SIGKILL. When this returns it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it was started here");
    }

    /// Sends a signal by its name: STOP, CONT, TERM.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "signal {name} can not be sent");
    }

    /// Waits for its end, its input closed. Returns how it ended, and the rest of what it said on stderr.
    pub fn end(&mut self) -> (ExitStatus, String) {
        self.close_input();
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).expect("errors are text");
        (self.child.wait().expect("it was started here"), errors)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
