//! The engine of boards on a host: boards over plain sockets and host ranks in one world.

mod dropping;
mod faults;
mod lies;
mod lossy_line;
mod sites;
mod sleeping;
mod stacks;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use edgempi::{Builder, Config, Located, Rank, Sum};
use edgempi_core::{ANY_SOURCE, ANY_TAG, Buffers, Call, Communicator, Datatype, ReduceOp};
use edgempi_embassy::{Memory, Options, Port, join};
use sleeping::{StdClock, drive, wants_read, wants_write};

/// A socket with a send space of its own, so that the engine meets full buffers.
struct SocketPort {
    socket: Rc<TcpStream>,
    unsent: Vec<u8>,
    capacity: usize,
}

impl SocketPort {
    fn connect(port: u16, capacity: usize) -> Self {
        let until = Instant::now() + Duration::from_secs(20);
        let socket = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(socket) => break socket,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        };
        socket.set_nonblocking(true).expect("a socket can be non-blocking");
        socket.set_nodelay(true).expect("a socket can go without delay");
        Self { socket: Rc::new(socket), unsent: Vec::new(), capacity }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while !self.unsent.is_empty() {
            match (&*self.socket).write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wants_write(&self.socket);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Port for SocketPort {
    type Error = std::io::Error;

    fn poll_read(&mut self, _: &mut Context<'_>, bytes: &mut [u8]) -> Poll<std::io::Result<usize>> {
        self.flush()?;
        match (&*self.socket).read(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wants_read(&self.socket);
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn poll_free(&mut self, _: &mut Context<'_>, wanted: usize) -> Poll<std::io::Result<usize>> {
        self.flush()?;
        let free = self.capacity - self.unsent.len();
        if free >= wanted { Poll::Ready(Ok(free)) } else { Poll::Pending }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        assert!(self.unsent.len() + bytes.len() <= self.capacity, "the engine writes more than there is room for");
        self.unsent.extend_from_slice(bytes);
        self.flush()
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.flush()?;
        if self.unsent.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

fn values(rank: u32, len: usize) -> Vec<f32> {
    (0..len).map(|at| (rank as usize * 1000 + at % 321) as f32 / 8.0).collect()
}

/// Every call on typed slices, checked; the same source on hosts and boards.
async fn every_call<C: Communicator>(comm: &C, len: usize) -> Result<(), C::Error> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let ranks = size as usize;
    let all = || (0..size).map(|rank| values(rank, len));
    comm.barrier().await?;

    for root in 0..size {
        let mut data = if rank == root { values(root, len) } else { vec![0.0; len] };
        comm.bcast(root, &mut data).await?;
        assert_eq!(data, values(root, len), "bcast from {root}");

        let mut gathered = vec![0.0; if rank == root { len * ranks } else { 0 }];
        comm.gather(root, &values(rank, len), &mut gathered).await?;
        assert!(rank != root || gathered == all().flatten().collect::<Vec<_>>(), "gather at {root}");

        let mut block = vec![0.0; len];
        let given = if rank == root { all().flatten().collect() } else { Vec::new() };
        comm.scatter(root, &given, &mut block).await?;
        assert_eq!(block, values(rank, len), "scatter from {root}");

        let mut sum = values(rank, len);
        comm.reduce_in_place(root, &mut sum, ReduceOp::Sum).await?;
        let ranks: Vec<_> = all().collect();
        let total: Vec<f32> = (0..len).map(|at| ranks.iter().map(|values| values[at]).sum()).collect();
        assert!(rank != root || sum == total, "reduce at {root}");
    }

    let mut gathered = vec![0.0; len * ranks];
    comm.allgather(&values(rank, len), &mut gathered).await?;
    assert_eq!(gathered, all().flatten().collect::<Vec<_>>(), "allgather");

    let blocks: Vec<u16> = (0..ranks * len).map(|at| (rank as usize * 7 + at) as u16).collect();
    let mut exchanged = vec![0; ranks * len];
    comm.alltoall(&blocks, &mut exchanged).await?;
    for (at, value) in exchanged.iter().enumerate() {
        let (from, within) = (at / len.max(1), at % len.max(1));
        assert_eq!(*value, (from * 7 + rank as usize * len + within) as u16, "alltoall");
    }

    let (mut low, mut high) = (vec![0; len], values(rank, len));
    comm.allreduce(&vec![u64::from(rank) + 5; len], &mut low, ReduceOp::Min).await?;
    comm.allreduce_in_place(&mut high, ReduceOp::Max).await?;
    assert_eq!((low, high), (vec![5; len], values(size - 1, len)), "allreduce");
    let mut best = [Located::new(f64::from(rank), u64::from(rank))];
    comm.allreduce_in_place(&mut best, ReduceOp::Maxloc).await?;
    assert_eq!(best[0].index(), u64::from(size - 1));

    prefixes_and_blocks(comm, len).await?;

    // A ring, then whoever comes first.
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    let mut came = vec![0.0; len + 3];
    let receiving = comm.recv(previous, 9, &mut came);
    let mine = values(rank, len);
    comm.send(next, 9, &mine).await?;
    let status = receiving.await?;
    assert_eq!((status.source, status.tag, status.count::<f32>()), (Rank::new(previous), 9.into(), Some(len)));
    assert_eq!(came[..len], values(previous, len));
    if rank == 0 {
        let mut seen = 0;
        for _ in 1..size {
            let mut number = [0u32];
            let status = comm.recv(ANY_SOURCE, ANY_TAG, &mut number).await?;
            assert_eq!(number[0], status.source.get() * 10);
            seen += number[0];
        }
        assert_eq!(seen, (0..size).map(|rank| rank * 10).sum::<u32>());
    } else {
        comm.send(0, rank, &[rank * 10]).await?;
    }
    comm.barrier().await?;
    Ok(())
}

/// The calls whose result is another one at every rank.
async fn prefixes_and_blocks<C: Communicator>(comm: &C, len: usize) -> Result<(), C::Error> {
    let (rank, size) = (comm.rank().get(), comm.size());
    let add = |ranks: std::ops::Range<u32>| -> Vec<f32> {
        ranks.fold(vec![0.0; len], |sum, rank| sum.iter().zip(values(rank, len)).map(|(a, b)| a + b).collect())
    };
    let own = values(rank, len);
    let (mut sum, mut before) = (vec![-1.0; len], vec![-1.0; len]);
    comm.scan(&own, &mut sum, ReduceOp::Sum).await?;
    comm.exscan(&own, &mut before, ReduceOp::Sum).await?;
    assert_eq!(sum, add(0..rank + 1), "scan");
    assert_eq!(before, if rank == 0 { vec![-1.0; len] } else { add(0..rank) }, "exscan");

    let (mut sum, mut before) = (own.clone(), own.clone());
    comm.scan_in_place(&mut sum, ReduceOp::Sum).await?;
    comm.exscan_in_place(&mut before, ReduceOp::Sum).await?;
    assert_eq!(sum, add(0..rank + 1), "scan in place");
    assert_eq!(before, if rank == 0 { own } else { add(0..rank) }, "exscan in place");

    let given: Vec<u32> = (0..size * len as u32).map(|at| at * 3 + rank).collect();
    let mut block = vec![0; len];
    comm.reduce_scatter_block(&given, &mut block, ReduceOp::Sum).await?;
    let start = rank as usize * len;
    let total = |at: usize| (0..size).map(|rank| (start + at) as u32 * 3 + rank).sum::<u32>();
    assert_eq!(block, (0..len).map(total).collect::<Vec<_>>(), "reduce_scatter_block");

    // Blocks that might differ, and do not: the own one is in its place, too.
    let (send, mut receive) = (vec![rank as u8; len], vec![255; len * size as usize]);
    comm.transfer(Call::Allgatherv, Datatype::U8, Buffers::Both { send: &send, receive: &mut receive }).await?;
    assert_eq!(receive, (0..size as usize * len).map(|at| (at / len) as u8).collect::<Vec<_>>(), "allgatherv");
    let send = receive.clone();
    comm.transfer(Call::Alltoallv, Datatype::U8, Buffers::Both { send: &send, receive: &mut receive }).await?;
    assert_eq!(receive, vec![rank as u8; size as usize * len], "alltoallv");
    Ok(())
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Runs a world of which the last `boards` ranks are boards.
fn with_boards(size: u32, boards: u32, host: impl Fn(&edgempi::World) + Sync, board: impl Fn(u32, u16) + Sync) {
    let port = free_port();
    std::thread::scope(|scope| {
        for rank in 0..size {
            let (host, board) = (&host, &board);
            scope.spawn(move || {
                if rank >= size - boards {
                    return board(rank, port);
                }
                let config = Config::new().port(port).size(size).rank(rank).wait(Duration::from_secs(30));
                let world = Builder::new().config(config).init().wait().expect("the world begins");
                host(&world);
                world.finalize().wait().expect("the world ends");
            });
        }
    });
}

#[test]
fn every_call_between_hosts_and_boards() {
    for (len, capacity) in [(0, 400), (1, 400), (16, 4096), (100, 600), (5000, 2048)] {
        with_boards(
            4,
            2,
            |world| edgempi::block_on(every_call(&world.comm(), len)).expect("all calls work on hosts"),
            |rank, port| {
                let mut memory = Memory::<4, 512>::new();
                let socket = SocketPort::connect(port, capacity);
                let options = Options::new(rank, 4);
                let world =
                    drive(join(socket, StdClock(Instant::now()), &mut memory, &options)).expect("a board joins");
                drive(every_call(&world.comm(), len)).expect("all calls work on boards");
                drive(world.finalize()).expect("a board leaves");
            },
        );
    }
}

#[test]
fn parts_and_objects_and_vectors_in_no_buffer() {
    with_boards(
        3,
        1,
        |world| {
            let comm = world.comm();
            let half = comm.split(Some(1), -(comm.rank().get() as i32)).wait().expect("a split").expect("a colour");
            assert_eq!((half.size(), half.rank().get()), (3, 2 - comm.rank().get()));
            assert_eq!(half.allreduce([1u32], Sum).wait().expect("a sum"), [3]);
            let text: String = comm.objects().bcast(2, None).wait().expect("text");
            assert_eq!(text, "from a board");
            if comm.rank() == 0 {
                comm.objects().send(2, 1, &("pair".to_owned(), 7u8)).wait().expect("sent");
            }
            let total = comm.allreduce(vec![1.5f32; 3000], Sum).wait().expect("a sum");
            assert!(total.iter().enumerate().all(|(at, value)| *value == 3.0 + at as f32));
        },
        |rank, port| {
            let mut memory = Memory::<4, 512>::new();
            let socket = SocketPort::connect(port, 1024);
            let options = Options::new(rank, 3);
            let world = drive(join(socket, StdClock(Instant::now()), &mut memory, &options)).expect("a board joins");
            let comm = world.comm();
            {
                let half = drive(comm.split(Some(1), -2)).expect("a split").expect("a colour");
                assert_eq!((half.size(), half.rank().get()), (3, 0));
                let mut one = [1u32];
                drive(half.allreduce_in_place(&mut one, ReduceOp::Sum)).expect("a sum");
                assert_eq!(one, [3]);
            }
            let mut scratch = [0; 64];
            let text = "from a board".to_owned();
            assert_eq!(drive(comm.bcast_object(2, Some(&text), &mut scratch)).expect("a bcast"), text);
            let ((word, number), status): ((String, u8), _) =
                drive(comm.recv_object(0, 1, &mut scratch)).expect("a pair");
            assert_eq!((word.as_str(), number, status.source), ("pair", 7, Rank::new(0)));
            let mut results = Vec::new();
            let mut fill = |offset: usize, bytes: &mut [u8]| {
                for (at, byte) in bytes.iter_mut().enumerate() {
                    let offset = offset + at;
                    *byte = ((offset / 4) as f32).to_le_bytes()[offset % 4];
                }
            };
            let mut take = |offset: usize, bytes: &[u8]| {
                assert_eq!(offset, results.len(), "results come in order");
                results.extend_from_slice(bytes);
            };
            drive(comm.allreduce_from::<f32>(3000, ReduceOp::Sum, &mut fill, &mut take)).expect("a sum");
            let values = results.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            assert!(values.enumerate().all(|(at, value)| value == 3.0 + at as f32));
            drop(comm);
            drive(world.finalize()).expect("a board leaves");
        },
    );
}
