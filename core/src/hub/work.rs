//! What is computed on the way: folds, range by range, and the users' operations, each at once.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::payload::Payload;

use super::job::{Done, Job, Output, Work};
use super::operation::{Folding, Operation, Phase, Plan, UserError};
use super::pattern::Shape;
use super::registry::{ApplyError, MAX_ELEMENT};
use super::signature::Signature;
use super::stream::Stream;
use super::{Hub, Refusal};
use crate::error::{Category, Fault};
use crate::rank::Rank;

/// For so many ranges that are folded at a time there is memory for the pieces of their inputs.
const SPARE: usize = 8;

impl Hub {
    /// All that is to be combined is here, or announced: makes room for the results.
    ///
    /// # Errors
    ///
    /// The lengths of the ranks do not fit each other, which only all of them together show.
    pub(super) fn start_fold(&mut self, operation: &mut Operation, whole: bool) -> Result<(), Refusal> {
        let (inputs, size) = (operation.input_streams(), operation.size());
        let len = operation.streams.first().map_or(0, |stream| stream.len);
        self.check_lengths(operation, len)?;
        let window = operation.window;
        let Plan::Fold(folding) = &mut operation.plan else { return Ok(()) };
        let shape = folding.shape;
        let element = folding.combine.element_size() as u64;
        // A window has room for an element of any size that is allowed.
        folding.chunk = if whole { len } else { whole_elements((window / 2).max(64) & !63, element) };
        if shape == Shape::Blocks {
            let mut start = 0;
            for one in &operation.participants {
                folding.starts.push(start);
                start += one.receive;
            }
        }
        for index in 0..operation.all_streams() - inputs {
            let mut result = match shape {
                Shape::Whole => {
                    let mut result = Stream::new(None, 0, len, size);
                    for (position, lane) in result.lanes.iter_mut().enumerate() {
                        lane.done = operation.destination(position).is_none();
                    }
                    result
                }
                Shape::Blocks => {
                    let receive = operation.participants.get(index).map_or(0, |one| one.receive);
                    Stream::new(None, 0, receive, 1)
                }
                Shape::Prefixes { exclusive: true } if index == 0 => Stream::void(),
                Shape::Prefixes { .. } => Stream::new(None, 0, len, 1),
            };
            result.open = true;
            if let Some(place) = operation.streams.get_mut(inputs + index) {
                *place = result;
            }
        }
        let Plan::Fold(folding) = &mut operation.plan else { return Ok(()) };
        folding.note_released(operation.streams.get(inputs..).unwrap_or_default());
        self.aim(operation);
        Ok(())
    }

    /// Whether all that is combined has one length, of whole elements, and the blocks of the result make it up.
    fn check_lengths(&self, operation: &Operation, len: u64) -> Result<(), Refusal> {
        let Plan::Fold(folding) = &operation.plan else { return Ok(()) };
        let signature = &operation.signature;
        let inputs = || operation.streams.iter().take(operation.group.sources);
        // What each gives, or that it only receives.
        let given = |at: usize| {
            let block = operation.streams.get(at).filter(|_| at < operation.group.sources).map(|stream| stream.len);
            (Signature { block, ..signature.clone() }.describe(), "")
        };
        let rank = |at: usize| operation.participants.get(at).map_or(Rank::new(0), |one| one.rank);
        if let Some(odd_one) = inputs().position(|stream| stream.len != len) {
            let text = self.describe_disagreement(operation, odd_one, given);
            return Err((Fault::of_ranks(Category::Mismatch, rank(odd_one), 1), text));
        }
        let element = folding.combine.element_size() as u64;
        if element == 0 || element > MAX_ELEMENT {
            let call = signature.describe();
            let text = format!("{call} combines elements of {element} bytes; the hub takes from 1 to {MAX_ELEMENT}");
            return Err((Fault::new(Category::Remote), text));
        }
        if !len.is_multiple_of(element) {
            let text = format!(
                "{}; it combines elements of {element} bytes, and {len} bytes are no whole number of them",
                self.describe_sides(operation, 0, given)
            );
            return Err((Fault::of_size(Category::Mismatch, len, element), text));
        }
        let mut blocks = operation.participants.iter().map(|one| one.receive);
        if folding.shape == Shape::Blocks && blocks.try_fold(0, u64::checked_add) != Some(len) {
            let size = signature.datatype.size().max(1) as u64;
            let text = self.describe_disagreement(operation, 0, |at| {
                let own = operation.participants.get(at).map_or(0, |one| one.receive / size);
                (signature.describe_with(Some(format!("a block of {own}"))), "")
            });
            let text = format!("{text}; the blocks do not make up the {} elements of a vector", len / size);
            return Err((Fault::of_ranks(Category::Mismatch, rank(0), 1), text));
        }
        Ok(())
    }

