//! Requests that their rank gives up, whatever has become of them, and those that it takes back as long as they are
//! unmatched.

use alloc::format;

use super::operation::Phase;
use super::peer::Place;
use super::{Hub, Refusal};
use crate::error::{Category, Fault};
use crate::rank::Rank;
use crate::request::{CallCode, RequestId};
use crate::wire::Submit;

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
                    let text = format!("rank {rank} cancelled its {}", self.describe_part(&operation, position));
                    self.fail_operation(&mut operation, fault, &text);
                }
                self.put_back(operation);
            }
            Place::Unexpected { .. } | Place::Posted { .. } => {
                let Some(submit) = self.take_back(rank, place) else { return };
                let (fault, text) = self.cancelled(rank, &submit);
                self.fail_request(rank, request, fault, &text);
            }
            Place::Kept => self.cancel_kept(rank, request),
        }
    }

    /// What is said of a send or a receive that its rank has given up.
    pub(super) fn cancelled(&self, rank: Rank, submit: &Submit) -> Refusal {
        let text = format!("rank {rank} cancelled its {}", self.describe_call(rank, submit));
        (Fault::of_ranks(Category::Cancelled, rank, 1), text)
    }

    /// Takes a send, a receive or a probe that nothing has met out of its mailbox.
    pub(super) fn take_back(&mut self, rank: Rank, place: Place) -> Option<Submit> {
        match place {
            Place::Unexpected { communicator, dest, order } => {
                let message = self.mail.get_mut(&(communicator, dest))?.remove_message(order)?;
                self.free_message(&message);
                self.forget_empty(communicator, dest);
                Some(message.submit)
            }
            Place::Posted { communicator, source, tag, order, is_probe } => {
                let posted = self.mail.get_mut(&(communicator, rank))?.remove_posted(source, tag, order, is_probe)?;
                self.forget_empty(communicator, rank);
                Some(posted.submit)
            }
            Place::Operation { .. } | Place::Kept => None,
        }
    }

    /// What has not been matched is answered with `Cancelled`; what has goes on, whole, for both sides (MPI 4.1, chapter
    /// 3.8.4). So does a split: whoever takes it back can free what comes of it.
    pub(super) fn on_withdraw(&mut self, rank: Rank, request: RequestId) {
        let place = self.session(rank).and_then(|session| session.requests.get(&request)).copied();
        let is_unmatched = place.is_some_and(|place| match place {
            Place::Unexpected { .. } | Place::Posted { .. } => true,
            Place::Kept => false,
            Place::Operation { id, .. } => self.operations.get(&id).is_some_and(|operation| {
                operation.signature.call == CallCode::Split && operation.phase != Phase::Running
            }),
        });
        if is_unmatched {
            self.on_cancel(rank, request);
        }
    }
}
