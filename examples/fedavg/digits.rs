//! The dataset: handwritten digits, compiled into the program (see data/README.md).

use fedavg_round::{INPUTS, Shard};

/// How many rows of the file are for training; the rest is for testing.
const TRAINING_ROWS: usize = 1297;

/// Labelled images of 8 × 8 pixels.
pub struct Digits {
    pixels: Vec<[u8; INPUTS]>,
    labels: Vec<u8>,
}

impl Digits {
    /// All rows of the file.
    pub fn load() -> Self {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for line in include_str!("data/digits.csv").lines() {
            let mut numbers = line.split(',').map(|number| number.parse().expect("a number from 0 to 16"));
            pixels.push(std::array::from_fn(|_| numbers.next().expect("64 pixels in each line")));
            labels.push(numbers.next().expect("a label at the end of each line"));
        }
        Self { pixels, labels }
    }

    /// The images that the ranks learn from.
    pub fn training(&self) -> Shard<'_> {
        Shard::new(&self.pixels[..TRAINING_ROWS], self.training_labels())
    }

    /// The labels of those images.
    pub fn training_labels(&self) -> &[u8] {
        &self.labels[..TRAINING_ROWS]
    }

    /// The images that no rank learns from.
    pub fn test(&self) -> Shard<'_> {
        Shard::new(&self.pixels[TRAINING_ROWS..], &self.labels[TRAINING_ROWS..])
    }
}
