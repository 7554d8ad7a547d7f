//! Strangers at the hub's door: whatever they say, or do not say, their connection alone is closed, they are told why,
//! and the world goes on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgempi::hub::Registry;
use edgempi::{Builder, Category, Error, Max, World};
use edgempi_core::request::CallCode;
use edgempi_core::wire::{Hello, MAX_HEAD_LEN, Ping, Submit, SubmitFlags, Up};
use edgempi_tests::stranger::{Stranger, first_barrier, hello, receive_from};
use edgempi_tests::{LoneHub, Watchdog, blame, free_address, hosted, join, joining, on_ranks};

/// Runs `visit` while a world works, and sees to it that the world is none the worse for it.
fn beside_a_world<T: Send>(visit: impl FnOnce(SocketAddr) -> T + Send) -> T {
    let hub = free_address();
    let worlds = join((0..3).map(|rank| hosted(hub, 3, rank)), &Registry::new()).expect("nothing is wrong");
    let over = &AtomicBool::new(false);
    let work = |world: &World| -> Result<u32, Error> {
        let (comm, mut rounds) = (world.comm(), 0);
        loop {
            let last = comm.bcast(0, [u8::from(over.load(Ordering::SeqCst))]).wait()? == [1];
            let largest = comm.allreduce(vec![world.rank().get(); 5000], Max).wait()?;
            assert_eq!(largest, vec![2; 5000]);
            rounds += 1;
            if last {
                return Ok(rounds);
            }
        }
    };
    thread::scope(|scope| {
        let working = scope.spawn(|| on_ranks(worlds, work));
        let visited = scope.spawn(move || visit(hub)).join();
        over.store(true, Ordering::SeqCst);
        let rounds = working.join().expect("the world goes on");
        assert!(rounds.iter().all(|rounds| rounds.is_ok()), "{rounds:?}");
        visited.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

const NO_HELLO: &str = "this is the hub of an edgempi world, and these bytes are no Hello";

#[test]
fn strangers_are_told_where_they_are_and_shown_out_while_the_world_goes_on() {
    let mut submit = [0; MAX_HEAD_LEN];
    let len = Up::Submit(first_barrier()).encode(0, &mut submit);
    let garbage: Vec<u8> = (2..20_000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 11) as u8 | 2).collect();
    let strangers: [&[u8]; 7] = [
        &garbage,
        b"GET / HTTP/1.1\r\nHost: hub\r\nUser-Agent: a browser\r\n\r\n",
        // TLS.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &submit[..len],
        b"\x01\x00\0\0\0\0",
        b"\x01\x05\0\0\0\0hello",
        &[[1, 255, 0, 0, 0, 0].as_slice(), &[b'x'; 255]].concat(),
    ];
    beside_a_world(|hub| {
        for bytes in strangers {
            let mut stranger = Stranger::connect(hub);
            stranger.write(bytes).expect("the hub reads");
            assert_eq!(stranger.refusal(), (Category::Protocol, NO_HELLO.to_owned()), "{}", bytes.escape_ascii());
        }
    });
}

#[test]
fn a_frame_of_4_gib_is_refused_before_it_comes() {
    beside_a_world(|hub| {
        let mut stranger = Stranger::connect(hub);
        let mut head = [0; MAX_HEAD_LEN];
        let len = Up::Hello(hello(1, 3)).encode(u32::MAX, &mut head);
        stranger.write(&head[..len]).expect("the hub reads");
        let expected = "a frame of 4294967295 bytes is more than the 256 allowed".to_owned();
        assert_eq!(stranger.refusal(), (Category::TooLarge, expected));
    });
}

#[test]
fn a_header_without_end_is_refused_and_its_sender_cut_off() {
    beside_a_world(|hub| {
        let mut stranger = Stranger::connect(hub);
        stranger.write(&[1, 255, 0, 0, 0, 0]).expect("the hub reads");
        let start = Instant::now();
        while stranger.write(&[0; 4096]).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(10), "nobody stops it");
        }
    });
}

