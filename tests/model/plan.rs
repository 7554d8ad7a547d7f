//! What a program comes to: who takes part in each step, in which communicator.

use std::sync::OnceLock;

use edgempi::Rank;

use crate::communicators::{chosen, split};
use crate::program::{Call, Data, Ends, Form, GivenUp, Limits, Mode, Probed, Program};
use crate::values::Kind;

/// Steps of the second round of persistent calls are numbered from here on.
const ROUND: usize = 1000;

/// A program, resolved.
#[derive(Debug)]
pub struct Plan {
    pub size: u32,
    pub pace: u64,
    pub steps: Vec<Planned>,
    pub setting: Setting,
}

/// What programs run in.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub limits: Limits,
    /// Ranks may die: nothing waits for a message from whoever comes first.
    pub may_die: bool,
    /// Every rank is virtual, on a machine of its own.
    pub is_simulated: bool,
}

/// A step on all communicators of a family.
#[derive(Debug)]
pub struct Planned {
    pub family: usize,
    /// The family that a split makes.
    pub makes: usize,
    pub parts: Vec<Part>,
    pub call: Call,
    /// By which rank of the world.
    pub given_up: Option<GivenUp>,
}

/// One communicator.
#[derive(Debug)]
pub struct Part {
    /// Its ranks, as ranks of the world.
    pub members: Vec<u32>,
    /// How many elements each rank gives to each.
    pub len: usize,
    /// What a fold of this step comes to, in each round, once somebody has asked.
    folded: [OnceLock<Vec<u8>>; 2],
}

/// A step as one rank sees it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The step; what ranks give follows from it.
    pub at: usize,
    pub call: &'a Call,
    pub part: &'a Part,
    /// The rank in the communicator.
    pub own: u32,
    pub setting: Setting,
    /// Somebody gives up.
    is_given_up: bool,
}

/// Communicators that were made together, as long as they live: members in the order of their ranks.
type Family = Option<Vec<Vec<u32>>>;

impl Plan {
    pub fn new(program: &Program, setting: Setting) -> Self {
        let size = program.size;
        let mut families: Vec<Family> = vec![Some(vec![(0..size).collect()])];
        let mut steps = Vec::new();
        for step in &program.steps {
            let alive: Vec<usize> = (0..families.len()).filter(|family| families[*family].is_some()).collect();
            let family = alive[step.on % alive.len()];
            let members = families[family].clone().unwrap_or_default();
            let makes = families.len();
            match step.call {
                // What somebody gives up nobody keeps.
                Call::Split { .. } if step.given_up.is_some() => families.push(None),
                Call::Split { by, seed } => families.push(Some(split(&members, by, seed, setting.is_simulated))),
                // The world is there for ever.
                Call::Free if family > 0 => families[family] = None,
                _ => {}
            }
            let given_up = step.given_up.and_then(|given_up| who_gives_up(&step.call, given_up, &members.concat()));
            let part = |members: Vec<u32>| Part {
                len: len(&step.call, &members, setting.limits),
                members,
                folded: Default::default(),
            };
            steps.push(Planned {
                family,
                makes,
                parts: members.into_iter().map(part).collect(),
                call: step.call.clone(),
                given_up,
            });
        }
        Self { size, pace: program.pace, steps, setting }
    }

    /// Step `at` as `rank` of the world sees it; `None` if it has no part in it.
    pub fn view(&self, at: usize, rank: u32) -> Option<View<'_>> {
        let step = &self.steps[at];
        step.parts.iter().find_map(|part| {
            let own = part.members.iter().position(|member| *member == rank)? as u32;
            let is_given_up = step.given_up.is_some();
            Some(View { at, call: &step.call, part, own, setting: self.setting, is_given_up })
        })
    }
}

