//! A multilayer perceptron: 64 pixels, one hidden layer of rectified linear units, 10 classes.

use crate::generator::Generator;
use crate::shard::Shard;

/// Pixels of an image.
pub const INPUTS: usize = 64;

/// Classes that an image may belong to.
pub const OUTPUTS: usize = 10;

/// The value of a white pixel.
const WHITE: f32 = 16.0;

/// The stream of the generator that initial weights come from.
const STREAM: u64 = (1 << 63) - 1;

/// A perceptron with `HIDDEN` hidden units, which says what the elements of a slice of weights mean.
///
/// The slice has [`LEN`](Self::LEN) elements: for the hidden layer its biases, then for each input the weights
/// towards all hidden units; the same for the output layer; and last a one, which [`round()`](crate::round())
/// scales together with the weights to learn over how many examples it averaged.
#[derive(Clone, Copy, Debug)]
pub struct Perceptron<const HIDDEN: usize>;

/// How well a model does on a shard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Images whose label the model finds most likely.
    pub correct: u32,
    /// All images.
    pub examples: u32,
    /// The mean cross entropy, in nats.
    pub loss: f32,
}

impl Evaluation {
    /// The share of images whose label the model finds most likely, from 0 to 1.
    pub fn accuracy(&self) -> f32 {
        self.correct as f32 / self.examples as f32
    }
}

/// What a model made of one image: memory that training needs for each image of a mini-batch.
#[derive(Clone, Copy, Debug)]
pub struct Activations<const HIDDEN: usize> {
    hidden: [f32; HIDDEN],
    hidden_delta: [f32; HIDDEN],
    output_delta: [f32; OUTPUTS],
}

impl<const HIDDEN: usize> Activations<HIDDEN> {
    /// Memory without content: all zeros, so a static of it takes no flash.
    pub const ZERO: Self = Self { hidden: [0.0; HIDDEN], hidden_delta: [0.0; HIDDEN], output_delta: [0.0; OUTPUTS] };
}

impl<const HIDDEN: usize> Perceptron<HIDDEN> {
    /// How many elements a slice of weights has.
    pub const LEN: usize = Self::HIDDEN_LAYER + (HIDDEN + 1) * OUTPUTS + 1;

    const HIDDEN_LAYER: usize = (INPUTS + 1) * HIDDEN;

    /// Fills `weights` with the random weights that training starts from: biases of zero, and weights as
    /// large as rectified linear units need them (He et al., 2015).
    ///
    /// # Panics
    ///
    /// If `weights` has not [`LEN`](Self::LEN) elements.
    pub fn initialize(weights: &mut [f32], seed: u64) {
        weights.fill(0.0);
        let (hidden, output) = Self::layers_mut(weights);
        let mut generator = Generator::new(seed, STREAM);
        let mut fill = |layer: &mut [f32], inputs: usize| {
            let limit = libm::sqrtf(6.0 / inputs as f32);
            for weight in layer {
                *weight = generator.symmetric(limit);
            }
        };
        fill(hidden.weights.as_flattened_mut(), INPUTS);
        fill(output.weights.as_flattened_mut(), HIDDEN);
        if let Some(one) = weights.last_mut() {
            *one = 1.0;
        }
    }

    /// How well the model with these weights does on `shard`.
    ///
    /// # Panics
    ///
    /// If `weights` has not [`LEN`](Self::LEN) elements.
    pub fn evaluate(weights: &[f32], shard: &Shard<'_>) -> Evaluation {
        let mut hidden = [0.0; HIDDEN];
        let (mut correct, mut loss) = (0, 0.0);
        for index in 0..shard.len() {
            let (image, label) = shard.example(index);
            let output = Self::forward(weights, image, &mut hidden);
            correct += u32::from(most_likely(&output) == usize::from(label));
            loss += softmax(output, label).1;
        }
        Evaluation { correct, examples: shard.len() as u32, loss: loss / shard.len() as f32 }
    }

