//! Ranks and hubs that die, in every way a process can, while others wait for them: whoever needs them is told at once,
//! nobody hangs, and the survivors can go on among themselves.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use edgempi::hub::Registry;
use edgempi::{ANY_SOURCE, Builder, Comm, Error, Init, Rank, Request, Sum, World};
use edgempi_core::wire::{Down, Hello, Up};
use edgempi_tests::process::{Process, lone_hub, rank_of};
use edgempi_tests::stranger::{Stranger, first_barrier, hello};
use edgempi_tests::{LoneHub, Watchdog, blame, edgempi, free_address, hosted, join, joining, on_ranks, tcp_worlds};

const RANK: &str = env!("CARGO_BIN_EXE_rank");
/// How soon whoever waits for a dead rank has to be told, on a slow machine, too. Who is not told finds out by silence,
/// which takes half a minute.
const SOON: Duration = Duration::from_secs(6);
/// Elements of a stream that takes a while: as many as the other process gives.
const LONG: usize = 32 << 20;

/// Two ranks here, of which rank 0 hosts the hub, and rank 2 in a process of its own.
fn survivors_and_victim() -> ([World; 2], Process) {
    let hub = free_address();
    let mut victim = Process::start(rank_of(Path::new(RANK), hub, 3, 2));
    let worlds = join((0..2).map(|rank| hosted(hub, 3, rank)), &Registry::new()).expect("nothing is wrong");
    assert_eq!(victim.hear(), "joined");
    (worlds.try_into().expect("two"), victim)
}

/// Both calls have been made, and the hub has both of them: what a rank sends later has come.
fn settle(worlds: &[World; 2]) {
    let [first, second] = worlds.each_ref().map(World::comm);
    for (from, to) in [(&first, &second), (&second, &first)] {
        from.objects().send(to.rank(), 99, "settled").wait().expect("the other is there");
        let (text, _) = to.objects().recv::<String>(from.rank(), 99).wait().expect("the other is there");
        assert_eq!(text, "settled");
    }
}

#[track_caller]
fn assert_failed(error: &Error, why: &str) {
    assert_eq!(blame(error), format!("rank 2 has failed: {why}"));
    assert!(matches!(error, Error::RankFailed { ranks, .. } if *ranks == [Rank::new(2)]), "{error:?}");
}

/// The survivors still have each other.
fn go_on(worlds: [World; 2], why: &str) {
    for world in &worlds {
        assert_failed(&world.comm().barrier().wait().expect_err("rank 2 is needed"), why);
    }
    let totals = on_ranks(worlds.into(), |world| -> Result<u32, Error> {
        let (comm, other) = (world.comm(), 1 - world.rank().get());
        let request = comm.send(other, 1, vec![world.rank().get(); 300_000]);
        let (received, status) = comm.recv::<u32>(other, 1).wait()?;
        request.wait()?;
        assert_eq!(status.source, other);
        Ok(received.iter().sum())
    });
    assert_eq!(totals, [Ok(300_000), Ok(0)]);
}

/// How a process may end, and what the others are told then.
#[derive(Clone, Copy)]
enum Death {
    /// `exit`, without a word to anybody.
    Exit,
    /// A panic in `main`, which unwinds.
    Panic,
    /// SIGKILL.
    Kill,
    /// The world is dropped, and the process lives.
    Drop,
}

impl Death {
    const ALL: [Self; 4] = [Self::Exit, Self::Panic, Self::Kill, Self::Drop];

    fn inflict(self, victim: &mut Process) {
        match self {
            Self::Exit => {
                victim.say("exit");
                assert_eq!(victim.end().0.code(), Some(7));
            }
            Self::Panic => {
                victim.say("panic");
                let (status, said) = victim.end();
                assert!(status.code() == Some(101) && said.contains("told to panic"), "{status}: {said}");
            }
            Self::Kill => victim.kill(),
            Self::Drop => {
                victim.say("drop");
                assert_eq!(victim.hear(), "ok");
            }
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Exit | Self::Kill => "its connection closed without a goodbye",
            Self::Panic | Self::Drop => "it dropped its world without finalize()",
        }
    }
}

