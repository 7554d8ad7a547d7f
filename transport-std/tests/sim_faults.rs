//! Each fault of a simulation does what it says, and the world meets it as on a real network.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use edgempi::sim::{Class, Direction, Failure, Outcome, Rank, Reason, Simulation, What};
use edgempi::{ANY_SOURCE, Config, Error, Sum};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Five ranks 10 ms away that meet every second for so long. Each returns when it was done with the last call that went
/// well, and what the next one met.
fn meet(simulation: Simulation, length: Duration) -> Outcome<(Duration, Option<Error>)> {
    let outcome = simulation.run(|rank| async move {
        let mut last = rank.now();
        while rank.now() < length {
            rank.sleep(seconds(1)).await;
            if let Err(error) = rank.allreduce([1u32], Sum).await {
                return Ok((last, Some(error)));
            }
            last = rank.now();
        }
        Ok((last, None))
    });
    outcome.expect("it runs")
}

fn near() -> Class {
    Class::ideal().latency(millis(10))
}

fn five() -> Simulation {
    Simulation::new(1).ranks(5, near())
}

/// What rank 2 does to the others: when each last heard from it, and the error that followed.
fn survivors(outcome: &Outcome<(Duration, Option<Error>)>) -> Vec<(Duration, Error)> {
    let others = [0, 1, 3, 4].map(|rank| outcome.results[rank].clone());
    let told = others.map(|result| match result {
        Ok((last, Some(error))) => (last, error),
        other => panic!("it heard of nothing: {other:?}"),
    });
    told.to_vec()
}

fn is_failure_of_2(error: &Error) -> bool {
    matches!(error, Error::RankFailed { ranks, .. } if *ranks == [edgempi::Rank::new(2)])
}

async fn sum(rank: Rank) -> Result<(Duration, f32), Error> {
    let begin = rank.now();
    let mut total = 0.0;
    for _ in 0..20 {
        total += rank.allreduce(vec![1.0f32; 5000], Sum).await?[4999];
    }
    Ok((rank.now() - begin, total))
}

#[test]
fn a_loss_costs_time_and_nothing_else() {
    let run = |loss: f64| {
        let outcome = Simulation::new(3).ranks(3, near().loss(loss).retransmission(millis(200))).run(sum);
        let outcome = outcome.expect("it runs");
        let lost: u64 = outcome.report.ranks.iter().map(|rank| rank.lost).sum();
        let values = outcome.into_values().expect("nobody fails");
        assert!(values.iter().all(|(_, total)| *total == 60.0));
        (values[0].0, lost)
    };
    let ((without, none), (with, lost)) = (run(0.0), run(0.05));
    assert_eq!((without, none), (millis(20 * 20), 0));
    assert!(lost > 20, "{lost}");
    // About every call meets one.
    assert!(with > without + millis(10 * 200), "{with:?}");
}

#[test]
fn frames_of_different_ranks_overtake_each_other_by_jitter() {
    let order = |seed| {
        let simulation = Simulation::exactly(seed).ranks(6, near().jitter(millis(100)));
        let outcome = simulation.run(|rank| async move {
            if rank.rank() != 0 {
                rank.send(0, 1, [0u8]).await?;
                return Ok(Vec::new());
            }
            let mut sources = Vec::new();
            for _ in 1..6 {
                sources.push(rank.recv::<u8>(ANY_SOURCE, 1).await?.1.source.get());
            }
            Ok(sources)
        });
        outcome.expect("it runs").into_values().expect("nobody fails").swap_remove(0)
    };
    let orders: std::collections::BTreeSet<Vec<u32>> = (0..10).map(order).collect();
    assert!(orders.len() > 5, "{orders:?}");
}

