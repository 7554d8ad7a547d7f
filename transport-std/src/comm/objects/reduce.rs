//! Objects that are combined.

use std::panic::Location;

use edgempi_core::operation::{Named, Reducer, Reduction, fold_tree};
use edgempi_core::request::Receive;
use edgempi_core::{Call, Group, Purpose, Rank, Ranks};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Objects, element, encode, only_reduces};
use crate::comm::{Started, whole};
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Objects<'_> {
    /// Combines every rank's value at the root (MPI 4.1, chapter 6.9.1), by a built-in op where the value is an element,
    /// by a closure, which runs at the root, or by a function at the hub ([`Named`], which
    /// [`Registry::insert_reduce`](crate::hub::Registry::insert_reduce) adds). `None` on the other ranks.
    ///
    /// A function at the hub is one of the [group](crate::Group) of all ranks and the root: ranks that name another root there
    /// wait for each other.
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
            Reduction::Named(named) => {
                let root = [root];
                let group = Group { sources: Ranks::All, destinations: Ranks::List(&root) };
                self.named(named, group, &value)
            }
            Reduction::Function(function) => {
                let comm = self.comm.meaning(Purpose::Reduce);
                comm.objects()
                    .gather(root, &value)
                    .map(move |values| values.and_then(|values| fold_tree(values, function)))
            }
        }
    }

    /// Combines every rank's value at every rank (MPI 4.1, chapter 6.9.6), by a built-in op where the value is an
    /// element, by a closure, which runs at every rank, or by a function at the hub ([`Named`]), which runs once. See
    /// [`reduce`](Self::reduce) for what a closure has to be.
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
            Reduction::Named(named) => {
                let request = self.named(named, Group::ALL, &value);
                request.and_then(|value| value.ok_or_else(|| Error::defect()))
            }
            Reduction::Function(function) => {
                let request = self.comm.meaning(Purpose::Allreduce).objects().allgather(&value);
                request.and_then(move |values| fold_tree(values, function).ok_or_else(|| Error::defect()))
            }
        }
    }

    /// Combines every rank's `values` one by one, and hands the results out in rank order: `counts[r]` of them to rank r (MPI
    /// 4.1, chapter 6.10.2). All ranks give as many values as the counts add up to, and the same counts. A closure runs at
    /// the ranks, each for the results that it gets; see [`reduce`](Self::reduce) for what it has to be.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let join = |a: String, b: String| a + &b;
    /// let first = worlds[0].comm().objects().reduce_scatter(["a", "b", "c"].map(str::to_owned).to_vec(), &[1, 2], join);
    /// let second = worlds[1].comm().objects().reduce_scatter(["x", "y", "z"].map(str::to_owned).to_vec(), &[1, 2], join);
    /// assert_eq!(first.wait()?, ["ax"]);
    /// assert_eq!(second.wait()?, ["by", "cz"]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce_scatter<T>(
        &self,
        values: Vec<T>,
        counts: &[usize],
        reducer: impl Reducer<T>,
    ) -> Request<'static, Vec<T>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        match self.comm.counting(values.len(), counts) {
            Ok((comm, own)) => comm.objects().scattering(Purpose::ReduceScatter, values, counts, own, reducer),
            Err(error) => Request::refused(error),
        }
    }

    /// [`reduce_scatter`](Self::reduce_scatter) of one value for each rank: values r of all ranks, combined, reach rank r
    /// (MPI 4.1, chapter 6.10.1).
    ///
    /// ```
    /// use edgempi::Sum;
    ///
    /// # let worlds = edgempi::local(2)?;
    /// let first = worlds[0].comm().objects().reduce_scatter_block(vec![1.5f64, 2.5], Sum);
    /// let second = worlds[1].comm().objects().reduce_scatter_block(vec![10.0, 20.0], Sum);
    /// assert_eq!((first.wait()?, second.wait()?), (11.5, 22.5));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce_scatter_block<T>(&self, values: Vec<T>, reducer: impl Reducer<T>) -> Request<'static, T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let counts = vec![1; self.comm.size() as usize];
        if values.len() != counts.len() {
            let text = format!("{} values were given for {} ranks", values.len(), counts.len());
            return Request::refused(Error::invalid(text));
        }
        let request = self.scattering(Purpose::ReduceScatterBlock, values, &counts, 1, reducer);
        request.and_then(|mut values| values.pop().ok_or_else(|| Error::defect()))
    }

    /// A reduce_scatter, or one of blocks: this rank gets `own` of the `values`.
    #[track_caller]
    fn scattering<T>(
        &self,
        purpose: Purpose,
        values: Vec<T>,
        counts: &[usize],
        own: usize,
        reducer: impl Reducer<T>,
    ) -> Request<'static, Vec<T>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        match reducer.into_reduction() {
            Reduction::Builtin { op, datatype, encode, decode } => {
                let bytes = values.iter().flat_map(encode).collect();
                let len = own * datatype.size();
                let call = match purpose {
                    Purpose::ReduceScatterBlock => Call::ReduceScatterBlock { op },
                    _ => Call::ReduceScatter { op },
                };
                let started = self.element(call, datatype, bytes, true);
                let started = Started { receive: Receive::Exactly(len), ..started };
                self.comm.start(started, OnDrop::Detach, move |completion| {
                    let bytes = whole::<u8>(completion)?;
                    let elements = bytes.get(..len).unwrap_or_default().chunks_exact(datatype.size().max(1));
                    elements.map(|element| decode(element).ok_or_else(|| Error::defect())).collect()
                })
            }
            Reduction::Named(named) => Request::refused(only_reduces(named)),
            Reduction::Function(mut function) => {
                let mut values = values.into_iter();
                let blocks: Vec<Vec<T>> = counts.iter().map(|count| values.by_ref().take(*count).collect()).collect();
                let site = Location::caller();
                self.comm.meaning(purpose).objects().alltoall(&blocks).and_then(move |blocks| {
                    let differ = || Error::Mismatch { reason: "ranks give different counts".to_owned() }.at(site);
                    let mut columns: Vec<_> = blocks.into_iter().map(Vec::into_iter).collect();
                    let mut result = Vec::with_capacity(own);
                    for _ in 0..own {
                        let column: Option<Vec<T>> = columns.iter_mut().map(Iterator::next).collect();
                        result.push(fold_tree(column.ok_or_else(differ)?, &mut function).ok_or_else(differ)?);
                    }
                    match columns.iter_mut().all(|rest| rest.next().is_none()) {
                        true => Ok(result),
                        false => Err(differ()),
                    }
                })
            }
        }
    }

    /// The hub's function combines the values of a group's sources for its destinations.
    #[track_caller]
    fn named<T>(&self, named: Named, group: Group<'_>, value: &T) -> Request<'static, Option<T>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        match encode(value) {
            Ok(bytes) => self.comm.call_user(named, group, bytes),
            Err(error) => Request::refused(error),
        }
    }
}
