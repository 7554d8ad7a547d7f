//! `size_all` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use lm3s6965evb::Lm3s6965evb;

#[embassy_executor::task]
async fn size_all(board: Lm3s6965evb) {
    firmware_app::run(board, firmware_app::size_all).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    lm3s6965evb::start(|spawner: Spawner, board| spawner.spawn(size_all(board).expect("one application")))
}
