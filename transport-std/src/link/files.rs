//! Files that a process may have open at a time: a hub needs one for each rank.

use crate::error::Error;

/// Open files of a process beside the links to ranks: its standard streams, the poller, listeners, a log, and a few that
/// the program has.
#[cfg(unix)]
const OTHERS: u64 = 32;

/// Sees to it that a hub of `ranks` can have a link to each: raises this process' limit, as far as it may.
///
/// # Errors
///
/// [`Error::TooManyRanks`] if it may not.
#[cfg(unix)]
pub(super) fn make_room(ranks: u32) -> Result<(), Error> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = u64::from(ranks) + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < needed) {
        return Err(Error::TooManyRanks { ranks, needed, files: maximum });
    }
    // Ranks that come while others go need some more.
    let wanted = needed.saturating_mul(2).min(maximum.unwrap_or(u64::MAX));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    raised.map_err(|_| Error::TooManyRanks { ranks, needed, files: current.unwrap_or(needed) })
}

/// There is no such limit.
#[cfg(not(unix))]
pub(super) fn make_room(_: u32) -> Result<(), Error> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_hub_with_more_ranks_than_files_is_an_error_that_says_how_many() {
        assert_eq!(make_room(1), Ok(()));
        if let Some(files) = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
            && let Ok(ranks) = u32::try_from(files)
        {
            let error = make_room(ranks).expect_err("files are needed for something else, too");
            assert_eq!(error, Error::TooManyRanks { ranks, needed: files + OTHERS, files });
            let text = error.to_string();
            assert!(text.contains(&files.to_string()) && text.contains("ulimit -n"), "{text}");
        }
    }
}
