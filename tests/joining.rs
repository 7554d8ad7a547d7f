//! Joining a world, and everything that can be wrong with that: no hub, no port, a rank too many, ranks that do not
//! fit, ranks that never come, and strangers at the door.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::hub::Registry;
use edgempi::{Builder, Category, Config, Error, Max, Rank, World};
use edgempi_core::wire::{Down, Goodbye, GoodbyeReason, Hello, MAX_HEAD_LEN, Reject, Up, VERSION, Welcome};
use edgempi_tests::process::{Process, command, lone_hub, rank_of};
use edgempi_tests::stranger::{Stranger, hello};
use edgempi_tests::{LoneHub, Watchdog, blame, edgempi, free_address, hosted, join, joining, on_ranks, tcp_worlds};

const RANK: &str = env!("CARGO_BIN_EXE_rank");

/// A process that is a rank.
fn rank(hub: SocketAddr, size: u32, rank: u32) -> Command {
    rank_of(Path::new(RANK), hub, size, rank)
}

/// Why this rank can not join.
fn refused(config: Config) -> Error {
    Builder::new().config(config).init().wait().expect_err("this rank does not fit")
}

/// The world works: every rank takes part in a collective, and leaves.
fn assert_usable(worlds: Vec<World>) {
    let size = worlds.len() as u32;
    let largest = on_ranks(worlds, |world| world.comm().allreduce([world.rank().get()], Max).wait());
    assert!(largest.iter().all(|result| *result == Ok(vec![size - 1])), "{largest:?}");
}

// No hub.

#[test]
fn a_hub_that_is_not_there_is_named_with_what_was_tried_and_for_how_long() {
    let _watchdog = Watchdog::start();
    let (hub, start) = (free_address(), Instant::now());
    let error = refused(joining(hub, 2, 1).wait(Duration::from_millis(700)));
    let Error::Connect { address, tries, waited, reason } = &error else { panic!("{error:?}") };
    assert_eq!(*address, hub.to_string());
    assert!(*tries > 1, "a hub may start later than its ranks: {tries} tries");
    assert!((Duration::from_millis(700)..Duration::from_millis(1700)).contains(waited), "{waited:?}");
    assert!(start.elapsed() >= *waited);
    assert!(reason.starts_with("Connection refused"), "{reason}");
    let expected = format!("no hub at {hub} after {tries} tries in {:.1} s: {reason}; start", waited.as_secs_f32());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(error.to_string().contains("EDGEMPI_ADDR and EDGEMPI_PORT"), "{error}");
}

#[test]
fn the_environment_says_how_long_a_process_waits_for_its_hub() {
    let _watchdog = Watchdog::start();
    let (hub, start) = (free_address(), Instant::now());
    let mut command = rank(hub, 2, 1);
    command.env("EDGEMPI_WAIT", "300ms");
    let mut process = Process::start(command);
    let (status, said) = process.end();
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(20));
    assert_eq!(status.code(), Some(1));
    assert!(said.starts_with(&format!("Error: Connect: no hub at {hub} after ")), "{said}");
    assert!(said.contains(" tries in ") && said.contains(" s: Connection refused"), "{said}");
}

#[test]
fn a_rank_without_patience_tries_once() {
    let error = refused(joining(free_address(), 2, 1).wait(Duration::ZERO));
    assert!(matches!(error, Error::Connect { tries: 1, .. }), "{error:?}");
    assert!(error.to_string().contains(" after 1 try in "), "{error}");
}

#[test]
fn a_rank_without_patience_reaches_the_hub_in_its_own_process() {
    let _watchdog = Watchdog::start();
    let hosted = |size| hosted(free_address(), size, 0).wait(Duration::ZERO);
    assert_usable(join([hosted(1)], &Registry::new()).expect("the hub is there"));
    let error = refused(hosted(2));
    assert!(matches!(&error, Error::RankFailed { ranks, .. } if *ranks == [Rank::new(1)]), "{error:?}");
}

