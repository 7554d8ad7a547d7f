//! Progress depends on nobody: not on a runtime, not on anybody waiting, not on a rank that computes.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::hub::{Applied, Registry};
use edgempi::{Builder, Comm, Config, Error, Group, Operation, Rank, Ranks, Request, Sum, World};
use edgempi_tests::{both_kinds_of_worlds, free_port, on_ranks, on_threads, tcp_worlds};
use tokio::runtime;

const SIZE: u32 = 4;

/// Long enough for several windows.
fn long(rank: u32) -> Vec<u32> {
    vec![rank + 1; 400_000]
}

fn current_thread() -> runtime::Runtime {
    runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn multi_thread() -> runtime::Runtime {
    runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime")
}

/// What a rank does, as async code.
async fn calls(comm: Comm) -> Result<(), Error> {
    let (rank, size) = (comm.rank().get(), comm.size());
    comm.barrier().await?;
    let text = comm.objects().bcast(1, (rank == 1).then(|| "all the same".to_owned())).await?;
    assert_eq!(text, "all the same");
    // Two at a time.
    let (small, large) = (comm.allreduce([rank], Sum), comm.allreduce(long(rank), Sum));
    assert_eq!(large.await?, vec![size * (size + 1) / 2; 400_000]);
    assert_eq!(small.await?, [size * (size - 1) / 2]);
    let mut gradient = long(rank);
    comm.allreduce_in_place(&mut gradient, Sum).await?;
    assert_eq!(gradient[399_999], size * (size + 1) / 2);
    let sent = comm.send((rank + 1) % size, 7, long(rank));
    let (came, status) = comm.recv::<u32>((rank + size - 1) % size, 7).await?;
    assert_eq!((came, status.tag.0), (long((rank + size - 1) % size), 7));
    sent.await
}

#[test]
fn ranks_in_every_kind_of_runtime_and_without_one_share_a_world() {
    let port = free_port();
    on_threads(SIZE, |rank| {
        let address = if rank == 0 { String::new() } else { format!("127.0.0.1:{port}") };
        let config = Config::new().listen("127.0.0.1").port(port).addr(address).size(SIZE).rank(rank);
        let init = || Builder::new().config(config.clone()).init();
        let program = async || {
            let world = init().await?;
            calls(world.comm()).await?;
            world.finalize().await
        };
        let result: Result<(), Error> = match rank {
            0 => current_thread().block_on(program()),
            1 => multi_thread().block_on(async {
                // Spawned tasks move from thread to thread.
                let world = init().await?;
                tokio::spawn(calls(world.comm())).await.expect("the task ends")?;
                tokio::spawn(world.finalize()).await.expect("the task ends")
            }),
            2 => edgempi::block_on(program()),
            _ => current_thread().block_on(async {
                // Who waits here blocks the runtime, and nothing else.
                let world = init().wait()?;
                edgempi::block_on(calls(world.comm()))?;
                world.finalize().wait()
            }),
        };
        result.unwrap();
    });
}

#[test]
fn tasks_of_one_rank_share_its_communicator() {
    on_ranks(tcp_worlds(2), |world| {
        let (comm, other) = (world.comm(), 1 - world.rank().get());
        multi_thread().block_on(async {
            let tasks: Vec<_> = (0..50u32)
                .map(|tag| {
                    let comm = comm.clone();
                    tokio::spawn(async move {
                        for round in 0..20 {
                            let sent = comm.send(other, tag, [tag, round]);
                            assert_eq!(comm.recv::<u32>(other, tag).await?.0, [tag, round]);
                            sent.await?;
                        }
                        Ok::<(), Error>(())
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("the task ends").unwrap();
            }
        });
    });
}

/// How long a rank computes at the most: longer than the others need on a busy machine. It ends when they are done, so
/// this is only waited for by whoever is held up.
const COMPUTATION: Duration = Duration::from_secs(120);
/// Exchanges that others make meanwhile, and messages that they send to whoever computes, with elements of each.
const EXCHANGES: u32 = 300;
const STREAMS: u32 = 8;
const STREAM: usize = 1 << 20;

/// A rank that starts a few things, and computes inside a runtime of one thread without ever giving it back.
async fn compute(comm: &Comm, computes: &AtomicBool, done: &AtomicU32) -> Result<(), Error> {
    let sum = comm.allreduce(long(comm.rank().get()), Sum);
    let streams: Vec<_> = (0..STREAMS).map(|tag| comm.recv::<u32>(edgempi::ANY_SOURCE, tag)).collect();
    computes.store(true, Ordering::SeqCst);
    comm.barrier().await?;
    let (start, mut steps) = (Instant::now(), 0u64);
    // To ask for results moves nothing.
    let is_done = || done.load(Ordering::SeqCst) == SIZE - 1 && sum.test() && streams.iter().all(Request::test);
    while start.elapsed() < COMPUTATION && !is_done() {
        steps = std::hint::black_box(steps + 1);
    }
    computes.store(false, Ordering::SeqCst);
    assert!(sum.test(), "the sum has come meanwhile");
    assert_eq!(sum.await?, vec![10; 400_000]);
    for (tag, stream) in streams.into_iter().enumerate() {
        assert!(stream.test(), "message {tag} has come meanwhile");
        let (came, _) = stream.await?;
        assert!(came == vec![tag as u32; STREAM], "message {tag} is damaged");
    }
    Ok(())
}

/// What the three others do while rank `busy` computes.
fn go_on(comm: &Comm, busy: u32, computes: &AtomicBool, done: &AtomicU32) {
    let others: Vec<u32> = (0..SIZE).filter(|rank| *rank != busy).collect();
    let position = others.iter().position(|rank| comm.rank() == *rank).expect("it is not busy");
    let (next, previous) = (others[(position + 1) % 3], others[(position + 2) % 3]);
    let sum = comm.allreduce(long(comm.rank().get()), Sum);
    comm.barrier().wait().unwrap();
    let start = Instant::now();
    assert_eq!(sum.wait().unwrap(), vec![10; 400_000]);
    for tag in (0..STREAMS).filter(|tag| *tag as usize % 3 == position) {
        comm.send(busy, tag, vec![tag; STREAM]).wait().unwrap();
    }
    let streamed = start.elapsed();
    for round in 0..EXCHANGES {
        let sent = comm.send(next, 100, [round]);
        assert_eq!(comm.recv::<u32>(previous, 100).wait().unwrap().0, [round]);
        sent.wait().unwrap();
    }
    println!("rank {}: a sum and streams in {streamed:.1?}, all in {:.1?}", comm.rank(), start.elapsed());
    assert!(computes.load(Ordering::SeqCst), "rank {busy} held rank {} up until it had computed", comm.rank());
    done.fetch_add(1, Ordering::SeqCst);
}

fn a_rank_that_computes_holds_up_nobody(busy: u32) {
    // One at a time, or two of them would take all the processors of a small machine.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    let (computes, done) = (AtomicBool::new(false), AtomicU32::new(0));
    on_ranks(tcp_worlds(SIZE), |world| {
        let comm = world.comm();
        assert_eq!(world.hosts_hub(), comm.rank() == 0);
        if comm.rank() == busy {
            current_thread().block_on(compute(&comm, &computes, &done)).unwrap();
        } else {
            go_on(&comm, busy, &computes, &done);
        }
    });
}

#[test]
fn a_rank_that_computes_in_a_runtime_of_one_thread_holds_up_nobody() {
    a_rank_that_computes_holds_up_nobody(2);
}

#[test]
fn a_rank_that_computes_beside_the_hub_holds_up_nobody() {
    a_rank_that_computes_holds_up_nobody(0);
}

/// Tells that it was woken.
struct Woken(Mutex<Sender<()>>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let _ = self.0.lock().expect("nobody panics here").send(());
    }
}

#[test]
fn requests_come_to_their_end_without_anybody_waiting() {
    for (_, worlds) in both_kinds_of_worlds(&Registry::new(), &Config::new(), SIZE) {
        on_ranks(worlds, |world| {
            let (comm, rank) = (world.comm(), world.rank().get());
            let sum = comm.allreduce(long(rank), Sum);
            let sent = comm.send((rank + 1) % SIZE, 1, long(rank));
            let came = comm.recv::<u32>((rank + 3) % SIZE, 1);
            while !(sum.test() && sent.test() && came.test()) {
                thread::yield_now();
            }
            // Now waiting takes no time.
            let (mut sum, mut came) = (sum, came);
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut sum).poll(&mut context).is_ready());
            assert!(Pin::new(&mut came).poll(&mut context).is_ready());
            sent.wait().unwrap();
        });
    }
}

#[test]
fn whoever_polls_is_woken_once_the_result_is_there() {
    on_ranks(tcp_worlds(2), |world| {
        let comm = world.comm();
        for round in 0..100u32 {
            if comm.rank() == 0 {
                let (woken, is_woken) = channel();
                let waker = Waker::from(Arc::new(Woken(Mutex::new(woken))));
                let mut request = comm.recv::<u32>(1, 0);
                let poll =
                    |request: &mut Request<'_, _>| Pin::new(request).poll(&mut Context::from_waker(&waker)).is_ready();
                assert!(!poll(&mut request), "nobody has sent it yet");
                comm.send(1, 0, [round]).wait().unwrap();
                is_woken.recv_timeout(Duration::from_secs(10)).expect("the waker is called");
                assert!(poll(&mut request));
            } else {
                let (came, _) = comm.recv::<u32>(0, 0).wait().unwrap();
                comm.send(0, 0, came).wait().unwrap();
            }
        }
    });
}

/// Everybody gets the sum of what everybody gives.
struct Total;

impl Operation for Total {
    const NAME: &'static str = "total";
    type Parameters = ();
    type Input = u32;
    type Output = u32;

    fn parameters(&self) {}

    fn group(&self) -> Group<'_> {
        Group { sources: Ranks::All, destinations: Ranks::All }
    }
}

