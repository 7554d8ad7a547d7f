//! `epoch` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use lm3s6965evb::Lm3s6965evb;

#[embassy_executor::task]
async fn epoch(board: Lm3s6965evb) {
    firmware_app::run(board, firmware_app::epoch).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    lm3s6965evb::start(|spawner: Spawner, board| spawner.spawn(epoch(board).expect("one application")))
}
