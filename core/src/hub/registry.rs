//! The operations that users add to a hub, and the work that the hub hands to its driver.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Display;

use crate::payload::{LARGE, Payload, Pool};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Category, Fault};
use crate::operation::{BuiltinFold, Fold, Input, fold_range, scratch_len};
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
    /// postcard (see [`TypedInput`]).
    ///
    /// # Errors
    ///
    /// The text reaches every participant, whose request fails with `Remote`.
    fn apply(&self, destinations: &[Rank], inputs: Vec<(Rank, Payload)>) -> Result<Vec<(Rank, Payload)>, String>;
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
    E: Display,
{
    fn apply(&self, destinations: &[Rank], inputs: Vec<(Rank, Payload)>) -> Result<Vec<(Rank, Payload)>, String> {
        let mut parameters: Option<(Rank, Payload, P)> = None;
        let mut values = Vec::with_capacity(inputs.len());
        for (rank, bytes) in inputs {
            let undecodable = |error: &dyn Display| format!("the input of rank {rank} does not decode: {error}");
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
                    return Err(format!("ranks {first} and {rank} gave different parameters"));
                }
                Some(_) => {}
            }
        }
        let Some((_, _, parameters)) = parameters else {
            return Err("the operation has no source, so nobody gave parameters".to_owned());
        };
        let outputs = (self.function)(Applied { parameters, destinations }, values).map_err(|e| e.to_string())?;
        outputs
            .into_iter()
            .map(|(rank, output)| match postcard::to_allocvec(&output) {
                Ok(bytes) => Ok((rank, bytes.into())),
                Err(error) => Err(format!("the output for rank {rank} does not encode: {error}")),
            })
            .collect()
    }
}

/// What a source of a typed user operation sends: the call's parameters, then its input.
#[derive(Debug, Serialize, Deserialize)]
pub struct TypedInput<P, I>(pub P, pub I);

/// The user-defined operations that a hub knows, by name and version.
#[derive(Clone, Default)]
pub struct Registry {
    operations: BTreeMap<String, (u32, Arc<dyn Apply>)>,
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
    pub fn insert(&mut self, name: &str, version: u32, operation: Arc<dyn Apply>) {
        self.operations.insert(name.to_owned(), (version, operation));
    }

    /// Adds a function on serde values: it gets the call and each source's input in the group's order, and returns an
    /// output for each destination. An error is told to every participant, as its text.
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
        E: Display + 'static,
    {
        self.insert(name, version, Arc::new(Typed { function, types: core::marker::PhantomData }));
    }

    /// The operation, or what the hub has instead.
    pub(super) fn find(&self, name: &str, version: u32) -> Result<Arc<dyn Apply>, String> {
        match self.operations.get(name) {
            Some((its, operation)) if *its == version => Ok(operation.clone()),
            Some((its, _)) => Err(format!("the hub has version {its} of it")),
            None if self.operations.is_empty() => {
                Err("the hub has none of that name: nothing is registered at it".to_owned())
            }
            None => {
                let known: Vec<String> = self.operations.keys().map(|name| format!("\"{name}\"")).collect();
                Err(format!("the hub has none of that name; it has {}", known.join(", ")))
            }
        }
    }
}

/// Arithmetic or user code that the hub wants done, on whatever thread the driver likes.
pub struct Work {
    pub(super) operation: u64,
    pub(super) job: Job,
}

pub(super) enum Job {
    Fold { fold: BuiltinFold, inputs: Vec<Vec<Payload>>, len: usize },
    Apply { apply: Arc<dyn Apply>, name: Arc<str>, destinations: Box<[Rank]>, inputs: Vec<(Rank, Payload)> },
}

/// The result of a [`Work`], to be handed back to the hub.
#[derive(Debug)]
pub struct Done {
    pub(super) operation: u64,
    pub(super) result: Result<Output, (Fault, String)>,
}

#[derive(Debug)]
pub(super) enum Output {
    /// The result, and the memory that the pieces of the inputs were in.
    Folded(Payload, Vec<Vec<Payload>>),
    /// One output for each destination, in the group's order.
    Applied(Vec<Payload>),
}