impl View<'_> {
    pub fn size(&self) -> u32 {
        self.part.members.len() as u32
    }

    /// The rank that a program means by this number.
    pub fn rank(&self, number: u32) -> u32 {
        number % self.size()
    }

    /// The ranks of the world that this call needs.
    pub fn needs(&self) -> Vec<u32> {
        let member = |rank: u32| self.part.members[rank as usize];
        match *self.call {
            Call::Messages { from, to, .. } | Call::Unready { from, to, .. } => {
                vec![member(self.rank(from)), member(self.rank(to))]
            }
            Call::Funnel { to, .. } if self.own != self.rank(to) => vec![member(self.own), member(self.rank(to))],
            Call::Apply { sources, destinations, .. } | Call::Fold { ends: Ends::Some(sources, destinations), .. } => {
                let [sources, destinations] = [sources, destinations].map(|bits| self.chosen(bits));
                sources.into_iter().chain(destinations).map(member).collect()
            }
            Call::Alone { .. } => Vec::new(),
            _ => self.part.members.clone(),
        }
    }

    /// This step in each of its rounds: of a persistent call there may be two.
    pub fn rounds(&self) -> Vec<Self> {
        let again = Self { at: self.at + ROUND, ..*self };
        let can = match self.call {
            // Whichever comes first may be of the next round.
            Call::Funnel { .. } => false,
            // Whoever meets a failure leaves it at that, and somebody else, who does not, would wait for the next round.
            Call::Shift { .. } => !self.setting.may_die,
            _ => true,
        };
        let is_persistent = self.call.form() == Form::Persistent;
        if can && is_persistent && self.at.is_multiple_of(2) && !self.is_given_up {
            vec![*self, again]
        } else {
            vec![*self]
        }
    }

    /// Whether this rank's part has more than one step: what comes later has to be asked for, and somebody else may wait
    /// for it in a call that blocks.
    pub fn is_made_at_once(&self) -> bool {
        if self.rounds().len() > 1 {
            return true;
        }
        match *self.call {
            Call::Messages { from, to, mode, probed, .. } => {
                let waits_for_go = mode == Mode::Ready && self.own == self.rank(from);
                let probes = probed != Probed::Never && self.own == self.rank(to);
                waits_for_go || probes
            }
            Call::Unready { .. } | Call::Neighbours { .. } => true,
            _ => false,
        }
    }

    /// What a fold comes to, made once for all ranks.
    pub fn folded(&self, fold: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        self.part.folded[self.at / ROUND].get_or_init(fold).clone()
    }

    /// The ranks that a set of bits chooses, in an order of its own; at least one.
    pub fn chosen(&self, bits: u32) -> Vec<u32> {
        chosen(self.size(), bits)
    }

    /// The same as the library says it.
    pub fn group(&self, bits: u32) -> Vec<Rank> {
        self.chosen(bits).into_iter().map(Rank::new).collect()
    }

    /// The tag of message `number` of this step: no other step has it.
    pub fn tag(&self, number: u32) -> u32 {
        self.base_tag() + number % 2
    }

    /// The tag of a message that only says something of the others.
    pub fn word_tag(&self) -> u32 {
        self.base_tag() + 2
    }

    fn base_tag(&self) -> u32 {
        (self.at % ROUND) as u32 * 3
    }
}

/// How many elements each rank gives to each; with many ranks not more in all than with few.
fn len(call: &Call, members: &[u32], limits: Limits) -> usize {
    let Some(data) = call.data() else { return 0 };
    let element = match data.form {
        Form::Object => 1,
        _ => Kind::size(data.kind),
    };
    let len = data.length.elements(element, limits);
    match call {
        Call::Gather { .. }
        | Call::Scatter { .. }
        | Call::Allgather { .. }
        | Call::Alltoall { .. }
        | Call::ReduceScatter { .. }
        | Call::Varied { .. }
        | Call::Neighbours { .. }
        | Call::Funnel { .. }
            if len * element > limits.frame =>
        {
            len / members.len()
        }
        _ => len,
    }
}

/// Which rank of the world gives up what it can.
fn who_gives_up(call: &Call, given_up: GivenUp, members: &[u32]) -> Option<GivenUp> {
    // What is made of several calls by hand can not be given up as one.
    let can = !matches!(
        call,
        Call::Free
            | Call::Funnel { .. }
            | Call::Shift { .. }
            | Call::Unready { .. }
            | Call::Neighbours { .. }
            | Call::Alone { .. }
    );
    let rank = members.get(given_up.rank as usize % members.len().max(1)).filter(|_| can)?;
    Some(GivenUp { rank: *rank, ..given_up })
}

impl Call {
    pub fn data(&self) -> Option<Data> {
        match self {
            Self::Barrier { .. } | Self::Split { .. } | Self::Free => None,
            Self::Bcast { data, .. }
            | Self::Gather { data, .. }
            | Self::Scatter { data, .. }
            | Self::Allgather { data }
            | Self::Alltoall { data }
            | Self::Reduce { data, .. }
            | Self::Allreduce { data, .. }
            | Self::Scan { data, .. }
            | Self::ReduceScatter { data, .. }
            | Self::Varied { data, .. }
            | Self::Fold { data, .. }
            | Self::Messages { data, .. }
            | Self::Funnel { data, .. }
            | Self::Unready { data, .. }
            | Self::Shift { data, .. }
            | Self::Neighbours { data, .. }
            | Self::Alone { data, .. }
            | Self::Apply { data, .. } => Some(*data),
        }
    }

    pub fn form(&self) -> Form {
        match self {
            Self::Barrier { form } => *form,
            _ => self.data().map_or(Form::Owned, |data| data.form),
        }
    }

    /// Whether the others fail when one rank drops it: it borrows its buffers.
    pub fn is_cancelled_by_drop(&self) -> bool {
        match self {
            // A communicator without one of its ranks would be none.
            Self::Split { .. } => true,
            _ => matches!(self.form(), Form::Borrowed | Form::InPlace),
        }
    }
}
