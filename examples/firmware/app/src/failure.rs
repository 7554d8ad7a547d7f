//! Why an application ended early, for people to read.

use core::fmt;

use edgempi_embassy::Error;
use embedded_io_async::ErrorKind;

/// Why an application ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The board was started without an argument that it needs.
    Missing {
        /// The argument's name.
        argument: &'static str,
    },
    /// An argument can't be read.
    Argument {
        /// The argument's name.
        argument: &'static str,
    },
    /// The host can't be reached.
    Unreachable(ErrorKind),
    /// The link to the host is lost.
    Lost(ErrorKind),
    /// The world can't be joined, or a call in it failed.
    World(Error),
    /// A call's result is wrong.
    Wrong {
        /// The call.
        call: &'static str,
    },
    /// The host asks for something that isn't known here.
    Request(u8),
}

impl Failure {
    /// What an error of an open link means.
    pub fn lost(error: impl embedded_io_async::Error) -> Self {
        Self::Lost(error.kind())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::World(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { argument } => write!(f, "the argument {argument}=… is missing"),
            Self::Argument { argument } => write!(f, "the argument {argument}=… can't be read"),
            Self::Unreachable(kind) => write!(f, "can't reach the host: {kind:?}"),
            Self::Lost(kind) => write!(f, "lost the link to the host: {kind:?}"),
            Self::World(error) => write!(f, "{error}"),
            Self::Wrong { call } => write!(f, "a wrong result of {call}"),
            Self::Request(byte) => write!(f, "unknown request {byte:#04x}"),
        }
    }
}

impl core::error::Error for Failure {}
