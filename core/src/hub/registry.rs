//! The operations that users add to a hub.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Display;

use crate::payload::Payload;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::datatype::{Datatype, Element};
use crate::error::Category;
use crate::operation::{BuiltinFold, Columns, ColumnsOf, Fold, FoldOf, fold_tree};
use crate::rank::Rank;

/// A user-defined operation at the hub: all inputs in, all outputs out.
///
/// It runs on a thread of the hub's driver, once for each call, as soon as every source has given its input. Several
/// calls may run at the same time. A panic in it fails the call, like an error; the hub goes on, in a program whose
/// panics unwind.
///
/// [`Registry::insert_fn`] makes one of a function on serde values; implement this to work on bytes.
pub trait Apply: Send + Sync {
    /// Turns the `inputs`, one for each source in the group's order, into one output for each of `destinations`, in any
    /// order. An input is what the rank's driver sent: of crate `edgempi` the call's parameters, then the input, both
    /// postcard (see [`TypedInput`]). Calls of buffers are refused: those are for folds and columns.
    ///
    /// # Errors
    ///
    /// It reaches every participant, whose request fails with `Remote`. A text will do.
    fn apply(&self, destinations: &[Rank], inputs: Vec<(Rank, Payload)>) -> Result<Vec<(Rank, Payload)>, ApplyError>;
}

impl<A: Apply + ?Sized> Apply for Arc<A> {
    fn apply(&self, destinations: &[Rank], inputs: Vec<(Rank, Payload)>) -> Result<Vec<(Rank, Payload)>, ApplyError> {
        (**self).apply(destinations, inputs)
    }
}

/// Why a user's operation failed: a text for people, and what a program can make of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyError {
    /// For people; longer than a frame may be, it is cut.
    pub text: String,
    /// The error itself, as postcard; empty if there is no more than the text. It is left out where it does not fit a frame
    /// beside the text.
    pub encoded: Payload,
}

impl ApplyError {
    /// That of an error of the user's.
    pub fn new<E: Display + Serialize + ?Sized>(error: &E) -> Self {
        // One that does not encode still has its text.
        let encoded = postcard::to_allocvec(error).unwrap_or_default();
        Self { text: error.to_string(), encoded: encoded.into() }
    }
}

impl From<String> for ApplyError {
    fn from(text: String) -> Self {
        Self { text, encoded: Payload::new() }
    }
}

impl From<&str> for ApplyError {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl Display for ApplyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a typed user operation is called with.
#[derive(Clone, Debug)]
pub struct Applied<'a, P> {
    /// The parameters of the call, the same from every source.
    pub parameters: P,
    /// Who receives.
    pub destinations: &'a [Rank],
}

struct Typed<F, P, I, O> {
    function: F,
    types: core::marker::PhantomData<fn(P, I) -> O>,
}

