//! A virtual rank as its communicators see it: its state, and what moves its frames.

use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use edgempi_core::Payload;
use edgempi_core::endpoint::Config;
use edgempi_core::wire::{MAX_HEAD_LEN, PREFIX_LEN, Ping, Prefix, Up};
use edgempi_core::{Instant, Rank, RequestId, Status};

use super::generator::Generator;
use super::orders::{Desk, Order};
use crate::engine::{Asked, Drive, State, StateGuard};
use crate::error::Error;

/// A frame on its way.
pub(super) struct Frame {
    head: [u8; MAX_HEAD_LEN],
    head_len: u8,
    pub(super) payload: Payload,
}

impl Frame {
    /// `head` is filled up to `head_len`.
    pub(super) fn new(head: [u8; MAX_HEAD_LEN], head_len: usize, payload: Payload) -> Self {
        // A head has at most 70 bytes.
        Self { head, head_len: head_len as u8, payload }
    }

    pub(super) fn head(&self) -> &[u8] {
        self.head.get(..usize::from(self.head_len)).unwrap_or(&self.head)
    }

    /// Its prefix and its header.
    pub(super) fn split(&self) -> (Prefix, &[u8]) {
        let (prefix, header) = self.head().split_first_chunk::<PREFIX_LEN>().unwrap_or((&[0; PREFIX_LEN], &[]));
        (Prefix::decode(*prefix), header)
    }

    /// Whether it says no more than that its sender lives.
    pub(super) fn is_sign_of_life(&self) -> bool {
        const PING: Ping = Ping { acknowledged: 0 };
        // The same numbers both ways.
        const KINDS: [u8; 2] = [Up::Ping(PING).kind(), Up::Pong(PING).kind()];
        self.head().first().is_some_and(|kind| KINDS.contains(kind))
    }

    /// Bytes of all of it.
    pub(super) fn len(&self) -> u64 {
        u64::from(self.head_len) + self.payload.len() as u64
    }
}

/// How many requests a rank has memory for before it needs more: there may be a hundred thousand ranks.
const SLOTS: usize = 2;

/// A virtual rank.
pub(super) struct Node {
    number: usize,
    class: u32,
    desk: Arc<Desk>,
    state: Mutex<State>,
    /// The random numbers of its program.
    generator: Mutex<Generator>,
}

impl Node {
    pub(super) fn new(desk: Arc<Desk>, config: Config, world: String, generator: Generator, class: u32) -> Arc<Self> {
        let number = config.rank.index();
        let state = State::sized(Instant::ZERO, config, world, "the simulation".to_owned(), SLOTS, short_site);
        Arc::new(Self { number, class, desk, state: Mutex::new(state), generator: Mutex::new(generator) })
    }

    pub(super) fn state(&self) -> StateGuard<'_> {
        StateGuard::new(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn random(&self) -> u64 {
        self.generator.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// The next frame to send.
    pub(super) fn next_frame(&self, now: Instant) -> Option<Frame> {
        let mut state = self.state();
        let mut head = [0; MAX_HEAD_LEN];
        let outgoing = state.poll_transmit(now, &mut head)?;
        let payload = outgoing.payload.map_or_else(Payload::new, |(content, len)| {
            let mut payload = Vec::with_capacity(len);
            state.write_payload(content, len, &mut payload);
            payload.into()
        });
        if let Some(pending) = outgoing.done.and_then(|id| state.find(id)) {
            state.resolve(pending, Ok(Status::default()));
        }
        Some(Frame::new(head, outgoing.head_len, payload))
    }

    /// A frame has come. Returns whether the link goes on.
    pub(super) fn take_frame(&self, now: Instant, frame: &Frame) -> bool {
        let mut state = self.state();
        let (prefix, header) = frame.split();
        let received = state.receive(now, prefix, header).and_then(|mut receiving| {
            receiving.fill(&frame.payload)?;
            Ok(receiving.finish())
        });
        match received {
            Ok(finished) => !state.finish(finished),
            Err(error) => {
                state.lose(&error);
                false
            }
        }
    }
}

impl Drive for Node {
    fn submit(&self, asked: Asked) -> Result<RequestId, Error> {
        let id = self.state().submit(asked)?;
        self.desk.order(Order::Transmit(self.number));
        Ok(id)
    }

    fn cancel(&self, request: RequestId) {
        self.state().cancel(request);
        self.desk.order(Order::Transmit(self.number));
    }

    fn withdraw(&self, request: RequestId) {
        self.state().withdraw(request);
        self.desk.order(Order::Transmit(self.number));
    }

    fn withdraw_message(&self, request: RequestId) -> Result<Rank, Error> {
        let own = self.state().withdraw_message(request)?;
        self.desk.order(Order::Transmit(self.number));
        Ok(own)
    }

    /// Ranks of a class share one, and it is the same on every real machine.
    fn machine(&self) -> [u8; 16] {
        u128::from(self.class).to_le_bytes()
    }

    /// Time stands still while a rank runs.
    fn spin(&self, _done: &dyn Fn() -> bool) {}
}

/// A place in the source without the directories that depend on the machine: the length of a frame must not.
fn short_site(site: &'static Location<'static>) -> String {
    let parts = site.file().rsplit(['/', '\\']).take(2);
    let mut file: Vec<&str> = parts.collect();
    file.reverse();
    format!("{}:{}:{}", file.join("/"), site.line(), site.column())
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::short_site;

    #[test]
    fn a_place_in_the_source_is_named_by_file_and_folder_alone() {
        let site = Location::caller();
        assert_eq!(short_site(site), format!("sim/node.rs:{}:{}", site.line(), site.column()));
    }
}
