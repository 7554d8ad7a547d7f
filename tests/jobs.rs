//! Whole jobs, as a user runs them: programs started by `edgempi run`, by mpirun or by hand.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use edgempi::{Builder, Error, Rank};
use edgempi_tests::job::{Ended, HubProcess, Process, command, free_port, program, rank, ranks, run, skipped};
use edgempi_tests::process::{self, rank_of};
use edgempi_tests::{edgempi, free_address, hosted};

// fedavg

/// What `edgempi run -n 4` of fedavg with its default settings ends with; run once for all tests.
fn four_ranks() -> &'static Ended {
    static ENDED: OnceLock<Ended> = OnceLock::new();
    ENDED.get_or_init(|| run(4, "fedavg", &[]).succeeded())
}

#[test]
fn fedavg_is_built_and_started_by_its_name() {
    let mut command = command(edgempi(), &["run", "-n", "4", "--example", "fedavg"]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).env("CARGO", env!("CARGO"));
    let ended = Process::start(command).end().succeeded();
    assert!(ended.accuracy() >= 90.0, "{ended:#?}");
    assert_eq!(ended.summary("ranks  "), "4");
    assert_eq!(ended.weights(), four_ranks().weights(), "the weights depend on who built the program");
}

#[test]
fn fedavg_ends_with_the_same_weights_every_time() {
    assert_eq!(run(4, "fedavg", &[]).succeeded().weights(), four_ranks().weights());
    assert_ne!(run(4, "fedavg", &["--seed", "2"]).succeeded().weights(), four_ranks().weights());
}

#[test]
fn a_hub_of_its_own_makes_no_difference_to_the_weights() {
    let hub = HubProcess::start(4, &[]);
    let mut command = command(edgempi(), &["run", "-n", "4"]);
    command.arg(program("fedavg")).env("EDGEMPI_ADDR", &hub.address);
    let ended = Process::start(command).end().succeeded();
    assert_eq!(ended.weights(), four_ranks().weights());
    hub.process.end().succeeded();
}

#[test]
fn fedavg_prints_a_line_a_round_and_a_summary_where_there_is_no_terminal() {
    let ended = four_ranks();
    let lines: Vec<_> =
        ended.stdout.lines().map(|line| line.strip_prefix("[0] ").expect("rank 0 alone talks")).collect();
    assert_eq!(lines.len(), 40 + 6, "{ended:#?}");
    for (number, line) in (1..).zip(&lines[..40]) {
        let rest = line.strip_prefix(&format!("round {number:2}/40: accuracy ")).unwrap_or_else(|| panic!("{line}"));
        let words: Vec<_> = rest.split(' ').collect();
        let [accuracy, "%,", "loss", loss, bytes, unit, "moved,", time, "ms"] = words[..] else { panic!("{line}") };
        let [accuracy, loss, bytes, time] =
            [accuracy, loss.trim_end_matches(','), bytes, time].map(|word| word.parse::<f64>().unwrap());
        assert!((50.0..=100.0).contains(&accuracy) && (0.0..3.0).contains(&loss), "{line}");
        // Up and down, one f32 a weight, and what frames and round 1 need more.
        let weights = f64::from(32 * (64 + 1) + 10 * (32 + 1) + 1);
        assert_eq!(unit, "kB");
        assert!((8.0 * weights..16.0 * weights).contains(&(bytes * 1e3)) && time > 0.0, "{line}");
    }
    let names = ["test accuracy ", "ranks ", "rounds ", "moved by rank 0 ", "total time ", "weights "];
    for (name, line) in names.iter().zip(&lines[40..]) {
        assert!(line.starts_with(name), "{line}");
    }
    assert_eq!(ended.stderr, "");
}

/// Whether `line` is what `shown` shows, where "…" stands for anything.
fn is_as_shown(line: &str, shown: &str) -> bool {
    let Some((begin, rest)) = shown.split_once('…') else { return line == shown };
    let Some(line) = line.strip_prefix(begin) else { return false };
    line.char_indices().any(|(at, _)| is_as_shown(&line[at..], rest)) || rest.is_empty()
}