#[test]
fn half_a_frame_is_forgotten_with_its_connection() {
    beside_a_world(|hub| {
        let mut head = [0; MAX_HEAD_LEN];
        let len = Up::Hello(hello(1, 3)).encode(100, &mut head);
        for bytes in [&head[..0], &head[..1], &head[..5], &head[..len - 1], &head[..len]] {
            let mut stranger = Stranger::connect(hub);
            stranger.write(bytes).expect("the hub reads");
        }
    });
}

#[test]
fn a_stranger_has_ten_seconds_to_say_hello_however_slowly() {
    beside_a_world(|hub| {
        thread::scope(|scope| {
            let silent = || {
                let (mut stranger, start) = (Stranger::connect(hub), Instant::now());
                stranger.write(&[1, 37, 0]).expect("the hub reads");
                (stranger.refusal(), start.elapsed())
            };
            let slow = || {
                let (mut stranger, start) = (Stranger::connect(hub), Instant::now());
                let mut voice = stranger.second_voice();
                scope.spawn(move || {
                    let mut head = [0; MAX_HEAD_LEN];
                    let len = Up::Hello(hello(1, 3)).encode(100, &mut head);
                    // Slow on purpose: it would take a minute in all.
                    for byte in &head[..len] {
                        if voice.write(&[*byte]).is_err() {
                            return;
                        }
                        thread::sleep(Duration::from_millis(1500));
                    }
                });
                (stranger.refusal(), start.elapsed())
            };
            let (silent, slow) = (scope.spawn(silent), scope.spawn(slow));
            for (refusal, waited) in [silent.join().expect("no panic"), slow.join().expect("no panic")] {
                assert_eq!(refusal, (Category::Timeout, "no Hello came in time".to_owned()));
                assert!((Duration::from_secs(9)..Duration::from_secs(30)).contains(&waited), "{waited:?}");
            }
        });
    });
}

#[test]
fn a_crowd_of_strangers_does_not_keep_a_world_from_working() {
    beside_a_world(|hub| {
        let crowd: Vec<Stranger> = (0..200).map(|_| Stranger::connect(hub)).collect();
        for (index, mut stranger) in crowd.into_iter().enumerate() {
            if index % 2 == 0 {
                stranger.write(b"let me in").expect("the hub reads");
                assert_eq!(stranger.refusal().0, Category::Protocol);
            }
        }
    });
}

#[test]
fn ranks_come_in_when_a_crowd_larger_than_the_hub_has_room_for_goes() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(2);
    let crowd: Vec<Stranger> = (0..300).map(|_| Stranger::connect(hub.address)).collect();
    let ranks = (0..2).map(|rank| Builder::new().config(joining(hub.address, 2, rank)).init());
    let ranks: Vec<_> = ranks.collect();
    // Half of the crowd is sent away, the others leave by themselves.
    for (index, mut stranger) in crowd.into_iter().enumerate() {
        if index % 2 == 0 && index < 200 {
            stranger.write(b"let me in").expect("the hub reads");
            assert_eq!(stranger.refusal().0, Category::Protocol);
        }
    }
    let worlds = ranks.into_iter().map(|rank| rank.wait().expect("there is room again")).collect();
    on_ranks(worlds, |world| world.comm().barrier().wait().expect("nothing is wrong"));
    hub.ended();
}

#[test]
fn strangers_come_before_the_world_is_complete() {
    let _watchdog = Watchdog::start();
    let hub = free_address();
    let host = Builder::new().config(hosted(hub, 2, 0)).init();
    let mut stranger = Stranger::connect(hub);
    stranger.write(b"anybody there?").expect("the hub reads");
    assert_eq!(stranger.refusal(), (Category::Protocol, NO_HELLO.to_owned()));
    let other = Builder::new().config(hosted(hub, 2, 1)).init();
    let worlds = [host, other].into_iter().map(|init| init.wait().expect("both are there")).collect();
    assert_eq!(on_ranks(worlds, |world| world.comm().barrier().wait()), [Ok(()), Ok(())]);
}

