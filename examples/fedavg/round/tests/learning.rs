//! The whole algorithm, over ranks that live in one thread.

#[path = "../../digits.rs"]
mod digits;
mod world;

use digits::Digits;
use edgempi_core::{Communicator, Rank};
use fedavg_round::{
    Activations, BATCH, Evaluation, HIDDEN, Options, Perceptron, ROUNDS, RoundReport, Scratch, Shard, Split, Training,
    fingerprint, round, start,
};
use world::TestComm;

/// The weights of rank 0 of four after one epoch on its digits, with 32 hidden units and with 16: the same in
/// every build and on every board.
const FINGERPRINTS: [u64; 2] = [0x07ee_e8e2_5bbe_c658, 0x6f4f_ebc8_363e_091e];

/// The weights of all ranks after the example's rounds, by the number of ranks: what the program prints, whatever the
/// ranks run on.
const FINGERPRINTS_OF_WORLDS: [(u32, u64); 4] =
    [(1, 0xccf2_ee8b_343b_ecd0), (4, 0xb0ca_5dc2_78a4_8ac3), (5, 0x1c38_ed3b_d2ed_3d71), (16, 0x8192_c68b_ed1b_cc82)];

/// The rows of a rank.
fn rows(digits: &Digits, split: Split, rank: Rank, size: u32) -> Vec<u16> {
    let mut memory = vec![0; digits.training().len()];
    split.rows(digits.training_labels(), rank, size, Options::DEFAULT.seed, &mut memory).to_vec()
}

/// The weights of every rank after all rounds.
fn federate(digits: &Digits, split: Split, size: u32) -> Vec<Vec<f32>> {
    world::run(size, |comm| async move {
        let rows = rows(digits, split, comm.rank(), size);
        let shard = digits.training().select(&rows);
        let mut weights = vec![0.0; Perceptron::<HIDDEN>::LEN];
        let Ok(()) = start::<_, HIDDEN>(&comm, &mut weights, Options::DEFAULT.seed).await;
        for number in 0..ROUNDS {
            let report = default_round(&comm, &mut weights, &shard, number).await;
            assert_eq!(report.examples as usize, digits.training().len());
        }
        weights
    })
}

async fn default_round(comm: &TestComm, weights: &mut [f32], shard: &Shard<'_>, number: u32) -> RoundReport {
    let (mut order, mut batch) = (vec![0; shard.len()], [Activations::<HIDDEN>::ZERO; BATCH]);
    let mut scratch = Scratch { order: &mut order, batch: &mut batch };
    let Ok(report) = round(comm, weights, shard, &mut scratch, &Options::DEFAULT, number).await;
    report
}

/// Trains without a communicator.
fn train<const HIDDEN: usize>(shard: &Shard<'_>, epochs: u32) -> Vec<f32> {
    let mut weights = vec![0.0; Perceptron::<HIDDEN>::LEN];
    Perceptron::<HIDDEN>::initialize(&mut weights, Options::DEFAULT.seed);
    let (mut order, mut batch) = (vec![0; shard.len()], [Activations::<HIDDEN>::ZERO; BATCH]);
    let mut scratch = Scratch { order: &mut order, batch: &mut batch };
    let options = Options { epochs, ..Options::DEFAULT };
    let mut training = Training::new(shard, &mut scratch, &options, 0, Rank::new(0));
    while training.step(&mut weights) {}
    weights
}

fn evaluate(digits: &Digits, weights: &[f32]) -> Evaluation {
    Perceptron::<HIDDEN>::evaluate(weights, &digits.test())
}

fn fingerprints(weights: &[Vec<f32>]) -> Vec<u64> {
    weights.iter().map(|weights| fingerprint(weights)).collect()
}

#[test]
fn federated_training_is_nearly_as_good_as_central_training() {
    let digits = Digits::load();
    let central = evaluate(&digits, &train::<HIDDEN>(&digits.training(), ROUNDS * Options::DEFAULT.epochs));
    assert!(central.accuracy() >= 0.9, "central: {central:?}");
    for size in [1, 4, 16] {
        let federated = evaluate(&digits, &federate(&digits, Split::Iid, size)[0]);
        assert!(federated.accuracy() >= 0.9, "{size} ranks: {federated:?}");
        assert!(federated.accuracy() >= central.accuracy() - 0.015, "{size} ranks: {federated:?}, {central:?}");
    }
}

#[test]
fn ranks_that_see_few_labels_learn_all_of_them() {
    let digits = Digits::load();
    for (size, accuracy) in [(4, 0.88), (16, 0.86)] {
        let evaluation = evaluate(&digits, &federate(&digits, Split::LabelSkew, size)[0]);
        assert!(evaluation.accuracy() >= accuracy, "{size} ranks: {evaluation:?}");
    }
}

#[test]
fn all_ranks_end_with_the_same_weights_in_every_run_and_every_world() {
    let digits = Digits::load();
    for (size, expected) in FINGERPRINTS_OF_WORLDS {
        let prints = fingerprints(&federate(&digits, Split::Iid, size));
        assert!(prints.iter().all(|&print| print == expected), "{size} ranks: {prints:#018x?}");
    }
}

#[test]
fn one_local_epoch_gives_the_weights_that_it_gives_everywhere() {
    let digits = Digits::load();
    let rows = rows(&digits, Split::Iid, Rank::new(0), 4);
    let shard = digits.training().select(&rows);
    let prints = [fingerprint(&train::<32>(&shard, 1)), fingerprint(&train::<16>(&shard, 1))];
    assert_eq!(prints, FINGERPRINTS, "{prints:#x?}");
}

#[test]
fn a_rank_without_images_takes_part_and_changes_nothing() {
    let digits = Digits::load();
    let rows = rows(&digits, Split::Iid, Rank::new(0), 16);
    let shard = digits.training().select(&rows);
    let program = |comm: TestComm| async move {
        let mine = if comm.rank() == 0 { shard } else { shard.select(&[]) };
        let mut weights = vec![0.0; Perceptron::<HIDDEN>::LEN];
        let Ok(()) = start::<_, HIDDEN>(&comm, &mut weights, 7).await;
        let report = default_round(&comm, &mut weights, &mine, 0).await;
        assert_eq!(report.examples as usize, shard.len());
        assert_eq!(weights.last(), Some(&1.0));
        weights
    };
    let alone = fingerprint(&world::run(1, program)[0]);
    assert_eq!(fingerprints(&world::run(3, program)), [alone; 3]);
}

#[test]
fn every_round_has_another_order_of_images() {
    let digits = Digits::load();
    let shard = digits.training().select(&[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]);
    let after = |number: u32| {
        let weights = world::run(1, |comm| async move {
            let mut weights = train::<HIDDEN>(&shard, 0);
            default_round(&comm, &mut weights, &shard, number).await;
            weights
        });
        fingerprint(&weights[0])
    };
    assert_eq!(after(0), after(0));
    assert_ne!(after(0), after(1));
}

#[test]
fn the_future_of_a_round_holds_no_array() {
    fn size<const HIDDEN: usize>(comm: &TestComm, shard: &Shard<'_>) -> usize {
        let mut scratch = Scratch::<HIDDEN> { order: &mut [], batch: &mut [] };
        size_of_val(&round(comm, &mut [], shard, &mut scratch, &Options::DEFAULT, 0))
    }
    let sizes = world::run(1, |comm| async move {
        let shard = Shard::new(&[], &[]);
        (size::<8>(&comm, &shard), size::<64>(&comm, &shard))
    });
    assert_eq!(sizes[0].0, sizes[0].1);
    assert!(sizes[0].0 <= 400, "{sizes:?}");
}
