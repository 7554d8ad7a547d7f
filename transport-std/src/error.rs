//! What goes wrong on a host, in words that say what to do.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use edgempi_core::{Category, Fault, Rank};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::config::ConfigError;
use crate::engine::Reason;

/// Why a call, a rank or a hub failed. Match on the variants; print them for people.
///
/// [`Config`](Self::Config), [`Connect`](Self::Connect), [`Listen`](Self::Listen) and
/// [`TooManyRanks`](Self::TooManyRanks) come from joining a world. After
/// [`Refused`](Self::Refused), [`Disconnected`](Self::Disconnected), [`Protocol`](Self::Protocol) and
/// [`Finalized`](Self::Finalized) nothing works any more. All others concern one call: the communicator stays usable, as
/// far as its ranks are alive.
///
/// `Debug` says the variant and then the same as `Display`, so that a `main` that returns an error reads well.
#[derive(Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The hub could not be reached in time.
    #[error(
        "no hub at {address} after {tries} {} in {:.1} s: {reason}; start rank 0 or `edgempi hub` there, or set \
         EDGEMPI_ADDR and EDGEMPI_PORT to where it is (EDGEMPI_WAIT is how long to try)",
        if *.tries == 1 { "try" } else { "tries" }, .waited.as_secs_f32()
    )]
    Connect {
        /// Where the hub was looked for.
        address: String,
        /// How often.
        tries: u32,
        /// How long.
        waited: Duration,
        /// What the last try met.
        reason: String,
    },
    /// The hub can't listen.
    #[error("can not listen on {address}: {reason}; set EDGEMPI_PORT to a free port (for every rank)")]
    Listen {
        /// Where it should have listened.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The system allows fewer open files than a hub of so many ranks needs.
    #[error(
        "a hub of {ranks} ranks needs {needed} open files, and this process may have {files}: raise the limit (`ulimit -n`, \
         or LimitNOFILE of its service)"
    )]
    TooManyRanks {
        /// How many ranks the world has.
        ranks: u32,
        /// How many files the hub needs.
        needed: u64,
        /// How many it may have.
        files: u64,
    },
    /// A bridge can't use its serial line.
    #[error(
        "can not open the serial line {line}: {reason}; it is a device such as /dev/ttyUSB0, an address to dial such as \
         127.0.0.1:4000, or one to listen on such as listen:127.0.0.1:4000"
    )]
    SerialLine {
        /// The device or address.
        line: String,
        /// What the system said.
        reason: String,
    },
    /// The hub does not want this rank, or has given it up.
    #[error("the hub at {address} refused: {reason}")]
    Refused {
        /// What does not fit.
        category: Category,
        /// The hub.
        address: String,
        /// What the hub said.
        reason: String,
    },
    /// The link to the hub is gone.
    #[error("disconnected from the hub: {reason}")]
    Disconnected {
        /// What happened.
        reason: String,
    },
    /// A rank that the operation needs has died, or never came.
    #[error("{reason}")]
    RankFailed {
        /// The first rank that the hub met. Others may have failed as well.
        ranks: Vec<Rank>,
        /// Which rank, what happened to it, where it was last seen, and which call of this rank fails.
        reason: String,
    },
    /// A rank that the operation needs has finalized.
    #[error("{reason}")]
    RankFinished {
        /// The rank.
        rank: Rank,
        /// Which rank, where it was last seen, and which call of this rank fails.
        reason: String,
    },
    /// The participants do not agree on the operation.
    #[error("{reason}")]
    Mismatch {
        /// Both sides, with the places of their calls.
        reason: String,
    },
    /// Ranks wait for each other, no other thread of theirs [makes calls](crate::config::Threads), and no other rank could
    /// ever help them.
    #[error("{reason}")]
    Deadlock {
        /// One of them.
        rank: Rank,
        /// Who waits for whom, in what call and where.
        reason: String,
    },
    /// A message is larger than a limit.
    #[error("{reason}")]
    TooLarge {
        /// Its size in bytes.
        len: u64,
        /// The limit.
        max: u64,
        /// Which limit, and which call.
        reason: String,
    },
    /// A message does not fit the receive that it matched.
    #[error("{reason}")]
    Truncated {
        /// The message's size in bytes.
        len: u64,
        /// What the receive takes.
        max: u64,
        /// Which message.
        reason: String,
    },
    /// A ready send has come, and no receive waits for it (MPI 4.1, chapter 3.4): nothing was sent.
    #[error("{reason}")]
    NotReady {
        /// To whom.
        rank: Rank,
        /// Which message.
        reason: String,
    },
    /// Too many requests are open: the call was not started.
    #[error("{max} requests are open already; wait for some of them")]
    TooManyRequests {
        /// How many may be: 32,768 at a hub with the usual limits.
        max: u64,
    },
    /// The arguments of a call contradict each other.
    #[error("{reason}")]
    InvalidArgument {
        /// How, and where the call is.
        reason: String,
    },
    /// Something took too long. Calls have no deadlines, so today no call fails so.
    #[error("{reason}")]
    Timeout {
        /// What.
        reason: String,
    },
    /// A participant gave the operation up, by dropping its request. Whoever comes late, when one of the others has
    /// finalized since, may be told of that instead: [`RankFinished`](Self::RankFinished).
    #[error("{reason}")]
    Cancelled {
        /// Who.
        rank: Rank,
        /// What, and which call of this rank fails.
        reason: String,
    },
    /// The user's code at the hub failed or panicked. [`remote`](Self::remote) is the error that it returned.
    #[error("{reason}")]
    #[non_exhaustive]
    Remote {
        /// What it said.
        reason: String,
        /// The error that it returned, as postcard; empty after a panic, or if it did not fit a frame beside the text.
        encoded: Vec<u8>,
    },
    /// The hub has no such operation.
    #[error("{reason}")]
    UnknownOperation {
        /// What it has.
        reason: String,
    },
    /// The hub broke the protocol, or said that this rank did.
    #[error("protocol error: {reason}")]
    Protocol {
        /// How.
        reason: String,
    },
    /// A value could not be turned into bytes.
    #[error("the value does not encode: {reason}")]
    Encode {
        /// What serde said.
        reason: String,
    },
    /// Bytes could not be turned into a value of the type asked for.
    #[error("{what} is no {expected}: {reason}")]
    Decode {
        /// Who sent them; `None` if they are the output of a user's operation.
        from: Option<Rank>,
        /// What they are, with the rank's number or the operation's name.
        what: String,
        /// The type.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The world has been finalized, or dropped.
    #[error("this rank has left the world, by finalize() or by dropping its World: no call can be made any more")]
    Finalized,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.name())
    }
}

