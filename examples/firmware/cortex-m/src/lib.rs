//! What boards with a Cortex-M have in common. Most of it serves boards without a HAL of their own, as those that QEMU
//! emulates are here; where embassy has a HAL for the chip, that is the better choice.
#![no_std]
#![warn(missing_docs)]

pub mod clock;
pub mod device;
pub mod executor;
pub mod semihosting;
pub mod stack;
pub mod uart;
