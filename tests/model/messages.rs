//! Messages: what each rank sends and receives in a step, by which calls, and how it waits for them.

use std::marker::PhantomData;

use edgempi::{
    ANY_SOURCE, ANY_TAG, Comm, Communicator, Error, Message, Persistent, Request, Source, Status, TagSelector,
    start_all,
};

use crate::calls::Pieces;
use crate::model::{as_bytes, received};
use crate::plan::View;
use crate::play::Pace;
use crate::played::{self, played};
use crate::program::{Call, Data, Form, Mode, Probed, Selector};
use crate::values::{Sample, elements, object, with_type, zeros};
use crate::waiting::all_of;

/// Makes one rank's part of [`Call::Messages`] and [`Call::Funnel`].
pub async fn perform(comm: &Comm, view: &View<'_>, data: Data, pace: &impl Pace) -> Pieces {
    match data.form {
        Form::Object => plain(&Values { comm, view }, comm, view, pace).await,
        Form::Owned => with_type!(data.kind, T => plain(&Vectors::<T>::of(comm, view), comm, view, pace).await),
        Form::Persistent => with_type!(data.kind, T => persistent::<T>(comm, view, pace).await),
        Form::Borrowed => with_type!(data.kind, T => borrowed::<T>(comm, view, pace).await),
        Form::InPlace => with_type!(data.kind, T => into_places::<T>(comm, view, pace).await),
    }
}

/// What one rank sends and receives in a step.
struct Messages {
    /// To whom, with which tag, and which block.
    sends: Vec<(u32, u32, u32)>,
    receives: Vec<(Source, TagSelector)>,
    /// The places of what is received among the pieces; none where that is for its sender to say.
    order: Option<Vec<usize>>,
    mode: Mode,
    /// Who waits, before it sends, for whose word that the receives are posted.
    word: Option<(u32, u32)>,
}

impl Messages {
    fn of(view: &View<'_>) -> Self {
        let own = view.own;
        let mut messages =
            Self { sends: Vec::new(), receives: Vec::new(), order: None, mode: Mode::Standard, word: None };
        match *view.call {
            Call::Messages { from, to, count, selector, mode, .. } => {
                let (from, to) = (view.rank(from), view.rank(to));
                messages.mode = mode;
                messages.word = (messages.mode == Mode::Ready && from != to).then_some((from, to));
                if from == own {
                    messages.sends = (0..count).map(|number| (to, view.tag(number), number)).collect();
                }
                if to == own {
                    let exact = |number| TagSelector::from(view.tag(number));
                    let select = |number| match selector {
                        Selector::AnySource if !view.setting.may_die => (ANY_SOURCE, exact(number)),
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
                    let source = |from: u32| if view.setting.may_die { from.into() } else { ANY_SOURCE };
                    let sources = (0..view.size()).flat_map(|from| (0..count).map(move |_| from));
                    messages.receives = sources.map(|from| (source(from), view.tag(0).into())).collect();
                }
            }
            ref call => unreachable!("{call:?} is made elsewhere"),
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

    /// Says that the receives are posted.
    fn give_word(&self, comm: &Comm, view: &View<'_>) -> Option<Request<'static, ()>> {
        let (from, to) = self.word?;
        (to == view.own).then(|| played!(Comm, comm, send(from, view.word_tag(), [0_u8; 0])))
    }

    /// Waits until the other side has said so.
    async fn take_word(&self, comm: &Comm, view: &View<'_>) -> Result<(), Error> {
        if let Some((_, to)) = self.word.filter(|(from, _)| *from == view.own) {
            played!(Comm, comm, recv::<u8>(to, view.word_tag())).await?;
        }
        Ok(())
    }
}

/// Waits for all of them; gives what was received.
async fn finish<'a, T: Send + 'a>(
    receives: Vec<Request<'a, T>>,
    sends: Vec<Request<'a, ()>>,
    view: &View<'_>,
    pace: &impl Pace,
) -> Result<Vec<T>, Error> {
    // One list of both, so that either may end first.
    let mut requests: Vec<Request<'a, Option<T>>> = receives.into_iter().map(|receive| receive.map(Some)).collect();
    requests.extend(sends.into_iter().map(|send| send.map(|()| None)));
    let ended = all_of(requests, view.call.waiting(), pace).await;
    ended.into_iter().filter_map(Result::transpose).collect()
}

/// The calls on vectors of one type of element, or on objects.
trait Calls {
    fn send(&self, mode: Mode, to: u32, tag: u32, number: u32) -> Request<'static, ()>;
    fn recv(&self, source: Source, tag: TagSelector) -> Request<'static, (Vec<u8>, Status)>;
    fn take(&self, message: Message) -> Request<'static, (Vec<u8>, Status)>;
}

struct Vectors<'a, T> {
    comm: &'a Comm,
    view: &'a View<'a>,
    element: PhantomData<T>,
}

impl<'a, T> Vectors<'a, T> {
    fn of(comm: &'a Comm, view: &'a View<'a>) -> Self {
        Self { comm, view, element: PhantomData }
    }
}

impl<T: Sample> Calls for Vectors<'_, T> {
    fn send(&self, mode: Mode, to: u32, tag: u32, number: u32) -> Request<'static, ()> {
        let data = elements::<T>(self.view.at, self.view.own, number, self.view.part.len);
        match mode {
            Mode::Standard => played!(Comm, self.comm, send(to, tag, data)),
            Mode::Synchronous => played!(Comm, self.comm, ssend(to, tag, data)),
            Mode::Buffered => played!(Comm, self.comm, bsend(to, tag, data)),
            Mode::Ready => played!(Comm, self.comm, rsend(to, tag, data)),
        }
    }

    fn recv(&self, source: Source, tag: TagSelector) -> Request<'static, (Vec<u8>, Status)> {
        let came = match self.view.at.is_multiple_of(3) {
            true => played!(Comm, self.comm, recv_reusing(zeros::<T>(100), source, tag)),
            false => played!(Comm, self.comm, recv::<T>(source, tag)),
        };
        came.map(|(data, status)| (as_bytes(&data), status))
    }

