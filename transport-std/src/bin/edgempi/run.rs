//! `edgempi run`: starts the ranks of a program on this machine, and sees them to their end.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::config::{Config, ConfigError, MAX_SIZE};
use shared_child::SharedChild;

use crate::boards::{BoardError, Boards};
use crate::example::{Example, ExampleError};
use crate::output;
use crate::signals::{self, Signal};
use crate::{is_coloured, say};

/// How long a rank has between SIGTERM and SIGKILL.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long to look for the cause after a rank has failed: the others notice that a rank died before we do, and may be
/// quicker to end.
const SETTLING: Duration = Duration::from_millis(200);
/// How long a pipe must be silent, after all ranks have ended, to be left to whoever still holds it.
const SILENCE: Duration = Duration::from_secs(1);
/// The exit code of a Rust program that has panicked. Its rank told the others before the process had ended; theirs may
/// have ended first, with an error that says so.
const PANICKED: u8 = 101;
/// A second signal so soon is the first one once more: `timeout` signals a process and then its whole group.
const SAME_SIGNAL: Duration = Duration::from_millis(250);
/// A thread here only moves bytes; a small stack makes room for many ranks.
const STACK: usize = 128 * 1024;

/// Start the ranks of a program on this machine
///
/// Each line of output begins with the rank that it comes from. Rank 0 gets the standard input. The ranks find each
/// other by EDGEMPI_SIZE, EDGEMPI_RANK and EDGEMPI_PORT (a free port, unless you set EDGEMPI_ADDR or EDGEMPI_PORT).
/// When a rank fails, the others have a grace time to notice and to end by themselves, then they are ended; the exit
/// code is that of the first rank that failed, or 128 + the signal that ended it. (A rank that a signal ended counts as
/// the first of those that fail together.)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    edgempi run -n 4 ./train --epochs 3\n  \
    edgempi run -n 4 --example fedavg -- --rounds 10\n\n\
    A program that starts the rank as its child (a shell script) should `exec` it, so that signals reach it.")]
pub struct Arguments {
    /// How many ranks to start
    #[arg(short = 'n', long = "ranks", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SIZE)))]
    ranks: u32,

    /// Build this example of the cargo project here and start it, instead of a program
    #[arg(long, value_name = "NAME")]
    example: Option<String>,

    /// The package that has the example, if several do
    #[arg(long, value_name = "PACKAGE", requires = "example")]
    package: Option<String>,

    /// Features to build the example with
    #[arg(long, value_name = "FEATURES", requires = "example")]
    features: Vec<String>,

    /// Profile to build the example with [default: release if edgempi was built so, else dev]
    #[arg(long, value_name = "PROFILE", requires = "example")]
    profile: Option<String>,

    /// Start so many emulated boards, too, which run the firmware application that has the example's name: it needs
    /// --example. Their ranks come after those of this machine. Needs QEMU and, once, a compiler for boards, which are
    /// installed where that is possible
    #[arg(long, value_name = "N", requires = "example", default_value_t = 0)]
    firmware: u32,

    /// Which boards: mps2-an385 is a Cortex-M3, mps2-an386 a Cortex-M4F
    #[arg(long, value_name = "BOARD", requires = "firmware", default_value = "mps2-an386")]
    board: String,

    /// Leave the ranks' output as it is: no prefix, and a terminal if this is one (for a progress bar, say)
    #[arg(long)]
    no_prefix: bool,

    /// How long ranks may go on after one has failed or Ctrl-C was pressed
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    grace: Duration,

    /// The program and its arguments; with --example, the arguments
    #[arg(trailing_var_arg = true, value_names = ["PROGRAM", "ARGS"], num_args = 1.., required_unless_present = "example")]
    command: Vec<OsString>,
}

/// Why the ranks could not be started.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Example(#[from] ExampleError),
    #[error(transparent)]
    Board(#[from] BoardError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("nothing to start: say a program, or --example NAME")]
    NoProgram,
    #[error("can't start `{}`: no such program; {}", .program.display(), hint(.program))]
    UnknownProgram { program: PathBuf },
    #[error("can't start rank {rank} of `{}`: {error}", .program.display())]
    Start { program: PathBuf, rank: u32, error: io::Error },
    #[error("can't find a free port for the hub: {0}; set EDGEMPI_PORT")]
    Port(io::Error),
    #[error("can't listen for signals: {0}")]
    Signals(io::Error),
}

