//! How a rank makes each call, and what it got as bytes.

use edgempi::hub::{Applied, Registry};
use edgempi::{Comm, Communicator, Error, Group, Named, Operation, Rank, comm_self, reduce_local};

use crate::model::{applied, as_bytes, merged};
use crate::plan::View;
use crate::play::Pace;
use crate::played::played;
use crate::program::{Call, Form};
use crate::values::{Sample, elements, object, op, samples, with_type, zeros};
use crate::{communicators, families, messages, persistent, shifts, topologies};

/// What a call gives, piece by piece, as the model says it.
pub type Pieces = Result<Vec<Vec<u8>>, Error>;

/// Makes one rank's call. It is started at the first poll, all of it, unless it is [made at
/// once](View::is_made_at_once).
pub async fn perform(comm: Comm, view: View<'_>, pace: &impl Pace) -> Pieces {
    let Some(data) = view.call.data() else { return barrier(&comm, &view).await };
    match *view.call {
        Call::Messages { .. } | Call::Funnel { .. } => messages::perform(&comm, &view, data, pace).await,
        Call::Unready { .. } => messages::unready(&comm, &view, data).await,
        Call::Shift { .. } => with_type!(data.kind, T => shifts::perform::<T>(&comm, &view).await),
        Call::Neighbours { topology, alltoall, varied, .. } => {
            let call = topologies::Neighbours { topology, alltoall, varied };
            with_type!(data.kind, T => call.perform::<T>(&comm, &view).await)
        }
        Call::Apply { sources, destinations, .. } => apply(&comm, &view, sources, destinations).await,
        Call::Alone { op, .. } => with_type!(data.kind, T => alone::<T>(&view, op).await),
        Call::Varied { pattern, root, .. } => {
            with_type!(data.kind, T => families::varied::<T>(&comm, &view, pattern, view.rank(root)).await)
        }
        Call::Fold { columns, ends, .. } => families::fold(&comm, &view, columns, ends).await,
        _ if data.form == Form::Persistent => with_type!(data.kind, T => persistent::perform::<T>(&comm, &view).await),
        Call::Scan { .. } | Call::ReduceScatter { .. } => families::perform(&comm, &view).await,
        _ => match data.form {
            Form::Object => objects(&comm, &view).await,
            Form::Borrowed => with_type!(data.kind, T => borrowed::<T>(&comm, &view).await),
            Form::InPlace => with_type!(data.kind, T => in_place::<T>(&comm, &view).await),
            Form::Owned | Form::Persistent => with_type!(data.kind, T => owned::<T>(&comm, &view).await),
        },
    }
}

/// What moves no data.
async fn barrier(comm: &Comm, view: &View<'_>) -> Pieces {
    match view.call {
        Call::Barrier { form: Form::Persistent } => return persistent::barrier(comm, view).await,
        Call::Barrier { form: Form::Borrowed } => played!(Communicator::barrier(comm)).await.map(drop)?,
        Call::Barrier { form: Form::Owned } => played!(Comm, comm, barrier()).await?,
        Call::Split { by, seed } => drop(communicators::make(comm, view, *by, *seed).await?),
        call => unreachable!("{call:?} is made elsewhere"),
    }
    Ok(Vec::new())
}

/// In a world of one rank; there is none beside a simulation.
async fn alone<T: Sample>(view: &View<'_>, number: usize) -> Pieces {
    let data = samples::<T>(view.at, view.own, view.part.len);
    let (mut twice, op_of_both) = (data.clone(), op::<T>(number));
    played!(reduce_local(&mut twice, &data, op_of_both))?;
    let by_hand: Vec<T> = data.iter().map(|value| value.combine(op_of_both, *value)).collect();
    assert!(as_bytes(&twice) == as_bytes(&by_hand), "combined here");
    match played!(comm_self()) {
        Ok(comm) => Ok(vec![as_bytes(&played!(Comm, comm, allreduce(data, op::<T>(number))).await?)]),
        Err(Error::InvalidArgument { .. }) if view.setting.is_simulated => Ok(vec![as_bytes(&data)]),
        Err(error) => Err(error),
    }
}

