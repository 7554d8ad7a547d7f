//! A hub that lies to its rank: whatever it sends, in whatever datatype, the rank gets a value or an error, and its
//! memory stays sound (this test also runs under AddressSanitizer).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use edgempi::config::Threads;
use edgempi::{
    ANY_SOURCE, ANY_TAG, Builder, Comm, Config, Element, Error, Located, Logical, Max, Rank, Request, SplitType,
    Status, Sum, Tag, start_all,
};
use edgempi_core::hub::{self, Hub, Registry, SNAPSHOT_VERSION};
use edgempi_core::request::CallCode;
use edgempi_core::wire::{
    Blocked, Cancel, Complete, Credit, Data, Down, Fail, Goodbye, GoodbyeReason, Inquire, Layout, MAGIC, MAX_HEAD_LEN,
    PREFIX_LEN, Part, Ping, Prefix, Reject, SnapshotPiece, Submit, Up, VERSION, Welcome, Withdraw,
};
use edgempi_core::{Category, Instant, Payload, RequestId, SplitResult};
use half::{bf16, f16};

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

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// The truth most of the time, or something near it, or something far from it.
    fn near(&mut self, truth: u64) -> u64 {
        match self.below(8) {
            0 => truth.wrapping_add(1),
            1 => truth.wrapping_sub(1),
            2 => self.next() >> self.below(64),
            _ => truth,
        }
    }
}

fn send(stream: &mut TcpStream, frame: Down, payload: &[u8]) -> std::io::Result<()> {
    let mut head = [0; MAX_HEAD_LEN];
    let len = frame.encode(payload.len() as u32, &mut head);
    // At once, or the system would hold the payload back until somebody acknowledges the head.
    stream.write_all(&[&head[..len], payload].concat())
}

fn receive(stream: &mut TcpStream) -> std::io::Result<(Option<Up>, Vec<u8>)> {
    let mut prefix = [0; PREFIX_LEN];
    stream.read_exact(&mut prefix)?;
    let prefix = Prefix::decode(prefix);
    let mut header = vec![0; prefix.header_len.into()];
    stream.read_exact(&mut header)?;
    let mut payload = vec![0; prefix.payload_len as usize];
    stream.read_exact(&mut payload)?;
    Ok((Up::decode(prefix.kind, &header).expect("the rank is honest"), payload))
}

fn complete(request: RequestId, sequence: u32, layout: Layout, bytes: u64) -> Complete {
    let (source, tag) = (Rank::new(1), Tag(0));
    Complete { request, sequence, acknowledged: 0, layout, source, tag, bytes, queue_limit: 1 << 20 }
}

/// Receives with this tag are answered once their rank takes them back, or says that it waits for them.
const PATIENT: Tag = Tag(9);

fn welcome() -> Welcome {
    Welcome {
        version: VERSION,
        session: 1,
        incarnation: 1,
        max_payload: 4096,
        max_message: 1 << 20,
        max_requests: 100,
        queue_size: 1 << 20,
        max_silence: 20_000,
    }
}

/// Serves one rank until it has had enough of the lies.
fn lie(mut stream: TcpStream, mut liar: Liar) -> std::io::Result<()> {
    let (mut sequence, mut patient) = (0, Vec::new());
    loop {
        let (frame, _) = receive(&mut stream)?;
        match frame {
            Some(Up::Hello(_)) => send(&mut stream, Down::Welcome(welcome()), &[])?,
            Some(Up::Submit(submit)) if submit.call == CallCode::Barrier as u8 => {
                sequence += 1;
                send(&mut stream, Down::Complete(complete(submit.request, sequence, Layout::Empty, 0)), &[])?;
            }
            Some(Up::Submit(submit)) if submit.call == CallCode::Recv as u8 && submit.tag == PATIENT => {
                patient.push(submit);
            }
            Some(Up::Submit(submit)) => answer(&mut stream, &mut liar, &mut sequence, submit)?,
            Some(Up::Withdraw(Withdraw { request }) | Up::Cancel(Cancel { request })) => {
                for submit in patient.extract_if(.., |submit| submit.request == request) {
                    give_back(&mut stream, &mut liar, &mut sequence, submit, Category::Cancelled)?;
                }
            }
            Some(Up::Blocked(Blocked { request })) => {
                for submit in patient.extract_if(.., |submit| submit.request == request) {
                    give_back(&mut stream, &mut liar, &mut sequence, submit, Category::Deadlock)?;
                }
            }
            _ => {}
        }
    }
}

