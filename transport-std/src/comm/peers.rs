//! To whom and from whom a message goes: a rank, any rank, or nobody.

use edgempi_core::{Rank, Source, Status, Tag};

/// To whom a message goes: a rank or its number; or `None`, MPI's `PROC_NULL` (MPI 4.1, chapter 3.10), to whom a send is
/// done at once.
///
/// So the ends of a line of ranks need no `if`: `comm.send(right, 0, data)` with `right: Option<u32>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nobody to send to",
    note = "a rank is a `Rank` or a `u32`; nobody (`PROC_NULL`) is a `None` of `Option<Rank>` or `Option<u32>`"
)]
pub trait IntoDest {
    /// The rank, if there is one.
    fn into_dest(self) -> Option<Rank>;
}

impl IntoDest for Rank {
    fn into_dest(self) -> Option<Rank> {
        Some(self)
    }
}

impl IntoDest for u32 {
    fn into_dest(self) -> Option<Rank> {
        Some(Rank::new(self))
    }
}

impl<T: IntoDest> IntoDest for Option<T> {
    fn into_dest(self) -> Option<Rank> {
        self.and_then(T::into_dest)
    }
}

/// From whom a message comes: a rank or its number, [`ANY_SOURCE`](crate::ANY_SOURCE); or `None`, MPI's `PROC_NULL`
/// (MPI 4.1, chapter 3.10), from whom a receive gets no element at once, its status's source being
/// [`Status::NOBODY`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nobody to receive from",
    note = "a rank is a `Rank` or a `u32`; anybody is `ANY_SOURCE`; nobody (`PROC_NULL`) is a `None` of `Option<Rank>` or `Option<u32>`"
)]
pub trait IntoSource {
    /// The source, if there is one.
    fn into_source(self) -> Option<Source>;
}

impl IntoSource for Source {
    fn into_source(self) -> Option<Source> {
        Some(self)
    }
}

impl IntoSource for Rank {
    fn into_source(self) -> Option<Source> {
        Some(Source::Rank(self))
    }
}

impl IntoSource for u32 {
    fn into_source(self) -> Option<Source> {
        Some(Source::Rank(Rank::new(self)))
    }
}

impl<T: IntoSource> IntoSource for Option<T> {
    fn into_source(self) -> Option<Source> {
        self.and_then(T::into_source)
    }
}

/// What a receive from nobody gets.
pub(super) const NOTHING: Status = Status { source: Status::NOBODY, tag: Tag(0), bytes: 0 };