    /// Chooses the range that is folded next, and counts who has not delivered it.
    fn aim(&mut self, operation: &mut Operation) {
        let inputs = operation.input_streams();
        let len = operation.streams.first().map_or(0, |stream| stream.len);
        let Plan::Fold(folding) = &mut operation.plan else { return };
        folding.target = folding.folded.saturating_add(folding.chunk).min(len);
        let target = folding.target;
        folding.behind = operation.streams.iter().take(inputs).filter(|stream| stream.received < target).count() as u32;
    }

    /// Has the next range folded if all of it is here.
    pub(super) fn fold_next(&mut self, operation: &mut Operation) {
        let inputs = operation.input_streams();
        let Plan::Fold(folding) = &mut operation.plan else { return };
        let (from, to) = (folding.folded, folding.target);
        if operation.at_work || folding.behind > 0 || from >= to {
            return;
        }
        operation.at_work = true;
        let mut pieces = self.spare_pieces.pop().unwrap_or_default();
        pieces.resize_with(inputs, Vec::new);
        for (stream, pieces) in operation.streams.iter().zip(&mut pieces) {
            stream.collect(from, to, pieces);
        }
        // A range is no longer than a window or a frame.
        let (combine, shape) = (folding.combine.clone(), folding.shape);
        let job = Job::Fold { combine, shape, inputs: pieces, len: (to - from) as usize };
        self.work.push_back(Work { operation: operation.id, job });
    }

    pub(super) fn apply_if_complete(&mut self, operation: &mut Operation) {
        if operation.incomplete > 0 || operation.phase != Phase::Running {
            return;
        }
        let inputs = operation.inputs();
        let group = operation.group.clone();
        let destinations = group.destinations.iter().filter_map(|at| group.number(*at)).collect();
        let Plan::Apply { apply, name, running } = &mut operation.plan else { return };
        if core::mem::replace(running, true) {
            return;
        }
        operation.at_work = true;
        let job = Job::Apply { apply: apply.clone(), name: name.clone(), destinations, inputs };
        self.work.push_back(Work { operation: operation.id, job });
    }

    pub(super) fn work_done(&mut self, done: Done) {
        let Some(mut operation) = self.operations.remove(&done.operation) else { return };
        operation.at_work = false;
        if operation.phase == Phase::Running {
            match done.result {
                Ok(Output::Folded { whole, prefixes, spare }) => {
                    if self.spare_pieces.len() < SPARE {
                        self.spare_pieces.push(spare);
                    }
                    self.folded(&mut operation, &whole, prefixes);
                }
                Ok(Output::Applied(outputs)) => self.applied(&mut operation, outputs),
                Err(ApplyError { text, encoded }) => {
                    operation.error = UserError { encoded, own_text: text.len() };
                    // Without places it says nothing new.
                    let text = match operation.participants.iter().any(|one| one.site != 0) {
                        true => format!("{text}; {}", self.describe_sides(&operation, 0, |_| (String::from("it"), ""))),
                        false => text,
                    };
                    self.fail_operation(&mut operation, Fault::new(Category::Remote), &text);
                }
            }
        }
        self.put_back(operation);
    }

