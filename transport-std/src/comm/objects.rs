//! The calls of a communicator for any serde value. Values travel as postcard.

use edgempi_core::operation::{Reducer, Reduction, fold_tree};
use edgempi_core::request::{Receive, Sent};
use edgempi_core::{Call, Datatype, Rank, Source, Status, Tag, TagSelector};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::peers::IntoDest;
use super::{Comm, Started, whole};
use crate::buffers::{Inbound, Outbound};
use crate::engine::OwnedCall;
use crate::error::Error;
use crate::pending::Completion;
use crate::request::{OnDrop, Request};

/// A value as it travels.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    postcard::to_allocvec(value).map_err(|error| Error::Encode { reason: error.to_string() })
}

/// Where a value comes from.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    Rank(Rank),
    /// The user's operation of this name.
    Operation(&'static str),
}

/// A value that has come.
pub(super) fn decode<T: DeserializeOwned>(origin: Origin, bytes: &[u8]) -> Result<T, Error> {
    let reason = match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => return Ok(value),
        Ok((_, rest)) => format!("{} bytes are left over", rest.len()),
        Err(error) => error.to_string(),
    };
    let (from, what) = match origin {
        Origin::Rank(rank) => (Some(rank), format!("the object from rank {rank}")),
        Origin::Operation(name) => (None, format!("the output of operation \"{name}\"")),
    };
    Err(Error::Decode { from, what, expected: std::any::type_name::<T>(), reason })
}

/// The calls of a [`Comm`] for any serde value: its own names, values instead of buffers.
///
/// Values are encoded with postcard, and may have different lengths on different ranks. So `gather` of vectors is what
/// MPI calls `Gatherv`. All ranks have to mean the same type: what comes is checked as far as its bytes tell, and is
/// [`Error::Decode`] otherwise, on that rank alone. postcard does not describe itself: formats and attributes that need
/// that (`serde_json::Value`, `#[serde(untagged)]`, `#[serde(flatten)]`) do not decode.
///
/// Errors are those of [`Comm`]'s calls, with [`Error::Encode`] at once for a value that serde can't write. A rank
/// receives at most `EDGEMPI_MSG_SIZE` bytes in one call, from all others together; more is [`Error::Truncated`].
#[derive(Clone, Copy, Debug)]
pub struct Objects<'c> {
    comm: &'c Comm,
}

impl Comm {
    /// The same calls for any serde value.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .map(|world| world.comm().objects().allgather(&format!("I am {}", world.rank())))
    ///     .collect();
    /// for request in requests {
    ///     assert_eq!(request.wait()?, ["I am 0", "I am 1"]);
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    pub fn objects(&self) -> Objects<'_> {
        Objects { comm: self }
    }
}

