//! Shifts: everybody sends to one rank and receives from another, or from nobody, in one call.

use edgempi::{Comm, Communicator, Status};

use crate::calls::Pieces;
use crate::model::{as_bytes, received};
use crate::persistent;
use crate::plan::View;
use crate::played::played;
use crate::program::{Call, Form};
use crate::values::{Sample, elements, object, zeros};

/// Makes one rank's part of [`Call::Shift`].
pub async fn perform<T: Sample>(comm: &Comm, view: &View<'_>) -> Pieces {
    let (len, tag) = (view.part.len, view.tag(0));
    let (dest, source) = ends(view);
    let given = |view: &View<'_>| elements::<T>(view.at, view.own, 0, len);
    let value = || object(view.at, view.own, 0, len);
    let (data, status) = match view.call.form() {
        Form::Object if view.at.is_multiple_of(2) => {
            let mut kept = value();
            let status = played!(Objects, comm.objects(), sendrecv_replace(dest, tag, source, tag, &mut kept)).await?;
            if source.is_none() {
                assert!(kept == value(), "nobody's message changed memory");
                kept.clear();
            }
            (kept, status)
        }
        Form::Object => {
            let objects = comm.objects();
            let came = played!(Objects, objects, sendrecv::<Vec<u8>, Vec<u8>>(dest, tag, &value(), source, tag));
            let (came, status) = came.await?;
            assert_eq!(came.is_some(), source.is_some(), "a value comes from somebody");
            (came.unwrap_or_default(), status)
        }
        Form::InPlace => {
            let mut data = given(view);
            let status = played!(Comm, comm, sendrecv_replace(dest, tag, source, tag, &mut data)).await?;
            if source.is_none() {
                assert!(as_bytes(&data) == as_bytes(&given(view)), "nobody's message changed memory");
                data.clear();
            }
            (as_bytes(&data), status)
        }
        Form::Borrowed => {
            let (dest, source) = dest.zip(source).expect("it is a ring");
            let (given, mut data) = (given(view), zeros::<T>(len));
            let status = played!(Communicator::sendrecv(comm, dest, tag, &given, source, tag, &mut data)).await?;
            (as_bytes(&data), status)
        }
        Form::Owned | Form::Persistent => {
            let comm = comm.clone();
            let make = move |data| played!(Comm, comm, sendrecv::<T, T>(dest, tag, data, source, tag));
            return persistent::own(view, given, make, |(data, status)| piece(source, as_bytes(&data), status)).await;
        }
    };
    Ok(piece(source, data, status))
}

/// What came, if it was from somebody.
fn piece(source: Option<u32>, data: Vec<u8>, status: Status) -> Vec<Vec<u8>> {
    if source.is_none() {
        assert_eq!((status.source, status.bytes, data.len()), (Status::NOBODY, 0, 0), "from nobody");
        return Vec::new();
    }
    vec![received(status.source.get(), status.tag.0, &data)]
}

/// To whom a rank sends in a [`Call::Shift`], and from whom it receives.
pub fn ends(view: &View<'_>) -> (Option<u32>, Option<u32>) {
    let Call::Shift { by, line, .. } = *view.call else { return (None, None) };
    let (size, own, by) = (view.size(), view.own, view.rank(by));
    if line {
        ((own + by < size).then_some(own + by), own.checked_sub(by))
    } else {
        (Some((own + by) % size), Some((own + size - by) % size))
    }
}
