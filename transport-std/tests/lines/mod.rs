//! What a child process says, line by line, for tests that wait for a line: no longer than they have patience.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// So long a process may take to say something.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The lines of a pipe. The process can go on writing as long as this is there.
pub struct Lines {
    coming: Receiver<String>,
    said: Vec<String>,
}

impl Lines {
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, coming) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { coming, said: Vec::new() }
    }

    /// The next line, on the way to what is awaited; none when there are no more.
    #[track_caller]
    pub fn next(&mut self, deadline: Instant, awaited: &str) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "it goes on and on, and {awaited} does not come: {:#?}", self.said);
        match self.coming.recv_timeout(left) {
            Ok(line) => {
                self.said.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{awaited} does not come in time, but only {:#?}", self.said),
        }
    }

    /// The next line with these words.
    #[track_caller]
    pub fn with(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline, &format!("{words:?}")) {
                Some(line) if line.contains(words) => return line,
                Some(_) => {}
                None => panic!("nothing says {words:?}, but {:#?}", self.said),
            }
        }
    }
}
