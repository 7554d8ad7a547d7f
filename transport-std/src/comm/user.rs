//! User-defined operations, as a rank calls them.

use edgempi_core::operation::{Named, Operation};
use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Datatype, Element, Group, Rank, Ranks};
use serde::de::DeserializeOwned;

use super::objects::{Origin, decode, encode};
use super::{Comm, IntoBuffer, Started, whole};
use crate::buffers::{Inbound, Outbound};
use crate::engine::OwnedCall;
use crate::error::Error;
use crate::request::{OnDrop, Request};

/// User-defined operations.
impl Comm {
    /// Calls a user-defined operation, which runs at the hub. Sources of its group give `Some` input; what others give is
    /// ignored. Destinations get `Some` output, the others `None`.
    ///
    /// Every rank of the group has to call it, and nobody else. Groups are the same if their ranks stand in the same order;
    /// ranks that name another group wait for each other. [`Registry::insert_fn`](crate::hub::Registry::insert_fn)
    /// adds the function at the hub; the crate page and `examples/pair_reduce` show both sides.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if this rank is not in the group, or the
    /// group has a rank that is not there, or one twice on a side,
    /// [`Error::UnknownOperation`] if the hub has none of that name and version, [`Error::Remote`] with the text of the
    /// operation's own error or panic, [`Error::Decode`] if the output is no `O::Output`.
    #[track_caller]
    pub fn apply<O: Operation>(&self, operation: &O, input: Option<&O::Input>) -> Request<'static, Option<O::Output>>
    where
        O::Output: 'static,
    {
        let group = operation.group();
        let gives = group.sources.contains(self.rank());
        let (comm, message) = match (gives, input) {
            (true, Some(input)) => {
                let parameters = encode(&operation.parameters());
                match parameters.and_then(|parameters| Ok((encode(input)?, parameters))) {
                    // What postcard makes of a pair.
                    Ok((input, parameters)) => {
                        let comm = self.agreeing_on(parameters.iter().copied().map(u32::from));
                        (comm, [parameters, input].concat())
                    }
                    Err(error) => return Request::refused(error),
                }
            }
            (true, None) => {
                let text = format!("rank {} is a source of operation \"{}\" and gives no input", self.rank(), O::NAME);
                return Request::refused(Error::invalid(text));
            }
            // Who receives only does not say parameters.
            (false, _) => (self.clone(), Vec::new()),
        };
        comm.call_user(Named::new(O::NAME).version(O::VERSION), group, message)
    }

