//! What people are told although nobody has asked.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;

/// Tells people of something that they would miss, by `log`; a program without a log has stderr.
pub(crate) fn warn(text: &str, log: impl FnOnce(&str)) {
    if LevelFilter::current() == LevelFilter::OFF {
        // A stderr that nobody reads is no reason to stop.
        let _ = writeln!(io::stderr().lock(), "edgempi: {text}");
    } else {
        log(text);
    }
}
