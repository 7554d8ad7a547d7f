//! Which calls of the library have really been made, whatever was drawn: each is noted where it is made.

use std::collections::BTreeSet;
use std::sync::Mutex;

static PLAYED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

pub fn note(call: &'static str) {
    PLAYED.lock().expect("nobody panics here").insert(call);
}

/// Those of these calls that were never made in this process.
pub fn missing(calls: &[&'static str]) -> Vec<&'static str> {
    let played = PLAYED.lock().expect("nobody panics here");
    calls.iter().copied().filter(|call| !played.contains(call)).collect()
}

/// Makes a call, and notes it: `played!(Comm, comm, gather(0, data))` is `comm.gather(0, data)`.
macro_rules! played {
    ($owner:ident :: $function:ident ($($argument:tt)*)) => {{
        $crate::played::note(concat!(stringify!($owner), "::", stringify!($function)));
        $owner::$function($($argument)*)
    }};
    ($function:ident ($($argument:tt)*)) => {{
        $crate::played::note(stringify!($function));
        $function($($argument)*)
    }};
    ($owner:ident, $receiver:expr, $method:ident $(::<$($element:ty),+>)? ($($argument:tt)*)) => {{
        $crate::played::note(concat!(stringify!($owner), "::", stringify!($method)));
        $receiver.$method$(::<$($element),+>)?($($argument)*)
    }};
}

pub(crate) use played;