    fn take(&self, message: Message) -> Request<'static, (Vec<u8>, Status)> {
        played!(Message, message, recv::<T>()).map(|(data, status)| (as_bytes(&data), status))
    }
}

struct Values<'a> {
    comm: &'a Comm,
    view: &'a View<'a>,
}

impl Calls for Values<'_> {
    fn send(&self, mode: Mode, to: u32, tag: u32, number: u32) -> Request<'static, ()> {
        let (objects, value) = (self.comm.objects(), object(self.view.at, self.view.own, number, self.view.part.len));
        match mode {
            Mode::Standard => played!(Objects, objects, send(to, tag, &value)),
            Mode::Synchronous => played!(Objects, objects, ssend(to, tag, &value)),
            Mode::Buffered => played!(Objects, objects, bsend(to, tag, &value)),
            Mode::Ready => played!(Objects, objects, rsend(to, tag, &value)),
        }
    }

    fn recv(&self, source: Source, tag: TagSelector) -> Request<'static, (Vec<u8>, Status)> {
        let objects = self.comm.objects();
        match self.view.at.is_multiple_of(3) {
            true => played!(Objects, objects, recv_or_none::<Vec<u8>>(source, tag))
                .map(|(value, status)| (value.expect("it has a sender"), status)),
            false => played!(Objects, objects, recv::<Vec<u8>>(source, tag)),
        }
    }

    fn take(&self, message: Message) -> Request<'static, (Vec<u8>, Status)> {
        played!(Message, message, recv_object::<Vec<u8>>())
            .map(|(value, status)| (value.expect("it has a sender"), status))
    }
}

fn piece((data, status): (Vec<u8>, Status)) -> Vec<u8> {
    received(status.source.get(), status.tag.0, &data)
}