/// What a receive that nobody serves comes to; or a message, which nobody has sent.
fn give_back(
    stream: &mut TcpStream,
    liar: &mut Liar,
    sequence: &mut u32,
    submit: Submit,
    category: Category,
) -> std::io::Result<()> {
    if liar.below(3) == 0 {
        return answer(stream, liar, sequence, submit);
    }
    *sequence += 1;
    let fail = Fail {
        request: submit.request,
        sequence: *sequence,
        acknowledged: 0,
        category,
        rank: Rank::new(liar.near(0) as u32),
        count: liar.near(1) as u32,
        len: liar.near(0),
        max: liar.near(0),
        queue_limit: liar.near(0),
    };
    let reason = liar.bytes(20);
    send(stream, Down::Fail(fail), &reason)
}

/// A frame that nobody has asked for.
fn digress(stream: &mut TcpStream, liar: &mut Liar) -> std::io::Result<()> {
    let (len, offset) = (liar.near(0) as u32, liar.near(0) as u32);
    let payload = vec![7; liar.below(40) as usize];
    match liar.below(8) {
        0 => send(stream, Down::Snapshot(SnapshotPiece { version: SNAPSHOT_VERSION, offset, len }), &payload),
        1 => send(stream, Down::Goodbye(Goodbye { reason: GoodbyeReason::Shutdown }), &payload),
        2 => send(stream, Down::Ping(Ping { acknowledged: len }), &payload),
        3 => send(stream, Down::Pong(Ping { acknowledged: len }), &payload),
        4 => {
            send(stream, Down::Credit(Credit { request: RequestId::NONE, part: len, limit: liar.next(), len: 0 }), &[])
        }
        _ => {
            // Of a kind that a later version may know, or that means nothing to anybody.
            let kind = if liar.below(3) == 0 { liar.next() as u8 } else { 0x80 | liar.next() as u8 };
            let header = vec![0; liar.below(20) as usize];
            let payload_len = (payload.len() as u32).to_le_bytes();
            stream.write_all(&[&[kind, header.len() as u8], &payload_len[..], &header, &payload].concat())
        }
    }
}

/// The answer to a call that receives nothing: it is done, or a probe has found something.
fn answer_without_bytes(
    stream: &mut TcpStream,
    liar: &mut Liar,
    sequence: &mut u32,
    submit: Submit,
) -> std::io::Result<()> {
    let request = submit.request;
    if submit.send > 0 && liar.below(2) == 0 {
        let (part, len) = (liar.near(0) as u32, liar.near(submit.send));
        send(stream, Down::Credit(Credit { request, part, limit: liar.near(len), len }), &[])?;
    }
    let is_probe = matches!(
        CallCode::from_code(submit.call),
        Some(CallCode::Probe | CallCode::Iprobe | CallCode::Mprobe | CallCode::Improbe)
    );
    *sequence += 1;
    let (source, tag) = (Rank::new(liar.near(1) as u32), Tag(liar.near(0) as u32));
    let source = if liar.below(6) == 0 { Status::NOBODY } else { source };
    let bytes = if is_probe { liar.near(3000) } else { u64::from(liar.below(20) == 0) };
    let layout = [Layout::Single, Layout::Equal, Layout::Varied].get(liar.below(60) as usize).copied();
    let layout = layout.unwrap_or(Layout::Empty);
    send(stream, Down::Complete(Complete { source, tag, ..complete(request, *sequence, layout, bytes) }), &[])
}

