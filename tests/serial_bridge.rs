//! Boards on bad serial lines in one world with a host: a hub, a bridge for each board, and between bridge and board a
//! line on which 1 in 1,000 bytes is flipped, lost, doubled or made up.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::bridge::{Bridge, Line};
use edgempi::hub::{Registry, Server};
use edgempi::{Builder, Config, Sum};
use edgempi_core::endpoint::{self, Content, Event, Incoming, Outgoing, Reach};
use edgempi_core::request::{CommunicatorId, NameIds, Receive, Sent, Slot, Submission};
use edgempi_core::serial::{Counters, Frame, SerialLink, State};
use edgempi_core::wire::{GoodbyeReason, MAX_HEAD_LEN, PREFIX_LEN, Prefix, RankKind};
use edgempi_core::{Call, Datatype, Endpoint, Rank};

/// Nothing here takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// One byte in so many is bad.
const BAD: u64 = 1_000;

/// Bytes of a result that a board takes before it gives credit.
const WINDOW: usize = 2048;

/// Numbers in no order, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound.max(1)
    }
}

/// A line that does to some bytes what lines do.
struct BadLine {
    stream: TcpStream,
    random: Random,
}

impl BadLine {
    fn spoil(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut spoiled = Vec::new();
        for byte in bytes {
            if self.random.below(BAD) > 0 {
                spoiled.push(*byte);
                continue;
            }
            match self.random.below(4) {
                0 => spoiled.push(byte ^ 1 << self.random.below(8)),
                1 => {}
                2 => spoiled.extend([*byte, *byte]),
                _ => spoiled.extend([self.random.below(256) as u8, *byte]),
            }
        }
        spoiled
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut buffer = [0; 512];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("the bridge is gone"),
            Ok(n) => self.spoil(&buffer[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Vec::new(),
            Err(error) => panic!("the bridge is gone: {error}"),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let spoiled = self.spoil(bytes);
        self.stream.write_all(&spoiled).expect("the bridge reads");
    }
}

/// A rank that has a serial line, a few buffers and no thread but its own.
struct Board {
    line: BadLine,
    link: SerialLink<'static>,
    endpoint: Endpoint<Vec<Slot>>,
    communicator: CommunicatorId,
    start: Instant,
    /// What has come of a frame, and what has to leave of one.
    input: Vec<u8>,
    output: Vec<u8>,
    /// The call that is open: what it sends, what it has received, and whether it is done.
    send: Vec<u8>,
    result: Vec<u8>,
    done: bool,
    calls: u32,
    goodbye: Option<GoodbyeReason>,
}

impl Board {
    fn new(bridge: SocketAddr, rank: u32, size: u32) -> Self {
        let stream = TcpStream::connect(bridge).expect("the bridge listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
        let (now, frames) = (edgempi_core::Instant::ZERO, || Box::leak(Box::new([Frame::EMPTY; 4])));
        let config = endpoint::Config {
            rank: Rank::new(rank),
            size,
            kind: RankKind::Board,
            max_payload: 512,
            max_message: 1 << 20,
            open_parts: 1,
            receive_window: WINDOW as u32,
            max_silence: Duration::from_secs(20),
            world_len: 0,
        };
        Self {
            line: BadLine { stream, random: Random(rank.into()) },
            link: SerialLink::board(now, Duration::from_secs(10), frames(), frames()),
            endpoint: Endpoint::new(now, config, vec![Slot::FREE; 4]),
            communicator: CommunicatorId { id: 0, rank: Rank::new(rank), size },
            start: Instant::now(),
            input: Vec::new(),
            output: Vec::new(),
            send: Vec::new(),
            result: Vec::new(),
            done: false,
            calls: 0,
            goodbye: None,
        }
    }

    #[track_caller]
    fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            assert!(self.start.elapsed() < PATIENCE, "it does not come to that: {:?}", self.link.counters());
            self.turn();
        }
    }

    /// Moves everything as far as it goes now.
    fn turn(&mut self) {
        let now = edgempi_core::Instant::from_micros(self.start.elapsed().as_micros() as u64);
        let came = self.line.receive();
        self.link.receive(now, &came);
        self.link.handle_timeout(now);
        self.endpoint.handle_timeout(now).expect("the hub answers");
        assert!(!matches!(self.link.state(), State::Reset(_)), "{:?}", self.link.state());
        let mut buffer = [0; 512];
        loop {
            let n = self.link.read(&mut buffer);
            self.input.extend(&buffer[..n]);
            if n == 0 {
                break;
            }
        }
        while self.take_frame(now) {}
        while self.put_frame(now) {}
        let n = self.link.transmit(now, &mut buffer);
        self.line.send(&buffer[..n]);
    }

    /// Takes in the next frame, if all of it is there.
    fn take_frame(&mut self, now: edgempi_core::Instant) -> bool {
        let Some((prefix, rest)) = self.input.split_first_chunk::<PREFIX_LEN>() else { return false };
        let prefix = Prefix::decode(*prefix);
        let (header_len, payload_len) = (usize::from(prefix.header_len), prefix.payload_len as usize);
        if rest.len() < header_len + payload_len {
            return false;
        }
        let (header, rest) = rest.split_at(header_len);
        let payload = &rest[..payload_len];
        match self.endpoint.handle_frame(now, prefix, header).expect("the hub keeps the protocol") {
            Incoming::Payload { request, part, offset, len } => {
                self.result[offset..offset + len].copy_from_slice(payload);
                self.endpoint.grant(request, part, (offset + len + WINDOW).min(self.result.len()));
            }
            Incoming::Result { len, .. } => {
                assert_eq!(len, self.result.len());
                self.result.copy_from_slice(payload);
            }
            Incoming::Nothing | Incoming::Reason { .. } | Incoming::Discard { .. } => {}
        }
        let reason = String::from_utf8_lossy(payload).into_owned();
        match self.endpoint.poll_event() {
            None | Some(Event::Welcome(_) | Event::Part { .. }) => {}
            Some(Event::Complete { .. }) => self.done = true,
            Some(Event::Goodbye(why)) => self.goodbye = Some(why),
            Some(other) => panic!("{other:?}: {reason}"),
        }
        self.input.drain(..PREFIX_LEN + header_len + payload_len);
        true
    }

    /// Writes as much of the next frame as there is room for.
    fn put_frame(&mut self, now: edgempi_core::Instant) -> bool {
        if self.output.is_empty() && self.link.state() == State::Up {
            let mut head = [0; MAX_HEAD_LEN];
            let outgoing = self.endpoint.poll_transmit(now, &mut head, Reach::Everything, |_| 0);
            let Some(Outgoing { head_len, payload, .. }) = outgoing else { return false };
            self.output.extend(&head[..head_len]);
            match payload {
                Some((Content::Inline(_), len)) => self.output.extend(&self.send[..len]),
                Some((Content::Part { offset, .. }, len)) => self.output.extend(&self.send[offset..offset + len]),
                Some((other, _)) => unreachable!("{other:?}"),
                None => {}
            }
        }
        let n = self.link.write(&self.output);
        self.output.drain(..n);
        n > 0
    }

    #[track_caller]
    fn call(&mut self, call: Call<'_>, datatype: Datatype, send: Vec<u8>) -> Vec<u8> {
        let len = send.len();
        let (names, n) = (NameIds::default(), self.calls);
        let (sent, receive) = (Sent::Equal(len), Receive::Exactly(len));
        let submission = Submission::new(self.communicator, &call, datatype, sent, receive, false, names, n);
        (self.send, self.result, self.done) = (send, vec![0; len], false);
        self.calls += 1;
        self.endpoint.submit(&submission.expect("the call is valid")).expect("a slot is free");
        self.run_until(|board| board.done);
        std::mem::take(&mut self.result)
    }

    #[track_caller]
    fn allreduce(&mut self, numbers: &[f32]) -> Vec<f32> {
        let send = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let result = self.call(Call::Allreduce { op: Sum }, Datatype::F32, send);
        result.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes"))).collect()
    }

    /// Leaves, and tells what the line was like.
    fn finalize(mut self) -> Counters {
        self.endpoint.leave(GoodbyeReason::Finished);
        self.run_until(|board| board.goodbye.is_some());
        assert_eq!(self.goodbye, Some(GoodbyeReason::Finished));
        self.link.counters()
    }
}

/// Ends everything with the test, even if that fails.
struct Stops<'a>(&'a Server, &'a [Bridge]);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.1.iter().for_each(|bridge| bridge.stop().stop());
        self.0.stop().stop();
    }
}

