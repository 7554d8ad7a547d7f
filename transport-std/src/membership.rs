//! Which worlds this process has joined: a second `init()` that fails because of the first is told so.

use std::sync::{Mutex, MutexGuard, PoisonError};

use edgempi_core::{Category, Rank};

use crate::error::Error;

const HINT: &str = "this process has called init() already: call it once, and share the World or clones of its Comm";

/// The ranks that this process is, or is about to be, and the addresses of their hubs.
static RANKS: Mutex<Vec<(String, Rank)>> = Mutex::new(Vec::new());

fn ranks() -> MutexGuard<'static, Vec<(String, Rank)>> {
    RANKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// That this process is a rank of the world with the hub at an address, from when it dials to the world's end.
pub(crate) struct Membership {
    hub: String,
    rank: Rank,
}

impl Membership {
    pub(crate) fn enter(hub: String, rank: Rank) -> Self {
        ranks().push((hub.clone(), rank));
        Self { hub, rank }
    }

    /// Why joining failed; if this process itself is in the way, with a word about it.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if ranks().iter().filter(|entry| self.is(entry)).count() < 2 {
            return error;
        }
        match error {
            Error::Listen { address, reason } => Error::Listen { address, reason: format!("{reason}; {HINT}") },
            Error::Refused { category: category @ Category::RankTaken, address, reason } => {
                Error::Refused { category, address, reason: format!("{reason}; {HINT}") }
            }
            other => other,
        }
    }

    fn is(&self, (hub, rank): &(String, Rank)) -> bool {
        (hub, rank) == (&self.hub, &self.rank)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut ranks = ranks();
        let own = ranks.iter().position(|entry| self.is(entry));
        if let Some(own) = own {
            ranks.swap_remove(own);
        }
    }
}
