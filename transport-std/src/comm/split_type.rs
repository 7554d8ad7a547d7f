//! Communicators of ranks that have something in common: their machine, or their kind.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use edgempi_core::{Color, Purpose};

use super::Comm;
use crate::group::fingerprint;
use crate::request::Request;

/// What ranks of one communicator have in common after a [`split_type`](Comm::split_type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitType {
    /// The kind of rank: processes on hosts, boards, virtual ranks of a simulation. The hub knows it of each.
    Kind,
    /// The machine that they run on (MPI's `COMM_TYPE_SHARED`): the same boot of the same system. Where no such identity is
    /// to be had, outside of Linux, the same host name; where there is none, the same process. Virtual ranks of one class
    /// are on one machine of that class.
    Machine,
}

impl Comm {
    /// The ranks that have something in common form a new communicator (MPI 4.1, chapter 7.4.2), ordered by `key` and
    /// among equal keys by rank here. `None` instead of a type, MPI's `UNDEFINED`, gives `None`.
    ///
    /// ```
    /// use edgempi::SplitType;
    ///
    /// # let worlds = edgempi::local(2)?;
    /// # std::thread::scope(|scope| for world in worlds { scope.spawn(move || {
    /// let neighbours = world.comm().split_type(SplitType::Machine, 0).wait()?.expect("a type was given");
    /// assert_eq!(neighbours.size(), 2, "all of them are threads of this process");
    /// # drop(neighbours);
    /// # world.finalize().wait() }); });
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Besides those of every call: [`Error::Mismatch`](crate::Error::Mismatch) if ranks split in different ways.
    #[track_caller]
    pub fn split_type(&self, by: impl Into<Option<SplitType>>, key: i32) -> Request<'static, Option<Comm>> {
        let color = by.into().map(|by| match by {
            SplitType::Kind => Color::Kind,
            SplitType::Machine => Color::Text(self.engine.machine()),
        });
        self.meaning(Purpose::SplitType).split_by(color, key)
    }
}

/// A number of the machine that this process runs on.
pub(crate) fn machine() -> [u8; 16] {
    static MACHINE: OnceLock<[u8; 16]> = OnceLock::new();
    *MACHINE.get_or_init(|| {
        let files = ["/proc/sys/kernel/random/boot_id", "/etc/hostname"];
        let name = files.iter().find_map(|path| std::fs::read_to_string(path).ok());
        let variables = ["HOSTNAME", "COMPUTERNAME"];
        let name = name.or_else(|| variables.iter().find_map(|variable| std::env::var(variable).ok()));
        let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        // Processes of which nobody knows where they run have nothing in common.
        let nobodys = || format!("{:x}", RandomState::new().hash_one(std::process::id()));
        fingerprint(name.unwrap_or_else(nobodys).bytes().map(u32::from))
    })
}
