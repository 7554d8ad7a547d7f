//! What the tests have in common: the programs under test, and how to run several as one world.

pub mod emulator;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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