pub fn pieces<T: Sample>(data: &[T], size: u32) -> Vec<Vec<u8>> {
    match data.len() / size as usize {
        0 => vec![Vec::new(); size as usize],
        block => data.chunks(block).map(as_bytes).collect(),
    }
}

pub fn to_all<T: Sample>(view: &View<'_>) -> Vec<T> {
    let blocks = (0..view.size()).map(|to| elements::<T>(view.at, view.own, to, view.part.len));
    blocks.collect::<Vec<_>>().concat()
}

/// What a rank hands over where it gives or, elsewhere, only says how much it takes.
pub fn for_bcast<T: Sample>(view: &View<'_>, root: u32) -> Vec<T> {
    if root == view.own { elements(view.at, root, 0, view.part.len) } else { zeros(view.part.len) }
}

/// Calls that own their buffers.
async fn owned<T: Sample>(comm: &Comm, view: &View<'_>) -> Pieces {
    let View { at, own, .. } = *view;
    let (size, len) = (view.size(), view.part.len);
    let data = || elements::<T>(at, own, 0, len);
    // A vector that has done its service, too short for some results and too long for others.
    let reuses = at.is_multiple_of(3);
    let memory = || zeros::<T>(100);
    Ok(match *view.call {
        Call::Gather { root, .. } if reuses => {
            let all = played!(Comm, comm, gather_reusing(memory(), view.rank(root), data())).await?;
            all.map_or_else(Vec::new, |all| pieces(&all, size))
        }
        Call::Scatter { root, .. } if reuses => {
            let root = view.rank(root);
            let all = (root == own).then(|| to_all::<T>(view));
            vec![as_bytes(&played!(Comm, comm, scatter_reusing(memory(), root, all)).await?)]
        }
        Call::Allgather { .. } if reuses => {
            pieces(&played!(Comm, comm, allgather_reusing(memory(), data())).await?, size)
        }
        Call::Alltoall { .. } if reuses => {
            pieces(&played!(Comm, comm, alltoall_reusing(memory(), to_all::<T>(view))).await?, size)
        }
        Call::Bcast { root, .. } => {
            let root = view.rank(root);
            vec![as_bytes(&played!(Comm, comm, bcast(root, for_bcast::<T>(view, root))).await?)]
        }
        Call::Gather { root, .. } => {
            played!(Comm, comm, gather(view.rank(root), data())).await?.map_or_else(Vec::new, |all| pieces(&all, size))
        }
        Call::Scatter { root, .. } => {
            let root = view.rank(root);
            vec![as_bytes(&played!(Comm, comm, scatter(root, (root == own).then(|| to_all::<T>(view)))).await?)]
        }
        Call::Allgather { .. } => pieces(&played!(Comm, comm, allgather(data())).await?, size),
        Call::Alltoall { .. } => pieces(&played!(Comm, comm, alltoall(to_all::<T>(view))).await?, size),
        Call::Reduce { root, op: number, .. } => {
            let reduced =
                played!(Comm, comm, reduce(view.rank(root), samples::<T>(at, own, len), op::<T>(number))).await?;
            reduced.iter().map(|data| as_bytes(data)).collect()
        }
        Call::Allreduce { op: number, .. } => {
            vec![as_bytes(&played!(Comm, comm, allreduce(samples::<T>(at, own, len), op::<T>(number))).await?)]
        }
        ref call => unreachable!("{call:?} is made elsewhere"),
    })
}