/// Whether the system takes `program` for the path of a file, instead of looking for it in PATH.
fn has_directory(program: &Path) -> bool {
    program.components().count() > 1 || program.is_absolute()
}

fn hint(program: &Path) -> String {
    if has_directory(program) {
        "look at the path".into()
    } else {
        format!("for a file here write ./{0}, for an example write --example {0}", program.display())
    }
}

impl RunError {
    /// The exit code, as a shell has it.
    fn code(&self) -> u8 {
        match self {
            RunError::UnknownProgram { .. } => 127,
            RunError::Start { .. } => 126,
            _ => 1,
        }
    }
}

pub fn execute(arguments: &Arguments) -> u8 {
    arguments.run().unwrap_or_else(|error| {
        say(&error);
        error.code()
    })
}

impl Arguments {
    /// `ranks` of a program, whose output stays as it is.
    pub fn plain(ranks: u32, command: Vec<OsString>) -> Self {
        Self {
            ranks,
            example: None,
            package: None,
            features: Vec::new(),
            profile: None,
            firmware: 0,
            board: String::new(),
            no_prefix: true,
            grace: Duration::from_secs(5),
            command,
        }
    }

    fn run(&self) -> Result<u8, RunError> {
        let (program, arguments) = self.program()?;
        let boards = match &self.example {
            Some(application) if self.firmware > 0 => Some(Boards::build(&self.board, application)?),
            _ => None,
        };
        let size = self.ranks.saturating_add(self.firmware);
        let port = free_port().map_err(RunError::Port)?;
        let (events, inbox) = mpsc::channel();
        let signalled = events.clone();
        signals::listen(move |signal| drop(signalled.send(Event::Signal(signal)))).map_err(RunError::Signals)?;

        if let Ok(address) = hub(port) {
            tracing::info!("the hub is at {address}; `edgempi hub --status {address}` shows what the ranks do");
        }
        // The ranks' own bytes pass as they are, so only the prefix depends on what the stream can show.
        let coloured = [is_coloured(&io::stdout()), is_coloured(&io::stderr())];
        let mut job = Job::new(self.grace, events);
        for rank in 0..size {
            let board = boards.as_ref().filter(|_| rank >= self.ranks);
            let (program, mut command) = match board {
                Some(boards) => (boards.program(), boards.command(&hub(port)?, rank, size, arguments)),
                None => (program.as_path(), Command::new(&program)),
            };
            if board.is_none() {
                command.args(arguments).env("EDGEMPI_SIZE", size.to_string()).env("EDGEMPI_RANK", rank.to_string());
                if let Some(port) = port {
                    command.env("EDGEMPI_PORT", port.to_string());
                }
                if rank > 0 {
                    command.stdin(Stdio::null());
                }
            }
            let prefixes = (!self.no_prefix).then(|| {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                coloured.map(|colour| output::prefix(rank, size, colour))
            });
            if let Err(error) = job.start(rank, &mut command, prefixes) {
                // That the others end now is our doing, and nobody's failure.
                job.code = Some(1);
                job.kill();
                job.finish(&inbox);
                // A file that is there but "not found" lacks its interpreter.
                let missing = error.kind() == io::ErrorKind::NotFound && !(has_directory(program) && program.exists());
                let program = program.to_owned();
                return Err(if missing {
                    RunError::UnknownProgram { program }
                } else {
                    RunError::Start { program, rank, error }
                });
            }
        }
        Ok(job.finish(&inbox))
    }

    /// The program to start, and its arguments.
    fn program(&self) -> Result<(PathBuf, &[OsString]), RunError> {
        if let Some(name) = &self.example {
            let example = Example {
                name,
                package: self.package.as_deref(),
                features: &self.features,
                profile: self.profile.as_deref(),
            };
            return Ok((example.build()?, &self.command));
        }
        let (program, arguments) = self.command.split_first().ok_or(RunError::NoProgram)?;
        Ok((program.into(), arguments))
    }
}

