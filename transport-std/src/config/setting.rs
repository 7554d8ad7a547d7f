//! What can be set, how, and by whom: the table that the documentation and `edgempi config` show.

use std::fmt;

/// One thing that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// Address of the hub.
    Addr,
    /// Address on which a hub listens.
    Listen,
    /// Port of the hub.
    Port,
    /// Number of ranks.
    Size,
    /// Rank of this process.
    Rank,
    /// Patience with the hub and the other ranks.
    Wait,
    /// Largest message.
    MessageSize,
    /// Bytes that the hub holds of one rank.
    QueueSize,
    /// Link to the hub.
    Proto,
    /// Name of the world.
    World,
    /// How long to look for frames before sleeping.
    Spin,
    /// Which threads of this process make calls.
    Threads,
    /// How long a call waits before the hub says so.
    Slow,
}

impl Field {
    /// The field's row of [`SETTINGS`].
    pub fn setting(self) -> &'static Setting {
        &SETTINGS[self as usize]
    }
}

/// How a field is set, and what it means: a row of [`SETTINGS`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Setting {
    /// The field.
    pub field: Field,
    /// The method of [`Config`](super::Config) that sets it.
    pub method: &'static str,
    /// The environment variables that set it; the first that is set and not empty counts.
    pub variables: &'static [&'static str],
    /// The value when nothing sets it, as one would write it in the environment. May be empty.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
}

/// All settings, in the order of [`Field`].
pub const SETTINGS: &[Setting] = &[
    Setting {
        field: Field::Addr,
        method: "addr",
        variables: &["EDGEMPI_ADDR"],
        default: "",
        meaning: "address of the hub, as host:port, or host alone with the port from `EDGEMPI_PORT`; \
                  if unset, rank 0 hosts the hub",
    },
    Setting {
        field: Field::Listen,
        method: "listen",
        variables: &["EDGEMPI_LISTEN"],
        default: "127.0.0.1",
        meaning: "address on which a hub (that of rank 0, or `edgempi hub`) listens; may carry a port",
    },
    Setting {
        field: Field::Port,
        method: "port",
        variables: &["EDGEMPI_PORT"],
        default: "61642",
        meaning: "port of the hub, where the address carries none",
    },
    Setting {
        field: Field::Size,
        method: "size",
        variables: &["EDGEMPI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "SLURM_NPROCS"],
        default: "1",
        meaning: "number of ranks in the world",
    },
    Setting {
        field: Field::Rank,
        method: "rank",
        variables: &["EDGEMPI_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"],
        default: "0",
        meaning: "rank of this process",
    },
    Setting {
        field: Field::Wait,
        method: "wait",
        variables: &["EDGEMPI_WAIT"],
        default: "30s",
        meaning: "how long to wait for the hub and for the other ranks: 30s, 2min, 500ms, or seconds",
    },
    Setting {
        field: Field::MessageSize,
        method: "message_size",
        variables: &["EDGEMPI_MSG_SIZE"],
        default: "4GiB",
        meaning: "largest message: 64MiB, 1GiB, or bytes",
    },
    Setting {
        field: Field::QueueSize,
        method: "queue_size",
        variables: &["EDGEMPI_QUEUE_SIZE"],
        default: "4MiB",
        meaning: "bytes of one rank that the hub holds before another rank asks for them",
    },
    Setting {
        field: Field::Proto,
        method: "proto",
        variables: &["EDGEMPI_PROTO"],
        default: "auto",
        meaning: "link to the hub: tcp, unix (Linux, hub on the same machine), or auto: unix where it leads to a hub of the same user or root, else tcp",
    },
    Setting {
        field: Field::World,
        method: "world",
        variables: &["EDGEMPI_WORLD"],
        default: "",
        meaning: "name of the world, the same on all its ranks; keeps two jobs on one hub port apart",
    },
    Setting {
        field: Field::Spin,
        method: "spin",
        variables: &["EDGEMPI_SPIN"],
        default: "50us",
        meaning: "how long whoever waits looks for frames, giving way to others in between, before it sleeps: \
                  50us, 1ms, or seconds; 0 saves the most power",
    },
    Setting {
        field: Field::Threads,
        method: "threads",
        variables: &["EDGEMPI_THREADS"],
        default: "auto",
        meaning: "threads that make calls in this process: single lets the hub fail what it waits for in a deadlock; \
                  multiple is any number; auto is single while a thread waits that is the only one of its process (Linux)",
    },
    Setting {
        field: Field::Slow,
        method: "slow",
        variables: &["EDGEMPI_SLOW"],
        default: "60s",
        meaning: "how long a call waits for other ranks before the hub says so; 0 is never",
    },
];

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The program set it, by a method of [`Config`](super::Config).
    Code,
    /// This environment variable.
    Variable(&'static str),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Code => "code",
            Origin::Variable(variable) => variable,
            Origin::Default => "default",
        })
    }
}
