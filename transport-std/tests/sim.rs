//! Simulations: programs over the ordinary communicator, virtual time, one seed that decides everything, reports.

use std::cell::{Cell, RefCell};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use edgempi::hub::{Applied, Registry};
use edgempi::sim::{Class, Direction, Outcome, Rank, Reason, Simulation, Stopped, TraceHash, What, seeds};
use edgempi::{Error, Group, Operation, Sum};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn unreliable() -> Class {
    Class::board().loss(0.05).jitter(millis(100))
}

/// Ten ranks that add up, in three rounds with some computing between them.
fn rounds(seed: u64) -> Outcome<f32> {
    let simulation = Simulation::exactly(seed).ranks(4, Class::server()).ranks(6, unreliable());
    let outcome = simulation.run(|rank| async move {
        let mut total = 0.0;
        for number in 0..3 {
            rank.round(number);
            rank.compute(millis(rank.random() % 1000)).await;
            total += rank.allreduce(vec![1.0f32; 2000], Sum).await?[0];
        }
        Ok(total)
    });
    outcome.expect("nothing keeps it")
}

/// The sum of what all ranks give, for all of them.
struct Total;

impl Operation for Total {
    const NAME: &'static str = "total";
    type Parameters = ();
    type Input = i64;
    type Output = i64;

    fn parameters(&self) {}

    fn group(&self) -> Group<'_> {
        Group::ALL
    }
}

/// Six ranks, two of them near, that make calls of every kind.
fn calls_of_every_kind(seed: u64) -> Outcome<Option<i64>> {
    let mut operations = Registry::new();
    operations.insert_fn(Total::NAME, Total::VERSION, |call: Applied<'_, ()>, inputs: Vec<(edgempi::Rank, i64)>| {
        let total: i64 = inputs.iter().map(|(_, value)| value).sum();
        Ok::<_, String>(call.destinations.iter().map(|rank| (*rank, total)).collect())
    });
    let simulation = Simulation::exactly(seed).ranks(2, Class::server()).ranks(4, unreliable()).operations(operations);
    let outcome = simulation.run(|rank| async move {
        let me = rank.rank().get();
        // Buffers of every size up to some frames and windows.
        for len in [0, 1, 1000, 300_000] {
            let sum = rank.allreduce(vec![me; len], Sum).await?;
            assert!(sum.len() == len && sum.iter().all(|element| *element == 15));
        }
        let mut place = [me; 3];
        rank.bcast_in_place(4, &mut place).await?;
        assert_eq!(place, [4; 3]);
        assert_eq!(rank.alltoall(vec![me; 6]).await?, [0, 1, 2, 3, 4, 5]);
        // Objects of different lengths.
        let texts = rank.objects().allgather(&"x".repeat(me as usize * 700)).await?;
        assert!(texts.iter().enumerate().all(|(index, text)| text.len() == index * 700));
        // Messages, and communicators of their own.
        let sent = rank.send((me + 1) % 6, 7, [me; 10]);
        let (received, status) = rank.recv::<u32>((me + 5) % 6, 7).await?;
        assert_eq!((received[9], status.source), ((me + 5) % 6, edgempi::Rank::new((me + 5) % 6)));
        sent.await?;
        let half = rank.split(Some(me % 2), 0).await?.expect("a colour was said");
        assert_eq!(half.allreduce([me], Sum).await?, [if me % 2 == 0 { 6 } else { 9 }]);
        rank.apply(&Total, Some(&i64::from(me))).await
    });
    outcome.expect("it runs")
}

