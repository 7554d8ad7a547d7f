//! `hello` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use nucleo_f429zi::NucleoF429zi;

#[embassy_executor::task]
async fn hello(board: NucleoF429zi) {
    firmware_app::run(board, firmware_app::hello).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    nucleo_f429zi::start(|spawner: Spawner, board| spawner.spawn(hello(board).expect("one application")))
}