impl<F, P, I, O, E> Apply for Typed<F, P, I, O>
where
    F: Fn(Applied<'_, P>, Vec<(Rank, I)>) -> Result<Vec<(Rank, O)>, E> + Send + Sync,
    P: DeserializeOwned,
    I: DeserializeOwned,
    O: Serialize,
    E: Display + Serialize,
{
    fn apply(&self, destinations: &[Rank], inputs: Vec<(Rank, Payload)>) -> Result<Vec<(Rank, Payload)>, ApplyError> {
        let mut parameters: Option<(Rank, Payload, P)> = None;
        let mut values = Vec::with_capacity(inputs.len());
        for (rank, bytes) in inputs {
            let undecodable = |error: &dyn Display| undecodable(rank, error);
            let (its, rest) = postcard::take_from_bytes::<P>(&bytes).map_err(|error| undecodable(&error))?;
            let its_bytes = bytes.slice(..bytes.len() - rest.len());
            match postcard::take_from_bytes::<I>(rest) {
                Ok((value, [])) => values.push((rank, value)),
                Ok((_, rest)) => return Err(undecodable(&format_args!("{} bytes are left over", rest.len()))),
                Err(error) => return Err(undecodable(&error)),
            }
            match &parameters {
                None => parameters = Some((rank, its_bytes, its)),
                Some((first, bytes, _)) if *bytes != its_bytes => {
                    return Err(format!("ranks {first} and {rank} gave different parameters").into());
                }
                Some(_) => {}
            }
        }
        let Some((_, _, parameters)) = parameters else {
            return Err("the operation has no source, so nobody gave parameters".into());
        };
        let outputs =
            (self.function)(Applied { parameters, destinations }, values).map_err(|error| ApplyError::new(&error))?;
        outputs
            .into_iter()
            .map(|(rank, output)| match postcard::to_allocvec(&output) {
                Ok(bytes) => Ok((rank, bytes.into())),
                Err(error) => Err(format!("the output for rank {rank} does not encode: {error}").into()),
            })
            .collect()
    }
}

fn undecodable(rank: Rank, error: &dyn Display) -> ApplyError {
    format!("the input of rank {rank} does not decode: {error}").into()
}

/// A function that makes one value of two.
struct Reduce<F, T> {
    function: F,
    value: core::marker::PhantomData<fn(T) -> T>,
}

impl<F, T> Apply for Reduce<F, T>
where
    F: Fn(T, T) -> T + Send + Sync,
    T: Serialize + DeserializeOwned,
{
    fn apply(&self, destinations: &[Rank], inputs: Vec<(Rank, Payload)>) -> Result<Vec<(Rank, Payload)>, ApplyError> {
        let mut values: Vec<T> = Vec::with_capacity(inputs.len());
        for (rank, bytes) in inputs {
            match postcard::take_from_bytes(&bytes) {
                Ok((value, [])) => values.push(value),
                Ok((_, rest)) => return Err(undecodable(rank, &format_args!("{} bytes are left over", rest.len()))),
                Err(error) => return Err(undecodable(rank, &error)),
            }
        }
        let value = fold_tree(values, &self.function).ok_or("the operation has no source, so there is no value")?;
        let bytes = postcard::to_allocvec(&value).map_err(|error| format!("the result does not encode: {error}"))?;
        let bytes = Payload::from(bytes);
        Ok(destinations.iter().map(|rank| (*rank, bytes.clone())).collect())
    }
}

/// What a source of a typed user operation sends: the call's parameters, then its input.
#[derive(Debug, Serialize, Deserialize)]
pub struct TypedInput<P, I>(pub P, pub I);

/// Most bytes of an element that a user's [`Fold`] or [`Columns`] combines: one fits the smallest window.
pub const MAX_ELEMENT: u64 = 256;

/// A user's arithmetic with the size and sort of its elements, which were asked for when it was registered: the hub itself runs no
/// code of the user's, whose panic would end it, or whose answer could change in the middle of an operation.
struct Measured<A> {
    arithmetic: A,
    element: usize,
    datatype: Option<Datatype>,
}

impl<F: Fold> Fold for Measured<F> {
    fn element_size(&self) -> usize {
        self.element
    }

    fn datatype(&self) -> Option<Datatype> {
        self.datatype
    }

    fn combine(&self, left: &mut [u8], right: &[u8]) {
        self.arithmetic.combine(left, right);
    }

    fn finish(&self, result: &mut [u8]) {
        self.arithmetic.finish(result);
    }
}

impl<C: Columns> Columns for Measured<C> {
    fn element_size(&self) -> usize {
        self.element
    }

    fn datatype(&self) -> Option<Datatype> {
        self.datatype
    }

    fn combine(&self, columns: &[&[u8]], result: &mut [u8]) {
        self.arithmetic.combine(columns, result);
    }
}

/// What is known under a name.
#[derive(Clone)]
pub(super) enum Registered {
    Apply(Arc<dyn Apply>),
    Fold(Arc<dyn Fold>),
    Columns(Arc<dyn Columns>),
}

impl Registered {
    /// Whether ranks may give this; if not, what instead.
    fn takes(&self, given: Datatype) -> Result<(), String> {
        let elements = match self {
            Self::Apply(_) if given == Datatype::Object => return Ok(()),
            Self::Apply(_) => return Err("encoded values, and no buffers: those are for folds and columns".to_owned()),
            Self::Fold(fold) => fold.datatype(),
            Self::Columns(columns) => columns.datatype(),
        };
        match elements {
            Some(elements) if elements != given => Err(format!("buffers of {elements}")),
            None if given == Datatype::Object => Err("buffers, and no encoded values".to_owned()),
            _ => Ok(()),
        }
    }
}

/// How the elements of all ranks become one.
#[derive(Clone)]
pub(super) enum Combine {
    Builtin(BuiltinFold),
    /// The user's, and its name.
    Fold(Arc<dyn Fold>, Arc<str>),
    Columns(Arc<dyn Columns>, Arc<str>),
}

impl Combine {
    pub(super) fn element_size(&self) -> usize {
        match self {
            Self::Builtin(fold) => fold.element_size(),
            Self::Fold(fold, _) => fold.element_size(),
            Self::Columns(columns, _) => columns.element_size(),
        }
    }

    /// The name of the user's code.
    pub(super) fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Builtin(_) => None,
            Self::Fold(_, name) | Self::Columns(_, name) => Some(name),
        }
    }
}

