//! A communicator of honest ranks, beside others of villains.

use super::*;

/// A world in which the honest ranks have a communicator of their own, whose places come with it, and the villains one
/// of theirs and one of all.
pub struct Refuge {
    world: World,
    villains: [Villain; 2],
    own: [CommunicatorId; 2],
    /// What an honest rank asks for, and the bytes that it must get.
    wishes: Vec<(usize, RequestId, Vec<u8>)>,
    rounds: u32,
}

impl Refuge {
    pub fn new(random: &mut impl Choose) -> Self {
        let (mut world, mut villains) = with_villains(small(), random);
        let mut own = [CommunicatorId { id: 0, rank: Rank::new(0), size: 0 }; 2];
        for all in [true, false] {
            let request = |color: u32| {
                SplitRequest { color: Some(Color::Number(if all { 0 } else { color })), key: 0 }.to_bytes().to_vec()
            };
            let requests = [0, 1].map(|rank| {
                let split = ask(Call::Split, request(0), SplitResult::LEN);
                world.ask(rank, Ask { datatype: Datatype::Object, ..split })
            });
            for villain in &mut villains {
                villain.split(&mut world, request(1));
            }
            world.settle();
            for villain in &mut villains {
                villain.hear(&mut world.hub, 100);
            }
            own = [0, 1].map(|rank| {
                let bytes = world.outcome(rank, requests[rank]).bytes();
                let SplitResult { id, rank, size } = SplitResult::from_bytes(bytes.try_into().expect("16 bytes"));
                CommunicatorId { id, rank, size }
            });
        }
        Self { world, villains, own, wishes: Vec::new(), rounds: 0 }
    }

    /// Some calls, some lies, some progress.
    pub fn go_on(&mut self, random: &mut impl Choose) {
        if random.below(4) == 0 {
            self.call(random);
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

    fn call(&mut self, random: &mut impl Choose) {
        let round = self.rounds;
        let len = [0, 8, 900, 9000][random.below(4)];
        let (which, root) = (random.below(5), round % 2);
        for (rank, communicator) in self.own.into_iter().enumerate() {
            let at = rank as u32;
            let block = vec![round as u8; len];
            let (ask, expected) = match which {
                0 if at == root => (bcast(at, root, block), Vec::new()),
                0 => (bcast(at, root, vec![0; len]), block),
                1 => (ask(Call::Allreduce { op: ReduceOp::Sum }, vec![1; len], len), vec![2; len]),
                2 if at == root => (send(1 - root, round, block), Vec::new()),
                2 => (recv(root, round, len), block),
                3 => (ask(Call::Alltoall, vec![0; len], len), vec![0; len / 2]),
                _ => (barrier(), Vec::new()),
            };
            let ask = if which == 3 { Ask { parts: vec![vec![0; len / 2]; 2], ..ask } } else { ask };
            self.wishes.push((rank, self.world.ask_on(rank, communicator, ask), expected));
        }
    }

    /// The honest ranks have all that they wanted, whether or not the villains are still there.
    pub fn end(self) {
        let Self { mut world, villains, own, mut wishes, .. } = self;
        world.settle();
        for (rank, request, expected) in &wishes {
            assert!(world.is_done(*rank, *request), "rank {rank} hangs");
            assert_eq!(&world.outcome(*rank, *request).bytes(), expected);
        }
        for villain in &villains {
            world.hub.disconnect(world.now, villain.peer);
        }
        for (rank, communicator) in own.into_iter().enumerate() {
            wishes.push((rank, world.ask_on(rank, communicator, barrier()), Vec::new()));
        }
        world.settle();
        let (rank, request, _) = wishes[wishes.len() - 1];
        assert_eq!(world.outcome(rank, request).bytes(), b"");
        assert!(world.nodes.iter().all(|node| node.error.is_none() && node.rejected.is_none()));
        assert_eq!(world.hub.status().windows, 0);
    }
}
