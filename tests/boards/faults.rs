//! What a board is told when something is wrong: the link is gone, the hub refuses it, a buffer is too small, too much is
//! under way, somebody is silent.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use edgempi::{Builder, Sum, World};
use edgempi_core::{Category, Communicator, Group, Rank, ReduceOp};
use edgempi_embassy::{Comm, Error, Memory, Options, Port, Transfer, join};
use edgempi_tests::job::HubProcess;
use edgempi_tests::{LoneHub, Watchdog, joining};
use every_call::ScaledSum;

use crate::sleeping::{StdClock, drive};
use crate::{SocketPort, values};

/// A port that can be cut.
struct Fragile<'c> {
    port: SocketPort,
    is_cut: &'c Cell<bool>,
}

impl Fragile<'_> {
    fn check(&self) -> io::Result<()> {
        if self.is_cut.get() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Port for Fragile<'_> {
    type Error = io::Error;

    fn poll_read(&mut self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        self.port.poll_read(context, bytes)
    }

    fn poll_free(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.check()?;
        self.port.poll_free(context, wanted)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        self.port.write(bytes)
    }

    fn capacity(&self) -> usize {
        self.port.capacity()
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        self.port.poll_close(context)
    }
}

/// Rank 0 of a world of two, on a host.
fn host(address: std::net::SocketAddr, work: impl FnOnce(&World)) {
    let world = Builder::new().config(joining(address, 2, 0)).init().wait().expect("a host joins");
    work(&world);
    world.finalize().wait().expect("a host leaves");
}

/// A world of a host and a board of `options`, which both end well.
pub(crate) fn beside_a_host<const N: usize, const SCRATCH: usize>(
    options: Options<'static>,
    host_work: impl FnOnce(&World) + Send,
    board_work: impl FnOnce(&Comm<'_>),
) {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(2);
    let address = hub.address;
    std::thread::scope(|scope| {
        scope.spawn(move || host(address, host_work));
        let mut memory = Memory::<N, SCRATCH>::new();
        let port = SocketPort::connect(address.port(), 1024);
        let world = drive(join(port, StdClock(Instant::now()), &mut memory, &options)).expect("a board joins");
        board_work(&world.comm());
        drive(world.finalize()).expect("a board leaves");
    });
    hub.ended();
}

pub(crate) fn failed<T>(result: Result<T, Error>) -> (Category, u64) {
    match result {
        Ok(_) => panic!("it should fail"),
        Err(error) => (error.category(), error.number()),
    }
}

#[test]
fn a_lost_link_ends_every_call_and_the_board_joins_the_next_world_with_the_same_memory() {
    let _watchdog = Watchdog::start();
    let mut hub = HubProcess::start(2, &["--forever"]);
    let address = hub.address.parse().expect("an address");
    let mut memory = Memory::<4, 512>::new();
    for round in 0..3 {
        let is_cut = Cell::new(false);
        std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                let world = Builder::new().config(joining(address, 2, 0)).init().wait().expect("a host joins");
                let mine = vec![1u32; 4000];
                let sum = world.comm().allreduce(mine, Sum).wait().expect("a sum");
                assert_eq!(sum, [3u32; 4000]);
                // The next one fails, because the board is gone.
                let error = world.comm().recv::<u8>(1, 9).wait().expect_err("the board has failed");
                assert!(matches!(error, edgempi::Error::RankFailed { .. }), "{error}");
            });
            let port = Fragile { port: SocketPort::connect(address.port(), 600), is_cut: &is_cut };
            let options = Options::new(1, 2);
            let world = drive(join(port, StdClock(Instant::now()), &mut memory, &options)).expect("a board joins");
            let comm = world.comm();
            let mut sum = vec![2u32; 4000];
            drive(comm.allreduce_in_place(&mut sum, ReduceOp::Sum)).expect("a sum");
            assert_eq!(sum, [3; 4000], "in world {round}");

            let (mut came, mut large) = ([0u8; 5], vec![1.0f32; 4000]);
            let mut receive = comm.recv(0, 1, &mut came);
            let mut reduce = comm.allreduce_in_place(&mut large, ReduceOp::Sum);
            let mut again = comm.barrier();
            assert!(receive.test().is_none() && reduce.test().is_none() && again.test().is_none());
            is_cut.set(true);
            for call in [&mut receive, &mut reduce, &mut again] {
                assert_eq!(failed(drive(call)).0, Category::Disconnected);
            }
            drop((receive, reduce, again));
            assert_eq!(failed(drive(comm.barrier())).0, Category::Disconnected, "so does every other call");
            drop(comm);
            assert_eq!(failed(drive(world.finalize())).0, Category::Disconnected);
            other.join().expect("the host does not panic");
        });
        hub.process.line("edgempi: the world has ended");
    }
    hub.process.signal("INT");
    hub.process.end();
}

