//! What a program means with a call, beyond what travels for it.

use super::CallCode;

/// What a call means beyond what travels for it. The participants of a collective have to mean the same, and people read
/// it. The default adds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Intent {
    /// What the program called, where that is not the call that travels.
    pub purpose: Option<Purpose>,
    /// A fingerprint of arguments of a collective that do not travel, and have to be the same at every rank that gives some;
    /// 0 for none.
    pub arguments: u32,
}

macro_rules! purposes {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_meta])* $variant = $code,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The one with this number on the wire.
            pub const fn from_code(code: u8) -> Option<Self> {
                Some(match code {
                    $($code => Self::$variant,)*
                    _ => return None,
                })
            }

            /// As it travels.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The name of what the program called.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

purposes! {
    /// What a program called, where another call travels for it: an allreduce with a closure is an allgather on the way.
    /// In parentheses are chapters of MPI 4.1.
    Purpose {
        /// The barrier in which a world begins (11.2.1).
        Init = 1, "init";
        /// A reduce by a closure (6.9.1).
        Reduce = 2, "reduce";
        /// An allreduce by a closure (6.9.6).
        Allreduce = 3, "allreduce";
        /// A reduce_scatter by a closure (6.10.2).
        ReduceScatter = 4, "reduce_scatter";
        /// A reduce_scatter_block by a closure (6.10.1).
        ReduceScatterBlock = 5, "reduce_scatter_block";
        /// A scan by a closure (6.11.1).
        Scan = 6, "scan";
        /// An exscan by a closure (6.11.2).
        Exscan = 7, "exscan";
        /// A copy of a communicator (7.4.2).
        Dup = 16, "dup";
        /// A communicator of a group, which all ranks make (7.4.2).
        Create = 17, "create";
        /// A communicator of a group, which its ranks make (7.4.2).
        CreateGroup = 18, "create_group";
        /// Ranks that have something in common (7.4.2).
        SplitType = 19, "split_type";
        /// A grid (8.5.1).
        Cart = 20, "cart";
        /// A part of a grid (8.5.7).
        Sub = 21, "sub";
        /// A graph, of edges that anybody says (8.5.4).
        DistGraph = 22, "dist_graph";
        /// A graph, of edges that their ends say (8.5.4).
        DistGraphAdjacent = 23, "dist_graph_adjacent";
        /// A message out and a message in (3.10).
        Sendrecv = 32, "sendrecv";
        /// The same, in one buffer (3.10).
        SendrecvReplace = 33, "sendrecv_replace";
        /// One message to all neighbours (8.6.1).
        NeighborAllgather = 34, "neighbor_allgather";
        /// The same, of lengths that differ (8.6.1).
        NeighborAllgatherv = 35, "neighbor_allgatherv";
        /// A message of its own for each neighbour (8.6.2).
        NeighborAlltoall = 36, "neighbor_alltoall";
        /// The same, of lengths that differ (8.6.2).
        NeighborAlltoallv = 37, "neighbor_alltoallv";
    }
}

impl Purpose {
    /// Whether all who take part have to mean the same. A message for its own sake may meet half of a sendrecv, and who
    /// begins a world need not say so.
    pub(crate) const fn is_shared(self) -> bool {
        !matches!(self, Self::Init | Self::Sendrecv | Self::SendrecvReplace)
    }

    /// Whether this is the call that travels for it, or part of what does.
    pub(crate) const fn travels_as(self, call: CallCode) -> bool {
        use CallCode::{Allgather, Alltoall, Alltoallv, Barrier, Gather, Recv, Send, Split};
        match call {
            Barrier => matches!(self, Self::Init),
            Gather | Allgather | Alltoall => self.combines(),
            Split | Alltoallv => self.makes_communicators(),
            Send | Recv => matches!(self, Self::Sendrecv | Self::SendrecvReplace) || self.is_of_neighbours(),
            _ => false,
        }
    }

    /// Whether it combines values by a closure.
    pub(crate) const fn combines(self) -> bool {
        matches!(
            self,
            Self::Reduce | Self::Allreduce | Self::ReduceScatter | Self::ReduceScatterBlock | Self::Scan | Self::Exscan
        )
    }

    /// Whether it makes communicators.
    pub(crate) const fn makes_communicators(self) -> bool {
        matches!(self.code(), 16..=23)
    }

    /// Whether it is about messages between neighbours.
    pub(crate) const fn is_of_neighbours(self) -> bool {
        matches!(self.code(), 34..=37)
    }
}

#[cfg(test)]
mod tests {
    use super::Purpose;

    /// As they travel: a number that means another purpose tomorrow is a new version of the protocol.
    const CODES: [u8; 21] = [1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 32, 33, 34, 35, 36, 37];

    #[test]
    fn every_code_is_that_of_the_purpose_it_is_read_as() {
        assert!((0..=u8::MAX).filter(|code| Purpose::from_code(*code).is_some()).eq(CODES));
        for (purpose, code) in Purpose::ALL.iter().zip(CODES) {
            assert_eq!((purpose.code(), Purpose::from_code(code)), (code, Some(*purpose)));
        }
        assert_eq!(Purpose::from_code(3).map(Purpose::as_str), Some("allreduce"));
        assert_eq!(Purpose::from_code(16).map(Purpose::as_str), Some("dup"));
        assert_eq!(Purpose::from_code(36).map(Purpose::as_str), Some("neighbor_alltoall"));
    }
}