    /// Follows `image` through the model and its error back, into `activations`. Returns the cross entropy.
    pub(crate) fn propagate(
        weights: &[f32],
        image: &[u8; INPUTS],
        label: u8,
        activations: &mut Activations<HIDDEN>,
    ) -> f32 {
        let output = Self::forward(weights, image, &mut activations.hidden);
        let (probabilities, loss) = softmax(output, label);
        activations.output_delta = probabilities;
        if let Some(probability) = activations.output_delta.get_mut(usize::from(label)) {
            *probability -= 1.0;
        }
        let (_, output) = Self::layers(weights);
        let units = activations.hidden_delta.iter_mut().zip(&activations.hidden);
        for ((delta, &unit), row) in units.zip(output.weights) {
            *delta = 0.0;
            if unit > 0.0 {
                for (&weight, &error) in row.iter().zip(&activations.output_delta) {
                    *delta += weight * error;
                }
            }
        }
        loss
    }

    /// Moves the weights by `step` against the gradient of one image.
    pub(crate) fn descend(weights: &mut [f32], image: &[u8; INPUTS], activations: &Activations<HIDDEN>, step: f32) {
        let (hidden, output) = Self::layers_mut(weights);
        descend(hidden, image.iter().map(|&pixel| f32::from(pixel) / WHITE), &activations.hidden_delta, step);
        descend(output, activations.hidden.iter().copied(), &activations.output_delta, step);
    }

    /// The activations of the hidden units, into `hidden`, and those of the outputs before softmax.
    fn forward(weights: &[f32], image: &[u8; INPUTS], hidden: &mut [f32; HIDDEN]) -> [f32; OUTPUTS] {
        let (hidden_layer, output_layer) = Self::layers(weights);
        weigh(&hidden_layer, image.iter().map(|&pixel| f32::from(pixel) / WHITE), hidden);
        for unit in hidden.iter_mut() {
            if *unit < 0.0 {
                *unit = 0.0;
            }
        }
        let mut output = [0.0; OUTPUTS];
        weigh(&output_layer, hidden.iter().copied(), &mut output);
        output
    }

    fn layers(weights: &[f32]) -> (Layer<'_, HIDDEN>, Layer<'_, OUTPUTS>) {
        assert_eq!(weights.len(), Self::LEN, "these weights belong to another model");
        let (hidden, output) = weights.split_at(Self::HIDDEN_LAYER);
        (Layer::new(hidden), Layer::new(output))
    }

    fn layers_mut(weights: &mut [f32]) -> (LayerMut<'_, HIDDEN>, LayerMut<'_, OUTPUTS>) {
        assert_eq!(weights.len(), Self::LEN, "these weights belong to another model");
        let (hidden, output) = weights.split_at_mut(Self::HIDDEN_LAYER);
        (LayerMut::new(hidden), LayerMut::new(output))
    }
}

/// The weights of a layer of `UNITS` units: one row for each input, so that the inner loops go along a row.
/// They then are vector operations wherever there are such, and add in the same order everywhere.
struct Layer<'a, const UNITS: usize> {
    biases: &'a [f32; UNITS],
    weights: &'a [[f32; UNITS]],
}

impl<'a, const UNITS: usize> Layer<'a, UNITS> {
    fn new(elements: &'a [f32]) -> Self {
        let ([biases, weights @ ..], _) = elements.as_chunks() else { panic!("a layer has biases") };
        Self { biases, weights }
    }
}

struct LayerMut<'a, const UNITS: usize> {
    biases: &'a mut [f32; UNITS],
    weights: &'a mut [[f32; UNITS]],
}

impl<'a, const UNITS: usize> LayerMut<'a, UNITS> {
    fn new(elements: &'a mut [f32]) -> Self {
        let ([biases, weights @ ..], _) = elements.as_chunks_mut() else { panic!("a layer has biases") };
        Self { biases, weights }
    }
}

/// The biases plus the weighted `inputs`.
fn weigh<const UNITS: usize>(layer: &Layer<'_, UNITS>, inputs: impl Iterator<Item = f32>, units: &mut [f32; UNITS]) {
    *units = *layer.biases;
    for (input, row) in inputs.zip(layer.weights) {
        // Half of all pixels and hidden units are zero, which matters where floats are emulated.
        if input != 0.0 {
            for (unit, &weight) in units.iter_mut().zip(row) {
                *unit += input * weight;
            }
        }
    }
}