/// A port that has no room for a while.
struct Full<'f> {
    port: SocketPort,
    is_full: &'f Cell<bool>,
}

impl Port for Full<'_> {
    type Error = io::Error;

    fn poll_read(&mut self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        self.port.poll_read(context, bytes)
    }

    fn poll_free(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if self.is_full.get() { Poll::Pending } else { self.port.poll_free(context, wanted) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.port.write(bytes)
    }

    fn capacity(&self) -> usize {
        self.port.capacity()
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_close(context)
    }
}

#[test]
fn a_call_whose_names_found_no_room_is_named_when_it_is_polled_and_not_by_others() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(1);
    let mut memory = Memory::<3, 256>::new();
    let is_full = Cell::new(false);
    let port = Full { port: SocketPort::connect(hub.address.port(), 600), is_full: &is_full };
    let world = drive(join(port, StdClock(Instant::now()), &mut memory, &Options::new(0, 1))).expect("a board joins");
    let comm = world.comm();
    let (mut send, mut receive) = ([0; 64], [0; 64]);
    let operation = ScaledSum { factor: 2, group: Group::ALL };
    is_full.set(true);
    let mut apply = comm.apply(&operation, Some(&1), &mut send, &mut receive);
    let mut barrier = comm.barrier();
    is_full.set(false);
    // The barrier's poll drives the link first, and has none of the other's names at hand.
    assert!(barrier.test().is_none_or(|result| result.is_ok()));
    assert_eq!(failed(drive(&mut apply)).0, Category::UnknownOperation, "no hub knows it");
    drop((apply, barrier));
    drive(comm.barrier()).expect("the link is in step");
    drop(comm);
    drive(world.finalize()).expect("a board leaves");
    hub.ended();
}

#[test]
fn a_user_operation_given_up_before_its_name_could_leave_ends_no_session() {
    let _watchdog = Watchdog::start();
    for (has_room_again, ranks) in [(false, None), (true, None), (true, Some([Rank::new(0)]))] {
        let hub = LoneHub::start(1);
        let mut memory = Memory::<3, 256>::new();
        let is_full = Cell::new(false);
        let port = Full { port: SocketPort::connect(hub.address.port(), 600), is_full: &is_full };
        let options = Options::new(0, 1);
        let world = drive(join(port, StdClock(Instant::now()), &mut memory, &options)).expect("a board joins");
        let comm = world.comm();
        let (mut send, mut receive) = ([0; 64], [0; 64]);
        let group = ranks.as_ref().map_or(Group::ALL, |ranks| Group::new(ranks, ranks));
        let operation = ScaledSum { factor: 2, group };
        is_full.set(true);
        let apply = comm.apply(&operation, Some(&1), &mut send, &mut receive);
        if has_room_again {
            is_full.set(false);
        }
        drop(apply);
        is_full.set(false);
        drive(comm.barrier()).expect("the link is in step");
        let apply = comm.apply(&operation, Some(&1), &mut send, &mut receive);
        assert_eq!(failed(drive(apply)).0, Category::UnknownOperation, "its name is told now");
        drop(comm);
        drive(world.finalize()).expect("a board leaves");
        hub.ended();
    }
}

#[test]
fn a_hub_that_ends_while_a_board_waits_is_a_lost_link() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(1);
    let mut memory = Memory::<2, 128>::new();
    let port = SocketPort::connect(hub.address.port(), 600);
    let world = drive(join(port, StdClock(Instant::now()), &mut memory, &Options::new(0, 1))).expect("a board joins");
    let comm = world.comm();
    let mut came = [0u8; 5];
    let mut receive = comm.recv(0, 1, &mut came);
    assert!(receive.test().is_none());
    drop(hub);
    assert_eq!(failed(drive(&mut receive)).0, Category::Disconnected);
}

#[test]
fn a_hub_refuses_a_wrong_size_rank_or_world_in_words_that_say_why() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(2);
    let mut memory = Memory::<4, 512>::new();
    let cases = [
        (Options::new(1, 3), Category::WrongWorld, "world has 2 ranks, this rank says 3"),
        (Options::new(4, 5), Category::WrongWorld, "world has 2 ranks"),
        (Options::new(1, 2).world("another"), Category::WrongWorld, "another"),
    ];
    for (options, category, why) in cases {
        let port = SocketPort::connect(hub.address.port(), 600);
        let joined = drive(join(port, StdClock(Instant::now()), &mut memory, &options));
        assert_eq!(failed(joined).0, category, "{options:?}");
        assert!(memory.last_reason().contains(why), "{options:?}: {}", memory.last_reason());
    }
    // Without asking the hub: there is no rank 2 of 2.
    let port = SocketPort::connect(hub.address.port(), 600);
    let joined = drive(join(port, StdClock(Instant::now()), &mut memory, &Options::new(2, 2)));
    assert_eq!(failed(joined), (Category::InvalidArgument, 2));
}

