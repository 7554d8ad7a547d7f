//! Why a configuration can not be right.

use std::ffi::OsString;
use std::fmt;

use super::{Field, Origin};

/// A setting that can't be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that doesn't say what the field needs.
    #[error("{}: expected {expected}", assignment(*.field, *.origin, .value))]
    Invalid {
        /// The field.
        field: Field,
        /// Who set it.
        origin: Origin,
        /// To what.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// A variable whose value isn't UTF-8 text.
    #[error("{variable}={} is not UTF-8 text; set it anew, or unset it", .value.display())]
    NotUnicode {
        /// The field.
        field: Field,
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: OsString,
    },
    /// A rank that the world doesn't have.
    #[error(
        "{} does not exist in a world of {size} ({}): ranks go from 0 to {}; start every rank with the same \
         EDGEMPI_SIZE, and each with its own EDGEMPI_RANK below it",
        assignment(Field::Rank, *.rank_origin, .rank), described(Field::Size, *.size_origin), size.saturating_sub(1)
    )]
    RankOutOfRange {
        /// The rank.
        rank: u32,
        /// Who set the rank.
        rank_origin: Origin,
        /// The number of ranks.
        size: u32,
        /// Who set the number of ranks.
        size_origin: Origin,
    },
    /// The environment says that there are several ranks, and nothing says which one this is.
    #[error(
        "{variable}={size} but nothing says which rank this is: start the ranks with `edgempi run -n {size}`, mpirun \
         or srun, or set EDGEMPI_RANK for each; for a process on its own set EDGEMPI_SIZE=1"
    )]
    RankMissing {
        /// The variable that says how many ranks there are.
        variable: &'static str,
        /// How many.
        size: u32,
    },
}

/// How the value was given, as one would write it.
fn assignment(field: Field, origin: Origin, value: &dyn fmt::Display) -> String {
    match origin {
        Origin::Code => format!("Config::{}({value})", field.setting().method),
        Origin::Variable(variable) => format!("{variable}={value}"),
        Origin::Default => format!("default {}={value}", field.setting().variables[0]),
    }
}

/// Who set the field.
fn described(field: Field, origin: Origin) -> String {
    match origin {
        Origin::Code => format!("set by Config::{}", field.setting().method),
        Origin::Variable(variable) => format!("set by {variable}"),
        Origin::Default => format!("the default, because {} is not set", field.setting().variables[0]),
    }
}
