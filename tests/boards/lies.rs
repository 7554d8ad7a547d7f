//! A board whose hub is the test's own: what it says, in which pieces, and what the port does meanwhile.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use edgempi_core::request::CallCode;
use edgempi_core::wire::{
    Complete, Credit, Data, Down, Fail, Layout, MAX_HEAD_LEN, PREFIX_LEN, Part, Prefix, Reject, Submit, Up, VERSION,
    Welcome,
};
use edgempi_core::{ANY_SOURCE, ANY_TAG, Category, Communicator, Group, Rank, ReduceOp, RequestId, Tag};
use edgempi_embassy::{Comm, Error, Memory, Options, Port, World, join};
use every_call::ScaledSum;

use crate::faults::failed;
use crate::sleeping::{StdClock, drive};

/// What is between a board and its hub.
struct Wire {
    to_board: VecDeque<u8>,
    to_hub: Vec<u8>,
    /// How much the port takes at a time.
    free: usize,
    /// Bytes that come at once.
    piece: usize,
    /// Nothing can be written any more.
    is_deaf: bool,
    /// Nothing comes any more.
    is_closed: bool,
    wants_room: Option<Waker>,
}

#[derive(Clone)]
struct WirePort(Rc<RefCell<Wire>>);

const CAPACITY: usize = 1000;

impl WirePort {
    fn new() -> Self {
        let (to_board, to_hub, wants_room) = (VecDeque::new(), Vec::new(), None);
        let (free, piece, is_deaf, is_closed) = (CAPACITY, 4096, false, false);
        Self(Rc::new(RefCell::new(Wire { to_board, to_hub, free, piece, is_deaf, is_closed, wants_room })))
    }

    fn say(&self, frame: Down, payload: &[u8]) {
        let mut head = [0; MAX_HEAD_LEN];
        let len = frame.encode(payload.len() as u32, &mut head);
        self.0.borrow_mut().to_board.extend(head[..len].iter().chain(payload));
    }

    /// The next frame that the board has sent.
    fn hear(&self) -> Option<Up> {
        let bytes = &mut self.0.borrow_mut().to_hub;
        let prefix = Prefix::decode(*bytes.first_chunk::<PREFIX_LEN>()?);
        let (head, payload) = (PREFIX_LEN + usize::from(prefix.header_len), prefix.payload_len as usize);
        assert!(bytes.len() >= head + payload, "no frame is half sent");
        let frame = Up::decode(prefix.kind, &bytes[PREFIX_LEN..head]).expect("a board is honest");
        bytes.drain(..head + payload);
        Some(frame.expect("a board says what this version knows"))
    }

    /// Lets the board in, and answers a barrier.
    fn greet(&self, sequence: &mut u32) {
        while let Some(frame) = self.hear() {
            match frame {
                Up::Hello(_) => self.say(Down::Welcome(WELCOME), &[]),
                Up::Submit(submit) => {
                    *sequence += 1;
                    self.say(Down::Complete(complete(submit.request, *sequence, Layout::Empty, 0)), &[]);
                }
                _ => {}
            }
        }
    }

    fn joined<const N: usize, const SCRATCH: usize>(
        &self,
        memory: &'static mut Memory<N, SCRATCH>,
    ) -> (World<'static, Self, StdClock>, u32) {
        let mut sequence = 0;
        let mut joining = pin!(join(self.clone(), StdClock(Instant::now()), memory, &Options::new(0, 3)));
        loop {
            let context = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(world) = joining.as_mut().poll(context) {
                return (world.expect("the hub is honest until the board is in"), sequence);
            }
            self.greet(&mut sequence);
        }
    }
}

impl Port for WirePort {
    type Error = ();

