//! One direction of a rank's link: when what is sent arrives, and how much may be on its way.

use std::collections::VecDeque;
use std::time::Duration;

use edgempi_core::Instant;

use super::class::{Class, Direction, Partition, Radio};
use super::generator::Generator;

/// Bytes of a packet, of which each may be lost by itself.
const PACKET: u64 = 1400;
/// Whatever happens this often to one packet in a row is enough to make its point.
const MOST_LOSSES: u32 = 12;
/// A retransmission waits no longer than this, as TCP's.
const LONGEST_RETRANSMISSION: Duration = Duration::from_secs(60);
/// What TCP waits at the least before it sends a packet again.
const SHORTEST_RETRANSMISSION: Duration = Duration::from_millis(200);

/// Something on its way.
struct Flying<T> {
    left: Instant,
    arrival: Instant,
    bytes: u64,
    item: T,
}

/// When something that is sent has left the sender, and when it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    left: Instant,
    pub(super) arrival: Instant,
    /// Packets that were lost on the way, and sent again.
    pub(super) lost: u64,
}

/// One direction of a link, which carries things in order.
pub(super) struct Lane<T> {
    direction: Direction,
    generator: Generator,
    /// Where in its period the rank's radio wakes.
    phase: Duration,
    /// When all that was sent before has left, and has arrived.
    free: Instant,
    last: Instant,
    flying: VecDeque<Flying<T>>,
    /// How many of those, from the front, have left the sender, and the bytes of those that have not.
    departed: usize,
    ahead: u64,
    /// Nothing more arrives: the receiver is gone, or the link never heals.
    stopped: bool,
}

impl<T> Lane<T> {
    pub(super) fn new(direction: Direction, generator: Generator, phase: Duration) -> Self {
        Self {
            direction,
            generator,
            phase,
            free: Instant::ZERO,
            last: Instant::ZERO,
            flying: VecDeque::new(),
            departed: 0,
            ahead: 0,
            stopped: false,
        }
    }

    /// Whether the sender's buffer takes something more.
    pub(super) fn has_room(&mut self, now: Instant, class: &Class) -> bool {
        self.depart(now);
        self.ahead < class.buffer
    }

    /// When there may be room again; `None` if there never is.
    pub(super) fn room_at(&self) -> Option<Instant> {
        self.flying.get(self.departed).map(|flying| flying.left)
    }

    fn depart(&mut self, now: Instant) {
        while let Some(flying) = self.flying.get(self.departed)
            && flying.left <= now
        {
            self.ahead -= flying.bytes;
            self.departed += 1;
        }
    }

    /// Sends something of `bytes` bytes. Returns when it arrives; `None` if it never does.
    pub(super) fn send(&mut self, now: Instant, class: &Class, bytes: u64, item: T) -> Option<Passage> {
        let passage = if self.stopped { None } else { self.passage(now, class, bytes) };
        self.ahead += bytes;
        let Some(passage) = passage else {
            self.stopped = true;
            return None;
        };
        self.free = passage.left;
        self.last = passage.arrival;
        self.flying.push_back(Flying { left: passage.left, arrival: passage.arrival, bytes, item });
        self.depart(now);
        Some(passage)
    }

    /// Takes off what arrives now.
    pub(super) fn take(&mut self, now: Instant) -> Option<T> {
        if self.flying.front()?.arrival > now {
            return None;
        }
        self.depart(now);
        self.departed = self.departed.saturating_sub(1);
        self.flying.pop_front().map(|flying| flying.item)
    }

    /// The sender is gone: what has not left it never will. Returns what is lost.
    pub(super) fn cut(&mut self, now: Instant) -> Vec<T> {
        self.depart(now);
        self.stopped = true;
        self.flying.drain(self.departed..).map(|flying| flying.item).collect()
    }

    fn passage(&mut self, now: Instant, class: &Class, bytes: u64) -> Option<Passage> {
        let bandwidth = match self.direction {
            Direction::Up => class.bandwidth_up,
            Direction::Down => class.bandwidth_down,
        };
        let (lost, delay) = self.losses(class, bytes);
        let all = bytes + lost * bytes.min(PACKET);
        let sending = bandwidth.map_or(Duration::ZERO, |rate| transmission(all, rate));
        let jitter = self.generator.up_to(micros(class.jitter));
        let travel = class.latency + Duration::from_micros(jitter) + delay;
        let (mut start, mut left, mut arrival);
        let mut earliest = now.max(self.free);
        loop {
            start = self.awake(class.radio, earliest);
            left = self.through(class.radio, start, sending);
            arrival = (left + travel).max(self.last);
            if self.direction == Direction::Down {
                arrival = self.awake(class.radio, arrival);
            }
            match self.obstacle(&class.partitions, start, arrival) {
                None => break,
                // One that never ends.
                Some(end) if end == NEVER => return None,
                Some(end) => earliest = end,
            }
        }
        // What takes longer than there is time never comes.
        (arrival < NEVER).then_some(Passage { left, arrival, lost })
    }

