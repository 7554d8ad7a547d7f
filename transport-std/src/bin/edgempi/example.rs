//! Finds and builds an example of the cargo project in the current directory.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use serde::Deserialize;

/// Which example, and how to build it.
#[derive(Debug)]
pub struct Example<'a> {
    pub name: &'a str,
    pub package: Option<&'a str>,
    pub features: &'a [String],
    /// The profile; if none, the one that this command was built with.
    pub profile: Option<&'a str>,
}

/// Why there is no program to start.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    #[error("can't start {}: {error}; set CARGO to its path", cargo().display())]
    NoCargo { error: io::Error },
    #[error("can't look for examples: `cargo metadata` failed; go to the directory of a cargo project")]
    NoProject,
    #[error("can't read what cargo says: {error}")]
    Unreadable { error: serde_json::Error },
    #[error("no example `{name}` here; {}", listed(.known))]
    Unknown { name: String, known: Vec<String> },
    #[error("several packages have an example `{name}`; choose one with --package: {}", .packages.join(", "))]
    Ambiguous { name: String, packages: Vec<String> },
    #[error("cargo could not build example `{name}` ({status})")]
    Build { name: String, status: ExitStatus },
    #[error("cargo built example `{name}` but does not say where; is its crate-type a library?")]
    NoExecutable { name: String },
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "the project has no examples".into() } else { format!("there are: {}", known.join(", ")) }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Target {
    fn is_example(&self) -> bool {
        self.kind.iter().any(|kind| kind == "example")
    }
}

/// A line of what `cargo build` says.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

impl Example<'_> {
    /// Builds the example with cargo, and gives the path of its program.
    pub fn build(&self) -> Result<PathBuf, ExampleError> {
        let mut command = Command::new(cargo());
        command.args(["build", "--message-format=json-render-diagnostics"]);
        // The package is always named: cargo looks only in the current one, and the features of no other should count.
        command.args(["--package", &self.package_id()?, "--example", self.name]);
        command.args(["--profile", self.profile.unwrap_or(if cfg!(debug_assertions) { "dev" } else { "release" })]);
        for features in self.features {
            command.args(["--features", features]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| ExampleError::NoCargo { error })?;
        let mut program = None;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(Message { target: Some(target), executable: Some(executable) }) = serde_json::from_str(&line)
                    && target.is_example()
                    && target.name == self.name
                {
                    program = Some(executable);
                }
            }
        }
        let status = child.wait().map_err(|error| ExampleError::NoCargo { error })?;
        let name = self.name.to_owned();
        if !status.success() {
            return Err(ExampleError::Build { name, status });
        }
        program.ok_or(ExampleError::NoExecutable { name })
    }

    /// The id of the package of this workspace that has the example.
    fn package_id(&self) -> Result<String, ExampleError> {
        self.choose(metadata()?, &std::env::current_dir().unwrap_or_default())
    }

    /// The package with the example; of several the one that `directory` belongs to.
    fn choose(&self, metadata: Metadata, directory: &Path) -> Result<String, ExampleError> {
        let examples =
            |package: &Package| package.targets.iter().any(|target| target.is_example() && target.name == self.name);
        let mut packages = metadata.packages;
        packages.retain(|package| self.package.is_none_or(|name| package.name == name));
        let mut known: Vec<_> = packages
            .iter()
            .flat_map(|package| &package.targets)
            .filter(|target| target.is_example())
            .map(|target| target.name.clone())
            .collect();
        known.sort();
        known.dedup();
        packages.retain(examples);
        let belongs =
            |package: &&Package| package.manifest_path.parent().is_some_and(|root| directory.starts_with(root));
        let depth = |package: &&Package| package.manifest_path.components().count();
        match packages.as_slice() {
            [] => Err(ExampleError::Unknown { name: self.name.to_owned(), known }),
            [package] => Ok(package.id.clone()),
            several => {
                several.iter().filter(belongs).max_by_key(depth).map(|package| package.id.clone()).ok_or_else(|| {
                    let packages = several.iter().map(|package| package.name.clone()).collect();
                    ExampleError::Ambiguous { name: self.name.to_owned(), packages }
                })
            }
        }
    }
}

/// The folder of the cargo workspace here.
pub fn workspace() -> Result<PathBuf, ExampleError> {
    metadata().map(|metadata| metadata.workspace_root)
}

fn metadata() -> Result<Metadata, ExampleError> {
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| ExampleError::NoCargo { error })?;
    if !output.status.success() {
        return Err(ExampleError::NoProject);
    }
    serde_json::from_slice(&output.stdout).map_err(|error| ExampleError::Unreadable { error })
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let package = |name: &str, root: &str, examples: &[&str]| Package {
            id: format!("id of {name}"),
            name: name.into(),
            manifest_path: Path::new(root).join("Cargo.toml"),
            targets: examples
                .iter()
                .map(|name| Target { name: (*name).into(), kind: vec!["example".into()] })
                .chain([Target { name: name.into(), kind: vec!["lib".into()] }])
                .collect(),
        };
        Metadata {
            workspace_root: "/w".into(),
            packages: vec![
                package("outer", "/w", &["hello", "ring"]),
                package("inner", "/w/inner", &["hello"]),
                package("other", "/w/other", &["hello", "pi"]),
            ],
        }
    }

    fn choose(name: &str, package: Option<&str>, directory: &str) -> Result<String, String> {
        let example = Example { name, package, features: &[], profile: None };
        example.choose(metadata(), Path::new(directory)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_one_package_with_the_example() {
        assert_eq!(choose("pi", None, "/w/inner").as_deref(), Ok("id of other"));
        assert_eq!(choose("hello", Some("other"), "/w/inner").as_deref(), Ok("id of other"));
    }

    #[test]
    fn of_several_packages_the_current_one() {
        assert_eq!(choose("hello", None, "/w/inner/src").as_deref(), Ok("id of inner"));
        assert_eq!(choose("hello", None, "/w").as_deref(), Ok("id of outer"));
        let error = "several packages have an example `hello`; choose one with --package: outer, inner, other";
        assert_eq!(choose("hello", None, "/elsewhere"), Err(error.into()));
    }

    #[test]
    fn an_unknown_example_lists_the_known_ones() {
        assert_eq!(choose("inner", None, "/w"), Err("no example `inner` here; there are: hello, pi, ring".into()));
        assert_eq!(choose("x", Some("y"), "/w"), Err("no example `x` here; the project has no examples".into()));
    }
}
