//! Elements, datatypes and reduce ops.
use zerocopy::{FromBytes, Immutable, IntoBytes};
/// What an element is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Datatype {
    /// A serde value, encoded with postcard.
    Object = 0,
    /// `f32`
    F32 = 9,
}
/// A built-in reduce op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReduceOp {
    /// The sum.
    Sum = 3,
}
/// A type whose values travel as raw bytes.
pub trait Element: FromBytes + IntoBytes + Immutable + Copy + Send + Sync + 'static {
    /// Its datatype.
    const DATATYPE: Datatype;
}
impl Element for f32 {
    const DATATYPE: Datatype = Datatype::F32;
}
