//! edgempi
#![warn(missing_docs)]

pub mod config;
