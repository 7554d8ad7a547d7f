//! Simulations that are set up without sense, or at the end of what numbers hold: each is told, and none breaks.

use std::time::Duration;

use edgempi::Sum;
use edgempi::sim::{Class, Direction, Outcome, Reason, Simulation, Stopped};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Three ranks of a class that add up three times, a second apart.
fn meet(class: Class, limit: Duration) -> Result<Outcome<f32>, Stopped> {
    let simulation = Simulation::exactly(1).ranks(3, class).limit(limit);
    simulation.run(|rank| async move {
        let mut total = 0.0;
        for number in 0..3 {
            rank.round(number);
            rank.sleep(seconds(1)).await;
            total += rank.allreduce(vec![1.0f32; 2000], Sum).await?[1999];
        }
        Ok(total)
    })
}

fn refused(simulation: Simulation) -> String {
    let stopped = simulation.run(|rank| async move { rank.barrier().await }).expect_err("it makes no sense");
    assert!(matches!(stopped.reason, Reason::Setup(_)), "{stopped}");
    stopped.to_string()
}

#[test]
fn what_makes_no_sense_is_an_error_that_says_what_to_do() {
    let none = Duration::ZERO;
    let classes = [
        (Class::ideal().loss(1.0), "say partition(..)"),
        (Class::ideal().loss(f64::NAN), "from 0 to 0.9"),
        (Class::ideal().loss(-0.1), "from 0 to 0.9"),
        (Class::ideal().bandwidth(0), "say partition(..)"),
        (Class::ideal().bandwidth_down(0), "say partition(..)"),
        (Class::ideal().slowness(f64::INFINITY), "0 or more"),
        (Class::ideal().slowness(-1.0), "0 or more"),
        (Class::ideal().radio(none, seconds(1)), "1 µs at the least"),
        (Class::ideal().radio(seconds(2), seconds(1)), "no more than its period"),
        (Class::ideal().partition(seconds(2)..seconds(1)), "ends before it begins"),
    ];
    for (class, hint) in classes {
        let text = refused(Simulation::new(1).ranks(2, Class::ideal()).rank(1, |_| class.clone()));
        assert!(text.contains(hint), "{text}");
    }
    let text = refused(Simulation::new(1).ranks(2, Class::ideal()).rank(2, |class| class));
    assert!(text.contains("rank 2") && text.contains("there are 2"), "{text}");
    // Without memory for all of them.
    let text = refused(Simulation::new(1).ranks(u32::MAX, Class::ideal()).ranks(u32::MAX, Class::ideal()));
    assert!(text.contains("from 1 to 1000000"), "{text}");
}

#[test]
fn times_beyond_what_numbers_hold_end_as_long_ones_do() {
    let (ever, nothing) = (Duration::MAX, Duration::from_micros(1));
    let classes = [
        Class::ideal().latency(ever),
        Class::ideal().latency(ever).loss(0.5),
        Class::ideal().jitter(ever),
        Class::ideal().loss(0.5).retransmission(ever),
        Class::ideal().radio(nothing, ever),
        Class::ideal().radio(nothing, ever).bandwidth(1),
        Class::ideal().start(ever),
    ];
    for class in classes {
        for limit in [seconds(3600), ever] {
            match meet(class.clone(), limit) {
                Ok(outcome) => assert!(outcome.into_values().is_err(), "{class:?}"),
                Err(stopped) => assert!(
                    matches!(stopped.reason, Reason::Deadlock { .. } | Reason::TimeLimit { .. }),
                    "{class:?}: {stopped}"
                ),
            }
        }
    }
    // These hurt nobody.
    for class in [Class::ideal().silence(ever), Class::ideal().radio(ever, ever), Class::ideal().crash(ever)] {
        assert_eq!(meet(class, ever).expect("it runs").into_values().expect("nobody fails"), [9.0; 3]);
    }
    for limits in [seconds(0), ever] {
        let simulation = Simulation::exactly(1).ranks(2, Class::ideal()).hub_limits(move |hub| {
            (hub.max_silence, hub.probe_wait, hub.join_wait) = (limits, limits, Some(limits.max(nothing)));
        });
        simulation
            .run(|rank| async move { rank.barrier().await })
            .expect("it runs")
            .into_values()
            .expect("it goes well");
    }
}

#[test]
fn who_sleeps_for_ever_is_told_as_one_who_waits_for_what_never_happens() {
    let simulation = Simulation::exactly(1).ranks(2, Class::ideal()).limit(Duration::MAX);
    let stopped = simulation.run(|rank| async move {
        for _ in 0..3 {
            rank.sleep(Duration::MAX).await;
        }
        rank.barrier().await
    });
    let stopped = stopped.expect_err("time does not end");
    assert!(matches!(stopped.reason, Reason::Deadlock { .. }), "{stopped}");
}

#[test]
fn who_is_never_let_in_is_told_to_wait_for_that() {
    let cut = Class::ideal().partition_one_way(Direction::Down, seconds(0)..Duration::MAX);
    let cut = Simulation::exactly(1).ranks(2, cut.silence(Duration::ZERO));
    for simulation in [cut, Simulation::exactly(1).ranks(2, Class::ideal()).hub_power_loss(Duration::ZERO)] {
        let stopped = simulation.run(|rank| async move { rank.barrier().await }).expect_err("nobody gets in");
        assert!(stopped.to_string().contains("ranks 0, 1 wait in joining the world"), "{stopped}");
    }
}

#[test]
fn a_one_way_partition_that_never_heals_ends_with_who_waits_for_what_and_who_was_not_heard() {
    for direction in [Direction::Up, Direction::Down] {
        let class = Class::ideal().silence(Duration::ZERO).partition_one_way(direction, seconds(2)..Duration::MAX);
        let stopped = meet(class, seconds(3600)).expect_err("nobody is told");
        let Reason::Deadlock { waiting } = &stopped.reason else { panic!("{stopped}") };
        assert!(waiting.iter().all(|rank| rank.calls[0].starts_with("allreduce(SUM) at ")), "{stopped}");
    }
    // With signs of life everybody is told, and the report names the rank that nobody heard of.
    let simulation = Simulation::exactly(1)
        .ranks(3, Class::ideal())
        .rank(1, |class| class.partition_one_way(Direction::Up, seconds(2)..Duration::MAX));
    let outcome = simulation.run(|rank| async move {
        rank.sleep(seconds(5)).await;
        rank.round(0);
        rank.barrier().await
    });
    let report = outcome.expect("it ends").report;
    assert_eq!(report.rounds[0].late[0], (edgempi::Rank::new(1), Duration::MAX));
    assert!(report.to_string().contains("rank 1, never"), "{report}");
}

#[test]
fn a_round_that_is_marked_again_counts_each_rank_once() {
    let class = Class::ideal().latency(seconds(1));
    let outcome = Simulation::exactly(1).ranks(2, class).run(|rank| async move {
        for _ in 0..2 {
            rank.round(7);
            rank.barrier().await?;
        }
        Ok(())
    });
    let report = outcome.expect("it runs").report;
    let round = &report.rounds[0];
    // Joining takes a second up and one down, and so does each barrier.
    assert_eq!((round.number, round.ranks, round.begin, round.end), (7, 2, seconds(4), seconds(8)));
    assert_eq!(round.late, [(edgempi::Rank::new(0), seconds(7)), (edgempi::Rank::new(1), seconds(7))]);
}
