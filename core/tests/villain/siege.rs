//! Honest ranks and villains in one communicator.

use super::*;

fn sum(value: u32) -> Ask<'static> {
    let call = Call::User { name: "sum", version: 1, group: PAIR };
    // postcard of `TypedInput((), value)`
    let mut block = Vec::new();
    let mut rest = value;
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
    Ask { datatype: Datatype::Object, receive: Receive::AtMost(9), ..ask(call, block, 0) }
}

fn floats(call: Call<'static>, send: usize, receive: usize) -> Ask<'static> {
    Ask { datatype: Datatype::F32, ..ask(call, vec![0; 4 * send], 4 * receive) }
}

/// What an honest rank asks for, and the bytes that it must get. `None`: the villains take part, so anything goes.
type Wish = (usize, RequestId, Option<Vec<u8>>);

fn honest(world: &mut World, round: usize, wishes: &mut Vec<Wish>, random: &mut impl Choose) {
    let len = [0, 5, 900, 9000][random.below(4)];
    let tag = 1000 + round as u32;
    match random.below(5) {
        3 => {
            // A message that is done when it is received, or kept and then received.
            let (from, to) = (round % 2, 1 - round % 2);
            let bytes = vec![round as u8; len];
            let dest = Rank::new(to as u32);
            let call = Call::Ssend { dest, tag: Tag(tag) };
            wishes.push((from, world.ask(from, ask(call, bytes.clone(), 0)), Some(vec![])));
            let source = Source::Rank(Rank::new(from as u32));
            let keep = Call::Mprobe { source, tag: TagSelector::Tag(Tag(tag)), message: tag };
            let probe = world.ask(to, ask(keep, vec![], 0));
            wishes.push((to, probe, Some(vec![])));
            let receive = ask(Call::Mrecv { message: tag }, vec![], len);
            world.settle();
            // It may have been told of a villain's mistake instead.
            if !matches!(world.nodes[to].outcomes.get(&probe), Some(Outcome::Failed { .. })) {
                wishes.push((to, world.ask(to, receive), Some(bytes)));
            }
        }
        0 => {
            let (from, to) = (round % 2, 1 - round % 2);
            wishes.push((from, world.ask(from, send(to as u32, tag, vec![round as u8; len])), Some(vec![])));
            let receive = world.ask(to, recv(from as u32, tag, len));
            wishes.push((to, receive, Some(vec![round as u8; len])));
        }
        1 => {
            for rank in 0..2 {
                let request = world.ask(rank, sum(1 + rank as u32 * 3));
                wishes.push((rank, request, Some(vec![5])));
            }
        }
        _ => {
            let (which, root) = (random.below(9), random.below(SIZE as usize) as u32);
            for rank in 0..2 {
                let any = match which {
                    0 => barrier(),
                    1 => bcast(rank as u32, root, vec![1; len]),
                    2 => ask(Call::Allgather, vec![1; len], len * SIZE as usize),
                    5 => floats(Call::Scan { op: ReduceOp::Sum }, len, len),
                    6 => floats(Call::Exscan { op: ReduceOp::Max }, len, len),
                    7 => floats(Call::ReduceScatterBlock { op: ReduceOp::Sum }, 4 * len, len),
                    8 => ask(Call::Allgatherv, vec![1; len], len * SIZE as usize),
                    3 => recv(ANY_SOURCE, ANY_TAG, len),
                    _ => send(2 + rank as u32, 0, vec![2; len]),
                };
                // A receive of anything would take what the other honest rank is promised.
                let any = if matches!(any.call, Call::Recv { .. }) { recv(2 + root % 2, ANY_TAG, len) } else { any };
                wishes.push((rank, world.ask(rank, any), None));
            }
        }
    }
}

/// Honest ranks 0 and 1, and villains in the places of the others.
pub struct Siege {
    world: World,
    villains: [Villain; 2],
    wishes: Vec<Wish>,
    /// With one window for all, a villain that holds it makes others wait until it is gone.
    is_scarce: bool,
    rounds: usize,
}

impl Siege {
    pub fn new(random: &mut impl Choose) -> Self {
        let mut config = small();
        let is_scarce = random.below(2) == 0;
        config.window_total = if is_scarce { 4096 } else { 1 << 24 };
        config.max_message = [1 << 16, u64::MAX][random.below(2)];
        let (world, villains) = with_villains(config, random);
        Self { world, villains, wishes: Vec::new(), is_scarce, rounds: 0 }
    }

    /// Some calls, some lies, some progress.
    pub fn go_on(&mut self, random: &mut impl Choose) {
        if random.below(4) == 0 {
            honest(&mut self.world, self.rounds, &mut self.wishes, random);
        }
        for _ in 0..random.below(5) {
            let villain = random.below(2);
            self.villains[villain].act(&mut self.world, random);
        }
        for _ in 0..random.below(20) {
            self.world.random_step(random);
        }
        assert_within_limits(&self.world.hub);
        self.rounds += 1;
    }

    /// Everything that the honest ranks want of each other is done while the villains are still there, the rest is over
    /// when they have gone, and nothing is left of it.
    pub fn end(mut self) {
        let world = &mut self.world;
        world.settle();
        // A rank that was done with an operation when a villain disagreed hears of it in the next one, which fails.
        let told = |world: &World, rank: usize, request: &RequestId| match world.nodes[rank].outcomes.get(request) {
            // Also where what the villain receives is shorter than what had been given.
            Some(Outcome::Failed { fault, .. }) => {
                fault.category == Category::Mismatch || (fault.category == Category::Truncated && fault.count > 0)
            }
            _ => false,
        };
        let noticed = self.wishes.iter().any(|(rank, request, _)| told(world, *rank, request));
        let is_unserved = |(rank, request, expected): &&Wish| expected.is_some() && !world.is_done(*rank, *request);
        let unserved = self.wishes.iter().find(is_unserved);
        assert!(unserved.is_none() || self.is_scarce || noticed, "{unserved:?}");
        for villain in &self.villains {
            world.hub.disconnect(world.now, villain.peer);
        }
        world.settle();
        for (rank, request, expected) in self.wishes {
            let done = world.is_done(rank, request);
            assert!(done || noticed, "rank {rank} hangs");
            if let Some(expected) = expected
                && done
                && !told(world, rank, &request)
            {
                assert_eq!(world.outcome(rank, request).bytes(), expected);
            }
        }
        for rank in 0..2 {
            assert_eq!(world.nodes[rank].error, None);
            assert!(world.nodes[rank].rejected.is_none());
            let last = world.ask(rank, barrier());
            world.settle();
            let failed = matches!(world.outcome(rank, last), Outcome::Failed { .. });
            assert!(failed);
        }
        assert_eq!(world.hub.status().windows, 0);
    }
}
