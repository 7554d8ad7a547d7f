//! The programs that measure, and how each is run.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    OpenMpiTcp,
    EdgempiTcp,
    /// With what it chooses by itself.
    Edgempi,
    OpenMpiShared,
}

impl Library {
    /// The link that edgempi is to take.
    fn proto(self) -> &'static str {
        if self == Self::EdgempiTcp { "tcp" } else { "auto" }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenMpiTcp => "Open MPI over TCP",
            Self::EdgempiTcp => "edgempi over TCP",
            Self::Edgempi => "edgempi",
            Self::OpenMpiShared => "Open MPI through shared memory",
        })
    }
}

/// Why there is no comparison.
#[derive(Debug)]
pub enum Failure {
    /// The library to compare with is not installed.
    Missing(String),
    /// Something did not work.
    Failed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

/// The programs, ready to run.
pub struct Programs {
    edgempi: PathBuf,
    /// What mpirun is to run.
    peer: Vec<PathBuf>,
    objects: bool,
}

/// Compiles both sides.
pub fn build(objects: bool) -> Result<Programs, Failure> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("versus");
    let peer = if objects {
        // The system's Python: it is the one that has the system's mpi4py.
        vec![PathBuf::from("/usr/bin/python3"), sources.join("peer_objects.py")]
    } else {
        let program = target_directory().join("peer_mpi");
        let mut compiler = Command::new("mpicc");
        compiler.arg("-O2").arg("-o").arg(&program).arg(sources.join("peer_mpi.c"));
        run(&mut compiler)?;
        vec![program]
    };
    Ok(Programs { edgempi: edgempi_tests::released("edgempi").to_owned(), peer, objects })
}

/// Beside this program.
fn target_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().map_or_else(std::env::temp_dir, Path::to_owned)
}

impl Programs {
    /// The lines that a library prints of so many ranks.
    pub fn measure(&self, library: Library, ranks: u32, max: u64) -> Result<String, Failure> {
        let mut command = match library {
            Library::OpenMpiTcp | Library::OpenMpiShared => {
                let layer = if library == Library::OpenMpiTcp { "tcp,self" } else { "vader,self" };
                let mut command = Command::new("mpirun");
                // As many ranks as wanted on however many processors, for whomever.
                command.args(["--allow-run-as-root", "--oversubscribe", "--mca", "btl", layer, "-np"]);
                command.arg(ranks.to_string()).args(&self.peer).arg(max.to_string());
                command
            }
            Library::EdgempiTcp | Library::Edgempi => {
                let mut command = Command::new(&self.edgempi);
                command.args(["bench", "-n", &ranks.to_string(), "--max", &max.to_string()]);
                command.env("EDGEMPI_PROTO", library.proto());
                let plain = "barrier,pingpong,bcast,reduce,allreduce,gather,scatter,allgather,alltoall";
                command.args(["--only", if self.objects { "object-allreduce,object-bcast" } else { plain }]);
                command
            }
        };
        run(&mut command)
    }

    /// Microseconds of a broadcast of `len` bytes between two ranks.
    pub fn broadcast(&self, library: Library, len: usize) -> Result<f64, Failure> {
        let mut command = Command::new(&self.edgempi);
        command.args(["bench", "-n", "2", "--only", "bcast", "--sizes", &len.to_string()]);
        command.env("EDGEMPI_PROTO", library.proto());
        let lines = run(&mut command)?;
        let line = lines.lines().find(|line| line.starts_with("bcast"));
        let median = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        median.ok_or_else(|| Failure::Failed(format!("edgempi prints no time: {lines}")))
    }
}

/// Runs a program to its end. Returns what it printed.
fn run(command: &mut Command) -> Result<String, Failure> {
    let name = Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("?")).display().to_string();
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if name != "edgempi" => {
                Failure::Missing(format!("{name} is not here: Debian has it in libopenmpi-dev and openmpi-bin"))
            }
            _ => Failure::Failed(format!("{name} can't be started: {error}")),
        })?;
    if !output.status.success() {
        return Err(Failure::Failed(format!("{name} failed: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes what a library printed to a file of its own.
pub fn keep(directory: &Path, library: Library, ranks: u32, turn: u32, lines: &str) -> Result<(), Failure> {
    let name = format!("{}-{ranks}-{turn}.txt", library.to_string().to_lowercase().replace(' ', "-"));
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(directory.join(name), lines));
    written.map_err(|error| Failure::Failed(format!("can't write to {}: {error}", directory.display())))
}
