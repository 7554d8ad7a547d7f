//! What operations compute from the elements of many ranks.

#[cfg(feature = "alloc")]
mod columns;
mod fold;
mod kernel;
#[cfg(feature = "alloc")]
mod reducer;
mod user;

#[cfg(feature = "alloc")]
pub use columns::Columns;
#[cfg(feature = "alloc")]
pub(crate) use columns::ColumnsOf;
#[cfg(feature = "alloc")]
pub use fold::fold_all;
pub use fold::{BuiltinFold, Fold, Input, fold_range, fold_tree, scratch_len, split};
#[cfg(feature = "alloc")]
pub use reducer::{Reducer, Reduction};
pub use user::Operation;