impl core::fmt::Debug for Combine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Builtin(fold) => write!(f, "{fold:?}"),
            Self::Fold(_, name) => write!(f, "Fold({name})"),
            Self::Columns(_, name) => write!(f, "Columns({name})"),
        }
    }
}

/// The user-defined operations that a hub knows, by name and version.
#[derive(Clone, Default)]
pub struct Registry {
    operations: BTreeMap<String, (u32, Registered)>,
}

impl core::fmt::Debug for Registry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.operations.iter().map(|(name, (version, _))| (name, version))).finish()
    }
}

impl Registry {
    /// A registry that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `operation`, in place of an earlier one of that name, whatever its version.
    pub fn insert(&mut self, name: &str, version: u32, operation: impl Apply + 'static) {
        self.add(name, version, Registered::Apply(Arc::new(operation)));
    }

    /// Adds a fold, which combines buffers of elements range by range, two ranks' at a time, in the shape of every fold: the
    /// hub holds a window of each, however long they are. Its elements have at most [`MAX_ELEMENT`] bytes; their size is asked
    /// for here and now.
    pub fn insert_fold(&mut self, name: &str, version: u32, fold: impl Fold + 'static) {
        let (element, datatype) = (fold.element_size(), fold.datatype());
        self.add(name, version, Registered::Fold(Arc::new(Measured { arithmetic: fold, element, datatype })));
    }

    /// Adds a fold of functions on elements of `N` numbers each: `combine` makes one element of two, that of lower ranks
    /// first; `finish` is called once for each element, when all ranks are in it.
    ///
    /// ```
    /// use edgempi_core::hub::Registry;
    ///
    /// let mut operations = Registry::new();
    /// // Ranks give value x weight and weight, beside each other; they get the mean, and the weight of all.
    /// operations.insert_fold_fn(
    ///     "weighted mean",
    ///     1,
    ///     |[a, v]: [f32; 2], [b, w]: [f32; 2]| [a + b, v + w],
    ///     |[sum, weight]| [sum / weight, weight],
    /// );
    /// ```
    pub fn insert_fold_fn<T: Element, const N: usize>(
        &mut self,
        name: &str,
        version: u32,
        combine: impl Fn([T; N], [T; N]) -> [T; N] + Send + Sync + 'static,
        finish: impl Fn([T; N]) -> [T; N] + Send + Sync + 'static,
    ) {
        self.insert_fold(name, version, FoldOf::new(combine, finish));
    }

    /// Adds arithmetic that needs the values of all ranks at once, range by range. Its elements have at most
    /// [`MAX_ELEMENT`] bytes; their size is asked for here and now.
    pub fn insert_columns(&mut self, name: &str, version: u32, columns: impl Columns + 'static) {
        let (element, datatype) = (columns.element_size(), columns.datatype());
        self.add(name, version, Registered::Columns(Arc::new(Measured { arithmetic: columns, element, datatype })));
    }