#[test]
fn a_rank_finds_a_hub_that_starts_later() {
    let _watchdog = Watchdog::start();
    let hub = free_address();
    let early = Builder::new().config(hosted(hub, 2, 1)).init();
    // Once another has tried in vain, so has this one.
    assert!(matches!(refused(joining(hub, 2, 0).wait(Duration::from_millis(100))), Error::Connect { .. }));
    let host = Builder::new().config(hosted(hub, 2, 0)).init();
    assert_usable([host, early].into_iter().map(|init| init.wait().expect("both are there")).collect());
}

/// What a rank meets that takes a server of another kind for its hub.
fn at_another_server(serve: impl FnOnce(TcpListener) + Send) -> (SocketAddr, Error) {
    let _watchdog = Watchdog::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::scope(|scope| {
        scope.spawn(|| serve(listener));
        (address, refused(joining(address, 2, 1).wait(Duration::from_millis(500))))
    })
}

#[test]
fn a_hub_in_the_process_of_rank_0_that_is_gone_without_a_word_points_there() {
    let _watchdog = Watchdog::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let config = Config::new().addr("").listen(address.to_string()).size(2).rank(1).wait(Duration::from_millis(500));
    let error = thread::scope(|scope| {
        scope.spawn(|| drop(listener.accept().expect("the rank comes")));
        refused(config)
    });
    let hint = "; it was in the process of rank 0, which may have said why it ended";
    assert!(error.to_string().ends_with(hint), "{error}");
}

#[test]
fn ranks_do_not_look_for_rank_0_at_a_port_that_the_system_chooses() {
    let _watchdog = Watchdog::start();
    for rank in 0..2 {
        let config = Config::new().addr("").listen("127.0.0.1:0").size(2).rank(rank);
        let error = refused(config).to_string();
        assert!(
            error.ends_with("expected a port at which the other ranks find the hub of rank 0: name one, or none"),
            "{error}"
        );
    }
}

#[test]
fn a_server_that_never_answers_is_no_hub() {
    let over = AtomicBool::new(false);
    let (address, error) = at_another_server(|listener| {
        let (mut stream, _) = listener.accept().expect("the rank comes");
        let _ = stream.read_to_end(&mut Vec::new());
        over.store(true, Ordering::SeqCst);
    });
    let expected = "something accepted the connection there and does not answer like a hub";
    assert!(matches!(&error, Error::Connect { reason, .. } if reason == expected), "{error:?}");
    assert!(error.to_string().starts_with(&format!("no hub at {address} after 1 try in ")), "{error}");
    assert!(over.load(Ordering::SeqCst), "the rank hangs up");
}

#[test]
fn a_server_with_a_greeting_of_its_own_is_no_hub() {
    let (address, error) = at_another_server(|listener| {
        let (mut stream, _) = listener.accept().expect("the rank comes");
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let said = error.to_string();
    assert!(said.contains(&address.to_string()) && said.contains("not") && said.contains("hub"), "{error:?}");
}

#[test]
fn a_server_that_hangs_up_is_named() {
    let (address, error) = at_another_server(|listener| {
        let (mut stream, _) = listener.accept().expect("the rank comes");
        let _ = stream.read(&mut [0; 100]);
    });
    let expected = format!("disconnected from the hub: the hub at {address} closed the connection");
    assert_eq!(error.to_string(), expected);
}

// A port that is taken.

#[test]
fn a_hub_whose_port_is_taken_says_which() {
    // Building it may take a while.
    let program = edgempi();
    let _watchdog = Watchdog::start();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    let error = refused(hosted(address, 2, 0));
    assert!(matches!(&error, Error::Listen { address: its, .. } if *its == address.to_string()), "{error:?}");
    let said = error.to_string();
    assert!(said.starts_with(&format!("can not listen on {address}: Address already in use")), "{said}");
    assert!(said.contains("another rank 0") && said.contains("EDGEMPI_PORT"), "{said}");
    let mut hub = command(program);
    hub.args(["hub", "--size", "2", "--listen", &address.to_string()]);
    let (status, said) = Process::start(hub).end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&format!("can not listen on {address}: Address already in use")), "{said}");
}

