//! What a rank can make the hub hold: it is bounded, however long it goes on, and whoever does not keep pace waits.

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use edgempi_core::Payload;
use edgempi_core::endpoint::EAGER_OVERHEAD;
use edgempi_core::hub::{self, Apply, ApplyError, Hub, PeerId, Registry, Work};
use edgempi_core::request::CallCode;
use edgempi_core::wire::{Cancel, Down, MAX_HEAD_LEN, Name, NameKind, Prefix, Submit, SubmitFlags, Up, Withdraw};
use edgempi_core::{Category, Color, Instant, Rank, SplitRequest, SplitResult, Tag};
use world::{hello, submit, words};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// Counts what each thread holds.
struct Counting;

fn count(bytes: isize) {
    // A thread that is ending counts no more.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tells every destination how many sources there are.
struct Count;

impl Apply for Count {
    fn apply(&self, destinations: &[Rank], inputs: Vec<(Rank, Payload)>) -> Result<Vec<(Rank, Payload)>, ApplyError> {
        Ok(destinations.iter().map(|rank| (*rank, vec![inputs.len() as u8].into())).collect())
    }
}

/// A hub and links to it, without endpoints. What the hub says is thrown away.
struct Bare {
    hub: Hub,
    peers: Vec<PeerId>,
    calls: usize,
    answers: usize,
    last: Option<Category>,
    /// The last result.
    payload: Payload,
    /// Whether work is not done now, and what is to be done.
    is_slow: bool,
    work: Vec<Work>,
}

impl Bare {
    fn new(size: u32) -> Self {
        Self::with(hub::Config::new(size))
    }

    fn with(config: hub::Config) -> Self {
        let size = config.size;
        let mut registry = Registry::new();
        registry.insert("count", 1, Count);
        let mut bare = Self {
            hub: Hub::new(Instant::ZERO, config, registry),
            peers: Vec::new(),
            calls: 0,
            answers: 0,
            last: None,
            payload: Payload::new(),
            is_slow: false,
            work: Vec::new(),
        };
        for rank in 0..size {
            bare.peers.push(bare.hub.connect(Instant::ZERO));
            bare.say(rank, Up::Hello(hello(rank, size)), b"");
        }
        bare
    }

    fn say(&mut self, rank: u32, frame: Up, payload: &[u8]) {
        let mut head = [0; MAX_HEAD_LEN];
        let len = frame.encode(payload.len() as u32, &mut head);
        let (prefix, header) = head[..len].split_first_chunk().unwrap();
        let (prefix, peer) = (Prefix::decode(*prefix), self.peers[rank as usize]);
        self.hub.handle_frame(Instant::ZERO, peer, prefix, header, Payload::from(payload));
        self.listen();
    }

    /// Makes a call, unless the answers to a hundred earlier ones are still to come.
    fn call(&mut self, rank: u32, submit: Submit, payload: &[u8]) {
        if self.calls - self.answers < 100 {
            self.calls += 1;
            self.say(rank, Up::Submit(submit), payload);
        }
    }

    fn listen(&mut self) {
        while let Some(work) = self.hub.poll_work() {
            if self.is_slow {
                self.work.push(work);
                continue;
            }
            let done = work.run();
            self.hub.finish_work(Instant::ZERO, done);
        }
        while let Some(peer) = self.hub.poll_peer() {
            while let Some((frame, payload)) = self.hub.poll_transmit(peer) {
                match frame {
                    Down::Reject(reject) => panic!("it was let go: {}", reject.fault()),
                    Down::Complete(_) => {
                        self.answers += 1;
                        self.payload = payload;
                    }
                    Down::Fail(fail) => {
                        self.answers += 1;
                        self.last = Some(fail.category);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A call that is no more than its name.
fn call(number: u32, code: CallCode) -> Submit {
    Submit { n: number - 1, datatype: 0, ..submit(number, number, code) }
}

#[test]
fn an_idle_rank_takes_less_than_a_kilobyte() {
    const RANKS: u32 = 1000;
    let before = HELD.get();
    let mut hub = Hub::new(Instant::ZERO, hub::Config::new(RANKS), Registry::new());
    for rank in 0..RANKS {
        let peer = hub.connect(Instant::ZERO);
        hub.name_peer(peer, "192.0.2.1:61642");
        let mut head = [0; MAX_HEAD_LEN];
        let len = Up::Hello(hello(rank, RANKS)).encode(0, &mut head);
        let (prefix, header) = head[..len].split_first_chunk().unwrap();
        hub.handle_frame(Instant::ZERO, peer, Prefix::decode(*prefix), header, Payload::new());
        while hub.poll_event().is_some() {}
        while hub.poll_peer().is_some_and(|peer| hub.poll_transmit(peer).is_some()) {}
    }
    assert_eq!(hub.status().alive, RANKS);
    let each = (HELD.get() - before) / RANKS as isize;
    assert!(each < 1024, "{each} bytes for each rank");
}

/// Plays so many rounds twice. The second time the hub holds not much more.
#[track_caller]
fn assert_bounded(size: u32, rounds: u32, mut round: impl FnMut(&mut Bare, u32)) -> Bare {
    let mut config = hub::Config::new(size);
    // One large message takes all of it.
    config.window_total = config.window;
    let mut bare = Bare::with(config);
    let mut play = |bare: &mut Bare, rounds| {
        for number in rounds {
            round(bare, number);
        }
        HELD.get()
    };
    let before = play(&mut bare, 1..rounds);
    let after = play(&mut bare, rounds..2 * rounds);
    assert!(after - before < 64 * 1024, "{} bytes more are held after {rounds} rounds more", after - before);
    bare
}

#[test]
fn collectives_that_a_rank_calls_and_cancels_without_end() {
    let bare = assert_bounded(4, 20_000, |bare, number| {
        bare.call(0, call(number, CallCode::Barrier), b"");
        bare.say(0, Up::Cancel(Cancel { request: submit(number, number, CallCode::Barrier).request }), b"");
    });
    assert_eq!(bare.last, Some(Category::Cancelled));
}

#[test]
fn empty_broadcasts_to_ranks_that_never_come() {
    assert_bounded(4, 20_000, |bare, number| bare.call(0, call(number, CallCode::Bcast), b""));
}

#[test]
fn operations_that_the_hub_does_not_know() {
    let bare = assert_bounded(4, 20_000, |bare, number| {
        if number == 1 {
            bare.say(0, Up::Name(Name { kind: NameKind::Operation, id: 1 }), b"\x01\0\0\0nothing");
        }
        bare.call(0, Submit { name: 1, ..call(number, CallCode::User) }, b"");
    });
    assert_eq!(bare.last, Some(Category::UnknownOperation));
}

#[test]
fn messages_for_all_that_are_too_large() {
    let bare = assert_bounded(4, 20_000, |bare, number| {
        bare.call(0, Submit { send: u64::MAX, ..call(number, CallCode::Bcast) }, b"");
    });
    assert_eq!(bare.last, Some(Category::TooLarge));
}

#[test]
fn where_nothing_waits_any_more_nothing_is_kept() {
    const RANKS: u32 = 400;
    let mut bare = Bare::new(RANKS);
    let gone = RANKS - 1;
    bare.hub.disconnect(Instant::ZERO, bare.peers[gone as usize]);
    let quiet = |bare: &mut Bare, rank, to, number, code| {
        let submit = Submit { peer: Rank::new(to), ..call(number, code) };
        bare.say(rank, Up::Submit(submit), b"");
        submit.request
    };
    // What each rank holds once it has made calls.
    for rank in 0..gone {
        quiet(&mut bare, rank, rank, 1, CallCode::Recv);
        quiet(&mut bare, rank, rank, 2, CallCode::Send);
    }
    let before = HELD.get();
    // Each rank makes calls of one kind, so that none tidies up behind another.
    for (rank, number) in (0..gone).flat_map(|rank| [3, 4, 5].map(|number| (rank, number))) {
        let to = (rank + 6) % (gone - gone % 6);
        let request = match rank % 6 {
            0 => quiet(&mut bare, rank, to, number, CallCode::Iprobe),
            1 => quiet(&mut bare, rank, to, number, CallCode::Rsend),
            2 => quiet(&mut bare, rank, gone, number, CallCode::Recv),
            3 => quiet(&mut bare, rank, to, number, CallCode::Recv),
            4 => quiet(&mut bare, rank, to, number, CallCode::Probe),
            _ => quiet(&mut bare, rank, to, number, CallCode::Ssend),
        };
        match rank % 6 {
            0..3 => continue,
            _ if rank % 12 < 6 => bare.say(rank, Up::Cancel(Cancel { request }), b""),
            _ => bare.say(rank, Up::Withdraw(Withdraw { request }), b""),
        }
    }
    let held = HELD.get() - before;
    assert!(held < 4096, "{held} bytes");
}

#[test]
fn calls_that_need_a_rank_that_is_gone_are_answered_each_and_forgotten() {
    let mut bare = assert_bounded(4, 20_000, |bare, number| {
        if number == 1 {
            bare.hub.disconnect(Instant::ZERO, bare.peers[3]);
        }
        bare.call(0, call(number, CallCode::Barrier), b"");
    });
    assert_eq!((bare.last, bare.calls, bare.answers), (Some(Category::RankFailed), 39_999, 39_999));
    bare.call(1, call(1, CallCode::Barrier), b"");
    assert_eq!((bare.answers, bare.hub.status().operations), (40_000, 0));
}

#[test]
fn whoever_is_too_far_ahead_goes_on_when_the_others_come() {
    const CALLS: u32 = 3000;
    let mut bare = Bare::new(3);
    let call = |rank, number| {
        // Every third one is given up by its root, or needs what is not there.
        let request = call(number, CallCode::Bcast);
        match (number % 3, rank) {
            (0, 0) => Submit { send: 1 << 40, ..request },
            _ => request,
        }
    };
    for number in 1..=CALLS {
        bare.say(0, Up::Submit(call(0, number)), b"");
        if number % 3 == 1 {
            bare.say(0, Up::Cancel(Cancel { request: call(0, number).request }), b"");
        }
    }
    let early = bare.answers;
    assert!((1000..2000).contains(&early), "{early}");
    for rank in 1..3 {
        for number in 1..=CALLS {
            bare.say(rank, Up::Submit(call(rank, number)), b"");
        }
    }
    assert_eq!((bare.answers, bare.hub.status().operations), (3 * CALLS as usize, 0));
    // It may be as far ahead again.
    for number in CALLS + 1..=2 * CALLS {
        bare.say(0, Up::Submit(call(0, number)), b"");
    }
    assert_eq!(bare.answers, 3 * CALLS as usize + early);
}

#[test]
fn whoever_is_too_far_ahead_is_told_when_somebody_dies() {
    const CALLS: u32 = 3000;
    let mut bare = Bare::new(3);
    for number in 1..=CALLS {
        bare.say(0, Up::Submit(call(number, CallCode::Bcast)), b"");
        bare.say(1, Up::Submit(call(number, CallCode::Bcast)), b"");
    }
    assert!(bare.answers < 4000, "{}", bare.answers);
    bare.hub.disconnect(Instant::ZERO, bare.peers[2]);
    bare.listen();
    assert_eq!((bare.answers, bare.hub.status().operations), (2 * CALLS as usize, 0));
    assert_eq!(bare.last, Some(Category::RankFailed));
}

#[test]
fn a_call_takes_memory_for_the_rank_that_has_called_not_for_what_all_of_them_may_give() {
    const SIZE: u32 = 256;
    let mut bare = Bare::new(SIZE);
    let before = HELD.get();
    for number in 1..=20 {
        bare.say(0, Up::Submit(Submit { send: u64::from(SIZE) << 20, ..call(number, CallCode::Alltoall) }), b"");
    }
    let held = (HELD.get() - before) / 20;
    assert!(held < 512 * SIZE as isize, "{held} bytes for each call");
}

#[test]
fn large_messages_given_up_while_another_holds_all_windows() {
    let tagged = |number: u32, code, tag| Submit { tag: Tag(tag), ..submit(number, number, code) };
    let bare = assert_bounded(2, 10_000, |bare, number| {
        let len = 1 << 20;
        let (sent, received) = (2 * number - 1, 2 * number);
        bare.say(0, Up::Submit(Submit { send: len, ..tagged(sent, CallCode::Send, number) }), b"");
        bare.say(0, Up::Submit(Submit { receive: len, ..tagged(received, CallCode::Recv, number) }), b"");
        // The first one is never given, and the second one waits for it.
        if number > 2 {
            bare.say(0, Up::Cancel(Cancel { request: tagged(sent, CallCode::Send, number).request }), b"");
        }
    });
    assert_eq!((bare.last, bare.answers), (Some(Category::Cancelled), 2 * 19_997));
}

#[test]
fn strangers_who_claim_the_rank_of_somebody_who_does_not_read() {
    let mut bare = Bare::new(2);
    let claim = |bare: &mut Bare| {
        let peer = bare.hub.connect(Instant::ZERO);
        let mut head = [0; MAX_HEAD_LEN];
        let len = Up::Hello(hello(1, 2)).encode(0, &mut head);
        let (prefix, header) = head[..len].split_first_chunk().unwrap();
        bare.hub.handle_frame(Instant::ZERO, peer, Prefix::decode(*prefix), header, Payload::new());
        bare.hub.disconnect(Instant::ZERO, peer);
    };
    (0..1000).for_each(|_| claim(&mut bare));
    let mut pings = 0;
    while bare.hub.poll_transmit(bare.peers[1]).is_some() {
        pings += 1;
    }
    assert_eq!(pings, 1);
    claim(&mut bare);
    assert!(matches!(bare.hub.poll_transmit(bare.peers[1]), Some((Down::Ping(_), _))));
}

#[test]
fn operations_that_are_given_up_while_the_hub_computes_them() {
    let mut bare = assert_bounded(1, 5000, |bare, number| {
        if number == 1 {
            bare.say(0, Up::Name(Name { kind: NameKind::Operation, id: 1 }), b"\x01\0\0\0count");
        }
        bare.is_slow = true;
        let eager = SubmitFlags::empty().with(SubmitFlags::EAGER);
        let user = Submit { name: 1, send: 1000, receive: 1, flags: eager, ..call(number, CallCode::User) };
        bare.call(0, user, &[0; 1000]);
        bare.say(0, Up::Cancel(Cancel { request: user.request }), b"");
    });
    assert_eq!((bare.calls, bare.answers), (100, 0));
    assert_eq!(bare.hub.status().queued, 100 * (1000 + EAGER_OVERHEAD));
    for work in std::mem::take(&mut bare.work) {
        let done = work.run();
        bare.hub.finish_work(Instant::ZERO, done);
    }
    bare.listen();
    assert_eq!((bare.answers, bare.last), (100, Some(Category::Cancelled)));
    assert_eq!((bare.hub.status().operations, bare.hub.status().queued), (0, 0));
}

/// Names a group of which every rank gives to every rank.
fn name_group(bare: &mut Bare, rank: u32, id: u16, ranks: &[u32]) {
    let len = ranks.len() as u32;
    let name = words([len, len].into_iter().chain(ranks.iter().chain(ranks).copied()));
    bare.say(rank, Up::Name(Name { kind: NameKind::Group, id }), &name);
}

#[test]
fn groups_that_take_the_place_of_others() {
    assert_bounded(64, 20_000, |bare, number| {
        let ranks: Vec<u32> = (0..16).map(|k| (number + k * (1 + number % 3)) % 64).collect();
        name_group(bare, 0, 1 + number as u16 % 3, &ranks);
    });
}

#[test]
fn places_in_the_source_that_take_the_place_of_others() {
    let text = "x".repeat(100_000);
    assert_bounded(4, 2000, |bare, number| {
        bare.say(0, Up::Name(Name { kind: NameKind::Site, id: 1 + number as u16 % 100 }), text.as_bytes());
    });
}

#[test]
fn a_group_outlives_its_name_for_as_long_as_somebody_waits_in_it() {
    let mut bare = Bare::new(4);
    let eager = SubmitFlags::empty().with(SubmitFlags::EAGER);
    for rank in 0..4 {
        let split = SplitRequest { color: Some(Color::Number(0)), key: 0 }.to_bytes();
        let call = Submit { send: split.len() as u64, receive: 16, flags: eager, ..call(1, CallCode::Split) };
        bare.say(rank, Up::Submit(call), &split);
        bare.say(rank, Up::Name(Name { kind: NameKind::Operation, id: 1 }), b"\x01\0\0\0count");
    }
    let copy = SplitResult::from_bytes(bare.payload.as_ref().try_into().unwrap()).id;
    for (number, communicator) in [(2, 0), (3, copy)] {
        let user = Submit { communicator, group: 1, name: 1, receive: 1, ..call(number, CallCode::User) };
        let answers = bare.answers;
        name_group(&mut bare, 0, 1, &[0, 1]);
        bare.say(0, Up::Submit(user), b"");
        for number in 0..100 {
            let others = if number % 2 == 0 { vec![0, 2 + number / 2 % 2, 1] } else { vec![number / 2 % 3 + 1, 0] };
            name_group(&mut bare, 0, 1, &others);
            name_group(&mut bare, 1, 1, &[number % 4]);
        }
        name_group(&mut bare, 1, 1, &[0, 1]);
        bare.say(1, Up::Submit(user), b"");
        assert_eq!((bare.answers - answers, bare.last, bare.payload.as_ref()), (2, None, &[2][..]));
    }
}
