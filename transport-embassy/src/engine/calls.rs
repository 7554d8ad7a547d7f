//! The calls of communicators: started, polled, given up.

use core::cell::RefCell;
use core::task::{Context, Poll};

use edgempi_core::request::{CallCode, CommunicatorId, NameIds, Parts, Receive, Role, Sent, Submission};
use edgempi_core::{Call, Category, Datatype, RequestId, Status};

use super::{AtHand, Engine, PROTOCOL, entry_of};
use crate::clock::{Clock, NOBODY};
use crate::error::Error;
use crate::hand::{Hand, Source};
use crate::memory::{Entry, NameEntry, Stage};
use crate::names::Table;
use crate::port::Port;

/// A function of the caller's, or a waker, called back into the library.
const REENTERED: Error = Error::new(Category::InvalidArgument);

/// The engine without its types: what communicators and calls see of it.
pub(crate) trait Drive {
    fn submit(
        &self,
        communicator: CommunicatorId,
        call: &Call<'_>,
        datatype: Datatype,
        hand: &mut Hand<'_>,
        len: Option<usize>,
    ) -> Result<RequestId, Error>;
    fn poll(&self, context: &mut Context<'_>, request: RequestId, hand: &mut Hand<'_>) -> Poll<Result<Status, Error>>;
    fn cancel(&self, request: RequestId, hand: Option<&mut Hand<'_>>);
    /// Nobody wants to know how a request ends.
    fn detach(&self, request: RequestId);
    /// Moves what can be moved for others.
    fn progress(&self, context: &mut Context<'_>);
}

impl<P: Port, C: Clock> Drive for RefCell<Engine<'_, P, C>> {
    fn submit(
        &self,
        communicator: CommunicatorId,
        call: &Call<'_>,
        datatype: Datatype,
        hand: &mut Hand<'_>,
        len: Option<usize>,
    ) -> Result<RequestId, Error> {
        self.try_borrow_mut().map_err(|_| REENTERED)?.try_submit(communicator, call, datatype, hand, len)
    }

    fn poll(&self, context: &mut Context<'_>, request: RequestId, hand: &mut Hand<'_>) -> Poll<Result<Status, Error>> {
        let Ok(mut engine) = self.try_borrow_mut() else { return Poll::Ready(Err(REENTERED)) };
        let engine = &mut *engine;
        engine.drive(context, Some(AtHand { request, hand }));
        let Some(entry) = entry_of(engine.entries, request) else { return Poll::Ready(Err(PROTOCOL)) };
        let result = match entry.stage {
            Stage::Waiting | Stage::Free => {
                match &mut entry.waker {
                    // The port may know nobody now who waits to be woken.
                    waker if NOBODY.will_wake(context.waker()) => {
                        *waker = None;
                        engine.wake_another();
                    }
                    Some(waker) => waker.clone_from(context.waker()),
                    waker => *waker = Some(context.waker().clone()),
                }
                return Poll::Pending;
            }
            Stage::Done(status) => Ok(status),
            Stage::Failed(error) => Err(error),
        };
        // What came for others' sake is in the scratch memory still.
        engine.unpack(&mut AtHand { request, hand });
        engine.release(request);
        Poll::Ready(result)
    }

    fn cancel(&self, request: RequestId, hand: Option<&mut Hand<'_>>) {
        let Ok(mut engine) = self.try_borrow_mut() else { return };
        let waits = entry_of(engine.entries, request).is_some_and(|entry| entry.stage == Stage::Waiting);
        if waits {
            engine.endpoint.cancel(request);
            // This is the last time that its names are at hand, if it has any.
            engine.write_now(&mut Context::from_waker(NOBODY), hand.map(|hand| AtHand { request, hand }));
        }
        engine.release(request);
    }

    fn detach(&self, request: RequestId) {
        if let Ok(mut engine) = self.try_borrow_mut() {
            engine.release(request);
        }
    }

    fn progress(&self, context: &mut Context<'_>) {
        if let Ok(mut engine) = self.try_borrow_mut() {
            engine.drive(context, None);
            engine.wake_another();
        }
    }
}

impl<P: Port, C: Clock> Engine<'_, P, C> {
    #[inline(never)] // the result is copied less often
    fn try_submit(
        &mut self,
        communicator: CommunicatorId,
        call: &Call<'_>,
        datatype: Datatype,
        hand: &mut Hand<'_>,
        len: Option<usize>,
    ) -> Result<RequestId, Error> {
        if let Some(error) = self.lost {
            return Err(error);
        }
        let role = Role::new(call, communicator.rank);
        let (mut sent, mut receive) = hand.prepare(call, datatype, role)?;
        if let Some(len) = len {
            // Functions give and take what no buffer holds.
            if len == usize::MAX {
                // More bytes than can be counted.
                return Err(Error::new(Category::InvalidArgument));
            }
            sent = Sent::Equal(len);
            receive = Receive::Exactly(if role.down == Parts::None { 0 } else { len });
        }
        let mut table = Table { names: self.names, communicator: communicator.id, capacity: self.port.capacity() };
        let (mut names, counter) = match (&mut hand.names, call) {
            (Some(names), _) => names.number(&mut table)?,
            // Only `apply` knows what it calls.
            (None, Call::User { .. }) => return Err(Error::new(Category::InvalidArgument)),
            (None, _) => (NameIds::default(), table.everybody()?),
        };
        (names.site, names.new.site) = hand.site.number(self.sites);
        let is_collective = CallCode::of(call).is_collective();
        let started = self.names.get(counter).map_or(0, |name| name.started);
        if let (Call::Free, Some(name)) = (call, self.names.get_mut(counter)) {
            // Another communicator may be counted here. (Groups keep their numbers: the hub knows them.)
            *name = NameEntry::FREE;
        }
        let in_place = matches!(hand.source, Source::InPlace);
        let n = if is_collective { started } else { 0 };
        let submission = Submission::new(communicator, call, datatype, sent, receive, in_place, names, n)?;
        let request = self.endpoint.submit(&submission)?;
        if let (true, Some(name)) = (is_collective, self.names.get_mut(counter)) {
            name.started = started.wrapping_add(1);
        }
        if let Some(entry) = self.entries.get_mut(request.index()) {
            debug_assert!(entry.stage == Stage::Free, "a slot is kept until its result has been taken");
            (entry.request, entry.stage) = (request, Stage::Waiting);
        }
        // Its first frame leaves now if there is room: the buffers are at hand.
        let mut context = Context::from_waker(NOBODY);
        self.write_now(&mut context, Some(AtHand { request, hand }));
        Ok(request)
    }

    /// A future is done with its request.
    fn release(&mut self, request: RequestId) {
        if let Some(entry) = entry_of(self.entries, request) {
            *entry = Entry::FREE;
        }
        self.endpoint.free(request);
        self.wake_another();
    }
}
