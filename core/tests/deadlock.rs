//! Ranks of one thread each that wait for each other: told who waits for whom and where, and never a rank that somebody
//! could still help.

mod world;

use std::time::Duration;

use edgempi_core::hub::{self, Registry};
use edgempi_core::request::{CommunicatorId, Receive};
use edgempi_core::{
    Call, Category, Color, Datatype, Rank, ReduceOp, RequestId, Source, SplitRequest, SplitResult, Tag, TagSelector,
};
use proptest::prelude::*;
use world::{Ask, Random, World, ask, barrier, bcast, recv, send, without_bytes};

/// Longer than the hub takes to look.
const MOMENT: Duration = Duration::from_millis(100);

/// A world whose sends wait for their receives.
fn world(size: u32) -> World {
    let mut config = hub::Config::new(size);
    config.queue_size = 1024;
    let mut world = World::with(config, Registry::new(), |_, _| {});
    for (rank, site) in ["zero.rs:10:3", "one.rs:20:3", "two.rs:30:3", "three.rs:40:3"].into_iter().enumerate() {
        if let Some(node) = world.nodes.get_mut(rank) {
            node.site = Some(site);
        }
    }
    world
}

/// A rank's only thread makes a call and waits for it.
fn block(world: &mut World, rank: usize, ask: Ask<'_>) -> RequestId {
    let request = world.ask(rank, ask);
    world.nodes[rank].endpoint.blocked(request);
    world.settle();
    request
}

/// A message that the hub does not take before it is received.
fn large() -> Vec<u8> {
    vec![7; 5000]
}

#[track_caller]
fn told(world: &World, rank: usize, request: RequestId) -> String {
    let (fault, text) = world.outcome(rank, request).fault();
    assert_eq!(fault.category, Category::Deadlock, "{text}");
    text
}

#[test]
fn two_that_receive_from_each_other_are_told_both_receives() {
    let mut world = world(2);
    let requests = [block(&mut world, 0, recv(1, 5, 8)), block(&mut world, 1, recv(0, 6, 8))];
    world.wait(MOMENT);
    for (rank, request) in requests.into_iter().enumerate() {
        assert_eq!(
            told(&world, rank, request),
            "ranks wait for each other for ever: rank 0 waits in recv(from rank 1, tag 5) at zero.rs:10:3 for rank 1; \
             rank 1 waits in recv(from rank 0, tag 6) at one.rs:20:3 for rank 0"
        );
    }
    world.assert_usable();
}

#[test]
fn a_send_that_nobody_receives_and_a_collective_that_its_sender_does_not_reach() {
    let mut world = world(3);
    let sending = block(&mut world, 1, send(2, 4, large()));
    let waiting = [block(&mut world, 0, bcast(0, 1, vec![0; 5])), block(&mut world, 2, bcast(2, 1, vec![0; 5]))];
    world.wait(MOMENT);
    let cycle = "rank 1 waits in send(to rank 2, tag 4, 5000 x u8) at one.rs:20:3 for rank 2; \
                 rank 2 waits in bcast(root 1, 5 x u8) at two.rs:30:3 for rank 1, which has not called it";
    let cycle_from_2 = "rank 2 waits in bcast(root 1, 5 x u8) at two.rs:30:3 for rank 1, which has not called it; \
                        rank 1 waits in send(to rank 2, tag 4, 5000 x u8) at one.rs:20:3 for rank 2";
    let text = told(&world, 1, sending);
    assert!(text.contains(cycle) || text.contains(cycle_from_2), "{text}");
    let outside = told(&world, 0, waiting[0]);
    assert!(outside.contains("rank 0 waits in bcast(root 1, 5 x u8) at zero.rs:10:3 for rank 1"), "{outside}");
    told(&world, 2, waiting[1]);
    // The sender comes late to the collective that has failed.
    let late = world.ask(1, bcast(1, 1, vec![0; 5]));
    world.settle();
    assert_eq!(world.outcome(1, late).fault().0.category, Category::Deadlock);
    world.assert_usable();
}

