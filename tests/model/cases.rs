//! Runs cases, each from a seed of its own, and shrinks one that fails.

use std::any::Any;
use std::cell::Cell;
use std::fmt::Debug;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

/// How many cases each test runs, in place of its own number.
const CASES: &str = "EDGEMPI_MODEL_CASES";
/// The seed of the only case to run.
const SEED: &str = "EDGEMPI_MODEL_SEED";
/// No case takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A number that the environment says.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Runs `run` on what the seeds 0, 1, 2 and so on make of `strategy`. Panics with the seed, and with the smallest case
/// that fails, too.
pub fn cases<S: Strategy>(count: u64, strategy: &S, run: impl Fn(&S::Value) -> Result<(), String>) {
    let seeds = match number(SEED) {
        Some(seed) => seed..seed + 1,
        None => 0..number(CASES).unwrap_or(count),
    };
    for seed in seeds {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = ProptestConfig {
            cases: 1,
            failure_persistence: None,
            max_shrink_iters: 2000,
            max_shrink_time: 20_000,
            ..ProptestConfig::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let said = Cell::new(false);
        let result = runner.run(strategy, |case| {
            let _watch = Watch::over(seed, &case);
            let result = catch_unwind(AssertUnwindSafe(|| run(&case)));
            result.unwrap_or_else(|panic| Err(format!("a panic: {}", text(&*panic)))).map_err(|why| {
                if !said.replace(true) {
                    eprintln!("{} fails, and a smaller case is looked for: {why}", Replay(seed));
                }
                TestCaseError::fail(why)
            })
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, case)) => panic!("{why}\nin {case:?}\n{}", Replay(seed)),
            Err(TestError::Abort(why)) => panic!("{why}; {}", Replay(seed)),
        }
    }
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

/// How to see a case again.
struct Replay(u64);

impl std::fmt::Display for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let test = thread::current().name().unwrap_or("this test").to_owned();
        write!(f, "seed {0} of {test} ({SEED}={0})", self.0)
    }
}

/// Aborts the process, and prints the case, unless it is dropped in time.
struct Watch {
    _alive: std::sync::mpsc::Sender<()>,
}

impl Watch {
    fn over(seed: u64, case: &impl Debug) -> Self {
        let (alive, bark) = channel::<()>();
        let said = format!("\nnothing has come of this in {PATIENCE:?}: {case:?}\n{}", Replay(seed));
        thread::spawn(move || {
            if bark.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Written past the test harness, which holds back what is printed until a test ends.
                let _ = writeln!(std::io::stderr(), "{said}");
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}