/// The victim dies while the others wait in `call`, and they are told.
fn die_during<T>(call: impl Fn(&Comm) -> Request<'static, T>) {
    for death in Death::ALL {
        let _watchdog = Watchdog::start();
        let (worlds, mut victim) = survivors_and_victim();
        let requests = worlds.each_ref().map(|world| call(&world.comm()));
        settle(&worlds);
        assert!(requests.iter().all(|request| !request.test()), "they wait for the victim");
        death.inflict(&mut victim);
        let start = Instant::now();
        for request in requests {
            assert_failed(&request.wait().map(drop).expect_err("rank 2 is dead"), death.why());
        }
        assert!(start.elapsed() < SOON, "they were told after {:?}", start.elapsed());
        go_on(worlds, death.why());
    }
}

#[test]
fn a_death_during_a_barrier() {
    die_during(Comm::barrier);
}

#[test]
fn a_death_during_a_small_allreduce() {
    die_during(|comm| comm.allreduce([1u8, 2, 3], Sum));
}

#[test]
fn a_death_during_a_bcast_from_the_dead() {
    die_during(|comm| comm.bcast(2, vec![0u64; 9]));
}

#[test]
fn a_death_during_an_alltoall_of_objects() {
    die_during(|comm| comm.objects().alltoall(&["a".to_owned(), "b".to_owned(), "c".to_owned()]));
}

#[test]
fn a_death_during_a_receive_from_the_dead() {
    die_during(|comm| comm.recv::<f32>(2, 5));
}

#[test]
fn a_death_during_a_large_send_to_the_dead() {
    die_during(|comm| comm.send(2, 5, vec![0u8; 32 << 20]));
}

#[test]
fn a_death_in_the_middle_of_a_large_stream() {
    for death in Death::ALL {
        let _watchdog = Watchdog::start();
        let (worlds, mut victim) = survivors_and_victim();
        victim.say("stream");
        let requests = worlds.each_ref().map(|world| world.comm().allreduce(vec![0f32; LONG], Sum));
        assert_eq!(victim.hear(), "ok", "it is under way");
        death.inflict(&mut victim);
        let start = Instant::now();
        for (world, request) in worlds.iter().zip(requests) {
            assert_failed(&request.wait().map(drop).expect_err("rank 2 is dead"), death.why());
            assert!(world.traffic().sent > 1 << 20, "it was in the middle");
        }
        assert!(start.elapsed() < SOON, "they were told after {:?}", start.elapsed());
        let status = worlds[0].hub_status().expect("rank 0 hosts the hub");
        assert_eq!((status.operations, status.windows, status.failed), (0, 0, 1), "{status:?}");
        go_on(worlds, death.why());
    }
}

#[test]
fn a_receive_from_anybody_outlives_one_death_and_fails_with_the_last() {
    let _watchdog = Watchdog::start();
    let (worlds, mut victim) = survivors_and_victim();
    let [first, second] = worlds;
    let served = first.comm().objects().recv::<String>(ANY_SOURCE, 0);
    victim.kill();
    assert_failed(&first.comm().barrier().wait().expect_err("rank 2 is dead"), Death::Kill.why());
    second.comm().objects().send(0, 0, "I am here").wait().expect("rank 0 is");
    assert_eq!(served.wait().expect("rank 1 lives").0, "I am here");
    let unserved = first.comm().recv::<u8>(ANY_SOURCE, 0);
    drop(second);
    let error = unserved.wait().expect_err("nobody is left");
    assert!(matches!(&error, Error::RankFailed { .. }), "{error:?}");
    assert_eq!(blame(&error), format!("all other ranks are gone: rank 2 has failed: {}", Death::Kill.why()));
    first.finalize().wait().expect("everybody else is gone");
}

