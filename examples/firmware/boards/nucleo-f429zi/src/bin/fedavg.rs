//! `fedavg` on this board.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use firmware_app::fedavg::{Usual, fedavg as learn};
use nucleo_f429zi::NucleoF429zi;
use static_cell::ConstStaticCell;

#[embassy_executor::task]
async fn fedavg(board: NucleoF429zi) {
    static MODEL: ConstStaticCell<Usual> = ConstStaticCell::new(Usual::UNUSED);
    firmware_app::run(board, async |board| learn(board, MODEL.take()).await).await
}

#[cortex_m_rt::entry]
fn main() -> ! {
    nucleo_f429zi::start(|spawner: Spawner, board| spawner.spawn(fedavg(board).expect("one application")))
}