/// A result that may be wrong in any number.
fn answer(stream: &mut TcpStream, liar: &mut Liar, sequence: &mut u32, submit: Submit) -> std::io::Result<()> {
    if liar.below(30) == 0 {
        digress(stream, liar)?;
    }
    let request = submit.request;
    if submit.receive == 0 && liar.below(4) > 0 {
        return answer_without_bytes(stream, liar, sequence, submit);
    }
    let total = submit.receive.min(3000);
    let len = liar.near(total).min(100_000);
    if liar.below(3) == 0 {
        let part = liar.near(0) as u32;
        send(stream, Down::Part(Part { request, part, len: liar.near(total) }), &[])?;
        let mut offset = 0;
        while offset < len {
            let n = (1 + liar.below(len - offset)).min(2000);
            let payload = liar.bytes(n as usize);
            send(stream, Down::Data(Data { request, part, offset: liar.near(offset) }), &payload)?;
            offset += n;
        }
        if liar.below(4) == 0 {
            let credit = Credit { request, part: liar.near(0) as u32, limit: liar.near(10), len: liar.near(10) };
            send(stream, Down::Credit(credit), &[])?;
        }
        *sequence += 1;
        send(stream, Down::Complete(complete(request, *sequence, Layout::Empty, liar.near(len))), &[])?;
        return Ok(());
    }
    *sequence = sequence.wrapping_add(1).wrapping_add((liar.below(20) == 0).into());
    if liar.below(10) == 0 {
        let (rank, category) = (Rank::new(liar.next() as u32), Category::Remote);
        let fail = Fail {
            request,
            sequence: *sequence,
            acknowledged: 0,
            category,
            rank,
            count: 1,
            len: liar.next(),
            max: liar.next(),
            queue_limit: liar.next(),
        };
        let reason = liar.bytes(50);
        return send(stream, Down::Fail(fail), &reason);
    }
    if submit.call == CallCode::Split as u8 {
        let (rank, size) = (Rank::new(liar.near(0) as u32), liar.near(2) as u32);
        let payload = SplitResult { id: 5, rank, size }.to_bytes();
        return send(stream, Down::Complete(complete(request, *sequence, Layout::Single, 16)), &payload);
    }
    let layout = match liar.below(12) {
        0 => Layout::Equal,
        1 => Layout::Varied,
        2 => Layout::Empty,
        _ => Layout::Single,
    };
    let payload = liar.bytes(len as usize);
    let bytes = liar.near(len);
    send(stream, Down::Complete(complete(request, *sequence, layout, bytes)), &payload)
}

/// Rank 0 of 3 at the hub of a liar.
fn deceived(address: SocketAddr) -> Result<edgempi::World, Error> {
    let config = Config::new().addr(address.to_string()).size(3).rank(0).wait(Duration::from_secs(20));
    // It tells the hub of each wait.
    let config = config.threads(Threads::Single);
    Builder::new().config(config).init().wait()
}

/// Looks at every bit of what came.
fn look<T: Element>(elements: &[T]) -> u64 {
    let bytes = zerocopy::IntoBytes::as_bytes(elements);
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

/// How many calls got a value, and how many an error.
#[derive(Debug, Default)]
struct Tally {
    values: u32,
    errors: u32,
}

impl Tally {
    fn count<T>(&mut self, request: Request<'_, T>) -> Option<T> {
        let result = request.wait();
        if result.is_ok() {
            self.values += 1
        } else {
            self.errors += 1
        }
        result.ok()
    }

    /// Counts a call of which nobody uses what came.
    fn value<T>(&mut self, request: Request<'_, T>) {
        self.count(request);
    }

    fn look_at<T: Element>(&mut self, request: Request<'_, Vec<T>>) {
        if let Some(came) = self.count(request) {
            look(&came);
        }
    }
}

/// Calls of which each has a turn to be the first, because no call is answered after a lie that ends the link.
type Calls<'c> = &'c [fn(&Comm, &mut Tally)];

fn zeros<T: Element>() -> Vec<T> {
    vec![zerocopy::FromZeros::new_zeroed(); 9]
}

/// In memory of the caller's, what comes is as long as that.
fn in_place<T: Element>(tally: &mut Tally, call: impl for<'m> FnOnce(&'m mut [T]) -> Request<'m, ()>) {
    let mut into: Vec<T> = zeros();
    tally.count(call(&mut into));
    look(&into);
}

