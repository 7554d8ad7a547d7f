//! What a process makes of its environment.

use std::process::{Command, Output};

use edgempi::Error;

/// With this in its environment, this process is a program, and not a test: its name.
const CHILD: &str = "EDGEMPI_TEST_CHILD";

/// What comes of the program in the test of this `name`, with no other settings than these.
fn run(name: &str, program: &str, settings: &[(&str, &str)]) -> Output {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    for variable in edgempi::config::SETTINGS.iter().flat_map(|setting| setting.variables) {
        child.env_remove(variable);
    }
    child.args(["--exact", name, "--nocapture"]).env(CHILD, program);
    child.envs(settings.iter().copied()).output().expect("it runs")
}

#[test]
fn a_misspelt_variable_is_warned_of_by_init() {
    if let Ok(program) = std::env::var(CHILD) {
        if program == "logging" {
            tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
        }
        edgempi::init().wait().expect("a world of one").finalize().wait().expect("it ends");
        return;
    }
    for (program, begins) in [("logging", "20"), ("silent", "edgempi: EDGEMPI_SIZ ")] {
        let output = run("a_misspelt_variable_is_warned_of_by_init", program, &[("EDGEMPI_SIZ", "3")]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let warned = said.lines().filter(|line| line.starts_with(begins) && line.contains("EDGEMPI_SIZ is no setting"));
        assert_eq!(warned.count(), 1, "{program}: {said}");
        assert!(said.contains("is EDGEMPI_SIZE meant?"), "{said}");
    }
    // What is like none of ours is the program's.
    let output = run("a_misspelt_variable_is_warned_of_by_init", "silent", &[("EDGEMPI_USERS", "3")]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("EDGEMPI_USERS"), "{output:?}");
}

#[test]
fn a_rank_alone_heeds_what_its_environment_says_of_threads() {
    if std::env::var_os(CHILD).is_some() {
        let alone = edgempi::comm_self().expect("a world of one");
        let end = alone.recv::<u8>(0, 7).wait().map(drop);
        assert!(matches!(end, Err(Error::Deadlock { .. })), "{end:?}");
        return;
    }
    // Beside the one that waits there is the thread that runs the tests.
    let settings = [("EDGEMPI_THREADS", "single")];
    let output = run("a_rank_alone_heeds_what_its_environment_says_of_threads", "alone", &settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let output = run("a_rank_alone_heeds_what_its_environment_says_of_threads", "alone", &[("EDGEMPI_THREADS", "no")]);
    assert!(!output.status.success(), "it says what is wrong");
}
