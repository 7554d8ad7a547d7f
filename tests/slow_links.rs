//! Slow links: many of them take no longer than one, and those on fast links do not notice.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::hub::{Registry, Server};
use edgempi::{Builder, Config, World};
use edgempi_tests::on_ranks;

const MIB: usize = 1 << 20;
/// Bytes per second, each way.
const RATE: usize = MIB;
/// Bytes that a slow link lets pass at once after a pause.
const BURST: usize = 32 * 1024;

/// A token bucket: says when the next bytes may pass.
struct Bucket {
    ready: Instant,
}

impl Bucket {
    fn new() -> Self {
        Self { ready: Instant::now() }
    }

    /// Waits until `bytes` have passed.
    fn pass(&mut self, bytes: usize) {
        let time = |bytes: usize| Duration::from_secs_f64(bytes as f64 / RATE as f64);
        let now = Instant::now();
        let earliest = now.checked_sub(time(BURST)).unwrap_or(now);
        self.ready = self.ready.max(earliest) + time(bytes);
        thread::sleep(self.ready.saturating_duration_since(now));
    }
}

/// Passes on what comes, at the pace of a slow link, until there is no more.
fn relay(mut from: TcpStream, mut to: TcpStream) {
    let mut bucket = Bucket::new();
    let mut buffer = [0; 8 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        bucket.pass(n);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// An address that leads to `hub` over slow links, for `connections` ranks.
fn slow_way_to(hub: SocketAddr, connections: usize) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for rank in listener.incoming().take(connections) {
            let rank = rank.expect("a rank connects");
            let hub = TcpStream::connect(hub).expect("the hub listens");
            for stream in [&rank, &hub] {
                stream.set_nodelay(true).expect("a socket of TCP");
            }
            let (from, to) = (rank.try_clone().expect("a descriptor"), hub.try_clone().expect("a descriptor"));
            thread::spawn(move || relay(from, to));
            thread::spawn(move || relay(hub, rank));
        }
    });
    address
}

/// A world of `size` ranks whose last `slow` ones are behind slow links. Its hub ends with it.
fn world_with_slow_ranks(size: u32, slow: u32) -> Vec<World> {
    let config = Config::new().size(size).wait(Duration::from_secs(30));
    let server = Server::bind(&config.clone().rank(0).listen("127.0.0.1:0"), Registry::new()).expect("a hub");
    let hub = server.local_addr();
    thread::spawn(move || server.serve().expect("the hub serves"));
    let slow_way = slow_way_to(hub, slow as usize);
    let joining: Vec<_> = (0..size)
        .map(|rank| {
            let address = if rank < size - slow { hub } else { slow_way };
            Builder::new().config(config.clone().rank(rank).addr(address.to_string())).init()
        })
        .collect();
    joining.into_iter().map(|init| init.wait().expect("the rank joins")).collect()
}

/// What a rank gives.
fn block(rank: u32) -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..2 * MIB as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect());
    &BYTES[rank as usize * 97..][..MIB]
}

/// How long a gather at rank 0 and a scatter from there take, of 1 MiB for each of 16 ranks, `slow` of them slow.
fn gather_and_scatter(slow: u32) -> [Duration; 2] {
    const SIZE: u32 = 16;
    let all = (0..SIZE).map(block).collect::<Vec<_>>().concat();
    let times = on_ranks(world_with_slow_ranks(SIZE, slow), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        comm.barrier().wait().unwrap();
        let start = Instant::now();
        let gathered = comm.gather(0, block(rank)).wait().unwrap();
        let gather = start.elapsed();
        assert!(gathered.is_none_or(|gathered| gathered == all), "the blocks are mixed up");
        comm.barrier().wait().unwrap();
        let start = Instant::now();
        let scattered = comm.scatter(0, (rank == 0).then(|| all.clone())).wait().unwrap();
        let scatter = start.elapsed();
        assert!(scattered == block(rank), "the blocks are mixed up");
        comm.barrier().wait().unwrap();
        [gather, scatter]
    });
    let longest = |operation: usize| times.iter().map(|times| times[operation]).max().expect("there are ranks");
    // Whoever gathers is done last; a scatter is done at its receivers.
    [times[0][0], longest(1)]
}

#[test]
fn blocks_from_and_to_many_slow_ranks_take_as_long_as_of_one() {
    let (one, many) = (gather_and_scatter(1), gather_and_scatter(15));
    for (operation, (one, many)) in ["gather", "scatter"].into_iter().zip(one.into_iter().zip(many)) {
        println!("{operation}: {one:?} with one slow rank, {many:?} with 15");
        assert!(one > Duration::from_millis(900), "{operation}: the link is not slow: {one:?}");
        let ratio = many.as_secs_f64() / one.as_secs_f64();
        assert!(ratio < 2.5, "{operation}: {many:?} with 15 slow ranks is {ratio:.1} times {one:?} with one");
    }
}

#[test]
fn ranks_on_fast_links_do_not_wait_for_a_message_on_a_slow_one() {
    const ROUNDS: u32 = 200;
    let slow_is_done = AtomicBool::new(false);
    on_ranks(world_with_slow_ranks(4, 1), |world| {
        let (comm, rank) = (world.comm(), world.rank().get());
        comm.barrier().wait().unwrap();
        // Rank 0 sends to the slow one; what the queue does not take waits for it.
        let to_slow = (rank == 0).then(|| comm.send(3, 1, block(9)));
        if rank == 3 {
            let (came, _) = comm.recv::<u8>(0, 1).wait().unwrap();
            slow_is_done.store(true, Ordering::SeqCst);
            assert!(came == block(9));
        } else {
            for round in 0..ROUNDS {
                comm.send((rank + 1) % 3, 2, [round]).wait().unwrap();
                let (came, _) = comm.recv::<u32>((rank + 2) % 3, 2).wait().unwrap();
                assert_eq!(came, [round]);
            }
            assert!(!slow_is_done.load(Ordering::SeqCst), "{ROUNDS} rounds took longer than 1 MiB on the slow link");
        }
        if let Some(request) = to_slow {
            request.wait().unwrap();
        }
    });
}
