//! What a person is told of ranks that wait for each other, or for long: by errors, by a hub on its own, on demand.
#![cfg(unix)]

mod lines;

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use edgempi::config::{Config, Threads};
use edgempi::{Builder, Cartesian, Comm, Error, ProcessGroup, Request, Sum, World, wait_all, wait_any};

use lines::{Lines, PATIENCE};

/// The command, in an environment without settings.
fn edgempi(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgempi"));
    for variable in edgempi::config::SETTINGS.iter().flat_map(|setting| setting.variables) {
        command.env_remove(variable);
    }
    command.env_remove("RUST_LOG").args(arguments).stdin(Stdio::null());
    command
}

/// A hub as a process of its own.
struct Hub {
    process: Child,
    /// What it says on stderr.
    lines: Lines,
    address: String,
}

impl Hub {
    fn start(size: u32, settings: &[(&str, &str)]) -> Self {
        let size = size.to_string();
        let mut command = edgempi(&["hub", "--size", &size, "--listen", "127.0.0.1:0"]);
        let mut process = command.envs(settings.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Lines::of(process.stderr.take().unwrap());
        let mut hub = Self { lines, process, address: String::new() };
        let line = hub.lines.with("hub of a world");
        hub.address = line.rsplit(' ').next().unwrap().to_owned();
        hub
    }

    /// The ranks of its world.
    fn worlds(&self, size: u32, proto: &str) -> Vec<World> {
        let join = |rank: u32| {
            let config = Config::new().addr(&self.address).size(size).rank(rank).proto(proto);
            thread::spawn(move || edgempi::block_on(Builder::new().config(config).init()).unwrap())
        };
        let joining: Vec<_> = (0..size).map(join).collect();
        joining.into_iter().map(|world| world.join().unwrap()).collect()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs each rank's part on a thread of its own, in a world in this process.
fn single_threads(size: u32, part: impl Fn(&Comm) -> Result<(), Error> + Sync) -> Vec<Result<(), Error>> {
    let worlds = Builder::new().config(Config::new().threads(Threads::Single)).local(size).unwrap();
    thread::scope(|scope| {
        let part = &part;
        let spawn = |world: &World| {
            scope.spawn({
                let comm = world.comm();
                move || part(&comm)
            })
        };
        let threads: Vec<_> = worlds.iter().map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn ranks_of_one_thread_that_receive_from_each_other_are_told_where() {
    let line = line!() + 2;
    let ends = single_threads(2, |comm| {
        comm.recv::<u8>(1 - comm.rank().get(), 5).wait()?;
        comm.send(1 - comm.rank().get(), 5, [1u8]).wait()
    });
    let expected = format!(
        "ranks wait for each other for ever: rank 0 waits in recv(from rank 1, tag 5) at transport-std/tests/diagnosis.rs:{line}:14 for rank 1; \
         rank 1 waits in recv(from rank 0, tag 5) at transport-std/tests/diagnosis.rs:{line}:14 for rank 0"
    );
    for end in ends {
        let Err(Error::Deadlock { reason, .. }) = end else { panic!("{end:?}") };
        assert_eq!(reason, expected);
    }
}

#[test]
fn a_send_that_waits_for_a_rank_in_a_collective_is_told() {
    let ends = single_threads(3, |comm| {
        if comm.rank() == 2 {
            // More than the hub takes before somebody receives it.
            comm.send(0, 1, vec![0u64; 1 << 20]).wait()?;
        }
        comm.allreduce([1.0f64], Sum).wait().map(|_| ())
    });
    for end in ends {
        let Err(Error::Deadlock { reason, .. }) = end else { panic!("{end:?}") };
        assert!(reason.contains("rank 2 waits in send(to rank 0, tag 1, 1048576 x u64) at "), "{reason}");
        assert!(reason.contains("waits in allreduce(SUM, 1 x f64) at "), "{reason}");
        assert!(reason.contains("for rank 2, which has not called it"), "{reason}");
    }
}

#[test]
fn calls_that_are_made_of_several_are_told_as_well() {
    type Wait = fn(&Comm, u32) -> Result<(), Error>;
    let exchange: Wait = |comm, other| comm.sendrecv::<u8, u8>(other, 5, [1], other, 6).wait().map(drop);
    let all: Wait = |comm, other| {
        comm.send(other, 5, [1u8]).wait()?;
        wait_all([comm.recv::<u8>(other, 5), comm.recv::<u8>(other, 6)]).wait().map(drop)
    };
    let persistent: Wait = |comm, other| {
        let mut receive = comm.recv_init(other, 6, vec![0u8]);
        receive.start()?;
        receive.wait().map(drop)
    };
    for (call, wait) in [("sendrecv", exchange), ("recv", all), ("recv", persistent)] {
        for end in single_threads(2, |comm| wait(comm, 1 - comm.rank().get())) {
            let Err(Error::Deadlock { reason, .. }) = end else { panic!("{end:?}") };
            assert!(reason.contains(&format!("rank 0 waits in {call}(from rank 1, tag 6) at ")), "{reason}");
            assert!(reason.contains(&format!("rank 1 waits in {call}(from rank 0, tag 6) at ")), "{reason}");
        }
    }
}

#[test]
fn ranks_of_one_thread_that_wait_for_any_of_several_are_not_stuck() {
    let ends = single_threads(2, |comm| {
        let other = 1 - comm.rank().get();
        for round in 0..20 {
            // Nobody sends the first one before the second one has come.
            let mut requests = [comm.recv::<u32>(other, 1), comm.recv::<u32>(other, 2)];
            if comm.rank() == round % 2 {
                thread::sleep(Duration::from_millis(40));
            }
            comm.send(other, 2, [round]).wait()?;
            let (index, result) = wait_any(&mut requests).wait().expect("two are active");
            assert_eq!((index, result?.0), (1, vec![round]));
            comm.sendrecv::<u32, u32>(other, 3, [round], other, 3).wait()?;
            let sending = comm.send(other, 1, [round]);
            assert_eq!(wait_any(&mut requests).wait().expect("one is active").1?.0, [round]);
            sending.wait()?;
        }
        Ok(())
    });
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
}

#[test]
fn ranks_of_one_thread_that_wait_for_a_slow_one_are_not_stuck() {
    let ends = single_threads(3, |comm| {
        for round in 0..30_u32 {
            if comm.rank() == round % 3 {
                // Longer than the others look for frames, and than the hub waits before it looks.
                thread::sleep(Duration::from_millis(5 + u64::from(round)));
            }
            let next = (comm.rank().get() + 1) % 3;
            let before = (comm.rank().get() + 2) % 3;
            let sending = comm.send(next, round, vec![round; 1 << 18]);
            comm.recv::<u32>(before, round).wait()?;
            sending.wait()?;
            comm.barrier().wait()?;
        }
        Ok(())
    });
    assert_eq!(ends, vec![Ok(()), Ok(()), Ok(())]);
}

/// It makes no more calls, whatever threads it has; the rank that waits for it makes none before that.
#[test]
fn a_rank_that_waits_for_one_that_leaves_and_can_not_is_told() {
    type Begin = fn(&Comm);
    let leave_with: [(&str, Begin); 2] = [
        ("rank 0 waits in ssend(to rank 1, tag 1, 1 x u8) at ", |comm| {
            // Done as soon as it is made, and so it holds up nobody.
            comm.send(1, 3, [1u8]).wait().unwrap();
            drop(comm.ssend(1, 1, [1u8]));
        }),
        ("rank 0 waits in barrier at ", |comm| drop(comm.barrier())),
    ];
    for (waits, begin) in leave_with {
        let mut worlds = Builder::new().config(Config::new().threads(Threads::Single)).local(2).unwrap();
        let (second, first) = (worlds.pop().unwrap(), worlds.pop().unwrap());
        begin(&first.comm());
        let leaving = first.finalize();
        let error = second.comm().recv::<u8>(0, 2).wait().expect_err("nobody sends");
        let said = error.to_string();
        assert!(matches!(error, Error::Deadlock { .. }) && said.contains(waits), "{said}");
        assert!(said.contains("; rank 1 waits in recv(from rank 0, tag 2) at "), "{said}");
        // Each waits for the other.
        let both = [leaving, second.finalize()];
        both.into_iter().for_each(|leaving| leaving.wait().unwrap());
    }
}

#[test]
fn a_rank_of_many_threads_that_waits_for_itself_is_helped_by_another_thread() {
    let worlds = Builder::new().config(Config::new().threads(Threads::Multiple)).local(1).unwrap();
    let comm = worlds[0].comm();
    for round in 0..3_u32 {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| comm.recv::<u32>(0, round).wait());
            // Longer than the hub waits before it looks for a deadlock.
            thread::sleep(Duration::from_millis(100));
            comm.send(0, round, [round]).wait().unwrap();
            assert_eq!(waiting.join().unwrap().unwrap().0, [round]);
        });
    }
}

#[test]
fn a_hub_says_which_call_has_waited_for_whom() {
    let mut hub = Hub::start(3, &[("EDGEMPI_SLOW", "300ms")]);
    let worlds = hub.worlds(3, "auto");
    let waiting = [worlds[0].comm().allreduce([0f32; 100], Sum), worlds[2].comm().allreduce([0f32; 100], Sum)];
    let line = hub.lines.with(" has waited ");
    let here = "transport-std/tests/diagnosis.rs:";
    let rest = line.split_once("allreduce(SUM, 100 x f32) at ").unwrap_or_else(|| panic!("{line}")).1;
    assert!(rest.starts_with(here), "{line}");
    let (_, waited) = rest.split_once(" has waited ").unwrap_or_else(|| panic!("{line}"));
    let (first, rest_of_it) = waited.split_once(" s: ").unwrap_or_else(|| panic!("{line}"));
    assert!(rest_of_it.starts_with("2 of 3 have come; missing rank 1 (last seen in init at "), "{line}");
    assert!(rest.contains(&format!("last seen in init at {here}")), "where the program joins: {line}");
    assert!(rest.ends_with(" s ago)"), "{line}");
    // Once more after twice the time.
    let line = hub.lines.with(" has waited ");
    let seconds = |text: &str| text.parse::<f64>().unwrap_or_else(|why| panic!("{text}: {why}"));
    let again = line.split_once(" has waited ").and_then(|(_, rest)| rest.split_once(" s: ")).map(|(again, _)| again);
    let (first, again) = (seconds(first), seconds(again.unwrap_or_else(|| panic!("{line}"))));
    assert!(first >= 0.3 && again >= 0.6 && again > first, "{first} and {again}");
    worlds[1].comm().allreduce([0f32; 100], Sum).wait().unwrap();
    waiting.into_iter().for_each(|request| drop(request.wait().unwrap()));
}

/// What `edgempi hub --status` prints of a hub, with further arguments.
fn status(address: &str, proto: &str, world: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let arguments = [&["hub", "--status", address], more].concat();
    let mut command = edgempi(&arguments);
    let output = command.env("EDGEMPI_PROTO", proto).env("EDGEMPI_WORLD", world).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_hub_tells_whoever_asks_what_its_stuck_ranks_do() {
    let links: &[&str] = if cfg!(target_os = "linux") { &["tcp", "unix"] } else { &["tcp"] };
    for proto in links {
        let hub = Hub::start(3, &[]);
        let worlds = hub.worlds(3, proto);
        let reduction = worlds[0].comm().allreduce([0f32; 100], Sum);
        let receive = worlds[1].comm().recv::<u8>(2, 7);
        // Until the hub has heard of both.
        let told = loop {
            let (code, told, errors) = status(&hub.address, proto, "", &[]);
            assert_eq!(code, Some(0), "{errors}");
            if told.contains("operations in flight: 1") && told.contains("unmatched sends and receives: 1") {
                break told;
            }
        };
        let mut lines = told.lines();
        assert_eq!(lines.next(), Some("a world of 3 ranks: 3 here, 0 finished, 0 failed"));
        let from = if *proto == "tcp" { "127.0.0.1:" } else { "this machine" };
        let here = "transport-std/tests/diagnosis.rs:";
        for (rank, words) in [(0, "in allreduce(SUM, 100 x f32) at "), (1, "in recv(from rank 2, tag 7) at ")] {
            let line = lines.next().unwrap();
            assert!(line.starts_with(&format!("  rank {rank} (host, {from}")), "{told}");
            assert!(line.contains(&format!("{words}{here}")), "{told}");
        }
        let line = lines.next().unwrap();
        assert!(line.contains(": last seen in init at ") && line.ends_with(" s ago"), "{told}");
        lines.next();
        let line = lines.next().unwrap();
        assert!(line.contains(", 1 of 3 have come; missing rank 1 (for "), "{told}");
        assert!(line.contains(" s ago); 400 of 400 bytes received, 0 sent"), "{told}");
        assert!(told.contains(" bytes queued, 0 of "), "{told}");
        // For a script.
        let (code, told, _) = status(&hub.address, proto, "", &["--json"]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((code, told["size"].as_u64(), told["here"].as_u64()), (Some(0), Some(3), Some(3)));
        assert_eq!(told["ranks"][1]["is_waiting"], true);
        assert_eq!(told["operations"][0]["come"], 1);
        // The ranks have taken no notice.
        worlds[2].comm().send(1, 7, [1u8]).wait().unwrap();
        receive.wait().unwrap();
        let others = [1, 2].map(|rank| worlds[rank].comm().allreduce([0f32; 100], Sum));
        reduction.wait().unwrap();
        others.into_iter().for_each(|request| drop(request.wait().unwrap()));
    }
}

#[test]
fn a_hub_tells_nobody_who_names_another_world() {
    let hub = Hub::start(1, &[("EDGEMPI_WORLD", "this")]);
    let (code, told, errors) = status(&hub.address, "auto", "that", &[]);
    assert_eq!((code, told.as_str()), (Some(1), ""));
    assert!(errors.contains("the hub serves world \"this\", whoever asks looks for world \"that\""), "{errors}");
    assert_eq!(status(&hub.address, "auto", "this", &[]).0, Some(0));
}

#[test]
fn a_question_that_no_hub_hears_ends_after_the_few_seconds_that_are_its_own() {
    // Port 9 is for discarding; nobody listens there on this machine.
    let address = "127.0.0.1:9".to_owned();
    let (code, told, errors) = status(&address, "tcp", "", &[]);
    assert_eq!((code, told.as_str()), (Some(1), ""));
    let (_, tried) = errors.split_once(&format!("no hub at {address} after ")).unwrap_or_else(|| panic!("{errors}"));
    let (_, waited) = tried.split_once(" in ").unwrap_or_else(|| panic!("{errors}"));
    let waited = waited.split(" s: ").next().unwrap_or_default().parse::<f64>();
    // Of a rank's patience it would be ten times as many.
    assert!(waited.is_ok_and(|seconds| (3.0..PATIENCE.as_secs_f64()).contains(&seconds)), "{errors}");
}

#[test]
fn a_hub_in_this_process_knows_how_long_a_call_has_waited_although_nothing_happens() {
    let config = Config::new().rank(0).size(1).listen("127.0.0.1:0");
    let server = edgempi::hub::Server::bind(&config, edgempi::hub::Registry::new()).unwrap();
    let (stop, address) = (server.stop(), server.local_addr().to_string());
    let serving = thread::spawn(move || server.serve());
    let world = Builder::new().config(Config::new().rank(0).size(1).addr(&address)).init().wait().unwrap();
    let waiting = world.comm().recv::<u8>(0, 7);
    let begun = Instant::now();
    loop {
        let told = stop.snapshot().expect("it serves");
        if told.unmatched.iter().any(|receive| receive.ms >= 100) {
            break;
        }
        // Less than until the next sign of life.
        assert!(begun.elapsed() < Duration::from_secs(2), "{told}");
        thread::yield_now();
    }
    drop(waiting);
    world.finalize().wait().unwrap();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_server_tells_the_program_that_it_is_in() {
    let config = Config::new().rank(0).size(2).listen("127.0.0.1:0");
    let server = edgempi::hub::Server::bind(&config, edgempi::hub::Registry::new()).unwrap();
    let (stop, address) = (server.stop(), server.local_addr().to_string());
    assert_eq!(stop.snapshot(), None);
    let serving = thread::spawn(move || server.serve());
    let asked = edgempi::hub::snapshot(&Config::new().addr(&address).size(1).rank(0)).unwrap();
    assert_eq!((asked.size, asked.here), (2, 0));
    assert_eq!(stop.snapshot().map(|snapshot| snapshot.size), Some(2));
    stop.stop();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_hub_that_talks_for_ever_and_never_answers_is_not_listened_to_for_ever() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let talker = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Frames of a kind that nobody knows, without header or payload, until the other side has had enough.
        let frames = [0x7f, 0, 0, 0, 0, 0].repeat(1000);
        while std::io::Write::write_all(&mut stream, &frames).is_ok() {}
    });
    let (said, answer) = channel();
    let config = Config::new().addr(&address).size(1).rank(0).wait(Duration::from_millis(300));
    thread::spawn(move || {
        // Nobody listens any more if the test has failed.
        let _ = said.send(edgempi::hub::snapshot(&config));
    });
    let answer = answer.recv_timeout(Duration::from_secs(20)).expect("it still listens");
    assert!(matches!(answer, Err(Error::Disconnected { .. })), "{answer:?}");
    talker.join().unwrap();
}

/// The place in this file that is `lines` below the caller's, as texts begin with it.
#[track_caller]
fn below(lines: u32) -> String {
    format!("transport-std/tests/diagnosis.rs:{}:", std::panic::Location::caller().line() + lines)
}

/// A text, with the columns of the places in this file left out.
fn without_columns(text: &str) -> String {
    let mut pieces = text.split("diagnosis.rs:");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (line, rest) = piece.split_once(':').unwrap();
        out += &format!("diagnosis.rs:{line}:{}", rest.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    out
}

#[track_caller]
fn assert_text(result: Result<(), Error>, expected: &str) {
    assert_eq!(without_columns(&result.expect_err("it can not go well").to_string()), expected);
}

#[test]
fn a_call_that_fails_because_of_another_rank_says_which_and_where_both_are() {
    let hub = Hub::start(3, &[]);
    let mut worlds = hub.worlds(3, "auto");
    let joined = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/diagnosis.rs")).unwrap();
    let joined = joined.lines().position(|line| line.contains(".config(config).init()).unwrap())")).unwrap() + 1;
    let joined = format!("transport-std/tests/diagnosis.rs:{joined}:");
    let waiting = (below(1), below(2));
    let receive = worlds[0].comm().recv::<u8>(2, 7);
    let barrier = worlds[1].comm().barrier();
    drop(worlds.pop());
    let why = format!("rank 2 has failed: it dropped its world without finalize() (last seen in init at {joined})");
    let called = format!("{why}; rank 0 called recv(from rank 2, tag 7) at {}", waiting.0);
    assert_text(receive.wait().map(drop), &called);
    assert_text(barrier.wait(), &format!("{why}; rank 1 called barrier at {}", waiting.1));
    let late = below(1);
    let result = worlds[0].comm().ssend(2, 1, [1u8]).wait();
    assert_text(result, &format!("{why}; rank 0 called ssend(to rank 2, tag 1, 1 x u8) at {late}"));
    let finished = below(1);
    worlds[1].comm().objects().send(0, 3, "last").wait().unwrap();
    worlds[0].comm().objects().recv::<String>(1, 3).wait().unwrap();
    let finalize = worlds.pop().unwrap().finalize();
    let late = below(1);
    let result = worlds[0].comm().recv::<u8>(1, 7).wait().map(drop);
    let why = "rank 1 has finalized and takes part in nothing any more";
    let seen = format!("(last seen in send at {finished})");
    assert_text(result, &format!("{why} {seen}; rank 0 called recv(from rank 1, tag 7) at {late}"));
    worlds.pop().unwrap().finalize().wait().unwrap();
    finalize.wait().unwrap();
}

#[test]
fn a_call_that_somebody_else_gives_up_says_who_and_where() {
    let worlds = edgempi::local(2).unwrap();
    let (given_up, other) = (below(2), below(7));
    let mut memory = [1u32];
    let request = worlds[0].comm().allreduce_in_place(&mut memory, Sum);
    drop(request);
    // What rank 0 says after that has come, so the hub knows.
    worlds[0].comm().send(1, 9, [0u8]).wait().unwrap();
    worlds[1].comm().recv::<u8>(0, 9).wait().unwrap();
    let result = worlds[1].comm().allreduce([1u32], Sum).wait().map(drop);
    let call = "allreduce(SUM, 1 x u32) at";
    assert_text(result, &format!("rank 0 cancelled its {call} {given_up}; rank 1 called {call} {other}"));
}

#[test]
fn a_call_that_is_wrong_in_itself_says_where_it_is() {
    let worlds = edgempi::local(2).unwrap();
    let comm = worlds[0].comm();
    let at = below(1);
    let result = comm.send(9, 1, [1u8]).wait();
    assert_text(result, &format!("there is no rank 9 to send to: ranks go from 0 to 1, at {at}"));
    let at = below(1);
    let result = comm.alltoallv(vec![vec![1u8]]).wait().map(drop);
    assert_text(result, &format!("1 blocks were given for 2 ranks, at {at}"));
    let at = below(1);
    let result = comm.objects().alltoall(&[1]).wait().map(drop);
    assert_text(result, &format!("1 values were given for 2 ranks, at {at}"));
}

#[test]
fn who_is_not_the_root_gives_nothing() {
    let worlds = edgempi::local(2).unwrap();
    let comm = worlds[0].comm();
    type Give = fn(&Comm) -> Result<(), Error>;
    let bytes = || vec![1u8, 2];
    let gives: [(&str, Give); 6] = [
        ("bcast", |comm| comm.objects().bcast(1, Some(1)).wait().map(drop)),
        ("scatter", |comm| comm.objects().scatter(1, Some(vec![1, 2])).wait().map(drop)),
        ("scatter", |comm| comm.scatter(1, Some(vec![1u8, 2])).wait().map(drop)),
        ("scatter", |comm| comm.scatter_reusing(Vec::new(), 1, Some(vec![1u8, 2])).wait().map(drop)),
        ("scatterv", |comm| comm.scatterv(1, Some(vec![vec![1u8], vec![2]])).wait().map(drop)),
        ("scatter", |comm| {
            let mut scatter = comm.scatter_init(1, Some(vec![1u8, 2]));
            scatter.start()?;
            scatter.wait()
        }),
    ];
    for (call, give) in gives {
        let error = give(&comm).expect_err("it is not the root");
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
        let expected =
            format!("rank 0 gives data to a {call} whose root is rank 1: all but the root give None, at transport-std");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    // None of them has been started.
    let root = worlds[1].comm().scatter(1, Some(bytes()));
    assert_eq!((comm.scatter::<u8>(1, None).wait().unwrap(), root.wait().unwrap()), (vec![1], vec![2]));
}

#[test]
fn a_grid_that_does_not_fit_says_what_does_not() {
    let worlds = edgempi::local(5).unwrap();
    let comm = worlds[0].comm();
    let cases: [(&[u32], &[bool], &str); 5] = [
        (&[2, 3], &[true, false], "a grid of [2, 3] needs 6 ranks, and the communicator has 5"),
        (&[2, 3], &[true], "the grid has 2 dimensions [2, 3] and 1 periods [true]: give one for each"),
        (&[2, 0], &[true; 2], "dimension 1 of the grid [2, 0] has length 0: a grid of no ranks is none"),
        (&[1; 33], &[true; 33], "the grid has 33 dimensions, and 32 are allowed"),
        (&[1 << 31, 2], &[true; 2], "a grid of [2147483648, 2] has more than 4294967295 ranks"),
    ];
    for (dims, periods, expected) in cases {
        let at = below(1);
        let result = comm.cart(dims, periods).wait().map(drop);
        assert_text(result, &format!("{expected}, at {at}"));
    }
    let at = below(1);
    let dims = edgempi::dims_create(5, 40);
    assert_text(dims.map(drop), &format!("5 ranks can not stand in 40 dimensions, of 32 that are allowed, at {at}"));
    let said = |requests: Vec<Request<'static, ()>>| -> Vec<String> {
        let text = |result: Result<(), Error>| {
            result.map_or_else(|error| without_columns(&error.to_string()), |()| String::new())
        };
        requests.into_iter().map(|request| text(request.wait())).collect()
    };
    let at = below(1);
    let cart = |world: &World| world.comm().cart(&[5], &[world.rank() == 4]).map(drop);
    let told = said(worlds.iter().map(cart).collect());
    // Who comes first is left to the threads of the library.
    for told in told {
        assert!(told.starts_with("the ranks do not agree: rank") && told.contains(&format!(" cart at {at}")), "{told}");
        assert!(told.contains(", with other arguments"), "{told}");
    }

    let ring: Vec<_> = worlds.iter().map(|world| world.comm().cart(&[5], &[true])).collect();
    let ring: Vec<_> = ring.into_iter().map(|request| request.wait().unwrap().expect("all are in it")).collect();
    let gives = |grid: &Cartesian| vec![0u8; if grid.comm().rank() == 1 { 3 } else { 2 }];
    let at = below(1);
    let gather = |grid: &Cartesian| grid.neighbor_allgather(gives(grid)).map(drop);
    let told = said(ring.iter().map(gather).collect());
    let expected = |neighbor, given, own| {
        format!(
            "neighbour {neighbor} gave {given} elements and this rank {own}: all give as many, or use the v form, at {at}"
        )
    };
    assert_eq!(told, [expected(1, 3, 2), expected(0, 2, 3), expected(1, 3, 2), String::new(), String::new()]);
}

#[test]
fn a_group_whose_ranks_do_not_agree_says_on_what() {
    let worlds = edgempi::local(3).unwrap();
    let comm = |rank: usize| worlds[rank].comm();
    let at = below(1);
    let create = |rank: usize, order: [u32; 2]| comm(rank).create_group(&order, 7).map(drop);
    let orders = [create(0, [0, 1]), create(1, [1, 0])];
    for request in orders {
        assert_text(
            request.wait(),
            &format!("the ranks of a create_group() do not name themselves in the same order, at {at}"),
        );
    }
    let group = comm(0).group().wait().unwrap();
    let (both, one) = (group.include(&[0, 1]).unwrap(), group.include(&[2]).unwrap());
    let at = below(1);
    let create = |rank: usize, group: &ProcessGroup| comm(rank).create(group).map(drop);
    let requests = [create(0, &both), create(1, &one), create(2, &one)];
    let expected = "1 of the 2 processes of a group gave it to create(): all of them have to, and be ranks of the communicator \
                    that it is called on";
    let [first, second, third] = requests;
    assert_text(first.wait(), &format!("{expected}, at {at}"));
    assert_eq!((second.wait(), third.wait()), (Ok(()), Ok(())));
}

/// This test's program is the ranks', too.
#[test]
fn a_rank_that_forgets_to_finalize_is_told_so_once() {
    const PART: &str = "DIAGNOSIS_FORGETS";
    if let Ok(part) = std::env::var(PART) {
        let world = edgempi::init().wait().unwrap();
        match (world.rank().get(), part.as_str()) {
            (0, _) => world.finalize().wait().unwrap(),
            // What it takes back has not failed.
            (_, "forgets") => assert_eq!(world.comm().recv::<u8>(1, 0).cancel().wait(), Ok(None)),
            // Has been told enough.
            (_, _) => assert!(world.comm().send(7, 0, [1u8]).wait().is_err()),
        }
        return;
    }
    for (part, expected) in [
        (
            "forgets",
            "[1] edgempi: the World of rank 1 is dropped without finalize(), so the rank counts as failed: a program ends \
             with world.finalize().wait(), or .await\n",
        ),
        ("fails", ""),
    ] {
        let program = std::env::current_exe().unwrap();
        let name = "a_rank_that_forgets_to_finalize_is_told_so_once";
        let mut command = edgempi(&["run", "-n", "2", program.to_str().unwrap(), "--exact", name, "--nocapture"]);
        let output = command.env(PART, part).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_hub_says_with_the_first_slow_call_how_to_learn_more() {
    let mut hub = Hub::start(2, &[("EDGEMPI_SLOW", "100ms"), ("EDGEMPI_WORLD", "slow")]);
    let config = |rank| Config::new().addr(&hub.address).size(2).rank(rank).world("slow");
    let joining = [0, 1].map(|rank| Builder::new().config(config(rank)).init());
    let worlds = joining.map(|init| init.wait().unwrap());
    let address = hub.address.clone();
    let barrier = worlds[0].comm().barrier();
    hub.lines.with("barrier at transport-std/tests/diagnosis.rs:");
    let line = hub.lines.with("is shown by");
    let expected = format!("what all ranks do now is shown by: EDGEMPI_WORLD=slow edgempi hub --status {address}");
    assert!(line.ends_with(&expected), "{line}");
    // Where the environment says where the hub is, nobody needs to.
    let port = address.rsplit(':').next().unwrap();
    for (variable, value) in [("EDGEMPI_ADDR", address.as_str()), ("EDGEMPI_PORT", port)] {
        let mut command = edgempi(&["hub", "--status"]);
        let output = command.env(variable, value).env("EDGEMPI_WORLD", "slow").output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.starts_with("world \"slow\" of 2 ranks: 2 here, 0 finished, 0 failed\n"), "{output:?}");
        // A hub is not asked twice in a moment.
        thread::sleep(Duration::from_millis(60));
    }
    worlds[1].comm().barrier().wait().unwrap();
    barrier.wait().unwrap();
}

#[test]
fn a_launcher_says_where_the_hub_of_its_ranks_is_if_it_is_to_say_more() {
    let output = edgempi(&["run", "-n", "1", "true"]).env("RUST_LOG", "info").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told: Vec<&str> = said.lines().filter(|line| line.contains("the hub is at 127.0.0.1:")).collect();
    let [line] = told.as_slice() else { panic!("{said}") };
    let address = line.split("the hub is at ").nth(1).unwrap().split(';').next().unwrap();
    assert!(line.ends_with(&format!("`edgempi hub --status {address}` shows what the ranks do")), "{line}");
}