fn calls<T: Element>() -> Vec<fn(&Comm, &mut Tally)> {
    let mut calls: Vec<fn(&Comm, &mut Tally)> = vec![
        |comm, tally| {
            let mut into: Vec<T> = zeros();
            let room = size_of_val(into.as_slice());
            if let Some(status) = tally.count(comm.recv_into(1, 0, &mut into)) {
                assert!(status.bytes <= room);
            }
            look(&into);
        },
        |comm, tally| tally.look_at(comm.recv::<T>(1, 0).map(|(came, _)| came)),
        |comm, tally| tally.look_at(comm.bcast(1, zeros::<T>())),
        |comm, tally| tally.look_at(comm.allgather(zeros::<T>())),
        |comm, tally| tally.look_at(comm.alltoall(zeros::<T>())),
        |comm, tally| tally.look_at(comm.scatter::<T>(1, None)),
        |comm, tally| tally.look_at(comm.scatterv::<T>(1, None)),
        |comm, tally| tally.look_at(comm.gather(0, zeros::<T>()).map(Option::unwrap_or_default)),
        |comm, tally| tally.look_at(comm.gatherv(0, zeros::<T>()).map(|blocks| blocks.unwrap_or_default().concat())),
        |comm, tally| tally.look_at(comm.allgatherv(zeros::<T>()).map(|blocks| blocks.concat())),
        |comm, tally| tally.look_at(comm.alltoallv(vec![zeros::<T>(); 3]).map(|blocks| blocks.concat())),
        |comm, tally| in_place::<T>(tally, |into| comm.alltoall_in_place(into)),
        |comm, tally| in_place::<T>(tally, |into| comm.allgather_in_place(into)),
        |comm, tally| in_place::<T>(tally, |into| comm.gather_in_place(0, into)),
        |comm, tally| in_place::<T>(tally, |into| comm.scatter_in_place(1, into)),
        |comm, tally| {
            tally.count(comm.ssend(1, 0, zeros::<T>()));
            tally.count(comm.ssend(1, 0, vec![<T as zerocopy::FromZeros>::new_zeroed(); 9000]));
            tally.count(comm.rsend(2, 0, zeros::<T>()));
        },
        |comm, tally| {
            let mut into: Vec<T> = zeros();
            tally.count(comm.sendrecv_replace(1, 0, 2, ANY_TAG, &mut into));
            look(&into);
        },
        |comm, tally| {
            if let Some(status) = tally.count(comm.probe(ANY_SOURCE, 0)) {
                assert_eq!(status.count::<T>().is_some(), status.bytes % size_of::<T>() == 0);
            }
            tally.count(comm.iprobe(1, ANY_TAG));
        },
        |comm, tally| {
            let Some(message) = tally.count(comm.mprobe(ANY_SOURCE, ANY_TAG)) else { return };
            tally.look_at(message.recv::<T>().map(|(came, _)| came));
            let Some(Some(message)) = tally.count(comm.improbe(1, 0)) else { return };
            let mut into: Vec<T> = zeros();
            tally.count(message.recv_into(&mut into));
            look(&into);
            // One that is dropped is received and thrown away.
            tally.count(comm.mprobe(1, 0));
        },
        |comm, tally| {
            let cancelled = comm.recv::<T>(1, PATIENT).cancel();
            tally.look_at(cancelled.map(|came| came.map(|(came, _)| came).unwrap_or_default()));
        },
        |comm, tally| tally.look_at(comm.recv::<T>(1, PATIENT).map(|(came, _)| came)),
        |comm, tally| {
            let mut receives = [comm.recv_init::<T>(1, 0, zeros()), comm.recv_init(ANY_SOURCE, 1, zeros())];
            start_all(&mut receives).expect("they are idle");
            for receive in &mut receives {
                tally.count(receive.request());
                look(receive.buffer().map(Vec::as_slice).unwrap_or_default());
            }
        },
        |comm, tally| {
            let mut gather = comm.allgather_init(zeros::<T>());
            gather.start().expect("it is idle");
            tally.count(gather.request());
            if let Some(buffers) = gather.buffer() {
                look(&buffers.receive);
            }
        },
    ];
    if T::DATATYPE.accepts(Max) {
        calls.extend([
            (|comm, tally| tally.look_at(comm.allreduce(zeros::<T>(), Max))) as fn(&Comm, &mut Tally),
            |comm, tally| tally.look_at(comm.reduce(0, zeros::<T>(), Max).map(Option::unwrap_or_default)),
            |comm, tally| tally.look_at(comm.reduce_scatter_block(zeros::<T>(), Max)),
            |comm, tally| tally.look_at(comm.reduce_scatter(zeros::<T>(), &[4, 0, 5], Max)),
            |comm, tally| in_place::<T>(tally, |into| comm.reduce_scatter_in_place(into, &[2, 7, 0], Max)),
            |comm, tally| tally.look_at(comm.scan(zeros::<T>(), Max)),
            |comm, tally| in_place::<T>(tally, |into| comm.scan_in_place(into, Max)),
            |comm, tally| tally.look_at(comm.exscan(zeros::<T>(), Max).map(Option::unwrap_or_default)),
        ]);
    }
    calls
}

