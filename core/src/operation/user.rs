//! User-defined operations, as a rank calls them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rank::Group;

/// An operation that is registered at the hub under a name, called with some parameters on some ranks.
///
/// At the hub it is an [`Apply`](crate::hub::Apply), a function from the inputs of all sources to the outputs of all
/// destinations; closures never travel.
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

    /// Who gives and who receives in this call. All participants have to say the same.
    fn group(&self) -> Group<'_>;
}