/// A port for the hub, so that two jobs run side by side, unless the user says where the hub is. A port that a rank
/// finds in its environment is that of its own world: a job that it starts needs another.
fn free_port() -> io::Result<Option<u16>> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set("EDGEMPI_ADDR") || (is_set("EDGEMPI_PORT") && !is_set("EDGEMPI_RANK")) {
        return Ok(None);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(Some(listener.local_addr()?.port()))
}

/// Where boards find the hub.
fn hub(port: Option<u16>) -> Result<String, ConfigError> {
    match port {
        Some(port) => Ok(format!("{}:{port}", Ipv4Addr::LOCALHOST)),
        // As the user says in the environment.
        None => Ok(Config::new().size(1).rank(0).resolve(edgempi::link::NAMES)?.hub().to_string()),
    }
}

/// What the threads of a job tell it.
enum Event {
    /// A rank ended.
    Ended(u32, io::Result<ExitStatus>),
    /// One of the ranks' pipes ended.
    Drained,
    /// This process shall end.
    Signal(Signal),
}

/// How far the end of the ranks has come.
#[derive(Clone, Copy)]
enum Stage {
    Running,
    /// One has failed; until then, others may turn out to have failed before.
    Settling(Instant),
    /// They know, or will notice; then comes SIGTERM. No time: it is too far off.
    Grace(Option<Instant>),
    /// They got SIGTERM; then comes SIGKILL.
    Terminated(Instant),
    Killed,
}

/// How a rank failed.
struct Failure {
    rank: u32,
    how: String,
    code: u8,
    /// A signal ended it. Nobody chooses that, so it is no consequence of what other ranks did.
    by_signal: bool,
}

/// The ranks that were started.
struct Job {
    children: Vec<Arc<SharedChild>>,
    running: BTreeSet<u32>,
    /// Ranks that had ended well when the first failed.
    early: BTreeSet<u32>,
    /// For each open or ended pipe, whether nothing is to be read from it right now.
    idle: Vec<Arc<AtomicBool>>,
    undrained: usize,
    grace: Duration,
    stage: Stage,
    /// The first signal to this process, and when.
    signalled: Option<Instant>,
    /// What has not been told to the user.
    failures: Vec<Failure>,
    /// The exit code that is certain already.
    code: Option<u8>,
    events: Sender<Event>,
}

impl Job {
    fn new(grace: Duration, events: Sender<Event>) -> Self {
        Self {
            children: Vec::new(),
            running: BTreeSet::new(),
            early: BTreeSet::new(),
            idle: Vec::new(),
            undrained: 0,
            grace,
            stage: Stage::Running,
            signalled: None,
            failures: Vec::new(),
            code: None,
            events,
        }
    }

