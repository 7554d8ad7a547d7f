//! Objects that go round as they are: from one rank to all, from all to one, from each to each.

use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Datatype, Rank};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Objects, all, encode, one};
use crate::buffers::{Inbound, Outbound};
use crate::comm::{Started, given_beside_root};
use crate::engine::OwnedCall;
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Objects<'_> {
    /// The root's value reaches every rank (MPI 4.1, chapter 6.4). `value` is `Some` at the root, and `None`
    /// on the other ranks. The root gets its own value back.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .map(|world| {
    ///         let comm = world.comm();
    ///         comm.objects().bcast(0, (comm.rank() == 0).then(|| "hello".to_owned()))
    ///     })
    ///     .collect();
    /// for request in requests {
    ///     assert_eq!(request.wait()?, "hello");
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn bcast<T>(&self, root: impl Into<Rank>, value: Option<T>) -> Request<'static, T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let (root, rank) = (root.into(), self.comm.rank());
        let call = Call::Bcast { root };
        if root != rank {
            if value.is_some() {
                return Request::refused(given_beside_root("bcast", rank, root));
            }
            return self.comm.start(self.receiving(call), OnDrop::Detach, move |completion| one(root, completion));
        }
        let Some(value) = value else {
            return Request::refused(Error::invalid("the root of a bcast has to give a value"));
        };
        match self.sending(call, &value) {
            Ok(started) => self.comm.start(started, OnDrop::Detach, move |_| Ok(value)),
            Err(error) => Request::refused(error),
        }
    }

    /// Every rank's value reaches the root, in rank order (MPI 4.1, chapter 6.5). `None` on the other ranks.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> =
    ///     worlds.iter().map(|world| world.comm().objects().gather(0, &vec!['x'; world.rank().index()])).collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, [Some(vec![vec![], vec!['x'], vec!['x', 'x']]), None, None]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn gather<T>(&self, root: impl Into<Rank>, value: &T) -> Request<'static, Option<Vec<T>>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let root = root.into();
        let is_root = root == self.comm.rank();
        let result = self.collecting(Call::Gather { root }, value, is_root);
        match result {
            Ok(started) => {
                self.comm.start(
                    started,
                    OnDrop::Detach,
                    move |completion| {
                        if is_root { all(completion).map(Some) } else { Ok(None) }
                    },
                )
            }
            Err(error) => Request::refused(error),
        }
    }

    /// Value r of the root reaches rank r (MPI 4.1, chapter 6.6). `values` is `Some` at the root, with one for each rank,
    /// and `None` on the other ranks.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let root = worlds[0].comm().objects().scatter(0, Some(vec!["mine".to_owned(), "yours".to_owned()]));
    /// let other = worlds[1].comm().objects().scatter::<String>(0, None);
    /// assert_eq!((root.wait()?.as_str(), other.wait()?.as_str()), ("mine", "yours"));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter<T>(&self, root: impl Into<Rank>, values: Option<Vec<T>>) -> Request<'static, T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let (root, rank) = (root.into(), self.comm.rank());
        let call = Call::Scatter { root };
        if root != rank {
            if values.is_some() {
                return Request::refused(given_beside_root("scatter", rank, root));
            }
            return self.comm.start(self.receiving(call), OnDrop::Detach, move |completion| one(root, completion));
        }
        let Some(values) = values else {
            return Request::refused(Error::invalid("the root of a scatter has to give values"));
        };
        let started = self.parts(&values).map(|(parts, total)| Started {
            sent: Sent::Varied(total),
            outbound: Outbound::Parts(Box::new(parts)),
            ..self.receiving(call)
        });
        let own = values.into_iter().nth(self.comm.rank().index());
        match (started, own) {
            (Ok(started), Some(own)) => {
                let started = Started { receive: Receive::Exactly(0), ..started };
                self.comm.start(started, OnDrop::Detach, move |_| Ok(own))
            }
            (Err(error), _) => Request::refused(error),
            (Ok(_), None) => Request::refused(Error::invalid("the root of a scatter has to give values")),
        }
    }

    /// Every rank's value reaches every rank, in rank order (MPI 4.1, chapter 6.7).
    #[track_caller]
    pub fn allgather<T>(&self, value: &T) -> Request<'static, Vec<T>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        match self.collecting(Call::Allgather, value, true) {
            Ok(started) => self.comm.start(started, OnDrop::Detach, all),
            Err(error) => Request::refused(error),
        }
    }

    /// Value d of rank s becomes value s of rank d (MPI 4.1, chapter 6.8). `values` has one for each rank.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let first = worlds[0].comm().objects().alltoall(&["0 to 0", "0 to 1"].map(str::to_owned));
    /// let second = worlds[1].comm().objects().alltoall(&["1 to 0", "1 to 1"].map(str::to_owned));
    /// assert_eq!(first.wait()?, ["0 to 0", "1 to 0"]);
    /// assert_eq!(second.wait()?, ["0 to 1", "1 to 1"]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn alltoall<T>(&self, values: &[T]) -> Request<'static, Vec<T>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let rank = self.comm.rank().index();
        let result = self.parts(values).and_then(|(parts, total)| {
            let mut received = vec![Vec::new(); parts.len()];
            received[rank] = encode(&values[rank])?;
            Ok(Started {
                call: OwnedCall::Builtin(Call::Alltoall),
                datatype: Datatype::Object,
                sent: Sent::Varied(total),
                receive: Receive::AtMost(self.comm.message_size),
                outbound: Outbound::Parts(Box::new(parts)),
                inbound: Inbound::Parts(Box::new(received)),
            })
        });
        match result {
            Ok(started) => self.comm.start(started, OnDrop::Detach, all),
            Err(error) => Request::refused(error),
        }
    }
}