impl Objects<'_> {
    /// The root's value reaches every rank (MPI 4.1, chapter 6.4). `value` is `Some` at the root; what others give is
    /// ignored. The root gets its own value back.
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
        let root = root.into();
        let call = Call::Bcast { root };
        if root != self.comm.rank() {
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

    /// Value r of the root reaches rank r (MPI 4.1, chapter 6.6). `values` is `Some` at the root, with one for each rank;
    /// what others give is ignored.
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
        let root = root.into();
        let call = Call::Scatter { root };
        if root != self.comm.rank() {
            return self.comm.start(self.receiving(call), OnDrop::Detach, move |completion| one(root, completion));
        }
        let Some(values) = values else {
            return Request::refused(Error::invalid("the root of a scatter has to give values"));
        };
        let started = self.parts(&values).map(|(parts, total)| Started {
            sent: Sent::Varied(total),
            outbound: Outbound::Parts(parts),
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
                outbound: Outbound::Parts(parts),
                inbound: Inbound::Parts(received),
            })
        });
        match result {
            Ok(started) => self.comm.start(started, OnDrop::Detach, all),
            Err(error) => Request::refused(error),
        }
    }

    /// Combines every rank's value at the root (MPI 4.1, chapter 6.9.1), by a built-in op where the value is an element,
    /// or by a closure, which runs at the root. `None` on the other ranks.
    ///
    /// The closure gets values in rank order, and has to be associative. All ranks give one, or all a built-in op. Write
    /// the types of what it takes: they are not inferred, because a built-in op could stand there as well.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let words = ["to", "be", "or"];
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .zip(words)
    ///     .map(|(world, word)| world.comm().objects().reduce(0, word.to_owned(), |a: String, b: String| a + " " + &b))
    ///     .collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, [Some("to be or".to_owned()), None, None]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce<T>(&self, root: impl Into<Rank>, value: T, reducer: impl Reducer<T>) -> Request<'static, Option<T>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let root = root.into();
        match reducer.into_reduction() {
            Reduction::Builtin { op, datatype, encode, decode } => {
                let receives = root == self.comm.rank();
                let started = self.element(Call::Reduce { root, op }, datatype, encode(&value), receives);
                self.comm.start(started, OnDrop::Detach, move |completion| match receives {
                    true => element(completion, decode).map(Some),
                    false => Ok(None),
                })
            }
            Reduction::Function(function) => {
                self.gather(root, &value).map(move |values| values.and_then(|values| fold_tree(values, function)))
            }
        }
    }

    /// Combines every rank's value at every rank (MPI 4.1, chapter 6.9.6), by a built-in op where the value is an
    /// element, or by a closure, which runs at every rank. See [`reduce`](Self::reduce) for what a closure has to be.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .map(|world| {
    ///         let stars = "*".repeat(world.rank().index());
    ///         world.comm().objects().allreduce(stars, |a: String, b: String| if a.len() >= b.len() { a } else { b })
    ///     })
    ///     .collect();
    /// for request in requests {
    ///     assert_eq!(request.wait()?, "**");
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn allreduce<T>(&self, value: T, reducer: impl Reducer<T>) -> Request<'static, T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        match reducer.into_reduction() {
            Reduction::Builtin { op, datatype, encode, decode } => {
                let started = self.element(Call::Allreduce { op }, datatype, encode(&value), true);
                self.comm.start(started, OnDrop::Detach, move |completion| element(completion, decode))
            }
            Reduction::Function(function) => {
                let request = self.allgather(&value);
                request.and_then(move |values| fold_tree(values, function).ok_or(Error::Finalized))
            }
        }
    }

    /// Sends a value to `dest` (MPI 4.1, chapter 3.2.1). Resolves as [`Comm::send`] does.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// worlds[0].comm().objects().send(1, 7, &("a pair", 42)).wait()?;
    /// let (pair, status) = worlds[1].comm().objects().recv::<(String, i32)>(0, 7).wait()?;
    /// assert_eq!((pair.0.as_str(), pair.1, status.source.get()), ("a pair", 42, 0));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn send<T: Serialize + ?Sized>(
        &self,
        dest: impl IntoDest,
        tag: impl Into<Tag>,
        value: &T,
    ) -> Request<'static, ()> {
        let Some(dest) = dest.into_dest() else { return Request::ready(Ok(())) };
        match self.sending(Call::Send { dest, tag: tag.into() }, value) {
            Ok(started) => self.comm.start(started, OnDrop::Detach, |_| Ok(())),
            Err(error) => Request::refused(error),
        }
    }

    /// Receives a value (MPI 4.1, chapter 3.2.4), with what is known of its message. Takes what
    /// [`send`](Self::send) of objects sends, not buffers.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Decode`] if the bytes are no `T`.
    ///
    /// # Cancel safety
    ///
    /// As [`Comm::recv`].
    #[track_caller]
    pub fn recv<T>(&self, source: impl Into<Source>, tag: impl Into<TagSelector>) -> Request<'static, (T, Status)>
    where
        T: DeserializeOwned + 'static,
    {
        let started = self.receiving(Call::Recv { source: source.into(), tag: tag.into() });
        self.comm.start(started, OnDrop::Cancel, |completion| {
            let status = completion.status;
            Ok((one(status.source, completion)?, status))
        })
    }

    pub(super) fn comm(&self) -> &Comm {
        self.comm
    }

    fn sending<T: Serialize + ?Sized>(&self, call: Call<'static>, value: &T) -> Result<Started, Error> {
        let bytes = encode(value)?;
        Ok(Started {
            call: OwnedCall::Builtin(call),
            datatype: Datatype::Object,
            sent: Sent::Equal(bytes.len()),
            receive: Receive::Exactly(0),
            outbound: Outbound::Whole(Box::new(bytes)),
            inbound: Inbound::Nothing,
        })
    }

    fn receiving(&self, call: Call<'static>) -> Started {
        Started {
            call: OwnedCall::Builtin(call),
            datatype: Datatype::Object,
            sent: Sent::Equal(0),
            receive: Receive::AtMost(self.comm.message_size),
            outbound: Outbound::Nothing,
            inbound: Inbound::Whole { storage: Box::new(Vec::<u8>::new()), open: true },
        }
    }

    fn collecting<T: Serialize>(&self, call: Call<'static>, value: &T, receives: bool) -> Result<Started, Error> {
        let mut started = self.sending(call, value)?;
        if receives {
            let mut parts = vec![Vec::new(); self.comm.size() as usize];
            parts[self.comm.rank().index()] = encode(value)?;
            started.receive = Receive::AtMost(self.comm.message_size);
            started.inbound = Inbound::Parts(parts);
        }
        Ok(started)
    }

    /// A part for each rank but this one, and the bytes of all of them.
    fn parts<T: Serialize>(&self, values: &[T]) -> Result<(Vec<Vec<u8>>, usize), Error> {
        let size = self.comm.size() as usize;
        if values.len() != size {
            let text = format!("{} values were given for {size} ranks", values.len());
            return Err(Error::invalid(text));
        }
        let mut parts = Vec::with_capacity(size);
        for (rank, value) in values.iter().enumerate() {
            parts.push(if rank == self.comm.rank().index() { Vec::new() } else { encode(value)? });
        }
        let total = parts.iter().map(Vec::len).sum();
        Ok((parts, total))
    }

    fn element(&self, call: Call<'static>, datatype: Datatype, bytes: Vec<u8>, receives: bool) -> Started {
        let len = bytes.len();
        Started {
            call: OwnedCall::Builtin(call),
            datatype,
            sent: Sent::Equal(len),
            receive: Receive::Exactly(if receives { len } else { 0 }),
            outbound: Outbound::InPlace,
            inbound: Inbound::Whole { storage: Box::new(bytes), open: false },
        }
    }
}

fn one<T: DeserializeOwned>(from: Rank, completion: Completion) -> Result<T, Error> {
    decode(Origin::Rank(from), &whole::<u8>(completion)?)
}

fn all<T: DeserializeOwned>(completion: Completion) -> Result<Vec<T>, Error> {
    let Inbound::Parts(parts) = completion.buffers.inbound else { return Err(Error::Finalized) };
    parts.iter().enumerate().map(|(rank, part)| decode(Origin::Rank(Rank::new(rank as u32)), part)).collect()
}

fn element<T>(completion: Completion, decode: fn(&[u8]) -> Option<T>) -> Result<T, Error> {
    decode(&whole::<u8>(completion)?).ok_or(Error::Finalized)
}
