//! Something that happens once, and that any number of tasks and threads may wait for.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::pending::wake;
use crate::sync::Mutex;

struct State<T> {
    value: Option<T>,
    wakers: Vec<Waker>,
}

struct AtLast<T: Clone> {
    signal: Signal<T>,
    value: Option<T>,
}

impl<T: Clone> Drop for AtLast<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.signal.set(value);
        }
    }
}

/// A value that is set once.
pub(crate) struct Signal<T> {
    state: Arc<Mutex<State<T>>>,
}

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone() }
    }
}

impl<T: Clone> Signal<T> {
    pub(crate) fn new() -> Self {
        Self { state: Arc::new(Mutex::new(State { value: None, wakers: Vec::new() })) }
    }

    /// Sets the value; a second one changes nothing.
    pub(crate) fn set(&self, value: T) {
        let wakers = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.value.is_some() {
                return;
            }
            state.value = Some(value);
            std::mem::take(&mut state.wakers)
        };
        for waker in wakers {
            wake(waker);
        }
    }
}

impl<T: Clone> Signal<T> {
    /// Sets the value when this is dropped, come what may.
    pub(crate) fn set_at_last(&self, value: T) -> impl Drop + use<T> {
        AtLast { signal: self.clone(), value: Some(value) }
    }

    /// The value, if it is set.
    pub(crate) fn get(&self) -> Option<T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).value.clone()
    }
}

impl<T> std::fmt::Debug for Signal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signal")
    }
}

impl<T: Clone> Future for Signal<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.value {
            Some(value) => Poll::Ready(value.clone()),
            None => {
                if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                    state.wakers.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::thread;

    use super::*;
    use crate::request::block_on;

    #[test]
    fn loom_all_who_wait_hear_of_it() {
        loom::model(|| {
            let signal = Signal::new();
            let waiting = [signal.clone(), signal.clone()].map(|signal| thread::spawn(|| block_on(signal)));
            signal.set(7);
            signal.set(8);
            for thread in waiting {
                assert_eq!(thread.join().expect("nobody panics"), 7);
            }
        });
    }

    #[test]
    fn loom_it_happens_once_whoever_comes_first() {
        loom::model(|| {
            let signal = Signal::new();
            let setting = [1, 2].map(|value| {
                let signal = signal.clone();
                thread::spawn(move || drop(signal.set_at_last(value)))
            });
            let heard = block_on(signal.clone());
            for thread in setting {
                thread.join().expect("nobody panics");
            }
            assert_eq!(signal.get(), Some(heard));
        });
    }
}
