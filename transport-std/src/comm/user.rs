//! User-defined operations, as a rank calls them.

use edgempi_core::operation::Operation;
use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Datatype, Group, Rank, Ranks};

use super::objects::{decode, encode};
use super::{Comm, Started, whole};
use crate::buffers::{Inbound, Outbound};
use crate::engine::OwnedCall;
use crate::error::Error;
use crate::request::{OnDrop, Request};

/// User-defined operations.
impl Comm {
    /// Calls a user-defined operation, which runs at the hub. Sources of its group give `Some` input; what others give is
    /// ignored. Destinations get `Some` output, the others `None`.
    ///
    /// Every rank of the group has to call it, and nobody else. [`Registry::insert_fn`](crate::hub::Registry::insert_fn)
    /// adds the function at the hub; the crate page and `examples/pair_reduce` show both sides.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if this rank is not in the group,
    /// [`Error::UnknownOperation`] if the hub has none of that name and version, [`Error::Remote`] with the text of the
    /// operation's own error or panic, [`Error::Decode`] if the output is no `O::Output`.
    #[track_caller]
    pub fn apply<O: Operation>(&self, operation: &O, input: Option<&O::Input>) -> Request<'static, Option<O::Output>>
    where
        O::Output: 'static,
    {
        let Group { sources, destinations } = operation.group();
        let list = |ranks: Ranks<'_>| -> Vec<Rank> {
            match ranks {
                Ranks::All => (0..self.size()).map(Rank::new).collect(),
                Ranks::List(ranks) => ranks.to_vec(),
            }
        };
        let (sources, destinations) = (list(sources), list(destinations));
        if let Some(rank) = sources.iter().chain(&destinations).find(|rank| rank.get() >= self.size()) {
            let text = format!("rank {rank} of the operation's group is not in this communicator of {}", self.size());
            return Request::refused(Error::invalid(text));
        }
        let gives = sources.contains(&self.rank());
        let receives = destinations.contains(&self.rank());
        let message = match (gives, input) {
            (true, Some(input)) => match encode(&(operation.parameters(), input)) {
                Ok(message) => message,
                Err(error) => return Request::refused(error),
            },
            (true, None) => {
                let text = format!("rank {} is a source of operation \"{}\" and gives no input", self.rank(), O::NAME);
                return Request::refused(Error::invalid(text));
            }
            (false, _) => Vec::new(),
        };
        let started = Started {
            call: OwnedCall::user(sources, destinations, O::NAME, O::VERSION),
            datatype: Datatype::Object,
            sent: Sent::Equal(message.len()),
            receive: if receives { Receive::AtMost(self.message_size) } else { Receive::Exactly(0) },
            outbound: Outbound::Whole(Box::new(message)),
            inbound: Inbound::Whole { storage: Box::new(Vec::<u8>::new()), open: true },
        };
        let rank = self.rank();
        self.start(started, OnDrop::Detach, move |completion| match receives {
            true => decode(rank, &whole::<u8>(completion)?).map(Some),
            false => Ok(None),
        })
    }
}