#[test]
fn fedavg_prints_what_the_readme_shows() {
    let readme = include_str!("../README.md");
    let from = readme.find("[0] round  1/40").expect("README shows the first round");
    let shown: Vec<_> = readme[from..].lines().take_while(|line| *line != "```").collect();
    assert!(shown.len() > 8 && shown.contains(&"…"), "{shown:#?}");
    let mut printed = four_ranks().stdout.lines();
    let mut leaves_out = false;
    for line in shown {
        if line == "…" {
            leaves_out = true;
            continue;
        }
        let next = if leaves_out { printed.find(|printed| is_as_shown(printed, line)) } else { printed.next() };
        leaves_out = false;
        assert!(next.is_some_and(|next| is_as_shown(next, line)), "README has {line:?}, fedavg {next:?}");
    }
    assert_eq!(printed.next(), None);
}

#[test]
fn fedavg_in_one_place_is_for_rank_0_alone() {
    let ended = run(3, "fedavg", &["--central", "--rounds", "1"]).succeeded();
    assert_eq!(ended.stdout.lines().filter(|line| line.starts_with("[0] ")).count(), 4, "{ended:#?}");
    assert_eq!((ended.stdout.lines().count(), ended.stderr.as_str()), (4, ""), "{ended:#?}");
}

#[test]
fn examples_end_well_when_nobody_reads_their_output_any_more() {
    for (name, line) in [("fedavg", "[0] round  1/3: "), ("hello", "hello, world"), ("pair_reduce", "] R")] {
        let arguments = if name == "fedavg" { "--rounds 3" } else { "" };
        let (edgempi, program) = (edgempi().display(), program(name).display());
        let text = format!("{{ '{edgempi}' run -n 4 '{program}' {arguments}; echo code $? >&2; }} | head -n 1");
        let ended = Process::start(command("sh", &["-c", &text])).end();
        assert!(ended.stdout.contains(line) && ended.stdout.lines().count() == 1, "{ended:#?}");
        assert_eq!(ended.stderr, "code 0\n", "{name}");
    }
}

#[test]
fn fedavg_is_as_good_as_training_in_one_place() {
    let central = Process::start(command(program("fedavg"), &["--central"])).end().succeeded();
    let sixteen = run(16, "fedavg", &[]).succeeded();
    assert_eq!(sixteen.summary("ranks  "), "16");
    for together in [four_ranks(), &sixteen] {
        assert!(together.accuracy() >= 90.0, "{together:#?}");
        let (together, central) = (together.accuracy(), central.accuracy());
        assert!((together - central).abs() <= 1.5, "{together} % together, {central} % in one place");
    }
}

#[test]
fn fedavg_learns_from_ranks_that_see_few_digits_each() {
    let skewed = run(4, "fedavg", &["--split", "label-skew"]).succeeded();
    assert!(skewed.accuracy() >= 85.0, "{skewed:#?}");
    assert_ne!(skewed.weights(), four_ranks().weights());
    let ended = run(16, "fedavg", &["--split", "label-skew", "--rounds", "5"]).succeeded();
    assert_eq!(ended.stdout.lines().filter(|line| line.starts_with("[ 0] round ")).count(), 5, "{ended:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn fedavg_shows_a_bar_on_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        skipped("fedavg_shows_a_bar_on_a_terminal: no program `script` to make a terminal");
        return;
    }
    let text = format!("stty cols 80; exec '{}' --rounds 3", program("fedavg").display());
    let ended = Process::start(command("script", &["-q", "-e", "-c", &text, "/dev/null"])).end().succeeded();
    let last =
        ended.stdout.split(['\r', '\n']).rfind(|line| line.contains("█")).unwrap_or_else(|| panic!("{ended:#?}"));
    assert!(last.contains("█ 3/3 accuracy ") && last.contains(" ms"), "{ended:#?}");
    assert!(!ended.stdout.contains("round  1/3"), "{ended:#?}");
    assert!(ended.accuracy() > 50.0);
}

#[test]
fn ranks_with_other_options_are_told_on_both_sides() {
    let hub = HubProcess::start(2, &[]);
    let ranks = [
        rank(&hub.address, 0, 2, "fedavg", &["--hidden", "8"]),
        rank(&hub.address, 1, 2, "fedavg", &["--hidden", "16"]),
    ];
    for process in ranks {
        let ended = process.end();
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        let said = &ended.stderr;
        assert!(said.contains("rank 0") && said.contains("rank 1") && said.contains(".rs:"), "{ended:#?}");
    }
    let said = hub.process.end().succeeded().stderr;
    assert!(said.contains("0 of 2 ranks finished"), "{said}");
}

