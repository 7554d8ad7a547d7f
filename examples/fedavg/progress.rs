//! What rank 0 shows: on a terminal a bar, elsewhere a line for each round, and at the end a summary.

use std::fmt;
use std::io::{IsTerminal, Write, stdout};
use std::time::Instant;

use edgempi::Traffic;
use fedavg_round::Evaluation;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

/// The progress of the training so far.
pub struct Progress {
    rounds: u32,
    bar: Option<ProgressBar>,
    begin: Instant,
    traffic_at_begin: Traffic,
    /// When the round began, and what had been moved by then.
    round_begin: Instant,
    round_bytes: u64,
}

impl Progress {
    /// Begins to count time, and bytes beyond `traffic`.
    pub fn new(rounds: u32, traffic: Traffic) -> Self {
        let now = Instant::now();
        let bar = ProgressBar::new(rounds.into());
        // The message leaves a terminal of 80 columns some room for the bar.
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}").expect("a valid template");
        bar.set_style(style);
        let bar = (stdout().is_terminal() && !bar.is_hidden()).then_some(bar);
        let round_bytes = traffic.sent + traffic.received;
        Self { rounds, bar, begin: now, traffic_at_begin: traffic, round_begin: now, round_bytes }
    }

    /// Shows the end of round number `number`, which counts from 0.
    pub fn round(&mut self, number: u32, evaluation: Evaluation, traffic: Traffic) {
        let bytes = traffic.sent + traffic.received;
        let moved = DecimalBytes(bytes - self.round_bytes);
        let milliseconds = self.round_begin.elapsed().as_secs_f64() * 1e3;
        let (accuracy, loss) = (evaluation.accuracy() * 100.0, evaluation.loss);
        let message = format!("accuracy {accuracy:.2} %, loss {loss:.4}, {moved} moved, {milliseconds:.1} ms");
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(message);
            }
            None => say(format_args!("round {:2}/{}: {message}", number + 1, self.rounds)),
        }
        self.round_begin = Instant::now();
        self.round_bytes = bytes;
    }

    /// Shows how it all ended.
    pub fn finish(self, ranks: u32, evaluation: Evaluation, traffic: Traffic, fingerprint: u64) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
        let sent = traffic.sent - self.traffic_at_begin.sent;
        let received = traffic.received - self.traffic_at_begin.received;
        say(format_args!("test accuracy   {}", accuracy(&evaluation)));
        say(format_args!("ranks           {ranks}"));
        say(format_args!("rounds          {}", self.rounds));
        say(format_args!("moved by rank 0 {} sent, {} received", DecimalBytes(sent), DecimalBytes(received)));
        say(format_args!("total time      {:.3} s", self.begin.elapsed().as_secs_f64()));
        say(format_args!("weights         {fingerprint:016x}"));
    }
}

/// Prints a line. That nobody reads any more (`| head`) is no reason to stop training: other ranks count on this one.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(stdout(), "{line}");
}

/// A share, and what it is a share of.
pub fn accuracy(evaluation: &Evaluation) -> String {
    format!("{:.2} % ({} of {})", evaluation.accuracy() * 100.0, evaluation.correct, evaluation.examples)
}
