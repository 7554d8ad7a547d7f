//! How two objects become one: a built-in reduce op where the object is an element, or a function.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Named;
use crate::datatype::{Datatype, Element, ReduceOp};

/// What a reduction of objects does.
pub enum Reduction<T> {
    /// The object is an element under a built-in op: it travels as a typed buffer of one, and the hub folds.
    Builtin {
        /// The op.
        op: ReduceOp,
        /// The element's datatype.
        datatype: Datatype,
        /// Its bytes.
        encode: fn(&T) -> Vec<u8>,
        /// The element of some bytes, `None` if their number is wrong.
        decode: fn(&[u8]) -> Option<T>,
    },
    /// A function folds at the ranks, in the same shape.
    Function(Box<dyn FnMut(T, T) -> T + Send>),
    /// A function that is registered at the hub folds there, in the same shape.
    Named(Named),
}

impl<T> core::fmt::Debug for Reduction<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Builtin { op, datatype, .. } => write!(f, "Builtin({op} of {datatype})"),
            Self::Function(_) => f.write_str("Function"),
            Self::Named(named) => write!(f, "{named:?}"),
        }
    }
}

/// Something that makes one value of two: a [`ReduceOp`] for elements, a closure for any type, or the name of a function
/// at the hub ([`Named`]).
///
/// The closure has to be associative; it is called with values in rank order, in the shape of
/// [`fold_tree`](super::fold_tree). Commutative it need not be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not reduce values of `{T}`",
    note = "a built-in op (`Sum`, …) reduces elements alone; a closure says its types: `|a: {T}, b: {T}| …`; `Named` is a function at the hub"
)]
pub trait Reducer<T> {
    /// What to do.
    fn into_reduction(self) -> Reduction<T>;
}

impl<T: Element> Reducer<T> for ReduceOp {
    fn into_reduction(self) -> Reduction<T> {
        Reduction::Builtin {
            op: self,
            datatype: T::DATATYPE,
            encode: |value| value.as_bytes().to_vec(),
            decode: |bytes| T::read_from_bytes(bytes).ok(),
        }
    }
}

impl<T> Reducer<T> for Named {
    fn into_reduction(self) -> Reduction<T> {
        Reduction::Named(self)
    }
}

impl<T, F: FnMut(T, T) -> T + Send + 'static> Reducer<T> for F {
    fn into_reduction(self) -> Reduction<T> {
        Reduction::Function(Box::new(self))
    }
}
