//! How one field of a header is laid out: every field has a fixed size and is little-endian.

use thiserror::Error;

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The kind is unknown and not optional, or not one that this side may receive.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// The header is shorter than the fields of its kind.
    #[error("header of frame kind {kind} has {len} bytes, too few")]
    Short {
        /// The frame's kind.
        kind: u8,
        /// The header's length.
        len: usize,
    },
    /// A field holds a value that means nothing.
    #[error("frame kind {0} holds a value that means nothing")]
    Value(u8),
}

/// Takes a field off the front of a header that holds it; `None` if its bytes mean nothing.
// Inlined, so that the lengths are compared while compiling.
#[inline(always)]
pub(super) fn take<F: Field>(rest: &mut &[u8]) -> Option<F> {
    let (bytes, behind) = rest.split_at_checked(F::SIZE)?;
    *rest = behind;
    F::get(bytes)
}

/// A value with a fixed layout.
pub(crate) trait Field: Sized {
    const SIZE: usize;
    /// Writes the value into the `SIZE` bytes of `bytes`.
    fn put(&self, bytes: &mut [u8]);
    /// Reads the value from `SIZE` bytes; `None` if they mean nothing.
    fn get(bytes: &[u8]) -> Option<Self>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Field for $type {
            const SIZE: usize = size_of::<$type>();
            #[inline(always)]
            fn put(&self, bytes: &mut [u8]) {
                if let Some(place) = bytes.first_chunk_mut() {
                    *place = self.to_le_bytes();
                }
            }
            #[inline(always)]
            fn get(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(|bytes| Self::from_le_bytes(*bytes))
            }
        }
    )*};
}
number!(u8, u16, u32, u64, u128);

/// A field that travels as another one.
macro_rules! as_field {
    ($type:ty as $wire:ty, $to:expr, $from:expr) => {
        impl $crate::wire::field::Field for $type {
            const SIZE: usize = size_of::<$wire>();
            #[inline(always)]
            fn put(&self, bytes: &mut [u8]) {
                let to: fn(&$type) -> $wire = $to;
                to(self).put(bytes);
            }
            #[inline(always)]
            fn get(bytes: &[u8]) -> Option<Self> {
                let from: fn($wire) -> Option<$type> = $from;
                from(<$wire as $crate::wire::field::Field>::get(bytes)?)
            }
        }
    };
}
pub(crate) use as_field;

as_field!(crate::rank::Rank as u32, |rank| rank.get(), |number| Some(number.into()));
as_field!(crate::rank::Tag as u32, |tag| tag.0, |number| Some(number.into()));
as_field!(crate::error::Category as u16, |category| category.code(), |code| {
    // A category that only a later version knows is still a failure.
    Some(crate::error::Category::from_code(code).unwrap_or(crate::error::Category::Protocol))
});

/// A header: its fields one behind the other.
macro_rules! header {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $name {
            pub(super) const LEN: usize = 0 $(+ <$type as $crate::wire::field::Field>::SIZE)*;

            pub(super) fn encode(&self, bytes: &mut [u8; $crate::wire::MAX_HEADER_LEN]) -> usize {
                let mut at = 0;
                $(
                    let end = at + <$type as $crate::wire::field::Field>::SIZE;
                    if let Some(place) = bytes.get_mut(at..end) {
                        $crate::wire::field::Field::put(&self.$field, place);
                    }
                    at = end;
                )*
                at
            }

            pub(super) fn decode(kind: u8, header: &[u8]) -> Result<Self, $crate::wire::DecodeError> {
                let short = $crate::wire::DecodeError::Short { kind, len: header.len() };
                let mut rest: &[u8] = header.first_chunk::<{ $name::LEN }>().ok_or(short)?;
                let mut fields = || Some(Self { $($field: $crate::wire::field::take(&mut rest)?,)* });
                fields().ok_or($crate::wire::DecodeError::Value(kind))
            }
        }

        const _: () = assert!($name::LEN <= $crate::wire::MAX_HEADER_LEN);
    };
}
pub(super) use header;
