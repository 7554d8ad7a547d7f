//! Objects of the ranks up to each one's own, combined from the left.

use edgempi_core::operation::{Reducer, Reduction};
use edgempi_core::{Call, Purpose};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Objects, element, only_reduces};
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Objects<'_> {
    /// Combines the values of the ranks up to this one, from the left (MPI 4.1, chapter 6.11.1), by a built-in op where the
    /// value is an element, or by a closure, which runs at every rank. See [`reduce`](Self::reduce) for what a closure has
    /// to be.
    ///
    /// ```
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .zip(["to", "be", "or"])
    ///     .map(|(world, word)| world.comm().objects().scan(word.to_owned(), |a: String, b: String| a + " " + &b))
    ///     .collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, ["to", "to be", "to be or"]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn scan<T>(&self, value: T, reducer: impl Reducer<T>) -> Request<'static, T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let own = self.comm.rank().index();
        match reducer.into_reduction() {
            Reduction::Builtin { op, datatype, encode, decode } => {
                let started = self.element(Call::Scan { op }, datatype, encode(&value), true);
                self.comm.start(started, OnDrop::Detach, move |completion| element(completion, decode))
            }
            Reduction::Named(named) => Request::refused(only_reduces(named)),
            Reduction::Function(function) => {
                self.comm.meaning(Purpose::Scan).objects().allgather(&value).and_then(move |values| {
                    values.into_iter().take(own + 1).reduce(function).ok_or_else(|| Error::defect())
                })
            }
        }
    }

    /// Combines the values of the ranks before this one, from the left (MPI 4.1, chapter 6.11.2). `None` at rank 0, which
    /// has none before it. Otherwise as [`scan`](Self::scan).
    ///
    /// ```
    /// use edgempi::Sum;
    ///
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> = worlds.iter().map(|world| world.comm().objects().exscan(10u32, Sum)).collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, [None, Some(10), Some(20)]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn exscan<T>(&self, value: T, reducer: impl Reducer<T>) -> Request<'static, Option<T>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let own = self.comm.rank().index();
        match reducer.into_reduction() {
            Reduction::Builtin { op, datatype, encode, decode } => {
                let started = self.element(Call::Exscan { op }, datatype, encode(&value), own > 0);
                self.comm.start(started, OnDrop::Detach, move |completion| match own {
                    0 => Ok(None),
                    _ => element(completion, decode).map(Some),
                })
            }
            Reduction::Named(named) => Request::refused(only_reduces(named)),
            Reduction::Function(function) => {
                let request = self.comm.meaning(Purpose::Exscan).objects().allgather(&value);
                request.map(move |values| values.into_iter().take(own).reduce(function))
            }
        }
    }
}
