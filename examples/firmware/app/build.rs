//! Turns the digits of the host's example into bytes that lie in flash: all pixels, then all labels.

use std::path::Path;

/// Only these are for training; see the host's examples/fedavg/digits.rs.
const TRAINING_ROWS: usize = 1297;

fn main() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fedavg/data/digits.csv");
    println!("cargo::rerun-if-changed={}", data.display());
    let text = std::fs::read_to_string(&data).expect("the digits are in examples/fedavg/data");
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in text.lines().take(TRAINING_ROWS) {
        let numbers: Vec<u8> = line.split(',').map(|number| number.parse().expect("a number from 0 to 16")).collect();
        let (label, image) = numbers.split_last().expect("a label at the end of each line");
        pixels.extend_from_slice(image);
        labels.push(*label);
    }
    let folder = std::env::var_os("OUT_DIR").expect("cargo says where");
    std::fs::write(Path::new(&folder).join("pixels"), pixels).expect("the folder can be written");
    std::fs::write(Path::new(&folder).join("labels"), labels).expect("the folder can be written");
}