#[test]
fn who_waits_for_a_rank_of_a_cycle_is_told_its_own_wait_and_the_cycle() {
    let mut world = world(4);
    let requests =
        [(0, 1), (1, 0), (2, 0), (3, 2)].map(|(rank, source)| block(&mut world, rank, recv(source as u32, 5, 8)));
    world.wait(MOMENT);
    let cycle = "rank 0 waits in recv(from rank 1, tag 5) at zero.rs:10:3 for rank 1; \
                 rank 1 waits in recv(from rank 0, tag 5) at one.rs:20:3 for rank 0";
    let outside = [
        "rank 2 waits in recv(from rank 0, tag 5) at two.rs:30:3 for rank 0; ",
        "rank 3 waits in recv(from rank 2, tag 5) at three.rs:40:3 for rank 2; ",
    ];
    for (rank, own) in ["", "", outside[0], outside[1]].into_iter().enumerate() {
        let text = told(&world, rank, requests[rank]);
        assert_eq!(text, format!("ranks wait for each other for ever: {own}{cycle}"));
    }
    world.assert_usable();
}

#[test]
fn who_waits_for_itself_is_told_so() {
    let mut world = world(2);
    let request = block(&mut world, 0, send(0, 1, large()));
    world.wait(MOMENT);
    let text = told(&world, 0, request);
    assert_eq!(
        text,
        "nobody can end this wait: rank 0 waits in send(to rank 0, tag 1, 5000 x u8) at zero.rs:10:3 for itself"
    );
}

#[test]
fn a_receive_from_anybody_is_stuck_only_with_everybody() {
    let mut world = world(3);
    let any = block(&mut world, 0, recv(Source::Any, TagSelector::Any, 8));
    let one = block(&mut world, 1, recv(0, 1, 8));
    world.wait(MOMENT);
    assert!(!world.is_done(0, any) && !world.is_done(1, one), "rank 2 may still send");
    // It leaves, and with it the hope.
    world.nodes[2].endpoint.leave(edgempi_core::wire::GoodbyeReason::Finished);
    world.wait(MOMENT);
    assert_eq!(
        told(&world, 0, any),
        "ranks wait for each other for ever: rank 0 waits in recv(from any rank, any tag) at zero.rs:10:3 for a message from rank 1, \
         which waits, too; rank 1 waits in recv(from rank 0, tag 1) at one.rs:20:3 for rank 0"
    );
    told(&world, 1, one);
}

#[test]
fn who_receives_from_anybody_and_is_alone_can_not_be_helped() {
    let mut world = world(2);
    let any = block(&mut world, 0, recv(Source::Any, TagSelector::Any, 8));
    world.nodes[1].endpoint.leave(edgempi_core::wire::GoodbyeReason::Finished);
    world.wait(MOMENT);
    assert_eq!(
        told(&world, 0, any),
        "nobody can end this wait: rank 0 waits in recv(from any rank, any tag) at zero.rs:10:3 for a message, and \
         nobody is left to send one"
    );
}

/// Where each rank is after all have split.
fn split(world: &mut World, color: impl Fn(u32) -> Option<u32>) -> Vec<CommunicatorId> {
    let ask = |rank| {
        let request = SplitRequest { color: color(rank).map(Color::Number), key: 0 }.to_bytes().to_vec();
        Ask { datatype: Datatype::Object, ..ask(Call::Split, request, SplitResult::LEN) }
    };
    let place = |bytes: Vec<u8>| SplitResult::from_bytes(bytes.try_into().expect("16 bytes"));
    let places = world.all(ask).iter().map(|outcome| place(outcome.bytes().to_vec())).collect::<Vec<_>>();
    places.into_iter().map(|SplitResult { id, rank, size }| CommunicatorId { id, rank, size }).collect()
}

/// What a rank drops may be given back while its thread waits: that is no call of the thread's.
#[test]
fn a_communicator_given_back_beside_a_blocked_thread_hides_no_deadlock() {
    let mut world = world(2);
    let places = split(&mut world, |_| Some(0));
    let first = block(&mut world, 0, recv(1, 1, 8));
    world.ask_on(0, places[0], without_bytes(Call::Free));
    world.settle();
    let second = block(&mut world, 1, recv(0, 2, 8));
    world.wait(MOMENT);
    for (rank, request) in [first, second].into_iter().enumerate() {
        told(&world, rank, request);
    }
}

