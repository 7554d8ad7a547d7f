//! Programs: what all ranks of a world call, in one order, and how such programs are generated and shrunk.
//!
//! A new kind of call is a variant of [`Call`] and a line in [`call`]; what it gives is said in `model.rs`, how a rank
//! makes it in `calls.rs`.

use std::fmt;

use proptest::prelude::*;

use Form::{Borrowed, InPlace, Object, Owned, Persistent};

/// The largest world.
const MOST_RANKS: u32 = 9;
const MOST_STEPS: usize = 24;
const FORMS: &[Form] = &[Owned, Borrowed, InPlace, Persistent, Object];

/// What all ranks of a world call.
#[derive(Clone)]
pub struct Program {
    pub size: u32,
    pub steps: Vec<Step>,
    /// What the ranks wait for in between, and in which order, follows from this.
    pub pace: u64,
}

/// One call, on all communicators of a family.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which of the families that there are by then: the world, or what a split made.
    pub on: usize,
    pub call: Call,
    pub given_up: Option<GivenUp>,
}

/// One rank gives its call up half way.
#[derive(Clone, Copy, Debug)]
pub struct GivenUp {
    pub rank: u32,
    /// After so many pauses.
    pub after: u32,
    /// Whether it cancels what it can, and asks what became of it, instead of dropping it.
    pub cancels: bool,
}

/// Numbers of ranks are taken modulo the size of the communicator.
#[derive(Clone, Debug)]
pub enum Call {
    Barrier {
        form: Form,
    },
    Bcast {
        root: u32,
        data: Data,
    },
    Gather {
        root: u32,
        data: Data,
    },
    Scatter {
        root: u32,
        data: Data,
    },
    Allgather {
        data: Data,
    },
    Alltoall {
        data: Data,
    },
    Reduce {
        root: u32,
        op: usize,
        data: Data,
    },
    Allreduce {
        op: usize,
        data: Data,
    },
    /// What the ranks up to each one give, or those before it, combined from the left.
    Scan {
        exclusive: bool,
        op: usize,
        data: Data,
    },
    /// Everybody's data combined, a block of it for each rank: of one length, or of lengths that differ.
    ReduceScatter {
        even: bool,
        op: usize,
        data: Data,
    },
    /// Blocks whose lengths differ.
    Varied {
        pattern: Pattern,
        root: u32,
        data: Data,
    },
    /// A fold of the user's at the hub, or one that needs the values of all ranks at once.
    Fold {
        columns: bool,
        ends: Ends,
        data: Data,
    },
    /// Messages from one rank to another, or to itself.
    Messages {
        from: u32,
        to: u32,
        count: u32,
        selector: Selector,
        mode: Mode,
        probed: Probed,
        waiting: Waiting,
        data: Data,
    },
    /// Messages from everybody to one rank, which takes whichever comes first.
    Funnel {
        to: u32,
        count: u32,
        waiting: Waiting,
        data: Data,
    },
    /// A ready send to a rank that has posted no receive for it.
    Unready {
        from: u32,
        to: u32,
        data: Data,
    },
    /// Everybody sends to the rank so many places further on and receives from the one as far back: in a ring, or in a line,
    /// at whose ends is nobody.
    Shift {
        by: u32,
        line: bool,
        data: Data,
    },
    /// Everybody's data, or a block for each, reach the neighbours in a topology that is made for it.
    Neighbours {
        topology: Topology,
        alltoall: bool,
        varied: bool,
        data: Data,
    },
    /// A user's operation between some ranks: sets of bits.
    Apply {
        sources: u32,
        destinations: u32,
        data: Data,
    },
    /// Each communicator of the family makes new ones; some ranks go into none.
    Split {
        by: By,
        seed: u32,
    },
    /// A rank alone with itself, in a world of its own.
    Alone {
        op: usize,
        data: Data,
    },
    /// The ranks give the family up.
    Free,
}

/// What each rank gives.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    pub form: Form,
    pub kind: Kind,
    pub length: Length,
}

/// How a call takes its buffers. Each [`call`] is drawn in the forms that there are of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It owns them.
    Owned,
    /// It borrows them: a call of the trait.
    Borrowed,
    /// It borrows them, and the result takes the place of what was given.
    InPlace,
    /// It is described once, and made again with other data in some of the steps.
    Persistent,
    /// They are serde values, of different lengths.
    Object,
}

/// What elements are.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    U8,
    I16,
    U32,
    I64,
    Bf16,
    F32,
    F64,
    Logical,
    LocatedF32,
}

/// How many elements.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    Elements(usize),
    /// A boundary in the library, and so many elements more or less.
    Around(Boundary, isize),
    /// So many windows, and so many elements more.
    Windows(usize, usize),
}

#[derive(Clone, Copy, Debug)]
pub enum Boundary {
    Frame,
    Window,
    Queue,
}

/// When a send is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Standard,
    Synchronous,
    Buffered,
    /// Its receiver says that it has posted its receives.
    Ready,
}

/// How a receiver looks at a message before it takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    Never,
    Probe,
    Iprobe,
    Mprobe,
    Improbe,
}

