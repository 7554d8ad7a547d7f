//! What is computed on the way: folds, range by range, and the users' operations, each at once.

use alloc::vec::Vec;

use crate::payload::Payload;

use super::Hub;
use super::operation::{Operation, Phase, Plan};
use super::registry::{Done, Job, Output, Work};
use super::stream::Stream;
use crate::request::CallCode;

/// For so many ranges that are folded at a time there is memory for the pieces of their inputs.
const SPARE: usize = 8;

impl Hub {
    pub(super) fn start_fold(&mut self, operation: &mut Operation, whole: bool) {
        let inputs = operation.input_streams();
        let len = operation.streams.first().map_or(0, |stream| stream.len);
        let lanes = operation.size();
        let root = operation.root;
        let everybody = operation.signature.call == CallCode::Allreduce;
        let mut result = Stream::new(None, 0, len, lanes);
        for (position, lane) in result.lanes.iter_mut().enumerate() {
            lane.done = !everybody && position != root;
        }
        result.open = true;
        if let Some(place) = operation.streams.get_mut(inputs) {
            *place = result;
        }
        let window = operation.window;
        if let Plan::Fold(folding) = &mut operation.plan {
            folding.chunk = if whole { len } else { (window / 2).max(64) & !63 };
        }
        self.aim(operation);
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
        let job = Job::Fold { fold: folding.fold, inputs: pieces, len: (to - from) as usize };
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
                Ok(Output::Folded(bytes, spare)) => {
                    if self.spare_pieces.len() < SPARE {
                        self.spare_pieces.push(spare);
                    }
                    self.folded(&mut operation, bytes);
                }
                Ok(Output::Applied(outputs)) => self.applied(&mut operation, outputs),
                Err((fault, text)) => self.fail_operation(&mut operation, fault, &text),
            }
        }
        self.put_back(operation);
    }

    fn folded(&mut self, operation: &mut Operation, bytes: Payload) {
        let inputs = operation.input_streams();
        let Plan::Fold(folding) = &mut operation.plan else { return };
        folding.folded = folding.target;
        let folded = folding.folded;
        for index in 0..inputs {
            if let Some(stream) = operation.streams.get_mut(index) {
                let freed = stream.consume(folded);
                self.give_back(operation, index, freed);
            }
        }
        self.aim(operation);
        let complete = operation.streams.get_mut(inputs).is_some_and(|stream| {
            stream.push(bytes);
            stream.is_complete()
        });
        self.pass_on(operation, inputs, complete);
        self.fold_next(operation);
    }

    pub(super) fn applied(&mut self, operation: &mut Operation, outputs: Vec<Payload>) {
        let sources = operation.group.sources;
        let max = self.config.max_message;
        if let Some(output) = outputs.iter().find(|output| output.len() as u64 > max) {
            let (fault, text) = self.too_large(output.len() as u64);
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
