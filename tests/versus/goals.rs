//! What the project has set itself, as ratios to Open MPI over TCP.

/// The ratios that edgempi is to keep to over TCP, and with what a user gets who sets nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    pub tcp: f64,
    pub default: Option<f64>,
}

/// The goal for a call with so many bytes among so many ranks, if there is one.
pub fn goal(name: &str, ranks: u32, bytes: u64) -> Option<Goal> {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    let (tcp, default) = match (name, ranks, bytes) {
        ("pingpong", 2, 8) => (1.0, 0.8),
        ("barrier", 4, _) => (0.7, 0.6),
        ("allreduce", 4, 8) => (0.5, 0.4),
        ("barrier", 8, _) | ("allreduce", 8, 8) => (0.5, 0.4),
        ("allreduce", 4, n) if n == 32 * KIB => (0.5, 0.4),
        ("allreduce", 4, n) if n == 512 * KIB => (0.9, 0.7),
        ("allreduce", 4, n) if n == 8 * MIB => (1.2, 0.7),
        ("bcast", 4, n) if n == 32 * KIB => (0.6, 0.5),
        ("bcast", 4, n) if n == 512 * KIB => (1.0, 0.8),
        ("bcast", 4, n) if n == 8 * MIB => (1.1, 0.7),
        ("gather" | "allgather", 4, n) if n == 8 * MIB => (1.3, 1.0),
        ("alltoall", 4, n) if n == 8 * MIB => (2.0, 1.3),
        ("object-allreduce", _, _) => return Some(Goal { tcp: 0.5, default: None }),
        ("object-bcast", _, n) if n >= 512 * KIB => return Some(Goal { tcp: 0.5, default: None }),
        _ => return None,
    };
    Some(Goal { tcp, default: Some(default) })
}
