#![no_std]
//! fedavg round
