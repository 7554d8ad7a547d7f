//! How a rank makes each call, and what it got as bytes.

use edgempi::hub::{Applied, Registry};
use edgempi::{ANY_SOURCE, ANY_TAG, Comm, Communicator, Error, Group, Operation, Rank, Request, Source, TagSelector};

use crate::families;
use crate::model::{applied, as_bytes, merged, received};
use crate::plan::View;
use crate::program::{Call, Data, Form, Mode, Selector};
use crate::values::{Sample, elements, object, op, samples, with_type, zeros};

/// What a call gives, piece by piece, as the model says it.
pub type Pieces = Result<Vec<Vec<u8>>, Error>;

/// Makes one rank's call. It is started at the first poll, all of it.
pub async fn perform(comm: Comm, view: View<'_>) -> Pieces {
    match *view.call {
        Call::Barrier { form: Form::Borrowed } => Communicator::barrier(&comm).await.map(|_| Vec::new()),
        Call::Barrier { .. } => comm.barrier().await.map(|()| Vec::new()),
        Call::Apply { sources, destinations, .. } => apply(&comm, &view, sources, destinations).await,
        Call::Scan { .. } | Call::ReduceScatter { .. } | Call::Varied { .. } | Call::Fold { .. } => {
            families::perform(&comm, &view).await
        }
        // The player keeps what comes of these.
        Call::Split { .. } | Call::Free => Ok(Vec::new()),
        _ => match view.call.data() {
            Some(Data { form: Form::Object, .. }) => objects(&comm, &view).await,
            Some(Data { form: Form::Owned, kind, .. }) => with_type!(kind, T => owned::<T>(&comm, &view).await),
            Some(Data { form: Form::Borrowed, kind, .. }) => with_type!(kind, T => borrowed::<T>(&comm, &view).await),
            None => Ok(Vec::new()),
        },
    }
}

fn pieces<T: Sample>(data: &[T], size: u32) -> Vec<Vec<u8>> {
    match data.len() / size as usize {
        0 => vec![Vec::new(); size as usize],
        block => data.chunks(block).map(as_bytes).collect(),
    }
}

fn to_all<T: Sample>(view: &View<'_>) -> Vec<T> {
    let blocks = (0..view.size()).map(|to| elements::<T>(view.at, view.own, to, view.part.len));
    blocks.collect::<Vec<_>>().concat()
}

/// What a rank hands over where it gives or, elsewhere, only says how much it takes.
fn for_bcast<T: Sample>(view: &View<'_>, root: u32) -> Vec<T> {
    if root == view.own { elements(view.at, root, 0, view.part.len) } else { zeros(view.part.len) }
}