impl Error {
    fn name(&self) -> &'static str {
        match self {
            Self::Config(_) => "Config",
            Self::Connect { .. } => "Connect",
            Self::Listen { .. } => "Listen",
            Self::TooManyRanks { .. } => "TooManyRanks",
            Self::SerialLine { .. } => "SerialLine",
            Self::Refused { .. } => "Refused",
            Self::Disconnected { .. } => "Disconnected",
            Self::RankFailed { .. } => "RankFailed",
            Self::RankFinished { .. } => "RankFinished",
            Self::Mismatch { .. } => "Mismatch",
            Self::Deadlock { .. } => "Deadlock",
            Self::TooLarge { .. } => "TooLarge",
            Self::Truncated { .. } => "Truncated",
            Self::NotReady { .. } => "NotReady",
            Self::TooManyRequests { .. } => "TooManyRequests",
            Self::InvalidArgument { .. } => "InvalidArgument",
            Self::Timeout { .. } => "Timeout",
            Self::Cancelled { .. } => "Cancelled",
            Self::Remote { .. } => "Remote",
            Self::UnknownOperation { .. } => "UnknownOperation",
            Self::Protocol { .. } => "Protocol",
            Self::Encode { .. } => "Encode",
            Self::Decode { .. } => "Decode",
            Self::Finalized => "Finalized",
        }
    }

    /// The error that the user's code at the hub returned, on every rank of the call. `None` if that code panicked or was
    /// not reached, if this is another error, if the bytes are no `E` (they are checked as far as postcard can tell, so
    /// ask for the type that the operation returns), or if text and error together are more than a frame of this rank
    /// takes (4 KiB at most).
    ///
    /// ```
    /// use edgempi::hub::{Applied, Registry};
    /// use edgempi::{Builder, Group, Operation, Rank};
    /// use serde::{Deserialize, Serialize};
    ///
    /// /// What can go wrong at the hub; ranks match on it.
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// enum Refusal {
    ///     OverBudget { asked: u32, left: u32 },
    /// }
    ///
    /// impl std::fmt::Display for Refusal {
    ///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    ///         let Self::OverBudget { asked, left } = self;
    ///         write!(f, "{asked} were asked for and {left} are left")
    ///     }
    /// }
    ///
    /// struct Spend;
    ///
    /// impl Operation for Spend {
    ///     const NAME: &'static str = "spend";
    ///     type Parameters = ();
    ///     type Input = u32;
    ///     type Output = u32;
    ///
    ///     fn parameters(&self) {}
    ///
    ///     fn group(&self) -> Group<'_> {
    ///         Group::ALL
    ///     }
    /// }
    ///
    /// fn spend(call: Applied<'_, ()>, wishes: Vec<(Rank, u32)>) -> Result<Vec<(Rank, u32)>, Refusal> {
    ///     let asked = wishes.iter().map(|(_, wish)| wish).sum();
    ///     let left = 100u32.checked_sub(asked).ok_or(Refusal::OverBudget { asked, left: 100 })?;
    ///     Ok(call.destinations.iter().map(|rank| (*rank, left)).collect())
    /// }
    ///
    /// let mut operations = Registry::new();
    /// operations.insert_fn(Spend::NAME, Spend::VERSION, spend);
    /// let worlds = Builder::new().operations(operations).local(2)?;
    /// let requests: Vec<_> = worlds.iter().map(|world| world.comm().apply(&Spend, Some(&60))).collect();
    /// for request in requests {
    ///     let error = request.wait().unwrap_err();
    ///     let text = error.to_string();
    ///     let expected = "operation \"spend\" failed: 120 were asked for and 100 are left; ranks 0, 1 call it at ";
    ///     assert!(text.starts_with(expected), "{text}");
    ///     assert_eq!(error.remote(), Some(Refusal::OverBudget { asked: 120, left: 100 }));
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    pub fn remote<E: DeserializeOwned>(&self) -> Option<E> {
        let Self::Remote { encoded, .. } = self else { return None };
        // Nothing at all is no error, whatever type has no bytes.
        if encoded.is_empty() {
            return None;
        }
        match postcard::take_from_bytes(encoded) {
            Ok((error, [])) => Some(error),
            Ok(_) | Err(_) => None,
        }
    }

    /// What the hub said of a request.
    pub(crate) fn from_hub(fault: Fault, reason: Reason) -> Self {
        let Reason { text, error } = reason;
        let Fault { category, rank, count: _, len, max } = fault;
        let reason = if text.is_empty() { fault.to_string() } else { text };
        match category {
            Category::Disconnected => Self::Disconnected { reason },
            Category::RankFailed => Self::RankFailed { ranks: vec![rank], reason },
            Category::RankFinished => Self::RankFinished { rank, reason },
            Category::Mismatch => Self::Mismatch { reason },
            Category::Deadlock => Self::Deadlock { rank, reason },
            Category::TooLarge => Self::TooLarge { len, max, reason },
            Category::Truncated => Self::Truncated { len, max, reason },
            Category::NotReady => Self::NotReady { rank, reason },
            Category::TooManyRequests => Self::TooManyRequests { max },
            Category::InvalidArgument => Self::InvalidArgument { reason },
            Category::Timeout => Self::Timeout { reason },
            Category::Cancelled => Self::Cancelled { rank, reason },
            Category::Remote => Self::Remote { reason, encoded: error },
            Category::UnknownOperation => Self::UnknownOperation { reason },
            _ => Self::Protocol { reason },
        }
    }

    /// The same of a call at `place`, whose own fault it is.
    pub(crate) fn at(mut self, place: &Location<'_>) -> Self {
        // What comes of one of the library's own calls has no line that anybody wants to see.
        let is_own = file!().strip_suffix("error.rs").is_some_and(|folder| place.file().starts_with(folder));
        if let Self::InvalidArgument { reason }
        | Self::TooLarge { reason, .. }
        | Self::Truncated { reason, .. }
        | Self::Mismatch { reason }
        | Self::Encode { reason }
        | Self::Decode { reason, .. } = &mut self
            && !is_own
        {
            reason.push_str(&format!(", at {place}"));
        }
        self
    }

    /// The same of a call that is made where this function's caller was called.
    #[track_caller]
    pub(crate) fn here() -> impl FnOnce(Self) -> Self {
        let place = Location::caller();
        move |error| error.at(place)
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::InvalidArgument { reason: reason.into() }
    }

    /// What can not be, unless there is a mistake in this library.
    #[track_caller]
    pub(crate) fn defect() -> Self {
        let place = Location::caller();
        Self::Protocol { reason: format!("a mistake in edgempi, at {place}: please report it") }
    }

    pub(crate) fn disconnected(reason: impl Into<String>) -> Self {
        Self::Disconnected { reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn a_defect_says_the_line_that_found_it() {
        let found = None::<u8>.ok_or_else(|| Error::defect()).expect_err("there is none");
        assert!(found.to_string().contains("transport-std/src/error.rs:"), "{found}");
    }
}