/// Calls that own what they send and receive.
async fn plain(calls: &impl Calls, comm: &Comm, view: &View<'_>, pace: &impl Pace) -> Pieces {
    let messages = Messages::of(view);
    let send = || messages.sends.iter().map(|(to, tag, number)| calls.send(messages.mode, *to, *tag, *number));
    let receive = || messages.receives.iter().map(|(source, tag)| calls.recv(*source, *tag).map(piece));
    if messages.mode == Mode::Ready {
        let receives = receive().collect();
        let word = messages.give_word(comm, view);
        messages.take_word(comm, view).await?;
        let came = finish(receives, send().chain(word).collect(), view, pace).await?;
        return Ok(messages.sorted(came));
    }
    let sends = send().collect();
    if view.call.probed() == Probed::Never {
        return Ok(messages.sorted(finish(receive().collect(), sends, view, pace).await?));
    }
    let (mut came, mut kept) = (Vec::new(), Vec::new());
    for (source, tag) in &messages.receives {
        match look(comm, view.call.probed(), *source, *tag, pace).await? {
            Found::Seen(status) => came.push((status, calls.recv(status.source.into(), status.tag.into()).await?)),
            Found::Kept(message) => kept.push(message),
        }
    }
    for message in kept {
        came.push((message.status(), calls.take(message).await?));
    }
    let as_seen = |(seen, received): (Status, (Vec<u8>, Status))| {
        assert_eq!(received.1, seen, "the probe told of another message");
        piece(received)
    };
    let came = came.into_iter().map(as_seen).collect();
    finish::<()>(Vec::new(), sends, view, pace).await?;
    Ok(messages.sorted(came))
}

/// A message that a probe found.
enum Found {
    /// It is there for the next receive.
    Seen(Status),
    /// It is there for nobody else.
    Kept(Message),
}

/// Waits until there is a message.
async fn look(comm: &Comm, probed: Probed, source: Source, tag: TagSelector, pace: &impl Pace) -> Result<Found, Error> {
    loop {
        let found = match probed {
            Probed::Never | Probed::Probe => Some(Found::Seen(played!(Comm, comm, probe(source, tag)).await?)),
            Probed::Mprobe => Some(Found::Kept(played!(Comm, comm, mprobe(source, tag)).await?)),
            Probed::Iprobe => played!(Comm, comm, iprobe(source, tag)).await?.map(Found::Seen),
            Probed::Improbe => played!(Comm, comm, improbe(source, tag)).await?.map(Found::Kept),
        };
        match found {
            Some(found) => return Ok(found),
            None => pace.pause(1).await,
        }
    }
}

/// Places with room for more than comes.
fn places<T: Sample>(view: &View<'_>, count: usize) -> Vec<Vec<T>> {
    vec![zeros::<T>(view.part.len + 3); count]
}

/// What came to each place.
fn in_places<T: Sample>(statuses: Vec<Status>, places: &[Vec<T>]) -> Vec<Vec<u8>> {
    let came = |(status, place): (Status, &Vec<T>)| {
        let data = &place[..status.count::<T>().unwrap_or(0)];
        received(status.source.get(), status.tag.0, &as_bytes(data))
    };
    statuses.into_iter().zip(places).map(came).collect()
}

/// Calls of the trait, which borrow what they send and where they receive.
async fn borrowed<T: Sample>(comm: &Comm, view: &View<'_>, pace: &impl Pace) -> Pieces {
    let messages = Messages::of(view);
    let given = messages.sends.iter().map(|(_, _, number)| elements::<T>(view.at, view.own, *number, view.part.len));
    let given: Vec<Vec<T>> = given.collect();
    let send = |((to, tag, _), data)| played!(Communicator::send(comm, to, tag, data)).map(drop);
    let sends = messages.sends.iter().copied().zip(given.iter().map(Vec::as_slice)).map(send).collect();
    let mut places = places::<T>(view, messages.receives.len());
    let receive = |(&(source, tag), place)| played!(Communicator::recv(comm, source, tag, place));
    let receives = messages.receives.iter().zip(places.iter_mut().map(Vec::as_mut_slice)).map(receive).collect();
    let statuses = finish(receives, sends, view, pace).await?;
    Ok(messages.sorted(in_places(statuses, &places)))
}

/// Receives into memory that there is.
async fn into_places<T: Sample>(comm: &Comm, view: &View<'_>, pace: &impl Pace) -> Pieces {
    let (messages, calls) = (Messages::of(view), Vectors::<T>::of(comm, view));
    let mut places = places::<T>(view, messages.receives.len());
    let targets = messages.receives.iter().zip(places.iter_mut().map(Vec::as_mut_slice));
    let send = || messages.sends.iter().map(|(to, tag, number)| calls.send(messages.mode, *to, *tag, *number));
    let statuses = if view.call.probed() == Probed::Never {
        // Receives come first: a ready send may be to oneself.
        let receives =
            targets.map(|((source, tag), place)| played!(Comm, comm, recv_into(*source, *tag, place))).collect();
        let word = messages.give_word(comm, view);
        messages.take_word(comm, view).await?;
        finish(receives, send().chain(word).collect(), view, pace).await?
    } else {
        let sends = send().collect();
        let mut statuses = Vec::new();
        for ((source, tag), place) in targets {
            statuses.push(match look(comm, view.call.probed(), *source, *tag, pace).await? {
                Found::Seen(status) => played!(Comm, comm, recv_into(status.source, status.tag, place)).await?,
                Found::Kept(message) => played!(Message, message, recv_into(place)).await?,
            });
        }
        finish::<()>(Vec::new(), sends, view, pace).await?;
        statuses
    };
    Ok(messages.sorted(in_places(statuses, &places)))
}

