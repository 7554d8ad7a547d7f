//! What passes between threads: the standard library's, or, where loom tries every order of what threads do, loom's.
//!
//!     RUSTFLAGS="--cfg loom" cargo test --release --package edgempi --lib loom

#[cfg(not(all(test, loom)))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, Ordering, fence};
    pub(crate) use std::sync::{Mutex, MutexGuard};
    pub(crate) use std::thread::{Thread, current, park, park_timeout};
}

#[cfg(all(test, loom))]
mod real {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    pub(crate) use loom::thread::{Thread, current, park};

    /// No time passes.
    pub(crate) fn park_timeout(_: std::time::Duration) {
        park();
    }
}

pub(crate) use real::*;
