//! The right to write a link, which whoever has something to send takes if nobody has it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::sync::{AtomicBool, Mutex, MutexGuard, fence, try_lock};

/// What is needed to write, and whether there may be something to write that nobody has looked at.
pub(super) struct Token<T> {
    wanted: AtomicBool,
    held: Mutex<T>,
}

impl<T> Token<T> {
    pub(super) fn new(held: T) -> Self {
        Self { wanted: AtomicBool::new(false), held: Mutex::new(held) }
    }

    /// Takes the token, for something else than writing. Whoever wants to write meanwhile relies on the engine's thread
    /// to [look](Self::is_wanted) afterwards, or to take another turn.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to write: `write` does it, unless somebody else has the token and will.
    pub(super) fn kick(&self, mut write: impl FnMut(&mut T)) {
        self.wanted.store(true, Ordering::SeqCst);
        while self.is_wanted() {
            // Whoever has the token looks at the flag once more after letting go of it.
            let Some(mut held) = try_lock(&self.held) else { return };
            self.wanted.store(false, Ordering::SeqCst);
            write(&mut held);
        }
    }

    /// A turn of whoever moves everybody's frames, and waits for the token. `write` is told whether there may be
    /// something to write that nobody has looked at.
    pub(super) fn turn<R>(&self, write: impl FnOnce(&mut T, bool) -> R) -> R {
        let mut held = self.lock();
        let wanted = self.wanted.swap(false, Ordering::SeqCst);
        write(&mut held, wanted)
    }

    /// Whether there may be something to send that nobody has looked at. The fence stands between letting go of the
    /// token and looking here, as one in `kick` stands between setting the flag and trying for the token: one of the
    /// two sees the other.
    pub(super) fn is_wanted(&self) -> bool {
        fence(Ordering::SeqCst);
        self.wanted.load(Ordering::SeqCst)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// What is to be written, and what has been.
    #[derive(Default)]
    struct Link {
        queue: std::sync::Arc<Mutex<Vec<u32>>>,
        written: Vec<u32>,
    }

    impl Link {
        fn write(&mut self) {
            self.written.extend(self.queue.lock().expect("nobody panics").drain(..));
        }
    }

    fn put(token: &Token<Link>, queue: &Mutex<Vec<u32>>, number: u32) {
        queue.lock().expect("nobody panics").push(number);
        token.kick(Link::write);
    }

    fn all_is_written_whoever_writes(writers: u32) {
        loom::model(move || {
            let queue = std::sync::Arc::new(Mutex::new(Vec::new()));
            let token = Arc::new(Token::new(Link { queue: queue.clone(), written: Vec::new() }));
            let threads: Vec<_> = (0..writers)
                .map(|number| {
                    let (token, queue) = (token.clone(), queue.clone());
                    thread::spawn(move || put(&token, &queue, number))
                })
                .collect();
            // The engine's thread looks at the link, and goes to sleep if nothing is wanted then.
            loop {
                token.turn(|link, _| link.write());
                drop(token.lock());
                if !token.is_wanted() {
                    break;
                }
            }
            for thread in threads {
                thread.join().expect("nobody panics");
            }
            assert!(!token.is_wanted());
            assert_eq!(token.lock().written.len(), writers as usize);
        });
    }

    #[test]
    fn loom_what_one_thread_sends_is_written_while_the_engine_goes_to_sleep() {
        all_is_written_whoever_writes(1);
    }

    #[test]
    fn loom_what_two_threads_send_is_written_while_the_engine_goes_to_sleep() {
        all_is_written_whoever_writes(2);
    }
}