    fn poll_read(&mut self, _: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize, ()>> {
        let mut wire = self.0.borrow_mut();
        let n = bytes.len().min(wire.to_board.len()).min(wire.piece);
        if n == 0 {
            return if wire.is_closed || wire.is_deaf { Poll::Ready(Ok(0)) } else { Poll::Pending };
        }
        for (to, from) in bytes.iter_mut().zip(wire.to_board.drain(..n)) {
            *to = from;
        }
        Poll::Ready(Ok(n))
    }

    fn poll_free(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, ()>> {
        let mut wire = self.0.borrow_mut();
        if wire.is_deaf {
            return Poll::Ready(Err(()));
        }
        if wire.free >= wanted {
            return Poll::Ready(Ok(wire.free));
        }
        wire.wants_room = Some(context.waker().clone());
        Poll::Pending
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let mut wire = self.0.borrow_mut();
        assert!(bytes.len() <= wire.free, "the engine writes more than there is room for");
        wire.to_hub.extend_from_slice(bytes);
        Ok(())
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }
}

const WELCOME: Welcome = Welcome {
    version: VERSION,
    session: 1,
    incarnation: 1,
    max_payload: 4096,
    max_message: 1 << 20,
    max_requests: 100,
    queue_size: 1 << 20,
    max_silence: 20_000,
};

fn complete(request: RequestId, sequence: u32, layout: Layout, bytes: u64) -> Complete {
    let (source, tag) = (Rank::new(1), Tag(0));
    Complete { request, sequence, acknowledged: 0, layout, source, tag, bytes, queue_limit: 1 << 20 }
}

fn memory<const N: usize, const SCRATCH: usize>() -> &'static mut Memory<N, SCRATCH> {
    Box::leak(Box::new(Memory::new()))
}

#[test]
fn a_board_hears_why_it_has_to_go_although_it_can_not_say_anything_any_more() {
    for piece in [1, 7, 4096] {
        let wire = WirePort::new();
        let (world, _) = wire.joined(memory::<2, 128>());
        let comm = world.comm();
        let mut barrier = comm.barrier();
        assert!(barrier.test().is_none());
        wire.say(Down::Reject(Reject { category: Category::Timeout, len: 0, max: 0 }), b"that is enough");
        wire.0.borrow_mut().piece = piece;
        // The connection is reset: what came before that can still be read.
        wire.0.borrow_mut().is_deaf = true;
        assert_eq!(failed(drive(&mut barrier)).0, Category::Timeout, "in pieces of {piece}");
        world.last_reason(|reason| assert_eq!(reason, "that is enough"));
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Alarm(AtomicU32);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_call_that_needs_more_room_than_there_is_is_woken_when_there_is_more() {
    let wire = WirePort::new();
    let (world, _) = wire.joined(memory::<2, 128>());
    let comm = world.comm();
    // Its name is longer than the shortest frame that is begun.
    let ranks: Vec<Rank> = (0..3).map(Rank::new).collect();
    let operation = Verbose(ranks);
    let (mut send, mut receive) = ([0; 64], [0; 64]);
    wire.0.borrow_mut().free = 160;
    let mut apply = pin!(comm.apply(&operation, Some(&1), &mut send, &mut receive));
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(alarm.clone());
    assert!(apply.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(wire.hear().is_none(), "there is no room for its name");
    let before = alarm.0.load(Ordering::SeqCst);
    // Room, and nothing else: the hub says nothing before it has heard something.
    wire.0.borrow_mut().free = CAPACITY;
    let waiting = wire.0.borrow_mut().wants_room.take();
    waiting.into_iter().for_each(Waker::wake);
    assert!(alarm.0.load(Ordering::SeqCst) > before, "nobody is woken, and nothing moves any more");
    assert!(apply.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(matches!(wire.hear(), Some(Up::Name(_))));
}

/// An operation with a long name.
struct Verbose(Vec<Rank>);

impl edgempi_core::operation::Operation for Verbose {
    const NAME: &'static str = "an operation whose name says at length what it does, and with what, and for whom, and why, \
        and since when, and what it did before that, and what will become of it";
    type Parameters = u8;
    type Input = u32;
    type Output = u32;

    fn parameters(&self) -> u8 {
        0
    }

    fn group(&self) -> Group<'_> {
        Group::new(&self.0, &self.0)
    }
}

#[test]
fn a_vector_of_more_bytes_than_can_be_counted_is_refused() {
    let wire = WirePort::new();
    let (world, mut sequence) = wire.joined(memory::<2, 128>());
    let comm = world.comm();
    let (mut fill, mut take) = (|_: usize, _: &mut [u8]| (), |_: usize, _: &[u8]| ());
    let all = comm.allreduce_from::<f32>(usize::MAX / 2, ReduceOp::Sum, &mut fill, &mut take);
    // Were it taken for an empty one, the hub would answer.
    wire.greet(&mut sequence);
    assert_eq!(failed(drive(all)).0, Category::InvalidArgument);
    let one = comm.reduce_from::<f64>(1, usize::MAX / 4, ReduceOp::Sum, &mut fill);
    assert_eq!(failed(drive(one)).0, Category::InvalidArgument);
}

/// SplitMix64: every lie follows from the seed.
struct Liar(u64);

impl Liar {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// The truth most of the time, or something near it, or something far from it.
    fn near(&mut self, truth: u64) -> u64 {
        match self.below(60) {
            0 => truth.wrapping_add(1),
            1 => truth.wrapping_sub(1),
            2 => self.next() >> self.below(64),
            _ => truth,
        }
    }
}

/// Something that a hub might say about `submit`, and may do so when it should not.
fn lie(wire: &WirePort, liar: &mut Liar, sequence: &mut u32, submit: &Submit) {
    let request = if liar.below(30) == 0 { RequestId::NONE } else { submit.request };
    let total = submit.receive.min(900);
    let len = liar.near(total).min(1000);
    match liar.below(8) {
        0 => {
            let credit =
                Credit { request, part: liar.near(0) as u32, limit: liar.near(64), len: liar.near(submit.send) };
            wire.say(Down::Credit(credit), &[]);
        }
        1 | 2 => {
            let part = liar.near(0) as u32;
            wire.say(Down::Part(Part { request, part, len: liar.near(total) }), &[]);
            let mut offset = 0;
            while offset < len {
                let n = 1 + liar.below(len - offset);
                wire.say(Down::Data(Data { request, part, offset: liar.near(offset) }), &liar.bytes(n));
                offset += n;
            }
            *sequence += 1;
            wire.say(Down::Complete(complete(request, *sequence, Layout::Empty, liar.near(len))), &[]);
        }
        3 => {
            *sequence += 1;
            let (rank, category) = (Rank::new(liar.next() as u32), Category::Remote);
            let [len, max, queue_limit] = [liar.next(), liar.next(), liar.next()];
            let count = liar.next() as u32;
            let (sequence, acknowledged) = (*sequence, 0);
            let fail = Fail { request, sequence, acknowledged, category, rank, count, len, max, queue_limit };
            let reason = liar.near(200).min(1000);
            wire.say(Down::Fail(fail), &liar.bytes(reason));
        }
        _ => {
            *sequence = sequence.wrapping_add(1).wrapping_add((liar.below(30) == 0).into());
            let codes = [CallCode::Gather, CallCode::Allgather, CallCode::Alltoall];
            let layout = match liar.below(20) {
                0 => Layout::Varied,
                1 => Layout::Empty,
                2 => Layout::Equal,
                3 => Layout::Single,
                _ if codes.iter().any(|code| submit.call == *code as u8) => Layout::Equal,
                _ if submit.receive == 0 => Layout::Empty,
                _ => Layout::Single,
            };
            let block = submit.receive / 3;
            let len = if layout == Layout::Equal { liar.near(submit.receive - block).min(1000) } else { len };
            wire.say(Down::Complete(complete(request, *sequence, layout, liar.near(len))), &liar.bytes(len));
        }
    }
}

/// Polls `call` while the liar answers; whether it got a value.
fn deceived<T>(
    wire: &WirePort,
    liar: &mut Liar,
    sequence: &mut u32,
    call: impl Future<Output = Result<T, Error>>,
) -> Option<bool> {
    let mut call = pin!(call);
    for _ in 0..400 {
        if let Poll::Ready(result) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(result.is_ok());
        }
        while let Some(frame) = wire.hear() {
            if let Up::Submit(submit) = frame {
                lie(wire, liar, sequence, &submit);
                if submit.call == CallCode::Free as u8 {
                    return None;
                }
            }
        }
    }
    // Some lies leave a call waiting.
    None
}

fn calls(comm: &Comm<'_>, wire: &WirePort, liar: &mut Liar, sequence: &mut u32) -> [u32; 2] {
    let mut tally = [0, 0];
    // Results that may come at once, or some for which the board has to give credit first.
    let scale = [1, 1, 15][liar.below(3) as usize];
    let (mut given, mut room) = (vec![7u32; 2 * scale], vec![0u32; 6 * scale]);
    let (mut send, mut receive) = ([0; 64], vec![0; 30 * scale]);
    let operation = ScaledSum { factor: 2, group: Group::ALL };
    for _ in 0..6 {
        let mut taken = 0usize;
        let mut fill = |_: usize, bytes: &mut [u8]| bytes.fill(1);
        let mut take = |offset: usize, bytes: &[u8]| taken = offset.saturating_add(bytes.len());
        // Results for it wait in the scratch memory, or have to.
        let mut token_room = vec![0u8; 30 * scale];
        let mut token = comm.recv(ANY_SOURCE, ANY_TAG, &mut token_room);
        let mut judge = |result: Option<bool>| {
            if let Some(is_ok) = result {
                tally[usize::from(is_ok)] += 1;
            }
        };
        match liar.below(11) {
            0 => judge(deceived(wire, liar, sequence, comm.gather(0, &given, &mut room))),
            1 => judge(deceived(wire, liar, sequence, comm.allgather(&given, &mut room))),
            2 => judge(deceived(wire, liar, sequence, comm.alltoall(&vec![1; 6 * scale], &mut room))),
            3 => judge(deceived(wire, liar, sequence, comm.scatter(1, &[], &mut room))),
            4 => judge(deceived(wire, liar, sequence, comm.allreduce_in_place(&mut room, ReduceOp::Sum))),
            5 => judge(deceived(wire, liar, sequence, comm.bcast(1, &mut given))),
            6 => judge(deceived(wire, liar, sequence, comm.recv_object::<(String, Vec<u8>)>(1, 1, &mut receive))),
            7 => judge(deceived(wire, liar, sequence, comm.apply(&operation, Some(&1), &mut send, &mut receive))),
            8 => {
                let all = comm.allreduce_from::<f32>(8 * scale, ReduceOp::Sum, &mut fill, &mut take);
                judge(deceived(wire, liar, sequence, all));
            }
            9 => judge(deceived(wire, liar, sequence, comm.barrier())),
            _ => judge(deceived(wire, liar, sequence, comm.split(Some(1), 0))),
        }
        if liar.below(2) == 0 {
            judge(token.test().map(|result| result.is_ok()));
        }
        drop(token);
    }
    tally
}

#[test]
fn whatever_a_hub_says_a_board_has_a_value_or_an_error() {
    let mut tally = [0, 0];
    for seed in 0..3000 {
        let wire = WirePort::new();
        let mut memory = Memory::<4, 256>::new();
        let mut sequence = 0;
        let mut joining =
            pin!(join(wire.clone(), StdClock(Instant::now()), &mut memory, &Options::new(0, 3).wait(Duration::MAX)));
        let world = loop {
            if let Poll::Ready(world) = joining.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                break world.expect("the hub is honest until the board is in");
            }
            wire.greet(&mut sequence);
        };
        let mut liar = Liar(seed);
        wire.0.borrow_mut().piece = [1, 5, 4096][liar.below(3) as usize];
        let [errors, values] = calls(&world.comm(), &wire, &mut liar, &mut sequence);
        tally = [tally[0] + errors, tally[1] + values];
        wire.0.borrow_mut().is_closed = true;
        assert!(drive(world.finalize()).is_err());
    }
    assert!(tally.iter().all(|count| *count > 100), "{tally:?}: some lies pass, some do not");
}