/// Rank 3 goes on, so rank 2 will, who may then send to rank 1, whom rank 0 waits for.
#[test]
fn who_waits_in_a_collective_for_one_that_goes_on_may_still_help_others() {
    let mut world = world(4);
    let pairs = split(&mut world, |rank| Some(rank / 2));
    let three = split(&mut world, |rank| (rank < 3).then_some(0));
    let waits =
        [(0, pairs[0], barrier()), (2, pairs[2], barrier()), (1, three[1], recv(Source::Any, TagSelector::Any, 8))];
    let waits = waits.map(|(rank, place, ask)| {
        let request = world.ask_on(rank, place, ask);
        world.nodes[rank].endpoint.blocked(request);
        world.settle();
        (rank, request)
    });
    world.wait(MOMENT);
    assert!(waits.iter().all(|(rank, request)| !world.is_done(*rank, *request)), "none of them is stuck");
    world.ask_on(3, pairs[3], barrier());
    world.ask_on(2, three[2], send(1, 7, [5]));
    world.ask_on(1, pairs[1], barrier());
    world.settle();
    assert!(waits.iter().all(|(rank, request)| world.is_done(*rank, *request)));
    world.assert_usable();
}

#[test]
fn who_waits_for_anybody_is_stuck_once_the_last_who_could_help_has_freed_the_communicator() {
    let mut world = world(3);
    let places = split(&mut world, |_| Some(0));
    let requests = [0, 1].map(|rank| {
        let request = world.ask_on(rank, places[rank], recv(Source::Any, TagSelector::Any, 8));
        world.nodes[rank].endpoint.blocked(request);
        request
    });
    world.settle();
    world.wait(MOMENT);
    assert!(!world.is_done(0, requests[0]) && !world.is_done(1, requests[1]), "rank 2 can help");
    world.ask_on(2, places[2], without_bytes(Call::Free));
    world.settle();
    world.wait(MOMENT);
    for (rank, request) in requests.into_iter().enumerate() {
        told(&world, rank, request);
    }
}

#[test]
fn nobody_is_stuck_who_has_not_said_that_it_makes_calls_from_one_thread() {
    let mut world = world(2);
    let declared = block(&mut world, 0, recv(1, 5, 8));
    let free = world.ask(1, recv(0, 6, 8));
    world.wait(Duration::from_secs(5));
    assert!(!world.is_done(0, declared) && !world.is_done(1, free));
    let (to, from) = (world.ask(1, send(0, 5, "a")), world.ask(0, send(1, 6, "b")));
    world.settle();
    assert_eq!((world.outcome(0, declared).bytes(), world.outcome(1, free).bytes()), (b"a".into(), b"b".into()));
    assert!(world.is_done(1, to) && world.is_done(0, from));
    world.assert_usable();
}

#[test]
fn what_a_rank_has_started_before_it_waits_helps_the_others() {
    let mut world = world(2);
    // Both have started the send that the other one receives; one of them is still on its way.
    world.ask(0, send(1, 6, large()));
    world.ask(1, send(0, 5, large()));
    let zero = world.ask(0, recv(1, 5, 5000));
    world.nodes[0].endpoint.blocked(zero);
    let one = world.ask(1, recv(0, 6, 5000));
    world.nodes[1].endpoint.blocked(one);
    world.wait(MOMENT);
    assert_eq!((world.outcome(0, zero).bytes(), world.outcome(1, one).bytes()), (large(), large()));
    world.assert_usable();
}

#[test]
fn a_rank_that_calls_although_it_said_it_waits_is_not_stuck() {
    let mut world = world(2);
    let zero = block(&mut world, 0, recv(1, 5, 8));
    world.ask(0, send(1, 9, "x"));
    world.settle();
    let one = block(&mut world, 1, recv(0, 6, 8));
    world.wait(MOMENT);
    assert!(!world.is_done(0, zero) && !world.is_done(1, one));
}