    /// Starts a rank, with a thread that waits for its end and one for each of its pipes.
    fn start(&mut self, rank: u32, command: &mut Command, prefixes: Option<[String; 2]>) -> io::Result<()> {
        let child = Arc::new(SharedChild::spawn(command)?);
        tracing::info!(rank, process = child.id(), "started");
        let (events, waiting) = (self.events.clone(), child.clone());
        if let Err(error) = spawn(format!("wait {rank}"), move || drop(events.send(Event::Ended(rank, waiting.wait()))))
        {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
        self.children.push(child.clone());
        self.running.insert(rank);
        if let Some([stdout, stderr]) = prefixes {
            if let Some(pipe) = child.take_stdout() {
                self.forward(pipe, stdout, |lines| {
                    let mut to = io::stdout().lock();
                    to.write_all(lines).and_then(|()| to.flush())
                })?;
            }
            if let Some(pipe) = child.take_stderr() {
                self.forward(pipe, stderr, |lines| io::stderr().lock().write_all(lines))?;
            }
        }
        Ok(())
    }

    fn forward(
        &mut self,
        pipe: impl Read + Send + 'static,
        prefix: String,
        write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let idle = Arc::new(AtomicBool::new(true));
        self.idle.push(idle.clone());
        let events = self.events.clone();
        spawn("output".into(), move || {
            // If nobody reads our output any more, the pipe closes, and the rank learns it as it would without us.
            if let Err(error) = output::forward(pipe, &prefix, &idle, write) {
                tracing::debug!("output of {prefix}ends: {error}");
            }
            idle.store(true, Ordering::SeqCst);
            let _ = events.send(Event::Drained);
        })?;
        self.undrained += 1;
        Ok(())
    }

    /// Waits until all ranks have ended and their output is written; gives the exit code.
    fn finish(mut self, inbox: &Receiver<Event>) -> u8 {
        while !self.running.is_empty() {
            match receive(inbox, self.deadline()) {
                Some(Event::Ended(rank, status)) => self.ended(rank, status),
                Some(Event::Drained) => self.undrained -= 1,
                Some(Event::Signal(signal)) => self.signal(signal),
                None => self.press(),
            }
        }
        self.tell_failures();
        self.drain(inbox);
        self.code.unwrap_or(0)
    }

    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Running | Stage::Killed => None,
            Stage::Grace(until) => until,
            Stage::Settling(until) | Stage::Terminated(until) => Some(until),
        }
    }

    fn ended(&mut self, rank: u32, status: io::Result<ExitStatus>) {
        self.running.remove(&rank);
        tracing::info!(rank, ?status, "ended");
        let failure = match status {
            Ok(status) if status.success() => {
                if matches!(self.stage, Stage::Running) {
                    self.early.insert(rank);
                }
                return;
            }
            Ok(status) => Failure::new(rank, status),
            Err(error) => Failure { rank, how: format!("could not be waited for: {error}"), code: 1, by_signal: false },
        };
        if self.code.is_none() {
            self.failures.push(failure);
        }
        if matches!(self.stage, Stage::Running) {
            self.stage = Stage::Settling(Instant::now() + SETTLING);
        }
    }

    /// Says which ranks have failed, the likely cause first; its code is ours.
    fn tell_failures(&mut self) {
        let first = |is_cause: fn(&Failure) -> bool| self.failures.iter().position(is_cause);
        let cause =
            first(|failure| failure.by_signal).or_else(|| first(|failure| failure.code == PANICKED)).unwrap_or(0);
        let mut others: BTreeSet<u32> = self.failures.iter().map(|failure| failure.rank).collect();
        let Some(Failure { rank, how, code, by_signal }) = self.failures.drain(..).nth(cause) else { return };
        others.remove(&rank);
        self.code = Some(code);
        let mut text = format!("rank {rank} {how}");
        if !others.is_empty() {
            text += &format!("; {} failed too", ranks(&others));
        }
        if !self.early.is_empty() && !by_signal && code != PANICKED {
            // One that has not finalized has failed for the others, whatever its code.
            text += &format!("; {} had ended before, with code 0", ranks(&self.early));
        }
        if !self.running.is_empty() {
            text += "; stopping the others";
        }
        say(text);
    }

    fn signal(&mut self, signal: Signal) {
        match self.signalled {
            Some(first) if first.elapsed() < SAME_SIGNAL => return,
            Some(_) => return self.kill(),
            None => self.signalled = Some(Instant::now()),
        }
        self.tell_failures();
        self.code.get_or_insert(128 + signal.number());
        let grace = humantime::format_duration(self.grace);
        say(format_args!("{}: the ranks have {grace} to end; once more ends them at once", signal.name()));
        // A terminal sends Ctrl-C to the ranks itself: they are in its foreground group as we are.
        if signal != Signal::Interrupt || !signals::has_terminal() {
            self.send(signal);
        }
        self.begin_grace();
    }

    fn begin_grace(&mut self) {
        if matches!(self.stage, Stage::Running | Stage::Settling(_)) {
            self.stage = Stage::Grace(Instant::now().checked_add(self.grace));
        }
    }

    /// A deadline has passed: becomes less polite.
    fn press(&mut self) {
        if matches!(self.stage, Stage::Settling(_)) {
            self.tell_failures();
            self.begin_grace();
        } else if matches!(self.stage, Stage::Grace(_)) {
            let grace = humantime::format_duration(self.grace);
            say(format_args!("still running after {grace}: {}; ending them", ranks(&self.running)));
            self.stage = Stage::Terminated(Instant::now() + LAST_WORDS);
            self.send(Signal::Terminate);
        } else {
            self.kill();
        }
    }

    fn kill(&mut self) {
        self.stage = Stage::Killed;
        for child in self.running_children() {
            if let Err(error) = child.kill() {
                tracing::warn!("can't kill process {}: {error}", child.id());
            }
        }
    }

    #[cfg(unix)]
    fn send(&self, signal: Signal) {
        use shared_child::unix::SharedChildExt;
        for child in self.running_children() {
            if let Err(error) = child.send_signal(signal.number().into()) {
                tracing::warn!("can't send {} to process {}: {error}", signal.name(), child.id());
            }
        }
    }

    /// There is no polite way here.
    #[cfg(not(unix))]
    fn send(&self, _: Signal) {
        for child in self.running_children() {
            let _ = child.kill();
        }
    }

    fn running_children(&self) -> impl Iterator<Item = &SharedChild> {
        self.running.iter().filter_map(|rank| self.children.get(*rank as usize)).map(AsRef::as_ref)
    }

    /// Waits for the output that is still in the pipes. A pipe that a process left behind by a rank holds open is
    /// left to it after a silence, but one that waits for a slow reader of our own output is not.
    fn drain(&mut self, inbox: &Receiver<Event>) {
        while self.undrained > 0 {
            match receive(inbox, Some(Instant::now() + SILENCE)) {
                Some(Event::Drained) => self.undrained -= 1,
                Some(Event::Signal(_)) => return,
                Some(Event::Ended(..)) => {}
                None if self.idle.iter().all(|idle| idle.load(Ordering::SeqCst)) => return,
                None => {}
            }
        }
    }
}