    /// How many packets are lost, and what that costs: they are sent again side by side, so the unluckiest counts.
    fn losses(&mut self, class: &Class, bytes: u64) -> (u64, Duration) {
        if class.loss <= 0.0 {
            return (0, Duration::ZERO);
        }
        let (mut all, mut worst) = (0, 0);
        for _ in 0..bytes.div_ceil(PACKET).max(1) {
            let mut times = 0;
            while times < MOST_LOSSES && self.generator.chance(class.loss) {
                times += 1;
            }
            all += u64::from(times);
            worst = worst.max(times);
        }
        let first =
            class.retransmission.unwrap_or_else(|| SHORTEST_RETRANSMISSION + (class.latency + class.jitter) * 4);
        let waits = (0..worst).map(|again| (first * (1 << again)).min(LONGEST_RETRANSMISSION.max(first)));
        (all, waits.sum())
    }

    /// The end of the first partition that keeps something from passing between `start` and `arrival`.
    fn obstacle(&self, partitions: &[Partition], start: Instant, arrival: Instant) -> Option<Instant> {
        let ours = |one: &&Partition| one.direction.is_none_or(|direction| direction == self.direction);
        let stops = |one: &&Partition| one.from <= arrival && start < one.to && one.from < one.to;
        partitions.iter().filter(ours).filter(stops).map(|one| one.to).min()
    }

    /// The first moment from `at` on in which the radio is awake.
    fn awake(&self, radio: Option<Radio>, at: Instant) -> Instant {
        let Some(radio) = radio else { return at };
        let (every, within) = (micros(radio.every), self.within(radio, at));
        if within < micros(radio.awake) { at } else { at + Duration::from_micros(every - within) }
    }

    /// When something has left that begins at `start`, when the radio is awake, and takes `sending` of its waking time.
    fn through(&self, radio: Option<Radio>, start: Instant, sending: Duration) -> Instant {
        let Some(radio) = radio else { return start + sending };
        let (awake, every) = (micros(radio.awake), micros(radio.every));
        let left = awake - self.within(radio, start).min(awake);
        let Some(more) = micros(sending).checked_sub(left).filter(|more| *more > 0) else { return start + sending };
        // Whole periods, then the rest of one.
        let (periods, rest) = ((more - 1) / awake, (more - 1) % awake + 1);
        start + Duration::from_micros(periods.saturating_mul(every).saturating_add(left + (every - awake) + rest))
    }

    /// How far the period of the radio is at `at`.
    fn within(&self, radio: Radio, at: Instant) -> u64 {
        let every = micros(radio.every);
        (at.as_micros() % every + every - micros(self.phase) % every) % every
    }
}

/// The end of a partition that never heals, and when whatever never happens does: the largest moment there is.
pub(super) const NEVER: Instant = Instant::from_micros(u64::MAX);

