//! How a rank waits for several requests at once.

use edgempi::{Error, Request, test_all, test_any, test_some, wait_all, wait_any, wait_some};

use crate::play::Pace;
use crate::played::played;
use crate::program::{Call, Probed, Waiting};

impl Call {
    pub fn waiting(&self) -> Waiting {
        match self {
            Self::Messages { waiting, .. } | Self::Funnel { waiting, .. } => *waiting,
            call => unreachable!("{call:?} is waited for elsewhere"),
        }
    }

    /// How the receiver of messages looks at them first.
    pub fn probed(&self) -> Probed {
        match self {
            Self::Messages { probed, .. } => *probed,
            _ => Probed::Never,
        }
    }
}

/// The results of all of them, in their order; of some ways of waiting one failure tells of all.
pub async fn all_of<T>(mut requests: Vec<Request<'_, T>>, waiting: Waiting, pace: &impl Pace) -> Vec<Result<T, Error>> {
    let mut results: Vec<Option<Result<T, Error>>> = requests.iter().map(|_| None).collect();
    let mut note = |(index, result): (usize, Result<T, Error>)| {
        assert!(results[index].replace(result).is_none(), "request {index} ended twice");
    };
    match waiting {
        Waiting::InTurn => {
            for (index, request) in requests.iter_mut().enumerate() {
                note((index, request.await));
            }
        }
        Waiting::All => return together(played!(wait_all(requests)).await),
        Waiting::Any => {
            while let Some(ended) = played!(wait_any(&mut requests)).await {
                note(ended);
            }
        }
        Waiting::Some => loop {
            let ended = played!(wait_some(&mut requests)).await;
            if ended.is_empty() {
                break;
            }
            ended.into_iter().for_each(&mut note);
        },
        Waiting::TestAll => loop {
            if let Some(results) = played!(test_all(&mut requests)) {
                return together(results);
            }
            pace.pause(1).await;
        },
        Waiting::TestAny => {
            while requests.iter().any(Request::is_active) {
                match played!(test_any(&mut requests)) {
                    Some(ended) => note(ended),
                    None => pace.pause(1).await,
                }
            }
        }
        Waiting::TestSome => {
            while requests.iter().any(Request::is_active) {
                let ended = played!(test_some(&mut requests));
                if ended.is_empty() {
                    pace.pause(1).await;
                }
                ended.into_iter().for_each(&mut note);
            }
        }
    }
    results.into_iter().map(|result| result.expect("all have ended")).collect()
}

fn together<T>(results: Result<Vec<T>, Error>) -> Vec<Result<T, Error>> {
    match results {
        Ok(values) => values.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }
}