fn total(call: Applied<'_, ()>, inputs: Vec<(Rank, u32)>) -> Result<Vec<(Rank, u32)>, String> {
    let total = inputs.iter().map(|(_, input)| input).sum();
    Ok(call.destinations.iter().map(|rank| (*rank, total)).collect())
}

type Call = fn(&Comm);

/// Small operations in which every rank takes part.
const SMALL: [(&str, Call); 17] = [
    ("barrier", |comm| comm.barrier().wait().unwrap()),
    ("bcast", |comm| assert_eq!(comm.bcast(1, [7u64; 9]).wait().unwrap(), [7; 9])),
    ("gather", |comm| assert_eq!(comm.gather(1, [7u64]).wait().unwrap().is_some(), comm.rank() == 1)),
    ("scatter", |comm| {
        let data = (comm.rank() == 1).then(|| vec![1u8, 2, 3, 4]);
        assert_eq!(comm.scatter(1, data).wait().unwrap(), [comm.rank().get() as u8 + 1]);
    }),
    ("allgather", |comm| assert_eq!(comm.allgather([comm.rank().get()]).wait().unwrap(), [0, 1, 2, 3])),
    ("alltoall", |comm| assert_eq!(comm.alltoall([1u32, 2, 3, 4]).wait().unwrap(), [comm.rank().get() + 1; 4])),
    ("reduce", |comm| assert_eq!(comm.reduce(1, [1.5f32], Sum).wait().unwrap().is_some(), comm.rank() == 1)),
    ("allreduce", |comm| assert_eq!(comm.allreduce([1.5f32; 250], Sum).wait().unwrap(), [6.0; 250])),
    ("allreduce in place", |comm| {
        let mut data = [1u64, 2, 3];
        comm.allreduce_in_place(&mut data, Sum).wait().unwrap();
        assert_eq!(data, [4, 8, 12]);
    }),
    ("bcast of an object", |comm| {
        let value = (comm.rank() == 0).then(|| "text".to_owned());
        assert_eq!(comm.objects().bcast(0, value).wait().unwrap(), "text");
    }),
    ("gather of objects", |comm| {
        let value = "x".repeat(comm.rank().index());
        assert_eq!(comm.objects().gather(3, &value).wait().unwrap().is_some(), comm.rank() == 3);
    }),
    ("scatter of objects", |comm| {
        let values = || vec![0u64, 1 << 10, 2 << 20, 3 << 30];
        let value = comm.objects().scatter(0, (comm.rank() == 0).then(values)).wait().unwrap();
        assert_eq!(value, values()[comm.rank().index()]);
    }),
    ("allgather of objects", |comm| {
        let value = "x".repeat(comm.rank().index());
        assert_eq!(comm.objects().allgather(&value).wait().unwrap(), ["", "x", "xx", "xxx"]);
    }),
    ("alltoall of objects", |comm| {
        let values: Vec<String> = (0..4).map(|to| "x".repeat(to)).collect();
        assert_eq!(comm.objects().alltoall(&values).wait().unwrap(), vec!["x".repeat(comm.rank().index()); 4]);
    }),
    ("allreduce of objects", |comm| {
        let longer = |left: String, right: String| if right.len() > left.len() { right } else { left };
        assert_eq!(comm.objects().allreduce("x".repeat(comm.rank().index()), longer).wait().unwrap(), "xxx");
    }),
    ("allreduce of an element", |comm| assert_eq!(comm.objects().allreduce(2.5f64, Sum).wait().unwrap(), 10.0)),
    ("user operation", |comm| {
        assert_eq!(comm.apply(&Total, Some(&comm.rank().get())).wait().unwrap(), Some(6));
    }),
];

