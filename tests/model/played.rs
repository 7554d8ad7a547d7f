//! What has really been played, whatever was drawn: each call of the library is noted where it is made, and so is each
//! round of a persistent one; and of each [`Call`] how it was made, once its result is right. Each thread has notes of its own: a simulation is played on one.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::program::Call;

thread_local! {
    static PLAYED: RefCell<BTreeSet<Cow<'static, str>>> = const { RefCell::new(BTreeSet::new()) };
}

/// What is noted of a call: what its elements are, what receives say, and so on.
const PARTS: [&str; 15] = [
    "kind",
    "selector",
    "mode",
    "probed",
    "waiting",
    "exclusive",
    "even",
    "pattern",
    "columns",
    "ends",
    "line",
    "alltoall",
    "varied",
    "topology",
    "by",
];

pub fn note(what: impl Into<Cow<'static, str>>) {
    PLAYED.with_borrow_mut(|played| played.insert(what.into()));
}

/// Notes how a call was made, and with what: `Scan Owned`, `Scan Owned exclusive true`.
pub fn note_as(call: &Call, how: &str) {
    let text = format!("{call:?}");
    let name = format!("{} {how}", text.split(' ').next().unwrap_or_default());
    for part in PARTS {
        if let Some((_, rest)) = text.split_once(&format!(" {part}: ")) {
            let value = rest.split([',', ' ', '}', '(']).next().unwrap_or_default();
            note(format!("{name} {part} {value}"));
        }
    }
    note(name);
}

/// Notes a round of a persistent call.
pub fn note_round(call: &Call, number: usize) {
    note_as(call, "Persistent");
    if number > 0 {
        note_as(call, "again");
    }
}

/// Those of these that were never played on this thread.
pub fn missing(all: impl IntoIterator<Item = String>) -> Vec<String> {
    PLAYED.with_borrow(|played| all.into_iter().filter(|what| !played.contains(what.as_str())).collect())
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