/// Wherever in its life a split is dropped, the others either have no communicator, or are told that this rank is not in
/// it: nobody waits for it.
#[test]
fn a_split_that_is_dropped_at_any_moment_leaves_nobody_waiting() {
    let (mut given_up, mut freed) = (0, 0);
    for moment in (0..45).map(millis) {
        let simulation = Simulation::new(1).ranks(2, Class::ideal().latency(millis(10)));
        let outcome = simulation.run(move |rank| async move {
            if rank.rank() == 1 {
                rank.sleep(millis(12)).await;
            }
            let split = rank.comm().split(Some(0), 0);
            if rank.rank() == 0 {
                rank.sleep(moment).await;
                drop(split);
                // It is there for long after that.
                rank.sleep(millis(1000)).await;
                return Ok(None);
            }
            match split.await {
                Ok(half) => Ok(Some(half.expect("it said a colour").barrier().await)),
                Err(error) => Ok(Some(Err(error))),
            }
        });
        let results = outcome.expect("it runs").into_values().expect("nobody fails");
        match &results[1] {
            Some(Err(Error::Cancelled { rank, .. })) if *rank == 0 => given_up += 1,
            Some(Err(Error::RankFinished { rank, reason })) if *rank == 0 => {
                assert!(reason.contains("rank 0 has freed the communicator"), "{reason}");
                freed += 1;
            }
            other => panic!("after {moment:?}: {other:?}"),
        }
    }
    assert!(given_up > 5 && freed > 20, "{given_up} and {freed}");
}

#[test]
fn programs_make_the_same_calls_as_on_hosts() {
    assert_eq!(calls_of_every_kind(1).into_values().expect("every rank has it"), [Some(15); 6]);
}

/// With this in its environment, this process only says what it comes to.
const CHILD: &str = "EDGEMPI_TEST_CHILD";

/// The trace of [`rounds`] and of [`calls_of_every_kind`].
fn traces(seed: u64) -> String {
    format!("{}-{}", rounds(seed).trace, calls_of_every_kind(seed).trace)
}

/// The same in a process of its own, in another place and with this in its environment.
fn trace_in_fresh_process(seed: u64, environment: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().expect("this test has a path"))
        .current_dir(std::env::temp_dir())
        .envs(environment.iter().copied())
        .args(["equal_seeds_give_equal_traces_in_fresh_processes_and_different_ones_differ", "--exact", "--nocapture"])
        .env(CHILD, seed.to_string())
        .output()
        .expect("this test runs again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let hash = text.split("trace=").nth(1).unwrap_or_else(|| panic!("no trace in {text}"));
    hash.split_whitespace().next().expect("a hash").to_owned()
}

#[test]
fn equal_seeds_give_equal_traces_in_fresh_processes_and_different_ones_differ() {
    if let Ok(seed) = std::env::var(CHILD) {
        println!("trace={}", traces(seed.parse().expect("a number")));
        return;
    }
    let environment =
        [("EDGEMPI_SIZE", "3"), ("EDGEMPI_RANK", "2"), ("EDGEMPI_WORLD", "x"), ("EDGEMPI_WAIT", "1s"), ("TZ", "UTC+9")];
    let (first, second) = (trace_in_fresh_process(7, &[]), trace_in_fresh_process(7, &environment));
    assert_eq!(first, second);
    assert_eq!(first, traces(7));
    assert_ne!(first, trace_in_fresh_process(8, &[]));
}

#[test]
fn everything_is_the_same_for_the_same_seed() {
    let (first, second) = (rounds(3), rounds(3));
    assert_eq!((first.trace, &first.report, &first.results), (second.trace, &second.report, &second.results));
    assert_ne!(first.report, rounds(4).report);
}

