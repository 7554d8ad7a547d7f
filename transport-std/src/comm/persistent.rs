//! Persistent calls on buffers: described once, made again and again.

use std::panic::Location;

use edgempi_core::request::Receive;
use edgempi_core::{Call, Datatype, Element, Rank, ReduceOp, Status, Tag, TagSelector};

use super::buffers::room;
use super::peers::{IntoDest, IntoSource, NOTHING};
use super::{Comm, Started, given_beside_root, whole};
use crate::buffers::{Inbound, Outbound, Storage};
use crate::error::Error;
use crate::pending::Completion;
use crate::request::{BufferFrom, OnDrop, Persistent, Request};

/// The two buffers of a [`Persistent`] call that gives and receives different lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendReceive<T> {
    /// What the next round sends. It keeps its contents.
    pub send: Vec<T>,
    /// What the last round brought.
    pub receive: Vec<T>,
}

impl<T> SendReceive<T> {
    fn sending(send: Vec<T>) -> Self {
        Self { send, receive: Vec::new() }
    }
}

type Place = &'static Location<'static>;

/// Persistent calls on buffers: see [`Persistent`]. Collectives meet the calls of the same name, in the order in which both
/// are started.
impl Comm {
    /// A [`send`](Self::send) to be made again and again (MPI 4.1, chapter 3.9).
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// let mut send = worlds[0].comm().send_init(1, 7, vec![0u32; 2]);
    /// for round in 0..3 {
    ///     send.buffer_mut().expect("no round is under way").fill(round);
    ///     send.start()?;
    ///     send.wait()?;
    ///     assert_eq!(worlds[1].comm().recv::<u32>(0, 7).wait()?.0, [round, round]);
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn send_init<T: Element>(&self, dest: impl IntoDest, tag: impl Into<Tag>, data: Vec<T>) -> Persistent<Vec<T>> {
        let tag = tag.into();
        self.send_again(dest.into_dest().map(|dest| Call::Send { dest, tag }), data, Location::caller())
    }

    /// An [`ssend`](Self::ssend) to be made again and again (MPI 4.1, chapter 3.9): a round ends when a receive has taken its
    /// message.
    #[track_caller]
    pub fn ssend_init<T: Element>(&self, dest: impl IntoDest, tag: impl Into<Tag>, data: Vec<T>) -> Persistent<Vec<T>> {
        let tag = tag.into();
        self.send_again(dest.into_dest().map(|dest| Call::Ssend { dest, tag }), data, Location::caller())
    }

    /// A [`bsend`](Self::bsend) to be made again and again (MPI 4.1, chapter 3.9): a round ends at once, with a copy of the
    /// buffer on its way.
    #[track_caller]
    pub fn bsend_init<T: Element>(&self, dest: impl IntoDest, tag: impl Into<Tag>, data: Vec<T>) -> Persistent<Vec<T>> {
        let (comm, site) = (self.clone(), Location::caller());
        let (dest, tag) = (dest.into_dest(), tag.into());
        Persistent::new(data, move |data| {
            let Some(dest) = dest else { return Request::ready(Ok((data, ()))) };
            let copy = Started::sending(Call::Send { dest, tag }, data.clone());
            let request = comm.start_at(copy, OnDrop::Detach, site, |_| Ok(()));
            // It goes on alone, unless it could not be started.
            let started = if request.is_refused() { request } else { Request::ready(Ok(())) };
            started.map(move |()| (data, ()))
        })
    }

    /// An [`rsend`](Self::rsend) to be made again and again (MPI 4.1, chapter 3.9): a round fails unless a receive waits for its
    /// message, and [takes the buffer with it](Persistent::set_buffer).
    #[track_caller]
    pub fn rsend_init<T: Element>(&self, dest: impl IntoDest, tag: impl Into<Tag>, data: Vec<T>) -> Persistent<Vec<T>> {
        let tag = tag.into();
        self.send_again(dest.into_dest().map(|dest| Call::Rsend { dest, tag }), data, Location::caller())
    }