    /// Adds a function that makes one element of the elements of all ranks at one place, in the group's order, which it may
    /// reorder.
    ///
    /// ```
    /// use edgempi_core::hub::Registry;
    ///
    /// let mut operations = Registry::new();
    /// // A few ranks that lie, or fail, move a median little.
    /// operations.insert_columns_fn("median", 1, |values: &mut [f32]| {
    ///     values.sort_by(f32::total_cmp);
    ///     values[values.len() / 2]
    /// });
    /// ```
    pub fn insert_columns_fn<T: Element>(
        &mut self,
        name: &str,
        version: u32,
        function: impl Fn(&mut [T]) -> T + Send + Sync + 'static,
    ) {
        self.insert_columns(name, version, ColumnsOf::new(function));
    }

    /// Adds a function that makes one value of two, of any serde type: the hub calls it with values in the group's order, in
    /// the shape of [`fold_tree`]. It has to be associative; commutative it need not be.
    ///
    /// ```
    /// use edgempi_core::hub::Registry;
    ///
    /// let mut operations = Registry::new();
    /// operations.insert_reduce("longest", 1, |a: String, b: String| if a.len() >= b.len() { a } else { b });
    /// ```
    pub fn insert_reduce<T: Serialize + DeserializeOwned + 'static>(
        &mut self,
        name: &str,
        version: u32,
        function: impl Fn(T, T) -> T + Send + Sync + 'static,
    ) {
        self.insert(name, version, Reduce { function, value: core::marker::PhantomData });
    }

    fn add(&mut self, name: &str, version: u32, operation: Registered) {
        self.operations.insert(name.to_owned(), (version, operation));
    }

    /// Adds a function on serde values: it gets the call and each source's input in the group's order, and returns an
    /// output for each destination. An error is told to every participant: its text, and what a program can turn into the
    /// error again. A `String` or `&str` will do.
    ///
    /// ```
    /// use edgempi_core::Rank;
    /// use edgempi_core::hub::{Applied, Registry};
    ///
    /// /// The sum of all inputs, times the parameter, for every destination.
    /// fn scaled(call: Applied<'_, i64>, inputs: Vec<(Rank, i64)>) -> Result<Vec<(Rank, i64)>, String> {
    ///     let sum: i64 = inputs.iter().map(|(_, value)| value).sum();
    ///     let scaled = sum.checked_mul(call.parameters).ok_or("the product is too large")?;
    ///     Ok(call.destinations.iter().map(|rank| (*rank, scaled)).collect())
    /// }
    ///
    /// let mut operations = Registry::new();
    /// operations.insert_fn("scaled sum", 1, scaled);
    /// ```
    pub fn insert_fn<P, I, O, E, F>(&mut self, name: &str, version: u32, function: F)
    where
        F: Fn(Applied<'_, P>, Vec<(Rank, I)>) -> Result<Vec<(Rank, O)>, E> + Send + Sync + 'static,
        P: DeserializeOwned + 'static,
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        E: Display + Serialize + 'static,
    {
        self.insert(name, version, Typed { function, types: core::marker::PhantomData });
    }

    /// The operation, or what the hub has instead.
    pub(super) fn find(&self, name: &str, version: u32, given: Datatype) -> Result<Registered, (Category, String)> {
        let instead = match self.operations.get(name) {
            Some((its, operation)) if *its == version => {
                return match operation.takes(given) {
                    Ok(()) => Ok(operation.clone()),
                    Err(takes) => Err((Category::Mismatch, format!("the operation takes {takes}"))),
                };
            }
            Some((its, _)) => format!("the hub has version {its} of it"),
            None if self.operations.is_empty() => {
                "the hub has none of that name: nothing is registered at it".to_owned()
            }
            None => {
                let known: Vec<String> = self.operations.keys().map(|name| format!("\"{name}\"")).collect();
                format!("the hub has none of that name; it has {}", known.join(", "))
            }
        };
        Err((Category::UnknownOperation, instead))
    }
}