// Other launchers

#[test]
fn slurm_tells_a_rank_who_it_is() {
    let port = free_port().to_string();
    let ranks = ["0", "1", "2"].map(|number| {
        let mut command = command(program("pair_reduce"), &[]);
        command.env("SLURM_NTASKS", "3").env("SLURM_PROCID", number).env("EDGEMPI_PORT", &port);
        Process::start(command)
    });
    let said = ranks.map(|rank| rank.end().succeeded().stdout);
    assert_eq!(said, ["R0: 1\n", "R1: None\n", "R2: 2\n"]);
}

#[test]
fn mpirun_starts_a_job() {
    if let Err(error) = Command::new("mpirun").arg("--version").output() {
        let required = std::env::var_os("EDGEMPI_REQUIRE_MPIRUN").is_some_and(|value| value == "1");
        assert!(!required, "EDGEMPI_REQUIRE_MPIRUN=1, and there is no mpirun: {error}");
        skipped(format_args!("mpirun_starts_a_job: no mpirun ({error}); it is in Debian's package openmpi-bin"));
        return;
    }
    let mut command = command("mpirun", &["-np", "4"]);
    command.arg(program("fedavg")).env("EDGEMPI_PORT", free_port().to_string());
    // Open MPI wants to be asked before it runs as root, or more ranks than there are cores (version 4, version 5).
    for variable in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"] {
        command.env(variable, "1");
    }
    command.env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    let ended = Process::start(command).end().succeeded();
    assert_eq!(ended.summary("ranks  "), "4");
    assert_eq!(ended.weights(), four_ranks().weights());
}

// The other examples