fn descend<const UNITS: usize>(
    layer: LayerMut<'_, UNITS>,
    inputs: impl Iterator<Item = f32>,
    deltas: &[f32; UNITS],
    step: f32,
) {
    let steps = deltas.map(|delta| step * delta);
    for (bias, &step) in layer.biases.iter_mut().zip(&steps) {
        *bias -= step;
    }
    for (input, row) in inputs.zip(layer.weights) {
        if input != 0.0 {
            for (weight, &step) in row.iter_mut().zip(&steps) {
                *weight -= input * step;
            }
        }
    }
}

/// The index of the largest output, the first of equals.
fn most_likely(output: &[f32; OUTPUTS]) -> usize {
    let mut best = (0, output[0]);
    for (class, &value) in output.iter().enumerate() {
        if value > best.1 {
            best = (class, value);
        }
    }
    best.0
}

/// The probabilities of the classes, and the cross entropy of them and `label`.
fn softmax(mut output: [f32; OUTPUTS], label: u8) -> ([f32; OUTPUTS], f32) {
    let largest = output[most_likely(&output)];
    let truth = output.get(usize::from(label)).map_or(0.0, |value| value - largest);
    let mut sum = 0.0;
    for value in &mut output {
        *value = libm::expf(*value - largest);
        sum += *value;
    }
    (output.map(|value| value / sum), libm::logf(sum) - truth)
}

/// A number that two slices of weights share if they are equal bit for bit, and hardly otherwise: FNV-1a, 64
/// bits, of their little-endian bytes.
pub fn fingerprint(weights: &[f32]) -> u64 {
    let bytes = weights.iter().flat_map(|weight| weight.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use core::array;

    use super::{Activations, INPUTS, Perceptron, fingerprint};
    use crate::generator::Generator;
    use crate::shard::Shard;

    type Model = Perceptron<4>;

    fn image() -> [u8; INPUTS] {
        let mut generator = Generator::new(5, 5);
        array::from_fn(|_| generator.below(17) as u8)
    }

    #[test]
    fn descent_follows_the_derivative_of_the_loss() {
        let (image, label, delta, step) = (image(), 3, 1e-2, 1e-2);
        let mut weights = [0.0; Model::LEN];
        Model::initialize(&mut weights, 1);
        let mut activations = Activations::ZERO;
        Model::propagate(&weights, &image, label, &mut activations);
        let mut moved = weights;
        Model::descend(&mut moved, &image, &activations, step);
        for index in 0..Model::LEN {
            let loss = |offset: f32| {
                let mut weights = weights;
                weights[index] += offset;
                let mut activations = Activations::ZERO;
                Model::propagate(&weights, &image, label, &mut activations)
            };
            let slope = (loss(delta) - loss(-delta)) / (2.0 * delta);
            let gradient = (weights[index] - moved[index]) / step;
            assert!((slope - gradient).abs() < 5e-3, "weight {index}: {gradient} instead of {slope}");
        }
    }

    #[test]
    fn weights_of_zero_find_all_classes_equally_likely() {
        let weights = [0.0; Model::LEN];
        let evaluation = Model::evaluate(&weights, &Shard::new(&[image(), image()], &[0, 1]));
        assert_eq!((evaluation.correct, evaluation.examples), (1, 2));
        assert!((evaluation.loss - 10_f32.ln()).abs() < 1e-6, "{evaluation:?}");
        assert!((evaluation.accuracy() - 0.5).abs() < f32::EPSILON);
    }

    #[test]
    fn initial_weights_end_with_a_one() {
        let mut weights = [0.0; Model::LEN];
        Model::initialize(&mut weights, 1);
        assert_eq!(weights.last(), Some(&1.0));
    }

    #[test]
    #[should_panic(expected = "these weights belong to another model")]
    fn weights_of_another_size_are_refused() {
        Model::evaluate(&[0.0; Perceptron::<5>::LEN], &Shard::new(&[image()], &[0]));
    }

    #[test]
    fn fingerprints_see_the_sign_of_a_zero() {
        assert_ne!(fingerprint(&[0.0]), fingerprint(&[-0.0]));
    }
}
