//! The numbers that calls travel under, and what can be told from a number alone.

use super::Call;

/// Which call a request is, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum CallCode {
    /// [`Call::Send`]
    Send = 1,
    /// [`Call::Recv`]
    Recv = 2,
    /// [`Call::Ssend`]
    Ssend = 3,
    /// [`Call::Rsend`]
    Rsend = 4,
    /// [`Call::Probe`]
    Probe = 5,
    /// [`Call::Iprobe`]
    Iprobe = 6,
    /// [`Call::Mprobe`]
    Mprobe = 7,
    /// [`Call::Improbe`]
    Improbe = 8,
    /// [`Call::Mrecv`]
    Mrecv = 9,
    /// [`Call::Discard`]
    Discard = 10,
    /// [`Call::Barrier`]
    Barrier = 16,
    /// [`Call::Bcast`]
    Bcast = 17,
    /// [`Call::Gather`]
    Gather = 18,
    /// [`Call::Scatter`]
    Scatter = 19,
    /// [`Call::Allgather`]
    Allgather = 20,
    /// [`Call::Alltoall`]
    Alltoall = 21,
    /// [`Call::Reduce`]
    Reduce = 22,
    /// [`Call::Allreduce`]
    Allreduce = 23,
    /// [`Call::Gatherv`]
    Gatherv = 24,
    /// [`Call::Scatterv`]
    Scatterv = 25,
    /// [`Call::Allgatherv`]
    Allgatherv = 26,
    /// [`Call::Alltoallv`]
    Alltoallv = 27,
    /// [`Call::ReduceScatter`]
    ReduceScatter = 28,
    /// [`Call::ReduceScatterBlock`]
    ReduceScatterBlock = 29,
    /// [`Call::Scan`]
    Scan = 30,
    /// [`Call::Exscan`]
    Exscan = 31,
    /// [`Call::Split`]
    Split = 48,
    /// [`Call::Free`]
    Free = 49,
    /// [`Call::Members`]
    Members = 50,
    /// [`Call::User`]
    User = 64,
}

impl CallCode {
    /// That of `call`.
    pub const fn of(call: &Call<'_>) -> Self {
        match call {
            Call::Send { .. } => Self::Send,
            Call::Recv { .. } => Self::Recv,
            Call::Ssend { .. } => Self::Ssend,
            Call::Rsend { .. } => Self::Rsend,
            Call::Probe { .. } => Self::Probe,
            Call::Iprobe { .. } => Self::Iprobe,
            Call::Mprobe { .. } => Self::Mprobe,
            Call::Improbe { .. } => Self::Improbe,
            Call::Mrecv { .. } => Self::Mrecv,
            Call::Discard { .. } => Self::Discard,
            Call::Barrier => Self::Barrier,
            Call::Bcast { .. } => Self::Bcast,
            Call::Gather { .. } => Self::Gather,
            Call::Scatter { .. } => Self::Scatter,
            Call::Allgather => Self::Allgather,
            Call::Alltoall => Self::Alltoall,
            Call::Reduce { .. } => Self::Reduce,
            Call::Allreduce { .. } => Self::Allreduce,
            Call::Gatherv { .. } => Self::Gatherv,
            Call::Scatterv { .. } => Self::Scatterv,
            Call::Allgatherv => Self::Allgatherv,
            Call::Alltoallv => Self::Alltoallv,
            Call::ReduceScatter { .. } => Self::ReduceScatter,
            Call::ReduceScatterBlock { .. } => Self::ReduceScatterBlock,
            Call::Scan { .. } => Self::Scan,
            Call::Exscan { .. } => Self::Exscan,
            Call::Split => Self::Split,
            Call::Free => Self::Free,
            Call::Members => Self::Members,
            Call::User { .. } => Self::User,
        }
    }

    /// The call with this number on the wire.
    pub const fn from_code(code: u8) -> Option<Self> {
        use CallCode::*;
        Some(match code {
            1 => Send,
            2 => Recv,
            3 => Ssend,
            4 => Rsend,
            5 => Probe,
            6 => Iprobe,
            7 => Mprobe,
            8 => Improbe,
            9 => Mrecv,
            10 => Discard,
            16 => Barrier,
            17 => Bcast,
            18 => Gather,
            19 => Scatter,
            20 => Allgather,
            21 => Alltoall,
            22 => Reduce,
            23 => Allreduce,
            24 => Gatherv,
            25 => Scatterv,
            26 => Allgatherv,
            27 => Alltoallv,
            28 => ReduceScatter,
            29 => ReduceScatterBlock,
            30 => Scan,
            31 => Exscan,
            48 => Split,
            49 => Free,
            50 => Members,
            64 => User,
            _ => return None,
        })
    }

