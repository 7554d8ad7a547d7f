//! A hub that lies to its rank: whatever it sends, in whatever datatype, the rank gets a value or an error, and its
//! memory stays sound (this test also runs under AddressSanitizer).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use edgempi::{Builder, Comm, Config, Element, Error, Located, Logical, Max, Rank, Request, Sum, Tag};
use edgempi_core::wire::{
    Complete, Credit, Data, Down, Fail, Layout, MAX_HEAD_LEN, PREFIX_LEN, Part, Prefix, Reject, Submit, Up, Welcome,
};
use edgempi_core::{Category, request::CallCode};
use edgempi_core::{RequestId, SplitResult};
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

/// Serves one rank until it has had enough of the lies.
fn lie(mut stream: TcpStream, mut liar: Liar) -> std::io::Result<()> {
    let mut sequence = 0;
    loop {
        let (frame, _) = receive(&mut stream)?;
        match frame {
            Some(Up::Hello(_)) => {
                let welcome = Welcome {
                    version: edgempi_core::wire::VERSION,
                    session: 1,
                    incarnation: 1,
                    max_payload: 4096,
                    max_message: 1 << 20,
                    max_requests: 100,
                    queue_size: 1 << 20,
                    max_silence: 20_000,
                };
                send(&mut stream, Down::Welcome(welcome), &[])?;
            }
            Some(Up::Submit(submit)) if submit.call == CallCode::Barrier as u8 => {
                sequence += 1;
                send(&mut stream, Down::Complete(complete(submit.request, sequence, Layout::Empty, 0)), &[])?;
            }
            Some(Up::Submit(submit)) => answer(&mut stream, &mut liar, &mut sequence, submit)?,
            _ => {}
        }
    }
}

/// A result that may be wrong in any number.
fn answer(stream: &mut TcpStream, liar: &mut Liar, sequence: &mut u32, submit: Submit) -> std::io::Result<()> {
    let request = submit.request;
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

    fn look_at<T: Element>(&mut self, request: Request<'_, Vec<T>>) {
        if let Some(came) = self.count(request) {
            look(&came);
        }
    }
}

fn calls<T: Element>(comm: &Comm, tally: &mut Tally) {
    let zeros = || vec![zerocopy::FromZeros::new_zeroed(); 9];
    let mut into: Vec<T> = zeros();
    let room = size_of_val(into.as_slice());
    if let Some(status) = tally.count(comm.recv_into(1, 0, &mut into)) {
        assert!(status.bytes <= room);
    }
    look(&into);
    tally.look_at(comm.recv::<T>(1, 0).map(|(came, _)| came));
    tally.look_at(comm.bcast(1, zeros()));
    tally.look_at(comm.allgather(zeros()));
    tally.look_at(comm.alltoall(zeros()));
    tally.look_at(comm.scatter::<T>(1, None));
    if T::DATATYPE.accepts(Max) {
        tally.look_at(comm.allreduce(zeros(), Max));
    }
}

fn objects(comm: &Comm, tally: &mut Tally) {
    let objects = comm.objects();
    tally.count(objects.recv::<(String, Vec<Option<i32>>)>(1, 0));
    tally.count(objects.bcast::<Vec<String>>(1, None));
    tally.count(objects.allgather(&"some text".to_owned()));
    tally.count(objects.alltoall(&[1u64, 2, 3]));
    tally.count(objects.scatter::<f64>(1, None));
    tally.count(objects.allreduce(7u8, Sum));
}

fn splits(comm: &Comm, tally: &mut Tally) {
    let Some(Some(part)) = tally.count(comm.split(Some(0), 0)) else { return };
    assert!(part.rank() < part.size() && part.size() <= comm.size(), "{part:?}");
    tally.look_at(part.allgather([1u8]));
    tally.count(part.objects().scatter(part.rank(), Some(vec![1u8; part.size() as usize])));
}

fn against_liars(seeds: std::ops::Range<u64>, calls: impl Fn(&Comm, &mut Tally)) {
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
            calls(&world.comm(), &mut tally);
        });
    }
    assert!(tally.values > 0 && tally.errors > 0, "{tally:?}: some lies pass, some do not");
}

/// Lets a rank in, tells it to go, and hangs up without reading what it says.
fn turn_away(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        match receive(&mut stream)?.0 {
            Some(Up::Hello(_)) => {
                let welcome = Welcome {
                    version: edgempi_core::wire::VERSION,
                    session: 1,
                    incarnation: 1,
                    max_payload: 4096,
                    max_message: 1 << 20,
                    max_requests: 100_000,
                    queue_size: 1 << 40,
                    max_silence: 20_000,
                };
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
            against_liars(0..40, calls::<$type>);
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
    against_liars(0..200, splits);
}

#[test]
fn lies_in_objects() {
    against_liars(0..200, objects);
}