#[test]
fn messages_between_two_ranks_stay_in_order_on_the_worst_of_links() {
    let worst = Class::board().loss(0.3).jitter(seconds(1));
    let outcome = Simulation::new(5).ranks(2, worst).run(|rank| async move {
        if rank.rank() == 0 {
            let sends: Vec<_> = (0..50u32).map(|number| rank.send(1, 1, [number])).collect();
            for send in sends {
                send.await?;
            }
            return Ok(Vec::new());
        }
        let mut numbers = Vec::new();
        for _ in 0..50 {
            numbers.push(rank.recv::<u32>(0, 1).await?.0[0]);
        }
        Ok(numbers)
    });
    let numbers = outcome.expect("it runs").into_values().expect("nobody fails").swap_remove(1);
    assert!(numbers.into_iter().eq(0..50));
}

#[test]
fn bandwidth_bounds_each_way_of_its_own_link() {
    let simulation = five().rank(2, |class| class.bandwidth_up(10_000).bandwidth_down(50_000));
    let outcome = simulation.run(|rank| async move {
        let begin = rank.now();
        let up = rank.gather(0, vec![0u8; 100_000]).await?.is_some();
        let uploaded = rank.now();
        rank.bcast(0, vec![0u8; 100_000]).await?;
        Ok((up, uploaded - begin, rank.now() - uploaded))
    });
    let values = outcome.expect("it runs").into_values().expect("nobody fails");
    assert!(values[0].0 && values[0].1 >= seconds(10) && values[0].1 < millis(10_200), "{values:?}");
    assert!(values[2].1 >= seconds(10) && values[2].2 >= seconds(2) && values[2].2 < millis(2200), "{values:?}");
    // Nobody else waits for what the slow one gets.
    assert!(values[4].2 < millis(100), "{values:?}");
}

#[test]
fn a_rank_that_takes_its_result_slowly_holds_up_nobody_who_does_not_need_it() {
    // With small frames and a small buffer, so that the hub's signs of life do not wait for long.
    let simulation = five().rank(2, |class| class.bandwidth_down(1000).max_payload(1024).buffer(2048));
    let outcome = simulation.run(|rank| async move {
        let begin = rank.now();
        match rank.rank().get() {
            0 => rank.send(2, 1, vec![0u8; 50_000]).await?,
            2 => assert_eq!(rank.recv::<u8>(0, 1).await?.0.len(), 50_000),
            3 => rank.send(4, 1, vec![0u8; 50_000]).await?,
            4 => assert_eq!(rank.recv::<u8>(3, 1).await?.0.len(), 50_000),
            _ => {}
        }
        Ok(rank.now() - begin)
    });
    let times = outcome.expect("it runs").into_values().expect("nobody fails");
    assert!(times[2] >= seconds(50), "{times:?}");
    assert!([0, 1, 3, 4].iter().all(|rank| times[*rank] < seconds(1)), "{times:?}");
}

#[test]
fn a_partition_that_heals_in_time_costs_its_time_alone() {
    for partition in [
        near().partition(seconds(10)..seconds(15)),
        near().partition_one_way(Direction::Up, seconds(10)..seconds(15)),
        near().partition_one_way(Direction::Down, seconds(10)..seconds(15)),
    ] {
        let outcome = meet(five().rank(2, |_| partition), seconds(30));
        let with = outcome.report.events;
        assert!(outcome.report.failed.is_empty(), "{:?}", outcome.report.failed);
        for (_, error) in outcome.into_values().expect("nobody fails") {
            assert_eq!(error, None);
        }
        // Five meetings did not take place.
        let without = meet(five(), seconds(30)).report.events;
        assert!(with < without, "{with} and {without} events");
    }
}

#[test]
fn behind_a_partition_that_lasts_both_sides_lose_patience() {
    let outcome = meet(five().rank(2, |class| class.partition(seconds(10)..seconds(3600))), seconds(7200));
    let (last, error) = outcome.results[2].clone().expect("it learns");
    assert!(last < seconds(11) && matches!(error, Some(Error::Disconnected { .. })), "{error:?}");
    for (last, error) in survivors(&outcome) {
        assert!(last < seconds(11) && is_failure_of_2(&error), "{error:?}");
        assert!(error.to_string().contains("silent"), "{error}");
    }
}

