//! What operations compute from the elements of many ranks.

#[cfg(feature = "alloc")]
mod columns;
mod fold;
#[cfg(feature = "alloc")]
mod functions;
mod kernel;
#[cfg(feature = "alloc")]
mod reducer;
mod user;

#[cfg(feature = "alloc")]
pub use columns::Columns;
#[cfg(feature = "alloc")]
pub use fold::fold_all;
pub use fold::{BuiltinFold, Fold, Input, fold_range, fold_tree, scratch_len, split};
#[cfg(feature = "alloc")]
pub(crate) use functions::{ColumnsOf, FoldOf};
#[cfg(feature = "alloc")]
pub use reducer::{Reducer, Reduction};
pub use user::{Named, Operation};
