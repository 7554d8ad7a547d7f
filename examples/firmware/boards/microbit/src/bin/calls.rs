//! `calls` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use microbit::Microbit;

#[embassy_executor::task]
async fn calls(board: Microbit) {
    firmware_app::run(board, firmware_app::calls).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    microbit::start(|spawner: Spawner, board| spawner.spawn(calls(board).expect("one application")))
}