/// What stays with the driver while a [`Work`] runs, for the case that it never returns.
#[derive(Clone, Debug)]
pub struct Ticket {
    operation: u64,
    name: Arc<str>,
}

impl Ticket {
    /// The work panicked, saying `message`.
    pub fn panicked(self, message: &str) -> Done {
        let text = format!("operation \"{}\" panicked at the hub: {message}", self.name);
        Done { operation: self.operation, result: Err((Fault::new(Category::Remote), text)) }
    }
}

impl Work {
    /// Whether it runs code of the user's, which may take its time or panic.
    pub fn is_user_code(&self) -> bool {
        matches!(self.job, Job::Apply { .. })
    }

    /// How many bytes it reads.
    pub fn size(&self) -> usize {
        match &self.job {
            Job::Fold { inputs, len, .. } => inputs.len() * len,
            Job::Apply { inputs, .. } => inputs.iter().map(|(_, bytes)| bytes.len()).sum(),
        }
    }

    /// What to keep in case [`run`](Self::run) panics.
    pub fn ticket(&self) -> Ticket {
        let name = match &self.job {
            Job::Fold { .. } => Arc::default(),
            Job::Apply { name, .. } => name.clone(),
        };
        Ticket { operation: self.operation, name }
    }

    /// Does it.
    pub fn run(self) -> Done {
        self.run_in(&mut Pool::new(0))
    }

    /// Does it, with memory of a pool.
    pub fn run_in(self, pool: &mut Pool) -> Done {
        let result = match self.job {
            Job::Fold { fold, mut inputs, len } => {
                let out = fold_pieces(&fold, &inputs, len, pool);
                inputs.iter_mut().for_each(Vec::clear);
                Ok(Output::Folded(out, inputs))
            }
            Job::Apply { apply, name, destinations, inputs } => {
                let remote = |text| (Fault::new(Category::Remote), format!("operation \"{name}\" failed: {text}"));
                match apply.apply(&destinations, inputs) {
                    Ok(outputs) => assign(&destinations, outputs).map(Output::Applied).map_err(remote),
                    Err(text) => Err(remote(text)),
                }
            }
        };
        Done { operation: self.operation, result }
    }
}

impl core::fmt::Debug for Work {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Work").field("operation", &self.operation).field("size", &self.size()).finish()
    }
}

/// Folds the first `len` bytes of all inputs.
fn fold_pieces(fold: &BuiltinFold, inputs: &[Vec<Payload>], len: usize, pool: &mut Pool) -> Payload {
    /// For so many ranks it is done on the stack.
    const FEW: usize = 16;
    let mut few: [Input<'_, Payload>; FEW];
    let mut many: Vec<Input<'_, Payload>>;
    let readers = if inputs.len() <= FEW {
        few = core::array::from_fn(|index| Input::new(inputs.get(index).map_or(&[], Vec::as_slice), 0));
        few.get_mut(..inputs.len()).unwrap_or_default()
    } else {
        many = inputs.iter().map(|pieces| Input::new(pieces, 0)).collect();
        &mut many
    };
    let (mut out, mut scratch) = (pool.room(len), pool.room(scratch_len(fold, inputs.len()).max(LARGE)));
    fold_range(fold, readers, &mut out, &mut scratch);
    fold.finish(&mut out);
    pool.fill(scratch);
    pool.fill(out)
}

/// Puts the outputs into the order of the destinations.
fn assign(destinations: &[Rank], outputs: Vec<(Rank, Payload)>) -> Result<Vec<Payload>, String> {
    let mut assigned: BTreeMap<Rank, Payload> = BTreeMap::new();
    for (rank, bytes) in outputs {
        if !destinations.contains(&rank) {
            return Err(format!("it returned an output for rank {rank}, which is no destination"));
        }
        if assigned.insert(rank, bytes).is_some() {
            return Err(format!("it returned two outputs for rank {rank}"));
        }
    }
    destinations
        .iter()
        .map(|rank| assigned.remove(rank).ok_or_else(|| format!("it returned no output for rank {rank}")))
        .collect()
}
