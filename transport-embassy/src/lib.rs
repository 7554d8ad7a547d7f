#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
//! edgempi for firmware
pub use edgempi_core as core;
