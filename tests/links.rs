//! Every link that joins ranks to a hub, each as a function that makes a world of ranks in this process.

use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::net::{Ipv4Addr, TcpListener};
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use edgempi::hub::{Registry, Server};
use edgempi::{Builder, Config, Init, World};

use crate::PATIENCE;
use crate::relay::Relay;

/// Makes a world of so many ranks over one kind of link, with these settings, whose hub knows these operations. The hub
/// ends with the world.
pub type Link = fn(u32, &Config, &Registry) -> Vec<World>;

/// Memory: the hub and all ranks in one process.
pub fn memory(size: u32, config: &Config, operations: &Registry) -> Vec<World> {
    let builder = Builder::new().config(config.clone().wait(PATIENCE)).operations(operations.clone());
    builder.local(size).expect("a world in memory")
}

/// TCP.
pub fn tcp(size: u32, config: &Config, operations: &Registry) -> Vec<World> {
    named("tcp", size, config, operations)
}

/// Unix sockets.
#[cfg(target_os = "linux")]
pub fn unix(size: u32, config: &Config, operations: &Registry) -> Vec<World> {
    named("unix", size, config, operations)
}

/// A link with a name, to a hub that belongs to no rank.
fn named(proto: &str, size: u32, config: &Config, operations: &Registry) -> Vec<World> {
    let config = config.clone().proto(proto).size(size).wait(PATIENCE).world("");
    let address = serve(&config, operations);
    join((0..size).map(|rank| config.clone().rank(rank).addr(address.to_string())), operations)
}

/// A hub that ends with its world. Returns where it is.
fn serve(config: &Config, operations: &Registry) -> SocketAddr {
    let server = Server::bind(&config.clone().rank(0).listen("127.0.0.1:0"), operations.clone()).expect("a free port");
    let address = server.local_addr();
    thread::spawn(move || server.serve().expect("a hub serves"));
    address
}

fn join(configs: impl Iterator<Item = Config>, operations: &Registry) -> Vec<World> {
    let join = |config| Builder::new().config(config).operations(operations.clone()).init();
    let joining: Vec<Init> = configs.map(join).collect();
    joining.into_iter().map(|init| init.wait().expect("the rank joins")).collect()
}

/// Makes a world as a [`Link`] does, of at least two ranks, whose last ones have a relay each on their way to the hub.
pub type RelayedLink = fn(u32, &Config, &Registry) -> Relayed;

/// A world whose connections can be cut.
pub struct Relayed {
    /// All ranks.
    pub worlds: Vec<World>,
    /// The relays of the last ranks, in their order: of all of them, or of all but rank 0, which shares its hub's memory.
    pub relays: Vec<Relay>,
}

/// TCP, with a relay for every rank.
pub fn relayed_tcp(size: u32, config: &Config, operations: &Registry) -> Relayed {
    relayed("tcp", Relay::tcp, size, config, operations)
}

/// Unix sockets, with a relay for every rank.
#[cfg(target_os = "linux")]
pub fn relayed_unix(size: u32, config: &Config, operations: &Registry) -> Relayed {
    relayed("unix", Relay::unix, size, config, operations)
}

fn relayed(proto: &str, relay: fn(SocketAddr) -> Relay, size: u32, config: &Config, operations: &Registry) -> Relayed {
    let config = config.clone().proto(proto).size(size).wait(PATIENCE).world("");
    let hub = serve(&config, operations);
    let relays: Vec<Relay> = (0..size).map(|_| relay(hub)).collect();
    let ranks = (0..).zip(&relays).map(|(rank, relay)| config.clone().rank(rank).addr(relay.address.to_string()));
    Relayed { worlds: join(ranks, operations), relays }
}

/// Rank 0 has the hub in its process, and is joined to it by memory; the others come over TCP, each by a relay.
///
/// Memory itself has no connection that could be cut: both ends are in one process, and what ends one of them is a world
/// that is dropped, or an engine whose thread ends by itself, which tests of the library do.
#[cfg(target_os = "linux")]
pub fn relayed_to_rank_0(size: u32, config: &Config, operations: &Registry) -> Relayed {
    let hub = address_of_its_own();
    let config = config.clone().proto("tcp").size(size).wait(PATIENCE).world("").listen(hub.to_string());
    let relays: Vec<Relay> = (1..size).map(|_| Relay::tcp(hub)).collect();
    let addresses = std::iter::once(String::new()).chain(relays.iter().map(|relay| relay.address.to_string()));
    let ranks = (0..).zip(addresses).map(|(rank, address)| config.clone().rank(rank).addr(address));
    Relayed { worlds: join(ranks, operations), relays }
}

/// A loopback address that nobody else takes before the hub does: connections come from another one.
#[cfg(target_os = "linux")]
fn address_of_its_own() -> SocketAddr {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = (std::process::id() % 250) as u8;
    let own = Ipv4Addr::new(127, 1 + process, high, low);
    let listener = TcpListener::bind((own, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}