    /// A receive of at most `data.len()` elements to be made again and again (MPI 4.1, chapter 3.9). After a round the buffer
    /// is as long as the message was; that of nobody leaves it as it is.
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Truncated`](crate::Error::Truncated) if a message is longer.
    #[track_caller]
    pub fn recv_init<T: Element>(
        &self,
        source: impl IntoSource,
        tag: impl Into<TagSelector>,
        data: Vec<T>,
    ) -> Persistent<Vec<T>, Status> {
        let (comm, site) = (self.clone(), Location::caller());
        let (source, tag) = (source.into_source(), tag.into());
        let mut most = 0;
        Persistent::receiving(data, move |data: Vec<T>, from| {
            if from == BufferFrom::Program {
                most = size_of_val(data.as_slice());
            }
            // Nobody's message leaves the memory as it is.
            let Some(source) = source else { return Request::ready(Ok((data, NOTHING))) };
            let started = Started::receiving(Call::Recv { source, tag }, most, data);
            comm.start_at(started, OnDrop::Cancel, site, |completion| {
                let status = completion.status;
                Ok((whole(completion)?, status))
            })
        })
    }

    /// A [`barrier`](Self::barrier) to be made again and again (MPI 4.1, chapter 6.12.1).
    #[track_caller]
    pub fn barrier_init(&self) -> Persistent<()> {
        let (comm, site) = (self.clone(), Location::caller());
        Persistent::new((), move |()| {
            comm.start_at(Started::new(Call::Barrier, Datatype::Object), OnDrop::Detach, site, |_| Ok(((), ())))
        })
    }

    /// A [`bcast`](Self::bcast) to be made again and again (MPI 4.1, chapter 6.12.2).
    #[track_caller]
    pub fn bcast_init<T: Element>(&self, root: impl Into<Rank>, data: Vec<T>) -> Persistent<Vec<T>> {
        let (comm, site, root) = (self.clone(), Location::caller(), root.into());
        let is_root = root == self.rank();
        Persistent::new(data, move |data: Vec<T>| comm.start_in_place(Started::bcast(root, is_root, data), site))
    }

    /// A [`gather`](Self::gather) to be made again and again (MPI 4.1, chapter 6.12.3). What is received is empty on ranks
    /// other than the root.
    ///
    /// ```
    /// # let worlds = edgempi::local(2)?;
    /// # let other = worlds[1].comm();
    /// let mut gather = worlds[0].comm().gather_init(0, vec![0]);
    /// for round in 0..3 {
    /// #   let together = other.gather(0, [round + 10]);
    ///     gather.buffer_mut().expect("no round is under way").send[0] = round;
    ///     gather.start()?;
    ///     gather.wait()?;
    ///     assert_eq!(gather.buffer().expect("it is back").receive, [round, round + 10]);
    /// #   together.wait()?;
    /// }
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    #[track_caller]
    pub fn gather_init<T: Element>(&self, root: impl Into<Rank>, data: Vec<T>) -> Persistent<SendReceive<T>> {
        let (comm, site, root) = (self.clone(), Location::caller(), root.into());
        let is_root = root == self.rank();
        let call = Call::Gather { root };
        Persistent::new(SendReceive::sending(data), move |SendReceive { send, receive }| {
            if is_root {
                return comm.collect(call, send, receive, site);
            }
            comm.start_at(Started::sending(call, send), OnDrop::Detach, site, |completion| {
                Ok((SendReceive { send: sent_back(completion)?.0, receive }, ()))
            })
        })
    }

    /// A [`scatter`](Self::scatter) to be made again and again (MPI 4.1, chapter 6.12.4). `data` is `Some` at the root, and
    /// `None` on the other ranks, which need not know the length.
    #[track_caller]
    pub fn scatter_init<T: Element>(&self, root: impl Into<Rank>, data: Option<Vec<T>>) -> Persistent<SendReceive<T>> {
        let (comm, site, root) = (self.clone(), Location::caller(), root.into());
        let is_root = root == self.rank();
        let call = Call::Scatter { root };
        // A root without data has nothing to give, which is told with the first round.
        let is_missing = is_root && data.is_none();
        let is_useless = !is_root && data.is_some();
        Persistent::new(SendReceive::sending(data.unwrap_or_default()), move |SendReceive { send, receive }| {
            if is_missing && send.is_empty() {
                let error = Error::invalid("the root of a scatter has to give data");
                return Request::ready(Err(error.at(site)));
            }
            if is_useless {
                return Request::ready(Err(given_beside_root("scatter", comm.rank(), root).at(site)));
            }
            if is_root {
                return comm.hand_out(call, send, receive, site);
            }
            let started = Started::receiving(call, comm.message_size, receive);
            comm.start_at(started, OnDrop::Detach, site, |completion| {
                Ok((SendReceive { send, receive: whole(completion)? }, ()))
            })
        })
    }

