//! Calls by persistent requests: described once, and made again with other data in some of the steps.

use edgempi::{Comm, Persistent, Request};

use crate::calls::{Pieces, for_bcast, pieces, to_all};
use crate::families::counts;
use crate::model::as_bytes;
use crate::plan::View;
use crate::played::{self, played};
use crate::program::{Call, Form};
use crate::values::{Sample, elements, op, samples};

/// Makes a call that owns its buffers; or all rounds of it, by a persistent request of one's own. `given` is what this
/// rank gives in a round, and `taken` what came of it.
pub async fn own<B: Default + Send + 'static, T: Send + 'static>(
    view: &View<'_>,
    given: impl Fn(&View<'_>) -> B,
    mut make: impl FnMut(B) -> Request<'static, T> + Send + 'static,
    taken: impl Fn(T) -> Vec<Vec<u8>>,
) -> Pieces {
    match view.call.form() {
        Form::Owned => Ok(taken(make(given(view)).await?)),
        Form::Persistent => {
            let call = played!(Persistent::calling(B::default(), move |given| make(std::mem::take(given))));
            rounds(view, call, |buffer, view| *buffer = given(view), |_, came| taken(came)).await
        }
        form => unreachable!("{form:?} is made elsewhere"),
    }
}

/// Makes all rounds of a call. `fill` puts into its buffer what this rank gives in a round, and `taken` is what came, there
/// or from the request.
async fn rounds<B: Send + 'static, T: Send + 'static>(
    view: &View<'_>,
    mut call: Persistent<B, T>,
    mut fill: impl FnMut(&mut B, &View<'_>),
    taken: impl Fn(&B, T) -> Vec<Vec<u8>>,
) -> Pieces {
    let mut pieces = Vec::new();
    for (number, view) in view.rounds().into_iter().enumerate() {
        played::note_round(view.call, number);
        fill(call.buffer_mut().expect("no round is under way"), &view);
        played!(Persistent, call, start())?;
        let came = played!(Persistent, call, request()).await?;
        pieces.extend(taken(call.buffer().expect("the round is over"), came));
    }
    Ok(pieces)
}

pub async fn barrier(comm: &Comm, view: &View<'_>) -> Pieces {
    rounds(view, played!(Comm, comm, barrier_init()), |(), _| {}, |(), ()| Vec::new()).await
}

/// Makes one rank's call; the first round is started at the first poll.
pub async fn perform<T: Sample>(comm: &Comm, view: &View<'_>) -> Pieces {
    let (own, size) = (view.own, view.size());
    let block = |view: &View<'_>| elements::<T>(view.at, own, 0, view.part.len);
    let given = |view: &View<'_>| samples::<T>(view.at, own, view.part.len);
    let whole = |data: &Vec<T>, ()| vec![as_bytes(data)];
    match *view.call {
        Call::Bcast { root, .. } => {
            let root = view.rank(root);
            let call = played!(Comm, comm, bcast_init(root, Vec::<T>::new()));
            rounds(view, call, |data, view| *data = for_bcast(view, root), whole).await
        }
        Call::Gather { root, .. } => {
            let root = view.rank(root);
            let call = played!(Comm, comm, gather_init(root, Vec::new()));
            let taken = |receive: &[T]| if root == own { pieces(receive, size) } else { Vec::new() };
            rounds(view, call, |both, view| both.send = block(view), |both, ()| taken(&both.receive)).await
        }
        Call::Scatter { root, .. } => {
            let root = view.rank(root);
            let call = played!(Comm, comm, scatter_init(root, (root == own).then(Vec::new)));
            let fill = |send: &mut Vec<T>, view: &View<'_>| {
                if root == own {
                    *send = to_all(view);
                }
            };
            rounds(view, call, |both, view| fill(&mut both.send, view), |both, ()| whole(&both.receive, ())).await
        }
        Call::Allgather { .. } => {
            let call = played!(Comm, comm, allgather_init(Vec::new()));
            rounds(view, call, |both, view| both.send = block(view), |both, ()| pieces(&both.receive, size)).await
        }
        Call::Alltoall { .. } => {
            let call = played!(Comm, comm, alltoall_init(Vec::<T>::new()));
            rounds(view, call, |both, view| both.send = to_all(view), |both, ()| pieces(&both.receive, size)).await
        }
        Call::Reduce { root, op: number, .. } => {
            let root = view.rank(root);
            let call = played!(Comm, comm, reduce_init(root, Vec::new(), op::<T>(number)));
            let taken = |data: &Vec<T>, ()| if root == own { whole(data, ()) } else { Vec::new() };
            rounds(view, call, |data, view| *data = given(view), taken).await
        }
        Call::Allreduce { op: number, .. } => {
            let call = played!(Comm, comm, allreduce_init(Vec::new(), op::<T>(number)));
            rounds(view, call, |data, view| *data = given(view), whole).await
        }
        Call::Scan { exclusive, op: number, .. } => {
            let op = op::<T>(number);
            let call = if exclusive {
                played!(Comm, comm, exscan_init(Vec::new(), op))
            } else {
                played!(Comm, comm, scan_init(Vec::new(), op))
            };
            // Before the first rank there is nobody.
            let taken = |data: &Vec<T>, ()| if exclusive && own == 0 { Vec::new() } else { whole(data, ()) };
            rounds(view, call, |data, view| *data = given(view), taken).await
        }
        Call::ReduceScatter { even, op: number, .. } => {
            let (op, counts) = (op::<T>(number), counts(view, even));
            let call = match even {
                true => played!(Comm, comm, reduce_scatter_block_init(Vec::new(), op)),
                false => played!(Comm, comm, reduce_scatter_init(Vec::new(), &counts, op)),
            };
            let all = view.part.len * size as usize;
            let fill = |view: &View<'_>| samples::<T>(view.at, own, all);
            rounds(view, call, |both, view| both.send = fill(view), |both, ()| whole(&both.receive, ())).await
        }
        ref call => unreachable!("{call:?} is made elsewhere"),
    }
}