    /// A range has been combined: into one, or into one for each rank.
    fn folded(&mut self, operation: &mut Operation, whole: &Payload, prefixes: Vec<Payload>) {
        let inputs = operation.input_streams();
        let Plan::Fold(folding) = &mut operation.plan else { return };
        let from = folding.folded;
        folding.folded = folding.target;
        let (folded, shape) = (folding.folded, folding.shape);
        // The last block that begins before the range, and all that begin in it.
        let first = folding.starts.partition_point(|start| *start <= from).saturating_sub(1);
        let blocks = first..folding.starts.partition_point(|start| *start < folded);
        for index in 0..inputs {
            if let Some(stream) = operation.streams.get_mut(index) {
                let freed = stream.consume(folded);
                self.give_back(operation, index, freed);
            }
        }
        self.aim(operation);
        match shape {
            Shape::Whole => self.add_result(operation, inputs, whole.clone()),
            Shape::Blocks => {
                for block in blocks {
                    let Plan::Fold(folding) = &operation.plan else { return };
                    let start = folding.starts.get(block).copied().unwrap_or_default();
                    let len = operation.streams.get(inputs + block).map_or(0, |stream| stream.len);
                    let (begin, end) = (start.max(from) - from, (start + len).min(folded).saturating_sub(from));
                    self.add_result(operation, inputs + block, whole.slice(begin as usize..end.max(begin) as usize));
                }
            }
            Shape::Prefixes { exclusive } => {
                // Whoever gets nothing has a stream all the same, so that streams and ranks go together.
                for (index, prefix) in prefixes.into_iter().enumerate() {
                    self.add_result(operation, inputs + index + usize::from(exclusive), prefix);
                }
            }
        }
        let Plan::Fold(folding) = &mut operation.plan else { return };
        // Where nobody has to be sent anything, nothing else says that there is room.
        if folding.note_released(operation.streams.get(inputs..).unwrap_or_default()) {
            for input in 0..inputs {
                self.grant(operation, input);
            }
        }
        self.fold_next(operation);
    }

    /// The next bytes of a result, for whoever receives it.
    fn add_result(&mut self, operation: &mut Operation, index: usize, bytes: Payload) {
        let Some(stream) = operation.streams.get_mut(index) else { return };
        if bytes.is_empty() || stream.void {
            return;
        }
        stream.push(bytes);
        let complete = stream.is_complete();
        self.pass_on(operation, index, complete);
    }

    pub(super) fn applied(&mut self, operation: &mut Operation, outputs: Vec<Payload>) {
        let sources = operation.group.sources;
        let max = self.config.max_message;
        if let Some(output) = outputs.iter().find(|output| output.len() as u64 > max) {
            let (fault, text) = self.too_large("a result of the operation", output.len() as u64);
            return self.fail_operation(operation, fault, &text);
        }
        for index in 0..sources {
            if let Some(stream) = operation.streams.get_mut(index) {
                let freed = stream.consume(u64::MAX);
                self.give_back(operation, index, freed);
            }
        }
        for (index, output) in outputs.into_iter().enumerate() {
            if let Some(place) = operation.streams.get_mut(sources + index) {
                *place = Stream::new(None, 0, output.len() as u64, 1);
                place.open = true;
                place.push(output);
            }
        }
        self.prepare_all(operation);
    }
}

impl Folding {
    /// Looks how much of the results has left. Returns whether that is more than before.
    pub(super) fn note_released(&mut self, results: &[Stream]) -> bool {
        let released = match self.shape {
            Shape::Whole => results.first().map_or(0, Stream::released),
            Shape::Prefixes { .. } => {
                results.iter().filter(|result| !result.void).map(Stream::released).min().unwrap_or(u64::MAX)
            }
            // Blocks leave one after the other, and those behind the first that has not are not far behind it.
            Shape::Blocks => {
                let mut blocks = self.starts.iter().zip(results);
                let held = blocks.find(|(_, result)| result.released() < result.len);
                held.map_or(u64::MAX, |(start, result)| start + result.released())
            }
        };
        let moved = released > self.released;
        self.released = released;
        moved
    }
}

/// `bytes`, without those of an element that does not end there; at least one element.
fn whole_elements(bytes: u64, element: u64) -> u64 {
    (bytes - bytes % element.max(1)).max(element)
}
