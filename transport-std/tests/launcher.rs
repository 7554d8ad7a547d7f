//! The command `edgempi` from outside: `run`, `config` and what `bench` refuses, with shell scripts as programs.
#![cfg(unix)]

mod lines;

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lines::Lines;

/// Nothing here takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command, in an environment without settings of ours or of another launcher.
fn edgempi(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgempi"));
    for setting in edgempi::config::SETTINGS {
        for variable in setting.variables {
            command.env_remove(variable);
        }
    }
    for variable in ["RUST_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    // What is for the tests alone.
    for variable in edgempi::config::unknown_variables() {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// The command that runs `script` on each of `ranks` ranks.
fn script(ranks: u32, options: &[&str], script: &str) -> Command {
    edgempi(&[&["run", "-n", &ranks.to_string()], options, &["sh", "-c", script]].concat())
}

fn run(ranks: u32, options: &[&str], text: &str) -> Output {
    script(ranks, options, text).output().unwrap()
}

/// Starts ranks that each print a line when they are ready, and waits for those lines.
fn start(ranks: u32, options: &[&str], text: &str) -> (Child, Lines) {
    let mut child = script(ranks, options, text).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = Lines::of(child.stdout.take().unwrap());
    for _ in 0..ranks {
        lines.with("");
    }
    (child, lines)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What else is said, until the end.
#[track_caller]
fn rest(mut lines: Lines) -> String {
    let deadline = Instant::now() + PATIENCE;
    std::iter::from_fn(|| lines.next(deadline, "the end")).map(|line| line + "\n").collect()
}

fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Sends a signal; signal 0 only asks whether the process exists.
fn signal(process: u32, name: &str) -> bool {
    let command = format!("kill -s {name} {process}");
    Command::new("sh").args(["-c", &command]).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn ranks_learn_who_they_are() {
    let output = run(3, &[], "echo $EDGEMPI_RANK of $EDGEMPI_SIZE");
    assert_eq!(sorted_lines(&stdout(&output)), ["[0] 0 of 3", "[1] 1 of 3", "[2] 2 of 3"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn ranks_share_a_free_port_unless_the_user_says_where_the_hub_is() {
    let text = "echo ${EDGEMPI_PORT:-none}";
    let output = stdout(&run(3, &["--no-prefix"], text));
    let ports: Vec<u16> = output.lines().map(|line| line.parse().unwrap()).collect();
    assert!(ports.len() == 3 && ports.iter().all(|port| *port == ports[0] && *port != 0), "{output}");
    let output = script(1, &[], text).env("EDGEMPI_ADDR", "hub.example").output().unwrap();
    assert_eq!(stdout(&output), "[0] none\n");
    let output = script(1, &[], text).env("EDGEMPI_PORT", "7000").output().unwrap();
    assert_eq!(stdout(&output), "[0] 7000\n");
}

#[test]
fn a_job_that_a_rank_starts_has_a_port_of_its_own() {
    let text = format!(
        "echo $EDGEMPI_PORT; {} run --no-prefix -n 2 sh -c 'echo $EDGEMPI_PORT'",
        env!("CARGO_BIN_EXE_edgempi")
    );
    let output = stdout(&run(2, &["--no-prefix"], &text));
    let mut ports: Vec<u16> = output.lines().map(|line| line.parse().unwrap()).collect();
    ports.sort_unstable();
    ports.dedup();
    // That of the outer job, and one for each of the two inner ones.
    assert_eq!((output.lines().count(), ports.len()), (6, 3), "{output}");
}

#[test]
fn ranks_that_end_because_another_could_not_be_started_have_not_failed() {
    let text = format!("ulimit -n 60; exec {} run -n 100 sleep 60", env!("CARGO_BIN_EXE_edgempi"));
    let output = Command::new("sh").args(["-c", &text]).output().unwrap();
    let (code, said) = (output.status.code(), stderr(&output));
    assert_eq!((code, said.lines().count()), (Some(126), 1), "{said}");
    assert!(said.contains("can't start rank ") && said.contains("of `sleep`"), "{said}");
}

#[test]
fn only_rank_0_gets_the_input() {
    let mut command = edgempi(&["run", "-n", "2", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert_eq!(stdout(&child.wait_with_output().unwrap()), "[0] hello\n");
}

#[test]
fn lines_begin_with_their_rank_and_are_never_mixed() {
    let text = "for i in 1 2 3 4 5 6 7 8 9; do printf 'one '; printf 'two\\n'; printf three >&2; echo >&2; done; \
                printf end";
    let output = run(11, &[], text);
    let of_all = |text: &str, times: usize| -> Vec<String> {
        (0..11).flat_map(|rank| vec![format!("[{rank:2}] {text}"); times]).collect()
    };
    let mut expected = [of_all("one two", 9), of_all("end", 1)].concat();
    expected.sort_unstable();
    assert_eq!(sorted_lines(&stdout(&output)), expected);
    assert_eq!(sorted_lines(&stderr(&output)), of_all("three", 9));
}

#[test]
fn bytes_that_are_not_text_pass_unharmed() {
    let output = run(1, &[], r"printf 'a\377\033[1mb\r\n'");
    assert_eq!(output.stdout, b"[0] a\xff\x1b[1mb\r\n");
}

#[test]
fn prefixes_have_colour_where_it_is_asked_for() {
    let output = edgempi(&["run", "-n", "1", "echo", "x"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert_eq!(stdout(&output), "\u{1b}[36m[0]\u{1b}[0m x\n");
}

#[test]
fn without_prefix_output_passes_straight_through() {
    let output = run(2, &["--no-prefix"], "printf x; printf y >&2");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"xx"[..], &b"yy"[..]));
}

#[test]
fn arguments_reach_the_program() {
    let output = edgempi(&["run", "-n", "1", "printf", "%s|", "--grace", "a b", "-n", "--"]).output().unwrap();
    assert_eq!(stdout(&output), "[0] --grace|a b|-n|--|\n");
}

#[test]
fn the_code_of_the_first_rank_that_fails_is_ours() {
    // Rank 1 fails only when it is told to end, which happens because rank 2 failed. It says so when it can be told.
    let fifo = tempfile::tempdir().unwrap();
    let path = fifo.path().join("ready");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let text = format!(
        "case $EDGEMPI_RANK in 1) trap 'exit 9' TERM; echo > {0}; while :; do sleep 0.05; done;; \
         2) read line < {0}; exit 3;; esac",
        path.display()
    );
    let output = run(3, &["--grace", "200ms"], &text);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = stderr(&output);
    let said = said.replace("; rank 0 had ended before, with code 0", "");
    let expected = ["rank 2 exited with code 3; stopping the others", "still running after 200ms: rank 1; ending them"];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected.map(|line| format!("edgempi: {line}")));
}

/// It may have been the cause: a rank that ends without finalize() fails the others.
#[test]
fn a_rank_that_ended_well_before_the_others_failed_is_told() {
    let output = run(3, &[], "[ $EDGEMPI_RANK = 1 ] || { sleep 0.5; exit 1; }");
    let said = stderr(&output);
    assert!(said.ends_with(" failed too; rank 1 had ended before, with code 0\n"), "{said}");
}

#[test]
fn the_number_of_ranks_may_be_said_as_for_mpirun() {
    let output = edgempi(&["run", "-np", "2", "sh", "-c", "echo $1", "sh", "-np"]).output().unwrap();
    assert_eq!(stdout(&output).lines().filter(|line| line.ends_with("-np")).count(), 2, "{output:?}");
}

#[test]
fn a_rank_that_fails_by_a_signal() {
    let output = run(1, &[], "kill -s KILL $$");
    assert_eq!(output.status.code(), Some(128 + 9));
    assert_eq!(stderr(&output), "edgempi: rank 0 was ended by SIGKILL (signal 9)\n");
}

#[test]
fn ranks_may_end_by_themselves_within_the_grace_time() {
    let mut command = script(2, &["--grace", "1h"], "[ $EDGEMPI_RANK = 1 ] && exit 1; read line; echo noticed");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = Lines::of(child.stderr.take().unwrap());
    assert_eq!(said.with(""), "edgempi: rank 1 exited with code 1; stopping the others");
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), "[0] noticed\n"));
    assert_eq!(rest(said), "");
}

#[test]
fn nobody_stays_behind_when_a_rank_fails() {
    let begun = Instant::now();
    let output = run(4, &["--grace", "200ms"], "[ $EDGEMPI_RANK = 1 ] && exit 1; echo $$; exec sleep 1000");
    assert_eq!(output.status.code(), Some(1));
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(stdout(&output).lines().count(), 3);
    for line in stdout(&output).lines() {
        let (_, process) = line.split_once(' ').unwrap();
        assert!(!signal(process.parse().unwrap(), "0"), "{line}");
    }
}

#[test]
fn a_rank_that_ignores_sigterm_is_killed() {
    let begun = Instant::now();
    let output = run(2, &["--grace", "100ms"], "[ $EDGEMPI_RANK = 0 ] && exit 5; trap '' TERM; exec sleep 1000");
    assert_eq!(output.status.code(), Some(5));
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn sigterm_passes_on() {
    let text = "trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut child, lines) = start(2, &["--grace", "1h"], text);
    signal(child.id(), "TERM");
    assert_eq!(sorted_lines(&rest(lines)), ["[0] told", "[1] told"]);
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(128 + 15), None));
}

#[test]
fn an_interrupt_ends_all_ranks() {
    // Only the launcher gets this signal, as if there were no terminal.
    let (mut child, lines) = start(2, &["--grace", "100ms"], "echo ready; exec sleep 1000");
    signal(child.id(), "INT");
    assert_eq!(rest(lines), "");
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
}

#[test]
fn a_second_signal_kills() {
    let (mut child, lines) = start(2, &["--grace", "1h"], "trap '' INT TERM HUP; echo ready; exec sleep 1000");
    // Two signals that come together count as one, so ask until it is heard.
    while child.try_wait().unwrap().is_none() {
        signal(child.id(), "TERM");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(rest(lines), "");
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

#[cfg(target_os = "linux")]
#[test]
fn nohup_is_respected() {
    let launcher = env!("CARGO_BIN_EXE_edgempi");
    let text = format!("trap '' HUP; exec '{launcher}' run -n 1 sh -c 'echo ready; read line; echo done'");
    let mut command = Command::new("sh");
    let mut child = command.args(["-c", &text]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = Lines::of(child.stdout.take().unwrap());
    lines.with("ready");
    signal(child.id(), "HUP");
    drop(child.stdin.take());
    assert_eq!((rest(lines).as_str(), child.wait().unwrap().code()), ("[0] done\n", Some(0)));
}

#[test]
fn a_process_left_behind_does_not_hold_the_launcher() {
    let begun = Instant::now();
    let output = run(1, &[], "sleep 1000 & echo $!");
    assert_eq!(output.status.code(), Some(0));
    assert!(begun.elapsed() < PATIENCE);
    let text = stdout(&output);
    assert!(signal(text.trim().split_once(' ').unwrap().1.parse().unwrap(), "KILL"));
}

#[test]
fn a_closed_output_ends_the_ranks() {
    let (mut child, lines) = start(1, &[], "while :; do echo again || exit 1; done");
    drop(lines);
    assert_ne!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_unknown_program_is_named() {
    let output = edgempi(&["run", "-n", "2", "no-such-program"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(stderr(&output).starts_with("edgempi: can't start `no-such-program`: no such program"), "{output:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_without_its_interpreter_is_not_called_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    std::fs::write(&path, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = edgempi(&["run", "-n", "2", path.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(126));
    assert!(stderr(&output).starts_with("edgempi: can't start rank 0 of `"), "{output:?}");
}

#[test]
fn no_ranks_or_no_program_is_a_wrong_use() {
    for arguments in [&["run", "-n", "0", "true"][..], &["run", "-n", "1"], &["run", "true"]] {
        assert_eq!(edgempi(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

/// A cargo project with one example, `hello`.
fn project() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("Cargo.toml", "[package]\nname = \"project\"\nedition = \"2021\"\n[workspace]\n");
    write("src/lib.rs", "");
    write("examples/hello.rs", "fn main() { println!(\"{:?}\", std::env::args().skip(1).collect::<Vec<_>>()) }");
    directory
}

fn in_project(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = edgempi(arguments);
    for variable in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        command.env_remove(variable);
    }
    command.current_dir(directory).env("CARGO", env!("CARGO")).output().unwrap()
}

#[test]
fn an_example_is_built_and_started() {
    let directory = project();
    let output = in_project(directory.path(), &["run", "-n", "2", "--example", "hello", "--", "--rounds", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(sorted_lines(&stdout(&output)), ["[0] [\"--rounds\", \"3\"]", "[1] [\"--rounds\", \"3\"]"]);
    assert!(stderr(&output).contains("Compiling project"), "cargo speaks to the user: {}", stderr(&output));
}

#[test]
fn an_unknown_example_is_named_beside_the_known_ones() {
    let directory = project();
    let output = in_project(directory.path(), &["run", "-n", "2", "--example", "hallo"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "edgempi: no example `hallo` here; there are: hello\n");
}

#[test]
fn an_example_that_does_not_compile_is_not_started() {
    let directory = project();
    std::fs::write(directory.path().join("examples/hello.rs"), "fn main() { nonsense }").unwrap();
    let output = in_project(directory.path(), &["run", "-n", "2", "--example", "hello"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(stderr(&output).contains("cannot find value `nonsense`"), "{}", stderr(&output));
    assert!(stderr(&output).contains("edgempi: cargo could not build example `hello`"), "{}", stderr(&output));
}

#[test]
fn config_shows_values_and_where_they_come_from() {
    let output = edgempi(&["config"]).env("PMI_SIZE", "4").env("PMI_RANK", "3").output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let text = stdout(&output);
    let row = |variable: &str| -> Vec<&str> {
        text.lines().find(|line| line.starts_with(variable)).unwrap().split_whitespace().collect()
    };
    assert_eq!(row("EDGEMPI_SIZE")[..3], ["EDGEMPI_SIZE", "4", "PMI_SIZE"]);
    assert_eq!(row("EDGEMPI_RANK")[..3], ["EDGEMPI_RANK", "3", "PMI_RANK"]);
    assert_eq!(row("EDGEMPI_PORT")[..3], ["EDGEMPI_PORT", "61642", "default"]);
    assert_eq!(text.lines().count(), 1 + edgempi::config::SETTINGS.len());
}

#[test]
fn config_shows_the_other_rows_beside_a_bad_one() {
    let output = edgempi(&["config"]).env("EDGEMPI_WAIT", "soon").env("EDGEMPI_PORT", "-1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output).lines().count(), 1 + edgempi::config::SETTINGS.len());
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("edgempi: EDGEMPI_PORT=-1: expected a port from 1 to 65535\n"), "{text}");
    assert!(text.contains("edgempi: EDGEMPI_WAIT=soon: expected a duration"), "{text}");
}

#[test]
fn config_finds_settings_that_do_not_fit_together() {
    let output = edgempi(&["config"]).env("EDGEMPI_SIZE", "4").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("edgempi: EDGEMPI_SIZE=4 but nothing says which rank this is"), "{output:?}");
}

#[test]
fn config_warns_of_variables_that_are_no_settings() {
    let output = edgempi(&["config"]).env("EDGEMPI_SIZ", "4").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).starts_with("edgempi: EDGEMPI_SIZ is no setting and has no effect"), "{output:?}");
}

/// What `edgempi bench` with these arguments says before it gives up.
fn refused_bench(arguments: &[&str]) -> String {
    let output = edgempi(&[&["bench"], arguments].concat()).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), String::new()), "{output:?}");
    stderr(&output)
}

#[test]
fn a_bench_with_nothing_to_measure_says_why() {
    for ranks in [&["-n", "1"][..], &[]] {
        let said = refused_bench(&[ranks, &["--only", "pingpong"]].concat());
        assert!(said.starts_with("edgempi: there is nothing to measure: pingpong is between two ranks"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn figures_of_another_library_that_can_not_be_read_are_named_once() {
    let directory = tempfile::tempdir().unwrap();
    let figures = directory.path().join("figures.txt");
    std::fs::write(&figures, "barrier two 0 1.5 2.5\n").unwrap();
    let said = refused_bench(&["-n", "2", "--only", "barrier", "--beside", figures.to_str().unwrap()]);
    assert!(said.starts_with("edgempi: `") && said.contains("line 1"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_picture_that_can_not_be_written_is_refused_before_anything_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("missing").join("bench.svg");
    let said = refused_bench(&["-n", "2", "--only", "barrier", "--plot", picture.to_str().unwrap()]);
    assert!(said.starts_with("edgempi: can't write the picture to `"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn figures_of_another_number_of_ranks_are_no_ratios_and_not_in_the_picture() {
    let directory = tempfile::tempdir().unwrap();
    let (figures, picture) = (directory.path().join("figures.txt"), directory.path().join("bench.svg"));
    let arguments =
        ["bench", "-n", "2", "--only", "pingpong", "--sizes", "8", "--beside", figures.to_str().unwrap(), "--plot"];
    for (line, has_pair) in [("pingpong 2 8 1.5 2.5\n", true), ("pingpong 4 8 1.5 2.5\n", false)] {
        std::fs::write(&figures, format!("{line}allreduce 2 8 1.5 2.5\n")).unwrap();
        let output = edgempi(&[&arguments[..], &[picture.to_str().unwrap()]].concat()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let drawn = std::fs::read_to_string(&picture).unwrap();
        assert_eq!(drawn.contains("pingpong, other"), has_pair, "{line}");
        assert!(!drawn.contains("allreduce"), "what was not measured has no place in the picture");
        assert_eq!(stderr(&output).contains("there are no ratios"), !has_pair, "{output:?}");
    }
}
