//! `fedavg` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use firmware_app::fedavg::{Small, fedavg as learn};
use microbit::Microbit;
use static_cell::ConstStaticCell;

#[embassy_executor::task]
async fn fedavg(board: Microbit) {
    static MODEL: ConstStaticCell<Small> = ConstStaticCell::new(Small::UNUSED);
    firmware_app::run(board, async |board| learn(board, MODEL.take()).await).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    microbit::start(|spawner: Spawner, board| spawner.spawn(fedavg(board).expect("one application")))
}
