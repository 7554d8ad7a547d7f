//! The board's Ethernet, and its place in the network.

use embassy_executor::Spawner;
use embassy_net::{Runner, Stack};
use embassy_stm32::eth::{self, Ethernet, GenericPhy, PacketQueue, Sma};
use embassy_stm32::peripherals::{ETH, ETH_SMA, RNG};
use embassy_stm32::rng::{self, Rng};
use embassy_stm32::{Peripherals, bind_interrupts, uid};
use firmware_app::link::network::Resources;
use static_cell::ConstStaticCell;

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    HASH_RNG => rng::InterruptHandler<RNG>;
});

type Device = Ethernet<'static, ETH, GenericPhy<Sma<'static, ETH_SMA>>>;

/// How many packets may wait in each direction.
const PACKETS: usize = 4;

/// Joins the network, with an address by DHCP.
// Never inlined: the stack holds a kilobyte of the network's state until that is in place, and then it doesn't.
#[inline(never)]
pub(crate) fn join(spawner: Spawner, p: Peripherals) -> Stack<'static> {
    static PACKET_QUEUE: ConstStaticCell<PacketQueue<PACKETS, PACKETS>> = ConstStaticCell::new(PacketQueue::new());
    static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
    let seed = Rng::new(p.RNG, Interrupts).next_u64();
    let device = Ethernet::new(
        PACKET_QUEUE.take(),
        p.ETH,
        Interrupts,
        p.PA1,  // reference clock
        p.PA7,  // carrier sense
        p.PC4,  // receive 0
        p.PC5,  // receive 1
        p.PG13, // transmit 0
        p.PB13, // transmit 1
        p.PG11, // transmit enable
        address(),
        p.ETH_SMA,
        p.PA2, // management data
        p.PC1, // management clock
    );
    let config = embassy_net::Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(device, config, RESOURCES.take(), seed);
    spawner.spawn(keep_network(runner).expect("there is one network"));
    stack
}

/// An address that nobody assigned, made from the chip's own number.
fn address() -> [u8; 6] {
    let number = uid::uid();
    let (halves, _) = number.as_chunks::<6>();
    let mut address = halves
        .iter()
        .fold([0; 6], |sum: [u8; 6], half| core::array::from_fn(|index| sum[index].rotate_left(3) ^ half[index]));
    // Assigned locally, and not to a group.
    address[0] = address[0] & !0b01 | 0b10;
    address
}

#[embassy_executor::task]
async fn keep_network(mut runner: Runner<'static, Device>) -> ! {
    runner.run().await
}