/// How long bytes take at a rate of so many in a second.
fn transmission(bytes: u64, rate: u64) -> Duration {
    let micros = (u128::from(bytes) * 1_000_000).div_ceil(u128::from(rate));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn lane(direction: Direction) -> Lane<u32> {
        Lane::new(direction, Generator::new(1, 0), Duration::ZERO)
    }

    /// Sends and says when it arrives.
    fn sent(lane: &mut Lane<u32>, now: Instant, class: &Class, bytes: u64) -> Instant {
        lane.send(now, class, bytes, 0).expect("it arrives").arrival
    }

    #[test]
    fn latency_and_bandwidth_add_up_and_a_link_is_busy_while_it_sends() {
        let class = Class::ideal().latency(millis(10)).bandwidth_up(1000);
        let mut up = lane(Direction::Up);
        assert_eq!(sent(&mut up, at(0), &class, 100), at(100 + 10));
        assert_eq!(sent(&mut up, at(50), &class, 100), at(200 + 10));
        // The other way has no such bound.
        assert_eq!(sent(&mut lane(Direction::Down), at(0), &class, 100), at(10));
    }

    #[test]
    fn jitter_never_lets_a_frame_overtake_another_of_its_link() {
        let class = Class::ideal().jitter(millis(100));
        let mut up = lane(Direction::Up);
        let arrivals: Vec<Instant> = (0..100).map(|now| sent(&mut up, at(now), &class, 1)).collect();
        assert!(arrivals.is_sorted());
        assert!(arrivals.iter().zip(0..).any(|(arrival, now)| *arrival > at(now + 50)), "nothing was delayed");
    }

    #[test]
    fn a_loss_costs_a_retransmission_and_each_further_one_twice_as_much() {
        let class = Class::ideal().loss(0.5).retransmission(millis(100));
        let mut seen = std::collections::BTreeSet::new();
        for stream in 0..200 {
            let mut up: Lane<u32> = Lane::new(Direction::Up, Generator::new(1, stream), Duration::ZERO);
            let passage = up.send(at(0), &class, 10, 0).expect("it arrives");
            let times = u32::try_from(passage.lost).expect("few");
            assert_eq!(passage.arrival, at(100 * ((1 << times) - 1)));
            seen.insert(times);
        }
        assert!(seen.contains(&0) && seen.contains(&3), "{seen:?}");
    }

    #[test]
    fn frames_wait_for_the_end_of_a_partition_one_way_or_both() {
        let class = Class::ideal()
            .latency(millis(10))
            .partition(millis(100)..millis(200))
            .partition_one_way(Direction::Up, millis(200)..millis(300));
        let arrivals = |direction| [50, 95, 150].map(|now| sent(&mut lane(direction), at(now), &class, 1));
        // The second is on its way when the link is cut.
        assert_eq!(arrivals(Direction::Up), [at(60), at(310), at(310)]);
        assert_eq!(arrivals(Direction::Down), [at(60), at(210), at(210)]);
    }

    #[test]
    fn nothing_arrives_behind_a_partition_that_never_ends() {
        let class = Class::ideal().partition(millis(10)..Duration::MAX);
        let mut up = lane(Direction::Up);
        assert_eq!(sent(&mut up, at(5), &class, 1), at(5));
        assert_eq!(up.send(at(10), &class, 1, 0), None);
        assert_eq!(up.send(at(20), &class, 1, 0), None);
    }

    #[test]
    fn a_sleeping_radio_sends_while_it_is_awake_only() {
        // Awake from 0 to 100 of every second; a byte takes a millisecond.
        let class = Class::ideal().bandwidth(1000).radio(millis(100), millis(1000));
        assert_eq!(sent(&mut lane(Direction::Up), at(10), &class, 50), at(60));
        assert_eq!(sent(&mut lane(Direction::Up), at(500), &class, 50), at(1050));
        // Part of it now, the rest in later periods.
        assert_eq!(sent(&mut lane(Direction::Up), at(60), &class, 140), at(1100));
        assert_eq!(sent(&mut lane(Direction::Up), at(60), &class, 141), at(2001));
        assert_eq!(sent(&mut lane(Direction::Up), at(60), &class, 41), at(1001));
        // What comes while it sleeps waits until it wakes.
        let far = class.latency(millis(300));
        assert_eq!(sent(&mut lane(Direction::Down), at(0), &far, 10), at(1000));
    }

    #[test]
    fn a_full_buffer_has_room_again_when_its_front_has_left() {
        let class = Class::ideal().bandwidth(1000).buffer(100);
        let mut up = lane(Direction::Up);
        assert!(up.has_room(at(0), &class));
        sent(&mut up, at(0), &class, 60);
        assert!(up.has_room(at(0), &class));
        sent(&mut up, at(0), &class, 60);
        assert!(!up.has_room(at(0), &class));
        assert_eq!(up.room_at(), Some(at(60)));
        assert!(up.has_room(at(60), &class));
    }

    #[test]
    fn what_has_not_left_a_sender_that_loses_its_power_never_arrives() {
        let class = Class::ideal().bandwidth(1000).latency(millis(10));
        let mut up = lane(Direction::Up);
        for item in [1, 2, 3] {
            up.send(at(0), &class, 100, item);
        }
        assert_eq!(up.cut(at(100)), [2, 3]);
        assert_eq!(up.take(at(109)), None);
        assert_eq!(up.take(at(110)), Some(1));
        assert_eq!(up.take(at(500)), None);
    }
}