/// A send that is done when somebody receives it, however short it is.
fn ssend(dest: u32, tag: u32, bytes: impl Into<Vec<u8>>) -> Ask<'static> {
    ask(Call::Ssend { dest: Rank::new(dest), tag: Tag(tag) }, bytes.into(), 0)
}

#[test]
fn two_that_send_to_each_other_before_they_receive() {
    let mut world = world(2);
    let requests = [block(&mut world, 0, ssend(1, 5, "a")), block(&mut world, 1, ssend(0, 5, "b"))];
    world.wait(MOMENT);
    for (rank, request) in requests.into_iter().enumerate() {
        let text = told(&world, rank, request);
        assert!(text.contains("rank 0 waits in ssend(to rank 1, tag 5, 1 x u8) at zero.rs:10:3 for rank 1"), "{text}");
    }
    world.assert_usable();
    // A standard send is done before.
    let requests = [block(&mut world, 0, send(1, 5, "a")), block(&mut world, 1, send(0, 5, "b"))];
    world.wait(MOMENT);
    assert!(!world.is_done(0, requests[0]) && !world.is_done(1, requests[1]), "nobody has received them");
    for rank in 0..2 {
        let received = world.ask(rank, recv(1 - rank as u32, 5, 8));
        world.settle();
        assert_eq!(world.outcome(rank, received).bytes().len(), 1);
    }
    world.assert_usable();
}

#[test]
fn who_looks_for_a_message_of_a_rank_that_waits_for_it() {
    let mut world = world(2);
    let probe = Call::Probe { source: Source::Rank(Rank::new(1)), tag: TagSelector::Any };
    let requests = [block(&mut world, 0, without_bytes(probe)), block(&mut world, 1, recv(0, 6, 8))];
    world.wait(MOMENT);
    let text = told(&world, 0, requests[0]);
    assert!(text.contains("rank 0 waits in probe(from rank 1, any tag) at zero.rs:10:3 for rank 1"), "{text}");
    told(&world, 1, requests[1]);
    world.assert_usable();
}

#[test]
fn a_message_that_a_stuck_rank_keeps_can_be_received_once_it_has_been_told() {
    let mut world = world(2);
    let sending = block(&mut world, 1, ssend(0, 3, "kept"));
    let source = Source::Rank(Rank::new(1));
    let probe = Call::Mprobe { source, tag: TagSelector::Any, message: 1 };
    let found = world.ask(0, without_bytes(probe));
    world.settle();
    assert!(world.is_done(0, found) && !world.is_done(1, sending));
    let other = block(&mut world, 0, recv(1, 4, 8));
    world.wait(MOMENT);
    let text = told(&world, 0, other);
    assert!(text.contains("rank 1 waits in ssend(to rank 0, tag 3, 4 x u8) at one.rs:20:3 for rank 0"), "{text}");
    let kept = Ask { receive: Receive::AtMost(8), ..without_bytes(Call::Mrecv { message: 1 }) };
    let kept = world.ask(0, kept);
    world.settle();
    assert_eq!(world.outcome(0, kept).bytes(), b"kept");
    assert!(world.is_done(1, sending));
    world.assert_usable();
}

#[test]
fn ranks_that_keep_each_others_messages_and_wait_for_their_own_sends_are_told() {
    for payload in [vec![7; 4], large()] {
        let mut world = world(2);
        let sends = [0, 1].map(|rank: usize| {
            let call = Call::Ssend { dest: Rank::new(1 - rank as u32), tag: Tag(3) };
            world.ask(rank, ask(call, payload.clone(), 0))
        });
        world.settle();
        for rank in [0, 1] {
            let source = Source::Rank(Rank::new(1 - rank as u32));
            let found = world.ask(rank, without_bytes(Call::Mprobe { source, tag: TagSelector::Any, message: 1 }));
            world.settle();
            assert!(world.is_done(rank, found));
        }
        for (rank, send) in sends.into_iter().enumerate() {
            world.nodes[rank].endpoint.blocked(send);
        }
        world.wait(MOMENT);
        for (rank, send) in sends.into_iter().enumerate() {
            let text = told(&world, rank, send);
            assert!(text.contains(" waits in ssend(to rank 1, tag 3, "), "{text}");
            let kept = Ask { receive: Receive::AtMost(9000), ..without_bytes(Call::Mrecv { message: 1 }) };
            let kept = world.ask(rank, kept);
            world.settle();
            assert_eq!(world.outcome(rank, kept).fault().0.category, Category::Cancelled);
        }
        world.assert_usable();
    }
}