#[test]
fn a_port_too_small_for_a_frame_is_refused_with_the_size_that_it_takes() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(1);
    let mut memory = Memory::<4, 512>::new();
    let options = Options::new(0, 1);
    let small = SocketPort::connect(hub.address.port(), 10);
    let (category, needed) = failed(drive(join(small, StdClock(Instant::now()), &mut memory, &options)));
    assert_eq!(category, Category::TooLarge);
    let port = SocketPort::connect(hub.address.port(), needed as usize);
    let world = drive(join(port, StdClock(Instant::now()), &mut memory, &options)).expect("so much is enough");
    drive(world.finalize()).expect("a board leaves");
}

#[test]
fn buffers_of_the_wrong_size_are_refused_at_the_call_with_the_size_that_it_takes() {
    let host = |world: &World| {
        let comm = world.comm();
        comm.send(1, 3, values(0, 100)).wait().expect("it is sent");
        comm.objects().send(1, 4, &"a word of many letters").wait().expect("it is sent");
        comm.barrier().wait().expect("all are here");
    };
    beside_a_host::<4, 512>(Options::new(1, 2), host, |comm| {
        let invalid = |bytes| (Category::InvalidArgument, bytes);
        let (given, mut room) = ([1u32; 10], [0u32; 19]);
        // None of these is heard of on the host.
        assert_eq!(failed(drive(comm.gather(1, &given, &mut room))), invalid(80));
        assert_eq!(failed(drive(comm.allgather(&given, &mut room))), invalid(80));
        assert_eq!(failed(drive(comm.scatter(1, &given, &mut room[..7]))), invalid(56));
        assert_eq!(failed(drive(comm.alltoall(&given, &mut room))), invalid(40));
        assert_eq!(failed(drive(comm.allreduce(&given, &mut room, ReduceOp::Sum))), invalid(40));
        let mut scratch = [0; 5];
        let word = "a word of many letters";
        let needed = word.len() as u64 + 1;
        assert_eq!(failed(drive(comm.send_object(0, 1, word, &mut scratch))), (Category::TooLarge, needed));
        let word = word.to_owned();
        let refused = failed(drive(comm.bcast_object(1, Some(&word), &mut scratch)));
        assert_eq!(refused, (Category::TooLarge, needed));

        let mut few = [0.0f32; 99];
        assert_eq!(failed(drive(comm.recv(0, 3, &mut few))), (Category::Truncated, 400));
        let came = drive(comm.recv_object::<String>(0, 4, &mut scratch));
        assert_eq!(failed(came), (Category::Truncated, needed));
        drive(comm.barrier()).expect("all are here");
    });
}

#[test]
fn a_request_too_many_is_refused_at_the_call_with_the_number_that_there_may_be() {
    let host = |world: &World| {
        let comm = world.comm();
        for tag in [2u32, 1, 0] {
            comm.send(1, tag, values(tag, 700)).wait().expect("it is sent");
        }
        comm.barrier().wait().expect("all are here");
    };
    beside_a_host::<3, 192>(Options::new(1, 2), host, |comm| {
        let mut room = [[0.0f32; 700]; 3];
        {
            let mut tokens: Vec<Transfer<'_>> =
                room.iter_mut().zip(0u32..).map(|(room, tag)| comm.recv(0, tag, room)).collect();
            assert_eq!(failed(drive(comm.barrier())), (Category::TooManyRequests, 3));
            // In flight side by side, in memory for fewer bytes than any of them has.
            let mut left: Vec<usize> = vec![0, 1, 2];
            while !left.is_empty() {
                left.retain(|at| match tokens[*at].test() {
                    Some(status) => status.expect("a message").count::<f32>() != Some(700),
                    None => true,
                });
            }
        }
        assert!(room.iter().zip(0..).all(|(room, tag)| *room == *values(tag, 700)));
        drive(comm.barrier()).expect("there is room again");
    });
}