    /// An [`allgather`](Self::allgather) to be made again and again (MPI 4.1, chapter 6.12.5).
    #[track_caller]
    pub fn allgather_init<T: Element>(&self, data: Vec<T>) -> Persistent<SendReceive<T>> {
        let (comm, site) = (self.clone(), Location::caller());
        Persistent::new(SendReceive::sending(data), move |SendReceive { send, receive }| {
            comm.collect(Call::Allgather, send, receive, site)
        })
    }

    /// An [`alltoall`](Self::alltoall) to be made again and again (MPI 4.1, chapter 6.12.6).
    #[track_caller]
    pub fn alltoall_init<T: Element>(&self, data: Vec<T>) -> Persistent<SendReceive<T>> {
        let (comm, site) = (self.clone(), Location::caller());
        Persistent::new(SendReceive::sending(data), move |SendReceive { send, receive }| {
            match comm.alltoall_of(receive, send) {
                Ok(started) => comm.start_both(started, site),
                Err(error) => Request::ready(Err(error.at(site))),
            }
        })
    }

    /// A [`reduce`](Self::reduce) to be made again and again (MPI 4.1, chapter 6.12.7). At the root the result takes the place
    /// of the data; elsewhere they stay.
    #[track_caller]
    pub fn reduce_init<T: Element>(&self, root: impl Into<Rank>, data: Vec<T>, op: ReduceOp) -> Persistent<Vec<T>> {
        let (comm, site, root) = (self.clone(), Location::caller(), root.into());
        let is_root = root == self.rank();
        Persistent::new(data, move |data| comm.folding(Call::Reduce { root, op }, data, is_root, site))
    }

    /// An [`allreduce`](Self::allreduce) to be made again and again (MPI 4.1, chapter 6.12.8). The result takes the place of
    /// the data.
    #[track_caller]
    pub fn allreduce_init<T: Element>(&self, data: Vec<T>, op: ReduceOp) -> Persistent<Vec<T>> {
        let (comm, site) = (self.clone(), Location::caller());
        Persistent::new(data, move |data| comm.folding(Call::Allreduce { op }, data, true, site))
    }

    /// A `reduce_scatter_block` to be made again and again (MPI 4.1, chapter 6.12.9): everybody's data are combined element by
    /// element, and each rank receives a block of the result. Size must divide their length.
    #[track_caller]
    pub fn reduce_scatter_block_init<T: Element>(&self, data: Vec<T>, op: ReduceOp) -> Persistent<SendReceive<T>> {
        let (comm, site) = (self.clone(), Location::caller());
        Persistent::new(SendReceive::sending(data), move |SendReceive { send, receive }| {
            let block = match comm.block_of(send.len()) {
                Ok(block) => block,
                Err(error) => return Request::ready(Err(error.at(site))),
            };
            comm.fold_block(Call::ReduceScatterBlock { op }, send, receive, block, site)
        })
    }

    /// A [`reduce_scatter`](Self::reduce_scatter) to be made again and again (MPI 4.1, chapter 6.12.10): all ranks give the
    /// same `counts`, which make up the length of their data.
    #[track_caller]
    pub fn reduce_scatter_init<T: Element>(
        &self,
        data: Vec<T>,
        counts: &[usize],
        op: ReduceOp,
    ) -> Persistent<SendReceive<T>> {
        let (comm, site, counts) = (self.clone(), Location::caller(), counts.to_vec());
        Persistent::new(SendReceive::sending(data), move |SendReceive { send, receive }| {
            match comm.counting(send.len(), &counts) {
                Ok((comm, own)) => comm.fold_block(Call::ReduceScatter { op }, send, receive, own, site),
                Err(error) => Request::ready(Err(error.at(site))),
            }
        })
    }

    /// A `scan` to be made again and again (MPI 4.1, chapter 6.12.11). What the ranks up to this one give, combined, takes the
    /// place of the data.
    #[track_caller]
    pub fn scan_init<T: Element>(&self, data: Vec<T>, op: ReduceOp) -> Persistent<Vec<T>> {
        let (comm, site) = (self.clone(), Location::caller());
        Persistent::new(data, move |data| comm.folding(Call::Scan { op }, data, true, site))
    }