/// Frames that a rank has sent and received.
fn frames(world: &World) -> [u64; 2] {
    let traffic = world.traffic();
    [traffic.frames_sent, traffic.frames_received]
}

/// How many frames `call` takes on this rank, once everything that is said only once has been said.
fn frames_of(world: &World, call: impl Fn(&Comm)) -> [u64; 2] {
    let comm = world.comm();
    call(&comm);
    let before = frames(world);
    for _ in 0..10 {
        call(&comm);
    }
    let after = frames(world);
    let counts = [0, 1].map(|way: usize| after[way] - before[way]);
    assert!(counts.iter().all(|count| count.is_multiple_of(10)), "{counts:?} frames for 10 calls");
    counts.map(|count| count / 10)
}

#[test]
fn a_small_operation_is_one_frame_up_and_one_frame_down_on_every_rank() {
    let mut operations = Registry::new();
    operations.insert_fn(Total::NAME, Total::VERSION, total);
    for (links, worlds) in both_kinds_of_worlds(&operations, &Config::new(), SIZE) {
        on_ranks(worlds, |world| {
            for (name, call) in SMALL {
                assert_eq!(frames_of(world, call), [1, 1], "{name} on rank {}, links: {links}", world.rank());
            }
        });
    }
}

#[test]
fn a_small_message_is_one_frame_up_and_one_frame_down_on_either_side() {
    for (links, worlds) in both_kinds_of_worlds(&Registry::new(), &Config::new(), SIZE) {
        on_ranks(worlds, |world| {
            let rank = world.rank().get();
            // A send is done before its answer comes; what is in front of a barrier's answer has come with it.
            let message = |comm: &Comm| {
                match comm.rank().get() {
                    0 => comm.send(1, 5, [1u8; 100]).wait().unwrap(),
                    1 => assert_eq!(comm.recv::<u8>(0, 5).wait().unwrap().0, [1; 100]),
                    2 => comm.objects().send(3, 5, "a text").wait().unwrap(),
                    _ => assert_eq!(comm.objects().recv::<String>(2, 5).wait().unwrap().0, "a text"),
                }
                comm.barrier().wait().unwrap();
            };
            assert_eq!(frames_of(world, message), [2, 2], "a message and a barrier on rank {rank}, links: {links}");
        });
    }
}