#[test]
fn a_token_that_nobody_polls_blocks_no_other_call() {
    let host = |world: &World| {
        let comm = world.comm();
        comm.send(1, 1, values(5, 20_000)).wait().expect("it is sent");
        for _ in 0..20 {
            let sum = comm.allreduce(vec![1u32; 3000], Sum).wait().expect("a sum");
            assert_eq!(sum, [3; 3000]);
        }
        comm.send(1, 2, [0u8]).wait().expect("it is sent");
    };
    beside_a_host::<4, 256>(Options::new(1, 2), host, |comm| {
        let mut large = vec![0.0; 20_000];
        let mut token = comm.recv(0, 1, &mut large);
        assert!(token.test().is_none_or(|status| status.is_ok()));
        for _ in 0..20 {
            let mut sum = vec![2u32; 3000];
            drive(comm.allreduce_in_place(&mut sum, ReduceOp::Sum)).expect("a sum");
            assert_eq!(sum, [3; 3000]);
        }
        drive(comm.recv(0, 2, &mut [0u8])).expect("a later message");
        assert_eq!(drive(&mut token).expect("a message").count::<f32>(), Some(20_000));
        drop(token);
        assert!(large == values(5, 20_000));
    });
}

#[test]
fn what_came_for_a_token_that_nobody_polls_outlives_later_calls() {
    let host = |world: &World| {
        let comm = world.comm();
        comm.send(1, 1, [7u8]).wait().expect("it is sent");
        for _ in 0..5 {
            comm.barrier().wait().expect("all are here");
        }
    };
    beside_a_host::<2, 128>(Options::new(1, 2), host, |comm| {
        let mut came = [0u8];
        let mut token = comm.recv(0, 1, &mut came);
        // On a busy machine the message may be here before it is looked for.
        let early = token.test();
        for _ in 0..5 {
            drive(comm.barrier()).expect("there is room for one call");
        }
        let status = early.unwrap_or_else(|| drive(&mut token));
        assert_eq!(status.expect("a message").count::<u8>(), Some(1));
        drop(token);
        assert_eq!(came, [7]);
    });
}

const SILENCE: Duration = Duration::from_millis(400);

#[test]
fn a_board_that_is_polled_keeps_its_promise_of_how_long_it_is_silent() {
    let host = |world: &World| {
        let comm = world.comm();
        let before = world.traffic().received;
        // Nothing else may happen for many times as long as the board may be silent.
        std::thread::sleep(4 * SILENCE);
        assert_eq!(world.traffic().received, before, "nobody has been suspected");
        comm.send(1, 1, [7u8]).wait().expect("the board is there");
        comm.barrier().wait().expect("the board is there");
    };
    beside_a_host::<2, 128>(Options::new(1, 2).max_silence(SILENCE), host, |comm| {
        let mut came = [0u8];
        drive(comm.recv(0, 1, &mut came)).expect("a late message");
        assert_eq!(came, [7]);
        drive(comm.barrier()).expect("all are here");
    });
}

#[test]
fn a_board_is_suspected_when_it_is_silent_for_longer_than_it_said_and_not_before() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(2);
    let address = hub.address;
    let over = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut memory = Memory::<2, 128>::new();
            let port = SocketPort::connect(address.port(), 600);
            let options = Options::new(1, 2).max_silence(SILENCE);
            let world = drive(join(port, StdClock(Instant::now()), &mut memory, &options)).expect("a board joins");
            // It computes, and polls nothing.
            over.wait();
            drop(world);
        });
        let world = Builder::new().config(joining(address, 2, 0)).init().wait().expect("a host joins");
        let silent_since = Instant::now();
        let error = world.comm().recv::<u8>(1, 1).wait().expect_err("the board is suspected");
        let after = silent_since.elapsed();
        assert!(matches!(&error, edgempi::Error::RankFailed { ranks, .. } if ranks.contains(&Rank::new(1))), "{error}");
        assert!(error.to_string().contains("silent"), "{error}");
        assert!(after >= SILENCE * 9 / 10 && after < 10 * SILENCE, "suspected after {after:?}");
        over.wait();
    });
}

#[test]
fn a_board_may_be_silent_for_as_long_as_it_said() {
    let host = |world: &World| {
        world.comm().send(1, 1, [7u8]).wait().expect("the board is there");
        let (came, _) = world.comm().recv::<u8>(1, 2).wait().expect("the board takes its time, as it said");
        assert_eq!(came, [8]);
    };
    beside_a_host::<2, 128>(Options::new(1, 2).max_silence(10 * SILENCE), host, |comm| {
        drive(comm.recv(0, 1, &mut [0u8])).expect("a message");
        // Arithmetic.
        std::thread::sleep(3 * SILENCE);
        drive(comm.send(0, 2, &[8u8])).expect("nobody has given it up");
    });
}
