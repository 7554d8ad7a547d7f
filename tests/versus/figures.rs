//! What was measured, library by library and turn by turn.

use std::collections::HashMap;
use std::fmt::Write;

use super::goals::goal;
use super::libraries::Library;

/// A call and its bytes.
type Workload = (String, u64);

/// Medians, of each turn one.
#[derive(Debug, Default)]
pub struct Figures {
    /// In the order in which they came first.
    workloads: Vec<Workload>,
    medians: HashMap<(Library, Workload), Vec<f64>>,
}

impl Figures {
    /// Takes in the lines that a library has printed: name, ranks, bytes, median in microseconds, and more. What is no
    /// such line is a comment.
    pub fn add(&mut self, library: Library, lines: &str) {
        for (workload, median) in lines.lines().filter_map(parse) {
            if !self.workloads.contains(&workload) {
                self.workloads.push(workload.clone());
            }
            self.medians.entry((library, workload)).or_default().push(median);
        }
    }

    fn median(&self, library: Library, workload: &Workload) -> Option<f64> {
        let mut turns = self.medians.get(&(library, workload.clone()))?.clone();
        turns.sort_by(f64::total_cmp);
        turns.get(turns.len() / 2).copied()
    }

    /// A table in Markdown: microseconds, ratios to the first library, and the goals where there are some.
    pub fn table(&self, ranks: u32, libraries: &[Library]) -> String {
        let mut table = format!("\n| {ranks} ranks | bytes |");
        for library in libraries {
            let _ = write!(table, " {library}, µs |");
            if *library != libraries[0] {
                table.push_str(" ratio |");
            }
        }
        table.push_str(" goals |\n|---|---|");
        table.push_str(&"---|".repeat(2 * libraries.len()));
        table.push('\n');
        for workload in &self.workloads {
            let first = self.median(libraries[0], workload);
            let _ = write!(table, "| {} | {} |", workload.0, workload.1);
            for library in libraries {
                let own = self.median(*library, workload);
                let _ = write!(table, " {} |", own.map_or("-".to_owned(), microseconds));
                if *library != libraries[0] {
                    let ratio = own.zip(first).map(|(own, first)| own / first);
                    let _ = write!(table, " {} |", ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
                }
            }
            let goals = goal(&workload.0, ranks, workload.1).map_or(String::new(), |goal| {
                goal.default.map_or(format!("{:.1}", goal.tcp), |default| format!("{:.1}, {default:.1}", goal.tcp))
            });
            let _ = writeln!(table, " {goals} |");
        }
        table
    }
}

fn microseconds(time: f64) -> String {
    if time < 100.0 { format!("{time:.1}") } else { format!("{time:.0}") }
}

fn parse(line: &str) -> Option<(Workload, f64)> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let _ranks: u32 = words.next()?.parse().ok()?;
    let bytes = words.next()?.parse().ok()?;
    Some(((name, bytes), words.next()?.parse().ok()?))
}