#[test]
fn what_the_dead_had_sent_still_arrives() {
    let _watchdog = Watchdog::start();
    let mut worlds = tcp_worlds(2);
    let second = worlds.pop().expect("two");
    second.comm().objects().send(0, 3, "last words").wait().expect("it fits the queue");
    drop(second);
    let [first] = <[World; 1]>::try_from(worlds).expect("one");
    let error = first.comm().barrier().wait().expect_err("rank 1 is gone");
    assert!(matches!(error, Error::RankFailed { .. }), "{error:?}");
    let (text, _) = first.comm().objects().recv::<String>(1, 3).wait().expect("it came before");
    assert_eq!(text, "last words");
    first.finalize().wait().expect("everybody else is gone");
}

// Worlds that are dropped, and ranks that finish: over both kinds of link.

/// Worlds over memory and over TCP.
fn both_links(size: u32) -> [Vec<World>; 2] {
    [edgempi::local(size).expect("threads are left"), tcp_worlds(size)]
}

#[test]
fn a_world_that_is_dropped_fails_its_rank_for_the_others() {
    for dropped in 0..3 {
        for mut worlds in both_links(3) {
            let _watchdog = Watchdog::start();
            // A send that nobody takes keeps nobody here.
            let _unread = worlds[dropped].comm().send((dropped as u32 + 1) % 3, 0, vec![0u8; 16 << 20]);
            drop(worlds.remove(dropped));
            let start = Instant::now();
            for world in &worlds {
                let error = world.comm().barrier().wait().expect_err("one has gone");
                let expected = format!("rank {dropped} has failed: it dropped its world without finalize()");
                assert_eq!(blame(&error), expected);
            }
            assert!(start.elapsed() < SOON, "they were told after {:?}", start.elapsed());
            on_ranks(worlds, |_| {});
        }
    }
}

#[test]
fn a_world_that_is_given_up_while_it_is_joined_fails_its_rank_for_the_others() {
    for given_up in 0..3 {
        let _watchdog = Watchdog::start();
        let hub = free_address();
        let mut joining: Vec<Init> = (0..3).map(|rank| Builder::new().config(hosted(hub, 3, rank)).init()).collect();
        drop(joining.remove(given_up));
        let start = Instant::now();
        for init in joining {
            // If that rank was in already when it was given up, the others may have been, too.
            let result = init.wait().and_then(|world| world.comm().barrier().wait());
            let error = result.expect_err("one has gone");
            assert!(error.to_string().starts_with(&format!("rank {given_up} has failed: ")), "{error}");
        }
        assert!(start.elapsed() < 2 * SOON, "they were told after {:?}", start.elapsed());
    }
}

#[test]
fn a_rank_that_finished_is_named_to_those_who_still_need_it() {
    for mut worlds in both_links(3) {
        let _watchdog = Watchdog::start();
        let early = worlds[0].comm().barrier();
        let receive = worlds[1].comm().recv::<u8>(2, 0);
        let finalize = worlds.pop().expect("three").finalize();
        let start = Instant::now();
        let comm = worlds[1].comm();
        for error in [early.wait().map(drop), receive.wait().map(drop), comm.barrier().wait()].map(Result::unwrap_err) {
            let expected = "rank 2 has finalized and takes part in nothing any more";
            assert_eq!(blame(&error), expected);
            assert!(matches!(error, Error::RankFinished { rank, .. } if rank == 2), "{error:?}");
        }
        assert!(start.elapsed() < SOON, "they were told after {:?}", start.elapsed());
        on_ranks(worlds, |_| {});
        finalize.wait().expect("everybody has finished");
    }
}

#[test]
fn calls_on_a_world_that_is_over_say_so() {
    for mut worlds in both_links(1) {
        let _watchdog = Watchdog::start();
        let world = worlds.pop().expect("one");
        let comm = world.comm();
        world.finalize().wait().expect("nobody else is there");
        let error = comm.barrier().wait().expect_err("it is over");
        assert_eq!(error, Error::Finalized);
        assert!(error.to_string().starts_with("this rank has left the world"), "{error}");
    }
}

// Hubs.

/// Ranks 1 and 2 here, and rank 0 with the hub in a process of its own.
fn guests_and_host() -> ([World; 2], Process, SocketAddr) {
    let hub = free_address();
    let mut host = Process::start(rank_of(Path::new(RANK), hub, 3, 0));
    let worlds = join((1..3).map(|rank| hosted(hub, 3, rank)), &Registry::new()).expect("nothing is wrong");
    assert_eq!(host.hear(), "joined");
    (worlds.try_into().expect("two"), host, hub)
}

