//! The examples of each family of calls, in worlds of 1, 2, 4 and 5 ranks.
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
fn diagnosis() {
    let place = " at examples/diagnosis/main.rs:";
    for size in [1, 2, 4, 5] {
        let ended = run(size, "diagnosis", &[]).succeeded();
        let lines: Vec<_> = ended.stdout.lines().collect();
        let last = size - 1;
        let waits = format!(
            "[0] deadlock: ranks wait for each other for ever: rank 0 waits in recv(from rank {last}, tag 7){place}"
        );
        if size == 1 {
            assert!(
                lines.len() == 1 && lines[0].starts_with(&waits) && lines[0].ends_with(" for itself"),
                "{ended:#?}"
            );
            assert_eq!(ended.stderr, "");
            continue;
        }
        let [mismatch, deadlock, slow] = lines[..] else { panic!("{ended:#?}") };
        assert!(mismatch.starts_with("[0] mismatch: the ranks do not agree: rank"), "{ended:#?}");
        assert!(mismatch.contains(&format!(" allreduce(SUM, 1 x f32){place}")), "{ended:#?}");
        assert!(mismatch.contains(&format!("rank {last} calls allreduce(MAX, 1 x f32){place}")), "{ended:#?}");
        assert!(deadlock.starts_with(&waits) && deadlock.ends_with(" for rank 0"), "{ended:#?}");
        assert!(slow.starts_with(&format!("[0] slow: barrier{place}")), "{ended:#?}");
        assert!(
            slow.contains(&format!(", {last} of {size} have come; missing 0 (last seen in allreduce{place}")),
            "{ended:#?}"
        );
        // Nobody has asked for this.
        let complaint = ended.stderr.lines().next().unwrap_or_default();
        assert!(complaint.starts_with(&format!("[0] edgempi: barrier{place}")), "{ended:#?}");
        assert!(
            complaint.contains(&format!(" has waited 0.2 s: {last} of {size} have come; missing 0 (")),
            "{ended:#?}"
        );
    }
}
