//! The work that the hub hands to its driver: arithmetic, and code of the user's.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::pattern::Shape;
use super::registry::{Apply, ApplyError, Combine};
use crate::operation::{Columns, Fold, Input, fold_range, scratch_len};
use crate::payload::{LARGE, Payload, Pool};
use crate::rank::Rank;

/// Arithmetic or user code that the hub wants done, on whatever thread the driver likes.
pub struct Work {
    pub(super) operation: u64,
    pub(super) job: Job,
}

pub(super) enum Job {
    Fold { combine: Combine, shape: Shape, inputs: Vec<Vec<Payload>>, len: usize },
    Apply { apply: Arc<dyn Apply>, name: Arc<str>, destinations: Box<[Rank]>, inputs: Vec<(Rank, Payload)> },
}

/// The result of a [`Work`], to be handed back to the hub.
#[derive(Debug)]
pub struct Done {
    pub(super) operation: u64,
    pub(super) result: Result<Output, ApplyError>,
}

#[derive(Debug)]
pub(super) enum Output {
    Folded {
        /// The result, if there is one for all.
        whole: Payload,
        /// One for each rank that has one, otherwise.
        prefixes: Vec<Payload>,
        /// The memory that the pieces of the inputs were in.
        spare: Vec<Vec<Payload>>,
    },
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
        Done { operation: self.operation, result: Err(text.into()) }
    }
}

impl Work {
    /// Whether it runs code of the user's, which may take its time or panic.
    pub fn is_user_code(&self) -> bool {
        match &self.job {
            Job::Fold { combine, .. } => combine.name().is_some(),
            Job::Apply { .. } => true,
        }
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
            Job::Fold { combine, .. } => combine.name().cloned().unwrap_or_default(),
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
            Job::Fold { combine, shape, mut inputs, len } => {
                let (whole, prefixes) = match (&combine, shape) {
                    (Combine::Builtin(fold), Shape::Prefixes { exclusive }) => {
                        (Payload::new(), fold_prefixes(fold, &inputs, len, exclusive, pool))
                    }
                    (Combine::Builtin(fold), _) => (fold_pieces(fold, &inputs, len, pool), Vec::new()),
                    (Combine::Fold(fold, _), _) => (fold_pieces(&**fold, &inputs, len, pool), Vec::new()),
                    (Combine::Columns(columns, _), _) => (combine_columns(&**columns, &inputs, len, pool), Vec::new()),
                };
                inputs.iter_mut().for_each(Vec::clear);
                Ok(Output::Folded { whole, prefixes, spare: inputs })
            }
            Job::Apply { apply, name, destinations, inputs } => {
                let applied = apply.apply(&destinations, inputs);
                let assigned = applied.and_then(|outputs| Ok(assign(&destinations, outputs)?));
                assigned.map(Output::Applied).map_err(|ApplyError { text, encoded }| ApplyError {
                    text: format!("operation \"{name}\" failed: {text}"),
                    encoded,
                })
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
fn fold_pieces(fold: &dyn Fold, inputs: &[Vec<Payload>], len: usize, pool: &mut Pool) -> Payload {
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

/// Combines the first `len` bytes of the inputs from the left, and keeps what has come out at each rank.
fn fold_prefixes(
    fold: &dyn Fold,
    inputs: &[Vec<Payload>],
    len: usize,
    exclusive: bool,
    pool: &mut Pool,
) -> Vec<Payload> {
    let mut prefixes: Vec<Payload> = Vec::with_capacity(inputs.len());
    let inputs = inputs.get(..inputs.len() - usize::from(exclusive && !inputs.is_empty())).unwrap_or_default();
    for pieces in inputs {
        let mut out = pool.room(len);
        match prefixes.last() {
            None => Input::new(pieces, 0).read(&mut out),
            Some(before) => {
                out.copy_from_slice(before);
                let mut at = 0;
                for piece in whole_elements(pieces, len, fold.element_size()) {
                    let end = at + piece.len();
                    fold.combine(out.get_mut(at..end).unwrap_or_default(), &piece);
                    at = end;
                }
            }
        }
        prefixes.push(pool.fill(out));
    }
    prefixes
}

/// The first `len` bytes of some pieces, in pieces that are cut between elements.
fn whole_elements(pieces: &[Payload], len: usize, element: usize) -> Vec<Payload> {
    if pieces.iter().all(|piece| piece.len().is_multiple_of(element.max(1))) {
        return pieces.to_vec();
    }
    alloc::vec![Payload::concat(pieces).slice(..len)]
}

/// Hands the first `len` bytes of all inputs to the user's arithmetic.
fn combine_columns(columns: &dyn Columns, inputs: &[Vec<Payload>], len: usize, pool: &mut Pool) -> Payload {
    let inputs: Vec<Payload> = inputs.iter().map(|pieces| Payload::concat(pieces)).collect();
    let slices: Vec<&[u8]> = inputs.iter().map(|input| input.get(..len).unwrap_or_default()).collect();
    let mut out = pool.room(len);
    // What user code leaves as it is is not to be an earlier message's.
    out.fill(0);
    columns.combine(&slices, &mut out);
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