#[test]
fn a_partition_up_alone_silences_a_rank_and_one_down_alone_deafens_it() {
    let up = five().rank(2, |class| class.partition_one_way(Direction::Up, seconds(10)..Duration::MAX));
    let outcome = meet(up, seconds(100));
    assert!(survivors(&outcome).iter().all(|(_, error)| is_failure_of_2(error)));
    // It hears that the hub has given it up, or misses the answers to its pings before.
    let (_, error) = outcome.results[2].clone().expect("it learns");
    assert!(matches!(error, Some(Error::Disconnected { .. } | Error::Refused { .. })), "{error:?}");

    let down = five().rank(2, |class| class.partition_one_way(Direction::Down, seconds(10)..Duration::MAX));
    let outcome = meet(down, seconds(100));
    assert!(survivors(&outcome).iter().all(|(_, error)| is_failure_of_2(error)));
    let (_, error) = outcome.results[2].clone().expect("it learns");
    assert!(matches!(error, Some(Error::Disconnected { .. })), "{error:?}");
}

#[test]
fn a_crash_is_known_at_once_and_fails_what_needs_the_rank() {
    let outcome = meet(five().rank(2, |class| class.crash(millis(10_500))), seconds(100));
    assert_eq!(outcome.results[2], Err(Failure::Died { at: millis(10_500) }));
    assert_eq!(outcome.report.ranks[2].ended, Some(millis(10_500)));
    for (last, error) in survivors(&outcome) {
        assert!(last > seconds(9) && last < millis(10_500) && is_failure_of_2(&error), "{last:?} {error:?}");
    }
    // Nobody waited for anything.
    assert!(outcome.report.duration < seconds(13), "{:?}", outcome.report.duration);
    assert_eq!(outcome.report.failed.len(), 1);
}

#[test]
fn a_crash_fails_a_call_that_waits_for_the_rank() {
    let simulation = five().rank(2, |class| class.crash(seconds(10)));
    let outcome = simulation.run(|rank| async move {
        match rank.rank().get() {
            2 => rank.sleep(seconds(1000)).await,
            _ => assert!(is_failure_of_2(&rank.barrier().await.expect_err("it is dead"))),
        }
        Ok(rank.now())
    });
    let outcome = outcome.expect("it runs");
    // Half a round trip for the news to reach the hub, and the other half from there.
    assert_eq!(outcome.results[0], Ok(millis(10_020)));
}

#[test]
fn a_lost_power_is_noticed_within_the_silence_that_was_promised() {
    let simulation = five().rank(2, |class| class.silence(seconds(12)).power_loss(seconds(10)));
    let outcome = simulation.run(|rank| async move {
        match rank.rank().get() {
            2 => rank.sleep(seconds(1000)).await,
            _ => {
                let error = rank.barrier().await.expect_err("it is dead");
                assert!(is_failure_of_2(&error) && error.to_string().contains("silent for 12 s"), "{error}");
            }
        }
        Ok(rank.now())
    });
    let times = outcome.expect("it runs").results;
    // It was last heard of a third of that before it died, at the most.
    assert!(matches!(times[0], Ok(at) if at > seconds(10 + 12 - 5) && at < seconds(10 + 12 + 1)), "{times:?}");
}

#[test]
fn nobody_misses_a_rank_that_promised_nothing() {
    let stopped = five().rank(2, |class| class.silence(Duration::ZERO).power_loss(seconds(1))).run(|rank| async move {
        rank.sleep(seconds(2)).await;
        rank.barrier().await
    });
    let stopped = stopped.expect_err("they wait for ever");
    let Reason::Deadlock { waiting } = &stopped.reason else { panic!("{stopped}") };
    assert_eq!(waiting.len(), 4, "{stopped}");
}