    /// Calls what the hub has under a name, with an input that is encoded.
    #[track_caller]
    pub(super) fn call_user<T: DeserializeOwned + 'static>(
        &self,
        named: Named,
        group: Group<'_>,
        message: Vec<u8>,
    ) -> Request<'static, Option<T>> {
        let call = match OwnedCall::user(group, self.size(), named.name, named.version) {
            Ok(call) => call,
            Err(error) => return Request::refused(error),
        };
        let receives = group.destinations.contains(self.rank());
        let started = Started {
            call,
            datatype: Datatype::Object,
            sent: Sent::Equal(message.len()),
            receive: if receives { Receive::AtMost(self.message_size) } else { Receive::Exactly(0) },
            outbound: Outbound::Whole(Box::new(message)),
            inbound: Inbound::Whole { storage: Box::new(Vec::<u8>::new()), open: true },
        };
        self.start(started, OnDrop::Detach, move |completion| match receives {
            true => decode(Origin::Operation(named.name), &whole::<u8>(completion)?).map(Some),
            false => Ok(None),
        })
    }

    /// Combines buffers of some ranks by a fold or columns that the hub has under a name, range by range: the hub holds a
    /// window of each rank's buffer, however long that is. Sources of the group give `Some` data, all of one length; what
    /// others give is ignored. Destinations get `Some` result, of that length, the others `None`.
    ///
    /// Every rank of the group has to call it, and nobody else. [`Registry`](crate::hub::Registry)'s `insert_fold`,
    /// `insert_fold_fn`, `insert_columns` and `insert_columns_fn` add what is called. Where all ranks give, and all or one
    /// receive, [`fold_all`](Self::fold_all) and [`fold_to`](Self::fold_to) are shorter. The elements of a fold may be
    /// several `T` beside each other: so many make up one, and the length is a multiple of that.
    ///
    /// ```
    /// use edgempi::hub::Registry;
    /// use edgempi::{Builder, Group, Named, Rank};
    ///
    /// let mut operations = Registry::new();
    /// operations.insert_columns_fn("median", 1, |values: &mut [i32]| {
    ///     values.sort_unstable();
    ///     values[values.len() / 2]
    /// });
    /// let worlds = Builder::new().operations(operations).local(4)?;
    /// // Ranks 0 to 2 give, and rank 3 alone receives.
    /// let (sensors, recorder) = ([0, 1, 2].map(Rank::new), [Rank::new(3)]);
    /// let group = Group::new(&sensors, &recorder);
    /// let data = [Some([1, 60]), Some([9, 50]), Some([3, 40]), None];
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .zip(data)
    ///     .map(|(world, data)| world.comm().fold(Named::new("median"), group, data))
    ///     .collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, [None, None, None, Some(vec![3, 50])]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Self::apply), and [`Error::Mismatch`] if lengths differ, or are no whole number of elements.
    #[track_caller]
    pub fn fold<T: Element>(
        &self,
        named: Named,
        group: Group<'_>,
        data: Option<impl IntoBuffer<T>>,
    ) -> Request<'static, Option<Vec<T>>> {
        let call = match OwnedCall::user(group, self.size(), named.name, named.version) {
            Ok(call) => call,
            Err(error) => return Request::refused(error),
        };
        let gives = group.sources.contains(self.rank());
        let receives = group.destinations.contains(self.rank());
        let data = match (gives, data) {
            (true, Some(data)) => data.into_buffer(),
            (true, None) => {
                let (rank, name) = (self.rank(), named.name);
                let text = format!("rank {rank} is a source of operation \"{name}\" and gives no buffer");
                return Request::refused(Error::invalid(text));
            }
            (false, _) => Vec::new(),
        };
        let len = size_of_val(data.as_slice());
        let started = Started {
            call,
            datatype: T::DATATYPE,
            sent: Sent::Equal(len),
            // Whoever gives nothing does not know the length.
            receive: match (receives, gives) {
                (false, _) => Receive::Exactly(0),
                (true, true) => Receive::Exactly(len),
                (true, false) => Receive::AtMost(self.message_size),
            },
            outbound: if gives { Outbound::InPlace } else { Outbound::Nothing },
            inbound: Inbound::Whole { storage: Box::new(data), open: !gives },
        };
        self.start(started, OnDrop::Detach, move |completion| match receives {
            true => whole(completion).map(Some),
            false => Ok(None),
        })
    }

    /// As [`fold`](Self::fold), of every rank's buffer for every rank: an [`allreduce`](Self::allreduce) with an operation
    /// of one's own.
    ///
    /// ```
    /// use edgempi::hub::Registry;
    /// use edgempi::{Builder, Named};
    ///
    /// let mut operations = Registry::new();
    /// operations.insert_fold_fn(
    ///     "weighted mean",
    ///     1,
    ///     |[a, v]: [f32; 2], [b, w]: [f32; 2]| [a + b, v + w],
    ///     |[sum, weight]| [sum / weight, weight],
    /// );
    /// let worlds = Builder::new().operations(operations).local(2)?;
    /// // Value x weight and weight, beside each other, of two coordinates.
    /// let data = [[1.0 * 3.0, 3.0, 8.0 * 1.0, 1.0f32], [5.0 * 1.0, 1.0, 4.0 * 3.0, 3.0]];
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .zip(data)
    ///     .map(|(world, data)| world.comm().fold_all(Named::new("weighted mean"), data))
    ///     .collect();
    /// for request in requests {
    ///     assert_eq!(request.wait()?, [2.0, 4.0, 5.0, 4.0]);
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn fold_all<T: Element>(&self, named: Named, data: impl IntoBuffer<T>) -> Request<'static, Vec<T>> {
        let request = self.fold(named, Group::ALL, Some(data));
        request.and_then(|result| result.ok_or_else(|| Error::defect()))
    }

    /// As [`fold`](Self::fold), of every rank's buffer for one rank: a [`reduce`](Self::reduce) with an operation of one's
    /// own. `None` on the other ranks.
    #[track_caller]
    pub fn fold_to<T: Element>(
        &self,
        named: Named,
        root: impl Into<Rank>,
        data: impl IntoBuffer<T>,
    ) -> Request<'static, Option<Vec<T>>> {
        let root = [root.into()];
        self.fold(named, Group { sources: Ranks::All, destinations: Ranks::List(&root) }, Some(data))
    }
}