#[test]
fn a_second_rank_0_finds_the_port_taken_and_the_first_one_stays() {
    let _watchdog = Watchdog::start();
    let hub = free_address();
    let worlds = join((0..2).map(|rank| hosted(hub, 2, rank)), &Registry::new()).expect("nothing is wrong");
    let (status, said) = Process::start(rank(hub, 2, 0)).end();
    assert_eq!(status.code(), Some(1));
    assert!(said.starts_with(&format!("Error: Listen: can not listen on {hub}: ")), "{said}");
    assert_usable(worlds);
}

#[test]
fn a_second_init_in_a_process_is_told_of_the_first_and_not_of_one_that_is_over() {
    let _watchdog = Watchdog::start();
    let hub = free_address();
    let worlds = join((0..2).map(|rank| hosted(hub, 2, rank)), &Registry::new()).expect("nothing is wrong");
    let [host, guest] = [0, 1].map(|rank| refused(hosted(hub, 2, rank)));
    assert!(matches!(host, Error::Listen { .. }), "{host:?}");
    assert!(matches!(guest, Error::Refused { category: Category::RankTaken, .. }), "{guest:?}");
    for error in [host, guest] {
        assert!(error.to_string().contains("this process has called init() already"), "{error}");
    }
    assert_usable(worlds);
    let _taken = TcpListener::bind(hub).expect("the world has left it");
    let error = refused(hosted(hub, 2, 0));
    assert!(matches!(error, Error::Listen { .. }) && !error.to_string().contains("init()"), "{error}");
}

// Ranks that do not fit.

#[test]
fn a_rank_beyond_the_size_is_told_before_it_connects() {
    let hub = LoneHub::start(4);
    let (status, said) = Process::start(rank(hub.address, 4, 4)).end();
    assert_eq!(status.code(), Some(1));
    let expected = "Error: Config: EDGEMPI_RANK=4 does not exist in a world of 4 (set by EDGEMPI_SIZE): ranks go from \
                    0 to 3; start every rank with the same EDGEMPI_SIZE, and each with its own EDGEMPI_RANK below it\n";
    assert_eq!(said, expected);
}

#[test]
fn a_rank_beyond_the_size_is_told_by_the_hub_too() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(4);
    let mut stranger = Stranger::connect(hub.address);
    stranger.say(Up::Hello(hello(4, 4)), &[]).expect("the hub reads");
    let expected = "there is no rank 4 in a world of 4: ranks go from 0 to 3";
    assert_eq!(stranger.refusal(), (Category::WrongWorld, expected.to_owned()));
}

#[test]
fn sizes_that_differ_are_named_and_the_others_wait_for_the_right_one() {
    let _watchdog = Watchdog::start();
    let hub = free_address();
    let early: Vec<_> = (0..2).map(|rank| Builder::new().config(hosted(hub, 3, rank)).init()).collect();
    let error = refused(joining(hub, 4, 2));
    let expected = format!(
        "the hub at {hub} refused: the world has 3 ranks, this rank says 4; start every rank with the same EDGEMPI_SIZE"
    );
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, Error::Refused { category: Category::WrongWorld, .. }), "{error:?}");
    let right = Builder::new().config(hosted(hub, 3, 2)).init();
    assert_usable(early.into_iter().chain([right]).map(|init| init.wait().expect("all are there")).collect());
}

