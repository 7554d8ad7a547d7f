//! The ranks' output, line by line, each with the rank it comes from.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};

/// A longer line is cut, so that a rank that never ends a line can't fill the memory.
const LONGEST_LINE: usize = 64 * 1024;

/// The text before each line of `rank`, as wide for all of `size` ranks.
pub fn prefix(rank: u32, size: u32, colour: bool) -> String {
    let width = size.saturating_sub(1).to_string().len();
    let style = if colour { style(rank) } else { Style::new() };
    format!("{style}[{rank:width$}]{style:#} ")
}

fn style(rank: u32) -> Style {
    // Red is left for errors; black and white may be the background.
    const COLOURS: [AnsiColor; 10] = [
        AnsiColor::Cyan,
        AnsiColor::Green,
        AnsiColor::Yellow,
        AnsiColor::Magenta,
        AnsiColor::Blue,
        AnsiColor::BrightCyan,
        AnsiColor::BrightGreen,
        AnsiColor::BrightYellow,
        AnsiColor::BrightMagenta,
        AnsiColor::BrightBlue,
    ];
    COLOURS[rank as usize % COLOURS.len()].on_default()
}

/// Copies `from` to `write` until it ends; each call of `write` gets whole lines. `idle` is true while nothing is read.
///
/// # Errors
///
/// The first of `from` or `write`.
pub fn forward(
    mut from: impl Read,
    prefix: &str,
    idle: &AtomicBool,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut lines = Lines::new(prefix);
    let mut chunk = [0; 16 * 1024];
    loop {
        idle.store(true, Ordering::SeqCst);
        let read = from.read(&mut chunk);
        idle.store(false, Ordering::SeqCst);
        match read {
            Ok(0) => break,
            Ok(len) => lines.push(chunk.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if !lines.whole.is_empty() {
            write(&lines.whole)?;
            lines.whole.clear();
        }
    }
    lines.end_line();
    write(&lines.whole)
}

/// Cuts a stream of any bytes into lines.
struct Lines<'a> {
    prefix: &'a str,
    /// Lines that are whole, with prefix and line end.
    whole: Vec<u8>,
    /// The line that is not whole yet.
    begun: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn new(prefix: &'a str) -> Self {
        Self { prefix, whole: Vec::new(), begun: Vec::new() }
    }

    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() >= LONGEST_LINE {
                self.end_line();
            }
        }
    }

    /// Moves the begun line, if there is one, to the whole ones.
    fn end_line(&mut self) {
        if self.begun.is_empty() {
            return;
        }
        self.whole.extend_from_slice(self.prefix.as_bytes());
        self.whole.append(&mut self.begun);
        if !self.whole.ends_with(b"\n") {
            self.whole.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        struct Chunks<'a>(std::slice::Iter<'a, &'a [u8]>);
        impl Read for Chunks<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let chunk = self.0.next().copied().unwrap_or_default();
                buffer[..chunk.len()].copy_from_slice(chunk);
                Ok(chunk.len())
            }
        }
        let mut written = Vec::new();
        forward(Chunks(chunks.iter()), "> ", &AtomicBool::new(false), |lines| {
            written.push(lines.to_vec());
            Ok(())
        })
        .unwrap();
        written
    }

    #[test]
    fn only_whole_lines_are_written() {
        assert_eq!(forwarded(&[b"a", b"b\nc", b"\n\nd"]), [b"> ab\n".to_vec(), b"> c\n> \n".into(), b"> d\n".into()]);
    }

    #[test]
    fn bytes_that_are_not_text_pass_unharmed() {
        assert_eq!(forwarded(&[b"\xff\0\r\x1b[1m\n"]), [b"> \xff\0\r\x1b[1m\n".to_vec(), b"".into()]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let chunk: &[u8] = &[b'x'; 16 * 1024];
        let written = forwarded(&[chunk; 9]).concat();
        let lengths: Vec<_> = written.split(|byte| *byte == b'\n').map(<[u8]>::len).collect();
        assert_eq!(lengths, [LONGEST_LINE + 2, LONGEST_LINE + 2, 16 * 1024 + 2, 0]);
    }

    #[test]
    fn prefixes_are_equally_wide() {
        assert_eq!(prefix(0, 10, false), "[0] ");
        assert_eq!(prefix(0, 11, false), "[ 0] ");
        assert_eq!(prefix(10, 11, false), "[10] ");
        assert_eq!(prefix(0, 1, true), "\u{1b}[36m[0]\u{1b}[0m ");
    }
}