    /// An `exscan` to be made again and again (MPI 4.1, chapter 6.12.12). What the ranks before this one give, combined, takes
    /// the place of the data; on rank 0 they stay.
    #[track_caller]
    pub fn exscan_init<T: Element>(&self, data: Vec<T>, op: ReduceOp) -> Persistent<Vec<T>> {
        let (comm, site) = (self.clone(), Location::caller());
        let receives = self.rank() != 0;
        Persistent::new(data, move |data| comm.folding(Call::Exscan { op }, data, receives, site))
    }

    /// A round of a reduction that brings this rank `count` elements.
    fn fold_block<T: Element>(
        &self,
        call: Call<'static>,
        send: Vec<T>,
        receive: Vec<T>,
        count: usize,
        site: Place,
    ) -> Request<'static, (SendReceive<T>, ())> {
        let own = match room(receive, count) {
            Ok(own) => own,
            Err(error) => return Request::ready(Err(error.at(site))),
        };
        let started = Started {
            receive: Receive::Exactly(size_of_val(own.as_slice())),
            inbound: Inbound::Whole { storage: Box::new(own), open: false },
            ..Started::sending(call, send)
        };
        self.start_both(started, site)
    }

    /// Sends by `call`, if there is somebody to send to.
    fn send_again<T: Element>(&self, call: Option<Call<'static>>, data: Vec<T>, site: Place) -> Persistent<Vec<T>> {
        let comm = self.clone();
        Persistent::new(data, move |data| {
            let Some(call) = call else { return Request::ready(Ok((data, ()))) };
            let started = Started::sending(call, data);
            comm.start_at(started, OnDrop::Detach, site, |completion| Ok((sent_back(completion)?.0, ())))
        })
    }

    /// A round whose buffer is sent, overwritten, or both.
    fn start_in_place<T: Element>(&self, started: Started, site: Place) -> Request<'static, (Vec<T>, ())> {
        self.start_at(started, OnDrop::Detach, site, |completion| Ok((whole(completion)?, ())))
    }

    /// A round that gives one vector back as it was, and another with the result.
    fn start_both<T: Element>(&self, started: Started, site: Place) -> Request<'static, (SendReceive<T>, ())> {
        self.start_at(started, OnDrop::Detach, site, |completion| {
            let (send, completion) = sent_back(completion)?;
            Ok((SendReceive { send, receive: whole(completion)? }, ()))
        })
    }

    fn folding<T: Element>(
        &self,
        call: Call<'static>,
        data: Vec<T>,
        receives: bool,
        site: Place,
    ) -> Request<'static, (Vec<T>, ())> {
        self.start_in_place(Started::combining(call, data, receives), site)
    }

    /// A block from each rank, around the own one.
    fn collect<T: Element>(
        &self,
        call: Call<'static>,
        send: Vec<T>,
        receive: Vec<T>,
        site: Place,
    ) -> Request<'static, (SendReceive<T>, ())> {
        let (receive, inbound) = match self.blocks_around(true, receive, &send) {
            Ok(found) => found,
            Err(error) => return Request::ready(Err(error.at(site))),
        };
        let started = Started { receive, inbound, ..Started::sending(call, send) };
        self.start_both(started, site)
    }

    /// A block to each rank, the own one from here.
    fn hand_out<T: Element>(
        &self,
        call: Call<'static>,
        send: Vec<T>,
        receive: Vec<T>,
        site: Place,
    ) -> Request<'static, (SendReceive<T>, ())> {
        let own = match self.own_block(receive, &send) {
            Ok(own) => own,
            Err(error) => return Request::ready(Err(error.at(site))),
        };
        let started =
            Started { inbound: Inbound::Whole { storage: Box::new(own), open: false }, ..Started::sending(call, send) };
        self.start_both(started, site)
    }
}

/// The elements that were sent, and what is left of the completion.
fn sent_back<T: Element>(mut completion: Completion) -> Result<(Vec<T>, Completion), Error> {
    let outbound = std::mem::replace(&mut completion.buffers.outbound, Outbound::Nothing);
    let Outbound::Whole(storage) = outbound else { return Ok((Vec::new(), completion)) };
    // Whoever started the call chose the type, so this can only be that type.
    let elements = Storage::into_any(storage).downcast::<Vec<T>>().map_err(|_| Error::defect())?;
    Ok((*elements, completion))
}