#[test]
fn a_rank_that_lost_all_others_some_of_them_to_death_is_told_of_the_death() {
    let mut world = world(3);
    world.kill(1);
    world.nodes[2].endpoint.leave(edgempi_core::wire::GoodbyeReason::Finished);
    world.settle();
    let any = block(&mut world, 0, recv(Source::Any, TagSelector::Any, 8));
    world.wait(MOMENT);
    let (fault, text) = world.outcome(0, any).fault();
    assert_eq!((fault.category, fault.rank), (Category::RankFailed, Rank::new(1)));
    assert!(text.starts_with("all other ranks are gone: rank 1 has failed: "), "{text}");
    assert!(text.contains("; rank 0 waits in recv(from any rank, any tag) at zero.rs:10:3"), "{text}");
}

#[test]
fn a_long_cycle_is_told_in_part_and_fails_all_of_it() {
    let mut world = World::new(40);
    let requests: Vec<_> = (0..40).map(|rank| block(&mut world, rank, recv((rank as u32 + 1) % 40, 0, 8))).collect();
    world.wait(MOMENT);
    for (rank, request) in requests.into_iter().enumerate() {
        let (fault, text) = world.outcome(rank, request).fault();
        assert_eq!((fault.category, fault.count), (Category::Deadlock, 40));
        assert!(text.ends_with("; and so on through 32 more ranks, the last of which waits for rank 0"), "{text}");
    }
    world.assert_usable();
}

/// A call that a program makes and waits for, or only starts.
#[derive(Clone, Copy, Debug)]
enum Step {
    Send { to: usize, tag: u32, len: usize, waits: bool },
    Ssend { to: usize, tag: u32, len: usize },
    Recv { from: Option<usize>, tag: Option<u32>, waits: bool },
    Barrier,
    Bcast { root: usize, len: usize },
    Allreduce,
}

fn step(size: usize) -> impl Strategy<Value = Step> {
    let len = prop_oneof![Just(3_usize), Just(5000)];
    (0..10, 0..size, 0..2_u32, len, any::<bool>()).prop_map(move |(kind, rank, tag, len, waits)| match kind {
        0 => Step::Ssend { to: rank, tag, len },
        1 | 2 => Step::Send { to: rank, tag, len, waits: true },
        3 => Step::Send { to: rank, tag, len, waits },
        4 | 5 => Step::Recv { from: Some(rank), tag: Some(tag), waits: true },
        6 => Step::Recv { from: None, tag: if waits { None } else { Some(tag) }, waits: true },
        7 => Step::Recv { from: Some(rank), tag: None, waits },
        8 => Step::Barrier,
        _ if waits => Step::Bcast { root: rank, len },
        _ => Step::Allreduce,
    })
}

fn programs() -> impl Strategy<Value = Vec<Vec<Step>>> {
    (2..6_usize).prop_flat_map(|size| {
        let program = prop::collection::vec(step(size), 0..5);
        prop::collection::vec(program, size)
    })
}