/// How a rank waits for several requests.
#[derive(Clone, Copy, Debug)]
pub enum Waiting {
    InTurn,
    All,
    Any,
    Some,
    TestAll,
    TestAny,
    TestSome,
}

/// What a communicator is made by.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// A copy.
    Copy,
    /// So many colours.
    Color(u32),
    Kind,
    Machine,
    /// A group of its processes.
    Group,
    /// Such a group, which makes it without the others.
    GroupAlone,
}

/// Who is whose neighbour.
#[derive(Clone, Copy, Debug)]
pub enum Topology {
    /// In so many dimensions, some of which are rings: a set of bits.
    Grid { dimensions: usize, rings: u32 },
    /// What edges there are follows from the seed; each rank says its own.
    Graph { seed: u32 },
    /// The same, with edges that any rank says.
    Told { seed: u32 },
}

/// Who gives to a fold, and who gets it.
#[derive(Clone, Copy, Debug)]
pub enum Ends {
    /// All to all.
    All,
    /// All to one.
    One(u32),
    /// Some to some: sets of bits.
    Some(u32, u32),
}

/// Who gives blocks to whom.
#[derive(Clone, Copy, Debug)]
pub enum Pattern {
    Gather,
    Scatter,
    Allgather,
    Alltoall,
}

/// What the receives of [`Call::Messages`] say.
#[derive(Clone, Copy, Debug)]
pub enum Selector {
    Exact,
    AnySource,
    AnyTag,
}

/// The limits of a world, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub frame: usize,
    pub window: usize,
    pub queue: usize,
}

impl fmt::Debug for Program {
    /// A line for each step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ranks, pace {:#x}", self.size, self.pace)?;
        for (at, Step { on, call, given_up }) in self.steps.iter().enumerate() {
            write!(f, "\n  {at}: on {on}: {call:?}")?;
            if let Some(GivenUp { rank, after, cancels }) = given_up {
                let how = if *cancels { "cancelled" } else { "dropped" };
                write!(f, ", {how} by {rank} after {after}")?;
            }
        }
        Ok(())
    }
}

impl Length {
    /// In elements of `size` bytes.
    pub fn elements(self, size: usize, limits: Limits) -> usize {
        match self {
            Self::Elements(elements) => elements,
            Self::Around(boundary, more) => {
                let bytes = match boundary {
                    Boundary::Frame => limits.frame,
                    Boundary::Window => limits.window,
                    Boundary::Queue => limits.queue,
                };
                (bytes / size).saturating_add_signed(more)
            }
            Self::Windows(windows, more) => windows * limits.window / size + more,
        }
    }
}

/// Programs, of which a share of `long` in a hundred calls moves more than a frame.
pub fn program(long: u32) -> impl Strategy<Value = Program> {
    let steps = prop::collection::vec(step(long), 1..MOST_STEPS);
    (1..=MOST_RANKS, steps, any::<u64>()).prop_map(|(size, steps, pace)| Program { size, steps, pace })
}

fn step(long: u32) -> impl Strategy<Value = Step> {
    let given_up = (0..MOST_RANKS, prop_oneof![3 => 0_u32..8, 1 => 8_u32..200], any::<bool>());
    let given_up = given_up.prop_map(|(rank, after, cancels)| GivenUp { rank, after, cancels });
    let given_up = prop::option::weighted(0.15, given_up);
    (0_usize..6, call(long), given_up).prop_map(|(on, call, given_up)| Step { on, call, given_up })
}