    /// MPI's name of the call, where it has one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Recv => "recv",
            Self::Ssend => "ssend",
            Self::Rsend => "rsend",
            Self::Probe => "probe",
            Self::Iprobe => "iprobe",
            Self::Mprobe => "mprobe",
            Self::Improbe => "improbe",
            Self::Mrecv => "mrecv",
            Self::Discard => "discard",
            Self::Barrier => "barrier",
            Self::Bcast => "bcast",
            Self::Gather => "gather",
            Self::Scatter => "scatter",
            Self::Allgather => "allgather",
            Self::Alltoall => "alltoall",
            Self::Reduce => "reduce",
            Self::Allreduce => "allreduce",
            Self::Gatherv => "gatherv",
            Self::Scatterv => "scatterv",
            Self::Allgatherv => "allgatherv",
            Self::Alltoallv => "alltoallv",
            Self::ReduceScatter => "reduce_scatter",
            Self::ReduceScatterBlock => "reduce_scatter_block",
            Self::Scan => "scan",
            Self::Exscan => "exscan",
            Self::Split => "split",
            Self::Free => "free",
            Self::Members => "group",
            Self::User => "user operation",
        }
    }

    /// Whether it gives a message to one rank.
    pub const fn is_send(self) -> bool {
        is_send(self as u8)
    }

    /// Whether it combines elements by a reduce op.
    pub(crate) const fn combines(self) -> bool {
        matches!(
            self,
            Self::Reduce | Self::Allreduce | Self::ReduceScatter | Self::ReduceScatterBlock | Self::Scan | Self::Exscan
        )
    }

    /// Whether it is about a message from another rank.
    pub(crate) const fn is_receive(self) -> bool {
        is_receive(self as u8)
    }

    /// Whether all ranks of a communicator or group make it together, in one order.
    pub const fn is_collective(self) -> bool {
        !(self.is_send() || self.is_receive() || matches!(self, Self::Free | Self::Members))
    }
}

// The same of numbers, for boards: a table of all calls would take them more than the comparison.

/// Whether the call with this number gives a message to one rank.
pub(crate) const fn is_send(code: u8) -> bool {
    matches!(code, 1 | 3 | 4)
}

/// Whether the call with this number is about a message from another rank.
pub(crate) const fn is_receive(code: u8) -> bool {
    matches!(code, 2 | 5..=10)
}

/// Whether the call with this number looks for a message and leaves its bytes where they are.
pub(crate) const fn is_probe(code: u8) -> bool {
    matches!(code, 5..=8)
}

#[cfg(test)]
mod tests {
    use super::CallCode;

    #[test]
    fn every_code_is_that_of_the_call_it_is_read_as() {
        let calls = (0..=u8::MAX).filter_map(|code| Some((code, CallCode::from_code(code)?)));
        assert_eq!(calls.clone().filter(|(code, call)| *code != *call as u8).count(), 0);
        assert_eq!(calls.count(), CODES.len());
        for (code, name) in CODES {
            assert_eq!(CallCode::from_code(code).map(CallCode::as_str), Some(name));
        }
    }

    /// As they travel: a number that means another call tomorrow is a new version of the protocol.
    const CODES: [(u8, &str); 30] = [
        (1, "send"),
        (2, "recv"),
        (3, "ssend"),
        (4, "rsend"),
        (5, "probe"),
        (6, "iprobe"),
        (7, "mprobe"),
        (8, "improbe"),
        (9, "mrecv"),
        (10, "discard"),
        (16, "barrier"),
        (17, "bcast"),
        (18, "gather"),
        (19, "scatter"),
        (20, "allgather"),
        (21, "alltoall"),
        (22, "reduce"),
        (23, "allreduce"),
        (24, "gatherv"),
        (25, "scatterv"),
        (26, "allgatherv"),
        (27, "alltoallv"),
        (28, "reduce_scatter"),
        (29, "reduce_scatter_block"),
        (30, "scan"),
        (31, "exscan"),
        (48, "split"),
        (49, "free"),
        (50, "group"),
        (64, "user operation"),
    ];
}
