//! `calls` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use nucleo_f429zi::NucleoF429zi;

#[embassy_executor::task]
async fn calls(board: NucleoF429zi) {
    firmware_app::run(board, firmware_app::calls).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    nucleo_f429zi::start(|spawner: Spawner, board| spawner.spawn(calls(board).expect("one application")))
}