/// Calls that own their buffers.
async fn owned<T: Sample>(comm: &Comm, view: &View<'_>) -> Pieces {
    let View { at, own, .. } = *view;
    let (size, len) = (view.size(), view.part.len);
    let data = || elements::<T>(at, own, 0, len);
    Ok(match *view.call {
        Call::Bcast { root, .. } => {
            let root = view.rank(root);
            vec![as_bytes(&comm.bcast(root, for_bcast::<T>(view, root)).await?)]
        }
        Call::Gather { root, .. } => {
            comm.gather(view.rank(root), data()).await?.map_or_else(Vec::new, |all| pieces(&all, size))
        }
        Call::Scatter { root, .. } => {
            let root = view.rank(root);
            vec![as_bytes(&comm.scatter(root, (root == own).then(|| to_all::<T>(view))).await?)]
        }
        Call::Allgather { .. } => pieces(&comm.allgather(data()).await?, size),
        Call::Alltoall { .. } => pieces(&comm.alltoall(to_all::<T>(view)).await?, size),
        Call::Reduce { root, op: number, .. } => {
            let reduced = comm.reduce(view.rank(root), samples::<T>(at, own, len), op::<T>(number)).await?;
            reduced.iter().map(|data| as_bytes(data)).collect()
        }
        Call::Allreduce { op: number, .. } => {
            vec![as_bytes(&comm.allreduce(samples::<T>(at, own, len), op::<T>(number)).await?)]
        }
        Call::Messages { .. } | Call::Funnel { .. } => {
            let messages = Messages::of(view);
            let send = |(to, tag, number)| {
                let data = elements::<T>(at, own, number, len);
                match messages.mode {
                    Mode::Standard => comm.send(to, tag, data),
                    Mode::Synchronous => comm.ssend(to, tag, data),
                    Mode::Buffered => comm.bsend(to, tag, data),
                }
            };
            let sends: Vec<_> = messages.sends.iter().copied().map(send).collect();
            if messages.probed {
                let probes: Vec<_> = messages.receives.iter().map(|&(source, tag)| comm.mprobe(source, tag)).collect();
                let mut came = Vec::new();
                for probe in probes {
                    let message = probe.await?;
                    let expected = message.status();
                    let (data, status) = message.recv::<T>().await?;
                    assert_eq!(status, expected, "the probe told of another message");
                    came.push(received(status.source.get(), status.tag.0, &as_bytes(&data)));
                }
                for send in sends {
                    send.await?;
                }
                return Ok(messages.sorted(came));
            }
            let receive = |&(source, tag)| {
                let request: Request<'_, _> = comm.recv::<T>(source, tag);
                request.map(|(data, status)| received(status.source.get(), status.tag.0, &as_bytes(&data)))
            };
            let receives = messages.receives.iter().map(receive).collect();
            exchange(&messages, sends, receives).await?
        }
        // Elsewhere.
        _ => Vec::new(),
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
            Communicator::bcast(comm, root, &mut data).await?;
            vec![as_bytes(&data)]
        }
        Call::Gather { root, .. } => {
            let root = view.rank(root);
            let mut blocks = zeros::<T>(if root == own { all } else { 0 });
            Communicator::gather(comm, root, &data, &mut blocks).await?;
            if root == own { pieces(&blocks, size) } else { Vec::new() }
        }
        Call::Scatter { root, .. } => {
            let root = view.rank(root);
            let (blocks, mut block) = (if root == own { to_all::<T>(view) } else { Vec::new() }, zeros::<T>(len));
            Communicator::scatter(comm, root, &blocks, &mut block).await?;
            vec![as_bytes(&block)]
        }
        Call::Allgather { .. } => {
            let mut blocks = zeros::<T>(all);
            Communicator::allgather(comm, &data, &mut blocks).await?;
            pieces(&blocks, size)
        }
        Call::Alltoall { .. } => {
            let mut blocks = zeros::<T>(all);
            Communicator::alltoall(comm, &to_all::<T>(view), &mut blocks).await?;
            pieces(&blocks, size)
        }
        Call::Reduce { root, op: number, .. } => {
            let (root, given) = (view.rank(root), samples::<T>(at, own, len));
            let mut data = given.clone();
            Communicator::reduce_in_place(comm, root, &mut data, op::<T>(number)).await?;
            assert!(root == own || as_bytes(&data) == as_bytes(&given), "memory changed that only gave");
            if root == own { vec![as_bytes(&data)] } else { Vec::new() }
        }
        Call::Allreduce { op: number, .. } => {
            let mut data = samples::<T>(at, own, len);
            if number % 2 == 0 {
                Communicator::allreduce_in_place(comm, &mut data, op::<T>(number)).await?;
            } else {
                let given = data.clone();
                Communicator::allreduce(comm, &given, &mut data, op::<T>(number)).await?;
            }
            vec![as_bytes(&data)]
        }
        Call::Messages { .. } | Call::Funnel { .. } => {
            let messages = Messages::of(view);
            let given = messages.sends.iter().map(|(_, _, number)| elements::<T>(at, own, *number, len));
            let given: Vec<Vec<T>> = given.collect();
            let send = |((to, tag, _), data)| Communicator::send(comm, to, tag, data).map(drop);
            let sends = messages.sends.iter().copied().zip(given.iter().map(Vec::as_slice)).map(send).collect();
            // With room for more than comes.
            let mut places = vec![zeros::<T>(len + 3); messages.receives.len()];
            let receive = |(&(source, tag), place)| Communicator::recv(comm, source, tag, place);
            let mut statuses = Vec::new();
            let receives: Vec<_> =
                messages.receives.iter().zip(places.iter_mut().map(Vec::as_mut_slice)).map(receive).collect();
            for send in exchange_all(sends, receives, &mut statuses).await {
                send?;
            }
            let came = statuses.into_iter().zip(&places).map(|(status, place)| {
                let status = status?;
                let came = &place[..status.count::<T>().unwrap_or(0)];
                Ok(received(status.source.get(), status.tag.0, &as_bytes(came)))
            });
            messages.sorted(came.collect::<Result<_, Error>>()?)
        }
        // Elsewhere.
        _ => Vec::new(),
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
            vec![objects.bcast(root, (root == own).then(|| value(0))).await?]
        }
        Call::Gather { root, .. } => objects.gather(view.rank(root), &value(0)).await?.unwrap_or_default(),
        Call::Scatter { root, .. } => {
            let root = view.rank(root);
            vec![objects.scatter(root, (root == own).then(for_all)).await?]
        }
        Call::Allgather { .. } => objects.allgather(&value(0)).await?,
        Call::Alltoall { .. } => objects.alltoall(&for_all()).await?,
        Call::Reduce { root, .. } => objects.reduce(view.rank(root), value(0), merged).await?.into_iter().collect(),
        Call::Allreduce { .. } => vec![objects.allreduce(value(0), merged).await?],
        Call::Messages { .. } | Call::Funnel { .. } => {
            let messages = Messages::of(view);
            let send = |&(to, tag, number): &(u32, u32, u32)| match messages.mode {
                Mode::Standard => objects.send(to, tag, &value(number)),
                Mode::Synchronous => objects.ssend(to, tag, &value(number)),
                Mode::Buffered => objects.bsend(to, tag, &value(number)),
            };
            let sends = messages.sends.iter().map(send).collect();
            let receive = |&(source, tag)| {
                let request: Request<'_, _> = objects.recv::<Vec<u8>>(source, tag);
                request.map(|(data, status)| received(status.source.get(), status.tag.0, &data))
            };
            let receives = messages.receives.iter().map(receive).collect();
            exchange(&messages, sends, receives).await?
        }
        // Elsewhere.
        _ => Vec::new(),
    })
}

