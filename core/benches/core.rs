//! What the hot paths of the protocol take by themselves, without any link.
//!
//!     cargo bench --package edgempi-core
//!
//! `frames`: heads there and back; `matching`: whole calls through endpoints and a hub in one thread; `folds`: the
//! arithmetic of reductions beside plain copies of as many bytes.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

mod frames {
    use edgempi_core::wire::{Complete, Credit, Data, Down, Layout, MAX_HEAD_LEN, PREFIX_LEN, Prefix};
    use edgempi_core::{Rank, RequestId, Tag};

    use super::*;

    #[divan::bench]
    fn encode_data(bencher: Bencher<'_, '_>) {
        let data = Data { request: RequestId::NONE, part: 3, offset: 1 << 20 };
        bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
            let mut head = [0; MAX_HEAD_LEN];
            black_box(Down::Data(black_box(data)).encode(256 * 1024, &mut head));
            head
        });
    }

    fn decode(bencher: Bencher<'_, '_>, frame: Down) {
        let mut head = [0; MAX_HEAD_LEN];
        let len = frame.encode(0, &mut head);
        bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
            let (prefix, header) = black_box(&head[..len]).split_first_chunk::<PREFIX_LEN>().expect("it has a prefix");
            Down::decode(Prefix::decode(*prefix).kind, header).expect("it was encoded here")
        });
    }

    #[divan::bench]
    fn decode_data(bencher: Bencher<'_, '_>) {
        decode(bencher, Down::Data(Data { request: RequestId::NONE, part: 3, offset: 1 << 20 }));
    }

    #[divan::bench]
    fn decode_credit(bencher: Bencher<'_, '_>) {
        decode(bencher, Down::Credit(Credit { request: RequestId::NONE, part: 3, limit: 1 << 20, len: 1 << 21 }));
    }

    #[divan::bench]
    fn decode_complete(bencher: Bencher<'_, '_>) {
        let complete = Complete {
            request: RequestId::NONE,
            layout: Layout::Single,
            source: Rank::new(1),
            tag: Tag(7),
            bytes: 8,
            sequence: 5,
            acknowledged: 4,
            queue_limit: 1 << 20,
        };
        decode(bencher, Down::Complete(complete));
    }
}

mod matching {
    use edgempi_core::endpoint::{Config, Event, Incoming, Reach};
    use edgempi_core::hub::{self, Hub, PeerId, Registry};
    use edgempi_core::request::{CommunicatorId, NameIds, Receive, Sent, Slot, Submission};
    use edgempi_core::wire::{MAX_HEAD_LEN, PREFIX_LEN, Prefix};
    use edgempi_core::{Call, Datatype, Endpoint, Instant, Payload, Rank, ReduceOp};

    use super::*;

    /// Ranks and their hub, with no link but a loop.
    struct World {
        hub: Hub,
        ranks: Vec<(Endpoint<[Slot; 4]>, PeerId)>,
        /// Collectives so far.
        count: u32,
    }

    fn split(head: &[u8]) -> (Prefix, &[u8]) {
        let (prefix, header) = head.split_first_chunk::<PREFIX_LEN>().expect("a frame has a prefix");
        (Prefix::decode(*prefix), header)
    }

    impl World {
        fn new(size: u32) -> Self {
            let mut hub = Hub::new(Instant::ZERO, hub::Config::new(size), Registry::new());
            let rank = |rank| {
                let config = Config::host(Rank::new(rank), size);
                (Endpoint::new(Instant::ZERO, config, [Slot::FREE; 4]), hub.connect(Instant::ZERO))
            };
            let ranks = (0..size).map(rank).collect();
            let mut world = Self { hub, ranks, count: 0 };
            // All join.
            world.call(Call::Barrier, 0);
            world
        }

        /// One collective of all ranks, on as many bytes.
        fn call(&mut self, call: Call<'_>, len: usize) {
            let size = self.ranks.len() as u32;
            for (rank, (endpoint, _)) in (0..).zip(&mut self.ranks) {
                let world = CommunicatorId { id: 0, rank: Rank::new(rank), size };
                let (sent, receive) = (Sent::Equal(len), Receive::Exactly(len));
                let names = NameIds::default();
                let submission =
                    Submission::new(world, &call, Datatype::F32, sent, receive, len > 0, names, self.count);
                endpoint.submit(&submission.expect("a call that can be")).expect("a slot is free");
            }
            self.count += 1;
            let (now, mut done, mut head) = (Instant::ZERO, 0, [0; MAX_HEAD_LEN]);
            while done < size {
                for (endpoint, peer) in &mut self.ranks {
                    while let Some(outgoing) = endpoint.poll_transmit(now, &mut head, Reach::Everything, |_| 0) {
                        let len = outgoing.payload.map_or(0, |(_, len)| len);
                        let (prefix, header) = split(&head[..outgoing.head_len]);
                        let payload = if len == 0 { Payload::new() } else { vec![0; len].into() };
                        self.hub.handle_frame(now, *peer, prefix, header, payload);
                    }
                }
                while let Some(work) = self.hub.poll_work() {
                    self.hub.finish_work(now, work.run());
                }
                while let Some(peer) = self.hub.poll_peer() {
                    let (endpoint, _) = self.ranks.iter_mut().find(|(_, its)| *its == peer).expect("it is a rank");
                    while let Some((frame, payload)) = self.hub.poll_transmit(peer) {
                        let len = frame.encode(payload.len() as u32, &mut head);
                        let (prefix, header) = split(&head[..len]);
                        let incoming = endpoint.handle_frame(now, prefix, header).expect("an honest hub");
                        black_box(matches!(incoming, Incoming::Result { .. }));
                        while let Some(event) = endpoint.poll_event() {
                            done += u32::from(matches!(event, Event::Complete { .. }));
                        }
                    }
                }
            }
        }
    }

