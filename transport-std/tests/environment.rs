//! What a process makes of its environment.

use std::process::Command;

/// With this in its environment, this process joins a world of its own and says what it is warned of.
const CHILD: &str = "EDGEMPI_TEST_CHILD";

#[test]
fn a_misspelt_variable_is_warned_of_by_init() {
    if std::env::var_os(CHILD).is_some() {
        tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
        edgempi::init().wait().expect("a world of one").finalize().wait().expect("it ends");
        return;
    }
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    for variable in edgempi::config::SETTINGS.iter().flat_map(|setting| setting.variables) {
        child.env_remove(variable);
    }
    child.args(["--exact", "a_misspelt_variable_is_warned_of_by_init", "--nocapture"]).env(CHILD, "1");
    let output = child.env("EDGEMPI_SIZ", "3").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let warned = said.lines().filter(|line| line.contains("WARN") && line.contains("EDGEMPI_SIZ is no setting"));
    assert_eq!(warned.count(), 1, "{said}");
}