/// The next event, or none if the deadline comes first.
fn receive(inbox: &Receiver<Event>, deadline: Option<Instant>) -> Option<Event> {
    match deadline {
        // The job itself holds a sender, so the channel never closes.
        None => inbox.recv().ok(),
        Some(deadline) => inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).stack_size(STACK).spawn(body).map(drop)
}

impl Failure {
    fn new(rank: u32, status: ExitStatus) -> Self {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("an unknown signal");
            let code = u8::try_from(128 + signal).unwrap_or(u8::MAX);
            return Self { rank, how: format!("was ended by {name} (signal {signal})"), code, by_signal: true };
        }
        let code = status.code().unwrap_or(1);
        let how = format!("exited with code {code}");
        Self { rank, how, code: u8::try_from(code).unwrap_or(1), by_signal: false }
    }
}

/// "rank 3" or "ranks 1, 2, 5", with the end of a long list left out.
fn ranks(running: &BTreeSet<u32>) -> String {
    const SHOWN: usize = 16;
    let mut text = if running.len() == 1 { "rank ".to_owned() } else { "ranks ".to_owned() };
    let shown: Vec<_> = running.iter().take(SHOWN).map(u32::to_string).collect();
    text += &shown.join(", ");
    if running.len() > SHOWN {
        text += &format!(" and {} more", running.len() - SHOWN);
    }
    text
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// The exit code of a job whose ranks end in this order, each with this status of `wait`.
    fn code(ends: &[(u32, i32)]) -> u8 {
        let (events, inbox) = mpsc::channel();
        let mut job = Job::new(Duration::MAX, events.clone());
        for (rank, status) in ends {
            job.running.insert(*rank);
            events.send(Event::Ended(*rank, Ok(ExitStatus::from_raw(*status)))).unwrap();
        }
        job.finish(&inbox)
    }

    #[test]
    fn of_ranks_that_fail_together_the_one_that_was_killed_gives_the_code() {
        let exited = |code: i32| code << 8;
        assert_eq!(code(&[(1, 0), (0, 0)]), 0);
        assert_eq!(code(&[(1, exited(4)), (0, exited(3)), (2, 0)]), 4);
        assert_eq!(code(&[(1, exited(4)), (0, 9), (2, 15)]), 128 + 9);
    }
}