    #[divan::bench(args = [2, 4, 16, 64])]
    fn barrier(bencher: Bencher<'_, '_>, size: u32) {
        let mut world = World::new(size);
        bencher.counter(ItemsCount::new(size)).bench_local(|| world.call(Call::Barrier, 0));
    }

    #[divan::bench(args = [2, 4, 16, 64])]
    fn allreduce_of_8_bytes(bencher: Bencher<'_, '_>, size: u32) {
        let mut world = World::new(size);
        bencher.counter(ItemsCount::new(size)).bench_local(|| world.call(Call::Allreduce { op: ReduceOp::Sum }, 8));
    }
}

/// Bytes read and written are what is counted, so that all of them can be compared.
mod folds {
    use edgempi_core::operation::{BuiltinFold, Fold, Input, fold_range, scratch_len};
    use edgempi_core::{Datatype, ReduceOp};

    use super::*;

    const SIZES: [usize; 2] = [256 * 1024, 16 << 20];

    /// Two read or written for each byte: the least that moves bytes.
    #[divan::bench(args = SIZES)]
    fn copy(bencher: Bencher<'_, '_>, len: usize) {
        let (from, mut to) = (vec![1u8; len], vec![0u8; len]);
        bencher.counter(BytesCount::new(2 * len)).bench_local(|| black_box(&mut to).copy_from_slice(black_box(&from)));
    }

    /// The plain loop over two slices of floats, which reads both and writes one: three for each byte.
    #[divan::bench(args = SIZES)]
    fn plain_sum_f32(bencher: Bencher<'_, '_>, len: usize) {
        let (right, mut left) = (vec![1f32; len / 4], vec![0f32; len / 4]);
        bencher.counter(BytesCount::new(3 * len)).bench_local(|| {
            for (left, right) in black_box(&mut left).iter_mut().zip(black_box(&right)) {
                *left += *right;
            }
        });
    }

    fn combine(bencher: Bencher<'_, '_>, datatype: Datatype, op: ReduceOp, len: usize) {
        let fold = BuiltinFold::new(datatype, op).expect("it is defined");
        let (right, mut left) = (vec![0u8; len], vec![0u8; len]);
        bencher.counter(BytesCount::new(3 * len)).bench_local(|| fold.combine(black_box(&mut left), black_box(&right)));
    }

    #[divan::bench(args = SIZES)]
    fn sum_f32(bencher: Bencher<'_, '_>, len: usize) {
        combine(bencher, Datatype::F32, ReduceOp::Sum, len);
    }

    #[divan::bench(args = SIZES)]
    fn sum_f64(bencher: Bencher<'_, '_>, len: usize) {
        combine(bencher, Datatype::F64, ReduceOp::Sum, len);
    }

    #[divan::bench(args = SIZES)]
    fn max_f32(bencher: Bencher<'_, '_>, len: usize) {
        combine(bencher, Datatype::F32, ReduceOp::Max, len);
    }

    #[divan::bench(args = SIZES)]
    fn sum_u8(bencher: Bencher<'_, '_>, len: usize) {
        combine(bencher, Datatype::U8, ReduceOp::Sum, len);
    }

    #[divan::bench(args = SIZES)]
    fn sum_bf16(bencher: Bencher<'_, '_>, len: usize) {
        combine(bencher, Datatype::BF16, ReduceOp::Sum, len);
    }

    /// As the hub does it: block by block, up the tree. Each of four ranks' bytes is read, and one result written.
    #[divan::bench(args = SIZES)]
    fn range_of_four_ranks_f32(bencher: Bencher<'_, '_>, len: usize) {
        let fold = BuiltinFold::new(Datatype::F32, ReduceOp::Sum).expect("it is defined");
        let inputs: Vec<[Vec<u8>; 1]> = (0..4).map(|_| [vec![0u8; len]]).collect();
        let (mut out, mut scratch) = (vec![0u8; len], vec![0u8; scratch_len(&fold, 4)]);
        bencher.counter(BytesCount::new(5 * len)).bench_local(|| {
            let mut readers: Vec<Input<'_, Vec<u8>>> = inputs.iter().map(|input| Input::new(input, 0)).collect();
            fold_range(&fold, &mut readers, black_box(&mut out), &mut scratch);
        });
    }
}
