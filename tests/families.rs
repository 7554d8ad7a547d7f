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
