//! `calls` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use lm3s6965evb::Lm3s6965evb;

#[embassy_executor::task]
async fn calls(board: Lm3s6965evb) {
    firmware_app::run(board, firmware_app::calls).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    lm3s6965evb::start(|spawner: Spawner, board| spawner.spawn(calls(board).expect("one application")))
}
