//! Every link that joins ranks to a hub, each as a function that makes a world of ranks in this process.

use std::thread;

use edgempi::hub::{Registry, Server};
use edgempi::{Builder, Config, Init, World};

use crate::PATIENCE;

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
    let server = Server::bind(&config.clone().rank(0).listen("127.0.0.1:0"), operations.clone()).expect("a free port");
    let address = server.local_addr().to_string();
    thread::spawn(move || server.serve().expect("a hub serves"));
    let join = |rank| Builder::new().config(config.clone().rank(rank).addr(&address)).init();
    let joining: Vec<Init> = (0..size).map(join).collect();
    joining.into_iter().map(|init| init.wait().expect("the rank joins")).collect()
}
