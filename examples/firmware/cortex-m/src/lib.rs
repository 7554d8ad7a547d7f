//! What boards with a Cortex-M have in common.
//!
//! Feature `bare` is for boards without a HAL of their own, as those that QEMU emulates are here. Where embassy has a HAL
//! for the chip, that is the better choice.
#![no_std]
#![warn(missing_docs)]

#[cfg(feature = "bare")]
pub mod clock;
#[cfg(feature = "bare")]
pub mod device;
#[cfg(feature = "bare")]
pub mod executor;
mod fault;
pub mod semihosting;
pub mod stack;
#[cfg(feature = "bare")]
pub mod uart;
