//! Calls that combine buffers element by element.

use edgempi_core::operation::{BuiltinFold, Fold};
use edgempi_core::{Call, Element, Rank, ReduceOp};
use zerocopy::IntoBytes;

use super::IntoBuffer;
use crate::comm::{Comm, Started, whole};
use crate::error::Error;
use crate::request::{OnDrop, Request};

impl Comm {
    /// Combines every rank's `data` element by element at the root (MPI 4.1, chapter 6.9.1). All lengths must be
    /// equal. `None` on the other ranks.
    ///
    /// ```
    /// use edgempi::{Located, Minloc};
    ///
    /// # let worlds = edgempi::local(3)?;
    /// let distances = [2.5f32, 0.5, 1.5];
    /// let requests: Vec<_> = worlds
    ///     .iter()
    ///     .zip(distances)
    ///     .map(|(world, distance)| world.comm().reduce(0, [Located::new(distance, world.rank().get())], Minloc))
    ///     .collect();
    /// let results = requests.into_iter().map(|request| request.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(results, [Some(vec![Located::new(0.5, 1)]), None, None]);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if `op` is not defined on `T`.
    #[track_caller]
    pub fn reduce<T: Element>(
        &self,
        root: impl Into<Rank>,
        data: impl IntoBuffer<T>,
        op: ReduceOp,
    ) -> Request<'static, Option<Vec<T>>> {
        let (root, data) = (root.into(), data.into_buffer());
        let is_root = root == self.rank();
        let started = Started::combining(Call::Reduce { root, op }, data, is_root);
        self.start(
            started,
            OnDrop::Detach,
            move |completion| if is_root { whole(completion).map(Some) } else { Ok(None) },
        )
    }

    /// [`reduce`](Self::reduce) whose result takes the place of the root's `data`; that of others is left as it is.
    ///
    /// # Cancel safety
    ///
    /// As [`allreduce_in_place`](Self::allreduce_in_place).
    #[track_caller]
    pub fn reduce_in_place<'a, T: Element>(
        &self,
        root: impl Into<Rank>,
        data: &'a mut [T],
        op: ReduceOp,
    ) -> Request<'a, ()> {
        let root = root.into();
        let is_root = root == self.rank();
        let started = Started::combining(Call::Reduce { root, op }, data.to_vec(), is_root);
        self.start(started, OnDrop::Cancel, move |completion| {
            if is_root {
                data.copy_from_slice(&whole::<T>(completion)?);
            }
            Ok(())
        })
    }

    /// Combines every rank's `data` element by element (MPI 4.1, chapter 6.9.6). All lengths must be equal. The result
    /// is bitwise the same on every rank and in every run, and takes the place of `data` if that is a vector.
    ///
    /// ```
    /// use edgempi::Sum;
    ///
    /// # let worlds = edgempi::local(3)?;
    /// let requests: Vec<_> =
    ///     worlds.iter().map(|world| world.comm().allreduce(vec![1.0f32, world.rank().get() as f32], Sum)).collect();
    /// for request in requests {
    ///     assert_eq!(request.wait()?, [3.0, 0.0 + 1.0 + 2.0]);
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::InvalidArgument`] at once if `op` is not defined on `T`.
    #[track_caller]
    pub fn allreduce<T: Element>(&self, data: impl IntoBuffer<T>, op: ReduceOp) -> Request<'static, Vec<T>> {
        let started = Started::combining(Call::Allreduce { op }, data.into_buffer(), true);
        self.start(started, OnDrop::Detach, whole)
    }

    /// [`allreduce`](Self::allreduce) whose result takes the place of `data`.
    ///
    /// The slice is copied now, and written when the request is polled or waited for. A vector that is handed to
    /// [`allreduce`](Self::allreduce) saves both copies.
    ///
    /// ```
    /// use edgempi::Sum;
    ///
    /// # let worlds = edgempi::local(2)?;
    /// let (mut first, mut second) = ([1.0f64, 2.0], [10.0, 20.0]);
    /// let requests =
    ///     [worlds[0].comm().allreduce_in_place(&mut first, Sum), worlds[1].comm().allreduce_in_place(&mut second, Sum)];
    /// for request in requests {
    ///     request.wait()?;
    /// }
    /// assert_eq!((first, second), ([11.0, 22.0], [11.0, 22.0]));
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the request unfinished fails the operation on every rank with [`Error::Cancelled`]; `data` is as it was. So it
    /// is with all calls whose names end in `_in_place`. A rank that receives nothing, such as one that gives to a gather,
    /// has finished when the library has its data.
    #[track_caller]
    pub fn allreduce_in_place<'a, T: Element>(&self, data: &'a mut [T], op: ReduceOp) -> Request<'a, ()> {
        let started = Started::combining(Call::Allreduce { op }, data.to_vec(), true);
        self.start(started, OnDrop::Cancel, move |completion| {
            data.copy_from_slice(&whole::<T>(completion)?);
            Ok(())
        })
    }
}

/// Combines `data` with the elements of `other`, one by one and in place, as [`Comm::allreduce`] does with those of a higher
/// rank: to the same bits (MPI 4.1, chapter 6.9.7). Nobody else takes part.
///
/// ```
/// use edgempi::Sum;
///
/// let mut gradient = [1.0f32, 2.0];
/// edgempi::reduce_local(&mut gradient, &[10.0, 20.0], Sum)?;
/// assert_eq!(gradient, [11.0, 22.0]);
/// # Ok::<(), edgempi::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidArgument`] if the lengths differ, or if `op` is not defined on `T`.
#[track_caller]
pub fn reduce_local<T: Element>(data: &mut [T], other: &[T], op: ReduceOp) -> Result<(), Error> {
    if data.len() != other.len() {
        let text = format!("{} elements can not be combined with {} one by one", data.len(), other.len());
        return Err(Error::here()(Error::invalid(text)));
    }
    let undefined = || Error::invalid(format!("{op} is not defined on {} (MPI 4.1, chapter 6.9.2)", T::DATATYPE));
    let fold = BuiltinFold::new(T::DATATYPE, op).ok_or_else(undefined).map_err(Error::here())?;
    fold.combine(data.as_mut_bytes(), other.as_bytes());
    Ok(())
}
