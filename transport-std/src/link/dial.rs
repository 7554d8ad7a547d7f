//! How a rank comes to its hub: over the link that was asked for, or the best one, again and again until a deadline.

use std::io;
#[cfg(target_os = "linux")]
use std::net::ToSocketAddrs;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use super::unix;
use super::{Link, tcp};
use crate::config::Address;
use crate::error::Error;

/// Connects to the hub at `address`, again and again until `deadline`: a rank may well start before its hub.
pub(crate) fn connect(address: &Address, proto: &str, wait: Duration) -> Result<Box<dyn Link>, Error> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    let mut tries = 0u32;
    loop {
        tries += 1;
        let left = wait.saturating_sub(start.elapsed());
        let error = match try_connect(address, proto, left) {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        let left = wait.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(Error::Connect {
                address: address.to_string(),
                tries,
                waited: start.elapsed(),
                reason: error.to_string(),
            });
        }
        // Longer and longer, and never all ranks in step.
        thread::sleep(pause.min(left));
        pause = (pause * 3 / 2 + Duration::from_micros(u64::from(std::process::id() % 997)))
            .min(Duration::from_millis(250));
    }
}

fn try_connect(address: &Address, proto: &str, left: Duration) -> io::Result<Box<dyn Link>> {
    #[cfg(target_os = "linux")]
    if proto != super::TCP {
        // Who says `unix` knows whose hub it is; who says nothing may find a stranger there, and has the port to turn to.
        let owner = match proto {
            super::UNIX => unix::Owner::Anybody,
            _ => unix::Owner::Trusted(rustix::process::geteuid()),
        };
        match try_connect_here(address, owner) {
            Err(error) if proto == super::UNIX => return Err(error),
            Err(_) => {}
            Ok(link) => return Ok(link),
        }
    }
    let _ = proto;
    let timeout = left.clamp(Duration::from_millis(10), Duration::from_secs(5));
    Ok(Box::new(tcp::dial(address, timeout).and_then(tcp::link)?))
}

/// Connects by the Unix socket beside the address' candidates.
#[cfg(target_os = "linux")]
fn try_connect_here(address: &Address, owner: unix::Owner) -> io::Result<Box<dyn Link>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in (address.host.as_str(), address.port).to_socket_addrs()? {
        match unix::connect(candidate, owner).and_then(unix::link) {
            Ok(link) => return Ok(Box::new(link)),
            Err(error) => last = error,
        }
    }
    Err(last)
}
