//! Whether a run was right. Safety: every result is that of the model, and whoever fails says why, with a reason that is
//! there. Liveness: everything that can finish has.

use edgempi::{Error, Rank};

use crate::plan::{Plan, View};
use crate::play::{End, Outcome};

/// What one rank did.
#[derive(Debug)]
pub struct Played {
    /// By step.
    pub outcomes: Vec<Option<Outcome>>,
    /// How its program ended; `None` if somebody killed it.
    pub end: Option<Result<End, Error>>,
}

/// Looks at what all ranks did, in a run in which `dead` may have died.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn judge(plan: &Plan, dead: Option<u32>, ranks: &[Played]) -> Result<(), String> {
    let has_quit = |rank: u32| matches!(ranks[rank as usize].end, Some(Err(_)));
    let failed: Vec<u32> = (0..plan.size).filter(|rank| dead == Some(*rank) || has_quit(*rank)).collect();
    for (rank, played) in (0..).zip(ranks) {
        match &played.end {
            Some(Ok(End::Done)) => {}
            None | Some(Ok(End::Died)) if dead == Some(rank) => {}
            // It was given up with the world, or with a communicator that it needed.
            Some(Err(error)) if failed.iter().any(|failed| *failed != rank) && is_about(error, &failed) => {}
            Some(Err(Error::Disconnected { .. })) if dead == Some(rank) => {}
            // It came when all others had gone already.
            Some(Err(Error::Refused { .. })) if dead.is_some() => {}
            end => return Err(format!("rank {rank} ended with {end:?}, and {failed:?} have failed")),
        }
        for (at, outcome) in played.outcomes.iter().enumerate() {
            let Some(view) = plan.view(at, rank) else {
                if outcome.is_some() {
                    return Err(format!("rank {rank} took part in step {at}"));
                }
                continue;
            };
            let is_right = match outcome {
                Some(Outcome::Right) => true,
                Some(Outcome::Wrong(_)) => false,
                Some(Outcome::GivenUp) => plan.steps[at].given_up.is_some_and(|given_up| given_up.rank == rank),
                Some(Outcome::Failed(error)) => may_fail(plan, &view, rank, &failed, error),
                None => !matches!(played.end, Some(Ok(End::Done))),
            };
            if !is_right {
                let outcome = outcome.as_ref().map_or("never done".to_owned(), |outcome| format!("{outcome:?}"));
                return Err(format!("rank {rank}, step {at}, {:?} of {:?}: {outcome}", view.call, view.part));
            }
        }
    }
    Ok(())
}

/// Whether a call may fail so: somebody that it needs has failed, or gave it up.
fn may_fail(plan: &Plan, view: &View<'_>, rank: u32, failed: &[u32], error: &Error) -> bool {
    let members = &view.part.members;
    let is_cancelled = view.call.is_cancelled_by_drop();
    // Who gave it up may have finalized before this rank came, and so may those who were told.
    let given_up = plan.steps[view.at].given_up.map(|given_up| given_up.rank);
    let given_up = given_up.filter(|who| is_cancelled && *who != rank && members.contains(who));
    match (error, given_up) {
        (Error::Cancelled { rank: by, .. }, Some(who)) if *by == who => return true,
        (Error::RankFinished { .. }, Some(_)) => return true,
        _ => {}
    }
    let needs_failed = view.needs().iter().any(|rank| failed.contains(rank));
    let is_about = match error {
        // Whoever dies drops what it holds, and may have the time to say so.
        Error::Cancelled { rank, .. } => failed.contains(&rank.get()),
        error => is_about(error, failed) || failed.contains(&rank),
    };
    needs_failed && is_about
}

fn is_about(error: &Error, failed: &[u32]) -> bool {
    match error {
        Error::RankFailed { ranks, .. } => ranks.iter().all(|rank| failed.contains(&Rank::get(*rank))),
        // Another one that was told of the failure before, and has come to its end since.
        Error::RankFinished { .. } => !failed.is_empty(),
        _ => false,
    }
}