#[test]
fn what_left_a_rank_before_its_power_went_arrives_and_what_did_not_never_does() {
    // 100 ms for each message; the second is half out.
    let simulation = Simulation::new(1)
        .ranks(1, near())
        .ranks(1, near().bandwidth_up(10_000).silence(seconds(5)).power_loss(millis(10_150)));
    let outcome = simulation.run(|rank| async move {
        if rank.rank() == 1 {
            rank.sleep(seconds(10) - rank.now()).await;
            let sends = [rank.send(0, 1, [1u8; 900]), rank.send(0, 2, [2u8; 900])];
            rank.sleep(seconds(1000)).await;
            drop(sends);
            return Ok(());
        }
        assert_eq!(rank.recv::<u8>(1, 1).await?.0[0], 1);
        let never = rank.recv::<u8>(1, 2).await;
        assert!(matches!(never, Err(Error::RankFailed { .. })), "{never:?}");
        Ok(())
    });
    assert_eq!(outcome.expect("it runs").results[0], Ok(()));
}

#[test]
fn a_program_that_returns_an_error_has_failed_in_the_eyes_of_others() {
    let outcome = five().run(|rank| async move {
        if rank.rank() == 2 {
            return Err(Error::InvalidArgument { reason: "it had enough".to_owned() });
        }
        let error = rank.barrier().await.expect_err("rank 2 gave up");
        assert!(is_failure_of_2(&error) && error.to_string().contains("without finalize"), "{error}");
        Ok(())
    });
    assert_eq!(outcome.expect("it runs").results.iter().filter(|result| result.is_ok()).count(), 4);
}

#[test]
fn a_rank_that_has_finished_takes_part_no_more() {
    let outcome = five().run(|rank| async move {
        if rank.rank() != 2 {
            let error = rank.barrier().await.expect_err("rank 2 has gone");
            assert!(matches!(error, Error::RankFinished { rank, .. } if rank == 2), "{error:?}");
        }
        Ok(())
    });
    let outcome = outcome.expect("it runs");
    assert!(outcome.report.failed.is_empty());
    outcome.into_values().expect("nobody fails");
}

#[test]
fn everybody_is_disconnected_when_the_hub_crashes_is_shut_down_or_loses_its_power() {
    for (simulation, latest) in [
        (five().hub_crash(millis(10_500)), millis(10_520)),
        (five().hub_shutdown(millis(10_500)), millis(10_520)),
        // A third of 30 s of silence, and 20 s in which the hub could have answered.
        (five().hub_power_loss(millis(10_500)), seconds(10 + 10 + 20 + 1)),
    ] {
        let outcome = simulation.run(|rank| async move {
            let error = loop {
                if let Err(error) = rank.barrier().await {
                    break error;
                }
                rank.sleep(seconds(1)).await;
            };
            Ok((rank.now(), error))
        });
        for (at, error) in outcome.expect("it runs").into_values().expect("nobody fails") {
            assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
            // The one that wakes just before hears it at its next call.
            assert!(at > millis(10_500) && at <= latest + seconds(1), "{at:?}");
        }
    }
}

#[test]
fn nobody_gets_in_where_the_hub_has_died() {
    let outcome = five().rank(4, |class| class.start(seconds(5))).hub_crash(seconds(3)).run(|_| async { Ok(()) });
    for result in outcome.expect("it runs").results {
        assert!(matches!(result, Err(Failure::Error(Error::Disconnected { .. }))), "{result:?}");
    }
}

#[test]
fn a_sleeping_radio_answers_in_its_waking_time_alone() {
    let every = seconds(60);
    let class = near().bandwidth(100_000).silence(Duration::ZERO).radio(seconds(1), every);
    let heard: Rc<RefCell<Vec<Vec<Duration>>>> = Rc::new(RefCell::new(vec![Vec::new(); 5]));
    let times = heard.clone();
    let simulation = Simulation::new(1).ranks(2, near()).ranks(3, class).config(Config::new().wait(seconds(600)));
    let simulation = simulation.trace(move |entry| {
        if let (Some(rank), What::Frame { direction: Direction::Down, .. }) = (entry.rank, entry.what) {
            times.borrow_mut()[rank.index()].push(entry.at);
        }
    });
    let outcome = simulation.run(|rank| async move {
        rank.barrier().await?;
        let begin = rank.now();
        for _ in 0..10 {
            rank.sleep(seconds(2)).await;
            rank.barrier().await?;
        }
        Ok(rank.now() - begin)
    });
    let outcome = outcome.expect("it runs");
    assert!(outcome.report.failed.is_empty());
    for time in outcome.into_values().expect("nobody fails") {
        // A rank that sleeps on is heard a period later, and hears the answer after one more at the most.
        assert!(time > every * 10 && time < every * 20, "{time:?}");
    }
    let heard = heard.borrow();
    let phases = heard.iter().map(|times| {
        let within = |at: &Duration| Duration::from_micros((at.as_micros() % every.as_micros()) as u64);
        let first = within(&times[0]);
        // Whatever the phase is, all fall within the waking second.
        times.iter().all(|at| {
            let apart = within(at).abs_diff(first);
            apart < seconds(1) || apart > every - seconds(1)
        })
    });
    assert_eq!(phases.collect::<Vec<bool>>(), [false, false, true, true, true]);
}