#[test]
fn a_rank_that_breaks_the_protocol_fails_alone_and_is_named() {
    let _watchdog = Watchdog::start();
    let hub = free_address();
    let hosts: Vec<_> = (0..2).map(|rank| Builder::new().config(hosted(hub, 3, rank)).init()).collect();
    let mut third = Stranger::join(hub, hello(2, 3));
    third.say(Up::Submit(first_barrier()), &[]).expect("the hub reads");
    let worlds: Vec<World> = hosts.into_iter().map(|init| init.wait().expect("all are there")).collect();
    let barriers: Vec<_> = worlds.iter().map(|world| world.comm().barrier()).collect();
    third.write(&[99, 0, 0, 0, 0, 0]).expect("the hub reads");
    for barrier in barriers {
        let error = barrier.wait().expect_err("rank 2 is out");
        let expected = "rank 2 has failed: it broke the protocol: unknown frame kind 99";
        assert_eq!(blame(&error), expected);
    }
    assert_eq!(third.refusal(), (Category::Protocol, "unknown frame kind 99".to_owned()));
    let heard = on_ranks(worlds, |world| match world.rank().get() {
        0 => world.comm().objects().send(1, 7, "still here").wait().map(|()| String::new()),
        _ => world.comm().objects().recv::<String>(0, 7).wait().map(|(text, _)| text),
    });
    assert_eq!(heard[1].as_deref(), Ok("still here"));
}

#[test]
fn a_rank_that_never_stops_talking_does_not_keep_the_others_from_being_heard() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(3);
    let hosts: Vec<_> = (0..2).map(|rank| Builder::new().config(joining(hub.address, 3, rank)).init()).collect();
    let mut talker = Stranger::join(hub.address, hello(2, 3));
    talker.say(Up::Submit(first_barrier()), &[]).expect("the hub reads");
    let worlds: Vec<World> = hosts.into_iter().map(|init| init.wait().expect("all are there")).collect();
    let mut head = [0; MAX_HEAD_LEN];
    let len = Up::Pong(Ping { acknowledged: 0 }).encode(0, &mut head);
    let speech = head[..len].repeat(20_000);
    let heard = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut voice = talker.second_voice();
        let heard = &heard;
        scope.spawn(move || while !heard.load(Ordering::SeqCst) && voice.write(&speech).is_ok() {});
        for round in 0..20 {
            worlds[0].comm().send(1, round, [round]).wait().expect("the hub hears it");
            assert_eq!(worlds[1].comm().recv::<u32>(0, round).wait().expect("the hub hears it").0, [round]);
        }
        heard.store(true, Ordering::SeqCst);
    });
    drop(talker);
    on_ranks(worlds, |_| ());
}

#[test]
fn a_rank_on_a_slow_link_lives_although_its_frame_takes_longer_than_its_silence() {
    let _watchdog = Watchdog::start();
    let hub = LoneHub::start(2);
    let first = Builder::new().config(joining(hub.address, 2, 0)).init();
    let mut slow = Stranger::join(hub.address, Hello { max_silence: 1000, ..hello(1, 2) });
    slow.say(Up::Submit(first_barrier()), &[]).expect("the hub reads");
    let world = first.wait().expect("both are there");
    let receive = world.comm().recv::<u8>(1, 0);
    let send = Submit { call: CallCode::Send as u8, send: 30, flags: SubmitFlags::EAGER, ..receive_from(0, 0) };
    let mut head = [0; MAX_HEAD_LEN];
    let len = Up::Submit(send).encode(30, &mut head);
    slow.write(&head[..len]).expect("the hub reads");
    for byte in 0..30 {
        // Slow on purpose: three times as slow as its silence.
        thread::sleep(Duration::from_millis(100));
        slow.write(&[byte]).expect("the hub reads");
    }
    let (data, _) = receive.wait().expect("rank 1 lives");
    assert_eq!(data, (0..30).collect::<Vec<u8>>());
    drop(slow);
    world.finalize().wait().expect("nothing is wrong");
}
