//! Training on a shard, one mini-batch at a time, so that whoever trains can attend to other things between.

use edgempi_core::Rank;

use crate::generator::Generator;
use crate::model::{Activations, Perceptron};
use crate::shard::Shard;

/// How many hidden units the example's model has, unless somebody chooses otherwise.
pub const HIDDEN: usize = 32;

/// How many images a mini-batch of the example has, unless somebody chooses otherwise.
pub const BATCH: usize = 8;

/// How many rounds the example trains, unless somebody chooses otherwise.
pub const ROUNDS: u32 = 40;

/// How the ranks learn. All ranks must have the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How often a rank goes through its shard in a round.
    pub epochs: u32,
    /// How far a mini-batch moves the weights against its mean gradient.
    pub learning_rate: f32,
    /// What all random numbers derive from.
    pub seed: u64,
}

impl Options {
    /// The example's options, unless somebody chooses otherwise.
    pub const DEFAULT: Self = Self { epochs: 5, learning_rate: 0.2, seed: 1 };
}

/// The memory that training needs beside the weights.
#[derive(Debug)]
pub struct Scratch<'a, const HIDDEN: usize> {
    /// An element for each image of the shard, or more.
    pub order: &'a mut [u16],
    /// An element for each image of a mini-batch: so it says how large mini-batches are.
    pub batch: &'a mut [Activations<HIDDEN>],
}

/// The training of one rank in one round.
#[derive(Debug)]
pub struct Training<'a, const HIDDEN: usize> {
    shard: &'a Shard<'a>,
    order: &'a mut [u16],
    batch: &'a mut [Activations<HIDDEN>],
    generator: Generator,
    learning_rate: f32,
    epochs_left: u32,
    /// How many images of the epoch are done; all of them before the first epoch.
    done: usize,
    /// The sum over the images of the epoch.
    loss: f32,
}

impl<'a, const HIDDEN: usize> Training<'a, HIDDEN> {
    /// Begins the training of `rank` in round number `round`. The order of the images is a function of the
    /// seed, the rank and the round, so that a round can be repeated.
    ///
    /// # Panics
    ///
    /// If the scratch memory has no element for a mini-batch, or not one in `order` for each image.
    pub fn new(
        shard: &'a Shard<'a>,
        scratch: &'a mut Scratch<'_, HIDDEN>,
        options: &Options,
        round: u32,
        rank: Rank,
    ) -> Self {
        assert!(!scratch.batch.is_empty(), "a mini-batch has at least one image");
        let order = &mut scratch.order[..shard.len()];
        for (index, element) in order.iter_mut().enumerate() {
            *element = index as u16;
        }
        Self {
            shard,
            done: order.len(),
            order,
            batch: scratch.batch,
            generator: Generator::new(options.seed, u64::from(round) << 32 | u64::from(rank.get())),
            learning_rate: options.learning_rate,
            epochs_left: options.epochs,
            loss: 0.0,
        }
    }

    /// Trains on the next mini-batch. Returns whether there was one.
    ///
    /// # Panics
    ///
    /// If `weights` has not [`Perceptron::LEN`] elements.
    pub fn step(&mut self, weights: &mut [f32]) -> bool {
        if self.done == self.order.len() {
            if self.epochs_left == 0 || self.order.is_empty() {
                return false;
            }
            self.epochs_left -= 1;
            self.done = 0;
            self.loss = 0.0;
            self.generator.shuffle(self.order);
        }
        // The gradient is never stored: once all errors are known, each image moves the weights itself. So a
        // mini-batch needs memory for its activations, not a second copy of the weights.
        let indices = &self.order[self.done..];
        let count = indices.len().min(self.batch.len());
        for (&index, activations) in indices.iter().zip(self.batch.iter_mut()) {
            let (image, label) = self.shard.example(usize::from(index));
            self.loss += Perceptron::propagate(weights, image, label, activations);
        }
        let step = self.learning_rate / count as f32;
        for (&index, activations) in indices.iter().zip(self.batch.iter()) {
            let (image, _) = self.shard.example(usize::from(index));
            Perceptron::descend(weights, image, activations, step);
        }
        self.done += count;
        true
    }

    /// The mean cross entropy of the images that the current epoch has seen, each at the time it was seen;
    /// zero before the first.
    pub fn loss(&self) -> f32 {
        if self.order.is_empty() { 0.0 } else { self.loss / self.done as f32 }
    }
}
