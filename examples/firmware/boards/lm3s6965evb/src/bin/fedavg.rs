//! `fedavg` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use firmware_app::fedavg::{Usual, fedavg as learn};
use lm3s6965evb::Lm3s6965evb;
use static_cell::ConstStaticCell;

#[embassy_executor::task]
async fn fedavg(board: Lm3s6965evb) {
    static MODEL: ConstStaticCell<Usual> = ConstStaticCell::new(Usual::UNUSED);
    firmware_app::run(board, async |board| learn(board, MODEL.take()).await).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    lm3s6965evb::start(|spawner: Spawner, board| spawner.spawn(fedavg(board).expect("one application")))
}