#[test]
fn a_rank_of_another_world_is_told_both_names() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(2);
    let error = refused(joining(hub.address, 2, 0).world("tuesday"));
    let expected = format!(
        "the hub at {} refused: the hub serves a world without a name, this rank looks for world \"tuesday\"; start \
         every rank with the same EDGEMPI_WORLD",
        hub.address
    );
    assert_eq!(error.to_string(), expected);
}

// Two processes with one rank.

#[test]
fn a_second_process_with_a_rank_is_refused_and_the_first_one_stays() {
    let _watchdog = Watchdog::start();
    let hub = free_address();
    let worlds = join((0..3).map(|rank| hosted(hub, 3, rank)), &Registry::new()).expect("nothing is wrong");
    let (status, said) = Process::start(rank(hub, 3, 1)).end();
    assert_eq!(status.code(), Some(1));
    let expected = format!(
        "Error: Refused: the hub at {hub} refused: rank 1 is taken by a living process; give every process its own \
         EDGEMPI_RANK\n"
    );
    assert_eq!(said, expected);
    assert_usable(worlds);
}

#[test]
fn a_second_process_with_a_rank_is_refused_while_the_world_still_gathers() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(2);
    let mut first = Stranger::join(hub.address, hello(0, 2));
    let second = thread::scope(|scope| {
        let second = scope.spawn(|| refused(joining(hub.address, 2, 0)));
        // The first one is asked whether it lives.
        assert!(matches!(first.hear(), Some((Down::Ping(_), _))));
        first.say(Up::Pong(edgempi_core::wire::Ping { acknowledged: 0 }), &[]).expect("the hub reads");
        second.join().expect("no panic")
    });
    assert!(matches!(second, Error::Refused { category: Category::RankTaken, .. }), "{second:?}");
    first.say(Up::Goodbye(Goodbye { reason: GoodbyeReason::Finished }), &[]).expect("the first one is still in");
}

#[cfg(unix)]
#[test]
fn a_process_that_does_not_answer_when_another_claims_its_rank_has_failed() {
    let _watchdog = Watchdog::start();
    let hub = free_address();
    let host = Builder::new().config(hosted(hub, 2, 0)).init();
    let mut first = Process::start(rank(hub, 2, 1));
    let host = host.wait().expect("both are there");
    assert_eq!(first.hear(), "joined");
    let barrier = host.comm().barrier();
    first.signal("STOP");
    let start = Instant::now();
    let (status, said) = Process::start(rank(hub, 2, 1)).end();
    assert_eq!(status.code(), Some(1));
    let expected = format!(
        "Error: Refused: the hub at {hub} refused: rank 1 had a link that no longer answers; that process counts as \
         failed, and a failed rank can not come back into this world\n"
    );
    assert_eq!(said, expected);
    let error = barrier.wait().expect_err("rank 1 is stopped");
    assert_eq!(blame(&error), "rank 1 has failed: its link no longer answers");
    assert!(matches!(&error, Error::RankFailed { ranks, .. } if *ranks == [Rank::new(1)]), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(15), "it has a second to answer: {:?}", start.elapsed());
    host.finalize().wait().expect("everybody else is gone");
    // It wakes up, and is told.
    first.signal("CONT");
    first.say("barrier");
    let heard = first.hear();
    assert!(heard.starts_with(&format!("error: Refused: the hub at {hub} refused: ")), "{heard}");
    assert!(heard.contains("did not answer"), "{heard}");
}

// Versions.