const OBJECTS: Calls<'_> = &[
    |comm, tally| tally.value(comm.objects().recv::<(String, Vec<Option<i32>>)>(1, 0)),
    |comm, tally| tally.value(comm.objects().bcast::<Vec<String>>(1, None)),
    |comm, tally| tally.value(comm.objects().gather(0, &"some text".to_owned())),
    |comm, tally| tally.value(comm.objects().allgather(&"some text".to_owned())),
    |comm, tally| tally.value(comm.objects().alltoall(&[1u64, 2, 3])),
    |comm, tally| tally.value(comm.objects().scatter::<f64>(1, None)),
    |comm, tally| tally.value(comm.objects().allreduce(7u8, Sum)),
    |comm, tally| tally.value(comm.objects().allreduce(7u8, |a: u8, b: u8| a.wrapping_add(b))),
    |comm, tally| tally.value(comm.objects().reduce_scatter(vec![1u16; 6], &[1, 2, 3], Sum)),
    |comm, tally| {
        tally.count(comm.objects().reduce_scatter(vec![1u16; 6], &[1, 2, 3], |a: u16, b: u16| a.wrapping_add(b)));
    },
    |comm, tally| tally.value(comm.objects().scan(7u32, Sum)),
    |comm, tally| tally.value(comm.objects().exscan("b".to_owned(), |a: String, b: String| a + &b)),
    |comm, tally| {
        let Some(message) = tally.count(comm.mprobe(1, 0)) else { return };
        tally.count(message.recv_object::<Vec<(u8, String)>>());
    },
    |comm, tally| tally.value(comm.objects().sendrecv::<_, [u16; 4]>(1, 0, "text", 2, ANY_TAG)),
];

const SPLITS: Calls<'_> = &[
    |comm, tally| {
        let Some(Some(part)) = tally.count(comm.split(Some(0), 0)) else { return };
        assert!(part.rank() < part.size() && part.size() <= comm.size(), "{part:?}");
        tally.look_at(part.allgather([1u8]));
        tally.count(part.objects().scatter(part.rank(), Some(vec![1u8; part.size() as usize])));
    },
    |comm, tally| {
        let Some(Some(part)) = tally.count(comm.split_type(SplitType::Machine, -1)) else { return };
        let Some(group) = tally.count(part.group()) else { return };
        assert_eq!(group.size(), part.size());
        tally.count(comm.create(&group));
        tally.count(part.compare(comm));
    },
    |comm, tally| {
        let Some(Some(grid)) = tally.count(comm.cart(&[3], &[true])) else { return };
        tally.count(grid.neighbor_allgather([1u16, 2]));
        tally.count(grid.objects().neighbor_alltoall(&["one".to_owned(), "other".to_owned()]));
        tally.count(grid.sub(&[false]));
    },
    |comm, tally| {
        let Some(graph) = tally.count(comm.dist_graph_adjacent(&[1, 2, 2], &[1])) else { return };
        tally.count(graph.neighbor_alltoallv(vec![vec![1u32; 5]]));
    },
];

/// Rank 0 makes all these calls at a liar of each seed, beginning with another one each time.
fn against_liars(seeds: std::ops::Range<u64>, calls: Calls<'_>) {
    let mut tally = Tally::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    for seed in seeds {
        thread::scope(|scope| {
            // The liar stops when the rank hangs up.
            scope.spawn(|| {
                let (stream, _) = listener.accept().expect("the rank connects");
                let _ = lie(stream, Liar(seed));
            });
            let world = deceived(address).expect("the liar is honest until the rank is in");
            let first = seed as usize % calls.len();
            for call in calls[first..].iter().chain(&calls[..first]) {
                call(&world.comm(), &mut tally);
            }
        });
    }
    assert!(tally.values > 0 && tally.errors > 0, "{tally:?}: some lies pass, some do not");
}

/// Lets a rank in, tells it to go, and hangs up without reading what it says.
fn turn_away(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        match receive(&mut stream)?.0 {
            Some(Up::Hello(_)) => {
                let welcome = Welcome { max_requests: 100_000, queue_size: 1 << 40, ..welcome() };
                send(&mut stream, Down::Welcome(welcome), &[])?;
            }
            Some(Up::Submit(submit)) if submit.call == CallCode::Barrier as u8 => {
                send(&mut stream, Down::Complete(complete(submit.request, 1, Layout::Empty, 0)), &[])?;
            }
            Some(Up::Submit(_)) => {
                // The rank is in the middle of something.
                receive(&mut stream)?;
                let reject = Reject { category: Category::Timeout, len: 0, max: 0 };
                return send(&mut stream, Down::Reject(reject), b"that is enough");
            }
            _ => {}
        }
    }
}