#[test]
fn the_others_wait_for_a_rank_that_comes_late_but_not_for_ever() {
    let late = |at| five().rank(2, |class| class.start(at)).config(Config::new().wait(seconds(30)));
    let outcome = late(seconds(20)).run(|rank| async move { Ok(rank.now()) });
    assert!(outcome.expect("it runs").into_values().expect("all are there").iter().all(|at| *at >= seconds(20)));

    let outcome = late(seconds(40)).run(|rank| async move { Ok(rank.now()) }).expect("it runs");
    for rank in [0, 1, 3, 4] {
        let Err(Failure::Error(error)) = &outcome.results[rank] else { panic!("{:?}", outcome.results[rank]) };
        assert!(is_failure_of_2(error) && error.to_string().contains("did not come within 30 s"), "{error}");
    }
    assert!(outcome.results[2].is_err());
}

#[test]
fn a_rank_that_dies_before_it_comes_is_missing() {
    let outcome = five().rank(2, |class| class.start(seconds(5)).crash(seconds(1))).run(|_| async { Ok(()) });
    let outcome = outcome.expect("it runs");
    assert_eq!(outcome.results[2], Err(Failure::Died { at: seconds(1) }));
    assert!(matches!(&outcome.results[0], Err(Failure::Error(error)) if is_failure_of_2(error)));
}

#[test]
fn communicators_without_the_dead_rank_go_on() {
    let outcome = five().rank(2, |class| class.crash(seconds(5))).run(|rank| async move {
        let rest = rank.split((rank.rank() != 2).then_some(0), 0).await?;
        rank.sleep(seconds(10)).await;
        let rest = rest.expect("rank 2 is dead by now");
        Ok(rest.allreduce([1], Sum).await?[0])
    });
    let results = outcome.expect("it runs").results;
    assert!([0, 1, 3, 4].iter().all(|rank| results[*rank] == Ok(4)), "{results:?}");
}

#[test]
fn who_comes_late_to_an_operation_that_was_given_up_hears_of_that_or_of_who_has_finalized_since() {
    for leaves in [false, true] {
        let outcome = Simulation::new(1).ranks(3, near()).run(|rank| async move {
            match rank.rank().get() {
                0 => {
                    let mut given = [0u8; 4];
                    drop(rank.bcast_in_place(0, &mut given));
                }
                1 => {
                    let error = rank.bcast(0, [0u8; 4]).await.expect_err("it was given up");
                    assert!(matches!(error, Error::Cancelled { rank, .. } if rank == 0), "{error:?}");
                }
                _ => {
                    rank.sleep(seconds(5)).await;
                    return Ok(rank.bcast(0, [0u8; 4]).await.err());
                }
            }
            if !leaves {
                rank.sleep(seconds(10)).await;
            }
            Ok(None)
        });
        let error = outcome.expect("it runs").into_values().expect("nobody fails").swap_remove(2);
        match error {
            Some(Error::Cancelled { rank, .. }) => assert_eq!(rank, 0),
            Some(Error::RankFinished { .. }) if leaves => {}
            other => panic!("{other:?}"),
        }
    }
}