#[test]
fn another_version_of_the_protocol_is_told_both() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(2);
    let said = |header: &dyn Fn(Vec<u8>) -> Vec<u8>, version| {
        let mut stranger = Stranger::connect(hub.address);
        let mut head = [0; MAX_HEAD_LEN];
        let len = Up::Hello(Hello { version, ..hello(0, 2) }).encode(0, &mut head);
        let header = header(head[6..len].to_vec());
        stranger.write(&[&[1, header.len() as u8, 0, 0, 0, 0], header.as_slice()].concat()).expect("the hub reads");
        stranger.refusal()
    };
    let text = |version| {
        format!(
            "this rank speaks version {version} of the protocol and the hub version {VERSION}: use the same release of \
             edgempi on both sides"
        )
    };
    assert_eq!(said(&|header| header, 2), (Category::Version, text(2)));
    // What else a Hello says may change from version to version.
    assert_eq!(said(&|header| [header, vec![9; 100]].concat(), 700), (Category::Version, text(700)));
    assert_eq!(said(&|header| header[..6].to_vec(), 0), (Category::Version, text(0)));
    assert_eq!(said(&|header| [&header[..6], &[0xff; 20]].concat(), 3), (Category::Version, text(3)));
}

fn answer(listener: &TcpListener, frame: Down, reason: &str) {
    let (mut stream, _) = listener.accept().expect("the rank comes");
    let mut head = [0; MAX_HEAD_LEN];
    let len = frame.encode(reason.len() as u32, &mut head);
    let _ = stream.read(&mut [0; 200]);
    let _ = stream.write_all(&[&head[..len], reason.as_bytes()].concat());
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_hub_of_another_version_is_understood_when_it_refuses() {
    let reject = Down::Reject(Reject { category: Category::Version, len: 1, max: 9 });
    let (address, error) = at_another_server(move |listener| answer(&listener, reject, "version 9 is spoken here"));
    assert!(matches!(&error, Error::Refused { category: Category::Version, .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("the hub at {address} refused: version 9 is spoken here"));
}

#[test]
fn a_hub_of_another_version_that_does_not_refuse_is_left() {
    let welcome = Down::Welcome(Welcome {
        version: 9,
        session: 1,
        incarnation: 1,
        max_payload: 4096,
        max_message: 1 << 20,
        max_requests: 100,
        queue_size: 1 << 20,
        max_silence: 20_000,
    });
    let (address, error) = at_another_server(move |listener| answer(&listener, welcome, ""));
    let expected = format!(
        "protocol error: the hub at {address} speaks version 9 of the protocol and this rank version {VERSION}: use \
         the same release of edgempi on both sides"
    );
    assert_eq!(error.to_string(), expected);
}

// Ranks that never come.

#[test]
fn ranks_that_never_come_are_named_after_the_wait() {
    let _watchdog = Watchdog::start();
    let (hub, start) = (free_address(), Instant::now());
    let mut command = rank(hub, 5, 3);
    command.env("EDGEMPI_WAIT", "10s");
    let mut other = Process::start(command);
    let error = refused(hosted(hub, 5, 0).wait(Duration::from_millis(1500)));
    let waited = start.elapsed();
    assert!((Duration::from_millis(1500)..Duration::from_millis(9000)).contains(&waited), "{waited:?}");
    let expected = "rank 1 has failed: ranks 1, 2, 4 did not come within 1.5 s (EDGEMPI_WAIT)";
    assert_eq!(blame(&error), expected);
    assert!(matches!(&error, Error::RankFailed { ranks, .. } if *ranks == [Rank::new(1)]), "{error:?}");
    let (status, said) = other.end();
    assert_eq!(status.code(), Some(1));
    assert!(said.starts_with(&format!("Error: RankFailed: {expected}; rank 3 called init at ")), "{said}");
}

#[test]
fn a_hub_alone_ends_when_ranks_never_come() {
    edgempi();
    let _watchdog = Watchdog::start();
    let (mut hub, address) = lone_hub(2, &[("EDGEMPI_WAIT", "200ms")]);
    let error = refused(joining(address, 2, 0));
    let expected = "rank 1 has failed: it did not come within 0.2 s (EDGEMPI_WAIT)";
    assert_eq!(blame(&error), expected);
    assert!(hub.end().0.success());
}

#[test]
fn a_world_of_one_needs_no_port() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    assert_usable(join([hosted(address, 1, 0)], &Registry::new()).expect("it does not listen"));
    drop(tcp_worlds(1));
}
