//! The figures as people and programs read them.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use serde::Serialize;

use super::cost::Cost;
use super::workload::Figure;

/// Why the figures of another library can't be read, or ours not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("can't read `{path}`: {error}")]
    Read { path: String, error: io::Error },
    #[error(
        "`{path}`, line {line}: expected a name, ranks, bytes, median and 99th percentile in microseconds, found `{text}`"
    )]
    Line { path: String, line: usize, text: String },
    #[error("can't draw `{path}`: {reason}")]
    Draw { path: String, reason: String },
    #[error("can't write the picture to `{path}`: {error}")]
    Picture { path: String, error: io::Error },
}

/// A figure of another library.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Other {
    pub name: String,
    pub ranks: u32,
    pub bytes: u64,
    pub median_us: f64,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    ranks: u32,
    pub figures: Vec<Figure>,
    pub costs: Vec<Cost>,
    pub other: Vec<Other>,
}

impl Report {
    pub fn new(ranks: u32, other: Vec<Other>) -> Self {
        Self { ranks, figures: Vec::new(), costs: Vec::new(), other }
    }

    pub fn heading(&self) -> String {
        let beside = if self.other.is_empty() { "" } else { "   ratio" };
        format!(
            "# {:<14} {:>3} {:>10} {:>12} {:>12} {:>12}{beside}",
            "name", "n", "bytes", "median us", "p99 us", "moved"
        )
    }

    pub fn line(&self, figure: &Figure) -> String {
        let Figure { name, ranks, bytes, median_us, p99_us, moved } = figure;
        let mut line = format!("{name:<16} {ranks:>3} {bytes:>10} {median_us:>12.2} {p99_us:>12.2} {moved:>12.0}");
        if let Some(other) = self.beside(name, *bytes) {
            let _ = write!(line, " {:>7.2}", median_us / other.median_us);
        }
        line
    }

    /// What the other library takes for the same.
    pub fn beside(&self, name: &str, bytes: u64) -> Option<&Other> {
        self.beside_all(name).find(|other| other.bytes == bytes)
    }

    /// What the other library takes for this call among as many ranks, size by size.
    pub fn beside_all(&self, name: &str) -> impl Iterator<Item = &Other> {
        self.other.iter().filter(move |other| other.name == name && other.ranks == self.ranks)
    }

    /// What the ranks have cost, a comment line each.
    pub fn costs(&self) -> String {
        let mut text = String::new();
        for Cost { rank, hosts_hub, processor_seconds, peak_memory } in &self.costs {
            let hub = if *hosts_hub { " with the hub" } else { "" };
            let seconds = processor_seconds.map_or("unknown".to_owned(), |seconds| format!("{seconds:.2} s"));
            let memory =
                peak_memory.map_or("unknown".to_owned(), |bytes| format!("{:.1} MiB", bytes as f64 / 1048576.0));
            let _ = writeln!(text, "# rank {rank}{hub}: processor {seconds}, peak memory {memory}");
        }
        text
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Reads lines of name, ranks, bytes, median and more; what begins with `#` is skipped.
pub fn read(path: &Path) -> Result<Vec<Other>, ReportError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| ReportError::Read { path: name.clone(), error })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(index, line)| {
            parse(line).ok_or_else(|| ReportError::Line { path: name.clone(), line: index + 1, text: line.to_owned() })
        })
        .collect()
}

fn parse(line: &str) -> Option<Other> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    Some(Other {
        name,
        ranks: words.next()?.parse().ok()?,
        bytes: words.next()?.parse().ok()?,
        median_us: words.next()?.parse().ok().filter(|median: &f64| median.is_normal() && *median > 0.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_another_library_are_read_and_what_is_no_figure_is_an_error() {
        let other = parse("allreduce    4       2048        40.25        99.00").expect("a figure");
        assert_eq!(other, Other { name: "allreduce".to_owned(), ranks: 4, bytes: 2048, median_us: 40.25 });
        for line in ["", "allreduce", "allreduce 4 2048", "allreduce 4 2048 fast 1", "allreduce 4 2048 0 1"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    /// A picture that is to show them is never finished.
    #[test]
    fn a_time_without_end_or_next_to_none_is_no_figure() {
        for median in ["inf", "NaN", "1e-320", "-1"] {
            assert_eq!(parse(&format!("allreduce 4 2048 {median}")), None, "{median}");
        }
    }
}
