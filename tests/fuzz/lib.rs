//! Fuzz targets: each a function of bytes that panics when the library does what it must not.
//!
//! | target | what the bytes are |
//! |---|---|
//! | `frames` | frames, one after another |
//! | `handshake` | frames of several strangers to a hub, each behind a byte that says whose it is; and of a hub to a rank |
//! | `endpoint` | choices of a hub that mostly keeps to the protocol, for one rank |
//! | `hub` | choices of two ranks that mostly keep to the protocol, beside two that do |
//! | `communicators` | the same, while the two others have a communicator of their own |
//! | `serial` | choices of a bad line between two ends, or of somebody who forges frames |
//!
//! Bytes as choices (see [`Choices`]) are what makes long sequences of nearly right frames: the tests of core draw the
//! same choices from a seed. `fuzz.rs` runs the targets with any compiler, `guided` under libFuzzer:
//!
//! ```text
//! EDGEMPI_FUZZ_SECONDS=60 cargo test --package edgempi-fuzz
//! cd tests/fuzz/guided && cargo +nightly fuzz run --fuzz-dir . hub corpus/hub ../corpus/hub
//! ```
//!
//! The second is cargo-fuzz; the stable toolchain will do if RUSTC_BOOTSTRAP=1 says so. What is in `corpus` began as
//! [recorded sessions](../record.rs) and was grown by libFuzzer; of that, a set that covers as many places is kept:
//!
//! ```text
//! target/*/release/hub -merge=1 -set_cover_merge=1 -use_counters=0 -max_len=700 NEW corpus/hub ../corpus/hub
//! ```

mod choices;
mod frames;
mod handshake;
mod serial;

#[path = "../../core/tests/liar/mod.rs"]
mod liar;
#[path = "../../core/tests/line/mod.rs"]
mod line;
#[path = "../../core/tests/villain/mod.rs"]
mod villain;
#[path = "../../core/tests/world/mod.rs"]
pub mod world;

pub use choices::Choices;
pub use frames::fuzz_frames;
pub use handshake::fuzz_handshake;
pub use serial::fuzz_serial;

/// What a target does with an input.
pub type Target = fn(&[u8]);

/// All targets by their names.
pub const TARGETS: [(&str, Target); 6] = [
    ("frames", fuzz_frames),
    ("handshake", fuzz_handshake),
    ("endpoint", fuzz_endpoint),
    ("hub", fuzz_hub),
    ("communicators", fuzz_communicators),
    ("serial", fuzz_serial),
];

/// `Endpoint::handle_frame`: what the hub says, between calls of the rank.
pub fn fuzz_endpoint(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut liar = liar::Liar::new(&mut choices);
    while !choices.is_empty() {
        if !liar.go_on(&mut choices) {
            return;
        }
    }
    liar.end();
}

/// `Hub::handle_frame`: what ranks say that are in a communicator with honest ones.
pub fn fuzz_hub(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut siege = villain::Siege::new(&mut choices);
    while !choices.is_empty() {
        siege.go_on(&mut choices);
    }
    siege.end();
}

/// `Hub::handle_frame`: what ranks say while honest ones have a communicator of their own.
pub fn fuzz_communicators(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut refuge = villain::Refuge::new(&mut choices);
    while !choices.is_empty() {
        refuge.go_on(&mut choices);
    }
    refuge.end();
}
