//! What a rank of a simulation is like: its link, its speed, and what befalls it.

use std::ops::Range;
use std::time::Duration;

use edgempi_core::Instant;

/// Which way frames go on a rank's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the rank to the hub.
    Up,
    /// From the hub to the rank.
    Down,
}

/// A time in which nothing passes on a link.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Partition {
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// `None` for both.
    pub(super) direction: Option<Direction>,
}

/// How a rank ends before its program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// Its process dies: the system closes the connection.
    Crash,
    /// Its power goes: nothing is said any more.
    PowerLoss,
}

/// A radio that sleeps: awake for a time, once in every period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Radio {
    pub(super) awake: Duration,
    pub(super) every: Duration,
}

/// What ranks are like: how their links behave, how fast they compute, and what befalls them and when.
///
/// Times of faults count from the start of the simulation. Links stay reliable and in order, as TCP is: whatever goes
/// wrong on them costs time, until somebody loses patience. What makes no sense is an error of
/// [`run`](super::Simulation::run); a latency, a silence or the like beyond a thousand years is as one of that.
///
/// ```
/// use std::time::Duration;
///
/// use edgempi::sim::Class;
///
/// let bad_cell = Class::board().loss(0.02).jitter(Duration::from_millis(300)).bandwidth_up(20_000);
/// let dies_at_noon = bad_cell.clone().power_loss(Duration::from_secs(12 * 3600));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    /// Bytes in a second, each way.
    pub(super) bandwidth_up: Option<u64>,
    pub(super) bandwidth_down: Option<u64>,
    pub(super) loss: f64,
    pub(super) retransmission: Option<Duration>,
    pub(super) buffer: u64,
    pub(super) max_payload: u32,
    pub(super) open_parts: u16,
    pub(super) silence: Duration,
    pub(super) slowness: f64,
    pub(super) radio: Option<Radio>,
    pub(super) partitions: Vec<Partition>,
    pub(super) start: Instant,
    pub(super) death: Option<(Instant, Death)>,
    /// The first thing that was said and makes no sense.
    pub(super) nonsense: Option<String>,
}

/// Most of all packets that a link may lose: beyond that, nothing would ever get through.
const MAX_LOSS: f64 = 0.9;

/// A thousand years: as good as for ever, and a few of them can still be added up.
pub(super) const LONGEST: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

/// The moment so long after the start.
pub(super) fn moment(at: Duration) -> Instant {
    Instant::ZERO + at
}

impl Default for Class {
    fn default() -> Self {
        Self::ideal()
    }
}