#[test]
fn hello_says_hello_on_any_number_of_ranks() {
    for size in [1, 2, 4, 5] {
        let ended = run(size, "hello", &[]).succeeded();
        let sum: u32 = (0..size).sum();
        let of_rank = |rank: u32| {
            let mut lines = vec![
                format!("[{rank}] hello, world: this is rank {rank} of {size}"),
                format!("[{rank}] rank {rank} worked out 2999997 while the ranks were added up: {sum}"),
            ];
            lines.extend((rank == 1).then(|| r#"[1] rank 1 received ("a pair", 42) from rank 0"#.to_owned()));
            lines
        };
        let mut expected: Vec<_> = (0..size).flat_map(of_rank).collect();
        expected.sort_unstable();
        assert_eq!(ended.sorted(), expected);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn pair_reduce_gives_the_lower_rank_of_each_pair_the_sum() {
    let ended = run(4, "pair_reduce", &[]).succeeded();
    assert_eq!(ended.sorted(), ["[0] R0: 1", "[1] R1: None", "[2] R2: 5", "[3] R3: None"]);
    let ended = run(5, "pair_reduce", &[]).succeeded();
    assert_eq!(ended.sorted(), ["[0] R0: 1", "[1] R1: None", "[2] R2: 5", "[3] R3: None", "[4] R4: 4"]);
}

#[test]
fn operations_of_ones_own_run_on_any_number_of_ranks() {
    for size in [1, 2, 4, 5] {
        for (name, said) in [
            ("own_reduce", "from ".to_owned()),
            ("own_fold", format!("the first mean of {size} ranks is ")),
            ("tree_allreduce", format!("the tree over {size} ranks adds up as the hub does: ")),
            ("own_hub", format!("rank 0: operation \"withdraw\" failed: {}000 were asked for", size)),
        ] {
            let ended = run(size, name, &[]).succeeded();
            let lines = ended.sorted();
            assert!(lines.len() == 1 && lines[0].contains(&said), "{name}: {ended:#?}");
            assert_eq!(ended.stderr, "", "{name}");
        }
    }
}

#[test]
fn a_hub_of_ones_own_starts_its_ranks_and_ends() {
    for size in ["1", "2", "4", "5"] {
        let ended = Process::start(command(program("own_hub"), &[size])).end().succeeded();
        let refused = format!("rank 0: operation \"withdraw\" failed: {size}000 were asked for and 900 are left; rank");
        assert!(ended.stdout.starts_with(&refused), "{ended:#?}");
        assert!(ended.stdout.ends_with(&format!("\nhub: {size} ranks have finished\n")), "{ended:#?}");
    }
}

#[test]
fn an_operation_that_a_hub_of_its_own_does_not_know_fails_by_name() {
    let hub = HubProcess::start(2, &[]);
    for process in ranks(&hub.address, 2, "pair_reduce", &[]) {
        let ended = process.end();
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(ended.stderr.contains("pair_reduce"), "{ended:#?}");
    }
    hub.process.end();
}

// Ranks that fail

#[test]
fn a_rank_that_is_killed_fails_the_others_by_name_and_the_job_with_its_code() {
    let text = format!("echo process $$; exec '{}' --rounds 1000000", program("fedavg").display());
    for victim in [0, 2] {
        let mut job = Process::start(command(edgempi(), &["run", "-n", "3", "--grace", "50s", "sh", "-c", &text]));
        job.line("[0] round ");
        let victim_line = format!("[{victim}] process ");
        let process = job.ended.stdout.lines().find_map(|line| line.strip_prefix(&victim_line)).unwrap().to_owned();
        assert!(Command::new("kill").args(["-s", "KILL", &process]).status().unwrap().success());
        let begun = Instant::now();
        let ended = job.end();
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
        assert_eq!(ended.code, Some(128 + 9), "{ended:#?}");
        // The others may have ended before the launcher heard of the first.
        let said = format!("edgempi: rank {victim} was ended by SIGKILL (signal 9); ");
        assert!(ended.stderr.lines().any(|line| line.starts_with(&said)), "{ended:#?}");
        let said = |rank: u32, why: &str| {
            let said = format!("[{rank}] fedavg: {why}");
            ended.stderr.lines().any(|line| line.starts_with(&said))
        };
        let (dead, gone) = ("rank 2 has failed: ", "disconnected from the hub: ");
        match victim {
            // The hub has gone with it.
            0 => assert!(said(1, gone) && said(2, gone), "{ended:#?}"),
            // Rank 0 ends of that, and the hub with it; rank 1 may still have been training.
            _ => assert!(said(0, dead) && (said(1, dead) || said(1, gone)), "{ended:#?}"),
        }
    }
}

#[test]
fn ranks_that_wait_for_one_that_never_comes_are_told_which_by_a_hub_that_then_ends() {
    let port = free_port().to_string();
    let ranks = ["0", "1", "2"].map(|number| {
        let mut command = command(program("hello"), &[]);
        command.env("EDGEMPI_SIZE", "4").env("EDGEMPI_RANK", number);
        command.env("EDGEMPI_PORT", &port).env("EDGEMPI_WAIT", "1s");
        Process::start(command)
    });
    for rank in ranks {
        let ended = rank.end();
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(ended.stderr.starts_with("Error: RankFailed: rank 3 "), "{ended:#?}");
    }
}

#[test]
fn a_rank_0_that_panics_is_named_by_its_hub_before_that_ends_with_it() {
    let hub = free_address();
    let mut host = process::Process::start(rank_of(Path::new(env!("CARGO_BIN_EXE_rank")), hub, 2, 0));
    let world = Builder::new().config(hosted(hub, 2, 1)).init().wait().unwrap();
    assert_eq!(host.hear(), "joined");
    let waiting = world.comm().recv::<u8>(0, 99);
    host.say("panic");
    match waiting.wait() {
        Err(Error::RankFailed { ranks, .. }) => assert_eq!(ranks, [Rank::new(0)]),
        other => panic!("{other:?}"),
    }
    assert_eq!(host.end().0.code(), Some(101));
}

#[test]
fn a_rank_that_refuses_its_options_stops_the_job() {
    let text = format!("[ $EDGEMPI_RANK = 1 ] && set -- --hidden 7; exec '{}' \"$@\"", program("fedavg").display());
    let ended = Process::start(command(edgempi(), &["run", "-n", "3", "--grace", "100ms", "sh", "-c", &text])).end();
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    assert!(ended.stderr.contains("edgempi: rank 1 exited with code 2; stopping the others"), "{ended:#?}");
    assert!(ended.stderr.contains("[1] error: invalid value '7' for '--hidden"), "{ended:#?}");
}