/// Persistent requests, with other data in each round.
async fn persistent<T: Sample>(comm: &Comm, view: &View<'_>, pace: &impl Pace) -> Pieces {
    let messages = Messages::of(view);
    let init = |(to, tag, _): &(u32, u32, u32)| match messages.mode {
        Mode::Standard => played!(Comm, comm, send_init(*to, *tag, Vec::<T>::new())),
        Mode::Synchronous => played!(Comm, comm, ssend_init(*to, *tag, Vec::<T>::new())),
        Mode::Buffered => played!(Comm, comm, bsend_init(*to, *tag, Vec::<T>::new())),
        Mode::Ready => played!(Comm, comm, rsend_init(*to, *tag, Vec::<T>::new())),
    };
    let mut sends: Vec<Persistent<Vec<T>>> = messages.sends.iter().map(init).collect();
    let places = places::<T>(view, messages.receives.len());
    let receive =
        |((source, tag), place): (&(Source, TagSelector), _)| played!(Comm, comm, recv_init(*source, *tag, place));
    let mut receives: Vec<_> = messages.receives.iter().zip(places).map(receive).collect();
    let mut pieces = Vec::new();
    for (number, view) in view.rounds().into_iter().enumerate() {
        played::note_round(view.call, number);
        for (send, (_, _, number)) in sends.iter_mut().zip(&messages.sends) {
            send.set_buffer(elements(view.at, view.own, *number, view.part.len))?;
        }
        for receive in &mut receives {
            let place = receive.buffer_mut().expect("no round is under way");
            place.resize(view.part.len + 3, zeros::<T>(1)[0]);
        }
        played!(start_all(&mut receives))?;
        let word = messages.give_word(comm, &view);
        messages.take_word(comm, &view).await?;
        played!(start_all(&mut sends))?;
        let requests = sends.iter_mut().map(Persistent::request).chain(word).collect();
        let statuses = finish(receives.iter_mut().map(Persistent::request).collect(), requests, &view, pace).await?;
        let places: Vec<Vec<T>> =
            receives.iter().map(|receive| receive.buffer().cloned().unwrap_or_default()).collect();
        pieces.extend(messages.sorted(in_places(statuses, &places)));
    }
    Ok(pieces)
}

/// Makes one rank's part of [`Call::Unready`]: the sender is told, and the other side sees nothing of it.
pub async fn unready(comm: &Comm, view: &View<'_>, data: Data) -> Pieces {
    match data.form {
        Form::Object => refused(&Values { comm, view }, comm, view).await,
        Form::Owned => with_type!(data.kind, T => refused(&Vectors::<T>::of(comm, view), comm, view).await),
        form => unreachable!("{form:?} is made elsewhere"),
    }
}

async fn refused(calls: &impl Calls, comm: &Comm, view: &View<'_>) -> Pieces {
    let Call::Unready { from, to, .. } = *view.call else { unreachable!("{:?} is made elsewhere", view.call) };
    let (from, to) = (view.rank(from), view.rank(to));
    let mut word = None;
    if from == view.own {
        match calls.send(Mode::Ready, to, view.tag(0), 0).await {
            Err(Error::NotReady { rank, .. }) if rank == view.part.members[to as usize] => {}
            Ok(()) => return Ok(vec![b"it was sent".to_vec()]),
            Err(error) => return Err(error),
        }
        word = Some(played!(Comm, comm, send(to, view.word_tag(), [0_u8; 0])));
    }
    if to == view.own {
        // It posts no other receive before the ready send has been refused.
        played!(Comm, comm, recv::<u8>(from, view.word_tag())).await?;
    }
    if let Some(word) = word {
        word.await?;
    }
    Ok(Vec::new())
}