impl Class {
    /// A rank without faults on a link that takes no time.
    pub fn ideal() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            bandwidth_up: None,
            bandwidth_down: None,
            loss: 0.0,
            retransmission: None,
            buffer: 256 * 1024,
            max_payload: 256 * 1024,
            open_parts: 256,
            silence: Duration::from_secs(30),
            slowness: 1.0,
            radio: None,
            partitions: Vec::new(),
            start: Instant::ZERO,
            death: None,
            nonsense: None,
        }
    }

    /// A process on a server beside the hub: 200 µs away give or take, on a wire of 1 Gbit/s.
    pub fn server() -> Self {
        Self {
            latency: Duration::from_micros(200),
            jitter: Duration::from_micros(50),
            bandwidth_up: Some(125_000_000),
            bandwidth_down: Some(125_000_000),
            ..Self::ideal()
        }
    }

    /// A board on a cell network: 50 ms away and up to 50 ms more, 125 kB/s up and 500 kB/s down, with small buffers;
    /// as `edgempi-embassy` does, it takes frames of 1 kB and one part of a message at a time, and promises to be heard
    /// every 60 s.
    pub fn board() -> Self {
        Self {
            latency: Duration::from_millis(50),
            jitter: Duration::from_millis(50),
            bandwidth_up: Some(125_000),
            bandwidth_down: Some(500_000),
            buffer: 16 * 1024,
            max_payload: 1024,
            open_parts: 1,
            silence: Duration::from_secs(60),
            ..Self::ideal()
        }
    }

    /// How long a frame is under way at the least, each way.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency.min(LONGEST);
        self
    }

    /// How much longer it may be under way: each frame a random time up to this. Frames of one link stay in order, those
    /// of different links overtake each other.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter.min(LONGEST);
        self
    }

    /// Bytes in a second, each way.
    #[must_use]
    pub fn bandwidth(self, bytes_in_a_second: u64) -> Self {
        self.bandwidth_up(bytes_in_a_second).bandwidth_down(bytes_in_a_second)
    }

    /// Bytes in a second from the rank to the hub.
    #[must_use]
    pub fn bandwidth_up(mut self, bytes_in_a_second: u64) -> Self {
        self.bandwidth_up = Some(bytes_in_a_second);
        self.expect(bytes_in_a_second > 0, || "a bandwidth of 0 carries nothing: say partition(..)".to_owned())
    }

    /// Bytes in a second from the hub to the rank.
    #[must_use]
    pub fn bandwidth_down(mut self, bytes_in_a_second: u64) -> Self {
        self.bandwidth_down = Some(bytes_in_a_second);
        self.expect(bytes_in_a_second > 0, || "a bandwidth of 0 carries nothing: say partition(..)".to_owned())
    }

    /// The share of packets (of up to 1,400 bytes) that are lost, from 0 to 0.9. Each costs its frame, and all behind it,
    /// the time of a [retransmission](Self::retransmission), and twice as much each time that it is lost again; and it
    /// takes its share of the bandwidth once more.
    #[must_use]
    pub fn loss(mut self, share: f64) -> Self {
        self.loss = share;
        self.expect((0.0..=MAX_LOSS).contains(&share), || {
            format!("a loss of {share} is not from 0 to {MAX_LOSS}; where nothing gets through, say partition(..)")
        })
    }

    /// How long it takes until a lost packet is sent again. Without it 200 ms and two round trips, as TCP would.
    #[must_use]
    pub fn retransmission(mut self, timeout: Duration) -> Self {
        self.retransmission = Some(timeout.min(LONGEST));
        self
    }

    /// Bytes that a sender hands to the link ahead of what has left it, each way: the buffer of its socket.
    #[must_use]
    pub fn buffer(mut self, bytes: u64) -> Self {
        self.buffer = bytes.max(1);
        self
    }

    /// Most payload bytes of a frame to the rank; at least 64.
    #[must_use]
    pub fn max_payload(mut self, bytes: u32) -> Self {
        self.max_payload = bytes.max(64);
        self
    }

    /// How many parts of one message the rank holds open, each way; at least 1. A host takes 256, a board 1.
    #[must_use]
    pub fn open_parts(mut self, parts: u16) -> Self {
        self.open_parts = parts.max(1);
        self
    }

    /// The longest silence that the rank promises to keep, as boards say it with their options: it pings the hub three
    /// times as often, and the hub gives it up when it hears nothing for so long. Zero for as long as it likes; then
    /// nobody notices when it [loses its power](Self::power_loss).
    ///
    /// A day of silence costs as many pings as on a real network; ranks that are mostly idle are simulated faster with a
    /// long one.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence.min(LONGEST);
        self
    }

    /// How many times longer than said the rank takes to [compute](super::Rank::compute).
    #[must_use]
    pub fn slowness(mut self, factor: f64) -> Self {
        self.slowness = factor;
        self.expect(factor.is_finite() && factor >= 0.0, || {
            format!("a slowness of {factor} means nothing: it is how many times longer a rank computes, 0 or more")
        })
    }

    /// A radio that is awake for `awake` once in every period `every`, at a phase of its own for each rank. Nothing passes
    /// in between, either way. So a rank may be silent for a period, and so the hub seems to be: say a
    /// [silence](Self::silence) of zero with it, or one of more than three periods together with hub limits of more than
    /// a period.
    #[must_use]
    pub fn radio(mut self, awake: Duration, every: Duration) -> Self {
        self.radio = Some(Radio { awake: awake.min(LONGEST), every: every.min(LONGEST) });
        self.expect(awake >= Duration::from_micros(1) && awake <= every, || {
            format!(
                "a radio awake for {awake:?} in every {every:?}: say 1 µs at the least, and no more than its period"
            )
        })
    }

    /// Nothing passes the link in this time, either way: frames wait for its end.
    #[must_use]
    pub fn partition(self, time: Range<Duration>) -> Self {
        self.add_partition(time, None)
    }

    /// Nothing passes the link one way in this time.
    #[must_use]
    pub fn partition_one_way(self, direction: Direction, time: Range<Duration>) -> Self {
        self.add_partition(time, Some(direction))
    }

    fn add_partition(mut self, time: Range<Duration>, direction: Option<Direction>) -> Self {
        self.partitions.push(Partition { from: moment(time.start), to: moment(time.end), direction });
        self.expect(time.start <= time.end, || {
            format!("a partition from {:?} to {:?} ends before it begins", time.start, time.end)
        })
    }

    /// Notes that something makes no sense, unless it does.
    fn expect(mut self, makes_sense: bool, nonsense: impl FnOnce() -> String) -> Self {
        if !makes_sense {
            self.nonsense.get_or_insert_with(nonsense);
        }
        self
    }

    /// When the rank comes; at the start, if this is not said.
    #[must_use]
    pub fn start(mut self, at: Duration) -> Self {
        self.start = moment(at);
        self
    }

    /// The rank's process dies at this time: its program ends where it is, and the connection is closed, as an operating
    /// system does for a process. What it had sent still arrives.
    #[must_use]
    pub fn crash(mut self, at: Duration) -> Self {
        self.death = Some((moment(at), Death::Crash));
        self
    }

    /// The rank's power goes at this time: its program ends where it is, and nothing is said, so that the hub only learns
    /// of it when the rank has been [silent](Self::silence) for too long.
    #[must_use]
    pub fn power_loss(mut self, at: Duration) -> Self {
        self.death = Some((moment(at), Death::PowerLoss));
        self
    }
}
