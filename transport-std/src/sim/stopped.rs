//! How a run, or one rank of it, ends badly.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use edgempi_core::{Instant, Rank};
use thiserror::Error;

use super::SEED_VARIABLE;
use super::trace::TraceHash;
use crate::error::Error;

/// Why a rank gave no value.
#[derive(Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Failure {
    /// Its program returned an error, or it could not join.
    #[error(transparent)]
    Error(#[from] Error),
    /// It died.
    #[error("the rank died after {:.6} s", .at.as_secs_f64())]
    Died {
        /// When.
        at: Duration,
    },
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "{error:?}"),
            Self::Died { .. } => write!(f, "Died: {self}"),
        }
    }
}

/// A rank that had not ended when a run was stopped, and the calls that it waits in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who.
    pub rank: Rank,
    /// Its open calls, with their places in the source. Empty if it waits for something that the simulation does not
    /// know.
    pub calls: Vec<String>,
}

/// Why a run could not go on.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing can happen any more, and these ranks still wait.
    #[error("deadlock: nothing can happen any more, and {}", grouped(.waiting))]
    Deadlock {
        /// Who waits for what.
        waiting: Vec<Waiting>,
    },
    /// It took more virtual time than it was given.
    #[error("the limit of {} s of virtual time is reached, and {}", .limit.as_secs_f64(), grouped(.waiting))]
    TimeLimit {
        /// How much it was given.
        limit: Duration,
        /// Who was not done.
        waiting: Vec<Waiting>,
    },
    /// A program goes round and round without any time passing.
    #[error(
        "a program spins: {polls} polls, the last of rank {rank}, and no time has passed; let it sleep() in its loop, or \
         give links that take no time a latency(..)"
    )]
    Spinning {
        /// Who was polled last.
        rank: Rank,
        /// How often programs were polled at this moment.
        polls: u64,
    },
    /// A program panicked.
    #[error("rank {rank} panicked: {message}")]
    Panicked {
        /// Whose.
        rank: Rank,
        /// What it said.
        message: String,
    },
    /// The simulation itself is set up wrongly.
    #[error(transparent)]
    Setup(Error),
}

/// A run that could not go on: why, and how to see it again.
#[derive(Clone, PartialEq)]
pub struct Stopped {
    /// The seed of the run.
    pub seed: u64,
    /// The virtual time.
    pub at: Duration,
    /// The hash of everything that had happened.
    pub trace: TraceHash,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, at, reason, .. } = self;
        if let Reason::Setup(error) = reason {
            // No seed changes that.
            return write!(f, "the simulation can not start: {error}");
        }
        write!(f, "the simulation stopped at {}: {reason}; {}", Instant::ZERO + *at, Replay(*seed))
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Stopped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// A rank that gave no value, in a run that was to succeed on all.
#[derive(Clone, PartialEq)]
pub struct RankFailure {
    /// Who.
    pub rank: Rank,
    /// Why.
    pub failure: Failure,
    /// The seed of the run.
    pub seed: u64,
}

impl fmt::Display for RankFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} failed: {}; {}", self.rank, self.failure, Replay(self.seed))
    }
}

impl fmt::Debug for RankFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for RankFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.failure)
    }
}

/// How to see a run again.
struct Replay(u64);

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to see it again, run with {SEED_VARIABLE}={}", self.0)
    }
}

/// Says so when a test fails that has a run's outcome in its hands.
#[derive(Debug)]
pub(super) struct SaysSeed(pub(super) u64);

impl Drop for SaysSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was about a simulation; {}", Replay(self.0));
        }
    }
}

/// "rank 0 waits in barrier at …; ranks 1, 2 wait in …", those with the same calls together.
fn grouped(waiting: &[Waiting]) -> String {
    let mut groups: BTreeMap<String, Vec<Rank>> = BTreeMap::new();
    for Waiting { rank, calls } in waiting {
        let what = if calls.is_empty() {
            "something that the simulation does not know".to_owned()
        } else {
            calls.join(" and ")
        };
        groups.entry(what).or_default().push(*rank);
    }
    let mut groups: Vec<(String, Vec<Rank>)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, ranks)| ranks[0]);
    let texts = groups.iter().map(|(what, ranks)| match ranks.as_slice() {
        [rank] => format!("rank {rank} waits in {what}"),
        _ => {
            let numbers: Vec<String> = ranks.iter().take(16).map(Rank::to_string).collect();
            let more = ranks.len().saturating_sub(16);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("ranks {}{more} wait in {what}", numbers.join(", "))
        }
    });
    texts.collect::<Vec<String>>().join("; ")
}