#[track_caller]
fn assert_disconnected(error: &Error, hub: SocketAddr) {
    assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
    let said = error.to_string();
    let closed = format!("disconnected from the hub: the hub at {hub} closed the connection");
    let broke = format!("disconnected from the hub: the connection to the hub at {hub} broke: ");
    assert!(said == closed || said.starts_with(&broke), "{said}");
}

/// Everything that waits fails, everything later, too, and finalize does not wait for a hub that is gone.
fn lose_hub<T>(worlds: [World; 2], hub: SocketAddr, requests: [Request<'static, T>; 2]) {
    let start = Instant::now();
    for (world, request) in worlds.into_iter().zip(requests) {
        assert_disconnected(&request.wait().map(drop).expect_err("the hub is gone"), hub);
        assert_disconnected(&world.comm().send(0, 0, [1u8]).wait().expect_err("the hub is gone"), hub);
        assert_disconnected(&world.comm().barrier().wait().expect_err("the hub is gone"), hub);
        assert_disconnected(&world.finalize().wait().expect_err("the hub is gone"), hub);
    }
    assert!(start.elapsed() < SOON, "they were told after {:?}", start.elapsed());
}

#[test]
fn a_death_of_the_rank_that_hosts_the_hub_disconnects_everybody() {
    for death in [Death::Exit, Death::Kill] {
        for call in [|comm: &Comm| comm.barrier(), |comm: &Comm| comm.recv::<u8>(0, 0).map(drop)] {
            let _watchdog = Watchdog::start();
            let (worlds, mut host, hub) = guests_and_host();
            let requests = worlds.each_ref().map(|world| call(&world.comm()));
            settle(&worlds);
            death.inflict(&mut host);
            lose_hub(worlds, hub, requests);
        }
    }
}

#[test]
fn a_panic_of_the_rank_that_hosts_the_hub_is_told_to_everybody() {
    let _watchdog = Watchdog::start();
    let (worlds, mut host, _) = guests_and_host();
    let requests = worlds.each_ref().map(|world| world.comm().barrier());
    settle(&worlds);
    host.say("panic");
    let assert_told = |error: &Error| {
        assert_eq!(blame(error), "rank 0 has failed: it dropped its world without finalize()");
        assert!(matches!(error, Error::RankFailed { .. }), "{error:?}");
    };
    for request in requests {
        assert_told(&request.wait().expect_err("rank 0 is needed"));
    }
    // Who calls only now is told, too: the hub lives for a while longer.
    for world in &worlds {
        assert_told(&world.comm().barrier().wait().expect_err("rank 0 is needed"));
    }
    drop(worlds);
    let (status, said) = host.end();
    assert!(status.code() == Some(101) && said.contains("told to panic"), "{status}: {said}");
}

#[test]
fn a_hub_that_dies_in_the_middle_of_a_large_stream_disconnects_everybody() {
    let _watchdog = Watchdog::start();
    let (worlds, mut host, hub) = guests_and_host();
    host.say("stream");
    let requests = worlds.each_ref().map(|world| world.comm().allreduce(vec![0f32; LONG], Sum));
    assert_eq!(host.hear(), "ok", "it is under way");
    host.kill();
    lose_hub(worlds, hub, requests);
}

/// Two ranks here, at a hub that is a process of its own.
fn ranks_at_the_command() -> ([World; 2], Process, SocketAddr) {
    let (hub, address) = lone_hub(2, &[]);
    let worlds = join((0..2).map(|rank| joining(address, 2, rank)), &Registry::new()).expect("nothing is wrong");
    (worlds.try_into().expect("two"), hub, address)
}

#[test]
fn a_hub_of_its_own_that_is_killed_disconnects_everybody() {
    // Building it may take a while.
    edgempi();
    let _watchdog = Watchdog::start();
    let (worlds, mut hub, address) = ranks_at_the_command();
    let requests = worlds.each_ref().map(|world| world.comm().recv::<u8>(ANY_SOURCE, 0));
    settle(&worlds);
    hub.kill();
    lose_hub(worlds, address, requests);
}

#[cfg(unix)]
#[test]
fn a_hub_of_its_own_that_is_told_to_stop_says_so() {
    // Building it may take a while.
    edgempi();
    let _watchdog = Watchdog::start();
    let (worlds, mut hub, address) = ranks_at_the_command();
    let requests = worlds.each_ref().map(|world| world.comm().recv::<u8>(ANY_SOURCE, 0));
    settle(&worlds);
    hub.signal("TERM");
    for (world, request) in worlds.into_iter().zip(requests) {
        let error = request.wait().expect_err("the hub is gone");
        assert_eq!(error.to_string(), format!("disconnected from the hub: the hub at {address} shut down"));
        assert_eq!(world.finalize().wait().expect_err("the hub is gone"), error);
    }
    assert_eq!(hub.end().0.code(), Some(128 + 15));
}

#[test]
fn a_hub_of_its_own_ends_when_its_ranks_have_died() {
    // Building it may take a while.
    edgempi();
    let _watchdog = Watchdog::start();
    let (worlds, mut hub, _) = ranks_at_the_command();
    drop(worlds);
    let (status, said) = hub.end();
    assert!(status.success(), "{status}: {said}");
}

// Silence.

#[cfg(unix)]
#[test]
fn a_process_that_is_stopped_has_failed_after_the_silence_that_it_promised_at_most() {
    let _watchdog = Watchdog::start();
    let hub = free_address();
    let joining: Vec<Init> = (0..2).map(|rank| Builder::new().config(hosted(hub, 3, rank)).init()).collect();
    // What a host promises is 30 s, and can not be set; a rank by hand promises less.
    let mut command = rank_of(Path::new(RANK), hub, 3, 2);
    command.args(["--promise", "600"]);
    let mut victim = Process::start(command);
    let worlds: Vec<World> = joining.into_iter().map(|init| init.wait().expect("all are there")).collect();
    let worlds: [World; 2] = worlds.try_into().expect("two");
    assert_eq!(victim.hear(), "joined");
    let requests = worlds.each_ref().map(|world| world.comm().barrier());
    settle(&worlds);
    victim.signal("STOP");
    let start = Instant::now();
    for request in requests {
        assert_failed(&request.wait().expect_err("rank 2 is silent"), "it was silent for 0.6 s");
    }
    // Its last sign of life was some time before it was stopped.
    let suspected = Duration::from_millis(300)..Duration::from_millis(600) + SOON;
    assert!(suspected.contains(&start.elapsed()), "they were told after {:?}", start.elapsed());
    go_on(worlds, "it was silent for 0.6 s");
}

#[test]
fn a_rank_that_reads_nothing_more_does_not_keep_the_others_from_leaving() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(2);
    let init = Builder::new().config(joining(hub.address, 2, 0)).init();
    let mut deaf = Stranger::join(hub.address, Hello { max_silence: 1000, ..hello(1, 2) });
    deaf.say(Up::Submit(first_barrier()), &[]).expect("the hub reads");
    while !matches!(deaf.hear(), Some((Down::Complete(_), _))) {}
    let world = init.wait().expect("both are there");
    // More than any socket holds is on its way to it when it falls silent.
    let receive = edgempi_tests::stranger::receive_from(0, 1 << 30);
    deaf.say(Up::Submit(receive), &[]).expect("the hub reads");
    let sent = world.comm().send(1, 0, vec![7u8; 64 << 20]);
    let error = sent.wait().expect_err("nobody reads it");
    assert_eq!(blame(&error), "rank 1 has failed: it was silent for 1 s");
    let start = Instant::now();
    world.finalize().wait().expect("everybody else is gone");
    assert!(start.elapsed() < 2 * SOON, "it left after {:?}", start.elapsed());
    // The hub ends, too, although the connection is still open.
    hub.ended();
    assert!(start.elapsed() < 2 * SOON, "it ended after {:?}", start.elapsed());
    drop(deaf);
}