/// Calls of the trait, which borrow, some of them in place.
async fn borrowed<T: Sample>(comm: &Comm, view: &View<'_>) -> Pieces {
    let View { at, own, .. } = *view;
    let (size, len) = (view.size(), view.part.len);
    let all = size as usize * len;
    let data = elements::<T>(at, own, 0, len);
    Ok(match *view.call {
        Call::Bcast { root, .. } => {
            let root = view.rank(root);
            let mut data = for_bcast::<T>(view, root);
            played!(Communicator::bcast(comm, root, &mut data)).await?;
            vec![as_bytes(&data)]
        }
        Call::Gather { root, .. } => {
            let root = view.rank(root);
            let mut blocks = zeros::<T>(if root == own { all } else { 0 });
            played!(Communicator::gather(comm, root, &data, &mut blocks)).await?;
            if root == own { pieces(&blocks, size) } else { Vec::new() }
        }
        Call::Scatter { root, .. } => {
            let root = view.rank(root);
            let (blocks, mut block) = (if root == own { to_all::<T>(view) } else { Vec::new() }, zeros::<T>(len));
            played!(Communicator::scatter(comm, root, &blocks, &mut block)).await?;
            vec![as_bytes(&block)]
        }
        Call::Allgather { .. } => {
            let mut blocks = zeros::<T>(all);
            played!(Communicator::allgather(comm, &data, &mut blocks)).await?;
            pieces(&blocks, size)
        }
        Call::Alltoall { .. } => {
            let (given, mut blocks) = (to_all::<T>(view), zeros::<T>(all));
            played!(Communicator::alltoall(comm, &given, &mut blocks)).await?;
            pieces(&blocks, size)
        }
        Call::Reduce { root, op: number, .. } => {
            let (root, given) = (view.rank(root), samples::<T>(at, own, len));
            let mut data = given.clone();
            played!(Communicator::reduce_in_place(comm, root, &mut data, op::<T>(number))).await?;
            assert!(root == own || as_bytes(&data) == as_bytes(&given), "memory changed that only gave");
            if root == own { vec![as_bytes(&data)] } else { Vec::new() }
        }
        Call::Allreduce { op: number, .. } => {
            let mut data = samples::<T>(at, own, len);
            if number % 2 == 0 {
                played!(Communicator::allreduce_in_place(comm, &mut data, op::<T>(number))).await?;
            } else {
                let given = data.clone();
                played!(Communicator::allreduce(comm, &given, &mut data, op::<T>(number))).await?;
            }
            vec![as_bytes(&data)]
        }
        ref call => unreachable!("{call:?} is made elsewhere"),
    })
}

/// Calls whose result takes the place of what was given.
async fn in_place<T: Sample>(comm: &Comm, view: &View<'_>) -> Pieces {
    let View { at, own, .. } = *view;
    let (size, len) = (view.size(), view.part.len);
    let block = elements::<T>(at, own, 0, len);
    // The own block in its place, and nothing in the others.
    let own_among_all = || {
        let mut all = zeros::<T>(size as usize * len);
        all[own as usize * len..][..len].copy_from_slice(&block);
        all
    };
    Ok(match *view.call {
        Call::Bcast { root, .. } => {
            let root = view.rank(root);
            let mut data = for_bcast::<T>(view, root);
            played!(Comm, comm, bcast_in_place(root, &mut data)).await?;
            vec![as_bytes(&data)]
        }
        Call::Gather { root, .. } => {
            let root = view.rank(root);
            let mut data = if root == own { own_among_all() } else { block.clone() };
            played!(Comm, comm, gather_in_place(root, &mut data)).await?;
            assert!(root == own || as_bytes(&data) == as_bytes(&block), "memory changed that only gave");
            if root == own { pieces(&data, size) } else { Vec::new() }
        }
        Call::Scatter { root, .. } => {
            let root = view.rank(root);
            let mut data = if root == own { to_all::<T>(view) } else { zeros(len) };
            played!(Comm, comm, scatter_in_place(root, &mut data)).await?;
            assert!(root != own || as_bytes(&data) == as_bytes(&to_all::<T>(view)), "memory changed that only gave");
            vec![as_bytes(if root == own { &data[own as usize * len..][..len] } else { &data })]
        }
        Call::Allgather { .. } => {
            let mut data = own_among_all();
            played!(Comm, comm, allgather_in_place(&mut data)).await?;
            pieces(&data, size)
        }
        Call::Alltoall { .. } => {
            let mut data = to_all::<T>(view);
            played!(Comm, comm, alltoall_in_place(&mut data)).await?;
            pieces(&data, size)
        }
        Call::Reduce { root, op: number, .. } => {
            let (root, given) = (view.rank(root), samples::<T>(at, own, len));
            let mut data = given.clone();
            played!(Comm, comm, reduce_in_place(root, &mut data, op::<T>(number))).await?;
            assert!(root == own || as_bytes(&data) == as_bytes(&given), "memory changed that only gave");
            if root == own { vec![as_bytes(&data)] } else { Vec::new() }
        }
        Call::Allreduce { op: number, .. } => {
            let mut data = samples::<T>(at, own, len);
            played!(Comm, comm, allreduce_in_place(&mut data, op::<T>(number))).await?;
            vec![as_bytes(&data)]
        }
        ref call => unreachable!("{call:?} is made elsewhere"),
    })
}