#[test]
fn a_rank_hears_why_it_has_to_go_although_it_can_not_say_anything_any_more() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    for _ in 0..20 {
        thread::scope(|scope| {
            scope.spawn(|| turn_away(listener.accept().expect("the rank connects").0));
            let world = deceived(address).expect("it is let in");
            let comm = world.comm();
            let error = loop {
                if let Err(error) = comm.send(1, 0, [0u8; 3000]).wait() {
                    break error;
                }
            };
            assert!(matches!(&error, Error::Refused { reason, .. } if reason == "that is enough"), "{error:?}");
        });
    }
}

macro_rules! every_datatype {
    ($($name:ident: $type:ty,)*) => {$(
        #[test]
        fn $name() {
            against_liars(0..60, &calls::<$type>());
        }
    )*};
}

every_datatype! {
    lies_in_u8: u8,
    lies_in_u16: u16,
    lies_in_u32: u32,
    lies_in_u64: u64,
    lies_in_i8: i8,
    lies_in_i16: i16,
    lies_in_i32: i32,
    lies_in_i64: i64,
    lies_in_f16: f16,
    lies_in_bf16: bf16,
    lies_in_f32: f32,
    lies_in_f64: f64,
    lies_in_truth_values: Logical,
    lies_in_values_with_index: Located<f64>,
    lies_in_small_values_with_index: Located<u8>,
}

#[test]
fn lies_about_new_communicators() {
    against_liars(0..200, SPLITS);
}

#[test]
fn lies_in_objects() {
    against_liars(0..300, OBJECTS);
}

/// What an honest hub says to somebody who asks how its world is.
fn honest_report() -> Vec<(Down, Vec<u8>)> {
    let now = Instant::from_micros(1);
    let mut hub = Hub::new(now, hub::Config::new(2), Registry::new());
    let peer = hub.connect(now);
    let mut head = [0; MAX_HEAD_LEN];
    let len = Up::Inquire(Inquire { magic: MAGIC, version: VERSION }).encode(0, &mut head);
    let (prefix, header) = head[..len].split_first_chunk().expect("a head");
    hub.handle_frame(now, peer, Prefix::decode(*prefix), header, Payload::new());
    let frames = std::iter::from_fn(|| hub.poll_transmit(peer));
    frames.map(|(frame, payload)| (frame, payload.to_vec())).collect()
}

/// Tells one who asks how the world is something near the truth, or far from it.
fn misreport(mut stream: TcpStream, mut liar: Liar) -> std::io::Result<()> {
    receive(&mut stream)?;
    for (frame, mut payload) in honest_report() {
        let at = liar.below(payload.len() as u64 + 1) as usize;
        match liar.below(6) {
            0 => payload.truncate(at),
            1 => payload.insert(at, liar.next() as u8),
            // The largest number that there is, in postcard.
            2 | 3 if at < payload.len() => drop(payload.splice(at..=at, [[0xff; 9].as_slice(), &[1]].concat())),
            _ => {}
        }
        let frame = match frame {
            Down::Snapshot(SnapshotPiece { version, offset, len }) => Down::Snapshot(SnapshotPiece {
                version: if liar.below(20) == 0 { liar.next() as u16 } else { version },
                offset: if liar.below(10) == 0 { liar.next() as u32 } else { offset },
                len: liar.near(len.into()) as u32,
            }),
            frame => frame,
        };
        if liar.below(20) == 0 {
            digress(&mut stream, &mut liar)?;
        }
        if liar.below(20) > 0 {
            send(&mut stream, frame, &payload)?;
        }
    }
    Ok(())
}

#[test]
fn lies_about_how_the_world_is() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let config = Config::new().addr(address).size(2).rank(0).wait(Duration::from_secs(20));
    let (mut reports, mut errors) = (0, 0);
    for seed in 0..400 {
        thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, _) = listener.accept().expect("somebody asks");
                let _ = misreport(stream, Liar(seed));
            });
            match edgempi::hub::snapshot(&config) {
                // Whatever it says can be printed.
                Ok(snapshot) => reports += usize::from(!snapshot.to_string().is_empty()),
                Err(error) => errors += usize::from(!error.to_string().is_empty()),
            }
        });
    }
    assert!(reports > 0 && errors > 0, "{reports} reports, {errors} errors");
}
