//! Sends and receives that their rank takes back before they are matched.

use super::Hub;
use super::peer::Place;
use crate::rank::Rank;
use crate::request::RequestId;

impl Hub {
    /// What has not been matched is answered with `Cancelled`; what has goes on, whole, for both sides (MPI 4.1, chapter
    /// 3.8.4).
    pub(super) fn on_withdraw(&mut self, rank: Rank, request: RequestId) {
        let place = self.session(rank).and_then(|session| session.requests.get(&request));
        let is_unmatched = place.is_some_and(|place| !matches!(place, Place::Operation { .. }));
        if is_unmatched {
            self.on_cancel(rank, request);
        }
    }
}