/// Calls on objects of different lengths.
async fn objects(comm: &Comm, view: &View<'_>) -> Pieces {
    let View { at, own, .. } = *view;
    let len = view.part.len;
    let objects = comm.objects();
    let value = |to| object(at, own, to, len);
    let for_all = || (0..view.size()).map(value).collect::<Vec<_>>();
    Ok(match *view.call {
        Call::Bcast { root, .. } => {
            let root = view.rank(root);
            vec![played!(Objects, objects, bcast(root, (root == own).then(|| value(0)))).await?]
        }
        Call::Gather { root, .. } => {
            played!(Objects, objects, gather(view.rank(root), &value(0))).await?.unwrap_or_default()
        }
        Call::Scatter { root, .. } => {
            let root = view.rank(root);
            vec![played!(Objects, objects, scatter(root, (root == own).then(for_all))).await?]
        }
        Call::Allgather { .. } => played!(Objects, objects, allgather(&value(0))).await?,
        Call::Alltoall { .. } => played!(Objects, objects, alltoall(&for_all())).await?,
        // At the hub, or by a closure at the ranks.
        Call::Reduce { root, op, .. } => {
            let (root, value) = (view.rank(root), value(0));
            let reduced = match op % 2 {
                0 => played!(Objects, objects, reduce(root, value, Named::new("merged"))).await?,
                _ => played!(Objects, objects, reduce(root, value, merged)).await?,
            };
            reduced.into_iter().collect()
        }
        Call::Allreduce { op, .. } if op % 2 == 0 => {
            vec![played!(Objects, objects, allreduce(value(0), Named::new("merged"))).await?]
        }
        Call::Allreduce { .. } => vec![played!(Objects, objects, allreduce(value(0), merged)).await?],
        ref call => unreachable!("{call:?} is made elsewhere"),
    })
}

/// Joins all inputs, with a mark of the destination; the parameter is the step.
struct Joined<'a> {
    step: u32,
    sources: &'a [Rank],
    destinations: &'a [Rank],
}

impl Operation for Joined<'_> {
    const NAME: &'static str = "joined";
    type Parameters = u32;
    type Input = Vec<u8>;
    type Output = Vec<u8>;

    fn parameters(&self) -> u32 {
        self.step
    }

    fn group(&self) -> Group<'_> {
        Group::new(self.sources, self.destinations)
    }
}

/// What the hub knows in every world of these tests.
pub fn operations() -> Registry {
    let mut operations = Registry::new();
    let joined = |call: Applied<'_, u32>, inputs: Vec<(Rank, Vec<u8>)>| {
        let output = |to: &Rank| {
            let inputs = inputs.iter().map(|(from, input)| (from.get(), input.clone()));
            (*to, applied(call.parameters, inputs, to.get()))
        };
        Ok::<_, String>(call.destinations.iter().map(output).collect())
    };
    operations.insert_fn(Joined::NAME, Joined::VERSION, joined);
    families::add_folds(&mut operations);
    operations
}

async fn apply(comm: &Comm, view: &View<'_>, sources: u32, destinations: u32) -> Pieces {
    let [sources, destinations] = [sources, destinations].map(|bits| view.group(bits));
    let operation = Joined { step: view.at as u32, sources: &sources, destinations: &destinations };
    let input = sources.contains(&comm.rank()).then(|| object(view.at, view.own, 0, view.part.len));
    if !operation.group().contains(comm.rank()) {
        return Ok(Vec::new());
    }
    Ok(played!(Comm, comm, apply(&operation, input.as_ref())).await?.into_iter().collect())
}
