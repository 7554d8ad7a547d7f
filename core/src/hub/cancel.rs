//! Requests that their rank gives up, whatever has become of them, and those that it takes back as long as they are
//! unmatched.

use alloc::format;

use super::Hub;
use super::peer::Place;
use super::point_to_point::SEND_CANCELLED;
use crate::error::{Category, Fault};
use crate::rank::Rank;
use crate::request::RequestId;

impl Hub {
    /// Of what has been matched nothing more will come or go at this rank, so it fails for all.
    pub(super) fn on_cancel(&mut self, rank: Rank, request: RequestId) {
        let fault = Fault::of_ranks(Category::Cancelled, rank, 1);
        let Some(place) = self.session(rank).and_then(|session| session.requests.get(&request)).copied() else {
            // It was answered before the hub heard.
            return;
        };
        match place {
            Place::Operation { id, position } => {
                let Some(mut operation) = self.operations.remove(&id) else { return };
                // If it has failed already, the answer waits until all have come.
                if !operation.has_failed() {
                    if operation.at_work {
                        // Or a rank could have any number of operations computed for nobody.
                        operation.postpone(position);
                    }
                    let text = format!("rank {rank} cancelled its {}", operation.signature.describe());
                    self.fail_operation(&mut operation, fault, &text);
                }
                self.put_back(operation);
            }
            Place::Unexpected { communicator, dest, order } => {
                let mailbox = self.mail.get_mut(&(communicator, dest));
                if let Some(message) = mailbox.and_then(|mailbox| mailbox.remove_message(order)) {
                    self.free_message(&message);
                }
                self.forget_empty(communicator, dest);
                self.fail_request(rank, request, fault, SEND_CANCELLED);
            }
            Place::Posted { communicator, source, tag, order, is_probe } => {
                if let Some(mailbox) = self.mail.get_mut(&(communicator, rank)) {
                    mailbox.remove_posted(source, tag, order, is_probe);
                }
                self.forget_empty(communicator, rank);
                self.fail_request(rank, request, fault, "the receive was cancelled");
            }
            Place::Kept => self.cancel_kept(rank, request, fault),
        }
    }

    /// What has not been matched is answered with `Cancelled`; what has goes on, whole, for both sides (MPI 4.1, chapter
    /// 3.8.4).
    pub(super) fn on_withdraw(&mut self, rank: Rank, request: RequestId) {
        let place = self.session(rank).and_then(|session| session.requests.get(&request));
        let is_unmatched = place.is_some_and(|place| !matches!(place, Place::Operation { .. } | Place::Kept));
        if is_unmatched {
            self.on_cancel(rank, request);
        }
    }
}
