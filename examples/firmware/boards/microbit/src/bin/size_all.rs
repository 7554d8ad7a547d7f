//! `size_all` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use microbit::Microbit;

#[embassy_executor::task]
async fn size_all(board: Microbit) {
    firmware_app::run(board, firmware_app::size_all).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    microbit::start(|spawner: Spawner, board| spawner.spawn(size_all(board).expect("one application")))
}