impl Step {
    fn ask(self, rank: usize) -> Ask<'static> {
        match self {
            Step::Send { to, tag, len, .. } => send(to as u32, tag, vec![1; len]),
            Step::Ssend { to, tag, len } => ssend(to as u32, tag, vec![1; len]),
            Step::Recv { from, tag, .. } => {
                let source = from.map_or(Source::Any, |from| Source::Rank(Rank::new(from as u32)));
                recv(source, tag.map_or(TagSelector::Any, |tag| TagSelector::Tag(Tag(tag))), 1 << 20)
            }
            Step::Barrier => barrier(),
            Step::Bcast { root, len } => bcast(rank as u32, root as u32, vec![2; len]),
            Step::Allreduce => {
                Ask { datatype: Datatype::I32, ..ask(Call::Allreduce { op: ReduceOp::Sum }, vec![0; 4], 4) }
            }
        }
    }

    fn is_collective(self) -> bool {
        !matches!(self, Step::Send { .. } | Step::Ssend { .. } | Step::Recv { .. })
    }
}

/// What one rank's thread is at.
#[derive(Clone, Copy)]
struct Thread {
    next: usize,
    /// The call that it waits for, and how many collectives it had called before.
    waits: Option<(Step, RequestId, usize)>,
    collectives: usize,
    is_gone: bool,
    is_declared: bool,
}

/// Threads that run a program each, and wait for one call after the other.
struct Threads<'p> {
    world: World,
    programs: &'p [Vec<Step>],
    threads: Vec<Thread>,
}

impl<'p> Threads<'p> {
    fn new(programs: &'p [Vec<Step>], declared: u8) -> Self {
        let mut config = hub::Config::new(programs.len() as u32);
        (config.queue_size, config.window) = (1024, 4096);
        let world = World::with(config, Registry::new(), |_, _| {});
        let new = |rank: usize| Thread {
            next: 0,
            waits: None,
            collectives: 0,
            is_gone: false,
            is_declared: declared >> rank & 1 == 1,
        };
        Self { world, programs, threads: (0..programs.len()).map(new).collect() }
    }

    fn is_done(&self, rank: usize, request: RequestId) -> bool {
        self.world.is_done(rank, request) || self.world.nodes[rank].owned.contains(&request)
    }

    /// The call that a rank's thread waits for.
    fn waits(&self, rank: usize) -> Option<(Step, RequestId, usize)> {
        let thread = &self.threads[rank];
        thread.waits.filter(|(_, request, _)| !thread.is_gone && !self.is_done(rank, *request))
    }

    fn is_through(&self, rank: usize) -> bool {
        self.waits(rank).is_none() && self.threads[rank].next == self.programs[rank].len()
    }

    fn can_call(&self, rank: usize) -> bool {
        !self.threads[rank].is_gone && self.waits(rank).is_none() && !self.is_through(rank)
    }

    /// A rank makes its next call.
    fn call(&mut self, rank: usize) {
        let step = self.programs[rank][self.threads[rank].next];
        let request = self.world.ask(rank, step.ask(rank));
        let thread = &mut self.threads[rank];
        thread.next += 1;
        let before = thread.collectives;
        thread.collectives += usize::from(step.is_collective());
        if !matches!(step, Step::Send { waits: false, .. } | Step::Recv { waits: false, .. }) {
            thread.waits = Some((step, request, before));
            if thread.is_declared {
                self.world.nodes[rank].endpoint.blocked(request);
            }
        }
    }

    /// The largest set of ranks of which none can be helped, whatever all others do: found by trying all sets.
    fn stuck(&self) -> u32 {
        let size = self.threads.len();
        let blocked = |set: &u32| {
            let mut members = (0..size).filter(|rank| set >> rank & 1 == 1);
            members.all(|rank| self.threads[rank].is_declared && self.waits(rank).is_some())
        };
        let is_closed = |set: &u32| {
            let has = |rank: usize| set >> rank & 1 == 1;
            let hopeless = |rank: usize| match self.waits(rank) {
                None => false,
                Some((Step::Send { to, .. } | Step::Ssend { to, .. }, ..)) => has(to),
                Some((Step::Recv { from: Some(from), .. }, ..)) => has(from),
                Some((Step::Recv { from: None, .. }, ..)) => {
                    (0..size).all(|other| other == rank || self.threads[other].is_gone || has(other))
                }
                Some((step, _, n)) => {
                    let missing = |rank: usize| self.threads[rank].collectives <= n;
                    match step {
                        Step::Bcast { root, .. } if missing(root) => has(root),
                        _ => (0..size).any(|other| missing(other) && has(other)),
                    }
                }
            };
            (0..size).filter(|rank| has(*rank)).all(hopeless)
        };
        // What two such sets have together is one, too.
        (0..1 << size).filter(blocked).filter(is_closed).fold(0, |all, set| all | set)
    }

