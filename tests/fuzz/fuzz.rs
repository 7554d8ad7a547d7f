//! The fuzz targets with any compiler: everything in the corpus, and then mutations of it for a set time,
//! EDGEMPI_FUZZ_SECONDS for each target (1 if it is not set). EDGEMPI_FUZZ_SEED says which.
//!
//! An input that breaks something is kept in target/tmp. Without coverage to go by, this finds what is near the corpus;
//! `guided` finds the rest and grows the corpus.

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use edgempi_fuzz::TARGETS;
use edgempi_fuzz::world::Random;

/// No input gets longer.
const LONGEST: usize = 4096;

fn number(variable: &str, default: u64) -> u64 {
    let parse = |text: String| text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}"));
    env::var(variable).map_or(default, parse)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a folder that can be read").path()).collect();
    // In the same order everywhere.
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a file that can be read")).collect()
}

/// A few changes of the kinds that libFuzzer makes.
fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const INTERESTING: [u8; 10] = [0, 1, 2, 4, 0x3f, 0x40, 0x7f, 0x80, 0xfe, 0xff];
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(input.len() + 1);
        let longest = 1 << random.below(7);
        let len = random.below(longest).min(input.len() - at);
        match random.below(8) {
            0 | 1 if at < input.len() => input[at] = random.below(256) as u8,
            2 if at < input.len() => input[at] ^= 1 << random.below(8),
            3 if at < input.len() => input[at] = INTERESTING[random.below(INTERESTING.len())],
            4 => drop(input.drain(at..at + len)),
            5 => {
                let copy = input[at..at + len].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            6 => {
                let other = &corpus[random.below(corpus.len())];
                input.truncate(at);
                input.extend(&other[random.below(other.len() + 1)..]);
            }
            _ => {
                let noise: Vec<u8> = (0..1 + random.below(8)).map(|_| random.below(256) as u8).collect();
                input.splice(at..at, noise);
            }
        }
        input.truncate(LONGEST);
    }
    input
}

fn run(name: &str) {
    let (_, target) = TARGETS.iter().find(|(other, _)| *other == name).expect("a target");
    let attempt = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-fails"));
            fs::write(&file, input).expect("a folder to write to");
            eprintln!("{name}: the input that broke it is in {}", file.display());
            resume_unwind(panic);
        }
    };
    let corpus = corpus(name);
    assert!(!corpus.is_empty());
    corpus.iter().for_each(|input| attempt(input));
    let (seconds, seed) = (number("EDGEMPI_FUZZ_SECONDS", 1), number("EDGEMPI_FUZZ_SEED", 1));
    let (mut random, start, mut inputs) = (Random(seed), Instant::now(), 0_u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        attempt(&mutate(&corpus, &mut random));
        inputs += 1;
    }
    println!("{name}: {} inputs of the corpus, {inputs} mutations of them with seed {seed}", corpus.len());
}

#[test]
fn frames() {
    run("frames");
}

#[test]
fn handshake() {
    run("handshake");
}

#[test]
fn endpoint() {
    run("endpoint");
}

#[test]
fn hub() {
    run("hub");
}

#[test]
fn communicators() {
    run("communicators");
}

#[test]
fn serial() {
    run("serial");
}
