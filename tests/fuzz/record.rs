//! Writes the beginning of the corpus: what ranks and a hub say to each other in real sessions, for the targets that take
//! frames as they are; for the others, whose bytes are choices, some from a seed.
//!
//!     cargo run --package edgempi-fuzz --bin record -- tests/fuzz/corpus

use std::fs;
use std::path::Path;

use edgempi_core::endpoint::Config;
use edgempi_core::hub::{self, Hub, Registry};
use edgempi_core::{Call, Instant, Rank, ReduceOp, Tag};
use edgempi_fuzz::world::{Ask, Choose, Frame, Random, World, ask, barrier, bcast, recv, send};

const SIZE: u32 = 3;
const SESSIONS: u64 = 6;
const LONGEST: usize = 3000;

/// What everybody says in one world, in the order in which it is said: who it was (or is told), and the frame.
struct Session {
    up: Vec<(usize, Frame)>,
    down: Vec<(usize, Frame)>,
}

fn record(seed: u64) -> Session {
    let mut random = Random(seed);
    let now = Instant::from_micros(1);
    let hub = Hub::new(now, hub::Config::new(SIZE), Registry::new());
    let mut world = World { hub, nodes: Vec::new(), now };
    let mut session = Session { up: Vec::new(), down: Vec::new() };
    for rank in 0..SIZE {
        world.join(Config::host(Rank::new(rank), SIZE));
    }
    flow(&mut world, &mut session);
    for _ in 0..4 {
        let which = random.below(6);
        let len = [0, 3, 40, 300][random.below(4)];
        let root = random.below(SIZE as usize) as u32;
        for rank in 0..SIZE as usize {
            let asked: Ask<'static> = match which {
                0 => barrier(),
                1 => bcast(rank as u32, root, vec![7; len]),
                2 => ask(
                    Call::Gather { root: Rank::new(root) },
                    vec![1; len],
                    if rank as u32 == root { 3 * len } else { 0 },
                ),
                3 => ask(Call::Allgather, vec![2; len], 3 * len),
                4 => ask(Call::Allreduce { op: ReduceOp::Sum }, vec![3; len], len),
                _ if rank == 0 => send(1, 5, vec![9; len]),
                _ if rank == 1 => recv(Rank::new(0), Tag(5), len),
                _ => continue,
            };
            world.ask(rank, asked);
        }
        flow(&mut world, &mut session);
    }
    session
}

fn flow(world: &mut World, session: &mut Session) {
    loop {
        let mut moved = false;
        for rank in 0..world.nodes.len() {
            while world.transmit(rank) {}
            session.up.extend(world.nodes[rank].to_hub.iter().cloned().map(|frame| (rank, frame)));
            while world.deliver_up(rank) {
                moved = true;
            }
        }
        while world.work() {}
        for rank in 0..world.nodes.len() {
            while world.transmit_down(rank) {}
            session.down.extend(world.nodes[rank].to_rank.iter().cloned().map(|frame| (rank, frame)));
            while world.deliver_down(rank) {
                moved = true;
            }
        }
        if !moved {
            return;
        }
    }
}

fn main() {
    let folder = std::env::args().nth(1).expect("usage: record FOLDER");
    let write = |target: &str, number: u64, bytes: &[u8]| {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::write(folder.join(format!("recorded-{number}")), &bytes[..bytes.len().min(LONGEST)])
            .expect("a file can be written");
    };
    for number in 0..SESSIONS {
        let Session { up, down } = record(number);
        let bytes = |(_, frame): &(usize, Frame)| [frame.head.as_slice(), &frame.payload].concat();
        write("frames", number, &up.iter().chain(&down).flat_map(bytes).collect::<Vec<u8>>());
        let marked = |(who, frame): &(usize, Frame)| [&[*who as u8], bytes(&(*who, frame.clone())).as_slice()].concat();
        write("handshake", number, &up.iter().chain(&down).flat_map(marked).collect::<Vec<u8>>());
        for target in ["endpoint", "hub", "communicators", "serial"] {
            let len = 100 + 100 * number as usize;
            write(target, number, &Random(number).bytes(len));
        }
    }
}