    /// The hub looks: it fails just those who are stuck, and with a collective all who are in it. Returns whether any.
    fn look(&mut self) -> bool {
        self.world.settle();
        let size = self.threads.len();
        let waiting: Vec<_> = (0..size).map(|rank| self.waits(rank)).collect();
        let stuck = self.stuck();
        self.world.wait(MOMENT);
        for (rank, wait) in waiting.iter().enumerate() {
            let Some((step, request, n)) = wait else { continue };
            let shares = |other: &Option<(Step, RequestId, usize)>| matches!(other, Some((other, _, m)) if step.is_collective() && other.is_collective() && m == n);
            let mut others = waiting.iter().enumerate();
            let is_dragged = others.any(|(other, wait)| stuck >> other & 1 == 1 && shares(wait));
            match self.world.nodes[rank].outcomes.get(request) {
                Some(outcome) => {
                    let (fault, text) = outcome.fault();
                    // Who waits for anybody is told of a death, if all others are gone.
                    let is_alone =
                        fault.category == Category::RankFailed && text.ends_with("nobody is left to send one");
                    assert!(fault.category == Category::Deadlock || is_alone, "rank {rank}: {fault:?} {text}");
                    assert!(stuck >> rank & 1 == 1 || is_dragged, "rank {rank} could be helped: {step:?}: {text}");
                }
                None => assert!(stuck >> rank & 1 == 0, "rank {rank} is stuck for ever, and not told: {step:?}"),
            }
        }
        stuck != 0
    }

    /// Ends the process of a rank that is through, or of one that may wait for ever. Returns whether there is one.
    fn end_one(&mut self) -> bool {
        let here = |rank: &usize| !self.threads[*rank].is_gone;
        let ranks = || (0..self.threads.len()).filter(here);
        let undeclared = || ranks().find(|rank| !self.threads[*rank].is_declared);
        let Some(rank) = ranks().find(|rank| self.is_through(*rank)).or_else(undeclared) else { return false };
        self.threads[rank].is_gone = true;
        self.world.kill(rank);
        true
    }
}

/// Runs the programs in a random interleaving to their end.
fn run(programs: &[Vec<Step>], seed: u64, declared: u8) -> u32 {
    let mut random = Random(seed);
    let mut threads = Threads::new(programs, declared);
    let mut deadlocks = 0;
    loop {
        let rank = random.below(programs.len());
        if threads.can_call(rank) {
            threads.call(rank);
        }
        for _ in 0..random.below(60) {
            threads.world.random_step(&mut random);
        }
        if random.below(8) == 0 {
            deadlocks += u32::from(threads.look());
        }
        if (0..programs.len()).any(|rank| threads.can_call(rank)) {
            continue;
        }
        if threads.look() {
            deadlocks += 1;
        } else if !(0..programs.len()).any(|rank| threads.can_call(rank)) && !threads.end_one() {
            break;
        }
    }
    assert!(threads.threads.iter().all(|thread| thread.is_gone), "somebody waits for ever, and is not told");
    deadlocks
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_threads_are_told_of_a_deadlock_just_when_nobody_can_help_them(
        programs in programs(),
        seed: u64,
        declared: u8,
        all: bool,
    ) {
        run(&programs, seed, if all { u8::MAX } else { declared });
    }
}

#[test]
fn random_threads_run_into_deadlocks_and_out_of_them() {
    let programs = [
        vec![Step::Recv { from: Some(1), tag: None, waits: true }, Step::Barrier],
        vec![Step::Recv { from: Some(0), tag: None, waits: true }, Step::Barrier],
    ];
    assert_eq!((0..20).map(|seed| run(&programs, seed, 3)).collect::<Vec<_>>(), vec![1; 20]);
}
