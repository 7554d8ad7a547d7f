//! User-defined operations, as a rank calls them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rank::Group;

/// An operation that is registered at the hub under a name, called with some parameters on some ranks.
///
/// At the hub it is an [`Apply`](crate::hub::Apply), a function from the inputs of all sources to the outputs of all
/// destinations; closures never travel. A value of the type is one call: it says with which parameters and on which
/// ranks.
///
/// ```
/// use edgempi_core::operation::Operation;
/// use edgempi_core::{Group, Rank};
///
/// /// The samples of some ranks go through a filter at the hub; the filtered ones reach one rank.
/// struct Smooth<'a> {
///     width: u32,
///     sensors: &'a [Rank],
///     recorder: [Rank; 1],
/// }
///
/// impl Operation for Smooth<'_> {
///     const NAME: &'static str = "smooth";
///     type Parameters = u32;
///     type Input = Vec<f32>;
///     type Output = Vec<f32>;
///
///     fn parameters(&self) -> u32 {
///         self.width
///     }
///
///     fn group(&self) -> Group<'_> {
///         Group::new(self.sensors, &self.recorder)
///     }
/// }
/// ```
pub trait Operation {
    /// The name under which the hub knows it.
    const NAME: &'static str;
    /// Counts incompatible changes; the hub's must be the same.
    const VERSION: u32 = 1;
    /// What every source says alike.
    type Parameters: Serialize;
    /// What each source gives.
    type Input: Serialize;
    /// What each destination receives.
    type Output: DeserializeOwned;

    /// The parameters of this call.
    fn parameters(&self) -> Self::Parameters;

    /// Who gives and who receives in this call. All participants have to say the same, in the same order. A call needs
    /// sources, who say the parameters, and destinations, or nobody learns how it ended.
    fn group(&self) -> Group<'_>;
}

/// The name of an operation that takes no parameters and is registered at the hub: a function that reduces objects
/// (`Registry::insert_reduce`), or a fold or columns of buffers (`Registry::insert_fold`, `insert_columns`).
///
/// A rank gives it to `reduce` and `allreduce` in place of a built-in op.
///
/// ```
/// use edgempi_core::operation::Named;
///
/// const LONGEST: Named = Named::new("longest");
/// const MEDIAN: Named = Named::new("median").version(2);
/// # assert_eq!((LONGEST.name, LONGEST.version, MEDIAN.version), ("longest", 1, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name under which the hub knows it.
    pub name: &'static str,
    /// Counts incompatible changes; the hub's must be the same.
    pub version: u32,
}

impl Named {
    /// Version 1 of the operation of this name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, version: 1 }
    }

    /// Another version of it.
    pub const fn version(self, version: u32) -> Self {
        Self { name: self.name, version }
    }
}
