//! Whether a thread that waits is the only one that could make a call: of the others in its process each is an engine's.

use std::io;
#[cfg(target_os = "linux")]
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many threads of this process are engines'. They move bytes, and make no calls.
static ENGINES: Mutex<u64> = Mutex::new(0);

fn engines() -> std::sync::MutexGuard<'static, u64> {
    ENGINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An engine's thread counts itself, from its first step to its last: so no more are counted than there are.
pub(super) struct Counted;

impl Counted {
    pub(super) fn new() -> Self {
        *engines() += 1;
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *engines() -= 1;
    }
}

/// Starts a thread of an engine. Whatever runs a user's operations counts only as long as it has nothing to do: those may do
/// what they like.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let counted = move || {
        let _counted = Counted::new();
        body();
    };
    thread::Builder::new().name(name.to_owned()).spawn(counted).map(drop)
}

/// Whether the caller, which is no engine, is the only thread of its process beside those of engines. Then there will be
/// no other one as long as it does not go on: only threads start threads. False where nobody can tell.
pub(crate) fn is_only_caller() -> bool {
    // No engine's thread begins or ends while they are counted. One that has not begun yet counts as a stranger.
    let engines = engines();
    count_threads().is_some_and(|all| all == *engines + 1)
}

/// Takes no memory: it is asked in the middle of calls.
#[cfg(target_os = "linux")]
fn count_threads() -> Option<u64> {
    let mut text = [0; 1024];
    let len = std::fs::File::open("/proc/self/stat").ok()?.read(&mut text).ok()?;
    // The second field is the program's name in parentheses, with whatever there may be in it; the 20th is the number.
    let (_, fields) = str::from_utf8(&text[..len]).ok()?.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(17)?.parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn count_threads() -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted() {
        // Others test beside this one, so they come and go.
        let parked: Vec<_> = (0..50).map(|_| thread::spawn(thread::park)).collect();
        let many = count_threads().expect("Linux says so");
        assert!(many > 50, "{many}");
        assert!(!is_only_caller());
        parked.iter().for_each(|parked| parked.thread().unpark());
        parked.into_iter().for_each(|parked| parked.join().expect("it does nothing"));
    }
}