#[test]
fn the_environment_says_which_seed_is_seen_again() {
    if std::env::var_os(CHILD).is_some() {
        let outcome = Simulation::new(1).ranks(1, Class::ideal()).run(|_| async { Ok(()) }).expect("it runs");
        println!("seed={} seeds={:?}", outcome.seed(), seeds(1..5).collect::<Vec<u64>>());
        return;
    }
    let output = Command::new(std::env::current_exe().expect("this test has a path"))
        .args(["the_environment_says_which_seed_is_seen_again", "--exact", "--nocapture"])
        .envs([(CHILD, ""), (edgempi::sim::SEED_VARIABLE, "99")])
        .output()
        .expect("this test runs again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("seed=99 seeds=[99]"), "{text}");
    assert_eq!(Simulation::exactly(1).ranks(1, Class::ideal()).run(|_| async { Ok(()) }).expect("it runs").seed(), 1);
}

#[test]
fn the_trace_shows_every_event_in_the_order_of_time() {
    let times = Rc::new(RefCell::new(Vec::new()));
    let (connected, frames) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let bytes = Rc::new([Cell::new(0), Cell::new(0)]);
    let (heard, up, any, moved) = (times.clone(), connected.clone(), frames.clone(), bytes.clone());
    let simulation = Simulation::new(1).ranks(3, unreliable()).trace(move |entry| {
        heard.borrow_mut().push(entry.at);
        match entry.what {
            What::Connected => up.set(up.get() + 1),
            What::Frame { direction, head, payload } => {
                any.set(any.get() + 1);
                let way = &moved[usize::from(direction == Direction::Down)];
                way.set(way.get() + (head.len() + payload.len()) as u64);
            }
            _ => {}
        }
        assert!(entry.to_string().contains(" s "), "{entry}");
    });
    let outcome = simulation.run(|rank| async move { rank.barrier().await }).expect("it runs");
    assert!(times.borrow().is_sorted());
    assert_eq!(times.borrow().len() as u64, outcome.report.events);
    assert_eq!(connected.get(), 3);
    // Whatever a rank has sent has arrived.
    let traffic = outcome.report.traffic;
    assert_eq!(frames.get(), traffic.frames_sent + traffic.frames_received);
    assert_eq!((bytes[0].get(), bytes[1].get()), (traffic.sent, traffic.received));
}

#[test]
fn a_call_takes_the_time_of_its_links() {
    let simulation =
        Simulation::new(1).ranks(3, Class::ideal().latency(millis(10))).rank(2, |class| class.latency(millis(50)));
    let outcome = simulation.run(|rank| async move {
        let begin = rank.now();
        rank.barrier().await?;
        Ok((begin, rank.now()))
    });
    let times = outcome.expect("it runs").into_values().expect("every rank has it");
    // All began when they learned that the slowest had come, and ended when they learned that it had called.
    let (begin, end) = times[2];
    assert_eq!(end - begin, millis(100));
    assert_eq!(times[0].1, end - millis(40));
}

#[test]
fn a_day_passes_at_once() {
    let begin = Instant::now();
    let simulation = Simulation::new(1).ranks(10, Class::board());
    let outcome = simulation.run(|rank| async move {
        for hour in 0..24 {
            rank.round(hour);
            rank.sleep(Duration::from_secs(3600)).await;
            rank.barrier().await?;
        }
        Ok(())
    });
    let report = outcome.expect("it runs").report;
    assert!(report.duration > Duration::from_secs(24 * 3600) && report.duration < Duration::from_secs(24 * 3610));
    assert_eq!(report.rounds.len(), 24);
    assert!(begin.elapsed() < Duration::from_secs(30), "it took {:?}", begin.elapsed());
}

#[test]
fn computing_takes_longer_on_a_slow_rank_and_the_report_says_who_was_late() {
    let simulation = Simulation::new(1).ranks(5, Class::server()).rank(3, |class| class.slowness(4.0));
    let outcome = simulation.run(|rank| async move {
        for number in 0..2 {
            rank.round(number);
            rank.compute(millis(250)).await;
            rank.barrier().await?;
        }
        Ok(rank.now())
    });
    let report = outcome.expect("it runs").report;
    for round in &report.rounds {
        assert_eq!((round.ranks, round.late[0].0), (5, edgempi::Rank::new(3)));
        assert!(round.duration() >= millis(1000) && round.duration() < millis(1010), "{round:?}");
        let behind = round.late[0].1 - round.half;
        assert!(behind >= millis(749) && behind <= millis(751), "{round:?}");
    }
    assert!(report.to_string().contains("rank 3, 0.75"), "{report}");
}

#[test]
fn the_figures_of_a_report_add_up() {
    let report = rounds(5).report;
    assert_eq!(report.rounds.iter().map(|round| round.number).collect::<Vec<u32>>(), [0, 1, 2]);
    let (mut all, mut by_rank) = (report.outside, edgempi::Traffic::default());
    for round in &report.rounds {
        all += round.traffic;
        assert!(round.begin < round.half && round.half <= round.late[0].1 && round.late[0].1 < round.end, "{round:?}");
        assert!(round.late.is_sorted_by(|a, b| a.1 >= b.1));
        // Each rank gives and gets 8,000 bytes, and a little more.
        assert!((80_000..90_000).contains(&round.traffic.sent), "{round:?}");
        assert!((80_000..90_000).contains(&round.traffic.received), "{round:?}");
    }
    for rank in &report.ranks {
        by_rank += rank.traffic;
        assert!(rank.ended.is_some_and(|ended| ended <= report.duration));
    }
    assert_eq!((all, by_rank), (report.traffic, report.traffic));
    assert!(report.ranks[..4].iter().all(|rank| rank.lost == 0) && report.ranks[4..].iter().any(|rank| rank.lost > 0));
    let hub = report.hub.expect("it lives");
    assert_eq!((hub.finished, hub.operations, hub.queued, hub.windows), (10, 0, 0, 0));
}

#[test]
fn a_program_that_waits_for_ever_is_told_in_what() {
    // Whether or not the ranks still say that they live.
    for silence in [Duration::ZERO, Duration::from_secs(30)] {
        let simulation = Simulation::exactly(42).ranks(4, Class::server().silence(silence));
        let outcome = simulation.run(|rank| async move {
            match rank.rank().get() {
                0 => rank.recv::<u8>(1, 5).await.map(|_| ()),
                1 => rank.objects().recv::<u8>(edgempi::ANY_SOURCE, edgempi::ANY_TAG).await.map(|_| ()),
                _ => rank.barrier().await,
            }
        });
        let stopped = outcome.expect_err("nobody sends");
        let Reason::Deadlock { waiting } = &stopped.reason else { panic!("{stopped}") };
        assert_eq!(waiting.len(), 4);
        assert!(waiting[0].calls[0].starts_with("recv(from 1, tag 5) at "), "{waiting:?}");
        let text = stopped.to_string();
        assert!(text.contains("rank 1 waits in recv(from anybody, any tag) at "), "{text}");
        assert!(text.contains("ranks 2, 3 wait in barrier at ") && text.contains("tests/sim.rs"), "{text}");
        assert!(text.ends_with("run with EDGEMPI_SIM_SEED=42"), "{text}");
    }
}

#[test]
fn a_program_that_takes_too_long_is_stopped() {
    let simulation = Simulation::new(1).ranks(2, Class::server()).limit(Duration::from_secs(60));
    let stopped = simulation.run(|rank| async move {
        loop {
            rank.sleep(Duration::from_secs(1)).await;
            rank.barrier().await?;
        }
        #[expect(unreachable_code, reason = "it says what the program would return")]
        Ok::<(), Error>(())
    });
    let stopped = stopped.expect_err("it never ends");
    assert!(matches!(stopped.reason, Reason::TimeLimit { .. }), "{stopped}");
    assert!(stopped.at <= Duration::from_secs(60));
}

#[test]
fn a_program_that_spins_without_time_is_stopped() {
    let outcome = Simulation::new(1).ranks(1, Class::server()).run(|rank| async move {
        let request = rank.recv::<u8>(0, 1);
        while !request.test() {
            // As a runtime's yield does.
            let mut yielded = false;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut yielded, true) {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
        }
        Ok(())
    });
    let stopped = outcome.expect_err("no time passes");
    assert!(matches!(stopped.reason, Reason::Spinning { .. }), "{stopped}");
}

/// Runs a program that panics on rank 1.
fn stopped_by_panic(program: impl Fn(&Rank)) -> Stopped {
    let simulation = Simulation::exactly(6).ranks(2, Class::server());
    let outcome = simulation.run(|rank| {
        let program = &program;
        async move {
            if rank.rank() == 1 {
                program(&rank);
            }
            rank.barrier().await
        }
    });
    outcome.expect_err("it panics")
}

#[test]
fn a_panic_in_a_program_says_whose_it_was_and_the_seed() {
    let stopped = stopped_by_panic(|_| panic!("two is not {}", 3));
    let rank = edgempi::Rank::new(1);
    assert_eq!(stopped.reason, Reason::Panicked { rank, message: "two is not 3".to_owned() });
    assert!(stopped.to_string().contains("EDGEMPI_SIM_SEED=6"));
}

#[test]
fn waiting_in_a_way_that_blocks_is_refused_with_a_hint() {
    let stopped = stopped_by_panic(|rank| rank.barrier().wait().expect("it does not come that far"));
    assert!(stopped.to_string().contains("`.await` it"), "{stopped}");
    // After that, this thread may wait again.
    assert!(edgempi::local(1).expect("a world")[0].comm().barrier().wait().is_ok());
}

#[test]
fn asking_after_many_requests_at_once_counts_as_one_test() {
    let outcome = Simulation::exactly(6).ranks(1, Class::server()).run(|rank| async move {
        let nobody: Option<u32> = None;
        let all = edgempi::wait_all((0..20_000).map(|_| rank.send(nobody, 0, [1u8])));
        let is_done = (0..60).all(|_| all.test());
        all.await?;
        Ok(is_done)
    });
    assert!(outcome.expect("sixty tests are no endless loop").results.into_iter().all(|done| done == Ok(true)));
}

#[test]
fn a_loop_that_tests_and_awaits_nothing_is_refused_with_a_hint() {
    let stopped = stopped_by_panic(|rank| {
        let barrier = rank.barrier();
        while !barrier.test() {}
    });
    assert!(stopped.to_string().contains("asks test() over and over"), "{stopped}");
}

#[test]
fn a_program_may_test_as_often_as_it_likes_if_it_sleeps_in_between() {
    let outcome = Simulation::new(1).ranks(2, Class::server()).run(|rank| async move {
        if rank.rank() == 1 {
            rank.sleep(Duration::from_secs(3)).await;
        }
        let barrier = rank.barrier();
        let mut tests = 0u32;
        while !barrier.test() {
            for _ in 0..600_000 {
                let _ = barrier.test();
            }
            tests += 1;
            rank.sleep(Duration::from_secs(1)).await;
        }
        Ok(tests)
    });
    assert!(outcome.expect("it awaits").into_values().expect("both have come")[0] >= 3);
}

#[test]
fn a_communicator_that_outlives_its_run_is_of_a_world_that_is_over() {
    let outcome = Simulation::new(1).ranks(2, Class::server()).run(|rank| async move { rank.dup().await });
    let comms = outcome.expect("it runs").into_values().expect("every rank has it");
    assert_eq!(comms[0].barrier().wait(), Err(Error::Finalized));
}

#[test]
fn a_failure_names_its_rank_and_the_seed() {
    let outcome = Simulation::exactly(9)
        .ranks(2, Class::server())
        .run(|rank| async move { if rank.rank() == 1 { Err(Error::Finalized) } else { Ok(()) } });
    let failure = outcome.expect("it runs").into_values().expect_err("rank 1 fails");
    assert!(failure.to_string().starts_with("rank 1 failed: "), "{failure}");
    assert!(failure.to_string().ends_with("EDGEMPI_SIM_SEED=9"), "{failure}");
}

#[test]
fn a_simulation_without_ranks_is_set_up_wrongly() {
    let stopped = Simulation::new(1).run(|_| async { Ok(()) }).expect_err("there is no rank");
    assert!(matches!(stopped.reason, Reason::Setup(Error::Config(_))), "{stopped}");
    let said = stopped.to_string();
    assert!(said.starts_with("the simulation can not start: ") && !said.contains("EDGEMPI_SIM_SEED"), "{said}");
}

#[test]
fn a_thousand_ranks_take_seconds() {
    let begin = Instant::now();
    let traces: Vec<TraceHash> = [1, 1]
        .map(|seed| {
            let simulation = Simulation::exactly(seed).ranks(4, Class::server()).ranks(996, unreliable());
            let outcome = simulation.run(|rank| async move {
                let sum = rank.allreduce(vec![1.0f32; 1000], Sum).await?;
                rank.barrier().await?;
                Ok(sum[999])
            });
            let outcome = outcome.expect("it runs");
            assert!(outcome.results.iter().all(|result| *result == Ok(1000.0)));
            outcome.trace
        })
        .to_vec();
    assert_eq!(traces[0], traces[1]);
    assert!(begin.elapsed() < Duration::from_secs(60), "it took {:?}", begin.elapsed());
}
