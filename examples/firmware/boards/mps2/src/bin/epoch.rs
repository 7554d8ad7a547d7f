//! `epoch` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use mps2::Mps2;

#[embassy_executor::task]
async fn epoch(board: Mps2) {
    firmware_app::run(board, firmware_app::epoch).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    mps2::start(|spawner: Spawner, board| spawner.spawn(epoch(board).expect("one application")))
}