/// What one rank sends and receives in a step.
struct Messages {
    /// To whom, with which tag, and which block.
    sends: Vec<(u32, u32, u32)>,
    receives: Vec<(Source, TagSelector)>,
    /// The places of what is received among the pieces; none where that is for its sender to say.
    order: Option<Vec<usize>>,
    mode: Mode,
    probed: bool,
}

impl Messages {
    fn of(view: &View<'_>) -> Self {
        let own = view.own;
        let (mode, probed) = (Mode::Standard, false);
        let mut messages = Self { sends: Vec::new(), receives: Vec::new(), order: None, mode, probed };
        match *view.call {
            Call::Messages { from, to, count, selector, mode, probed, .. } => {
                let (from, to) = (view.rank(from), view.rank(to));
                (messages.mode, messages.probed) = (mode, probed);
                if from == own {
                    messages.sends = (0..count).map(|number| (to, view.tag(number), number)).collect();
                }
                if to == own {
                    let exact = |number| TagSelector::from(view.tag(number));
                    let select = |number| match selector {
                        Selector::AnySource if !view.may_die => (ANY_SOURCE, exact(number)),
                        Selector::AnyTag => (from.into(), ANY_TAG),
                        Selector::Exact | Selector::AnySource => (from.into(), exact(number)),
                    };
                    let mut numbers: Vec<u32> = (0..count).collect();
                    if !matches!(selector, Selector::AnyTag) {
                        // First those with the later tag.
                        numbers.sort_by_key(|number| number % 2 == 0);
                    }
                    messages.receives = numbers.iter().map(|number| select(*number)).collect();
                    messages.order = Some(numbers.into_iter().map(|number| number as usize).collect());
                }
            }
            Call::Funnel { to, count, .. } => {
                let to = view.rank(to);
                messages.sends = (0..count).map(|number| (to, view.tag(0), number)).collect();
                if to == own {
                    // Who may die is asked for by name.
                    let source = |from: u32| if view.may_die { from.into() } else { ANY_SOURCE };
                    let sources = (0..view.size()).flat_map(|from| (0..count).map(move |_| from));
                    messages.receives = sources.map(|from| (source(from), view.tag(0).into())).collect();
                }
            }
            _ => {}
        }
        messages
    }

    /// What was received, in the order in which the model says it.
    fn sorted(&self, came: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut sorted: Vec<(usize, Vec<u8>)> = match &self.order {
            Some(order) => order.iter().copied().zip(came).collect(),
            // Each begins with its source; a stable sort leaves those of one source in their order.
            None => came.into_iter().map(|piece| (piece[0] as usize, piece)).collect(),
        };
        sorted.sort_by_key(|(place, _)| *place);
        sorted.into_iter().map(|(_, piece)| piece).collect()
    }
}

/// Waits for all of them, whatever becomes of some.
async fn exchange_all<'a, T>(
    sends: Vec<Request<'a, ()>>,
    receives: Vec<Request<'a, T>>,
    received: &mut Vec<Result<T, Error>>,
) -> Vec<Result<(), Error>> {
    for receive in receives {
        received.push(receive.await);
    }
    let mut sent = Vec::new();
    for send in sends {
        sent.push(send.await);
    }
    sent
}

async fn exchange(messages: &Messages, sends: Vec<Request<'_, ()>>, receives: Vec<Request<'_, Vec<u8>>>) -> Pieces {
    let mut received = Vec::new();
    let sent = exchange_all(sends, receives, &mut received).await;
    sent.into_iter().collect::<Result<Vec<()>, Error>>()?;
    Ok(messages.sorted(received.into_iter().collect::<Result<_, _>>()?))
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
    let [sources, destinations] =
        [sources, destinations].map(|bits| view.chosen(bits).into_iter().map(Rank::new).collect::<Vec<Rank>>());
    let operation = Joined { step: view.at as u32, sources: &sources, destinations: &destinations };
    let input = sources.contains(&comm.rank()).then(|| object(view.at, view.own, 0, view.part.len));
    if !operation.group().contains(comm.rank()) {
        return Ok(Vec::new());
    }
    Ok(comm.apply(&operation, input.as_ref()).await?.into_iter().collect())
}