/// What each rank gives to an operation: numbers whose sums are exact.
fn numbers(rank: u32, operation: usize) -> Vec<f32> {
    let len = [1, 7, 100, 600, 3_000, 0, 1_500][operation % 7];
    (0..len).map(|n| (n * 3 + operation as u32 + 1000 * rank) as f32).collect()
}

fn sum(size: u32, operation: usize) -> Vec<f32> {
    let given: Vec<_> = (0..size).map(|rank| numbers(rank, operation)).collect();
    (0..given[0].len()).map(|at| given.iter().map(|numbers| numbers[at]).sum()).collect()
}

#[test]
fn boards_on_bad_lines_get_the_right_sums() {
    const SIZE: u32 = 3;
    const OPERATIONS: usize = 35;
    let config = Config::new().rank(0).size(SIZE).listen("127.0.0.1:0").wait(PATIENCE);
    let server = Server::bind(&config, Registry::new()).expect("a free port");
    let hub = server.local_addr();
    let config = Config::new().rank(0).size(SIZE).addr(hub.to_string()).wait(PATIENCE);
    let bridges: Vec<_> = (1..SIZE)
        .map(|_| {
            let line = Line::parse("listen:127.0.0.1:0", 115_200).expect("an address");
            Bridge::open(line, &config).expect("a free port")
        })
        .collect();
    thread::scope(|scope| {
        let _stops = Stops(&server, &bridges);
        let hub = scope.spawn(|| server.serve());
        for bridge in &bridges {
            scope.spawn(|| bridge.serve().expect("a system with threads"));
        }
        let boards: Vec<_> = (1..SIZE)
            .zip(&bridges)
            .map(|(rank, bridge)| {
                let address = bridge.local_addr().expect("it listens");
                scope.spawn(move || {
                    let mut board = Board::new(address, rank, SIZE);
                    // The first call of every rank, when it joins.
                    board.call(Call::Barrier, Datatype::Object, Vec::new());
                    for operation in 0..OPERATIONS {
                        let result = board.allreduce(&numbers(rank, operation));
                        assert!(result == sum(SIZE, operation), "rank {rank}, operation {operation}: a wrong sum");
                    }
                    board.finalize()
                })
            })
            .collect();
        let world = Builder::new().config(config.clone()).init().wait().expect("the boards come");
        for operation in 0..OPERATIONS {
            let result = world.comm().allreduce(numbers(0, operation), Sum).wait().expect("nobody fails");
            assert!(result == sum(SIZE, operation), "rank 0, operation {operation}: a wrong sum");
        }
        let finished = world.finalize();
        for board in boards {
            let counters = board.join().expect("a board");
            assert!(counters.damaged > 0 && counters.resent > 0, "a good line: {counters:?}");
        }
        finished.wait().expect("all have finished");
        hub.join().expect("no panic").expect("the world ends");
    });
}
