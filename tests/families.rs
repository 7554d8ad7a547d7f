//! The examples of each family of calls, in worlds of 1, 2, 4 and 5 ranks. Those of `hello` and of operations of one's own
//! are in `jobs.rs`, with whole jobs.
#![cfg(unix)]

use edgempi_tests::job::run;

#[test]
fn requests() {
    for (size, taken_back) in [(1, 0), (2, 1), (4, 1), (5, 1)] {
        let ended = run(size, "requests", &[]).succeeded();
        let said = format!("[0] {size} news, {taken_back} receive taken back, the ring is back after {size} turns\n");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (said.as_str(), ""), "{ended:#?}");
    }
}

#[test]
fn collectives() {
    for size in [1, 2, 4, 5] {
        let ended = run(size, "collectives", &[]).succeeded();
        let said = format!("[0] {} numbers in order, in {size} ranges\n", 1000 * size);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (said.as_str(), ""), "{ended:#?}");
    }
}

#[test]
fn messages() {
    for size in [1, 2, 4, 5] {
        let ended = run(size, "messages", &[]).succeeded();
        let (numbers, letters) = (size * (size + 1) / 2, size * (size - 1) / 2);
        let said = format!("[0] {numbers} numbers and {letters} letters from {size} ranks\n");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (said.as_str(), ""), "{ended:#?}");
    }
}

#[test]
fn communicators() {
    for size in [1, 2, 4, 5] {
        let ended = run(size, "communicators", &[]).succeeded();
        let (half, group) = (size.div_ceil(2), (size - 1).max(1));
        let said = format!("[0] {size} ranks: {half} in its half, {size} on its machine, {group} in a group\n");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (said.as_str(), ""), "{ended:#?}");
    }
}

#[test]
fn topologies() {
    for (size, dims) in [(1, "1 x 1"), (2, "2 x 1"), (4, "2 x 2"), (5, "5 x 1")] {
        let ended = run(size, "topologies", &[]).succeeded();
        let said = format!("[0] {dims} blocks as computed alone; last change ");
        assert!(ended.stdout.starts_with(&said) && ended.stdout.lines().count() == 1, "{ended:#?}");
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn diagnosis() {
    let place = " at examples/diagnosis/main.rs:";
    for size in [1, 2, 4, 5] {
        let ended = run(size, "diagnosis", &[]).succeeded();
        let lines: Vec<_> = ended.stdout.lines().collect();
        let last = size - 1;
        let what = if size == 1 { "nobody can end this wait" } else { "ranks wait for each other for ever" };
        let waits = format!("[0] deadlock: {what}: rank 0 waits in recv(from rank {last}, tag 7){place}");
        if size == 1 {
            assert!(
                lines.len() == 1 && lines[0].starts_with(&waits) && lines[0].ends_with(" for itself"),
                "{ended:#?}"
            );
            continue;
        }
        let [mismatch, deadlock, slow] = lines[..] else { panic!("{ended:#?}") };
        assert!(mismatch.starts_with("[0] mismatch: the ranks do not agree: rank"), "{ended:#?}");
        assert!(mismatch.contains(&format!(" allreduce(SUM, 1 x f32){place}")), "{ended:#?}");
        assert!(mismatch.contains(&format!("rank {last} calls allreduce(MAX, 1 x f32){place}")), "{ended:#?}");
        assert!(deadlock.starts_with(&waits) && deadlock.ends_with(" for rank 0"), "{ended:#?}");
        assert!(slow.starts_with(&format!("[0] slow: barrier{place}")), "{ended:#?}");
        assert!(
            slow.contains(&format!(", {last} of {size} have come; missing rank 0 (last seen in allreduce{place}")),
            "{ended:#?}"
        );
        // Nobody has asked for this. On a busy machine the hub may have more to complain of.
        let complaint = |line: &str| {
            let rest = line.strip_prefix(&format!("[0] edgempi: barrier{place}")).unwrap_or_default();
            rest.contains(" has waited ") && rest.contains(&format!(" of {size} have come; missing rank 0 ("))
        };
        assert!(ended.stderr.lines().any(complaint), "{ended:#?}");
    }
}

#[test]
fn pairs() {
    for (size, said) in [
        (1, &["[0] R0: 0"][..]),
        (2, &["[0] R0: 1", "[1] R1: None"]),
        (4, &["[0] R0: 1", "[1] R1: None", "[2] R2: 5", "[3] R3: None"]),
        (5, &["[0] R0: 1", "[1] R1: None", "[2] R2: 5", "[3] R3: None", "[4] R4: 4"]),
    ] {
        let ended = run(size, "pair_reduce", &[]).succeeded();
        assert_eq!((&ended.sorted()[..], ended.stderr.as_str()), (said, ""));
    }
}

#[test]
fn federated_averaging() {
    for size in [1, 2, 4, 5] {
        let ended = run(size, "fedavg", &["--rounds", "2"]).succeeded();
        assert_eq!((ended.summary("ranks  "), ended.stderr.as_str()), (size.to_string().as_str(), ""), "{ended:#?}");
        assert!(ended.accuracy() > 50.0, "{ended:#?}");
    }
}

#[test]
fn no_example_is_forgotten() {
    let tests = [include_str!("families.rs"), include_str!("jobs.rs")].concat();
    let names = include_str!("../examples/Cargo.toml").lines().filter_map(|line| line.strip_prefix("name = \""));
    let names: Vec<_> = names.filter_map(|name| name.strip_suffix('"')).collect();
    assert!(names.contains(&"hello"), "{names:?}");
    // These have virtual ranks, in one process; `simulating.rs` runs them.
    let simulated = ["simulation", "simulation_scale"];
    let readme = include_str!("../README.md");
    for name in names.into_iter().skip(1) {
        assert!(readme.contains(&format!("  {name}/ ")), "the README does not list {name}");
        if simulated.contains(&name) {
            continue;
        }
        assert!(tests.contains(&format!(", \"{name}\", ")) || tests.contains(&format!("(\"{name}\", ")), "{name}");
    }
}
