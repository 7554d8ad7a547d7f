//! Emulated boards beside the ranks of this machine.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::example::{self, ExampleError};

/// What builds and starts a board's image, in the folder of the cargo workspace.
const SCRIPT: &str = "examples/firmware/board";

/// Boards of one kind that run one application.
#[derive(Debug)]
pub struct Boards<'a> {
    script: PathBuf,
    machine: &'a str,
    application: &'a str,
}

/// Why there are no boards.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    #[error(transparent)]
    Project(#[from] ExampleError),
    #[error("there are no boards here: {} builds and starts them, and does not exist", .0.display())]
    NoScript(PathBuf),
    #[error("can't start {}: {error}", .script.display())]
    Start { script: PathBuf, error: io::Error },
    #[error("the image of `{application}` for {machine} could not be built ({status})")]
    Build { application: String, machine: String, status: ExitStatus },
}

impl<'a> Boards<'a> {
    /// Builds the image of `application` for `machine`.
    pub fn build(machine: &'a str, application: &'a str) -> Result<Self, BoardError> {
        let script = example::workspace()?.join(SCRIPT);
        if !script.exists() {
            return Err(BoardError::NoScript(script));
        }
        let mut command = Command::new(&script);
        command.args(["build", machine, application]).stdin(Stdio::null());
        match command.status() {
            Err(error) => Err(BoardError::Start { script, error }),
            Ok(status) if status.success() => Ok(Self { script, machine, application }),
            Ok(status) => {
                let (application, machine) = (application.to_owned(), machine.to_owned());
                Err(BoardError::Build { application, machine, status })
            }
        }
    }

    /// What starts board `rank` of a world of `size` whose hub is at `hub`, with the arguments of the example.
    pub fn command(&self, hub: &str, rank: u32, size: u32, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&self.script);
        command.args(["start", self.machine, self.application]);
        command.args([format!("hub={hub}"), format!("rank={rank}"), format!("size={size}")]);
        command.args(for_boards(arguments)).stdin(Stdio::null());
        command
    }

    /// The program that this starts.
    pub fn program(&self) -> &Path {
        &self.script
    }
}

/// A program's options as a board takes them: `--rounds 5` and `--rounds=5` become `rounds=5`.
fn for_boards(arguments: &[OsString]) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut arguments = arguments.iter().filter_map(|argument| argument.to_str()).peekable();
    while let Some(argument) = arguments.next() {
        let Some(name) = argument.strip_prefix("--") else { continue };
        if name.contains('=') {
            words.push(name.into());
        } else if let Some(value) = arguments.next_if(|value| !value.starts_with("--")) {
            words.push(OsStr::new(&format!("{name}={value}")).to_owned());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_words_of_boards() {
        let arguments = ["--rounds", "5", "--split=iid", "--central", "--seed", "-3", "loose"].map(OsString::from);
        assert_eq!(for_boards(&arguments), ["rounds=5", "split=iid", "seed=-3"]);
    }
}
