//! The bridge that a board on a serial line needs, in the test's own process. A TCP connection stands for the line.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use edgempi::Config;
use edgempi::bridge::{Bridge, Line, Stop};

/// A bridge between one board and a hub. It ends when this is dropped.
#[derive(Debug)]
pub struct OwnBridge {
    /// Where it takes the line.
    pub address: SocketAddr,
    stop: Stop,
    running: Option<JoinHandle<()>>,
}

impl OwnBridge {
    /// Waits for a line, and passes on to `hub` what comes on it.
    ///
    /// # Panics
    ///
    /// If the system has no port.
    pub fn start(hub: SocketAddr) -> Self {
        let line = Line::parse("listen:127.0.0.1:0", 115_200).expect("an address");
        let bridge = Bridge::open(line, &Config::new().addr(hub.to_string())).expect("a free port");
        let (address, stop) = (bridge.local_addr().expect("it listens"), bridge.stop());
        let running = thread::spawn(move || bridge.serve().expect("a system with threads"));
        Self { address, stop, running: Some(running) }
    }
}

impl Drop for OwnBridge {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(running) = self.running.take() {
            // Its own panic has been printed.
            let _ = running.join();
        }
    }
}
