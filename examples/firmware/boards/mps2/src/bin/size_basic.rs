//! `size_basic` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use mps2::Mps2;

#[embassy_executor::task]
async fn size_basic(board: Mps2) {
    firmware_app::run(board, firmware_app::size_basic).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    mps2::start(|spawner: Spawner, board| spawner.spawn(size_basic(board).expect("one application")))
}