fn call(long: u32) -> impl Strategy<Value = Call> {
    let rank = || 0..MOST_RANKS;
    let op = || 0_usize..12;
    let data_as = |forms| data(long, forms);
    let data = || data_as(FORMS);
    prop_oneof![
        2 => prop::sample::select(vec![Owned, Borrowed, Persistent]).prop_map(|form| Call::Barrier { form }),
        3 => (rank(), data()).prop_map(|(root, data)| Call::Bcast { root, data }),
        2 => (rank(), data()).prop_map(|(root, data)| Call::Gather { root, data }),
        2 => (rank(), data()).prop_map(|(root, data)| Call::Scatter { root, data }),
        2 => data().prop_map(|data| Call::Allgather { data }),
        2 => data().prop_map(|data| Call::Alltoall { data }),
        3 => (rank(), op(), data()).prop_map(|(root, op, data)| Call::Reduce { root, op, data }),
        5 => (op(), data()).prop_map(|(op, data)| Call::Allreduce { op, data }),
        3 => (any::<bool>(), op(), data()).prop_map(|(exclusive, op, data)| Call::Scan { exclusive, op, data }),
        // The trait has blocks of one length alone.
        3 => (any::<bool>(), op(), data()).prop_map(|(even, op, data)| {
            Call::ReduceScatter { even: even || data.form == Borrowed, op, data }
        }),
        3 => (pattern(), rank(), data_as(&[Owned, Persistent]))
            .prop_map(|(pattern, root, data)| Call::Varied { pattern, root, data }),
        2 => (any::<bool>(), ends(), data_as(&[Owned, Persistent]))
            .prop_map(|(columns, ends, data)| Call::Fold { columns, ends, data }),
        8 => (rank(), rank(), 1_u32..6, selector(), mode(), probed(), waiting(), data()).prop_map(
            |(from, to, count, selector, mode, probed, waiting, data)| {
                let (mode, probed) = as_there_is(data.form, mode, probed);
                Call::Messages { from, to, count, selector, mode, probed, waiting, data }
            }
        ),
        2 => (rank(), 1_u32..4, waiting(), data())
            .prop_map(|(to, count, waiting, data)| Call::Funnel { to, count, waiting, data }),
        1 => (rank(), rank(), data_as(&[Owned, Object]))
            .prop_map(|(from, to, data)| Call::Unready { from, to, data }),
        // In the trait there is always somebody.
        3 => (rank(), any::<bool>(), data())
            .prop_map(|(by, line, data)| Call::Shift { by, line: line && data.form != Borrowed, data }),
        3 => (topology(), any::<bool>(), any::<bool>(), data_as(&[Owned, Persistent, Object])).prop_map(
            |(topology, alltoall, varied, data)| Call::Neighbours { topology, alltoall, varied, data }
        ),
        2 => (1_u32..512, 1_u32..512, data_as(&[Object]))
            .prop_map(|(sources, destinations, data)| Call::Apply { sources, destinations, data }),
        4 => (by(), any::<u32>()).prop_map(|(by, seed)| Call::Split { by, seed }),
        1 => (op(), data_as(&[Owned])).prop_map(|(op, data)| Call::Alone { op, data }),
        1 => Just(Call::Free),
    ]
}

/// What there is of a mode and a probe: the trait has the standard send alone; and who only probes has posted no receive,
/// neither for good nor for a ready send.
fn as_there_is(form: Form, mode: Mode, probed: Probed) -> (Mode, Probed) {
    match (form, mode) {
        (Borrowed, _) => (Mode::Standard, Probed::Never),
        (Persistent, _) | (_, Mode::Ready) => (mode, Probed::Never),
        _ => (mode, probed),
    }
}

fn ends() -> impl Strategy<Value = Ends> {
    prop_oneof![
        1 => Just(Ends::All),
        1 => (0..MOST_RANKS).prop_map(Ends::One),
        2 => (1_u32..512, 1_u32..512).prop_map(|(sources, destinations)| Ends::Some(sources, destinations)),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    let others = prop::sample::select(vec![Mode::Synchronous, Mode::Buffered, Mode::Ready]);
    prop_oneof![2 => Just(Mode::Standard), 3 => others]
}

fn probed() -> impl Strategy<Value = Probed> {
    let probed = prop::sample::select(vec![Probed::Probe, Probed::Iprobe, Probed::Mprobe, Probed::Improbe]);
    prop_oneof![2 => Just(Probed::Never), 1 => probed]
}

fn waiting() -> impl Strategy<Value = Waiting> {
    use Waiting::{All, Any, InTurn, Some, TestAll, TestAny, TestSome};
    prop_oneof![2 => Just(InTurn), 5 => prop::sample::select(vec![All, Any, Some, TestAll, TestAny, TestSome])]
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![
        Just(By::Copy),
        (1_u32..4).prop_map(By::Color),
        Just(By::Kind),
        Just(By::Machine),
        Just(By::Group),
        Just(By::GroupAlone),
    ]
}

fn topology() -> impl Strategy<Value = Topology> {
    prop_oneof![
        (1_usize..4, any::<u32>()).prop_map(|(dimensions, rings)| Topology::Grid { dimensions, rings }),
        any::<u32>().prop_map(|seed| Topology::Graph { seed }),
        any::<u32>().prop_map(|seed| Topology::Told { seed }),
    ]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop::sample::select(vec![Pattern::Gather, Pattern::Scatter, Pattern::Allgather, Pattern::Alltoall])
}

fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![2 => Just(Selector::Exact), 1 => Just(Selector::AnySource), 1 => Just(Selector::AnyTag)]
}

fn data(long: u32, forms: &[Form]) -> impl Strategy<Value = Data> + use<> {
    use Kind::{Bf16, F32, F64, I16, I64, LocatedF32, Logical, U8, U32};
    let kind = prop::sample::select(vec![U8, I16, U32, I64, Bf16, F32, F32, F64, Logical, LocatedF32]);
    let boundary = prop::sample::select(vec![Boundary::Frame, Boundary::Window, Boundary::Queue]);
    let length = prop_oneof![
        40 => (0_usize..60).prop_map(Length::Elements),
        60 - long => (60_usize..700).prop_map(Length::Elements),
        long.div_ceil(2) => (boundary, -1_isize..=1).prop_map(|(boundary, more)| Length::Around(boundary, more)),
        long.div_ceil(2) => (1_usize..4, 0_usize..100).prop_map(|(windows, more)| Length::Windows(windows, more)),
    ];
    (prop::sample::select(forms.to_vec()), kind, length).prop_map(|(form, kind, length)| Data { form, kind, length })
}
