//! What a person is told of ranks that wait for each other, or for long: by errors, by a hub on its own, on demand.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::config::{Config, Threads};
use edgempi::{Builder, Comm, Error, Sum, World};

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
    lines: BufReader<ChildStderr>,
    address: String,
}

impl Hub {
    fn start(size: u32, settings: &[(&str, &str)]) -> Self {
        let size = size.to_string();
        let mut command = edgempi(&["hub", "--size", &size, "--listen", "127.0.0.1:0"]);
        let mut process = command.envs(settings.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let mut hub = Self { lines: BufReader::new(process.stderr.take().unwrap()), process, address: String::new() };
        let line = hub.line("hub of a world");
        hub.address = line.rsplit(' ').next().unwrap().to_owned();
        hub
    }

    /// The next line with these words.
    fn line(&mut self, words: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the hub has ended, and never said {words:?}");
            if line.contains(words) {
                return line.trim_end().to_owned();
            }
        }
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
    let line = hub.line("has waited 0.3 s");
    let here = "transport-std/tests/diagnosis.rs:";
    let rest = line.split_once("allreduce(SUM, 100 x f32) at ").unwrap_or_else(|| panic!("{line}")).1;
    assert!(rest.starts_with(here), "{line}");
    assert!(rest.contains(" has waited 0.3 s: 2 of 3 have come; missing 1 (last seen in barrier at "), "{line}");
    assert!(rest.ends_with(" s ago)"), "{line}");
    // Once more after twice the time.
    hub.line("has waited 0.6 s");
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
        assert_eq!(lines.next(), Some("a world without a name of 3 ranks: 3 here, 0 finished, 0 failed"));
        let from = if *proto == "tcp" { "127.0.0.1:" } else { "this machine" };
        let here = "transport-std/tests/diagnosis.rs:";
        for (rank, words) in [(0, "in allreduce(SUM, 100 x f32) at "), (1, "in recv(from rank 2, tag 7) at ")] {
            let line = lines.next().unwrap();
            assert!(line.starts_with(&format!("  rank {rank} (host, {from}")), "{told}");
            assert!(line.contains(&format!("{words}{here}")), "{told}");
        }
        let line = lines.next().unwrap();
        assert!(line.contains(": last seen in barrier at ") && line.ends_with(" s ago"), "{told}");
        lines.next();
        let line = lines.next().unwrap();
        assert!(line.contains(", 1 of 3 have come; missing 1 (for "), "{told}");
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
    let asked = edgempi::hub::inquire(&Config::new().addr(&address).size(1).rank(0)).unwrap();
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
    let (said, answer) = std::sync::mpsc::channel();
    let config = Config::new().addr(&address).size(1).rank(0).wait(Duration::from_millis(300));
    thread::spawn(move || said.send(edgempi::hub::inquire(&config)).is_ok());
    let answer = answer.recv_timeout(Duration::from_secs(20)).expect("it still listens");
    assert!(matches!(answer, Err(Error::Disconnected { .. })), "{answer:?}");
    talker.join().unwrap();
}
