//! `epoch` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use microbit::Microbit;

#[embassy_executor::task]
async fn epoch(board: Microbit) {
    firmware_app::run(board, firmware_app::epoch).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    microbit::start(|spawner: Spawner, board| spawner.spawn(epoch(board).expect("one application")))
}
